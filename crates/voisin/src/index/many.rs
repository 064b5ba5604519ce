//! Several indexes searched as one: their segments behind one model.
//!
//! What a query finds depends on the rows of the lists it visits, not on the segments or folders they lie in. So indexes of one
//! model are one index with more segments: results come in the total order (distance, id), and are those of one index with all
//! rows. An id stands in one of the folders only. String ids keep their strings; the numbers that stand for them inside are
//! counted on from folder to folder, in the order in which the folders are given.

use super::Index;
use super::manifest::{IdKind, Manifest};
use super::opened::{Opened, Part};
use super::params::FolderInfo;
use crate::adapt::layer_name;
use crate::{Error, Result};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::ops::Range;
use std::path::{Path, PathBuf};

impl Index {
    /// Opens the indexes of several folders as one; a single folder is what [`Index::open`] opens.
    ///
    /// All must be of one model: parts of one build job, copies that changed, or built with [`super::BuildParams::like`]. Searches,
    /// filters and look-ups see the vectors of all folders. A recall target goes by the calibration of the largest index that
    /// has one. Cost: that of opening each; where numbers of two folders lie in the same range, and for strings, also a pass
    /// over the ids of those folders, which no two may share.
    ///
    /// # Errors
    /// No folder; a folder that is named twice; [`Error::Unlike`] for another model, spec, metric, dimension or kind of id;
    /// [`Error::Id`] for an id in two folders; as [`Index::open`].
    ///
    /// # Example
    /// ```
    /// use voisin::index::{BuildParams, build};
    /// use voisin::{Index, Matrix, MemSource, Quiet, SearchParams};
    /// # let dir = tempfile::tempdir().unwrap();
    /// let (one, two) = (dir.path().join("one"), dir.path().join("two"));
    /// let rows = |from: i32| MemSource::new("rows", Matrix::new((from..from + 3).map(|x| x as f32).collect(), 1));
    /// build(&rows(0), &one, &BuildParams::default(), &Quiet)?;
    /// let params = BuildParams { like: Some(one.clone()), first_id: 3, ..BuildParams::default() };
    /// build(&rows(3), &two, &params, &Quiet)?;
    /// let both = Index::open_all(&[one, two])?;
    /// let found = both.search(Matrix::new(vec![2.6], 1).view(), &SearchParams { k: 3, ..Default::default() })?;
    /// assert_eq!(found.neighbors.ids(0), [3, 2, 4]);
    /// # Ok::<(), voisin::Error>(())
    /// ```
    pub fn open_all<P: AsRef<Path>>(dirs: &[P]) -> Result<Index> {
        open_all(dirs).map(Index)
    }

    /// The folders it is made of, each with its numbers.
    pub fn folders(&self) -> Vec<FolderInfo> {
        let one = |f: &super::opened::Folder| FolderInfo {
            path: f.dir.clone(),
            n: f.manifest.n,
            deleted: f.manifest.deleted(),
            generation: f.manifest.generation,
            segments: f.manifest.segments.len(),
            bytes: f.manifest.bytes(),
        };
        self.opened().folders.iter().map(one).collect()
    }
}

pub(super) fn open_all<P: AsRef<Path>>(dirs: &[P]) -> Result<Opened> {
    let Some((first, others)) = dirs.split_first() else {
        return Err(Error::param("index", "none", "at least one folder"));
    };
    twice(dirs)?;
    let mut all = vec![Opened::open(first.as_ref())?];
    for dir in others {
        let next = Opened::open_beside(dir.as_ref(), Some(&all[0]))?;
        all.push(next);
    }
    let joined = join(all)?;
    distinct(&joined)?;
    Ok(joined)
}

fn twice<P: AsRef<Path>>(dirs: &[P]) -> Result<()> {
    let mut seen: Vec<PathBuf> = Vec::new();
    for dir in dirs {
        let dir = dir.as_ref();
        let real = dir.canonicalize().unwrap_or_else(|_| dir.to_owned());
        if seen.contains(&real) {
            return Err(Error::param("index", dir.display(), "each folder once"));
        }
        seen.push(real);
    }
    Ok(())
}

/// Refuses an index that cannot be searched together with one that is open.
pub(super) fn same(first: &Opened, dir: &Path, manifest: &Manifest) -> Result<()> {
    let a = &first.manifest;
    let unlike = |name: &str, here: String, there: String| {
        let what = format!("{name} {here}, where {} has {there}", first.dir.display());
        Err(Error::Unlike { path: dir.to_owned(), what })
    };
    if a.d != manifest.d {
        return unlike("dimensions", manifest.d.to_string(), a.d.to_string());
    }
    if a.layer != manifest.layer {
        return unlike("mapped by", layer_name(manifest.layer.as_ref()), layer_name(a.layer.as_ref()));
    }
    if a.metric != manifest.metric {
        return unlike("metric", manifest.metric.to_string(), a.metric.to_string());
    }
    if a.spec != manifest.spec {
        return unlike("spec", manifest.spec.clone(), a.spec.clone());
    }
    if a.ids != manifest.ids {
        return unlike("ids", manifest.ids.name().into(), a.ids.name().into());
    }
    if (a.model.digest, a.model.bytes) != (manifest.model.digest, manifest.model.bytes) {
        return unlike("another model,", String::from(manifest.model.digest), String::from(a.model.digest));
    }
    Ok(())
}

/// One index of all; they are of one model.
fn join(mut all: Vec<Opened>) -> Result<Opened> {
    if all.len() == 1 {
        return Ok(all.swap_remove(0));
    }
    // the calibration of few rows looks too far for many, of many not far enough for few: the largest is the nearest to the whole
    let largest = all.iter().filter(|o| o.calibration.is_some()).map(|o| o.manifest.n).max();
    let mut all = all.into_iter();
    let mut whole = all.next().expect("at least two");
    let keeps = |o: &Opened| o.calibration.is_some() && Some(o.manifest.n) == largest;
    let mut found = keeps(&whole);
    for mut next in all {
        let strings = whole.manifest.ids == IdKind::Strings;
        let shift = if strings { whole.manifest.next_id } else { 0 };
        let ids = next.manifest.next_id.checked_add(shift).filter(|n| *n <= i64::MAX as u64);
        let too_many = || Error::Id { id: next.manifest.next_id.to_string(), what: "the ids of all folders are too many".into() };
        let ids = ids.ok_or_else(too_many)?;
        next.parts.iter_mut().for_each(|p| p.segment.shift_ids(shift));
        let m = &mut whole.manifest;
        m.next_id = m.next_id.max(ids);
        m.n += next.manifest.n;
        m.generation = m.generation.max(next.manifest.generation);
        m.reason = None;
        m.segments.append(&mut next.manifest.segments);
        m.missing.append(&mut next.manifest.missing);
        if !found && keeps(&next) {
            found = true;
            whole.calibration = next.calibration;
            m.calibration = next.manifest.calibration;
        }
        let at = whole.parts.len();
        whole.parts.append(&mut next.parts);
        whole.folders.extend(next.folders.into_iter().map(|f| super::opened::Folder { parts: at..whole.parts.len(), ..f }));
    }
    if !found {
        whole.calibration = None;
    }
    Ok(whole)
}

/// A segment whose ids are looked through, and the folder it belongs to.
#[derive(Clone, Copy)]
struct Member<'a> {
    folder: usize,
    part: &'a Part,
}

/// Refuses an id that lives in two folders.
fn distinct(opened: &Opened) -> Result<()> {
    let members = opened
        .folders
        .iter()
        .enumerate()
        .flat_map(|(folder, f)| opened.parts[f.parts.clone()].iter().map(move |part| Member { folder, part }));
    let members: Vec<Member<'_>> = members.filter(|m| m.part.segment.rows() > 0).collect();
    let found = if opened.ids() == IdKind::Strings {
        shared(&members, |m: Member<'_>, at| m.part.segment.string_at(at))?.map(|(id, a, b)| (id.to_owned(), a, b))
    } else {
        let members = overlapping(&members)?;
        // the tables are checked before they are looked through
        members.par_iter().try_for_each(|m| m.part.segment.ids_below(0).map(|_| ()))?;
        shared(&members, |m: Member<'_>, at| m.part.segment.id_at(at))?.map(|(id, a, b)| (id.to_string(), a, b))
    };
    let Some((id, a, b)) = found else { return Ok(()) };
    let name = |f: usize| opened.folders[f].dir.display();
    let what = format!("stands in {} and in {}; an id may stand in one of the folders only", name(a.min(b)), name(a.max(b)));
    Err(Error::Id { id, what })
}

/// The segments whose range of numbers meets that of a segment in another folder.
fn overlapping<'a>(members: &[Member<'a>]) -> Result<Vec<Member<'a>>> {
    let ranges: Vec<(u64, u64)> =
        members.iter().map(|m| Ok(m.part.segment.id_range()?.unwrap_or_default())).collect::<Result<_>>()?;
    let meets = |i: usize| {
        (0..members.len())
            .any(|j| members[i].folder != members[j].folder && ranges[i].0 <= ranges[j].1 && ranges[j].0 <= ranges[i].1)
    };
    Ok((0..members.len()).filter(|&i| meets(i)).map(|i| members[i]).collect())
}

/// The smallest id that lives in two folders, and these. `id_at` gives the id at a place of a segment's ascending order, and
/// its row. Pieces of the range of ids are merged side by side.
fn shared<'a, K: Ord + Copy + Send + Sync>(
    members: &[Member<'a>],
    id_at: impl Fn(Member<'a>, usize) -> Result<(K, usize)> + Sync,
) -> Result<Option<(K, usize, usize)>> {
    let Some(largest) = members.iter().max_by_key(|m| m.part.segment.rows()) else { return Ok(None) };
    let rows = largest.part.segment.rows();
    let pieces = (4 * rayon::current_num_threads()).min(rows.div_ceil(1 << 12));
    let cuts: Vec<K> = (1..pieces).map(|i| Ok(id_at(*largest, i * rows / pieces)?.0)).collect::<Result<_>>()?;
    // where the ids from a cut on begin
    let begin = |m: Member<'a>, cut: Option<&K>, none: usize| -> Result<usize> {
        let Some(cut) = cut else { return Ok(none) };
        let (mut low, mut high) = (0, m.part.segment.rows());
        while low < high {
            let middle = (low + high) / 2;
            if id_at(m, middle)?.0 < *cut { low = middle + 1 } else { high = middle }
        }
        Ok(low)
    };
    let piece = |p: usize| -> Result<Option<(K, usize, usize)>> {
        let span = |&m: &Member<'a>| -> Result<Range<usize>> {
            let from = if p == 0 { 0 } else { begin(m, cuts.get(p - 1), 0)? };
            Ok(from..begin(m, cuts.get(p), m.part.segment.rows())?)
        };
        let spans: Vec<Range<usize>> = members.iter().map(span).collect::<Result<_>>()?;
        merge(members, spans, &id_at)
    };
    let found: Vec<Option<(K, usize, usize)>> = (0..pieces).into_par_iter().map(piece).collect::<Result<_>>()?;
    Ok(found.into_iter().flatten().next())
}

fn merge<'a, K: Ord + Copy>(
    members: &[Member<'a>],
    mut spans: Vec<Range<usize>>,
    id_at: &impl Fn(Member<'a>, usize) -> Result<(K, usize)>,
) -> Result<Option<(K, usize, usize)>> {
    let mut next = |m: usize| -> Result<Option<K>> {
        for at in spans[m].by_ref() {
            let (id, row) = id_at(members[m], at)?;
            if !members[m].part.deleted.contains(row) {
                return Ok(Some(id));
            }
        }
        Ok(None)
    };
    let mut heap = BinaryHeap::new();
    for m in 0..members.len() {
        heap.extend(next(m)?.map(|id| Reverse((id, m))));
    }
    let mut last: Option<(K, usize)> = None;
    while let Some(Reverse((id, m))) = heap.pop() {
        let folder = members[m].folder;
        if let Some((before, other)) = last
            && before == id
            && other != folder
        {
            return Ok(Some((id, other, folder)));
        }
        last = Some((id, folder));
        heap.extend(next(m)?.map(|id| Reverse((id, m))));
    }
    Ok(None)
}
