//! What a query has found among the runs compared so far: rows that may be among the k, and the limit that they set.

use super::opened::Opened;
use crate::{Metric, TopK};

/// A query as its candidates are ranked.
pub(super) struct Query<'a> {
    pub(super) index: &'a Opened,
    pub(super) row: &'a [f32],
    /// Exact key minus the key of the products.
    pub(super) offset: f64,
}

pub(super) fn offset(metric: Metric, norm: f64) -> f64 {
    match metric {
        Metric::L2 => norm * norm,
        Metric::Ip => 0.0,
        Metric::Cosine => 1.0,
    }
}

/// A row that may be among the k.
#[derive(Clone, Copy)]
pub(super) struct Candidate {
    pub(super) lower: f32,
    pub(super) part: u32,
    pub(super) run: u32,
    /// Within the run.
    pub(super) row: u32,
}

/// A row of a part as one number.
pub(super) fn place(part: usize, row: usize) -> u64 {
    (part as u64) << 32 | row as u64
}

/// What a query has found so far.
pub(super) struct Found {
    pub(super) k: usize,
    /// No key of the products above it, less its margin, can be among the k.
    pub(super) limit: f32,
    /// Largest distance between the bounds of a pending candidate.
    pub(super) width: f32,
    pub(super) pending: Vec<Candidate>,
    pub(super) best: TopK<f64>,
    /// A decoded row.
    row: Vec<f32>,
}

impl Found {
    pub(super) fn new(k: usize) -> Found {
        Found { k, limit: f32::INFINITY, width: 0.0, pending: Vec::new(), best: TopK::new(k), row: Vec::new() }
    }

    /// Lowers the limit and drops what is above it. Memory stays within a few times k.
    pub(super) fn shrink(&mut self, query: &Query<'_>) {
        if self.pending.len() > self.k {
            let (_, kth, _) = self.pending.select_nth_unstable_by(self.k - 1, |a, b| a.lower.total_cmp(&b.lower));
            self.limit = self.limit.min((kth.lower + self.width).next_up());
        }
        let limit = self.limit;
        self.pending.retain(|c| c.lower <= limit);
        if self.pending.len() > 4 * self.k + 256 {
            self.settle(query);
        }
    }

    /// Ranks what is pending by its f64 keys: the lowest bounds first, so that the limit falls before most others are looked at.
    pub(super) fn settle(&mut self, query: &Query<'_>) {
        let (index, metric) = (query.index, query.index.manifest.metric);
        let norm = metric.exact_norm(query.row);
        let mut pending = std::mem::take(&mut self.pending);
        pending.sort_unstable_by(|a, b| a.lower.total_cmp(&b.lower));
        for c in &pending {
            if c.lower > self.limit {
                break;
            }
            let segment = &index.parts[c.part as usize].segment;
            let exact = |x: &[f32]| metric.exact_key_of(query.row, norm, x);
            let key = segment.with_row(c.run as usize, c.row as usize, &mut self.row, exact);
            let row = segment.runs()[c.run as usize].start as usize + c.row as usize;
            self.best.push(key, if index.refine.is_some() { place(c.part as usize, row) } else { segment.id(row) });
            self.lower(query);
        }
        pending.clear();
        self.pending = pending;
    }

    /// Takes the key of the k-th for the limit.
    fn lower(&mut self, query: &Query<'_>) {
        if let Some(worst) = self.best.worst() {
            let limit = (worst - query.offset) + 4.0 * f32::EPSILON as f64 * (worst.abs() + query.offset.abs());
            self.limit = self.limit.min((limit as f32).next_up() + f32::MIN_POSITIVE);
        }
    }
}
