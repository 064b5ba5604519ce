//! Building anew, streaming, stopping and going on, reading beside a writer.

use super::*;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

#[test]
fn building_anew_replaces_the_index_and_its_files() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    index::build(&source(&rows(300, 24)), &path, &params("IVF16,Flat", Metric::L2), &Quiet).unwrap();
    let old = Index::open(&path).unwrap();
    index::build(&source(&rows(200, 25)), &path, &params("LMI4,Flat", Metric::Ip), &Quiet).unwrap();
    let new = Index::open(&path).unwrap();
    assert_eq!((old.len(), new.len(), new.metric()), (300, 200, Metric::Ip));
    assert_eq!(std::fs::read_dir(path.join("segments")).unwrap().count(), 1);
    assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
}

#[test]
fn rows_that_do_not_fit_in_memory_are_streamed() {
    let mut base = rows(5000, 41);
    base.row_mut(4321)[0] = f32::INFINITY;
    let dir = tempfile::tempdir().unwrap();
    for (i, spec) in SPECS.iter().enumerate() {
        let path = dir.path().join(format!("{i}"));
        // a quarter of it holds 682 rows, a half fewer than the smallest segment
        let p = BuildParams { memory_limit: Some(1 << 18), calibrate: 0, on_bad: OnBad::Skip, ..params(spec, Metric::Cosine) };
        let report = index::build(&source(&base), &path, &p, &Quiet).unwrap();
        assert_eq!((report.n, report.skipped, report.segments), (4999, 1, 5));
        assert!(report.trained_on < 700);
        let kept: Vec<(u64, &[f32])> = numbered(&base).into_iter().filter(|x| x.0 != 4321).collect();
        check_exact(&Index::open(&path).unwrap(), rows(20, 42).view(), &kept, 6);
        let p = BuildParams { on_bad: OnBad::Error, ..p };
        let e = index::build(&source(&base), &dir.path().join("never"), &p, &Quiet).unwrap_err();
        assert_eq!(e.to_string(), "base, row 4321: a value is infinite");
    }
}

/// Stops once some rows are stored.
#[derive(Default)]
pub(super) struct StopAt {
    pub(super) rows: u64,
    pub(super) storing: AtomicBool,
    pub(super) stored: AtomicU64,
}

impl voisin::Watch for StopAt {
    fn begin(&self, stage: &str, _: u64, _: &str) {
        self.storing.store(stage == "store", Relaxed);
    }
    fn advance(&self, n: u64) {
        if self.storing.load(Relaxed) {
            self.stored.fetch_add(n, Relaxed);
        }
    }
    fn stopped(&self) -> bool {
        self.storing.load(Relaxed) && self.stored.load(Relaxed) >= self.rows
    }
}

#[test]
fn a_build_that_is_stopped_goes_on() {
    let base = rows(2000, 43);
    let dir = tempfile::tempdir().unwrap();
    let (whole, path) = (dir.path().join("whole"), dir.path().join("x"));
    for memory_limit in [None, Some(1 << 19)] {
        let p = BuildParams { segment_rows: Some(400), memory_limit, calibrate: 0, ..params("IVF16,Flat", Metric::L2) };
        index::build(&source(&base), &whole, &p, &Quiet).unwrap();
        for rows in [0, 800, 1600] {
            let stop = StopAt { rows, ..Default::default() };
            assert!(matches!(index::build(&source(&base), &path, &p, &stop), Err(Error::Stopped)));
        }
        let report = index::build(&source(&base), &path, &p, &Quiet).unwrap();
        assert_eq!((report.resumed, report.objective.len()), (1600, 0));
        for file in ["manifest.json", "model.vsn", "segments/00001-0004.vsn"] {
            assert!(std::fs::read(whole.join(file)).unwrap() == std::fs::read(path.join(file)).unwrap(), "{file}");
        }
        std::fs::remove_dir_all(&whole).unwrap();
        std::fs::remove_dir_all(&path).unwrap();
    }
}

#[test]
fn readers_never_see_a_change_half_done() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x");
    index::build(&source(&rows(300, 51)), &path, &params("IVF4,Flat", Metric::L2), &Quiet).unwrap();
    let done = AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            for i in 0..12 {
                index::add(&path, &source(&rows(20, 52 + i)), &AddParams::default(), &Quiet).unwrap();
                let first = 300 + 20 * i;
                index::remove(&path, &IdList::Numbers((first..first + 20).collect()), false).unwrap();
                index::compact(&path, &Quiet).unwrap();
            }
            done.store(true, Relaxed);
        });
        let mut opened = 0;
        while !done.load(Relaxed) || opened < 5 {
            let index = Index::open(&path).unwrap();
            let found = index.search(rows(3, 60).view(), &all_lists(400)).unwrap().neighbors;
            assert!([300, 320].contains(&index.len()) && found.ids(0).len() as u64 == index.len());
            opened += 1;
        }
    });
}
