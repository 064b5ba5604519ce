//! Explanations: they tell what a search does, and their reasons hold.

use super::*;
use std::sync::Arc;
use voisin::explain::{Compared, Explanation, MapKind, Originals, PointKind, PointState, Reason, Truth, TruthKind, explain};
use voisin::index::FilterKind;

/// Every kind of transform, partition, code and refinement at least once.
const KINDS: [&str; 14] = [
    "Flat",
    "RaBitQ4",
    "PQ12x4",
    "IVF16,Flat",
    "IVF16,SQ8",
    "IVF8,PQ6",
    "LMI12(32-16),Flat",
    "LMI12(32),SQ4,Refine(SQ8)",
    "IVF8,PQ6,Refine(F16)",
    "OPQ6,IVF8,PQ6x4,Refine(Flat)",
    "IVF16,RaBitQ4,Refine(Flat)",
    "LMI12(32),RaBitQ2,Refine(SQ8)",
    "PCA16,IVF8,Flat,Refine(Flat)",
    "IVF12(router),RaBitQ4,Refine(F16)",
];

fn built(dir: &Path, spec: &str, metric: Metric, base: &Matrix) -> Index {
    let mut p = BuildParams { segment_rows: Some(400), calibrate: 200, ..params(spec, metric) };
    p.queries = spec.contains("router").then(|| rows(120, 95));
    index::build(&source(base), dir, &p, &Quiet).unwrap();
    Index::open(dir).unwrap()
}

fn ids(e: &Explanation) -> Vec<u64> {
    e.hits.iter().map(|h| h.id.parse().unwrap()).collect()
}

/// An explanation says what `Index::search` finds and takes.
fn told(index: &Index, query: &[f32], p: &SearchParams, truth: Truth<'_>) -> Explanation {
    let name = format!("{} {} {p:?}", index.spec(), index.metric());
    let found = index.search(Vectors::new(query, D), p).unwrap();
    let e = explain(index, query, p, truth, MapKind::None).unwrap();
    assert_eq!(ids(&e), found.neighbors.ids(0), "{name}");
    let distances: Vec<f32> = e.hits.iter().map(|h| h.distance).collect();
    assert_eq!(distances, found.neighbors.distances(0), "{name}");
    let (lists, others) = (e.lists.as_ref().unwrap(), e.not_visited.as_ref().unwrap());
    assert_eq!((e.counts.scanned, lists.len() as u64), (found.scanned, found.lists), "{name}");
    assert_eq!(e.counts.found, e.hits.len());
    if !p.filter.as_ref().is_some_and(|f| f.is_small()) {
        assert_eq!(lists.iter().map(|l| l.scanned).sum::<u64>(), found.scanned, "{name}");
        assert!(lists.iter().zip(1..).all(|(l, order)| l.order == order));
        assert_eq!(lists.iter().map(|l| l.hits).sum::<usize>(), e.hits.len(), "{name}");
        let visited: Vec<u32> = lists.iter().map(|l| l.list).collect();
        assert!(others.iter().all(|l| !visited.contains(&l.list) && l.order > lists.len()));
    }
    let free = |r: Reason| matches!(r, Reason::ListNotVisited | Reason::CodeError);
    let missed = e.missed.iter().filter(|m| free(m.reason)).count();
    let truths = e.hits.iter().filter(|h| h.true_rank.is_some()).count() + missed;
    let share = if truths == 0 { 1.0 } else { 1.0 - missed as f64 / truths as f64 };
    assert!((e.recall - share).abs() < 1e-12, "{name}: {} {share}", e.recall);
    let mut ranks: Vec<usize> = e.hits.iter().filter_map(|h| h.true_rank).collect();
    ranks.extend(e.missed.iter().filter(|m| free(m.reason)).map(|m| m.true_rank));
    ranks.sort_unstable();
    assert_eq!(ranks, (1..=truths).collect::<Vec<_>>(), "{name}");
    assert_eq!(lists.iter().map(|l| l.truth).sum::<usize>() + others.iter().map(|l| l.truth).sum::<usize>(), truths, "{name}");
    e
}

#[test]
fn what_is_told_is_what_a_search_does() {
    let (base, queries) = (rows(900, 91), rows(5, 92));
    for spec in KINDS {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            built(&path, spec, metric, &base);
            index::remove(&path, &IdList::Numbers((0..900).step_by(9).collect()), false).unwrap();
            let index = Index::open(&path).unwrap();
            let plain = spec.ends_with("Flat") || spec.ends_with("Refine(Flat)");
            let kept: Vec<(u64, &[f32])> = numbered(&base).into_iter().filter(|x| x.0 % 9 != 0).collect();
            for (i, query) in queries.view().iter().enumerate() {
                let some = SearchParams { k: 7, nprobe: 1 + i, ..Default::default() };
                let all = SearchParams { nprobe: usize::MAX, refine: 1, ..some.clone() };
                let one = SearchParams { refine: 1 + i, exclude: Some(vec![i as u64 + 1]), ..some.clone() };
                let recall = SearchParams { recall: Some(0.6), ..some.clone() };
                for p in [some, all, one]
                    .iter()
                    .chain((index.calibration().is_some_and(|c| c.best() > 0.9) && i == 0).then_some(&recall))
                {
                    let e = told(&index, query, p, Truth::Kept);
                    assert_eq!(e.truth == TruthKind::Exact, plain, "{spec}");
                    if plain && p.exclude.is_none() {
                        let want = naive(metric, query, &kept, 7);
                        let have = ids(&e).iter().filter(|id| want.contains(id)).count();
                        assert!((e.recall - have as f64 / 7.0).abs() < 1e-12, "{spec} {metric}: {}", e.recall);
                        assert!(e.missed.iter().all(|m| want[m.true_rank - 1].to_string() == m.id));
                    }
                }
            }
        }
    }
}

#[test]
fn lists_that_are_visited_lose_nothing_but_to_codes() {
    let (base, queries) = (rows(1500, 93), rows(8, 94));
    for spec in ["IVF16,Flat", "LMI12(32),Flat", "IVF16,RaBitQ4,Refine(Flat)", "IVF12(router),PQ6,Refine(Flat)"] {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let index = built(&dir.path().join("x"), spec, metric, &base);
            for query in queries.view().iter() {
                let wide = SearchParams { k: 20, nprobe: 1, refine: 2000, ..Default::default() };
                let e = told(&index, query, &wide, Truth::Kept);
                assert!(e.missed.iter().all(|m| m.reason == Reason::ListNotVisited && m.order > Some(1)), "{:?}", e.missed);
                for m in e.missed.iter().take(3) {
                    // visited as far as its list, it is found
                    let p = SearchParams { nprobe: m.order.unwrap(), ..wide.clone() };
                    assert!(told(&index, query, &p, Truth::Kept).hits.iter().any(|h| h.id == m.id), "{spec} {metric}: {m:?}");
                    let p = SearchParams { nprobe: m.order.unwrap() - 1, ..wide.clone() };
                    let e = told(&index, query, &p, Truth::Kept);
                    let again = e.missed.iter().find(|x| x.id == m.id).unwrap();
                    assert_eq!((again.reason, again.order), (Reason::ListNotVisited, m.order));
                }
                let narrow = SearchParams { nprobe: usize::MAX, refine: 1, ..wide };
                let e = told(&index, query, &narrow, Truth::Kept);
                assert!(e.missed.iter().all(|m| m.reason == Reason::CodeError && m.estimate_rank > Some(20)), "{:?}", e.missed);
                for m in &e.missed {
                    // refined as far as its place, it is found
                    let p = SearchParams { refine: m.estimate_rank.unwrap().div_ceil(20), ..narrow.clone() };
                    assert!(told(&index, query, &p, Truth::Kept).hits.iter().any(|h| h.id == m.id), "{spec} {metric}: {m:?}");
                }
                let p = e.lists.unwrap().iter().filter_map(|l| l.probability).sum::<f32>();
                assert!((spec.starts_with("IVF16") && p == 0.0) || (p - 1.0).abs() < 1e-4, "{spec}: {p}");
            }
        }
    }
}

#[test]
fn originals_tell_what_codes_lose_and_what_is_gone() {
    let (base, queries) = (rows(900, 96), rows(6, 97));
    let dir = tempfile::tempdir().unwrap();
    for spec in ["IVF8,PQ6", "IVF8,SQ4", "IVF8,RaBitQ2,Refine(SQ8)", "Flat"] {
        let path = dir.path().join(spec);
        built(&path, spec, Metric::L2, &base);
        let gone = naive(Metric::L2, queries.row(0), &numbered(&base), 2);
        index::remove(&path, &IdList::Numbers(gone.clone()), false).unwrap();
        let index = Index::open(&path).unwrap();
        let source = source(&base);
        let originals = Originals::new(&index, &source).unwrap();
        let p = SearchParams { k: 12, nprobe: 8, ..Default::default() };
        for (i, query) in queries.view().iter().enumerate() {
            let e = told(&index, query, &p, Truth::Originals(&originals, &Quiet));
            assert_eq!(e.truth, TruthKind::Exact);
            let all = naive(Metric::L2, query, &numbered(&base), 14);
            let want: Vec<u64> = all.iter().copied().filter(|id| !gone.contains(id)).take(12).collect();
            let have = ids(&e).iter().filter(|id| want.contains(id)).count();
            assert!((e.recall - have as f64 / 12.0).abs() < 1e-12, "{spec}: {}", e.recall);
            assert!(spec != "Flat" || have == 12);
            let deleted: Vec<(usize, u64)> =
                e.missed.iter().filter(|m| m.reason == Reason::Deleted).map(|m| (m.true_rank, m.id.parse().unwrap())).collect();
            let expected: Vec<(usize, u64)> = (1..=12).zip(all.iter().copied()).filter(|(_, id)| gone.contains(id)).collect();
            assert_eq!(deleted, expected, "{spec}");
            assert!(i > 0 || deleted.len() == 2);
        }
    }
    let small = rows(5, 1);
    let other = MemSource::new("other", Matrix::new(small.data()[..50].to_vec(), 10));
    let index = Index::open(dir.path().join("Flat")).unwrap();
    assert!(Originals::new(&index, &other).is_err_and(|e| e.to_string().contains("10")));
}

#[test]
fn filters_are_told_apart() {
    let base = rows(90_000, 98);
    let queries = rows(3, 99);
    let dir = tempfile::tempdir().unwrap();
    let p = BuildParams { calibrate: 0, ..params("IVF16,Flat", Metric::L2) };
    index::build(&source(&base), &dir.path().join("x"), &p, &Quiet).unwrap();
    let index = Index::open(dir.path().join("x")).unwrap();
    let all = numbered(&base);
    for (kind, step) in [(FilterKind::Deny, 50), (FilterKind::Allow, 3)] {
        let numbers: Vec<u64> = (0..90_000).step_by(step).collect();
        let filter = index.filter(&IdList::Numbers(numbers), kind).unwrap();
        let allows = |id: u64| id.is_multiple_of(step as u64) == (kind == FilterKind::Allow);
        let small = filter.is_small();
        let p = SearchParams { k: 60, nprobe: 3, filter: Some(Arc::new(filter)), ..Default::default() };
        for query in queries.view().iter() {
            let e = told(&index, query, &p, Truth::Kept);
            assert_eq!(e.compared, Some(if small { Compared::Allowed } else { Compared::Lists }));
            let nearest = naive(Metric::L2, query, &all, 60);
            let filtered: Vec<String> = e.missed.iter().filter(|m| m.reason == Reason::Filtered).map(|m| m.id.clone()).collect();
            let expected: Vec<String> = nearest.iter().filter(|id| !allows(**id)).map(|id| id.to_string()).collect();
            assert_eq!(filtered, expected);
            assert!(!small || (e.recall == 1.0 && e.lists.unwrap().is_empty()));
        }
    }
}

#[test]
fn maps_show_hits_misses_and_lists() {
    let (base, queries) = (rows(500, 90), rows(2, 89));
    for spec in ["IVF16,Flat", "LMI12(32),SQ8", "OPQ6,IVF8,PQ6x4", "Flat", "IVF16,RaBitQ4"] {
        for (metric, method) in [(Metric::L2, MapKind::Pca), (Metric::Cosine, MapKind::Tsne)] {
            if method == MapKind::Tsne && spec != "IVF16,Flat" {
                continue;
            }
            let dir = tempfile::tempdir().unwrap();
            let index = built(&dir.path().join("x"), spec, metric, &base);
            let p = SearchParams { k: 9, nprobe: 2, ..Default::default() };
            let source = source(&base);
            let originals = Originals::new(&index, &source).unwrap();
            let flat = built(&dir.path().join("flat"), "Flat", metric, &base);
            let same = Originals::of_index(&index, &flat).unwrap();
            let on =
                |threads: usize, truth| pool(threads).install(|| explain(&index, queries.row(0), &p, truth, method)).unwrap();
            let e = on(2, Truth::Originals(&originals, &Quiet));
            assert_eq!(e.map, on(1, Truth::Originals(&originals, &Quiet)).map);
            let by_index = on(2, Truth::Originals(&same, &Quiet));
            assert_eq!((&by_index.map, &by_index.missed, by_index.recall), (&e.map, &e.missed, e.recall));
            let map = e.map.unwrap();
            assert_eq!((map.method, map.explained_variance.is_some()), (method, method == MapKind::Pca));
            assert!(map.trustworthiness > 0.5 && map.points.iter().all(|p| p.x.is_finite() && p.y.is_finite()));
            let count = |kind, state| map.points.iter().filter(|p| p.kind == kind && p.state == state).count();
            assert_eq!(count(PointKind::Query, None), 1);
            // a list without centroid and vectors has no place
            let full = index.list_sizes().iter().filter(|n| **n > 0).count();
            let centroids = if spec == "Flat" {
                0
            } else if spec.starts_with("LMI") {
                full
            } else {
                index.partition().nlist()
            };
            assert_eq!(count(PointKind::Centroid, None), centroids);
            assert_eq!(count(PointKind::Vector, Some(PointState::Hit)), 9);
            assert_eq!(count(PointKind::Vector, Some(PointState::Missed)), e.missed.len());
            let scanned = e.counts.scanned as usize;
            let seen = e.missed.iter().filter(|m| m.reason == Reason::CodeError).count();
            assert_eq!(count(PointKind::Vector, Some(PointState::Other)), (scanned - 9 - seen).min(1990), "{spec}");
            let kept = on(2, Truth::Kept);
            assert_eq!(kept.notes.len(), spec.contains("RaBitQ") as usize, "{:?}", kept.notes);
        }
    }
}
