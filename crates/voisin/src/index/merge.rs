//! Segments into new ones: merging indexes of one model, and what compaction writes.
//!
//! Records move as they are; vectors are not needed. A new segment holds a range of ids, in every list by ascending id: what
//! is held in memory is bounded by the rows of a segment, however large the lists are.

use super::blocks::Blocks;
use super::build::{Folder, standing};
use super::disk::Out;
use super::ingest::Journal;
use super::manifest::{FileEntry, IdKind, Manifest, SEGMENTS, SegmentEntry};
use super::opened::{Opened, Part};
use super::params::{MergeParams, MergeReport};
use super::segment::record_bytes;
use super::segment_writer::SegmentWriter;
use super::{many, model};
use crate::watch::resident_bytes;
use crate::{Error, Result, Watch};
use std::io::Read;
use std::ops::Range;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Rows between two looks at the memory and at who wants to stop.
const STEP: usize = 1 << 8;
/// Bytes beside what grows with the rows: buffers, and what is touched of the files between two looks.
const BESIDE: u64 = 40 << 20;

/// Writes the indexes of several folders as one into the folder `out`.
///
/// They must be such as [`super::Index::open_all`] opens; they stay as they are. What was removed from them is left out. An
/// index that is in `out` is replaced when the new one is complete; a merge that was killed goes on after its last finished
/// file when it is started again, to the same bytes. The result searches as the folders together do. The calibration of the
/// largest is kept. Memory: about 40 bytes a vector of a segment (and the ids where they are strings); segments are as large
/// as half of the limit allows.
///
/// # Errors
/// As [`super::Index::open_all`]; an `out` that is one of them or something else; [`Error::Memory`] for a limit that is too
/// small; damaged files, what writing gives, [`Error::Stopped`].
pub fn merge<P: AsRef<Path>>(dirs: &[P], out: &Path, params: &MergeParams, watch: &dyn Watch) -> Result<MergeReport> {
    let opened = many::open_all(dirs)?;
    let real = |dir: &Path| dir.canonicalize().ok();
    if real(out).is_some_and(|o| opened.folders.iter().any(|f| real(&f.dir).as_ref() == Some(&o))) {
        return Err(Error::param("out", out.display(), "another folder than those that are merged"));
    }
    into(&opened, out, &Room::new(&opened, params.memory_limit)?, watch)
}

/// Writes what is open into a folder.
pub(super) fn into(opened: &Opened, out: &Path, room: &Room, watch: &dyn Watch) -> Result<MergeReport> {
    let folder = Folder::prepare(out)?;
    let done = run(opened, out, room, watch);
    if done.is_err() {
        folder.undo();
    }
    done
}

fn run(opened: &Opened, dir: &Path, room: &Room, watch: &dyn Watch) -> Result<MergeReport> {
    let pieces = room.pieces(opened)?;
    let (_, mut journal) = standing(dir, key(opened, &pieces))?;
    if journal.model.is_none() {
        let g = journal.generation;
        let file = if g == 1 { "model.vsn".to_owned() } else { format!("model.{g:05}.vsn") };
        journal.model = Some(copy_model(opened, dir, file)?);
        journal.save(dir)?;
    }
    let resumed = journal.segments.iter().map(|s| s.rows).sum();
    watch.begin("merge", opened.manifest.n, "vectors");
    watch.advance(resumed);
    for (i, piece) in pieces.iter().enumerate().skip(journal.next_row as usize) {
        let file = format!("{:05}-{:04}.vsn", journal.generation, i);
        journal.segments.extend(segment(opened, &dir.join(SEGMENTS), file, piece.clone(), room, watch)?);
        journal.next_row = i as u64 + 1;
        journal.save(dir)?;
    }
    watch.end();
    let mut manifest = Manifest {
        reason: None,
        n: journal.segments.iter().map(|s| s.rows).sum(),
        generation: journal.generation,
        model: journal.model.clone().expect("written before the segments"),
        calibration: None,
        job: None,
        segments: journal.segments.clone(),
        ..opened.manifest.clone()
    };
    if let Some(calibration) = &opened.calibration {
        let g = manifest.generation;
        let file = if g == 1 { "calibration.json".to_owned() } else { format!("calibration.{g:05}.json") };
        manifest.calibration = Some(calibration.save(dir, file)?);
    }
    manifest.save(dir)?;
    Journal::end(dir, &manifest.files())?;
    let dropped = opened.folders.iter().map(|f| f.manifest.deleted()).sum();
    Ok(MergeReport { n: manifest.n, dropped, segments: manifest.segments.len(), resumed, bytes: manifest.bytes() })
}

/// Everything that decides about the bytes of the merged index.
fn key(opened: &Opened, pieces: &[Range<u64>]) -> u64 {
    let mut text = format!("merge {} {:x} {pieces:?}", opened.manifest.spec, opened.manifest.model.digest.0);
    for f in &opened.folders {
        text += &format!(" | {}", f.manifest.next_id);
        for s in &f.manifest.segments {
            text += &format!(" {:x}", s.at.digest.0);
            text += &s.deleted.as_ref().map(|d| format!("-{:x}", d.at.digest.0)).unwrap_or_default();
        }
    }
    xxh3_64((text + &format!(" {:?}", opened.calibration)).as_bytes())
}

/// The file of the model, byte for byte.
fn copy_model(opened: &Opened, dir: &Path, file: String) -> Result<FileEntry> {
    let entry = &opened.folders[0].manifest.model;
    let from = opened.dir.join(&entry.file);
    if let Some(wrong) = Blocks::open_known(&from, model::MAGIC, entry.bytes, entry.digest.0)?.check_all().into_iter().next() {
        return Err(wrong);
    }
    let mut source = std::fs::File::open(&from).map_err(|e| Error::io(&from, e))?;
    let mut out = Out::create(&dir.join(&file))?;
    let mut buffer = vec![0; 1 << 20];
    loop {
        match source.read(&mut buffer).map_err(|e| Error::io(&from, e))? {
            0 => break,
            n => out.put(&buffer[..n])?,
        }
    }
    out.finish()?;
    Ok(FileEntry { file, ..entry.clone() })
}

/// How much may be held in memory.
pub(super) struct Room {
    pub(super) limit: Option<u64>,
    /// Most rows of a segment, deleted ones counted.
    pub(super) rows: u64,
}

impl Room {
    /// Without a limit a segment holds as many rows as its format allows.
    pub(super) fn new(opened: &Opened, limit: Option<u64>) -> Result<Room> {
        let most = u32::MAX as u64;
        let Some(bytes) = limit else { return Ok(Room { limit, rows: most }) };
        let stored: u64 = opened.parts.iter().map(|p| p.segment.rows() as u64).sum();
        let text: u64 = opened.parts.iter().map(|p| p.segment.text_bytes()).sum();
        // number, fact, place in the look-up table, place of the refinement, and the row in its list
        let strings = if opened.ids() == IdKind::Strings { 2 * text / stored.max(1) + 24 } else { 0 };
        let a_row = 24 + size_of::<Row>() as u64 + strings;
        let least = stored.min(1024);
        let rows = (bytes / 2 / a_row).clamp(least, most);
        let fixed = resident_bytes().unwrap_or(24 << 20) + BESIDE;
        if fixed + rows.min(stored) * a_row > bytes {
            let need = (2 * fixed).min(fixed + stored * a_row).max(fixed + least * a_row);
            return Err(Error::Memory { limit: bytes, need, what: format!("segments of {least} rows and more") });
        }
        Ok(Room { limit, rows })
    }

    /// Ranges of ids, each with as many rows as a segment may hold.
    pub(super) fn pieces(&self, opened: &Opened) -> Result<Vec<Range<u64>>> {
        let below = |id: u64| -> Result<u64> {
            let counts = opened.parts.iter().map(|p| Ok(p.segment.ids_below(id)? as u64));
            counts.sum()
        };
        let (mut from, mut before) = (0, 0);
        let (end, all) = (u64::MAX, opened.parts.iter().map(|p| p.segment.rows() as u64).sum::<u64>());
        let mut pieces = Vec::new();
        while all - before > self.rows {
            // the largest id with few enough below it
            let (mut low, mut high) = (from + 1, end);
            while low < high {
                let middle = low + (high - low).div_ceil(2);
                if below(middle)? - before <= self.rows { low = middle } else { high = middle - 1 }
            }
            pieces.push(from..low);
            (from, before) = (low, below(low)?);
        }
        pieces.push(from..end);
        Ok(pieces)
    }

    /// Gives back what was read where memory runs short.
    fn look(&self, opened: &Opened) {
        if let Some(limit) = self.limit
            && resident_bytes().is_some_and(|r| r > limit - limit / 4)
        {
            opened.release();
        }
    }
}

/// A row of a list: its id, part and row.
type Row = (u64, u32, u32);

/// One segment of the living vectors whose ids are in a range; within a list by ascending id. `None` if there is none.
pub(super) fn segment(
    opened: &Opened,
    folder: &Path,
    file: String,
    ids: Range<u64>,
    room: &Room,
    watch: &dyn Watch,
) -> Result<Option<SegmentEntry>> {
    let mut w = SegmentWriter::create(folder, file, opened.shape(), &opened.model)?;
    let [code_bytes, _] = record_bytes(&opened.model, opened.manifest.d);
    let (mut record, mut places, mut rows) = (vec![0; code_bytes], Vec::new(), Vec::new());
    let stored = opened.parts.iter().map(|p| p.segment.rows() as u64).sum::<u64>();
    let most = stored.min(room.rows) as usize;
    w.reserve(most);
    places.reserve_exact(if opened.refine.is_some() { most } else { 0 });
    let mut written = 0;
    for list in 0..opened.spec.nlist() {
        watch.check()?;
        rows.clear();
        let there = opened.parts.iter().map(|p| p.segment.rows_of(list).len()).sum::<usize>();
        rows.reserve_exact(there.min(most));
        for (p, part) in opened.parts.iter().enumerate() {
            living(opened, part, list, room, |id, row| {
                if ids.contains(&id) {
                    rows.push((id, p as u32, row as u32));
                }
            })?;
        }
        rows.sort_unstable();
        written += rows.len();
        for chunk in rows.chunks(STEP) {
            watch.check()?;
            room.look(opened);
            for &(id, p, row) in chunk {
                let segment = &opened.parts[p as usize].segment;
                segment.record(row as usize, &mut record);
                w.push(id, &record, segment.string(row as usize)?)?;
            }
            watch.advance(chunk.len() as u64);
        }
        if opened.refine.is_some() {
            places.extend(rows.iter().map(|r: &Row| (r.1, r.2)));
        }
        w.next_list()?;
    }
    if written == 0 {
        return Ok(None);
    }
    if opened.refine.is_some() {
        w.begin_refine()?;
        for chunk in places.chunks(STEP) {
            watch.check()?;
            room.look(opened);
            for &(p, row) in chunk {
                w.push_refine(opened.parts[p as usize].segment.visit_refine(row as usize)?)?;
            }
        }
    }
    w.finish().map(Some)
}

/// Ids and rows of a list that are not deleted, after checking the list.
fn living(opened: &Opened, part: &Part, list: usize, room: &Room, mut each: impl FnMut(u64, usize)) -> Result<()> {
    for run in part.segment.runs_of(list) {
        let found = part.segment.visit(run)?;
        let start = found.run.start as usize;
        for i in (0..found.ids.len()).filter(|i| !part.deleted.contains(start + i)) {
            each(found.id(i), start + i);
        }
        if run % 16 == 0 {
            room.look(opened);
        }
    }
    Ok(())
}
