//! Calibrating an index that is there: one that was built in parts, converted, merged, or has changed since it was built.

use super::Index;
use super::build::{row_ids, same_kind};
use super::calibrate::{Asked, check_queries, choose, measured, truth};
use super::ingest::{Journal, RowIds};
use super::mutate::open_to_change;
use super::opened::Opened;
use super::params::{BuildParams, IdList, IndexInfo};
use super::targets::always_exact;
use crate::{Error, Matrix, OnBad, Result, Source, Vectors, Watch};
use std::path::Path;
use std::time::Instant;

/// How an index is calibrated against its vectors.
#[derive(Clone, Debug)]
pub struct CalibrateParams {
    /// Queries like those to come; without them rows of the base stand in.
    pub queries: Option<Matrix>,
    /// Queries taken, at most. A large base takes fewer, but 200 (or as many as there are).
    pub most: usize,
    /// Id of the first vector, where the index has numbers and vectors have no ids of their own.
    pub first_id: u64,
    /// Which rows of the base stand in for queries.
    pub seed: u64,
    /// Bytes that may be taken, about.
    pub memory_limit: Option<u64>,
}

impl Default for CalibrateParams {
    fn default() -> Self {
        let usual = BuildParams::default();
        CalibrateParams { queries: None, most: usual.calibrate, first_id: 0, seed: usual.seed, memory_limit: None }
    }
}

/// What a calibration did.
#[derive(Clone, Debug)]
pub struct CalibrateReport {
    /// The index, with its recall targets.
    pub info: IndexInfo,
    /// True neighbours that were asked for and are not in the index.
    pub missing: u64,
    /// Time it took.
    pub seconds: f64,
}

/// Measures which lists recall targets take, on an index that is there, and keeps it with the index: `base` are the vectors it
/// was made of. An earlier calibration is replaced; vectors, ids and results by `nprobe` stay.
///
/// Cost: an exact search of the queries in `base`, which is read once or twice, and a few searches of the index. Rows that
/// were left out or removed do not count.
///
/// # Errors
/// An index of one list of plain vectors, which needs none; another dimension, layer or maker than the index has; a base whose
/// ids are for the most part not in the index; too little memory; what reading and writing give.
pub fn calibrate(dir: &Path, base: &dyn Source, params: &CalibrateParams, watch: &dyn Watch) -> Result<CalibrateReport> {
    let clock = Instant::now();
    let (opened, _lock) = open_to_change(dir)?;
    let metric = opened.manifest.metric;
    can_be(&opened, dir)?;
    opened.manifest.check_layer(dir, base.layer().as_ref(), &base.name())?;
    opened.manifest.check_made_by(base)?;
    check_width(&opened, base.dim(), base.name())?;
    let how = BuildParams {
        queries: params.queries.clone(),
        calibrate: params.most,
        metric,
        seed: params.seed,
        memory_limit: params.memory_limit,
        on_bad: OnBad::Skip,
        ..BuildParams::default()
    };
    check_queries(base, &how)?;
    let ids = numbers(&opened, base, params.first_id)?;
    let asked = choose(base, None, &ids, false, &how, watch)?;
    let known = truth(&opened, base, None, &ids, &asked, &how, watch)?;
    let limited = params.memory_limit.is_some();
    finish(dir, opened, Known { asked, truth: known, name: base.name() }, limited, clock, watch)
}

/// As [`calibrate`], on queries of which the true neighbours are known, for a base that is too large to be searched again:
/// `truth` has the ids of the nearest of each query, nearest first, as [`crate::exact::exact`] finds them. Targets are
/// measured for as many neighbours as `truth` has, up to 100.
///
/// # Errors
/// As [`calibrate`]; another number of queries than of rows of `truth`; ids of another kind than the index has.
pub fn calibrate_on(dir: &Path, queries: Vectors<'_>, truth: &[IdList], watch: &dyn Watch) -> Result<CalibrateReport> {
    let clock = Instant::now();
    let (opened, _lock) = open_to_change(dir)?;
    can_be(&opened, dir)?;
    check_width(&opened, queries.d(), "queries".into())?;
    if queries.n() != truth.len() {
        return Err(Error::param("truth", truth.len(), format!("a row for each of {} queries", queries.n())));
    }
    if let Some(&(row, what)) = crate::screen(queries, opened.manifest.metric).first() {
        return Err(Error::BadRow { name: "queries".into(), row: row as u64, what });
    }
    let number = |list: &IdList| -> Result<Vec<u64>> {
        same_kind(opened.ids(), list.kind())?;
        match list {
            IdList::Numbers(ids) => Ok(ids.iter().copied().take(MOST_NEIGHBORS).collect()),
            IdList::Strings(ids) => ids.iter().take(MOST_NEIGHBORS).map(|id| number_of(&opened, id)).collect(),
        }
    };
    let known = truth.iter().map(number).collect::<Result<_>>()?;
    let asked = Asked { rows: Matrix::new(queries.data().to_vec(), queries.d()), own: None };
    finish(dir, opened, Known { asked, truth: known, name: "truth".into() }, false, clock, watch)
}

/// Neighbours of a query that are looked at.
const MOST_NEIGHBORS: usize = 100;
/// Stands for a string that the index does not have.
const NONE: u64 = u64::MAX;

/// Queries and the ids of their true neighbours; `name` is where they come from.
struct Known {
    asked: Asked,
    truth: Vec<Vec<u64>>,
    name: String,
}

fn can_be(opened: &Opened, dir: &Path) -> Result<()> {
    if opened.manifest.n < 2 {
        return Err(Error::Empty { name: format!("{}: an index of {} vectors", dir.display(), opened.manifest.n) });
    }
    if always_exact(opened) {
        let expected = "an index of lists or codes: one list of plain vectors finds all, whatever the target";
        return Err(Error::param("index", &opened.manifest.spec, expected));
    }
    Ok(())
}

fn check_width(opened: &Opened, d: usize, name: String) -> Result<()> {
    match opened.manifest.d {
        expected if d != expected => Err(Error::Dimension { name, expected, got: d, context: "the index".into() }),
        _ => Ok(()),
    }
}

/// The number under which the index knows a string.
fn number_of(opened: &Opened, id: &str) -> Result<u64> {
    match opened.find_string(id)? {
        Some((part, row)) => opened.parts[part].segment.checked_id(row),
        None => Ok(NONE),
    }
}

/// The numbers that the rows of a base have in the index.
fn numbers(opened: &Opened, base: &dyn Source, first: u64) -> Result<RowIds> {
    let ids = row_ids(base, &super::Ids::FromSource, first)?;
    same_kind(opened.ids(), ids.kind())?;
    match ids {
        RowIds::Strings { strings, .. } => {
            Ok(RowIds::Numbers(strings.iter().map(|id| number_of(opened, id)).collect::<Result<_>>()?))
        }
        ids => Ok(ids),
    }
}

/// Measures, and puts what was measured in place.
fn finish(dir: &Path, opened: Opened, known: Known, limited: bool, clock: Instant, watch: &dyn Watch) -> Result<CalibrateReport> {
    let (asked, truth, missing) = stored(&opened, known)?;
    let given = asked.own.is_none();
    let mut manifest = opened.manifest.clone();
    let found = measured(opened, &asked, truth, given, limited, watch)?;
    manifest.generation += 1;
    manifest.calibration = Some(found.save(dir, format!("calibration.{:05}.json", manifest.generation))?);
    manifest.save(dir)?;
    Journal::end(dir, &manifest.files())?;
    Ok(CalibrateReport { info: Index::open(dir)?.info(), missing, seconds: clock.elapsed().as_secs_f64() })
}

/// Leaves out neighbours that are not in the index, and queries without any that is.
fn stored(opened: &Opened, known: Known) -> Result<(Asked, Vec<Vec<u64>>, u64)> {
    let Known { asked, truth, name } = known;
    let d = asked.rows.d();
    let (mut rows, mut own, mut kept) = (Vec::new(), Vec::new(), Vec::new());
    let (mut all, mut missing, mut example) = (0, 0, None);
    for (q, ids) in truth.into_iter().enumerate() {
        all += ids.len() as u64;
        let mut there = Vec::with_capacity(ids.len());
        for id in ids {
            match if id == NONE { None } else { opened.find(id)? } {
                Some(_) => there.push(id),
                None => {
                    missing += 1;
                    example = example.or((id != NONE).then_some(id));
                }
            }
        }
        if !there.is_empty() {
            rows.extend_from_slice(asked.rows.row(q));
            own.extend(asked.own.as_ref().map(|o| o[q]));
            kept.push(there);
        }
    }
    if kept.is_empty() || missing * 2 > all {
        let id = example.map_or_else(|| name.clone(), |id| id.to_string());
        let what =
            format!("{missing} of {all} true neighbours by {name} are not in the index: is it of these vectors, with these ids?");
        return Err(Error::Id { id, what });
    }
    let own = asked.own.is_some().then_some(own);
    Ok((Asked { rows: Matrix::new(rows, d), own }, kept, missing))
}
