//! Rows of a data set as f32 blocks.

use std::sync::{Arc, Mutex};

use rayon::prelude::*;
use voisin::{Metric, Result, Source, StringIds};

use super::chunks::ChunkMap;
use super::store::Store;
use super::tree::Found;
use super::{H5, strings};
use crate::{Elem, Layout, RawSource, spec_name};

/// The decompressed chunks of a band.
type Band = Arc<Vec<Vec<u8>>>;

/// A data set of n vectors of an HDF5 file.
pub(crate) struct H5Source {
    file: H5,
    found: Found,
    elem: Elem,
    big_endian: bool,
    n: u64,
    d: usize,
    values: Values,
}

enum Values {
    Memory(Vec<u8>),
    File(RawSource),
    Chunks {
        map: Box<ChunkMap>,
        /// Bands that the last block used only in part, so that the next one need not decompress them again.
        cache: Mutex<Vec<(u64, Band)>>,
    },
}

impl H5Source {
    /// Finds the values of `found`, which must be (n, d) numbers.
    pub fn new(file: H5, found: Found) -> Result<H5Source> {
        let (Some((elem, big_endian)), &[n, d]) = (found.elem, found.dataset.shape()) else {
            return Err(file.error(&found.name, "no n x d table of numbers"));
        };
        let d =
            usize::try_from(d).ok().filter(|&d| d > 0).ok_or_else(|| file.error(&found.name, format!("rows of {d} values")))?;
        let values = match Store::find(&file, &found.dataset, elem.size())? {
            Store::Compact(bytes) => Values::Memory(bytes),
            Store::Contiguous(offset) => {
                let layout = Layout { big_endian, ..Layout::rows(offset, n, d, elem) };
                Values::File(RawSource::new(file.raw.clone(), layout, found.name.clone())?)
            }
            Store::Chunked(map) => Values::Chunks { map, cache: Mutex::new(Vec::new()) },
        };
        Ok(H5Source { file, found, elem, big_endian, n, d, values })
    }

    fn read_chunked(&self, map: &ChunkMap, cache: &Mutex<Vec<(u64, Band)>>, start: u64, out: &mut [f32]) -> Result<()> {
        let mut parts = Vec::new(); // (band, its first row that is wanted, where the rows go)
        let (mut row, mut rest) = (start, out);
        while !rest.is_empty() {
            let (band, skip) = (row / map.rows, row % map.rows);
            let take = (map.rows - skip).min((rest.len() / self.d) as u64);
            let (part, others) = rest.split_at_mut(take as usize * self.d);
            parts.push((band, skip, part));
            (row, rest) = (row + take, others);
        }
        let kept: Vec<(u64, Band)> = cache.lock().unwrap_or_else(|e| e.into_inner()).clone();
        let keep = parts
            .into_par_iter()
            .map(|(band, skip, part)| {
                let chunks = match kept.iter().find(|(b, _)| *b == band) {
                    Some((_, chunks)) => chunks.clone(),
                    None => Arc::new(map.band(&self.file, band)?),
                };
                self.scatter(map, &chunks, skip as usize, part);
                let end = band * map.rows + skip + (part.len() / self.d) as u64;
                let more = end < self.n && !end.is_multiple_of(map.rows);
                Ok(more.then_some((band, chunks)))
            })
            .collect::<Result<Vec<_>>>()?;
        *cache.lock().unwrap_or_else(|e| e.into_inner()) = keep.into_iter().flatten().collect();
        Ok(())
    }

    /// Copies rows of a band from its chunks, which lie side by side.
    fn scatter(&self, map: &ChunkMap, chunks: &[Vec<u8>], skip: usize, out: &mut [f32]) {
        let (size, width) = (self.elem.size(), map.width as usize);
        if chunks.len() == 1 && width == self.d {
            let at = skip * self.d * size;
            return self.elem.decode(&chunks[0][at..at + out.len() * size], self.big_endian, out);
        }
        for (i, row) in out.chunks_exact_mut(self.d).enumerate() {
            for (chunk, values) in chunks.iter().zip(row.chunks_mut(width)) {
                let at = (skip + i) * width * size;
                self.elem.decode(&chunk[at..at + values.len() * size], self.big_endian, values);
            }
        }
    }
}

impl Source for H5Source {
    fn len(&self) -> u64 {
        self.n
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        spec_name(self.file.path(), &self.found.name)
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        match &self.values {
            Values::Memory(bytes) => {
                let (size, at) = (self.elem.size(), start as usize * self.d);
                self.elem.decode(&bytes[at * size..(at + out.len()) * size], self.big_endian, out);
                Ok(())
            }
            Values::File(raw) => raw.read(start, out),
            Values::Chunks { map, cache } => self.read_chunked(map, cache, start, out),
        }
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        strings::beside(&self.file, &self.found)
    }

    fn metric(&self) -> Option<Metric> {
        self.file.metric()
    }

    fn made_by(&self) -> Option<String> {
        self.file.attribute("made_by")
    }

    fn fingerprint(&self) -> u64 {
        self.file.raw.fingerprint(&self.found.name)
    }

    fn overhead(&self, rows: usize) -> u64 {
        match &self.values {
            Values::Memory(_) => 0,
            Values::File(raw) => raw.overhead(rows),
            Values::Chunks { map, .. } => {
                let bands = (rows as u64).div_ceil(map.rows).min(rayon::current_num_threads() as u64);
                // of each band in work the bytes before and after decompression, and one band kept for the next block
                (2 * bands + 1).saturating_mul(map.band_bytes())
            }
        }
    }
}

/// All bytes of a data set of one or two axes, as they are in the file.
pub(crate) fn stored_bytes(file: &H5, found: &Found, elem_size: usize) -> Result<Vec<u8>> {
    let store = Store::find(file, &found.dataset, elem_size)?;
    let shape = found.dataset.shape();
    let (n, width) = (shape.first().copied().unwrap_or(1), shape.get(1).copied().unwrap_or(1) as usize);
    let row_bytes = width * elem_size;
    let map = match store {
        Store::Compact(bytes) => return Ok(bytes),
        Store::Contiguous(start) => return file.raw.bytes(start, n * row_bytes as u64),
        Store::Chunked(map) => map,
    };
    let mut out = vec![0; n as usize * row_bytes];
    let stored = map.width as usize * elem_size;
    for (band, rows) in out.chunks_mut(map.rows as usize * row_bytes).enumerate() {
        let chunks = map.band(file, band as u64)?;
        for (i, row) in rows.chunks_exact_mut(row_bytes).enumerate() {
            for (chunk, piece) in chunks.iter().zip(row.chunks_mut(stored)) {
                piece.copy_from_slice(&chunk[i * stored..i * stored + piece.len()]);
            }
        }
    }
    Ok(out)
}
