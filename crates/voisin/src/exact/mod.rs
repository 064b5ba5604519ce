//! Exact neighbours by blocked products, with near-ties settled in f64.

use crate::{Metric, Neighbors, OnBad, Result, Source, Vectors, Watch};
use std::path::PathBuf;

/// What to search for and within which limits.
#[derive(Clone, Debug)]
pub struct ExactParams {
    /// Neighbours a query.
    pub k: usize,
    /// How vectors are compared.
    pub metric: Metric,
    /// What to do with rows that cannot be ranked.
    pub on_bad: OnBad,
    /// Leave out the base row with the same number as the query (searching a set in itself).
    pub exclude_self: bool,
    /// Bound on the memory of the whole process in bytes; blocks shrink to fit.
    pub memory_limit: Option<u64>,
    /// Where to keep what is finished, so that a killed run resumes; removed at the end.
    pub checkpoint: Option<PathBuf>,
}

impl Default for ExactParams {
    fn default() -> Self {
        ExactParams {
            k: 10,
            metric: Metric::L2,
            on_bad: OnBad::Error,
            exclude_self: false,
            memory_limit: None,
            checkpoint: None,
        }
    }
}

/// Neighbours and what finding them took.
#[derive(Clone, Debug, Default)]
pub struct ExactResult {
    /// One row a query; ids are row numbers of the base.
    pub neighbors: Neighbors,
    /// Seconds spent waiting for input.
    pub read_seconds: f64,
    /// Seconds of searching without waiting for input.
    pub search_seconds: f64,
    /// Base rows left out under [`OnBad::Skip`].
    pub skipped_base: u64,
    /// Query rows left out under [`OnBad::Skip`]; their result rows are empty.
    pub skipped_queries: u64,
    /// Whether an earlier run was resumed, and at which base row.
    pub resumed_at: Option<u64>,
}

/// The exact neighbours of every query in a base that may be larger than memory.
///
/// # Errors
/// k of 0 or above n, dimensions that differ, rows that cannot be ranked, what reading gives.
pub fn exact(base: &dyn Source, queries: &dyn Source, params: &ExactParams, watch: &dyn Watch) -> Result<ExactResult> {
    let _ = (base, queries, params, watch);
    Err(crate::Error::param("exact", "", "not written yet"))
}

/// The exact neighbours of queries in memory, as [`exact`] finds them; for ground truth and small sets.
///
/// # Errors
/// As [`exact`].
pub fn exact_in_memory(base: Vectors<'_>, queries: Vectors<'_>, k: usize, metric: Metric) -> Result<Neighbors> {
    let _ = (base, queries, k, metric);
    Err(crate::Error::param("exact", "", "not written yet"))
}
