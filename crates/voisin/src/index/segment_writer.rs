//! Writing a segment: the codes list after list, then, where candidates are refined, the refine records in the same order.

use super::blocks::BlockWriter;
use super::manifest::{Digest, FileEntry, IdKind, SegmentEntry};
use super::model::Model;
use super::segment::*;
use crate::{Error, Metric, Result, StringIds};
use rayon::prelude::*;
use std::ops::Range;
use std::path::Path;
use voisin_kernels::dot_f64;
use xxhash_rust::xxh3::xxh3_64;

/// Beyond these norms f32 products lose too much or overflow; such runs are compared in f64.
const LARGEST: f64 = 1e15;
const SMALLEST: f64 = 1e-15;

/// Bytes of records that are laid out together.
const TOGETHER: usize = 4 << 20;

/// A run as it is written, and what is said of it.
struct Packed {
    run: Vec<u8>,
    facts: Vec<f32>,
    reach: f32,
    fine: bool,
    hash: u64,
}

/// Receives rows in the order of their lists and writes them as a segment. Memory: a few runs, and the ids.
pub(super) struct SegmentWriter<'a> {
    out: BlockWriter,
    file: String,
    shape: Shape,
    model: &'a Model,
    code_bytes: usize,
    refine_bytes: usize,
    lists: Vec<u32>,
    runs: Vec<Run>,
    ids: Vec<u64>,
    facts: Vec<f32>,
    strings: StringIds,
    /// Records of rows that are not written yet.
    pending: Vec<u8>,
    /// List and rows of each run among them that is complete.
    waiting: Vec<(usize, usize)>,
    /// Rows of the run that is not.
    open: usize,
    written: usize,
    /// Bytes of codes written.
    at: usize,
    /// Checksums of the refine records written.
    sums: Vec<u64>,
}

impl<'a> SegmentWriter<'a> {
    pub(super) fn create(folder: &Path, file: String, shape: Shape, model: &'a Model) -> Result<SegmentWriter<'a>> {
        let strings = if shape.ids == IdKind::Strings { 3 } else { 0 };
        let mut out = BlockWriter::create(&folder.join(&file), MAGIC, 7 + 2 * model.refine.is_some() as usize + strings)?;
        out.begin(CODES)?;
        let [code_bytes, refine_bytes] = record_bytes(model, shape.d);
        Ok(SegmentWriter {
            out,
            file,
            shape,
            model,
            code_bytes,
            refine_bytes,
            lists: vec![0],
            runs: Vec::new(),
            ids: Vec::new(),
            facts: Vec::new(),
            strings: StringIds::default(),
            pending: Vec::new(),
            waiting: Vec::new(),
            open: 0,
            written: 0,
            at: 0,
            sums: Vec::new(),
        })
    }

    /// Room for so many rows, and no more than that.
    pub(super) fn reserve(&mut self, rows: usize) {
        self.ids.reserve_exact(rows);
        self.facts.reserve_exact(if has_facts(self.shape.metric, self.model) { rows } else { 0 });
    }

    /// Appends a row of the current list; `string` where ids are strings.
    pub(super) fn push(&mut self, id: u64, record: &[u8], string: Option<&str>) -> Result<()> {
        if self.ids.len() as u64 == u32::MAX as u64 {
            return Err(Error::param("segment-rows", "more than 2^32", "at most 4,294,967,295 rows a segment"));
        }
        self.ids.push(id);
        self.pending.extend_from_slice(record);
        if let (IdKind::Strings, Some(s)) = (self.shape.ids, string) {
            self.strings.push(s);
        }
        self.open += 1;
        if self.open == RUN { self.end_run() } else { Ok(()) }
    }

    /// Ends the current list and begins the next.
    pub(super) fn next_list(&mut self) -> Result<()> {
        self.end_run()?;
        self.lists.push((self.runs.len() + self.waiting.len()) as u32);
        Ok(())
    }

    fn end_run(&mut self) -> Result<()> {
        if self.open > 0 {
            self.waiting.push((self.lists.len() - 1, self.open));
            self.open = 0;
        }
        if self.pending.len() >= TOGETHER { self.write_runs() } else { Ok(()) }
    }

    /// Lays out the runs that wait, side by side, and writes them one after the other.
    fn write_runs(&mut self) -> Result<()> {
        let mut places = Vec::with_capacity(self.waiting.len());
        let (mut row, mut byte) = (self.written, 0);
        for &(list, rows) in &self.waiting {
            places.push((list, row..row + rows, byte));
            (row, byte) = (row + rows, byte + rows * self.code_bytes);
        }
        let this = &*self;
        let packed: Vec<Packed> = places
            .par_iter()
            .map_init(Vec::new, |decoded, (list, rows, byte)| this.pack(*list, rows.clone(), *byte, decoded))
            .collect();
        for ((_, rows, _), p) in places.iter().zip(packed) {
            let start = self.at.next_multiple_of(ALIGN);
            self.runs.push(Run {
                start: rows.start as u64,
                codes: start as u64,
                hash: p.hash,
                rows: rows.len() as u32,
                reach: p.reach,
                extreme: !p.fine as u32,
                zero: 0,
            });
            self.facts.extend_from_slice(&p.facts);
            self.out.put(&[0; ALIGN][..start - self.at])?;
            self.out.put(&p.run)?;
            self.at = start + p.run.len();
        }
        self.written = row;
        self.waiting.clear();
        self.pending.clear();
        Ok(())
    }

    /// A run of a list, whose records begin at a byte of those that wait.
    fn pack(&self, list: usize, rows: Range<usize>, byte: usize, decoded: &mut Vec<f32>) -> Packed {
        let d = self.model.code_d(self.shape.d);
        let records = &self.pending[byte..byte + rows.len() * self.code_bytes];
        let mut run = vec![0; self.model.codec.run_bytes(d, rows.len())];
        self.model.codec.pack(records, rows.len(), &mut run);
        let (facts, reach, fine) = self.measure(list, rows.len(), &run, decoded);
        let hash = run_hash(&self.ids[rows], &facts, &run);
        Packed { run, facts, reach, fine, hash }
    }

    /// Facts of a run as it decodes, its largest norm, and whether f32 can compare its rows.
    fn measure(&self, list: usize, rows: usize, run: &[u8], decoded: &mut Vec<f32>) -> (Vec<f32>, f32, bool) {
        let (model, metric, d) = (self.model, self.shape.metric, self.model.code_d(self.shape.d));
        if !model.codec.decodes() {
            return (vec![], 0.0, true);
        }
        decoded.resize(rows * d, 0.0);
        model.codec.decode(run, model.centre(list), decoded);
        let norms: Vec<f64> = decoded.par_chunks(d).with_min_len(64).map(|r| dot_f64(r, r)).collect();
        let some = has_facts(metric, model);
        let facts = if some { norms.iter().map(|&n| fact(metric, n)).collect() } else { vec![] };
        let largest = norms.iter().copied().fold(0.0, f64::max).sqrt();
        let smallest = norms.iter().copied().fold(f64::INFINITY, f64::min).sqrt();
        // the negation catches NaN too, which only a caller that skipped screening could bring
        let fine = largest <= LARGEST && (metric != Metric::Cosine || smallest >= SMALLEST);
        (facts, (largest as f32).next_up(), fine)
    }

    /// Ends the codes; the refine records follow, in the order of the rows.
    pub(super) fn begin_refine(&mut self) -> Result<()> {
        self.end_codes()?;
        self.out.begin(REFINE)
    }

    fn end_codes(&mut self) -> Result<()> {
        while self.lists.len() <= self.shape.nlist {
            self.next_list()?;
        }
        self.write_runs()?;
        self.out.end();
        Ok(())
    }

    /// Appends the refine record of the next row.
    pub(super) fn push_refine(&mut self, record: &[u8]) -> Result<()> {
        self.pending.extend_from_slice(record);
        if self.pending.len() == rows_a_sum(self.refine_bytes) * self.refine_bytes { self.end_sum() } else { Ok(()) }
    }

    fn end_sum(&mut self) -> Result<()> {
        self.sums.push(xxh3_64(&self.pending));
        self.out.put(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Finishes the file after the last list, or after the last refine record.
    pub(super) fn finish(mut self) -> Result<SegmentEntry> {
        if self.model.refine.is_some() {
            if !self.pending.is_empty() {
                self.end_sum()?;
            }
            assert_eq!(self.sums.len(), self.ids.len().div_ceil(rows_a_sum(self.refine_bytes)), "a refine record a row");
            self.out.end();
            self.out.block(SUMS, bytemuck::cast_slice(&self.sums))?;
        } else {
            self.end_codes()?;
        }
        let rows = self.ids.len();
        self.out.block(IDS, bytemuck::cast_slice(&self.ids))?;
        self.out.block(FACTS, bytemuck::cast_slice(&self.facts))?;
        let strings = self.shape.ids == IdKind::Strings;
        let shape = &self.shape;
        let (kind, metric) = (strings as usize, metric_code(shape.metric) as usize);
        let meta = [rows, shape.d, shape.nlist, self.runs.len(), kind, metric, self.code_bytes, self.refine_bytes];
        self.out.block(META, bytemuck::cast_slice(&meta.map(|x| x as u64)))?;
        self.out.block(LISTS, bytemuck::cast_slice(&self.lists))?;
        self.out.block(RUNS, bytemuck::cast_slice(&self.runs))?;
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.par_sort_unstable_by_key(|&r| self.ids[r as usize]);
        self.out.block(ORDER, bytemuck::cast_slice(&order))?;
        if strings {
            self.write_strings(order)?;
        }
        let (bytes, digest) = self.out.finish()?;
        Ok(SegmentEntry { at: FileEntry { file: self.file, bytes, digest: Digest(digest) }, rows: rows as u64, deleted: None })
    }

    fn write_strings(&mut self, mut order: Vec<u32>) -> Result<()> {
        let s = &self.strings;
        assert_eq!(s.len(), self.ids.len(), "a string a row");
        order.par_sort_unstable_by(|&a, &b| s.get(a as usize).cmp(s.get(b as usize)));
        self.out.begin(TEXT)?;
        s.iter().try_for_each(|x| self.out.put(x.as_bytes()))?;
        self.out.end();
        let mut end = 0;
        let ends: Vec<u64> = s
            .iter()
            .map(|x| {
                end += x.len() as u64;
                end
            })
            .collect();
        self.out.block(ENDS, bytemuck::cast_slice(&ends))?;
        self.out.block(SORTED, bytemuck::cast_slice(&order))
    }
}
