//! Seconds that finding the lists of vectors takes by itself, against which `benches/parts.py` holds the encoding of parts.
//!
//!     cargo run --release -p voisin-io --example assign_speed -- INDEX FILE [THREADS]
//!
//! Prints one JSON object; reading and unit lengths are not timed, the least of three runs is taken.

use std::time::Instant;

use voisin::{Index, Metric, Vectors, read_all};
use voisin_io::{Role, open_all};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let [index, file, threads @ ..] = &words[..] else { return Err("INDEX FILE [THREADS]".into()) };
    if let Some(threads) = threads.first() {
        rayon::ThreadPoolBuilder::new().num_threads(threads.parse()?).build_global()?;
    }
    let index = Index::open(index)?;
    let mut rows = read_all(&*open_all(std::slice::from_ref(file), Role::Base)?, index.metric())?;
    if index.metric() == Metric::Cosine {
        for i in 0..rows.n() {
            let row = rows.row_mut(i);
            let norm = row.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
            row.iter_mut().for_each(|x| *x = (*x as f64 / norm) as f32);
        }
    }
    let d = rows.d();
    index.partition().assign(Vectors::new(&rows.data()[..d * rows.n().min(1000)], d));
    let mut best = f64::INFINITY;
    for _ in 0..3 {
        let start = Instant::now();
        let lists = index.partition().assign(rows.view());
        best = best.min(start.elapsed().as_secs_f64());
        assert_eq!(lists.len(), rows.n());
    }
    println!("{{\"n\": {}, \"d\": {d}, \"nlist\": {}, \"seconds\": {best}}}", rows.n(), index.partition().nlist());
    Ok(())
}
