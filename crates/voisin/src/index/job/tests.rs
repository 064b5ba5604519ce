//! Builds in parts, stopped after every step on disk, on a full disk, damaged, run twice: always the bytes of an undisturbed one.

use super::super::disk::{Failure, fail_after};
use super::super::params::{BuildParams, Captions, SearchParams};
use super::super::{Index, build, verify};
use super::*;
use crate::partition::Random;
use crate::{Error, Matrix, MemSource, Quiet, Result, Source, StringIds, Watch};
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Specs with plain vectors, and with a transform, codes and refinement.
const SPECS: [&str; 2] = ["IVF4,Flat", "PCA4,IVF4,RaBitQ4,Refine(SQ8)"];
/// Rows of the files.
const FILES: [u64; 5] = [40, 20, 20, 10, 60];

/// Files in memory.
struct Files(BTreeMap<String, MemSource>);

impl Files {
    fn all(ids: bool) -> Files {
        let all = rows(150, 1);
        let mut first = 0;
        let file = |(i, &n): (usize, &u64)| {
            let data = all.view().rows(first..first + n as usize).data().to_vec();
            let names: StringIds = (first..first + n as usize).map(|i| format!("id {}", i * 7 % 1000)).collect();
            first += n as usize;
            let source = MemSource::new(format!("f{i}"), Matrix::new(data, 6)).with_ids(ids.then_some(names));
            (format!("f{i}"), source)
        };
        Files(FILES.iter().enumerate().map(file).collect())
    }

    fn get(&self, file: &str) -> Result<&MemSource> {
        self.0.get(file).ok_or_else(|| Error::io(file, std::io::ErrorKind::NotFound.into()))
    }

    fn plan(&self) -> Vec<Input> {
        let input =
            |(file, s): (&String, &MemSource)| Input { file: file.clone(), rows: s.len(), present: true, ..Input::default() };
        self.0.iter().map(input).collect()
    }
}

impl Inputs for Files {
    fn look(&self, file: &str) -> Result<Seen> {
        let s = self.get(file)?;
        let strings = s.ids()?.is_some();
        let (rows, d, bytes) = (s.len(), s.dim(), 24 * s.len());
        Ok(Seen { rows, d, dtype: "f32".into(), bytes, strings, metric: None, made_by: None })
    }

    fn open(&self, file: &str) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.get(file)?.clone()))
    }

    fn sha256(&self, file: &str, _: &dyn Watch) -> Result<String> {
        Ok(format!("{:064x}", self.get(file)?.fingerprint()))
    }
}

fn rows(n: usize, salt: usize) -> MemSource {
    let data = (0..n * 6).map(|i| ((i * 7919 + salt * 104_729) % 1009) as f32 / 1009.0).collect();
    MemSource::new("rows", Matrix::new(data, 6))
}

fn params(spec: &str) -> PlanParams {
    let mut build = BuildParams {
        spec: Some(spec.parse().unwrap()),
        segment_rows: Some(40),
        seed: 3,
        calibrate: 0,
        ..BuildParams::default()
    };
    build.kmeans.niter = 3;
    PlanParams { build, parts: 3, d: 6, dir: Some("index".into()), ..PlanParams::default() }
}

/// All steps of a job in a folder, as far as they are not done.
fn work(folder: &Path, spec: &str, files: &Files) -> Result<()> {
    let mut plan = Plan::new(files.plan(), params(spec))?;
    plan.save(&folder.join("plan.json"))?;
    let (dir, how) = (plan.dir(), RunParams::default());
    train(&plan, &dir, files, &how, &Quiet)?;
    for part in 0..plan.parts() {
        run(&plan, &dir, part, files, &how, &Quiet)?;
    }
    commit(&plan, &dir, false, &Quiet).map(|_| ())
}

/// Every file below a folder but locks.
fn tree(dir: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if entry.path().is_dir() {
            all.extend(tree(&entry.path()).into_iter().map(|(n, b)| (format!("{name}/{n}"), b)));
        } else if name != "lock" {
            all.insert(name, std::fs::read(entry.path()).unwrap());
        }
    }
    all
}

fn names(tree: &BTreeMap<String, Vec<u8>>) -> Vec<&str> {
    tree.keys().map(String::as_str).collect()
}

fn same(found: &BTreeMap<String, Vec<u8>>, want: &BTreeMap<String, Vec<u8>>, when: &str) {
    assert_eq!(names(found), names(want), "{when}");
    let other: Vec<_> = want.iter().filter(|(n, b)| &found[*n] != *b).map(|f| f.0).collect();
    assert!(other.is_empty(), "{when}: other bytes in {other:?}");
}

fn undisturbed(spec: &str) -> (tempfile::TempDir, BTreeMap<String, Vec<u8>>) {
    let folder = tempfile::tempdir().unwrap();
    work(folder.path(), spec, &Files::all(false)).unwrap();
    let want = tree(folder.path());
    // plan, manifest, model; receipts of it and of the parts; segments of 40 rows at most: 40 + 20, 20 + 10 + 0, 40 + 20
    assert_eq!(want.len(), 3 + 4 + 5, "{:?}", names(&want));
    (folder, want)
}

#[test]
fn killed_at_any_step_a_job_ends_with_the_same_bytes() {
    let files = Files::all(false);
    for spec in SPECS {
        let (_keep, want) = undisturbed(spec);
        let folder = tempfile::tempdir().unwrap();
        for kind in [Failure::Crash, Failure::Full] {
            if (kind == Failure::Full) != (spec == SPECS[0]) {
                continue; // each of both once, as they take a while
            }
            for steps in 0.. {
                let dir = folder.path().join(format!("{steps}-{}", kind == Failure::Full));
                std::fs::create_dir(&dir).unwrap();
                fail_after(Some(steps), kind);
                let done = work(&dir, spec, &files);
                fail_after(None, kind);
                if kind == Failure::Full && done.is_err() {
                    let left = tree(&dir);
                    assert!(left.keys().all(|n| !n.ends_with(".tmp")), "after {steps} steps: {:?}", names(&left));
                    assert!(left.iter().all(|(n, b)| n.ends_with(".unfinished") || want.get(n) == Some(b)));
                }
                work(&dir, spec, &files).unwrap();
                let mut found = tree(&dir);
                leave_out_leftovers(&mut found);
                same(&found, &want, &format!("after {steps} steps"));
                if done.is_ok() {
                    assert!(steps > 60, "{steps} steps");
                    break;
                }
            }
        }
    }
}

/// Unfinished files of a process that died lie about where it could still be writing (another one of this machine removes them),
/// or where it had just put the manifest in place.
fn leave_out_leftovers(tree: &mut BTreeMap<String, Vec<u8>>) {
    tree.retain(|n, _| !(n.ends_with(".tmp") || n.ends_with(".unfinished") || n.ends_with("journal.json")));
}

#[test]
// fifty times with each spec
fn killed_a_hundred_times_at_random_a_job_and_a_build_end_with_the_same_bytes() {
    let files = Files::all(false);
    let base = rows(150, 1);
    for spec in SPECS {
        let (_keep, want) = undisturbed(spec);
        let whole = tempfile::tempdir().unwrap();
        let how = params(spec).build;
        build(&base, &whole.path().join("b"), &how, &Quiet).unwrap();
        let built = tree(whole.path());
        let mut random = Random::new(11, 1);
        let mut kills = 0;
        while kills < 50 {
            let folder = tempfile::tempdir().unwrap();
            loop {
                fail_after(Some(random.below(40)), Failure::Crash);
                let done = work(folder.path(), spec, &files);
                fail_after(None, Failure::Crash);
                if done.is_ok() {
                    break;
                }
                kills += 1;
            }
            let mut found = tree(folder.path());
            leave_out_leftovers(&mut found);
            same(&found, &want, &format!("{kills} kills"));
        }
        let mut kills = 0;
        while kills < 50 {
            let folder = tempfile::tempdir().unwrap();
            let dir = folder.path().join("b");
            while Index::open(&dir).is_err() {
                kills += 1;
                fail_after(Some(random.below(50)), Failure::Crash);
                let _ = build(&base, &dir, &how, &Quiet);
                fail_after(None, Failure::Crash);
            }
            let mut found = tree(folder.path());
            leave_out_leftovers(&mut found);
            same(&found, &built, &format!("{kills} kills of a build"));
        }
    }
}

#[test]
fn a_job_is_a_build() {
    let files = Files::all(false);
    for spec in SPECS {
        let (folder, found) = undisturbed(spec);
        let whole = folder.path().join("whole");
        // parts end at rows 60, 90, 150 and segments with them: 60 rows and 30 rows divide by 30
        let mut how = params(spec);
        how.build.segment_rows = Some(30);
        build(&rows(150, 1), &whole, &how.build, &Quiet).unwrap();
        let mut plan = Plan::new(files.plan(), PlanParams { dir: Some("thirty".into()), ..how }).unwrap();
        plan.save(&folder.path().join("thirty.json")).unwrap();
        let dir = plan.dir();
        train(&plan, &dir, &files, &RunParams::default(), &Quiet).unwrap();
        for part in [2, 0, 1] {
            run(&plan, &dir, part, &files, &RunParams::default(), &Quiet).unwrap();
        }
        commit(&plan, &dir, true, &Quiet).unwrap();
        let (job, built) = (tree(&dir), tree(&whole));
        for name in names(&built).iter().filter(|n| **n != "manifest.json") {
            assert!(job[*name] == built[*name], "{spec}: {name}");
        }
        assert_eq!(job["model.vsn"], found["index/model.vsn"]);
        let answers = |dir: &Path| {
            let p = SearchParams { k: 9, nprobe: 2, ..SearchParams::default() };
            Index::open(dir).unwrap().search(rows(20, 9).view(), &p).unwrap().neighbors
        };
        let index = folder.path().join("index");
        assert!(answers(&dir) == answers(&whole) && answers(&index) == answers(&whole), "{spec}");
    }
}

#[test]
fn a_flipped_byte_is_found_and_only_that_part_is_done_again() {
    let files = Files::all(false);
    let (folder, want) = undisturbed(SPECS[1]);
    let plan = Plan::load(&folder.path().join("plan.json")).unwrap();
    let (dir, how) = (plan.dir(), RunParams::default());
    let damaged = |s: &JobStatus| s.which(|s| matches!(s, PartState::Damaged { .. }));
    for committed in [true, false] {
        if !committed {
            std::fs::remove_file(dir.join("manifest.json")).unwrap();
        }
        for (file, part) in [
            ("segments/00001-0000.vsn", 0),
            ("segments/00001-0001.vsn", 0),
            ("segments/00001-0002.vsn", 1),
            ("job/part-00002.json", 2),
            ("segments/00001-0004.vsn", 2),
        ] {
            let good = std::fs::read(dir.join(file)).unwrap();
            for at in [9, good.len() / 3, good.len() - 5] {
                let mut bad = good.clone();
                bad[at] ^= 4;
                std::fs::write(dir.join(file), &bad).unwrap();
                assert_eq!(damaged(&status(&plan, &dir, false, &Quiet).unwrap()), [part], "{file}, byte {at}");
                if committed && file.starts_with("seg") {
                    assert!(!verify(&dir, &Quiet).map_or(vec![], |v| v.problems).is_empty(), "{file}, byte {at}");
                }
                let e = commit(&plan, &dir, false, &Quiet).unwrap_err().to_string();
                assert!(e.contains(&format!("parts {part};")), "{e}");
                let all: Vec<bool> = (0..3).map(|p| run(&plan, &dir, p, &files, &how, &Quiet).unwrap().before).collect();
                assert_eq!(all, [part != 0, part != 1, part != 2]);
            }
        }
        for (file, at) in [("model.vsn", 200), ("model.vsn", 9), ("job/model.json", 50)] {
            let mut bad = want[&format!("index/{file}")].clone();
            bad[at] ^= 1;
            std::fs::write(dir.join(file), &bad).unwrap();
            let found = status(&plan, &dir, false, &Quiet).unwrap();
            assert!(matches!(found.model, PartState::Damaged { .. }), "{file}");
            assert_eq!(found.which(|s| *s == PartState::Done), [0, 1, 2], "{file}");
            let e = commit(&plan, &dir, false, &Quiet).unwrap_err().to_string();
            assert!(e.contains("the model: ") && e.contains("job train"), "{e}");
            assert!(!train(&plan, &dir, &files, &how, &Quiet).unwrap().before);
        }
    }
    assert!(!commit(&plan, &dir, false, &Quiet).unwrap().before);
    // a damaged manifest stops nobody, and is made again
    let mut bad = want["index/manifest.json"].clone();
    bad[40] ^= 1;
    std::fs::write(dir.join("manifest.json"), &bad).unwrap();
    let found = status(&plan, &dir, false, &Quiet).unwrap();
    assert!(found.manifest.is_some() && !found.committed);
    assert!(train(&plan, &dir, &files, &how, &Quiet).unwrap().before);
    assert!(run(&plan, &dir, 1, &files, &how, &Quiet).unwrap().before);
    let again = commit(&plan, &dir, false, &Quiet).unwrap();
    assert!(again.replaced.is_some() && !again.before);
    assert!(commit(&plan, &dir, false, &Quiet).unwrap().before);
    same(&tree(folder.path()), &want, "repaired");
}

#[test]
fn parts_run_twice_at_once_and_in_any_order_give_the_same_bytes() {
    let (_keep, want) = undisturbed(SPECS[1]);
    let (folder, files) = (tempfile::tempdir().unwrap(), Files::all(false));
    let mut plan = Plan::new(files.plan(), params(SPECS[1])).unwrap();
    plan.save(&folder.path().join("plan.json")).unwrap();
    let (dir, how) = (plan.dir(), RunParams::default());
    let e = run(&plan, &dir, 0, &files, &how, &Quiet).unwrap_err();
    assert!(matches!(e, Error::Unfinished { .. }) && e.to_string().contains("job train"), "{e}");
    std::thread::scope(|s| (0..2).for_each(|_| drop(s.spawn(|| train(&plan, &dir, &files, &how, &Quiet).unwrap()))));
    let e = commit(&plan, &dir, false, &Quiet).unwrap_err().to_string();
    assert!(e.contains("parts 0, 1, 2 are not done"), "{e}");
    std::thread::scope(|s| {
        for part in [2, 1, 0, 0, 1, 2] {
            let (plan, dir, files, how) = (&plan, &dir, &files, &how);
            s.spawn(move || run(plan, dir, part, files, how, &Quiet).unwrap());
        }
    });
    commit(&plan, &dir, false, &Quiet).unwrap();
    assert_eq!(commit(&plan, &dir, false, &Quiet).unwrap().info.generation, 1);
    same(&tree(folder.path()), &want, "twice");
    let e = run(&plan, &dir, 3, &files, &how, &Quiet).unwrap_err().to_string();
    assert!(e.contains("0 to 2"), "{e}");
}

#[test]
fn inputs_that_are_missing_short_or_others_are_refused_or_listed() {
    let (folder, mut files) = (tempfile::tempdir().unwrap(), Files::all(false));
    let mut inputs = files.plan();
    inputs[2].sha256 = Some(format!("{:064x}", 5));
    let mut plan = Plan::new(inputs, params(SPECS[0])).unwrap();
    plan.save(&folder.path().join("plan.json")).unwrap();
    let (dir, mut how) = (plan.dir(), RunParams::default());
    train(&plan, &dir, &files, &how, &Quiet).unwrap();
    let e = run(&plan, &dir, 1, &files, &how, &Quiet).unwrap_err().to_string();
    assert!(e.starts_with("f2: its SHA-256 is ") && e.contains("is planned"), "{e}");
    run(&plan, &dir, 0, &files, &how, &Quiet).unwrap();
    // after their part inputs are not needed any more
    let all = Files::all(false);
    files.0.retain(|f, _| !["f0", "f1", "f2"].contains(&f.as_str()));
    let short = all.0["f4"].view().rows(0..50).data().to_vec();
    files.0.insert("f4".into(), MemSource::new("f4", Matrix::new(short, 6)));
    for (part, what) in [(1, "f2: is not there"), (2, "f4: 50 rows where 60 are planned")] {
        let e = run(&plan, &dir, part, &files, &how, &Quiet).unwrap_err().to_string();
        assert!(e.starts_with(what) && e.contains("--allow-missing"), "{e}");
    }
    how.allow_missing = true;
    assert_eq!(run(&plan, &dir, 1, &files, &how, &Quiet).unwrap().n, 10);
    assert_eq!(run(&plan, &dir, 2, &files, &how, &Quiet).unwrap().n, 0);
    // a file that comes before the commit is stored after all
    let late = tempfile::tempdir().unwrap();
    let mut second = Plan::new(all.plan(), params(SPECS[0])).unwrap();
    second.save(&late.path().join("plan.json")).unwrap();
    train(&second, &second.dir(), &all, &how, &Quiet).unwrap();
    let mut without = Files::all(false);
    without.0.remove("f2");
    let part = |files: &Files| run(&second, &second.dir(), 1, files, &how, &Quiet).unwrap();
    let done = |r: PartReport| (r.n, r.missing.len(), r.before);
    assert_eq!([done(part(&without)), done(part(&without))], [(10, 1, false), (10, 1, true)]);
    assert_eq!([done(part(&all)), done(part(&without))], [(30, 0, false), (30, 0, true)]);
    let info = commit(&plan, &dir, false, &Quiet).unwrap().info;
    let missing: Vec<(&str, u64)> = info.missing.iter().map(|m| (m.file.as_str(), m.rows)).collect();
    assert_eq!((info.n, missing), (70, vec![("f2", 20), ("f4", 60)]));
    // ids are those of all planned rows
    let index = Index::open(&dir).unwrap();
    assert_eq!(index.vector_of(85).unwrap().as_deref(), Some(all.0["f3"].view().row(5)));
    assert_eq!(index.vector_of(65).unwrap(), None);
    // another dimension is never left out
    files.0.insert("f3".into(), MemSource::new("f3", Matrix::zeros(10, 7)));
    std::fs::remove_file(dir.join("job/part-00001.json")).unwrap();
    assert!(matches!(run(&plan, &dir, 1, &files, &how, &Quiet), Err(Error::Dimension { .. })));
}

#[test]
fn what_came_from_a_refused_file_is_stored_again_from_the_next_one() {
    let (_keep, want) = undisturbed(SPECS[0]);
    let (folder, good) = (tempfile::tempdir().unwrap(), Files::all(false));
    let change = |file: &str, at: usize, value: f32| {
        let mut files = Files::all(false);
        let mut data = files.0[file].view().data().to_vec();
        data[at] = value;
        files.0.insert(file.into(), MemSource::new(file, Matrix::new(data, 6)));
        files
    };
    let mut plan = Plan::new(good.plan(), params(SPECS[0])).unwrap();
    plan.save(&folder.path().join("plan.json")).unwrap();
    let (dir, how) = (plan.dir(), RunParams::default());
    train(&plan, &dir, &good, &how, &Quiet).unwrap();
    // the rows of f0 are a segment, which is finished before f1 is refused
    let bad = change("f1", 7, f32::NAN);
    let both = Files([("f0".to_string(), change("f0", 3, 9.0).0["f0"].clone()), ("f1".into(), bad.0["f1"].clone())].into());
    for (first, resumed) in [(&both, 0), (&bad, 40)] {
        let e = run(&plan, &dir, 0, first, &how, &Quiet).unwrap_err();
        assert!(matches!(e, Error::BadRow { .. }), "{e}");
        let begun = &status(&plan, &dir, true, &Quiet).unwrap().parts[0];
        assert_eq!(begun.state, PartState::Begun { done: 40 });
        assert_eq!(run(&plan, &dir, 0, &good, &how, &Quiet).unwrap().resumed, resumed);
        for file in ["segments/00001-0000.vsn", "segments/00001-0001.vsn", "job/part-00000.json"] {
            assert!(std::fs::read(dir.join(file)).unwrap() == want[&format!("index/{file}")], "{file}, resumed {resumed}");
        }
        std::fs::remove_file(dir.join("job/part-00000.json")).unwrap();
    }
    // nothing is kept of a file with another digest than the planned one
    let mut inputs = good.plan();
    inputs[0].sha256 = Some(good.sha256("f0", &Quiet).unwrap());
    let mut plan = Plan::new(inputs, PlanParams { dir: Some("planned".into()), ..params(SPECS[0]) }).unwrap();
    plan.save(&folder.path().join("planned.json")).unwrap();
    let dir = plan.dir();
    train(&plan, &dir, &good, &how, &Quiet).unwrap();
    let e = run(&plan, &dir, 0, &change("f0", 3, 9.0), &how, &Quiet).unwrap_err().to_string();
    assert!(e.contains("SHA-256"), "{e}");
    assert!(!tree(&dir).keys().any(|n| n.contains("segments") || n.contains("unfinished")), "{:?}", names(&tree(&dir)));
    assert_eq!(run(&plan, &dir, 0, &good, &how, &Quiet).unwrap().resumed, 0);
    assert!(std::fs::read(dir.join("segments/00001-0000.vsn")).unwrap() == want["index/segments/00001-0000.vsn"]);
}

#[test]
fn string_ids_are_kept_and_stand_once() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Files::all(true));
    let build = |name: &str, files: &Files| {
        let how = PlanParams { strings: true, dir: Some(name.into()), ..params(SPECS[0]) };
        let mut plan = Plan::new(files.plan(), how).unwrap();
        plan.save(&folder.path().join(format!("{name}.json"))).unwrap();
        let (dir, how) = (plan.dir(), RunParams::default());
        train(&plan, &dir, files, &how, &Quiet).unwrap();
        (0..3).for_each(|p| drop(run(&plan, &dir, p, files, &how, &Quiet).unwrap()));
        commit(&plan, &dir, false, &Quiet).map(|_| Index::open(&dir).unwrap())
    };
    let index = build("named", &files).unwrap();
    assert_eq!(index.find("id 14").unwrap(), Some(2));
    assert_eq!(index.string_id(143).unwrap(), Some("id 1"));
    let mut twice = Files::all(true);
    let names: StringIds = (0..10).map(|i| if i == 7 { "id 14".to_string() } else { format!("x{i}") }).collect();
    let source = twice.0["f3"].clone().with_ids(Some(names));
    twice.0.insert("f3".into(), source);
    let e = build("twice", &twice).unwrap_err().to_string();
    assert!(e.starts_with("id id 14: stands twice"), "{e}");
}

#[test]
fn a_job_takes_the_model_of_another_index() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Files::all(false));
    let first = folder.path().join("first");
    build(&rows(90, 2), &first, &params(SPECS[1]).build, &Quiet).unwrap();
    let mut how = params(SPECS[1]);
    (how.build.like, how.build.first_id, how.build.spec) = (Some(first.clone()), 90, None);
    // nothing is read for that
    let absent = files.plan().into_iter().map(|i| Input { present: false, ..i }).collect();
    let mut plan = Plan::new(absent, how).unwrap();
    plan.save(&folder.path().join("plan.json")).unwrap();
    let (dir, how) = (plan.dir(), RunParams::default());
    train(&plan, &dir, &Files(BTreeMap::new()), &how, &Quiet).unwrap();
    (0..3).for_each(|p| drop(run(&plan, &dir, p, &files, &how, &Quiet).unwrap()));
    commit(&plan, &dir, false, &Quiet).unwrap();
    assert_eq!(tree(&dir)["model.vsn"], tree(&first)["model.vsn"]);
    let both = Index::open_all(&[first, dir]).unwrap();
    assert_eq!((both.len(), both.find("x").unwrap()), (240, None));
    let near =
        both.search(files.0["f0"].view().rows(3..4), &SearchParams { k: 1, nprobe: 4, ..SearchParams::default() }).unwrap();
    assert_eq!(near.neighbors.ids(0), [93]);
}

/// Pairs count the rows of all inputs, also where only some of them are trained on.
#[test]
fn captions_find_their_images_among_the_files_trained_on() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Files::all(false));
    let captions: Arc<dyn Source> = Arc::new(rows(33, 9));
    // rows 40..60 and 80..90 are those of f1 and f3; every third caption belongs to a row of another file
    let there = |i: u64| if i.is_multiple_of(2) { 40 + i % 20 } else { 80 + i % 10 };
    let global = |i: u64| Some(if i % 3 == 2 { 100 + i } else { there(i) });
    let local = |i: u64| (i % 3 != 2).then(|| if i.is_multiple_of(2) { i % 20 } else { 20 + i % 10 });
    let of =
        |pair: &dyn Fn(u64) -> Option<u64>| Some(Captions { source: captions.clone(), pairs: Some((0..33).map(pair).collect()) });
    let mut how = params("Paired4,Flat");
    how.files = [("captions".to_string(), vec!["c".to_string()])].into();
    how.train = files.plan().into_iter().filter(|i| i.file == "f1" || i.file == "f3").collect();
    let mut plan = Plan::new(files.plan(), how.clone()).unwrap();
    plan.save(&folder.path().join("plan.json")).unwrap();
    let wrong = RunParams { captions: of(&|_| Some(150)), ..RunParams::default() };
    let e = train(&plan, &plan.dir(), &files, &wrong, &Quiet).unwrap_err().to_string();
    assert!(e.contains("row 150 for caption 0") && e.contains("below 150"), "{e}");
    train(&plan, &plan.dir(), &files, &RunParams { captions: of(&global), ..RunParams::default() }, &Quiet).unwrap();
    let both: Vec<f32> = ["f1", "f3"].iter().flat_map(|f| files.0[*f].view().data().to_vec()).collect();
    let alone = folder.path().join("alone");
    let with = BuildParams { captions: of(&local), ..how.build };
    build(&MemSource::new("both", Matrix::new(both, 6)), &alone, &with, &Quiet).unwrap();
    assert_eq!(tree(&plan.dir())["model.vsn"], tree(&alone)["model.vsn"]);
}

#[test]
fn folders_of_others_are_left_alone() {
    let (folder, files) = (tempfile::tempdir().unwrap(), Files::all(false));
    let (path, how) = (folder.path().join("plan.json"), RunParams::default());
    let mut plan = Plan::new(files.plan(), params(SPECS[0])).unwrap();
    plan.save(&path).unwrap();
    let dir = plan.dir();
    build(&rows(50, 2), &dir, &params(SPECS[0]).build, &Quiet).unwrap();
    for e in [
        train(&plan, &dir, &files, &how, &Quiet).map(|_| ()).unwrap_err(),
        status(&plan, &dir, true, &Quiet).map(|_| ()).unwrap_err(),
        commit(&plan, &dir, true, &Quiet).map(|_| ()).unwrap_err(),
    ] {
        assert!(e.to_string().contains("index"), "{e}");
    }
    assert_eq!(Index::open(&dir).unwrap().len(), 50);
    // a job under way is no place for a build, and one plan a folder
    let other = folder.path().join("other");
    train(&plan, &other, &files, &how, &Quiet).unwrap();
    let e = build(&rows(50, 2), &other, &params(SPECS[0]).build, &Quiet).unwrap_err().to_string();
    assert!(e.contains("in parts is under way"), "{e}");
    let mut second = Plan::new(files.plan(), PlanParams { parts: 2, ..params(SPECS[0]) }).unwrap();
    second.save(&folder.path().join("second.json")).unwrap();
    let e = run(&second, &other, 0, &files, &how, &Quiet).unwrap_err().to_string();
    assert!(e.contains("another plan"), "{e}");
}
