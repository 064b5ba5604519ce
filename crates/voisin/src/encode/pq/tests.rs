use super::*;
use crate::Quiet;
use proptest::prelude::*;

/// Numbers in [-1, 1); the same formula as in tests/data/make_codes.py.
pub(crate) fn noise(n: usize, seed: u64) -> Vec<f64> {
    let one = |i: u64| {
        let x = (2 * i + 1).wrapping_mul(2 * seed + 1).wrapping_mul(0x9E37_79B9_7F4A_7C15);
        let x = (x ^ (x >> 29)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        ((x ^ (x >> 32)) >> 40) as f64 / (1 << 23) as f64 - 1.0
    };
    (0..n as u64).map(one).collect()
}

pub(crate) fn floats(n: usize, seed: u64) -> Vec<f32> {
    noise(n, seed).into_iter().map(|x| x as f32).collect()
}

/// Rows around places, shrinking from one dimension to the next, then mixed.
pub(crate) fn blobs(n: usize, d: usize, lists: usize, seed: u64) -> Matrix {
    let (places, each, mix) = (noise(lists * d, seed), noise(n * d, seed + 1), noise(d * d, seed + 2));
    let mut out = Matrix::zeros(n, d);
    for i in 0..n {
        let z: Vec<f64> = (0..d).map(|j| (3.0 * places[i % lists * d + j] + each[i * d + j]) * 0.85f64.powi(j as i32)).collect();
        for (j, x) in out.row_mut(i).iter_mut().enumerate() {
            *x = (0..d).map(|t| z[t] * mix[t * d + j]).sum::<f64>() as f32;
        }
    }
    out
}

pub(crate) fn fixture() -> serde_json::Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/codes/faiss.json");
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn size(v: &serde_json::Value, key: &str) -> usize {
    v[key].as_u64().unwrap() as usize
}

fn with<'a>(lists: &'a [u32], centres: Option<&'a Matrix>, ip: bool) -> Training<'a> {
    Training { lists, centres, ip, seed: 3, watch: &Quiet }
}

fn given(d: usize, m: usize, bits: usize, ip: bool) -> Pq {
    Pq::from_codebooks(m, bits, d, ip, floats(d << bits, 5)).unwrap()
}

fn records(pq: &Pq, rows: &Matrix, lists: &[u32], centres: Option<&Matrix>) -> Vec<u8> {
    let mut out = vec![0; rows.n() * pq.row_bytes()];
    pq.encode(rows.view(), lists, centres, &mut out);
    out
}

/// Mean squared error of decoded rows.
pub(crate) fn error(pq: &Pq, rows: &Matrix) -> f64 {
    let records = records(pq, rows, &vec![0; rows.n()], None);
    let mut back = vec![0.0; rows.d()];
    let one = |(record, row): (&[u8], &[f32])| {
        pq.decode(record, &mut back);
        row.iter().zip(&back).map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum::<f64>()
    };
    records.chunks_exact(pq.row_bytes()).zip(rows.view().iter()).map(one).sum::<f64>() / rows.n() as f64
}

#[test]
fn codes_are_those_of_faiss() {
    for case in fixture()["codes"].as_array().unwrap() {
        let (d, m, bits) = (size(case, "d"), size(case, "m"), size(case, "bits"));
        let want: Vec<Vec<u8>> = serde_json::from_value(case["codes"].clone()).unwrap();
        let (pq, rows) = (given(d, m, bits, false), Matrix::new(floats(60 * d, 6), d));
        for (record, want) in records(&pq, &rows, &[0; 60], None).chunks_exact(pq.row_bytes()).zip(want) {
            assert_eq!(record[..pq.row_bytes() - 4], want, "d {d}, m {m}, {bits} bits");
        }
    }
}

#[test]
fn training_ends_as_well_as_faiss() {
    let rows = blobs(10_000, 16, 60, 1);
    for case in fixture()["errors"].as_array().unwrap() {
        let pq = Pq::train(4, size(case, "bits"), rows.view(), &with(&vec![0; rows.n()], None, false)).unwrap();
        let (ours, theirs) = (error(&pq, &rows), case["error"].as_f64().unwrap());
        assert!(ours <= theirs * 1.02, "{} bits: {ours} against {theirs}", pq.bits());
    }
}

#[test]
fn the_same_bytes_on_any_number_of_threads() {
    let (rows, centres) = (blobs(3000, 12, 20, 4), blobs(5, 12, 5, 9));
    let lists: Vec<u32> = (0..3000).map(|i| i % 5).collect();
    for bits in [4, 8] {
        let on = |threads: usize| {
            rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap().install(|| {
                let pq = Pq::train(3, bits, rows.view(), &with(&lists, Some(&centres), false)).unwrap();
                (pq.parts(), records(&pq, &rows, &lists, Some(&centres)))
            })
        };
        assert_eq!(on(1), on(3));
    }
}

#[test]
fn a_code_is_rebuilt_from_its_parts() {
    let pq = given(12, 3, 4, true);
    let back = Pq::from_parts(3, 4, 12, &pq.parts()).unwrap();
    assert_eq!((back.parts(), back.ip, back.m(), back.d()), (pq.parts(), true, 3, 12));
    let parts = pq.parts();
    for (m, bits, d, parts) in
        [(3, 4, 13, &parts[..]), (3, 8, 12, &parts), (0, 4, 12, &parts), (3, 5, 12, &parts), (3, 4, 12, &[])]
    {
        assert!(Pq::from_parts(m, bits, d, parts).is_err());
    }
}

#[test]
fn parts_that_do_not_divide_are_refused_with_those_that_do() {
    let rows = blobs(20, 12, 3, 1);
    let text = Pq::train(5, 8, rows.view(), &with(&[0; 20], None, false)).unwrap_err().to_string();
    assert_eq!(text, "PQ = 5: a number of parts that divides 12 dimensions: 1, 2, 3, 4, 6, 12");
}

#[test]
fn few_rows_are_their_own_codewords() {
    for n in [1, 5, 16, 17] {
        let rows = blobs(n, 12, 20, 4);
        let pq = Pq::train(3, 4, rows.view(), &with(&vec![0; n], None, false)).unwrap();
        assert!(n > 16 || error(&pq, &rows) == 0.0, "{n} rows");
    }
    let same = Matrix::new([1.0, -2.0, 0.5, 0.0].repeat(600), 4);
    let pq = Pq::train(2, 8, same.view(), &with(&[0; 600], None, false)).unwrap();
    assert!(error(&pq, &same) < 1e-5);
}

/// Exact key of the row that a record stands for.
fn key(pq: &Pq, q: &[f32], centre: &[f32], record: &[u8]) -> f64 {
    let mut r = vec![0.0; pq.d()];
    pq.decode(record, &mut r);
    let x = r.iter().zip(centre).map(|(&r, &c)| r as f64 + c as f64);
    let terms = q.iter().zip(x).map(|(&q, x)| if pq.ip { -(q as f64) * x } else { (q as f64 - x).powi(2) });
    terms.sum()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]
    #[test]
    fn runs_keep_records_and_keys_are_those_of_decoded_rows(
        n in 1usize..300, m in 1usize..10, sub in 1usize..5, wide: bool, ip: bool, queries in 1usize..12, seed in 0u64..999,
    ) {
        let (d, bits) = (m * sub, if wide { 8 } else { 4 });
        let pq = given(d, m, bits, ip);
        let (rows, centres) = (Matrix::new(floats(n * d, seed), d), Matrix::new(floats(3 * d, seed + 1), d));
        let lists = vec![(seed % 3) as u32; n];
        let centre = centres.row(lists[0] as usize);
        let records = records(&pq, &rows, &lists, Some(&centres));
        let mut run = vec![0xAA; pq.run_bytes(n)];
        pq.pack(&records, n, &mut run);
        let mut record = vec![0xAA; pq.row_bytes()];
        for (i, want) in records.chunks_exact(pq.row_bytes()).enumerate() {
            pq.unpack(&run, n, i, &mut record);
            prop_assert_eq!(&record[..], want);
        }

        let asked = Matrix::new(floats(queries * d, seed + 2), d);
        let tables = pq.tables_many(asked.view());
        let base: Vec<f32> = asked.view().iter().map(|q| {
            let terms = q.iter().zip(centre).map(|(&q, &c)| if ip { -(q as f64 * c as f64) } else { (q as f64 - c as f64).powi(2) });
            terms.sum::<f64>() as f32
        }).collect();
        let mut all = vec![f32::NAN; queries * n];
        pq.estimates_many(&tables.iter().collect::<Vec<_>>(), &run, n, &base, &mut all);
        let (mut alone, mut keys, mut hits) = (vec![f32::NAN; n], Vec::new(), Hits::new());
        for (q, all) in all.chunks_exact(n).enumerate() {
            let own = pq.tables(asked.row(q));
            pq.estimates(&own, &run, n, base[q], &mut alone);
            prop_assert!(alone.iter().zip(all).all(|(a, b)| a.to_bits() == b.to_bits()));
            let slack = (0.5 * m as f64 + 0.1) * own.scale() as f64 + 1e-5 * d as f64;
            for (&key_of_row, record) in all.iter().zip(records.chunks_exact(pq.row_bytes())) {
                let want = key(&pq, asked.row(q), centre, record);
                prop_assert!((key_of_row as f64 - want).abs() <= slack, "{} where {} is right", key_of_row, want);
            }
            let limit = all[n / 2];
            hits.clear();
            pq.scan(&own, Run { bytes: &run, n }, base[q], limit, &mut keys, &mut hits);
            let want: Hits = (0..).zip(all).filter(|(_, k)| **k <= limit).map(|(i, &k)| (i, k)).collect();
            prop_assert_eq!(&hits, &want);
        }
        let pairs: Vec<(&Tables, f32)> = tables.iter().zip(base.iter().copied()).collect();
        let mut seen = Vec::new();
        pq.scan_many(&pairs, Run { bytes: &run, n }, &mut keys, |_| f32::INFINITY, |q, hits| seen.push((q, hits.clone())));
        prop_assert_eq!(seen.len(), queries);
        for (i, (q, hits)) in seen.iter().enumerate() {
            prop_assert!(i == *q && hits.iter().map(|h| h.1).eq(all[i * n..(i + 1) * n].iter().copied()));
        }
    }
}
