//! Arguments of `explain`.

use std::path::PathBuf;

use clap::{Args as ClapArgs, Subcommand, value_parser};
use jiff::{SignedDuration, Timestamp};
use showrunner_autoscaling::explain::parse_rate;

/// Arguments of `explain`.
#[derive(Debug, ClapArgs)]
pub(crate) struct ExplainArgs {
    /// What to explain.
    #[command(subcommand)]
    pub(crate) subject: ExplainSubject,
}

/// What can be explained.
#[derive(Debug, Subcommand)]
pub(crate) enum ExplainSubject {
    /// A HorizontalPodAutoscaler: what it decides now, by which rules, and what to do about it
    Hpa(HpaArgs),
}

/// Arguments of `explain hpa`.
#[derive(Debug, ClapArgs)]
#[command(after_help = "Examples:\n  \
    showrunner explain hpa -n cinema cinema-eu-edge\n  \
    showrunner explain hpa -n cinema cinema-eu-edge --ramp 100/s --for 10m\n  \
    showrunner explain hpa live.yaml other.yaml --name edge --json\n  \
    kubectl get hpa,deploy,pods,pods.metrics.k8s.io -o yaml | showrunner explain hpa -\n\n\
    From files it needs the autoscaler, its target, the target's pods and their PodMetrics; values of custom and external \
    metrics as the metrics APIs list them (MetricValue, ExternalMetricValue). What the controller remembers is in no API: a \
    document `kind: RecommendationHistory` states it. Other objects are skipped.\n\n\
    Exit codes: 0 explained, 2 invalid input, 6 the cluster does not answer.")]
pub(crate) struct HpaArgs {
    /// Files of YAML or JSON, `-` for standard input; with -n, --kubeconfig or --context the name of an autoscaler
    #[arg(value_name = "FILE|NAME", required = true)]
    pub(crate) sources: Vec<String>,
    /// Which autoscaler, where the files have several
    #[arg(long, value_name = "NAME", conflicts_with_all = ["namespace", "kubeconfig", "context"])]
    pub(crate) name: Option<String>,
    /// Ask the cluster, in this namespace
    #[arg(short, long)]
    pub(crate) namespace: Option<String>,
    /// Ask the cluster of this kubeconfig; by default that of $KUBECONFIG, ~/.kube/config or the pod this runs in
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Ask the cluster of this context of the kubeconfig
    #[arg(long)]
    pub(crate) context: Option<String>,
    /// Write JSON instead of text
    #[arg(long)]
    pub(crate) json: bool,
    /// Evaluate at this time (RFC 3339); by default that of the newest sample, and now in a cluster
    #[arg(long, value_name = "TIME")]
    pub(crate) at: Option<Timestamp>,
    /// The ramp to project.
    #[command(flatten)]
    pub(crate) ramp: RampArgs,
    /// The cluster's settings.
    #[command(flatten)]
    pub(crate) settings: SettingsArgs,
}

/// What a projection is made of.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Projection under a growing audience")]
pub(crate) struct RampArgs {
    /// Viewers that come: 100/s, 6000/m, 20000/h; negative for an audience that leaves
    #[arg(long, value_name = "RATE", value_parser = rate, requires = "lasts", allow_hyphen_values = true)]
    pub(crate) ramp: Option<f64>,
    /// For how long they come
    #[arg(long = "for", id = "lasts", value_name = "DURATION", value_parser = long_enough, requires = "ramp")]
    pub(crate) lasts: Option<SignedDuration>,
    /// Viewers there are now; by default as many as the measured utilisation stands for
    #[arg(long, value_name = "N", requires = "ramp")]
    pub(crate) viewers: Option<u64>,
    /// Viewers at which a replica uses all that it requests; by default its StreamingPlatform's, or 1000
    #[arg(long, value_name = "N", requires = "ramp", value_parser = value_parser!(u32).range(1..))]
    pub(crate) viewers_per_replica: Option<u32>,
    /// Capacity to be kept free, in percent of the audience; by default its StreamingPlatform's, or 25
    #[arg(long, value_name = "PERCENT", requires = "ramp", value_parser = value_parser!(u32).range(..=500))]
    pub(crate) headroom: Option<u32>,
    /// From a pod's creation to its readiness
    #[arg(long, value_name = "DURATION", requires = "ramp", value_parser = duration, default_value = "30s")]
    pub(crate) pod_start: SignedDuration,
    /// The most a replica can use, in percent of its request: above 100 where its limit is above its request
    #[arg(long, value_name = "PERCENT", requires = "ramp", default_value_t = 100, value_parser = value_parser!(u32).range(1..=10_000))]
    pub(crate) saturation: u32,
    /// How much of a Pods, Object or External metric one viewer makes; once for each such metric
    #[arg(long, value_name = "METRIC=AMOUNT", requires = "ramp", value_parser = metric)]
    pub(crate) per_viewer: Vec<Metric>,
}

/// A metric and an amount of it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Metric {
    pub(crate) name: String,
    pub(crate) amount: f64,
}

/// The flags of kube-controller-manager, `--horizontal-pod-autoscaler-` left out. Clusters of providers do not show them.
#[derive(Debug, ClapArgs)]
#[command(next_help_heading = "Settings of the cluster's controller manager (--horizontal-pod-autoscaler-…)")]
pub(crate) struct SettingsArgs {
    /// How often each autoscaler is evaluated
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "15s")]
    pub(crate) sync_period: SignedDuration,
    /// How far from 1 the ratio may be without any change
    #[arg(long, value_name = "FRACTION", value_parser = fraction, default_value = "0.1")]
    pub(crate) tolerance: f64,
    /// How long CPU samples of a young pod are held to be its start-up
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    pub(crate) cpu_initialization_period: SignedDuration,
    /// For how long after its start an unready pod is held to have never been ready
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "30s")]
    pub(crate) initial_readiness_delay: SignedDuration,
    /// The window of scaling down, where the autoscaler names none
    #[arg(long, value_name = "DURATION", value_parser = duration, default_value = "5m")]
    pub(crate) downscale_stabilization: SignedDuration,
}

/// Longest projection: an evening and the night after it.
const LONGEST: SignedDuration = SignedDuration::from_hours(24);

fn rate(text: &str) -> Result<f64, String> {
    parse_rate(text)
        .ok_or_else(|| "expected viewers a second, minute or hour, such as 100/s, 6000/m or 20000/h".to_owned())
}

fn duration(text: &str) -> Result<SignedDuration, String> {
    let duration: SignedDuration = text
        .parse()
        .map_err(|_| "expected a duration such as 90s, 10m or 1h30m".to_owned())?;
    if duration.is_negative() {
        return Err("a duration is not negative".to_owned());
    }
    Ok(duration)
}

fn long_enough(text: &str) -> Result<SignedDuration, String> {
    let duration = duration(text)?;
    if duration < SignedDuration::from_secs(1) || duration > LONGEST {
        return Err("expected between 1s and 24h".to_owned());
    }
    Ok(duration)
}

fn fraction(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(value) if (0.0..=1.0).contains(&value) => Ok(value),
        _ => Err("expected a fraction between 0 and 1, such as 0.1".to_owned()),
    }
}

fn metric(text: &str) -> Result<Metric, String> {
    let parsed = text.split_once('=').and_then(|(name, amount)| {
        let amount = amount
            .parse::<f64>()
            .ok()
            .filter(|amount| amount.is_finite() && *amount >= 0.0)?;
        (!name.is_empty()).then(|| Metric {
            name: name.to_owned(),
            amount,
        })
    });
    parsed.ok_or_else(|| "expected METRIC=AMOUNT, such as requests_per_second=0.25".to_owned())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// `--help` shows the defaults of the cluster's flags, and they are those that the library takes.
    #[test]
    fn the_settings_default_to_upstreams() {
        #[derive(clap::Parser)]
        struct Only {
            #[command(flatten)]
            settings: SettingsArgs,
        }
        let args = <Only as clap::Parser>::parse_from(["explain"]).settings;
        let settings = showrunner_autoscaling::hpa::Settings::default();
        assert_eq!(
            [
                args.sync_period,
                args.cpu_initialization_period,
                args.initial_readiness_delay,
                args.downscale_stabilization
            ],
            [
                settings.sync_period,
                settings.cpu_initialization_period,
                settings.initial_readiness_delay,
                settings.downscale_stabilization
            ]
        );
        assert_eq!(args.tolerance.to_bits(), settings.tolerance.to_bits());
    }

    #[test]
    fn amounts_are_read() {
        assert_eq!(rate("100/s").unwrap().to_bits(), 100_f64.to_bits());
        assert_eq!(rate("-60/m").unwrap().to_bits(), (-1_f64).to_bits());
        assert_eq!(long_enough("10m").unwrap(), SignedDuration::from_mins(10));
        let wanted = Metric {
            name: "rps".into(),
            amount: 0.25,
        };
        assert_eq!(metric("rps=0.25").unwrap(), wanted);
        for wrong in ["", "ten", "5/d"] {
            assert!(rate(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "0s", "25h", "-5m", "soon"] {
            assert!(long_enough(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "rps", "=1", "rps=x", "rps=-1", "rps=inf"] {
            assert!(metric(wrong).is_err(), "{wrong:?}");
        }
        for wrong in ["", "-0.1", "1.5", "NaN"] {
            assert!(fraction(wrong).is_err(), "{wrong:?}");
        }
    }
}
