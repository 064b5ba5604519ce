//! Speed of scalar codes on one thread: `cargo run --release -p voisin-kernels --example scalar_speed`.
use std::hint::black_box;
use std::time::Instant;
use voisin_kernels::{ScalarBits, ScalarGrid, ScalarQuery, isa, scalar_decode, scalar_dots, scalar_encode};

/// Seconds of one run: the least of sixty, each of at least a millisecond.
fn seconds(mut run: impl FnMut()) -> f64 {
    let times = (0..60).map(|_| {
        let (start, mut runs) = (Instant::now(), 0);
        while start.elapsed().as_secs_f64() < 0.001 {
            run();
            runs += 1;
        }
        start.elapsed().as_secs_f64() / runs as f64
    });
    times.fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("{:?}", isa());
    for d in [100, 128, 384, 768] {
        for bits in [ScalarBits::F16, ScalarBits::Eight, ScalarBits::Four] {
            let n = 32;
            let rows: Vec<f32> = (0..n * d).map(|i| (i as f32 * 0.37).sin()).collect();
            let (low, step, inverse) = (vec![-1.0; d], vec![2.0 / 256.0; d], vec![128.0; d]);
            let grid = ScalarGrid { bits, d, low: &low, step: &step, inverse: &inverse };
            let bytes = bits.row_bytes(d);
            let (mut codes, mut back) = (vec![0; n * bytes], vec![0.0; n * d]);
            let encode = seconds(|| scalar_encode(&grid, black_box(&rows), black_box(&mut codes)));
            let decode = seconds(|| scalar_decode(&grid, black_box(&codes), black_box(&mut back)));
            let gb = (n * d * 4) as f64 / 1e9;
            let query = ScalarQuery::new(bits, &rows[..d], 0.5);
            let scan = |n: usize| {
                let codes = codes.repeat(n / 32);
                let mut out = vec![0.0; n];
                n as f64 / 1e6 / seconds(|| scalar_dots(&query, black_box(&codes), black_box(&mut out)))
            };
            let (near, far) = (scan(64), scan(100_000));
            println!(
                "d {d:3} {bits:?}: encode {:5.1} GB/s, decode {:5.1} GB/s of f32; products {near:6.1} M/s in cache, {far:6.1} M/s of 100,000 rows",
                gb / encode,
                gb / decode,
            );
        }
    }
}
