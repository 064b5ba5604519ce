//! A learned metric index: a network learns which list a vector belongs to, and says which lists a query visits.
//!
//! `cargo run --release -p voisin --example 03_learned`

mod data;

use voisin::eval::evaluate;
use voisin::exact::exact_in_memory;
use voisin::index::{BuildParams, Index, SearchParams, build};
use voisin::partition::TrainParams;
use voisin::{MemSource, Metric, Quiet};

fn main() -> voisin::Result<()> {
    let (base, queries) = (data::points(10_000, 64, 1), data::points(200, 64, 2));
    let truth = exact_in_memory(base.view(), queries.view(), 10, Metric::L2)?;

    // k-means gives each vector a label, the network learns the labels, and every vector is stored where the network says.
    let dir = tempfile::tempdir().expect("a temporary folder");
    let params = BuildParams {
        spec: Some("LMI64(128),Flat".parse()?), // one hidden layer of 128; without it, 512 and 384
        train: TrainParams { epochs: Some(10), batch: Some(64), ..TrainParams::default() },
        ..BuildParams::default()
    };
    let built = build(&MemSource::new("base", base), dir.path(), &params, &Quiet)?;
    for (i, epoch) in built.epochs.iter().enumerate() {
        println!("epoch {:>2}: loss {:.3}, accuracy {:.3}", i + 1, epoch.loss, epoch.accuracy);
    }

    let index = Index::open(dir.path())?;
    let report = |name: &str, params: &SearchParams| {
        let found = index.search(queries.view(), params)?;
        let recall = evaluate(&found.neighbors, &truth, &[10], None)?.recall[0].1.mean;
        println!("{name:<10} recall@10 {recall:.3}, {:.1} lists a query", found.lists as f64 / 200.0);
        Ok(())
    };
    for nprobe in [1, 2, 4, 8] {
        report(&format!("{nprobe} lists"), &SearchParams { nprobe, ..SearchParams::default() })?;
    }
    // Or let each query decide: visit lists until their probabilities add up. An easy query visits one, a hard one many.
    report("mass 0.9", &SearchParams { nprobe: 64, mass: Some(0.9), ..SearchParams::default() })
}
