//! From the samples of one metric to the size it proposes.

use jiff::Timestamp;

use super::pods::{Group, PodView};
use super::ratio::{Usage, Utilization, ceil};
use super::samples::{Lookup, PodSamples, PodUsage, PodValue};
use super::settings::{Settings, Tolerances};
use super::trace::{Kept, SetAside, Sink, Step};

/// What a calculation needs besides its metric.
#[derive(Clone, Copy, Debug)]
pub struct Context<'a> {
    /// The pods under the target's selector.
    pub pods: &'a [PodView],
    /// `spec.replicas` of the target.
    pub spec_replicas: i32,
    /// `status.replicas` of the target.
    pub status_replicas: i32,
    /// How close to 1 a ratio must be to keep the size.
    pub tolerances: Tolerances,
    /// The cluster's settings.
    pub settings: &'a Settings,
    /// The time of the evaluation.
    pub now: Timestamp,
}

/// The size one metric asks for, and what was measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Proposal {
    /// The size.
    pub replicas: i32,
    /// Utilisation in percent, for utilisation targets.
    pub utilization_percent: Option<i32>,
    /// The value measured, in thousandths: the mean over pods, or the value itself for value targets.
    pub value_m: i64,
}

/// The samples of one metric sorted over the pods.
#[derive(Default)]
struct Joined {
    ready: i64,
    superfluous: i64,
    /// Wrapping sum over ready pods and superfluous samples.
    plain: i64,
    usage: i128,
    requests: i128,
    missing: i64,
    missing_requests: i128,
    missing_full: i128,
    unready: i64,
    unready_requests: i128,
    request_error: Option<String>,
}

/// The utilisation target whose requests are needed, if the metric has one.
#[derive(Clone, Copy)]
struct Against<'a> {
    resource: &'a str,
    container: Option<&'a str>,
    target_percent: i32,
}

fn join(
    context: &Context<'_>,
    samples: PodSamples<'_>,
    cpu: bool,
    against: Option<Against<'_>>,
    sink: &mut impl Sink,
) -> Result<Joined, String> {
    let mut joined = Joined::default();
    let mut lookup = Lookup::new(samples);
    let (mut matched, mut matched_valid, mut matched_sum) = (0_usize, 0_i64, 0_i64);
    let mut set_aside = Vec::new();
    for pod in context.pods {
        let sample = match lookup.position(&pod.name) {
            Some(at) => {
                matched += 1;
                samples.read(at)?
            }
            None => None,
        };
        if let Some(sample) = sample {
            matched_valid += 1;
            matched_sum = matched_sum.wrapping_add(sample.value);
        }
        let group = pod.group(sample.map(|sample| sample.time), cpu, context.settings, context.now);
        if sink.on() && group != Group::Ready {
            set_aside.push(SetAside {
                pod: pod.name.clone(),
                group,
            });
        }
        let request = match against {
            None => 0,
            Some(against) => {
                match pod.request(
                    against.resource,
                    against.container,
                    context.settings.pod_level_resources,
                ) {
                    Ok(request) => request,
                    Err(error) => {
                        joined.request_error.get_or_insert_with(|| error.to_string());
                        0
                    }
                }
            }
        };
        match (group, sample) {
            (Group::Ready, Some(sample)) => {
                joined.ready += 1;
                joined.plain = joined.plain.wrapping_add(sample.value);
                joined.usage += i128::from(sample.value);
                joined.requests += i128::from(request);
            }
            (Group::Missing, _) => {
                joined.missing += 1;
                joined.missing_requests += i128::from(request);
                let percent = i64::from(against.map_or(100, |against| against.target_percent).max(100));
                joined.missing_full += i128::from(request.wrapping_mul(percent) / 100);
            }
            (group, _) if group.is_unready() => {
                joined.unready += 1;
                joined.unready_requests += i128::from(request);
            }
            _ => {}
        }
    }
    if matched < samples.len() {
        let (mut valid, mut sum) = (0_i64, 0_i64);
        for at in 0..samples.len() {
            if let Some(sample) = samples.read(at)? {
                valid += 1;
                sum = sum.wrapping_add(sample.value);
            }
        }
        joined.superfluous = (valid - matched_valid).max(0);
        joined.plain = joined.plain.wrapping_add(sum.wrapping_sub(matched_sum));
    }
    sink.record(|| Step::Pods {
        total: context.pods.len(),
        ready: joined.ready,
        set_aside,
        superfluous: joined.superfluous,
    });
    Ok(joined)
}

/// Whether usage is exactly on target. Missing pods are then left out: neither direction is in question. A ratio that is
/// not a number counts as on target too, as it is neither above nor below.
fn is_one(ratio: f64) -> bool {
    !matches!(
        ratio.partial_cmp(&1.0),
        Some(std::cmp::Ordering::Less | std::cmp::Ordering::Greater)
    )
}

/// A ratio on which both kinds of per-pod metric finish alike.
struct Ratios {
    /// Ready pods alone.
    measured: f64,
    /// With assumptions for missing and unready pods; equal to `measured` when there are none to make.
    assumed: Option<f64>,
    /// Pods behind `assumed`.
    counted: i64,
}

fn propose(context: &Context<'_>, ratios: &Ratios, ready: i64, sink: &mut impl Sink) -> i32 {
    let current = context.spec_replicas;
    let within = |ratio| context.tolerances.contain(ratio);
    let (ratio, pods, kept) = match ratios.assumed {
        None => (
            ratios.measured,
            ready,
            within(ratios.measured).then_some(Kept::WithinTolerance),
        ),
        Some(assumed) => {
            let (measured, proposed) = (ratios.measured, ceil(assumed * ratios.counted as f64));
            let kept = if within(assumed) {
                Some(Kept::WithinTolerance)
            } else if (measured < 1.0 && assumed > 1.0) || (measured > 1.0 && assumed < 1.0) {
                Some(Kept::RatioTurned)
            } else if (assumed < 1.0 && proposed > current) || (assumed > 1.0 && proposed < current) {
                Some(Kept::SizeTurned)
            } else {
                None
            };
            (assumed, ratios.counted, kept)
        }
    };
    if let Some(why) = kept {
        keep(context, why, ratio, current, sink)
    } else {
        let replicas = ceil(ratio * pods as f64);
        sink.record(|| Step::Propose { ratio, pods, replicas });
        replicas
    }
}

fn keep(context: &Context<'_>, why: Kept, ratio: f64, replicas: i32, sink: &mut impl Sink) -> i32 {
    let (low, high) = (1.0 - context.tolerances.down, 1.0 + context.tolerances.up);
    sink.record(|| Step::Keep {
        why,
        ratio,
        low,
        high,
        replicas,
    });
    replicas
}

const NO_PODS: &str = "no pods returned by selector while calculating replica count";
const NO_READY_SAMPLES: &str = "did not receive metrics for targeted pods (pods might be unready)";

fn saturate(value: i128) -> i64 {
    i64::try_from(value).unwrap_or(if value < 0 { i64::MIN } else { i64::MAX })
}

pub(super) fn utilization(
    context: &Context<'_>,
    items: &[PodUsage],
    resource: &str,
    container: Option<&str>,
    target_percent: i32,
    sink: &mut impl Sink,
) -> Result<Proposal, String> {
    let against = Against {
        resource,
        container,
        target_percent,
    };
    let joined = join_resource(context, items, resource, container, Some(against), sink)?;
    if let Some(error) = joined.request_error {
        return Err(error);
    }
    let measure = |usage: i128, requests: i128, entries: i64| {
        Utilization::of(usage, requests, entries, target_percent).map_err(|error| error.to_string())
    };
    let measured = measure(joined.usage, joined.requests, joined.ready)?;
    sink.record(|| Step::Utilization {
        usage_m: saturate(joined.usage),
        requests_m: saturate(joined.requests),
        percent: measured.percent,
        target: target_percent,
        ratio: measured.ratio,
    });
    let up_with_unready = joined.unready > 0 && measured.ratio > 1.0;
    let mut ratios = Ratios {
        measured: measured.ratio,
        assumed: None,
        counted: joined.ready + joined.superfluous,
    };
    if up_with_unready || joined.missing > 0 {
        let (mut usage, mut requests, mut entries) = (joined.usage, joined.requests, joined.ready);
        if joined.missing > 0 && !is_one(measured.ratio) {
            let down = measured.ratio < 1.0;
            usage += if down { joined.missing_full } else { 0 };
            requests += joined.missing_requests;
            entries += joined.missing;
            ratios.counted += joined.missing;
            let percent = if down { target_percent.max(100) } else { 0 };
            let ratio = measure(usage, requests, entries)?.ratio;
            sink.record(|| Step::Assumed {
                of: "missing",
                pods: joined.missing,
                percent,
                ratio,
            });
        }
        if up_with_unready {
            requests += joined.unready_requests;
            entries += joined.unready;
            ratios.counted += joined.unready;
            let ratio = measure(usage, requests, entries)?.ratio;
            sink.record(|| Step::Assumed {
                of: "unready",
                pods: joined.unready,
                percent: 0,
                ratio,
            });
        }
        ratios.assumed = Some(measure(usage, requests, entries)?.ratio);
    }
    Ok(Proposal {
        replicas: propose(context, &ratios, joined.ready, sink),
        utilization_percent: Some(measured.percent),
        value_m: measured.average_m,
    })
}

fn join_resource(
    context: &Context<'_>,
    items: &[PodUsage],
    resource: &str,
    container: Option<&str>,
    against: Option<Against<'_>>,
    sink: &mut impl Sink,
) -> Result<Joined, String> {
    let unable = |error: &str| format!("unable to get metrics for resource {resource}: {error}");
    if items.is_empty() {
        return Err(unable("no metrics returned from resource metrics API"));
    }
    let samples = PodSamples::Resource {
        items,
        resource,
        container,
    };
    let joined = join(context, samples, resource == "cpu", against, sink)
        .map_err(|error| unable(&format!("failed to get container metrics: {error}")))?;
    usable(context, joined)
}

fn usable(context: &Context<'_>, joined: Joined) -> Result<Joined, String> {
    if context.pods.is_empty() {
        return Err(NO_PODS.to_owned());
    }
    if joined.ready + joined.superfluous == 0 {
        return Err(NO_READY_SAMPLES.to_owned());
    }
    Ok(joined)
}

pub(super) fn resource_average(
    context: &Context<'_>,
    items: &[PodUsage],
    resource: &str,
    container: Option<&str>,
    target_m: i64,
    sink: &mut impl Sink,
) -> Result<Proposal, String> {
    let joined = join_resource(context, items, resource, container, None, sink)?;
    plain(context, &joined, target_m, sink)
}

pub(super) fn pods_average(
    context: &Context<'_>,
    items: &[PodValue],
    target_m: i64,
    sink: &mut impl Sink,
) -> Result<Proposal, String> {
    let joined = join(context, PodSamples::Values(items), false, None, sink)?;
    plain(context, &usable(context, joined)?, target_m, sink)
}

fn plain(context: &Context<'_>, joined: &Joined, target_m: i64, sink: &mut impl Sink) -> Result<Proposal, String> {
    let counted = joined.ready + joined.superfluous;
    let measure = |sum: i64, entries: i64| Usage::of(sum, entries, target_m).ok_or_else(|| NO_READY_SAMPLES.to_owned());
    let measured = measure(joined.plain, counted)?;
    sink.record(|| Step::Usage {
        value_m: measured.average_m,
        target_m,
        ratio: measured.ratio,
    });
    let up_with_unready = joined.unready > 0 && measured.ratio > 1.0;
    let mut ratios = Ratios {
        measured: measured.ratio,
        assumed: None,
        counted,
    };
    if up_with_unready || joined.missing > 0 {
        let mut sum = joined.plain;
        if joined.missing > 0 && !is_one(measured.ratio) {
            let down = measured.ratio < 1.0;
            if down {
                sum = sum.wrapping_add(target_m.wrapping_mul(joined.missing));
            }
            ratios.counted += joined.missing;
            let ratio = measure(sum, ratios.counted)?.ratio;
            sink.record(|| Step::Assumed {
                of: "missing",
                pods: joined.missing,
                percent: if down { 100 } else { 0 },
                ratio,
            });
        }
        if up_with_unready {
            ratios.counted += joined.unready;
            let ratio = measure(sum, ratios.counted)?.ratio;
            sink.record(|| Step::Assumed {
                of: "unready",
                pods: joined.unready,
                percent: 0,
                ratio,
            });
        }
        ratios.assumed = Some(measure(sum, ratios.counted)?.ratio);
    }
    Ok(Proposal {
        replicas: propose(context, &ratios, joined.ready, sink),
        utilization_percent: None,
        value_m: measured.average_m,
    })
}

/// Sum of external series, capped at the greatest 64-bit integer. `guard_negative` also caps where the sum turns
/// negative, as Kubernetes does for averages only.
pub(super) fn external_sum(values: &[i64], guard_negative: bool) -> i64 {
    let mut sum = 0_i64;
    for value in values {
        let next = sum.wrapping_add(*value);
        if (*value > 0 && sum > i64::MAX - *value) || (guard_negative && next < 0) {
            return i64::MAX;
        }
        sum = next;
    }
    sum
}

/// A value target of an Object or External metric.
pub(super) fn value(
    context: &Context<'_>,
    value_m: i64,
    target_m: i64,
    sink: &mut impl Sink,
) -> Result<Proposal, String> {
    let ratio = value_m as f64 / target_m as f64;
    sink.record(|| Step::Usage {
        value_m,
        target_m,
        ratio,
    });
    let replicas = if context.spec_replicas == 0 {
        // From zero there are no pods to multiply with, and no tolerance.
        let replicas = ceil(ratio);
        sink.record(|| Step::Propose {
            ratio,
            pods: 1,
            replicas,
        });
        replicas
    } else if context.tolerances.contain(ratio) {
        keep(context, Kept::WithinTolerance, ratio, context.spec_replicas, sink)
    } else {
        if context.pods.is_empty() {
            return Err(format!("unable to calculate ready pods: {NO_PODS}"));
        }
        let ready = context.pods.iter().filter(|pod| pod.is_running_and_ready()).count() as i64;
        let replicas = ceil(ratio * ready as f64);
        sink.record(|| Step::Propose {
            ratio,
            pods: ready,
            replicas,
        });
        replicas
    };
    Ok(Proposal {
        replicas,
        utilization_percent: None,
        value_m,
    })
}

/// An average-value target of an Object or External metric: the total is shared between `status.replicas`.
pub(super) fn shared(context: &Context<'_>, total_m: i64, target_m: i64, sink: &mut impl Sink) -> Proposal {
    let shares = f64::from(context.status_replicas);
    let ratio = total_m as f64 / (target_m as f64 * shares);
    sink.record(|| Step::Usage {
        value_m: total_m,
        target_m,
        ratio,
    });
    let replicas = if context.tolerances.contain(ratio) {
        keep(context, Kept::WithinTolerance, ratio, context.status_replicas, sink)
    } else {
        let wanted = total_m as f64 / target_m as f64;
        let replicas = ceil(wanted);
        sink.record(|| Step::Propose {
            ratio: wanted,
            pods: 1,
            replicas,
        });
        replicas
    };
    Proposal {
        replicas,
        utilization_percent: None,
        value_m: (total_m as f64 / shares).ceil() as i64,
    }
}
