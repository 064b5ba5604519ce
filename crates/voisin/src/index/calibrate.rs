//! Measuring what recall targets take, on a finished index: where the true neighbours of some queries lie, how far that is
//! from each query, and what the codes lose of them.

use super::Index;
use super::ingest::{Loaded, RowIds};
use super::manifest::Manifest;
use super::opened::Opened;
use super::params::{BuildParams, SearchParams};
use super::route::held_step;
use super::search::DEFAULT_REFINE;
use super::targets::{Calibration, Codes, Curve, Level, VERSION, Yard, always_exact};
use crate::exact::{ExactParams, exact, exact_in_memory};
use crate::partition::{Partition, Random, RouteParams, draw};
use crate::{Error, Matrix, MemSource, Metric, OnBad, Result, Score, Source, Vectors, Watch, screen};
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

/// Queries to calibrate on.
pub(super) struct Asked {
    pub rows: Matrix,
    /// The ids of the rows of the base that they are.
    pub own: Option<Vec<u64>>,
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

/// Measures a finished index. Cost: an exact search of at most `params.calibrate` queries, which reads the base
/// twice where it is not in memory, and a few searches of the index. Too little memory for that leaves it out.
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
    let asked = choose(base, whole, ids, opened.spec.router, params, watch)?;
    if asked.rows.n() == 0 {
        return Ok(None);
    }
    let truth = match truth(&opened, base, whole, ids, &asked, params, watch) {
        Err(Error::Memory { need, .. }) => {
            watch.note(&format!("recall targets are not calibrated: that takes {} MiB of memory", need.div_ceil(1 << 20)));
            return Ok(None);
        }
        done => done?,
    };
    let (given, limited) = (params.queries.is_some(), params.memory_limit.is_some());
    measured(opened, &asked, truth, given, limited, watch).map(Some)
}

/// Measures an index on queries of which the true neighbours are known. Cost: a few searches.
pub(super) fn measured(
    opened: Opened,
    asked: &Asked,
    truth: Vec<Vec<u64>>,
    given: bool,
    limited: bool,
    watch: &dyn Watch,
) -> Result<Calibration> {
    watch.begin("calibrate", asked.rows.n() as u64, "queries");
    let most = truth.iter().map(Vec::len).max().unwrap_or(0);
    let directed = opened.prepared(asked.rows.view(), opened.manifest.metric);
    let directed = Vectors::new(&directed, opened.code_d(asked.rows.d()));
    let typical = if asked.own.is_some() { typical(&opened, directed) } else { 0.0 };
    let (wanted, excess) = measure(&opened, directed, truth, typical, watch)?;
    let mut curves: Vec<Curve> = Vec::new();
    for k in KS.map(|k| k.min(most)) {
        if curves.last().is_none_or(|c| c.k < k) {
            curves.push(curve(k, &wanted, &excess));
        }
    }
    let calibration = Calibration { version: VERSION, queries: asked.rows.n(), given, typical, curves };
    let done = keep(opened, calibration, asked, &wanted, limited, watch)?;
    watch.end();
    done.check().map_err(|what| Error::param("calibration", what, "rising curves"))?;
    Ok(done)
}

/// Queries that were given (where a router was trained on them, those held out), or rows of the base: fewer where the base is
/// large.
pub(super) fn choose(
    base: &dyn Source,
    whole: Option<&Loaded>,
    ids: &RowIds,
    routed: bool,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<Asked> {
    let (n, d) = (base.len(), base.dim());
    let count = (EFFORT / (n as f64 * d as f64)).min(1e9) as usize;
    let count = count.max(LEAST).min(params.calibrate);
    if let Some(given) = &params.queries {
        let held = if routed { held_step(given.n()) } else { 1 };
        let step = given.n().div_ceil(held).div_ceil(count.max(1)).max(1) * held;
        let rows = given.view().iter().step_by(step).flatten().copied().collect();
        return Ok(Asked { rows: Matrix::new(rows, d), own: None });
    }
    // not the rows that were drawn for training
    let seed = params.seed.wrapping_add(7);
    let Some(whole) = whole else {
        // in one pass: single rows of compressed files cost as much as their chunks
        let drawn = draw(base, count as u64, seed, params.metric, OnBad::Skip, watch)?;
        let own = drawn.ids.iter().map(|&row| ids.number(row)).collect();
        return Ok(Asked { rows: drawn.rows, own: Some(own) });
    };
    let (mut rows, mut own) = (Vec::new(), Vec::new());
    for row in Random::new(seed, 1).sample(n, count as u64) {
        if let Ok(at) = whole.numbers.binary_search(&row) {
            rows.extend_from_slice(whole.rows.row(at));
            own.push(ids.number(row));
        }
    }
    Ok(Asked { rows: Matrix::new(rows, d), own: Some(own) })
}

/// The ids of the true neighbours of each query, without itself.
pub(super) fn truth(
    opened: &Opened,
    base: &dyn Source,
    whole: Option<&Loaded>,
    ids: &RowIds,
    asked: &Asked,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<Vec<Vec<u64>>> {
    let most = KS[KS.len() - 1].min(opened.manifest.n as usize - asked.own.is_some() as usize);
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
    typical: f32,
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
            let yard = Yard::new(&opened.partition, routes.scores(q), block.row(q), typical);
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

/// The median squared distance to the nearest centroid, or of the largest product with one for a query of unit length; 0
/// where lists have no centroids.
fn typical(opened: &Opened, directed: Vectors<'_>) -> f32 {
    match &opened.partition {
        Partition::KMeans(c) => {
            let nearest = opened.partition.route(directed, &RouteParams { nprobe: 1, mass: None });
            let near = |q: usize| match c.metric() {
                Metric::Ip => {
                    nearest.scores(q)[0] / (dot_f64(directed.row(q), directed.row(q)).sqrt() as f32).max(f32::MIN_POSITIVE)
                }
                _ => -nearest.scores(q)[0],
            };
            let mut all: Vec<f32> = (0..nearest.len()).map(near).filter(|x| x.is_finite()).collect();
            all.sort_unstable_by(f32::total_cmp);
            all.get(all.len() / 2).copied().unwrap_or(0.0)
        }
        _ => 0.0,
    }
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
    limited: bool,
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
            let params = SearchParams { k: curve.k, recall: Some(level.low as f32), refine, ..SearchParams::default() };
            let found = search(&index, asked, &params, limited)?;
            let (mut kept, mut there) = (0, 0);
            for (w, mut ids) in wanted.iter().zip(found) {
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

/// The ids that each query finds. Where memory is limited, what was read of the index does not stay mapped.
fn search(index: &Index, asked: &Asked, params: &SearchParams, limited: bool) -> Result<Vec<Vec<u64>>> {
    const FEW: usize = 8;
    let (n, mut found) = (asked.rows.n(), Vec::new());
    let step = if limited { FEW } else { n.max(1) };
    for first in (0..n).step_by(step) {
        let part = first..(first + step).min(n);
        let exclude = asked.own.as_ref().map(|own| own[part.clone()].to_vec());
        let some = index.search(asked.rows.view().rows(part.clone()), &SearchParams { exclude, ..params.clone() })?.neighbors;
        found.extend((0..part.len()).map(|q| some.ids(q).to_vec()));
        if limited {
            index.0.release();
        }
    }
    Ok(found)
}

/// The refinements that are measured: the default and a few times as many candidates.
fn refines(opened: &Opened) -> Vec<usize> {
    if opened.spec.refine.is_none() {
        return vec![0];
    }
    REFINES.map(|r| r * DEFAULT_REFINE).to_vec()
}
