//! Maps, beside what scikit-learn makes of the same rows.

use super::plane::{distances, principal, trustworthiness};
use super::tsne::tsne;
use crate::Matrix;
use crate::encode::pq::tests::blobs;
use serde_json::Value;

fn fixture() -> Value {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/explain/map.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn places(v: &Value) -> Vec<[f64; 2]> {
    serde_json::from_value(v.clone()).unwrap()
}

/// Rows of a case, by the formula that both sides know.
fn rows(case: &Value) -> Matrix {
    let [n, d, lists, seed] = ["n", "d", "lists", "seed"].map(|k| case[k].as_u64().unwrap());
    blobs(n as usize, d as usize, lists as usize, seed)
}

#[test]
fn planes_are_those_of_scikit_learn() {
    for case in fixture()["pca"].as_array().unwrap() {
        let plane = principal(rows(case).view()).unwrap();
        let (want, shares) = (places(&case["places"]), &case["shares"]);
        let size = want.iter().map(|p| p[0].abs()).fold(0.0, f64::max);
        for axis in 0..2 {
            assert!((plane.shares[axis] - shares[axis].as_f64().unwrap()).abs() < 1e-6, "{:?} {shares}", plane.shares);
            // a component may point either way
            let same: f64 = plane.places.iter().zip(&want).map(|(a, b)| a[axis] * b[axis]).sum();
            for (a, b) in plane.places.iter().zip(&want) {
                assert!((same.signum() * a[axis] - b[axis]).abs() < 1e-4 * size, "{}: {a:?} {b:?}", case["d"]);
            }
        }
        let trust = trustworthiness(&distances(rows(case).view()), &plane.places);
        assert!((trust - case["trustworthiness"].as_f64().unwrap()).abs() < 2e-4, "{trust} {}", case["trustworthiness"]);
    }
}

#[test]
fn trust_is_that_of_scikit_learn() {
    for case in fixture()["trust"].as_array().unwrap() {
        let trust = trustworthiness(&distances(rows(case).view()), &places(&case["places"]));
        assert!((trust - case["trustworthiness"].as_f64().unwrap()).abs() < 1e-9, "{trust} {}", case["trustworthiness"]);
    }
}

/// Kullback-Leibler divergence of a map, in f64 and by the book.
fn divergence(far: &Matrix, places: &[[f64; 2]], perplexity: f64) -> f64 {
    let n = places.len();
    let mut of = vec![vec![0.0; n]; n];
    for (i, of) in of.iter_mut().enumerate() {
        let (mut low, mut high, mut b) = (0.0, f64::INFINITY, 1.0);
        for _ in 0..60 {
            let w: Vec<f64> = (0..n).map(|j| if i == j { 0.0 } else { (-b * far.row(i)[j] as f64).exp() }).collect();
            let sum: f64 = w.iter().sum();
            *of = w.iter().map(|w| w / sum).collect();
            let entropy: f64 = of.iter().filter(|p| **p > 0.0).map(|p| -p * p.ln()).sum();
            if entropy.is_nan() || entropy < perplexity.ln() {
                high = b
            } else {
                low = b
            }
            b = if high.is_finite() { 0.5 * (low + high) } else { 2.0 * b };
        }
    }
    let near = |i: usize, j: usize| 1.0 / (1.0 + (places[i][0] - places[j][0]).powi(2) + (places[i][1] - places[j][1]).powi(2));
    let pairs: Vec<(usize, usize)> = (0..n).flat_map(|i| (0..n).filter(move |j| *j != i).map(move |j| (i, j))).collect();
    let z: f64 = pairs.iter().map(|&(i, j)| near(i, j)).sum();
    let joint = |i: usize, j: usize| ((of[i][j] + of[j][i]) / (2 * n) as f64).max(1e-12);
    pairs.iter().map(|&(i, j)| joint(i, j) * (joint(i, j) * z / near(i, j)).ln()).sum()
}

#[test]
fn tsne_is_as_good_as_that_of_scikit_learn() {
    for case in fixture()["tsne"].as_array().unwrap() {
        let rows = rows(case);
        let far = distances(rows.view());
        let start = principal(rows.view()).unwrap().places;
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| tsne(&far, &start))
        };
        let map = on(2);
        assert_eq!(map, on(1));
        let (ours, theirs) = (divergence(&far, &map, 30.0), case["divergence"].as_f64().unwrap());
        // another rounding of a sum leads to another minimum: those that were seen are within 4 %
        assert!(ours <= 1.1 * theirs, "{ours} against {theirs}");
        let (ours, theirs) = (trustworthiness(&far, &map), case["trustworthiness"].as_f64().unwrap());
        assert!(ours >= theirs - 0.01, "{ours} against {theirs}");
    }
}

#[test]
fn few_points_have_places() {
    for n in 1..7 {
        let rows = blobs(n, 5, 2, 3);
        let plane = principal(rows.view()).unwrap();
        let far = distances(rows.view());
        let map = tsne(&far, &plane.places);
        assert!(map.len() == n && map.iter().flatten().all(|x| x.is_finite()), "{map:?}");
        assert!((0.0..=1.0).contains(&trustworthiness(&far, &map)));
    }
    // all the same
    let rows = Matrix::zeros(40, 600);
    let plane = principal(rows.view()).unwrap();
    assert!(tsne(&distances(rows.view()), &plane.places).iter().flatten().all(|x| x.is_finite()));
}
