//! Which list a vector is stored in, and which lists a query visits.
//!
//! Both answers depend on the vector alone: the same bits for one query or a thousand, for any number of threads.

mod cells;
mod centroids;
mod kmeans;
mod large;
mod mlp;
mod nearest;
mod network;
mod paired;
pub(crate) mod product;
mod rng;
mod router;
mod router_train;
mod sample;
mod seeding;
mod table;
mod train;
mod warm;

pub use centroids::Centroids;
pub use kmeans::{Init, KMeansParams, KMeansResult, kmeans, kmeans_source};
pub use mlp::{Linear, Mlp};
pub use paired::{PAIRED_ITERATIONS, PairedData, PairedResult, distinct, paired_kmeans};
pub(crate) use rng::Random;
pub use router::Router;
pub use router_train::{RouterData, RouterParams, RouterResult, router_bytes, train_router};
pub(crate) use sample::draw;
pub use sample::{Sample, sample};
pub use train::{Epoch, Precision, Recipe, Schedule, TrainParams, TrainResult, train_mlp};

use crate::Vectors;

/// How a dataset is cut into lists.
#[derive(Clone, Debug)]
pub enum Partition {
    /// Everything in one list.
    One,
    /// The list of the nearest centroid (L2; of the largest dot product where an index of another program under ip says so),
    /// of k-means or of paired k-means.
    KMeans(Centroids),
    /// The list that a model finds most probable.
    Learned(Mlp),
    /// Stored by one of the above, visited as a router says.
    Routed(Box<Routed>),
}

/// A partition whose lists are chosen by something else than what vectors are stored by.
#[derive(Clone, Debug)]
pub struct Routed {
    /// In which list a vector is stored.
    pub stored: Partition,
    /// Which lists a query visits.
    pub router: Router,
}

/// How many lists a query visits.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct RouteParams {
    /// Lists to visit; 0 means all of them.
    pub nprobe: usize,
    /// Partitions with probabilities (learned, routed): stop once the probability of the lists visited reaches this; `nprobe` is then the cap.
    pub mass: Option<f32>,
}

/// The lists that each of several queries visits, best first.
#[derive(Clone, Debug, PartialEq)]
pub struct Routes {
    offsets: Vec<usize>,
    lists: Vec<u32>,
    scores: Vec<f32>,
}

impl Routes {
    fn from_rows(rows: impl IntoIterator<Item = Vec<(f32, u32)>>) -> Routes {
        let mut out = Routes { offsets: vec![0], lists: Vec::new(), scores: Vec::new() };
        for row in rows {
            out.lists.extend(row.iter().map(|e| e.1));
            out.scores.extend(row.iter().map(|e| e.0));
            out.offsets.push(out.lists.len());
        }
        out
    }

    /// The rows of other queries after these.
    fn append(&mut self, other: &Routes) {
        let before = self.lists.len();
        self.offsets.extend(other.offsets[1..].iter().map(|o| o + before));
        self.lists.extend_from_slice(&other.lists);
        self.scores.extend_from_slice(&other.scores);
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.offsets.len() - 1
    }

    /// Whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Lists of query `i`, best first.
    pub fn lists(&self, i: usize) -> &[u32] {
        &self.lists[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Scores of the lists of query `i`, descending: a probability (learned), a logarithm of one (routed), a dot product (k-means under ip), minus the
    /// squared distance to the centroid (k-means otherwise), 0 (one list).
    pub fn scores(&self, i: usize) -> &[f32] {
        &self.scores[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Keeps the first lists of each query: as many as `keep` says of the query and its scores.
    pub(crate) fn cut(&mut self, keep: impl Fn(usize, &[f32]) -> usize) {
        let mut to = 0;
        let mut offsets = vec![0];
        for i in 0..self.len() {
            let from = self.offsets[i];
            let kept = keep(i, self.scores(i)).min(self.lists(i).len());
            self.lists.copy_within(from..from + kept, to);
            self.scores.copy_within(from..from + kept, to);
            to += kept;
            offsets.push(to);
        }
        self.lists.truncate(to);
        self.scores.truncate(to);
        self.offsets = offsets;
    }

    /// Number of (query, list) pairs.
    pub fn pairs(&self) -> usize {
        self.lists.len()
    }
}

impl Partition {
    /// What vectors are stored by, a router aside.
    pub fn stored(&self) -> &Partition {
        match self {
            Partition::Routed(r) => &r.stored,
            other => other,
        }
    }

    /// What chooses the lists, where that is a router.
    pub fn router(&self) -> Option<&Router> {
        match self {
            Partition::Routed(r) => Some(&r.router),
            _ => None,
        }
    }

    /// Whether lists have probabilities, so that [`RouteParams::mass`] can be asked for.
    pub fn has_mass(&self) -> bool {
        matches!(self, Partition::Learned(_) | Partition::Routed(_))
    }

    /// Number of lists.
    pub fn nlist(&self) -> usize {
        match self {
            Partition::One => 1,
            Partition::KMeans(c) => c.k(),
            Partition::Learned(m) => m.nlist(),
            Partition::Routed(r) => r.stored.nlist(),
        }
    }

    /// Dimensions of the vectors it takes; `None` if any will do.
    pub fn dim(&self) -> Option<usize> {
        match self {
            Partition::One => None,
            Partition::KMeans(c) => Some(c.d()),
            Partition::Learned(m) => Some(m.d()),
            Partition::Routed(r) => r.stored.dim(),
        }
    }

    /// The list of each row. Cost: one product with the centroids or one pass through the model, on the current rayon pool.
    ///
    /// # Panics
    /// If the rows have another number of dimensions than [`Partition::dim`].
    pub fn assign(&self, block: Vectors<'_>) -> Vec<u32> {
        match self {
            Partition::One => vec![0; block.n()],
            Partition::KMeans(c) => c.assign(block),
            Partition::Learned(m) => m.assign(block),
            Partition::Routed(r) => r.stored.assign(block),
        }
    }

    /// The lists that each query visits, best first; equal scores go to the smaller list.
    ///
    /// # Panics
    /// If the queries have another number of dimensions than [`Partition::dim`].
    pub fn route(&self, queries: Vectors<'_>, params: &RouteParams) -> Routes {
        match self {
            Partition::One => Routes::from_rows((0..queries.n()).map(|_| vec![(0.0, 0)])),
            Partition::KMeans(c) => c.route(queries, params),
            Partition::Learned(m) => m.route(queries, params),
            Partition::Routed(r) => r.router.route(queries, params),
        }
    }
}

/// The `nprobe` best of `scores` (all if 0), larger first, the smaller list on a tie.
fn best_lists(scores: &[f32], nprobe: usize) -> Vec<(f32, u32)> {
    let keep = if nprobe == 0 { scores.len() } else { nprobe.min(scores.len()) };
    let mut all: Vec<(f32, u32)> = scores.iter().zip(0..).map(|(&s, l)| (s, l)).collect();
    let order = |a: &(f32, u32), b: &(f32, u32)| b.0.total_cmp(&a.0).then(a.1.cmp(&b.1));
    if keep < all.len() {
        all.select_nth_unstable_by(keep, order);
        all.truncate(keep);
    }
    all.sort_unstable_by(order);
    all
}
