//! A file that need not fit into memory: look at it, go through it block by block, search it under a memory limit.
//!
//! `cargo run --release -p voisin-io --example 04_stream_large_file [FILE]`

use voisin::exact::{ExactParams, exact};
use voisin::watch::peak_resident_bytes;
use voisin::{Metric, OnBad, Quiet, for_each_block};
use voisin_io::{Role, open_all};

fn main() -> voisin::Result<()> {
    // One file, several, a pattern or a folder: the rows follow each other as one dataset.
    let demo = concat!(env!("CARGO_MANIFEST_DIR"), "/../../data/debtext-demo.h5");
    let files = [std::env::args().nth(1).unwrap_or_else(|| demo.into())];
    let base = open_all(&files, Role::Base)?;
    println!("{}: {} x {}", base.name(), base.len(), base.dim());

    // Opening read no vectors. Here 1,024 rows are in memory, and the next 1,024 are being read.
    let (mut longest, mut at) = (0.0f32, 0);
    for_each_block(&*base, 0..base.len(), 1024, Metric::L2, OnBad::Error, &Quiet, |block| {
        for (i, row) in block.rows.view().iter().enumerate() {
            let norm = row.iter().map(|x| x * x).sum::<f32>().sqrt();
            if norm > longest {
                (longest, at) = (norm, block.start + i as u64);
            }
        }
        Ok(())
    })?;
    println!("the longest vector is row {at}, of norm {longest:.4}");

    // Exact search streams the base too, in blocks that fit the limit. The first rows are the queries here.
    let mut rows = voisin::Matrix::zeros(base.len().min(100) as usize, base.dim());
    base.read(0, rows.data_mut())?;
    let queries = voisin::MemSource::new("the first rows", rows);
    let params = ExactParams { k: 3, exclude_self: true, memory_limit: Some(256 << 20), ..ExactParams::default() };
    let found = exact(&*base, &queries, &params, &Quiet)?;
    println!("nearest to row 0: {:?} at {:?}", found.neighbors.ids(0), found.neighbors.distances(0));
    if let Some(bytes) = peak_resident_bytes() {
        println!("at most {} MiB were held", bytes >> 20);
    }
    Ok(())
}
