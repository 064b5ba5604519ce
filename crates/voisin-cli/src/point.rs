//! One measured point of an index: quality, speed and size at a number of lists visited.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use voisin::eval::{Evaluation, Recall};

use crate::outcome::{bytes, count, round, time};

/// Milliseconds of single queries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Latency {
    /// Median.
    pub p50: f64,
    /// 99 of 100 are answered within it.
    pub p99: f64,
}

/// A point; its JSON is what `bench --json` prints.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// The index.
    pub spec: String,
    /// Lists visited; 0 where there are none (exact search) and where a target decides.
    pub nprobe: usize,
    /// Candidates a neighbour that went to the refinement, where the sweep names them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub refine: Option<usize>,
    /// Length of the queue of a graph.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ef: Option<usize>,
    /// The recall that was aimed at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<f64>,
    /// Lists visited, a query.
    #[serde(default)]
    pub lists: f64,
    /// recall@k by id set, by k.
    pub recall: BTreeMap<usize, f64>,
    /// recall@k by distance, by k.
    pub recall_by_distance: BTreeMap<usize, f64>,
    /// 95 % interval of the recall by id set, by k.
    pub interval_95: BTreeMap<usize, [f64; 2]>,
    /// Mean recall by id set of the worst tenth of the queries, by k.
    pub worst_tenth: BTreeMap<usize, f64>,
    /// Mean reciprocal rank of the nearest neighbour.
    pub mrr: f64,
    /// Queries a second.
    pub queries_per_second: f64,
    /// Latencies of single queries.
    pub latency_ms: Latency,
    /// Vectors compared, a query.
    pub scanned: f64,
    /// Wall time of the build, with reading and writing.
    pub build_seconds: f64,
    /// Bytes on disk, a vector.
    pub bytes_per_vector: f64,
    /// The most memory the process held that built and searched, up to this point.
    pub peak_rss_bytes: Option<u64>,
}

impl Point {
    /// recall@k; 0 where that k was not evaluated.
    pub fn recall_at(&self, k: usize) -> f64 {
        self.recall.get(&k).copied().unwrap_or_default()
    }

    /// The curve it belongs to: the index, and the refinement where several are measured.
    pub fn series(&self) -> String {
        self.refine.map_or_else(|| self.spec.clone(), |r| format!("{}, refine {r}", self.spec))
    }

    /// What stands beside it in a chart: its target, or its number of lists; nothing for exact search.
    pub fn label(&self) -> Option<String> {
        match (self.target, self.ef) {
            (Some(target), _) => Some(format!("\u{2192}{target}")),
            (None, Some(ef)) => Some(format!("ef {ef}")),
            (None, None) => (self.nprobe > 0).then(|| self.nprobe.to_string()),
        }
    }

    /// The lists visited, as tables show them.
    pub fn lists_shown(&self) -> String {
        match (self.target, self.ef) {
            (Some(_), _) => format!("{:.1}", self.lists),
            (None, Some(ef)) => format!("ef {ef}"),
            (None, None) => self.nprobe.to_string(),
        }
    }

    /// Takes over what an evaluation found.
    pub fn judge(&mut self, e: &Evaluation) {
        self.recall = by_k(&e.recall, |r| r.mean);
        self.recall_by_distance = by_k(&e.recall_by_distance, |r| r.mean);
        self.interval_95 = e.recall.iter().map(|(k, r)| (*k, [round(r.low, 6), round(r.high, 6)])).collect();
        self.worst_tenth = by_k(&e.recall, |r| r.worst_tenth);
        self.mrr = round(e.mrr, 6);
    }
}

/// One value of each recall, by k.
pub fn by_k(all: &[(usize, Recall)], value: impl Fn(&Recall) -> f64) -> BTreeMap<usize, f64> {
    all.iter().map(|(k, r)| (*k, round(value(r), 6))).collect()
}

/// The points as a table for people.
pub fn table(points: &[Point]) -> String {
    let ks: Vec<usize> = points.first().map(|p| p.recall.keys().copied().collect()).unwrap_or_default();
    let recalls = ks.iter().map(|k| format!("recall@{k}"));
    let (targets, refines) = (points.iter().any(|p| p.target.is_some()), points.iter().any(|p| p.refine.is_some()));
    let mut first = vec!["index".to_string()];
    first.extend(targets.then(|| "target".to_string()));
    first.push(if targets { "lists" } else { "nprobe" }.to_string());
    first.extend(refines.then(|| "refine".to_string()));
    let head = first.into_iter().chain(recalls);
    let head: Vec<String> =
        head.chain(["queries/s", "p50 ms", "p99 ms", "build", "bytes/vector", "peak memory"].map(String::from)).collect();
    let rows = points.iter().map(|p| {
        let dash = || "-".to_string();
        let mut row = vec![p.spec.clone()];
        row.extend(targets.then(|| p.target.map_or_else(dash, |t| t.to_string())));
        row.push(p.lists_shown());
        row.extend(refines.then(|| p.refine.map_or_else(dash, |r| r.to_string())));
        row.extend(ks.iter().map(|k| format!("{:.4}", p.recall_at(*k))));
        row.extend([
            count(p.queries_per_second.round() as u64),
            format!("{:.3}", p.latency_ms.p50),
            format!("{:.3}", p.latency_ms.p99),
            time(p.build_seconds),
            format!("{:.0}", p.bytes_per_vector),
            p.peak_rss_bytes.map_or_else(|| "-".into(), bytes),
        ]);
        row
    });
    grid(&head, &rows.collect::<Vec<_>>())
}

/// The first three names, and whether there are more.
pub fn some<S: AsRef<str>>(names: &[S]) -> String {
    let first: Vec<&str> = names.iter().take(3).map(AsRef::as_ref).collect();
    first.join(", ") + if names.len() > 3 { ", ..." } else { "" }
}

/// Columns under their heads: the first to the left, the others to the right.
pub fn grid(head: &[String], rows: &[Vec<String>]) -> String {
    let width = |c: usize| rows.iter().map(|r| &r[c]).chain([&head[c]]).map(|s| s.chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..head.len()).map(width).collect();
    let mut text = String::new();
    for row in [head].into_iter().chain(rows.iter().map(Vec::as_slice)) {
        let mut line = String::new();
        for (i, (cell, w)) in row.iter().zip(&widths).enumerate() {
            line += &if i == 0 { format!("{cell:<w$}") } else { format!("  {cell:>w$}") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    text
}

/// Points as a bench makes them.
#[cfg(test)]
pub fn sample_points() -> Vec<Point> {
    let point = |spec: &str, nprobe: usize, recall: f64, speed: f64| Point {
        spec: spec.into(),
        nprobe,
        recall: [(1, recall + 0.01), (10, recall)].into(),
        interval_95: [(10, [recall - 0.01, recall + 0.01])].into(),
        worst_tenth: [(10, recall / 2.0)].into(),
        queries_per_second: speed,
        latency_ms: Latency { p50: 0.1, p99: 0.25 },
        build_seconds: 1.5,
        bytes_per_vector: 1544.0,
        peak_rss_bytes: Some(200 << 20),
        ..Point::default()
    };
    vec![
        point("LMI320,Flat", 1, 0.51, 52_000.0),
        point("LMI320,Flat", 4, 0.74, 21_000.0),
        point("IVF320,Flat", 1, 0.47, 55_000.0),
        point("IVF320,Flat", 4, 0.71, 22_500.0),
        point("Flat", 1, 0.99, 4_000.0),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_aligned() {
        let text = table(&sample_points());
        let widths: Vec<usize> = text.lines().map(|l| l.chars().count()).collect();
        assert!(widths.windows(2).all(|w| w[0] == w[1]), "{text}");
        assert!(text.contains("LMI320,Flat") && text.contains("52,000"));
    }

    #[test]
    fn targets_and_refinements_have_columns_where_there_are_any() {
        let mut points = sample_points();
        points[1].target = Some(0.95);
        points[1].lists = 6.25;
        points[3].refine = Some(8);
        let text = table(&points);
        assert!(text.contains("target  lists  refine  recall@1"), "{text}");
        assert!(text.lines().nth(2).unwrap().contains("0.95    6.2       -"), "{text}");
        assert_eq!((points[1].label(), points[0].label()), (Some("\u{2192}0.95".into()), Some("1".into())));
        assert_eq!((points[3].series(), points[2].series()), ("IVF320,Flat, refine 8".into(), "IVF320,Flat".into()));
    }

    #[test]
    fn json_has_the_promised_keys() {
        let v = serde_json::to_value(&sample_points()[0]).unwrap();
        for key in [
            "spec",
            "nprobe",
            "recall",
            "queries_per_second",
            "latency_ms",
            "build_seconds",
            "bytes_per_vector",
            "peak_rss_bytes",
        ] {
            assert!(v.get(key).is_some(), "{key}");
        }
        assert_eq!(v["recall"]["10"], 0.51);
        let back: Point = serde_json::from_value(v).unwrap();
        assert_eq!(back, sample_points()[0]);
    }
}
