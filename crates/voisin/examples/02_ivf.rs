//! k-means lists: build an index on disk, open it, and visit more or fewer lists.
//!
//! `cargo run --release -p voisin --example 02_ivf`

mod data;

use voisin::eval::evaluate;
use voisin::exact::exact_in_memory;
use voisin::index::{BuildParams, Index, SearchParams, build};
use voisin::{MemSource, Metric, Quiet};

fn main() -> voisin::Result<()> {
    let (base, queries) = (data::points(20_000, 64, 1), data::points(200, 64, 2));
    let truth = exact_in_memory(base.view(), queries.view(), 10, Metric::L2)?;

    // An index is a folder. The spec is what FAISS calls a factory string.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let params = BuildParams { spec: Some("IVF128,Flat".parse()?), ..BuildParams::default() };
    let built = build(&MemSource::new("base", base), dir.path(), &params, &Quiet)?;
    println!("{}: {} vectors in {:.2} s", built.spec, built.n, built.seconds.total);

    // Opening maps the files; parameters come with every search.
    let index = Index::open(dir.path())?;
    for nprobe in [1, 2, 4, 8, 16, 128] {
        let found = index.search(queries.view(), &SearchParams { k: 10, nprobe, ..SearchParams::default() })?;
        let recall = evaluate(&found.neighbors, &truth, &[10], None)?.recall[0].1.mean;
        println!("{nprobe:>4} lists  recall@10 {recall:.3}  {:>6} vectors compared a query", found.scanned / 200);
    }
    Ok(())
}
