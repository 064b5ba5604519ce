//! Merging in pieces, stopped after every single step on disk.

use super::crash_tests::{SPECS, answers, coded, files, rows};
use super::disk::{Failure, fail_after};
use super::many::open_all;
use super::merge::{Room, into};
use super::params::{BuildParams, IdList, MergeReport};
use super::{Index, build, remove, verify};
use crate::{Quiet, Result};
use std::path::{Path, PathBuf};

/// Three parts of one model, of 40, 70 and 50 rows, some of them removed.
fn parts(folder: &Path, spec: &str) -> Vec<PathBuf> {
    let names = ["a", "b", "c"].map(|n| folder.join(n));
    build(&rows(40, 1), &names[0], &coded(spec), &Quiet).unwrap();
    for (i, (n, first_id)) in [(70, 40), (50, 110)].into_iter().enumerate() {
        let p = BuildParams { like: Some(names[0].clone()), first_id, ..coded(spec) };
        build(&rows(n, i + 2), &names[i + 1], &p, &Quiet).unwrap();
    }
    remove(&names[1], &IdList::Numbers((40..80).step_by(3).collect()), false).unwrap();
    names.to_vec()
}

/// At most `rows` rows a segment.
fn merged(parts: &[PathBuf], out: &Path, rows: u64) -> Result<MergeReport> {
    into(&open_all(parts)?, out, &Room { limit: Some(u64::MAX), rows }, &Quiet)
}

#[test]
fn segments_of_any_size_find_the_same() {
    for spec in SPECS {
        let temporary = tempfile::tempdir().unwrap();
        let parts = parts(temporary.path(), spec);
        let together = Index::open_all(&parts).unwrap();
        let p = crate::SearchParams { k: 9, nprobe: 3, ..Default::default() };
        let want = together.search(rows(20, 99).view(), &p).unwrap();
        for size in [1, 7, 64, 159, 160] {
            let out = temporary.path().join(format!("{size}"));
            let r = merged(&parts, &out, size).unwrap();
            // ids that were removed count for the size of a piece; a piece without a living one is left out
            assert_eq!((r.n, r.dropped, r.resumed), (146, 14, 0));
            assert!(r.segments <= 160usize.div_ceil(size as usize) && (size < 160 || r.segments == 1), "{size}: {r:?}");
            let index = Index::open(&out).unwrap();
            let found = index.search(rows(20, 99).view(), &p).unwrap();
            assert_eq!((found.neighbors, found.scanned, found.lists), (want.neighbors.clone(), want.scanned, want.lists));
            assert!(verify(&out, &Quiet).unwrap().problems.is_empty());
            assert_eq!(index.calibration(), together.calibration());
        }
        // as large as the format allows: one segment
        let opened = open_all(&parts).unwrap();
        let room = Room::new(&opened, None).unwrap();
        assert_eq!(into(&opened, &temporary.path().join("x"), &room, &Quiet).unwrap().segments, 1);
    }
}

#[test]
fn a_merge_killed_anywhere_resumes_to_the_same_bytes() {
    for spec in SPECS {
        let temporary = tempfile::tempdir().unwrap();
        let parts = parts(temporary.path(), spec);
        let before: Vec<_> = parts.iter().map(|p| files(p)).collect();
        let whole = temporary.path().join("whole");
        merged(&parts, &whole, 64).unwrap();
        let want = files(&whole);
        assert_eq!(want.len(), 3 + 3); // manifest, model, calibration, segments
        let mut resumed = Vec::new();
        let kinds = [Failure::Crash, Failure::Full];
        for kind in kinds.into_iter().take(if spec == SPECS[0] { 2 } else { 1 }) {
            for steps in 0.. {
                let dir = temporary.path().join(format!("{steps}-{}", kind == Failure::Full));
                fail_after(Some(steps), kind);
                let done = merged(&parts, &dir, 64);
                fail_after(None, kind);
                if done.is_ok() {
                    assert!(files(&dir) == want);
                    break;
                }
                let complete = Index::open(&dir).is_ok();
                resumed.push(merged(&parts, &dir, 64).unwrap().resumed);
                if complete {
                    // the manifest was in place: this was a merge over a finished index
                    assert_eq!(answers(&dir).unwrap(), answers(&whole).unwrap());
                } else {
                    assert!(files(&dir) == want, "after {steps} steps");
                }
                assert!(verify(&dir, &Quiet).unwrap().problems.is_empty());
            }
        }
        assert!(resumed.contains(&0) && resumed.contains(&146) && resumed.iter().any(|r| (1..146).contains(r)), "{resumed:?}");
        // the parts are as they were
        assert!(parts.iter().map(|p| files(p)).collect::<Vec<_>>() == before);
    }
}

#[test]
fn a_merge_does_not_resume_another_one() {
    let temporary = tempfile::tempdir().unwrap();
    let parts = parts(temporary.path(), SPECS[0]);
    let (dir, fresh) = (temporary.path().join("x"), temporary.path().join("fresh"));
    fail_after(Some(30), Failure::Crash);
    assert!(merged(&parts, &dir, 64).is_err());
    fail_after(None, Failure::Crash);
    assert!(dir.join("journal.json").exists());
    // a part has changed meanwhile
    remove(&parts[2], &IdList::Numbers(vec![111]), false).unwrap();
    assert_eq!(merged(&parts, &dir, 64).unwrap().resumed, 0);
    merged(&parts, &fresh, 64).unwrap();
    assert!(files(&dir) == files(&fresh));
}
