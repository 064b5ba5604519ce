//! Writing the file of codes.

use super::codes::{Entry, HEADER, Header, array};
use super::{memory, pass};
use crate::{Block, Error, Metric, OnBad, Result, Source, Vectors, Watch, for_each_block};
use std::fs::File;
use std::io::{Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::xxh3_64;

/// What codes to make, and within which limits.
#[derive(Clone, Debug)]
pub struct PrepareParams {
    /// How vectors will be compared.
    pub metric: Metric,
    /// What to do with rows that cannot be ranked.
    pub on_bad: OnBad,
    /// Bound on the memory of the whole process in bytes; blocks shrink to fit.
    pub memory_limit: Option<u64>,
}

impl Default for PrepareParams {
    fn default() -> Self {
        PrepareParams { metric: Metric::L2, on_bad: OnBad::Error, memory_limit: None }
    }
}

/// What was written.
#[derive(Clone, Copy, Debug)]
pub struct Prepared8 {
    /// Bytes of the file: about n·(d + 12).
    pub bytes: u64,
    /// Rows left out under [`OnBad::Skip`].
    pub skipped: u64,
}

/// Writes the 8-bit codes of `base` to `path`, for [`super::ExactParams::codes`] and [`super::Prepared`].
///
/// The base is read once in blocks; the file, about n·(d + 12) bytes, appears under its name when it is whole and on disk.
/// It belongs to this base as it is now and to one metric, and holds the same bytes for any number of threads and any
/// memory limit.
///
/// # Errors
/// An empty base, more than 65,000 dimensions, rows that cannot be ranked, what reading and writing give, a memory limit too
/// small for one block, [`Error::Stopped`].
///
/// # Example
/// ```
/// use voisin::{Matrix, MemSource, Quiet, exact::{ExactParams, PrepareParams, exact, prepare}};
/// # let folder = tempfile::tempdir().unwrap();
/// # let path = folder.path().join("base.codes8");
/// let base = MemSource::new("base", Matrix::new((0..4000).map(|i| (0.7 * i as f32).sin()).collect(), 8));
/// let queries = MemSource::new("queries", Matrix::new(vec![0.5; 8], 8));
/// prepare(&base, &path, &PrepareParams::default(), &Quiet)?;
///
/// let plain = exact(&base, &queries, &ExactParams::default(), &Quiet)?;
/// let params = ExactParams { codes: Some(path), ..ExactParams::default() };
/// assert_eq!(exact(&base, &queries, &params, &Quiet)?.neighbors, plain.neighbors);
/// # Ok::<(), voisin::Error>(())
/// ```
pub fn prepare(base: &dyn Source, path: &Path, params: &PrepareParams, watch: &dyn Watch) -> Result<Prepared8> {
    if base.is_empty() {
        return Err(Error::Empty { name: base.name() });
    }
    let d = base.dim();
    if d > pass::MAX_CODED {
        return Err(Error::param("dimensions", d, format!("at most {} for codes", pass::MAX_CODED)));
    }
    let chunk = Header::chunk_rows(d);
    let mut header =
        Header { metric: params.metric, n: base.len(), d, chunk, fingerprint: base.fingerprint(), bad: 0, first_bad: u64::MAX };
    let block_rows = memory::prepare_rows(base, chunk, params)?;
    let mut out = Out::create(path)?;
    out.put(&[0; HEADER])?;
    let mut table = Vec::new();
    watch.begin("prepare", base.len(), "vectors");
    let done = for_each_block(base, 0..base.len(), block_rows, params.metric, params.on_bad, watch, |block| {
        header.bad += block.bad.len() as u64;
        if let (Some(&first), u64::MAX) = (block.bad.first(), header.first_bad) {
            header.first_bad = block.start + first as u64;
        }
        for from in (0..block.rows.n()).step_by(chunk) {
            let entry = write_chunk(block, from..(from + chunk).min(block.rows.n()), &header, &mut out)?;
            table.extend_from_slice(&entry.to_bytes());
        }
        watch.advance(block.rows.n() as u64);
        Ok(())
    });
    watch.end();
    done?;
    out.put(&table)?;
    let bytes = out.finish(&header.to_bytes(&table))?;
    Ok(Prepared8 { bytes, skipped: header.bad })
}

fn write_chunk(block: &Block, rows: std::ops::Range<usize>, header: &Header, out: &mut Out) -> Result<Entry> {
    let bad: Vec<usize> = block.bad.iter().filter(|b| rows.contains(b)).map(|b| b - rows.start).collect();
    let (n, d) = (rows.len(), header.d);
    let codes = pass::encode(Vectors::new(&block.rows.data()[rows.start * d..rows.end * d], d), &bad, header.metric);
    let extreme = !pass::certified(&codes);
    let parts = codes.view().parts();
    let mut bytes = Vec::with_capacity(header.chunk_bytes(n));
    bytes.extend_from_slice(parts.panels);
    for column in [parts.bias, parts.scale, parts.error] {
        let end = bytes.len() + array(n);
        column.iter().for_each(|x| bytes.extend_from_slice(&x.to_le_bytes()));
        bytes.resize(end, 0);
    }
    out.put(&bytes)?;
    Ok(Entry { reach: parts.reach, height: parts.height, bytes: parts.exact, extreme, digest: xxh3_64(&bytes) })
}

/// A file that appears under its name when it is finished, and leaves nothing otherwise (`.tmp` if the process is killed;
/// the next run writes over it).
struct Out {
    file: File,
    path: PathBuf,
    temporary: PathBuf,
    bytes: u64,
    finished: bool,
}

impl Out {
    fn create(path: &Path) -> Result<Out> {
        let temporary = path.with_added_extension("tmp");
        let file = File::create(&temporary).map_err(|e| Error::io(&temporary, e))?;
        Ok(Out { file, path: path.to_owned(), temporary, bytes: 0, finished: false })
    }

    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.bytes += bytes.len() as u64;
        self.file.write_all(bytes).map_err(|e| Error::io(&self.path, e))
    }

    /// Writes the header over the first bytes; the bytes of the file.
    fn finish(mut self, header: &[u8]) -> Result<u64> {
        let io = |e| Error::io(&self.path, e);
        self.file.seek(SeekFrom::Start(0)).map_err(io)?;
        self.file.write_all(header).map_err(io)?;
        self.file.sync_all().map_err(io)?;
        std::fs::rename(&self.temporary, &self.path).map_err(io)?;
        self.finished = true;
        #[cfg(unix)]
        {
            let folder = self.path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
            File::open(folder).and_then(|d| d.sync_all()).map_err(|e| Error::io(folder, e))?;
        }
        Ok(self.bytes)
    }
}

impl Drop for Out {
    fn drop(&mut self) {
        if !self.finished {
            let _ = std::fs::remove_file(&self.temporary);
        }
    }
}
