//! Rows of a source and their ids, and the journal: what building and adding share.
//!
//! A journal (`journal.json`) names the finished files of a change that is under way. A run that finds the journal of
//! the same work goes on after its last segment; the journal of other work is dropped with its files.

use super::blocks::Blocks;
use super::job::Read;
use super::manifest::{Digest, FileEntry, IdKind, SEGMENTS, SegmentEntry, seal, unseal};
use super::{disk, opened, segment};
use crate::{Error, Matrix, Metric, OnBad, Result, Source, StringIds, Vectors, Watch, screen};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::ops::Range;
use std::path::Path;
use voisin_kernels::dot_f64;

pub(super) const JOURNAL: &str = "journal.json";

/// What is finished of a change, or of a part of a build.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Journal {
    /// Name of its file in the folder of the index.
    #[serde(skip)]
    pub(super) file: String,
    /// Identifies the work: inputs and parameters.
    pub(super) key: Option<Digest>,
    /// Generation that the change leads to.
    pub(super) generation: u64,
    pub(super) model: Option<FileEntry>,
    /// Number of the first segment, where parts before this one have others.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub(super) first_segment: u64,
    pub(super) segments: Vec<SegmentEntry>,
    /// First row of the source that is not stored.
    pub(super) next_row: u64,
    pub(super) skipped: u64,
    pub(super) trained_on: u64,
    /// Of a part: the files that the finished rows came from, as they were then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(super) inputs: Vec<Read>,
}

impl Journal {
    /// Nothing is finished.
    pub(super) fn begin(file: &str, key: u64, generation: u64) -> Journal {
        Journal { file: file.to_owned(), key: Some(Digest(key)), generation, ..Default::default() }
    }

    /// The journal of earlier, unfinished work of the same key, its files checked; a new one otherwise.
    pub(super) fn resume(dir: &Path, key: u64, generation: u64) -> Journal {
        Journal::resume_file(dir, JOURNAL, key, generation)
    }

    /// As [`Journal::resume`], from a file of another name.
    pub(super) fn resume_file(dir: &Path, file: &str, key: u64, generation: u64) -> Journal {
        let fresh = Journal::begin(file, key, generation);
        let Ok(bytes) = std::fs::read(dir.join(file)) else { return fresh };
        let Ok(found) = unseal::<Journal>(&bytes) else { return fresh };
        let sound = |problem: Result<Option<Error>>| matches!(problem, Ok(None));
        let files_are_sound = found.model.iter().all(|m| sound(model_problem(dir, m, true)))
            && found.segments.iter().all(|s| sound(segment_problem(dir, s, true)));
        if found.key == fresh.key && found.generation == generation && files_are_sound {
            Journal { file: fresh.file, ..found }
        } else {
            fresh
        }
    }

    /// The journal in the bytes of its file.
    pub(super) fn parse(bytes: &[u8]) -> Option<Journal> {
        unseal(bytes).ok()
    }

    pub(super) fn save(&self, dir: &Path) -> Result<()> {
        disk::write_file(&dir.join(&self.file), &seal(self))
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

fn is_zero(x: &u64) -> bool {
    *x == 0
}

/// The first thing that is wrong with the file of a model; all of it is read only where `all` is asked for.
pub(super) fn model_problem(dir: &Path, e: &FileEntry, all: bool) -> Result<Option<Error>> {
    problem(&dir.join(&e.file), super::model::MAGIC, e, all)
}

/// The first thing that is wrong with the file of a segment.
pub(super) fn segment_problem(dir: &Path, e: &SegmentEntry, all: bool) -> Result<Option<Error>> {
    problem(&dir.join(SEGMENTS).join(&e.at.file), segment::MAGIC, &e.at, all)
}

fn problem(path: &Path, magic: &[u8; 8], e: &FileEntry, all: bool) -> Result<Option<Error>> {
    let blocks = Blocks::open_known(path, magic, e.bytes, e.digest.0)?;
    Ok(if all { blocks.check_all().into_iter().next() } else { None })
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

    pub(super) fn string(&self, row: u64) -> Option<&str> {
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
    let room = vec![0.0; (range.end - range.start) as usize * source.dim()];
    load_in(room, source, range, metric, on_bad, false, watch)
}

/// As [`load`], in memory that was used before: new memory costs as much as reading. With `unit` the rows are brought to unit
/// length at once.
pub(super) fn load_in(
    mut room: Vec<f32>,
    source: &dyn Source,
    range: Range<u64>,
    metric: Metric,
    on_bad: OnBad,
    unit: bool,
    watch: &dyn Watch,
) -> Result<Loaded> {
    let d = source.dim();
    let n = (range.end - range.start) as usize;
    room.resize(n * d, 0.0);
    let mut rows = Matrix::new(room, d);
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
    if unit {
        rows.data_mut().par_chunks_mut(d).with_min_len(64).for_each(to_unit);
    }
    Ok(Loaded { rows, numbers })
}

/// The rows as the partition wants them: of unit length under cosine.
pub(super) fn directed(rows: Vectors<'_>, metric: Metric) -> Cow<'_, [f32]> {
    if metric != Metric::Cosine {
        return Cow::Borrowed(rows.data());
    }
    let mut out = vec![0.0; rows.data().len()];
    direct(rows, &mut out);
    Cow::Owned(out)
}

/// Rows at unit length.
pub(super) fn direct(rows: Vectors<'_>, out: &mut [f32]) {
    out.par_chunks_mut(rows.d()).zip(rows.data().par_chunks(rows.d())).with_min_len(64).for_each(|(to, from)| {
        to.copy_from_slice(from);
        to_unit(to);
    });
}

/// Brings a row to unit length; a zero row stays.
pub(super) fn to_unit(row: &mut [f32]) {
    let norm = dot_f64(row, row).sqrt();
    let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
    row.iter_mut().for_each(|x| *x = (*x as f64 * inverse) as f32);
}
