//! Filters: what is found is the exact top-k of the allowed vectors within the lists visited.

use super::*;
use std::collections::HashSet;
use std::sync::Arc;
use voisin::index::{Filter, FilterKind};
use voisin::partition::RouteParams;

/// The vectors of an index by id, and the list of each, both by a way of their own.
struct World {
    index: Index,
    vectors: Vec<(u64, Vec<f32>)>,
}

impl World {
    fn new(path: &Path, vectors: Vec<(u64, Vec<f32>)>) -> World {
        World { index: Index::open(path).unwrap(), vectors }
    }

    fn lists(&self) -> Vec<u32> {
        let rows = Matrix::new(self.vectors.iter().flat_map(|v| unit(self.index.metric(), &v.1)).collect(), D);
        self.index.partition().assign(rows.view())
    }

    /// The k nearest of the allowed vectors in the `nprobe` best lists of each query (0: all).
    fn naive(&self, queries: Vectors<'_>, allowed: &HashSet<u64>, nprobe: usize, k: usize) -> Vec<Vec<u64>> {
        let metric = self.index.metric();
        let lists = self.lists();
        let directed = Matrix::new(queries.iter().flat_map(|q| unit(metric, q)).collect(), D);
        let routes = self.index.partition().route(directed.view(), &RouteParams { nprobe, mass: None });
        let one = |(i, q): (usize, &[f32])| {
            let seen = |(j, (id, _)): &(usize, &(u64, Vec<f32>))| allowed.contains(id) && routes.lists(i).contains(&lists[*j]);
            let base: Vec<(u64, &[f32])> = self.vectors.iter().enumerate().filter(seen).map(|(_, v)| (v.0, &v.1[..])).collect();
            naive(metric, q, &base, k)
        };
        queries.iter().enumerate().map(one).collect()
    }

    fn found(&self, queries: Vectors<'_>, filter: Filter, nprobe: usize, k: usize) -> Vec<Vec<u64>> {
        let params = SearchParams { k, nprobe, filter: Some(Arc::new(filter)), ..Default::default() };
        let all = self.index.search(queries, &params).unwrap();
        let rows: Vec<Vec<u64>> = (0..queries.n()).map(|i| all.neighbors.ids(i).to_vec()).collect();
        for i in (0..queries.n()).step_by(13) {
            let one = self.index.search(queries.rows(i..i + 1), &params).unwrap();
            assert_eq!(one.neighbors.ids(0), rows[i], "a query alone");
        }
        rows
    }
}

fn unit(metric: Metric, x: &[f32]) -> Vec<f32> {
    let norm = x.iter().map(|v| *v as f64 * *v as f64).sum::<f64>().sqrt();
    if metric == Metric::Cosine { x.iter().map(|v| (*v as f64 / norm) as f32).collect() } else { x.to_vec() }
}

/// Rows in three segments; some removed, some replaced, some added. So many that most of them are more than a small set.
fn changed(path: &Path, spec: &str, metric: Metric, strings: bool) -> World {
    let (n, base, more) = (130_000usize, rows(130_000, 1), rows(300, 9));
    let names = |range: std::ops::Range<usize>| range.map(|i| format!("v{i}")).collect::<StringIds>();
    let mut p = params(spec, metric);
    p.train_size = Some(3000);
    p.segment_rows = Some(80_000);
    p.calibrate = 0;
    let first = source(&base).with_ids(strings.then(|| names(0..n)));
    index::build(&first, path, &p, &Quiet).unwrap();
    let gone: Vec<u64> = (0..n as u64).filter(|i| i % 7 == 3).collect();
    let list = |ids: &[u64]| match strings {
        true => IdList::Strings(ids.iter().map(|i| format!("v{i}")).collect()),
        false => IdList::Numbers(ids.to_vec()),
    };
    index::remove(path, &list(&gone), false).unwrap();
    // the first hundred replace, the others are new
    let ids: Vec<u64> = (0..100).map(|i| i * 7).chain(n as u64..n as u64 + 200).collect();
    let added = AddParams { ids: Ids::Given(list(&ids)), replace: true, ..Default::default() };
    index::add(path, &source(&more), &added, &Quiet).unwrap();
    let mut all: std::collections::BTreeMap<u64, Vec<f32>> =
        (0..n as u64).filter(|i| i % 7 != 3).map(|i| (i, base.row(i as usize).to_vec())).collect();
    let index = Index::open(path).unwrap();
    for (j, id) in ids.into_iter().enumerate() {
        let number = if strings { index.find(&format!("v{id}")).unwrap().unwrap() } else { id };
        all.insert(number, more.row(j).to_vec());
    }
    World::new(path, all.into_iter().collect())
}

#[test]
fn the_allowed_of_the_lists_visited_are_found() {
    let queries = rows(40, 2);
    for (spec, metric, strings) in [
        ("Flat", Metric::L2, false),
        ("Flat", Metric::Cosine, true),
        ("IVF16,Flat", Metric::L2, true),
        ("IVF16,Flat", Metric::Ip, false),
        ("LMI12(32-16),Flat", Metric::Cosine, false),
        ("LMI12(32-16),Flat", Metric::L2, true),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let world = changed(&dir.path().join("x"), spec, metric, strings);
        let there: Vec<u64> = world.vectors.iter().map(|v| v.0).collect();
        let name = |id: u64| if strings { world.index.string_id(id).unwrap().unwrap().to_owned() } else { id.to_string() };
        let list = |ids: &[u64]| match strings {
            true => IdList::Strings(ids.iter().map(|&i| name(i)).chain(["nobody".into()]).collect()),
            false => IdList::Numbers(ids.iter().copied().chain([1 << 40]).collect()),
        };
        let half: Vec<u64> = there.iter().copied().filter(|i| i % 6 != 0).collect();
        let rest: HashSet<u64> = there.iter().copied().filter(|i| i % 6 == 0).collect();
        let half_set: HashSet<u64> = half.iter().copied().collect();
        // by mask: what lies in the lists visited
        let allow = world.index.filter(&list(&half), FilterKind::Allow).unwrap();
        assert_eq!((allow.allowed(), allow.matched(), allow.missing()), (half.len() as u64, half.len() as u64, 1));
        assert!(!allow.is_small() && allow.first_missing().is_some());
        let deny = world.index.filter(&list(&half), FilterKind::Deny).unwrap();
        assert_eq!(deny.allowed(), (there.len() - half.len()) as u64);
        for nprobe in [2, 16] {
            let what = format!("{spec} {metric} {nprobe}");
            assert_eq!(
                world.found(queries.view(), allow.clone(), nprobe, 9),
                world.naive(queries.view(), &half_set, nprobe, 9),
                "{what}"
            );
        }
        assert!(deny.is_small());
        assert_eq!(world.found(queries.view(), deny, 2, 9), world.naive(queries.view(), &rest, 0, 9), "{spec} {metric}");
        // few: all of them, whatever lists they lie in
        let few: Vec<u64> = there.iter().copied().filter(|i| i % 4001 == 1).collect();
        let few_set: HashSet<u64> = few.iter().copied().collect();
        let small = world.index.filter(&list(&few), FilterKind::Allow).unwrap();
        assert!(small.is_small() && few.len() > 20);
        assert_eq!(world.found(queries.view(), small, 1, 12), world.naive(queries.view(), &few_set, 0, 12), "{spec} {metric}");
        // both at once, and as a bitmap
        let both = world.index.filter(&list(&half), FilterKind::Allow).unwrap();
        let both = both.and(&world.index.filter(&list(&few), FilterKind::Deny).unwrap(), &world.index).unwrap();
        let left: HashSet<u64> = half_set.difference(&few_set).copied().collect();
        assert_eq!((both.allowed(), both.missing()), (left.len() as u64, 2));
        let mut words = vec![0u64; 131_000 / 64 + 1];
        left.iter().for_each(|i| words[(i / 64) as usize] |= 1 << (i % 64));
        let bits = world.index.filter_bits(&words, FilterKind::Allow).unwrap();
        assert_eq!(bits.allowed(), both.allowed());
        assert_eq!(world.found(queries.view(), both, 3, 9), world.found(queries.view(), bits, 3, 9));
    }
}

#[test]
fn a_filter_belongs_to_an_index_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = (dir.path().join("x"), rows(300, 1));
    index::build(&source(&base), &path, &params("IVF4,Flat", Metric::L2), &Quiet).unwrap();
    let before = Index::open(&path).unwrap();
    let filter = Arc::new(before.filter(&IdList::Numbers(vec![1, 2, 3, 3]), FilterKind::Allow).unwrap());
    let with = |k| SearchParams { filter: Some(filter.clone()), ..all_lists(k) };
    assert_eq!((filter.allowed(), before.search(base.view(), &with(9)).unwrap().neighbors.ids(0).len()), (3, 3));
    index::remove(&path, &IdList::Numbers(vec![2]), false).unwrap();
    let after = Index::open(&path).unwrap();
    let error = after.search(base.view(), &with(9)).unwrap_err().to_string();
    assert!(error.contains("filter") && error.contains("anew"), "{error}");
    assert!((*filter).clone().and(&filter, &after).is_err());
    // the one that was opened before is searched as it was
    assert!(before.search(base.view(), &with(9)).is_ok());
    let again = after.filter(&IdList::Numbers(vec![1, 2, 3]), FilterKind::Allow).unwrap();
    assert_eq!((again.allowed(), again.missing(), again.first_missing()), (2, 1, Some("2")));
    // nothing is allowed: rows are empty, as somebody who may see nothing sees nothing
    let none = after.filter(&IdList::Numbers(vec![]), FilterKind::Allow).unwrap();
    let found = after.search(base.view(), &SearchParams { filter: Some(Arc::new(none)), ..all_lists(5) }).unwrap();
    assert_eq!((found.neighbors.short_rows(), found.neighbors.ids(7).len()), (300, 0));
    let strings = IdList::Strings(["1"].into_iter().collect());
    assert!(after.filter(&strings, FilterKind::Deny).unwrap_err().to_string().contains("numbers"));
}
