//! Seconds and recall of a learned partition, for any number of training recipes:
//! `cargo run --release -p voisin --example bench_lmi -- BASE QUERIES TRUTH D RECIPE...`.
//!
//! BASE and QUERIES hold raw little-endian f32 rows of D values, TRUTH ten u32 row numbers a query. A recipe is
//! `precision:epochs:batch:lr:schedule`, for example `f32:10:256:0.001:constant`, `warm` after the schedule for
//! a warm start; `kmeans` uses the centroids themselves,
//! `default` is what `TrainParams::default()` says. A list of hidden sizes may follow: `bf16:5:512:0.002:linear:256-128`.
use std::time::Instant;
use voisin::partition::{KMeansParams, Partition, Precision, RouteParams, Schedule, TrainParams, kmeans, train_mlp};
use voisin::{Matrix, Metric, Quiet, Vectors};
use voisin_kernels::dot;

const NLIST: usize = 320;

fn words(path: &str) -> Vec<u32> {
    std::fs::read(path).expect("a file").as_chunks::<4>().0.iter().map(|&b| u32::from_le_bytes(b)).collect()
}

fn rows(path: &str, d: usize) -> Matrix {
    Matrix::new(words(path).into_iter().map(f32::from_bits).collect(), d)
}

fn recipe(text: &str, seed: u64) -> TrainParams {
    let mut p = TrainParams { seed, ..TrainParams::default() };
    let words: Vec<&str> = text.split(':').collect();
    if words.len() >= 5 {
        p.precision = if words[0] == "f32" { Precision::F32 } else { Precision::Bf16 };
        p.epochs = Some(words[1].parse().expect("epochs"));
        p.batch = Some(words[2].parse().expect("batch"));
        p.lr = Some(words[3].parse().expect("lr"));
        p.schedule = Some(if words[4].starts_with("constant") { Schedule::Constant } else { Schedule::Linear });
        p.warm_start = Some(words[4].ends_with("warm"));
    }
    if let Some(hidden) = words.get(5) {
        p.hidden = hidden.split('-').map(|h| h.parse().expect("a size")).collect();
    }
    p
}

/// recall@10 when the best 1, 2, 4, 8 and 16 lists are read.
fn recall(partition: &Partition, lists: &[u32], queries: Vectors<'_>, truth: &[u32]) -> Vec<f64> {
    [1, 2, 4, 8, 16]
        .iter()
        .map(|&nprobe| {
            let routes = partition.route(queries, &RouteParams { nprobe, mass: None });
            let hit = |q: usize| truth[q * 10..][..10].iter().filter(|&&t| routes.lists(q).contains(&lists[t as usize])).count();
            (0..queries.n()).map(hit).sum::<usize>() as f64 / (10 * queries.n()) as f64
        })
        .collect()
}

/// Microseconds a query to find 4 lists, all queries at once.
fn route_microseconds(partition: &Partition, queries: Vectors<'_>) -> f64 {
    let start = Instant::now();
    for _ in 0..5 {
        partition.route(queries, &RouteParams { nprobe: 4, mass: None });
    }
    start.elapsed().as_secs_f64() / (5 * queries.n()) as f64 * 1e6
}

/// Microseconds a query to find 4 lists, one after the other.
fn single_microseconds(partition: &Partition, queries: Vectors<'_>) -> f64 {
    let start = Instant::now();
    for i in 0..queries.n() {
        partition.route(queries.rows(i..i + 1), &RouteParams { nprobe: 4, mass: None });
    }
    start.elapsed().as_secs_f64() / queries.n() as f64 * 1e6
}

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let d: usize = args[3].parse().expect("dimensions");
    let (base, queries) = (rows(&args[0], d), rows(&args[1], d));
    let truth = words(&args[2]);
    let seed = std::env::var("SEED").map_or(1, |s| s.parse().expect("a number"));
    // lengths of rows do not matter to the model, but steps do: SIFT has rows of length 512
    let size = dot(base.row(0), base.row(0)).sqrt();
    println!("length of the first row {size:.3}");
    let km = kmeans(base.view(), &KMeansParams { k: NLIST, seed, ..Default::default() }, &Quiet).expect("k-means");
    println!("k-means {:.3} s", km.seconds);
    for text in &args[4..] {
        let (partition, seconds, note) = if text == "kmeans" {
            (Partition::KMeans(voisin::partition::Centroids::new(km.centroids.clone(), Metric::L2)), 0.0, String::new())
        } else {
            let r = train_mlp(base.view(), &km.assignment, NLIST, &recipe(text, seed), &Quiet).expect("training");
            let note = r.epochs.last().map(|e| format!("loss {:.3} accuracy {:.3}", e.loss, e.accuracy));
            (Partition::Learned(r.mlp), r.seconds, note.unwrap_or_default())
        };
        let start = Instant::now();
        let lists = partition.assign(base.view());
        let assign = start.elapsed().as_secs_f64();
        let same = lists.iter().zip(&km.assignment).filter(|(a, b)| a == b).count() as f64 / lists.len() as f64;
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().expect("a pool");
        let (batch, single) =
            pool.install(|| (route_microseconds(&partition, queries.view()), single_microseconds(&partition, queries.view())));
        let recall = recall(&partition, &lists, queries.view(), &truth);
        let recall: Vec<String> = recall.iter().map(|r| format!("{r:.4}")).collect();
        println!(
            "{text:32} train {seconds:6.2} s, assign {assign:.2} s, route {batch:.1} us in a batch, {single:.1} us alone, labels {same:.4}, recall {} | {note}",
            recall.join(" ")
        );
    }
}
