//! What a search did for one query: told by the search loop itself, and what else is asked about it afterwards.

use super::Index;
use super::filter::Filter;
use super::params::{SearchParams, SearchResult};
use crate::encode::Codec;
use crate::partition::{Partition, RouteParams};
use crate::{Result, Vectors};

/// What a search did for one query, step by step.
#[derive(Debug, Default)]
pub(crate) struct Trace {
    /// The lists visited with their scores, best first; none where a small allowed set was compared as a whole.
    pub(crate) visited: Vec<(u32, f32)>,
    /// Key by the code and id of every row compared, in the order in which they were chosen.
    pub(crate) compared: Vec<(f64, u64)>,
    /// So many of them, the first, went on to be ranked again (or to be the result, where nothing ranks again).
    pub(crate) kept: usize,
    /// Vectors met.
    pub(crate) scanned: u64,
    /// Key and id of what was found, best first.
    pub(crate) found: Vec<(f64, u64)>,
}

/// A list as a query sees it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    pub(crate) list: u32,
    /// The distance of its centroid (the dot product under ip), or its logit.
    pub(crate) score: f32,
    pub(crate) probability: Option<f32>,
}

/// Where a vector lies.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Whereabouts {
    pub(crate) list: u32,
    /// Whether the filter leaves it out.
    pub(crate) filtered: bool,
}

impl Index {
    /// Searches for the one query, and tells how. Memory: 16 bytes a vector compared.
    ///
    /// # Errors
    /// As [`Index::search`].
    pub(crate) fn trace(&self, query: Vectors<'_>, params: &SearchParams) -> Result<Trace> {
        self.check(query, params)?;
        let (mut trace, mut result) = (Trace::default(), SearchResult::default());
        let found = self.found(query, 0, params, &mut result, Some(&mut trace))?;
        trace.found = found.into_iter().next().unwrap_or_default();
        trace.scanned = result.scanned;
        Ok(trace)
    }

    /// Whether vectors are ranked again by what is kept beside their codes.
    pub(crate) fn refines(&self) -> bool {
        self.opened().refine.is_some()
    }

    /// Whether codes are the vectors as they came.
    pub(crate) fn plain(&self) -> bool {
        self.opened().codes_are_vectors()
    }

    /// All lists in the order in which this search of the query would come to them: those visited first.
    pub(crate) fn order(&self, query: Vectors<'_>, visited: &[(u32, f32)]) -> Vec<Seen> {
        let opened = self.opened();
        let prepared = opened.prepared(query, self.metric());
        let prepared = Vectors::new(&prepared, opened.code_d(query.d()));
        let routes = opened.partition.route(prepared, &RouteParams::default());
        let mut been = vec![false; self.spec().nlist()];
        visited.iter().for_each(|v| been[v.0 as usize] = true);
        let all: Vec<(u32, f32)> = routes.lists(0).iter().copied().zip(routes.scores(0).iter().copied()).collect();
        let others = all.iter().filter(|l| been.get(l.0 as usize) == Some(&false));
        let order: Vec<(u32, f32)> = visited.iter().chain(others).copied().collect();
        let seen = |(list, score): (u32, f32), probability| Seen { list, score, probability };
        match &opened.partition {
            Partition::One => order.into_iter().map(|l| seen(l, None)).collect(),
            Partition::KMeans(c) if c.metric() == crate::Metric::Ip => order.into_iter().map(|l| seen(l, None)).collect(),
            Partition::KMeans(_) => order.into_iter().map(|l| seen((l.0, (-l.1).max(0.0).sqrt()), None)).collect(),
            Partition::Learned(mlp) => {
                let logits = mlp.forward(prepared);
                order.into_iter().map(|l| seen((l.0, logits.row(0)[l.0 as usize]), Some(l.1))).collect()
            }
            Partition::Routed(r) => {
                let (lists, scores): (Vec<u32>, Vec<f32>) = order.iter().copied().unzip();
                let shares = r.router.probabilities(&lists, &scores);
                order.into_iter().zip(shares).map(|(l, p)| seen(l, Some(p as f32))).collect()
            }
        }
    }

    /// Where a vector lies; `None` if the id is not in the index.
    pub(crate) fn whereabouts(&self, id: u64, filter: Option<&Filter>) -> Result<Option<Whereabouts>> {
        let Some((part, row)) = self.opened().find(id)? else { return Ok(None) };
        let segment = &self.opened().parts[part].segment;
        let list = segment.list_of(segment.run_of(row)) as u32;
        Ok(Some(Whereabouts { list, filtered: filter.is_some_and(|f| f.part(part).contains(row)) }))
    }

    /// Vectors in a list, and those of them that may be found.
    pub(crate) fn list_counts(&self, list: u32, filter: Option<&Filter>) -> [u64; 2] {
        [None, filter].map(|f| self.opened().list_size(list as usize, f))
    }

    /// The ids stored in a list that are not deleted, ascending.
    pub(crate) fn ids_in(&self, list: u32) -> Result<Vec<u64>> {
        let mut ids = Vec::new();
        for part in &self.opened().parts {
            for run in part.segment.runs_of(list as usize) {
                let rows = part.segment.visit(run)?;
                let living = rows.run.range().enumerate().filter(|(_, row)| !part.deleted.contains(*row));
                ids.extend(living.map(|(i, _)| rows.id(i)));
            }
        }
        ids.sort_unstable();
        Ok(ids)
    }

    /// Vectors as partition and codes see them: of unit length under cosine, then transformed; n x the dimensions of codes.
    pub(crate) fn as_coded(&self, rows: Vectors<'_>) -> Vec<f32> {
        self.opened().prepared(rows, self.metric()).into_owned()
    }

    /// Dimensions of what is coded.
    pub(crate) fn coded_dim(&self) -> usize {
        self.opened().code_d(self.dim())
    }

    /// A stored vector as [`Index::as_coded`] gives it, from what is kept of it; `None` where its code cannot be read back.
    pub(crate) fn stored_as_coded(&self, id: u64) -> Result<Option<Vec<f32>>> {
        let Some((part, row)) = self.opened().find(id)? else { return Ok(None) };
        let segment = &self.opened().parts[part].segment;
        if self.refines() || self.plain() {
            let vector = segment.stored(row, self.dim())?;
            return Ok(vector.map(|v| self.as_coded(Vectors::new(&v, self.dim()))));
        }
        if matches!(self.opened().codec, Codec::RaBitQ(_)) {
            return Ok(None);
        }
        let run = segment.run_of(row);
        let i = row - segment.visit(run)?.run.start as usize;
        Ok(Some(segment.with_row(run, i, &mut Vec::new(), <[f32]>::to_vec)))
    }
}
