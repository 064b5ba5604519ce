//! Exact neighbours: no index, nothing to tune, and the yardstick for everything else.
//!
//! `cargo run --release -p voisin --example 01_exact`

mod data;

use voisin::exact::{ExactParams, exact};
use voisin::{MemSource, Metric, Quiet};

fn main() -> voisin::Result<()> {
    // Anything that is a `Source` can be searched: here a matrix in memory, with voisin-io any file.
    let base = MemSource::new("base", data::points(10_000, 64, 1));
    let queries = MemSource::new("queries", data::points(100, 64, 2));

    let params = ExactParams { k: 5, metric: Metric::L2, ..ExactParams::default() };
    let found = exact(&base, &queries, &params, &Quiet)?;

    println!("neighbours of query 0:");
    for (id, distance) in found.neighbors.ids(0).iter().zip(found.neighbors.distances(0)) {
        println!("  {id:>5}  {distance:.4}");
    }
    println!("{:.0} queries/s", 100.0 / found.search_seconds);
    Ok(())
}
