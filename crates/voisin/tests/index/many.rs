//! Several indexes of one model: together and merged they are the index that was built of all rows at once.

use super::*;
use std::path::PathBuf;
use std::sync::Arc;
use voisin::index::{FilterKind, MergeParams, MergeReport};

const MANY: [&str; 7] = [
    "Flat",
    "IVF16,Flat",
    "LMI12(32-16),Flat",
    "IVF16,SQ8",
    "IVF8,PQ6,Refine(F16)",
    "LMI12(32),RaBitQ2,Refine(SQ8)",
    "PCA12,IVF16,RaBitQ4",
];
const CUTS: [usize; 4] = [0, 350, 750, 1300];

/// An index of all rows, and three of its model with a part of the rows each.
struct World {
    dir: tempfile::TempDir,
    base: Matrix,
    whole: PathBuf,
    parts: Vec<PathBuf>,
}

impl World {
    fn new(spec: &str, metric: Metric, strings: bool) -> World {
        let dir = tempfile::tempdir().unwrap();
        let mut base = rows(1300, 5);
        // equal distances in different parts
        for i in (0..300).step_by(3) {
            let row = base.row(i).to_vec();
            base.row_mut(i + 400).copy_from_slice(&row);
            base.row_mut(i + 900).copy_from_slice(&row);
        }
        let slice = |from: usize, to: usize| {
            let ids = strings.then(|| (from..to).map(|i| format!("v{i}")).collect::<StringIds>());
            MemSource::new("base", Matrix::new(base.data()[from * D..to * D].to_vec(), D)).with_ids(ids)
        };
        let whole = dir.path().join("whole");
        index::build(&slice(0, 1300), &whole, &params(spec, metric), &Quiet).unwrap();
        let part = |i: usize| {
            let path = dir.path().join(format!("part-{i}"));
            let first_id = if strings { 0 } else { CUTS[i] as u64 };
            // one of several segments
            let segment_rows = (i == 2).then_some(300);
            let p = BuildParams { spec: None, like: Some(whole.clone()), first_id, segment_rows, ..params(spec, metric) };
            index::build(&slice(CUTS[i], CUTS[i + 1]), &path, &p, &Quiet).unwrap();
            path
        };
        let parts = (0..3).map(part).collect();
        World { dir, base, whole, parts }
    }

    fn merged(&self, name: &str) -> (PathBuf, MergeReport) {
        let out = self.dir.path().join(name);
        let report = index::merge(&self.parts, &out, &MergeParams::default(), &Quiet).unwrap();
        assert!(index::verify(&out, &Quiet).unwrap().problems.is_empty());
        (out, report)
    }
}

fn same(a: &Index, b: &Index, p: &SearchParams, name: &str) {
    let queries = rows(40, 6);
    let (x, y) = (a.search(queries.view(), p).unwrap(), b.search(queries.view(), p).unwrap());
    assert_eq!(x.neighbors, y.neighbors, "{name}");
    assert_eq!((x.scanned, x.lists), (y.scanned, y.lists), "{name}");
    let one = b.search(queries.view().rows(7..8), p).unwrap().neighbors;
    assert_eq!((one.ids(0), one.distances(0)), (x.neighbors.ids(7), x.neighbors.distances(7)), "{name}");
}

#[test]
fn together_and_merged_they_are_one_index() {
    for (i, spec) in MANY.into_iter().enumerate() {
        // every spec under a metric, every metric with plain vectors and with codes
        let metrics = if i == 0 { &METRICS[..] } else { &METRICS[i % 3..i % 3 + 1] };
        for &metric in metrics {
            let name = format!("{spec} {metric}");
            let w = World::new(spec, metric, false);
            let (whole, parts) = (Index::open(&w.whole).unwrap(), Index::open_all(&w.parts).unwrap());
            assert_eq!((parts.len(), parts.list_sizes()), (1300, whole.list_sizes()));
            let (out, report) = w.merged("merged");
            assert_eq!((report.n, report.dropped, report.segments), (1300, 0, 1));
            let merged = Index::open(&out).unwrap();
            for (k, nprobe) in [(7, 3), (30, 1), (5, usize::MAX)] {
                let p = SearchParams { k, nprobe, ..Default::default() };
                same(&whole, &parts, &p, &name);
                same(&whole, &merged, &p, &name);
            }
            // the records are the same, whoever wrote them, and stand in the same order
            for file in ["model.vsn", "segments/00001-0000.vsn"] {
                assert!(std::fs::read(w.whole.join(file)).unwrap() == std::fs::read(out.join(file)).unwrap(), "{name}: {file}");
            }
            for id in [0, 349, 350, 1299] {
                assert_eq!(whole.vector_of(id).ok(), parts.vector_of(id).ok(), "{name}");
            }
            assert!(parts.calibration().is_some() == whole.calibration().is_some());
            if parts.calibration().is_some() {
                same(&parts, &merged, &SearchParams { k: 5, recall: Some(0.4), ..Default::default() }, &name);
            }
        }
    }
}

#[test]
fn filters_and_changes_reach_every_part() {
    for spec in ["Flat", "IVF16,SQ8", "IVF16,RaBitQ4,Refine(SQ8)"] {
        for strings in [false, true] {
            let name = format!("{spec} {strings}");
            let w = World::new(spec, Metric::L2, strings);
            let ids = |all: Vec<u64>| match strings {
                true => IdList::Strings(all.iter().map(|i| format!("v{i}")).collect()),
                false => IdList::Numbers(all),
            };
            // change the parts and the whole alike
            for (part, from, to) in [(0, 0, 350), (1, 350, 750), (2, 750, 1300)] {
                let gone = ids((from..to).filter(|i| i % 7 == 0).collect());
                index::remove(&w.parts[part], &gone, false).unwrap();
                index::remove(&w.whole, &gone, false).unwrap();
            }
            let more = MemSource::new("more", rows(50, 77));
            let added = Ids::Given(ids((1300..1350).collect()));
            for dir in [&w.parts[2], &w.whole] {
                index::add(dir, &more, &AddParams { ids: added.clone(), ..Default::default() }, &Quiet).unwrap();
            }
            let (out, report) = w.merged("merged");
            assert_eq!((report.n, report.dropped, report.segments), (1300 - 186 + 50, 186, 1), "{name}");
            let whole = Index::open(&w.whole).unwrap();
            for other in [Index::open_all(&w.parts).unwrap(), Index::open(&out).unwrap()] {
                assert_eq!(other.len(), whole.len());
                let plain = SearchParams { k: 9, nprobe: 4, ..Default::default() };
                same(&whole, &other, &plain, &name);
                let exclude = Some((0..40).map(|i| 750 + i).collect());
                let queries = rows(40, 6);
                let p = SearchParams { exclude, ..plain.clone() };
                assert_eq!(
                    whole.search(queries.view(), &p).unwrap().neighbors,
                    other.search(queries.view(), &p).unwrap().neighbors
                );
                for (kind, list) in [
                    (FilterKind::Allow, (0..1400).step_by(31).collect::<Vec<u64>>()),
                    (FilterKind::Deny, (0..1400).filter(|i| i % 5 < 3).collect()),
                ] {
                    let found = |i: &Index| {
                        let f = i.filter(&ids(list.clone()), kind).unwrap();
                        let counts = (f.allowed(), f.matched(), f.missing());
                        let p = SearchParams { filter: Some(Arc::new(f)), ..plain.clone() };
                        (counts, i.search(queries.view(), &p).unwrap().neighbors)
                    };
                    assert_eq!(found(&whole), found(&other), "{name} {kind:?}");
                }
                for i in [1u64, 351, 1299, 1301] {
                    let text = format!("v{i}");
                    assert_eq!(
                        (whole.find(&text).unwrap(), whole.string_id(i).unwrap()),
                        (other.find(&text).unwrap(), other.string_id(i).unwrap())
                    );
                    assert_eq!(other.find(&text).unwrap(), strings.then_some(i));
                }
                let odd = |i: &Index| i.filter_where(FilterKind::Allow, |id| id % 2 == 1).unwrap().allowed();
                assert_eq!(odd(&whole), odd(&other));
                // a filter of one is none of the other
                let f = Arc::new(whole.filter(&ids(vec![1]), FilterKind::Allow).unwrap());
                assert!(other.search(queries.view(), &SearchParams { filter: Some(f), ..plain.clone() }).is_err());
            }
            // the merged one changes like any other
            index::add(
                &out,
                &MemSource::new("one", rows(1, 78)),
                &AddParams { ids: Ids::Given(ids(vec![9000])), ..Default::default() },
                &Quiet,
            )
            .unwrap();
            index::remove(&out, &ids(vec![1, 9000]), false).unwrap();
            assert_eq!(index::compact(&out, &Quiet).unwrap().n, report.n - 1);
            assert!(index::verify(&out, &Quiet).unwrap().problems.is_empty());
            assert_eq!(w.base.n(), 1300);
        }
    }
}

#[test]
fn what_does_not_go_together_is_refused_by_name() {
    let dir = tempfile::tempdir().unwrap();
    let make = |name: &str, base: &MemSource, p: &BuildParams| {
        let path = dir.path().join(name);
        index::build(base, &path, p, &Quiet).unwrap();
        path
    };
    let base = source(&rows(300, 1));
    let a = make("a", &base, &params("IVF4,Flat", Metric::L2));
    let narrow = MemSource::new("narrow", Matrix::new(rows(10, 3).data()[..120].to_vec(), 12));
    let named = MemSource::new("named", rows(300, 1)).with_ids(Some((0..300).map(|i| i.to_string()).collect()));
    let others = [
        ("metric", make("metric", &base, &params("IVF4,Flat", Metric::Ip)), "metric ip, where"),
        ("spec", make("spec", &base, &params("IVF4,SQ8", Metric::L2)), "spec IVF4,SQ8, where"),
        ("model", make("model", &base, &BuildParams { seed: 6, ..params("IVF4,Flat", Metric::L2) }), "another model"),
        ("d", make("d", &narrow, &params("IVF4,Flat", Metric::L2)), "dimensions 12, where"),
        (
            "ids",
            make("ids", &named, &BuildParams { like: Some(a.clone()), ..params("IVF4,Flat", Metric::L2) }),
            "ids strings, where",
        ),
    ];
    for (name, b, what) in &others {
        for e in [
            Index::open_all(&[&a, b]).unwrap_err(),
            index::merge(&[&a, b], &dir.path().join("out"), &MergeParams::default(), &Quiet).unwrap_err(),
        ] {
            let text = e.to_string();
            assert!(matches!(e, Error::Unlike { .. }), "{name}: {text}");
            let both = [b, &a].iter().all(|p| text.contains(&p.display().to_string()));
            assert!(text.contains(what) && both, "{name}: {text}");
            assert!(e.hint().is_some_and(|h| h.contains("--like")));
        }
    }
    assert!(!dir.path().join("out").exists());
    // a spec or metric that the other index does not have
    let like = |p: BuildParams| {
        let p = BuildParams { like: Some(a.clone()), ..p };
        index::build(&base, &dir.path().join("out"), &p, &Quiet).unwrap_err().to_string()
    };
    assert!(like(params("IVF5,Flat", Metric::L2)).contains("IVF5,Flat is asked for"));
    assert!(like(params("IVF4,Flat", Metric::Ip)).contains("metric l2, where ip is asked for"));
    assert!(like(BuildParams { first_id: u64::MAX - 3, ..params("IVF4,Flat", Metric::L2) }).contains("first-id"));
    assert!(matches!(
        index::build(
            &narrow,
            &dir.path().join("out"),
            &BuildParams { like: Some(a.clone()), ..params("IVF4,Flat", Metric::L2) },
            &Quiet
        ),
        Err(Error::Dimension { .. })
    ));
    // nothing, the same folder twice, one that is no index, into itself
    assert!(Index::open_all::<&Path>(&[]).is_err());
    let again = dir.path().join("d").join("..").join("a");
    assert!(Index::open_all(&[&a, &again]).unwrap_err().to_string().contains("each folder once"));
    assert!(Index::open_all(&[a.as_path(), dir.path()]).unwrap_err().to_string().contains("no index in this folder"));
    let e = index::merge(&[&a], &again, &MergeParams::default(), &Quiet).unwrap_err();
    assert!(e.to_string().contains("another folder"), "{e}");
    let e = index::merge(&[&a], &dir.path().join("out"), &MergeParams { memory_limit: Some(1000) }, &Quiet).unwrap_err();
    assert!(matches!(e, Error::Memory { .. }), "{e}");
    // a newer format
    let text = std::fs::read_to_string(others[0].1.join("manifest.json")).unwrap().replace("\"format\": 2", "\"format\": 99");
    std::fs::write(others[0].1.join("manifest.json"), text).unwrap();
    assert!(matches!(Index::open_all(&[&a, &others[0].1]), Err(Error::NewerFormat { found: 99, .. })));
}

#[test]
fn an_id_stands_in_one_part_only() {
    for strings in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let p = params("IVF4,Flat", Metric::L2);
        let ids = |all: Vec<u64>| match strings {
            true => IdList::Strings(all.iter().map(|i| format!("name {i}")).collect()),
            false => IdList::Numbers(all),
        };
        let make = |name: &str, numbers: Vec<u64>, like: Option<PathBuf>| {
            let path = dir.path().join(name);
            let n = numbers.len();
            let p = BuildParams { ids: Ids::Given(ids(numbers)), like, ..p.clone() };
            index::build(&source(&rows(n, 1)), &path, &p, &Quiet).unwrap();
            path
        };
        // so many that the ids are looked through in pieces
        let a = make("a", (0..20_000).map(|i| 3 * i).collect(), None);
        let b = make("b", (0..20_000).map(|i| 3 * i + 1).collect(), Some(a.clone()));
        let c = make("c", vec![2, 30_001, 30_002, 59_999], Some(a.clone()));
        assert_eq!(Index::open_all(&[&a, &b]).unwrap().len(), 40_000);
        assert_eq!(Index::open_all(&[&a, &c]).unwrap().len(), 20_004);
        let e = Index::open_all(&[&a, &b, &c]).unwrap_err().to_string();
        assert!(e.contains("30001") && e.contains(&b.display().to_string()) && e.contains(&c.display().to_string()), "{e}");
        assert!(!e.contains(&format!("{} ", a.display())), "{e}");
        index::merge(&[&a, &b, &c], &dir.path().join("out"), &MergeParams::default(), &Quiet).unwrap_err();
        // removed from one of them it stands in the other
        index::remove(&c, &ids(vec![30_001]), false).unwrap();
        let all = Index::open_all(&[&a, &b, &c]).unwrap();
        assert_eq!(all.len(), 40_003);
        let report = index::merge(&[&a, &b, &c], &dir.path().join("out"), &MergeParams::default(), &Quiet).unwrap();
        assert_eq!((report.n, report.dropped), (40_003, 1));
        assert!(index::verify(&dir.path().join("out"), &Quiet).unwrap().problems.is_empty());
    }
}

#[test]
fn damage_in_a_part_is_found() {
    let w = World::new("IVF16,SQ8", Metric::L2, false);
    let file = w.parts[1].join("segments/00001-0000.vsn");
    let mut bytes = std::fs::read(&file).unwrap();
    let at = bytes.len() / 4;
    bytes[at] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    let out = w.dir.path().join("out");
    let e = index::merge(&w.parts, &out, &MergeParams::default(), &Quiet).unwrap_err();
    assert!(matches!(&e, Error::Corrupt { path, .. } if *path == file), "{e}");
    assert!(Index::open(&out).is_err());
    assert!(!index::verify(&w.parts[1], &Quiet).unwrap().problems.is_empty());
    assert!(index::verify(&w.parts[0], &Quiet).unwrap().problems.is_empty());
    std::fs::remove_file(&file).unwrap();
    assert!(Index::open_all(&w.parts).is_err());
}
