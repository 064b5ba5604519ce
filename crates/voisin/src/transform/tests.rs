use super::polar::polar;
use super::*;
use crate::Quiet;
use crate::encode::Training;
use crate::encode::pq::{Pq, tests::*};
use voisin_kernels::dot_f64;

/// Largest distance of W W' from the unit matrix.
fn skew(w: &Matrix) -> f64 {
    let pairs = (0..w.n()).flat_map(|i| (0..=i).map(move |j| (i, j)));
    pairs.map(|(i, j)| (dot_f64(w.row(i), w.row(j)) - (i == j) as u8 as f64).abs()).fold(0.0, f64::max)
}

#[test]
fn components_are_those_of_scikit_learn() {
    let rows = blobs(700, 12, 9, 3);
    let f = fixture();
    let want: Vec<Vec<f64>> = serde_json::from_value(f["pca"]["components"].clone()).unwrap();
    let variances: Vec<f64> = serde_json::from_value(f["pca"]["variances"].clone()).unwrap();
    for d_out in [1, 5, 12] {
        let map = pca(rows.view(), d_out, true, &Quiet).unwrap();
        let mapped = map.apply(rows.view());
        for i in 0..d_out {
            let ours = map.weight.row(i);
            let same: f64 = ours.iter().zip(&want[i]).map(|(&a, b)| a as f64 * b).sum();
            assert!((same.abs() - 1.0).abs() < 1e-5, "component {i}: {same}");
            let largest = ours.iter().fold(0.0f32, |m, &x| if x.abs() > m.abs() { x } else { m });
            assert!(largest > 0.0);
            let column: Vec<f64> = mapped.view().iter().map(|r| r[i] as f64).collect();
            let mean = column.iter().sum::<f64>() / 700.0;
            let variance = column.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / 700.0;
            assert!(mean.abs() < 1e-4 && (variance - variances[i]).abs() < 1e-3 * variances[i] + 1e-6);
        }
    }
}

#[test]
fn components_without_a_centre_keep_inner_products() {
    let mut rows = blobs(300, 8, 9, 3);
    rows.data_mut().iter_mut().for_each(|x| *x += 2.0);
    let map = pca(rows.view(), 8, false, &Quiet).unwrap();
    assert!(map.bias.iter().all(|&b| b == 0.0) && skew(&map.weight) < 1e-6);
    let y = map.apply(rows.view());
    for i in 0..50 {
        let (before, after) = (dot_f64(rows.row(i), rows.row(i + 1)), dot_f64(y.row(i), y.row(i + 1)));
        assert!((before - after).abs() < 1e-4 * before.abs().max(1.0));
    }
}

#[test]
fn wrong_dimensions_are_refused() {
    let rows = blobs(9, 12, 3, 1);
    for d_out in [0, 10, 13] {
        let text = pca(rows.view(), d_out, true, &Quiet).unwrap_err().to_string();
        assert!(text.starts_with(&format!("PCA = {d_out}: 1 to 12")), "{text}");
    }
    assert!(opq(rows.view(), 5, 8, 1, &Quiet).unwrap_err().to_string().starts_with("OPQ = 5: a number of parts that divides 12"));
}

#[test]
fn a_row_alone_is_mapped_to_the_same_bits() {
    let rows = blobs(200, 20, 7, 3);
    let map = Linear::new(Matrix::new(floats(13 * 20, 8), 20), floats(13, 9));
    let all = map.apply(rows.view());
    for i in [0, 1, 95, 96, 199] {
        assert_eq!(map.apply(rows.view().rows(i..i + 1)).data(), all.row(i));
    }
    assert_eq!(map.apply(rows.view().rows(40..47)).data(), &all.data()[40 * 13..47 * 13]);
}

#[test]
fn the_polar_factor_undoes_a_stretch() {
    for d in [1, 3, 17, 60] {
        let turn = polar(&Matrix::new(floats(d * d, 3), d), &Matrix::new(floats(d * d, 4), d), &Quiet).unwrap();
        assert!(skew(&turn) < 2e-5, "{d}: {}", skew(&turn));
        // turn · H with H = B'B: positive, of condition up to 1e4
        let b = Matrix::new(floats(d * d, 5), d);
        let mut stretched = Matrix::zeros(d, d);
        for i in 0..d {
            for j in 0..d {
                let h = |t: usize| {
                    (0..d).map(|s| b.row(s)[t] as f64 * b.row(s)[j] as f64).sum::<f64>() + (t == j) as u8 as f64 * 1e-3
                };
                stretched.row_mut(i)[j] = (0..d).map(|t| turn.row(i)[t] as f64 * h(t)).sum::<f64>() as f32;
            }
        }
        let back = polar(&stretched, &turn, &Quiet).unwrap();
        let far = back.data().iter().zip(turn.data()).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
        assert!(far < 2e-3, "{d}: {far}");
    }
    // a matrix without rank keeps what it can
    let unit = Matrix::new((0..16).map(|i| (i % 5 == 0) as u8 as f32).collect(), 4);
    assert!(skew(&polar(&Matrix::zeros(4, 4), &unit, &Quiet).unwrap()) < 2e-5);
}

#[test]
fn a_rotation_saves_as_much_as_that_of_faiss() {
    let rows = blobs(6000, 16, 60, 7);
    for case in fixture()["opq"].as_array().unwrap() {
        let bits = case["bits"].as_u64().unwrap() as usize;
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| opq(rows.view(), 4, bits, 3, &Quiet).unwrap())
        };
        let map = on(2);
        assert_eq!(map.weight, on(1).weight);
        assert!(skew(&map.weight) < 2e-5);
        let turned = map.apply(rows.view());
        let with = Training { lists: &vec![0; 6000], centres: None, ip: false, seed: 3, watch: &Quiet };
        let trained = error(&Pq::train(4, bits, turned.view(), &with).unwrap(), &turned);
        assert!(trained <= 1.05 * case["turned"].as_f64().unwrap(), "{bits} bits: {trained} against {case}");
    }
}
