//! The files of a part as one source, read once, their digests taken on the way.

use super::super::ingest::RowIds;
use super::super::manifest::IdKind;
use super::plan::{Input, Missing, Piece};
use crate::{Error, Metric, Result, Source, StringIds, Watch};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

/// What a file holds now.
#[derive(Clone, Debug, PartialEq)]
pub struct Seen {
    /// Rows.
    pub rows: u64,
    /// Dimensions.
    pub d: usize,
    /// Type of its values.
    pub dtype: String,
    /// Size of the file.
    pub bytes: u64,
    /// Whether it has string ids.
    pub strings: bool,
    /// The metric that it names.
    pub metric: Option<Metric>,
    /// What made its vectors, where it says so.
    pub made_by: Option<String>,
}

/// The files that a plan names, as somebody reads them (`voisin_io::Files`).
pub trait Inputs: Sync {
    /// Looks at a file.
    ///
    /// # Errors
    /// It is not there or cannot be read.
    fn look(&self, file: &str) -> Result<Seen>;

    /// Opens a file for reading its rows.
    ///
    /// # Errors
    /// As [`Inputs::look`].
    fn open(&self, file: &str) -> Result<Box<dyn Source>>;

    /// SHA-256 of its bytes as 64 hexadecimal digits.
    ///
    /// # Errors
    /// As [`Inputs::look`]; [`Error::Stopped`].
    fn sha256(&self, file: &str, watch: &dyn Watch) -> Result<String>;
}

/// An input as it was when it was read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(in crate::index) struct Read {
    pub(super) file: String,
    /// Rows of the file, of which a part may take some.
    pub(super) rows: u64,
    pub(super) bytes: u64,
    pub(super) sha256: String,
}

/// A piece of a file that is as planned, and what the file holds.
pub(super) type There = (Piece, Seen);

/// Looks at the files of some pieces: sizes of those that are as planned, and what is wrong with the others.
pub(super) fn look(
    files: &dyn Inputs,
    inputs: &[Input],
    pieces: &[Piece],
    d: usize,
    ids: IdKind,
) -> Result<(Vec<There>, Vec<Missing>)> {
    let (mut there, mut missing) = (Vec::new(), Vec::new());
    for &piece in pieces {
        let input = &inputs[piece.input];
        let mut wrong = |what: String| missing.push(Missing { file: input.file.clone(), rows: piece.rows, what });
        match files.look(&input.file) {
            Err(Error::Io { source, .. }) if source.kind() == std::io::ErrorKind::NotFound => wrong("is not there".into()),
            Err(Error::Format { what, .. }) => wrong(what),
            Err(e) => return Err(e),
            Ok(seen) if seen.rows < input.rows => wrong(format!("{} rows where {} are planned", seen.rows, input.rows)),
            Ok(seen) => {
                let differs = |what: String| Err(Error::format(&input.file, what));
                if seen.rows > input.rows {
                    return differs(format!("{} rows where {} are planned", seen.rows, input.rows));
                }
                if seen.d != d {
                    let context = "the plan".into();
                    return Err(Error::Dimension { name: input.file.clone(), expected: d, got: seen.d, context });
                }
                if input.dtype.as_ref().is_some_and(|t| *t != seen.dtype) {
                    let planned = input.dtype.as_deref().unwrap_or_default();
                    return differs(format!("values of type {} where {planned} is planned", seen.dtype));
                }
                if ids == IdKind::Strings && !seen.strings {
                    return differs("it has no string ids, which the plan says the inputs have".into());
                }
                there.push((piece, seen));
            }
        }
    }
    Ok((there, missing))
}

/// What made the vectors of all these files.
///
/// # Errors
/// Two that say different things.
pub(super) fn made_by(inputs: &[Input], there: &[There]) -> Result<Option<String>> {
    let mut first: Option<(&str, &str)> = None;
    for (piece, seen) in there {
        let (file, Some(made_by)) = (inputs[piece.input].file.as_str(), seen.made_by.as_deref()) else { continue };
        match first {
            Some((other, by)) if by != made_by => {
                return Err(Error::format(file, format!("vectors made by `{made_by}`, those of {other} by `{by}`")));
            }
            _ => first = first.or(Some((file, made_by))),
        }
    }
    Ok(first.map(|f| f.1.to_owned()))
}

/// The rows of some pieces of files, one after the other.
pub(super) struct PartSource<'a> {
    files: &'a dyn Inputs,
    inputs: &'a [Input],
    pieces: Vec<Piece>,
    /// First row of each piece here, and the end.
    starts: Vec<u64>,
    d: usize,
    /// Files whose digest is wanted, by their place among the pieces.
    digests: Digests,
    open: Mutex<Option<(usize, Arc<dyn Source>)>>,
}

impl<'a> PartSource<'a> {
    pub(super) fn new(files: &'a dyn Inputs, inputs: &'a [Input], pieces: Vec<Piece>, d: usize) -> PartSource<'a> {
        let mut starts = vec![0];
        pieces.iter().for_each(|p| starts.push(starts.last().unwrap_or(&0) + p.rows));
        PartSource { files, inputs, pieces, starts, d, digests: Digests::default(), open: Mutex::new(None) }
    }

    fn file(&self, piece: usize) -> &str {
        &self.inputs[self.pieces[piece].input].file
    }

    fn piece_of(&self, row: u64) -> usize {
        self.starts.partition_point(|&s| s <= row).clamp(1, self.pieces.len().max(1)) - 1
    }

    fn opened(&self, piece: usize) -> Result<Arc<dyn Source>> {
        let mut open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        match &*open {
            Some((at, source)) if *at == piece => Ok(source.clone()),
            _ => {
                let source: Arc<dyn Source> = self.files.open(self.file(piece))?.into();
                let input = &self.inputs[self.pieces[piece].input];
                if (source.len(), source.dim()) != (input.rows, self.d) {
                    return Err(Error::format(&input.file, "the file changed while it was being read"));
                }
                self.digests.reached(piece);
                *open = Some((piece, source.clone()));
                Ok(source)
            }
        }
    }

    /// The ids of the rows: their places among the rows of all inputs, from `first` on, and the strings of the files.
    pub(super) fn row_ids(&self, kind: IdKind, first: u64) -> Result<RowIds> {
        let whole = self.pieces.windows(2).all(|w| w[0].global + w[0].rows == w[1].global);
        let numbers = || self.pieces.iter().flat_map(|p| first + p.global..first + p.global + p.rows).collect::<Vec<u64>>();
        Ok(match kind {
            IdKind::Numbers if whole => RowIds::Count { first: first + self.pieces.first().map_or(0, |p| p.global) },
            IdKind::Numbers => RowIds::Numbers(numbers()),
            IdKind::Strings => RowIds::Strings { strings: self.strings()?, numbers: numbers() },
        })
    }

    fn strings(&self) -> Result<StringIds> {
        let (mut all, mut seen) = (StringIds::default(), HashMap::new());
        for (at, p) in self.pieces.iter().enumerate() {
            let Some(ids) = self.files.open(self.file(at))?.ids()? else {
                return Err(Error::format(self.file(at), "it has no string ids, which the plan says the inputs have"));
            };
            if (ids.len() as u64) < p.skip + p.rows {
                return Err(Error::format(self.file(at), "the file changed while it was being read"));
            }
            for row in p.skip..p.skip + p.rows {
                let id = ids.get(row as usize);
                if let Some((file, earlier)) = seen.insert(id.to_owned(), (at, row)) {
                    let what = format!("stands twice: row {earlier} of {} and row {row} of {}", self.file(file), self.file(at));
                    return Err(Error::Id { id: id.to_owned(), what });
                }
                all.push(id);
            }
        }
        Ok(all)
    }

    /// Does `work` while another thread takes the digests of the files, each shortly before its rows are read, so that both come
    /// from one reading of the disk; the files as they were read, of which the first are `known`. A digest that is not the planned
    /// one ends the work.
    pub(super) fn with_digests<T>(
        &self,
        seen: &[There],
        known: Vec<Read>,
        watch: &dyn Watch,
        work: impl FnOnce() -> Result<T>,
    ) -> Result<(T, Vec<Read>)> {
        let before = known.len();
        known.into_iter().for_each(|read| self.digests.taken(read));
        std::thread::scope(|scope| {
            let digests = scope.spawn(|| {
                for (at, there) in seen.iter().enumerate().skip(before) {
                    self.digests.wait_for(at);
                    let read = if self.digests.ended() { Err(Error::Stopped) } else { self.digest(there, watch) };
                    self.digests.taken(read.inspect_err(|_| self.digests.fail())?);
                }
                Ok(self.digests.all())
            });
            let done = work();
            self.digests.reached(if done.is_ok() { usize::MAX - 1 } else { ENDED });
            let digests = digests.join().expect("it does not panic");
            match (done, digests) {
                (Ok(done), Ok(all)) => Ok((done, all)),
                // what ended the work
                (_, Err(e)) if self.digests.failed() => Err(e),
                (Err(e), _) | (_, Err(e)) => Err(e),
            }
        })
    }

    /// The files that the rows before `end` come from, as they were read; waits for their digests.
    pub(super) fn inputs_before(&self, end: u64) -> Result<Vec<Read>> {
        self.digests.first(self.pieces_before(end)).ok_or(Error::Stopped)
    }

    fn pieces_before(&self, end: u64) -> usize {
        if end == 0 { 0 } else { self.piece_of(end - 1) + 1 }
    }

    /// Whether the files that the rows before `end` came from are still as they were.
    pub(super) fn unchanged(&self, seen: &[There], end: u64, were: &[Read], watch: &dyn Watch) -> Result<bool> {
        if were.len() != self.pieces_before(end) {
            return Ok(false);
        }
        for (there, was) in seen.iter().zip(were) {
            if self.digest(there, watch)? != *was {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn digest(&self, (piece, seen): &There, watch: &dyn Watch) -> Result<Read> {
        let input = &self.inputs[piece.input];
        let sha256 = self.files.sha256(&input.file, watch)?;
        match &input.sha256 {
            Some(planned) if !planned.eq_ignore_ascii_case(&sha256) => {
                Err(Error::format(&input.file, format!("its SHA-256 is {sha256} where {planned} is planned: fetch it again")))
            }
            _ => Ok(Read { file: input.file.clone(), rows: seen.rows, bytes: seen.bytes, sha256 }),
        }
    }
}

impl Source for PartSource<'_> {
    fn len(&self) -> u64 {
        *self.starts.last().unwrap_or(&0)
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        match self.pieces.len() {
            0 => "no files".into(),
            1 => self.file(0).to_owned(),
            n => format!("{n} files, {} to {}", self.file(0), self.file(n - 1)),
        }
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let (mut row, mut out) = (start, out);
        while !out.is_empty() {
            if self.digests.failed() {
                return Err(Error::Stopped); // the digest's own error is the one that is reported
            }
            let at = self.piece_of(row);
            let inside = row - self.starts[at];
            let many = (self.pieces[at].rows - inside).min((out.len() / self.d) as u64);
            let (now, rest) = out.split_at_mut(many as usize * self.d);
            self.opened(at)?.read(self.pieces[at].skip + inside, now)?;
            (row, out) = (row + many, rest);
        }
        Ok(())
    }

    fn locate(&self, row: u64) -> (String, u64) {
        let at = self.piece_of(row);
        (self.file(at).to_owned(), self.pieces[at].skip + row - self.starts[at])
    }

    fn seeks(&self) -> bool {
        !self.pieces.is_empty() && self.opened(0).is_ok_and(|p| p.seeks())
    }

    fn fingerprint(&self) -> u64 {
        0 // the plan is the key of all work
    }
}

/// Says to reached() that nothing more will be read.
const ENDED: usize = usize::MAX;

/// How far reading is, for the thread that takes digests: it is one file ahead.
#[derive(Default)]
struct Digests {
    reading: Mutex<usize>,
    /// The files whose digests are taken.
    taken: Mutex<Vec<Read>>,
    moved: Condvar,
    another: Condvar,
    failed: AtomicUsize,
}

impl Digests {
    fn reached(&self, piece: usize) {
        let mut reading = self.reading.lock().unwrap_or_else(|e| e.into_inner());
        *reading = piece.max(*reading);
        self.moved.notify_all();
    }

    /// Waits until the file before this one is being read.
    fn wait_for(&self, piece: usize) {
        let mut reading = self.reading.lock().unwrap_or_else(|e| e.into_inner());
        while *reading < piece.saturating_sub(1) {
            reading = self.moved.wait(reading).unwrap_or_else(|e| e.into_inner());
        }
    }

    fn ended(&self) -> bool {
        *self.reading.lock().unwrap_or_else(|e| e.into_inner()) == ENDED
    }

    fn taken(&self, read: Read) {
        self.lock().push(read);
        self.another.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Read>> {
        self.taken.lock().unwrap_or_else(|e| e.into_inner())
    }

    fn all(&self) -> Vec<Read> {
        self.lock().clone()
    }

    /// Waits for the digests of the first files; `None` where there will be none.
    fn first(&self, many: usize) -> Option<Vec<Read>> {
        let mut taken = self.lock();
        while taken.len() < many && !self.failed() {
            taken = self.another.wait(taken).unwrap_or_else(|e| e.into_inner());
        }
        taken.get(..many).map(<[Read]>::to_vec)
    }

    fn fail(&self) {
        let _taken = self.lock(); // nobody is between looking and waiting
        self.failed.store(1, Ordering::Relaxed);
        self.another.notify_all();
    }

    fn failed(&self) -> bool {
        self.failed.load(Ordering::Relaxed) == 1
    }
}
