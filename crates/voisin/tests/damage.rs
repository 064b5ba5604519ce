//! Damaged indexes: whatever is done to a file gives an error or changes nothing; it never panics and is never believed.

use std::path::{Path, PathBuf};
use voisin::index::{self, AddParams, BuildParams, IdList};
use voisin::{Error, Index, Matrix, MemSource, Metric, Quiet, Result, SearchParams, StringIds};

const N: usize = 26;
const D: usize = 3;

fn rows(n: usize, salt: usize) -> Matrix {
    Matrix::new((0..n * D).map(|i| ((i * 7919 + salt * 31) % 101) as f32 / 101.0 + 0.01).collect(), D)
}

/// A small index of every kind of file: two segments, one with deletions, string ids.
fn sample(dir: &Path, spec: &str) -> PathBuf {
    let path = dir.join(spec.split(',').next().unwrap());
    let names = |range: std::ops::Range<usize>| -> Option<StringIds> { Some(range.map(|i| format!("id{i}")).collect()) };
    let mut p = BuildParams { spec: Some(spec.parse().unwrap()), metric: Metric::Cosine, ..Default::default() };
    p.train.epochs = Some(1);
    if spec.contains("router") {
        p.queries = Some(rows(12, 3));
    }
    index::build(&MemSource::new("base", rows(N, 0)).with_ids(names(0..N)), &path, &p, &Quiet).unwrap();
    let more = MemSource::new("more", rows(6, 5)).with_ids(names(N..N + 6));
    index::add(&path, &more, &AddParams::default(), &Quiet).unwrap();
    index::remove(&path, &IdList::Strings(["id3", "id7"].iter().collect()), false).unwrap();
    path
}

/// All that an index can be asked.
fn answers(path: &Path) -> Result<String> {
    let index = Index::open(path)?;
    let found = index.search(rows(2, 9).view(), &SearchParams { k: 40, nprobe: usize::MAX, ..Default::default() })?.neighbors;
    let mut text = format!("{:?} {:?} {:?}", found, index.list_sizes(), index.metric());
    for i in 0..N + 6 {
        let number = index.find(&format!("id{i}"))?;
        text.push_str(&format!("{number:?}"));
        if let Some(n) = number {
            text.push_str(&format!("{:?} {:?}", index.string_id(n)?, index.vector_of(n)?));
        }
    }
    Ok(text)
}

fn files(path: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = [path.to_owned(), path.join("segments")]
        .iter()
        .flat_map(|folder| std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path()))
        .filter(|p| p.is_file() && !p.ends_with("lock"))
        .collect();
    all.sort();
    all
}

/// `damage` was done to a file: it is reported, and no answer is wrong.
fn check(path: &Path, want: &str, noticed: &mut usize, what: &dyn Fn() -> String) {
    match answers(path) {
        Ok(got) => assert_eq!(got, want, "{}", what()),
        Err(e) => assert!(e.to_string().lines().count() == 1, "{e}"),
    }
    match index::verify(path, &Quiet) {
        Ok(report) => assert!(!report.problems.is_empty(), "{}", what()),
        Err(_) => *noticed += 1,
    }
}

#[test]
fn every_byte_of_every_file() {
    for (spec, step) in [
        ("Flat", 7),
        ("IVF3,Flat", 5),
        ("IVF3(router),Flat", 5),
        ("LMI3(4),Flat", 1),
        ("PCA2,IVF3,RaBitQ4,Refine(SQ8)", 3),
        ("RaBitQ1,Refine(Flat)", 3),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let path = sample(dir.path(), spec);
        let want = answers(&path).unwrap();
        let all = files(&path);
        let calibrated = all.iter().filter(|f| f.ends_with("calibration.json")).count();
        assert_eq!(all.len(), 5 + calibrated, "{all:?}");
        let mut noticed = 0;
        for file in &all {
            let good = std::fs::read(file).unwrap();
            for at in (0..good.len()).step_by(step) {
                let mut bad = good.clone();
                bad[at] ^= 1 << (at % 8);
                std::fs::write(file, &bad).unwrap();
                check(&path, &want, &mut noticed, &|| format!("byte {at} of {}", file.display()));
            }
            std::fs::write(file, &good).unwrap();
        }
        assert_eq!(answers(&path).unwrap(), want);
        assert!(noticed > 0);
    }
}

#[test]
fn every_length_of_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), "IVF3,RaBitQ2,Refine(F16)");
    let want = answers(&path).unwrap();
    let mut noticed = 0;
    for file in &files(&path) {
        let good = std::fs::read(file).unwrap();
        for len in (0..good.len()).step_by(3).chain([good.len() - 1]) {
            std::fs::write(file, &good[..len]).unwrap();
            check(&path, &want, &mut noticed, &|| format!("{} cut to {len}", file.display()));
        }
        std::fs::write(file, [&good[..], &[0; 64]].concat()).unwrap();
        check(&path, &want, &mut noticed, &|| format!("{} longer", file.display()));
        std::fs::remove_file(file).unwrap();
        check(&path, &want, &mut noticed, &|| format!("{} missing", file.display()));
        std::fs::write(file, &good).unwrap();
    }
}

#[test]
fn files_of_another_index_are_noticed() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), "IVF3,Flat");
    let p = BuildParams { spec: Some("IVF3,Flat".parse().unwrap()), metric: Metric::Cosine, seed: 9, ..Default::default() };
    let other = dir.path().join("other");
    let names: StringIds = (0..N).map(|i| format!("id{i}")).collect();
    index::build(&MemSource::new("base", rows(N, 1)).with_ids(Some(names)), &other, &p, &Quiet).unwrap();
    for file in ["model.vsn", "segments/00001-0000.vsn"] {
        let good = std::fs::read(path.join(file)).unwrap();
        std::fs::copy(other.join(file), path.join(file)).unwrap();
        let e = Index::open(&path).unwrap_err();
        assert!(matches!(&e, Error::Corrupt { path, .. } if path.ends_with(file)), "{e}");
        std::fs::write(path.join(file), good).unwrap();
    }
}

#[test]
fn a_newer_format_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), "Flat");
    let manifest = path.join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap().replace("\"format\": 2", "\"format\": 3");
    std::fs::write(&manifest, text).unwrap();
    for e in [
        Index::open(&path).map(|_| ()).unwrap_err(),
        index::verify(&path, &Quiet).map(|_| ()).unwrap_err(),
        index::compact(&path, &Quiet).map(|_| ()).unwrap_err(),
        index::build(&MemSource::new("base", rows(N, 1)), &path, &BuildParams::default(), &Quiet).map(|_| ()).unwrap_err(),
    ] {
        assert!(matches!(e, Error::NewerFormat { found: 3, supported: 2, .. }), "{e}");
    }
}

#[test]
fn a_damaged_index_can_be_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), "Flat");
    std::fs::write(path.join("manifest.json"), "{}").unwrap();
    assert!(matches!(Index::open(&path), Err(Error::Corrupt { .. })));
    index::build(&MemSource::new("base", rows(N, 1)), &path, &BuildParams::default(), &Quiet).unwrap();
    assert_eq!(Index::open(&path).unwrap().len(), N as u64);
    assert_eq!(files(&path).len(), 3);
    assert!(index::verify(&path, &Quiet).unwrap().problems.is_empty());
}
