//! Charts of a comparison, as SVG.

use super::case::WINDOWS;
use super::results::{self, Get, Results};
use anyhow::{anyhow, Result};
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use std::path::Path;

const WIDTH: u32 = 760;
const FONT: &str = "sans-serif";
const INK: RGBColor = RGBColor(0x24, 0x29, 0x2f);
const FAINT: RGBColor = RGBColor(0xd0, 0xd7, 0xde);
/// This module, the floor, others: also told apart in grey.
const OURS: RGBColor = RGBColor(0x0a, 0x7d, 0x4f);
const FLOOR: RGBColor = RGBColor(0x8c, 0x95, 0x9f);
const OTHERS: [RGBColor; 3] =
    [RGBColor(0xc9, 0x5a, 0x12), RGBColor(0x3b, 0x6f, 0xb6), RGBColor(0x9a, 0x4f, 0xa8)];

const TITLE: u32 = 44;
const BAR: u32 = 30;
/// Where bars begin, and what is left for the number behind the longest.
const LABELS: i32 = 240;
const NUMBERS: i32 = 170;

/// One bar: label, figure.
type Bar = (String, results::Figure);
/// One line of a chart: label, points.
type Line = (String, Vec<(f64, f64)>);

/// Draws every chart for which there are figures.
pub fn draw_all(results: &Results, dir: &Path) -> Result<()> {
    let bars = |case: &str, names: &[&str], get: Get| -> Vec<Bar> {
        let bar = |name: &&str| Some((name.to_string(), results.figure(case, name, get)?));
        names.iter().filter_map(bar).collect()
    };
    let servers = ["ngx-rtmp", "libnginx-mod-rtmp", "node-media-server", "xiu"];
    let fan_out = [
        "ngx-rtmp",
        "ngx-rtmp, 50 ms",
        "ngx-rtmp, 100 ms",
        "ngx-rtmp, 350 ms",
        "libnginx-mod-rtmp",
        "node-media-server",
        "xiu",
        "floor, 0 ms",
        "floor, 50 ms",
        "floor, 350 ms",
    ];
    let draw_bars = |file: &str, title: &str, digits: usize, bars: Vec<Bar>| {
        if bars.is_empty() {
            return Ok(());
        }
        horizontal_bars(&dir.join(file), title, digits, &bars)
    };
    draw_bars(
        "cpu-per-gb.svg",
        "CPU seconds per GB delivered, 1 stream × 1000 players × 1 Mbit/s (less is better)",
        2,
        bars("fanout-1000", &fan_out, results::cost),
    )?;
    draw_bars(
        "latency.svg",
        "Latency, 99th percentile in ms, 1 stream × 1000 players × 1 Mbit/s",
        1,
        bars("fanout-1000", &fan_out, results::p99),
    )?;
    draw_bars(
        "http-flv.svg",
        "CPU seconds per GB delivered to 1000 HTTP-FLV players (less is better)",
        2,
        bars(
            "flv-1000",
            &[
                "ngx-rtmp, HTTP-FLV",
                "ngx-rtmp, HTTP-FLV, 50 ms",
                "node-media-server, HTTP-FLV",
                "xiu, HTTP-FLV",
            ],
            results::cost,
        ),
    )?;
    draw_bars(
        "memory-per-stream.svg",
        "KiB of memory per published stream of 500 kbit/s (less is better)",
        0,
        bars(
            "streams-500",
            &[
                "ngx-rtmp, cache off",
                "ngx-rtmp, cache 3 s",
                "libnginx-mod-rtmp",
                "node-media-server",
                "xiu",
            ],
            results::kib_per_stream,
        ),
    )?;
    draw_bars(
        "joins.svg",
        "Players per second that connect, play and leave (more is better)",
        0,
        bars("churn", &servers, results::visits_per_s),
    )?;

    let windows = |kind: &str| -> Line {
        let point = |(ms, name): (u32, &str)| {
            let name = format!("{kind}, {name}");
            Some((f64::from(ms), results.figure("fanout-1000", &name, results::cost)?.median))
        };
        (kind.to_string(), WINDOWS.into_iter().filter_map(point).collect())
    };
    let by_players = |name: &&str| -> Line {
        let point = |players: u32| {
            let case = format!("fanout-{players}");
            Some((f64::from(players), results.figure(&case, name, results::cpu_pct)?.median))
        };
        (name.to_string(), [1, 100, 500, 1000, 2000].into_iter().filter_map(point).collect())
    };
    lines(
        &dir.join("merge-window.svg"),
        "What gathering saves, 1 stream × 1000 players",
        ("merge window in ms", "CPU seconds per GB"),
        &["ngx-rtmp", "floor"].map(windows),
    )?;
    lines(
        &dir.join("players.svg"),
        "CPU used by 1 stream of 1 Mbit/s",
        ("players", "per cent of a core"),
        &servers.iter().map(by_players).collect::<Vec<_>>(),
    )
}

fn color(label: &str, index: usize) -> RGBColor {
    match label {
        label if label.starts_with("ngx-rtmp") => OURS,
        label if label.starts_with("floor") => FLOOR,
        label if label.starts_with("libnginx") => OTHERS[0],
        label if label.starts_with("node") => OTHERS[1],
        label if label.starts_with("xiu") => OTHERS[2],
        _ => OTHERS[index % OTHERS.len()],
    }
}

fn ink(size: u32) -> TextStyle<'static> {
    TextStyle::from((FONT, size).into_font()).color(&INK)
}

fn horizontal_bars(path: &Path, title: &str, digits: usize, bars: &[Bar]) -> Result<()> {
    let height = TITLE + BAR * bars.len() as u32 + 14;
    let area = SVGBackend::new(path, (WIDTH, height)).into_drawing_area();
    let draw = || -> std::result::Result<(), DrawingAreaErrorKind<std::io::Error>> {
        area.fill(&WHITE)?;
        area.draw(&Text::new(title, (14, 14), ink(15)))?;
        let longest =
            bars.iter().map(|(_, figure)| figure.median).fold(f64::MIN_POSITIVE, f64::max);
        let room = f64::from(WIDTH as i32 - LABELS - NUMBERS);
        for (i, (label, figure)) in bars.iter().enumerate() {
            let top = (TITLE + BAR * i as u32) as i32;
            let middle = top + BAR as i32 / 2;
            let end = LABELS + (figure.median / longest * room).round().max(1.0) as i32;
            let right = ink(13).pos(Pos::new(HPos::Right, VPos::Center));
            area.draw(&Text::new(label.clone(), (LABELS - 10, middle), right))?;
            let rectangle = [(LABELS, top + 5), (end, top + BAR as i32 - 5)];
            area.draw(&Rectangle::new(rectangle, color(label, i).filled()))?;
            let results::Figure { median, min, max, n } = figure;
            let mut number = format!("{median:.digits$}");
            if *n > 1 {
                number += &format!("  ({min:.digits$}–{max:.digits$})");
            }
            let left = ink(13).pos(Pos::new(HPos::Left, VPos::Center));
            area.draw(&Text::new(number, (end + 8, middle), left))?;
        }
        area.present()
    };
    draw().map_err(|error| anyhow!("{}: {error}", path.display()))
}

/// Lines of two points or more; nothing is drawn if there are none.
fn lines(path: &Path, title: &str, axes: (&str, &str), all: &[Line]) -> Result<()> {
    let all: Vec<&Line> = all.iter().filter(|(_, points)| points.len() > 1).collect();
    let points = || all.iter().flat_map(|(_, points)| points);
    let x_max = points().map(|point| point.0).fold(0.0, f64::max);
    let y_max = points().map(|point| point.1).fold(0.0, f64::max) * 1.1;
    if all.is_empty() || y_max <= 0.0 {
        return Ok(());
    }
    // the legend goes where the lines are not
    let rises = all
        .iter()
        .any(|(_, points)| points.last().map(|last| last.1) > points.first().map(|first| first.1));
    let legend =
        if rises { SeriesLabelPosition::UpperLeft } else { SeriesLabelPosition::UpperRight };
    let area = SVGBackend::new(path, (WIDTH, 420)).into_drawing_area();
    let draw = || -> std::result::Result<(), DrawingAreaErrorKind<std::io::Error>> {
        area.fill(&WHITE)?;
        area.draw(&Text::new(title, (14, 14), ink(15)))?;
        let mut chart = ChartBuilder::on(&area)
            .margin(14)
            .margin_top(TITLE)
            .x_label_area_size(44)
            .y_label_area_size(60)
            .build_cartesian_2d(0.0..x_max * 1.02, 0.0..y_max)?;
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(FAINT)
            .light_line_style(WHITE)
            .axis_style(INK)
            .label_style(ink(12))
            .x_label_formatter(&|x| format!("{x:.0}"))
            .x_desc(axes.0)
            .y_desc(axes.1)
            .axis_desc_style(ink(13))
            .draw()?;
        for (i, (label, points)) in all.iter().enumerate() {
            let style = color(label, i).stroke_width(2);
            chart
                .draw_series(LineSeries::new(points.iter().copied(), style))?
                .label(label.clone())
                .legend(move |(x, y)| PathElement::new([(x, y), (x + 20, y)], style));
            let dots = points.iter().map(|point| Circle::new(*point, 4, style.filled()));
            chart.draw_series(dots)?;
        }
        chart
            .configure_series_labels()
            .position(legend)
            .background_style(WHITE.mix(0.8))
            .border_style(FAINT)
            .label_font(ink(13))
            .draw()?;
        area.present()
    };
    draw().map_err(|error| anyhow!("{}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn charts_are_svg() {
        let dir = std::env::temp_dir().join(format!("rtmp-bench-chart-{}", std::process::id()));
        fs::create_dir_all(&dir).unwrap();
        let figure =
            |median| results::Figure { median, min: median - 1.0, max: median + 1.0, n: 5 };
        let bars =
            [("ngx-rtmp".to_string(), figure(1.5)), ("floor, 0 ms".to_string(), figure(2.0))];
        horizontal_bars(&dir.join("bars.svg"), "A title & more", 2, &bars).unwrap();
        let line = ("xiu".to_string(), vec![(0.0, 1.0), (100.0, 4.0)]);
        lines(&dir.join("lines.svg"), "Lines", ("x", "y"), &[line]).unwrap();
        for (file, text) in [("bars.svg", "1.50  (0.50–2.50)"), ("lines.svg", "xiu")] {
            let svg = fs::read_to_string(dir.join(file)).unwrap();
            assert!(svg.starts_with("<svg") && svg.contains(text), "{svg}");
        }
        fs::remove_dir_all(&dir).unwrap();
    }
}
