//! What goes into a collection and what comes out.

use serde::Serialize;
use std::path::PathBuf;
use std::sync::Arc;

/// What a collection is opened from.
#[derive(Clone, Debug, Default)]
pub struct CollectionSpec {
    /// Its name in addresses.
    pub name: String,
    /// A folder of images, a folder of an index (or several of one model), a FAISS index file, or a file of vectors.
    pub paths: Vec<String>,
    /// Where the images lie whose paths are the names (or ids).
    pub images: Option<PathBuf>,
    /// Names of the rows: pickle, txt, csv, or a data set of an HDF5 file.
    pub names: Option<String>,
    /// Labels of the rows, as names.
    pub labels: Option<String>,
    /// Texts of the rows, as names.
    pub texts: Option<String>,
    /// The vectors of the rows as they were before the index made codes of them: for search by id and exact comparison.
    pub features: Option<String>,
    /// An ONNX model that makes vectors of images.
    pub model: Option<PathBuf>,
    /// How models are used, and a model of texts.
    pub options: voisin_embed::Options,
    /// Where what is built is kept; beside the data where nothing is said.
    pub keep: Option<PathBuf>,
}

/// What a collection is and what can be asked of it.
#[derive(Clone, Debug, Serialize)]
pub struct Facts {
    /// Its name in addresses.
    pub name: String,
    /// Vectors.
    pub n: u64,
    /// Dimensions.
    pub d: usize,
    /// l2, ip or cosine.
    pub metric: String,
    /// What the index is: `IVF100,PQ8`.
    pub spec: String,
    /// Lists; 1 for a flat index.
    pub nlist: usize,
    /// Lists visited where nobody says how many.
    pub nprobe: usize,
    /// Whether recall targets can be given.
    pub recall_targets: bool,
    /// Where a graph is searched instead of lists: the length of its queue where nobody says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ef: Option<usize>,
    /// What an exact comparison goes by: `vectors`, or `codes` where nothing better is kept.
    pub exact_by: &'static str,
    /// `images`, `texts` or `ids`: what its items are shown as.
    pub shows: &'static str,
    /// What can be asked, and why not where it cannot.
    pub asks: Asks,
    /// What made the vectors.
    pub made_by: Option<String>,
    /// Classes with how many items each has, by name.
    pub classes: Vec<Class>,
    /// Things worth knowing, said on the page (images that could not be read, a missing model).
    pub notes: Vec<String>,
}

/// Which kinds of query a collection takes: nothing where it does, else why not.
#[derive(Clone, Debug, Default, Serialize)]
pub struct Asks {
    /// By the id of an item.
    pub id: Option<String>,
    /// By an image.
    pub image: Option<String>,
    /// By a text.
    pub text: Option<String>,
    /// Exact comparison.
    pub exact: Option<String>,
    /// How the index searched.
    pub explain: Option<String>,
}

/// A class of items.
#[derive(Clone, Debug, Serialize)]
pub struct Class {
    /// Its name.
    pub label: String,
    /// Its items.
    pub count: u64,
}

/// One thing that can be found.
#[derive(Clone, Debug, Serialize)]
pub struct Item {
    /// Its id in the index, as a string.
    pub id: String,
    /// What is shown under it (the file name, say).
    pub name: String,
    /// Its class.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub label: Option<String>,
    /// Its text.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// Whether there is an image of it.
    pub image: bool,
}

/// Which items.
#[derive(Clone, Debug, Default)]
pub struct Page {
    /// Of one class.
    pub label: Option<String>,
    /// From this one on.
    pub offset: u64,
    /// So many (at most 500).
    pub limit: u64,
    /// In the random order of this seed.
    pub seed: Option<u64>,
}

/// A page of items.
#[derive(Clone, Debug, Serialize)]
pub struct Items {
    /// How many there are in all (of the class).
    pub total: u64,
    /// Those of the page.
    pub items: Vec<Item>,
}

/// What is asked.
#[derive(Clone, Debug)]
pub enum Ask<'a> {
    /// The neighbours of an item.
    Id(&'a str),
    /// Of an image: the bytes of its file.
    Image(&'a [u8]),
    /// Of a text.
    Text(&'a str),
    /// Of a vector.
    Vector(Vec<f32>),
}

/// A query that can be searched again and again.
#[derive(Clone, Debug)]
pub struct Query {
    /// d values.
    pub vector: Vec<f32>,
    /// The item it is, which is not found itself.
    pub own: Option<String>,
    /// A JPEG of the image that it was made of, at most 512 pixels wide and high.
    pub picture: Option<Arc<Vec<u8>>>,
    /// Seconds that it took to make the vector.
    pub seconds: f64,
}

/// How to search.
#[derive(Clone, Debug)]
pub struct Params {
    /// Neighbours (1 to 1,000); where there are fewer, these.
    pub k: usize,
    /// Lists to visit.
    pub nprobe: Option<usize>,
    /// Or as many as this recall takes.
    pub recall: Option<f32>,
    /// Candidates for each neighbour that are refined.
    pub refine: Option<usize>,
    /// Length of the queue of a graph.
    pub ef: Option<usize>,
    /// Only items of this class.
    pub label: Option<String>,
    /// Compare every vector.
    pub exact: bool,
}

/// A neighbour.
#[derive(Clone, Debug, Serialize)]
pub struct Hit {
    /// What it is.
    #[serde(flatten)]
    pub item: Item,
    /// Its place, from 1.
    pub rank: usize,
    /// Its distance as the metric says it: the root of the squared distance, the dot product, 1 - cosine.
    pub distance: f32,
    /// 0 to 1 where the metric allows it (cosine: the cosine; l2 of unit vectors: 1 - distance²/2), else nothing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub similarity: Option<f32>,
}

/// What a search found and took.
#[derive(Clone, Debug, Serialize)]
pub struct Found {
    /// The neighbours, nearest first.
    pub hits: Vec<Hit>,
    /// Lists that were visited.
    pub lists: u64,
    /// Vectors that were compared.
    pub scanned: u64,
    /// Seconds of the search alone.
    pub seconds: f64,
}

/// A search beside the comparison with every vector.
#[derive(Clone, Debug, Serialize)]
pub struct Comparison {
    /// By the index.
    pub approximate: Found,
    /// By comparing every vector.
    pub exact: Found,
    /// The share of the true neighbours that the index found.
    pub recall: f64,
}
