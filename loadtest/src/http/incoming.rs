//! A response as it comes in: head, then body, in whatever pieces.

use std::io;

use super::head::{Head, HeadError, MAX_HEAD, parse_head};
use super::{BodyReader, Framing, HttpError};

/// What has come of a response.
pub(super) struct Incoming {
    head: Option<Head>,
    /// An incomplete head; almost always empty, as heads come in one piece.
    partial: Vec<u8>,
    reader: BodyReader,
    capture: usize,
    body: Vec<u8>,
    bytes: u64,
    /// Bytes after the end of the body.
    extra: bool,
    error: Option<HttpError>,
}

impl Incoming {
    pub(super) fn new(capture: usize) -> Self {
        Self {
            head: None,
            partial: Vec::new(),
            reader: BodyReader::new(Framing::None),
            capture,
            body: Vec::new(),
            bytes: 0,
            extra: false,
            error: None,
        }
    }

    /// Whether the head is complete.
    pub(super) fn has_head(&self) -> bool {
        self.head.is_some()
    }

    /// Body bytes so far.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Content length, where the server gave one.
    pub(super) fn length(&self) -> Option<u64> {
        match self.head.as_ref()?.framing {
            Framing::Length(length) => Some(length),
            _ => None,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.head.is_some() && self.reader.is_done()
    }

    pub(super) fn feed(&mut self, data: &[u8]) {
        if let Err(error) = self.try_feed(data) {
            self.error = Some(error);
        }
    }

    fn try_feed(&mut self, data: &[u8]) -> Result<(), HttpError> {
        if self.head.is_some() {
            return self.feed_body(data);
        }
        if self.partial.is_empty() {
            return if let Some(used) = self.feed_head(data)? {
                self.feed_body(&data[used..])
            } else {
                self.partial.extend_from_slice(data);
                Ok(())
            };
        }
        if self.partial.len() + data.len() > MAX_HEAD + 64 * 1024 {
            return Err(HeadError::TooLarge.into());
        }
        self.partial.extend_from_slice(data);
        let partial = std::mem::take(&mut self.partial);
        if let Some(used) = self.feed_head(&partial)? {
            self.feed_body(&partial[used..])
        } else {
            self.partial = partial;
            Ok(())
        }
    }

    /// Parses the head, past any interim (1xx) ones; says how much of `data` it took.
    fn feed_head(&mut self, data: &[u8]) -> Result<Option<usize>, HttpError> {
        let mut used = 0;
        loop {
            let Some((head, length)) = parse_head(&data[used..])? else {
                return Ok(None);
            };
            used += length;
            if (100..200).contains(&head.status) {
                continue;
            }
            if let Framing::Length(length) = head.framing {
                let wanted = usize::try_from(length).unwrap_or(usize::MAX).min(self.capture);
                self.body.reserve_exact(wanted);
            }
            self.reader = BodyReader::new(head.framing);
            self.head = Some(head);
            return Ok(Some(used));
        }
    }

    fn feed_body(&mut self, data: &[u8]) -> Result<(), HttpError> {
        let (capture, body, bytes) = (self.capture, &mut self.body, &mut self.bytes);
        let mut overflow = false;
        let used = self.reader.feed(data, |content| {
            *bytes += content.len() as u64;
            if capture > 0 && !overflow {
                overflow = body.len() + content.len() > capture;
                if !overflow {
                    body.extend_from_slice(content);
                }
            }
        })?;
        self.extra |= used < data.len();
        if overflow {
            Err(HttpError::TooLarge(capture))
        } else {
            Ok(())
        }
    }

    pub(super) fn check(&mut self) -> Result<(), HttpError> {
        self.error.take().map_or(Ok(()), Err)
    }

    pub(super) fn close(&mut self) -> Result<(), HttpError> {
        if self.head.is_none() {
            return Err(HttpError::Closed(io::ErrorKind::UnexpectedEof.into()));
        }
        Ok(self.reader.close()?)
    }

    pub(super) fn finish(self) -> Result<(Head, Option<Vec<u8>>, bool), HttpError> {
        let head = self
            .head
            .ok_or_else(|| HttpError::Closed(io::ErrorKind::UnexpectedEof.into()))?;
        Ok((head, (self.capture > 0).then_some(self.body), self.extra))
    }
}
