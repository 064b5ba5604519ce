//! Which rows of a segment are deleted: a bitmap file a change, `X.del.G`.

use super::blocks::{BlockWriter, Blocks};
use super::manifest::{DeletedEntry, Digest, FileEntry};
use crate::{Error, Result};
use std::path::Path;

const MAGIC: &[u8; 8] = b"VSNDELET";
const META: &[u8; 8] = b"meta\0\0\0\0";
const BITS: &[u8; 8] = b"bits\0\0\0\0";

/// Deleted rows; bit `row % 64` of word `row / 64`. Without words nothing is deleted.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Deleted {
    words: Vec<u64>,
    count: u64,
}

impl Deleted {
    pub(super) fn is_empty(&self) -> bool {
        self.count == 0
    }

    pub(super) fn contains(&self, row: usize) -> bool {
        self.words.get(row / 64).is_some_and(|w| w >> (row % 64) & 1 == 1)
    }

    /// Deletes a row of a segment of `rows`; whether it was there.
    pub(super) fn insert(&mut self, row: usize, rows: usize) -> bool {
        self.words.resize(rows.div_ceil(64), 0);
        let fresh = !self.contains(row);
        self.words[row / 64] |= 1 << (row % 64);
        self.count += fresh as u64;
        fresh
    }

    /// Number of deleted rows in a range.
    pub(super) fn within(&self, rows: std::ops::Range<usize>) -> u64 {
        if self.is_empty() { 0 } else { rows.filter(|&r| self.contains(r)).count() as u64 }
    }

    pub(super) fn save(&self, folder: &Path, file: String, rows: usize) -> Result<DeletedEntry> {
        let mut w = BlockWriter::create(&folder.join(&file), MAGIC, 2)?;
        w.block(META, bytemuck::cast_slice(&[rows as u64, self.count]))?;
        w.block(BITS, bytemuck::cast_slice(&self.words))?;
        let (bytes, digest) = w.finish()?;
        Ok(DeletedEntry { at: FileEntry { file, bytes, digest: Digest(digest) }, count: self.count })
    }

    /// Reads a bitmap of a segment of `rows`, checksums included.
    pub(super) fn load(folder: &Path, entry: &DeletedEntry, rows: u64) -> Result<Deleted> {
        let path = folder.join(&entry.at.file);
        let blocks = Blocks::open_known(&path, MAGIC, entry.at.bytes, entry.at.digest.0)?;
        let meta: &[u64] = blocks.checked_values(META, 2)?;
        let words: &[u64] = blocks.checked_values(BITS, rows.div_ceil(64))?;
        let set: u64 = words.iter().map(|w| w.count_ones() as u64).sum();
        let beyond = if rows.is_multiple_of(64) { 0 } else { words.last().map_or(0, |w| w >> (rows % 64)) };
        if meta != [rows, entry.count] || set != entry.count || beyond != 0 {
            return Err(Error::corrupt(&path, "it does not fit the manifest"));
        }
        Ok(Deleted { words: words.to_vec(), count: set })
    }

    /// All that is wrong with a file.
    pub(super) fn check(folder: &Path, entry: &DeletedEntry, rows: u64) -> Result<Vec<Error>> {
        Deleted::load(folder, entry, rows)?;
        Ok(Blocks::open(&folder.join(&entry.at.file), MAGIC)?.check_all())
    }
}
