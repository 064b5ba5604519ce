//! `voisin pair`: the nearest vector of every query, by exact search.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin::{Metric, Neighbors};

use crate::common::{AdaptArgs, BaseArgs, Context, parse_bytes, parse_metric};
use crate::exact::Exact;
use crate::fail::Result;
use crate::outcome::{Outcome, round};
use crate::saving::SaveArgs;

const EXAMPLES: &str = "Examples:
  voisin pair --queries captions.npy --base 'images_*.npy' --metric cosine -o pairs.h5
  voisin pair --queries captions.npy --base 'images_*.npy' --memory-limit 8G -o pairs.h5

It is `voisin exact -k 1`, with the same options, and says how similar the pairs are. pairs.h5 holds
  neighbors   (n, 1)  row of the base, from 0, for each query; -1 where a query was skipped
  distances   (n, 1)  as `exact` gives them: l2 the root, ip the dot product, cosine 1 - cos
  similarity  (n, 1)  ip: the dot product; cosine: the cosine; not for l2 (so in .json, .csv, .tsv)
With --layout sisap rows count from 1 (knns) and distances are `dists`, ip as 1 - dot product.
Both sides are streamed under --memory-limit; the pairs are held to the end, 20 bytes each. Killed
and started again with the same OUT, it goes on where it was and gives the same bytes.";

/// Pairs every query with its nearest vector: exact search with k = 1 (`exact -k 1`), with the similarity
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Pair {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    adapt: AdaptArgs,
    /// Vectors to find a partner for: files, patterns, folders or templates with {idx}
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    queries: Vec<String>,
    /// l2, ip or cosine [default: what the base file says, else l2]
    #[arg(long, value_parser = parse_metric)]
    metric: Option<Metric>,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    /// Codes that `exact --prepare` wrote [default: BASE.codes8, where it is there]
    #[arg(long, value_name = "FILE")]
    codes: Option<PathBuf>,
    #[command(flatten)]
    save: SaveArgs,
}

impl Pair {
    /// Runs it.
    ///
    /// # Errors
    /// As `exact`.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let exact = Exact {
            base: self.base.clone(),
            adapt: self.adapt.clone(),
            allow: None,
            expand: None,
            queries: self.queries.clone(),
            k: 1,
            metric: self.metric,
            exclude_self: false,
            memory_limit: self.memory_limit,
            prepare: false,
            codes: self.codes.clone(),
            save: SaveArgs { similarities: true, ..self.save.clone() },
        };
        let (mut o, pairs, metric) = exact.search("pair", cx)?;
        summary(&pairs, metric, &mut o);
        Ok(o)
    }
}

/// How similar the pairs are.
fn summary(pairs: &Neighbors, metric: Metric, o: &mut Outcome) {
    let found = (0..pairs.len()).filter_map(|i| pairs.distances(i).first());
    let values = found.map(|&d| if metric == Metric::Cosine { 1.0 - f64::from(d) } else { f64::from(d) });
    let (mut n, mut sum, mut low, mut high) = (0u64, 0.0, f64::INFINITY, f64::NEG_INFINITY);
    values.for_each(|v| (n, sum, low, high) = (n + 1, sum + v, low.min(v), high.max(v)));
    if n == 0 {
        return;
    }
    let (key, name) = match metric {
        Metric::L2 => ("distance", "distance of the pairs"),
        Metric::Ip => ("similarity", "similarity of the pairs (dot product)"),
        Metric::Cosine => ("similarity", "similarity of the pairs (cosine)"),
    };
    let [mean, low, high] = [sum / n as f64, low, high].map(|v| round(v, 6));
    o.set(key, json!({"mean": mean, "min": low, "max": high}));
    o.line(format!("{name}: mean {mean:.4}, from {low:.4} to {high:.4}"));
}
