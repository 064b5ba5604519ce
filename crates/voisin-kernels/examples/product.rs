//! Speed of the matrix product and of single distances: `cargo run --release -p voisin-kernels --example product`.
//! Set RAYON_NUM_THREADS=1 for one thread.
use std::hint::black_box;
use std::time::Instant;
use voisin_kernels::{Packed, View, dots, gemm, isa, tiles};

fn median(mut run: impl FnMut() -> f64) -> f64 {
    let mut t: Vec<f64> = (0..7).map(|_| run()).collect();
    t.sort_by(f64::total_cmp);
    t[3]
}

fn main() {
    println!("{:?}, {} threads", isa(), std::env::var("RAYON_NUM_THREADS").unwrap_or("all".into()));
    for (m, k, n) in
        [(1024, 768, 8192), (10_000, 128, 16_384), (60_000, 384, 320), (256, 384, 512), (256, 512, 384), (384, 256, 512)]
    {
        let a: Vec<f32> = (0..m * k).map(|i| (i % 97) as f32 * 0.01).collect();
        let b: Vec<f32> = (0..n * k).map(|i| (i % 89) as f32 * 0.01).collect();
        let mut c = vec![0.0; m * n];
        let repeat = (2_000_000_000 / (2 * m * n * k)).max(1);
        let s = median(|| {
            let t = Instant::now();
            for _ in 0..repeat {
                gemm(View::new(&a, m, k), View::new(&b, n, k).t(), black_box(&mut c), false);
            }
            t.elapsed().as_secs_f64() / repeat as f64
        });
        println!("gemm  {m:6} x {k:4} x {n:6}: {:6.0} GFLOP/s", 2e-9 * (m * n * k) as f64 / s);
    }
    for d in [128, 384, 768] {
        let (m, n) = (192, 1024);
        let a: Vec<f32> = (0..m * d).map(|i| (i % 97) as f32 * 0.01).collect();
        let b: Vec<f32> = (0..n * d).map(|i| (i % 89) as f32 * 0.01).collect();
        let (left, right) = (Packed::left(View::new(&a, m, d)), Packed::right(View::new(&b, n, d)));
        let mut c = vec![0.0; m * n];
        let s = median(|| {
            let t = Instant::now();
            for _ in 0..20 {
                tiles(&left, 0..m, &right, 0..n, black_box(&mut c), n);
            }
            t.elapsed().as_secs_f64() / 20.0
        });
        println!("tiles {m:6} x {d:4} x {n:6}: {:6.0} GFLOP/s on one thread", 2e-9 * (m * n * d) as f64 / s);
        let mut out = vec![0.0; 256];
        let s = median(|| {
            let t = Instant::now();
            for _ in 0..200 {
                dots(&a[..d], &b[..256 * d], black_box(&mut out));
            }
            t.elapsed().as_secs_f64() / (200.0 * 256.0)
        });
        println!("dot   d = {d}: {:.1} ns", s * 1e9);
    }
}
