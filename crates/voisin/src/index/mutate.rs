//! Adding, removing, compacting: new files first, then a new manifest, then the old files go.

use super::build::{row_ids, same_kind};
use super::deleted::Deleted;
use super::disk;
use super::ingest::{Journal, RowIds};
use super::manifest::{Manifest, SEGMENTS, SegmentEntry};
use super::merge::{Room, segment};
use super::opened::{self, Opened, Place};
use super::params::{AddParams, AddReport, CompactReport, IdList, RemoveReport, Seconds};
use super::store::{Job, check_segment_rows};
use crate::{Error, Result, Source, Watch};
use std::collections::HashSet;
use std::path::Path;
use std::time::Instant;
use xxhash_rust::xxh3::xxh3_64;

/// The index under the lock, with what killed writers left removed but for the journal of an addition.
pub(super) fn open_to_change(dir: &Path) -> Result<(Opened, disk::Lock)> {
    Manifest::load(dir)?;
    let lock = disk::lock(dir)?;
    Ok((Opened::open(dir)?, lock))
}

/// Adds the vectors of a source as new segments.
///
/// All of them or, after an error, none; killed, it goes on after its last finished segment when started again. Cost:
/// that of assigning and writing the new vectors, and a look-up of each new id.
///
/// # Errors
/// An id that exists (without `replace`) or stands twice in the source, ids of another kind than the index has, a first number
/// that is not above those of the index, another dimension, what reading and writing give.
pub fn add(dir: &Path, source: &dyn Source, params: &AddParams, watch: &dyn Watch) -> Result<AddReport> {
    let clock = Instant::now();
    let (opened, _lock) = open_to_change(dir)?;
    let d = opened.manifest.d;
    if source.is_empty() {
        return Err(Error::Empty { name: source.name() });
    }
    opened.manifest.check_layer(dir, source.layer().as_ref(), &source.name())?;
    if source.dim() != d {
        let context = format!("the index has {d}");
        return Err(Error::Dimension { name: source.name(), expected: d, got: source.dim(), context });
    }
    opened.manifest.check_made_by(source)?;
    let mut ids = row_ids(source, &params.ids, opened.manifest.next_id)?;
    same_kind(opened.ids(), ids.kind())?;
    if let Some(first) = params.first_id {
        ids = counted_from(first, &ids, opened.manifest.next_id, source.len())?;
    }
    let places = replaced(&opened, &mut ids, source, params.replace)?;
    check_segment_rows(params.segment_rows)?;
    let generation = opened.manifest.generation + 1;
    let mut journal = Journal::resume(dir, key(&opened, source, params, &ids), generation);
    opened::clean(dir, &[opened.manifest.files(), journal.files()].concat())?;
    let mut seconds = Seconds::default();
    Job {
        dir,
        source,
        whole: None,
        model: &opened.model,
        shape: opened.shape(),
        ids: &ids,
        inputs: None,
        on_bad: params.on_bad,
        segment_rows: params.segment_rows,
        memory_limit: params.memory_limit,
    }
    .run(&mut journal, &mut seconds, watch)?;
    let mut manifest = opened.manifest.clone();
    manifest.generation = generation;
    manifest.next_id = manifest.next_id.max(ids.next(source.len()));
    let removed = delete(&opened, &mut manifest, places)?;
    manifest.segments.extend(journal.segments.iter().cloned());
    let added = journal.segments.iter().map(|s| s.rows).sum();
    commit(dir, &mut manifest)?;
    seconds.total = clock.elapsed().as_secs_f64();
    Ok(AddReport { added, replaced: removed, skipped: journal.skipped, n: manifest.n, seconds })
}

/// Ids from a number that somebody names; `next` is one after the largest of the index.
fn counted_from(first: u64, ids: &RowIds, next: u64, rows: u64) -> Result<RowIds> {
    let wrong = |expected: String| Err(Error::param("first-id", first, expected));
    if !matches!(ids, RowIds::Count { .. }) {
        return wrong("only where vectors have no ids of their own and are numbered".into());
    }
    if first < next {
        return wrong(format!("{next} or more, above all ids of the index"));
    }
    if first.checked_add(rows).is_none_or(|end| end > i64::MAX as u64) {
        return wrong("numbers up to 2^63 - 1, which result files can hold".into());
    }
    Ok(RowIds::Count { first })
}

fn key(opened: &Opened, source: &dyn Source, params: &AddParams, ids: &RowIds) -> u64 {
    let numbers: u64 = match ids {
        RowIds::Count { first } => *first,
        RowIds::Numbers(n) | RowIds::Strings { numbers: n, .. } => xxh3_64(bytemuck::cast_slice(n)),
    };
    let strings = if let RowIds::Strings { strings, .. } = ids {
        strings.iter().fold(0, |h: u64, s| xxh3_64(s.as_bytes()) ^ h.rotate_left(1))
    } else {
        0
    };
    let text = format!(
        "add {} {} {} {:x} {numbers:x} {strings:x} {} {:?} {:?} {:?}",
        opened.manifest.model.digest.0,
        source.name(),
        source.len(),
        source.fingerprint(),
        params.replace,
        params.on_bad,
        params.segment_rows,
        params.memory_limit,
    );
    xxh3_64(text.as_bytes())
}

/// Where the vectors live that new ones replace; a replaced string keeps its number.
fn replaced(opened: &Opened, ids: &mut RowIds, source: &dyn Source, replace: bool) -> Result<Vec<Place>> {
    let mut places = Vec::new();
    let exists = |row: usize, id: String| {
        let (name, at) = source.locate(row as u64);
        Err(Error::Id { id, what: format!("is in the index already ({name}, row {at}); --replace replaces it") })
    };
    match ids {
        RowIds::Count { .. } => {}
        RowIds::Numbers(numbers) => {
            for (row, &id) in numbers.iter().enumerate() {
                match opened.find(id)? {
                    Some(_) if !replace => return exists(row, id.to_string()),
                    place => places.extend(place),
                }
            }
        }
        RowIds::Strings { strings, numbers } => {
            for (row, number) in numbers.iter_mut().enumerate() {
                match opened.find_string(strings.get(row))? {
                    Some(_) if !replace => return exists(row, strings.get(row).to_owned()),
                    Some((part, at)) => {
                        *number = opened.parts[part].segment.checked_id(at)?;
                        places.push((part, at));
                    }
                    None => {}
                }
            }
        }
    }
    Ok(places)
}

/// Writes new deletion bitmaps into `manifest`; how many vectors are deleted now that were not.
fn delete(opened: &Opened, manifest: &mut Manifest, mut places: Vec<Place>) -> Result<u64> {
    places.sort_unstable();
    let folder = opened.dir.join(SEGMENTS);
    let mut removed = 0;
    for group in places.chunk_by(|a, b| a.0 == b.0) {
        let part = &opened.parts[group[0].0];
        let rows = part.segment.rows();
        let mut deleted: Deleted = part.deleted.clone();
        removed += group.iter().filter(|place| deleted.insert(place.1, rows)).count() as u64;
        let entry = &mut manifest.segments[group[0].0];
        let file = format!("{}.del.{}", entry.at.file.trim_end_matches(".vsn"), manifest.generation);
        entry.deleted = Some(deleted.save(&folder, file, rows)?);
    }
    Ok(removed)
}

/// Puts a manifest in place and removes what it no longer names.
fn commit(dir: &Path, manifest: &mut Manifest) -> Result<()> {
    // a segment without a living vector is of no use
    manifest.segments.retain(|s| s.deleted.as_ref().is_none_or(|d| d.count < s.rows));
    let alive = |s: &SegmentEntry| s.rows - s.deleted.as_ref().map_or(0, |d| d.count);
    manifest.n = manifest.segments.iter().map(alive).sum();
    manifest.save(dir)?;
    Journal::end(dir, &manifest.files())
}

/// Removes vectors by their ids; an unknown id is an error unless `missing_ok`.
///
/// # Errors
/// Unknown ids, ids of another kind than the index has, what writing gives; nothing is removed then.
pub fn remove(dir: &Path, ids: &IdList, missing_ok: bool) -> Result<RemoveReport> {
    let (opened, _lock) = open_to_change(dir)?;
    same_kind(opened.ids(), ids.kind())?;
    let (mut places, mut missing) = (HashSet::new(), Vec::new());
    for i in 0..ids.len() {
        let place = match ids {
            IdList::Numbers(n) => opened.find(n[i])?,
            IdList::Strings(s) => opened.find_string(s.get(i))?,
        };
        match place {
            Some(place) => drop(places.insert(place)),
            None => missing.push(i),
        }
    }
    if let (Some(&first), false) = (missing.first(), missing_ok) {
        let more = if missing.len() > 1 { format!(", nor are {} more", missing.len() - 1) } else { String::new() };
        return Err(Error::Id { id: ids.text(first), what: format!("is not in the index{more}; nothing was removed") });
    }
    Journal::end(dir, &opened.manifest.files())?;
    let mut report = RemoveReport { removed: 0, missing: missing.len() as u64, n: opened.manifest.n };
    if !places.is_empty() {
        let mut manifest = opened.manifest.clone();
        manifest.generation += 1;
        report.removed = delete(&opened, &mut manifest, places.into_iter().collect())?;
        commit(dir, &mut manifest)?;
        report.n = manifest.n;
    }
    Ok(report)
}

/// Writes all segments anew as one, without the deleted vectors.
///
/// The index stays readable meanwhile; it needs the space of both on disk. Memory: about 28 bytes a vector, and the ids
/// where they are strings.
///
/// # Errors
/// Damaged files, what writing gives, [`Error::Stopped`]; the index is as before then.
pub fn compact(dir: &Path, watch: &dyn Watch) -> Result<CompactReport> {
    let (opened, _lock) = open_to_change(dir)?;
    let old = &opened.manifest;
    let mut report = CompactReport {
        n: old.n,
        dropped: old.deleted(),
        segments: (old.segments.len(), old.segments.len()),
        bytes: (old.bytes(), old.bytes()),
    };
    Journal::end(dir, &old.files())?;
    if old.segments.len() <= 1 && report.dropped == 0 {
        return Ok(report);
    }
    let mut manifest = old.clone();
    manifest.generation += 1;
    manifest.segments.clear();
    if old.n > 0 {
        let (room, folder) = (Room::new(&opened, None)?, dir.join(SEGMENTS));
        watch.begin("compact", old.n, "vectors");
        for (i, ids) in room.pieces(&opened)?.into_iter().enumerate() {
            let file = format!("{:05}-{i:04}.vsn", manifest.generation);
            manifest.segments.extend(segment(&opened, &folder, file, ids, &room, watch)?);
        }
        watch.end();
    }
    commit(dir, &mut manifest)?;
    report.segments.1 = manifest.segments.len();
    report.bytes.1 = manifest.bytes();
    Ok(report)
}
