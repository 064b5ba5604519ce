//! Exact search in batch and one query at a time, with and without codes: `exact_speed BASE QUERIES METRIC K`. Set
//! RAYON_NUM_THREADS. Prints one JSON object: seconds of the batch, medians of a single query, and whether all agree.
//!
//! Without codes the base lies in memory, as faiss has it; the codes are written to a temporary file, mapped, and the rows
//! they leave are read from the file of the base. A `Flat` index is asked too, after some queries that it keeps codes from.
use std::sync::Arc;
use std::time::Instant;
use voisin::exact::{PrepareParams, Prepared, exact_in_memory, prepare};
use voisin::index::{BuildParams, build};
use voisin::{Index, Quiet, SearchParams, Source, read_all};
use voisin_io::{Role, open};

/// Single queries that are timed.
const SINGLE: usize = 100;

fn seconds<T>(f: impl FnOnce() -> T) -> (f64, T) {
    let start = Instant::now();
    let value = f();
    (start.elapsed().as_secs_f64(), value)
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v[v.len() / 2]
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let [base, queries, metric, k] = &args[..] else { return Err("exact_speed BASE QUERIES METRIC K".into()) };
    let (metric, k) = (metric.parse()?, k.parse()?);
    let source: Arc<dyn Source> = Arc::from(open(base, Role::Base)?);
    let (rows, queries) = (read_all(&*source, metric)?, read_all(&*open(queries, Role::Queries)?, metric)?);
    let codes = std::env::temp_dir().join(format!("exact_speed.{}.codes8", std::process::id()));
    let (prepare_seconds, made) = seconds(|| prepare(&*source, &codes, &PrepareParams { metric, ..Default::default() }, &Quiet));
    let bytes = made?.bytes;
    let prepared = Prepared::open(source.clone(), &codes, metric)?;
    std::fs::remove_file(&codes)?; // it stays mapped
    let folder = tempfile::tempdir()?;
    let params = BuildParams { spec: Some("Flat".parse()?), metric, ..Default::default() };
    build(&*source, folder.path(), &params, &Quiet)?;
    let index = Index::open(folder.path())?;
    let flat = |q: usize, n: usize| index.search(queries.view().rows(q..q + n), &SearchParams { k, ..Default::default() });
    let plain = |q: usize, n: usize| exact_in_memory(rows.view(), queries.view().rows(q..q + n), k, metric);
    let coded = |q: usize, n: usize| prepared.search(queries.view().rows(q..q + n), k);
    let all = queries.n();
    coded(0, 1)?; // every page is there
    let (batch, found) = seconds(|| plain(0, all));
    let (batch_codes, by_codes) = seconds(|| coded(0, all));
    let mut same = found? == by_codes?;
    flat(0, all.min(300))?;
    let (batch_flat, by_index) = seconds(|| flat(0, all));
    let by_index = by_index?.neighbors;
    let (mut single, mut single_codes, mut single_flat) = (Vec::new(), Vec::new(), Vec::new());
    for q in 0..SINGLE.min(all) {
        let (s, a) = seconds(|| plain(q, 1));
        let (t, b) = seconds(|| coded(q, 1));
        let (u, c) = seconds(|| flat(q, 1));
        let (a, c) = (a?, c?.neighbors);
        same &= a == b? && a == c && a.ids(0) == by_index.ids(q);
        single.push(s);
        single_codes.push(t);
        single_flat.push(u);
    }
    println!(
        "{{\"threads\": {}, \"same\": {same}, \"bytes\": {bytes}, \"seconds\": {{\"prepare\": {prepare_seconds}, \"batch\": {batch}, \
         \"batch_codes\": {batch_codes}, \"batch_flat\": {batch_flat}, \"single\": {}, \"single_codes\": {}, \"single_flat\": {}}}}}",
        rayon::current_num_threads(),
        median(single),
        median(single_codes),
        median(single_flat)
    );
    Ok(())
}
