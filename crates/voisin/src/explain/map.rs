//! Query, centroids and vectors on a plane.

use super::plane::{distances, principal, trustworthiness};
use super::tsne::tsne;
use super::types::{Hit, Map, MapKind, Missed, Point, PointKind, PointState};
use super::{Originals, Truth};
use crate::index::{Index, Seen};
use crate::partition::Partition;
use crate::{Result, Vectors};
use std::collections::HashMap;

/// Points of a map, at most: t-SNE compares every pair of them.
pub(super) const POINTS: usize = 2000;
/// Centroids among them, at most.
const CENTROIDS: usize = 300;
/// Vectors whose mean stands for a list without a centroid, at most.
const MEAN: usize = 64;

/// What is to be drawn: rows as partition and codes see them, and what they are.
#[derive(Default)]
pub(super) struct Sheet {
    rows: Vec<f32>,
    points: Vec<Point>,
}

/// A vector of a map.
pub(super) struct Vector {
    pub(super) id: u64,
    pub(super) name: String,
    pub(super) list: Option<u32>,
    pub(super) visited: Option<bool>,
    pub(super) state: PointState,
}

impl Sheet {
    pub(super) fn query(&mut self, row: &[f32]) {
        self.push(row, PointKind::Query, None, None);
    }

    pub(super) fn vector(&mut self, row: &[f32], v: Vector) {
        self.push(row, PointKind::Vector, v.list, v.visited);
        let point = self.points.last_mut().expect("one was pushed");
        (point.id, point.state) = (Some(v.name), Some(v.state));
    }

    fn push(&mut self, row: &[f32], kind: PointKind, list: Option<u32>, visited: Option<bool>) {
        self.rows.extend_from_slice(row);
        self.points.push(Point { x: 0.0, y: 0.0, kind, list, visited, id: None, state: None });
    }

    /// Gives every point its place.
    pub(super) fn draw(self, method: MapKind) -> Result<Map> {
        let Sheet { rows, mut points } = self;
        let rows = Vectors::new(&rows, rows.len() / points.len().max(1));
        let plane = principal(rows)?;
        let far = distances(rows);
        let places = if method == MapKind::Tsne { tsne(&far, &plane.places) } else { plane.places };
        for (point, place) in points.iter_mut().zip(&places) {
            (point.x, point.y) = (place[0] as f32, place[1] as f32);
        }
        let explained_variance = (method == MapKind::Pca).then_some(plane.shares);
        Ok(Map { method, explained_variance, trustworthiness: trustworthiness(&far, &places), points })
    }
}

/// How many of `total` things are taken, and which: evenly spread, the first among them.
pub(super) fn evenly(total: usize, most: usize) -> impl Iterator<Item = usize> {
    let many = total.min(most);
    (0..many).map(move |i| (i as u128 * total as u128 / many as u128) as usize)
}

/// What a map of an index shows.
pub(super) struct Scene<'a> {
    pub(super) index: &'a Index,
    pub(super) query: Vectors<'a>,
    /// All lists, those visited first.
    pub(super) order: &'a [Seen],
    pub(super) visited: usize,
    pub(super) hits: &'a [Hit],
    pub(super) found: &'a [(f64, u64)],
    pub(super) missed: &'a [Missed],
    /// Numbers of those missed that are in the index.
    pub(super) lost: &'a HashMap<String, u64>,
    pub(super) truth: Truth<'a>,
}

impl Scene<'_> {
    /// The map, and what is to be said about it.
    pub(super) fn map(&self, method: MapKind) -> Result<(Map, Option<String>)> {
        let mut sheet = Sheet::default();
        sheet.query(&self.index.as_coded(self.query));
        self.centroids(&mut sheet)?;
        let room = POINTS - sheet.points.len();
        let mut unread = 0;
        for vector in self.vectors(room)? {
            match self.read(vector.id, &vector.name)? {
                Some(row) => sheet.vector(&row, vector),
                None => unread += 1,
            }
        }
        let note = (unread > 0).then(|| {
            let code = self.index.spec().score;
            format!("{unread} vectors are not on the map: codes {code} cannot be read back, the vectors themselves are needed")
        });
        Ok((sheet.draw(method)?, note))
    }

    /// A vector as partition and codes see it.
    fn read(&self, id: u64, name: &str) -> Result<Option<Vec<f32>>> {
        if let Some(originals) = self.originals()
            && let Some(vector) = originals.vector_of(id, name)?
        {
            return Ok(Some(self.index.as_coded(Vectors::new(&vector, vector.len()))));
        }
        self.index.stored_as_coded(id)
    }

    fn originals(&self) -> Option<&Originals<'_>> {
        if let Truth::Originals(originals, _) = self.truth { Some(originals) } else { None }
    }

    fn centroids(&self, sheet: &mut Sheet) -> Result<()> {
        if matches!(self.index.partition(), Partition::One) {
            return Ok(());
        }
        for (i, seen) in self.order.iter().take(CENTROIDS).enumerate() {
            let row = match self.index.partition().stored() {
                Partition::KMeans(c) => Some(c.matrix().row(seen.list as usize).to_vec()),
                _ => self.mean(seen.list)?,
            };
            if let Some(row) = row {
                sheet.push(&row, PointKind::Centroid, Some(seen.list), Some(i < self.visited));
            }
        }
        Ok(())
    }

    /// The mean of some vectors of a list.
    fn mean(&self, list: u32) -> Result<Option<Vec<f32>>> {
        let ids = self.index.ids_in(list)?;
        let (mut sum, mut count) = (vec![0.0f64; self.index.coded_dim()], 0);
        for i in evenly(ids.len(), MEAN) {
            let name = self.originals().map_or(Ok(String::new()), |_| super::name(self.index, ids[i]))?;
            let Some(row) = self.read(ids[i], &name)? else { break };
            sum.iter_mut().zip(&row).for_each(|(s, x)| *s += *x as f64);
            count += 1;
        }
        Ok((count > 0).then(|| sum.iter().map(|s| (s / count as f64) as f32).collect()))
    }

    /// Hits, then those missed, then what else lies in the lists visited, evenly.
    fn vectors(&self, room: usize) -> Result<Vec<Vector>> {
        let been: Vec<u32> = self.order[..self.visited].iter().map(|s| s.list).collect();
        let visited = |list: Option<u32>| list.map(|l| been.contains(&l));
        let hit = |(h, f): (&Hit, &(f64, u64))| {
            let (name, list) = (h.id.clone(), h.list);
            Vector { id: f.1, name, list, visited: visited(list), state: PointState::Hit }
        };
        let mut all: Vec<Vector> = self.hits.iter().zip(self.found).map(hit).collect();
        for m in self.missed {
            if let Some(&id) = self.lost.get(&m.id) {
                all.push(Vector { id, name: m.id.clone(), list: m.list, visited: visited(m.list), state: PointState::Missed });
            }
        }
        all.truncate(room);
        let mut others: Vec<(u64, u32)> = Vec::new();
        for &list in &been {
            others.extend(self.index.ids_in(list)?.into_iter().map(|id| (id, list)));
        }
        let shown: std::collections::HashSet<u64> = all.iter().map(|v| v.id).collect();
        others.retain(|o| !shown.contains(&o.0));
        for i in evenly(others.len(), room - all.len()) {
            let (id, list) = others[i];
            let (name, state) = (super::name(self.index, id)?, PointState::Other);
            all.push(Vector { id, name, list: Some(list), visited: Some(true), state });
        }
        Ok(all)
    }
}

/// The places of hits, misses and what else was compared among the vectors of a graph.
pub(super) fn of_graph(
    rows: Vectors<'_>,
    query: &[f32],
    vectors: impl Iterator<Item = (usize, Vector)>,
    method: MapKind,
) -> Result<Map> {
    let mut sheet = Sheet::default();
    sheet.query(query);
    vectors.take(POINTS - 1).for_each(|(i, vector)| sheet.vector(rows.row(i), vector));
    sheet.draw(method)
}
