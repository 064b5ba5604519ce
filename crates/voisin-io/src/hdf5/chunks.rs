//! Chunked data sets: where each chunk is, and how a band of chunks is decompressed.
//!
//! A *band* is one row of chunks: all chunks that hold the same rows. The index is read once, so that a block of rows
//! finds its chunks without walking a B-tree again.

use hdf5_reader::chunk_index::{self, ChunkEntry};
use hdf5_reader::filters::{FilterRegistry, apply_pipeline_with_limit};
use hdf5_reader::messages::filter_pipeline::FilterDescription;
use hdf5_reader::messages::layout::ChunkIndexing;
use hdf5_reader::{Dataset, btree_v1, extensible_array, fixed_array};
use rayon::prelude::*;
use voisin::Result;

use super::{H5, lzf, parse};

const LZF: u16 = 32000;
/// DEFLATE, the densest filter, expands at most 1032 times; with some room for headers.
const MOST_EXPANSION: u64 = 1100;

/// Where a chunk lies in the file.
#[derive(Clone, Copy)]
struct Slot {
    index: u64, // band * columns + column
    start: u64,
    size: u64,
    filter_mask: u32,
}

/// All chunks of a data set.
pub(crate) struct ChunkMap {
    /// Rows of a chunk.
    pub rows: u64,
    /// Elements of a chunk's row.
    pub width: u64,
    /// Chunks side by side.
    pub columns: u64,
    slots: Vec<Slot>, // every (band, column), in order
    chunk_bytes: usize,
    elem_size: usize,
    filters: Vec<FilterDescription>,
    registry: FilterRegistry,
    name: String,
}

impl ChunkMap {
    /// Reads the chunk index. A chunk that was never written is an error: its rows would be made of fill values.
    pub fn load(
        file: &H5,
        dataset: &Dataset,
        address: u64,
        dims: &[u32],
        indexing: Option<&ChunkIndexing>,
        filters: Vec<FilterDescription>,
        elem_size: usize,
    ) -> Result<ChunkMap> {
        let bad = |what: String| file.error(dataset.name(), what);
        let shape = dataset.shape();
        if dims.len() != shape.len() || dims.is_empty() || dims.len() > 2 || dims.contains(&0) {
            return Err(bad(format!("chunks of {dims:?} do not fit its shape {shape:?}")));
        }
        let (rows, width) = (dims[0] as u64, dims.get(1).map_or(1, |&w| w as u64));
        let (n, d) = (shape[0], shape.get(1).copied().unwrap_or(1));
        let columns = d.div_ceil(width);
        let chunk_bytes = rows.saturating_mul(width).saturating_mul(elem_size as u64);

        let mut entries = parse(file.path(), || entries(file, dataset, address, dims, indexing, elem_size))?;
        // a shrunk data set may keep chunks that are wholly outside its extent
        entries.retain(|e| e.offsets.len() >= dims.len() && e.offsets[0] < n && (dims.len() == 1 || e.offsets[1] < d));
        let mut slots = Vec::with_capacity(entries.len());
        for e in &entries {
            let column = if dims.len() == 2 { e.offsets[1] / width } else { 0 };
            let index = (e.offsets[0] / rows).checked_mul(columns).and_then(|b| b.checked_add(column));
            let size = if e.size == 0 { chunk_bytes } else { e.size };
            let start = file.base.checked_add(e.address);
            match (index, start, start.and_then(|s| s.checked_add(size))) {
                (Some(index), Some(start), Some(end)) if end <= file.raw.len() => {
                    slots.push(Slot { index, start, size, filter_mask: e.filter_mask });
                }
                _ => return Err(bad(format!("the chunk at {:?} lies beyond the end of the file (truncated?)", e.offsets))),
            }
        }
        slots.sort_unstable_by_key(|s| s.index);
        let wanted = n.div_ceil(rows).checked_mul(columns);
        let gap = slots.iter().enumerate().find(|(i, s)| s.index != *i as u64).map(|(i, _)| i).unwrap_or(slots.len());
        if wanted != Some(gap as u64) {
            let row = (gap as u64 / columns).saturating_mul(rows);
            return Err(bad(format!("the chunk of row {row} was never written (or is listed twice)")));
        }
        let stored: u64 = slots.iter().map(|s| s.size).sum();
        let largest = slots.iter().map(|s| s.size).max().unwrap_or(0);
        let total = n.saturating_mul(d).saturating_mul(elem_size as u64);
        if total > stored.saturating_mul(MOST_EXPANSION) || chunk_bytes > largest.saturating_mul(MOST_EXPANSION) {
            return Err(bad(format!("{stored} stored bytes cannot hold its shape {shape:?}")));
        }
        let chunk_bytes = usize::try_from(chunk_bytes).map_err(|_| bad("chunks too large".into()))?;
        let (name, registry) = (dataset.name().to_owned(), registry(chunk_bytes));
        Ok(ChunkMap { rows, width, columns, slots, chunk_bytes, elem_size, filters, registry, name })
    }

    /// Bytes of one band, decompressed.
    pub fn band_bytes(&self) -> u64 {
        self.chunk_bytes as u64 * self.columns
    }

    /// The decompressed chunks of a band, left to right.
    pub fn band(&self, file: &H5, band: u64) -> Result<Vec<Vec<u8>>> {
        let at = (band * self.columns) as usize;
        let slots = &self.slots[at..at + self.columns as usize];
        slots.par_iter().map(|slot| self.chunk(file, slot)).collect()
    }

    fn chunk(&self, file: &H5, slot: &Slot) -> Result<Vec<u8>> {
        let stored = file.raw.bytes(slot.start, slot.size)?;
        let all_skipped = self.filters.iter().enumerate().all(|(i, _)| i < 32 && slot.filter_mask >> i & 1 == 1);
        let bytes = if all_skipped {
            stored
        } else {
            let limit = Some(self.chunk_bytes + 1);
            parse(file.path(), || {
                apply_pipeline_with_limit(&stored, &self.filters, slot.filter_mask, self.elem_size, Some(&self.registry), limit)
            })?
        };
        if bytes.len() != self.chunk_bytes {
            let row = slot.index / self.columns * self.rows;
            let what = format!("the chunk of row {row} has {} bytes where {} are expected", bytes.len(), self.chunk_bytes);
            return Err(file.error(&self.name, what));
        }
        Ok(bytes)
    }

    /// "chunked 1024x384, gzip + shuffle".
    pub fn describe(&self) -> String {
        let names: Vec<String> = self.filters.iter().rev().map(filter_name).collect();
        let comma = if names.is_empty() { "" } else { ", " };
        format!("chunked {}x{}{comma}{}", self.rows, self.width, names.join(" + "))
    }
}

fn filter_name(f: &FilterDescription) -> String {
    match f.id {
        1 => "gzip".into(),
        2 => "shuffle".into(),
        3 => "fletcher32".into(),
        4 => "szip".into(),
        5 => "nbit".into(),
        6 => "scaleoffset".into(),
        LZF => "lzf".into(),
        32004 => "lz4".into(),
        id => format!("filter {id}"),
    }
}

/// The filters of the library and LZF, which it leaves to its users.
fn registry(chunk_bytes: usize) -> FilterRegistry {
    let mut registry = FilterRegistry::new();
    registry.register(
        LZF,
        Box::new(move |_, input, _| {
            lzf::decompress(input, chunk_bytes)
                .ok_or_else(|| hdf5_reader::error::Error::DecompressionError("damaged LZF stream".into()))
        }),
    );
    registry
}

fn entries(
    file: &H5,
    dataset: &Dataset,
    address: u64,
    dims: &[u32],
    indexing: Option<&ChunkIndexing>,
    elem_size: usize,
) -> hdf5_reader::error::Result<Vec<ChunkEntry>> {
    let (storage, shape) = (file.file.storage(), dataset.shape());
    let superblock = file.file.superblock();
    let (offsets, lengths) = (superblock.offset_size, superblock.length_size);
    if hdf5_reader::io::Cursor::is_undefined_offset(address, offsets) {
        return Ok(Vec::new());
    }
    match indexing {
        None => {
            let rank = Some(dims.len() as u32);
            let leaves = btree_v1::collect_btree_v1_leaves_storage(storage, address, offsets, lengths, rank, dims, None)?;
            Ok(leaves
                .into_iter()
                .filter_map(|(key, address)| match key {
                    btree_v1::BTreeV1Key::RawData { chunk_size, filter_mask, offsets } => {
                        Some(ChunkEntry { address, size: chunk_size as u64, filter_mask, offsets })
                    }
                    _ => None,
                })
                .collect())
        }
        Some(ChunkIndexing::SingleChunk { filtered_size, filters }) => {
            Ok(vec![chunk_index::single_chunk_entry(address, *filtered_size, *filters, dims.len())])
        }
        Some(ChunkIndexing::BTreeV2) => {
            chunk_index::collect_v2_chunk_entries_storage(storage, address, offsets, lengths, dims.len() as u32, dims, None)
        }
        Some(ChunkIndexing::Implicit) => {
            chunk_index::collect_implicit_chunk_entries(address, shape, dims, elem_size, None, storage.len())
        }
        Some(ChunkIndexing::FixedArray { .. }) => {
            fixed_array::collect_fixed_array_chunk_entries_storage(storage, address, offsets, lengths, shape, dims, None)
        }
        Some(ChunkIndexing::ExtensibleArray { .. }) => extensible_array::collect_extensible_array_chunk_entries_storage(
            storage,
            address,
            offsets,
            lengths,
            shape,
            dataset.max_dims(),
            dims,
            None,
        ),
    }
}
