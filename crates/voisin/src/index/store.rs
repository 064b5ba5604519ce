//! Rows of a source into segments, resumably: each block of rows is directed, transformed, assigned and encoded; a
//! segment is written when its last block is in.

use super::disk;
use super::ingest::{Journal, Loaded, RowIds, load_in};
use super::job::Read;
use super::manifest::{SEGMENTS, SegmentEntry};
use super::model::Model;
use super::params::Seconds;
use super::refine::Refine;
use super::segment::{Shape, record_bytes};
use super::segment_writer::SegmentWriter;
use crate::partition::Partition;
use crate::{Error, Metric, OnBad, Quiet, Result, Source, Vectors, Watch};
use std::ops::Range;
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, channel, sync_channel};
use std::time::Instant;

/// Most rows of a block.
const BLOCK: u64 = 1 << 16;
/// Bytes a row beside its records while a segment is made: its list, number, place, id, fact and place in the look-up table.
const BESIDE: u64 = 36;

/// Work on the rows of a source.
pub(super) struct Job<'a> {
    pub(super) dir: &'a Path,
    pub(super) source: &'a dyn Source,
    /// The whole source where it is in memory.
    pub(super) whole: Option<&'a Loaded>,
    pub(super) model: &'a Model,
    pub(super) shape: Shape,
    pub(super) ids: &'a RowIds,
    /// The files that the rows before one came from; waits until their digests are taken, and fails where one is refused.
    pub(super) inputs: Option<&'a (dyn Fn(u64) -> Result<Vec<Read>> + Sync)>,
    pub(super) on_bad: OnBad,
    /// Rows a segment where somebody asked for them.
    pub(super) segment_rows: Option<u64>,
    pub(super) memory_limit: Option<u64>,
}

impl Job<'_> {
    /// Stores the rows that the journal does not have yet, a segment at a time: one is written while the next is encoded.
    pub(super) fn run(&self, journal: &mut Journal, seconds: &mut Seconds, watch: &dyn Watch) -> Result<()> {
        watch.begin("store", self.source.len(), "vectors");
        watch.advance(journal.next_row);
        let blocks = self.blocks(journal.next_row);
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel::<Made>(0);
            let (give_back, used) = channel();
            let faults = disk::faults();
            let writer = scope.spawn(move || {
                disk::inherit(faults);
                for made in receive {
                    self.put(journal, &made)?;
                    let _ = give_back.send(made);
                }
                Ok(())
            });
            let mut storing = Storing {
                job: self,
                seconds,
                watch,
                made: Made::default(),
                room: Vec::new(),
                unit: false,
                centres: Vec::new(),
                send,
                used,
            };
            let rows = blocks.last().map_or(0, |l| l.rows.end - blocks[0].rows.start);
            storing.prepare(rows);
            let encoded = self.encode_all(blocks, &mut storing);
            let Storing { seconds, send, .. } = storing;
            drop(send);
            let start = Instant::now();
            let written = writer.join().expect("it does not panic");
            seconds.write += start.elapsed().as_secs_f64();
            // where writing failed, encoding only saw that nobody takes its work
            written.and(encoded)
        })?;
        watch.end();
        Ok(())
    }

    fn encode_all(&self, blocks: Vec<Block>, storing: &mut Storing<'_>) -> Result<()> {
        let Some(whole) = self.whole else { return self.stream(blocks, storing) };
        for block in blocks {
            let at = |row| whole.numbers.partition_point(|&x| x < row);
            let part = at(block.rows.start)..at(block.rows.end);
            storing.block(&block, whole.rows.view().rows(part.clone()), &whole.numbers[part])?;
        }
        Ok(())
    }

    /// Writes a segment and says so in the journal.
    fn put(&self, journal: &mut Journal, made: &Made) -> Result<()> {
        if let Some(inputs) = self.inputs {
            journal.inputs = inputs(made.end)?; // first: nothing is kept of a file that is refused
        }
        if !made.numbers.is_empty() {
            let number = journal.first_segment + journal.segments.len() as u64;
            let file = format!("{:05}-{number:04}.vsn", journal.generation);
            journal.segments.push(self.write(made, file)?);
        }
        journal.skipped += made.skipped;
        journal.next_row = made.end;
        journal.save(self.dir)
    }

    /// The next block is read while the last one is encoded or a segment is written.
    fn stream(&self, blocks: Vec<Block>, storing: &mut Storing<'_>) -> Result<()> {
        // rows as they came are needed only where they are kept
        let kept = self.model.codes_are_vectors() || self.model.refine.is_some() || self.model.transform.is_some();
        let unit = self.shape.metric == Metric::Cosine && !kept;
        storing.unit = unit;
        let blocks = &blocks;
        std::thread::scope(|scope| {
            let (send, receive) = sync_channel(0);
            let (give_back, used) = channel();
            scope.spawn(move || {
                for block in blocks {
                    let room = used.try_recv().unwrap_or_default();
                    let read = load_in(room, self.source, block.rows.clone(), self.shape.metric, self.on_bad, unit, &Quiet);
                    let failed = read.is_err();
                    if send.send(read).is_err() || failed {
                        return;
                    }
                }
            });
            for block in blocks {
                let start = Instant::now();
                let read = receive.recv().expect("the reader sends every block or an error")?;
                storing.seconds.read += start.elapsed().as_secs_f64();
                storing.block(block, read.rows.view(), &read.numbers)?;
                let _ = give_back.send(read.rows.into_data());
            }
            Ok(())
        })
    }

    /// The rows from `first` in blocks, none of which lies in two segments.
    fn blocks(&self, first: u64) -> Vec<Block> {
        let n = self.source.len();
        let a_segment = rows_a_segment(self.model, self.shape.d, self.segment_rows, self.memory_limit);
        let widest = self.shape.d.max(self.model.code_d(self.shape.d)) as u64;
        // four copies: read ahead, as it came, directed, transformed
        let step = (self.memory_limit.map_or(64 << 20, |l| l / 32) / (4 * widest)).clamp(1, BLOCK);
        let mut blocks = Vec::new();
        for start in (first..n).step_by(a_segment as usize) {
            let end = n.min(start + a_segment);
            let cut = |from: u64| Block {
                rows: from..end.min(from + step),
                first: from == start,
                last: from + step >= end,
                segment: (end - start) as usize,
            };
            blocks.extend((start..end).step_by(step as usize).map(cut));
        }
        blocks
    }
}

impl Job<'_> {
    /// Empties what was made and leaves room for the records of a segment; memory is taken as it fills.
    fn make_room(&self, made: &mut Made, rows: usize) {
        let [code, refine] = record_bytes(self.model, self.shape.d);
        let [codes_are, refine_are] = self.as_they_are();
        made.lists.clear();
        made.numbers.clear();
        made.codes.clear();
        made.refine.clear();
        made.skipped = 0;
        // without it they grow as they fill
        let _ = made.lists.try_reserve_exact(rows);
        let _ = made.numbers.try_reserve_exact(rows);
        let _ = made.codes.try_reserve_exact(if codes_are { 0 } else { rows * code });
        let _ = made.refine.try_reserve_exact(if refine_are { 0 } else { rows * refine });
    }

    fn write(&self, made: &Made, file: String) -> Result<SegmentEntry> {
        let [codes_are, refine_are] = self.as_they_are();
        let rows = || match self.whole {
            None => &[],
            Some(whole) => {
                let first = whole.numbers.partition_point(|&x| x < made.numbers[0]);
                bytemuck::cast_slice(whole.rows.view().rows(first..first + made.numbers.len()).data())
            }
        };
        let codes: &[u8] = if codes_are { rows() } else { &made.codes };
        let refine: &[u8] = if refine_are { rows() } else { &made.refine };
        let order = by_list(&made.lists, self.shape.nlist);
        let [code_bytes, refine_bytes] = record_bytes(self.model, self.shape.d);
        let mut w = SegmentWriter::create(&self.dir.join(SEGMENTS), file, self.shape, self.model)?;
        let mut list = 0;
        for &row in &order {
            let row = row as usize;
            while list < made.lists[row] {
                w.next_list()?;
                list += 1;
            }
            let (number, record) = (made.numbers[row], &codes[row * code_bytes..(row + 1) * code_bytes]);
            w.push(self.ids.number(number), record, self.ids.string(number))?;
        }
        if self.model.refine.is_some() {
            w.begin_refine()?;
            let record = |row: u32| &refine[row as usize * refine_bytes..(row as usize + 1) * refine_bytes];
            order.iter().try_for_each(|&row| w.push_refine(record(row)))?;
        }
        w.finish()
    }

    /// Whether records of codes, and of the refinement, are rows in memory as they are.
    fn as_they_are(&self) -> [bool; 2] {
        let whole = self.whole.is_some();
        [whole && self.model.codes_are_vectors(), whole && matches!(self.model.refine, Refine::Flat)]
    }
}

/// Rows of a segment: what is asked for, or those whose records fit a quarter of the memory limit, 2 GiB without
/// one: two segments are in memory, one being written and one being made.
pub(super) fn rows_a_segment(model: &Model, d: usize, asked: Option<u64>, memory_limit: Option<u64>) -> u64 {
    let bytes = record_bytes(model, d).iter().sum::<usize>() as u64 + BESIDE;
    let fit = (memory_limit.map_or(2 << 30, |l| l / 4) / bytes).max(1024);
    asked.unwrap_or(fit).clamp(1, u32::MAX as u64)
}

/// Checks what somebody asked for.
pub(super) fn check_segment_rows(asked: Option<u64>) -> Result<()> {
    if asked == Some(0) { Err(Error::param("segment-rows", 0, "at least 1")) } else { Ok(()) }
}

/// Rows that are encoded at once.
struct Block {
    rows: Range<u64>,
    /// First and last of its segment.
    first: bool,
    last: bool,
    /// Rows of the segment.
    segment: usize,
}

/// The rows of the segment that is being made.
#[derive(Default)]
struct Made {
    lists: Vec<u32>,
    /// Row of the source of each.
    numbers: Vec<u64>,
    /// Their records, but for those that are rows in memory as they are.
    codes: Vec<u8>,
    refine: Vec<u8>,
    /// Rows of the source that could not be ranked.
    skipped: u64,
    /// Row of the source after the last.
    end: u64,
}

struct Storing<'a> {
    job: &'a Job<'a>,
    seconds: &'a mut Seconds,
    watch: &'a dyn Watch,
    made: Made,
    /// Rows as the partition wants them, from block to block in the same memory.
    room: Vec<f32>,
    /// Whether rows come at unit length.
    unit: bool,
    /// What the code made of the centres.
    centres: Vec<f32>,
    /// To the one who writes segments, and what it has written, for its memory.
    send: SyncSender<Made>,
    used: Receiver<Made>,
}

impl Storing<'_> {
    /// Prepares the centres for the code, where there is memory for them and rows enough.
    fn prepare(&mut self, rows: u64) {
        let (job, nlist) = (self.job, self.job.shape.nlist as u64);
        let most = job.memory_limit.map_or(512 << 20, |l| l / 16);
        let bytes = (job.model.codec.prepared_width() as u64 * 4).saturating_mul(nlist);
        if bytes <= most && rows >= nlist {
            self.centres = job.model.codec.prepare(job.model.centres());
        }
    }

    fn block(&mut self, block: &Block, rows: Vectors<'_>, numbers: &[u64]) -> Result<()> {
        self.watch.check()?;
        let count = block.rows.end - block.rows.start;
        if block.first {
            self.made = self.used.try_recv().unwrap_or_default();
            self.job.make_room(&mut self.made, block.segment);
        }
        self.made.skipped += count - numbers.len() as u64;
        self.encode(rows, numbers)?;
        if block.last {
            self.watch.check()?;
            self.made.end = block.rows.end;
            let start = Instant::now();
            // the writer is gone where it failed, and says why
            let taken = self.send.send(std::mem::take(&mut self.made));
            self.seconds.write += start.elapsed().as_secs_f64();
            taken.map_err(|_| Error::Stopped)?;
        }
        self.watch.advance(count);
        Ok(())
    }

    fn encode(&mut self, rows: Vectors<'_>, numbers: &[u64]) -> Result<()> {
        let (model, shape) = (self.job.model, self.job.shape);
        let start = Instant::now();
        let plain = model.codes_are_vectors();
        let prepared = match model.partition {
            Partition::One if plain => rows.data(),
            _ if self.unit && model.transform.is_none() => rows.data(),
            _ => model.prepared_in(rows, shape.metric, &mut self.room),
        };
        self.seconds.encode += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let prepared = Vectors::new(prepared, model.code_d(shape.d));
        let lists = model.partition.assign(prepared);
        self.seconds.assign += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let cannot = |(i, what): (usize, String)| {
            let (name, row) = self.job.source.locate(numbers[i]);
            Error::format(name, format!("row {row}: {what}"))
        };
        let ([codes_are, refine_are], [code_bytes, refine_bytes]) = (self.job.as_they_are(), record_bytes(model, shape.d));
        if !codes_are {
            let out = grow(&mut self.made.codes, rows.n() * code_bytes);
            let from = if plain { rows } else { prepared };
            model.codec.encode(from, &lists, model.centres(), &self.centres, out).map_err(cannot)?;
        }
        if !refine_are {
            model.refine.encode(rows, grow(&mut self.made.refine, rows.n() * refine_bytes)).map_err(cannot)?;
        }
        self.made.lists.extend(lists);
        self.made.numbers.extend_from_slice(numbers);
        self.seconds.encode += start.elapsed().as_secs_f64();
        Ok(())
    }
}

/// Room for more bytes at the end.
fn grow(bytes: &mut Vec<u8>, more: usize) -> &mut [u8] {
    let from = bytes.len();
    bytes.resize(from + more, 0);
    &mut bytes[from..]
}

/// Rows by list, in a list as they come.
fn by_list(lists: &[u32], nlist: usize) -> Vec<u32> {
    let mut at = vec![0usize; nlist + 1];
    lists.iter().for_each(|&l| at[l as usize + 1] += 1);
    for l in 0..nlist {
        at[l + 1] += at[l];
    }
    let mut order = vec![0u32; lists.len()];
    for (row, &l) in lists.iter().enumerate() {
        order[at[l as usize]] = row as u32;
        at[l as usize] += 1;
    }
    order
}
