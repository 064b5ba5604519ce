//! `voisin eval --relevant`: mAP, precision and nDCG of a result.

use std::path::Path;

use serde_json::json;
use voisin::eval::{Relevance, evaluate_relevance, usual_ks};
use voisin_io::read_relevant;

use crate::common::Context;
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, round};
use crate::point::{by_k, grid, some};

/// Judges `result` by the lists of `relevant` at every k (those usual for its length, where there is none).
///
/// # Errors
/// Files that are no such tables; a k of 0; nothing relevant to any query.
pub fn by_relevance(result: &str, relevant: &Path, ks: &[usize], cx: &Context) -> Result<Outcome> {
    let lists = read_relevant(relevant)?;
    let judged = lists.judge(result, ks.iter().copied().max()).map_err(|e| match e {
        voisin::Error::Format { .. } => Fail::data(
            e.to_string(),
            format!("{} names queries as the result does, or what stands before the slash", relevant.display()),
        ),
        e => e.into(),
    })?;
    let read = cx.elapsed();
    let longest = judged.rows.iter().map(|r| r.grades.len()).max().unwrap_or(0);
    let mut ks = if ks.is_empty() { usual_ks(longest.max(1)) } else { ks.to_vec() };
    ks.sort_unstable();
    ks.dedup();
    let all = evaluate_relevance(&judged.rows, &ks)?;

    let mut o = Outcome::new("eval");
    o.set("queries", judged.rows.len()).set("k", ks.last().copied().unwrap_or(0));
    let pick = |one: fn(&Relevance) -> voisin::eval::Recall| all.iter().map(|r| (r.k, one(r))).collect::<Vec<_>>();
    let (map, precision, recall, ndcg) = (pick(|r| r.map), pick(|r| r.precision), pick(|r| r.recall), pick(|r| r.ndcg));
    for (name, values) in [("map", &map), ("precision", &precision), ("recall", &recall), ("ndcg", &ndcg)] {
        o.set(name, json!(by_k(values, |r| r.mean)));
    }
    let ends: std::collections::BTreeMap<_, _> = map.iter().map(|(k, r)| (*k, [round(r.low, 6), round(r.high, 6)])).collect();
    o.set("interval_95", json!(ends)).set("worst_tenth", json!(by_k(&map, |r| r.worst_tenth)));
    let rows = all.iter().map(|r| {
        let interval = format!("{:.4} to {:.4}", r.map.low, r.map.high);
        let means = [r.precision, r.recall, r.ndcg].map(|m| format!("{:.4}", m.mean));
        [vec![format!("@{}", r.k), format!("{:.4}", r.map.mean), interval], means.to_vec()].concat()
    });
    let head = ["", "mAP", "95 % interval", "precision", "recall", "nDCG"].map(String::from);
    o.line(grid(&head, &rows.collect::<Vec<_>>()).trim_end());
    o.line(format!("{} queries", count(judged.rows.len() as u64)));
    if let Some(first) = &judged.first_without {
        o.set("without_relevant", judged.without);
        let n = count(judged.without as u64);
        o.line(format!("nothing is relevant to {n} queries, which are left out; the first is {first}"));
    }
    o.set("missing", judged.missing.len());
    if !judged.missing.is_empty() {
        let (n, file) = (count(judged.missing.len() as u64), relevant.display());
        o.line(format!("{n} queries of {file} are not in the result and do not count; missing are {}", some(&judged.missing)));
    }
    if let Some(k) = ks.last().filter(|k| **k > longest) {
        o.line(format!("k = {k}: no query has more than {} neighbours in the result", count(longest as u64)));
    }
    o.set("result", result).set("relevant", relevant.display().to_string());
    o.set("seconds", Seconds { read: Some(read), total: cx.elapsed(), ..Seconds::default() });
    Ok(o)
}
