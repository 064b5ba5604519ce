//! How an index searched for one query: which lists it visited, how far each vector came, and why true neighbours were missed.
//!
//! What is told of a search is told by the search loop itself ([`crate::Index::search`] run with somebody watching), so it is
//! what an ordinary search of the same query and parameters does.
//!
//! ```
//! use voisin::explain::{MapKind, Reason, Truth, explain};
//! use voisin::index::{BuildParams, build};
//! use voisin::{Index, Matrix, MemSource, Quiet, SearchParams};
//! # let dir = tempfile::tempdir().unwrap();
//! # let dir = dir.path();
//! let rows = Matrix::new((0..4_000).map(|i| (0.7 * i as f32).sin()).collect(), 10);
//! let params = BuildParams { spec: Some("IVF16,Flat".parse()?), ..BuildParams::default() };
//! build(&MemSource::new("sines", rows.clone()), dir, &params, &Quiet)?;
//!
//! let index = Index::open(dir)?;
//! let one = SearchParams { k: 10, nprobe: 1, ..SearchParams::default() };
//! let e = explain(&index, rows.row(3), &one, Truth::Kept, MapKind::None)?;
//! assert_eq!((e.counts.found, e.lists.unwrap().len()), (10, 1));
//! assert!(e.missed.iter().all(|m| m.reason == Reason::ListNotVisited && m.order > Some(1)));
//! # Ok::<(), voisin::Error>(())
//! ```

mod graph;
mod lists;
mod map;
mod plane;
mod truth;
mod tsne;
mod types;

#[cfg(test)]
mod tests;

pub use truth::{Originals, Truth};
pub use types::{
    Compared, Counts, Explanation, Hit, Hop, Map, MapKind, Missed, NotVisited, Point, PointKind, PointState, Reason, TruthKind,
    Visited, Walk,
};

use crate::index::{Index, Trace};
use crate::{Error, Result, SearchParams, Vectors};
use lists::Told;

/// Explains the search of `index` for `query` (d values) with these parameters, as [`crate::Index::search`] does it.
///
/// `params.filter` and `params.exclude` (one id) are those of the search. Cost: the search without its shortcuts, the true
/// neighbours (see [`Truth`]), a look at every list, and the map: at most 2,000 points, of which t-SNE takes seconds.
///
/// # Errors
/// As [`crate::Index::search`]; what reading the originals gives.
pub fn explain(index: &Index, query: &[f32], params: &SearchParams, truth: Truth<'_>, map: MapKind) -> Result<Explanation> {
    if query.len() != index.dim() {
        let context = format!("the index has {}", index.dim());
        return Err(Error::Dimension { name: "query".into(), expected: index.dim(), got: query.len(), context });
    }
    let rows = Vectors::new(query, query.len());
    let trace = index.trace(rows, params)?;
    let neighbours = truth::neighbours(index, rows, params, truth)?;
    let order = index.order(rows, &trace.visited);
    let told = Told::new(index, params, &trace, &order, &neighbours);
    let (hits, missed) = (told.hits()?, told.missed());
    let (kind, truth_text) = truth::kind(index, truth);
    let (lists, not_visited) = told.lists(&hits);
    let free = neighbours.iter().filter(|t| t.stand == truth::Stand::Free).count();
    let recalled = hits.iter().filter(|h| h.true_rank.is_some()).count();
    let mut notes = told.notes();
    let scene = map::Scene {
        index,
        query: rows,
        order: &order,
        visited: trace.visited.len(),
        hits: &hits,
        found: &trace.found,
        missed: &missed,
        lost: &neighbours.iter().filter_map(|t| Some((t.name.clone(), t.id?))).collect(),
        truth,
    };
    let map = (map != MapKind::None).then(|| scene.map(map)).transpose()?;
    let map = map.map(|(map, note)| {
        notes.extend(note);
        map
    });
    Ok(Explanation {
        spec: index.spec().to_string(),
        metric: index.metric(),
        n: index.len(),
        d: index.dim(),
        k: params.k,
        compared: Some(told.compared()),
        nprobe: Some(trace.visited.len()),
        nlist: Some(index.spec().nlist()),
        lists: Some(lists),
        not_visited: Some(not_visited),
        counts: counts(index, &trace),
        hits,
        missed,
        recall: if free == 0 { 1.0 } else { recalled as f64 / free as f64 },
        truth: kind,
        truth_text,
        map,
        graph: None,
        notes,
    })
}

fn counts(index: &Index, trace: &Trace) -> Counts {
    let refined = if index.refines() { trace.kept } else { 0 };
    Counts { scanned: trace.scanned, candidates: trace.kept, refined, found: trace.found.len() }
}

/// The id of a vector as people know it.
fn name(index: &Index, id: u64) -> Result<String> {
    Ok(if index.has_string_ids() { index.string_id(id)?.unwrap_or_default().to_owned() } else { id.to_string() })
}
