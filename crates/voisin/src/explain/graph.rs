//! How a search went through a graph.

use super::map::{self, Vector, evenly};
use super::types::{Counts, Explanation, Hit, Hop, Map, MapKind, Missed, PointState, Reason, TruthKind, Walk};
use crate::graph::{Follow, Graph, Near};
use crate::{Error, Result, TopK, Vectors};
use rayon::prelude::*;
use std::collections::{HashMap, HashSet};

/// The steps of a walk.
#[derive(Default)]
struct Steps {
    /// Level, vector with its key, and where it was seen from.
    hops: Vec<(usize, Near, Option<u32>)>,
    /// Vectors met on level 0, and whose neighbours they are.
    from: HashMap<u32, u32>,
}

impl Follow for Steps {
    fn stands(&mut self, level: usize, at: Near) {
        let before = self.hops.last().map(|h| h.1.1);
        match (level, self.hops.last()) {
            // level 0 begins where the level above ended
            (0, _) => self.hops.push((0, at, self.from.get(&at.1).copied())),
            (_, _) => self.hops.push((level, at, before.filter(|b| *b != at.1))),
        }
    }

    fn meets(&mut self, vector: u32, from: u32) {
        self.from.entry(vector).or_insert(from);
    }
}

impl Graph {
    /// What kind of graph it is, as a word: `HNSW16,Flat`.
    pub fn spec(&self) -> String {
        format!("HNSW{},Flat", self.shape().1 / 2)
    }

    /// Explains the search for one query (d values), as [`Graph::search`] does it: its hops, and the true neighbours among all
    /// vectors that it missed. One vector that is left out is found by the walk like any other (which is for k + 1 then), and
    /// left out afterwards. Cost: a comparison with every vector, and the map.
    ///
    /// # Errors
    /// As [`Graph::search`].
    pub fn explain(&self, query: &[f32], k: usize, ef: Option<usize>, own: Option<u64>, map: MapKind) -> Result<Explanation> {
        let wanted = k.saturating_add(own.is_some() as usize);
        let ef = ef.unwrap_or(self.ef());
        if query.len() != self.dim() {
            let context = format!("the graph has {}", self.dim());
            return Err(Error::Dimension { name: "query".into(), expected: self.dim(), got: query.len(), context });
        }
        self.check(Vectors::new(query, query.len()), k, ef)?;
        let (ef, mut steps) = (ef.max(wanted), Steps::default());
        let (found, compared) = self.walk(query, wanted, ef, &mut steps);
        let others = |all: Vec<(f64, u64)>| -> Vec<(f64, u64)> { all.into_iter().filter(|f| Some(f.1) != own).take(k).collect() };
        let (found, truth) = (others(found), others(self.nearest(query, wanted)));
        let ranks: HashMap<u64, usize> = truth.iter().zip(1..).map(|(t, rank)| (t.1, rank)).collect();
        let report = |key: f64| self.metric().report(key) as f32;
        let hit = |(&(key, id), rank): (&(f64, u64), usize)| Hit {
            id: id.to_string(),
            rank,
            distance: report(key),
            list: None,
            estimate: None,
            estimate_rank: None,
            true_rank: ranks.get(&id).copied(),
        };
        let hits: Vec<Hit> = found.iter().zip(1..).map(hit).collect();
        let have: HashSet<u64> = found.iter().map(|f| f.1).collect();
        let lost = truth.iter().zip(1..).filter(|(t, _)| !have.contains(&t.1));
        let missed = lost.map(|(&(key, id), rank)| Missed {
            id: id.to_string(),
            true_rank: rank,
            distance: report(key),
            list: None,
            order: None,
            reason: Reason::NotReached,
            text: format!("the walk did not come to it; a queue longer than {} goes farther", ef),
            estimate: None,
            estimate_rank: None,
        });
        let missed: Vec<Missed> = missed.collect();
        let missing: Vec<u64> = truth.iter().map(|t| t.1).filter(|id| !have.contains(id)).collect();
        let found_ids: Vec<u64> = found.iter().map(|f| f.1).collect();
        let map = (map != MapKind::None).then(|| self.drawn(query, &steps, [&found_ids, &missing], map)).transpose()?;
        Ok(Explanation {
            spec: self.spec(),
            metric: self.metric(),
            n: self.len() as u64,
            d: self.dim(),
            k,
            compared: None,
            nprobe: None,
            nlist: None,
            lists: None,
            not_visited: None,
            counts: Counts { scanned: compared, candidates: found.len(), refined: 0, found: found.len() },
            recall: if truth.is_empty() { 1.0 } else { 1.0 - missed.len() as f64 / truth.len() as f64 },
            hits,
            missed,
            truth: TruthKind::Exact,
            truth_text: "the vectors of the graph".into(),
            map,
            graph: Some(self.told(&steps, ef, compared)),
            notes: Vec::new(),
        })
    }

    fn told(&self, steps: &Steps, ef: usize, visited: u64) -> Walk {
        let id = |i: u32| self.id(i as usize).to_string();
        let hop = |&(level, at, from): &(usize, Near, Option<u32>)| Hop {
            level,
            id: id(at.1),
            distance: self.metric().report(at.0 as f64) as f32,
            from: from.map(id),
        };
        Walk { levels: self.shape().0, ef, visited, hops: steps.hops.iter().map(hop).collect() }
    }

    /// Hits, then those missed, then what else was compared on level 0, evenly.
    fn drawn(&self, query: &[f32], steps: &Steps, [hits, missed]: [&[u64]; 2], method: MapKind) -> Result<Map> {
        let mut compared: Vec<u32> = steps.from.keys().copied().chain(steps.hops.iter().map(|h| h.1.1)).collect();
        compared.sort_unstable();
        compared.dedup();
        let met = |i: usize| compared.binary_search(&(i as u32)).is_ok();
        let states: HashMap<u64, PointState> =
            hits.iter().map(|id| (*id, PointState::Hit)).chain(missed.iter().map(|id| (*id, PointState::Missed))).collect();
        let marked = (0..self.len()).filter(|i| states.contains_key(&self.id(*i)));
        let others: Vec<usize> = compared.iter().map(|i| *i as usize).filter(|i| !states.contains_key(&self.id(*i))).collect();
        let room = (map::POINTS - 1).saturating_sub(states.len());
        let vector = |i: usize| {
            let id = self.id(i);
            let state = states.get(&id).copied().unwrap_or(PointState::Other);
            (i, Vector { id, name: id.to_string(), list: None, visited: Some(met(i)), state })
        };
        let all = marked.chain(evenly(others.len(), room).map(|i| others[i])).map(vector);
        map::of_graph(self.rows(), query, all, method)
    }

    /// Key and id of the k nearest of all vectors.
    fn nearest(&self, query: &[f32], k: usize) -> Vec<(f64, u64)> {
        let norm = self.metric().exact_norm(query);
        let keys: Vec<f64> = (0..self.len())
            .into_par_iter()
            .with_min_len(64)
            .map(|i| self.metric().exact_key_of(query, norm, self.rows().row(i)))
            .collect();
        let mut top = TopK::new(k);
        keys.into_iter().enumerate().for_each(|(i, key)| top.push(key, self.id(i)));
        top.into_sorted()
    }
}
