//! Every spec under every metric: built, searched, changed, and compared with a plain f64 computation.

mod coded;
mod explained;
mod filters;
mod life;
mod many;
mod targets;

use std::path::Path;
use voisin::index::{self, AddParams, BuildParams, IdList, Ids};
use voisin::{Error, Index, Matrix, MemSource, Metric, OnBad, Quiet, SearchParams, Spec, StringIds, Vectors};

const D: usize = 24;
const SPECS: [&str; 4] = ["Flat", "IVF16,Flat", "LMI16,Flat", "LMI12(32-16),Flat"];
const METRICS: [Metric; 3] = [Metric::L2, Metric::Ip, Metric::Cosine];

/// Rows around a few centres, from a small generator of its own.
fn rows(n: usize, seed: u64) -> Matrix {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let mut data = Vec::with_capacity(n * D);
    for i in 0..n {
        let centre = (i * 7 + seed as usize) % 12;
        data.extend((0..D).map(|j| ((centre * 31 + j * 17) % 23) as f32 / 11.5 - 1.0 + 0.6 * next()));
    }
    Matrix::new(data, D)
}

fn naive_key(metric: Metric, q: &[f32], x: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(a, b)| *a as f64 * *b as f64).sum::<f64>();
    match metric {
        Metric::L2 => q.iter().zip(x).map(|(a, b)| (*a as f64 - *b as f64).powi(2)).sum(),
        Metric::Ip => -dot(q, x),
        Metric::Cosine => 1.0 - dot(q, x) / (dot(q, q) * dot(x, x)).sqrt(),
    }
}

/// The k nearest by a plain f64 computation among (id, vector).
fn naive(metric: Metric, q: &[f32], base: &[(u64, &[f32])], k: usize) -> Vec<u64> {
    let mut all: Vec<(f64, u64)> = base.iter().map(|(id, x)| (naive_key(metric, q, x), *id)).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.truncate(k);
    all.into_iter().map(|e| e.1).collect()
}

fn params(spec: &str, metric: Metric) -> BuildParams {
    let mut p = BuildParams { spec: Some(spec.parse().unwrap()), metric, seed: 5, ..Default::default() };
    p.train.epochs = Some(4);
    p.train.batch = Some(64);
    p
}

fn source(m: &Matrix) -> MemSource {
    MemSource::new("base", m.clone())
}

fn all_lists(k: usize) -> SearchParams {
    SearchParams { k, nprobe: usize::MAX, ..Default::default() }
}

fn pool(threads: usize) -> rayon::ThreadPool {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap()
}

fn check_exact(index: &Index, queries: Vectors<'_>, base: &[(u64, &[f32])], k: usize) {
    let found = index.search(queries, &all_lists(k)).unwrap().neighbors;
    for (i, q) in queries.iter().enumerate() {
        let want = naive(index.metric(), q, base, k);
        assert_eq!(found.ids(i), want, "query {i}, {} {}", index.spec(), index.metric());
        for (id, &distance) in want.iter().zip(found.distances(i)) {
            let x = base.iter().find(|b| b.0 == *id).unwrap().1;
            let expected = index.metric().report(naive_key(index.metric(), q, x));
            assert!((distance as f64 - expected).abs() <= 1e-6 * expected.abs().max(1.0), "{distance} {expected}");
        }
    }
}

fn numbered(m: &Matrix) -> Vec<(u64, &[f32])> {
    (0..m.n()).map(|i| (i as u64, m.row(i))).collect()
}

#[test]
fn every_spec_and_metric_is_exact_when_all_lists_are_visited() {
    let (base, queries) = (rows(2500, 1), rows(60, 2));
    for spec in SPECS {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let report = index::build(&source(&base), &path, &params(spec, metric), &Quiet).unwrap();
            assert_eq!((report.n, report.d, report.segments), (2500, D, 1));
            let index = Index::open(&path).unwrap();
            assert_eq!((index.len(), index.spec().to_string().as_str()), (2500, spec));
            assert_eq!(index.list_sizes().iter().sum::<u64>(), 2500);
            check_exact(&index, queries.view(), &numbered(&base), 10);
            assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
            assert_eq!(index.vector_of(77).unwrap().unwrap(), base.row(77));
            assert!(index.vector_of(2500).unwrap().is_none());
        }
    }
}

#[test]
fn a_few_lists_hold_most_neighbours() {
    let (base, queries) = (rows(3000, 3), rows(80, 4));
    for spec in &SPECS[1..] {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            index::build(&source(&base), &path, &params(spec, metric), &Quiet).unwrap();
            let index = Index::open(&path).unwrap();
            let exact = index.search(queries.view(), &all_lists(10)).unwrap();
            let some = index.search(queries.view(), &SearchParams { k: 10, nprobe: 4, ..Default::default() }).unwrap();
            assert!(some.scanned < exact.scanned && some.lists == 4 * 80);
            let hits: usize = (0..queries.n())
                .map(|i| some.neighbors.ids(i).iter().filter(|id| exact.neighbors.ids(i).contains(id)).count())
                .sum();
            assert!(hits > 650, "{spec} {metric}: {hits} of 800");
        }
    }
}

#[test]
fn segments_threads_and_batches_change_nothing() {
    let (base, queries) = (rows(2600, 5), rows(90, 6));
    for spec in SPECS {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let (one, many) = (dir.path().join("one"), dir.path().join("many"));
            index::build(&source(&base), &one, &params(spec, metric), &Quiet).unwrap();
            let split = BuildParams { segment_rows: Some(700), ..params(spec, metric) };
            let report = pool(3).install(|| index::build(&source(&base), &many, &split, &Quiet)).unwrap();
            assert_eq!(report.segments, 4);
            let model = |dir: &Path| std::fs::read(dir.join("model.vsn")).unwrap();
            assert_eq!(model(&one), model(&many));
            let (one, many) = (Index::open(&one).unwrap(), Index::open(&many).unwrap());
            let p = SearchParams { k: 7, nprobe: 3, ..Default::default() };
            let whole = pool(1).install(|| one.search(queries.view(), &p)).unwrap();
            let other = pool(4).install(|| many.search(queries.view(), &p)).unwrap();
            assert_eq!(whole.neighbors, other.neighbors, "{spec} {metric}");
            assert_eq!((whole.scanned, whole.lists), (other.scanned, other.lists));
            for i in 0..queries.n() {
                let alone = many.search(queries.view().rows(i..i + 1), &p).unwrap().neighbors;
                assert_eq!((alone.ids(0), alone.distances(0)), (whole.neighbors.ids(i), whole.neighbors.distances(i)));
            }
        }
    }
}

#[test]
fn the_same_seed_gives_the_same_bytes_on_any_number_of_threads() {
    let base = rows(1500, 7);
    for spec in SPECS {
        let dir = tempfile::tempdir().unwrap();
        let built = |name: &str, threads: usize| {
            let path = dir.path().join(name);
            pool(threads).install(|| index::build(&source(&base), &path, &params(spec, Metric::Cosine), &Quiet)).unwrap();
            ["manifest.json", "model.vsn", "segments/00001-0000.vsn"].map(|f| std::fs::read(path.join(f)).unwrap())
        };
        assert!(built("a", 1) == built("b", 4), "{spec}");
    }
}

#[test]
fn changes_are_those_of_a_list() {
    let (base, more, queries) = (rows(900, 8), rows(300, 9), rows(30, 10));
    for spec in SPECS {
        for metric in METRICS {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            index::build(&source(&base), &path, &params(spec, metric), &Quiet).unwrap();
            let before = Index::open(&path).unwrap();
            let mut all = numbered(&base);
            let added = index::add(&path, &source(&more), &AddParams::default(), &Quiet).unwrap();
            assert_eq!((added.added, added.n), (300, 1200));
            all.extend((0..300).map(|i| (900 + i as u64, more.row(i))));
            check_exact(&Index::open(&path).unwrap(), queries.view(), &all, 8);

            let gone: Vec<u64> = (0..1200).filter(|i| i % 3 == 0).collect();
            let removed = index::remove(&path, &IdList::Numbers(gone.clone()), false).unwrap();
            assert_eq!((removed.removed, removed.n), (400, 800));
            all.retain(|x| x.0 % 3 != 0);
            let index = Index::open(&path).unwrap();
            check_exact(&index, queries.view(), &all, 8);
            assert!(index.vector_of(3).unwrap().is_none());
            assert_eq!(index.list_sizes().iter().sum::<u64>(), 800);
            let refused = index::remove(&path, &IdList::Numbers(vec![1, 3]), false).unwrap_err();
            assert!(matches!(&refused, Error::Id { id, .. } if id == "3"), "{refused}");
            assert_eq!(index::remove(&path, &IdList::Numbers(vec![3]), true).unwrap().missing, 1);

            // ids 1 and 2 exist, 3 was removed
            let few = MemSource::new("few", Matrix::new(more.data()[..3 * D].to_vec(), D));
            let ids = Ids::Given(IdList::Numbers(vec![1, 2, 3]));
            let refused = index::add(&path, &few, &AddParams { ids: ids.clone(), ..Default::default() }, &Quiet).unwrap_err();
            assert!(matches!(&refused, Error::Id { id, .. } if id == "1"), "{refused}");
            let replaced = index::add(&path, &few, &AddParams { ids, replace: true, ..Default::default() }, &Quiet).unwrap();
            assert_eq!((replaced.added, replaced.replaced, replaced.n), (3, 2, 801));
            all.retain(|x| x.0 > 3);
            all.extend((0..3).map(|i| (i as u64 + 1, more.row(i))));
            check_exact(&Index::open(&path).unwrap(), queries.view(), &all, 8);
            assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());

            let compacted = index::compact(&path, &Quiet).unwrap();
            assert_eq!((compacted.n, compacted.dropped, compacted.segments), (801, 402, (3, 1)));
            assert!(compacted.bytes.1 < compacted.bytes.0);
            let index = Index::open(&path).unwrap();
            check_exact(&index, queries.view(), &all, 8);
            assert_eq!(index.info().deleted, 0);
            assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
            // the next number is one after the largest ever given
            let again = index::add(&path, &few, &AddParams::default(), &Quiet).unwrap();
            assert_eq!(again.n, 804);
            assert!(Index::open(&path).unwrap().vector_of(1200).unwrap().is_some());
            // opened before all this, it is still what it was
            check_exact(&before, queries.view(), &numbered(&base), 8);
        }
    }
}

#[test]
fn many_queries_at_once_find_what_one_finds() {
    for metric in METRICS {
        for (spec, bytes) in [("Flat", false), ("Flat", true), ("IVF4,Flat", false), ("IVF4,Flat", true)] {
            let (mut base, mut queries) = (rows(2100, 31), rows(250, 32));
            if bytes {
                let whole = |m: &mut Matrix| m.data_mut().iter_mut().for_each(|x| *x = (*x * 60.0 + 128.0).round());
                whole(&mut base);
                whole(&mut queries);
            }
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("x");
            let p = BuildParams { segment_rows: Some(1500), ..params(spec, metric) };
            index::build(&source(&base), &path, &p, &Quiet).unwrap();
            index::remove(&path, &IdList::Numbers((0..2100).step_by(7).collect()), false).unwrap();
            let index = Index::open(&path).unwrap();
            let kept: Vec<(u64, &[f32])> = numbered(&base).into_iter().filter(|x| x.0 % 7 != 0).collect();
            check_exact(&index, queries.view(), &kept, 9);
            let two = SearchParams { k: 9, nprobe: 2, exclude_self: true, ..Default::default() };
            let batch = index.search(queries.view(), &two).unwrap();
            for i in (0..250).step_by(11) {
                let alone = SearchParams { exclude: Some(vec![i as u64]), ..two.clone() };
                let alone = index.search(queries.view().rows(i..i + 1), &alone).unwrap().neighbors;
                assert_eq!((alone.ids(0), alone.distances(0)), (batch.neighbors.ids(i), batch.neighbors.distances(i)));
            }
        }
    }
}

/// Runs that are asked often are compared by 8-bit codes from then on.
#[test]
fn a_query_finds_the_same_however_often_it_is_asked() {
    for metric in METRICS {
        for spec in ["Flat", "IVF4,Flat", "PCA20,Flat"] {
            let dir = tempfile::tempdir().unwrap();
            let (base, queries) = (rows(2500, 33), rows(3, 34));
            index::build(&source(&base), dir.path(), &params(spec, metric), &Quiet).unwrap();
            index::remove(dir.path(), &IdList::Numbers((0..2500).step_by(9).collect()), false).unwrap();
            let index = Index::open(dir.path()).unwrap();
            for (i, query) in queries.view().iter().enumerate() {
                let one = Vectors::new(query, D);
                let p = SearchParams { k: 12, nprobe: 2, exclude: Some(vec![i as u64 * 5]), ..Default::default() };
                let first = Index::open(dir.path()).unwrap().search(one, &p).unwrap();
                assert_eq!(first.neighbors.ids(0).len(), 12);
                for _ in 0..8 {
                    let again = index.search(one, &p).unwrap();
                    assert_eq!((again.neighbors, again.scanned), (first.neighbors.clone(), first.scanned), "{spec} {metric}");
                }
            }
        }
    }
}

fn names(range: std::ops::Range<usize>) -> StringIds {
    range.map(|i| format!("näme-{}", i * 7919 % 1000)).collect()
}

#[test]
fn strings_stand_for_vectors() {
    let (base, more) = (rows(500, 11), rows(20, 12));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let with_ids = source(&base).with_ids(Some(names(0..500)));
    index::build(&with_ids, &path, &params("IVF16,Flat", Metric::L2), &Quiet).unwrap();
    let index = Index::open(&path).unwrap();
    assert!(index.has_string_ids());
    for i in [0, 1, 499] {
        let id = index.find(names(0..500).get(i)).unwrap().unwrap();
        assert_eq!(index.vector_of(id).unwrap().unwrap(), base.row(i));
        assert_eq!(index.string_id(id).unwrap(), Some(names(0..500).get(i)));
        let found = index.search(base.view().rows(i..i + 1), &all_lists(1)).unwrap().neighbors;
        assert_eq!(found.ids(0), [id]);
    }
    assert_eq!(index.find("nobody").unwrap(), None);
    // ten that exist and ten that do not
    let mixed = source(&more).with_ids(Some(names(490..510)));
    let refused = index::add(&path, &mixed, &AddParams::default(), &Quiet).unwrap_err();
    assert!(matches!(&refused, Error::Id { id, .. } if id == names(490..510).get(0)), "{refused}");
    let report = index::add(&path, &mixed, &AddParams { replace: true, ..Default::default() }, &Quiet).unwrap();
    assert_eq!((report.added, report.replaced, report.n), (20, 10, 510));
    let new = Index::open(&path).unwrap();
    assert_eq!(new.find(names(490..491).get(0)).unwrap(), index.find(names(490..491).get(0)).unwrap());
    let plain = index::add(&path, &source(&more), &AddParams::default(), &Quiet).unwrap_err();
    assert!(plain.to_string().contains("strings"), "{plain}");
    let removed = index::remove(&path, &IdList::Strings(names(0..50)), false).unwrap();
    assert_eq!((removed.removed, removed.n), (50, 460));
    assert!(matches!(index::remove(&path, &IdList::Strings(names(0..1)), false), Err(Error::Id { .. })));
    index::compact(&path, &Quiet).unwrap();
    let last = Index::open(&path).unwrap();
    let id = last.find(names(505..506).get(0)).unwrap().unwrap();
    assert_eq!(last.vector_of(id).unwrap().unwrap(), more.row(15));
    assert_eq!(last.string_id(id).unwrap(), Some(names(505..506).get(0)));
    assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
}

#[test]
fn the_same_id_twice_is_refused_with_both_rows() {
    let base = rows(30, 13);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let ids: StringIds = (0..30).map(|i| (i % 29).to_string()).collect();
    let e = index::build(&source(&base).with_ids(Some(ids)), &path, &params("Flat", Metric::L2), &Quiet).unwrap_err();
    assert_eq!(e.to_string(), "id 0: stands twice: rows 0 and 29 of base");
    assert!(!path.exists(), "an empty folder would be left");
}

#[test]
fn bad_rows_are_refused_or_skipped() {
    let mut base = rows(1000, 14);
    base.row_mut(17)[3] = f32::NAN;
    base.row_mut(900).fill(0.0);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    for (metric, skipped) in [(Metric::L2, 1), (Metric::Cosine, 2)] {
        let p = params("LMI16,Flat", metric);
        let e = index::build(&source(&base), &path, &p, &Quiet).unwrap_err();
        assert_eq!(e.to_string(), "base, row 17: a value is NaN");
        let p = BuildParams { on_bad: OnBad::Skip, segment_rows: Some(300), ..p };
        let report = index::build(&source(&base), &path, &p, &Quiet).unwrap();
        assert_eq!((report.n, report.skipped), (1000 - skipped, skipped));
        let index = Index::open(&path).unwrap();
        let kept: Vec<(u64, &[f32])> =
            numbered(&base).into_iter().filter(|x| x.0 != 17 && (x.0 != 900 || metric == Metric::L2)).collect();
        check_exact(&index, rows(20, 15).view(), &kept, 5);
        std::fs::remove_dir_all(&path).unwrap();
    }
    let nothing = MemSource::new("nothing", Matrix::new(vec![f32::NAN; 4 * D], D));
    let p = BuildParams { on_bad: OnBad::Skip, ..params("Flat", Metric::L2) };
    assert!(matches!(index::build(&nothing, &path, &p, &Quiet), Err(Error::Empty { .. })));
    assert!(!path.exists());
}

#[test]
fn ties_and_extreme_values_are_ranked_as_f64_ranks_them() {
    let dir = tempfile::tempdir().unwrap();
    for (i, scale) in [1.0f32, 1e-38, 1e-20, 1e18, 1e30].into_iter().enumerate() {
        for metric in METRICS {
            let (plain, mut base) = (rows(40, 16), rows(400, 16));
            // many rows are the same, many differ in the last bit
            for r in 0..400 {
                base.row_mut(r).copy_from_slice(plain.row(r % 40));
                base.row_mut(r).iter_mut().for_each(|x| *x *= scale);
                if r % 3 == 0 {
                    let x = &mut base.row_mut(r)[r % D];
                    *x = x.next_up();
                }
            }
            let path = dir.path().join(format!("{i}{metric}"));
            index::build(&source(&base), &path, &params("Flat", metric), &Quiet).unwrap();
            let index = Index::open(&path).unwrap();
            check_exact_ids(&index, base.view().rows(0..20), &numbered(&base), 30);
        }
    }
}

/// As [`check_exact`], by ids alone; keys that differ by less than f64 can tell are the same.
fn check_exact_ids(index: &Index, queries: Vectors<'_>, base: &[(u64, &[f32])], k: usize) {
    let found = index.search(queries, &all_lists(k)).unwrap().neighbors;
    for (i, q) in queries.iter().enumerate() {
        let want = naive(index.metric(), q, base, k);
        for (got, want) in found.ids(i).iter().zip(&want) {
            let key = |id: u64| naive_key(index.metric(), q, base[id as usize].1);
            let (a, b, size) = (key(*got), key(*want), q.iter().map(|x| (*x as f64).powi(2)).sum::<f64>().max(1e-300));
            let slack = if index.metric() == Metric::Cosine { 1e-14 } else { 1e-14 * size };
            assert!((a - b).abs() <= slack, "query {i}, {}: {got} at {a}, {want} at {b}", index.metric());
        }
    }
}

#[test]
fn rows_are_short_where_lists_are() {
    let base = rows(20, 17);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    index::build(&source(&base), &path, &params("IVF16,Flat", Metric::L2), &Quiet).unwrap();
    let index = Index::open(&path).unwrap();
    let found = index.search(base.view(), &SearchParams { k: 15, nprobe: 1, ..Default::default() }).unwrap();
    assert!(found.neighbors.short_rows() > 0);
    let all = index.search(base.view(), &all_lists(50)).unwrap();
    assert!((0..20).all(|i| all.neighbors.ids(i).len() == 20));
    let others = index.search(base.view(), &SearchParams { exclude_self: true, ..all_lists(50) }).unwrap();
    assert!((0..20).all(|i| others.neighbors.ids(i).len() == 19 && !others.neighbors.ids(i).contains(&(i as u64))));
    let named = SearchParams { exclude: Some((0..20).rev().collect()), ..all_lists(50) };
    let named = index.search(base.view(), &named).unwrap();
    assert!((0..20).all(|i| !named.neighbors.ids(i).contains(&(19 - i as u64))));
}

#[test]
fn mass_stops_a_learned_search_early() {
    let (base, queries) = (rows(2000, 18), rows(50, 19));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    index::build(&source(&base), &path, &params("LMI16,Flat", Metric::L2), &Quiet).unwrap();
    let index = Index::open(&path).unwrap();
    let lists = |mass: f32| {
        let p = SearchParams { nprobe: usize::MAX, mass: Some(mass), ..Default::default() };
        index.search(queries.view(), &p).unwrap().lists
    };
    assert!(lists(0.1) >= 50 && lists(0.1) <= lists(0.9) && lists(0.9) < 50 * 16);
}

#[test]
fn wrong_parameters_are_named() {
    let base = rows(50, 20);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let build = |p: &BuildParams| index::build(&source(&base), &path, p, &Quiet).map(|_| ()).unwrap_err().to_string();
    assert!(build(&params("IVF51,Flat", Metric::L2)).contains("at most as many lists as vectors, 50"));
    assert!(build(&BuildParams { segment_rows: Some(0), ..params("Flat", Metric::L2) }).contains("segment-rows"));
    assert!(build(&BuildParams { train_size: Some(3), ..params("IVF4,Flat", Metric::L2) }).contains("train-size"));
    std::fs::create_dir(&path).unwrap();
    std::fs::write(path.join("thesis.txt"), "").unwrap();
    assert!(build(&params("Flat", Metric::L2)).contains("thesis.txt"));
    assert!(path.join("thesis.txt").exists());
    std::fs::remove_file(path.join("thesis.txt")).unwrap();
    let empty = MemSource::new("empty", Matrix::new(vec![], D));
    assert!(matches!(index::build(&empty, &path, &params("Flat", Metric::L2), &Quiet), Err(Error::Empty { .. })));

    index::build(&source(&base), &path, &params("IVF4,Flat", Metric::Cosine), &Quiet).unwrap();
    let index = Index::open(&path).unwrap();
    let search = |m: &Matrix, p: &SearchParams| index.search(m.view(), p).map(|_| ()).unwrap_err().to_string();
    let fine = SearchParams::default();
    assert!(search(&base, &SearchParams { k: 0, ..fine.clone() }).contains("k = 0"));
    assert!(search(&base, &SearchParams { nprobe: 0, ..fine.clone() }).contains("nprobe = 0"));
    assert!(search(&base, &SearchParams { mass: Some(0.5), ..fine.clone() }).contains("IVF4,Flat"));
    assert!(search(&base, &SearchParams { mass: Some(f32::NAN), ..fine.clone() }).contains("probability"));
    assert!(search(&Matrix::zeros(2, 3), &fine).contains("3 dimensions where 24"));
    assert!(search(&Matrix::zeros(2, D), &fine).contains("queries, row 0: a zero vector"));
    let add = index::add(&path, &MemSource::new("m", Matrix::zeros(2, 3)), &AddParams::default(), &Quiet).unwrap_err();
    assert!(add.to_string().contains("the index has 24"), "{add}");
    assert!(Index::open(dir.path()).unwrap_err().to_string().contains("no index in this folder"));
    assert!(Index::open(dir.path().join("none")).is_err());
}

#[test]
fn without_a_spec_one_is_chosen() {
    let dir = tempfile::tempdir().unwrap();
    let none = BuildParams::default();
    let report = index::build(&source(&rows(100, 21)), &dir.path().join("a"), &none, &Quiet).unwrap();
    assert_eq!(report.spec, Spec::flat());
    assert!(report.reason.unwrap().contains("exact"));
    let report = index::build(&source(&rows(20_000, 22)), &dir.path().join("b"), &none, &Quiet).unwrap();
    assert_eq!(report.spec.to_string(), "IVF512,SQ8");
    assert!(Index::open(dir.path().join("b")).unwrap().info().reason.unwrap().contains("sqrt"));
}

#[test]
fn a_given_model_is_used_as_it_is() {
    let (base, dir) = (rows(600, 23), tempfile::tempdir().unwrap());
    let first = dir.path().join("first");
    index::build(&source(&base), &first, &params("LMI16,Flat", Metric::L2), &Quiet).unwrap();
    let opened = Index::open(&first).unwrap();
    let voisin::partition::Partition::Learned(model) = opened.partition() else { panic!("a learned index") };
    let p = BuildParams { model: Some(model.clone()), ..params("LMI16,Flat", Metric::L2) };
    let second = dir.path().join("second");
    let report = index::build(&source(&base), &second, &p, &Quiet).unwrap();
    assert!(report.epochs.is_empty() && report.trained_on == 0);
    assert_eq!(opened.list_sizes(), Index::open(&second).unwrap().list_sizes());
    let p = BuildParams { model: Some(model.clone()), ..params("LMI15,Flat", Metric::L2) };
    assert!(index::build(&source(&base), &dir.path().join("c"), &p, &Quiet).unwrap_err().to_string().contains("16 outputs"));
    let p = BuildParams { model: Some(model.clone()), ..params("Flat", Metric::L2) };
    assert!(index::build(&source(&base), &dir.path().join("c"), &p, &Quiet).unwrap_err().to_string().contains("model"));
}
