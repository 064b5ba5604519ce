//! The container of every binary file of an index: a header with a table of blocks, each with its checksum.
//!
//! ```text
//! 0   magic, 8 bytes          24  xxh3 of everything before it and of the table: the digest of the file
//! 8   u32 version             32  a table entry a block: 8 bytes of name, u64 offset, u64 length, u64 xxh3
//! 12  u32 number of blocks    ..  blocks at multiples of 64, zeros between them
//! 16  u64 length of the file
//! ```
//! All numbers are little-endian.

use super::disk::Out;
use crate::{Error, Result};
use bytemuck::AnyBitPattern;
use std::fs::File;
use std::ops::Range;
use std::path::{Path, PathBuf};
use voisin_kernels::Map;
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

#[cfg(target_endian = "big")]
compile_error!("index files are mapped as they are, which needs a little-endian processor");

/// Version of the container.
const VERSION: u32 = 1;
const ALIGN: u64 = 64;
const HEAD: usize = 32;
const ENTRY: usize = 32;
const MOST_BLOCKS: usize = 64;

/// Name of a kind of file, and of a block.
pub(super) type Tag = [u8; 8];

#[derive(Clone, Debug)]
struct Entry {
    tag: Tag,
    offset: u64,
    len: u64,
    hash: u64,
}

fn header(magic: &Tag, entries: &[Entry], len: u64) -> (Vec<u8>, u64) {
    let mut bytes = Vec::with_capacity(HEAD + ENTRY * entries.len());
    bytes.extend_from_slice(magic);
    bytes.extend_from_slice(&VERSION.to_le_bytes());
    bytes.extend_from_slice(&(entries.len() as u32).to_le_bytes());
    bytes.extend_from_slice(&len.to_le_bytes());
    bytes.extend_from_slice(&[0; 8]);
    for e in entries {
        bytes.extend_from_slice(&e.tag);
        for word in [e.offset, e.len, e.hash] {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }
    let digest = digest_of(&bytes);
    bytes[24..32].copy_from_slice(&digest.to_le_bytes());
    (bytes, digest)
}

fn digest_of(header: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&header[..24]);
    hash.update(&header[HEAD..]);
    hash.digest()
}

/// Writes a container block after block.
pub(super) struct BlockWriter {
    out: Out,
    magic: Tag,
    blocks: usize,
    entries: Vec<Entry>,
    at: u64,
    hash: Xxh3,
}

impl BlockWriter {
    /// A file of exactly `blocks` blocks.
    pub(super) fn create(path: &Path, magic: &Tag, blocks: usize) -> Result<BlockWriter> {
        assert!(blocks <= MOST_BLOCKS);
        let mut out = Out::create(path)?;
        let at = ((HEAD + ENTRY * blocks) as u64).next_multiple_of(ALIGN);
        out.put(&vec![0; at as usize])?;
        Ok(BlockWriter { out, magic: *magic, blocks, entries: Vec::new(), at, hash: Xxh3::new() })
    }

    /// Begins the next block.
    pub(super) fn begin(&mut self, tag: &Tag) -> Result<()> {
        let start = self.at.next_multiple_of(ALIGN);
        self.out.put(&[0; ALIGN as usize][..(start - self.at) as usize])?;
        self.at = start;
        self.hash.reset();
        self.entries.push(Entry { tag: *tag, offset: start, len: 0, hash: 0 });
        Ok(())
    }

    /// Appends to the block begun last.
    pub(super) fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.out.put(bytes)?;
        self.hash.update(bytes);
        self.at += bytes.len() as u64;
        Ok(())
    }

    /// Ends the block.
    pub(super) fn end(&mut self) {
        let e = self.entries.last_mut().expect("a block was begun");
        e.len = self.at - e.offset;
        e.hash = self.hash.digest();
    }

    /// A whole block.
    pub(super) fn block(&mut self, tag: &Tag, bytes: &[u8]) -> Result<()> {
        self.begin(tag)?;
        self.put(bytes)?;
        self.end();
        Ok(())
    }

    /// Finishes the file; its length and digest.
    pub(super) fn finish(mut self) -> Result<(u64, u64)> {
        assert_eq!(self.entries.len(), self.blocks, "as many blocks as announced");
        let (bytes, digest) = header(&self.magic, &self.entries, self.at);
        self.out.patch_start(&bytes)?;
        self.out.finish()?;
        Ok((self.at, digest))
    }
}

/// A container opened for reading: mapped, its header checked, its blocks not yet.
#[derive(Debug)]
pub(super) struct Blocks {
    path: PathBuf,
    map: Map,
    entries: Vec<Entry>,
    digest: u64,
}

impl Blocks {
    /// Opens a file and checks everything but the content of its blocks. Cost: one page.
    pub(super) fn open(path: &Path, magic: &Tag) -> Result<Blocks> {
        let file = File::open(path).map_err(|e| Error::io(path, e))?;
        let map = Map::open(&file).map_err(|e| Error::io(path, e))?;
        let (entries, digest) = read_header(&map, magic).map_err(|what| match what {
            Bad::Newer(found) => Error::NewerFormat { path: path.to_owned(), found, supported: VERSION },
            Bad::Damaged(what) => Error::corrupt(path, what),
        })?;
        Ok(Blocks { path: path.to_owned(), map, entries, digest })
    }

    /// As [`Blocks::open`], for a file of a known length and digest.
    pub(super) fn open_known(path: &Path, magic: &Tag, bytes: u64, digest: u64) -> Result<Blocks> {
        let blocks = Blocks::open(path, magic)?;
        if blocks.map.len() as u64 != bytes || blocks.digest != digest {
            return Err(Error::corrupt(path, "it is not the file that the manifest names (other length or digest)"));
        }
        Ok(blocks)
    }

    /// See [`Map::release`].
    pub(super) fn release(&self) {
        self.map.release();
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    fn entry(&self, tag: &Tag) -> Result<&Entry> {
        self.entries.iter().find(|e| &e.tag == tag).ok_or_else(|| {
            Error::corrupt(&self.path, format!("block {} is missing", String::from_utf8_lossy(tag).trim_end_matches('\0')))
        })
    }

    /// Whether there is such a block.
    pub(super) fn has(&self, tag: &Tag) -> bool {
        self.entries.iter().any(|e| &e.tag == tag)
    }

    fn bytes_of(&self, e: &Entry) -> &[u8] {
        &self.map[e.offset as usize..(e.offset + e.len) as usize]
    }

    fn matches(&self, e: &Entry) -> Result<()> {
        let (found, name) = (xxh3_64(self.bytes_of(e)), String::from_utf8_lossy(&e.tag));
        if found == e.hash {
            return Ok(());
        }
        let name = name.trim_end_matches('\0');
        Err(Error::corrupt(&self.path, format!("block {name}: checksum {found:016x}, expected {:016x}", e.hash)))
    }

    /// Content of a block whose checksum is compared now.
    pub(super) fn checked(&self, tag: &Tag) -> Result<&[u8]> {
        let e = self.entry(tag)?;
        self.matches(e)?;
        Ok(self.bytes_of(e))
    }

    /// Content of a block as it is.
    pub(super) fn unchecked(&self, tag: &Tag) -> Result<&[u8]> {
        Ok(self.bytes_of(self.entry(tag)?))
    }

    /// Where in the file a block stands, for [`Blocks::span`].
    pub(super) fn span_of(&self, tag: &Tag) -> Result<Range<usize>> {
        let e = self.entry(tag)?;
        Ok(e.offset as usize..(e.offset + e.len) as usize)
    }

    /// The bytes of a block, as they are.
    pub(super) fn span(&self, span: &Range<usize>) -> &[u8] {
        &self.map[span.clone()]
    }

    /// Content of a block as `count` values, as it is.
    pub(super) fn values<T: AnyBitPattern>(&self, tag: &Tag, count: u64) -> Result<&[T]> {
        let e = self.entry(tag)?;
        if count.checked_mul(size_of::<T>() as u64) != Some(e.len) {
            let name = String::from_utf8_lossy(tag);
            return Err(Error::corrupt(
                &self.path,
                format!(
                    "block {}: {} bytes where {count} values of {} are expected",
                    name.trim_end_matches('\0'),
                    e.len,
                    size_of::<T>()
                ),
            ));
        }
        Ok(bytemuck::cast_slice(self.bytes_of(e)))
    }

    /// As [`Blocks::values`], with the checksum compared now.
    pub(super) fn checked_values<T: AnyBitPattern>(&self, tag: &Tag, count: u64) -> Result<&[T]> {
        self.checked(tag)?;
        self.values(tag, count)
    }

    /// Compares every checksum and the zeros between blocks; all that is wrong.
    pub(super) fn check_all(&self) -> Vec<Error> {
        let mut wrong: Vec<Error> = self.entries.iter().filter_map(|e| self.matches(e).err()).collect();
        let mut at = (HEAD + ENTRY * self.entries.len()) as u64;
        for e in &self.entries {
            if self.map[at as usize..e.offset as usize].iter().any(|&b| b != 0) {
                wrong.push(Error::corrupt(&self.path, format!("bytes {at}..{} should be zero", e.offset)));
            }
            at = e.offset + e.len;
        }
        wrong
    }
}

enum Bad {
    Newer(u32),
    Damaged(String),
}

fn read_header(map: &[u8], magic: &Tag) -> Result<(Vec<Entry>, u64), Bad> {
    let damaged = |what: String| Err(Bad::Damaged(what));
    if map.len() < HEAD {
        return damaged(format!("{} bytes, too short for its header", map.len()));
    }
    if &map[..8] != magic {
        return damaged(format!("wrong magic; a {} file is expected", String::from_utf8_lossy(magic).trim_end_matches('\0')));
    }
    let word = |at: usize| u64::from_le_bytes(map[at..at + 8].try_into().expect("8 bytes"));
    let half = |at: usize| u32::from_le_bytes(map[at..at + 4].try_into().expect("4 bytes"));
    let (version, count, len, digest) = (half(8), half(12) as usize, word(16), word(24));
    let table = HEAD + ENTRY * count.min(MOST_BLOCKS);
    if count > MOST_BLOCKS || map.len() < table || digest_of(&map[..table]) != digest {
        // a newer version may keep another header
        return if version > VERSION && version < 1000 {
            Err(Bad::Newer(version))
        } else {
            damaged("the checksum of its header does not match".into())
        };
    }
    if version > VERSION {
        return Err(Bad::Newer(version));
    }
    if len != map.len() as u64 {
        return damaged(format!("{} bytes where {len} are expected", map.len()));
    }
    let mut entries = Vec::with_capacity(count);
    let mut end = table as u64;
    for i in 0..count {
        let at = HEAD + ENTRY * i;
        let tag = map[at..at + 8].try_into().expect("8 bytes");
        let e = Entry { tag, offset: word(at + 8), len: word(at + 16), hash: word(at + 24) };
        let next = e.offset.checked_add(e.len);
        if e.offset < end || !e.offset.is_multiple_of(ALIGN) || next.is_none_or(|n| n > len) {
            return damaged(format!("block {i} lies outside the file or over another one"));
        }
        end = e.offset + e.len;
        entries.push(e);
    }
    if end != len {
        return damaged(format!("{} bytes after the last block", len - end));
    }
    Ok((entries, digest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(path: &Path) -> (u64, u64) {
        let mut w = BlockWriter::create(path, b"VSNTEST\0", 3).unwrap();
        w.block(b"one\0\0\0\0\0", &[1, 2, 3]).unwrap();
        w.block(b"none\0\0\0\0", &[]).unwrap();
        w.begin(b"words\0\0\0").unwrap();
        w.put(&7u64.to_le_bytes()).unwrap();
        w.put(&9u64.to_le_bytes()).unwrap();
        w.end();
        w.finish().unwrap()
    }

    #[test]
    fn blocks_come_back_and_no_temporary_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.vsn");
        let (bytes, digest) = sample(&path);
        let b = Blocks::open_known(&path, b"VSNTEST\0", bytes, digest).unwrap();
        assert_eq!(b.checked(b"one\0\0\0\0\0").unwrap(), [1, 2, 3]);
        assert_eq!(b.checked_values::<u64>(b"words\0\0\0", 2).unwrap(), [7, 9]);
        assert!(b.values::<u64>(b"words\0\0\0", 3).is_err());
        assert!(b.check_all().is_empty());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn every_flipped_bit_and_every_cut_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.vsn");
        sample(&path);
        let good = std::fs::read(&path).unwrap();
        let noticed = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            Blocks::open(&path, b"VSNTEST\0").map_or(true, |b| !b.check_all().is_empty())
        };
        assert!(!noticed(&good));
        for at in 0..good.len() {
            for bit in [0, 3, 7] {
                let mut bad = good.clone();
                bad[at] ^= 1 << bit;
                assert!(noticed(&bad), "bit {bit} of byte {at}");
            }
            assert!(noticed(&good[..at]), "cut at {at}");
        }
    }
}
