//! A dataset on disk or in memory, streamed in blocks of rows.

use crate::{Error, Matrix, Metric, Result, Vectors, Watch};
use serde::{Deserialize, Serialize};

/// A dataset of n vectors of d dimensions, read as f32 in blocks. Implemented by every file format of `voisin-io`.
pub trait Source: Send + Sync {
    /// Number of rows.
    fn len(&self) -> u64;

    /// Whether there is no row.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimensions of a row.
    fn dim(&self) -> usize;

    /// What to call it in messages: file name, and data set where the file has several.
    fn name(&self) -> String;

    /// Fills `out` with the rows from `start`: row-major, `out.len() / dim()` rows, all within `len()`.
    ///
    /// # Errors
    /// What reading the file may give; values are handed on as they are (also NaN).
    fn read(&self, start: u64, out: &mut [f32]) -> Result<()>;

    /// File and row in that file of a row, for messages. Datasets of several files override it.
    fn locate(&self, row: u64) -> (String, u64) {
        (self.name(), row)
    }

    /// String ids, one a row, where the file has them.
    ///
    /// # Errors
    /// If they are there but cannot be read.
    fn ids(&self) -> Result<Option<StringIds>> {
        Ok(None)
    }

    /// Calls `visit(row, id)` for every row in order; `false` (and no call) where the rows have no string ids. Datasets of
    /// several files hold the ids of one file at a time.
    ///
    /// # Errors
    /// As [`Source::ids`].
    fn scan_ids(&self, visit: &mut dyn FnMut(u64, &str)) -> Result<bool> {
        let ids = self.ids()?;
        if let Some(ids) = &ids {
            ids.iter().enumerate().for_each(|(row, id)| visit(row as u64, id));
        }
        Ok(ids.is_some())
    }

    /// The metric that the file itself names (ann-benchmarks' `distance` attribute).
    fn metric(&self) -> Option<Metric> {
        None
    }

    /// Name and version of what made the vectors, where the file says: a descriptor, or a model with its preprocessing.
    fn made_by(&self) -> Option<String> {
        None
    }

    /// A few bytes that change when the content is likely to have changed (sizes, times): the key of resumable work.
    fn fingerprint(&self) -> u64 {
        0
    }

    /// The layer that its rows pass through as they are read.
    fn layer(&self) -> Option<crate::LayerId> {
        None
    }

    /// Whether a single row is read at about the cost of its bytes, without what stands around it.
    fn seeks(&self) -> bool {
        false
    }

    /// Bytes that `read` needs beside the output for a block of `rows` (decompressed chunks and the like).
    fn overhead(&self, rows: usize) -> u64 {
        let _ = rows;
        0
    }
}

/// Many strings in one allocation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StringIds {
    text: String,
    ends: Vec<usize>,
}

impl StringIds {
    /// Number of strings.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// String `i`.
    pub fn get(&self, i: usize) -> &str {
        let start = if i == 0 { 0 } else { self.ends[i - 1] };
        &self.text[start..self.ends[i]]
    }

    /// Appends one.
    pub fn push(&mut self, s: &str) {
        self.text.push_str(s);
        self.ends.push(self.text.len());
    }

    /// All of them in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        (0..self.len()).map(|i| self.get(i))
    }
}

impl<S: AsRef<str>> FromIterator<S> for StringIds {
    fn from_iter<I: IntoIterator<Item = S>>(iter: I) -> Self {
        let mut out = StringIds::default();
        iter.into_iter().for_each(|s| out.push(s.as_ref()));
        out
    }
}

/// A dataset in memory.
#[derive(Clone, Debug)]
pub struct MemSource {
    name: String,
    matrix: Matrix,
    ids: Option<StringIds>,
    metric: Option<Metric>,
}

impl MemSource {
    /// Wraps a matrix; `name` appears in messages.
    pub fn new(name: impl Into<String>, matrix: Matrix) -> Self {
        MemSource { name: name.into(), matrix, ids: None, metric: None }
    }

    /// Adds string ids, one a row.
    pub fn with_ids(mut self, ids: Option<StringIds>) -> Self {
        self.ids = ids;
        self
    }

    /// Says which metric the data is made for.
    pub fn with_metric(mut self, metric: Option<Metric>) -> Self {
        self.metric = metric;
        self
    }

    /// The vectors.
    pub fn view(&self) -> Vectors<'_> {
        self.matrix.view()
    }
}

impl Source for MemSource {
    fn len(&self) -> u64 {
        self.matrix.n() as u64
    }

    fn dim(&self) -> usize {
        self.matrix.d()
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let at = start as usize * self.matrix.d();
        out.copy_from_slice(&self.matrix.data()[at..at + out.len()]);
        Ok(())
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        Ok(self.ids.clone())
    }

    fn metric(&self) -> Option<Metric> {
        self.metric
    }

    fn fingerprint(&self) -> u64 {
        xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(self.matrix.data()))
    }
}

/// Why a row cannot be ranked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BadRow {
    /// A value is not a number.
    NaN,
    /// A value is infinite.
    Infinite,
    /// All values are zero, which has no direction (cosine only).
    Zero,
}

impl std::fmt::Display for BadRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            BadRow::NaN => "a value is NaN",
            BadRow::Infinite => "a value is infinite",
            BadRow::Zero => "a zero vector has no direction under cosine",
        })
    }
}

/// What to do with rows that cannot be ranked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnBad {
    /// Refuse the input, naming file and row.
    #[default]
    Error,
    /// Leave them out and count them.
    Skip,
}

/// Rows of `block` that cannot be ranked, with the reason; in order.
pub fn screen(block: Vectors<'_>, metric: Metric) -> Vec<(usize, BadRow)> {
    let mut bad = Vec::new();
    for (i, row) in block.iter().enumerate() {
        if !voisin_kernels::all_finite(row) {
            let what = if row.iter().any(|x| x.is_nan()) { BadRow::NaN } else { BadRow::Infinite };
            bad.push((i, what));
        } else if metric == Metric::Cosine && row.iter().all(|&x| x == 0.0) {
            bad.push((i, BadRow::Zero));
        }
    }
    bad
}

/// A block of rows read from a [`Source`].
#[derive(Debug)]
pub struct Block {
    /// Row number of the first row.
    pub start: u64,
    /// The rows.
    pub rows: Matrix,
    /// Rows in it that cannot be ranked, ascending; empty under [`OnBad::Error`].
    pub bad: Vec<usize>,
}

/// Streams `range` of `source` in blocks of at most `block_rows`, the next block being read while `f` works.
///
/// Memory: two blocks, reused. Every row is screened for `metric`.
///
/// # Errors
/// What reading gives; [`Error::BadRow`] under [`OnBad::Error`]; whatever `f` returns; [`Error::Stopped`].
pub fn for_each_block(
    source: &dyn Source,
    range: std::ops::Range<u64>,
    block_rows: usize,
    metric: Metric,
    on_bad: OnBad,
    watch: &dyn Watch,
    mut f: impl FnMut(&Block) -> Result<()>,
) -> Result<()> {
    let starts: Vec<u64> = (range.start..range.end).step_by(block_rows.max(1)).collect();
    let load = |start: u64, used: Option<Block>| -> Result<Block> {
        let n = (range.end - start).min(block_rows as u64) as usize;
        let mut rows = match used {
            Some(block) if block.rows.n() == n => block.rows,
            _ => Matrix::zeros(n, source.dim()),
        };
        source.read(start, rows.data_mut())?;
        let bad = screen(rows.view(), metric);
        if let (OnBad::Error, Some(&(i, what))) = (on_bad, bad.first()) {
            let (name, row) = source.locate(start + i as u64);
            return Err(Error::BadRow { name, row, what });
        }
        Ok(Block { start, rows, bad: bad.into_iter().map(|b| b.0).collect() })
    };
    std::thread::scope(|scope| {
        let (send, receive) = std::sync::mpsc::sync_channel(0);
        let (give_back, used) = std::sync::mpsc::channel();
        let (starts, load) = (&starts, &load);
        scope.spawn(move || {
            for &start in starts {
                let block = load(start, used.try_recv().ok());
                let failed = block.is_err();
                if send.send(block).is_err() || failed {
                    return;
                }
            }
        });
        for _ in 0..starts.len() {
            watch.check()?;
            let block = receive.recv().expect("the reader sends every block or an error")?;
            f(&block)?;
            let _ = give_back.send(block);
        }
        Ok(())
    })
}

/// Reads a whole source into memory, screened.
///
/// # Errors
/// As [`for_each_block`] under [`OnBad::Error`]; [`Error::Empty`] without rows.
pub fn read_all(source: &dyn Source, metric: Metric) -> Result<Matrix> {
    read_good(source, metric, OnBad::Error).map(|(rows, _)| rows)
}

/// Reads the rows of a source that can be ranked into memory, and how many were left out under [`OnBad::Skip`].
///
/// # Errors
/// [`Error::BadRow`] under [`OnBad::Error`]; [`Error::Empty`] if no row is left; what reading gives.
pub fn read_good(source: &dyn Source, metric: Metric, on_bad: OnBad) -> Result<(Matrix, u64)> {
    let mut m = Matrix::zeros(source.len() as usize, source.dim());
    if !source.is_empty() {
        source.read(0, m.data_mut())?;
    }
    let bad = screen(m.view(), metric);
    if let (Some(&(i, what)), OnBad::Error) = (bad.first(), on_bad) {
        let (name, row) = source.locate(i as u64);
        return Err(Error::BadRow { name, row, what });
    }
    if bad.len() as u64 == source.len() {
        return Err(Error::Empty { name: source.name() });
    }
    if !bad.is_empty() {
        let good = (0..m.n()).filter(|i| bad.binary_search_by_key(i, |b| b.0).is_err());
        m = Matrix::new(good.flat_map(|i| m.row(i)).copied().collect(), m.d());
    }
    Ok((m, bad.len() as u64))
}

/// Reads rows that ascend, each where it lies; neighbouring ones together.
///
/// # Errors
/// What reading gives.
pub fn read_rows(source: &dyn Source, rows: &[u64]) -> Result<Matrix> {
    let d = source.dim();
    let mut out = Matrix::zeros(rows.len(), d);
    let mut at = 0;
    while at < rows.len() {
        let many = 1 + rows[at..].windows(2).take_while(|w| w[1] == w[0] + 1).count();
        source.read(rows[at], &mut out.data_mut()[at * d..(at + many) * d])?;
        at += many;
    }
    Ok(out)
}
