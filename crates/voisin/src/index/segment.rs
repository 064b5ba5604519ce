//! A segment: an immutable file of codes, list by list, with their ids and, where candidates are refined, vectors.
//!
//! | block | content |
//! |---|---|
//! | `codes` | run by run, each at a multiple of 64 bytes, as the code lays a run out; for `Flat` f32, d a row |
//! | `refine` | a record a row, only where the spec refines |
//! | `sums` | u64 xxh3 of the refine records of each [`rows_a_sum`] rows |
//! | `ids` | u64 a row |
//! | `facts` | f32 a row of the decoded rows: squared norm (l2), 1 / norm (cosine); none for ip and for codes that are not decoded |
//! | `meta` | u64 rows, d, lists, runs, whether ids are strings, metric (0 l2, 1 ip, 2 cosine), bytes a code, bytes a refine record |
//! | `lists` | u32 first run of each list, and the number of runs |
//! | `runs` | a run is at most [`RUN`] rows of one list: [`Run`] |
//! | `order` | u32 rows by ascending id |
//! | `text`, `ends`, `sorted` | string ids: UTF-8, u64 end of each, u32 rows by ascending string |
//!
//! `meta`, `lists` and `runs` are checked when a segment is opened; a run at its first visit, its refine records at
//! theirs, the look-up tables at their first use.

mod lookup;

use super::blocks::Blocks;
use super::manifest::{IdKind, SegmentEntry};
use super::model::Model;
use crate::encode::Codec;
use crate::encode::pq::Pq;
use crate::{Error, Metric, Result};
use bytemuck::{Pod, Zeroable};
use std::ops::Range;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, OnceLock};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

pub(super) const MAGIC: &[u8; 8] = b"VSNSEGMT";
pub(super) const META: &[u8; 8] = b"meta\0\0\0\0";
pub(super) const LISTS: &[u8; 8] = b"lists\0\0\0";
pub(super) const RUNS: &[u8; 8] = b"runs\0\0\0\0";
pub(super) const IDS: &[u8; 8] = b"ids\0\0\0\0\0";
pub(super) const FACTS: &[u8; 8] = b"facts\0\0\0";
pub(super) const CODES: &[u8; 8] = b"codes\0\0\0";
pub(super) const REFINE: &[u8; 8] = b"refine\0\0";
pub(super) const SUMS: &[u8; 8] = b"sums\0\0\0\0";
pub(super) const ORDER: &[u8; 8] = b"order\0\0\0";
pub(super) const TEXT: &[u8; 8] = b"text\0\0\0\0";
pub(super) const ENDS: &[u8; 8] = b"ends\0\0\0\0";
pub(super) const SORTED: &[u8; 8] = b"sorted\0\0";

/// Most rows of a run: what is compared and checksummed at once.
pub(super) const RUN: usize = 1024;
/// The codes of a run begin at a multiple of it.
pub(super) const ALIGN: usize = 64;

/// Rows of one list that follow each other.
#[derive(Clone, Copy, Debug, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Run {
    pub(super) start: u64,
    /// Where in the block its codes begin, in bytes.
    pub(super) codes: u64,
    /// xxh3 of the rows' ids, facts and codes, in this order.
    pub(super) hash: u64,
    pub(super) rows: u32,
    /// Largest norm of a decoded row, rounded up; 0 for codes that are not decoded.
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

/// Whether a fact is kept for each row.
pub(super) fn has_facts(metric: Metric, model: &Model) -> bool {
    metric != Metric::Ip && model.codec.decodes()
}

pub(super) fn run_hash(ids: &[u64], facts: &[f32], codes: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(bytemuck::cast_slice(ids));
    hash.update(bytemuck::cast_slice(facts));
    hash.update(codes);
    hash.digest()
}

/// Rows whose refine records share a checksum: about a page of them, so that one record can be asked for without reading
/// more than what the system fetches anyway.
pub(super) fn rows_a_sum(record_bytes: usize) -> usize {
    (4096 / record_bytes.max(1)).max(1)
}

/// A segment opened for reading.
#[derive(Debug)]
pub(super) struct Segment {
    pub(super) blocks: Blocks,
    model: Arc<Model>,
    spans: Spans,
    rows: usize,
    /// Dimensions of what is coded.
    code_d: usize,
    /// Bytes of a refine record; 0: there are none.
    refine_bytes: usize,
    facts: bool,
    ids: IdKind,
    /// What is added to the numbers in the file: strings of several folders would have the same ones.
    shift: u64,
    sound: Vec<AtomicBool>,
    refine_sound: Vec<AtomicBool>,
    order_checked: OnceLock<bool>,
    strings_checked: OnceLock<bool>,
}

/// Where in the file the blocks stand that every visit of a list needs: looking them up by name costs more than the visit.
#[derive(Debug)]
struct Spans {
    lists: Range<usize>,
    runs: Range<usize>,
    ids: Range<usize>,
    facts: Range<usize>,
    codes: Range<usize>,
    refine: Range<usize>,
    sums: Range<usize>,
}

/// What every segment of an index shares.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shape {
    pub(super) d: usize,
    pub(super) nlist: usize,
    pub(super) metric: Metric,
    pub(super) ids: IdKind,
}

/// Bytes of a record of the code and of the refinement, for vectors of `d` dimensions.
pub(super) fn record_bytes(model: &Model, d: usize) -> [usize; 2] {
    [model.codec.row_bytes(model.code_d(d)), model.refine.row_bytes(d)]
}

impl Segment {
    /// Opens a segment; cost: its list table, not its vectors.
    pub(super) fn open(folder: &Path, entry: &SegmentEntry, shape: Shape, model: &Arc<Model>) -> Result<Segment> {
        let path = folder.join(&entry.at.file);
        let blocks = Blocks::open_known(&path, MAGIC, entry.at.bytes, entry.at.digest.0)?;
        let wrong = |what: &str| Error::corrupt(&path, what);
        let meta: &[u64] = blocks.checked_values(META, 8)?;
        let strings = (shape.ids == IdKind::Strings) as u64;
        let (rows, runs) = (meta[0], meta[3]);
        let [code, refine] = record_bytes(model, shape.d).map(|b| b as u64);
        let same = [entry.rows, shape.d as u64, shape.nlist as u64, runs, strings, metric_code(shape.metric), code, refine];
        if meta != same || rows > u32::MAX as u64 || runs > rows {
            return Err(wrong("it does not fit the manifest"));
        }
        let lists: &[u32] = blocks.checked_values(LISTS, shape.nlist as u64 + 1)?;
        let runs: &[Run] = blocks.checked_values(RUNS, runs)?;
        let code_d = model.code_d(shape.d);
        let (mut end, mut bytes) = (0, 0);
        for r in runs {
            let begin = u64::next_multiple_of(bytes, ALIGN as u64);
            if r.start != end || r.rows == 0 || r.rows as usize > RUN || r.codes != begin {
                return Err(wrong("its runs do not follow each other"));
            }
            end += r.rows as u64;
            bytes = begin + model.codec.run_bytes(code_d, r.rows as usize) as u64;
        }
        let ascending = lists.windows(2).all(|w| w[0] <= w[1]);
        if end != rows || lists[0] != 0 || lists[shape.nlist] as usize != runs.len() || !ascending {
            return Err(wrong("its lists do not follow each other"));
        }
        let facts = has_facts(shape.metric, model);
        let sums = if model.refine.is_some() { (rows as usize).div_ceil(rows_a_sum(refine as usize)) } else { 0 };
        blocks.values::<u64>(IDS, rows)?;
        blocks.values::<f32>(FACTS, if facts { rows } else { 0 })?;
        blocks.values::<u8>(CODES, bytes)?;
        blocks.values::<u32>(ORDER, rows)?;
        if model.refine.is_some() {
            blocks.values::<u8>(REFINE, rows.checked_mul(refine).ok_or_else(|| wrong("too large"))?)?;
            blocks.values::<u64>(SUMS, sums as u64)?;
        }
        if shape.ids == IdKind::Strings {
            blocks.values::<u64>(ENDS, rows)?;
            blocks.values::<u32>(SORTED, rows)?;
            blocks.unchecked(TEXT)?;
        }
        let span = |tag| blocks.span_of(tag);
        let [refine_span, sums_span] = if model.refine.is_some() { [span(REFINE)?, span(SUMS)?] } else { [0..0, 0..0] };
        let spans = Spans {
            lists: span(LISTS)?,
            runs: span(RUNS)?,
            ids: span(IDS)?,
            facts: span(FACTS)?,
            codes: span(CODES)?,
            refine: refine_span,
            sums: sums_span,
        };
        let unseen = |count: usize| (0..count).map(|_| AtomicBool::new(false)).collect();
        Ok(Segment {
            model: Arc::clone(model),
            spans,
            rows: rows as usize,
            code_d,
            refine_bytes: refine as usize,
            facts,
            ids: shape.ids,
            shift: 0,
            sound: unseen(runs.len()),
            refine_sound: unseen(sums),
            order_checked: OnceLock::new(),
            strings_checked: OnceLock::new(),
            blocks,
        })
    }

    /// Adds `by` to the numbers of all rows.
    pub(super) fn shift_ids(&mut self, by: u64) {
        self.shift = by;
    }

    /// Number of rows, deleted ones included.
    pub(super) fn rows(&self) -> usize {
        self.rows
    }

    /// The block's values; its length was checked when the segment was opened.
    fn hot<T: bytemuck::AnyBitPattern>(&self, span: &Range<usize>) -> &[T] {
        bytemuck::cast_slice(self.blocks.span(span))
    }

    /// The block's values; its length was checked when the segment was opened.
    fn block<T: bytemuck::AnyBitPattern>(&self, tag: &[u8; 8]) -> &[T] {
        bytemuck::cast_slice(self.blocks.unchecked(tag).expect("checked by open"))
    }

    pub(super) fn runs(&self) -> &[Run] {
        self.hot(&self.spans.runs)
    }

    /// Runs of a list.
    pub(super) fn runs_of(&self, list: usize) -> Range<usize> {
        let lists: &[u32] = self.hot(&self.spans.lists);
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

    /// Content of run `r` as it is.
    pub(super) fn content(&self, r: usize) -> Rows<'_> {
        let run = &self.runs()[r];
        let range = run.range();
        let ids = &self.hot::<u64>(&self.spans.ids)[range.clone()];
        let facts = if self.facts { &self.hot::<f32>(&self.spans.facts)[range.clone()] } else { &[] };
        let bytes = self.model.codec.run_bytes(self.code_d, range.len());
        let codes = &self.hot::<u8>(&self.spans.codes)[run.codes as usize..][..bytes];
        Rows { run, ids, shift: self.shift, facts, codes }
    }

    /// Content of run `r`, its checksum compared at the first visit.
    pub(super) fn visit(&self, r: usize) -> Result<Rows<'_>> {
        let rows = self.content(r);
        if !self.sound[r].load(Relaxed) {
            self.matches(&rows.run.range(), "codes", run_hash(rows.ids, rows.facts, rows.codes), rows.run.hash)?;
            self.sound[r].store(true, Relaxed);
        }
        Ok(rows)
    }

    /// The refine record of a row; the checksum that it shares is compared at the first visit.
    pub(super) fn visit_refine(&self, row: usize) -> Result<&[u8]> {
        let each = rows_a_sum(self.refine_bytes);
        let sound = &self.refine_sound[row / each];
        if !sound.load(Relaxed) {
            let rows = row / each * each..(row / each * each + each).min(self.rows);
            let records = &self.hot::<u8>(&self.spans.refine)[rows.start * self.refine_bytes..rows.end * self.refine_bytes];
            let expected = self.hot::<u64>(&self.spans.sums)[row / each];
            self.matches(&rows, "refine vectors", xxh3_64(records), expected)?;
            sound.store(true, Relaxed);
        }
        Ok(self.refine_record(row))
    }

    fn matches(&self, range: &Range<usize>, name: &str, found: u64, expected: u64) -> Result<()> {
        if found == expected {
            return Ok(());
        }
        let what = format!("{name} {}..{}: checksum {found:016x}, expected {expected:016x}", range.start, range.end);
        Err(Error::corrupt(self.blocks.path(), what))
    }

    /// The refine record of a row that was visited by [`Segment::visit_refine`] before.
    pub(super) fn refine_record(&self, row: usize) -> &[u8] {
        &self.hot::<u8>(&self.spans.refine)[row * self.refine_bytes..(row + 1) * self.refine_bytes]
    }

    /// The run of a row.
    pub(super) fn run_of(&self, row: usize) -> usize {
        self.runs().partition_point(|r| r.start <= row as u64).saturating_sub(1)
    }

    /// The list of a run.
    pub(super) fn list_of(&self, run: usize) -> usize {
        let lists: &[u32] = self.hot(&self.spans.lists);
        lists.partition_point(|&first| first as usize <= run).saturating_sub(1)
    }

    /// The id of a row, checked.
    pub(super) fn checked_id(&self, row: usize) -> Result<u64> {
        let rows = self.visit(self.run_of(row))?;
        Ok(rows.id(row - rows.run.start as usize))
    }

    /// The vector of a row of plain f32 codes whose run was visited before.
    pub(super) fn vector(&self, row: usize) -> &[f32] {
        let rows = self.content(self.run_of(row));
        let i = row - rows.run.start as usize;
        &rows.vectors()[i * self.code_d..(i + 1) * self.code_d]
    }

    /// What `f` makes of a decoded row of a run that was visited before; `scratch` holds the row where it is not stored
    /// as it is.
    pub(super) fn with_row<T>(&self, run: usize, row: usize, scratch: &mut Vec<f32>, f: impl FnOnce(&[f32]) -> T) -> T {
        let rows = self.content(run);
        if matches!(self.model.codec, Codec::Flat) {
            return f(&rows.vectors()[row * self.code_d..(row + 1) * self.code_d]);
        }
        let mut record = vec![0; self.model.codec.row_bytes(self.code_d)];
        self.model.codec.unpack(self.code_d, rows.codes, rows.ids.len(), row, &mut record);
        scratch.resize(self.code_d, 0.0);
        self.model.codec.read(&record, self.model.centre(self.list_of(run)), scratch);
        f(scratch)
    }

    /// The codewords that the residual of a row of a run consists of, and the centre of its list; the run was visited before.
    pub(super) fn words<'s>(
        &'s self,
        code: &'s Pq,
        run: usize,
        row: usize,
    ) -> (impl Iterator<Item = &'s [f32]>, Option<&'s [f32]>) {
        let rows = self.content(run);
        (code.words_of_run(rows.codes, rows.ids.len(), row), self.model.centre(self.list_of(run)))
    }

    /// The code of a row whose run was visited before.
    pub(super) fn record(&self, row: usize, record: &mut [u8]) {
        let rows = self.content(self.run_of(row));
        let i = row - rows.run.start as usize;
        self.model.codec.unpack(self.code_d, rows.codes, rows.ids.len(), i, record);
    }

    /// The rows of a run that was visited before, decoded; only where the code decodes.
    pub(super) fn decode(&self, r: usize) -> Vec<f32> {
        let rows = self.content(r);
        let mut out = vec![0.0; rows.ids.len() * self.code_d];
        self.model.codec.decode(rows.codes, self.model.centre(self.list_of(r)), &mut out);
        out
    }

    /// The vector of a row as the index keeps it, checked; `None` where it keeps only what cannot be decoded to it.
    pub(super) fn stored(&self, row: usize, d: usize) -> Result<Option<Vec<f32>>> {
        if self.model.refine.is_some() {
            let mut out = vec![0.0; d];
            self.model.refine.decode(self.visit_refine(row)?, &mut out);
            return Ok(Some(out));
        }
        if self.model.changes_rows() || matches!(self.model.codec, Codec::RaBitQ(_)) {
            return Ok(None);
        }
        let r = self.run_of(row);
        let i = row - self.visit(r)?.run.start as usize;
        if self.model.codes_are_vectors() {
            return Ok(Some(self.vector(row).to_vec()));
        }
        Ok(Some(self.with_row(r, i, &mut Vec::new(), <[f32]>::to_vec)))
    }

    /// The id of a row whose run was visited before.
    pub(super) fn id(&self, row: usize) -> u64 {
        self.hot::<u64>(&self.spans.ids)[row].wrapping_add(self.shift)
    }

    /// Where the id of a row stands.
    pub(super) fn id_slot(&self, row: usize) -> &[u64] {
        &self.hot::<u64>(&self.spans.ids)[row..row + 1]
    }
}

/// Content of a run.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rows<'a> {
    pub(super) run: &'a Run,
    /// As they are in the file; [`Rows::id`] is what a row is known by.
    pub(super) ids: &'a [u64],
    shift: u64,
    pub(super) facts: &'a [f32],
    /// As the code lays a run out.
    pub(super) codes: &'a [u8],
}

impl<'a> Rows<'a> {
    /// The id of row `i` of the run.
    pub(super) fn id(&self, i: usize) -> u64 {
        self.ids[i].wrapping_add(self.shift)
    }

    /// The vectors, where the codes are plain f32.
    pub(super) fn vectors(&self) -> &'a [f32] {
        bytemuck::cast_slice(self.codes)
    }
}
