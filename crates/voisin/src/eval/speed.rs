//! How fast an index answers.

use crate::{Error, Neighbors, Result, SearchResult, Vectors, Watch};
use std::time::Instant;

/// How queries are sent.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// All in one call.
    #[default]
    Batch,
    /// One a call, the next when the last is answered.
    Single,
}

impl Mode {
    /// The name on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Mode::Batch => "batch",
            Mode::Single => "single",
        }
    }
}

/// What a run of queries found and took.
#[derive(Clone, Debug)]
pub struct Speed {
    /// One row a query.
    pub neighbors: Neighbors,
    /// Wall time of all queries, median over the repeats.
    pub seconds: f64,
    /// Queries a second, from that time.
    pub queries_per_second: f64,
    /// Milliseconds within which half of the queries are answered when they are sent one by one.
    pub p50_ms: f64,
    /// Milliseconds within which 99 of 100 are.
    pub p99_ms: f64,
    /// Vectors compared, a query.
    pub scanned: f64,
    /// Lists visited, a query.
    pub lists: f64,
}

/// At most this many queries are sent one by one to find the latencies of a batch run.
const LATENCY_SAMPLE: usize = 1000;

/// What is measured: it answers some queries.
pub type Searcher<'a> = dyn Fn(Vectors<'_>) -> Result<SearchResult> + 'a;

/// Searches all queries `repeat` times after one run that warms caches up, on the current rayon pool.
///
/// Latencies are always those of single queries; under [`Mode::Batch`] they come from a pass of its own over at most 1,000 queries.
///
/// # Errors
/// No query, `repeat` of 0, what searching gives; [`Error::Stopped`].
pub fn measure(search: &Searcher<'_>, queries: Vectors<'_>, mode: Mode, repeat: usize, watch: &dyn Watch) -> Result<Speed> {
    if repeat == 0 {
        return Err(Error::param("repeat", 0, "at least 1"));
    }
    if queries.n() == 0 {
        return Err(Error::Empty { name: "queries".into() });
    }
    let warm = search(queries)?;
    let (mut seconds, mut latencies) = (Vec::new(), Vec::new());
    for _ in 0..repeat {
        watch.check()?;
        let start = Instant::now();
        match mode {
            Mode::Batch => drop(search(queries)?),
            Mode::Single => one_by_one(search, queries, &mut latencies)?,
        }
        seconds.push(start.elapsed().as_secs_f64());
    }
    if mode == Mode::Batch {
        one_by_one(search, queries.rows(0..queries.n().min(LATENCY_SAMPLE)), &mut latencies)?;
    }
    let seconds = quantile(&mut seconds, 0.5);
    Ok(Speed {
        seconds,
        queries_per_second: queries.n() as f64 / seconds.max(1e-9),
        p50_ms: quantile(&mut latencies, 0.5) * 1e3,
        p99_ms: quantile(&mut latencies, 0.99) * 1e3,
        scanned: warm.scanned as f64 / queries.n() as f64,
        lists: warm.lists as f64 / queries.n() as f64,
        neighbors: warm.neighbors,
    })
}

fn one_by_one(search: &Searcher<'_>, queries: Vectors<'_>, latencies: &mut Vec<f64>) -> Result<()> {
    for i in 0..queries.n() {
        let start = Instant::now();
        search(queries.rows(i..i + 1))?;
        latencies.push(start.elapsed().as_secs_f64());
    }
    Ok(())
}

/// The smallest value that a share `q` of the values does not exceed; 0 without values.
pub fn quantile(values: &mut [f64], q: f64) -> f64 {
    values.sort_by(f64::total_cmp);
    let rank = (q * values.len() as f64).ceil() as usize;
    values.get(rank.saturating_sub(1)).copied().unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::quantile;

    #[test]
    fn quantiles_are_values_that_occurred() {
        let mut v: Vec<f64> = (1..=100).rev().map(f64::from).collect();
        assert_eq!(
            (quantile(&mut v, 0.5), quantile(&mut v, 0.99), quantile(&mut v, 1.0), quantile(&mut v, 0.0)),
            (50.0, 99.0, 100.0, 1.0)
        );
        assert_eq!((quantile(&mut [3.0, 1.0, 2.0], 0.5), quantile(&mut [], 0.5)), (2.0, 0.0));
    }
}
