//! How good a ranking is by what is relevant to each query: mean average precision, precision, nDCG.

use super::Recall;
use crate::{Error, Result};

/// What was found for one query, judged.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Ranked {
    /// Grade of every item found, best first; 0 is not relevant.
    pub grades: Vec<f64>,
    /// Grades of all that is relevant to the query, found or not, descending; none of them 0.
    pub ideal: Vec<f64>,
}

/// Means over queries at one k.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Relevance {
    /// Neighbours counted.
    pub k: usize,
    /// Mean average precision: AP@k = (Σ over relevant items found at ranks i <= k of precision@i) / min(k, relevant items).
    pub map: Recall,
    /// Share of the first k that is relevant; a row of fewer than k is as if filled up with what is not.
    pub precision: Recall,
    /// Share of the relevant items that is among the first k.
    pub recall: Recall,
    /// DCG@k / ideal DCG@k, where DCG is the sum of grade / log2(rank + 1).
    pub ndcg: Recall,
}

/// Evaluates rankings at every k; queries to which nothing is relevant must have been left out.
///
/// # Errors
/// No query; a k of 0.
///
/// # Source
/// Manning, Raghavan & Schütze, "Introduction to Information Retrieval", 2008, §8.4 (average precision, cut at k and divided
/// by what could be found up to there); Järvelin & Kekäläinen, "Cumulated gain-based evaluation of IR techniques", 2002, with the
/// gain as given and the discount log2(rank + 1) of TREC.
pub fn evaluate_relevance(rows: &[Ranked], ks: &[usize]) -> Result<Vec<Relevance>> {
    if rows.is_empty() {
        return Err(Error::Empty { name: "queries with relevant items".into() });
    }
    if ks.contains(&0) {
        return Err(Error::param("k", 0, "at least 1"));
    }
    let mean = |one: &dyn Fn(&Ranked) -> f64| Recall::of(&rows.iter().map(one).collect::<Vec<f64>>());
    let hits = |r: &Ranked, k: usize| r.grades.iter().take(k).filter(|&&g| g > 0.0).count() as f64;
    let at = |&k: &usize| Relevance {
        k,
        map: mean(&|r| average_precision(r.grades.iter().map(|&g| (g > 0.0, None)), r.ideal.len(), k)),
        precision: mean(&|r| hits(r, k) / k as f64),
        recall: mean(&|r| hits(r, k) / r.ideal.len() as f64),
        ndcg: mean(&|r| gain(&r.grades, k) / gain(&r.ideal, k)),
    };
    Ok(ks.iter().map(at).collect())
}

fn gain(grades: &[f64], k: usize) -> f64 {
    grades.iter().take(k).enumerate().map(|(i, g)| g / (i as f64 + 2.0).log2()).sum()
}

/// AP@k of items (relevant?, score) in their order, of which `relevant` could be found: Σ precision@i over the relevant items
/// at ranks i <= k, divided by min(k, `relevant`).
///
/// Items next to each other with equal scores count as found together: each has the precision at the last of them, as
/// scikit-learn's `average_precision_score` has it. Without scores no two are equal.
pub(super) fn average_precision(items: impl Iterator<Item = (bool, Option<f64>)>, relevant: usize, k: usize) -> f64 {
    let mut items = items.take(k).peekable();
    let (mut rank, mut hits, mut sum) = (0usize, 0usize, 0.0);
    while let Some((hit, score)) = items.next() {
        let mut together = usize::from(hit);
        rank += 1;
        while let Some((hit, _)) = items.next_if(|next| score.is_some() && next.1 == score) {
            together += usize::from(hit);
            rank += 1;
        }
        hits += together;
        sum += together as f64 * hits as f64 / rank as f64;
    }
    if hits == 0 { 0.0 } else { sum / relevant.min(k) as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ranked(grades: &[f64], ideal: &[f64]) -> Ranked {
        Ranked { grades: grades.to_vec(), ideal: ideal.to_vec() }
    }

    #[test]
    fn by_hand() {
        let rows = [ranked(&[0.0, 2.0, 1.0, 0.0], &[2.0, 1.0, 1.0]), ranked(&[], &[1.0])];
        let r = evaluate_relevance(&rows, &[2, 10]).unwrap();
        assert_eq!(r[0].map.mean, (1.0 / 2.0) / 2.0 / 2.0);
        assert_eq!(r[1].map.mean, (1.0 / 2.0 + 2.0 / 3.0) / 3.0 / 2.0);
        assert_eq!((r[0].precision.mean, r[1].precision.mean), (0.25, 0.1));
        assert_eq!((r[0].recall.mean, r[1].recall.mean), (1.0 / 6.0, 1.0 / 3.0));
        let ideal = 2.0 + 1.0 / 3f64.log2() + 0.5;
        let dcg = 2.0 / 3f64.log2() + 0.5;
        assert!((r[1].ndcg.mean - dcg / ideal / 2.0).abs() < 1e-15);
    }

    #[test]
    fn a_perfect_ranking_is_one() {
        let r = evaluate_relevance(&[ranked(&[3.0, 1.0, 0.0], &[3.0, 1.0])], &[1, 2, 3]).unwrap();
        assert!(r.iter().all(|r| r.map.mean == 1.0 && (r.ndcg.mean - 1.0).abs() < 1e-15));
    }

    #[test]
    fn equal_scores_are_found_together() {
        // sklearn.metrics.average_precision_score([0, 1, 1, 0], [.9, .5, .5, .5]) = 0.5
        let items = [(false, 0.9), (true, 0.5), (true, 0.5), (false, 0.5)];
        let ap = |k| average_precision(items.iter().map(|&(h, s)| (h, Some(s))), 2, k);
        assert_eq!((ap(4), ap(2)), (0.5, 0.25));
        assert_eq!(average_precision(items.iter().map(|&(h, _)| (h, None)), 2, 4), (0.5 + 2.0 / 3.0) / 2.0);
    }

    #[test]
    fn nothing_is_refused() {
        assert!(evaluate_relevance(&[], &[1]).is_err());
        assert!(evaluate_relevance(&[ranked(&[1.0], &[1.0])], &[0]).unwrap_err().is_usage());
    }
}
