//! Starting everything, and learning when something dies.

use crate::config::ControllersConfig;
use crate::context::{Caches, Context};
use crate::engine::events::Recorder;
use crate::{
    autoscaler, deployment, disruption, endpoints, job, load_balancer, node_lifecycle, replicaset, scheduler,
    statefulset,
};
use kube::Client;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

/// Why the controllers stopped although nobody asked them to.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ControllersError {
    /// A controller panicked; the others were stopped too, since half a control plane misleads.
    #[error("the {controller} controller panicked: {message}")]
    Panicked {
        /// Which one.
        controller: String,
        /// The panic's message.
        message: String,
    },
    /// A controller returned although it was not cancelled.
    #[error("the {controller} controller ended by itself")]
    Ended {
        /// Which one.
        controller: String,
    },
    /// Stopping took longer than allowed; the remaining tasks were aborted.
    #[error("the controllers did not stop in time")]
    Timeout,
}

type Outcome = Option<Result<(), ControllersError>>;

/// The running controllers. Dropping it does not stop them: cancel the token they were started with.
#[derive(Debug)]
pub struct ControllersHandle {
    outcome: watch::Receiver<Outcome>,
    cancel: CancellationToken,
    supervisor: JoinHandle<()>,
}

impl ControllersHandle {
    /// Waits until the controllers have stopped: `Ok` after a cancellation, an error if one of them failed. May be
    /// called any number of times, from a `select!` for instance.
    pub async fn stopped(&mut self) -> Result<(), ControllersError> {
        match self.outcome.wait_for(Option::is_some).await {
            Ok(outcome) => outcome.clone().unwrap_or(Ok(())),
            Err(_) => Err(ControllersError::Ended {
                controller: "supervisor".into(),
            }),
        }
    }

    /// The failure, if there has been one.
    pub fn failure(&self) -> Option<ControllersError> {
        self.outcome.borrow().clone().and_then(Result::err)
    }

    /// Stops the controllers, letting requests in flight finish for at most `limit`.
    pub async fn shutdown(mut self, limit: Duration) -> Result<(), ControllersError> {
        self.cancel.cancel();
        if let Ok(outcome) = timeout(limit, self.stopped()).await {
            return outcome;
        }
        self.supervisor.abort();
        Err(ControllersError::Timeout)
    }
}

/// Starts all controllers and the scheduler on `client`. They run until `cancel` is cancelled; if one of them dies, all
/// stop and the handle tells why.
#[allow(clippy::needless_pass_by_value)] // The handle's life is tied to the token: giving it away says so.
pub fn spawn_all(client: Client, config: ControllersConfig, cancel: CancellationToken) -> ControllersHandle {
    let (context, mut tasks, own) = begin(client, config, &cancel);

    // Handlers first, then the watches: no event is missed.
    macro_rules! controllers {
        ($($module:ident),*) => {$(
            let queue = $module::run::register(&context);
            let work = $module::run::run(context.clone(), queue, own.clone());
            tasks.controller(stringify!($module), &context, &own, work);
        )*};
    }
    controllers!(
        deployment,
        replicaset,
        statefulset,
        job,
        endpoints,
        node_lifecycle,
        autoscaler,
        scheduler
    );
    let queue = load_balancer::register(&context);
    tasks.controller(
        "load_balancer",
        &context,
        &own,
        load_balancer::run(context.clone(), queue, own.clone()),
    );
    let queue = disruption::register(&context);
    tasks.controller(
        "disruption",
        &context,
        &own,
        disruption::run(context.clone(), queue, own.clone()),
    );

    let (caches, client) = (Arc::clone(&context.caches), context.client.clone());
    tasks.until(&own, "caches", async move { caches.follow(&client).await });
    drop(context);
    supervise(tasks, own)
}

/// Starts only the controller that gives addresses to Services of type LoadBalancer: Kubernetes' own controllers leave
/// that to a cloud. Its life is as with [`spawn_all`].
#[allow(clippy::needless_pass_by_value)] // As above.
pub fn spawn_load_balancer(client: Client, config: ControllersConfig, cancel: CancellationToken) -> ControllersHandle {
    let (context, mut tasks, own) = begin(client, config, &cancel);
    let queue = load_balancer::register(&context);
    let (work, caches, stop) = (context.clone(), Arc::clone(&context.caches), own.clone());
    tasks.spawn("load_balancer", async move {
        tokio::select! {
            () = stop.cancelled() => return,
            // No other cache is filled.
            () = caches.services.synced() => {}
        }
        load_balancer::run(work, queue, stop).await;
    });
    let (caches, client) = (Arc::clone(&context.caches), context.client.clone());
    tasks.until(&own, "caches", async move { caches.follow_services(&client).await });
    drop(context);
    supervise(tasks, own)
}

/// What the controllers share, and the writer of their Events. The token is our own: a failure stops the controllers, not the
/// caller.
fn begin(client: Client, config: ControllersConfig, cancel: &CancellationToken) -> (Context, Tasks, CancellationToken) {
    let (events, writer) = Recorder::new(client.clone());
    let own = cancel.child_token();
    let mut tasks = Tasks {
        set: JoinSet::new(),
        names: HashMap::new(),
    };
    tasks.until(&own, "events", writer);
    let context = Context {
        client,
        caches: Arc::new(Caches::new()),
        config: Arc::new(config),
        events,
    };
    (context, tasks, own)
}

struct Tasks {
    set: JoinSet<()>,
    names: HashMap<tokio::task::Id, &'static str>,
}

impl Tasks {
    /// Does `work` until `stop` fires.
    fn until(&mut self, stop: &CancellationToken, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let stop = stop.clone();
        self.spawn(name, async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = work => {}
            }
        });
    }

    fn spawn(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let task = self.set.spawn(work);
        self.names.insert(task.id(), name);
    }

    /// A controller begins when the caches are complete.
    fn controller(
        &mut self,
        name: &'static str,
        context: &Context,
        cancel: &CancellationToken,
        work: impl Future<Output = ()> + Send + 'static,
    ) {
        let (caches, cancel) = (Arc::clone(&context.caches), cancel.clone());
        self.spawn(name, async move {
            tokio::select! {
                () = cancel.cancelled() => return,
                () = caches.synced() => {}
            }
            work.await;
        });
    }

    fn name(&self, id: tokio::task::Id) -> String {
        self.names.get(&id).copied().unwrap_or("unknown").into()
    }
}

fn supervise(mut tasks: Tasks, cancel: CancellationToken) -> ControllersHandle {
    let (sender, outcome) = watch::channel(None);
    let stop = cancel.clone();
    let supervisor = tokio::spawn(async move {
        let mut result = Ok(());
        while let Some(joined) = tasks.set.join_next_with_id().await {
            let failure = match joined {
                Ok(_) if stop.is_cancelled() => continue,
                Ok((id, ())) => ControllersError::Ended {
                    controller: tasks.name(id),
                },
                Err(error) => {
                    let controller = tasks.name(error.id());
                    let message = error
                        .try_into_panic()
                        .map_or_else(|error| error.to_string(), |panic| text(&panic));
                    ControllersError::Panicked { controller, message }
                }
            };
            tracing::error!(error = %failure, "stopping all controllers");
            if result.is_ok() {
                result = Err(failure);
            }
            stop.cancel();
        }
        sender.send_replace(Some(result));
    });
    ControllersHandle {
        outcome,
        cancel,
        supervisor,
    }
}

/// What a panic said.
fn text(panic: &Box<dyn std::any::Any + Send>) -> String {
    let known = panic.downcast_ref::<String>().cloned();
    known
        .or_else(|| panic.downcast_ref::<&str>().map(ToString::to_string))
        .unwrap_or_else(|| "no message".into())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use super::*;

    const SOON: Duration = Duration::from_secs(5);

    fn tasks() -> Tasks {
        Tasks {
            set: JoinSet::new(),
            names: HashMap::new(),
        }
    }

    #[tokio::test]
    async fn a_panic_is_told_and_stops_the_rest() {
        let cancel = CancellationToken::new();
        let mut tasks = tasks();
        let stop = cancel.clone();
        tasks.spawn("steady", async move { stop.cancelled().await });
        tasks.spawn("faulty", async { panic!("on purpose") });
        let mut handle = supervise(tasks, cancel);
        let failure = timeout(SOON, handle.stopped()).await.unwrap().unwrap_err();
        assert_eq!(failure.to_string(), "the faulty controller panicked: on purpose");
        assert_eq!(handle.failure(), Some(failure));
    }

    #[tokio::test]
    async fn an_early_end_is_a_failure_and_a_cancellation_is_not() {
        let mut early = tasks();
        early.spawn("early", async {});
        let mut handle = supervise(early, CancellationToken::new());
        assert_eq!(
            timeout(SOON, handle.stopped()).await.unwrap(),
            Err(ControllersError::Ended {
                controller: "early".into()
            })
        );
        let cancel = CancellationToken::new();
        let mut steady = tasks();
        let stop = cancel.clone();
        steady.spawn("steady", async move { stop.cancelled().await });
        assert_eq!(supervise(steady, cancel).shutdown(SOON).await, Ok(()));
    }
}
