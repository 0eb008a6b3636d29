//! Plots as SVG, drawn by hand: a few lines or bars need no library.

use std::fmt::Write as _;

use super::record::{Record, median};

/// The plots, and what they show.
pub(crate) const TITLES: [(&str, &str); 4] = [
    (
        "xts-sizes-4096.svg",
        "AES-256-XTS encryption, 4096-byte sectors, by size of the request",
    ),
    (
        "xts-sizes-512.svg",
        "AES-256-XTS encryption, 512-byte sectors, by size of the request",
    ),
    (
        "xts-backends.svg",
        "AES-256-XTS encryption, 64 KiB requests, by backend and peer",
    ),
    ("xts-limit.svg", "AES-256-XTS: share of the machine's limit"),
];

const WIDTH: f64 = 720.0;
const HEIGHT: f64 = 360.0;
const LEFT: f64 = 60.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 40.0;
const BOTTOM: f64 = 50.0;
const COLOURS: [&str; 6] = [
    "#1b6ca8", "#d1495b", "#2e933c", "#edae49", "#6d597a", "#4f4f4f",
];

/// Draws every plot that the record has data for.
pub(crate) fn all(record: &Record) -> Vec<(&'static str, String)> {
    let [sizes_4096, sizes_512, backends, limit] = TITLES;
    vec![
        (sizes_4096.0, sizes(record, sizes_4096.1, 4096)),
        (sizes_512.0, sizes(record, sizes_512.1, 512)),
        (backends.0, by_backend(record, backends.1)),
        (limit.0, by_limit(record, limit.1)),
    ]
}

/// Throughput over the size of a request, one line per contender.
fn sizes(record: &Record, title: &str, sector_bytes: u32) -> String {
    let prefix = format!("xts/encrypt/aes256/sector{sector_bytes}/run");
    let mut lines: Vec<(String, Vec<(f64, f64)>)> = Vec::new();
    for one in record
        .series
        .iter()
        .filter(|one| one.case.starts_with(&prefix))
    {
        let slow = ["xts-mode", "luksmith/portable"].contains(&one.contender.as_str());
        if slow || one.case.ends_with("without-vaes") || one.contender.starts_with("limit/") {
            continue;
        }
        let point = (one.bytes.log2(), 1.0 / median(&one.ns));
        match lines.iter_mut().find(|(name, _)| *name == one.contender) {
            Some((_, points)) => points.push(point),
            None => lines.push((one.contender.clone(), vec![point])),
        }
    }
    for (_, points) in &mut lines {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    line_chart(title, &lines)
}

fn line_chart(title: &str, lines: &[(String, Vec<(f64, f64)>)]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let top = points().map(|point| point.1).fold(1.0, f64::max) * 1.05;
    let (first, last) = (
        points().map(|point| point.0).fold(f64::INFINITY, f64::min),
        points().map(|point| point.0).fold(0.0, f64::max),
    );
    let span = (last - first).max(1.0);
    let x = |at: f64| LEFT + (at - first) / span * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - value / top * (HEIGHT - TOP - BOTTOM);
    let mut svg = open(title);
    for step in 0..=5 {
        let value = top * f64::from(step) / 5.0;
        grid_line(&mut svg, y(value), &format!("{value:.0}"));
    }
    if let Some((_, points)) = lines.first() {
        for (at, _) in points {
            text(
                &mut svg,
                x(*at),
                HEIGHT - BOTTOM + 18.0,
                "middle",
                &size_name(*at),
            );
        }
    }
    text(&mut svg, LEFT, TOP - 8.0, "middle", "GB/s");
    for (at, (name, points)) in lines.iter().enumerate() {
        let colour = COLOURS.get(at % COLOURS.len()).copied().unwrap_or("black");
        let mut path = String::new();
        for (px, py) in points {
            let _ = write!(path, "{:.1},{:.1} ", x(*px), y(*py));
        }
        let path = path.trim_end();
        let _ = writeln!(
            svg,
            "<polyline points=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>"
        );
        if let Some((px, py)) = points.last() {
            let (px, py) = (x(*px) + 6.0, y(*py) + 4.0);
            coloured(&mut svg, px, py, colour, name);
        }
    }
    svg + "</svg>\n"
}

/// "64K" for 16, the logarithm of its bytes.
fn size_name(log2: f64) -> String {
    let kib = (log2 - 10.0).exp2();
    if kib < 1024.0 {
        format!("{kib:.0}K")
    } else {
        format!("{:.0}M", kib / 1024.0)
    }
}

fn by_backend(record: &Record, title: &str) -> String {
    let mut bars = Vec::new();
    for (sector, run) in [(4096, 16), (512, 128)] {
        let case = format!("xts/encrypt/aes256/sector{sector}/run{run}");
        for one in record.series.iter().filter(|one| one.case == case) {
            if !one.contender.starts_with("limit/") {
                bars.push((format!("{} {sector}", one.contender), 1.0 / median(&one.ns)));
            }
        }
    }
    bar_chart(title, "GB/s", &bars)
}

fn by_limit(record: &Record, title: &str) -> String {
    let mut bars = Vec::new();
    for (sector, run) in [(4096, 16), (512, 128)] {
        let case = format!("xts/encrypt/aes256/sector{sector}/run{run}");
        for tier in ["aesni", "vaes256", "vaes512"] {
            let ours = record.find(&case, &format!("luksmith/{tier}"));
            let limit = record.find(&case, &format!("limit/{tier}"));
            if let (Some(ours), Some(limit)) = (ours, limit) {
                let share = median(&limit.cycles) / median(&ours.cycles) * 100.0;
                bars.push((format!("{tier} {sector}"), share));
            }
        }
    }
    bar_chart(title, "%", &bars)
}

/// Bars that run to the right, one below the other.
fn bar_chart(title: &str, unit: &str, bars: &[(String, f64)]) -> String {
    let top = bars.iter().map(|bar| bar.1).fold(1.0, f64::max);
    let left = 190.0;
    let mut svg = open(title);
    let mut y = TOP;
    let step = (HEIGHT - TOP - 10.0) / f64::from(u32::try_from(bars.len().max(1)).unwrap_or(1));
    for (at, (name, value)) in bars.iter().enumerate() {
        let colour = COLOURS.get(at % COLOURS.len()).copied().unwrap_or("black");
        let (width, height) = (value / top * (WIDTH - left - 90.0), step * 0.7);
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{colour}\"/>"
        );
        text(&mut svg, left - 6.0, y + height * 0.8, "end", name);
        let label = format!("{value:.1} {unit}");
        text(
            &mut svg,
            left + width + 6.0,
            y + height * 0.8,
            "start",
            &label,
        );
        y += step;
    }
    svg + "</svg>\n"
}

fn open(title: &str) -> String {
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"sans-serif\" font-size=\"12\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"white\"/>\n"
    );
    text(&mut svg, WIDTH / 2.0, 18.0, "middle", title);
    svg
}

fn grid_line(svg: &mut String, y: f64, label: &str) {
    let right = WIDTH - RIGHT;
    let _ = writeln!(
        svg,
        "<line x1=\"{LEFT}\" y1=\"{y:.1}\" x2=\"{right}\" y2=\"{y:.1}\" stroke=\"#ddd\"/>"
    );
    text(svg, LEFT - 6.0, y + 4.0, "end", label);
}

fn text(svg: &mut String, x: f64, y: f64, anchor: &str, what: &str) {
    let what = escape(what);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{what}</text>"
    );
}

fn coloured(svg: &mut String, x: f64, y: f64, colour: &str, what: &str) {
    let what = escape(what);
    let _ = writeln!(
        svg,
        "<text x=\"{x:.1}\" y=\"{y:.1}\" fill=\"{colour}\">{what}</text>"
    );
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_named_as_people_name_them() {
        assert_eq!(
            ["4K", "64K", "1M", "32M"].map(str::to_owned),
            [12.0, 16.0, 20.0, 25.0].map(size_name)
        );
    }

    #[test]
    fn a_chart_holds_every_contender_and_escapes_its_name() {
        let text = "row,case,contender,bytes,ns,cycles\n\
                    s,xts/encrypt/aes256/sector4096/run1,a<b,4096,0.5,1\n\
                    s,xts/encrypt/aes256/sector4096/run16,a<b,65536,0.25,1\n";
        let record = Record::parse(text).expect("a record");
        let svg = sizes(&record, "title", 4096);
        assert!(
            svg.contains("a&lt;b") && svg.contains("64K") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
    }
}
