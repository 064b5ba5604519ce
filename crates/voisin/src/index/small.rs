//! Comparing queries with a few rows, wherever they are stored.

use super::coded::{Candidate, rank_again};
use super::opened::{Opened, Place};
use super::scan::Queries;
use crate::encode::estimate::{Limit, Run, Scratch};
use crate::{Result, TopK};

/// Rows by the runs they lie in, all of them visited.
pub(super) struct Rows {
    runs: Vec<InRun>,
}

struct InRun {
    part: usize,
    run: usize,
    list: usize,
    /// Rows within the run, ascending.
    rows: Vec<u32>,
}

impl Rows {
    /// Groups `places`, which ascend, by run and checks what will be read of them.
    pub(super) fn gather(index: &Opened, places: &[Place]) -> Result<Rows> {
        let mut runs: Vec<InRun> = Vec::new();
        for &(part, row) in places {
            let segment = &index.parts[part].segment;
            let run = segment.run_of(row);
            if runs.last().is_none_or(|r| (r.part, r.run) != (part, run)) {
                segment.visit(run)?;
                runs.push(InRun { part, run, list: segment.list_of(run), rows: Vec::new() });
            }
            if index.refine.is_some() {
                segment.visit_refine(row)?;
            }
            let first = segment.runs()[run].start as usize;
            runs.last_mut().expect("one was pushed").rows.push((row - first) as u32);
        }
        Ok(Rows { runs })
    }

    /// The k best of them for a query: by refinement vectors where there are any, else as the codes say.
    pub(super) fn best(&self, index: &Opened, queries: &Queries<'_>, q: usize, k: usize) -> Result<Vec<(f64, u64)>> {
        let exclude = (queries.exclude)(q);
        let metric = index.manifest.metric;
        // refinement vectors decide alone where there are any
        let code = if index.refine.is_some() { None } else { index.codec.estimator() };
        let prepared = queries.prepared.row(q);
        let ranked = if index.codes_are_vectors() { queries.rows.row(q) } else { prepared };
        let norm = metric.exact_norm(ranked);
        let asked = code.map(|c| c.ask(queries.prepared.rows(q..q + 1)));
        let (mut top, mut all) = (TopK::new(k), Vec::new());
        let (mut scratch, mut hits, mut row) = (Scratch::default(), Vec::new(), Vec::new());
        for r in &self.runs {
            let segment = &index.parts[r.part].segment;
            let content = segment.content(r.run);
            let fits = |i: &&u32| exclude != Some(content.id(**i as usize));
            let mut candidate = |i: u32, rank: f32| all.push(Candidate { rank, part: r.part as u32, run: r.run as u32, row: i });
            match (index.refine.is_some(), code, &asked) {
                (true, ..) => r.rows.iter().filter(fits).for_each(|&i| candidate(i, 0.0)),
                (false, Some(code), Some(asked)) => {
                    let shared = code.shared(metric, prepared, index.centre(r.list).unwrap_or(&[]));
                    let run = Run { bytes: content.codes, n: content.ids.len() };
                    hits.clear();
                    code.scan((asked, 0), run, shared, Limit { rank: f32::INFINITY, keep: usize::MAX }, &mut scratch, &mut hits);
                    let wanted = |h: &&(u32, f32)| r.rows.binary_search(&h.0).is_ok() && fits(&&h.0);
                    hits.iter().filter(wanted).for_each(|h| candidate(h.0, h.1));
                }
                _ => {
                    for &i in r.rows.iter().filter(fits) {
                        let key = segment.with_row(r.run, i as usize, &mut row, |x| metric.exact_key_of(ranked, norm, x));
                        top.push(key, content.id(i as usize));
                    }
                }
            }
        }
        if all.is_empty() {
            Ok(top.into_sorted())
        } else {
            rank_again(index, queries.rows.row(q), prepared, (&all, f32::INFINITY), k)
        }
    }
}
