//! Seconds of k-means: `cargo run --release -p voisin --example bench_kmeans -- FILE D [K] [SEEDS]`.
//!
//! FILE holds raw little-endian f32 rows of D values.
use voisin::partition::{KMeansParams, kmeans};
use voisin::{Matrix, Quiet};

fn main() {
    let args: Vec<String> = std::env::args().collect();
    let number = |i: usize, default: usize| args.get(i).map_or(default, |s| s.parse().expect("a number"));
    let (d, k, seeds) = (number(2, 0), number(3, 320), number(4, 3));
    let bytes = std::fs::read(&args[1]).expect("the file");
    let data = Matrix::new(bytes.as_chunks::<4>().0.iter().map(|&b| f32::from_le_bytes(b)).collect(), d);
    for seed in 1..=seeds as u64 {
        let r = kmeans(data.view(), &KMeansParams { k, seed, ..Default::default() }, &Quiet).expect("k-means");
        let last = r.objective.last().copied().unwrap_or(0.0);
        println!("seed {seed}: {:.3} s, {} iterations, objective {last:.6e}", r.seconds, r.objective.len());
    }
}
