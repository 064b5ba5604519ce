//! How good found neighbours are: recall by id set and by distance, mean reciprocal rank, with intervals.
//!
//! [`evaluate`] is a pure function over two tables of results; [`measure`] takes the time of an index; [`HeldOut`] makes
//! queries of a dataset that has none; [`evaluate_relevance`] and [`ilias`] judge by what is relevant instead of what is near.

mod holdout;
pub mod ilias;
mod relevance;
mod speed;

pub use holdout::HeldOut;
pub use relevance::{Ranked, Relevance, evaluate_relevance};
pub use speed::{Mode, Speed, measure, quantile};

use crate::{Error, Metric, Neighbors, Result};

/// Slack of recall by distance: a found distance may be this much worse than the k-th true one.
pub const EPSILON: f64 = 1e-3;

/// A mean over queries with what a mean hides.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Recall {
    /// Mean over the queries.
    pub mean: f64,
    /// Lower end of the 95 % interval of the mean (normal approximation: mean ± 1.96·s/√n, cut to 0..=1).
    pub low: f64,
    /// Upper end of that interval.
    pub high: f64,
    /// Mean over the worst tenth of the queries (at least one query).
    pub worst_tenth: f64,
}

impl Recall {
    /// Summarises one value a query.
    pub fn of(values: &[f64]) -> Recall {
        if values.is_empty() {
            return Recall::default();
        }
        let n = values.len() as f64;
        let mean = values.iter().sum::<f64>() / n;
        let squares: f64 = values.iter().map(|v| (v - mean) * (v - mean)).sum();
        let half = if values.len() > 1 { 1.96 * (squares / (n - 1.0)).sqrt() / n.sqrt() } else { 0.0 };
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let tenth = values.len().div_ceil(10);
        let worst_tenth = sorted[..tenth].iter().sum::<f64>() / tenth as f64;
        Recall { mean, low: (mean - half).max(0.0), high: (mean + half).min(1.0), worst_tenth }
    }
}

/// What [`evaluate`] finds.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Evaluation {
    /// Queries that count: those for which the truth names at least one neighbour.
    pub queries: usize,
    /// Queries left out because the truth has no neighbour for them.
    pub without_truth: usize,
    /// Queries with fewer results than the largest k evaluated.
    pub short_rows: usize,
    /// (k, recall@k by id set), ascending in k.
    pub recall: Vec<(usize, Recall)>,
    /// (k, recall@k by distance), ascending in k; empty where either side has no distances, and where they differ.
    pub recall_by_distance: Vec<(usize, Recall)>,
    /// Whether the distances of more than a hundredth of the neighbours that are right are not those of the truth: estimates by
    /// codes, or of another metric. They cannot be compared then.
    pub distances_differ: bool,
    /// Whether results and truth have no id in common, though there are some dozens: they are not of the same base then.
    pub disjoint: bool,
    /// Mean reciprocal rank of the true nearest neighbour: 1/rank in the results, 0 where it is missing.
    pub mrr: f64,
}

/// Compares found neighbours with the true ones, row by row.
///
/// - *By id set*: |found@k ∩ truth@k| / |truth@k|; an id that is found twice counts once.
/// - *By distance*: of the first k found, those no worse than the k-th true distance + [`EPSILON`] (for inner products: not below
///   it − [`EPSILON`]), divided by k. Neighbours at equal distance are equally right, so ties pass.
///
/// `metric` says which way distances run; `None` leaves recall by distance out (a truth without distances). Distances of both
/// tables must be of the same kind (FAISS reports squared L2). Where a truth row has fewer than k neighbours its own length
/// takes the place of k; rows without any are left out and counted. An index that ranks by codes reports what these estimate:
/// where the distances of ids that stand in both tables differ, recall by distance is left out.
///
/// # Errors
/// Tables of different length, no query, a k of 0 or beyond what the truth holds.
///
/// # Example
/// ```
/// use voisin::{Metric, Neighbors, eval::evaluate};
/// let table = |ids: [u64; 2]| {
///     let mut t = Neighbors::new(2);
///     t.push_row(ids.map(|id| (id as f32, id)));
///     t
/// };
/// let e = evaluate(&table([3, 4]), &table([3, 5]), &[1, 2], Some(Metric::L2))?;
/// assert_eq!(e.recall[0].1.mean, 1.0); // @1
/// assert_eq!(e.recall[1].1.mean, 0.5); // @2
/// # Ok::<(), voisin::Error>(())
/// ```
///
/// Sources: the SISAP indexing challenge (recall of `knns`); Aumüller, Bernhardsson and Faithfull, "ANN-Benchmarks",
/// arXiv:1807.05614, §3.1, whose tool adds an absolute 1e-3 to the k-th distance.
pub fn evaluate(found: &Neighbors, truth: &Neighbors, ks: &[usize], metric: Option<Metric>) -> Result<Evaluation> {
    check(found, truth, ks)?;
    let rows: Vec<usize> = (0..truth.len()).filter(|&i| !truth.ids(i).is_empty()).collect();
    let largest = ks.iter().copied().max().unwrap_or(0);
    let summary = |one: &dyn Fn(usize, usize) -> f64| {
        let recall = |&k: &usize| (k, Recall::of(&rows.iter().map(|&i| one(i, k)).collect::<Vec<f64>>()));
        ks.iter().map(recall).collect::<Vec<_>>()
    };
    let recall = summary(&|i, k| by_id(found.ids(i), truth.ids(i), k));
    let (shared, differ) = rows.iter().map(|&i| agreement(found, truth, i)).fold((0, 0), |a, b| (a.0 + b.0, a.1 + b.1));
    let distances_differ = metric.is_some() && differ * 100 > shared;
    let recall_by_distance = match metric.filter(|_| !distances_differ) {
        Some(metric) => summary(&|i, k| by_distance(found.distances(i), truth.distances(i), k, metric)),
        None => Vec::new(),
    };
    let mrr = rows.iter().map(|&i| reciprocal_rank(found.ids(i), truth.ids(i)[0])).sum::<f64>() / rows.len().max(1) as f64;
    Ok(Evaluation {
        queries: rows.len(),
        without_truth: truth.len() - rows.len(),
        short_rows: (0..found.len()).filter(|&i| found.ids(i).len() < largest.min(truth.ids(i).len())).count(),
        recall,
        recall_by_distance,
        distances_differ,
        disjoint: shared == 0 && rows.iter().map(|&i| found.ids(i).len()).sum::<usize>() >= ENOUGH,
        mrr,
    })
}

/// Results after which it is no accident that none is right.
const ENOUGH: usize = 30;

/// Neighbours of row `i` that both tables have, and how many of them at another distance.
fn agreement(found: &Neighbors, truth: &Neighbors, i: usize) -> (usize, usize) {
    let mut known: Vec<(u64, f32)> = truth.ids(i).iter().copied().zip(truth.distances(i).iter().copied()).collect();
    known.sort_unstable_by_key(|n| n.0);
    let (mut shared, mut differ) = (0, 0);
    for (id, distance) in found.ids(i).iter().zip(found.distances(i)) {
        if let Ok(at) = known.binary_search_by_key(id, |n| n.0) {
            let (a, b) = (f64::from(*distance), f64::from(known[at].1));
            shared += 1;
            // sums in f32 and half floats lie within a part in a thousand
            differ += usize::from((a - b).abs() > EPSILON * b.abs().max(1.0));
        }
    }
    (shared, differ)
}

/// The k worth reporting for results of up to `k` neighbours: 1, 10 and 100 as far as they go, and `k` itself.
pub fn usual_ks(k: usize) -> Vec<usize> {
    let mut ks: Vec<usize> = [1, 10, 100].into_iter().filter(|&x| x < k).collect();
    if k > 0 {
        ks.push(k);
    }
    ks
}

fn check(found: &Neighbors, truth: &Neighbors, ks: &[usize]) -> Result<()> {
    if found.len() != truth.len() {
        let expected = format!("{} rows as in the truth; result and truth must be for the same queries", truth.len());
        return Err(Error::param("result rows", found.len(), expected));
    }
    if truth.is_empty() {
        return Err(Error::Empty { name: "truth".into() });
    }
    match ks.iter().find(|&&k| k == 0 || k > truth.k()) {
        Some(k) => Err(Error::param("k", k, format!("1 to {}, the neighbours that the truth holds for a query", truth.k()))),
        None => Ok(()),
    }
}

fn by_id(found: &[u64], truth: &[u64], k: usize) -> f64 {
    let truth = &truth[..k.min(truth.len())];
    let mut found = found[..k.min(found.len())].to_vec();
    found.sort_unstable();
    truth.iter().filter(|t| found.binary_search(t).is_ok()).count() as f64 / truth.len() as f64
}

fn by_distance(found: &[f32], truth: &[f32], k: usize, metric: Metric) -> f64 {
    let k = k.min(truth.len());
    let limit = f64::from(truth[k - 1]);
    let passes = |&d: &f32| match metric {
        Metric::Ip => f64::from(d) >= limit - EPSILON,
        Metric::L2 | Metric::Cosine => f64::from(d) <= limit + EPSILON,
    };
    found.iter().take(k).filter(|d| passes(d)).count() as f64 / k as f64
}

fn reciprocal_rank(found: &[u64], nearest: u64) -> f64 {
    found.iter().position(|&id| id == nearest).map_or(0.0, |at| 1.0 / (at + 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(k: usize, rows: &[&[(f32, u64)]]) -> Neighbors {
        let mut t = Neighbors::new(k);
        rows.iter().for_each(|r| t.push_row(r.iter().copied()));
        t
    }

    #[test]
    fn estimates_and_other_ids_are_told() {
        let rows: Vec<Vec<(f32, u64)>> = (0..8).map(|q| (0..5).map(|i| (i as f32, q * 5 + i)).collect()).collect();
        let rows: Vec<&[(f32, u64)]> = rows.iter().map(Vec::as_slice).collect();
        let truth = table(5, &rows);
        let moved = |by: f32, id: u64| {
            let rows: Vec<Vec<(f32, u64)>> = rows.iter().map(|r| r.iter().map(|n| (n.0 + by, n.1 + id)).collect()).collect();
            table(5, &rows.iter().map(Vec::as_slice).collect::<Vec<_>>())
        };
        let told = |found: &Neighbors| {
            let e = evaluate(found, &truth, &[5], Some(Metric::L2)).unwrap();
            (e.distances_differ, e.disjoint, e.recall_by_distance.is_empty())
        };
        assert_eq!(told(&moved(0.0005, 0)), (false, false, false));
        assert_eq!(told(&moved(0.1, 0)), (true, false, true));
        assert_eq!(told(&moved(0.0, 1000)), (false, true, false));
    }

    #[test]
    fn by_hand() {
        let truth = table(3, &[&[(1.0, 1), (2.0, 2), (3.0, 3)], &[(1.0, 4), (1.0, 5), (1.5, 6)], &[]]);
        let found = table(3, &[&[(2.0, 2), (1.0, 1), (9.0, 9)], &[(1.0, 5), (1.5004, 7)], &[(1.0, 1)]]);
        let e = evaluate(&found, &truth, &[1, 3], Some(Metric::L2)).unwrap();
        assert_eq!((e.queries, e.without_truth, e.short_rows), (2, 1, 1));
        assert_eq!(e.recall[0].1.mean, 0.0); // neither first result is the nearest by id
        assert_eq!(e.recall[1].1.mean, (2.0 / 3.0 + 1.0 / 3.0) / 2.0);
        assert_eq!(e.recall_by_distance[0].1.mean, 0.5); // (2.0 > 1.001, 1.0 <= 1.001)
        assert_eq!(e.recall_by_distance[1].1.mean, (2.0 / 3.0 + 2.0 / 3.0) / 2.0); // 1.5004 ties
        assert_eq!(e.mrr, 0.25); // 1 is second, 4 is missing
        assert_eq!(e.recall[1].1.worst_tenth, 1.0 / 3.0);
    }

    #[test]
    fn inner_products_descend() {
        let truth = table(2, &[&[(0.9, 1), (0.8, 2)]]);
        let found = table(2, &[&[(0.9, 1), (0.7995, 3)]]);
        let e = evaluate(&found, &truth, &[2], Some(Metric::Ip)).unwrap();
        assert_eq!((e.recall[0].1.mean, e.recall_by_distance[0].1.mean), (0.5, 1.0));
        assert!(evaluate(&found, &truth, &[2], None).unwrap().recall_by_distance.is_empty());
    }

    #[test]
    fn an_id_found_twice_counts_once() {
        assert_eq!(by_id(&[1, 1, 1], &[1, 2, 3], 3), 1.0 / 3.0);
    }

    #[test]
    fn the_interval_is_the_normal_one() {
        let r = Recall::of(&[0.0, 1.0, 1.0, 1.0]);
        assert_eq!((r.mean, r.worst_tenth), (0.75, 0.0));
        assert!((r.low - (0.75 - 1.96 * 0.25)).abs() < 1e-12 && r.high == 1.0);
        assert_eq!(Recall::of(&[1.0; 7]), Recall { mean: 1.0, low: 1.0, high: 1.0, worst_tenth: 1.0 });
    }

    #[test]
    fn what_cannot_be_compared_is_refused() {
        let (one, two) = (table(1, &[&[(0.0, 1)]]), table(1, &[&[(0.0, 1)], &[(0.0, 1)]]));
        assert!(evaluate(&one, &two, &[1], None).unwrap_err().to_string().contains("same queries"));
        assert!(evaluate(&one, &one, &[2], None).unwrap_err().is_usage());
        assert!(evaluate(&one, &one, &[0], None).is_err());
        assert!(evaluate(&Neighbors::new(1), &Neighbors::new(1), &[1], None).is_err());
        assert_eq!(
            (usual_ks(10), usual_ks(5), usual_ks(250), usual_ks(1)),
            (vec![1, 10], vec![1, 5], vec![1, 10, 100, 250], vec![1])
        );
    }
}
