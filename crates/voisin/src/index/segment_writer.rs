//! Writing a segment, list after list.

use super::blocks::BlockWriter;
use super::manifest::{Digest, FileEntry, IdKind, SegmentEntry};
use super::segment::*;
use crate::{Error, Metric, Result, StringIds};
use rayon::prelude::*;
use std::path::Path;
use voisin_kernels::dot_f64;

/// Beyond these norms f32 products lose too much or overflow; such runs are compared in f64.
const LARGEST: f64 = 1e15;
const SMALLEST: f64 = 1e-15;

/// Receives rows in the order of their lists and writes them as a segment.
pub(super) struct SegmentWriter {
    out: BlockWriter,
    file: String,
    shape: Shape,
    lists: Vec<u32>,
    runs: Vec<Run>,
    ids: Vec<u64>,
    facts: Vec<f32>,
    strings: StringIds,
    /// Vectors of the run that is not full yet.
    pending: Vec<f32>,
    written: usize,
}

impl SegmentWriter {
    pub(super) fn create(folder: &Path, file: String, shape: Shape) -> Result<SegmentWriter> {
        let blocks = if shape.ids == IdKind::Strings { 10 } else { 7 };
        let mut out = BlockWriter::create(&folder.join(&file), MAGIC, blocks)?;
        out.begin(VECTORS)?;
        Ok(SegmentWriter {
            out,
            file,
            shape,
            lists: vec![0],
            runs: Vec::new(),
            ids: Vec::new(),
            facts: Vec::new(),
            strings: StringIds::default(),
            pending: Vec::with_capacity(RUN * shape.d),
            written: 0,
        })
    }

    /// Appends a row of the current list; `string` where ids are strings.
    pub(super) fn push(&mut self, id: u64, vector: &[f32], string: Option<&str>) -> Result<()> {
        if self.ids.len() as u64 == u32::MAX as u64 {
            return Err(Error::param("segment-rows", "more than 2^32", "at most 4,294,967,295 rows a segment"));
        }
        self.ids.push(id);
        self.pending.extend_from_slice(vector);
        if let (IdKind::Strings, Some(s)) = (self.shape.ids, string) {
            self.strings.push(s);
        }
        if self.pending.len() == RUN * self.shape.d { self.end_run() } else { Ok(()) }
    }

    /// Ends the current list and begins the next.
    pub(super) fn next_list(&mut self) -> Result<()> {
        self.end_run()?;
        self.lists.push(self.runs.len() as u32);
        Ok(())
    }

    fn end_run(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        let (d, metric) = (self.shape.d, self.shape.metric);
        let norms: Vec<f64> = self.pending.par_chunks(d).with_min_len(64).map(|r| dot_f64(r, r)).collect();
        if has_facts(metric) {
            self.facts.extend(norms.iter().map(|&n| fact(metric, n)));
        }
        let largest = norms.iter().copied().fold(0.0, f64::max).sqrt();
        let smallest = norms.iter().copied().fold(f64::INFINITY, f64::min).sqrt();
        // the negation catches NaN too, which only a caller that skipped screening could bring
        let fine = largest <= LARGEST && (metric != Metric::Cosine || smallest >= SMALLEST);
        let facts = if has_facts(metric) { &self.facts[self.written..] } else { &[] };
        self.runs.push(Run {
            start: self.written as u64,
            hash: run_hash(&self.ids[self.written..], facts, &self.pending),
            rows: norms.len() as u32,
            reach: (largest as f32).next_up(),
            extreme: !fine as u32,
            zero: 0,
        });
        self.written += norms.len();
        self.out.put(bytemuck::cast_slice(&self.pending))?;
        self.pending.clear();
        Ok(())
    }

    /// Finishes the file after the last list.
    pub(super) fn finish(mut self) -> Result<SegmentEntry> {
        while self.lists.len() <= self.shape.nlist {
            self.next_list()?;
        }
        let rows = self.ids.len();
        self.out.end();
        self.out.block(IDS, bytemuck::cast_slice(&self.ids))?;
        self.out.block(FACTS, bytemuck::cast_slice(&self.facts))?;
        let strings = self.shape.ids == IdKind::Strings;
        let shape = &self.shape;
        let meta = [rows, shape.d, shape.nlist, self.runs.len(), strings as usize, metric_code(shape.metric) as usize];
        self.out.block(META, bytemuck::cast_slice(&meta.map(|x| x as u64)))?;
        self.out.block(LISTS, bytemuck::cast_slice(&self.lists))?;
        self.out.block(RUNS, bytemuck::cast_slice(&self.runs))?;
        let mut order: Vec<u32> = (0..rows as u32).collect();
        order.par_sort_unstable_by_key(|&r| self.ids[r as usize]);
        self.out.block(ORDER, bytemuck::cast_slice(&order))?;
        if strings {
            assert_eq!(self.strings.len(), rows, "a string a row");
            let s = &self.strings;
            order.par_sort_unstable_by(|&a, &b| s.get(a as usize).cmp(s.get(b as usize)));
            self.out.begin(TEXT)?;
            (0..rows).try_for_each(|i| self.out.put(s.get(i).as_bytes()))?;
            self.out.end();
            let ends: Vec<u64> = s
                .iter()
                .scan(0, |end, x| {
                    *end += x.len() as u64;
                    Some(*end)
                })
                .collect();
            self.out.block(ENDS, bytemuck::cast_slice(&ends))?;
            self.out.block(SORTED, bytemuck::cast_slice(&order))?;
        }
        let (bytes, digest) = self.out.finish()?;
        Ok(SegmentEntry { at: FileEntry { file: self.file, bytes, digest: Digest(digest) }, rows: rows as u64, deleted: None })
    }
}
