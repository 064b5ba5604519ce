//! Recall targets: how many lists each query visits so that a given share of the true neighbours is found.
//!
//! A query visits the lists that lie not much farther than its nearest one; how much is measured when an index is built,
//! on queries that somebody gave or on rows of the base. With d₁ <= d₂ <= ... the distances to the centroids, list i is
//! visited if (dᵢ² − d₁²) / (d₁·√(d₁₆² − d₁²)) is within a reach. The gap to the nearest list alone is the rule of SPANN
//! (Chen et al., arXiv:2111.08566, §3.2); dividing by what the query sees around it adapts the reach to dense and to
//! empty regions. A learned partition compares logarithms of probabilities instead, inner products compare products.
//! The reach of a target, and what the codes lose on top of it, are read off a curve.

use super::Index;
use super::disk;
use super::ingest::{Loaded, RowIds};
use super::manifest::{Digest, FileEntry, Manifest, seal, unseal};
use super::opened::Opened;
use super::params::{BuildParams, SearchParams};
use super::search::DEFAULT_REFINE;
use crate::exact::{ExactParams, exact, exact_in_memory};
use crate::partition::{Partition, Random, RouteParams, Routes};
use crate::{Error, Matrix, MemSource, Metric, OnBad, Result, Score, Source, Vectors, Watch, screen};
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::time::Instant;
use voisin_kernels::dot_f64;
use xxhash_rust::xxh3::xxh3_64;

/// Neighbours for which curves are measured; others lie between.
const KS: [usize; 2] = [10, 100];
/// Shares of the neighbours whose lists are visited, at which a curve is kept.
const LEVELS: [f64; 15] = [0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.93, 0.95, 0.96, 0.97, 0.98, 0.985, 0.99, 0.995, 0.999];
/// The level at which the loss by codes is measured.
const CODES_AT: f64 = 0.98;
/// Factors of the default refinement that are measured too.
const REFINES: [usize; 3] = [1, 2, 4];
/// The list whose distance says how dense the lists lie around a query.
const AROUND: usize = 16;
/// Lists of a query that are looked at when the curves are made: what lies beyond counts as out of reach.
const MOST_LISTS: usize = 4096;
/// Multiply-adds that finding the true neighbours of the calibration queries may take; fewer queries are taken for them.
const EFFORT: f64 = 2e11;
/// Queries taken at least, whatever the effort.
const LEAST: usize = 200;
/// Queries routed at once.
const BLOCK: usize = 64;
/// The curve of a level must hold this many standard errors below its mean: targets are met more often than missed.
const ERRORS: f64 = 1.0;
const VERSION: u32 = 1;

/// How many lists it takes to find a given share of the true neighbours, as measured when the index was built.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    version: u32,
    queries: usize,
    given: bool,
    curves: Vec<Curve>,
}

/// What was measured for k neighbours.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Curve {
    k: usize,
    levels: Vec<Level>,
    codes: Vec<Codes>,
}

/// A reach and what it finds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Level {
    reach: f32,
    /// Mean share of the true neighbours in the lists visited.
    recall: f64,
    /// The same less its standard error.
    low: f64,
    /// Mean lists a query visits.
    lists: f64,
    /// The most lists of a query.
    most: usize,
}

/// What the codes keep of the neighbours in the lists visited.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Codes {
    /// Candidates a neighbour; 0 where there is no refinement.
    refine: usize,
    keep: f64,
}

/// What a target asks of a search.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Plan {
    reach: f32,
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
        self.curves.first().map_or(1.0, |c| c.codes.iter().map(|c| c.keep).fold(0.0, f64::max))
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
                let best = curve.codes.iter().map(|c| c.keep).fold(0.0, f64::max);
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
            return Ok(Plan { reach: f32::INFINITY, nprobe: 0, refine });
        }
        let most = if x <= first.0 { first.2 } else { last.2.max(first.2) };
        let room = if x > last.0 { 4 * (x - last.0).exp().ceil() as usize } else { 2 };
        Ok(Plan { reach: reach as f32, nprobe: most.saturating_mul(room).max(AROUND + 1), refine })
    }

    fn check(&self) -> Result<(), String> {
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
        if ks && self.curves.iter().all(|c| rising(c) && fine(c)) { Ok(()) } else { Err("its curves do not rise".into()) }
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
        let usable = |c: &&Codes| asked == 0 || c.refine <= asked;
        let fits = |c: &&Codes| 1.0 - c.keep <= (1.0 - target) / 2.0;
        let best = || self.codes.iter().filter(usable).max_by(|a, b| a.keep.total_cmp(&b.keep));
        let chosen = self.codes.iter().filter(usable).find(fits).or_else(best).or(self.codes.first())?;
        let refine = if asked > 0 { asked } else { chosen.refine };
        (target <= chosen.keep).then(|| (target / chosen.keep, refine))
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
            let yard = Yard::new(partition, scores, queries.row(q));
            scores.partition_point(|&s| yard.excess(s) <= self.reach).max(1)
        });
        routes
    }
}

/// How the lists of a query are measured.
struct Yard {
    best: f32,
    unit: f32,
    log: bool,
}

impl Yard {
    fn new(partition: &Partition, scores: &[f32], query: &[f32]) -> Yard {
        let log = matches!(partition, Partition::Learned(_));
        let height = |s: f32| if log { s.max(f32::MIN_POSITIVE).ln() } else { s };
        let best = scores.first().map_or(0.0, |s| height(*s));
        let around = scores.get(AROUND.min(scores.len().saturating_sub(1))).map_or(0.0, |s| best - height(*s));
        let unit = match partition {
            Partition::One => 1.0,
            Partition::Learned(_) => around.sqrt().sqrt(),
            Partition::KMeans(c) if c.metric() == Metric::Ip => (dot_f64(query, query).sqrt() as f32 * around).sqrt(),
            // a query that is itself a centroid sees as far as one a little beside it
            Partition::KMeans(_) => ((-best).max(around / 4.0) * around).sqrt(),
        };
        Yard { best, unit, log }
    }

    /// How far beyond the best list a list of this score lies.
    fn excess(&self, score: f32) -> f32 {
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
        let all = Plan { reach: f32::INFINITY, nprobe: 0, refine: params.refine };
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
fn always_exact(opened: &Opened) -> bool {
    let spec = &opened.spec;
    spec.nlist() == 1 && spec.score == Score::Flat && spec.transform.is_none()
}

/// Queries to calibrate on.
struct Asked {
    rows: Matrix,
    /// The ids of the rows of the base that they are.
    own: Option<Vec<u64>>,
}

/// The true neighbours of a query, nearest first, and how far the lists lie that hold them.
struct Wanted {
    ids: Vec<u64>,
    excess: Vec<f32>,
}

/// Refuses queries that cannot be used, before anything is built.
pub(super) fn check_queries(base: &dyn Source, params: &BuildParams) -> Result<()> {
    let Some(queries) = &params.queries else { return Ok(()) };
    if queries.d() != base.dim() {
        let context = format!("{} has {}", base.name(), base.dim());
        return Err(Error::Dimension { name: "queries".into(), expected: base.dim(), got: queries.d(), context });
    }
    match screen(queries.view(), params.metric).first() {
        Some(&(row, what)) => Err(Error::BadRow { name: "queries".into(), row: row as u64, what }),
        None => Ok(()),
    }
}

/// Whether a file of an index folder is one of these.
pub(super) fn is_file(name: &str) -> bool {
    name.starts_with("calibration") && name.ends_with(".json")
}

/// What decides about the calibration of a build.
pub(super) fn key(params: &BuildParams) -> String {
    let queries = params.queries.as_ref().map(|q| (q.n(), xxh3_64(bytemuck::cast_slice(q.data()))));
    format!(" {} {queries:?}", params.calibrate)
}

/// Calibrates what a manifest names, before it is put in place; the seconds that took.
pub(super) fn add(
    dir: &Path,
    manifest: &mut Manifest,
    base: &dyn Source,
    whole: Option<&Loaded>,
    ids: &RowIds,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<f64> {
    let clock = Instant::now();
    if let Some(found) = calibrate(Opened::with(dir, manifest.clone())?, base, whole, ids, params, watch)? {
        let g = manifest.generation;
        let file = if g == 1 { "calibration.json".to_owned() } else { format!("calibration.{g:05}.json") };
        manifest.calibration = Some(found.save(dir, file)?);
    }
    Ok(clock.elapsed().as_secs_f64())
}

/// Measures a finished index. Cost: an exact search of at most `params.calibrate` queries, which reads the base once
/// where it is not in memory, and a few searches of the index.
fn calibrate(
    opened: Opened,
    base: &dyn Source,
    whole: Option<&Loaded>,
    ids: &RowIds,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<Option<Calibration>> {
    if params.calibrate == 0 || always_exact(&opened) || opened.manifest.n < 2 {
        return Ok(None);
    }
    let asked = choose(base, whole, ids, params)?;
    if asked.rows.n() == 0 {
        return Ok(None);
    }
    let most = KS[KS.len() - 1].min(opened.manifest.n as usize - asked.own.is_some() as usize);
    let truth = truth(base, whole, ids, &asked, most, params, watch)?;
    watch.begin("calibrate", asked.rows.n() as u64, "queries");
    let directed = opened.prepared(asked.rows.view(), params.metric);
    let directed = Vectors::new(&directed, opened.code_d(asked.rows.d()));
    let (wanted, excess) = measure(&opened, directed, truth, watch)?;
    let mut curves: Vec<Curve> = Vec::new();
    for k in KS.map(|k| k.min(most)) {
        if curves.last().is_none_or(|c| c.k < k) {
            curves.push(curve(k, &wanted, &excess));
        }
    }
    let calibration = Calibration { version: VERSION, queries: asked.rows.n(), given: params.queries.is_some(), curves };
    let done = keep(opened, calibration, &asked, &wanted, watch)?;
    watch.end();
    done.check().map_err(|what| Error::param("calibration", what, "rising curves"))?;
    Ok(Some(done))
}

/// Queries that were given, or rows of the base: fewer where the base is large.
fn choose(base: &dyn Source, whole: Option<&Loaded>, ids: &RowIds, params: &BuildParams) -> Result<Asked> {
    let (n, d) = (base.len(), base.dim());
    let count = (EFFORT / (n as f64 * d as f64)).min(1e9) as usize;
    let count = count.max(LEAST).min(params.calibrate);
    if let Some(given) = &params.queries {
        let step = given.n().div_ceil(count.max(1)).max(1);
        let rows = given.view().iter().step_by(step).flatten().copied().collect();
        return Ok(Asked { rows: Matrix::new(rows, d), own: None });
    }
    let (mut rows, mut own) = (Vec::new(), Vec::new());
    for row in Random::new(params.seed, 7).sample(n, count as u64) {
        let mut one = vec![0.0; d];
        match whole {
            Some(w) => match w.numbers.binary_search(&row) {
                Ok(at) => one.copy_from_slice(w.rows.row(at)),
                Err(_) => continue,
            },
            None => base.read(row, &mut one)?,
        }
        if screen(Vectors::new(&one, d), params.metric).is_empty() {
            rows.extend_from_slice(&one);
            own.push(ids.number(row));
        }
    }
    Ok(Asked { rows: Matrix::new(rows, d), own: Some(own) })
}

/// The ids of the true neighbours of each query, without itself.
fn truth(
    base: &dyn Source,
    whole: Option<&Loaded>,
    ids: &RowIds,
    asked: &Asked,
    most: usize,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<Vec<Vec<u64>>> {
    let k = most + asked.own.is_some() as usize;
    let found = match whole {
        Some(w) => exact_in_memory(w.rows.view(), asked.rows.view(), k, params.metric)?,
        None => {
            let queries = MemSource::new("queries", asked.rows.clone());
            // the build has seen the rows: those that cannot be ranked were left out or refused
            let how = ExactParams {
                k,
                metric: params.metric,
                on_bad: OnBad::Skip,
                memory_limit: params.memory_limit,
                ..Default::default()
            };
            exact(base, &queries, &how, watch)?.neighbors
        }
    };
    let id = |row: u64| ids.number(whole.map_or(row, |w| w.numbers[row as usize]));
    let row = |q: usize| {
        let own = asked.own.as_ref().map(|o| o[q]);
        found.ids(q).iter().map(|&r| id(r)).filter(|id| Some(*id) != own).take(most).collect()
    };
    Ok((0..found.len()).map(row).collect())
}

/// The excess of the lists that hold the true neighbours, and of all lists of each query, ascending.
fn measure(
    opened: &Opened,
    directed: Vectors<'_>,
    truth: Vec<Vec<u64>>,
    watch: &dyn Watch,
) -> Result<(Vec<Wanted>, Vec<Vec<f32>>)> {
    let nlist = opened.spec.nlist();
    let nprobe = if nlist <= MOST_LISTS { 0 } else { MOST_LISTS };
    let (mut wanted, mut all) = (Vec::new(), Vec::new());
    let mut excess_of = vec![f32::INFINITY; nlist];
    for first in (0..directed.n()).step_by(BLOCK) {
        watch.check()?;
        let block = directed.rows(first..(first + BLOCK).min(directed.n()));
        let routes = opened.partition.route(block, &RouteParams { nprobe, mass: None });
        for q in 0..block.n() {
            let yard = Yard::new(&opened.partition, routes.scores(q), block.row(q));
            let excess: Vec<f32> = routes.scores(q).iter().map(|&s| yard.excess(s)).collect();
            excess_of.fill(f32::INFINITY);
            routes.lists(q).iter().zip(&excess).for_each(|(&l, &e)| excess_of[l as usize] = e);
            let ids = truth[first + q].clone();
            let mut needed = Vec::with_capacity(ids.len());
            for &id in &ids {
                let list = opened.find(id)?.map(|(part, row)| {
                    let segment = &opened.parts[part].segment;
                    segment.list_of(segment.run_of(row))
                });
                needed.push(list.map_or(f32::INFINITY, |l| excess_of[l]));
            }
            wanted.push(Wanted { ids, excess: needed });
            all.push(excess);
        }
        watch.advance(block.n() as u64);
    }
    Ok((wanted, all))
}

/// Reaches and what they find, for the first k neighbours.
fn curve(k: usize, wanted: &[Wanted], excess: &[Vec<f32>]) -> Curve {
    let mut pool: Vec<f32> = wanted.iter().flat_map(|w| w.excess.iter().take(k).copied()).collect();
    pool.sort_unstable_by(f32::total_cmp);
    let finite = pool.partition_point(|e| e.is_finite());
    let mut levels: Vec<Level> = Vec::new();
    for share in LEVELS.into_iter().chain([1.0]) {
        let at = ((share * pool.len() as f64).ceil() as usize).clamp(1, pool.len().max(1)) - 1;
        if at >= finite {
            break;
        }
        let reach = pool[at];
        let shares: Vec<f64> = wanted.iter().map(|w| covered(w, k, reach) as f64 / w.excess.len().min(k).max(1) as f64).collect();
        let n = shares.len() as f64;
        let recall = shares.iter().sum::<f64>() / n;
        let variance = shares.iter().map(|s| (s - recall) * (s - recall)).sum::<f64>() / (n - 1.0).max(1.0);
        // no sample shows that nothing is ever missed
        let error = (variance / n).sqrt().max(1.0 / pool.len() as f64);
        let counts = excess.iter().map(|e| e.partition_point(|x| *x <= reach).max(1));
        let (sum, most) = counts.fold((0, 0), |(s, m), c| (s + c, m.max(c)));
        let low = (recall - ERRORS * error).clamp(levels.last().map_or(0.0, |l| l.low), 1.0);
        levels.push(Level { reach, recall, low, lists: sum as f64 / n, most });
    }
    Curve { k, levels, codes: Vec::new() }
}

/// How many of the first k neighbours lie in lists within reach.
fn covered(w: &Wanted, k: usize, reach: f32) -> usize {
    w.excess.iter().take(k).filter(|e| **e <= reach).count()
}

/// Measures what the codes lose, by searching.
fn keep(
    opened: Opened,
    mut calibration: Calibration,
    asked: &Asked,
    wanted: &[Wanted],
    watch: &dyn Watch,
) -> Result<Calibration> {
    let refines = refines(&opened);
    let whole = Codes { refine: 0, keep: 1.0 };
    calibration.curves.iter_mut().for_each(|c| c.codes = vec![whole.clone()]);
    if opened.spec.score == Score::Flat && opened.spec.transform.is_none() {
        return Ok(calibration);
    }
    let mut index = Index(opened);
    index.0.calibration = Some(calibration.clone());
    for curve in &mut calibration.curves {
        let Some(level) = curve.levels.iter().rfind(|l| l.recall <= CODES_AT).or(curve.levels.first()) else { continue };
        curve.codes.clear();
        for &refine in &refines {
            watch.check()?;
            let params = SearchParams {
                k: curve.k,
                recall: Some(level.low as f32),
                refine,
                exclude: asked.own.clone(),
                ..SearchParams::default()
            };
            let found = index.search(asked.rows.view(), &params)?.neighbors;
            let (mut kept, mut there) = (0, 0);
            for (q, w) in wanted.iter().enumerate() {
                let mut ids = found.ids(q).to_vec();
                ids.sort_unstable();
                kept += w.ids.iter().take(curve.k).filter(|id| ids.binary_search(id).is_ok()).count();
                there += covered(w, curve.k, level.reach);
            }
            let keep = if there == 0 { 1.0 } else { (kept as f64 / there as f64).min(1.0) };
            curve.codes.push(Codes { refine, keep });
        }
    }
    Ok(calibration)
}

/// The refinements that are measured: the default and a few times as many candidates.
fn refines(opened: &Opened) -> Vec<usize> {
    if opened.spec.refine.is_none() {
        return vec![0];
    }
    REFINES.map(|r| r * DEFAULT_REFINE).to_vec()
}
