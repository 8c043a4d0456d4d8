//! `showrunner explain`.

mod files;
mod live;
mod metrics;

use std::io::Write;

use jiff::Timestamp;
use showrunner_autoscaling::{
    audience::Capacity,
    explain::{Inputs, Options, Project, explain},
    hpa::Settings,
    project::PodModel,
};
use showrunner_crds::platform::Edge;

use crate::{
    args::{ExplainArgs, ExplainSubject, HpaArgs, RampArgs, SettingsArgs},
    failure::Failure,
    output::print,
};

/// What is to be explained.
struct Subject {
    inputs: Inputs,
    /// The time of the evaluation; `None`: that of the newest sample.
    now: Option<Timestamp>,
    /// What the platform that it belongs to says of its replicas.
    capacity: Option<Capacity>,
}

pub(crate) async fn run(args: ExplainArgs) -> Result<u8, Failure> {
    let ExplainSubject::Hpa(args) = args.subject;
    let asks_cluster = args.namespace.is_some() || args.kubeconfig.is_some() || args.context.is_some();
    let subject = if asks_cluster {
        live::read(&args).await?
    } else {
        files::read(&args.sources, args.name.as_deref())?
    };
    let explanation = explain(&subject.inputs, &options(&args, &subject)?);
    if args.json {
        let json = serde_json::to_string_pretty(&explanation.to_json())
            .map_err(|error| Failure::infrastructure(format!("cannot write JSON: {error}")))?;
        print(&format!("{json}\n"))?;
    } else {
        print(&explanation.to_text())?;
    }
    Ok(0)
}

/// Says something beside the answer.
fn note(text: &str) {
    let _ = writeln!(std::io::stderr(), "note: {text}");
}

fn options(args: &HpaArgs, subject: &Subject) -> Result<Options, Failure> {
    Ok(Options {
        now: args.at.or(subject.now),
        settings: settings(&args.settings),
        project: project(&args.ramp, subject)?,
    })
}

fn settings(args: &SettingsArgs) -> Settings {
    Settings {
        sync_period: args.sync_period,
        tolerance: args.tolerance,
        cpu_initialization_period: args.cpu_initialization_period,
        initial_readiness_delay: args.initial_readiness_delay,
        downscale_stabilization: args.downscale_stabilization,
        ..Settings::default()
    }
}

fn project(args: &RampArgs, subject: &Subject) -> Result<Option<Project>, Failure> {
    let (Some(per_second), Some(rises_for)) = (args.ramp, args.lasts) else {
        return Ok(None);
    };
    for name in named_metrics(&subject.inputs) {
        if !args.per_viewer.iter().any(|metric| metric.name == name) {
            return Err(Failure::invalid(format!(
                "the autoscaler follows the metric {name}: say how much of it one viewer makes, with --per-viewer {name}=AMOUNT"
            )));
        }
    }
    let samples = subject.inputs.observation.samples.resource.iter().flatten();
    let window = samples
        .map(|usage| usage.window)
        .max()
        .filter(jiff::SignedDuration::is_positive);
    // Where nothing is said of a replica, it is taken for an edge of which nothing is said either.
    let known = subject.capacity.unwrap_or_else(|| {
        let edge = Edge::default();
        Capacity {
            viewers_per_replica: edge.viewers_per_replica,
            headroom_percent: edge.autoscaling.headroom_percent,
        }
    });
    Ok(Some(Project {
        per_second,
        rises_for,
        initial: args.viewers,
        model: PodModel {
            capacity: Capacity {
                viewers_per_replica: args.viewers_per_replica.unwrap_or(known.viewers_per_replica),
                headroom_percent: args.headroom.unwrap_or(known.headroom_percent),
            },
            saturation_percent: args.saturation,
            start: args.pod_start,
            metric_window: window.unwrap_or(jiff::SignedDuration::from_secs(30)),
            per_viewer_m: args
                .per_viewer
                .iter()
                .map(|metric| (metric.name.clone(), metric.amount * 1000.0))
                .collect(),
        },
    }))
}

/// The metrics that are no resource: what a viewer makes of them cannot be told from requests.
fn named_metrics(inputs: &Inputs) -> Vec<String> {
    let metrics = inputs.hpa.spec.metrics.iter().flatten();
    metrics
        .filter_map(|spec| {
            let pods = spec.pods.as_ref().map(|source| &source.metric);
            let object = spec.object.as_ref().map(|source| &source.metric);
            let external = spec.external.as_ref().map(|source| &source.metric);
            pods.or(object).or(external).map(|metric| metric.name.clone())
        })
        .collect()
}
