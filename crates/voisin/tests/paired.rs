//! Paired k-means against numpy (tests/data/make_captions.py), and routers in indexes through the library.

use serde_json::Value;
use std::sync::Arc;
use voisin::index::{self, BuildParams, Captions};
use voisin::partition::{PairedData, distinct, paired_kmeans};
use voisin::{Error, Index, Matrix, MemSource, Metric, OnBad, Quiet, SearchParams};

fn folder() -> std::path::PathBuf {
    std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/captions")
}

/// The values of an NPY file of f32 in rows of 8, which the fixtures are.
fn npy(name: &str) -> Matrix {
    let bytes = std::fs::read(folder().join(name)).unwrap();
    let header = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let values = bytes[header..].chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().unwrap())).collect();
    Matrix::new(values, 8)
}

fn unit(mut m: Matrix) -> Matrix {
    for i in 0..m.n() {
        let norm = m.row(i).iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
        m.row_mut(i).iter_mut().for_each(|x| *x = (*x as f64 / norm) as f32);
    }
    m
}

fn numbers(v: &Value) -> Vec<f64> {
    v.as_array().unwrap().iter().flat_map(|r| r.as_array().map_or_else(|| vec![r.as_f64().unwrap()], |_| numbers(r))).collect()
}

#[test]
fn centroids_are_those_of_numpy() {
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(folder().join("paired.json")).unwrap()).unwrap();
    let pairs: Vec<u64> = numbers(&expected["pairs"]).iter().map(|x| *x as u64).collect();
    for metric in ["cosine", "l2"] {
        let cosine = metric == "cosine";
        let of = |name| if cosine { unit(npy(name)) } else { npy(name) };
        let (all, captions) = (of("images.npy"), of("captions.npy"));
        let (rows, image_of) = distinct(&pairs);
        let images = Matrix::new(rows.iter().flat_map(|&r| all.row(r as usize)).copied().collect(), 8);
        let start = Matrix::new(all.data()[..6 * 8].to_vec(), 8);
        let data = PairedData { captions: captions.view(), images: images.view(), image_of: &image_of };
        for niter in 1..=3 {
            let r = paired_kmeans(&data, start.clone(), niter, cosine, &Quiet).unwrap();
            let want = numbers(&expected[metric][niter.to_string()]);
            for (got, want) in r.centroids.data().iter().zip(&want) {
                assert!((*got as f64 - want).abs() < 2e-6 * (1.0 + want.abs()), "{metric}, {niter} iterations: {got} and {want}");
            }
            assert_eq!((r.objective.len(), r.splits), (niter, 0));
        }
    }
}

fn params(spec: &str, metric: Metric) -> BuildParams {
    let mut p = BuildParams { spec: Some(spec.parse().unwrap()), metric, seed: 5, ..BuildParams::default() };
    p.train.epochs = Some(1);
    if p.spec.as_ref().unwrap().router {
        p.queries = Some(npy("captions.npy"));
    }
    if spec.contains("Paired") {
        p.captions = Some(Captions { source: Arc::new(MemSource::new("captions", npy("captions.npy"))), pairs: None });
    }
    p
}

fn base() -> MemSource {
    MemSource::new("images", npy("images.npy"))
}

#[test]
fn routed_indexes_find_everything_with_all_lists_and_keep_it_through_changes() {
    let dir = tempfile::tempdir().unwrap();
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        for spec in [
            "IVF9(router),Flat",
            "LMI9(16,router),Flat",
            "Paired9(router),Flat",
            "Paired9,Flat",
            "PCA6,IVF9(router),RaBitQ8,Refine(Flat)",
        ] {
            let path = dir.path().join(format!("{metric}-{spec}"));
            let report = index::build(&base(), &path, &params(spec, metric), &Quiet).unwrap();
            assert_eq!(report.router.is_some(), spec.contains("router"));
            let all = SearchParams { k: 5, nprobe: 9, refine: 20, ..SearchParams::default() };
            let found = Index::open(&path).unwrap().search(npy("queries.npy").view(), &all).unwrap().neighbors;
            let truth = voisin::exact::exact_in_memory(npy("images.npy").view(), npy("queries.npy").view(), 5, metric).unwrap();
            for q in 0..truth.len() {
                assert_eq!(found.ids(q), truth.ids(q), "{metric} {spec}");
            }
            // added vectors go where the centroids say, and are found through the router
            let more = MemSource::new("more", npy("queries.npy"));
            index::add(&path, &more, &index::AddParams::default(), &Quiet).unwrap();
            index::remove(&path, &index::IdList::Numbers((0..50).collect()), false).unwrap();
            index::compact(&path, &Quiet).unwrap();
            assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
            let opened = Index::open(&path).unwrap();
            let own = opened.search(npy("queries.npy").view(), &all).unwrap().neighbors;
            if metric != Metric::Ip {
                (0..60).for_each(|q| assert_eq!(own.ids(q)[0], 300 + q as u64, "{metric} {spec}"));
            }
            assert_eq!(opened.info().router, spec.contains("router").then(|| [if spec.contains("PCA") { 6 } else { 8 }, 9]));
        }
    }
}

#[test]
fn a_router_reaches_neighbours_sooner_than_centroids_and_targets_hold() {
    let dir = tempfile::tempdir().unwrap();
    let truth = voisin::exact::exact_in_memory(npy("images.npy").view(), npy("queries.npy").view(), 10, Metric::Cosine).unwrap();
    let (mut scanned, mut hits) = ([0u64; 2], [0usize; 2]);
    for (i, spec) in ["IVF24,Flat", "IVF24(router),Flat"].iter().enumerate() {
        let path = dir.path().join(i.to_string());
        let mut p = params(spec, Metric::Cosine);
        p.queries = Some(npy("captions.npy"));
        p.router.rate = Some(0.05);
        let report = index::build(&base(), &path, &p, &Quiet).unwrap();
        if let Some(r) = report.router {
            assert_eq!(r.trained_on, 288);
            assert!(r.reach[1] < r.reach[0], "{r:?}");
        }
        let index = Index::open(&path).unwrap();
        let search = SearchParams { recall: Some(0.9), ..SearchParams::default() };
        let found = index.search(npy("queries.npy").view(), &search).unwrap();
        scanned[i] = found.scanned;
        hits[i] = (0..60).map(|q| found.neighbors.ids(q).iter().filter(|id| truth.ids(q).contains(id)).count()).sum();
    }
    assert!(scanned[1] < scanned[0], "{scanned:?}");
    assert!(hits.iter().all(|h| *h >= 60 * 10 * 85 / 100), "{hits:?}");
}

#[test]
fn one_query_or_many_and_any_number_of_threads_give_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let mut models = Vec::new();
    for threads in [1, 3] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let path = dir.path().join(threads.to_string());
        pool.install(|| index::build(&base(), &path, &params("Paired12(router),SQ4", Metric::Cosine), &Quiet)).unwrap();
        models.push(std::fs::read(path.join("model.vsn")).unwrap());
    }
    assert!(models[0] == models[1]);
    let index = Index::open(dir.path().join("1")).unwrap();
    for p in [
        SearchParams { nprobe: 3, ..SearchParams::default() },
        SearchParams { nprobe: 9, mass: Some(0.8), ..SearchParams::default() },
    ] {
        let queries = npy("queries.npy");
        let together = index.search(queries.view(), &p).unwrap();
        let mut scanned = 0;
        for q in 0..queries.n() {
            let alone = index.search(queries.view().rows(q..q + 1), &p).unwrap();
            assert_eq!(alone.neighbors.ids(0), together.neighbors.ids(q));
            scanned += alone.scanned;
        }
        assert_eq!(scanned, together.scanned);
    }
}

#[test]
fn a_base_beyond_the_memory_limit_is_streamed() {
    let dir = tempfile::tempdir().unwrap();
    let (n, d) = (80_000, 96);
    let value = |i: usize| ((i * 7919 + i / 96 * 104_729) % 10_007) as f32 / 10_007.0 - 0.5;
    let base = MemSource::new("base", Matrix::new((0..n * d).map(value).collect(), d));
    let captions = Matrix::new((0..200 * d).map(|i| value(i + 77) + 0.2).collect(), d);
    let mut p = BuildParams { spec: Some("Paired8(router),SQ8".parse().unwrap()), metric: Metric::Cosine, ..Default::default() };
    p.queries = Some(captions.clone());
    p.captions = Some(Captions { source: Arc::new(MemSource::new("captions", captions.clone())), pairs: None });
    (p.kmeans.niter, p.train_size, p.calibrate) = (2, Some(4000), 0);
    let build = |limit: Option<u64>, to: &str| {
        let p = BuildParams { memory_limit: limit, segment_rows: Some(30_000), ..p.clone() };
        index::build(&base, &dir.path().join(to), &p, &Quiet)
            .map(|_| std::fs::read(dir.path().join(to).join("model.vsn")).unwrap())
    };
    let limit = 200 << 20;
    assert!((n * d * 4) as u64 > limit / 8, "the rows do not fit");
    assert!(build(None, "whole").unwrap() == build(Some(limit), "streamed").unwrap());
    let e = build(Some(1 << 20), "small").unwrap_err();
    assert!(matches!(e, Error::Memory { .. }), "{e}");
    assert!(!dir.path().join("small").exists());
}

#[test]
fn wrong_captions_and_queries_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let fault = |change: &dyn Fn(&mut BuildParams), spec: &str| {
        let mut p = params(spec, Metric::Cosine);
        change(&mut p);
        let e = index::build(&base(), &dir.path().join("x"), &p, &Quiet).unwrap_err();
        assert!(!dir.path().join("x").exists(), "{e}");
        e.to_string()
    };
    let captions = |m: Matrix, pairs: Option<Vec<Option<u64>>>| {
        move |p: &mut BuildParams| {
            p.captions = Some(Captions { source: Arc::new(MemSource::new("captions", m.clone())), pairs: pairs.clone() })
        }
    };
    let all = || npy("captions.npy");
    assert!(fault(&|p| p.queries = None, "IVF9(router),Flat").contains("--queries"));
    assert!(fault(&|p| p.queries = Some(Matrix::new(vec![1.0; 72], 8)), "IVF9(router),Flat").contains("at least 10"));
    assert!(fault(&|p| p.captions = None, "Paired9,Flat").contains("--captions"));
    assert!(fault(&captions(all(), None), "IVF9,Flat").contains("a paired index"));
    assert!(fault(&captions(Matrix::zeros(30, 7), None), "Paired9,Flat").contains("7 dimensions where 8"));
    assert!(
        fault(&captions(Matrix::new(all().data()[..64].to_vec(), 8), None), "Paired9,Flat")
            .contains("captions that have an image, 8")
    );
    assert!(fault(&captions(all(), Some(vec![Some(0); 359])), "Paired9,Flat").contains("one a caption, 360"));
    let mut pairs = vec![Some(0); 360];
    pairs[7] = Some(300);
    assert!(fault(&captions(all(), Some(pairs.clone())), "Paired9,Flat").contains("image 300 in row 7"));
    pairs[7] = Some(299);
    pairs[20..].fill(None);
    assert!(fault(&captions(all(), Some(pairs)), "Paired21,Flat").contains("have an image, 20"));
    let mut nan = all();
    nan.row_mut(3)[2] = f32::NAN;
    assert!(fault(&captions(nan.clone(), None), "Paired9,Flat").contains("captions, row 3"));
    // left out where that is asked for
    let mut p = params("Paired9,Flat", Metric::Cosine);
    captions(nan, None)(&mut p);
    p.on_bad = OnBad::Skip;
    let report = index::build(&base(), &dir.path().join("y"), &p, &Quiet).unwrap();
    assert_eq!(report.pairs, Some(359));
}
