//! Recall targets: how many lists each query visits so that a given share of the true neighbours is found.
//!
//! A query visits the lists that lie not much farther than its nearest one; how much is measured when an index is built,
//! on queries that somebody gave or on rows of the base. With d₁ <= d₂ <= ... the distances to the centroids, list i is
//! visited if (dᵢ² − d₁²) / (d₁·√(d₁₆² − d₁²)) is within a reach. The gap to the nearest list alone is the rule of SPANN
//! (Chen et al., arXiv:2111.08566, §3.2); dividing by what the query sees around it adapts the reach to dense and to
//! empty regions. A learned partition and a router compare logarithms of probabilities instead, inner products compare products.
//! The reach of a target, and what the codes lose on top of it, are read off a curve.

use super::Index;
use super::disk;
use super::manifest::{Digest, FileEntry, seal, unseal};
use super::opened::Opened;
use super::params::SearchParams;
use crate::partition::{Partition, Routes};
use crate::{Error, Metric, Result, Score, Vectors};
use serde::{Deserialize, Serialize};
use std::path::Path;
use voisin_kernels::dot_f64;
use xxhash_rust::xxh3::xxh3_64;

/// The list whose distance says how dense the lists lie around a query.
const AROUND: usize = 16;
/// How many times farther a query looks, at most, that lies far from every centroid.
const STRANGEST: f32 = 4.0;
/// Version of the file.
pub(super) const VERSION: u32 = 1;

/// How many lists it takes to find a given share of the true neighbours, as measured when the index was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    pub(super) version: u32,
    pub(super) queries: usize,
    pub(super) given: bool,
    /// How near a usual query is to its nearest centroid, where rows of the base stood for queries: the squared distance,
    /// or the product by the length of the query. Else 0.
    pub(super) typical: f32,
    pub(super) curves: Vec<Curve>,
}

/// What was measured for k neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Curve {
    pub(super) k: usize,
    pub(super) levels: Vec<Level>,
    pub(super) codes: Vec<Codes>,
}

/// A reach and what it finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Level {
    pub(super) reach: f32,
    /// Mean share of the true neighbours in the lists visited.
    pub(super) recall: f64,
    /// The same less its standard error.
    pub(super) low: f64,
    /// Mean lists a query visits.
    pub(super) lists: f64,
    /// The most lists of a query.
    pub(super) most: usize,
}

/// What the codes keep of the neighbours in the lists visited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(super) struct Codes {
    /// Candidates a neighbour; 0 where there is no refinement.
    pub(super) refine: usize,
    pub(super) keep: f64,
}

/// What a target asks of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    reach: f32,
    typical: f32,
    /// Lists to route to, before [`Plan::cut`]; 0 for all.
    pub(super) nprobe: usize,
    /// Candidates a neighbour; 0 for the default.
    pub(super) refine: usize,
}

/// What a calibration promises for a target.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Promise {
    /// The target.
    pub recall: f64,
    /// Mean lists that a query visits for it; `None` where the codes cannot reach it.
    pub lists: Option<f64>,
}

impl Calibration {
    /// Queries it was measured on.
    pub fn queries(&self) -> usize {
        self.queries
    }

    /// Whether somebody gave these queries; otherwise they are rows of the base, which may be easier or harder than the
    /// queries to come.
    pub fn given(&self) -> bool {
        self.given
    }

    /// What a few targets take for 10 neighbours.
    pub fn promises(&self) -> Vec<Promise> {
        [0.9, 0.95, 0.99].into_iter().map(|recall| Promise { recall, lists: self.lists(recall) }).collect()
    }

    /// The largest recall at 10 that the codes allow when every list is visited.
    pub fn best(&self) -> f64 {
        self.curves.first().map_or(1.0, |c| c.best(0))
    }

    fn lists(&self, target: f64) -> Option<f64> {
        let curve = self.curves.first()?;
        let cover = curve.cover(target, 0)?.0;
        let at = curve.levels.iter().position(|l| l.low >= cover)?;
        Some(curve.levels[at].lists)
    }

    /// The plan of a target for `k` neighbours of `n` vectors of which `allowed` may be found.
    fn plan(&self, target: f64, k: usize, selectivity: f64, asked: usize, spec: &str) -> Result<Plan> {
        // among few that are allowed the k-th is as far as one of much larger rank among all
        let rank = k as f64 / selectivity.clamp(1e-9, 1.0);
        let mut reached: Vec<(f64, f64, usize, usize)> = Vec::new();
        for curve in &self.curves {
            let Some((cover, refine)) = curve.cover(target, asked) else {
                let best = curve.best(asked);
                let most = (best * 1e4).floor() / 1e4;
                let what = format!("at most {most}, which is what the codes of {spec} keep; Refine(...) or more bits keep more");
                return Err(Error::param("recall", target, what));
            };
            let (reach, most) = curve.reach(cover);
            reached.push(((curve.k as f64).ln(), reach, most, refine));
        }
        let (x, first, last) = (rank.max(1.0).ln(), reached[0], reached[reached.len() - 1]);
        let slope = if reached.len() > 1 { (last.1 - first.1) / (last.0 - first.0) } else { 0.0 };
        let reach = if x <= first.0 { first.1 } else { first.1 + slope.max(0.0) * (x - first.0) };
        let refine = if x <= first.0 { first.3 } else { last.3.max(first.3) };
        if !reach.is_finite() {
            return Ok(Plan { reach: f32::INFINITY, typical: 0.0, nprobe: 0, refine });
        }
        let most = if x <= first.0 { first.2 } else { last.2.max(first.2) };
        let room = if x > last.0 { 4 * (x - last.0).exp().ceil() as usize } else { 2 };
        Ok(Plan { reach: reach as f32, typical: self.typical, nprobe: most.saturating_mul(room).max(AROUND + 1), refine })
    }

    pub(super) fn check(&self) -> Result<(), String> {
        if self.version != VERSION || self.curves.is_empty() {
            return Err(format!("calibration of version {}, expected {VERSION}", self.version));
        }
        let share = |x: f64| (0.0..=1.0).contains(&x);
        let rising = |c: &Curve| c.levels.windows(2).all(|w| w[0].reach <= w[1].reach && w[0].low <= w[1].low);
        let fine = |c: &Curve| {
            let levels = c.levels.iter().all(|l| l.reach >= 0.0 && share(l.recall) && share(l.low) && l.lists >= 0.0);
            c.k > 0 && !c.levels.is_empty() && !c.codes.is_empty() && levels && c.codes.iter().all(|c| share(c.keep))
        };
        let ks = self.curves.windows(2).all(|w| w[0].k < w[1].k);
        if ks && self.typical.is_finite() && self.curves.iter().all(|c| rising(c) && fine(c)) {
            Ok(())
        } else {
            Err("its curves do not rise".into())
        }
    }

    /// Writes it as `dir/file`.
    pub(super) fn save(&self, dir: &Path, file: String) -> Result<FileEntry> {
        let bytes = seal(self);
        disk::write_file(&dir.join(&file), &bytes)?;
        Ok(FileEntry { file, bytes: bytes.len() as u64, digest: Digest(xxh3_64(&bytes)) })
    }

    /// Reads it, its checksum included.
    pub(super) fn load(dir: &Path, entry: &FileEntry) -> Result<Calibration> {
        let path = dir.join(&entry.file);
        let bytes = std::fs::read(&path).map_err(|e| Error::io(&path, e))?;
        if bytes.len() as u64 != entry.bytes || xxh3_64(&bytes) != entry.digest.0 {
            return Err(Error::corrupt(&path, "it is not the file that the manifest names"));
        }
        let found: Calibration = unseal(&bytes).map_err(|what| Error::corrupt(&path, what))?;
        found.check().map_err(|what| Error::corrupt(&path, what))?;
        Ok(found)
    }
}

impl Curve {
    /// The share of neighbours whose lists must be visited for a target, and the refinement that goes with it: the least
    /// one whose loss is within half of what the target allows, else the best. `None` if the codes cannot reach it.
    fn cover(&self, target: f64, asked: usize) -> Option<(f64, usize)> {
        let fits = |c: &&Codes| 1.0 - c.keep <= (1.0 - target) / 2.0;
        let best = || self.usable(asked).max_by(|a, b| a.keep.total_cmp(&b.keep));
        let chosen = self.usable(asked).find(fits).or_else(best)?;
        let refine = if asked > 0 { asked } else { chosen.refine };
        (target <= chosen.keep).then(|| (target / chosen.keep, refine))
    }

    /// The refinements that were measured, those above what is asked for left out (0: none is).
    fn usable(&self, asked: usize) -> impl Iterator<Item = &Codes> {
        // below the least that was measured, its loss is the best guess
        let within = move |c: &Codes| asked == 0 || c.refine <= asked;
        self.codes.iter().enumerate().filter(move |(i, c)| *i == 0 || within(c)).map(|(_, c)| c)
    }

    /// The largest share that the codes keep.
    fn best(&self, asked: usize) -> f64 {
        self.usable(asked).map(|c| c.keep).fold(0.0, f64::max)
    }

    /// The reach for a share of neighbours, and the most lists of a query; without end above the last level.
    fn reach(&self, cover: f64) -> (f64, usize) {
        let Some(at) = self.levels.iter().position(|l| l.low >= cover) else { return (f64::INFINITY, 0) };
        let (now, before) = (&self.levels[at], at.checked_sub(1).map(|b| &self.levels[b]));
        let share = before.map_or(1.0, |b| if now.low > b.low { (cover - b.low) / (now.low - b.low) } else { 1.0 });
        let from = before.map_or(now.reach, |b| b.reach) as f64;
        (from + share * (now.reach as f64 - from), now.most)
    }
}

impl Plan {
    /// Keeps the lists within reach. The decision depends on the query alone.
    pub(super) fn cut(&self, mut routes: Routes, queries: Vectors<'_>, partition: &Partition) -> Routes {
        routes.cut(|q, scores| {
            let yard = Yard::new(partition, scores, queries.row(q), self.typical);
            scores.partition_point(|&s| yard.excess(s) <= self.reach).max(1)
        });
        routes
    }
}

/// How the lists of a query are measured.
pub(super) struct Yard {
    best: f32,
    unit: f32,
    log: bool,
}

impl Yard {
    /// Queries of another kind than the rows lie far from every centroid, and their neighbours in more lists than the
    /// gaps tell: a query farther than `typical` (if that is above 0) looks farther in proportion.
    pub(super) fn new(partition: &Partition, scores: &[f32], query: &[f32], typical: f32) -> Yard {
        let log = matches!(partition, Partition::Learned(_));
        let height = |s: f32| if log { s.max(f32::MIN_POSITIVE).ln() } else { s };
        let best = scores.first().map_or(0.0, |s| height(*s));
        let around = scores.get(AROUND.min(scores.len().saturating_sub(1))).map_or(0.0, |s| best - height(*s));
        let unit = match partition {
            Partition::One => 1.0,
            Partition::Learned(_) | Partition::Routed(_) => around.sqrt().sqrt(),
            Partition::KMeans(c) if c.metric() == Metric::Ip => {
                let norm = dot_f64(query, query).sqrt() as f32;
                let stranger = if typical <= 0.0 {
                    1.0
                } else if best > 0.0 {
                    (typical * norm / best).clamp(1.0, STRANGEST)
                } else {
                    STRANGEST
                };
                (norm * around).sqrt() * stranger
            }
            // a query that is itself a centroid sees as far as one a little beside it
            Partition::KMeans(_) => {
                let stranger = if typical > 0.0 { (-best / typical).sqrt().clamp(1.0, STRANGEST) } else { 1.0 };
                ((-best).max(around / 4.0) * around).sqrt() * stranger
            }
        };
        Yard { best, unit, log }
    }

    /// How far beyond the best list a list of this score lies.
    pub(super) fn excess(&self, score: f32) -> f32 {
        let gap = self.best - if self.log { score.max(f32::MIN_POSITIVE).ln() } else { score };
        if gap <= 0.0 { 0.0 } else { gap / self.unit.max(f32::MIN_POSITIVE) }
    }
}

impl Index {
    /// What recall targets go by; `None` where nothing was calibrated.
    pub fn calibration(&self) -> Option<&Calibration> {
        self.opened().calibration.as_ref()
    }

    /// What the target of a search asks for.
    pub(super) fn plan(&self, params: &SearchParams) -> Result<Option<Plan>> {
        let Some(target) = params.recall else { return Ok(None) };
        if !(target > 0.0 && target <= 1.0) {
            return Err(Error::param("recall", target, "a share above 0 and at most 1"));
        }
        if params.mass.is_some() {
            return Err(Error::param("recall", target, "a target or a probability mass, not both"));
        }
        let all = Plan { reach: f32::INFINITY, typical: 0.0, nprobe: 0, refine: params.refine };
        if always_exact(self.opened()) {
            return Ok(Some(all));
        }
        let Some(calibration) = self.calibration() else {
            return Err(Error::param(
                "recall",
                target,
                "only with a calibration, which this index was built without; choose nprobe",
            ));
        };
        let selectivity = params.filter.as_ref().map_or(1.0, |f| f.allowed() as f64 / self.len().max(1) as f64);
        let target = (target as f64 * 1e6).round() / 1e6;
        let mut plan = calibration.plan(target, params.k, selectivity, params.refine, &self.spec().to_string())?;
        if self.spec().refine.is_none() {
            plan.refine = params.refine;
        }
        Ok(Some(plan))
    }
}

/// Whether every search is exact: one list of plain vectors.
pub(super) fn always_exact(opened: &Opened) -> bool {
    let spec = &opened.spec;
    spec.nlist() == 1 && spec.score == Score::Flat && spec.transform.is_none()
}

/// Whether a file of an index folder is one of these.
pub(super) fn is_file(name: &str) -> bool {
    name.starts_with("calibration") && name.ends_with(".json")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn curve(k: usize, reach: f32, keep: &[(usize, f64)]) -> Curve {
        let level =
            |recall: f64, reach: f32, most: usize| Level { reach, recall, low: recall - 0.01, lists: most as f64 / 2.0, most };
        let levels = vec![level(0.5, reach, 4), level(0.9, 2.0 * reach, 10), level(0.99, 4.0 * reach, 40)];
        Curve { k, levels, codes: keep.iter().map(|&(refine, keep)| Codes { refine, keep }).collect() }
    }

    fn two(keep: &[(usize, f64)]) -> Calibration {
        let c = Calibration {
            version: VERSION,
            queries: 9,
            given: true,
            typical: 0.0,
            curves: vec![curve(10, 1.0, keep), curve(100, 2.0, keep)],
        };
        c.check().unwrap();
        c
    }

    #[test]
    fn a_reach_lies_between_levels_and_between_ks() {
        let c = two(&[(0, 1.0)]);
        let plan = |target, k, share| c.plan(target, k, share, 0, "x").unwrap();
        assert_eq!((plan(0.49, 10, 1.0).reach, plan(0.89, 10, 1.0).reach, plan(0.98, 10, 1.0).reach), (1.0, 2.0, 4.0));
        assert_eq!((plan(0.69, 10, 1.0).reach, plan(0.3, 10, 1.0).reach), (1.5, 1.0));
        assert_eq!((plan(0.89, 1, 1.0).reach, plan(0.89, 100, 1.0).reach), (2.0, 4.0));
        assert!((plan(0.89, 1000, 1.0).reach - 6.0).abs() < 1e-5);
        // a tenth is allowed: the tenth of them is about the hundredth of all
        assert_eq!(plan(0.89, 10, 0.1).reach, plan(0.89, 100, 1.0).reach);
        assert_eq!((plan(0.985, 10, 1.0).reach, plan(0.985, 10, 1.0).nprobe), (f32::INFINITY, 0));
        assert!(plan(0.89, 10, 1.0).nprobe >= 20);
    }

    #[test]
    fn what_codes_lose_is_made_up_for() {
        let c = two(&[(5, 0.9), (10, 0.98), (20, 0.999)]);
        let plan = |target, asked| c.plan(target, 10, 1.0, asked, "x");
        assert_eq!((plan(0.6, 0).unwrap().refine, plan(0.9, 0).unwrap().refine, plan(0.97, 0).unwrap().refine), (5, 10, 20));
        assert!(plan(0.85, 5).unwrap().reach > plan(0.85, 10).unwrap().reach);
        assert_eq!(plan(0.85, 7).unwrap().refine, 7);
        let error = plan(0.95, 5).unwrap_err().to_string();
        assert!(error.contains("at most 0.9,"), "{error}");
        assert_eq!((c.promises()[0].lists, c.promises()[2].lists, c.best()), (Some(20.0), None, 0.999));
    }

    #[test]
    fn a_list_is_measured_by_what_lies_around() {
        let squares: Vec<f32> = (0..40).map(|i| -((4 + i) as f32)).collect();
        let means = Partition::KMeans(crate::partition::Centroids::new(crate::Matrix::zeros(40, 2), Metric::L2));
        let yard = Yard::new(&means, &squares, &[1.0, 0.0], 0.0);
        assert_eq!((yard.excess(-4.0), yard.excess(-20.0)), (0.0, 2.0)); // 16 / sqrt(4 · 16)
        assert!(Yard::new(&means, &[-1.0], &[1.0, 0.0], 0.0).excess(-1.0) == 0.0);
        // a query twice as far away as is usual looks twice as far beyond its gaps
        assert_eq!(Yard::new(&means, &squares, &[1.0, 0.0], 1.0).excess(-20.0), 1.0);
        assert_eq!(Yard::new(&means, &squares, &[1.0, 0.0], 9.0).excess(-20.0), 2.0);
        let level = Yard::new(&means, &[0.0; 40], &[1.0, 0.0], 0.0);
        assert!(level.excess(0.0) == 0.0 && level.excess(-1.0) > 1e30);
        // twice as long a query, twice the products: the same lists
        let products = Partition::KMeans(crate::partition::Centroids::new(crate::Matrix::zeros(40, 2), Metric::Ip));
        let short = Yard::new(&products, &squares, &[1.0, 0.0], 0.0).excess(-9.0);
        let doubled: Vec<f32> = squares.iter().map(|s| 2.0 * s).collect();
        assert!((Yard::new(&products, &doubled, &[2.0, 0.0], 0.0).excess(-18.0) - short).abs() < 1e-6);
    }
}
