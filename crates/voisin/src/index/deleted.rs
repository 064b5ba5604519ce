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

    /// All of `rows` rows, to be taken back one by one with [`Deleted::keep`].
    pub(super) fn all(rows: usize) -> Deleted {
        let mut words = vec![u64::MAX; rows.div_ceil(64)];
        if !rows.is_multiple_of(64) {
            words[rows / 64] = (1 << (rows % 64)) - 1;
        }
        Deleted { words, count: rows as u64 }
    }

    /// Takes a deletion back; whether there was one.
    pub(super) fn keep(&mut self, row: usize) -> bool {
        let there = self.contains(row);
        if there {
            self.words[row / 64] &= !(1 << (row % 64));
            self.count -= 1;
        }
        there
    }

    /// Deletes what another set of the same segment deletes.
    pub(super) fn unite(&mut self, other: &Deleted) {
        if self.words.len() < other.words.len() {
            self.words.resize(other.words.len(), 0);
        }
        self.words.iter_mut().zip(&other.words).for_each(|(a, b)| *a |= b);
        self.count = self.words.iter().map(|w| w.count_ones() as u64).sum();
    }

    /// Those of `rows` rows that are not deleted, ascending.
    pub(super) fn absent(&self, rows: usize) -> impl Iterator<Item = usize> {
        let word = move |w: usize| {
            let all = if (w + 1) * 64 <= rows { u64::MAX } else { (1 << (rows % 64)) - 1 };
            (w, all & !self.words.get(w).copied().unwrap_or(0))
        };
        (0..rows.div_ceil(64)).map(word).flat_map(|(w, mut left)| {
            std::iter::from_fn(move || {
                let bit = left.trailing_zeros() as usize;
                left &= left.wrapping_sub(1);
                (bit < 64).then_some(w * 64 + bit)
            })
        })
    }

    /// Number of rows in it.
    pub(super) fn count(&self) -> u64 {
        self.count
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_go_and_come_back() {
        for rows in [0, 1, 63, 64, 65, 128, 200] {
            let mut all = Deleted::all(rows);
            assert_eq!((all.count(), all.within(0..rows), all.absent(rows).count()), (rows as u64, rows as u64, 0));
            let kept: Vec<usize> = (0..rows).step_by(3).collect();
            kept.iter().for_each(|&r| assert!(all.keep(r) && !all.keep(r)));
            assert_eq!(all.absent(rows).collect::<Vec<_>>(), kept);
            assert_eq!(all.count() as usize, rows - kept.len());
            let mut none = Deleted::default();
            assert_eq!(none.absent(rows).collect::<Vec<_>>(), (0..rows).collect::<Vec<_>>());
            none.unite(&all);
            assert_eq!(none.count(), all.count());
            (0..rows).filter(|r| r % 3 == 0).for_each(|r| assert!(none.insert(r, rows) && !none.insert(r, rows)));
            assert_eq!(none.absent(rows).count(), 0);
        }
    }
}
