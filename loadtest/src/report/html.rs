//! One self-contained HTML page: the verdict, the evidence behind each gate, charts, faults, the cluster's own words.

use std::{collections::BTreeMap, fmt::Write};

use super::chart::{Band, Chart, Line, draw};
use crate::{
    evidence::{Event, Evidence},
    judge::{Facts, Outcome, Verdict},
    plan::{clock, plan},
};

/// Events of the cluster shown at the most; the evidence has them all.
const EVENTS_SHOWN: usize = 200;

/// Writes the page. Nothing in it refers to anything outside it.
#[must_use]
pub fn html(verdict: &Verdict, evidence: &Evidence) -> String {
    let facts = Facts::of(evidence);
    let header = &evidence.header;
    let mut out = String::new();
    let _ = write!(
        out,
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">\
         <meta name=\"viewport\" content=\"width=device-width\"><title>{title} — {outcome}</title><style>{STYLE}</style></head><body>\
         <header class=\"{outcome}\"><h1>{title}</h1><p class=\"outcome\">{outcome}</p>\
         <p>run <code>{run}</code> · scenario <code>{scenario}</code> · platform <code>{platform}</code> · seed {seed} · {started} · \
         showrunner {version}</p></header>",
        title = escape(&verdict.title),
        outcome = verdict.outcome,
        run = escape(&verdict.run),
        scenario = escape(&verdict.scenario),
        platform = escape(&verdict.platform),
        seed = verdict.seed,
        started = header.started.strftime("%Y-%m-%d %H:%M:%S UTC"),
        version = escape(&header.version),
    );
    gates(&mut out, verdict);
    charts(&mut out, evidence, &facts);
    faults(&mut out, evidence);
    conditions(&mut out, evidence);
    events(&mut out, evidence);
    let _ = write!(
        out,
        "<footer>Judged from <code>evidence.jsonl</code> ({} records); <code>showrunner judge</code> gives the same verdict from it.</footer></body></html>",
        evidence.records.len()
    );
    out
}

fn gates(out: &mut String, verdict: &Verdict) {
    out.push_str("<h2>Gates</h2><table><tr><th></th><th>gate</th><th>asks</th><th>measured</th><th>samples</th><th>evidence</th></tr>");
    for gate in &verdict.gates {
        let mark = match gate.outcome {
            Outcome::Pass => "✔",
            Outcome::Fail => "✘",
            Outcome::Inconclusive => "?",
        };
        let _ = write!(
            out,
            "<tr class=\"{}\"><td>{mark}</td><td>{}</td><td>{}</td><td><b>{}</b></td><td class=\"n\">{}</td><td>{}</td></tr>",
            gate.outcome,
            escape(&gate.name),
            escape(&gate.asks),
            escape(&gate.measured),
            gate.samples,
            escape(&gate.because)
        );
    }
    out.push_str("</table>");
    for doubt in &verdict.doubts {
        let _ = write!(out, "<p class=\"doubt\">Doubt: {}</p>", escape(doubt));
    }
    if !verdict.undone {
        out.push_str("<p class=\"doubt\">Not every fault is known to be undone.</p>");
    }
}

fn charts(out: &mut String, evidence: &Evidence, facts: &Facts) {
    let header = &evidence.header;
    let Ok(timeline) = plan(&header.scenario, &header.platform, Some(header.seed)) else {
        return;
    };
    let seconds = |ms: i64| ms as f64 / 1000.0;
    let bands: Vec<Band> = facts
        .faults
        .iter()
        .filter_map(|f| {
            Some(Band {
                name: f.name.clone(),
                span: (seconds(f.injected?), seconds(f.undone_at.unwrap_or(facts.end))),
            })
        })
        .collect();
    let marks: Vec<(f64, String)> = timeline
        .phases
        .iter()
        .map(|p| (p.start_ms as f64 / 1000.0, p.name.clone()))
        .collect();
    let length = seconds(facts.end).max(timeline.length_ms as f64 / 1000.0);
    let chart = |title: &str, unit: &str, lines: Vec<Line>| {
        draw(&Chart {
            title,
            unit,
            lines,
            bands: &bands,
            marks: &marks,
            length,
        })
    };
    let per_edge = f64::from(header.platform.edge.viewers_per_replica);
    let target = (0..=timeline.length_ms / 1000)
        .map(|s| (s as f64, f64::from(timeline.viewers_at(s * 1000))))
        .collect();
    let mut audience = by_name(facts.pathways.iter().map(|((at, pathway), seen)| {
        (
            pathway.clone(),
            (seconds(*at), f64::from(seen.playing + seen.stalled + seen.starting)),
        )
    }));
    audience.push(Line {
        name: "scenario".into(),
        points: target,
        reference: true,
    });
    let mut ready: Vec<Line> = by_name(
        facts
            .edges
            .iter()
            .map(|((at, region), ready)| (region.clone(), (seconds(*at), f64::from(*ready)))),
    );
    ready.push(Line {
        name: "needed in all".into(),
        points: facts
            .watching
            .iter()
            .map(|(at, n)| (seconds(*at), (f64::from(*n) / per_edge).ceil()))
            .collect(),
        reference: true,
    });
    let mut stalled: BTreeMap<i64, f64> = BTreeMap::new();
    for ((at, _), seen) in &facts.pathways {
        *stalled.entry(*at).or_default() += f64::from(seen.stalled);
    }
    let stalled = stalled.into_iter().map(|(at, n)| (seconds(at), n)).collect();
    let latency = facts.segment_p95.iter().map(|(at, ms)| (seconds(*at), *ms)).collect();
    out.push_str("<h2>What happened</h2>");
    for svg in [
        chart("Viewers by pathway", "viewers", audience),
        chart("Ready edges by region", "edges", ready),
        chart(
            "Stalled viewers",
            "viewers",
            vec![Line {
                name: "stalled".into(),
                points: stalled,
                reference: false,
            }],
        ),
        chart(
            "Segment time to last byte, p95",
            "ms",
            vec![Line {
                name: "p95".into(),
                points: latency,
                reference: false,
            }],
        ),
    ] {
        let _ = write!(out, "<figure>{svg}</figure>");
    }
}

fn by_name(points: impl Iterator<Item = (String, (f64, f64))>) -> Vec<Line> {
    let mut lines: BTreeMap<String, Vec<(f64, f64)>> = BTreeMap::new();
    for (name, point) in points {
        lines.entry(name).or_default().push(point);
    }
    lines
        .into_iter()
        .map(|(name, points)| Line {
            name,
            points,
            reference: false,
        })
        .collect()
}

fn faults(out: &mut String, evidence: &Evidence) {
    rows(
        out,
        "Faults",
        &["time", "fault", "stage", "detail"],
        evidence.records.iter().filter_map(|r| match &r.event {
            Event::Fault { name, stage, detail } => Some(vec![
                moment(r.t),
                name.clone(),
                format!("{stage:?}").to_lowercase(),
                detail.clone(),
            ]),
            _ => None,
        }),
    );
}

fn conditions(out: &mut String, evidence: &Evidence) {
    rows(
        out,
        "Conditions of the platform",
        &["time", "condition", "status", "reason", "message"],
        evidence.records.iter().filter_map(|r| match &r.event {
            Event::Condition(c) => Some(vec![
                moment(r.t),
                c.condition.clone(),
                c.status.clone(),
                c.reason.clone(),
                c.message.clone(),
            ]),
            _ => None,
        }),
    );
}

fn events(out: &mut String, evidence: &Evidence) {
    rows(
        out,
        "Events of the cluster",
        &["time", "severity", "reason", "object", "message"],
        evidence
            .records
            .iter()
            .filter_map(|r| match &r.event {
                Event::Kube(e) => Some(vec![
                    moment(r.t),
                    e.severity.clone(),
                    e.reason.clone(),
                    e.object.clone(),
                    e.message.clone(),
                ]),
                _ => None,
            })
            .take(EVENTS_SHOWN),
    );
}

fn rows(out: &mut String, title: &str, heads: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let body: String = rows
        .map(|cells| {
            let cells: String = cells.iter().map(|c| format!("<td>{}</td>", escape(c))).collect();
            format!("<tr>{cells}</tr>")
        })
        .collect();
    if body.is_empty() {
        return;
    }
    let heads: String = heads.iter().map(|h| format!("<th>{h}</th>")).collect();
    let _ = write!(
        out,
        "<details open><summary><h2>{title}</h2></summary><table><tr>{heads}</tr>{body}</table></details>"
    );
}

fn moment(t: i64) -> String {
    let sign = if t < 0 { "−" } else { "" };
    format!("{sign}{}", clock(t.unsigned_abs()))
}

/// Text that cannot become markup.
pub(super) fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
        .replace('"', "&quot;")
}

const STYLE: &str = "
:root{color-scheme:light}body{font:15px/1.5 system-ui,sans-serif;max-width:1000px;margin:2rem auto;padding:0 1rem;color:#222;background:#fff}
header{border-left:10px solid #999;padding-left:1rem}header.pass{border-color:#009e73}header.fail{border-color:#d55e00}header.inconclusive{border-color:#e69f00}
h1{margin:0}h2{font-size:1.15rem;margin:1.6rem 0 .4rem}summary h2{display:inline-block}.outcome{font-size:1.5rem;font-weight:700;margin:.2rem 0}
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:.3rem .6rem;border-bottom:1px solid #ddd;vertical-align:top;overflow-wrap:anywhere}
th,.n{white-space:nowrap}tr.pass td:first-child{color:#009e73}tr.fail{background:#fff1e8}tr.inconclusive{background:#fff9e5}.n{text-align:right}.doubt{background:#fff9e5;padding:.5rem 1rem}
figure{margin:.5rem 0}svg{max-width:100%;height:auto}footer{margin-top:2rem;color:#666;font-size:.85rem}code{font-size:.9em}";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{judge::judge, testing::evidence};

    #[test]
    fn a_page_stands_alone_and_shows_every_gate() {
        let evidence = evidence();
        let verdict = judge(&evidence);
        let page = html(&verdict, &evidence);
        for gate in &verdict.gates {
            assert!(page.contains(&escape(&gate.name)), "{}", gate.name);
        }
        assert!(page.matches("<svg").count() == 4, "four charts");
        for outside in ["src=", "href=", "@import", "url("] {
            assert!(!page.contains(outside), "{outside}");
        }
    }

    #[test]
    fn what_comes_from_the_cluster_cannot_become_markup() {
        let mut evidence = evidence();
        evidence.header.scenario.title = "<script>alert(1)</script>".into();
        let page = html(&judge(&evidence), &evidence);
        assert!(!page.contains("<script>"));
    }
}
