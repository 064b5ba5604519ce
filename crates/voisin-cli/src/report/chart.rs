//! The chart: recall against queries a second (logarithmic), a curve a spec, as SVG.

use std::fmt::Write;

use super::{Report, escape};
use crate::outcome::count;
use crate::point::Point;

/// Colours that the page defines.
pub const COLORS: usize = 6;

const WIDTH: f64 = 880.0;
const HEIGHT: f64 = 430.0;
/// The plot within: left, top, right, bottom.
const BOX: [f64; 4] = [78.0, 18.0, 862.0, 378.0];

/// Both axes.
struct Scale {
    recall: (f64, f64),
    /// Decimal logarithms of queries a second.
    speed: (f64, f64),
}

impl Scale {
    fn of(points: &[Point], k: usize) -> Scale {
        let low = points.iter().map(|p| p.recall_at(k)).fold(1.0, f64::min);
        // room below the worst point, on a round value; a base of at least 0.05 keeps ticks apart when all is near 1
        let low = (((low - 0.02) * 20.0).floor() / 20.0).clamp(0.0, 0.95);
        let logs: Vec<f64> = points.iter().map(|p| p.queries_per_second.max(1e-3).log10()).collect();
        let bottom = logs.iter().copied().fold(f64::INFINITY, f64::min);
        let top = logs.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let (bottom, top) = if bottom <= top { (bottom, top) } else { (0.0, 1.0) };
        let room = ((top - bottom) * 0.12).max(0.12);
        Scale { recall: (low, 1.0), speed: (bottom - room, top + room) }
    }

    fn x(&self, recall: f64) -> f64 {
        BOX[0] + (recall - self.recall.0) / (self.recall.1 - self.recall.0) * (BOX[2] - BOX[0])
    }

    fn y(&self, log: f64) -> f64 {
        BOX[3] - (log - self.speed.0) / (self.speed.1 - self.speed.0) * (BOX[3] - BOX[1])
    }
}

/// The figure with its caption; nothing without points.
pub fn figure(report: &Report) -> String {
    if report.points.is_empty() {
        return String::new();
    }
    let (k, scale) = (report.k, Scale::of(&report.points, report.k));
    let names = report.series();
    let label = format!("Recall@{k} against queries per second of {}", names.join(", "));
    let mut s = format!("<figure>\n<svg viewBox=\"0 0 {WIDTH} {HEIGHT}\" role=\"img\" aria-label=\"{}\">\n", escape(&label));
    axes(&mut s, &scale, k);
    let curves: Vec<Vec<&Point>> = names.iter().map(|name| sorted(report, name)).collect();
    let mut taken: Vec<(f64, f64)> = Vec::new();
    for i in 0..names.len() {
        curve(&mut s, &scale, k, i, &curves, &mut taken);
    }
    s += "</svg>\n";
    let _ = writeln!(
        s,
        "<figcaption>Up and to the right is better. A point is one number of lists visited, written beside it, or the recall \
         aimed at, after an arrow; the speed axis is logarithmic.</figcaption>\n</figure>"
    );
    s
}

fn axes(s: &mut String, scale: &Scale, k: usize) {
    let [left, top, right, bottom] = BOX;
    let span = scale.recall.1 - scale.recall.0;
    let step = if span > 0.5 {
        0.1
    } else if span > 0.2 {
        0.05
    } else {
        0.01
    };
    let ticks = (span / step + 1e-9).floor() as usize;
    for i in 0..=ticks {
        let recall = scale.recall.1 - i as f64 * step;
        let x = scale.x(recall);
        let _ = writeln!(s, "<line class=\"grid\" x1=\"{x:.1}\" x2=\"{x:.1}\" y1=\"{top}\" y2=\"{bottom}\"/>");
        let _ = writeln!(s, "<text x=\"{x:.1}\" y=\"{}\" text-anchor=\"middle\">{recall:.2}</text>", bottom + 20.0);
    }
    let mut decade = scale.speed.0.floor() as i32;
    while f64::from(decade) <= scale.speed.1 {
        for digit in [1.0f64, 2.0, 5.0] {
            let log = f64::from(decade) + digit.log10();
            if (scale.speed.0..=scale.speed.1).contains(&log) {
                let (y, value) = (scale.y(log), digit * 10f64.powi(decade));
                let text = if value >= 1.0 { count(value.round() as u64) } else { format!("{value:.3}") };
                let _ = writeln!(s, "<line class=\"grid\" x1=\"{left}\" x2=\"{right}\" y1=\"{y:.1}\" y2=\"{y:.1}\"/>");
                let _ = writeln!(s, "<text x=\"{}\" y=\"{:.1}\" text-anchor=\"end\">{text}</text>", left - 8.0, y + 4.5);
            }
        }
        decade += 1;
    }
    let _ = writeln!(s, "<path class=\"frame\" fill=\"none\" d=\"M{left} {top}V{bottom}H{right}\"/>");
    let _ = writeln!(s, "<text class=\"axis\" x=\"{right}\" y=\"{}\" text-anchor=\"end\">recall@{k}</text>", bottom + 42.0);
    let _ = writeln!(s, "<text class=\"axis\" x=\"{left}\" y=\"{}\" dx=\"8\">queries/s</text>", top + 4.0);
}

/// The points of a spec by recall.
fn sorted<'a>(report: &'a Report, spec: &str) -> Vec<&'a Point> {
    let mut points: Vec<&Point> = report.points.iter().filter(|p| p.series() == spec).collect();
    points.sort_by(|a, b| a.recall_at(report.k).total_cmp(&b.recall_at(report.k)));
    points
}

fn log_speed(p: &Point) -> f64 {
    p.queries_per_second.max(1e-3).log10()
}

/// Height of a curve at a recall within its range.
fn height(curve: &[&Point], k: usize, recall: f64) -> Option<f64> {
    curve.windows(2).find(|w| (w[0].recall_at(k)..=w[1].recall_at(k)).contains(&recall)).map(|w| {
        let (x0, x1) = (w[0].recall_at(k), w[1].recall_at(k));
        let t = if x1 > x0 { (recall - x0) / (x1 - x0) } else { 0.0 };
        log_speed(w[0]) + t * (log_speed(w[1]) - log_speed(w[0]))
    })
}

fn curve(s: &mut String, scale: &Scale, k: usize, i: usize, curves: &[Vec<&Point>], taken: &mut Vec<(f64, f64)>) {
    let points = &curves[i];
    let name = points.first().map(|p| p.series()).unwrap_or_default();
    let name = name.as_str();
    let at = |p: &Point| (scale.x(p.recall_at(k)), scale.y(log_speed(p)));
    let _ = writeln!(s, "<g class=\"c{}\">", i % COLORS);
    if points.len() > 1 {
        let path: Vec<String> = points.iter().map(|p| format!("{:.1} {:.1}", at(p).0, at(p).1)).collect();
        let _ = writeln!(s, "<path class=\"curve\" d=\"M{}\"/>", path.join("L"));
    }
    for p in points {
        let (x, y) = at(p);
        let lists = match p.target {
            Some(target) => format!(", {target} aimed at, {} lists", p.lists_shown()),
            None if p.nprobe > 0 => format!(", {} lists", p.nprobe),
            None => String::new(),
        };
        let text = format!("{name}{lists}: recall@{k} {:.4}, {} queries/s", p.recall_at(k), count(p.queries_per_second as u64));
        let _ = writeln!(s, "<g>{}<title>{}</title></g>", mark(i, x, y), escape(&text));
        // the label stands on the side where no other curve passes
        let covered = |c: &Vec<&Point>| height(c, k, p.recall_at(k)).is_some_and(|h| h > log_speed(p));
        let below = curves.iter().enumerate().any(|(j, c)| j != i && covered(c));
        let dy = if below { 21.0 } else { -11.0 };
        let free = taken.iter().all(|t| (t.0 - x).abs() > 14.0 || (t.1 - (y + dy)).abs() > 12.0);
        if let Some(label) = p.label().filter(|_| free) {
            taken.push((x, y + dy));
            let _ = writeln!(s, "<text class=\"n\" x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{label}</text>", y + dy);
        }
    }
    // names in a column at the lower left, where no curve goes: few lists are fast
    let (x, y) = (BOX[0] + 18.0, BOX[3] - 18.0 - 20.0 * i as f64);
    let _ =
        writeln!(s, "{}<text class=\"name\" x=\"{}\" y=\"{}\">{}</text>\n</g>", mark(i, x, y), x + 14.0, y + 4.5, escape(name));
}

/// A mark of its own shape for each curve, so that colour is not the only difference.
fn mark(i: usize, x: f64, y: f64) -> String {
    match i % 4 {
        0 => format!("<circle class=\"dot\" cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"5.5\"/>"),
        1 => format!("<rect class=\"dot\" x=\"{:.1}\" y=\"{:.1}\" width=\"10\" height=\"10\"/>", x - 5.0, y - 5.0),
        2 => format!("<path class=\"dot\" d=\"M{:.1} {:.1}l6.5 11h-13z\"/>", x, y - 7.0),
        _ => format!("<path class=\"dot\" d=\"M{:.1} {:.1}l6.5 6.5l-6.5 6.5l-6.5 -6.5z\"/>", x, y - 6.5),
    }
}
