//! Stopping after every single step on disk: what was there before is still there, and the next run completes the work.

use super::disk::{Failure, fail_after};
use super::params::{AddParams, BuildParams, Captions, IdList, Ids};
use super::{Index, add, build, compact, remove, verify};
use crate::{Matrix, MemSource, Quiet, Result, SearchParams};
use std::collections::BTreeMap;
use std::path::Path;

pub(super) fn rows(n: usize, salt: usize) -> MemSource {
    let data = (0..n * 6).map(|i| ((i * 7919 + salt * 104_729) % 1009) as f32 / 1009.0).collect();
    MemSource::new("rows", Matrix::new(data, 6))
}

/// Plain vectors, and codes that are refined.
pub(super) const SPECS: [&str; 2] = ["IVF4,Flat", "PCA4,IVF4,RaBitQ4,Refine(SQ8)"];
/// What is learned from captions and queries.
const LEARNED: &str = "Paired4(router),SQ4";

fn params() -> BuildParams {
    coded(SPECS[0])
}

pub(super) fn coded(spec: &str) -> BuildParams {
    let mut p = BuildParams { spec: Some(spec.parse().unwrap()), segment_rows: Some(40), seed: 3, ..Default::default() };
    p.kmeans.niter = 3;
    if spec.contains("router") {
        p.queries = Some(Matrix::new(rows(30, 7).view().data().to_vec(), 6));
        p.captions = Some(Captions { source: std::sync::Arc::new(rows(40, 8)), pairs: None });
    }
    p
}

/// Every file of a folder but the lock.
pub(super) fn files(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for folder in [dir.to_owned(), dir.join("segments")] {
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten().filter(|e| e.path().is_file()) {
            let name = entry.path().strip_prefix(dir).unwrap().display().to_string();
            all.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    all.remove("lock");
    all
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to.join("segments")).unwrap();
    for (name, bytes) in files(from) {
        std::fs::write(to.join(name), bytes).unwrap();
    }
}

/// What a search finds, without opening anything anew in between.
pub(super) fn answers(dir: &Path) -> Result<(u64, Vec<u64>)> {
    let index = Index::open(dir)?;
    let p = SearchParams { k: 5, nprobe: 4, ..Default::default() };
    let found = index.search(rows(3, 99).view(), &p)?.neighbors;
    Ok((index.len(), (0..3).flat_map(|i| found.ids(i).to_vec()).collect()))
}

/// Runs `work` on copies of `start`, failing after 0, 1, 2, ... steps, and again without a failure.
///
/// After each failure the index is the old or the new one; after the second run the files are those of an undisturbed run.
fn at_every_step(start: Option<&Path>, kind: Failure, work: &dyn Fn(&Path) -> Result<()>) {
    let temporary = tempfile::tempdir().unwrap();
    let folder = |name: String| {
        let dir = temporary.path().join(name);
        start.inspect(|s| copy(s, &dir));
        dir
    };
    let undisturbed = folder("undisturbed".into());
    let old = start.map(|s| answers(s).unwrap());
    work(&undisturbed).unwrap();
    let new = answers(&undisturbed).unwrap();
    let mut steps = 0;
    loop {
        let dir = folder(format!("{steps}"));
        fail_after(Some(steps), kind);
        let done = work(&dir);
        fail_after(None, kind);
        match (&old, answers(&dir)) {
            (Some(old), Ok(now)) => assert!(now == *old || now == new, "after {steps} steps"),
            (Some(_), Err(e)) => panic!("after {steps} steps: {e}"),
            (None, Ok(now)) => assert!(now == new),
            (None, Err(_)) => assert!(done.is_err()),
        }
        let again = work(&dir);
        // adding what was added before the process died is refused: the addition was complete
        if let Err(e) = again {
            assert!(answers(&dir).unwrap() == new, "after {steps} steps: {e}");
            compact(&dir, &Quiet).ok();
        } else {
            assert_eq!(answers(&dir).unwrap(), new, "after {steps} steps");
        }
        assert!(verify(&dir, &Quiet).unwrap().problems.is_empty(), "after {steps} steps");
        if done.is_ok() {
            break;
        }
        steps += 1;
    }
    assert!(steps > 8, "only {steps} steps seen");
}

#[test]
fn a_build_killed_anywhere_resumes_to_the_same_bytes() {
    for spec in SPECS.into_iter().chain([LEARNED]) {
        let temporary = tempfile::tempdir().unwrap();
        let whole = temporary.path().join("whole");
        let base = rows(150, 1);
        build(&base, &whole, &coded(spec), &Quiet).unwrap();
        let want = files(&whole);
        assert_eq!(want.len(), 3 + 4); // manifest, model, calibration, segments
        let mut resumed = Vec::new();
        for steps in 0.. {
            let dir = temporary.path().join(format!("{steps}"));
            fail_after(Some(steps), Failure::Crash);
            let done = build(&base, &dir, &coded(spec), &Quiet);
            fail_after(None, Failure::Crash);
            assert_eq!(done.is_ok(), files(&dir) == want, "after {steps} steps");
            if done.is_ok() {
                break;
            }
            let complete = Index::open(&dir).is_ok();
            let report = build(&base, &dir, &coded(spec), &Quiet).unwrap();
            resumed.push(report.resumed);
            if complete {
                // the manifest was in place: this was a build over a finished index
                assert_eq!(answers(&dir).unwrap(), answers(&whole).unwrap());
            } else {
                assert_eq!(files(&dir), want, "after {steps} steps");
            }
            assert!(verify(&dir, &Quiet).unwrap().problems.is_empty());
        }
        for rows in [0, 40, 80, 120, 150] {
            assert!(resumed.contains(&rows), "never resumed at {rows}: {resumed:?}");
        }
    }
}

#[test]
fn another_build_does_not_resume_the_first() {
    let temporary = tempfile::tempdir().unwrap();
    let (dir, fresh) = (temporary.path().join("x"), temporary.path().join("fresh"));
    build(&rows(150, 2), &fresh, &params(), &Quiet).unwrap();
    fail_after(Some(40), Failure::Crash);
    assert!(build(&rows(150, 1), &dir, &params(), &Quiet).is_err());
    fail_after(None, Failure::Crash);
    assert!(dir.join("journal.json").exists());
    // the same rows by name and number, but another seed of k-means, and then other rows by other ids
    let other = BuildParams { seed: 4, ..params() };
    assert_eq!(build(&rows(150, 2), &dir, &other, &Quiet).unwrap().resumed, 0);
    assert!(verify(&dir, &Quiet).unwrap().problems.is_empty());
}

#[test]
fn a_build_over_an_index_leaves_the_old_or_the_new_one() {
    for spec in SPECS {
        let temporary = tempfile::tempdir().unwrap();
        let start = temporary.path().join("start");
        build(&rows(90, 5), &start, &coded(spec), &Quiet).unwrap();
        for kind in [Failure::Crash, Failure::Full] {
            at_every_step(Some(&start), kind, &|dir| build(&rows(100, 6), dir, &coded(spec), &Quiet).map(|_| ()));
        }
    }
}

#[test]
fn changes_killed_anywhere_are_complete_or_did_not_happen() {
    for spec in SPECS {
        let temporary = tempfile::tempdir().unwrap();
        let start = temporary.path().join("start");
        build(&rows(100, 1), &start, &coded(spec), &Quiet).unwrap();
        remove(&start, &IdList::Numbers((0..100).step_by(5).collect()), false).unwrap();
        let more = |dir: &Path| {
            let ids = Ids::Given(IdList::Numbers((90..150).collect()));
            let p = AddParams { ids, replace: true, segment_rows: Some(25), ..Default::default() };
            add(dir, &rows(60, 2), &p, &Quiet).map(|_| ())
        };
        for kind in [Failure::Crash, Failure::Full] {
            at_every_step(Some(&start), kind, &more);
            at_every_step(Some(&start), kind, &|dir| remove(dir, &IdList::Numbers((0..99).collect()), true).map(|_| ()));
            at_every_step(Some(&start), kind, &|dir| compact(dir, &Quiet).map(|_| ()));
        }
    }
}

#[test]
fn a_full_disk_leaves_nothing_behind() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("x");
    for steps in 0.. {
        fail_after(Some(steps), Failure::Full);
        let done = build(&rows(30, 1), &dir, &params(), &Quiet);
        fail_after(None, Failure::Full);
        let Err(e) = done else { break };
        assert!(e.to_string().contains("x") && e.hint().is_some_and(|h| h.contains("space")), "{e}");
        assert!(files(&dir).keys().all(|name| !name.ends_with(".tmp")), "after {steps} steps: {:?}", files(&dir).keys());
        let _ = std::fs::remove_dir_all(&dir);
    }
}

#[test]
fn two_writers_are_kept_apart() {
    let temporary = tempfile::tempdir().unwrap();
    let dir = temporary.path().join("x");
    build(&rows(30, 1), &dir, &params(), &Quiet).unwrap();
    let held = super::disk::lock(&dir).unwrap();
    let e = remove(&dir, &IdList::Numbers(vec![1]), false).unwrap_err();
    assert!(e.to_string().contains("another process is changing this index"), "{e}");
    assert!(Index::open(&dir).is_ok(), "readers need no lock");
    drop(held);
    remove(&dir, &IdList::Numbers(vec![1]), false).unwrap();
}
