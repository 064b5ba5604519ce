//! 8-bit codes of the runs of a `Flat` index, made when a run has been compared a few times and kept while it is open.
//!
//! A single query is bound by the memory it reads: codes are a quarter of the vectors, and their bounds are certified
//! ([`crate::exact`]), so what is found stays the same. Codes cost d + 12 bytes a row, within a budget of a quarter of the
//! memory that was available when the index was opened; runs beyond it are compared in f32 as before.

use crate::exact::pass;
use crate::{Metric, Vectors};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use voisin_kernels::{Codes8, int8_available};

/// Queries that compare a run in f32 before its codes are made: these cost about as much as reading it so often.
const ASKED: u32 = 4;
/// What the codes of an index may take where the system does not say what is available.
const BUDGET: u64 = 1 << 30;

/// Bytes that codes of an index may still take.
#[derive(Debug)]
pub(super) struct Budget(AtomicU64);

impl Budget {
    /// A quarter of what is available now.
    pub(super) fn of_memory() -> Budget {
        let available = || {
            let text = std::fs::read_to_string("/proc/meminfo").ok()?;
            let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
            Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? << 10)
        };
        Budget(AtomicU64::new(available().map_or(BUDGET, |bytes| bytes / 4)))
    }

    fn take(&self, bytes: u64) -> bool {
        self.0.fetch_update(Relaxed, Relaxed, |left| left.checked_sub(bytes)).is_ok()
    }
}

/// The codes of a segment's runs.
pub(super) struct Kept {
    runs: Vec<Run>,
}

impl std::fmt::Debug for Kept {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let made = self.runs.iter().filter(|r| matches!(r.codes.get(), Some(Some(_)))).count();
        write!(f, "Kept({made} of {} runs)", self.runs.len())
    }
}

#[derive(Default)]
struct Run {
    asked: AtomicU32,
    /// `None`: no room, or values that codes cannot bound.
    codes: OnceLock<Option<Codes8>>,
}

impl Kept {
    pub(super) fn new(runs: usize) -> Kept {
        Kept { runs: (0..runs).map(|_| Run::default()).collect() }
    }

    /// Nothing is ever kept.
    pub(super) fn nothing() -> Kept {
        Kept { runs: Vec::new() }
    }

    /// The codes of a run whose rows are `rows`, when they are there or when by now they are worth making.
    pub(super) fn codes(
        &self,
        run: usize,
        rows: Vectors<'_>,
        queries: usize,
        metric: Metric,
        budget: &Budget,
    ) -> Option<&Codes8> {
        let run = self.runs.get(run)?;
        if let Some(made) = run.codes.get() {
            return made.as_ref();
        }
        if !int8_available() || rows.d() > pass::MAX_CODED {
            return None;
        }
        let before = run.asked.fetch_add(queries.min(1 << 16) as u32, Relaxed);
        if before.saturating_add(queries as u32) <= ASKED {
            return None;
        }
        let make = || {
            let codes = budget.take((rows.n().next_multiple_of(Codes8::WIDTH) * (rows.d() + 12)) as u64);
            let codes = codes.then(|| pass::encode(rows, &[], metric))?;
            pass::certified(&codes).then_some(codes)
        };
        run.codes.get_or_init(make).as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_are_made_after_some_queries_and_within_the_budget() {
        let rows = [1.0, 2.0, 3.0, 4.0];
        let rows = Vectors::new(&rows, 2);
        let (kept, budget) = (Kept::new(2), Budget(AtomicU64::new(32 * 14 + 5)));
        let ask = |run, queries| kept.codes(run, rows, queries, Metric::L2, &budget).is_some();
        assert!(!ask(0, ASKED as usize), "too few queries");
        assert_eq!(ask(0, 1), int8_available());
        assert!(!ask(1, 100), "no room");
        assert!(!ask(1, 100));
        assert_eq!(ask(0, 1), int8_available());
        if int8_available() {
            assert_eq!(budget.0.load(Relaxed), 5);
        }
        assert!(Kept::nothing().codes(0, rows, 100, Metric::L2, &budget).is_none());
    }
}
