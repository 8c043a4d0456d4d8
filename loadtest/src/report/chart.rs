//! Charts over the run's time, as SVG.

use plotters::{coord::Shift, prelude::*, style::RGBColor};

/// What is drawn.
pub(super) struct Chart<'a> {
    /// Heading.
    pub(super) title: &'a str,
    /// Unit of the vertical axis.
    pub(super) unit: &'a str,
    /// Lines over time.
    pub(super) lines: Vec<Line>,
    /// Stretches that are shaded: faults.
    pub(super) bands: &'a [Band],
    /// Moments that are marked: where phases begin.
    pub(super) marks: &'a [(f64, String)],
    /// Length of the run in seconds.
    pub(super) length: f64,
}

/// One line.
pub(super) struct Line {
    /// Its name in the legend.
    pub(super) name: String,
    /// Seconds and value.
    pub(super) points: Vec<(f64, f64)>,
    /// Drawn as steps' outline without fill, to compare others with.
    pub(super) reference: bool,
}

/// A shaded stretch.
pub(super) struct Band {
    /// Its name.
    pub(super) name: String,
    /// From and to, in seconds.
    pub(super) span: (f64, f64),
}

const SIZE: (u32, u32) = (940, 260);
/// Colours that stay apart for colour-blind readers (Okabe and Ito).
const PALETTE: [RGBColor; 6] = [
    RGBColor(0, 114, 178),
    RGBColor(230, 159, 0),
    RGBColor(0, 158, 115),
    RGBColor(204, 121, 167),
    RGBColor(86, 180, 233),
    RGBColor(213, 94, 0),
];

/// Draws a chart, or says in words why it could not.
pub(super) fn draw(chart: &Chart<'_>) -> String {
    let mut svg = String::new();
    let drawn = {
        let root = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        paint(&root, chart).map_err(|e| e.to_string())
    };
    match drawn {
        Ok(()) => svg,
        Err(error) => format!(
            "<p>{} could not be drawn: {}</p>",
            chart.title,
            super::html::escape(&error)
        ),
    }
}

fn paint(root: &DrawingArea<SVGBackend<'_>, Shift>, chart: &Chart<'_>) -> Result<(), Box<dyn std::error::Error>> {
    let highest = chart
        .lines
        .iter()
        .flat_map(|l| &l.points)
        .map(|p| p.1)
        .fold(1.0_f64, f64::max);
    let font = ("sans-serif", 13).into_font();
    let mut area = ChartBuilder::on(root)
        .caption(chart.title, ("sans-serif", 16))
        .margin(8)
        .x_label_area_size(28)
        .y_label_area_size(48)
        .build_cartesian_2d(0.0..chart.length.max(1.0), 0.0..highest * 1.12)?;
    area.draw_series(chart.bands.iter().map(|band| {
        Rectangle::new(
            [(band.span.0, 0.0), (band.span.1, highest * 1.12)],
            RED.mix(0.10).filled(),
        )
    }))?;
    area.configure_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(BLACK.mix(0.08))
        .label_style(font.clone())
        .x_desc("seconds")
        .y_desc(chart.unit)
        .x_labels(12)
        .y_labels(5)
        .draw()?;
    area.draw_series(
        chart
            .marks
            .iter()
            .map(|(at, _)| PathElement::new(vec![(*at, 0.0), (*at, highest * 1.12)], BLACK.mix(0.25))),
    )?;
    area.draw_series(
        chart
            .marks
            .iter()
            .map(|(at, name)| Text::new(name.clone(), (*at + 0.5, highest * 1.10), font.clone())),
    )?;
    area.draw_series(chart.bands.iter().map(|band| {
        Text::new(
            band.name.clone(),
            (band.span.0 + 0.5, highest),
            font.color(&RED.mix(0.8)),
        )
    }))?;
    for (index, line) in chart.lines.iter().enumerate() {
        let colour = if line.reference {
            BLACK.mix(0.45)
        } else {
            PALETTE[index % PALETTE.len()].to_rgba()
        };
        let style = colour.stroke_width(if line.reference { 1 } else { 2 });
        area.draw_series(LineSeries::new(line.points.iter().copied(), style))?
            .label(line.name.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], style));
    }
    area.configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.85))
        .label_font(font)
        .draw()?;
    root.present()?;
    Ok(())
}
