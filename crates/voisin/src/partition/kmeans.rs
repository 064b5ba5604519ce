//! Lloyd's k-means on matrix products.
//!
//! Every result is a function of the data, the parameters and the seed: sums run over the rows of a cluster in the order of
//! the rows, whatever thread does it.

use super::nearest::Nearest;
use super::rng::Random;
use super::sample::{normalise, sample};
use super::seeding;
use super::{Centroids, large};
use crate::{Error, Matrix, Metric, OnBad, Result, Source, Vectors, Watch};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Instant;
use voisin_kernels::dot_f64;

/// How the first centroids are chosen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Init {
    /// k different rows.
    #[default]
    Random,
    /// k-means++: each next row with a probability proportional to its squared distance to those chosen
    /// (Arthur & Vassilvitskii, 2007). Cost: k passes over the rows.
    PlusPlus,
}

/// What k-means needs to know.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct KMeansParams {
    /// Number of centroids.
    #[serde(skip)]
    pub k: usize,
    /// Iterations; fewer are done when nothing moves any more, or from 4,096 centroids on when the objective falls by less
    /// than 0.1 % in one.
    pub niter: usize,
    /// Runs with different starts, of which the best is kept.
    pub nredo: usize,
    /// How a run starts.
    pub init: Init,
    /// Train on at most this many rows a centroid, chosen by the seed; `None` takes all.
    pub max_points_per_centroid: Option<usize>,
    /// Scale the centroids to unit length after every iteration.
    pub spherical: bool,
    /// Seed of every choice.
    #[serde(skip)]
    pub seed: u64,
}

impl Default for KMeansParams {
    fn default() -> Self {
        KMeansParams { k: 0, niter: 25, nredo: 1, init: Init::Random, max_points_per_centroid: None, spherical: false, seed: 0 }
    }
}

/// Centroids, and how they were found.
#[derive(Clone, Debug)]
pub struct KMeansResult {
    /// k x d.
    pub centroids: Matrix,
    /// The nearest centroid of every row that was given (of the sample, from [`kmeans_source`]). From 4,096 centroids on the
    /// nearest that was looked at: for a few rows in a hundred another is a little nearer.
    pub assignment: Vec<u32>,
    /// Sum of squared distances of the training rows to their centroids in each iteration, before these move (as FAISS
    /// counts it), of the best run.
    pub objective: Vec<f64>,
    /// Rows trained on.
    pub trained_on: usize,
    /// Clusters that were split, because another was empty or they were above four times the mean, over all iterations of the best run.
    pub splits: usize,
    /// Rows of the largest list of `assignment`.
    pub largest: usize,
    /// Lists of `assignment` with more than four times the mean.
    pub oversized: usize,
    /// Wall time.
    pub seconds: f64,
}

/// k-means of rows in memory.
///
/// Cost: at most `niter * nredo` products of the rows with the centroids. From 512 centroids of 256 dimensions on, only the
/// first four iterations and the last assignment are such; those between compare a row with the 64 centroids nearest to its
/// own. From 4,096 centroids on all do, after a start in two levels. Memory beside the rows: n x d bytes, k x d sums in f64
/// and a copy of the sample, where one is taken. Deterministic for any number of threads.
///
/// # Errors
/// k = 0, k above the number of rows, no iteration; [`Error::Stopped`].
///
/// # Source
/// Lloyd, "Least squares quantization in PCM", 1982.
pub fn kmeans(data: Vectors<'_>, params: &KMeansParams, watch: &dyn Watch) -> Result<KMeansResult> {
    runs(data, params, watch, params.k >= large::LARGE)
}

/// [`kmeans`] that compares every row with every centroid, however many.
pub(super) fn flat(data: Vectors<'_>, params: &KMeansParams, watch: &dyn Watch) -> Result<KMeansResult> {
    runs(data, params, watch, false)
}

fn runs(data: Vectors<'_>, params: &KMeansParams, watch: &dyn Watch, two_levels: bool) -> Result<KMeansResult> {
    check(params, data.n() as u64)?;
    let start = Instant::now();
    let limit = params.max_points_per_centroid.map_or(usize::MAX, |m| m.max(1).saturating_mul(params.k));
    let chosen = (limit < data.n()).then(|| gather(data, &Random::new(params.seed, 1).sample(data.n() as u64, limit as u64)));
    let train = chosen.as_ref().map_or(data, |c| c.view());
    let mut nearest = (!two_levels).then(|| Nearest::new(train));
    let mut best: Option<Run> = None;
    watch.begin("k-means", (params.niter * params.nredo) as u64, "iterations");
    for redo in 0..params.nredo as u64 {
        let run = match &mut nearest {
            Some(nearest) => lloyd(train, nearest, params, redo, watch)?,
            None => large::run(train, params, redo, watch)?,
        };
        if best.as_ref().is_none_or(|b| run.final_objective < b.final_objective) {
            best = Some(run);
        }
    }
    watch.end();
    let best = best.expect("nredo was checked");
    let assignment = match &chosen {
        None => best.assignment,
        Some(_) => super::Centroids::new(best.centroids.clone(), Metric::L2).assign(data),
    };
    let mut sizes = vec![0usize; params.k];
    assignment.iter().for_each(|&list| sizes[list as usize] += 1);
    let oversized = sizes.iter().filter(|&&s| s * params.k > large::OVERSIZED * assignment.len()).count();
    Ok(KMeansResult {
        centroids: best.centroids,
        objective: best.objective,
        trained_on: train.n(),
        splits: best.splits,
        largest: sizes.iter().copied().max().unwrap_or(0),
        oversized,
        assignment,
        seconds: start.elapsed().as_secs_f64(),
    })
}

/// k-means of a source that is streamed; only the rows trained on are kept in memory.
///
/// Under cosine the rows are scaled to unit length first.
///
/// # Errors
/// As [`kmeans`], and what reading gives.
pub fn kmeans_source(
    source: &dyn Source,
    metric: Metric,
    on_bad: OnBad,
    params: &KMeansParams,
    watch: &dyn Watch,
) -> Result<KMeansResult> {
    check(params, source.len())?;
    let limit = params.max_points_per_centroid.map_or(u64::MAX, |m| m.max(1) as u64 * params.k as u64);
    let rows = sample(source, limit, params.seed, metric, on_bad, watch)?;
    kmeans(rows.rows.view(), &KMeansParams { max_points_per_centroid: None, ..params.clone() }, watch)
}

fn check(params: &KMeansParams, n: u64) -> Result<()> {
    if params.k == 0 || params.k as u64 > n {
        return Err(Error::param("k", params.k, format!("1 to the number of vectors, {n}")));
    }
    if params.niter == 0 || params.nredo == 0 {
        let name = if params.niter == 0 { "niter" } else { "nredo" };
        return Err(Error::param(name, 0, "at least 1"));
    }
    Ok(())
}

pub(crate) fn gather(data: Vectors<'_>, rows: &[u64]) -> Matrix {
    let mut out = Matrix::zeros(rows.len(), data.d());
    let d = data.d();
    out.data_mut().par_chunks_mut(d * 256).zip(rows.par_chunks(256)).for_each(|(out, rows)| {
        for (to, &r) in out.chunks_exact_mut(d).zip(rows) {
            to.copy_from_slice(data.row(r as usize));
        }
    });
    out
}

pub(super) struct Run {
    pub(super) centroids: Matrix,
    pub(super) assignment: Vec<u32>,
    pub(super) objective: Vec<f64>,
    pub(super) final_objective: f64,
    pub(super) splits: usize,
}

/// Iterations that compare rows with all centroids, where later ones do not.
const WHOLE: usize = 4;

/// Whether products with all centroids cost much more than finding each centroid's neighbours and products with these.
fn prunes(k: usize, d: usize) -> bool {
    k >= 8 * large::NEIGHBOURS && d >= 256
}

fn lloyd(data: Vectors<'_>, nearest: &mut Nearest, params: &KMeansParams, redo: u64, watch: &dyn Watch) -> Result<Run> {
    let mut rng = Random::new(params.seed, 16 + redo);
    let mut centroids = match params.init {
        Init::Random => gather(data, &rng.sample(data.n() as u64, params.k as u64)),
        Init::PlusPlus => seeding::plus_plus(data, params.k, &mut rng, watch)?,
    };
    if params.spherical {
        (0..params.k).for_each(|c| normalise(centroids.row_mut(c)));
    }
    let mut sums = Sums::new(data, params.k);
    let mut run =
        Run { centroids: Matrix::zeros(0, data.d()), assignment: vec![], objective: vec![], final_objective: 0.0, splits: 0 };
    for iteration in 0..params.niter {
        watch.check()?;
        if iteration >= WHOLE && prunes(params.k, data.d()) {
            let near = Centroids::new(centroids, Metric::L2);
            let neighbours = near.neighbours(large::NEIGHBOURS);
            centroids = near.into_matrix();
            nearest.update_among(data, &centroids, &neighbours);
        } else {
            nearest.update(data, centroids.view());
        }
        let moved = sums.update(data, nearest.lists());
        let objective = sums.objective(centroids.view());
        watch.note(&format!("iteration {}: objective {objective:.6e}", iteration + 1));
        run.objective.push(objective);
        let splits = sums.means(&mut centroids);
        if params.spherical {
            (0..params.k).for_each(|c| normalise(centroids.row_mut(c)));
        }
        run.splits += splits;
        watch.advance(1);
        if !moved && splits == 0 {
            watch.note("no vector changes its list any more");
            watch.advance((params.niter - iteration - 1) as u64);
            break;
        }
    }
    watch.check()?;
    nearest.update(data, centroids.view());
    sums.update(data, nearest.lists());
    run.final_objective = sums.objective(centroids.view());
    run.assignment = nearest.lists().to_vec();
    run.centroids = centroids;
    Ok(run)
}

/// Sum and number of the rows of each cluster.
pub(crate) struct Sums {
    sums: Vec<f64>,
    counts: Vec<usize>,
    before: Vec<u32>,
    d: usize,
    /// Sum of the squared norms of all rows.
    norms: f64,
}

impl Sums {
    pub(crate) fn new(data: Vectors<'_>, k: usize) -> Sums {
        let d = data.d();
        let square = |rows: &[f32]| rows.chunks_exact(d).map(|r| dot_f64(r, r)).sum::<f64>();
        // chunks of a fixed size: the order of the additions must not depend on threads
        let parts: Vec<f64> = data.data().par_chunks(1024 * d).map(square).collect();
        Sums { sums: vec![0.0; k * d], counts: vec![0; k], before: Vec::new(), d, norms: parts.iter().sum() }
    }

    /// Sum of the squared distances of all rows to the centroids of their lists, from the sums alone:
    /// Σ|x|² − Σ_c (2 <c, sum of c's rows> − count |c|²).
    pub(crate) fn objective(&self, centroids: Vectors<'_>) -> f64 {
        let part = |((c, sum), &n): ((&[f32], &[f64]), &usize)| -> f64 {
            c.iter().zip(sum).map(|(&c, &s)| c as f64 * (2.0 * s - n as f64 * c as f64)).sum()
        };
        let near: f64 = centroids.iter().zip(self.sums.chunks_exact(self.d)).zip(&self.counts).map(part).sum();
        (self.norms - near).max(0.0)
    }

    /// Brings the sums up to date; whether any row is in another list than before.
    ///
    /// Only rows that moved are added and taken away, in f64 and in the order of the rows, a cluster on one thread.
    pub(crate) fn update(&mut self, data: Vectors<'_>, lists: &[u32]) -> bool {
        let (k, d) = (self.counts.len(), self.d);
        let first = self.before.is_empty();
        let mut events: Vec<Vec<(u32, bool)>> = vec![Vec::new(); k];
        for (i, &to) in lists.iter().enumerate() {
            if first {
                events[to as usize].push((i as u32, true));
            } else if self.before[i] != to {
                events[self.before[i] as usize].push((i as u32, false));
                events[to as usize].push((i as u32, true));
            }
        }
        let moved = events.iter().any(|e| !e.is_empty());
        self.sums.par_chunks_mut(d).zip(self.counts.par_iter_mut()).zip(events.par_iter()).for_each(|((sum, count), events)| {
            for &(i, enters) in events {
                let row = data.row(i as usize);
                if enters {
                    *count += 1;
                    sum.iter_mut().zip(row).for_each(|(s, &x)| *s += x as f64);
                } else {
                    *count -= 1;
                    sum.iter_mut().zip(row).for_each(|(s, &x)| *s -= x as f64);
                }
            }
        });
        self.before.clear();
        self.before.extend_from_slice(lists);
        moved
    }

    /// Writes the means; an empty cluster takes one half of the largest: the same centroid, both shifted a little in
    /// opposite directions. Returns how many were split.
    pub(crate) fn means(&self, centroids: &mut Matrix) -> usize {
        let d = self.d;
        let write = |(c, (centroid, &count)): (usize, (&mut [f32], &usize))| {
            let scale = 1.0 / count as f64;
            if count > 0 {
                let sum = &self.sums[c * d..(c + 1) * d];
                centroid.iter_mut().zip(sum).for_each(|(x, &s)| *x = (s * scale) as f32);
            }
        };
        centroids.data_mut().par_chunks_mut(d).zip(self.counts.par_iter()).enumerate().for_each(write);
        let empty: Vec<usize> = (0..self.counts.len()).filter(|&c| self.counts[c] == 0).collect();
        if empty.is_empty() {
            return 0;
        }
        // largest first, the smaller cluster on a tie
        let mut by_size: BinaryHeap<(usize, Reverse<usize>)> =
            self.counts.iter().enumerate().filter(|c| *c.1 > 0).map(|(c, &n)| (n, Reverse(c))).collect();
        for &c in &empty {
            let Some((count, Reverse(large))) = by_size.pop() else { break };
            halve(centroids, large, c);
            by_size.push((count / 2, Reverse(c)));
            by_size.push((count - count / 2, Reverse(large)));
        }
        empty.len()
    }

    /// Rows of each cluster.
    pub(crate) fn counts(&self) -> &[usize] {
        &self.counts
    }
}

/// Puts centroid `to` beside `from`, both shifted a little in opposite directions.
pub(super) fn halve(centroids: &mut Matrix, from: usize, to: usize) {
    const SHIFT: f32 = 1.0 / 1024.0;
    for j in 0..centroids.d() {
        let (x, s) = (centroids.row(from)[j], if j % 2 == 0 { SHIFT } else { -SHIFT });
        centroids.row_mut(to)[j] = x * (1.0 + s);
        centroids.row_mut(from)[j] = x * (1.0 - s);
    }
}
