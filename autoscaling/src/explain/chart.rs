//! A projection as a chart of characters.

use std::fmt::Write as _;

use super::text::clock;
use crate::project::{Point, Projection};

const COLUMNS: usize = 72;
const ROWS: u32 = 12;

/// Ready replicas (`█`), replicas not ready yet (`░`) and what the audience needs (`●`, or `▲` where it is short) over
/// time. Ends with a line break.
pub fn chart(projection: &Projection) -> String {
    let points = &projection.points;
    let columns = points.len().clamp(1, COLUMNS);
    // Of the points that share a column the one with the greatest need is shown: a shortage must not fall between columns.
    let column = |at: usize| -> Option<&Point> {
        let (from, to) = (at * points.len() / columns, (at + 1) * points.len() / columns);
        points
            .get(from..to.max(from + 1))?
            .iter()
            .max_by_key(|point| point.needed.saturating_sub(point.ready))
    };
    let shown: Vec<&Point> = (0..columns).filter_map(column).collect();
    let top = shown
        .iter()
        .map(|point| point.needed.max(point.replicas))
        .max()
        .unwrap_or(1)
        .max(1);
    let per_row = top.div_ceil(ROWS).max(1);
    let rows = top.div_ceil(per_row);
    let row_of = |replicas: u32| replicas.div_ceil(per_row);
    let mut out = String::new();
    for row in (1..=rows).rev() {
        let _ = write!(out, "{:>6} ┤", row * per_row);
        for point in &shown {
            let need = row_of(point.needed);
            out.push(if row == need && point.ready < point.needed {
                '▲'
            } else if row == need {
                '●'
            } else if row <= row_of(point.ready) {
                '█'
            } else if row <= row_of(point.replicas) {
                '░'
            } else {
                ' '
            });
        }
        while out.ends_with(' ') {
            out.pop();
        }
        out.push('\n');
    }
    let _ = writeln!(out, "     0 └{}", "─".repeat(shown.len()));
    let end = clock(points.last().map_or(0, |point| point.second));
    let _ = writeln!(
        out,
        "        {:<width$}{end}",
        "0:00",
        width = shown.len().saturating_sub(end.len()).max(5)
    );
    out.push_str("        █ ready  ░ not ready yet  ● needed by the audience  ▲ needed and missing\n");
    out
}
