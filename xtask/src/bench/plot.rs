//! Plots as SVG, drawn by hand: a few lines or bars need no library.

use std::fmt::Write as _;

use super::record::{Record, Series, median};

/// A plot: its file, what it shows, and how it is drawn from a record.
pub(crate) struct Plot {
    pub(crate) file: &'static str,
    pub(crate) title: &'static str,
    draw: fn(&Record, &str) -> Option<String>,
}

/// The plots of the page, in its order.
pub(crate) const ALL: [Plot; 10] = [
    Plot {
        file: "xts-sizes-4096.svg",
        title: "AES-256-XTS encryption, 4096-byte sectors, by size of the request",
        draw: |record, title| sizes(record, title, "xts/encrypt/aes256/sector4096/run"),
    },
    Plot {
        file: "xts-sizes-512.svg",
        title: "AES-256-XTS encryption, 512-byte sectors, by size of the request",
        draw: |record, title| sizes(record, title, "xts/encrypt/aes256/sector512/run"),
    },
    Plot {
        file: "hmac-sizes-4096.svg",
        title: "HMAC-SHA256 tags, 4096-byte sectors, by size of the request",
        draw: |record, title| sizes(record, title, "tags/hmac-sha256/sector4096/run"),
    },
    Plot {
        file: "hmac-sizes-512.svg",
        title: "HMAC-SHA256 tags, 512-byte sectors, by size of the request",
        draw: |record, title| sizes(record, title, "tags/hmac-sha256/sector512/run"),
    },
    Plot {
        file: "xts-backends.svg",
        title: "AES-256-XTS encryption, 64 KiB requests, by backend and peer",
        draw: by_backend,
    },
    Plot {
        file: "peers.svg",
        title: "How many times faster than each peer, 64 KiB requests",
        draw: by_peer,
    },
    Plot {
        file: "limits.svg",
        title: "Share of the limit that the same run measured",
        draw: by_limit,
    },
    Plot {
        file: "open-sizes.svg",
        title: "Opening a volume in a sparse file, by its size (1000 iterations of PBKDF2)",
        draw: open_by_size,
    },
    Plot {
        file: "modes.svg",
        title: "Requests of 4 KiB to a file on tmpfs, by mode of integrity",
        draw: by_mode,
    },
    Plot {
        file: "amplification.svg",
        title: "Bytes written to the device per byte of data, by mode",
        draw: amplification,
    },
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
pub(crate) fn all(record: &Record) -> Vec<(&'static Plot, String)> {
    ALL.iter()
        .filter_map(|plot| Some((plot, (plot.draw)(record, plot.title)?)))
        .collect()
}

/// Lines by the name of their contender; a point is the logarithm of a size, and a value.
type Lines = Vec<(String, Vec<(f64, f64)>)>;

fn add_point(lines: &mut Lines, name: &str, point: (f64, f64)) {
    match lines.iter_mut().find(|(line, _)| line == name) {
        Some((_, points)) => points.push(point),
        None => lines.push((name.to_owned(), vec![point])),
    }
}

/// Throughput over the size of a request, one line per contender.
fn sizes(record: &Record, title: &str, prefix: &str) -> Option<String> {
    let mut lines = Lines::new();
    for one in record
        .series
        .iter()
        .filter(|one| one.case.starts_with(prefix))
    {
        let slow = [
            "xts-mode",
            "luksmith/portable",
            "openssl/system",
            "hmac + sha2",
            "ring",
        ]
        .contains(&one.contender.as_str());
        let special = one.is_masked() || !one.competes();
        if !slow && !special && one.contender != "luksmith/one by one" {
            let point = (one.bytes.log2(), 1.0 / median(&one.ns));
            add_point(&mut lines, &one.contender, point);
        }
    }
    line_chart(title, "GB/s", lines)
}

/// Milliseconds of opening over the size of the volume.
fn open_by_size(record: &Record, title: &str) -> Option<String> {
    let mut lines = Lines::new();
    for one in &record.series {
        let Some(shift) = one.case.strip_prefix("open/sparse/2^") else {
            continue;
        };
        let at = shift.parse().ok()?;
        add_point(&mut lines, &one.contender, (at, median(&one.ns) / 1e6));
    }
    line_chart(title, "ms", lines)
}

fn line_chart(title: &str, unit: &str, mut lines: Lines) -> Option<String> {
    if lines.is_empty() {
        return None;
    }
    for (_, points) in &mut lines {
        points.sort_by(|a, b| a.0.total_cmp(&b.0));
    }
    let points = || lines.iter().flat_map(|(_, points)| points);
    let top = points().map(|point| point.1).fold(0.0, f64::max) * 1.05;
    let decimals = if top < 10.0 { 1 } else { 0 };
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
        grid_line(&mut svg, y(value), &format!("{value:.decimals$}"));
    }
    if let Some((_, points)) = lines.iter().max_by_key(|(_, points)| points.len()) {
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
    text(&mut svg, LEFT, TOP - 8.0, "middle", unit);
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
    Some(svg + "</svg>\n")
}

/// "64K" for 16, the logarithm of its bytes.
fn size_name(log2: f64) -> String {
    let (unit, of) = match log2 {
        at if at < 20.0 => ("K", 10.0),
        at if at < 30.0 => ("M", 20.0),
        at if at < 40.0 => ("G", 30.0),
        _ => ("T", 40.0),
    };
    format!("{:.0}{unit}", (log2 - of).exp2())
}

fn by_backend(record: &Record, title: &str) -> Option<String> {
    let mut bars = Vec::new();
    for (sector, run) in [(4096, 16), (512, 128)] {
        let case = format!("xts/encrypt/aes256/sector{sector}/run{run}");
        for one in record.series.iter().filter(|one| one.case == case) {
            if one.competes() {
                bars.push((format!("{} {sector}", one.contender), 1.0 / median(&one.ns)));
            }
        }
    }
    bar_chart(title, "GB/s", &bars)
}

/// The best of ours against each peer, for a few cases that stand for the rest.
fn by_peer(record: &Record, title: &str) -> Option<String> {
    let cases = [
        (
            "XTS",
            "xts/encrypt/aes256/sector4096/run16",
            "luksmith/vaes512",
        ),
        (
            "XTS 512",
            "xts/encrypt/aes256/sector512/run128",
            "luksmith/vaes512",
        ),
        (
            "GCM",
            "gcm/seal/aes256/sector4096/run16",
            "luksmith/vaes512",
        ),
        (
            "HMAC",
            "tags/hmac-sha256/sector4096/run16",
            "luksmith/avx512",
        ),
        (
            "seal",
            "seal/aes256-hmac-sha256/sector4096/run16/best",
            "luksmith/seal",
        ),
        ("CRC-32C", "tags/crc32c/sector4096/run16", "luksmith"),
        (
            "PBKDF2",
            "kdf/pbkdf2-sha256/key64/per-iteration",
            "luksmith",
        ),
        (
            "Argon2",
            "kdf/argon2id/t3/65536KiB/lanes4/cpu-time/memory-at-hand",
            "luksmith",
        ),
    ];
    let mut bars = Vec::new();
    for (name, case, ours) in cases {
        let Some(ours) = record.find(case, ours) else {
            continue;
        };
        let of_case = record.series.iter().filter(|one| one.case == case);
        let theirs = |one: &&Series| {
            one.competes() && !one.is_masked() && !one.contender.starts_with("luksmith")
        };
        for peer in of_case.filter(theirs) {
            let ratio = ours.times_faster_than(peer);
            bars.push((format!("{name}: {}", peer.contender), ratio));
        }
    }
    bar_chart(title, "x", &bars)
}

fn by_limit(record: &Record, title: &str) -> Option<String> {
    let mut bars = Vec::new();
    for one in &record.series {
        let Some(tier) = one.contender.strip_prefix("limit/") else {
            continue;
        };
        let path: Vec<&str> = one.case.split('/').collect();
        let full = one.bytes >= 65_535.0 && one.bytes <= 65_537.0;
        let ours = ["luksmith", "luksmith/seal", &format!("luksmith/{tier}")]
            .into_iter()
            .find_map(|name| record.find(&one.case, name));
        if let (Some(ours), true, false) = (ours, full, one.case.contains("/without-")) {
            let share = ours.times_faster_than(one) * 100.0;
            let (kind, verb) = (path.first().unwrap_or(&""), path.get(1).unwrap_or(&""));
            let detail: Vec<&str> = path
                .iter()
                .filter_map(|part| part.strip_prefix("sector").or(part.strip_prefix("aes")))
                .collect();
            bars.push((format!("{kind} {verb} {} {tier}", detail.join(" ")), share));
        }
    }
    bar_chart(title, "%", &bars)
}

fn by_mode(record: &Record, title: &str) -> Option<String> {
    let mut bars = Vec::new();
    for one in &record.series {
        if let Some(shape) = one.case.strip_prefix("modes/file/") {
            let shape = shape.replace("/4KiB", "").replace('/', " ");
            bars.push((format!("{} {shape}", one.contender), 1.0 / median(&one.ns)));
        }
    }
    bar_chart(title, "GB/s", &bars)
}

fn amplification(record: &Record, title: &str) -> Option<String> {
    let mut bars = Vec::new();
    for one in &record.series {
        if let Some(shape) = one.case.strip_prefix("amplification/") {
            let shape = shape.replace("/65536", " 64K").replace("/4096", " 4K");
            bars.push((format!("{} {shape}", one.contender), median(&one.ns)));
        }
    }
    bar_chart(title, "", &bars)
}

/// Bars that run to the right, one below the other.
///
/// One far longer than the others is cut off; its value stands beside it all the same.
fn bar_chart(title: &str, unit: &str, bars: &[(String, f64)]) -> Option<String> {
    let mut values: Vec<f64> = bars.iter().map(|bar| bar.1).collect();
    values.sort_by(f64::total_cmp);
    let usual = values.get(values.len().saturating_sub(1) * 3 / 4)?;
    let top = values.last().copied()?.min(usual * 4.0);
    let left = 260.0;
    let mut svg = open(title);
    let mut y = TOP;
    let step = (HEIGHT - TOP - 10.0) / f64::from(u32::try_from(bars.len().max(1)).unwrap_or(1));
    for (at, (name, value)) in bars.iter().enumerate() {
        let colour = COLOURS.get(at % COLOURS.len()).copied().unwrap_or("black");
        let (width, height) = (value.min(top) / top * (WIDTH - left - 90.0), step * 0.7);
        let _ = writeln!(
            svg,
            "<rect x=\"{left}\" y=\"{y:.1}\" width=\"{width:.1}\" height=\"{height:.1}\" \
             fill=\"{colour}\"/>"
        );
        text(&mut svg, left - 6.0, y + height * 0.8, "end", name);
        let label = format!("{value:.2} {unit}");
        text(
            &mut svg,
            left + width + 6.0,
            y + height * 0.8,
            "start",
            &label,
        );
        y += step;
    }
    Some(svg + "</svg>\n")
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
            ["4K", "64K", "1M", "32M", "64G", "1T"].map(str::to_owned),
            [12.0, 16.0, 20.0, 25.0, 36.0, 40.0].map(size_name)
        );
    }

    #[test]
    fn a_plot_without_data_is_left_out() {
        let text =
            "row,case,contender,bytes,ns,cycles\na,amplification/sequential/65536,x,1,2.5,\n";
        let record = Record::parse(text).expect("a record");
        let files: Vec<&str> = all(&record).iter().map(|(plot, _)| plot.file).collect();
        assert_eq!(files, ["amplification.svg"]);
    }

    #[test]
    fn a_chart_holds_every_contender_and_escapes_its_name() {
        let text = "row,case,contender,bytes,ns,cycles\n\
                    s,xts/encrypt/aes256/sector4096/run1,a<b,4096,0.5,1\n\
                    s,xts/encrypt/aes256/sector4096/run16,a<b,65536,0.25,1\n";
        let record = Record::parse(text).expect("a record");
        let svg = sizes(&record, "title", "xts/encrypt/aes256/sector4096/run").expect("a chart");
        assert!(
            svg.contains("a&lt;b") && svg.contains("64K") && svg.ends_with("</svg>\n"),
            "{svg}"
        );
    }
}
