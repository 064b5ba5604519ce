//! Where the bytes of a data set lie in the file, checked against the file's size, and how rows of them are read.

use super::chunks::ChunkMap;
use super::{H5, parse};
use hdf5_reader::Dataset;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::layout::DataLayout;
use std::os::unix::fs::FileExt;
use std::path::Path;
use voisin::{Error, Result};

/// The bytes of a data set of n rows, each of `row_bytes`.
pub(crate) enum Store {
    /// In the object header.
    Compact(Vec<u8>),
    /// One run of the file from this byte on.
    Contiguous(u64),
    /// Pieces, often compressed.
    Chunked(Box<ChunkMap>),
}

impl Store {
    /// Finds the bytes of `dataset`, seen as `shape[0]` rows of `shape[1]` elements (one where it has one axis).
    ///
    /// # Errors
    /// A layout that is not supported, or one that lies outside the file or was never written.
    pub fn find(file: &H5, dataset: &Dataset, elem_size: usize) -> Result<Store> {
        let bad = |what: String| Error::format(&file.path, format!("data set {}: {what}", dataset.name()));
        let shape = dataset.shape();
        let n = shape.first().copied().unwrap_or(1);
        let width: u64 = shape.iter().skip(1).try_fold(1u64, |a, &b| a.checked_mul(b)).ok_or_else(|| bad("shape overflows".into()))?;
        let total = n.checked_mul(width).and_then(|x| x.checked_mul(elem_size as u64)).ok_or_else(|| bad("shape overflows".into()))?;

        let header = parse(&file.path, || file.file.get_or_parse_header(dataset.address()))?;
        let mut layout = None;
        let mut filters = Vec::new();
        for message in &header.messages {
            match message {
                HdfMessage::DataLayout(m) => layout = Some(m.layout.clone()),
                HdfMessage::FilterPipeline(m) => filters = m.filters.clone(),
                HdfMessage::ExternalFiles(_) => return Err(bad("its bytes are in other files, which is not supported".into())),
                _ => {}
            }
        }
        match layout.ok_or_else(|| bad("no data layout".into()))? {
            DataLayout::Compact { data } if data.len() as u64 == total => Ok(Store::Compact(data)),
            DataLayout::Compact { data } => Err(bad(format!("{} bytes where its shape {shape:?} needs {total}", data.len()))),
            _ if total == 0 => Ok(Store::Compact(Vec::new())),
            DataLayout::Contiguous { address, .. } => {
                // an address of all ones marks storage that was never allocated
                if address >= file.len {
                    return Err(bad("declared, but no values were ever written".into()));
                }
                let start = file.base + address;
                let end = start.checked_add(total).ok_or_else(|| bad("its bytes lie beyond any file".into()))?;
                if end > file.len {
                    return Err(bad(format!("its bytes end at {end}, the file has {} (truncated?)", file.len)));
                }
                Ok(Store::Contiguous(start))
            }
            DataLayout::Chunked { address, mut dims, chunk_indexing, .. } => {
                if dims.len() == shape.len() + 1 {
                    dims.pop(); // older layouts repeat the element size as a last dimension
                }
                let map = ChunkMap::load(file, dataset, address, &dims, chunk_indexing.as_ref(), filters, elem_size)?;
                Ok(Store::Chunked(Box::new(map)))
            }
        }
    }

    /// "contiguous", "chunked 1024x384, gzip + shuffle".
    pub fn describe(&self) -> String {
        match self {
            Store::Compact(_) => "compact".into(),
            Store::Contiguous(_) => "contiguous".into(),
            Store::Chunked(map) => map.describe(),
        }
    }
}

/// Fills `out` from byte `at` of the file.
pub(crate) fn pread(file: &std::fs::File, path: &Path, at: u64, out: &mut [u8]) -> Result<()> {
    file.read_exact_at(out, at).map_err(|e| match e.kind() {
        std::io::ErrorKind::UnexpectedEof => Error::format(path, format!("ends before byte {}", at + out.len() as u64)),
        _ => Error::io(path, e),
    })
}
