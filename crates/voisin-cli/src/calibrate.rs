//! `voisin calibrate`: what recall targets take, measured on an index that is there.

use std::path::PathBuf;

use clap::Args;
use voisin::index::{CalibrateParams, CalibrateReport, IdList, Index, calibrate, calibrate_on};
use voisin::{Matrix, Metric, OnBad};
use voisin_io::truth::{Truth, read_neighbors};

use crate::build::{calibration_queries, skipped_queries, targets};
use crate::common::{AdaptArgs, Bad, Context, faiss_file, open_base, parse_bytes};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, time};

/// Measures how many lists recall targets take, on an index that was built in parts, converted or changed
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin calibrate index --base base.h5 --queries some-queries.h5
  voisin calibrate index --base 'img_emb_*.npy'                   (rows of the base stand in for queries)
  voisin calibrate index --queries q.npy --truth truth.h5         (neighbours found by `voisin exact -k 100`)
  voisin search index --queries queries.h5 --recall 0.95          (goes by it)

Vectors, ids and results by --nprobe stay as they are; an earlier calibration is replaced. `voisin build`
does the same at its end.")]
pub struct Calibrate {
    /// Folder of the index
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The vectors that the index was made of, in the same order or with the same string ids
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "truth")]
    base: Vec<String>,
    /// Queries like those to come; without them rows of the base stand in
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "base")]
    queries: Vec<String>,
    /// The true neighbours of the queries, instead of searching them in the base
    #[arg(long, value_name = "FILE", requires = "queries", conflicts_with = "base")]
    truth: Option<String>,
    /// Take at most this many queries; a large base takes fewer, but at least 200
    #[arg(long, value_name = "N", default_value_t = CalibrateParams::default().most, conflicts_with = "truth")]
    sample: usize,
    #[command(flatten)]
    adapt: AdaptArgs,
    /// Id of the first vector of the base, where they have none of their own
    #[arg(long, value_name = "N", default_value_t = 0, conflicts_with = "truth")]
    first_id: u64,
    /// Rows with NaN or infinity, and zero vectors under cosine, among the queries: refuse them, or skip and count them
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_bad: Bad,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
}

impl Calibrate {
    /// Runs it.
    ///
    /// # Errors
    /// Another base than that of the index, bad data, too little memory, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        if faiss_file(&[self.dir.display().to_string()]).is_some() {
            let message = format!("{0}: a file of FAISS; a calibration is kept in the folder of an index", self.dir.display());
            return Err(Fail::usage(message, "`voisin convert x.index DIR` makes one of it"));
        }
        if self.sample == 0 {
            return Err(Fail::usage("--sample 0: nothing to measure", "at least 1 query, usually some hundred"));
        }
        let (d, metric, strings) = {
            let index = Index::open(&self.dir)?;
            (index.dim(), index.metric(), index.has_string_ids())
        };
        let (report, skipped) = match &self.truth {
            Some(truth) => self.by_truth(truth, (d, metric, strings), cx)?,
            None => self.by_base(d, metric, cx)?,
        };
        let mut o = Outcome::new("calibrate");
        o.set("index", report.info.spec.to_string()).set("n", report.info.n).set("d", d).set("missing", report.missing);
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() }).set("out", self.dir.display().to_string());
        skipped_queries(skipped, &mut o);
        if report.missing > 0 {
            let what = "true neighbours that are not in the index (removed or left out) did not count";
            o.line(format!("{} {what}", count(report.missing)));
        }
        targets(report.info.calibration.as_ref(), &mut o);
        o.line(format!("{} calibrated in {}", self.dir.display(), time(cx.elapsed())));
        Ok(o)
    }

    fn by_base(&self, d: usize, metric: Metric, cx: &Context) -> Result<(CalibrateReport, Option<u64>)> {
        let base = self.adapt.over(open_base(&self.base, cx)?)?;
        let (queries, skipped) = calibration_queries(&self.queries, &self.adapt, d, metric, self.on_bad.into())?.unzip();
        let params = CalibrateParams {
            queries,
            most: self.sample,
            first_id: self.first_id,
            memory_limit: self.memory_limit,
            seed: cx.common.seed,
        };
        Ok((calibrate(&self.dir, &*base, &params, &cx.screen)?, skipped))
    }

    fn by_truth(
        &self,
        truth: &str,
        (d, metric, strings): (usize, Metric, bool),
        cx: &Context,
    ) -> Result<(CalibrateReport, Option<u64>)> {
        let table = read_neighbors(truth, None)?;
        // a query that is left out would shift those behind it
        let queries = calibration_queries(&self.queries, &self.adapt, d, metric, OnBad::Error)?;
        let queries = queries.map_or_else(|| Matrix::zeros(0, d), |(queries, _)| queries);
        if queries.n() != table.neighbors.len() {
            let (rows, n) = (count(table.neighbors.len() as u64), count(queries.n() as u64));
            let message = format!("{truth}: neighbours of {rows} queries, where there are {n}");
            return Err(Fail::data(message, "the truth must be of the same queries, in the same order"));
        }
        let ids = ids(&table, strings)?;
        Ok((calibrate_on(&self.dir, queries.view(), &ids, &cx.screen)?, None))
    }
}

/// The neighbours of each query as the index names them: by strings or by numbers.
fn ids(table: &Truth, strings: bool) -> Result<Vec<IdList>> {
    let rows = 0..table.neighbors.len();
    match (&table.strings, strings) {
        (Some(all), true) => {
            let mut at = 0;
            let row = |q| {
                let from = at;
                at += table.neighbors.ids(q).len();
                IdList::Strings((from..at).map(|i| all.get(i)).collect())
            };
            Ok(rows.map(row).collect())
        }
        (_, false) if !table.only_strings => Ok(rows.map(|q| IdList::Numbers(table.neighbors.ids(q).to_vec())).collect()),
        (_, true) => Err(Fail::data(
            format!("{}: its neighbours are row numbers, where the index has string ids", table.name),
            "search a base that has the string ids (`voisin exact` keeps them), or name the base with --base",
        )),
        (_, false) => Err(Fail::data(
            format!("{}: its neighbours are strings, where the index has numbers", table.name),
            "name the base with --base instead",
        )),
    }
}
