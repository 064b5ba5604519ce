//! What is finished of a long exact search, kept on disk so that a killed run goes on.
//!
//! Layout, little-endian: magic, key of the work, rows skipped of base and queries; the number of finished queries, then for each
//! a count and (distance f32, id u64) pairs; next base row, the number of queries of the pass under way, then for each a count
//! and (key f64, id u64) pairs; then the xxh3 of all before it. A file that is not whole or belongs to other work is ignored.

use super::ExactResult;
use super::passes::At;
use crate::{Error, Neighbors, Result, TopK};
use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 8] = b"VSNEXAC2";
const BUFFER: usize = 1 << 16;

/// Bytes that are written and hashed.
struct Sum<W> {
    out: W,
    hash: Xxh3,
}

impl<W: Write> Sum<W> {
    fn put(&mut self, bytes: &[u8]) -> std::io::Result<()> {
        self.hash.update(bytes);
        self.out.write_all(bytes)
    }

    fn words(&mut self, words: &[u64]) -> std::io::Result<()> {
        words.iter().try_for_each(|w| self.put(&w.to_le_bytes()))
    }
}

/// Writes the state beside `path` and renames it into place.
pub(super) fn save(path: &Path, work: u64, at: &At<'_>) -> Result<()> {
    let temporary = path.with_added_extension("tmp");
    write(&temporary, work, at).and_then(|()| std::fs::rename(&temporary, path)).map_err(|e| {
        let _ = std::fs::remove_file(&temporary);
        Error::io(path, e)
    })
}

fn write(path: &Path, work: u64, at: &At<'_>) -> std::io::Result<()> {
    let mut s = Sum { out: BufWriter::with_capacity(BUFFER, File::create(path)?), hash: Xxh3::new() };
    let done = &at.out.neighbors;
    s.put(MAGIC)?;
    s.words(&[work, at.out.skipped_base, at.out.skipped_queries, done.len() as u64])?;
    for q in 0..done.len() {
        s.put(&(done.ids(q).len() as u32).to_le_bytes())?;
        for (distance, id) in done.distances(q).iter().zip(done.ids(q)) {
            s.put(&distance.to_le_bytes())?;
            s.put(&id.to_le_bytes())?;
        }
    }
    s.words(&[at.next, at.current.len() as u64])?;
    for top in at.current {
        s.put(&(top.len() as u32).to_le_bytes())?;
        for (key, id) in top.entries() {
            s.put(&key.to_le_bytes())?;
            s.put(&id.to_le_bytes())?;
        }
    }
    let sum = s.hash.digest();
    s.out.write_all(&sum.to_le_bytes())?;
    s.out.flush()
}

/// What a file says.
pub(super) struct Saved {
    pub(super) out: ExactResult,
    pub(super) next: u64,
    pub(super) current: Vec<TopK<f64>>,
}

/// The state, if the file is whole and of the same work.
pub(super) fn load(path: &Path, work: u64, nq: u64, k: usize) -> Option<Saved> {
    let file = File::open(path).ok()?;
    let len = file.metadata().ok()?.len();
    if !is_whole(&file, len)? {
        return None;
    }
    let mut from = Words(BufReader::with_capacity(BUFFER, File::open(path).ok()?));
    if from.bytes::<8>()? != *MAGIC || from.word()? != work {
        return None;
    }
    let mut out = ExactResult { skipped_base: from.word()?, skipped_queries: from.word()?, ..Default::default() };
    let done = from.word()?;
    // a sound file of the same work: its counts are what was written
    if done > nq {
        return None;
    }
    out.neighbors = Neighbors::new(k);
    out.neighbors.reserve(nq as usize);
    for _ in 0..done {
        let count = u32::from_le_bytes(from.bytes()?) as usize;
        let mut row = Vec::with_capacity(count.min(k));
        for _ in 0..count {
            row.push((f32::from_le_bytes(from.bytes()?), from.word()?));
        }
        out.neighbors.push_row(row);
    }
    let (next, count) = (from.word()?, from.word()?);
    if count > nq - done {
        return None;
    }
    let mut current = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let mut top = TopK::new(k);
        for _ in 0..u32::from_le_bytes(from.bytes()?) {
            top.push(f64::from_le_bytes(from.bytes()?), from.word()?);
        }
        current.push(top);
    }
    Some(Saved { out, next, current })
}

/// Whether a file ends with the checksum of what stands before it.
fn is_whole(file: &File, len: u64) -> Option<bool> {
    let mut from = BufReader::with_capacity(BUFFER, file);
    let (mut left, mut hash, mut buffer) = (len.checked_sub(8)?, Xxh3::new(), vec![0; BUFFER]);
    while left > 0 {
        let n = left.min(BUFFER as u64) as usize;
        from.read_exact(&mut buffer[..n]).ok()?;
        hash.update(&buffer[..n]);
        left -= n as u64;
    }
    let mut sum = [0; 8];
    from.read_exact(&mut sum).ok()?;
    Some(hash.digest() == u64::from_le_bytes(sum))
}

struct Words<R>(R);

impl<R: Read> Words<R> {
    fn bytes<const N: usize>(&mut self) -> Option<[u8; N]> {
        let mut out = [0; N];
        self.0.read_exact(&mut out).ok()?;
        Some(out)
    }

    fn word(&mut self) -> Option<u64> {
        self.bytes().map(u64::from_le_bytes)
    }
}
