//! `voisin exact`: the true neighbours.

use clap::Args;
use voisin::exact::{ExactParams, ExactResult, exact};
use voisin::{Metric, Neighbors, Source, StringIds};

use crate::common::{BaseArgs, Context, beside, choose_metric, open_queries, parse_bytes, parse_metric};
use crate::fail::Result;
use crate::outcome::{Outcome, Seconds, count, round, time};
use crate::saving::{Found, Run, SaveArgs};

const EXAMPLES: &str = "Examples:
  voisin exact --base base.h5 --queries queries.h5 -k 100 -o truth.h5
  voisin exact --base 'emb_*.npy' --queries q.fvecs --metric cosine --memory-limit 4G -o gt.ivecs
  voisin exact --base sift.hdf5 --queries sift.hdf5             (takes `train` and `test`)
  voisin exact --base emb.npy --queries emb.npy --exclude-self -o knn.npz

The ending of OUT decides its format. Killed and started again with the same OUT, it goes on where
it was and gives the same bytes.";

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
    /// Leave out the vector that has the id of the query (its row number where there are no
    /// string ids): for a set searched in itself
    #[arg(long)]
    exclude_self: bool,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    #[command(flatten)]
    save: SaveArgs,
}

impl Exact {
    /// Runs it.
    ///
    /// # Errors
    /// Wrong parameters, bad data, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        self.save.check([&self.base.base[..], &self.queries[..]])?;
        let (base, queries) = (self.base.open()?, open_queries(&self.queries)?);
        let names = if self.exclude_self { other_names(&*base, &*queries)? } else { None };
        let one_more = (names.is_some() && self.k > 0 && (self.k as u64) < base.len()) as usize;
        let params = ExactParams {
            k: self.k + one_more,
            metric: choose_metric(self.metric, &*base, cx),
            on_bad: self.base.on_bad.into(),
            exclude_self: self.exclude_self && names.is_none(),
            memory_limit: self.memory_limit,
            checkpoint: self.save.out.as_deref().map(|o| beside(o, "part")),
        };
        let mut found = exact(&*base, &*queries, &params, &cx.screen)?;
        if let Some((base, queries)) = &names {
            found.neighbors = without_self(&found.neighbors, base, queries, self.k);
        }
        let mut o = self.outcome(&found, &*base, &*queries, params.metric);
        let begun = cx.elapsed();
        self.write(&found, &*base, &*queries, params.metric, &mut o)?;
        let write = self.save.out.as_ref().map(|_| cx.elapsed() - begun);
        if let Some(checkpoint) = &params.checkpoint {
            let _ = std::fs::remove_file(checkpoint); // the result is safe; there may be none
        }
        let (read, search) = (Some(found.read_seconds), Some(found.search_seconds));
        o.set("seconds", Seconds { read, search, write, total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }

    fn outcome(&self, found: &ExactResult, base: &dyn Source, queries: &dyn Source, metric: Metric) -> Outcome {
        let speed = queries.len() as f64 / found.search_seconds.max(1e-9);
        let mut o = Outcome::new("exact");
        o.set("n", base.len()).set("d", base.dim()).set("queries", queries.len()).set("k", self.k);
        o.set("metric", metric.name()).set("queries_per_second", round(speed, 3)).set_some("resumed", found.resumed_at);
        o.line(format!(
            "{} queries in {} vectors of {} dimensions, {metric}: {} ({} queries/s), {} waiting for input",
            count(queries.len()),
            count(base.len()),
            base.dim(),
            time(found.search_seconds),
            count(speed as u64),
            time(found.read_seconds)
        ));
        if let Some(row) = found.resumed_at {
            o.line(format!("an earlier run had done the first {} vectors", count(row)));
        }
        if found.skipped_base + found.skipped_queries > 0 {
            o.set("skipped", found.skipped_base + found.skipped_queries);
            let (base, queries) = (count(found.skipped_base), count(found.skipped_queries));
            o.line(format!("left out because they cannot be ranked: {base} of the base, {queries} of the queries"));
        }
        let short = found.neighbors.short_rows() as u64 - found.skipped_queries;
        if short > 0 {
            o.set("short_rows", short).line(format!("{} queries have fewer than {} neighbours", count(short), self.k));
        }
        o
    }

    fn write(&self, found: &ExactResult, base: &dyn Source, queries: &dyn Source, metric: Metric, o: &mut Outcome) -> Result<()> {
        let (base_ids, query_ids) = (base.ids()?, queries.ids()?);
        let params = format!("k={} metric={metric}", self.k);
        let run = Run {
            data: base.name(),
            n: base.len(),
            algorithm: "exact".into(),
            params: &params,
            seconds: found.search_seconds,
            build_seconds: 0.0,
        };
        let (base_ids, query_ids) = (base_ids.as_ref(), query_ids.as_ref());
        self.save.save(&Found { neighbors: &found.neighbors, metric, base_ids, query_ids, run }, o)
    }
}

/// The names of base and queries where both have some and a query's row is not the one with its name: a subset, or another order.
fn other_names(base: &dyn Source, queries: &dyn Source) -> Result<Option<(StringIds, StringIds)>> {
    let (Some(b), Some(q)) = (base.ids()?, queries.ids()?) else { return Ok(None) };
    let aligned = q.len() <= b.len() && q.iter().zip(b.iter()).all(|(q, b)| q == b);
    Ok((!aligned).then_some((b, q)))
}

/// Leaves out what has the name of the query, of results that hold one more than k.
fn without_self(found: &Neighbors, base: &StringIds, queries: &StringIds, k: usize) -> Neighbors {
    let mut out = Neighbors::new(k);
    for i in 0..found.len() {
        let pairs = found.distances(i).iter().copied().zip(found.ids(i).iter().copied());
        out.push_row(pairs.filter(|(_, id)| base.get(*id as usize) != queries.get(i)).take(k));
    }
    out
}
