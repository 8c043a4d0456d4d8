//! A service whose every poll is timed, and its allocations counted.

use std::alloc::System;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use bytes::Bytes;
use http::Response;
use http_body::{Body, Frame};
use stats_alloc::{Region, StatsAlloc};

/// What was spent inside the service.
#[derive(Clone, Debug, Default)]
pub(crate) struct Share(Arc<Counters>);

#[derive(Debug, Default)]
struct Counters {
    requests: AtomicU64,
    nanos: AtomicU64,
    allocations: AtomicU64,
    bytes: AtomicU64,
}

/// A reading of a [`Share`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spent {
    pub(crate) requests: u64,
    pub(crate) seconds: f64,
    pub(crate) allocations: u64,
    pub(crate) bytes: u64,
}

impl Share {
    pub(crate) fn reset(&self) {
        let Counters {
            requests,
            nanos,
            allocations,
            bytes,
        } = &*self.0;
        for counter in [requests, nanos, allocations, bytes] {
            counter.store(0, Ordering::Relaxed);
        }
    }

    pub(crate) fn read(&self) -> Spent {
        Spent {
            requests: self.0.requests.load(Ordering::Relaxed),
            seconds: self.0.nanos.load(Ordering::Relaxed) as f64 / 1e9,
            allocations: self.0.allocations.load(Ordering::Relaxed),
            bytes: self.0.bytes.load(Ordering::Relaxed),
        }
    }

    /// Books what `work` takes. On one thread nothing else runs meanwhile.
    fn book<T>(&self, allocator: &'static StatsAlloc<System>, work: impl FnOnce() -> T) -> T {
        let (region, began) = (Region::new(allocator), Instant::now());
        let outcome = work();
        let nanos = began.elapsed().as_nanos() as u64;
        let change = region.change();
        self.0.nanos.fetch_add(nanos, Ordering::Relaxed);
        self.0
            .allocations
            .fetch_add(change.allocations as u64, Ordering::Relaxed);
        self.0.bytes.fetch_add(change.bytes_allocated as u64, Ordering::Relaxed);
        outcome
    }
}

/// A metered service.
#[derive(Clone)]
pub(crate) struct Metered<S> {
    inner: S,
    share: Share,
    allocator: &'static StatsAlloc<System>,
}

impl<S> Metered<S> {
    pub(crate) fn new(inner: S, share: Share, allocator: &'static StatsAlloc<System>) -> Self {
        Self {
            inner,
            share,
            allocator,
        }
    }
}

impl<S, R, B> tower::Service<R> for Metered<S>
where
    S: tower::Service<R, Response = Response<B>>,
    S::Future: Send + 'static,
    B: Body<Data = Bytes> + Send + 'static,
{
    type Response = Response<MeteredBody<B>>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, S::Error>> + Send>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(context)
    }

    fn call(&mut self, request: R) -> Self::Future {
        let (share, allocator) = (self.share.clone(), self.allocator);
        share.0.requests.fetch_add(1, Ordering::Relaxed);
        let mut answer = Box::pin(share.book(allocator, || self.inner.call(request)));
        Box::pin(async move {
            let response =
                std::future::poll_fn(|context| share.book(allocator, || answer.as_mut().poll(context))).await?;
            Ok(response.map(|body| MeteredBody {
                inner: Box::pin(body),
                share,
                allocator,
            }))
        })
    }
}

/// The body of an answer, metered too: watches do their work there.
pub(crate) struct MeteredBody<B> {
    inner: Pin<Box<B>>,
    share: Share,
    allocator: &'static StatsAlloc<System>,
}

impl<B: Body<Data = Bytes>> Body for MeteredBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        this.share
            .book(this.allocator, || this.inner.as_mut().poll_frame(context))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }
}
