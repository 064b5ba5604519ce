//! How good is a result? Recall by id and by distance, its interval, the worst queries, and the speed.
//!
//! `cargo run --release -p voisin --example 05_evaluate`

mod data;

use voisin::eval::{HeldOut, Mode, evaluate, measure, usual_ks};
use voisin::exact::{ExactParams, exact};
use voisin::index::{BuildParams, Index, SearchParams, build};
use voisin::{MemSource, Quiet};

fn main() -> voisin::Result<()> {
    // A dataset without queries: hold some rows out.
    let all = MemSource::new("all", data::points(10_000, 32, 1));
    let (base, queries) = HeldOut::new(Box::new(all), 500, 7)?;
    let truth = exact(&base, &MemSource::new("queries", queries.clone()), &ExactParams::default(), &Quiet)?.neighbors;

    let dir = tempfile::tempdir().expect("a temporary folder");
    let params = BuildParams { spec: Some("IVF100,Flat".parse()?), ..BuildParams::default() };
    build(&base, dir.path(), &params, &Quiet)?;
    let index = Index::open(dir.path())?;

    println!("nprobe  recall@1  recall@10 (95 % interval)  by distance  worst tenth    mrr  queries/s   p99");
    for nprobe in [1, 4, 16] {
        let params = SearchParams { nprobe, ..SearchParams::default() };
        let speed = measure(&|q| index.search(q, &params), queries.view(), Mode::Batch, 3, &Quiet)?;
        let e = evaluate(&speed.neighbors, &truth, &usual_ks(10), Some(index.metric()))?;
        let (at_1, at_10) = (e.recall[0].1, e.recall[1].1);
        println!(
            "{nprobe:>6}  {:>8.3}  {:>9.3} ({:.3} to {:.3})      {:>11.3}  {:>11.3}  {:.3}  {:>9.0}  {:.2} ms",
            at_1.mean,
            at_10.mean,
            at_10.low,
            at_10.high,
            e.recall_by_distance[1].1.mean,
            at_10.worst_tenth,
            e.mrr,
            speed.queries_per_second,
            speed.p99_ms
        );
    }
    Ok(())
}
