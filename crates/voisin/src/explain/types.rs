//! What an explanation says; the field names are those of its JSON.

use crate::Metric;
use serde::Serialize;

/// How an index (or a graph) searched for one query.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Explanation {
    /// What the index is: `IVF100,PQ8`.
    pub spec: String,
    /// How vectors are compared.
    pub metric: Metric,
    /// Vectors of the index.
    pub n: u64,
    /// Dimensions.
    pub d: usize,
    /// Neighbours asked for.
    pub k: usize,
    /// What was compared; nothing of a walk through a graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub compared: Option<Compared>,
    /// Lists visited; 0 where an allowed set was so small that all of it was compared ([`Compared::Allowed`]).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nprobe: Option<usize>,
    /// Lists of the index.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub nlist: Option<usize>,
    /// The lists visited, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub lists: Option<Vec<Visited>>,
    /// Lists that were not visited though a true neighbour lies in them, in their order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub not_visited: Option<Vec<NotVisited>>,
    /// How many vectors came how far.
    pub counts: Counts,
    /// What was found, nearest first.
    pub hits: Vec<Hit>,
    /// The true neighbours that were not found, nearest first.
    pub missed: Vec<Missed>,
    /// The share of the true neighbours that was found, those that a filter leaves out aside; 1 where there is none.
    pub recall: f64,
    /// What the true neighbours were computed from.
    pub truth: TruthKind,
    /// The same in words.
    pub truth_text: String,
    /// Query, centroids and vectors on a plane.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub map: Option<Map>,
    /// The way through a graph.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub graph: Option<Walk>,
    /// What else is worth knowing, a sentence each.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// What a search compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Compared {
    /// The vectors of the lists that were visited.
    Lists,
    /// All that a filter allows, as these are few: no list was chosen.
    Allowed,
    /// Every vector, as there is one list only.
    All,
}

/// A list that was visited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Visited {
    /// Its number.
    pub list: u32,
    /// Its place in the order of visits, from 1.
    pub order: usize,
    /// The distance to its centroid (the dot product under ip), or the logit that a model or a router gives it (a router's:
    /// less what it takes off for the list's size).
    pub score: f32,
    /// Its probability, where a model or a router chooses.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// Vectors in it.
    pub size: u64,
    /// Vectors of it that were compared: all that the filter allows.
    pub scanned: u64,
    /// Neighbours found in it.
    pub hits: usize,
    /// True neighbours stored in it.
    #[serde(rename = "true")]
    pub truth: usize,
}

/// A list that was not visited.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct NotVisited {
    /// Its number.
    pub list: u32,
    /// The place at which it would have been visited, from 1.
    pub order: usize,
    /// As that of [`Visited`].
    pub score: f32,
    /// As that of [`Visited`].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub probability: Option<f32>,
    /// Vectors in it.
    pub size: u64,
    /// True neighbours stored in it.
    #[serde(rename = "true")]
    pub truth: usize,
}

/// How many vectors came how far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Counts {
    /// Compared by their codes.
    pub scanned: u64,
    /// The best by their codes that went on (without a refinement to the result; product codes then keep all whose
    /// estimates may be wrong enough).
    pub candidates: usize,
    /// Compared by the vectors kept beside the codes.
    pub refined: usize,
    /// Found.
    pub found: usize,
}

/// A neighbour that was found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hit {
    /// Its id.
    pub id: String,
    /// Its place, from 1.
    pub rank: usize,
    /// Its distance as the search reports it.
    pub distance: f32,
    /// Its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<u32>,
    /// Its distance by its code.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f32>,
    /// Its place by its code among all compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_rank: Option<usize>,
    /// Its place among the true neighbours; nothing if it is none.
    pub true_rank: Option<usize>,
}

/// Why a true neighbour was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Reason {
    /// Its list was not among those visited.
    ListNotVisited,
    /// Its list was visited, but its code (or what the index keeps to refine by) places it behind others.
    CodeError,
    /// The filter leaves it out.
    Filtered,
    /// It is no longer in the index, or never was.
    Deleted,
    /// The walk through the graph did not come to it.
    NotReached,
}

/// A true neighbour that was not found.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Missed {
    /// Its id.
    pub id: String,
    /// Its place among the true neighbours that may be found; where the filter leaves it out or it is not in the index, its
    /// place among all vectors.
    pub true_rank: usize,
    /// Its true distance.
    pub distance: f32,
    /// Its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<u32>,
    /// The place of its list in the query's order.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub order: Option<usize>,
    /// Why it was not found.
    pub reason: Reason,
    /// The same in a sentence.
    pub text: String,
    /// Its distance by its code, where it was compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate: Option<f32>,
    /// Its place by its code among all compared.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub estimate_rank: Option<usize>,
}

/// What the true neighbours were computed from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TruthKind {
    /// The vectors as they came.
    Exact,
    /// What the index keeps of them: every vector compared by its code, or by a coded refinement.
    Codes,
}

/// Which map is drawn.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum MapKind {
    /// None.
    #[default]
    None,
    /// The plane of the two largest principal components.
    Pca,
    /// t-SNE, from the principal components on.
    Tsne,
}

/// Query, centroids and vectors on a plane.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Map {
    /// How it was drawn.
    pub method: MapKind,
    /// The share of the variance along x and along y (PCA).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub explained_variance: Option<[f64; 2]>,
    /// How far neighbours on the map are neighbours indeed, 0 to 1 (Venna & Kaski 2001, 12 neighbours).
    pub trustworthiness: f64,
    /// What is on it.
    pub points: Vec<Point>,
}

/// A point of a map.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Point {
    /// Its place.
    pub x: f32,
    /// Its place.
    pub y: f32,
    /// What it is.
    pub kind: PointKind,
    /// Its list.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub list: Option<u32>,
    /// Whether its list was visited (in a graph: whether it was compared).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub visited: Option<bool>,
    /// The id of a vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// What became of a vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub state: Option<PointState>,
}

/// What a point of a map is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PointKind {
    /// The query.
    Query,
    /// A centroid; where lists have none, the mean of a list's vectors.
    Centroid,
    /// A vector of the index.
    Vector,
}

/// What became of a vector on a map.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum PointState {
    /// It was found.
    Hit,
    /// It is a true neighbour that was not found.
    Missed,
    /// Neither.
    Other,
}

/// The way of a search through a graph.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Walk {
    /// Levels of the graph.
    pub levels: usize,
    /// Length of the queue on the lowest level.
    pub ef: usize,
    /// Vectors compared (again on another level counts again).
    pub visited: u64,
    /// The vectors whose neighbours were looked at, in order: on the upper levels each nearer than the one before, on level
    /// 0 the nearest that was not yet looked around.
    pub hops: Vec<Hop>,
}

/// A vector that a search through a graph stood at.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Hop {
    /// The level, 0 being the lowest.
    pub level: usize,
    /// The vector.
    pub id: String,
    /// Its distance to the query.
    pub distance: f32,
    /// The vector whose neighbour it is; nothing at the entry.
    pub from: Option<String>,
}
