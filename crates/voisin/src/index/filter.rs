//! Filters: which vectors of an index may be found.
//!
//! A filter is compiled once for an opened index into a bitmap a segment of the rows to skip, united with the deleted
//! rows, so that the scan asks one bitmap whatever was asked for. A small allowed set is kept as a list of rows too: to
//! compare all of them costs less than to visit lists, and finds the true neighbours among them.

use super::Index;
use super::deleted::Deleted;
use super::manifest::{IdKind, Manifest, SegmentEntry};
use super::opened::{Opened, Place};
use super::params::IdList;
use crate::{Error, Result};
use rayon::prelude::*;

/// Multiplications a query for which an allowed set is compared as a whole, whatever lists it lies in.
const SMALL: u64 = 2_000_000;
/// Ids looked up by a task.
const LOOKUPS: usize = 4096;

/// What the ids of a filter are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FilterKind {
    /// The vectors that may be found.
    Allow,
    /// The vectors that may not be found.
    Deny,
}

/// Which vectors of one index may be found, compiled for it as it was when it was opened.
///
/// Memory: a bit a vector, and 16 bytes a row of a small allowed set. Shared between searches behind an `Arc`, in
/// [`crate::SearchParams::filter`]; a search of another index, or of the index after a change, refuses it.
#[derive(Clone, Debug, PartialEq)]
pub struct Filter {
    of: Stamp,
    /// Rows to skip, deleted ones included, by part.
    parts: Vec<Deleted>,
    allowed: u64,
    matched: u64,
    missing: u64,
    first_missing: Option<String>,
    small: Option<Vec<Place>>,
}

/// Which files a filter was compiled for.
#[derive(Clone, Debug, PartialEq)]
struct Stamp {
    generation: u64,
    segments: Vec<SegmentEntry>,
}

impl Stamp {
    fn is(&self, manifest: &Manifest) -> bool {
        self.generation == manifest.generation && self.segments == manifest.segments
    }
}

impl Index {
    /// Compiles a filter from ids: those that may be found, or those that may not.
    ///
    /// Ids that are not in the index are counted ([`Filter::missing`]), not refused. An id that stands twice counts once.
    /// Cost: a look-up of each id, on the current rayon pool.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use voisin::index::{BuildParams, FilterKind, IdList, build};
    /// use voisin::{Index, Matrix, MemSource, Quiet, SearchParams};
    /// # let dir = tempfile::tempdir().unwrap();
    /// # let dir = dir.path();
    /// let base = MemSource::new("base", Matrix::new(vec![0.0, 1.0, 2.0, 3.0], 1));
    /// build(&base, dir, &BuildParams::default(), &Quiet)?;
    /// let index = Index::open(dir)?;
    /// let filter = index.filter(&IdList::Numbers(vec![2, 3, 99]), FilterKind::Allow)?;
    /// assert_eq!((filter.allowed(), filter.missing()), (2, 1));
    /// let params = SearchParams { k: 3, filter: Some(Arc::new(filter)), ..Default::default() };
    /// let found = index.search(Matrix::new(vec![0.0], 1).view(), &params)?;
    /// assert_eq!(found.neighbors.ids(0), [2, 3]);
    /// # Ok::<(), voisin::Error>(())
    /// ```
    ///
    /// # Errors
    /// Ids of another kind than the index has; a damaged look-up table.
    pub fn filter(&self, ids: &IdList, kind: FilterKind) -> Result<Filter> {
        let opened = self.opened();
        let given = if matches!(ids, IdList::Numbers(_)) { IdKind::Numbers } else { IdKind::Strings };
        super::build::same_kind(opened.ids(), given)?;
        let look_up = |i: usize| match ids {
            IdList::Numbers(n) => opened.find(n[i]),
            IdList::Strings(s) => opened.find_string(s.get(i)),
        };
        let places: Vec<Option<Place>> =
            (0..ids.len()).into_par_iter().with_min_len(LOOKUPS).map(look_up).collect::<Result<_>>()?;
        let mut filter = Filter::start(opened, kind);
        let missing = |i: &usize| places[*i].is_none();
        filter.missing = (0..ids.len()).filter(missing).count() as u64;
        filter.first_missing = (0..ids.len()).find(missing).map(|i| ids.text(i));
        places.iter().flatten().for_each(|&place| filter.meet(opened, kind, place));
        Ok(filter.finish(opened))
    }

    /// Compiles a filter from a bitmap over ids: bit `id % 64` of word `id / 64` stands for an id; ids beyond the words
    /// have no bit. Where ids are strings, the numbers are those that [`Index::find`] gives. Cost: a look at every id.
    ///
    /// # Errors
    /// A damaged segment.
    pub fn filter_bits(&self, words: &[u64], kind: FilterKind) -> Result<Filter> {
        self.filter_where(kind, |id| words.get((id / 64) as usize).is_some_and(|w| w >> (id % 64) & 1 == 1))
    }

    /// Compiles a filter from a question about ids; where ids are strings, the numbers are those that [`Index::find`]
    /// gives. Cost: the question for every vector.
    ///
    /// # Errors
    /// A damaged segment.
    pub fn filter_where(&self, kind: FilterKind, of: impl Fn(u64) -> bool) -> Result<Filter> {
        let opened = self.opened();
        let mut filter = Filter::start(opened, kind);
        for (p, part) in opened.parts.iter().enumerate() {
            for (row, _) in part.segment.ids()?.enumerate().filter(|(_, id)| of(*id)) {
                if !part.deleted.contains(row) {
                    filter.meet(opened, kind, (p, row));
                }
            }
        }
        Ok(filter.finish(opened))
    }
}

impl Filter {
    /// Nothing is allowed yet, or nothing denied.
    fn start(opened: &Opened, kind: FilterKind) -> Filter {
        let skip = |part: &super::opened::Part| match kind {
            FilterKind::Allow => Deleted::all(part.segment.rows()),
            FilterKind::Deny => part.deleted.clone(),
        };
        let m = &opened.manifest;
        Filter {
            of: Stamp { generation: m.generation, segments: m.segments.clone() },
            parts: opened.parts.iter().map(skip).collect(),
            allowed: 0,
            matched: 0,
            missing: 0,
            first_missing: None,
            small: None,
        }
    }

    /// Allows or denies a living row.
    fn meet(&mut self, opened: &Opened, kind: FilterKind, (part, row): Place) {
        let fresh = match kind {
            FilterKind::Allow => self.parts[part].keep(row),
            FilterKind::Deny => self.parts[part].insert(row, opened.parts[part].segment.rows()),
        };
        self.matched += fresh as u64;
    }

    fn finish(mut self, opened: &Opened) -> Filter {
        let rows = |p: usize| opened.parts[p].segment.rows();
        self.allowed = self.parts.iter().enumerate().map(|(p, skip)| rows(p) as u64 - skip.count()).sum();
        self.small = None;
        if self.allowed.saturating_mul(opened.manifest.d as u64) <= SMALL {
            let mut places = Vec::with_capacity(self.allowed as usize);
            for (p, skip) in self.parts.iter().enumerate() {
                places.extend(skip.absent(rows(p)).map(|row| (p, row)));
            }
            self.small = Some(places);
        }
        self
    }

    /// What both allow.
    ///
    /// # Errors
    /// Filters that were made for different indexes.
    pub fn and(mut self, other: &Filter, index: &Index) -> Result<Filter> {
        self.check(index.opened())?;
        other.check(index.opened())?;
        self.parts.iter_mut().zip(&other.parts).for_each(|(a, b)| a.unite(b));
        self.matched += other.matched;
        self.missing += other.missing;
        self.first_missing = self.first_missing.or_else(|| other.first_missing.clone());
        Ok(self.finish(index.opened()))
    }

    /// Vectors that may be found.
    pub fn allowed(&self) -> u64 {
        self.allowed
    }

    /// Vectors of the index that it names, allowed or denied.
    pub fn matched(&self) -> u64 {
        self.matched
    }

    /// Ids it was made from that are not in the index.
    pub fn missing(&self) -> u64 {
        self.missing
    }

    /// The first of them, as text.
    pub fn first_missing(&self) -> Option<&str> {
        self.first_missing.as_deref()
    }

    /// Whether a search compares every allowed vector, whatever lists they lie in (at most 2,000,000 values of them).
    pub fn is_small(&self) -> bool {
        self.small.is_some()
    }

    /// The rows of part `i` that are skipped, deleted ones included.
    pub(super) fn part(&self, i: usize) -> &Deleted {
        &self.parts[i]
    }

    /// All allowed rows, ascending by part and row, where there are so few that all are compared.
    pub(super) fn small(&self) -> Option<&[Place]> {
        self.small.as_deref()
    }

    /// Refuses an index that it was not made for.
    pub(super) fn check(&self, opened: &Opened) -> Result<()> {
        if self.of.is(&opened.manifest) {
            return Ok(());
        }
        let got = format!("made for change {} of an index", self.of.generation);
        let now = opened.manifest.generation;
        Err(Error::param(
            "filter",
            got,
            format!("a filter of the index that is searched, which is at change {now}; make it anew"),
        ))
    }
}
