//! How many base rows fit a block.

use super::ExactParams;
use crate::{Error, Result, Source};

/// Bytes of f32 in a block when memory is not limited.
pub(super) const DEFAULT_BLOCK: usize = 32 << 20;
/// Fewest rows worth a block.
const FEWEST: u64 = 64;
/// Bytes of queries and what they find in a pass when memory is not limited.
const DEFAULT_QUERIES: u64 = 1 << 30;

/// Bytes of a query in a pass: as it is read and prepared, and what it finds.
fn bytes_a_query(d: u64, params: &ExactParams) -> u64 {
    let k = params.k as u64;
    6 * d + 64 + if params.codes.is_some() { (56 * k).max(super::prepared::bytes_a_query(params.k)) } else { 56 * k }
}

/// Bytes of the results of a query, which are held to the end.
fn bytes_a_result(k: usize) -> u64 {
    8 + 12 * k as u64
}

/// Bytes of all threads.
fn scratch(k: usize) -> u64 {
    rayon::current_num_threads() as u64 * (48 * 1024 * 4 + 48 * 8 * (4096 + 10 * k as u64) + (1 << 20))
}

/// Queries that are searched in one pass over the base: all of them where they fit beside a block of the base; otherwise as
/// many as fit half of what is left. The fewer the passes, the better: the base is read in each.
pub(super) fn queries_a_pass(base: &dyn Source, queries: &dyn Source, params: &ExactParams) -> Result<usize> {
    let (d, nq) = (queries.dim() as u64, queries.len());
    let each = bytes_a_query(d, params);
    let Some(limit) = params.memory_limit else {
        return Ok((DEFAULT_QUERIES / each).clamp(1, nq) as usize);
    };
    let fixed = crate::watch::resident_bytes().unwrap_or(24 << 20) + scratch(params.k) + nq * bytes_a_result(params.k);
    let left = limit.saturating_sub(fixed + queries.overhead(nq.min(1 << 16) as usize));
    let block = 4 * DEFAULT_BLOCK as u64 + base.overhead(DEFAULT_BLOCK / (4 * base.dim().max(1)));
    let fit = if left > block && nq * each <= left - block { nq } else { left / 2 / each };
    Ok(fit.clamp(nq.min(FEWEST), nq) as usize)
}

/// Rows a block: two blocks of f32 (one searched, one being read), its codes or panels, and what the reader needs beside.
/// `left` queries have no results yet, `nq` of them are in this pass and in memory already.
pub(super) fn block_rows(base: &dyn Source, nq: usize, left: u64, params: &ExactParams) -> Result<usize> {
    let d = base.dim() as u64;
    let free = (DEFAULT_BLOCK as u64 / (4 * d)).max(1024);
    let Some(limit) = params.memory_limit else {
        return Ok(free.min(base.len()) as usize);
    };
    let found = nq as u64 * (64 + 56 * params.k as u64) + left * bytes_a_result(params.k);
    let fixed = crate::watch::resident_bytes().unwrap_or(24 << 20) + found + scratch(params.k);
    let copies = if params.metric == crate::Metric::Cosine { 4 } else { 3 };
    let need = |rows: u64| fixed + rows * (copies * 4 * d + 64) + base.overhead(rows as usize);
    if need(FEWEST.min(base.len())) > limit {
        return Err(Error::Memory {
            limit,
            need: need(FEWEST.min(base.len())),
            what: format!("{FEWEST} rows of the base and the results of {nq} queries"),
        });
    }
    let (mut low, mut high) = (FEWEST, free.max(FEWEST));
    while low + 1 < high {
        let middle = (low + high) / 2;
        *(if need(middle) <= limit { &mut low } else { &mut high }) = middle;
    }
    Ok(low.min(base.len()) as usize)
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
