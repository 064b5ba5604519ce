//! What a FAISS file holds, as it stands there: numbers read, arrays left in the file.

/// What every index begins with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Head {
    pub(super) d: usize,
    pub(super) n: u64,
    pub(super) trained: bool,
    /// 0 inner product, 1 squared L2, and more.
    pub(super) metric: i32,
}

/// An index; arrays are little-endian bytes of the file.
#[derive(Debug)]
pub(super) enum Node<'a> {
    Flat {
        head: Head,
        values: &'a [u8],
    },
    Ivf {
        ivf: Ivf<'a>,
        code: Code<'a>,
        residual: bool,
        lists: Vec<List<'a>>,
    },
    /// Codes without lists.
    Coded {
        head: Head,
        code: Code<'a>,
        codes: &'a [u8],
    },
    Before {
        head: Head,
        maps: Vec<Map<'a>>,
        index: Box<Node<'a>>,
    },
    IdMap {
        head: Head,
        index: Box<Node<'a>>,
        ids: &'a [u8],
    },
    Refine {
        head: Head,
        base: Box<Node<'a>>,
        refine: Box<Node<'a>>,
        factor: f32,
    },
    Graph {
        head: Head,
        graph: Graph<'a>,
        storage: Box<Node<'a>>,
    },
}

impl Node<'_> {
    pub(super) fn head(&self) -> Head {
        match self {
            Node::Ivf { ivf, .. } => ivf.head,
            Node::Flat { head, .. }
            | Node::Coded { head, .. }
            | Node::Before { head, .. }
            | Node::IdMap { head, .. }
            | Node::Refine { head, .. }
            | Node::Graph { head, .. } => *head,
        }
    }
}

/// What lists around centroids begin with.
#[derive(Debug)]
pub(super) struct Ivf<'a> {
    pub(super) head: Head,
    pub(super) nlist: usize,
    pub(super) nprobe: u64,
    /// nlist x d.
    pub(super) centroids: &'a [u8],
}

/// As what vectors are kept.
#[derive(Debug)]
pub(super) enum Code<'a> {
    Flat,
    Pq {
        m: usize,
        bits: usize,
        words: &'a [u8],
    },
    /// What FAISS calls qtype, and what was trained.
    Scalar {
        kind: i32,
        trained: &'a [u8],
    },
}

/// A list that holds vectors.
#[derive(Clone, Copy, Debug)]
pub(super) struct List<'a> {
    pub(super) list: usize,
    /// i64 each.
    pub(super) ids: &'a [u8],
    pub(super) codes: &'a [u8],
}

/// A map before an index.
#[derive(Debug)]
pub(super) enum Map<'a> {
    /// y = A x + b, d_out x d_in; PCA, OPQ, rotations.
    Linear { d_in: usize, d_out: usize, weights: &'a [u8], bias: &'a [u8], name: Word },
    /// y = x − b.
    Centre { d: usize, mean: &'a [u8] },
    /// y takes dimension `map[i]` of x, 0 where it is −1.
    Take { d_in: usize, d_out: usize, map: &'a [u8] },
    /// y = x / |x|.
    Unit { d: usize },
}

/// What made a linear map.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Word {
    Pca,
    Other,
}

impl Map<'_> {
    /// Dimensions before and after.
    pub(super) fn dims(&self) -> (usize, usize) {
        match *self {
            Map::Linear { d_in, d_out, .. } | Map::Take { d_in, d_out, .. } => (d_in, d_out),
            Map::Centre { d, .. } | Map::Unit { d } => (d, d),
        }
    }
}

/// The edges of a graph over the vectors of its storage.
#[derive(Debug)]
pub(super) struct Graph<'a> {
    /// i32: neighbours that fit the levels below a level, from level 0 on.
    pub(super) room: &'a [u8],
    /// i32: levels of each vector.
    pub(super) levels: &'a [u8],
    /// u64: where the neighbours of each vector begin, and their number.
    pub(super) offsets: &'a [u8],
    /// i32, −1 for none.
    pub(super) neighbours: &'a [u8],
    pub(super) entry: i32,
    pub(super) max_level: i32,
    pub(super) ef: i32,
}
