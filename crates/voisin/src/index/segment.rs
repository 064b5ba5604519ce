//! A segment: an immutable file of vectors, list by list, with their ids.
//!
//! | block | content |
//! |---|---|
//! | `meta` | u64 rows, d, lists, runs, whether ids are strings, metric (0 l2, 1 ip, 2 cosine) |
//! | `lists` | u32 first run of each list, and the number of runs |
//! | `runs` | a run is at most [`RUN`] rows of one list: [`Run`] |
//! | `ids` | u64 a row |
//! | `facts` | f32 a row: squared norm (l2), 1 / norm (cosine); none for ip |
//! | `vectors` | f32, d a row |
//! | `order` | u32 rows by ascending id |
//! | `text`, `ends`, `sorted` | string ids: UTF-8, u64 end of each, u32 rows by ascending string |
//!
//! `meta`, `lists` and `runs` are checked when a segment is opened; a run at its first visit, the look-up tables at their
//! first use.

use super::blocks::Blocks;
use super::manifest::{IdKind, SegmentEntry};
use crate::{Error, Metric, Result};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use xxhash_rust::xxh3::Xxh3;

pub(super) const MAGIC: &[u8; 8] = b"VSNSEGMT";
pub(super) const META: &[u8; 8] = b"meta\0\0\0\0";
pub(super) const LISTS: &[u8; 8] = b"lists\0\0\0";
pub(super) const RUNS: &[u8; 8] = b"runs\0\0\0\0";
pub(super) const IDS: &[u8; 8] = b"ids\0\0\0\0\0";
pub(super) const FACTS: &[u8; 8] = b"facts\0\0\0";
pub(super) const VECTORS: &[u8; 8] = b"vectors\0";
pub(super) const ORDER: &[u8; 8] = b"order\0\0\0";
pub(super) const TEXT: &[u8; 8] = b"text\0\0\0\0";
pub(super) const ENDS: &[u8; 8] = b"ends\0\0\0\0";
pub(super) const SORTED: &[u8; 8] = b"sorted\0\0";

/// Most rows of a run: what is compared and checksummed at once.
pub(super) const RUN: usize = 1024;

/// Rows of one list that follow each other.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Run {
    pub(super) start: u64,
    /// xxh3 of the rows' ids, facts and vectors, in this order.
    pub(super) hash: u64,
    pub(super) rows: u32,
    /// Largest norm, rounded up.
    pub(super) reach: f32,
    /// 1: norms are so large or small that f32 cannot compare the rows.
    pub(super) extreme: u32,
    pub(super) zero: u32,
}

impl Run {
    pub(super) fn range(&self) -> Range<usize> {
        self.start as usize..self.start as usize + self.rows as usize
    }
}

/// How a file says under which metric its facts were computed.
pub(super) fn metric_code(metric: Metric) -> u64 {
    match metric {
        Metric::L2 => 0,
        Metric::Ip => 1,
        Metric::Cosine => 2,
    }
}

/// The fact of a row, from its squared norm.
pub(super) fn fact(metric: Metric, norm_squared: f64) -> f32 {
    match metric {
        Metric::L2 => norm_squared as f32,
        Metric::Ip => 0.0,
        Metric::Cosine => (1.0 / norm_squared.sqrt()) as f32,
    }
}

/// Facts kept a row under a metric.
pub(super) fn has_facts(metric: Metric) -> bool {
    metric != Metric::Ip
}

pub(super) fn run_hash(ids: &[u64], facts: &[f32], vectors: &[f32]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(bytemuck::cast_slice(ids));
    hash.update(bytemuck::cast_slice(facts));
    hash.update(bytemuck::cast_slice(vectors));
    hash.digest()
}

/// A segment opened for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) blocks: Blocks,
    rows: usize,
    d: usize,
    metric: Metric,
    ids: IdKind,
    sound: Vec<AtomicBool>,
    order_checked: OnceLock<bool>,
    strings_checked: OnceLock<bool>,
}

/// What every segment of an index shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) d: usize,
    pub(super) nlist: usize,
    pub(super) metric: Metric,
    pub(super) ids: IdKind,
}

impl Segment {
    /// Opens a segment; cost: its list table, not its vectors.
    pub(super) fn open(folder: &Path, entry: &SegmentEntry, shape: Shape) -> Result<Segment> {
        let path = folder.join(&entry.at.file);
        let blocks = Blocks::open_known(&path, MAGIC, entry.at.bytes, entry.at.digest.0)?;
        let wrong = |what: &str| Error::corrupt(&path, what);
        let meta: &[u64] = blocks.checked_values(META, 6)?;
        let strings = (shape.ids == IdKind::Strings) as u64;
        let (rows, runs) = (meta[0], meta[3]);
        let same = [entry.rows, shape.d as u64, shape.nlist as u64, runs, strings, metric_code(shape.metric)];
        if meta != same || rows > u32::MAX as u64 || runs > rows {
            return Err(wrong("it does not fit the manifest"));
        }
        let lists: &[u32] = blocks.checked_values(LISTS, shape.nlist as u64 + 1)?;
        let runs: &[Run] = blocks.checked_values(RUNS, runs)?;
        let mut end = 0;
        for r in runs {
            if r.start != end || r.rows == 0 || r.rows as usize > RUN {
                return Err(wrong("its runs do not follow each other"));
            }
            end += r.rows as u64;
        }
        let ascending = lists.windows(2).all(|w| w[0] <= w[1]);
        if end != rows || lists[0] != 0 || lists[shape.nlist] as usize != runs.len() || !ascending {
            return Err(wrong("its lists do not follow each other"));
        }
        let facts = if has_facts(shape.metric) { rows } else { 0 };
        blocks.values::<u64>(IDS, rows)?;
        blocks.values::<f32>(FACTS, facts)?;
        blocks.values::<f32>(VECTORS, rows.checked_mul(shape.d as u64).ok_or_else(|| wrong("too large"))?)?;
        blocks.values::<u32>(ORDER, rows)?;
        if shape.ids == IdKind::Strings {
            blocks.values::<u64>(ENDS, rows)?;
            blocks.values::<u32>(SORTED, rows)?;
            blocks.unchecked(TEXT)?;
        }
        let sound = runs.iter().map(|_| AtomicBool::new(false)).collect();
        Ok(Segment {
            rows: rows as usize,
            d: shape.d,
            metric: shape.metric,
            ids: shape.ids,
            sound,
            order_checked: OnceLock::new(),
            strings_checked: OnceLock::new(),
            blocks,
        })
    }

    /// Number of rows, deleted ones included.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The block's values; its length was checked when the segment was opened.
    fn block<T: bytemuck::AnyBitPattern>(&self, tag: &[u8; 8]) -> &[T] {
        bytemuck::cast_slice(self.blocks.unchecked(tag).expect("checked by open"))
    }

    pub(super) fn runs(&self) -> &[Run] {
        self.block(RUNS)
    }

    /// Runs of a list.
    pub(super) fn runs_of(&self, list: usize) -> Range<usize> {
        let lists: &[u32] = self.block(LISTS);
        lists[list] as usize..lists[list + 1] as usize
    }

    /// Rows of a list; they follow each other.
    pub(super) fn rows_of(&self, list: usize) -> Range<usize> {
        let runs = &self.runs()[self.runs_of(list)];
        match (runs.first(), runs.last()) {
            (Some(first), Some(last)) => first.range().start..last.range().end,
            _ => 0..0,
        }
    }

    /// Content of run `r`, its checksum compared at the first visit.
    pub(super) fn visit(&self, r: usize) -> Result<Rows<'_>> {
        let run = &self.runs()[r];
        let range = run.range();
        let ids = &self.block::<u64>(IDS)[range.clone()];
        let facts = if has_facts(self.metric) { &self.block::<f32>(FACTS)[range.clone()] } else { &[] };
        let vectors = &self.block::<f32>(VECTORS)[range.start * self.d..range.end * self.d];
        if !self.sound[r].load(Relaxed) {
            let found = run_hash(ids, facts, vectors);
            if found != run.hash {
                let what = format!("vectors {}..{}: checksum {found:016x}, expected {:016x}", range.start, range.end, run.hash);
                return Err(Error::corrupt(self.blocks.path(), what));
            }
            self.sound[r].store(true, Relaxed);
        }
        Ok(Rows { run, ids, facts, vectors })
    }

    /// The id and the vector of a row, checked.
    pub(super) fn row(&self, row: usize) -> Result<(u64, &[f32])> {
        let r = self.runs().partition_point(|r| r.start <= row as u64).saturating_sub(1);
        let rows = self.visit(r)?;
        let i = row - rows.run.start as usize;
        Ok((rows.ids[i], &rows.vectors[i * self.d..(i + 1) * self.d]))
    }

    /// The vector of a row whose run was visited before.
    pub(super) fn vector(&self, row: usize) -> &[f32] {
        &self.block::<f32>(VECTORS)[row * self.d..(row + 1) * self.d]
    }

    /// The id of a row whose run was visited before.
    pub(super) fn id(&self, row: usize) -> u64 {
        self.block::<u64>(IDS)[row]
    }

    /// All ids, in the order of the rows, checked.
    pub(super) fn ids(&self) -> Result<&[u64]> {
        self.order()?;
        Ok(self.block(IDS))
    }

    fn once(&self, cell: &OnceLock<bool>, tags: &[&[u8; 8]]) -> Result<()> {
        if cell.get() != Some(&true) {
            tags.iter().try_for_each(|tag| self.blocks.checked(tag).map(|_| ()))?;
            let _ = cell.set(true);
        }
        Ok(())
    }

    fn order(&self) -> Result<&[u32]> {
        self.once(&self.order_checked, &[ORDER, IDS])?;
        Ok(self.block(ORDER))
    }

    fn lookup_is_wrong(&self) -> Error {
        Error::corrupt(self.blocks.path(), "a look-up table points outside the rows")
    }

    /// The row of a number.
    pub(super) fn find(&self, id: u64) -> Result<Option<usize>> {
        let (order, ids) = (self.order()?, self.block::<u64>(IDS));
        let at = order.partition_point(|&r| ids.get(r as usize).is_some_and(|&x| x < id));
        match order.get(at) {
            None => Ok(None),
            Some(&r) => match ids.get(r as usize) {
                None => Err(self.lookup_is_wrong()),
                Some(&x) => Ok((x == id).then_some(r as usize)),
            },
        }
    }

    /// The string of a row; `None` where ids are numbers.
    pub(super) fn string(&self, row: usize) -> Result<Option<&str>> {
        if self.ids == IdKind::Numbers {
            return Ok(None);
        }
        self.once(&self.strings_checked, &[TEXT, ENDS, SORTED])?;
        let (text, ends) = (self.block::<u8>(TEXT), self.block::<u64>(ENDS));
        let start = if row == 0 { 0 } else { ends[row - 1] };
        let bytes = text.get(start as usize..ends[row] as usize).ok_or_else(|| self.lookup_is_wrong())?;
        std::str::from_utf8(bytes).map(Some).map_err(|_| Error::corrupt(self.blocks.path(), format!("string {row} is no UTF-8")))
    }

    /// The row of a string.
    pub(super) fn find_string(&self, id: &str) -> Result<Option<usize>> {
        if self.ids == IdKind::Numbers {
            return Ok(None);
        }
        self.once(&self.strings_checked, &[TEXT, ENDS, SORTED])?;
        let sorted = self.block::<u32>(SORTED);
        let (mut low, mut high) = (0, sorted.len());
        while low < high {
            let mid = (low + high) / 2;
            let row = sorted[mid] as usize;
            if row >= self.rows {
                return Err(self.lookup_is_wrong());
            }
            match self.string(row)?.unwrap_or_default().cmp(id) {
                std::cmp::Ordering::Less => low = mid + 1,
                std::cmp::Ordering::Greater => high = mid,
                std::cmp::Ordering::Equal => return Ok(Some(row)),
            }
        }
        Ok(None)
    }
}

/// Content of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) run: &'a Run,
    pub(super) ids: &'a [u64],
    pub(super) facts: &'a [f32],
    pub(super) vectors: &'a [f32],
}
