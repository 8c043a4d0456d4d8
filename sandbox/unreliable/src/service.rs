//! The service: carries calls out, or does not.

use std::task::{Context, Poll};

use bytes::Bytes;
use futures::future::BoxFuture;
use http::{Request, Response};
use http_body::Body;
use tower::Service;

use crate::{
    answer,
    body::{BoxError, UnreliableBody},
    call::{Call, Verb},
    fault::Fault,
    journal::Entry,
    link::{Link, Passage},
    watch,
};

/// The error of a connection that broke.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Broken {
    /// At once.
    #[error("connection reset by peer")]
    Reset,
    /// After a long time in which nothing came.
    #[error("deadline has elapsed")]
    TimedOut,
}

/// A service that fails the way its [`Link`] says.
#[derive(Clone, Debug)]
pub struct UnreliableService<S> {
    link: Link,
    inner: S,
}

impl<S> UnreliableService<S> {
    pub(crate) fn new(link: Link, inner: S) -> Self {
        Self { link, inner }
    }
}

impl<S, B, R> Service<Request<B>> for UnreliableService<S>
where
    S: Service<Request<B>, Response = Response<R>> + Clone + Send + 'static,
    S::Future: Send,
    S::Error: Into<BoxError>,
    B: Send + 'static,
    R: Body<Data = Bytes> + Send + 'static,
    R::Error: Into<BoxError>,
{
    type Response = Response<UnreliableBody>;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response<UnreliableBody>, BoxError>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        // The service that is ready is this one, not a clone of it.
        let ready = self.inner.clone();
        let inner = std::mem::replace(&mut self.inner, ready);
        let link = self.link.clone();
        let call = Call::of(link.client(), &request);
        // Decided here, in the order in which calls are made, not in that in which their futures are polled.
        let (number, passage) = link.passage();
        if passage != Passage::Free {
            link.network().befell(number, Entry::Cut(call.clone()));
        }
        let verdict = match passage {
            Passage::Free => link.network().judge(&call, number),
            Passage::Last | Passage::None => (None, 0),
        };
        Box::pin(async move {
            let cut = link.severed().clone();
            match passage {
                Passage::None => std::future::pending().await,
                Passage::Last => {
                    let _ = Handling { link, call, number }.carry_out(inner, request).await;
                    cut.cancel();
                    std::future::pending().await
                }
                Passage::Free => tokio::select! {
                    biased;
                    () = cut.cancelled() => std::future::pending().await,
                    answer = Handling { link, call, number }.answer(inner, request, verdict) => answer,
                },
            }
        })
    }
}

/// One call under way.
struct Handling {
    link: Link,
    call: Call,
    number: u64,
}

type Answer = Result<Response<UnreliableBody>, BoxError>;

impl Handling {
    async fn carry_out<S, B, R>(&self, mut inner: S, request: Request<B>) -> Result<Response<R>, BoxError>
    where
        S: Service<Request<B>, Response = Response<R>>,
        S::Error: Into<BoxError>,
    {
        let answer = inner.call(request).await.map_err(Into::into)?;
        self.link.network().carried_out(&self.call);
        Ok(answer)
    }

    async fn answer<S, B, R>(self, inner: S, request: Request<B>, (fault, time): (Option<Fault>, u64)) -> Answer
    where
        S: Service<Request<B>, Response = Response<R>> + Send + 'static,
        S::Future: Send,
        S::Error: Into<BoxError>,
        B: Send + 'static,
        R: Body<Data = Bytes> + Send + 'static,
        R::Error: Into<BoxError>,
    {
        let lost = |broken: Broken| -> Answer { Err(broken.into()) };
        let answer = match fault {
            None => self.carry_out(inner, request).await?,
            Some(Fault::Refused(refusal)) => return Ok(answer::response(refusal)),
            Some(Fault::Unsure(refusal)) => {
                self.carry_out(inner, request).await?;
                return Ok(answer::response(refusal));
            }
            Some(Fault::Lost { carried_out }) => {
                if carried_out {
                    self.carry_out(inner, request).await?;
                }
                return lost(Broken::Reset);
            }
            Some(Fault::Hung { carried_out, patience }) => {
                if carried_out {
                    self.carry_out(inner, request).await?;
                }
                tokio::time::sleep(patience).await;
                return lost(Broken::TimedOut);
            }
            Some(Fault::Late { after }) => {
                // Not with the client's future: it may end, and this happens all the same.
                tokio::spawn(async move {
                    tokio::time::sleep(after).await;
                    self.carry_out(inner, request).await.map(drop)
                });
                return lost(Broken::Reset);
            }
            Some(Fault::Slow { before, after }) => {
                tokio::time::sleep(before).await;
                let answer = self.carry_out(inner, request).await?;
                tokio::time::sleep(after).await;
                answer
            }
        };
        let (parts, body) = answer.into_parts();
        let body = if self.call.verb == Verb::Watch && parts.status.is_success() {
            watch::tamper(self.link, self.call, self.number, time, body)
        } else {
            UnreliableBody::intact(body)
        };
        Ok(Response::from_parts(parts, body))
    }
}
