//! Index files of FAISS (`.index .faiss`): read into an index here, and written from one.
//!
//! Nothing is learned again: centroids, codebooks, ranges and maps are taken as they are, codes keep their bytes. Flat, IVFFlat,
//! IVFPQ, IVFScalarQuantizer, PQ, SQ, and around them PreTransform, IDMap and Refine(Flat) become an index with its words;
//! HNSW over Flat is searched through its own graph. Negative ids (hashes) become strings. Distances are reported as everywhere
//! here: the root of FAISS's squared L2.
//!
//! # Source
//! The layout of the files (a code of four characters, then fields, little-endian), as FAISS 1.15 writes them. A file is data:
//! every length is compared with the bytes that are left before anything is allocated, and what is not known is refused by name.

mod bytes;
mod graph;
mod plain;
mod read;
mod tree;
mod write;

use std::path::Path;

use voisin::graph::Graph;
use voisin::index::{Index, import};
use voisin::{Error, Result, Watch};

use crate::InFile;
pub use write::save;

/// Whether a file looks like an index of FAISS: a code of four characters that begins with I, and a possible number of dimensions
/// (which text is not).
pub fn is_faiss(path: &Path) -> bool {
    let Ok(head) = InFile::open(path).and_then(|f| f.head(8)) else { return false };
    let [b'I', code @ .., a, b, c, d] = &head[..] else { return false };
    let dimensions = i32::from_le_bytes([*a, *b, *c, *d]);
    code.len() == 3 && code.iter().all(u8::is_ascii_alphanumeric) && (1..=read::MOST as i32).contains(&dimensions)
}

/// Makes the folder of an index from the file of a FAISS index.
///
/// Memory: the file. What is in the folder is replaced when the new index is complete.
///
/// # Errors
/// [`Error::Format`] for a damaged file, one that is not trained, a kind of index that is not read; as [`import`].
pub fn load(path: &Path, dir: &Path, watch: &dyn Watch) -> Result<()> {
    let bytes = whole(path)?;
    load_bytes(path, &bytes, dir, watch)
}

fn whole(path: &Path) -> Result<Vec<u8>> {
    let file = InFile::open(path)?;
    file.bytes(0, file.len())
}

/// As [`load`] for the bytes of a file.
///
/// # Errors
/// As [`load`].
pub fn load_bytes(path: &Path, bytes: &[u8], dir: &Path, watch: &dyn Watch) -> Result<()> {
    let tree = read::read(bytes).map_err(|what| wrong(path, what))?;
    if graph::graph(&tree).is_some() {
        let what = "a graph (HNSW) is no index folder; `voisin search` and `voisin info` take the file itself";
        return Err(wrong(path, what.into()));
    }
    let index = plain::portable(tree).map_err(|what| wrong(path, what))?;
    import(dir, &path.display().to_string(), &index, watch)
}

fn wrong(path: &Path, what: String) -> Error {
    Error::format(path, format!("FAISS index: {what}"))
}

/// Reads the bytes of a file as far as that is possible without writing anything; for tests.
///
/// # Errors
/// As [`load`].
pub fn check_bytes(path: &Path, bytes: &[u8]) -> Result<u64> {
    let tree = read::read(bytes).map_err(|what| wrong(path, what))?;
    match graph::graph(&tree) {
        Some(graph) => graph.map(|g| g.len() as u64).map_err(|what| wrong(path, what)),
        None => plain::portable(tree).map(|p| p.rows()).map_err(|what| wrong(path, what)),
    }
}

/// Opens the graph of an HNSW file; `None` for other files.
///
/// # Errors
/// As [`load`].
pub fn open_graph(path: &Path) -> Result<Option<Graph>> {
    let bytes = whole(path)?;
    let tree = read::read(&bytes).map_err(|what| wrong(path, what))?;
    graph::graph(&tree).transpose().map_err(|what| wrong(path, what))
}

/// Opens the file of a FAISS index for searching.
///
/// It is made into an index in a temporary folder, which is removed as soon as it is open: the system keeps what is mapped.
/// Cost: that of [`load`].
///
/// # Errors
/// As [`load`].
pub fn open(path: &Path, watch: &dyn Watch) -> Result<Index> {
    let io = |e| Error::io(std::env::temp_dir(), e);
    let folder = tempfile::Builder::new().prefix("voisin-faiss-").tempdir().map_err(io)?;
    let dir = folder.path().join("index");
    load(path, &dir, watch)?;
    let index = Index::open(&dir)?;
    #[cfg(not(unix))]
    let _ = folder.keep();
    Ok(index)
}
