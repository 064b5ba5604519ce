//! What a trace of a search and the true neighbours say of lists, hits and misses.

use super::truth::{Stand, True};
use super::types::{Compared, Hit, Missed, NotVisited, Reason, Visited};
use crate::index::{Index, Seen, Trace};
use crate::partition::Partition;
use crate::{Result, SearchParams};
use std::collections::{HashMap, HashSet};

/// A search and what it was to find.
pub(super) struct Told<'a> {
    index: &'a Index,
    params: &'a SearchParams,
    trace: &'a Trace,
    /// All lists, those visited first.
    order: &'a [Seen],
    truth: &'a [True],
    /// The place of each list in the order, from 1.
    places: Vec<usize>,
    /// Place, from 1, and key by the code of those that are asked about.
    estimates: HashMap<u64, (usize, f64)>,
}

impl<'a> Told<'a> {
    pub(super) fn new(
        index: &'a Index,
        params: &'a SearchParams,
        trace: &'a Trace,
        order: &'a [Seen],
        truth: &'a [True],
    ) -> Told<'a> {
        let mut places = vec![0; index.spec().nlist()];
        order.iter().zip(1..).for_each(|(seen, place)| places[seen.list as usize] = place);
        let wanted: HashSet<u64> = trace.found.iter().map(|f| f.1).chain(truth.iter().filter_map(|t| t.id)).collect();
        let ranked = trace.compared.iter().zip(1..).filter(|((_, id), _)| wanted.contains(id));
        let estimates = ranked.map(|(&(key, id), rank)| (id, (rank, key))).collect();
        Told { index, params, trace, order, truth, places, estimates }
    }

    /// What was compared: a small allowed set is so as a whole, whatever lists it lies in.
    pub(super) fn compared(&self) -> Compared {
        if self.trace.visited.is_empty() && self.params.filter.as_ref().is_some_and(|f| f.is_small()) {
            return Compared::Allowed;
        }
        if self.index.spec().nlist() > 1 { Compared::Lists } else { Compared::All }
    }

    fn all_allowed(&self) -> bool {
        self.compared() == Compared::Allowed
    }

    fn estimate(&self, id: u64) -> (Option<f32>, Option<usize>) {
        match self.estimates.get(&id) {
            // plain vectors are compared as they are
            Some(&(rank, key)) if !self.index.plain() => (Some(self.index.reported(key)), Some(rank)),
            _ => (None, None),
        }
    }

    pub(super) fn hits(&self) -> Result<Vec<Hit>> {
        let ranks: HashMap<u64, usize> = self.free().filter_map(|t| Some((t.id?, t.rank))).collect();
        let hit = |(i, &(key, id)): (usize, &(f64, u64))| {
            let (estimate, estimate_rank) = self.estimate(id);
            Ok(Hit {
                id: super::name(self.index, id)?,
                rank: i + 1,
                distance: self.index.reported(key),
                list: self.index.whereabouts(id, None)?.map(|at| at.list),
                estimate,
                estimate_rank,
                true_rank: ranks.get(&id).copied(),
            })
        };
        self.trace.found.iter().enumerate().map(hit).collect()
    }

    fn free(&self) -> impl Iterator<Item = &True> {
        self.truth.iter().filter(|t| t.stand == Stand::Free)
    }

    /// The lists visited, and the others that hold true neighbours.
    pub(super) fn lists(&self, hits: &[Hit]) -> (Vec<Visited>, Vec<NotVisited>) {
        let (mut found, mut truth) = (HashMap::new(), HashMap::new());
        hits.iter().filter_map(|h| h.list).for_each(|list| *found.entry(list).or_insert(0) += 1);
        self.free().filter_map(|t| t.list).for_each(|list| *truth.entry(list).or_insert(0) += 1);
        let of = |map: &HashMap<u32, usize>, list: u32| map.get(&list).copied().unwrap_or(0);
        let (visited, others) = self.order.split_at(self.trace.visited.len());
        let visit = |(seen, order): (&Seen, usize)| {
            let [size, scanned] = self.index.list_counts(seen.list, self.params.filter.as_deref());
            let (hits, truth) = (of(&found, seen.list), of(&truth, seen.list));
            Visited { list: seen.list, order, score: seen.score, probability: seen.probability, size, scanned, hits, truth }
        };
        let leave = |(seen, order): (&Seen, usize)| {
            let ([size, _], truth) = (self.index.list_counts(seen.list, None), of(&truth, seen.list));
            NotVisited { list: seen.list, order, score: seen.score, probability: seen.probability, size, truth }
        };
        let wanted = others.iter().zip(visited.len() + 1..).filter(|(seen, _)| truth.contains_key(&seen.list));
        (visited.iter().zip(1..).map(visit).collect(), wanted.map(leave).collect())
    }

    /// The true neighbours that were not found, and why.
    pub(super) fn missed(&self) -> Vec<Missed> {
        let found: HashSet<u64> = self.trace.found.iter().map(|f| f.1).collect();
        let lost = self.truth.iter().filter(|t| t.id.is_none_or(|id| !found.contains(&id)));
        lost.map(|t| self.miss(t)).collect()
    }

    fn miss(&self, t: &True) -> Missed {
        let order = t.list.map(|list| self.places[list as usize]).filter(|place| *place > 0);
        let (reason, text) = match t.stand {
            Stand::Gone => (Reason::Deleted, "it is not in the index: it was removed, or never added".into()),
            Stand::Filtered => (Reason::Filtered, "the filter leaves it out".into()),
            Stand::Free if !self.all_allowed() && order.is_none_or(|o| o > self.trace.visited.len()) => {
                (Reason::ListNotVisited, self.not_visited(order))
            }
            Stand::Free => (Reason::CodeError, self.code_error(t)),
        };
        let (estimate, estimate_rank) = match (reason, t.id) {
            (Reason::CodeError, Some(id)) => self.estimate(id),
            _ => (None, None),
        };
        Missed {
            id: t.name.clone(),
            true_rank: t.rank,
            distance: t.distance,
            list: t.list,
            order,
            reason,
            text,
            estimate,
            estimate_rank,
        }
    }

    fn not_visited(&self, order: Option<usize>) -> String {
        let were = match self.trace.visited.len() {
            1 => "1 was visited".into(),
            n => format!("{n} were visited"),
        };
        let Some(order) = order else { return format!("its list is none of those that the query looks at; {were}") };
        let what = match self.index.partition() {
            Partition::Learned(_) => "most probable",
            Partition::Routed(_) => "in the order of the router",
            Partition::KMeans(_) | Partition::One => "nearest",
        };
        format!("its list is the {} {what}; {were}", ordinal(order))
    }

    fn code_error(&self, t: &True) -> String {
        let (kept, of) = (self.trace.kept, self.trace.compared.len());
        let Some(&(rank, _)) = t.id.and_then(|id| self.estimates.get(&id)) else {
            let found = self.trace.found.len();
            return format!("it was compared, but what the index keeps of it is not among the {found} nearest");
        };
        let place = format!("the {} of {of} compared", ordinal(rank));
        let code = self.index.spec().score;
        if self.index.plain() {
            return format!("by its vector in the index it is {place}");
        }
        match self.index.refines() {
            true if rank > kept => format!("by its code {code} it is {place}; the first {kept} were refined"),
            true => format!(
                "its code {code} passed it on ({}), but by the vector kept to refine it {} are nearer",
                ordinal(rank),
                self.trace.found.len()
            ),
            false => format!("by its code {code} it is {place}; {} were to be found", self.params.k),
        }
    }

    pub(super) fn notes(&self) -> Vec<String> {
        let visited = self.trace.visited.len();
        let note = |target| format!("{visited} lists were visited, which is what a recall of {target} takes for this query");
        self.params.recall.filter(|_| !self.all_allowed()).map(note).into_iter().collect()
    }
}

/// `1st`, `2nd`, `11th`.
pub(super) fn ordinal(n: usize) -> String {
    let ending = match (n % 100, n % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{n}{ending}")
}

#[cfg(test)]
mod tests {
    #[test]
    fn places_in_words() {
        let all = [1, 2, 3, 4, 11, 12, 13, 21, 102, 111].map(super::ordinal);
        assert_eq!(all, ["1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "102nd", "111th"]);
    }
}
