//! A graph over vectors that another program made (HNSW), searched as it is.
//!
//! # Source
//! Malkov & Yashunin, "Efficient and robust approximate nearest neighbor search using hierarchical navigable small world graphs",
//! PAMI 2020: greedy descent through the upper levels, best first on level 0 with a queue of `ef`.

use crate::{Error, Matrix, Metric, Neighbors, Result, TopK, Vectors, screen};
use rayon::prelude::*;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use voisin_kernels::{dot, l2_squared, prefetch};

/// The edges of a graph; vectors are numbered from 0.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Edges {
    /// Neighbours that fit all levels below a level: of level l there is room for `room[l + 1] - room[l]`.
    pub room: Vec<u32>,
    /// Levels of each vector, 1 or more.
    pub levels: Vec<u32>,
    /// Where the neighbours of each vector begin, and the number of all.
    pub offsets: Vec<u64>,
    /// Neighbours, level after level; −1 where there is none.
    pub neighbours: Vec<i32>,
    /// Where a search begins, on the highest level.
    pub entry: usize,
}

/// Vectors and the edges among them.
#[derive(Clone, Debug)]
pub struct Graph {
    rows: Matrix,
    edges: Edges,
    ids: Option<Vec<u64>>,
    metric: Metric,
    ef: usize,
}

/// A vector by its key, nearest first, the smaller number on a tie.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Near(pub(crate) f32, pub(crate) u32);

/// Who follows a walk; `()` does not.
pub(crate) trait Follow {
    /// The walk stands at a vector of a level.
    fn stands(&mut self, level: usize, at: Near) {
        let _ = (level, at);
    }

    /// On level 0 a vector is met for the first time, as a neighbour of another.
    fn meets(&mut self, vector: u32, from: u32) {
        let _ = (vector, from);
    }
}

impl Follow for () {}

impl Eq for Near {}

impl Ord for Near {
    fn cmp(&self, other: &Near) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0).then(self.1.cmp(&other.1))
    }
}

impl PartialOrd for Near {
    fn partial_cmp(&self, other: &Near) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// Which vectors were seen, for one query after another.
#[derive(Default)]
struct Seen {
    marks: Vec<u32>,
    now: u32,
}

impl Seen {
    fn begin(&mut self, n: usize) {
        self.marks.resize(n, 0);
        if self.now == u32::MAX {
            self.marks.fill(0);
            self.now = 0;
        }
        self.now += 1;
    }

    fn first(&mut self, i: u32) -> bool {
        std::mem::replace(&mut self.marks[i as usize], self.now) != self.now
    }
}

impl Graph {
    /// Takes vectors, their edges, their ids (their numbers without), and the length of the queue where nobody says it.
    ///
    /// # Errors
    /// What does not fit, as a text: edges to vectors that are not there, vectors that are no numbers, the metric cosine.
    pub fn new(rows: Matrix, edges: Edges, ids: Option<Vec<u64>>, metric: Metric, ef: usize) -> Result<Graph, String> {
        let n = rows.n();
        let level = |l: usize| edges.room.get(l).copied();
        if edges.levels.len() != n || edges.offsets.len() != n + 1 || ids.as_ref().is_some_and(|i| i.len() != n) {
            return Err(format!(
                "levels of {} and places of {} vectors where there are {n}",
                edges.levels.len(),
                edges.offsets.len()
            ));
        }
        if level(0) != Some(0) || !edges.room.windows(2).all(|w| w[0] <= w[1]) || edges.offsets[0] != 0 {
            return Err("levels that do not follow each other".into());
        }
        for (i, (levels, at)) in edges.levels.iter().zip(edges.offsets.windows(2)).enumerate() {
            let room = level(*levels as usize).filter(|_| *levels > 0);
            if room.is_none_or(|r| at[0].checked_add(r as u64) != Some(at[1])) {
                return Err(format!("vector {i} has {levels} levels and neighbours from {} to {}", at[0], at[1]));
            }
        }
        if edges.offsets[n] != edges.neighbours.len() as u64 || n > i32::MAX as usize {
            return Err(format!("{} neighbours where {} are expected", edges.neighbours.len(), edges.offsets[n]));
        }
        if let Some(odd) = edges.neighbours.iter().find(|e| **e < -1 || **e >= n as i32) {
            return Err(format!("an edge to vector {odd} of {n}"));
        }
        if n > 0 && edges.entry >= n {
            return Err(format!("a search would begin at vector {} of {n}", edges.entry));
        }
        if metric == Metric::Cosine {
            return Err("a graph under cosine".into());
        }
        if let Some((row, what)) = screen(rows.view(), metric).first() {
            return Err(format!("vector {row}: {what}"));
        }
        Ok(Graph { rows, edges, ids, metric, ef: ef.max(1) })
    }

    /// Number of vectors.
    pub fn len(&self) -> usize {
        self.rows.n()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.rows.d()
    }

    /// The vectors, in the order of the file.
    pub fn rows(&self) -> Vectors<'_> {
        self.rows.view()
    }

    /// Their ids, in the same order; nothing where they are counted from 0.
    pub fn ids(&self) -> Option<&[u64]> {
        self.ids.as_deref()
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The length of the queue where nobody says it.
    pub fn ef(&self) -> usize {
        self.ef
    }

    /// Levels, and neighbours that fit level 0.
    pub fn shape(&self) -> (usize, usize) {
        let levels = self.edges.levels.iter().max().copied().unwrap_or(0);
        (levels as usize, self.edges.room.get(1).copied().unwrap_or(0) as usize)
    }

    /// The k nearest vectors of each query that a search with a queue of `ef` (at least k) finds, and how many it compared.
    ///
    /// Walks by f32 distances and reports those of f64; ties go to the smaller number. In parallel over queries; a query's
    /// result does not depend on the others.
    ///
    /// # Errors
    /// k or ef of 0, another dimension, queries that cannot be ranked.
    pub fn search(&self, queries: Vectors<'_>, k: usize, ef: Option<usize>) -> Result<(Neighbors, u64)> {
        let ef = ef.unwrap_or(self.ef);
        self.check(queries, k, ef)?;
        let one = |seen: &mut Seen, q: &[f32]| self.one(q, k, ef.max(k), seen, &mut ());
        let rows: Vec<(Vec<(f64, u64)>, u64)> = queries.data().par_chunks(queries.d()).map_init(Seen::default, one).collect();
        let mut found = Neighbors::new(k);
        let mut compared = 0;
        for (row, count) in rows {
            found.push_row(row.into_iter().map(|(key, id)| (self.metric.report(key) as f32, id)));
            compared += count;
        }
        Ok((found, compared))
    }

    /// Keys and ids of what a search for one query finds, and how many vectors it compares, followed by `follow`.
    pub(crate) fn walk(&self, q: &[f32], k: usize, ef: usize, follow: &mut impl Follow) -> (Vec<(f64, u64)>, u64) {
        self.one(q, k, ef.max(k), &mut Seen::default(), follow)
    }

    /// The id of a vector.
    pub(crate) fn id(&self, i: usize) -> u64 {
        self.ids.as_ref().map_or(i as u64, |ids| ids[i])
    }

    /// The vector with an id; `None` if there is none. Cost: a look at every id, where these are not the vectors' numbers.
    pub fn vector_of(&self, id: u64) -> Option<&[f32]> {
        let i = match &self.ids {
            None => (id < self.len() as u64).then_some(id as usize),
            Some(ids) => ids.iter().position(|i| *i == id),
        };
        i.map(|i| self.rows.row(i))
    }

    pub(crate) fn check(&self, queries: Vectors<'_>, k: usize, ef: usize) -> Result<()> {
        for (name, value) in [("k", k), ("ef", ef)] {
            if value == 0 {
                return Err(Error::param(name, 0, "at least 1"));
            }
        }
        if queries.d() != self.dim() {
            let context = format!("the graph has {}", self.dim());
            return Err(Error::Dimension { name: "queries".into(), expected: self.dim(), got: queries.d(), context });
        }
        if let Some(&(row, what)) = screen(queries, self.metric).first() {
            return Err(Error::BadRow { name: "queries".into(), row: row as u64, what });
        }
        Ok(())
    }

    fn key(&self, q: &[f32], i: u32) -> f32 {
        let row = self.rows.row(i as usize);
        if self.metric == Metric::Ip { -dot(q, row) } else { l2_squared(q, row) }
    }

    fn neighbours(&self, i: u32, level: usize) -> impl Iterator<Item = u32> + '_ {
        let from = self.edges.offsets[i as usize] as usize;
        let (a, b) = (self.edges.room[level] as usize, self.edges.room[level + 1] as usize);
        // the first −1 ends a level
        self.edges.neighbours[from + a..from + b].iter().take_while(|e| **e >= 0).map(|e| *e as u32)
    }

    fn one(&self, q: &[f32], k: usize, ef: usize, seen: &mut Seen, follow: &mut impl Follow) -> (Vec<(f64, u64)>, u64) {
        if self.is_empty() {
            return (vec![], 0);
        }
        let mut compared = 1;
        let entry = self.edges.entry as u32;
        let mut best = Near(self.key(q, entry), entry);
        for level in (1..self.edges.levels[entry as usize] as usize).rev() {
            loop {
                let before = best;
                follow.stands(level, best);
                for e in self.neighbours(before.1, level) {
                    // an edge may lead to a vector that does not reach this level in a damaged file only
                    if self.edges.levels[e as usize] as usize > level {
                        compared += 1;
                        best = best.min(Near(self.key(q, e), e));
                    }
                }
                if best == before {
                    break;
                }
            }
        }
        let found = self.best_first(q, best, ef, (seen, follow), &mut compared);
        let mut top = TopK::new(k);
        let norm = self.metric.exact_norm(q);
        for Near(_, i) in found {
            top.push(self.metric.exact_key_of(q, norm, self.rows.row(i as usize)), self.id(i as usize));
        }
        (top.into_sorted(), compared)
    }

    /// The `ef` nearest vectors met on level 0: the nearest vector not yet looked around is next, until it is farther than all.
    fn best_first(
        &self,
        q: &[f32],
        from: Near,
        ef: usize,
        (seen, follow): (&mut Seen, &mut impl Follow),
        compared: &mut u64,
    ) -> BinaryHeap<Near> {
        seen.begin(self.len());
        seen.first(from.1);
        let mut next = BinaryHeap::from([Reverse(from)]);
        let mut found = BinaryHeap::from([from]);
        let mut fresh = Vec::new();
        while let Some(Reverse(at)) = next.pop() {
            if found.len() >= ef && found.peek().is_some_and(|worst| at > *worst) {
                break;
            }
            follow.stands(0, at);
            fresh.clear();
            fresh.extend(self.neighbours(at.1, 0).filter(|e| seen.first(*e)));
            fresh.iter().for_each(|e| prefetch(self.rows.row(*e as usize)));
            *compared += fresh.len() as u64;
            for &e in &fresh {
                follow.meets(e, at.1);
                let near = Near(self.key(q, e), e);
                if found.len() < ef || found.peek().is_some_and(|worst| near < *worst) {
                    next.push(Reverse(near));
                    found.push(near);
                    if found.len() > ef {
                        found.pop();
                    }
                }
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Vectors on a line, each joined to its neighbours; every fourth on a second level.
    fn line(n: usize) -> Graph {
        let mut e = Edges { room: vec![0, 2, 4], offsets: vec![0], ..Edges::default() };
        for i in 0..n as i32 {
            let up = i % 4 == 0;
            e.levels.push(1 + up as u32);
            let near = |step: i32| [i - step, i + step].map(|x| if (0..n as i32).contains(&x) { x } else { -1 });
            let sorted = |mut x: [i32; 2]| {
                x.sort_by_key(|x| *x < 0);
                x
            };
            e.neighbours.extend(sorted(near(1)));
            if up {
                e.neighbours.extend(sorted(near(4)));
            }
            e.offsets.push(e.neighbours.len() as u64);
        }
        let rows = Matrix::new((0..n).map(|i| i as f32).collect(), 1);
        Graph::new(rows, e, None, Metric::L2, 4).unwrap()
    }

    #[test]
    fn the_walk_arrives() {
        let g = line(41);
        let queries = Matrix::new(vec![30.2, -3.0, 17.5], 1);
        let (found, compared) = g.search(queries.view(), 3, None).unwrap();
        assert_eq!(found.ids(0), [30, 31, 29]);
        assert_eq!(found.ids(1), [0, 1, 2]);
        // 17 and 18 are as near, as are 16 and 19
        assert_eq!(found.ids(2), [17, 18, 16]);
        assert!(compared < 3 * 41, "{compared}");
        let (alone, _) = g.search(queries.view().rows(2..3), 3, None).unwrap();
        assert_eq!((alone.ids(0), alone.distances(0)), (found.ids(2), found.distances(2)));
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        let good = line(9);
        let with = |change: &dyn Fn(&mut Edges)| {
            let mut edges = good.edges.clone();
            change(&mut edges);
            Graph::new(good.rows.clone(), edges, None, Metric::L2, 1)
        };
        assert!(with(&|_| ()).is_ok());
        assert!(with(&|e| e.neighbours[0] = 9).unwrap_err().contains("edge to vector 9"));
        assert!(with(&|e| e.neighbours[0] = -2).is_err());
        assert!(with(&|e| e.entry = 9).is_err());
        assert!(with(&|e| e.levels[1] = 0).is_err());
        assert!(with(&|e| e.levels[1] = 7).is_err());
        assert!(with(&|e| e.offsets[3] = u64::MAX).is_err());
        assert!(with(&|e| e.room = vec![]).is_err());
        assert!(with(&|e| e.neighbours.truncate(3)).is_err());
    }
}
