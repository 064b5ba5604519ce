//! Seconds of k-means: `cargo run --release -p voisin --example bench_kmeans -- FILE D [K] [SEEDS] [NITER] [OUT]`.
//!
//! FILE holds raw little-endian f32 rows of D values; the centroids of the last seed go to OUT in the same form. Prints too
//! how long all rows then take to be assigned, and how many are in another list than in training.
use std::time::Instant;
use voisin::partition::{Centroids, KMeansParams, Partition, kmeans};
use voisin::{Matrix, Metric, Quiet};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| args.get(i).map_or(default, |s| s.parse().expect("a number"));
    let (d, k, seeds, niter) = (number(2, 0), number(3, 320), number(4, 3), number(5, 25));
    let bytes = std::fs::read(&args[1]).expect("the file");
    let data = Matrix::new(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(), d);
    drop(bytes);
    for seed in 1..=seeds as u64 {
        let r = kmeans(data.view(), &KMeansParams { k, seed, niter, ..Default::default() }, &Quiet).expect("k-means");
        let last = r.objective.last().copied().unwrap_or(0.0);
        println!("seed {seed}: {:.3} s, {} iterations, objective {last:.6e}", r.seconds, r.objective.len());
        println!("  objectives {:?}", r.objective.iter().map(|o| format!("{o:.5e}")).collect::<Vec<_>>());
        println!("  {} splits, largest list {}, {} above 4x the mean", r.splits, r.largest, r.oversized);
        if let Some(out) = args.get(6) {
            let bytes: Vec<u8> = r.centroids.data().iter().flat_map(|x| x.to_le_bytes()).collect();
            std::fs::write(out, bytes).expect("written");
        }
        let clock = Instant::now();
        let partition = Partition::KMeans(Centroids::new(r.centroids, Metric::L2));
        let prepared = clock.elapsed().as_secs_f64();
        let lists = partition.assign(data.view());
        let other = lists.iter().zip(&r.assignment).filter(|(a, b)| a != b).count();
        let share = other as f64 / data.n() as f64 * 100.0;
        println!(
            "  prepared in {prepared:.3} s, assigned in {:.3} s; {share:.2} % differ",
            clock.elapsed().as_secs_f64() - prepared
        );
    }
}
