//! Codes instead of vectors, a recall to aim at, and filters.
//!
//! `cargo run --release -p voisin --example 04_codes`

mod data;

use std::sync::Arc;
use voisin::eval::evaluate;
use voisin::exact::exact_in_memory;
use voisin::index::{BuildParams, FilterKind, IdList, Index, SearchParams, build};
use voisin::{MemSource, Metric, Quiet};

fn main() -> voisin::Result<()> {
    let (base, queries) = (data::points(20_000, 64, 1), data::points(200, 64, 2));
    let truth = exact_in_memory(base.view(), queries.view(), 10, Metric::L2)?;

    // 4 bits a value find candidates, 8 bits a value rank them. The build calibrates itself on queries like those to come.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let params = BuildParams {
        spec: Some("IVF128,RaBitQ4,Refine(SQ8)".parse()?),
        queries: Some(data::points(500, 64, 3)),
        ..BuildParams::default()
    };
    build(&MemSource::new("base", base), dir.path(), &params, &Quiet)?;
    let index = Index::open(dir.path())?;
    let info = index.info();
    println!("{}: {} bytes a vector, {} to refine by", info.spec, info.code_bytes, info.refine_bytes);

    // Each query visits as many lists as it needs.
    for target in [0.8, 0.9, 0.95] {
        let found = index.search(queries.view(), &SearchParams { recall: Some(target), ..SearchParams::default() })?;
        let recall = evaluate(&found.neighbors, &truth, &[10], None)?.recall[0].1.mean;
        println!("aiming at {target}: recall@10 {recall:.3} with {:.1} lists a query", found.lists as f64 / 200.0);
    }

    // Only vectors with even numbers; the filter is compiled once and shared.
    let even = IdList::Numbers((0..20_000).step_by(2).collect());
    let filter = Some(Arc::new(index.filter(&even, FilterKind::Allow)?));
    let found = index.search(queries.view(), &SearchParams { nprobe: 16, filter, ..SearchParams::default() })?;
    println!("among even numbers: {:?}", found.neighbors.ids(0));
    Ok(())
}
