//! Recall targets: a calibration is made, kept, and delivers what it promises.

use super::*;
use voisin::exact::exact_in_memory;

fn recall(index: &Index, base: &Matrix, queries: &Matrix, k: usize, params: &SearchParams) -> (f64, f64) {
    let truth = exact_in_memory(base.view(), queries.view(), k, index.metric()).unwrap();
    let found = index.search(queries.view(), &SearchParams { k, ..params.clone() }).unwrap();
    let hits: usize =
        (0..queries.n()).map(|i| truth.ids(i).iter().filter(|id| found.neighbors.ids(i).contains(id)).count()).sum();
    (hits as f64 / (queries.n() * k) as f64, found.lists as f64 / queries.n() as f64)
}

fn target(x: f32) -> SearchParams {
    SearchParams { recall: Some(x), ..Default::default() }
}

#[test]
fn targets_are_met_with_part_of_the_lists() {
    let (base, queries, theirs) = (rows(12_000, 3), rows(400, 4), rows(500, 11));
    for spec in ["IVF64,Flat", "LMI48(32),Flat"] {
        for metric in METRICS {
            for given in [false, true] {
                let dir = tempfile::tempdir().unwrap();
                let path = dir.path().join("x");
                let mut p = params(spec, metric);
                p.queries = given.then(|| theirs.clone());
                index::build(&source(&base), &path, &p, &Quiet).unwrap();
                let index = Index::open(&path).unwrap();
                let c = index.calibration().unwrap();
                assert_eq!((c.given(), c.queries(), c.promises().len()), (given, if given { 500 } else { 1000 }, 3));
                let mut before = 0.0;
                for (x, k) in [(0.6, 10), (0.9, 10), (0.95, 10), (0.95, 30), (0.99, 10)] {
                    let (found, lists) = recall(&index, &base, &queries, k, &target(x));
                    assert!(found > x as f64 - 0.02, "{spec} {metric} {x}: {found}");
                    assert!(k > 10 || lists >= before, "{spec} {metric}: more recall takes more lists");
                    before = lists;
                }
                let promised = c.promises()[1].lists.unwrap();
                let (_, lists) = recall(&index, &base, &queries, 10, &target(0.95));
                assert!((0.7..1.4).contains(&(lists / promised)), "{spec} {metric}: {lists} lists, promised {promised}");
                // nprobe is not looked at, a query alone is searched alike
                let all = index.search(queries.view(), &SearchParams { nprobe: 64, ..target(0.9) }).unwrap();
                let one = index.search(queries.view().rows(7..8), &target(0.9)).unwrap();
                assert_eq!(one.neighbors.ids(0), all.neighbors.ids(7));
                assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
            }
        }
    }
}

#[test]
fn a_calibration_lives_with_its_index() {
    let (base, more) = (rows(3000, 3), rows(50, 4));
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    let p = params("IVF20,Flat", Metric::L2);
    index::build(&source(&base), &path, &p, &Quiet).unwrap();
    let first = std::fs::read(path.join("calibration.json")).unwrap();
    let kept = Index::open(&path).unwrap().calibration().cloned().unwrap();
    let many = Ids::Given(IdList::Numbers((5000..5050).collect()));
    index::add(&path, &source(&more), &AddParams { ids: many, ..Default::default() }, &Quiet).unwrap();
    index::compact(&path, &Quiet).unwrap();
    assert_eq!(Index::open(&path).unwrap().calibration(), Some(&kept));
    // another build in its place leaves none of the old files
    index::build(&source(&base), &path, &p, &Quiet).unwrap();
    let names: Vec<String> =
        std::fs::read_dir(&path).unwrap().map(|e| e.unwrap().file_name().to_string_lossy().into_owned()).collect();
    let own: Vec<&String> = names.iter().filter(|n| n.starts_with("calibration")).collect();
    assert!(own.len() == 1 && own[0] != "calibration.json", "{names:?}");
    assert_eq!(std::fs::read(path.join(own[0])).unwrap(), first, "same seed, same bytes");
    // damaged, it is named
    let file = path.join(own[0]);
    std::fs::write(&file, String::from_utf8(first).unwrap().replace("0.9", "0.8")).unwrap();
    assert!(matches!(Index::open(&path), Err(Error::Corrupt { path: p, .. }) if p == file));
    assert!(index::verify(&path, &Quiet).unwrap().problems.iter().any(|p| p.path == file));
}

#[test]
fn what_cannot_be_aimed_at_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (path, base) = (dir.path().join("x"), rows(900, 1));
    let mut p = params("IVF9,Flat", Metric::L2);
    p.calibrate = 0;
    index::build(&source(&base), &path, &p, &Quiet).unwrap();
    let index = Index::open(&path).unwrap();
    let refused = |params: &SearchParams| index.search(base.view(), params).unwrap_err().to_string();
    assert!(index.calibration().is_none() && refused(&target(0.9)).contains("calibration"));
    for x in [0.0, -1.0, 1.5, f32::NAN] {
        assert!(refused(&target(x)).contains("recall = "), "{x}");
    }
    // one list of plain vectors needs none
    index::build(&source(&base), &path, &params("Flat", Metric::L2), &Quiet).unwrap();
    let flat = Index::open(&path).unwrap();
    assert!(flat.calibration().is_none());
    assert_eq!(recall(&flat, &base, &rows(30, 2), 10, &target(0.99)), (1.0, 1.0));
    // queries are looked at before the work begins
    let bad = |queries: Matrix| {
        let p = BuildParams { queries: Some(queries), ..params("IVF9,Flat", Metric::L2) };
        index::build(&source(&base), &dir.path().join("y"), &p, &Quiet).unwrap_err()
    };
    assert!(matches!(bad(Matrix::zeros(3, 5)), Error::Dimension { got: 5, .. }));
    assert!(matches!(bad(Matrix::new(vec![f32::NAN; D], D)), Error::BadRow { row: 0, .. }));
    assert!(!dir.path().join("y").exists());
}

#[test]
fn tiny_and_equal_vectors_are_calibrated_too() {
    let dir = tempfile::tempdir().unwrap();
    for (i, base) in [rows(2, 1), rows(5, 1), Matrix::new(vec![0.5; 40 * D], D)].into_iter().enumerate() {
        for spec in ["IVF2,Flat", "LMI2(4),Flat"] {
            let path = dir.path().join(format!("{i}{spec}"));
            let p = params(spec, Metric::L2);
            index::build(&source(&base), &path, &p, &Quiet).unwrap();
            let index = Index::open(&path).unwrap();
            let found = index.search(base.view(), &SearchParams { k: 1, ..target(0.95) }).unwrap();
            assert_eq!(found.neighbors.distances(0), [0.0], "{spec}");
        }
    }
}
