//! How many base rows fit a block.

use super::ExactParams;
use crate::{Error, Result, Source};

/// Bytes of f32 in a block when memory is not limited.
pub(super) const DEFAULT_BLOCK: usize = 32 << 20;
/// Values that are looked through at once before a search.
pub(super) const CHECKED: usize = 1 << 16;
/// Fewest rows worth a block.
const FEWEST: u64 = 64;
/// Bytes of queries and what they find in a pass when memory is not limited.
const DEFAULT_QUERIES: u64 = 1 << 30;

/// What the process takes beside when the search is under way: code that was not run before, stacks, gaps in the heap.
const ASIDE: u64 = 8 << 20;

/// Bytes of a query in a pass: as it is read, scaled and coded, and what it finds.
fn bytes_a_query(d: u64, params: &ExactParams) -> u64 {
    let k = params.k as u64;
    let scaled = if params.metric == crate::Metric::Cosine { 4 * d } else { 0 };
    let found = if params.codes.is_some() { (56 * k).max(super::prepared::bytes_a_query(params.k)) } else { 56 * k };
    6 * d + scaled + 64 + found
}

/// How a search shares the memory there is: settled before it begins, so that no later pass finds too little.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// Queries of a pass over the base: all of them where they fit beside a block of the base; otherwise as many as fit half
    /// of what is left. The fewer the passes, the better: the base is read in each.
    pub(super) queries: usize,
    /// Bytes that all but the queries of a pass and the blocks of the base take.
    pub(super) fixed: u64,
    /// Bytes of a query.
    pub(super) each: u64,
}

impl Plan {
    pub(super) fn new(base: &dyn Source, queries: &dyn Source, params: &ExactParams) -> Plan {
        let (d, nq, k) = (queries.dim() as u64, queries.len(), params.k as u64);
        let each = bytes_a_query(d, params);
        let Some(limit) = params.memory_limit else {
            return Plan { queries: (DEFAULT_QUERIES / each).clamp(1, nq) as usize, fixed: 0, each };
        };
        let thread = 48 * 1024 * 4 + 48 * 8 * (4096 + 10 * k) + (1 << 20) + if params.codes.is_some() { 4 << 20 } else { 0 };
        // the results are held to the end; the reader's buffers, and those of the look through all queries
        let held = nq * (8 + 12 * k) + queries.overhead(nq.min(1 << 16) as usize) + 16 * CHECKED as u64;
        let fixed =
            crate::watch::resident_bytes().unwrap_or(24 << 20) + ASIDE + held + rayon::current_num_threads() as u64 * thread;
        let left = limit.saturating_sub(fixed);
        let block = 4 * DEFAULT_BLOCK as u64 + base.overhead(DEFAULT_BLOCK / (4 * base.dim().max(1)));
        let fit = if left > block && nq * each <= left - block { nq } else { left / 2 / each };
        Plan { queries: fit.clamp(nq.min(FEWEST), nq) as usize, fixed, each }
    }

    /// Rows a block: two blocks of f32 (one searched, one being read), its codes or panels, and what the reader needs beside.
    pub(super) fn block_rows(&self, base: &dyn Source, params: &ExactParams) -> Result<usize> {
        let d = base.dim() as u64;
        let free = (DEFAULT_BLOCK as u64 / (4 * d)).max(1024);
        let Some(limit) = params.memory_limit else {
            return Ok(free.min(base.len()) as usize);
        };
        let fixed = self.fixed + self.queries as u64 * self.each;
        let copies = if params.metric == crate::Metric::Cosine { 4 } else { 3 };
        let need = |rows: u64| fixed + rows * (copies * 4 * d + 64) + base.overhead(rows as usize);
        if need(FEWEST.min(base.len())) > limit {
            return Err(Error::Memory {
                limit,
                need: need(FEWEST.min(base.len())),
                what: format!("{FEWEST} rows of the base and the results of {} queries", self.queries),
            });
        }
        let (mut low, mut high) = (FEWEST, free.max(FEWEST));
        while low + 1 < high {
            let middle = (low + high) / 2;
            *(if need(middle) <= limit { &mut low } else { &mut high }) = middle;
        }
        Ok(low.min(base.len()) as usize)
    }
}

/// Rows a block of [`super::prepare`]: whole chunks, as many as memory allows.
pub(super) fn prepare_rows(base: &dyn Source, chunk: usize, params: &super::PrepareParams) -> Result<usize> {
    let d = base.dim() as u64;
    let chunks = (DEFAULT_BLOCK as u64 / (4 * d * chunk as u64)).max(1);
    let Some(limit) = params.memory_limit else {
        return Ok((chunks * chunk as u64).min(base.len()) as usize);
    };
    // two blocks of f32; of one chunk codes, bytes to write, and the rows of unit length
    let fixed = crate::watch::resident_bytes().unwrap_or(24 << 20) + (1 << 20);
    let need = |rows: u64| {
        let one = rows.min(chunk as u64);
        let copies = if params.metric == crate::Metric::Cosine { 4 } else { 0 };
        fixed + rows * 8 * d + one * ((2 + copies) * d + 64) + base.overhead(rows as usize)
    };
    let fits = (1..=chunks).rev().map(|c| (c * chunk as u64).min(base.len())).find(|&rows| need(rows) <= limit);
    let least = (chunk as u64).min(base.len());
    fits.map(|rows| rows as usize).ok_or_else(|| Error::Memory {
        limit,
        need: need(least),
        what: format!("{least} rows of the base"),
    })
}

/// Bytes of codes that may be mapped; an error if queries and results alone take more than the limit.
pub(super) fn mappable(base: &dyn Source, nq: usize, params: &ExactParams) -> Result<u64> {
    let Some(limit) = params.memory_limit else { return Ok(u64::MAX) };
    let d = base.dim() as u64;
    let threads = rayon::current_num_threads() as u64;
    let queries = nq as u64 * bytes_a_query(d, params);
    // a thread: its chunk of codes, products, rows that are fetched
    let need = crate::watch::resident_bytes().unwrap_or(24 << 20) + queries + threads * ((4 << 20) + 64 * d) + base.overhead(1);
    if need > limit {
        return Err(Error::Memory { limit, need, what: format!("the results of {nq} queries") });
    }
    Ok(limit - need)
}
