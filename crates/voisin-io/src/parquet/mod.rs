//! Parquet: a column of lists of numbers, all of one length, with ids in a column beside it.
//!
//! Read through the column API of the `parquet` crate, without Arrow: a list column is its values with repetition and
//! definition levels, and the levels of equally long lists without nulls follow one pattern that is checked as it is read.
//! Format: <https://parquet.apache.org/docs/file-format/>.

mod column;
mod ids;
mod pages;
mod source;
mod write;

use std::io::{BufReader, Seek, SeekFrom};
use std::path::Path;
use std::sync::Arc;

use parquet::errors::ParquetError;
use parquet::file::reader::{ChunkReader, FileReader, Length, SerializedFileReader};
use parquet::schema::types::SchemaDescriptor;
use voisin::{Error, Result, Source};

use crate::guard::guarded;
use crate::{Cursor, Dataset, InFile, Role, choose};

pub use write::write;

/// Values that a byte of a file may stand for: dictionaries and compression pack well, but a file that claims more than
/// this is damaged.
const MOST_EXPANSION: u64 = 4096;

/// Opens a column of vectors: the one named, or the one that fits.
///
/// # Errors
/// [`Error::Format`] for a file that is no Parquet or damaged, without such a column, or with several that fit.
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let file = File::open(file)?;
    let columns = column::all(&file)?;
    let sets: Vec<Dataset> = columns.iter().map(|c| c.dataset(&file)).collect();
    let i = choose(&sets, dataset.filter(|d| !d.is_empty()), role, file.path())?;
    Ok(Box::new(source::ParquetSource::new(file, columns[i].clone())?))
}

/// Lists the columns.
///
/// # Errors
/// [`Error::Format`] for a file that is no Parquet or damaged.
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    describe_file(Arc::new(InFile::open(path)?))
}

/// As [`describe`] for a file that is open already.
///
/// # Errors
/// As [`describe`].
pub fn describe_file(file: Arc<InFile>) -> Result<Vec<Dataset>> {
    let file = File::open(file)?;
    Ok(column::all(&file)?.iter().map(|c| c.dataset(&file)).collect())
}

/// An open file.
struct File {
    raw: Arc<InFile>,
    reader: SerializedFileReader<Chunks>,
    /// First row of each row group, and the number of rows at the end.
    starts: Vec<u64>,
}

impl File {
    fn open(raw: Arc<InFile>) -> Result<File> {
        parse(raw.path(), || pages::check_footer(&raw))?;
        let reader = parse(raw.path(), || SerializedFileReader::new(Chunks(raw.clone())))?;
        let mut starts = vec![0u64];
        for group in reader.metadata().row_groups() {
            let rows = u64::try_from(group.num_rows()).ok();
            let end = rows.and_then(|rows| starts[starts.len() - 1].checked_add(rows));
            let end = end.filter(|&end| end <= raw.len().saturating_mul(MOST_EXPANSION));
            starts.push(end.ok_or_else(|| Error::format(raw.path(), format!("a row group of {} rows", group.num_rows())))?);
        }
        Ok(File { raw, reader, starts })
    }

    fn path(&self) -> &Path {
        self.raw.path()
    }

    /// Number of rows.
    fn rows(&self) -> u64 {
        self.starts[self.starts.len() - 1]
    }

    fn reader_schema(&self) -> &SchemaDescriptor {
        self.reader.metadata().file_metadata().schema_descr()
    }

    fn error(&self, column: &str, what: impl std::fmt::Display) -> Error {
        Error::format(self.path(), format!("column `{column}`: {what}"))
    }
}

/// The file as the library wants it.
struct Chunks(Arc<InFile>);

impl Length for Chunks {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Chunks {
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> parquet::errors::Result<Self::T> {
        let mut cursor = self.0.cursor();
        cursor.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(cursor))
    }

    fn get_bytes(&self, start: u64, length: usize) -> parquet::errors::Result<bytes::Bytes> {
        let bytes = self.0.bytes(start, length as u64).map_err(|e| ParquetError::EOF(e.to_string()))?;
        Ok(bytes.into())
    }
}

/// Runs a call into the library.
fn parse<T>(path: &Path, f: impl FnOnce() -> parquet::errors::Result<T>) -> Result<T> {
    guarded(path, "Parquet", f)
}
