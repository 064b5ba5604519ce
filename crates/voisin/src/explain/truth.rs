//! The true neighbours of a query.

use super::types::TruthKind;
use crate::index::Index;
use crate::source::for_each_block;
use crate::{Error, Metric, OnBad, RefineSpec, Result, SearchParams, Source, StringIds, Vectors, Watch};
use rayon::prelude::*;
use std::collections::HashMap;
use std::sync::OnceLock;

/// Bytes of a block of rows.
const BLOCK: usize = 32 << 20;

/// What the true neighbours of a query are computed from.
#[derive(Clone, Copy)]
pub enum Truth<'a> {
    /// What the index keeps. Cost: a search of all its lists, every vector refined.
    Kept,
    /// The vectors as they were before the index made codes of them. Cost: all of them are read and compared in f64.
    Originals(&'a Originals<'a>, &'a dyn Watch),
}

/// The vectors of an index as they were before it made codes of them, known by their ids.
pub struct Originals<'a>(From<'a>);

enum From<'a> {
    Rows {
        source: &'a dyn Source,
        ids: Option<StringIds>,
        /// The row of each string id, once it is asked for.
        rows: OnceLock<HashMap<String, u64>>,
    },
    /// An index of plain vectors, under the same numbers.
    Index(&'a Index),
}

impl<'a> Originals<'a> {
    /// Takes the vectors of an index: rows with its string ids, or row i for the number i.
    ///
    /// # Errors
    /// Another dimension, layer or maker than the index has; rows without ids where those of the index are strings.
    pub fn new(index: &Index, source: &'a dyn Source) -> Result<Originals<'a>> {
        if source.dim() != index.dim() {
            let context = format!("the index has {}", index.dim());
            return Err(Error::Dimension { name: source.name(), expected: index.dim(), got: source.dim(), context });
        }
        index.check_layer(source)?;
        index.check_made_by(source)?;
        let ids = if index.has_string_ids() { source.ids()? } else { None };
        if index.has_string_ids() && ids.is_none() {
            let what = "its rows have no ids, where those of the index are strings";
            return Err(Error::Format { path: source.name().into(), what: what.into() });
        }
        Ok(Originals(From::Rows { source, ids, rows: OnceLock::new() }))
    }

    /// Takes an index of the same vectors under the same numbers (those of [`Index::find`], where ids are strings) that keeps
    /// them as they were.
    ///
    /// # Errors
    /// Another dimension or metric than the index has.
    pub fn of_index(index: &Index, plain: &'a Index) -> Result<Originals<'a>> {
        if (plain.dim(), plain.metric()) != (index.dim(), index.metric()) {
            let context = format!("the index has {}, under {}", index.dim(), index.metric());
            let name = format!("vectors under {}", plain.metric());
            return Err(Error::Dimension { name, expected: index.dim(), got: plain.dim(), context });
        }
        Ok(Originals(From::Index(plain)))
    }

    /// What to call them.
    pub fn name(&self) -> String {
        match &self.0 {
            From::Rows { source, .. } => format!("the vectors of {}", source.name()),
            From::Index(_) => "the vectors as they were".into(),
        }
    }

    /// The vector with an id; `None` if there is none. `number` is what stands for it in the index.
    ///
    /// # Errors
    /// What reading gives.
    pub(super) fn vector_of(&self, number: u64, id: &str) -> Result<Option<Vec<f32>>> {
        match &self.0 {
            From::Rows { .. } => self.vector(id),
            From::Index(plain) => plain.vector_of(number),
        }
    }

    /// The vector of the row with an id; `None` if there is none.
    ///
    /// # Errors
    /// What reading gives.
    pub fn vector(&self, id: &str) -> Result<Option<Vec<f32>>> {
        let (source, row) = match &self.0 {
            From::Rows { source, ids: None, .. } => (source, id.parse().ok().filter(|row| *row < source.len())),
            From::Rows { source, ids: Some(ids), rows } => {
                let all = || ids.iter().zip(0..).map(|(id, row)| (id.to_owned(), row)).collect();
                (source, rows.get_or_init(all).get(id).copied())
            }
            From::Index(plain) => return id.parse().map_or(Ok(None), |number| plain.vector_of(number)),
        };
        let Some(row) = row else { return Ok(None) };
        let mut out = vec![0.0; source.dim()];
        source.read(row, &mut out)?;
        Ok(Some(out))
    }

    /// The id of a row, and what stands for it in the index.
    fn known(&self, index: &Index, row: u64) -> Result<(String, Option<u64>)> {
        match &self.0 {
            From::Rows { ids: Some(ids), .. } => {
                let id = ids.get(row as usize);
                Ok((id.to_owned(), index.find(id)?))
            }
            From::Index(_) if index.has_string_ids() => {
                Ok((index.string_id(row)?.map_or_else(|| row.to_string(), str::to_owned), Some(row)))
            }
            _ => Ok((row.to_string(), Some(row))),
        }
    }

    /// Key and row of the `most` nearest vectors that can be ranked, or of all; nearest first. Memory: 16 bytes a row of a
    /// source.
    fn ranked(&self, query: &[f32], metric: Metric, most: usize, watch: &dyn Watch) -> Result<Vec<(f64, u64)>> {
        let (source, norm) = match &self.0 {
            From::Rows { source, .. } => (source, metric.exact_norm(query)),
            From::Index(plain) => {
                let most = most.clamp(1, plain.len().max(1) as usize);
                let p = SearchParams { k: most, nprobe: usize::MAX, ..SearchParams::default() };
                return Ok(plain.trace(Vectors::new(query, query.len()), &p)?.found);
            }
        };
        let (n, d) = (source.len(), source.dim());
        let mut all: Vec<(f64, u64)> = Vec::with_capacity(n as usize);
        watch.begin("true neighbours", n, "vectors");
        let step = (BLOCK / (4 * d)).max(1);
        for_each_block(*source, 0..n, step, metric, OnBad::Skip, watch, |block| {
            let rows = block.rows.view();
            let keys = (0..rows.n()).into_par_iter().with_min_len(64).map(|i| metric.exact_key_of(query, norm, rows.row(i)));
            let keys: Vec<f64> = keys.collect();
            let good = keys.into_iter().enumerate().filter(|(i, _)| block.bad.binary_search(i).is_err());
            all.extend(good.map(|(i, key)| (key, block.start + i as u64)));
            watch.advance(rows.n() as u64);
            Ok(())
        })?;
        watch.end();
        all.par_sort_unstable_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
        Ok(all)
    }
}

/// How a true neighbour stands to the index.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Stand {
    /// It may be found.
    Free,
    /// The filter leaves it out.
    Filtered,
    /// It is not there.
    Gone,
}

/// A true neighbour.
#[derive(Clone, Debug)]
pub(super) struct True {
    /// Its number in the index.
    pub(super) id: Option<u64>,
    pub(super) name: String,
    pub(super) distance: f32,
    /// Among those that may be found, or among all where it may not.
    pub(super) rank: usize,
    pub(super) stand: Stand,
    pub(super) list: Option<u32>,
}

/// What the truth of an index is.
pub(super) fn kind(index: &Index, truth: Truth<'_>) -> (TruthKind, String) {
    match (truth, index.spec().refine) {
        (Truth::Originals(o, _), _) => (TruthKind::Exact, o.name()),
        (Truth::Kept, Some(RefineSpec::Flat)) => (TruthKind::Exact, "the vectors kept beside the codes".into()),
        (Truth::Kept, None) if index.plain() => (TruthKind::Exact, "the vectors of the index".into()),
        (Truth::Kept, Some(RefineSpec::Scalar(kind))) => {
            (TruthKind::Codes, format!("the vectors kept beside the codes, as {}", kind.word()))
        }
        (Truth::Kept, None) => (TruthKind::Codes, format!("every vector by its code {}", index.spec().score)),
    }
}

/// The k nearest vectors that may be found, and those nearer to the query than its k-th of all that may not; by distance.
pub(super) fn neighbours(index: &Index, query: Vectors<'_>, params: &SearchParams, truth: Truth<'_>) -> Result<Vec<True>> {
    match truth {
        Truth::Kept => kept(index, query, params),
        Truth::Originals(originals, watch) => {
            let mut most = params.k.saturating_mul(2).saturating_add(1);
            loop {
                let ranked = originals.ranked(query.row(0), index.metric(), most, watch)?;
                let found = original(index, &ranked, originals, params)?;
                // a filter may leave so many out that more have to be looked at
                if ranked.len() < most || found.iter().filter(|t| t.stand == Stand::Free).count() == params.k {
                    return Ok(found);
                }
                most = most.max(ranked.len()).saturating_mul(8);
            }
        }
    }
}

/// The search of everything.
fn kept(index: &Index, query: Vectors<'_>, params: &SearchParams) -> Result<Vec<True>> {
    let refine = (index.len() as usize).div_ceil(params.k) + 1;
    let whole = SearchParams { nprobe: usize::MAX, mass: None, recall: None, refine, ..params.clone() };
    let mut all = Vec::new();
    let mut take = |params: &SearchParams, stand: Stand| -> Result<()> {
        let found = index.search(query, params)?.neighbors;
        for (i, (&id, &distance)) in found.ids(0).iter().zip(found.distances(0)).enumerate() {
            let at = index.whereabouts(id, whole.filter.as_deref())?;
            if at.is_some_and(|at| at.filtered) == (stand == Stand::Filtered) {
                let (name, list) = (super::name(index, id)?, at.map(|at| at.list));
                all.push(True { id: Some(id), name, distance, rank: i + 1, stand, list });
            }
        }
        Ok(())
    };
    take(&whole, Stand::Free)?;
    if whole.filter.is_some() {
        take(&SearchParams { filter: None, ..whole.clone() }, Stand::Filtered)?;
    }
    let key = |t: &True| index.metric().key(t.distance as f64);
    all.sort_by(|a, b| key(a).total_cmp(&key(b)));
    Ok(all)
}

fn original(index: &Index, ranked: &[(f64, u64)], originals: &Originals<'_>, params: &SearchParams) -> Result<Vec<True>> {
    let own = params.exclude.as_ref().map(|ids| ids[0]).or(params.exclude_self.then_some(0));
    let (mut all, mut free, mut rank) = (Vec::new(), 0, 0);
    for &(key, row) in ranked {
        let (name, id) = originals.known(index, row)?;
        if id.is_some() && id == own {
            continue;
        }
        let at = id.map(|id| index.whereabouts(id, params.filter.as_deref())).transpose()?.flatten();
        let stand = match at {
            None => Stand::Gone,
            Some(at) if at.filtered => Stand::Filtered,
            Some(_) => Stand::Free,
        };
        rank += 1;
        free += (stand == Stand::Free) as usize;
        if stand == Stand::Free || rank <= params.k {
            let rank = if stand == Stand::Free { free } else { rank };
            let distance = index.reported(key);
            all.push(True { id: at.and(id), name, distance, rank, stand, list: at.map(|at| at.list) });
        }
        if free == params.k {
            break;
        }
    }
    Ok(all)
}
