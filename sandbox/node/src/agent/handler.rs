//! Carries out what probes and lifecycle hooks ask for: HTTP, TCP, commands, sleep.

use super::context::PodContext;
use super::groups::signal_group;
use super::spawn::SpawnRequest;
use crate::key::Peer;
use bytes::Bytes;
use http_body_util::Empty;
use hyper_util::rt::TokioIo;
use k8s_openapi::api::core::v1::{Container, ExecAction, HTTPGetAction, LifecycleHandler, Probe};
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use nix::sys::signal::Signal;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::time::timeout;

/// How much of a command's output a message quotes.
const QUOTED: usize = 1024;
/// How long output may follow a command's end.
const LAST_WORDS: Duration = Duration::from_millis(200);

/// Where and how commands of a container run.
#[derive(Clone, Debug)]
pub(crate) struct Shell {
    pub(crate) base: SpawnRequest,
    pub(crate) translation: super::translate::Translation,
}

/// Runs a probe once. The error is what the Unhealthy event says.
pub(crate) async fn probe(
    ctx: &PodContext,
    shell: &Shell,
    container: &Container,
    probe: &Probe,
    limit: Duration,
) -> Result<(), String> {
    let attempt = async {
        if let Some(action) = &probe.http_get {
            http_get(ctx, container, action).await
        } else if let Some(action) = &probe.tcp_socket {
            let port = port(&action.port, container)?;
            ctx.agent
                .network
                .dial(Peer::Host, &ctx.key, port)
                .await
                .map(drop)
                .map_err(|error| error.to_string())
        } else if let Some(action) = &probe.exec {
            exec(ctx, shell, action).await
        } else {
            Err("this kind of probe is not supported on this node (httpGet, tcpSocket and exec are)".to_owned())
        }
    };
    timeout(limit, attempt)
        .await
        .unwrap_or_else(|_| Err(format!("no answer within {limit:?}")))
}

/// Runs a lifecycle hook.
pub(crate) async fn hook(
    ctx: &PodContext,
    shell: &Shell,
    container: &Container,
    handler: &LifecycleHandler,
) -> Result<(), String> {
    if let Some(action) = &handler.exec {
        exec(ctx, shell, action).await
    } else if let Some(action) = &handler.http_get {
        http_get(ctx, container, action).await
    } else if let Some(action) = &handler.sleep {
        tokio::time::sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or(0))).await;
        Ok(())
    } else {
        Err("this kind of hook is not supported on this node (exec, httpGet and sleep are)".to_owned())
    }
}

fn port(wanted: &IntOrString, container: &Container) -> Result<u16, String> {
    let number = match wanted {
        IntOrString::Int(number) => Some(*number),
        IntOrString::String(name) => name.parse().ok().or_else(|| {
            container
                .ports
                .iter()
                .flatten()
                .find(|p| p.name.as_deref() == Some(name))
                .map(|p| p.container_port)
        }),
    };
    number
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| format!("container {} has no port {wanted:?}", container.name))
}

async fn http_get(ctx: &PodContext, container: &Container, action: &HTTPGetAction) -> Result<(), String> {
    if action.scheme.as_deref().is_some_and(|scheme| scheme != "HTTP") {
        return Err("only the scheme HTTP is supported on this node".to_owned());
    }
    let port = port(&action.port, container)?;
    let text = |error: &dyn std::error::Error| error.to_string();
    let stream = ctx
        .agent
        .network
        .dial(Peer::Host, &ctx.key, port)
        .await
        .map_err(|error| text(&error))?;
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
        .await
        .map_err(|error| text(&error))?;
    let path = action.path.as_deref().filter(|path| !path.is_empty()).unwrap_or("/");
    let path = if path.starts_with('/') {
        path.to_owned()
    } else {
        format!("/{path}")
    };
    let mut request = http::Request::get(&path)
        .header("Host", format!("{}:{port}", ctx.facts.pod_ip))
        .header("User-Agent", "kube-probe/1.36")
        .header("Accept", "*/*")
        .header("Connection", "close");
    for header in action.http_headers.iter().flatten() {
        request = request.header(&header.name, &header.value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|error| text(&error))?;
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(|error| text(&error))?,
        // Polling the connection drives the exchange; its end without a response shows up above.
        Err(error) = connection => return Err(text(&error)),
    };
    let status = response.status().as_u16();
    if (200..400).contains(&status) {
        Ok(())
    } else {
        Err(format!("HTTP probe failed with statuscode: {status}"))
    }
}

async fn exec(ctx: &PodContext, shell: &Shell, action: &ExecAction) -> Result<(), String> {
    let words: Vec<String> = action
        .command
        .iter()
        .flatten()
        .map(|word| shell.translation.apply(word))
        .collect();
    let argv = ctx
        .agent
        .config
        .images
        .resolve("", &words, &[])
        .map_err(|error| error.to_string())?;
    let request = SpawnRequest {
        argv,
        ..shell.base.clone()
    };
    let mut spawned = ctx
        .agent
        .spawner
        .spawn(request)
        .await
        .map_err(|error| error.to_string())?;
    let group = KillOnDrop {
        ctx,
        group: spawned.pid,
    };
    ctx.agent.groups.add(spawned.pid);
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let status = {
        let drained = async {
            tokio::join!(
                quote(&mut spawned.stdout, &mut output),
                quote(&mut spawned.stderr, &mut errors)
            )
        };
        tokio::pin!(drained);
        tokio::select! {
            status = &mut spawned.exit => {
                // A child in the background may hold the pipes open for ever.
                let _ = timeout(LAST_WORDS, drained).await;
                status
            }
            _ = &mut drained => spawned.exit.await,
        }
    };
    drop(group);
    let status = status.map_err(|_| "the command was lost".to_owned())?;
    if status.success() {
        return Ok(());
    }
    output.extend_from_slice(&errors);
    Err(format!(
        "command {:?} failed ({status}): {}",
        words.join(" "),
        String::from_utf8_lossy(&output).trim()
    ))
}

/// Reads to the end and keeps the beginning.
async fn quote(from: &mut (impl AsyncRead + Unpin), kept: &mut Vec<u8>) {
    let mut buffer = vec![0u8; 4096];
    // What cannot be read is not quoted.
    while let Ok(n @ 1..) = from.read(&mut buffer).await {
        let room = QUOTED.saturating_sub(kept.len());
        kept.extend_from_slice(&buffer[..n.min(room)]);
    }
}

/// Kills a command's group when its caller is done with it, or gives up on it.
struct KillOnDrop<'a> {
    ctx: &'a PodContext,
    group: i32,
}

impl Drop for KillOnDrop<'_> {
    fn drop(&mut self) {
        signal_group(self.group, Signal::SIGKILL);
        self.ctx.agent.groups.remove_if_empty(self.group);
    }
}
