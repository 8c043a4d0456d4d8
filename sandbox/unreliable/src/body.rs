//! The body of an answer: one buffer, or a stream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{StreamExt as _, stream::BoxStream};
use http_body::{Body, Frame};

/// Any error.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// Body of an answer that came, or did not come, through the layer.
#[expect(missing_debug_implementations, reason = "a stream has nothing to show")]
pub struct UnreliableBody(BoxStream<'static, Result<Frame<Bytes>, BoxError>>);

impl UnreliableBody {
    pub(crate) fn full(bytes: Bytes) -> Self {
        Self(futures::stream::iter([Ok(Frame::data(bytes))]).boxed())
    }

    /// The body as it is.
    pub(crate) fn intact<B>(body: B) -> Self
    where
        B: Body<Data = Bytes> + Send + 'static,
        B::Error: Into<BoxError>,
    {
        let body = Box::pin(body);
        let frames = futures::stream::unfold(body, |mut body| async move {
            let frame = std::future::poll_fn(|cx| body.as_mut().poll_frame(cx)).await?;
            Some((frame.map_err(Into::into), body))
        });
        Self(frames.boxed())
    }

    pub(crate) fn chunks(chunks: BoxStream<'static, Result<Bytes, BoxError>>) -> Self {
        Self(chunks.map(|chunk| chunk.map(Frame::data)).boxed())
    }
}

impl Body for UnreliableBody {
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        self.get_mut().0.poll_next_unpin(cx)
    }
}
