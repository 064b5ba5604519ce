use super::*;
use crate::Matrix;
use proptest::prelude::*;

const KINDS: [ScalarKind; 5] =
    [ScalarKind::F16, ScalarKind::Sq8, ScalarKind::Sq4, ScalarKind::Sq8Uniform, ScalarKind::Sq4Uniform];

fn there_and_back(code: &Scalar, rows: Vectors<'_>) -> (Vec<u8>, Vec<f32>) {
    let mut codes = vec![0; rows.n() * code.row_bytes()];
    code.encode(rows, &mut codes).unwrap();
    let mut back = vec![f32::NAN; rows.data().len()];
    code.decode(&codes, &mut back);
    (codes, back)
}

fn error(a: &[f32], b: &[f32]) -> f64 {
    a.iter().zip(b).map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum()
}

/// Values between −1 and 1 from a seed.
fn values(n: usize, seed: u32) -> Vec<f32> {
    (0..n as u32).map(|i| (i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8_388_608.0 - 1.0).collect()
}

fn floats(value: &serde_json::Value) -> Vec<f32> {
    value.as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect()
}

/// Every code, each as a number, of a row of d dimensions.
fn numbers(kind: ScalarKind, codes: &[u8], d: usize) -> Vec<u16> {
    match kind {
        ScalarKind::F16 => codes.chunks(2).map(|c| u16::from_le_bytes([c[0], c[1]])).collect(),
        ScalarKind::Sq8 | ScalarKind::Sq8Uniform => codes.iter().map(|&c| c as u16).collect(),
        _ => codes.chunks(d.div_ceil(2)).flat_map(|c| (0..d).map(|j| (c[j / 2] >> (4 * (j % 2)) & 15) as u16)).collect(),
    }
}

#[test]
fn codes_are_those_of_faiss_under_its_ranges_and_no_worse_under_ours() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/scalar/faiss.json");
    let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let d = file["d"].as_u64().unwrap() as usize;
    let (train, rows) = (Matrix::new(floats(&file["train"]), d), Matrix::new(floats(&file["rows"]), d));
    for kind in KINDS {
        let theirs = &file["kinds"][kind.word()];
        let decoded = floats(&theirs["decoded"]);
        let hex = theirs["codes"].as_str().unwrap();
        let want: Vec<u8> = (0..hex.len() / 2).map(|i| u8::from_str_radix(&hex[2 * i..2 * i + 2], 16).unwrap()).collect();
        let trained = floats(&theirs["trained"]);
        let (vmin, vdiff) = trained.split_at(trained.len() / 2);
        let top = bits(kind).levels() as f32;
        let low = vmin.iter().zip(vdiff).map(|(m, w)| m + w / top / 2.0);
        let parts: Vec<f32> = low.chain(vdiff.iter().map(|w| w / top)).collect();
        let (codes, back) = there_and_back(&Scalar::from_parts(kind, d, &parts).unwrap(), rows.view());
        assert_eq!(codes.len(), want.len(), "{kind:?}");
        let (got, want) = (numbers(kind, &codes, d), numbers(kind, &want, d));
        let mut ties = 0;
        for (i, (g, w)) in got.iter().zip(&want).enumerate() {
            // a constant dimension: FAISS divides by 0 and takes code 0
            if g != w {
                let x = (rows.data()[i] - back[i]) / parts[parts.len() / 2 + if parts.len() > 2 { i % d } else { 0 }];
                assert!(g.abs_diff(*w) == 1 && (x.abs() - 0.5).abs() < 1e-3, "{kind:?}, value {i}: {g}, not {w}");
                ties += 1;
            } else {
                assert!(
                    (back[i] - decoded[i]).abs() <= 2e-6 * (1.0 + decoded[i].abs()),
                    "{kind:?}: {} for {}",
                    back[i],
                    decoded[i]
                );
            }
        }
        // the integers of the last dimension all do
        assert!(ties <= rows.data().len() / 8, "{kind:?}: {ties} values lie on a boundary");
        let (_, ours) = there_and_back(&Scalar::train(kind, train.view()), rows.view());
        // how near a common grid comes to the constant of dimension 6 is luck
        let sum =
            |back: &[f32]| (0..back.len()).filter(|i| i % d != 6).map(|i| error(&rows.data()[i..=i], &back[i..=i])).sum::<f64>();
        let (ours, theirs) = (sum(&ours), sum(&decoded));
        // 8 bits: room is left for rows that come later, a tenth of the range at most
        let limit = if bits(kind) == ScalarBits::Eight { 1.21 } else { 1.0 };
        assert!(ours <= limit * theirs, "{kind:?}: {ours} where FAISS has {theirs}");
    }
}

#[test]
fn integers_that_fit_are_kept() {
    for (kind, levels) in
        [(ScalarKind::Sq8, 256), (ScalarKind::Sq8Uniform, 256), (ScalarKind::Sq4, 16), (ScalarKind::Sq4Uniform, 16)]
    {
        let rows: Vec<f32> = (0..77 * 13).map(|i| (i * 31 % levels) as f32).collect();
        let rows = Vectors::new(&rows, 13);
        // the sample need not have seen every value
        let code = Scalar::train(kind, rows.rows(0..5));
        assert_eq!(there_and_back(&code, rows).1, rows.data());
        assert_eq!(code.parts(), Scalar::train(kind, rows).parts());
    }
}

#[test]
fn constant_dimensions_are_kept_and_sizes_do_not_matter() {
    for scale in [1e-37, 1e-20, 1.0, 1e20, 1e37] {
        let rows: Vec<f32> =
            values(200 * 7, 5).iter().enumerate().map(|(i, v)| scale * if i % 7 == 2 { 0.75 } else { *v }).collect();
        let rows = Vectors::new(&rows, 7);
        for kind in [ScalarKind::Sq8, ScalarKind::Sq4] {
            let (_, back) = there_and_back(&Scalar::train(kind, rows), rows);
            let half = 1.3 / if kind == ScalarKind::Sq8 { 255.0 } else { 15.0 };
            for (i, (x, y)) in rows.data().iter().zip(&back).enumerate() {
                assert!((x - y).abs() <= half * scale + 4e-36, "{kind:?}: {y} for {x}");
                assert!(i % 7 != 2 || x == y, "{kind:?}: {y} for the constant {x}");
            }
        }
    }
}

#[test]
fn values_at_the_ends_of_f32_make_no_infinity() {
    let rows = [f32::MAX, 1.0, f32::MIN, -1.0, f32::MIN_POSITIVE, 1e-45, 0.0, -0.0, 3e38, 5.0];
    let rows = Vectors::new(&rows, 2);
    for kind in &KINDS[1..] {
        let code = Scalar::train(*kind, rows);
        assert!(there_and_back(&code, rows).1.iter().all(|x| x.is_finite()), "{kind:?}");
        assert_eq!(Scalar::from_parts(*kind, 2, &code.parts()).unwrap(), code);
    }
}

#[test]
fn no_rows_are_no_codes() {
    for kind in KINDS {
        let code = Scalar::train(kind, Vectors::new(&[], 5));
        assert_eq!(there_and_back(&code, Vectors::new(&[], 5)), (vec![], vec![]));
        assert_eq!(Scalar::from_parts(kind, 5, &code.parts()).unwrap(), code);
    }
}

#[test]
fn what_no_half_float_holds_is_named() {
    let mut rows = vec![1.0f32; 600 * 3];
    let code = Scalar::train(ScalarKind::F16, Vectors::new(&rows, 3));
    let mut out = vec![0; rows.len() * 2];
    rows[700] = 65_519.0;
    assert_eq!(code.encode(Vectors::new(&rows, 3), &mut out), Ok(()));
    rows[1_700] = f32::MAX;
    rows[1_500] = -65_520.0;
    let (row, what) = code.encode(Vectors::new(&rows, 3), &mut out).unwrap_err();
    assert_eq!((row, what.as_str()), (500, "a value of magnitude 65520; half floats (F16) end at 65504"));
}

#[test]
fn bad_parts_are_errors() {
    let wrong = |kind, d, parts: &[f32]| Scalar::from_parts(kind, d, parts).unwrap_err();
    assert_eq!(wrong(ScalarKind::Sq8, 2, &[1.0; 3]), "3 numbers of ranges where SQ8 of 2 dimensions has 4");
    assert_eq!(wrong(ScalarKind::F16, 2, &[1.0]), "1 numbers of ranges where F16 of 2 dimensions has 0");
    assert_eq!(wrong(ScalarKind::Sq4Uniform, 2, &[0.0, -1.0]), "range 0 begins at 0 in steps of -1");
    for bad in [[0.0, f32::NAN], [f32::INFINITY, 1.0], [0.0, 1e-45], [3e38, 1e37], [0.0, 2e37]] {
        wrong(ScalarKind::Sq4Uniform, 9, &[bad[0], bad[1] * 17.0]);
    }
}

proptest! {
    #[test]
    fn products_keep_their_margin_and_parts_their_code(n in 1usize..40, d in 1usize..140, seed in 0u32..9999, size in -8i32..8, shift in -3i32..3) {
        let scale = 2f32.powi(size);
        let rows: Vec<f32> = values(n * d, seed).iter().map(|v| (v + shift as f32) * scale).collect();
        let rows = Vectors::new(&rows, d);
        let q = values(d, seed + 1);
        let norm = |x: &[f32]| voisin_kernels::dot_f64(x, x).sqrt() as f32;
        for kind in KINDS {
            let code = Scalar::train(kind, rows);
            prop_assert_eq!(&Scalar::from_parts(kind, d, &code.parts()).unwrap(), &code);
            let (codes, back) = there_and_back(&code, rows);
            let mut products = vec![0.0; n];
            voisin_kernels::scalar_dots(&code.query(&q), &codes, &mut products);
            for (i, x) in back.chunks(d).enumerate() {
                let want = voisin_kernels::dot_f64(&q, x);
                prop_assert!((products[i] as f64 - want).abs() <= code.margin(norm(&q), norm(x)) as f64, "{:?}", kind);
            }
            let single = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            prop_assert_eq!(single.install(|| Scalar::train(kind, rows)), code);
        }
    }
}

/// Squared errors of all rows of a file: VOISIN_ROWS names raw f32, VOISIN_D their dimensions.
#[test]
#[ignore = "a measurement"]
fn errors_of_a_file() {
    let bytes = std::fs::read(std::env::var("VOISIN_ROWS").unwrap()).unwrap();
    let d: usize = std::env::var("VOISIN_D").unwrap().parse().unwrap();
    let values = bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect();
    let rows = Matrix::new(values, d);
    let norm = error(rows.data(), &vec![0.0; rows.data().len()]);
    for kind in KINDS {
        for n in [4_096, 16_384, rows.n()] {
            let start = std::time::Instant::now();
            let code = Scalar::train(kind, rows.view().rows(0..n));
            let seconds = start.elapsed().as_secs_f64();
            let back = there_and_back(&code, rows.view()).1;
            println!("{kind:?} trained on {n}: {:.4e} of the squares, {seconds:.3} s", error(rows.data(), &back) / norm);
        }
    }
}
