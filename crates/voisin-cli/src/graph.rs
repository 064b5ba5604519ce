//! `voisin search` and `voisin info` on the HNSW index of a FAISS file: searched through its own graph.

use std::time::Instant;

use voisin::graph::Graph;
use voisin::{Error, Matrix, Neighbors, Watch, screen};
use voisin_io::faiss;
use voisin_io::truth::{DistanceKind, Truth};

use crate::common::{Bad, Context, check_k, faiss_file, open_queries};
use crate::eval::judge;
use crate::fail::Result;
use crate::outcome::{Outcome, Seconds, count, round, time};
use crate::saving::{Found, Run, SaveArgs};

/// What a search through a graph is asked.
pub struct Ask<'a> {
    pub name: &'a str,
    pub queries: &'a [String],
    pub k: usize,
    pub ef: Option<usize>,
    pub on_bad: Bad,
    pub truth: Option<Truth>,
    pub save: &'a SaveArgs,
    pub warm_up: usize,
}

/// The graph in the file that was named, if it is one of FAISS with a graph.
pub fn named(inputs: &[String]) -> Result<Option<Graph>> {
    Ok(faiss_file(inputs).map(faiss::open_graph).transpose()?.flatten())
}

/// What it is.
pub fn info(graph: &Graph, name: &str, o: &mut Outcome) {
    let (levels, most) = graph.shape();
    let (n, d) = (count(graph.len() as u64), graph.dim());
    o.set("spec", graph.spec()).set("n", graph.len()).set("d", d).set("metric", graph.metric().name());
    o.set("levels", levels).set("ef", graph.ef()).set("neighbours", most);
    o.line(format!("{name}  a file of FAISS: a graph, searched as it is"));
    o.line(format!("spec     {}", graph.spec()));
    o.line(format!("vectors  {n} x {d}, {}", graph.metric()));
    o.line(format!("graph    {levels} levels, up to {most} neighbours on the lowest; ef {} where no --ef is given", graph.ef()));
}

/// Searches it.
pub fn search(graph: &Graph, ask: &Ask<'_>, cx: &Context) -> Result<Outcome> {
    check_k(ask.k, graph.len() as u64, ask.name)?;
    let source = open_queries(ask.queries)?;
    if source.is_empty() {
        return Err(Error::Empty { name: source.name() }.into());
    }
    let (d, expected) = (source.dim(), graph.dim());
    if d != expected {
        let context = format!("the index {}", ask.name);
        return Err(Error::Dimension { name: source.name(), expected, got: d, context }.into());
    }
    let mut rows = Matrix::zeros(source.len() as usize, d);
    source.read(0, rows.data_mut())?;
    let bad = screen(rows.view(), graph.metric());
    if let (Bad::Error, Some(&(row, what))) = (ask.on_bad, bad.first()) {
        let (name, row) = source.locate(row as u64);
        return Err(Error::BadRow { name, row, what }.into());
    }
    // they are searched as zeros, and what they find is left out
    bad.iter().for_each(|b| rows.row_mut(b.0).fill(0.0));
    for _ in 0..ask.warm_up {
        graph.search(rows.view(), ask.k, ask.ef)?;
    }
    cx.screen.check()?;
    let clock = Instant::now();
    let (found, compared) = graph.search(rows.view(), ask.k, ask.ef)?;
    let seconds = clock.elapsed().as_secs_f64();
    let mut neighbors = Neighbors::new(ask.k);
    for i in 0..found.len() {
        let left_out = bad.binary_search_by_key(&i, |b| b.0).is_ok();
        let row = found.distances(i).iter().copied().zip(found.ids(i).iter().copied());
        neighbors.push_row(row.take(if left_out { 0 } else { ask.k }));
    }
    let (n, ef) = (rows.n().max(1) as f64, ask.ef.unwrap_or(graph.ef()));
    let mut o = Outcome::new("search");
    o.set("n", graph.len()).set("d", d).set("queries", rows.n()).set("k", ask.k).set("ef", ef.max(ask.k));
    o.set("metric", graph.metric().name()).set("spec", graph.spec());
    let speed = n / seconds.max(1e-9);
    o.set("queries_per_second", round(speed, 3)).set("scanned_per_query", round(compared as f64 / n, 1));
    o.line(format!(
        "{} queries in {}: {} queries/s, {:.0} of {} vectors compared a query",
        count(rows.n() as u64),
        time(seconds),
        count(speed as u64),
        compared as f64 / n,
        count(graph.len() as u64)
    ));
    if !bad.is_empty() {
        o.set("skipped", bad.len()).line(format!("{} queries that cannot be ranked have no neighbours", count(bad.len() as u64)));
    }
    let how = format!("k={} ef={ef}", ask.k);
    let run = Run {
        data: ask.name.into(),
        n: graph.len() as u64,
        algorithm: graph.spec(),
        params: &how,
        seconds,
        build_seconds: f64::NAN,
    };
    let names = source.ids()?;
    if ask.save.out.is_some() || ask.truth.is_none() {
        let found = Found { neighbors: &neighbors, metric: graph.metric(), base_ids: None, query_ids: names.as_ref(), run };
        ask.save.save(&found, &mut o)?;
    }
    if let Some(truth) = &ask.truth {
        let table = Truth {
            name: "the result".into(),
            neighbors,
            strings: None,
            only_strings: false,
            query_ids: names,
            distances: Some(DistanceKind::Reported),
            metric: Some(graph.metric()),
            size: None,
            notes: Vec::new(),
            gaps: false,
        };
        judge(&table, truth, Some(graph.metric()), &[])?.report(&mut o);
    }
    o.set("seconds", Seconds { search: Some(seconds), total: cx.elapsed(), ..Seconds::default() });
    Ok(o)
}
