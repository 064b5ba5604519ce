//! Results as arrays: npz, ivecs, ibin.

use std::io::Write;
use std::path::Path;

use voisin::{Error, Metric, Result};

use super::ResultFile;
use crate::{AtomicFile, Elem, npy};

/// `neighbors` (nq, k) i64 and `distances` (nq, k) f32, as `numpy.savez` stores them.
pub(super) fn npz(path: &Path, file: &ResultFile<'_>) -> Result<()> {
    let shape = [file.neighbors.len() as u64, file.neighbors.k() as u64];
    let (ids, distances) = file.neighbors.padded();
    let mut out = AtomicFile::create(path)?;
    {
        let mut zip = zip::ZipWriter::new(out.out());
        let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
        let mut member =
            |name: &str, elem: Elem, values: &mut dyn Iterator<Item = [u8; 8]>, size: usize| -> std::io::Result<()> {
                zip.start_file(name, stored)?;
                zip.write_all(&npy::header_bytes(elem, &shape))?;
                let mut bytes = Vec::with_capacity(1 << 16);
                for v in values {
                    bytes.extend_from_slice(&v[..size]);
                    if bytes.len() >= 1 << 16 {
                        zip.write_all(&bytes)?;
                        bytes.clear();
                    }
                }
                zip.write_all(&bytes)
            };
        let wide = |d: f32| {
            let [a, b, c, e] = d.to_le_bytes();
            [a, b, c, e, 0, 0, 0, 0]
        };
        member("neighbors.npy", Elem::I64, &mut ids.iter().map(|id| id.to_le_bytes()), 8)
            .and_then(|()| member("distances.npy", Elem::F32, &mut distances.iter().map(|&d| wide(d)), 4))
            .and_then(|()| zip.finish().map(|_| ()).map_err(std::io::Error::from))
            .map_err(|e| Error::io(path, e))?;
    }
    out.commit()
}

/// TEXMEX: each row i32 k, then k ids.
pub(super) fn ivecs(path: &Path, file: &ResultFile<'_>) -> Result<()> {
    let k = file.neighbors.k();
    let ids = file.ids_i32(path, 0)?;
    let mut out = AtomicFile::create(path)?;
    for row in ids.chunks_exact(k.max(1)) {
        out.write(&(k as i32).to_le_bytes())?;
        for id in row {
            out.write(&id.to_le_bytes())?;
        }
    }
    out.commit()
}

/// big-ann truth: u32 queries, u32 k, all ids i32, all distances f32. L2 is squared there, as FAISS and DiskANN leave it.
pub(super) fn ibin(path: &Path, file: &ResultFile<'_>) -> Result<()> {
    let ids = file.ids_i32(path, 0)?;
    let (_, distances) = file.neighbors.padded();
    let mut out = AtomicFile::create(path)?;
    for size in [file.neighbors.len(), file.neighbors.k()] {
        let size = u32::try_from(size).map_err(|_| Error::format(path, "more rows than 32 bits count; write .h5 or .npz"))?;
        out.write(&size.to_le_bytes())?;
    }
    for id in ids {
        out.write(&id.to_le_bytes())?;
    }
    for d in distances {
        let d = if file.metric == Metric::L2 { d * d } else { d };
        out.write(&d.to_le_bytes())?;
    }
    out.commit()
}
