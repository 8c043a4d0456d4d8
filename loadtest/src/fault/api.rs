//! Sending mutations and taking them back.

use std::{fmt::Debug, time::Duration};

use chaos_mesh_rs::{NetworkChaos, PodChaos, injected, kinds::Experiment as Chaos};
use kube::{
    Api, Client, Resource,
    api::{DeleteParams, PostParams},
};
use serde::{Serialize, de::DeserializeOwned};
use tokio::time::{Instant, sleep};

use super::{Experiment, FaultError, Undo};
use crate::observe::Subject;

/// How long an experiment may take to be injected.
const INJECT_DEADLINE: Duration = Duration::from_secs(20);
/// How long it may take to be recovered.
const RECOVER_DEADLINE: Duration = Duration::from_secs(60);
/// Time between two looks at its status.
const PAUSE: Duration = Duration::from_millis(100);

pub(super) async fn send(client: &Client, subject: &Subject, experiment: &Experiment) -> Result<(), FaultError> {
    match experiment {
        Experiment::Network(chaos) => create(client, subject, chaos.as_ref()).await,
        Experiment::Pod(chaos) => create(client, subject, chaos.as_ref()).await,
        Experiment::Flush(pods) => {
            for pod in pods {
                flush(client, subject, pod).await?;
            }
            Ok(())
        }
    }
}

async fn create<K>(client: &Client, subject: &Subject, chaos: &K) -> Result<(), FaultError>
where
    K: Chaos + Resource<DynamicType = (), Scope = kube::core::NamespaceResourceScope>,
    K: Serialize + DeserializeOwned + Clone + Debug,
{
    let api: Api<K> = Api::namespaced(client.clone(), &subject.namespace);
    let name = chaos.meta().name.clone().unwrap_or_default();
    api.create(&PostParams::default(), chaos).await?;
    let deadline = Instant::now() + INJECT_DEADLINE;
    loop {
        let seen = api.get_opt(&name).await?;
        if seen.as_ref().and_then(Chaos::status).is_some_and(injected) {
            return Ok(());
        }
        if seen.is_none() || Instant::now() >= deadline {
            let why = match &seen {
                None => "the object is gone".to_owned(),
                Some(object) => format!("its status is {:?}", object.status()),
            };
            return Err(FaultError::NotInjected {
                name,
                seconds: INJECT_DEADLINE.as_secs(),
                why,
            });
        }
        sleep(PAUSE).await;
    }
}

async fn flush(client: &Client, subject: &Subject, pod: &str) -> Result<(), FaultError> {
    let port = showrunner_crds::names::ADMIN_PORT;
    let path = format!("/api/v1/namespaces/{}/pods/{pod}:{port}/proxy/flush", subject.namespace);
    let request = http::Request::post(path)
        .body(Vec::new())
        .map_err(kube::Error::HttpError)?;
    client.request_text(request).await?;
    Ok(())
}

/// Takes a mutation back and waits until it is seen to be gone. What is gone already is taken back.
pub(super) async fn take_back(client: &Client, undo: &Undo) -> Result<(), FaultError> {
    match undo {
        Undo::SelfHealing => Ok(()),
        Undo::DeleteChaos { kind, namespace, name } => match kind.as_str() {
            "NetworkChaos" => delete(Api::<NetworkChaos>::namespaced(client.clone(), namespace), name).await,
            "PodChaos" => delete(Api::<PodChaos>::namespaced(client.clone(), namespace), name).await,
            other => Err(FaultError::UnknownKind(other.to_owned())),
        },
    }
}

async fn delete<K>(api: Api<K>, name: &str) -> Result<(), FaultError>
where
    K: Clone + DeserializeOwned + Debug,
{
    match api.delete(name, &DeleteParams::default()).await {
        Ok(_) => {}
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(()),
        Err(error) => return Err(error.into()),
    }
    let deadline = Instant::now() + RECOVER_DEADLINE;
    // The finalizer holds the object until the fault is recovered, so gone means recovered.
    while api.get_opt(name).await?.is_some() {
        if Instant::now() >= deadline {
            return Err(FaultError::NotRecovered {
                name: name.to_owned(),
                seconds: RECOVER_DEADLINE.as_secs(),
            });
        }
        sleep(PAUSE).await;
    }
    Ok(())
}
