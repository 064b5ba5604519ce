//! `voisin exact`: the true neighbours.

use std::path::PathBuf;

use clap::Args;
use voisin::exact::{ExactParams, exact};
use voisin::Metric;

use crate::common::{
    BaseArgs, Context, beside, check_folder, choose_metric, open_queries, parse_bytes, parse_metric, refuse_same,
};
use crate::fail::Result;
use crate::outcome::{Outcome, Seconds, count, time};

const EXAMPLES: &str = "Examples:
  voisin exact --base base.h5 --queries queries.h5 -k 100 -o truth.h5
  voisin exact --base 'shards/img_emb_*.npy' --queries q.fvecs --metric cosine --memory-limit 4G -o truth.ivecs
  voisin exact --base sift-128-euclidean.hdf5 --queries sift-128-euclidean.hdf5     (takes `train` and `test`)
  voisin exact --base emb.npy --queries emb.npy --exclude-self -o knn.npz

The ending of OUT decides its layout: .h5 (ann-benchmarks names), .json, .npz, .ivecs, .ibin, .csv, .tsv, .trec.
Killed and started again with the same OUT, it goes on where it was and gives the same bytes.";

/// Exact nearest neighbours of every query, from a base that may be larger than memory
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Exact {
    #[command(flatten)]
    base: BaseArgs,
    /// Vectors to search for
    #[arg(long, required = true, num_args = 1.., value_name = "FILE")]
    queries: Vec<String>,
    /// Neighbours for each query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// l2, ip or cosine [default: what the base file says, else l2]
    #[arg(long, value_parser = parse_metric)]
    metric: Option<Metric>,
    /// File for the result; without it the first queries are shown
    #[arg(short, long, value_name = "OUT")]
    out: Option<PathBuf>,
    /// Leave out the base row with the number of the query: for a set searched in itself
    #[arg(long)]
    exclude_self: bool,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
}

impl Exact {
    /// Runs it.
    ///
    /// # Errors
    /// Wrong parameters, bad data, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        if let Some(out) = &self.out {
            check_folder(out)?;
            refuse_same(&self.base.base, out)?;
            refuse_same(&self.queries, out)?;
        }
        let (base, queries) = (self.base.open()?, open_queries(&self.queries)?);
        let params = ExactParams {
            k: self.k,
            metric: choose_metric(self.metric, &*base, cx),
            on_bad: self.base.on_bad.into(),
            exclude_self: self.exclude_self,
            memory_limit: self.memory_limit,
            checkpoint: self.out.as_deref().map(|o| beside(o, "part")),
        };
        let found = exact(&*base, &*queries, &params, &cx.screen)?;
        let seconds = Seconds {
            read: Some(found.read_seconds),
            search: Some(found.search_seconds),
            total: cx.elapsed(),
            ..Seconds::default()
        };
        let mut o = Outcome::new("exact");
        let speed = queries.len() as f64 / found.search_seconds;
        o.set("n", base.len()).set("d", base.dim()).set("queries", queries.len()).set("k", self.k);
        o.set("metric", params.metric.name()).set("queries_per_second", speed).set("seconds", seconds);
        o.line(format!("{} queries in {} vectors: {}", count(queries.len()), count(base.len()), time(found.search_seconds)));
        o.line(crate::show::table(&found.neighbors, |q| q.to_string(), |id| id.to_string()));
        Ok(o)
    }
}
