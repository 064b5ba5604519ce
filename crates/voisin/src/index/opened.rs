//! An index as it is on disk at one moment: manifest, model, segments and what is deleted in them.

use super::deleted::Deleted;
use super::filter::Filter;
use super::kept::{Budget, Kept};
use super::manifest::{IdKind, Manifest, SEGMENTS};
use super::model::Model;
use super::segment::{Segment, Shape};
use super::targets::{self, Calibration};
use super::{disk, many, model};
use crate::encode::Codec;
use crate::{Error, Result, Spec, Watch};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A segment with its deletions.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) segment: Segment,
    pub(super) deleted: Deleted,
    /// 8-bit codes of vectors that are stored as they are.
    pub(super) kept: Kept,
}

/// A folder of an index, and what its manifest says.
#[derive(Debug)]
pub(super) struct Folder {
    pub(super) dir: PathBuf,
    pub(super) manifest: Manifest,
    /// Where its segments stand in [`Opened::parts`].
    pub(super) parts: std::ops::Range<usize>,
}

#[derive(Debug)]
pub(super) struct Opened {
    /// The first folder.
    pub(super) dir: PathBuf,
    /// Of all folders together.
    pub(super) manifest: Manifest,
    pub(super) spec: Spec,
    pub(super) model: Arc<Model>,
    pub(super) calibration: Option<Calibration>,
    pub(super) parts: Vec<Part>,
    /// What the kept codes of all parts may take.
    pub(super) budget: Budget,
    /// One, unless several are searched as one.
    pub(super) folders: Vec<Folder>,
}

/// What the index learned reads as part of it: `opened.partition`, `opened.codec`.
impl Deref for Opened {
    type Target = Model;

    fn deref(&self) -> &Model {
        &self.model
    }
}

/// A vector's place: part and row.
pub(super) type Place = (usize, usize);

impl Opened {
    pub(super) fn open(dir: &Path) -> Result<Opened> {
        Opened::open_beside(dir, None)
    }

    /// Opens a folder; beside one that is open already it must be of the same model, which is then shared.
    pub(super) fn open_beside(dir: &Path, first: Option<&Opened>) -> Result<Opened> {
        let mut manifest = Manifest::load(dir)?;
        loop {
            let missing = match Opened::with_model(dir, manifest.clone(), first) {
                Err(e @ Error::Io { .. }) => e,
                done => return done,
            };
            // a writer may have replaced the manifest and removed the files that the old one named
            let now = Manifest::load(dir)?;
            if now.generation == manifest.generation {
                return Err(missing);
            }
            manifest = now;
        }
    }

    pub(super) fn with(dir: &Path, manifest: Manifest) -> Result<Opened> {
        Opened::with_model(dir, manifest, None)
    }

    fn with_model(dir: &Path, manifest: Manifest, first: Option<&Opened>) -> Result<Opened> {
        let spec = manifest.parsed_spec()?;
        let model = match first {
            Some(first) => {
                many::same(first, dir, &manifest)?;
                Arc::clone(&first.model)
            }
            None => Arc::new(model::load(dir, &manifest.model, &spec, manifest.metric, manifest.d)?),
        };
        let (shape, folder) = (shape(&manifest, &spec), dir.join(SEGMENTS));
        let mut parts = Vec::with_capacity(manifest.segments.len());
        for entry in &manifest.segments {
            let segment = Segment::open(&folder, entry, shape, &model)?;
            let deleted = entry.deleted.as_ref().map(|d| Deleted::load(&folder, d, entry.rows)).transpose()?;
            let kept = if matches!(model.codec, Codec::Flat) { Kept::new(segment.runs().len()) } else { Kept::nothing() };
            parts.push(Part { segment, deleted: deleted.unwrap_or_default(), kept });
        }
        let calibration = manifest.calibration.as_ref().map(|entry| Calibration::load(dir, entry)).transpose()?;
        let folders = vec![Folder { dir: dir.to_owned(), manifest: manifest.clone(), parts: 0..parts.len() }];
        let budget = Budget::of_memory();
        Ok(Opened { dir: dir.to_owned(), manifest, spec, model, calibration, parts, budget, folders })
    }

    pub(super) fn shape(&self) -> Shape {
        shape(&self.manifest, &self.spec)
    }

    /// Where a number lives; the newest segment wins.
    pub(super) fn find(&self, id: u64) -> Result<Option<Place>> {
        self.search_parts(|s| s.find(id))
    }

    /// Where a string lives.
    pub(super) fn find_string(&self, id: &str) -> Result<Option<Place>> {
        self.search_parts(|s| s.find_string(id))
    }

    fn search_parts(&self, find: impl Fn(&Segment) -> Result<Option<usize>>) -> Result<Option<Place>> {
        for (p, part) in self.parts.iter().enumerate().rev() {
            if let Some(row) = find(&part.segment)?
                && !part.deleted.contains(row)
            {
                return Ok(Some((p, row)));
            }
        }
        Ok(None)
    }

    /// Refuses string ids that stand in two segments, in one pass over their sorted tables.
    pub(super) fn refuse_twins(&self, watch: &dyn Watch) -> Result<()> {
        let string = |part: usize, at: usize| {
            let segment = &self.parts[part].segment;
            if at < segment.rows() { segment.string_at(at).map(|s| Some(s.0)) } else { Ok(None) }
        };
        let mut heap = BinaryHeap::new();
        for part in 0..self.parts.len() {
            heap.extend(string(part, 0)?.map(|s| Reverse((s, part, 0usize))));
        }
        watch.begin("ids", self.manifest.n, "vectors");
        let mut before: Option<(&str, usize)> = None;
        while let Some(Reverse((id, part, at))) = heap.pop() {
            if before.is_some_and(|b| b.0 == id) {
                let name = |p: usize| self.manifest.segments[p].at.file.clone();
                let other = before.map_or(part, |b| b.1);
                let what = format!("stands twice: in {} and in {}", name(other), name(part));
                return Err(Error::Id { id: id.to_owned(), what });
            }
            if at.is_multiple_of(1 << 16) {
                watch.check()?;
                watch.advance((at as u64).min(1 << 16));
            }
            before = Some((id, part));
            heap.extend(string(part, at + 1)?.map(|s| Reverse((s, part, at + 1))));
        }
        watch.end();
        Ok(())
    }

    /// Gives back the memory of what was read of the segments.
    pub(super) fn release(&self) {
        self.parts.iter().for_each(|p| p.segment.blocks.release());
    }

    pub(super) fn ids(&self) -> IdKind {
        self.manifest.ids
    }

    /// Vectors a list, without the deleted ones.
    pub(super) fn list_sizes(&self) -> Vec<u64> {
        (0..self.spec.nlist()).map(|list| self.list_size(list, None)).collect()
    }

    /// Vectors of a list that may be found: without the deleted ones, and those that a filter leaves out.
    pub(super) fn list_size(&self, list: usize, filter: Option<&Filter>) -> u64 {
        let rows =
            self.parts.iter().enumerate().map(|(i, p)| (filter.map_or(&p.deleted, |f| f.part(i)), p.segment.rows_of(list)));
        rows.map(|(skip, r)| r.len() as u64 - skip.within(r)).sum()
    }
}

pub(super) fn shape(manifest: &Manifest, spec: &Spec) -> Shape {
    Shape { d: manifest.d, nlist: spec.nlist(), metric: manifest.metric, ids: manifest.ids }
}

/// Files in an index folder that are ours by their name but that `keep` does not name.
pub(super) fn leftovers(dir: &Path, keep: &[String]) -> Vec<PathBuf> {
    let keep: HashSet<&str> = keep.iter().map(String::as_str).collect();
    let mut found = Vec::new();
    for (folder, prefix) in [(dir.to_owned(), ""), (dir.join(SEGMENTS), "segments/")] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let ours = if prefix.is_empty() {
                name.ends_with(disk::TEMPORARY)
                    || (name.starts_with("model") && name.ends_with(".vsn"))
                    || targets::is_file(&name)
            } else {
                name.ends_with(disk::TEMPORARY) || name.ends_with(".vsn") || name.contains(".del.")
            };
            if ours && !keep.contains(format!("{prefix}{name}").as_str()) {
                found.push(entry.path());
            }
        }
    }
    found.sort_unstable();
    found
}

/// Removes what killed runs left behind. Only under the lock.
pub(super) fn clean(dir: &Path, keep: &[String]) -> Result<()> {
    leftovers(dir, keep).iter().try_for_each(|path| disk::remove_file(path))
}
