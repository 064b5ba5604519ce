use super::*;
use crate::partition::Random;
use crate::{Matrix, Quiet};

fn gauss(n: usize, d: usize, seed: u64) -> Matrix {
    let mut r = Random::new(seed, 0);
    let mut one = || (0..6).map(|_| r.unit()).sum::<f64>() as f32 - 3.0;
    Matrix::new((0..n * d).map(|_| one()).collect(), d)
}

fn sample(bits: usize, n: usize, d: usize, ip: bool) -> (RaBitQ, Matrix, Matrix, Vec<u32>, Vec<u8>) {
    let (rows, centres) = (gauss(n, d, 1), gauss(3, d, 2));
    let lists: Vec<u32> = (0..n as u32).map(|i| i % 3).collect();
    let with = Training { lists: &lists, centres: Some(&centres), ip, seed: 0, watch: &Quiet };
    let code = RaBitQ::train(bits, rows.view(), &with);
    let code = RaBitQ::from_parts(bits, d, &code.parts()).unwrap();
    let mut records = vec![0; n * code.row_bytes()];
    code.encode(rows.view(), &lists, Some(&centres), &[], &mut records);
    let mut again = vec![0; records.len()];
    code.encode(rows.view(), &lists, Some(&centres), &code.rotated(&centres), &mut again);
    assert!(again == records, "rotated before or when they are needed");
    (code, rows, centres, lists, records)
}

#[test]
fn estimates_are_unbiased_and_as_close_as_the_paper_says() {
    // deviation of the estimate of a unit product, from the paper's figures; each bit halves it at least
    for (d, ip) in [(128, false), (200, false), (128, true)] {
        for (bits, most) in [(1, 0.9), (2, 0.5), (4, 0.14), (8, 0.03)] {
            let (code, rows, centres, lists, records) = sample(bits, 300, d, ip);
            let q: Vec<f32> = gauss(1, d, 9).data().to_vec();
            let query = code.query(&q);
            let (mut sum, mut squares, mut scale) = (0.0, 0.0, 0.0);
            for i in 0..300 {
                let c = centres.row(lists[i] as usize);
                let record = &records[i * code.row_bytes()..(i + 1) * code.row_bytes()];
                let less: Vec<f32> = q.iter().zip(c).map(|(q, c)| q - c).collect();
                let far = dot_f64(&less, &less);
                let base = if ip { -dot_f64(&q, c) } else { far } as f32;
                // a wide bound, so that the rank is the estimate
                let shared = Shared { base, reach: 10.0 * far.sqrt() as f32 };
                let mut hits = Vec::new();
                code.scan(&query, Run { bytes: &packed(&code, record), n: 1 }, shared, ALL, &mut Scratch::default(), &mut hits);
                let row = rows.row(i);
                let exact = if ip { -dot_f64(row, &q) } else { row.iter().zip(&q).map(|(a, b)| ((a - b) as f64).powi(2)).sum() };
                let r: f64 = row.iter().zip(c).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
                let unit = r.sqrt() * far.sqrt() * if ip { 1.0 } else { 2.0 } / (d as f64).sqrt();
                let error = (hits[0].1 as f64 - exact) / unit;
                (sum, squares, scale) = (sum + error, squares + error * error, scale + 1.0);
            }
            let deviation = (squares / scale).sqrt();
            assert!(deviation < most && (sum / scale).abs() < 0.2 * most, "d {d}, {bits} bits: {deviation}, {}", sum / scale);
        }
    }
}

const ALL: Limit = Limit { rank: f32::INFINITY, keep: usize::MAX };

fn packed(code: &RaBitQ, record: &[u8]) -> Vec<u8> {
    let mut run = vec![0; code.run_bytes(1)];
    code.pack(record, 1, &mut run);
    run
}

#[test]
fn many_queries_find_what_one_finds() {
    for (bits, d, n) in [(1, 70, 100), (3, 128, 77), (4, 128, 200), (8, 64, 33)] {
        let (code, _, centres, _, records) = sample(bits, n, d, false);
        let mut run = vec![0; code.run_bytes(n)];
        code.pack(&records, n, &mut run);
        let mut back = vec![0; code.row_bytes()];
        for i in 0..n {
            code.unpack(&run, n, i, &mut back);
            assert_eq!(back, records[i * code.row_bytes()..(i + 1) * code.row_bytes()]);
        }
        let queries: Vec<(Query, Shared)> = (0..11u64)
            .map(|i| {
                let q = gauss(1, d, 50 + i);
                let query = code.query(q.data());
                let far: f64 = q.data().iter().zip(centres.row(1)).map(|(a, b)| ((a - b) as f64).powi(2)).sum();
                (query, Shared { base: far as f32, reach: far.sqrt() as f32 })
            })
            .collect();
        let run = Run { bytes: &run, n };
        let mut one: Vec<Vec<(u32, f32)>> = Vec::new();
        for (q, shared) in &queries {
            let mut hits = Vec::new();
            code.scan(q, run, *shared, ALL, &mut Scratch::default(), &mut hits);
            assert_eq!(hits.len(), n);
            let limit = hits[n / 3].1;
            hits.retain(|h| h.1 <= limit);
            let mut again = Vec::new();
            code.scan(q, run, *shared, Limit { rank: limit, ..ALL }, &mut Scratch::default(), &mut again);
            assert_eq!(again, hits);
            one.push(hits);
        }
        if RaBitQ::many() {
            let limits: Vec<f32> = one.iter().map(|h| h.iter().map(|h| h.1).fold(f32::MIN, f32::max)).collect();
            let mut found = vec![Vec::new(); queries.len()];
            let refs: Vec<(&Query, Shared)> = queries.iter().map(|q| (&q.0, q.1)).collect();
            code.scan_many(
                &refs,
                run,
                &mut Scratch::default(),
                |q| Limit { rank: limits[q], ..ALL },
                |q, hits| found[q].append(hits),
            );
            assert_eq!(found, one);
        }
    }
}

#[test]
fn bf16_is_rounded_to_the_side_asked_for() {
    for x in [0.0, 1.0, -1.0, 3.33333, -3.33333, 1e-30, 1e30, -7.0625] {
        let (low, high) = (voisin_kernels::widen(down(x)) as f64, voisin_kernels::widen(up(x)) as f64);
        assert!(low <= x && x <= high && (high - low) <= 0.02 * x.abs() + 1e-40, "{low} {x} {high}");
    }
}

#[test]
fn a_row_at_its_centre_has_the_distance_of_the_centre() {
    let centres = gauss(1, 64, 3);
    let with = Training { lists: &[0], centres: Some(&centres), ip: false, seed: 0, watch: &Quiet };
    let code = RaBitQ::train(4, centres.view(), &with);
    let mut record = vec![0; code.row_bytes()];
    code.encode(centres.view(), &[0], Some(&centres), &[], &mut record);
    let query = code.query(&[0.5; 64]);
    let mut hits = Vec::new();
    let shared = Shared { base: 7.0, reach: 7f32.sqrt() };
    code.scan(
        &query,
        Run { bytes: &packed(&code, &record), n: 1 },
        shared,
        Limit { rank: 8.0, keep: 1 },
        &mut Scratch::default(),
        &mut hits,
    );
    assert_eq!(hits, [(0, 7.0)]);
}
