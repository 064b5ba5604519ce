//! What is finished of a long exact search, kept on disk so that a killed run goes on.
//!
//! Layout, little-endian: magic, key of the work, next base row, then per query a count and (key f64, id u64) pairs,
//! then the xxh3 of all before it. A file that is not whole or belongs to other work is ignored.

use crate::{Error, Result, TopK};
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

const MAGIC: &[u8; 8] = b"VSNEXACT";

/// Writes the state beside `path` and renames it into place.
pub(super) fn save(path: &Path, work: u64, next: u64, results: &[TopK<f64>]) -> Result<()> {
    let mut bytes = Vec::with_capacity(32 + results.iter().map(|r| 4 + 16 * r.len()).sum::<usize>());
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&work.to_le_bytes());
    bytes.extend_from_slice(&next.to_le_bytes());
    for r in results {
        bytes.extend_from_slice(&(r.len() as u32).to_le_bytes());
        for (key, id) in r.entries() {
            bytes.extend_from_slice(&key.to_le_bytes());
            bytes.extend_from_slice(&id.to_le_bytes());
        }
    }
    let sum = xxh3_64(&bytes);
    bytes.extend_from_slice(&sum.to_le_bytes());
    let temporary = path.with_added_extension("tmp");
    std::fs::write(&temporary, &bytes).and_then(|()| std::fs::rename(&temporary, path)).map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        Error::io(path, e)
    })
}

/// The next base row and the results so far, if the file is whole and of the same work.
pub(super) fn load(path: &Path, work: u64, nq: usize, k: usize) -> Option<(u64, Vec<TopK<f64>>)> {
    let bytes = std::fs::read(path).ok()?;
    let (body, sum) = bytes.split_last_chunk::<8>()?;
    if xxh3_64(body) != u64::from_le_bytes(*sum) {
        return None;
    }
    let mut at = body.strip_prefix(MAGIC)?;
    let mut word = || -> Option<u64> {
        let (head, tail) = at.split_first_chunk::<8>()?;
        at = tail;
        Some(u64::from_le_bytes(*head))
    };
    if word()? != work {
        return None;
    }
    let next = word()?;
    let mut results = Vec::with_capacity(nq);
    for _ in 0..nq {
        let (head, tail) = at.split_first_chunk::<4>()?;
        at = tail;
        let mut top = TopK::new(k);
        for _ in 0..u32::from_le_bytes(*head) {
            let (key, tail) = at.split_first_chunk::<8>()?;
            let (id, tail) = tail.split_first_chunk::<8>()?;
            top.push(f64::from_le_bytes(*key), u64::from_le_bytes(*id));
            at = tail;
        }
        results.push(top);
    }
    at.is_empty().then_some((next, results))
}
