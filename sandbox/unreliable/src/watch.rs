//! What becomes of an open watch.

use std::{collections::VecDeque, pin::Pin, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{StreamExt as _, stream::BoxStream};
use http_body::Body;
use tokio::time::Instant;

use crate::{
    answer::error_event,
    body::{BoxError, UnreliableBody},
    call::Call,
    fault::{Ending, Refusal, WatchFault},
    journal::Entry,
    link::Link,
    rates::Rates,
    service::Broken,
};

/// The body of a watch as the client gets it.
pub(crate) fn tamper<R>(link: Link, call: Call, number: u64, time: u64, body: R) -> UnreliableBody
where
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    let end = link.network().ending(&call, time);
    let rates = link.network().rates();
    let watch = Watch {
        source: chunks(body),
        rates,
        end: end.map(|(life, ending)| (Instant::now() + life, ending)),
        withheld: false,
        buffer: BytesMut::new(),
        out: VecDeque::new(),
        events: 0,
        ended: false,
        origin: Origin {
            link,
            call,
            number,
            time,
        },
    };
    let stream = futures::stream::unfold(watch, |mut watch| async move {
        let chunk = watch.next().await?;
        Some((chunk, watch))
    });
    UnreliableBody::chunks(stream.boxed())
}

fn chunks<R>(body: R) -> BoxStream<'static, Result<Bytes, BoxError>>
where
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    futures::stream::unfold(Box::pin(body), |mut body| async move {
        loop {
            let frame = std::future::poll_fn(|cx| Pin::as_mut(&mut body).poll_frame(cx)).await?;
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => return Some((Ok(data), body)),
                Ok(Err(_trailers)) => {}
                Err(error) => return Some((Err(error.into()), body)),
            }
        }
    })
    .boxed()
}

struct Origin {
    link: Link,
    call: Call,
    number: u64,
    /// Which of this client's watches of this path it is.
    time: u64,
}

enum Out {
    Wait(Duration),
    Line(Bytes),
    End(Ending, Bytes),
}

struct Watch {
    source: BoxStream<'static, Result<Bytes, BoxError>>,
    rates: tokio::sync::watch::Receiver<Option<Arc<Rates>>>,
    /// When and how it ends.
    end: Option<(Instant, Ending)>,
    /// Whether what comes is thrown away until it ends.
    withheld: bool,
    buffer: BytesMut,
    out: VecDeque<Out>,
    events: u64,
    ended: bool,
    origin: Origin,
}

impl Watch {
    async fn next(&mut self) -> Option<Result<Bytes, BoxError>> {
        let cut = self.origin.link.severed().clone();
        loop {
            if cut.is_cancelled() {
                std::future::pending::<()>().await;
            }
            match self.out.pop_front() {
                Some(Out::Wait(delay)) => {
                    tokio::time::sleep(delay).await;
                    continue;
                }
                Some(Out::Line(line)) => return Some(Ok(line)),
                Some(Out::End(ending, torn)) => return self.finish(ending, &torn),
                None if self.ended => return None,
                None => {}
            }
            let calm = self.rates.borrow_and_update().is_none();
            if calm && self.withheld {
                let ending = self.end.map_or(Ending::Closed, |(_, ending)| ending);
                return self.finish(ending, &[]);
            }
            if calm {
                self.end = None;
            }
            let end = self.end;
            let expiry = async {
                match end {
                    Some((at, ending)) => {
                        tokio::time::sleep_until(at).await;
                        ending
                    }
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                () = cut.cancelled() => {}
                ending = expiry => {
                    if !self.withheld {
                        self.befell(WatchFault::Ended(ending));
                    }
                    return self.finish(ending, &[]);
                }
                Ok(()) = self.rates.changed() => {}
                chunk = self.source.next() => match chunk {
                    Some(Ok(chunk)) => self.take(&chunk),
                    Some(Err(error)) => {
                        self.ended = true;
                        return Some(Err(error));
                    }
                    None => {
                        let rest = self.buffer.split().freeze();
                        self.ended = true;
                        if !rest.is_empty() {
                            return Some(Ok(rest));
                        }
                    }
                },
            }
        }
    }

    /// Decides on every event that is complete.
    fn take(&mut self, chunk: &[u8]) {
        self.buffer.extend_from_slice(chunk);
        while let Some(length) = self.buffer.iter().position(|&byte| byte == b'\n') {
            let line = self.buffer.split_to(length + 1).freeze();
            if self.withheld || self.ended {
                continue;
            }
            let Origin { link, call, time, .. } = &self.origin;
            let fault = link.network().event(call, *time, self.events);
            self.events += 1;
            if let Some(fault) = fault {
                self.befell(fault);
            }
            match fault {
                None => self.out.push_back(Out::Line(line)),
                Some(WatchFault::Slow(delay)) => self.out.extend([Out::Wait(delay), Out::Line(line)]),
                Some(WatchFault::Repeated) => self.out.extend([Out::Line(line.clone()), Out::Line(line)]),
                Some(WatchFault::Ended(ending)) => {
                    self.out.push_back(Out::End(ending, line));
                    self.ended = true;
                }
                Some(WatchFault::Withheld(silence, ending)) => {
                    self.withheld = true;
                    self.end = Some((Instant::now() + silence, ending));
                }
            }
        }
    }

    fn befell(&self, fault: WatchFault) {
        let entry = Entry::Watch(self.origin.call.clone(), fault);
        self.origin.link.network().befell(self.origin.number, entry);
    }

    /// Ends the stream. `torn` is the event that a torn connection breaks within.
    fn finish(&mut self, ending: Ending, torn: &[u8]) -> Option<Result<Bytes, BoxError>> {
        self.ended = true;
        self.withheld = false;
        self.end = None;
        self.out.clear();
        self.source = futures::stream::empty().boxed();
        match ending {
            Ending::Closed => None,
            Ending::Expired => Some(Ok(error_event(Refusal::Expired))),
            Ending::Failed => Some(Ok(error_event(Refusal::Internal))),
            Ending::Broken => Some(Err(Broken::Reset.into())),
            Ending::Torn => {
                self.out.push_back(Out::End(Ending::Broken, Bytes::new()));
                Some(Ok(Bytes::copy_from_slice(&torn[..torn.len() / 2])))
            }
        }
    }
}
