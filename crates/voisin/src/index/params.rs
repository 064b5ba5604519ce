//! What building, changing and searching an index are asked, and what they answer.

use super::filter::Filter;
use super::manifest::IdKind;
use super::targets::Promise;
use crate::partition::{Epoch, KMeansParams, Mlp, PAIRED_ITERATIONS, RouterParams, TrainParams};
use crate::{Matrix, Metric, Neighbors, OnBad, Source, Spec, StringIds};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Ids that somebody names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum IdList {
    /// Numbers.
    Numbers(Vec<u64>),
    /// Strings.
    Strings(StringIds),
}

impl IdList {
    /// Number of ids.
    pub fn len(&self) -> usize {
        match self {
            IdList::Numbers(n) => n.len(),
            IdList::Strings(s) => s.len(),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    pub(super) fn kind(&self) -> IdKind {
        if matches!(self, IdList::Numbers(_)) { IdKind::Numbers } else { IdKind::Strings }
    }

    /// Id `i` as text, for messages.
    pub fn text(&self, i: usize) -> String {
        match self {
            IdList::Numbers(n) => n[i].to_string(),
            IdList::Strings(s) => s.get(i).to_owned(),
        }
    }
}

/// Where the ids of new vectors come from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Ids {
    /// The string ids of the source where it has them, numbers otherwise.
    #[default]
    FromSource,
    /// Numbers: in a build the row number, from [`BuildParams::first_id`] on; in an addition from [`AddParams::first_id`].
    Count,
    /// These, one a row of the source.
    Given(IdList),
}

/// Captions for paired k-means, and which image each belongs to.
#[derive(Clone)]
pub struct Captions {
    /// The captions, of the dimensions of the base.
    pub source: Arc<dyn Source>,
    /// The row of the base that each caption belongs to, `None` for one that is left out; without it its nearest by exact search.
    pub pairs: Option<Vec<Option<u64>>>,
}

impl std::fmt::Debug for Captions {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let pairs = self.pairs.as_ref().map(Vec::len);
        f.debug_struct("Captions").field("source", &self.source.name()).field("pairs", &pairs).finish()
    }
}

/// What to build and how. A plan of a build in parts keeps it, all but what is data: model, ids, captions, queries.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct BuildParams {
    /// The index; `None` chooses: `Flat` below 20,000 rows, else `IVF` with about 4·sqrt(n) lists.
    pub spec: Option<Spec>,
    /// How vectors are compared.
    pub metric: Metric,
    /// Seed of every choice: same seed, same bytes.
    pub seed: u64,
    /// What to do with rows that cannot be ranked.
    pub on_bad: OnBad,
    /// Bound on memory in bytes; samples and segments shrink to fit.
    pub memory_limit: Option<u64>,
    /// k-means of the lists (of the labels, for a learned index); `k` and `seed` are set by the build.
    pub kmeans: KMeansParams,
    /// Training of a learned index; the hidden layers of the spec win, `seed` is set by the build.
    pub train: TrainParams,
    /// A model for a learned index: no k-means and no training.
    #[serde(skip)]
    pub model: Option<Mlp>,
    /// Train on at most this many rows; `None`: all for a learned index, 256 a list for k-means lists.
    pub train_size: Option<u64>,
    /// Rows a segment; `None`: as many as have codes and refinement vectors of 2 GiB, or of a quarter of the memory limit.
    pub segment_rows: Option<u64>,
    /// Where ids come from.
    #[serde(skip)]
    pub ids: Ids,
    /// Captions that the centroids of a paired index move to.
    #[serde(skip)]
    pub captions: Option<Captions>,
    /// Iterations of paired k-means.
    pub paired_niter: usize,
    /// Training of a router; `held` and `seed` are set by the build.
    pub router: RouterParams,
    /// Queries that stand for those to come: a router is trained on them, and recall targets are calibrated on them (on those
    /// that a router was not trained on), instead of on rows of the base.
    #[serde(skip)]
    pub queries: Option<Matrix>,
    /// The folder of an index whose model is taken as it is: nothing is learned, and both can be searched as one. Spec and
    /// metric must be the same.
    pub like: Option<std::path::PathBuf>,
    /// The number of the first row, where rows are counted.
    pub first_id: u64,
    /// Queries that recall targets are calibrated on, at most; 0 leaves the calibration out. Large bases take fewer.
    pub calibrate: usize,
}

impl Default for BuildParams {
    fn default() -> Self {
        BuildParams {
            spec: None,
            metric: Metric::L2,
            seed: 0,
            on_bad: OnBad::Error,
            memory_limit: None,
            kmeans: KMeansParams::default(),
            train: TrainParams::default(),
            model: None,
            train_size: None,
            segment_rows: None,
            ids: Ids::FromSource,
            captions: None,
            paired_niter: PAIRED_ITERATIONS,
            router: RouterParams::default(),
            queries: None,
            like: None,
            first_id: 0,
            calibrate: 1000,
        }
    }
}

/// Seconds of wall time by stage.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    /// Waiting for input.
    pub read: f64,
    /// k-means and training.
    pub train: f64,
    /// Finding the list of each vector.
    pub assign: f64,
    /// Normalising and encoding.
    pub encode: f64,
    /// Waiting for writing and syncing.
    pub write: f64,
    /// Measuring how many lists recall targets take.
    pub calibrate: f64,
    /// All of it.
    pub total: f64,
}

/// What training a router came to.
#[derive(Clone, Debug, PartialEq)]
pub struct RouterReport {
    /// Queries trained on.
    pub trained_on: usize,
    /// Loss of each epoch.
    pub epochs: Vec<Epoch>,
    /// Vectors compared until the list of a true neighbour was reached, as a geometric mean over queries held out: by the
    /// centroids, and by the router.
    pub reach: [f64; 2],
}

/// What a build did.
#[derive(Clone, Debug)]
pub struct BuildReport {
    /// What was built.
    pub spec: Spec,
    /// Why, where the build chose the spec.
    pub reason: Option<String>,
    /// How vectors are compared.
    pub metric: Metric,
    /// Vectors in the index.
    pub n: u64,
    /// Dimensions.
    pub d: usize,
    /// Rows left out under [`OnBad::Skip`].
    pub skipped: u64,
    /// Rows trained on; 0 without training.
    pub trained_on: u64,
    /// Objective of each k-means iteration.
    pub objective: Vec<f64>,
    /// Loss and accuracy of each epoch of a learned index.
    pub epochs: Vec<Epoch>,
    /// Pairs of caption and image that paired k-means saw.
    pub pairs: Option<u64>,
    /// The router, where one was trained in this run.
    pub router: Option<RouterReport>,
    /// Time by stage.
    pub seconds: Seconds,
    /// Bytes on disk.
    pub bytes: u64,
    /// Rows that an earlier, killed build had finished.
    pub resumed: u64,
    /// Files of vectors written.
    pub segments: usize,
}

/// How to search; passed with every call.
#[derive(Clone, Debug, PartialEq)]
pub struct SearchParams {
    /// Neighbours a query.
    pub k: usize,
    /// Lists a query visits; more than there are means all. Not looked at with a `recall` target.
    pub nprobe: usize,
    /// Learned index: stop once the lists visited hold this probability; `nprobe` is then the cap.
    pub mass: Option<f32>,
    /// Visit as many lists as the calibration of the index says this mean recall takes, query by query.
    pub recall: Option<f32>,
    /// Candidates a neighbour that go from the codes to the refinement vectors; 0 is the default of the index.
    pub refine: usize,
    /// Which vectors may be found; made by [`crate::Index::filter`] of the index that is searched.
    pub filter: Option<Arc<Filter>>,
    /// Leave out the id with the same number as the query's row.
    pub exclude_self: bool,
    /// An id for each query that is left out of its results.
    pub exclude: Option<Vec<u64>>,
}

impl Default for SearchParams {
    fn default() -> Self {
        SearchParams { k: 10, nprobe: 1, mass: None, recall: None, refine: 0, filter: None, exclude_self: false, exclude: None }
    }
}

/// What a search found and what it took.
#[derive(Clone, Debug, Default)]
pub struct SearchResult {
    /// One row a query.
    pub neighbors: Neighbors,
    /// Lists visited, over all queries.
    pub lists: u64,
    /// Vectors compared, over all queries.
    pub scanned: u64,
}

/// How to add vectors.
#[derive(Clone, Debug, Default)]
pub struct AddParams {
    /// Where ids come from.
    pub ids: Ids,
    /// The number of the first row, where rows are counted: above all of the index. `None`: one after the largest.
    pub first_id: Option<u64>,
    /// Replace vectors whose id exists instead of refusing.
    pub replace: bool,
    /// What to do with rows that cannot be ranked.
    pub on_bad: OnBad,
    /// Bound on memory in bytes.
    pub memory_limit: Option<u64>,
    /// Rows a segment.
    pub segment_rows: Option<u64>,
}

/// What an addition did.
#[derive(Clone, Debug, Default)]
pub struct AddReport {
    /// Vectors added, replaced ones included.
    pub added: u64,
    /// Vectors replaced.
    pub replaced: u64,
    /// Rows left out under [`OnBad::Skip`].
    pub skipped: u64,
    /// Vectors in the index now.
    pub n: u64,
    /// Time by stage.
    pub seconds: Seconds,
}

/// What a removal did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RemoveReport {
    /// Vectors removed.
    pub removed: u64,
    /// Ids that were not in the index.
    pub missing: u64,
    /// Vectors in the index now.
    pub n: u64,
}

/// What compaction did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CompactReport {
    /// Vectors in the index.
    pub n: u64,
    /// Deleted vectors whose space was freed.
    pub dropped: u64,
    /// Segments before and after.
    pub segments: (usize, usize),
    /// Bytes before and after.
    pub bytes: (u64, u64),
}

/// How to merge indexes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MergeParams {
    /// Bound on memory in bytes.
    pub memory_limit: Option<u64>,
}

/// What a merge did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct MergeReport {
    /// Vectors in the new index.
    pub n: u64,
    /// Deleted vectors of the indexes merged, which are not in it.
    pub dropped: u64,
    /// Files of vectors written.
    pub segments: usize,
    /// Vectors that an earlier, killed run had written.
    pub resumed: u64,
    /// Bytes on disk.
    pub bytes: u64,
}

/// A folder of an index.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
pub struct FolderInfo {
    /// The folder.
    pub path: std::path::PathBuf,
    /// Vectors.
    pub n: u64,
    /// Vectors deleted whose space is not freed yet.
    pub deleted: u64,
    /// Number of changes since it was built.
    pub generation: u64,
    /// Files of vectors.
    pub segments: usize,
    /// Bytes on disk.
    pub bytes: u64,
}

/// Something wrong in an index.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// The file.
    pub path: std::path::PathBuf,
    /// What is wrong with it.
    pub what: String,
}

/// What reading a whole index showed.
#[derive(Clone, Debug, Default)]
pub struct VerifyReport {
    /// What is wrong; empty for a sound index.
    pub problems: Vec<Problem>,
    /// Files read.
    pub files: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Vectors seen, deleted ones included.
    pub vectors: u64,
    /// Files that a killed change left: harmless, the next change removes them.
    pub leftovers: Vec<std::path::PathBuf>,
}

/// What an index is, without its vectors.
#[derive(Clone, Debug, serde::Serialize)]
pub struct IndexInfo {
    /// Version of the format on disk.
    pub format: u32,
    /// Spec.
    pub spec: String,
    /// Why this spec, where the build chose it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Metric.
    pub metric: Metric,
    /// The layer that its vectors were mapped by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub layer: Option<crate::LayerId>,
    /// What made the vectors, where the base said so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub made_by: Option<String>,
    /// Vectors.
    pub n: u64,
    /// Dimensions.
    pub d: usize,
    /// Vectors deleted whose space is not freed yet.
    pub deleted: u64,
    /// "strings" or "numbers".
    pub ids: String,
    /// Number of changes since it was built.
    pub generation: u64,
    /// Files of vectors.
    pub segments: usize,
    /// Bytes on disk.
    pub bytes: u64,
    /// Bytes on disk a vector.
    pub bytes_per_vector: f64,
    /// Number of lists.
    pub nlist: usize,
    /// Sizes of the lists: smallest, median, largest.
    pub list_sizes: [u64; 3],
    /// Lists without a vector.
    pub empty_lists: usize,
    /// Lists that a search visits where nobody says how many, if the index says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nprobe: Option<usize>,
    /// The map before everything else, as a word of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub transform: Option<String>,
    /// What a vector is stored as, as a word of the spec.
    pub code: String,
    /// Bytes of a code.
    pub code_bytes: usize,
    /// What candidates are ranked again by, as a word of the spec.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refine: Option<String>,
    /// Bytes of that a vector.
    pub refine_bytes: usize,
    /// What recall targets go by.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub calibration: Option<CalibrationInfo>,
    /// The folders it is made of, where there are several.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub folders: Vec<FolderInfo>,
    /// Inputs that it was built without.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<super::job::Missing>,
    /// Hidden layers of a learned index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<usize>>,
    /// Inputs and outputs of the router, where there is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub router: Option<[usize; 2]>,
}

/// What is known of the recall targets of an index.
#[derive(Clone, Debug, PartialEq, serde::Serialize)]
pub struct CalibrationInfo {
    /// Queries it was measured on.
    pub queries: usize,
    /// Whether somebody gave them; otherwise they are rows of the base.
    pub given: bool,
    /// Lists that targets take, for 10 neighbours.
    pub targets: Vec<Promise>,
    /// The largest recall at 10 that the codes allow.
    pub best: f64,
}
