//! Partitions as their users meet them: k-means, training, assigning, routing.

use proptest::prelude::*;
use std::sync::atomic::{AtomicUsize, Ordering};
use voisin::partition::*;
use voisin::{Error, Matrix, MemSource, Metric, OnBad, Quiet, Watch};

/// `n` rows around `lists` places, from a fixed formula.
fn blobs(n: usize, d: usize, lists: usize) -> Matrix {
    let mut state = 12345u64;
    let mut next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 40) as f32 / (1 << 23) as f32 - 1.0
    };
    let places: Vec<f32> = (0..lists * d).map(|_| next() * 3.0).collect();
    let value = |i: usize| places[i / d % lists * d + i % d];
    Matrix::new((0..n * d).map(|i| value(i) + next()).collect(), d)
}

fn params(k: usize) -> KMeansParams {
    KMeansParams { k, seed: 3, ..KMeansParams::default() }
}

fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> T {
    rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(f)
}

fn squared(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&x, &y)| (x as f64 - y as f64).powi(2)).sum()
}

/// Every row is in the list of its nearest centroid, or of one that is as near within the rounding of f32.
fn nearest_everywhere(data: &Matrix, centroids: &Matrix, lists: &[u32]) {
    for (x, &list) in data.view().iter().zip(lists) {
        let best = centroids.view().iter().map(|c| squared(x, c)).fold(f64::INFINITY, f64::min);
        let own = squared(x, centroids.row(list as usize));
        let size = squared(x, &vec![0.0; x.len()]) + 1.0;
        assert!(own - best <= 1e-5 * size, "{own} where {best} is possible");
    }
}

#[test]
fn k_means_ends_as_well_as_faiss() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/partition/faiss.json");
    let f: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let rows: Vec<Vec<f32>> = serde_json::from_value(f["points"].clone()).unwrap();
    let data = Matrix::new(rows.concat(), 8);
    for init in [Init::Random, Init::PlusPlus] {
        let r = kmeans(data.view(), &KMeansParams { nredo: 20, init, ..params(10) }, &Quiet).unwrap();
        assert!(*r.objective.last().unwrap() <= 1.005 * f["objective"].as_f64().unwrap(), "{init:?}: {:?}", r.objective);
    }
}

#[test]
fn the_objective_falls_and_is_the_sum_of_squared_distances() {
    let data = blobs(2000, 20, 30);
    let r = kmeans(data.view(), &params(25), &Quiet).unwrap();
    assert!(r.splits > 0 || r.objective.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-6)), "{:?}", r.objective);
    let sum: f64 = data.view().iter().zip(&r.assignment).map(|(x, &c)| squared(x, r.centroids.row(c as usize))).sum();
    assert!(sum <= r.objective.last().unwrap() * (1.0 + 1e-6));
    nearest_everywhere(&data, &r.centroids, &r.assignment);
}

#[test]
fn centroids_are_the_same_bits_for_any_number_of_threads() {
    let data = blobs(3000, 37, 60);
    for init in [Init::Random, Init::PlusPlus] {
        let p = KMeansParams { niter: 8, init, ..params(50) };
        let one = on_threads(1, || kmeans(data.view(), &p, &Quiet).unwrap());
        let three = on_threads(3, || kmeans(data.view(), &p, &Quiet).unwrap());
        assert_eq!((one.centroids, one.assignment, one.objective), (three.centroids, three.assignment, three.objective));
    }
}

/// From 512 centroids of 256 dimensions on, later iterations compare rows with neighbouring centroids alone.
#[test]
fn pruned_iterations_still_end_at_the_nearest_centroids() {
    let data = blobs(3000, 256, 700);
    let p = KMeansParams { niter: 9, ..params(512) };
    let few = kmeans(data.view(), &KMeansParams { niter: 4, ..p.clone() }, &Quiet).unwrap();
    let one = on_threads(1, || kmeans(data.view(), &p, &Quiet).unwrap());
    nearest_everywhere(&data, &one.centroids, &one.assignment);
    assert_eq!(one.objective[..4], few.objective[..]);
    assert!(one.objective.windows(2).all(|w| w[1] <= w[0] * 1.000001), "{:?}", one.objective);
    let three = on_threads(3, || kmeans(data.view(), &p, &Quiet).unwrap());
    assert_eq!((one.centroids.data(), &one.assignment), (three.centroids.data(), &three.assignment));
}

#[test]
fn empty_clusters_are_split() {
    // 40 different points, each 20 times, in three dense clouds: random starts often hit one point twice
    let few = blobs(40, 6, 3);
    let data = Matrix::new((0..800).flat_map(|i| few.row(i % 40).to_vec()).collect(), 6);
    let mut splits = 0;
    for seed in 0..5 {
        let r = kmeans(data.view(), &KMeansParams { seed, ..params(30) }, &Quiet).unwrap();
        assert!(r.centroids.data().iter().all(|x| x.is_finite()));
        splits += r.splits;
    }
    assert!(splits > 0);
    let same = Matrix::new(vec![1.5; 50 * 4], 4);
    let r = kmeans(same.view(), &params(8), &Quiet).unwrap();
    assert!(r.centroids.data().iter().all(|x| x.is_finite()) && *r.objective.last().unwrap() < 1e-3);
}

#[test]
fn k_of_n_finds_every_point() {
    let data = blobs(30, 4, 30);
    let r = kmeans(data.view(), &KMeansParams { init: Init::PlusPlus, ..params(30) }, &Quiet).unwrap();
    assert!(*r.objective.last().unwrap() < 1e-3, "{:?}", r.objective);
}

#[test]
fn spherical_centroids_have_unit_length() {
    let data = blobs(500, 9, 10);
    let r = kmeans(data.view(), &KMeansParams { spherical: true, ..params(10) }, &Quiet).unwrap();
    assert!(r.centroids.view().iter().all(|c| (squared(c, &[0.0; 9]) - 1.0).abs() < 1e-5));
}

#[test]
fn a_sample_trains_and_all_rows_are_assigned() {
    let data = blobs(2000, 5, 10);
    let p = KMeansParams { max_points_per_centroid: Some(20), ..params(10) };
    let r = kmeans(data.view(), &p, &Quiet).unwrap();
    assert_eq!((r.trained_on, r.assignment.len()), (200, 2000));
    nearest_everywhere(&data, &r.centroids, &r.assignment);
    let source = MemSource::new("blobs", data);
    let s = kmeans_source(&source, Metric::L2, OnBad::Error, &p, &Quiet).unwrap();
    assert_eq!((s.centroids, s.trained_on, s.assignment.len()), (r.centroids, 200, 200));
}

#[test]
fn impossible_parameters_name_both_numbers() {
    let data = blobs(10, 3, 2);
    for (k, niter) in [(11, 25), (0, 25), (2, 0)] {
        let e = kmeans(data.view(), &KMeansParams { niter, ..params(k) }, &Quiet).unwrap_err();
        assert!(e.is_usage());
        if k == 11 {
            assert_eq!(e.to_string(), "k = 11: 1 to the number of vectors, 10");
        }
    }
}

/// Stops after some questions.
struct Stop(AtomicUsize);

impl Watch for Stop {
    fn stopped(&self) -> bool {
        self.0.fetch_sub(1, Ordering::Relaxed) <= 1
    }
}

#[test]
fn a_request_to_stop_is_heard() {
    let data = blobs(500, 4, 5);
    let stop = || Stop(AtomicUsize::new(3));
    assert!(matches!(kmeans(data.view(), &params(5), &stop()), Err(Error::Stopped)));
    assert!(matches!(train_mlp(data.view(), &[0; 500], 2, &small(&[8]), &stop()), Err(Error::Stopped)));
}

fn small(hidden: &[usize]) -> TrainParams {
    TrainParams { hidden: hidden.to_vec(), batch: Some(32), seed: 9, ..TrainParams::default() }
}

fn labelled() -> (Matrix, KMeansResult) {
    let data = blobs(3000, 12, 20);
    let r = kmeans(data.view(), &params(20), &Quiet).unwrap();
    (data, r)
}

#[test]
fn training_learns_the_labels_from_any_start() {
    let (data, km) = labelled();
    for (precision, warm_start, hidden) in [
        (Precision::F32, Some(false), vec![64, 32]),
        (Precision::Bf16, Some(false), vec![64, 32]),
        (Precision::Bf16, None, vec![64, 32]),
        (Precision::Bf16, None, vec![19]), // no room for a warm start
        (Precision::F32, Some(true), vec![]),
    ] {
        let p = TrainParams { precision, warm_start, ..small(&hidden) };
        let r = train_mlp(data.view(), &km.assignment, 20, &p, &Quiet).unwrap();
        assert_eq!(r.recipe.warm_start, warm_start != Some(false) && hidden != [19]);
        let lists = Partition::Learned(r.mlp).assign(data.view());
        let right = lists.iter().zip(&km.assignment).filter(|(a, b)| a == b).count();
        assert!(right >= 2700, "{precision:?} {warm_start:?} {hidden:?}: {right} of 3000, {:?}", r.epochs);
    }
}

#[test]
fn models_are_the_same_bits_for_any_number_of_threads() {
    let (data, km) = labelled();
    for precision in [Precision::F32, Precision::Bf16] {
        let p = TrainParams { precision, epochs: Some(2), batch: Some(200), ..small(&[50, 40]) };
        let train = || train_mlp(data.view(), &km.assignment, 20, &p, &Quiet).unwrap();
        let (one, three) = (on_threads(1, train), on_threads(3, train));
        assert_eq!((one.mlp, one.epochs), (three.mlp, three.epochs));
    }
}

#[test]
fn f32_is_the_published_recipe() {
    let p = TrainParams { precision: Precision::F32, ..TrainParams::default() };
    let want = Recipe { epochs: 10, lr: 1e-3, schedule: Schedule::Constant, batch: 256, warm_start: false };
    assert_eq!((p.recipe(60_313, 320), p.hidden), (want, vec![512, 384]));
}

#[test]
fn training_refuses_what_cannot_be() {
    let data = blobs(10, 3, 2);
    let labels = [0, 1, 0, 1, 0, 1, 0, 1, 0, 1];
    let refused = |labels: &[u32], p: TrainParams| train_mlp(data.view(), labels, 2, &p, &Quiet).unwrap_err().to_string();
    assert_eq!(refused(&labels[..9], small(&[4])), "labels = 9: one a vector, 10");
    assert_eq!(refused(&[2; 10], small(&[4])), "label = 2: below the number of lists, 2");
    assert_eq!(refused(&labels, small(&[4, 0])), "hidden = 0: layers of at least 1");
    assert_eq!(refused(&labels, TrainParams { epochs: Some(0), ..small(&[4]) }), "epochs = 0: at least 1");
    assert_eq!(refused(&labels, TrainParams { lr: Some(f32::NAN), ..small(&[4]) }), "lr = NaN: a positive number");
    let layer = |out: usize, inputs: usize| Linear { weight: Matrix::zeros(out, inputs), bias: vec![0.0; out] };
    assert!(Mlp::new(vec![]).is_err() && Mlp::new(vec![layer(4, 3), layer(2, 5)]).is_err());
}

fn partitions() -> Vec<(Partition, usize)> {
    let (data, km) = labelled();
    let p = small(&[64, 32]);
    let mlp = train_mlp(data.view(), &km.assignment, 20, &p, &Quiet).unwrap().mlp;
    let k = |metric| Partition::KMeans(Centroids::new(km.centroids.clone(), metric));
    vec![(k(Metric::L2), 20), (k(Metric::Ip), 20), (k(Metric::Cosine), 20), (Partition::Learned(mlp), 20), (Partition::One, 1)]
}

#[test]
fn a_query_alone_gets_what_it_gets_in_a_batch() {
    let queries = blobs(150, 12, 20);
    for (p, nlist) in partitions() {
        let params = RouteParams { nprobe: 0, mass: Some(0.99) };
        let (all, lists) = (p.route(queries.view(), &params), p.assign(queries.view()));
        assert_eq!((p.nlist(), all.len()), (nlist, 150));
        for i in 0..150 {
            let one = p.route(queries.view().rows(i..i + 1), &params);
            assert_eq!((one.lists(0), one.scores(0)), (all.lists(i), all.scores(i)));
            assert_eq!(p.assign(queries.view().rows(i..i + 1)), lists[i..i + 1]);
            assert!(all.scores(i).windows(2).all(|w| w[0] >= w[1]));
        }
    }
}

#[test]
fn a_query_visits_its_best_lists() {
    let queries = blobs(40, 12, 20);
    for (p, nlist) in partitions() {
        let all = p.route(queries.view(), &RouteParams::default());
        let four = p.route(queries.view(), &RouteParams { nprobe: 4, mass: None });
        for i in 0..40 {
            assert_eq!(all.lists(i).len(), nlist);
            assert_eq!(four.lists(i), &all.lists(i)[..nlist.min(4)]);
        }
        if !matches!(&p, Partition::KMeans(c) if c.metric() == Metric::Ip) {
            let first: Vec<u32> = (0..40).map(|i| all.lists(i)[0]).collect();
            assert_eq!(first, p.assign(queries.view()));
        }
    }
}

#[test]
fn probability_mass_stops_a_learned_search() {
    let layer = Linear { weight: Matrix::new(vec![0.0; 4], 1), bias: [0.4f32, 0.1, 0.3, 0.2].map(f32::ln).to_vec() };
    let p = Partition::Learned(Mlp::new(vec![layer]).unwrap());
    let x = [1.0];
    let visit = |nprobe, mass| p.route(voisin::Vectors::new(&x, 1), &RouteParams { nprobe, mass: Some(mass) }).lists(0).to_vec();
    assert_eq!(visit(0, 0.0), [0]);
    assert_eq!(visit(0, 0.39), [0]);
    assert_eq!(visit(0, 0.65), [0, 2]);
    assert_eq!(visit(2, 0.95), [0, 2]);
    assert_eq!(visit(0, 2.0), [0, 2, 3, 1]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn every_row_is_in_the_list_of_its_nearest_centroid(n in 1usize..300, d in 1usize..70, k in 1usize..60, size in -8i32..8) {
        let k = k.min(n);
        let mut data = blobs(n, d, 7);
        data.data_mut().iter_mut().for_each(|x| *x *= 2f32.powi(size));
        let r = kmeans(data.view(), &KMeansParams { niter: 3, ..params(k) }, &Quiet).unwrap();
        nearest_everywhere(&data, &r.centroids, &r.assignment);
    }
}

/// Sum of squared distances of the rows to their nearest centroids.
fn loss(data: &Matrix, centroids: &Matrix) -> f64 {
    let lists = Partition::KMeans(Centroids::new(centroids.clone(), Metric::L2)).assign(data.view());
    data.view().iter().zip(&lists).map(|(x, &l)| squared(x, centroids.row(l as usize))).sum()
}

#[test]
fn thousands_of_centroids_are_as_good_in_two_levels() {
    let data = blobs(20_000, 16, 300);
    let large = kmeans(data.view(), &KMeansParams { k: 4096, ..params(0) }, &Quiet).unwrap();
    let sum: f64 = data.view().iter().zip(&large.assignment).map(|(x, &c)| squared(x, large.centroids.row(c as usize))).sum();
    let last = *large.objective.last().unwrap();
    assert!((sum / last - 1.0).abs() < 1e-5, "the objective is that of the assignment: {sum}, {last}");
    let lists = Partition::KMeans(Centroids::new(large.centroids.clone(), Metric::L2)).assign(data.view());
    nearest_everywhere(&data, &large.centroids, &lists);
    let other = lists.iter().zip(&large.assignment).filter(|(a, b)| a != b).count();
    assert!(other < 2000, "{other} of 20,000 have a nearer centroid");
    // one below the threshold every row is compared with every centroid
    let flat = kmeans(data.view(), &KMeansParams { k: 4095, niter: 25, ..params(0) }, &Quiet).unwrap();
    assert!(last <= 1.03 * flat.objective.last().unwrap(), "{last} against {:?}", flat.objective.last());
    assert!(large.largest >= 5 && large.oversized <= 4096);
}

#[test]
fn two_levels_are_the_same_bits_for_any_number_of_threads() {
    let data = blobs(9000, 7, 100);
    for spherical in [false, true] {
        let p = KMeansParams { niter: 3, spherical, ..params(4200) };
        let one = on_threads(1, || kmeans(data.view(), &p, &Quiet).unwrap());
        let three = on_threads(3, || kmeans(data.view(), &p, &Quiet).unwrap());
        assert_eq!((one.centroids, one.assignment, one.objective), (three.centroids, three.assignment, three.objective));
    }
}

#[test]
fn thousands_of_centroids_of_odd_data() {
    let odd: Vec<(&str, Matrix)> = vec![
        ("k = n", blobs(4100, 3, 50)),
        ("d = 1", Matrix::new((0..6000).map(|i| (i as f32 * 0.7).sin()).collect(), 1)),
        ("one point", Matrix::new(vec![2.5; 5000 * 2], 2)),
        ("30 points", Matrix::new((0..6000).flat_map(|i| blobs(30, 3, 3).row(i % 30).to_vec()).collect(), 3)),
        ("half of it one point", {
            let some = blobs(3000, 4, 20);
            Matrix::new((0..6000).flat_map(|i| some.row(if i < 3000 { i } else { 0 }).to_vec()).collect(), 4)
        }),
        (
            "huge and tiny",
            Matrix::new((0..5000 * 2).map(|i| (i as f32).sin() * if i % 3 == 0 { 1e18 } else { 1e-25 }).collect(), 2),
        ),
    ];
    for (name, data) in &odd {
        let r = kmeans(data.view(), &KMeansParams { k: 4100, niter: 4, ..params(0) }, &Quiet).unwrap();
        assert!(r.centroids.data().iter().all(|x| x.is_finite()), "{name}");
        assert!((r.centroids.n(), r.assignment.len()) == (4100, data.n()), "{name}");
        assert!(r.assignment.iter().all(|&l| l < 4100), "{name}");
        if *name == "k = n" {
            assert!(loss(data, &r.centroids) <= 1e-3 * loss(data, &Matrix::zeros(1, 3)), "{name}");
        }
        if ["one point", "30 points"].contains(name) {
            assert!(loss(data, &r.centroids) <= 1e-4 * loss(data, &Matrix::zeros(1, data.d())), "{name}");
        }
    }
}

#[test]
fn oversized_lists_are_split_or_counted() {
    // half of the rows around one place: more than its share of a random start
    let data = Matrix::new(
        (0..12_000)
            .flat_map(|i| {
                let r = (i as f32 * 12.9898).sin();
                [if i % 2 == 0 { 0.01 * r } else { 50.0 * r }, (i as f32 * 78.233).sin() * if i % 2 == 0 { 0.01 } else { 50.0 }]
            })
            .collect(),
        2,
    );
    let r = kmeans(data.view(), &KMeansParams { k: 4096, ..params(0) }, &Quiet).unwrap();
    let mut sizes = vec![0usize; 4096];
    r.assignment.iter().for_each(|&l| sizes[l as usize] += 1);
    assert_eq!(r.largest, *sizes.iter().max().unwrap());
    assert_eq!(r.oversized, sizes.iter().filter(|&&s| s * 4096 > 4 * 12_000).count());
}

#[test]
fn a_request_to_stop_is_heard_in_two_levels() {
    let data = blobs(5000, 4, 5);
    for after in [1, 3, 20, 60] {
        let stop = Stop(AtomicUsize::new(after));
        assert!(matches!(kmeans(data.view(), &KMeansParams { k: 4096, ..params(0) }, &stop), Err(Error::Stopped)), "{after}");
    }
}

#[test]
fn many_centroids_are_searched_in_cells() {
    let (centroids, queries) = (blobs(17_000, 8, 400), blobs(300, 8, 400));
    for metric in [Metric::L2, Metric::Ip] {
        let p = Partition::KMeans(Centroids::new(centroids.clone(), metric));
        let params = RouteParams { nprobe: 20, mass: None };
        let (all, lists) = (p.route(queries.view(), &params), p.assign(queries.view()));
        let (mut found, mut right) = (0, 0);
        for (i, list) in lists.iter().enumerate() {
            let one = p.route(queries.view().rows(i..i + 1), &params);
            assert_eq!((one.lists(0), one.scores(0)), (all.lists(i), all.scores(i)));
            let q = queries.row(i);
            let near = |c: &[f32]| squared(q, c);
            let mut by: Vec<(f64, u32)> = centroids.view().iter().map(near).zip(0..).collect();
            by.sort_by(|a, b| a.partial_cmp(b).unwrap());
            right += (by[0].1 == *list) as usize;
            if metric == Metric::Ip {
                let dot = |c: &[f32]| -c.iter().zip(q).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
                by = centroids.view().iter().map(dot).zip(0..).collect();
                by.sort_by(|a, b| a.partial_cmp(b).unwrap());
            }
            found += by[..20].iter().filter(|e| all.lists(i).contains(&e.1)).count();
        }
        assert!(found >= 300 * 20 * 98 / 100, "{metric:?}: {found} of 6000");
        assert!(right >= 297, "{metric:?}: {right} of 300");
    }
}

proptest! {
    #[test]
    fn routes_are_those_of_the_f32_rule(k in 1usize..300, d in 1usize..40, nprobe in 1usize..50, seed in 0u32..999, ip: bool, size in -12i32..12) {
        let s = 2f32.powi(size);
        // values on a coarse grid: many ties
        let v = |n: usize, from: u32| (0..n as u32).map(|i| ((i * 7 + from).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 29) as f32 * s).collect::<Vec<f32>>();
        let (centroids, queries) = (Matrix::new(v(k * d, 5), d), Matrix::new(v(20 * d, 3333), d));
        let metric = if ip { Metric::Ip } else { Metric::L2 };
        let p = Partition::KMeans(Centroids::new(centroids.clone(), metric));
        let routes = p.route(queries.view(), &RouteParams { nprobe, mass: None });
        let lists = p.assign(queries.view());
        for (i, q) in queries.view().iter().enumerate() {
            // small integers times a power of two: f32 is exact
            let key = |c: &[f32]| if ip { -c.iter().zip(q).map(|(a, b)| (a * b) as f64).sum::<f64>() } else { squared(q, c) };
            let mut all: Vec<(f64, u32)> = centroids.view().iter().map(key).zip(0..).collect();
            all.sort_by(|a, b| a.partial_cmp(b).unwrap());
            let want: Vec<u32> = all.iter().take(nprobe).map(|e| e.1).collect();
            prop_assert_eq!(routes.lists(i), &want[..]);
            prop_assert!(routes.scores(i).iter().zip(&all).all(|(s, e)| *s as f64 == -e.0));
            let mut near: Vec<(f64, u32)> = centroids.view().iter().map(|c| squared(q, c)).zip(0..).collect();
            near.sort_by(|a, b| a.partial_cmp(b).unwrap());
            prop_assert_eq!(lists[i], near[0].1);
        }
    }
}
