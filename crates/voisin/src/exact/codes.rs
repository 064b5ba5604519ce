//! A file of 8-bit codes beside a base: what the first pass of exact search needs, made once.
//!
//! Little-endian: a header of 128 bytes (magic, version, metric, n, d, rows a chunk, fingerprint of the base, bad rows and the
//! first of them, digest of the table, digest of all before), chunk after chunk, a table. A chunk holds the panels of its
//! rows, then norms, steps and errors; each part starts at a multiple of 64. The table has 24 bytes a chunk: largest
//! norm, largest bias, flags, digest of the chunk. All digests are xxh3; a chunk's is checked when it is first visited.

use super::pass::key_of;
use crate::{Error, Metric, Result, Source};
use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use voisin_kernels::{Codes8Ref, Map, Parts8};
use xxhash_rust::xxh3::xxh3_64;

pub(super) const MAGIC: &[u8; 8] = b"VSNCODE8";
const VERSION: u32 = 1;
pub(super) const HEADER: usize = 128;
/// Bytes of the header that are in use; the digest of those before is the last of them.
const USED: usize = 80;
pub(super) const ENTRY: usize = 24;
/// Rows are stored without error.
const BYTES: u32 = 1;
/// Values are too large for bounds: every row may be near.
const EXTREME: u32 = 2;

/// What the file says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Header {
    pub(super) metric: Metric,
    pub(super) n: u64,
    pub(super) d: usize,
    /// Rows a chunk, but the last.
    pub(super) chunk: usize,
    pub(super) fingerprint: u64,
    pub(super) bad: u64,
    pub(super) first_bad: u64,
}

/// What the table says of a chunk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Entry {
    pub(super) reach: f32,
    pub(super) height: f32,
    pub(super) bytes: bool,
    pub(super) extreme: bool,
    pub(super) digest: u64,
}

impl Header {
    /// Rows a chunk: about half a megabyte of codes, whole panels.
    pub(super) fn chunk_rows(d: usize) -> usize {
        ((512 << 10) / (d.next_multiple_of(4) * 32)).clamp(1, 256) * 32
    }

    pub(super) fn chunks(&self) -> u64 {
        self.n.div_ceil(self.chunk as u64)
    }

    /// Rows of chunk `i`.
    pub(super) fn rows(&self, i: u64) -> usize {
        (self.n - i * self.chunk as u64).min(self.chunk as u64) as usize
    }

    /// Bytes of a chunk of `rows`: panels, then three arrays.
    pub(super) fn chunk_bytes(&self, rows: usize) -> usize {
        Codes8Ref::panel_bytes(rows, self.d) + 3 * array(rows)
    }

    fn offset(&self, i: u64) -> u64 {
        HEADER as u64 + i * self.chunk_bytes(self.chunk) as u64
    }

    /// Where the table starts; `None` beyond 2^64.
    fn table(&self) -> Option<u64> {
        let last = self.chunks().checked_sub(1)?;
        let whole = last.checked_mul(self.chunk_bytes(self.chunk) as u64)?;
        whole.checked_add(self.chunk_bytes(self.rows(last)) as u64 + HEADER as u64)
    }

    fn length(&self) -> Option<u64> {
        self.table()?.checked_add(self.chunks().checked_mul(ENTRY as u64)?)
    }

    pub(super) fn to_bytes(self, table: &[u8]) -> [u8; HEADER] {
        let mut out = [0; HEADER];
        let metric = [Metric::L2, Metric::Ip, Metric::Cosine].iter().position(|&m| m == self.metric).unwrap_or(0) as u32;
        out[..8].copy_from_slice(MAGIC);
        out[8..12].copy_from_slice(&VERSION.to_le_bytes());
        out[12..16].copy_from_slice(&metric.to_le_bytes());
        let words = [self.n, self.d as u64, self.chunk as u64, self.fingerprint, self.bad, self.first_bad, xxh3_64(table)];
        for (o, w) in out[16..].as_chunks_mut::<8>().0.iter_mut().zip(words) {
            *o = w.to_le_bytes();
        }
        let sum = xxh3_64(&out[..USED - 8]);
        out[USED - 8..USED].copy_from_slice(&sum.to_le_bytes());
        out
    }

    /// The header, and the digest of the table.
    fn parse(bytes: &[u8; HEADER], path: &Path) -> Result<(Header, u64)> {
        if &bytes[..8] != MAGIC {
            return Err(Error::format(path, "no file of codes (made by `exact --prepare`)"));
        }
        let half = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"));
        let word = |i: usize| u64::from_le_bytes(bytes[16 + 8 * i..24 + 8 * i].try_into().expect("eight bytes"));
        if half(8) > VERSION {
            return Err(Error::NewerFormat { path: path.to_owned(), found: half(8), supported: VERSION });
        }
        let metric = [Metric::L2, Metric::Ip, Metric::Cosine].get(half(12) as usize).copied();
        let (n, d, chunk) = (word(0), word(1), word(2));
        let sound = half(8) == VERSION
            && xxh3_64(&bytes[..USED - 8]) == word(7)
            && bytes[USED..].iter().all(|&b| b == 0)
            && n > 0
            && (1..=super::pass::MAX_CODED as u64).contains(&d);
        let Some(metric) = metric.filter(|_| sound && chunk == Header::chunk_rows(d as usize) as u64) else {
            return Err(damaged(path, "the header"));
        };
        let header =
            Header { metric, n, d: d as usize, chunk: chunk as usize, fingerprint: word(3), bad: word(4), first_bad: word(5) };
        Ok((header, word(6)))
    }
}

impl Entry {
    pub(super) fn to_bytes(self) -> [u8; ENTRY] {
        let mut out = [0; ENTRY];
        let flags = self.bytes as u32 * BYTES + self.extreme as u32 * EXTREME;
        out[..4].copy_from_slice(&self.reach.to_le_bytes());
        out[4..8].copy_from_slice(&self.height.to_le_bytes());
        out[8..12].copy_from_slice(&flags.to_le_bytes());
        out[16..].copy_from_slice(&self.digest.to_le_bytes());
        out
    }

    fn parse(b: &[u8; ENTRY]) -> Entry {
        let four = |at: usize| [b[at], b[at + 1], b[at + 2], b[at + 3]];
        let flags = u32::from_le_bytes(four(8));
        let digest = u64::from_le_bytes(std::array::from_fn(|i| b[16 + i]));
        let (reach, height) = (f32::from_le_bytes(four(0)), f32::from_le_bytes(four(4)));
        Entry { reach, height, bytes: flags & BYTES != 0, extreme: flags & EXTREME != 0, digest }
    }
}

/// What a file of codes says of itself.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CodesInfo {
    /// Rows of the base it was made of.
    pub n: u64,
    /// Dimensions of a row.
    pub d: usize,
    /// The metric it is for.
    pub metric: Metric,
    /// Rows that were left out.
    pub skipped: u64,
}

/// Reads the header of a file that [`super::prepare`] wrote.
///
/// # Errors
/// As [`super::Prepared::open`], but for what the base decides.
pub fn codes_info(path: &Path) -> Result<CodesInfo> {
    let Header { n, d, metric, bad, .. } = CodesFile::open(path, u64::MAX)?.header;
    Ok(CodesInfo { n, d, metric, skipped: bad })
}

/// Bytes of an array of one f32 a row.
pub(super) fn array(rows: usize) -> usize {
    (4 * rows).next_multiple_of(64)
}

fn damaged(path: &Path, what: &str) -> Error {
    Error::corrupt(path, format!("{what}; prepare the codes anew, or remove the file"))
}

/// The bytes of a file of codes: mapped, or read chunk by chunk where memory is limited.
enum Bytes {
    Mapped(Map),
    Read(File),
}

/// An open file of codes.
pub(super) struct CodesFile {
    path: PathBuf,
    bytes: Bytes,
    pub(super) header: Header,
    table: Vec<Entry>,
    /// Chunks whose digest was right.
    checked: Vec<AtomicBool>,
}

impl CodesFile {
    /// Opens a file and checks everything but its chunks; maps it unless more than `mapped` bytes would be.
    pub(super) fn open(path: &Path, mapped: u64) -> Result<CodesFile> {
        let io = |e| Error::io(path, e);
        let file = File::open(path).map_err(io)?;
        let len = file.metadata().map_err(io)?.len();
        let mut head = [0; HEADER];
        if len < HEADER as u64 {
            return Err(Error::format(path, format!("no file of codes (made by `exact --prepare`): only {len} bytes")));
        }
        read_at(&file, &mut head, 0).map_err(io)?;
        let (header, digest) = Header::parse(&head, path)?;
        if header.length() != Some(len) {
            let expected = header.length().map_or("more".into(), |l| l.to_string());
            return Err(damaged(path, &format!("it has {len} bytes where {expected} are expected")));
        }
        let at = header.table().expect("the length is known");
        let mut table = vec![0; (len - at) as usize];
        read_at(&file, &mut table, at).map_err(io)?;
        if xxh3_64(&table) != digest {
            return Err(damaged(path, "the table of chunks"));
        }
        let table: Vec<Entry> = table.as_chunks::<ENTRY>().0.iter().map(Entry::parse).collect();
        let checked = table.iter().map(|_| AtomicBool::new(false)).collect();
        let bytes = if len <= mapped { Bytes::Mapped(Map::open(&file).map_err(io)?) } else { Bytes::Read(file) };
        Ok(CodesFile { path: path.to_owned(), bytes, header, table, checked })
    }

    /// Whether the file was made of this base for this metric.
    pub(super) fn belongs(&self, base: &dyn Source, metric: Metric) -> Result<()> {
        let h = &self.header;
        let stale = |what: String| Err(Error::format(&self.path, format!("{what}; prepare the codes anew, or remove the file")));
        if (h.n, h.d) != (base.len(), base.dim()) {
            let (n, d) = (base.len(), base.dim());
            return stale(format!("stale codes: of {} x {} values where {} has {n} x {d}", h.n, h.d, base.name()));
        }
        if h.fingerprint != base.fingerprint() {
            return stale(format!("stale codes: {} has changed since they were made, or is another file", base.name()));
        }
        if h.metric != metric {
            return stale(format!("codes for {} where {metric} is asked for", h.metric));
        }
        Ok(())
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Whether every row of the chunk must be compared.
    pub(super) fn extreme(&self, i: u64) -> bool {
        self.table[i as usize].extreme
    }

    /// Bytes that a thread needs to visit chunks.
    pub(super) fn buffer(&self) -> usize {
        if matches!(self.bytes, Bytes::Mapped(_)) { 0 } else { self.header.chunk_bytes(self.header.chunk) + 64 }
    }

    /// Chunk `i`, its bytes checked once.
    pub(super) fn chunk<'a>(&'a self, i: u64, buffer: &'a mut Vec<u8>) -> Result<Codes8Ref<'a>> {
        let (h, rows, entry) = (&self.header, self.header.rows(i), &self.table[i as usize]);
        let (at, len) = (h.offset(i), h.chunk_bytes(rows));
        let bytes = match &self.bytes {
            Bytes::Mapped(map) => &map[at as usize..][..len],
            Bytes::Read(file) => {
                buffer.resize(self.buffer(), 0);
                let skip = buffer.as_ptr().align_offset(64);
                let out = &mut buffer[skip..skip + len];
                read_at(file, out, at).map_err(|e| Error::io(&self.path, e))?;
                out
            }
        };
        if !self.checked[i as usize].load(Ordering::Relaxed) {
            if xxh3_64(bytes) != entry.digest {
                return Err(damaged(&self.path, &format!("the codes of rows {} and following", i * h.chunk as u64)));
            }
            self.checked[i as usize].store(true, Ordering::Relaxed);
        }
        let (panels, facts) = bytes.split_at(Codes8Ref::panel_bytes(rows, h.d));
        let column = |c: usize| -> &[f32] { bytemuck::cast_slice(&facts[c * array(rows)..][..4 * rows]) };
        let (bias, scale, error) = (column(0), column(1), column(2));
        let parts = Parts8 { panels, bias, scale, error, reach: entry.reach, height: entry.height, exact: entry.bytes };
        Ok(Codes8Ref::from_parts(h.d, key_of(h.metric), parts).expect("lengths follow from the header"))
    }
}

fn read_at(file: &File, out: &mut [u8], at: u64) -> std::io::Result<()> {
    use std::io::{Read, Seek, SeekFrom};
    #[cfg(unix)]
    return std::os::unix::fs::FileExt::read_exact_at(file, out, at);
    #[allow(unreachable_code)]
    {
        let mut file = file.try_clone()?;
        file.seek(SeekFrom::Start(at))?;
        file.read_exact(out)
    }
}
