//! Indexes of codes: the same bytes however they are built, changed without the vectors, refined to what is exact.

use super::*;
use std::collections::BTreeMap;

/// Every kind of transform, partition, code and refinement at least once.
const CODED: [&str; 9] = [
    "RaBitQ4",
    "IVF16,SQ8",
    "LMI12(32),SQ4,Refine(SQ8)",
    "IVF8,PQ6,Refine(F16)",
    "OPQ6,IVF8,PQ6x4,Refine(Flat)",
    "IVF16,RaBitQ4,Refine(Flat)",
    "LMI12(32),RaBitQ2,Refine(SQ8)",
    "PCA12,IVF16,RaBitQ4,Refine(F16)",
    "PCA16,IVF8,Flat,Refine(Flat)",
];

fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for folder in [dir.to_owned(), dir.join("segments")] {
        for entry in std::fs::read_dir(&folder).unwrap().flatten().filter(|e| e.path().is_file()) {
            let name = entry.path().strip_prefix(dir).unwrap().display().to_string();
            all.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    all.remove("lock");
    all
}

/// Every row is a candidate.
fn all_candidates(k: usize) -> SearchParams {
    SearchParams { refine: 1_000_000, ..all_lists(k) }
}

#[test]
fn streamed_whole_and_on_any_threads_the_bytes_are_the_same() {
    let base = rows(3000, 71);
    for spec in CODED {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            // so little memory is too little for exact search, by which recall is calibrated
            let p = BuildParams { train_size: Some(2000), segment_rows: Some(3000), calibrate: 0, ..params(spec, metric) };
            let (whole, streamed) = (dir.path().join("whole"), dir.path().join("streamed"));
            pool(1).install(|| index::build(&source(&base), &whole, &p, &Quiet)).unwrap();
            // blocks of 341 rows, nine of which make the segment
            let little = BuildParams { memory_limit: Some(1 << 20), ..p };
            let report = pool(3).install(|| index::build(&source(&base), &streamed, &little, &Quiet)).unwrap();
            assert_eq!((report.n, report.segments), (3000, 1));
            let (a, b) = (files(&whole), files(&streamed));
            assert_eq!(a.keys().collect::<Vec<_>>(), b.keys().collect::<Vec<_>>());
            for (name, bytes) in &a {
                assert!(*bytes == b[name], "{spec} {metric}: {name}");
            }
            assert!(index::verify(&whole, &Quiet).unwrap().problems.is_empty());
        }
    }
}

#[test]
fn rows_left_out_are_left_out_of_codes_and_refinement() {
    let mut base = rows(2500, 72);
    for bad in [0, 700, 1400, 2499] {
        base.row_mut(bad)[3] = f32::NAN;
    }
    let kept: Vec<(u64, &[f32])> = numbered(&base).into_iter().filter(|x| x.1[3].is_finite()).collect();
    let queries = rows(20, 73);
    let dir = tempfile::tempdir().unwrap();
    for (i, memory_limit) in [None, Some(1 << 18)].into_iter().enumerate() {
        let path = dir.path().join(format!("{i}"));
        let p = BuildParams {
            memory_limit,
            calibrate: 0,
            on_bad: OnBad::Skip,
            ..params("IVF8,RaBitQ4,Refine(Flat)", Metric::Cosine)
        };
        let report = index::build(&source(&base), &path, &p, &Quiet).unwrap();
        assert_eq!((report.n, report.skipped), (2496, 4));
        let index = Index::open(&path).unwrap();
        for &(id, x) in kept.iter().step_by(97) {
            assert_eq!(index.vector_of(id).unwrap().unwrap(), x);
        }
        let found = index.search(queries.view(), &all_candidates(9)).unwrap().neighbors;
        for (q, row) in queries.view().iter().enumerate() {
            assert_eq!(found.ids(q), naive(Metric::Cosine, row, &kept, 9));
        }
    }
}

#[test]
fn plain_refinement_of_every_candidate_is_exact() {
    let (base, queries) = (rows(1500, 74), rows(40, 75));
    for spec in CODED.iter().filter(|s| s.ends_with("Refine(Flat)")) {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            index::build(&source(&base), &path, &params(spec, metric), &Quiet).unwrap();
            let index = Index::open(&path).unwrap();
            let found = index.search(queries.view(), &all_candidates(10)).unwrap().neighbors;
            for (q, row) in queries.view().iter().enumerate() {
                assert_eq!(found.ids(q), naive(metric, row, &numbered(&base), 10), "{spec} {metric}");
            }
        }
    }
}

#[test]
fn codes_are_changed_without_the_vectors() {
    let (base, more, queries) = (rows(900, 76), rows(300, 77), rows(25, 78));
    for spec in CODED {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let (path, at_once) = (dir.path().join("x"), dir.path().join("at once"));
            index::build(&source(&base), &path, &params(spec, metric), &Quiet).unwrap();
            let p = AddParams { segment_rows: Some(130), ..Default::default() };
            assert_eq!(index::add(&path, &source(&more), &p, &Quiet).unwrap().n, 1200);
            let gone: Vec<u64> = (0..1200).filter(|i| i % 4 == 1).collect();
            index::remove(&path, &IdList::Numbers(gone), false).unwrap();
            assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
            let answers = |path: &Path| {
                let index = Index::open(path).unwrap();
                let some = SearchParams { k: 12, nprobe: 4, ..Default::default() };
                [some, all_lists(12), all_candidates(12)].map(|p| index.search(queries.view(), &p).unwrap().neighbors)
            };
            let before = answers(&path);
            assert!((0..25).all(|q| before[1].ids(q).len() == 12 && before[1].ids(q).iter().all(|id| id % 4 != 1)));
            let compacted = index::compact(&path, &Quiet).unwrap();
            assert_eq!((compacted.n, compacted.dropped, compacted.segments), (900, 300, (4, 1)), "{spec}");
            assert_eq!(answers(&path), before, "{spec} {metric}");
            assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());

            // the same rows added at once to the same model are the same segment, but for the order of their making
            index::build(&source(&base), &at_once, &params(spec, metric), &Quiet).unwrap();
            index::add(&at_once, &source(&more), &AddParams::default(), &Quiet).unwrap();
            let gone: Vec<u64> = (0..1200).filter(|i| i % 4 == 1).collect();
            index::remove(&at_once, &IdList::Numbers(gone), false).unwrap();
            index::compact(&at_once, &Quiet).unwrap();
            let segment = |path: &Path| files(path).into_iter().find(|f| f.0.starts_with("segments")).unwrap();
            assert!(segment(&path) == segment(&at_once), "{spec} {metric}");
        }
    }
}

#[test]
fn vectors_come_back_as_far_as_they_are_kept() {
    let base = rows(800, 79);
    let largest = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
    for metric in METRICS {
        for spec in CODED {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            index::build(&source(&base), &path, &params(spec, metric), &Quiet).unwrap();
            let index = Index::open(&path).unwrap();
            for i in [0, 5, 799] {
                let stored = index.vector_of(i as u64);
                match spec.split_once("Refine") {
                    Some((_, "(Flat)")) => assert_eq!(stored.unwrap().unwrap(), base.row(i)),
                    Some((_, "(F16)")) => assert!(largest(&stored.unwrap().unwrap(), base.row(i)) < 2e-3),
                    Some(_) => assert!(largest(&stored.unwrap().unwrap(), base.row(i)) < 0.02),
                    None if spec.contains("SQ") => {
                        let length = naive_key(Metric::Ip, base.row(i), base.row(i)).abs().sqrt() as f32;
                        let scale = if metric == Metric::Cosine { 1.0 / length } else { 1.0 };
                        let row: Vec<f32> = base.row(i).iter().map(|x| x * scale).collect();
                        assert!(largest(&stored.unwrap().unwrap(), &row) < 0.02);
                    }
                    None => {
                        let e = stored.unwrap_err().to_string();
                        assert!(e.contains("RaBitQ4") && e.contains("Refine"), "{e}");
                    }
                }
            }
            assert!(index.vector_of(800).unwrap().is_none());
        }
    }
}

#[test]
fn a_row_that_cannot_be_coded_is_named() {
    let mut base = rows(2500, 80);
    let dir = tempfile::tempdir().unwrap();
    base.row_mut(1777)[5] = 1e7;
    for memory_limit in [None, Some(1 << 18)] {
        let p = BuildParams { memory_limit, train_size: Some(500), ..params("IVF4,RaBitQ4,Refine(F16)", Metric::L2) };
        let e = index::build(&source(&base), &dir.path().join("x"), &p, &Quiet).unwrap_err().to_string();
        assert!(e.starts_with("base: row 1777: ") && e.contains("half floats"), "{e}");
    }
    base.row_mut(1777)[5] = 1e30;
    let p = BuildParams { train_size: Some(500), ..params("IVF4,RaBitQ4", Metric::L2) };
    let e = index::build(&source(&base), &dir.path().join("y"), &p, &Quiet).unwrap_err().to_string();
    assert!(e.starts_with("base: row 1777: "), "{e}");
}

#[test]
fn a_coded_build_that_is_stopped_goes_on() {
    let base = rows(2000, 81);
    for spec in CODED {
        let dir = tempfile::tempdir().unwrap();
        let (whole, path) = (dir.path().join("whole"), dir.path().join("x"));
        for memory_limit in [None, Some(1 << 19)] {
            let p = BuildParams { segment_rows: Some(400), memory_limit, calibrate: 0, ..params(spec, Metric::Cosine) };
            index::build(&source(&base), &whole, &p, &Quiet).unwrap();
            for rows in [0, 800] {
                let stop = life::StopAt { rows, ..Default::default() };
                assert!(matches!(index::build(&source(&base), &path, &p, &stop), Err(Error::Stopped)));
            }
            assert_eq!(index::build(&source(&base), &path, &p, &Quiet).unwrap().resumed, 800);
            assert!(files(&whole) == files(&path), "{spec}");
            std::fs::remove_dir_all(&whole).unwrap();
            std::fs::remove_dir_all(&path).unwrap();
        }
    }
}

#[test]
fn product_codes_rank_by_what_they_decode_to() {
    let (base, queries) = (rows(900, 91), rows(12, 92));
    for spec in ["IVF8,PQ6", "IVF8,PQ6x4", "PQ12x4", "LMI6(16),PQ6"] {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            index::build(&source(&base), dir.path(), &params(spec, metric), &Quiet).unwrap();
            let index = Index::open(dir.path()).unwrap();
            let stored: Vec<Vec<f32>> = (0..900).map(|i| index.vector_of(i).unwrap().unwrap()).collect();
            let found = index.search(queries.view(), &all_lists(9)).unwrap().neighbors;
            for q in 0..12 {
                let query = queries.row(q);
                let norm = if metric == Metric::Cosine { naive_key(Metric::Ip, query, query).abs().sqrt() } else { 1.0 };
                let query: Vec<f32> = query.iter().map(|x| (*x as f64 / norm) as f32).collect();
                // codes are compared under L2 or ip: under cosine they are of rows of unit length, but not of it themselves
                let by = if metric == Metric::Ip { Metric::Ip } else { Metric::L2 };
                let mut all: Vec<(f64, u64)> = stored.iter().zip(0..).map(|(x, i)| (naive_key(by, &query, x), i)).collect();
                all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
                let expected: Vec<u64> = all[..9].iter().map(|x| x.1).collect();
                assert_eq!(found.ids(q), expected, "{spec} {metric}, query {q}");
            }
        }
    }
}
