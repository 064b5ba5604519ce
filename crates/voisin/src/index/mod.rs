//! An index: a folder of immutable, checksummed files that is built, searched, changed and verified.

mod params;

pub use params::{
    AddParams, AddReport, BuildParams, BuildReport, CompactReport, IdList, Ids, IndexInfo, Problem, RemoveReport, SearchParams,
    SearchResult, Seconds, VerifyReport,
};

use crate::partition::Partition;
use crate::{Error, Metric, Result, Source, Spec, Vectors, Watch};
use std::path::Path;

/// An index opened for searching; the files are mapped, not read.
#[derive(Debug)]
pub struct Index {
    spec: Spec,
}

#[allow(unused_variables, missing_docs)]
impl Index {
    /// Opens the index in a folder; milliseconds, whatever its size.
    ///
    /// # Errors
    /// A file that is missing, damaged, or of a newer format.
    pub fn open(dir: impl AsRef<Path>) -> Result<Index> {
        Err(Error::param("index", "", "not written yet"))
    }

    /// The nearest neighbours of each query.
    ///
    /// # Errors
    /// k or nprobe of 0, another dimension, queries that cannot be ranked, `mass` without a learned index, damaged lists.
    pub fn search(&self, queries: Vectors<'_>, params: &SearchParams) -> Result<SearchResult> {
        todo!()
    }
    pub fn spec(&self) -> &Spec {
        &self.spec
    }
    pub fn metric(&self) -> Metric {
        todo!()
    }
    /// Number of vectors.
    pub fn len(&self) -> u64 {
        todo!()
    }
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
    pub fn dim(&self) -> usize {
        todo!()
    }
    pub fn partition(&self) -> &Partition {
        todo!()
    }
    /// Vectors a list.
    pub fn list_sizes(&self) -> Vec<u64> {
        todo!()
    }
    pub fn info(&self) -> IndexInfo {
        todo!()
    }
    pub fn has_string_ids(&self) -> bool {
        todo!()
    }
    /// The number that stands for a string id.
    pub fn find(&self, id: &str) -> Result<Option<u64>> {
        todo!()
    }
    /// The string that a number of a result stands for.
    pub fn string_id(&self, id: u64) -> Result<Option<&str>> {
        todo!()
    }
    /// A stored vector (at unit length under cosine).
    pub fn vector_of(&self, id: u64) -> Result<Option<&[f32]>> {
        todo!()
    }
}

/// Builds an index of `base` in `dir`.
///
/// # Errors
/// What reading and writing give; bad rows; parameters out of range.
pub fn build(base: &dyn Source, dir: &Path, params: &BuildParams, watch: &dyn Watch) -> Result<BuildReport> {
    let _ = (base, dir, params, watch);
    Err(Error::param("build", "", "not written yet"))
}

/// Adds vectors.
///
/// # Errors
/// An id that exists (without `replace`) or stands twice in the source; what reading and writing give.
pub fn add(dir: &Path, source: &dyn Source, params: &AddParams, watch: &dyn Watch) -> Result<AddReport> {
    let _ = (dir, source, params, watch);
    Err(Error::param("add", "", "not written yet"))
}

/// Removes vectors by id; an unknown id is an error unless `missing_ok`.
///
/// # Errors
/// Unknown ids, ids of another kind, what writing gives; nothing is removed then.
pub fn remove(dir: &Path, ids: &IdList, missing_ok: bool) -> Result<RemoveReport> {
    let _ = (dir, ids, missing_ok);
    Err(Error::param("remove", "", "not written yet"))
}

/// Writes all segments anew as one, without deleted vectors.
///
/// # Errors
/// Damaged files, what writing gives; the index is as before then.
pub fn compact(dir: &Path, watch: &dyn Watch) -> Result<CompactReport> {
    let _ = (dir, watch);
    Err(Error::param("compact", "", "not written yet"))
}

/// Reads every byte of an index and lists what is wrong.
///
/// # Errors
/// If the folder cannot be read at all or holds no index.
pub fn verify(dir: &Path, watch: &dyn Watch) -> Result<VerifyReport> {
    let _ = (dir, watch);
    Err(Error::param("verify", "", "not written yet"))
}
