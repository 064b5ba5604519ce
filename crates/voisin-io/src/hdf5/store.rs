//! Where the bytes of a data set lie in the file, checked against the file's size, and how rows of them are read.

use hdf5_reader::Dataset;
use hdf5_reader::messages::HdfMessage;
use hdf5_reader::messages::layout::DataLayout;
use voisin::Result;

use super::chunks::ChunkMap;
use super::{H5, parse};

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
        let bad = |what: String| file.error(dataset.name(), what);
        let shape = dataset.shape();
        let n = shape.first().copied().unwrap_or(1);
        let total =
            shape.iter().skip(1).try_fold(n.max(1), |a, &b| a.checked_mul(b)).and_then(|x| x.checked_mul(elem_size as u64));
        let total = if shape.contains(&0) { 0 } else { total.ok_or_else(|| bad(format!("its shape {shape:?} is too large")))? };

        let header = parse(file.path(), || file.file.get_or_parse_header(dataset.address()))?;
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
                if hdf5_reader::io::Cursor::is_undefined_offset(address, file.file.superblock().offset_size) {
                    return Err(bad("declared, but no values were ever written".into()));
                }
                let start = file.base.saturating_add(address);
                file.raw.check(start, total)?;
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
