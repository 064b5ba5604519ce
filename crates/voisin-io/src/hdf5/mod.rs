//! HDF5 (`.h5 .hdf5`): any numeric (n, d) data set, contiguous or chunked, with string ids beside it.
//!
//! The crate `hdf5-reader` parses the metadata; the values are read here, straight from the file into blocks of f32,
//! because that is what the time goes into. Format: "HDF5 File Format Specification Version 3.0", The HDF Group.

mod chunks;
mod lzf;
mod source;
mod store;
mod strings;
mod tree;
mod writer;

use std::path::Path;
use std::sync::Arc;

use hdf5_reader::storage::{Storage, StorageBuffer};
use hdf5_reader::{Hdf5File, OpenOptions};
use voisin::{Error, Metric, Result, Source, Watch};

use crate::guard::guarded;
use crate::{Dataset, Elem, Encoder, InFile, Role, WriteOptions, stream, wanted_elem};

pub(crate) use source::{H5Source, stored_bytes};
pub use strings::texts;
pub(crate) use strings::{ID_NAMES, read as read_strings};
pub(crate) use tree::{Found, by_name, walk};
pub use writer::AttrValue;
pub(crate) use writer::Writer;

/// Opens a data set of an HDF5 file: the one named (`emb`, `otest/queries`), or the one that fits `role`.
///
/// Only metadata is read here; rows are read as they are asked for.
///
/// # Errors
/// [`Error::Format`] for a file that is no HDF5 or damaged, without such a data set, or with several that fit.
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let file = H5::open(file)?;
    let found = tree::choose(&file, dataset, role)?;
    Ok(Box::new(H5Source::new(file, found)?))
}

/// Lists every data set of an HDF5 file.
///
/// # Errors
/// [`Error::Format`] for a file that is no HDF5 or damaged.
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    describe_file(Arc::new(InFile::open(path)?))
}

/// As [`describe`] for a file that is open already.
///
/// # Errors
/// As [`describe`].
pub fn describe_file(file: Arc<InFile>) -> Result<Vec<Dataset>> {
    let file = H5::open(file)?;
    Ok(tree::walk(&file)?.iter().map(|found| found.describe(&file)).collect())
}

/// An open HDF5 file.
pub(crate) struct H5 {
    pub file: Hdf5File,
    /// The same file, for reading values past the library.
    pub raw: Arc<InFile>,
    /// Where the HDF5 part begins (after a user block); addresses count from here.
    pub base: u64,
}

impl H5 {
    /// Opens and checks that the file is as long as it says.
    pub fn open(raw: Arc<InFile>) -> Result<H5> {
        // no cache of decompressed chunks in the library: rows are cached by `H5Source`
        let options = OpenOptions { chunk_cache_bytes: 0, max_read_bytes: 1 << 24, ..OpenOptions::default() };
        let storage = Arc::new(Ranges(raw.clone()));
        let file = parse(raw.path(), || Hdf5File::from_storage_with_options(storage, options))?;
        let superblock = file.superblock();
        let (base, end) = (superblock.base_address, superblock.eof_address);
        if end > raw.len() {
            let what = format!("truncated: it should have {end} bytes, but the file has only {} bytes", raw.len());
            return Err(Error::format(raw.path(), what));
        }
        Ok(H5 { file, raw, base })
    }

    pub fn path(&self) -> &Path {
        self.raw.path()
    }

    /// An error in a data set.
    pub fn error(&self, dataset: &str, what: impl std::fmt::Display) -> Error {
        Error::format(self.path(), format!("data set `{}`: {what}", dataset.trim_matches('/')))
    }

    /// A text attribute of the file.
    pub fn attribute(&self, name: &str) -> Option<String> {
        parse(self.path(), || self.file.root_group()?.attribute(name)?.read_string()).ok()
    }

    /// A number from 0 that is an attribute of the file.
    pub fn count(&self, name: &str) -> Option<u64> {
        let value = parse(self.path(), || self.file.root_group()?.attribute(name)?.read_as_f64()).ok()?;
        (value >= 0.0 && value.fract() == 0.0 && value < 2f64.powi(53)).then_some(value as u64)
    }

    /// The metric that the file's `distance` attribute names (ann-benchmarks).
    pub fn metric(&self) -> Option<Metric> {
        self.attribute("distance")?.trim().parse().ok()
    }
}

/// The file as the library wants it.
struct Ranges(Arc<InFile>);

impl Storage for Ranges {
    fn len(&self) -> u64 {
        self.0.len()
    }

    fn read_range(&self, offset: u64, len: usize) -> hdf5_reader::error::Result<StorageBuffer> {
        let bytes = self.0.bytes(offset, len as u64).map_err(|e| hdf5_reader::error::Error::Other(e.to_string()))?;
        Ok(StorageBuffer::from_vec(bytes))
    }
}

/// Runs a call into the parsing library.
pub(crate) fn parse<T>(path: &Path, f: impl FnOnce() -> hdf5_reader::error::Result<T>) -> Result<T> {
    guarded(path, "HDF5", f)
}

/// Writes vectors as one contiguous data set (`emb` unless named), f32 unless `options.dtype` says otherwise, with string
/// ids as `ids` beside it and the metric as the attribute `distance`.
///
/// # Errors
/// What reading gives; a value that the type cannot hold; [`Error::Io`]; [`Error::Stopped`]. Nothing is left then.
pub fn write(path: &Path, source: &dyn Source, options: &WriteOptions, watch: &dyn Watch) -> Result<()> {
    use Elem::*;
    let elem = wanted_elem(options, F32, &[F16, BF16, F32, F64, U8, I8, U16, I16, U32, I32, U64, I64], "HDF5")?;
    let name = options.dataset.as_deref().unwrap_or("emb").trim_matches('/');
    let group = name.rfind('/').map_or("", |i| &name[..=i]);
    let mut out = Writer::create(path)?;
    out.begin(name, elem, &[source.len(), source.dim() as u64])?;
    let mut encoder = Encoder::new(source, elem);
    stream(source, "writing", watch, |start, rows| out.values(encoder.encode(start, rows)?))?;
    out.end()?;
    if let Some(ids) = source.ids()? {
        out.strings(&format!("{group}ids"), &[ids.len() as u64], ids.iter())?;
    }
    if let Some(metric) = source.metric() {
        out.attribute("distance", AttrValue::Text(ann_name(metric).into()));
    }
    if let Some(made_by) = source.made_by() {
        out.attribute("made_by", AttrValue::Text(made_by));
    }
    out.finish()
}

/// What ann-benchmarks calls a metric.
pub(crate) fn ann_name(metric: Metric) -> &'static str {
    match metric {
        Metric::L2 => "euclidean",
        Metric::Ip => "ip",
        Metric::Cosine => "angular",
    }
}
