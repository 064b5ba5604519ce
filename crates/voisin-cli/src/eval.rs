//! `voisin eval`: how good a result is.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin::Metric;
use voisin::eval::{Evaluation, evaluate, usual_ks};
use voisin_io::truth::{DistanceKind, Truth, comparable, read_neighbors};

use crate::common::{Context, parse_metric};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, queries_have, round};
use crate::point::{by_k, grid};
use crate::relevance::by_relevance;

const EXAMPLES: &str = "Examples:
  voisin eval result.h5 --truth truth.h5
  voisin eval result.h5 --truth gold-standard.h5 -k 10,30       (SISAP: knns counted from 1)
  voisin eval knn.ivecs --truth gt.ivecs                        (no distances: by id only)
  voisin eval run.trec --truth truth.json --json
  voisin eval result.json --relevant gt.json -k 10,100          (mAP, precision, nDCG)

Two definitions of recall@k are in use, and both are given. By id set (SISAP): the share of the k true ids among the first k found.
By distance (ann-benchmarks): the share of the first k found that are no farther than the k-th true distance + 0.001, so that ties
pass. Both must be distances of the same kind. The interval is the 95 % interval of the mean over queries.

With --relevant the result may also be similarities of ILIAS, JSON or pickle. AP@k is the sum of the precision at each
relevant item among the first k, divided by min(k, relevant items); nDCG has the grade as gain and log2(rank + 1) as discount.";

/// Recall of a result against the true neighbours, or mAP, precision and nDCG by what is relevant
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Eval {
    /// The result: HDF5, JSON, NPZ, NPY, ivecs, ibin, csv, tsv or TREC run; FILE::NAME names a data set
    #[arg(value_name = "RESULT")]
    result: String,
    /// The true neighbours, in any of these formats
    #[arg(long, value_name = "FILE", required_unless_present = "relevant")]
    truth: Option<String>,
    /// What is relevant to each query, near or not: JSON {query: [id, ...]} or {query: {id: grade}}. Gives mAP,
    /// precision, recall and nDCG. A query that is not in it has what the part of its id before the slash has
    #[arg(long, value_name = "FILE", conflicts_with_all = ["truth", "metric"])]
    relevant: Option<PathBuf>,
    /// Neighbours counted, such as 1,10,100 [default: 1, 10, 100 and all, as far as both sides go]
    #[arg(short, long = "k", value_name = "K", value_delimiter = ',')]
    k: Vec<usize>,
    /// What the distances are: l2, ip or cosine [default: what a file says]
    #[arg(long, value_parser = parse_metric)]
    metric: Option<Metric>,
}

impl Eval {
    /// Runs it.
    ///
    /// # Errors
    /// Files that are no tables of neighbours, tables for different queries, a k beyond the truth.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        if let Some(relevant) = &self.relevant {
            return by_relevance(&self.result, relevant, &self.k, cx);
        }
        let of = self.truth.as_deref().unwrap_or_default();
        let (found, truth) = (read_neighbors(&self.result, None)?, read_neighbors(of, None)?);
        let read = cx.elapsed();
        for (name, notes) in [(&self.result[..], &found.notes), (of, &truth.notes)] {
            notes.iter().for_each(|note| cx.screen.say(&format!("{name}: {note}")));
        }
        let metric = self.metric.or(found.metric).or(truth.metric);
        let judged = judge(&found, &truth, metric, &self.k)?;
        let e = &judged.evaluation;

        let mut o = Outcome::new("eval");
        o.set("queries", e.queries).set("k", e.recall.last().map_or(0, |r| r.0));
        o.set_some("metric", judged.metric.map(Metric::name));
        judged.report(&mut o);
        o.set("result", self.result.clone()).set("truth", of);
        o.set("seconds", Seconds { read: Some(read), total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }
}

/// An evaluation, and what distances were taken to be.
#[derive(Debug)]
pub struct Judged {
    /// The numbers.
    pub evaluation: Evaluation,
    /// The metric of the distances; `None` where they could not be compared.
    pub metric: Option<Metric>,
    /// Why not.
    pub remark: Option<String>,
}

/// Compares two tables of neighbours; `metric` where it is known, `ks` or the usual ones where empty.
///
/// # Errors
/// Tables for different queries or with ids of different kinds, a k beyond the truth.
pub fn judge(found: &Truth, truth: &Truth, metric: Option<Metric>, ks: &[usize]) -> Result<Judged> {
    let (metric, remark) = match kinds(found, truth, metric) {
        Ok(metric) => (Some(metric), None),
        Err(remark) => (None, Some(remark)),
    };
    let (a, b) = comparable(found, truth, metric.unwrap_or(Metric::L2))?;
    if a.len() != b.len() {
        let message =
            format!("{}: {} queries, but {} has {}", found.name, count(a.len() as u64), truth.name, count(b.len() as u64));
        return Err(Fail::data(message, "result and truth must be for the same queries, in the same order"));
    }
    let mut ks = if ks.is_empty() { usual_ks(a.k().min(b.k())) } else { ks.to_vec() };
    ks.sort_unstable();
    ks.dedup();
    let evaluation = evaluate(&a, &b, &ks, metric)?;
    let remark = if evaluation.disjoint {
        Some(format!("no id of {} is an id of {}: are both of the same base, with the same ids?", found.name, truth.name))
    } else if evaluation.distances_differ {
        let what = "distances at the same ids are not those of";
        Some(format!("{}: {what} {} (estimates by codes, or another metric): recall by id only", found.name, truth.name))
    } else {
        remark
    };
    Ok(Judged { evaluation, metric, remark })
}

/// The metric under which the distances of both can be compared, or why they cannot.
fn kinds(found: &Truth, truth: &Truth, metric: Option<Metric>) -> std::result::Result<Metric, String> {
    let (Some(a), Some(b)) = (found.distances, truth.distances) else {
        let which = if found.distances.is_none() { found } else { truth };
        return Err(format!("{} has no distances: recall by id only", which.name));
    };
    let metric = match metric {
        Some(metric) => metric,
        None if a == b => direction(truth),
        None => return Err("no file says what its distances are: recall by id only; --metric says it".into()),
    };
    let one_minus = [a, b].contains(&DistanceKind::OneMinusDot);
    if one_minus && a != b && metric == Metric::L2 {
        return Err("one file has L2 distances, the other 1 - dot products: recall by id only".into());
    }
    Ok(metric)
}

/// Without a name for the metric only the direction matters: descending means dot products.
fn direction(table: &Truth) -> Metric {
    let rises = |row: &[f32]| row.windows(2).all(|w| w[0] <= w[1]);
    let ascending = (0..table.neighbors.len()).all(|i| rises(table.neighbors.distances(i)));
    if ascending { Metric::L2 } else { Metric::Ip }
}

impl Judged {
    /// Adds keys and lines.
    pub fn report(&self, o: &mut Outcome) {
        let e = &self.evaluation;
        o.set("recall", json!(by_k(&e.recall, |r| r.mean)));
        if !e.recall_by_distance.is_empty() {
            o.set("recall_by_distance", json!(by_k(&e.recall_by_distance, |r| r.mean)));
        }
        let ends: std::collections::BTreeMap<_, _> =
            e.recall.iter().map(|(k, r)| (*k, [round(r.low, 6), round(r.high, 6)])).collect();
        o.set("interval_95", json!(ends)).set("worst_tenth", json!(by_k(&e.recall, |r| r.worst_tenth)));
        o.set("mrr", round(e.mrr, 6)).set("short_rows", e.short_rows);
        let rows = e.recall.iter().enumerate().map(|(i, (k, r))| {
            let by_distance = e.recall_by_distance.get(i).map_or_else(|| "-".into(), |d| format!("{:.4}", d.1.mean));
            let interval = format!("{:.4} to {:.4}", r.low, r.high);
            vec![format!("recall@{k}"), format!("{:.4}", r.mean), interval, format!("{:.4}", r.worst_tenth), by_distance]
        });
        let head = ["", "by id", "95 % interval", "worst tenth", "by distance"].map(String::from);
        o.line(grid(&head, &rows.collect::<Vec<_>>()).trim_end());
        let queries = count(e.queries as u64);
        o.line(format!("nearest neighbour: mean reciprocal rank {:.4}; {queries} queries", e.mrr));
        if let Some(remark) = &self.remark {
            o.line(remark);
        }
        if e.without_truth > 0 {
            o.set("without_truth", e.without_truth);
            o.line(format!("{} queries have no true neighbour and are left out", count(e.without_truth as u64)));
        }
        if e.short_rows > 0 {
            o.line(format!("{} fewer results than asked for", queries_have(e.short_rows as u64)));
        }
    }
}
