//! `voisin kmeans`: centroids of a dataset.

use std::path::PathBuf;

use clap::{Args, ValueEnum};
use voisin::partition::{Init, KMeansParams, kmeans_source};
use voisin::{MemSource, Metric};
use voisin_io::WriteOptions;

use crate::common::{BaseArgs, Context, check_folder, choose_metric, parse_metric, refuse_same};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, round, time};

const EXAMPLES: &str = "Examples:
  voisin kmeans --base base.h5 -k 320 -o centroids.npy
  voisin kmeans --base base.h5 -k 1024 --max-points 256 --niter 10 -o centroids.npy     (a sample is enough)
  voisin kmeans --base emb.npy -k 100 --spherical --init kmeans++ --nredo 3 -o centroids.npy";

/// How k-means begins.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum InitArg {
    #[default]
    Random,
    #[value(name = "kmeans++")]
    PlusPlus,
}

impl From<InitArg> for Init {
    fn from(i: InitArg) -> Init {
        match i {
            InitArg::Random => Init::Random,
            InitArg::PlusPlus => Init::PlusPlus,
        }
    }
}

/// k-means centroids of the vectors (Lloyd, in two levels from 4,096 centroids on); the same for any number of threads
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct KMeans {
    #[command(flatten)]
    base: BaseArgs,
    /// Number of centroids
    #[arg(short)]
    k: usize,
    /// Iterations; fewer are done once nothing moves (from 4,096 centroids on: once little is gained)
    #[arg(long, default_value_t = 25, value_name = "N")]
    niter: usize,
    /// Runs with different starts; the best is kept
    #[arg(long, default_value_t = 1, value_name = "N")]
    nredo: usize,
    /// How a run begins: with random rows, or with rows far from each other
    #[arg(long, value_enum, default_value_t, value_name = "HOW")]
    init: InitArg,
    /// Train on at most this many vectors for each centroid [default: all]
    #[arg(long, value_name = "N")]
    max_points: Option<usize>,
    /// Keep the centroids at unit length
    #[arg(long)]
    spherical: bool,
    /// l2, ip or cosine (scales the vectors to unit length first) [default: what the base file says, else l2]
    #[arg(long, value_parser = parse_metric)]
    metric: Option<Metric>,
    /// File for the centroids, as .npy, .h5, .fvecs, .fbin, .csv, ...
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
}

impl KMeans {
    /// Runs it.
    ///
    /// # Errors
    /// Wrong parameters, bad data, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        check_folder(&self.out)?;
        refuse_same(&self.base.base, &self.out)?;
        if self.max_points == Some(0) {
            return Err(Fail::usage("max-points = 0: at least 1", "leave --max-points out to use all vectors"));
        }
        let base = self.base.open(cx)?;
        let metric = choose_metric(self.metric, &*base, cx);
        let params = KMeansParams {
            k: self.k,
            niter: self.niter,
            nredo: self.nredo,
            init: self.init.into(),
            max_points_per_centroid: self.max_points,
            spherical: self.spherical,
            seed: cx.common.seed,
        };
        let begun = cx.elapsed();
        let found = kmeans_source(&*base, metric, self.base.on_bad.into(), &params, &cx.screen)?;
        let read = (cx.elapsed() - begun - found.seconds).max(0.0);
        let begun = cx.elapsed();
        let centroids = MemSource::new("centroids", found.centroids);
        voisin_io::write_vectors(&self.out, &centroids, &WriteOptions::default(), &cx.screen)?;
        let write = cx.elapsed() - begun;

        let total = cx.elapsed();
        let seconds = Seconds { read: Some(read), train: Some(found.seconds), write: Some(write), total, ..Seconds::default() };
        let objective: Vec<f64> = found.objective.iter().map(|x| round(*x, 6)).collect();
        let mut o = Outcome::new("kmeans");
        o.set("n", base.len()).set("d", base.dim()).set("k", self.k).set("metric", metric.name()).set("seconds", seconds);
        o.set("trained_on", found.trained_on).set("splits", found.splits).set("out", self.out.display().to_string());
        let (rows, iterations) = (count(found.trained_on as u64), objective.len());
        let last = objective.last().copied().unwrap_or_default();
        o.line(format!(
            "{} centroids of {rows} vectors of {} dimensions: {iterations} iterations in {}, objective {last:.6e}",
            count(self.k as u64),
            base.dim(),
            time(found.seconds),
        ));
        o.line(format!("written to {}", self.out.display()));
        if found.oversized > 0 {
            o.line(format!(
                "{} lists hold more than 4 times the mean; the largest has {} vectors",
                count(found.oversized as u64),
                count(found.largest as u64)
            ));
        }
        o.set("largest", found.largest).set("oversized", found.oversized);
        o.set("objective", objective);
        Ok(o)
    }
}
