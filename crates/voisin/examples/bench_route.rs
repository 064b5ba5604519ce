//! Microseconds of coarse search: `cargo run --release -p voisin --example bench_route -- CENTROIDS QUERIES D [NPROBE]`.
//!
//! Both files hold raw little-endian f32 rows of D values. One query after another on one thread, then all on one thread as a
//! batch; recall of the true `NPROBE` nearest lists (f64), which is 1 below 16,384 centroids.
use std::time::Instant;
use voisin::partition::{Centroids, Partition, RouteParams};
use voisin::{Matrix, Metric};

fn rows(path: &str, d: usize) -> Matrix {
    let bytes = std::fs::read(path).expect("the file");
    Matrix::new(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(), d)
}

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let d: usize = args[3].parse().expect("dimensions");
    let nprobe = args.get(4).map_or(32, |s| s.parse().expect("a number of lists"));
    let (centroids, queries) = (rows(&args[1], d), rows(&args[2], d));
    let clock = Instant::now();
    let partition = Partition::KMeans(Centroids::new(centroids.clone(), Metric::L2));
    println!("{} centroids prepared in {:.3} s", centroids.n(), clock.elapsed().as_secs_f64());
    let (params, n) = (RouteParams { nprobe, mass: None }, queries.n());
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a thread");
    pool.install(|| {
        let mut single: Vec<f64> = Vec::new();
        let mut best = [f64::INFINITY; 2];
        for _ in 0..5 {
            single.clear();
            for i in 0..n {
                let clock = Instant::now();
                partition.route(queries.view().rows(i..i + 1), &params);
                single.push(clock.elapsed().as_secs_f64() * 1e6);
            }
            single.sort_by(f64::total_cmp);
            best[0] = best[0].min(single[n / 2]);
            let clock = Instant::now();
            partition.route(queries.view(), &params);
            best[1] = best[1].min(clock.elapsed().as_secs_f64() * 1e6 / n as f64);
        }
        println!("nprobe {nprobe}: {:.2} us single (median), {:.2} us in a batch", best[0], best[1]);
    });
    let some = n.min(200);
    let routes = partition.route(queries.view().rows(0..some), &params);
    let mut found = 0;
    for i in 0..some {
        let distance = |c: &[f32]| c.iter().zip(queries.row(i)).map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum::<f64>();
        let mut all: Vec<(f64, u32)> = centroids.view().iter().map(distance).zip(0..).collect();
        all.sort_by(|a, b| a.partial_cmp(b).expect("numbers"));
        found += all[..nprobe.min(all.len())].iter().filter(|e| routes.lists(i).contains(&e.1)).count();
    }
    println!("recall of the lists {:.5}", found as f64 / (some * nprobe.min(centroids.n())) as f64);
}
