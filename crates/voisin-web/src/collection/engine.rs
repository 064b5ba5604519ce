//! What searches: an index, or the graph of a file of FAISS; and what compares every vector.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use voisin::graph::Graph;
use voisin::index::{BuildParams, Filter, FilterKind, IdList, Ids, build};
use voisin::{
    Index, Matrix, MemSource, Metric, OnBad, RefineSpec, ScalarKind, Score, SearchParams, Source, Spec, StringIds, Vectors, Watch,
};

use super::Params;
use super::rows::Rows;
use crate::{Kind, WebError};

/// Filters that are kept: a bit a vector each.
const FILTERS: usize = 64;
/// Values of a flat index whose 8-bit codes are made when it is opened, so that the first search is as fast as the next.
const WARM: u64 = 1 << 28;

/// The approximate search.
#[derive(Debug)]
pub(super) enum Engine {
    Lists(Box<Lists>),
    Graph(Graph),
}

/// An index with the filters that were compiled for it.
#[derive(Debug)]
pub(super) struct Lists {
    pub index: Index,
    filters: Mutex<HashMap<usize, Arc<Filter>>>,
}

/// What a search gives: (number, distance), nearest first.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub hits: Vec<(u64, f32)>,
    pub lists: u64,
    pub scanned: u64,
}

/// What an index keeps of the vectors.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kept {
    /// All of them, as they came.
    Whole,
    /// Rounded to half floats.
    Halved,
    /// What their codes say.
    Coded,
}

/// A question to an index.
#[derive(Clone, Copy)]
pub(super) struct Question<'a> {
    pub vector: &'a [f32],
    /// The number that is left out.
    pub own: Option<u64>,
    pub class: Option<usize>,
    /// Neighbours, at most as many as there are.
    pub k: usize,
    pub params: &'a Params,
}

impl Lists {
    pub fn new(index: Index) -> Lists {
        let lists = Lists { index, filters: Mutex::default() };
        lists.warm();
        lists
    }

    /// Has the 8-bit codes of a flat index made, which is done from the fifth query on.
    fn warm(&self) {
        let index = &self.index;
        let size = index.len().saturating_mul(index.dim() as u64);
        if index.is_empty() || size > WARM || *index.spec() != Spec::flat() {
            return;
        }
        let d = index.dim();
        let queries: Vec<f32> = (0..5 * d).map(|i| 1.0 + (i / d) as f32).collect();
        let _ = index.search(Vectors::new(&queries, d), &SearchParams { k: 1, ..SearchParams::default() });
    }

    /// How the index is searched for a question: by the lists that it says, or by all of them.
    pub fn params(&self, q: Question<'_>, rows: &Rows, nprobe: usize) -> Result<SearchParams, WebError> {
        let filter = q.class.map(|c| self.filter(c, rows)).transpose()?;
        let (n, k) = (self.index.len() as usize, q.k);
        let mut params = SearchParams { k, nprobe, filter, exclude: q.own.map(|own| vec![own]), ..SearchParams::default() };
        if q.params.exact {
            // every code is visited, and every vector ranked again
            (params.nprobe, params.refine) = (usize::MAX, n.div_ceil(k));
        } else {
            (params.recall, params.refine) = (q.params.recall, q.params.refine.unwrap_or(0));
        }
        Ok(params)
    }

    /// The nearest.
    pub fn ask(&self, q: Question<'_>, rows: &Rows, nprobe: usize) -> Result<Answer, WebError> {
        let params = self.params(q, rows, nprobe)?;
        let found = self.index.search(Vectors::new(q.vector, self.index.dim()), &params)?;
        let (ids, distances) = (found.neighbors.ids(0), found.neighbors.distances(0));
        let hits = ids.iter().copied().zip(distances.iter().copied()).collect();
        Ok(Answer { hits, lists: found.lists, scanned: found.scanned })
    }

    fn filter(&self, class: usize, rows: &Rows) -> Result<Arc<Filter>, WebError> {
        let kept = || self.filters.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if let Some(filter) = kept().get(&class) {
            return Ok(filter.clone());
        }
        let is = |number| rows.row(number).and_then(|r| rows.classes.of(r)) == Some(class);
        let filter = Arc::new(self.index.filter_where(FilterKind::Allow, is)?);
        let mut all = kept();
        if all.len() >= FILTERS {
            all.clear();
        }
        all.insert(class, filter.clone());
        Ok(filter)
    }
}

impl Engine {
    pub fn len(&self) -> u64 {
        match self {
            Engine::Lists(l) => l.index.len(),
            Engine::Graph(g) => g.len() as u64,
        }
    }

    pub fn dim(&self) -> usize {
        match self {
            Engine::Lists(l) => l.index.dim(),
            Engine::Graph(g) => g.dim(),
        }
    }

    pub fn metric(&self) -> Metric {
        match self {
            Engine::Lists(l) => l.index.metric(),
            Engine::Graph(g) => g.metric(),
        }
    }

    pub fn spec(&self) -> String {
        match self {
            Engine::Lists(l) => l.index.spec().to_string(),
            Engine::Graph(g) => g.spec(),
        }
    }

    pub fn nlist(&self) -> usize {
        match self {
            Engine::Lists(l) => l.index.spec().nlist(),
            Engine::Graph(_) => 1,
        }
    }

    /// The lists that are visited where nobody says how many: what the file says, else what a recall of 0.95 takes by the
    /// calibration, else the root of their number.
    pub fn nprobe(&self) -> usize {
        let Engine::Lists(l) = self else { return 1 };
        let index = &l.index;
        let nlist = index.spec().nlist();
        if let Some(says) = index.info().nprobe {
            return says.min(nlist);
        }
        let promises = index.calibration().map(|c| c.promises()).unwrap_or_default();
        let lists = promises.iter().find(|p| p.recall >= 0.95).and_then(|p| p.lists);
        lists.map_or_else(|| (nlist as f64).sqrt().ceil() as usize, |l| l.ceil() as usize).clamp(1, nlist)
    }

    pub fn recall_targets(&self) -> bool {
        matches!(self, Engine::Lists(l) if l.index.calibration().is_some())
    }

    /// How the vectors are kept.
    pub fn keeps(&self) -> Kept {
        let Engine::Lists(l) = self else { return Kept::Whole };
        let spec = l.index.spec();
        match spec.refine {
            Some(RefineSpec::Flat) => Kept::Whole,
            Some(RefineSpec::Scalar(ScalarKind::F16)) => Kept::Halved,
            None if spec.score == Score::Flat && spec.transform.is_none() => Kept::Whole,
            _ => Kept::Coded,
        }
    }

    /// The queue of a graph where nobody says how long it is.
    pub fn ef(&self) -> Option<usize> {
        match self {
            Engine::Lists(_) => None,
            Engine::Graph(g) => Some(g.ef()),
        }
    }

    /// The text of a number.
    pub fn id(&self, number: u64) -> String {
        match self {
            Engine::Lists(l) if l.index.has_string_ids() => {
                l.index.string_id(number).ok().flatten().map_or_else(|| number.to_string(), str::to_owned)
            }
            _ => number.to_string(),
        }
    }

    /// The number of an id.
    pub fn number(&self, id: &str) -> Option<u64> {
        match self {
            Engine::Lists(l) if l.index.has_string_ids() => l.index.find(id).ok().flatten(),
            // 007 and +7 are no ids of 7
            _ => id.parse().ok().filter(|n: &u64| n.to_string() == id),
        }
    }

    /// The vector of a number.
    pub fn vector(&self, number: u64) -> Result<Option<Vec<f32>>, WebError> {
        match self {
            Engine::Lists(l) => Ok(l.index.vector_of(number)?),
            Engine::Graph(g) => Ok(g.vector_of(number).map(<[f32]>::to_vec)),
        }
    }
}

/// The nearest that a walk through the graph finds.
pub(super) fn walk(graph: &Graph, q: Question<'_>) -> Result<Answer, WebError> {
    // the own vector is found like any other, and left out afterwards
    let k = q.k + usize::from(q.own.is_some());
    let (found, scanned) = graph.search(Vectors::new(q.vector, graph.dim()), k, q.params.ef)?;
    let all = found.ids(0).iter().copied().zip(found.distances(0).iter().copied());
    let hits = all.filter(|(id, _)| Some(*id) != q.own).take(q.k).collect();
    Ok(Answer { hits, lists: 0, scanned })
}

/// A flat index of vectors under given numbers, in a folder that is removed as soon as it is open: the system keeps what is
/// mapped. It compares every vector, with filters and 8-bit codes as every index has them.
pub(super) fn flat(source: &dyn Source, numbers: Vec<u64>, metric: Metric, watch: &dyn Watch) -> Result<Lists, WebError> {
    let io = |e| voisin::Error::io(std::env::temp_dir(), e);
    let folder = tempfile::Builder::new().prefix("voisin-exact-").tempdir().map_err(io)?;
    let params = BuildParams {
        spec: Some(Spec::flat()),
        metric,
        on_bad: OnBad::Error,
        ids: Ids::Given(IdList::Numbers(numbers)),
        ..BuildParams::default()
    };
    let dir = folder.path().join("index");
    build(source, &dir, &params, watch)?;
    let index = Index::open(&dir)?;
    #[cfg(not(unix))]
    let _ = folder.keep();
    Ok(Lists::new(index))
}

/// The vectors of a graph as a source.
pub(super) fn rows_of(graph: &Graph) -> MemSource {
    MemSource::new("graph", Matrix::new(graph.rows().data().to_vec(), graph.dim()))
}

/// Which row of a file of vectors belongs to each number of a collection: by ids where both have strings, else in their order.
pub(super) fn aligned(features: &dyn Source, rows: &Rows, strings: Option<&StringIds>) -> Result<Vec<u64>, WebError> {
    let n = rows.len() as u64;
    if features.len() != n {
        let what = format!("{} has {} vectors, where the index has {n}", features.name(), features.len());
        return Err(WebError::new(Kind::Unreadable, what).hint("--features names a file with a vector for each row of the index"));
    }
    let (Some(own), Some(theirs)) = (strings, features.ids()?) else {
        return Ok((0..n as usize).map(|r| rows.number(r)).collect());
    };
    let row: HashMap<&str, usize> = own.iter().enumerate().map(|(row, id)| (id, row)).collect();
    let number = |id: &str| {
        let row = row.get(id).ok_or_else(|| {
            WebError::new(Kind::Unreadable, format!("{} has a vector of {id}, which is not in the index", features.name()))
        })?;
        Ok(rows.number(*row))
    };
    theirs.iter().map(number).collect()
}

/// Opens a file of features for an index of d dimensions.
pub(super) fn features(spec: &str, d: usize) -> Result<Box<dyn Source>, WebError> {
    let source = voisin_io::open(spec, voisin_io::Role::Base)?;
    if source.dim() != d {
        let context = "the index".to_owned();
        let e = voisin::Error::Dimension { name: source.name(), expected: d, got: source.dim(), context };
        return Err(WebError::new(Kind::Unreadable, e.to_string()));
    }
    Ok(source)
}
