//! Rows of a source into segments, resumably: what building and adding share.
//!
//! A journal (`journal.json`) names the finished files of a change that is under way. A run that finds the journal of
//! the same work goes on after its last segment; the journal of other work is dropped with its files.

use super::blocks::Blocks;
use super::manifest::{Digest, FileEntry, IdKind, SEGMENTS, SegmentEntry, seal, unseal};
use super::params::Seconds;
use super::segment::{self, Shape};
use super::segment_writer::SegmentWriter;
use super::{disk, opened};
use crate::partition::Partition;
use crate::{Error, Matrix, Metric, OnBad, Result, Source, StringIds, Vectors, Watch, screen};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use std::time::Instant;
use voisin_kernels::dot_f64;

pub(super) const JOURNAL: &str = "journal.json";

/// What is finished of a change.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// Identifies the work: inputs and parameters.
    pub(super) key: Option<Digest>,
    /// Generation that the change leads to.
    pub(super) generation: u64,
    pub(super) model: Option<FileEntry>,
    pub(super) segments: Vec<SegmentEntry>,
    /// First row of the source that is not stored.
    pub(super) next_row: u64,
    pub(super) skipped: u64,
    pub(super) trained_on: u64,
}

impl Journal {
    /// The journal of earlier, unfinished work of the same key, its files checked; a new one otherwise.
    pub(super) fn resume(dir: &Path, key: u64, generation: u64) -> Journal {
        let fresh = Journal { key: Some(Digest(key)), generation, ..Default::default() };
        let Ok(bytes) = std::fs::read(dir.join(JOURNAL)) else { return fresh };
        let Ok(found) = unseal::<Journal>(&bytes) else { return fresh };
        let sound = |path: &Path, magic, e: &FileEntry| {
            Blocks::open_known(path, magic, e.bytes, e.digest.0).is_ok_and(|b| b.check_all().is_empty())
        };
        let files_are_sound = found.model.iter().all(|m| sound(&dir.join(&m.file), super::model::MAGIC, m))
            && found.segments.iter().all(|s| sound(&dir.join(SEGMENTS).join(&s.at.file), segment::MAGIC, &s.at));
        if found.key == fresh.key && found.generation == generation && files_are_sound { found } else { fresh }
    }

    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        disk::write_file(&dir.join(JOURNAL), &seal(self))
    }

    pub(super) fn files(&self) -> Vec<String> {
        let segments = self.segments.iter().map(|s| format!("{SEGMENTS}/{}", s.at.file));
        self.model.iter().map(|m| m.file.clone()).chain(segments).collect()
    }

    /// Forgets a change that is complete or was given up, and removes all files that are not part of the index.
    pub(super) fn end(dir: &Path, keep: &[String]) -> Result<()> {
        disk::remove_file(&dir.join(JOURNAL))?;
        opened::clean(dir, keep)
    }
}

/// The ids of the rows of a source.
#[derive(Debug)]
pub(super) enum RowIds {
    /// `first + row`.
    Count { first: u64 },
    /// One number a row.
    Numbers(Vec<u64>),
    /// One string a row, and the number that stands for it.
    Strings { strings: StringIds, numbers: Vec<u64> },
}

impl RowIds {
    pub(super) fn kind(&self) -> IdKind {
        if matches!(self, RowIds::Strings { .. }) { IdKind::Strings } else { IdKind::Numbers }
    }

    pub(super) fn number(&self, row: u64) -> u64 {
        match self {
            RowIds::Count { first } => first + row,
            RowIds::Numbers(n) | RowIds::Strings { numbers: n, .. } => n[row as usize],
        }
    }

    fn string(&self, row: u64) -> Option<&str> {
        match self {
            RowIds::Strings { strings, .. } => Some(strings.get(row as usize)),
            _ => None,
        }
    }

    /// One after the largest number that `rows` rows use.
    pub(super) fn next(&self, rows: u64) -> u64 {
        match self {
            RowIds::Count { first } => first + rows,
            RowIds::Numbers(n) | RowIds::Strings { numbers: n, .. } => n.iter().max().map_or(0, |m| m + 1),
        }
    }
}

/// Rows held in memory, without those that cannot be ranked.
#[derive(Debug)]
pub(super) struct Loaded {
    pub(super) rows: Matrix,
    /// Row of the source of each.
    pub(super) numbers: Vec<u64>,
}

/// Reads a range of a source into memory.
pub(super) fn load(source: &dyn Source, range: Range<u64>, metric: Metric, on_bad: OnBad, watch: &dyn Watch) -> Result<Loaded> {
    let d = source.dim();
    let n = (range.end - range.start) as usize;
    let mut rows = Matrix::zeros(n, d);
    let step = ((16 << 20) / (4 * d)).max(1);
    let mut at = range.start;
    for block in rows.data_mut().chunks_mut(step * d) {
        watch.check()?;
        source.read(at, block)?;
        at += (block.len() / d) as u64;
        watch.advance((block.len() / d) as u64);
    }
    let pieces: Vec<_> = rows.data().par_chunks(4096 * d).map(|c| screen(Vectors::new(c, d), metric)).collect();
    let bad = pieces.into_iter().enumerate().flat_map(|(p, bad)| bad.into_iter().map(move |(i, what)| (p * 4096 + i, what)));
    let bad: Vec<_> = bad.collect();
    if let (OnBad::Error, Some(&(i, what))) = (on_bad, bad.first()) {
        let (name, row) = source.locate(range.start + i as u64);
        return Err(Error::BadRow { name, row, what });
    }
    let mut numbers: Vec<u64> = range.collect();
    if !bad.is_empty() {
        let mut out: Vec<bool> = vec![false; n];
        bad.iter().for_each(|b| out[b.0] = true);
        let good = (0..n).filter(|&i| !out[i]);
        let mut data = rows.into_data();
        let mut to = 0;
        for i in good {
            data.copy_within(i * d..(i + 1) * d, to * d);
            to += 1;
        }
        data.truncate(to * d);
        rows = Matrix::new(data, d);
        let mut skip = out.into_iter();
        numbers.retain(|_| !skip.next().expect("one a row"));
    }
    Ok(Loaded { rows, numbers })
}

/// The rows as the partition wants them: of unit length under cosine.
pub(super) fn directed(rows: Vectors<'_>, metric: Metric) -> Cow<'_, [f32]> {
    if metric != Metric::Cosine {
        return Cow::Borrowed(rows.data());
    }
    let mut out = Matrix::zeros(rows.n(), rows.d()).into_data();
    out.par_chunks_mut(rows.d()).zip(rows.data().par_chunks(rows.d())).for_each(|(to, from)| {
        let norm = dot_f64(from, from).sqrt();
        let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        to.iter_mut().zip(from).for_each(|(t, &f)| *t = (f as f64 * inverse) as f32);
    });
    Cow::Owned(out)
}

/// Work on the rows of a source.
pub(super) struct Job<'a> {
    pub(super) dir: &'a Path,
    pub(super) source: &'a dyn Source,
    /// The whole source where it is in memory.
    pub(super) whole: Option<&'a Loaded>,
    pub(super) partition: &'a Partition,
    pub(super) shape: Shape,
    pub(super) ids: &'a RowIds,
    pub(super) on_bad: OnBad,
    pub(super) segment_rows: u64,
}

impl Job<'_> {
    /// Stores the rows that the journal does not have yet, a segment at a time.
    pub(super) fn run(&self, journal: &mut Journal, seconds: &mut Seconds, watch: &dyn Watch) -> Result<()> {
        let n = self.source.len();
        watch.begin("store", n, "vectors");
        watch.advance(journal.next_row);
        match self.whole {
            Some(whole) => {
                while journal.next_row < n {
                    let range = self.next(journal);
                    let at = |row| whole.numbers.partition_point(|&x| x < row);
                    let part = at(range.start)..at(range.end);
                    let rows = whole.rows.view().rows(part.clone());
                    self.store(range, rows, &whole.numbers[part], journal, seconds, watch)?;
                }
            }
            None => self.run_streamed(journal, seconds, watch)?,
        }
        watch.end();
        Ok(())
    }

    fn next(&self, journal: &Journal) -> Range<u64> {
        journal.next_row..self.source.len().min(journal.next_row + self.segment_rows)
    }

    /// The rows of the next segment are read while those of the last are stored.
    fn run_streamed(&self, journal: &mut Journal, seconds: &mut Seconds, watch: &dyn Watch) -> Result<()> {
        let (first, n) = (journal.next_row, self.source.len());
        std::thread::scope(|scope| {
            let (send, receive) = std::sync::mpsc::sync_channel(0);
            scope.spawn(move || {
                for start in (first..n).step_by(self.segment_rows as usize) {
                    let range = start..n.min(start + self.segment_rows);
                    let read = load(self.source, range, self.shape.metric, self.on_bad, &crate::Quiet);
                    let failed = read.is_err();
                    if send.send(read).is_err() || failed {
                        return;
                    }
                }
            });
            while journal.next_row < n {
                let start = Instant::now();
                let read = receive.recv().expect("the reader sends every segment or an error")?;
                seconds.read += start.elapsed().as_secs_f64();
                self.store(self.next(journal), read.rows.view(), &read.numbers, journal, seconds, watch)?;
            }
            Ok(())
        })
    }

    fn store(
        &self,
        range: Range<u64>,
        rows: Vectors<'_>,
        numbers: &[u64],
        journal: &mut Journal,
        seconds: &mut Seconds,
        watch: &dyn Watch,
    ) -> Result<()> {
        watch.check()?;
        journal.skipped += (range.end - range.start) - numbers.len() as u64;
        if !numbers.is_empty() {
            let lists = self.assign(rows, seconds);
            watch.check()?;
            let start = Instant::now();
            let file = format!("{:05}-{:04}.vsn", journal.generation, journal.segments.len());
            journal.segments.push(self.write(file, rows, numbers, &lists)?);
            seconds.write += start.elapsed().as_secs_f64();
        }
        journal.next_row = range.end;
        let start = Instant::now();
        journal.save(self.dir)?;
        seconds.write += start.elapsed().as_secs_f64();
        watch.advance(range.end - range.start);
        Ok(())
    }

    fn assign(&self, rows: Vectors<'_>, seconds: &mut Seconds) -> Vec<u32> {
        let mut lists = Vec::with_capacity(rows.n());
        for from in (0..rows.n()).step_by(1 << 16) {
            let block = rows.rows(from..(from + (1 << 16)).min(rows.n()));
            let start = Instant::now();
            let directed = match self.partition {
                Partition::One => Cow::Borrowed(block.data()),
                _ => directed(block, self.shape.metric),
            };
            seconds.encode += start.elapsed().as_secs_f64();
            let start = Instant::now();
            lists.extend(self.partition.assign(Vectors::new(&directed, rows.d())));
            seconds.assign += start.elapsed().as_secs_f64();
        }
        lists
    }

    fn write(&self, file: String, rows: Vectors<'_>, numbers: &[u64], lists: &[u32]) -> Result<SegmentEntry> {
        let nlist = self.shape.nlist;
        let mut starts = vec![0usize; nlist + 1];
        lists.iter().for_each(|&l| starts[l as usize + 1] += 1);
        for l in 0..nlist {
            starts[l + 1] += starts[l];
        }
        let (mut order, mut at) = (vec![0u32; lists.len()], starts.clone());
        for (row, &l) in lists.iter().enumerate() {
            order[at[l as usize]] = row as u32;
            at[l as usize] += 1;
        }
        let mut w = SegmentWriter::create(&self.dir.join(SEGMENTS), file, self.shape)?;
        for l in 0..nlist {
            for &row in &order[starts[l]..starts[l + 1]] {
                let source_row = numbers[row as usize];
                w.push(self.ids.number(source_row), rows.row(row as usize), self.ids.string(source_row))?;
            }
            w.next_list()?;
        }
        w.finish()
    }
}

/// Rows of a segment: what is asked for, or what fits 1 GiB or an eighth of the memory limit.
///
/// Where rows are streamed, two segments are in memory.
pub(super) fn segment_rows(asked: Option<u64>, d: usize, memory_limit: Option<u64>) -> Result<u64> {
    match asked {
        Some(0) => Err(Error::param("segment-rows", 0, "at least 1")),
        Some(n) => Ok(n.min(u32::MAX as u64)),
        None => {
            let bytes = memory_limit.map_or(1 << 30, |l| (l / 8).min(1 << 30));
            Ok((bytes / (4 * d as u64)).max(1024))
        }
    }
}
