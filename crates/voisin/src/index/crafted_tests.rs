//! Files with right checksums and wrong content, as only somebody with intent makes them: errors, never a panic.

use super::manifest::{Digest, MANIFEST, Manifest};
use super::params::{AddParams, BuildParams, IdList};
use super::{Index, add, build, remove, verify};
use crate::{Matrix, MemSource, Metric, Quiet, Result, SearchParams, StringIds};
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

fn rows(n: usize, names: std::ops::Range<usize>) -> MemSource {
    let data = (0..n * 3).map(|i| ((i * 7919) % 101) as f32 / 101.0 + 0.01).collect();
    let ids: StringIds = names.map(|i| format!("id{i}")).collect();
    MemSource::new("rows", Matrix::new(data, 3)).with_ids(Some(ids))
}

fn sample(dir: &Path, spec: &str) -> PathBuf {
    let path = dir.join("x");
    let mut p = BuildParams { spec: Some(spec.parse().unwrap()), metric: Metric::Cosine, ..Default::default() };
    p.train.epochs = Some(1);
    build(&rows(20, 0..20), &path, &p, &Quiet).unwrap();
    add(&path, &rows(5, 20..25), &AddParams::default(), &Quiet).unwrap();
    remove(&path, &IdList::Strings(["id3", "id7"].iter().collect()), false).unwrap();
    path
}

/// Asks everything; errors are fine.
fn ask(path: &Path) -> Result<()> {
    let _ = verify(path, &Quiet);
    let index = Index::open(path)?;
    let query = Matrix::new(vec![0.1, 0.2, 0.3], 3);
    for id in 0..25u64 {
        let _ = index.vector_of(id);
        let _ = index.string_id(id);
        let _ = index.find(&format!("id{id}"));
    }
    index.info();
    index.search(query.view(), &SearchParams { k: 30, nprobe: 30, ..Default::default() })?;
    Ok(())
}

fn word(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

/// Writes a container whose blocks were changed, all checksums made right, and the manifest that names it.
fn reseal(path: &Path, file: &str, mut bytes: Vec<u8>) {
    let blocks = u32::from_le_bytes(bytes[12..16].try_into().unwrap()) as usize;
    for entry in (0..blocks).map(|i| 32 + 32 * i) {
        let (at, len) = (word(&bytes, entry + 8) as usize, word(&bytes, entry + 16) as usize);
        let hash = xxh3_64(&bytes[at..at + len]);
        bytes[entry + 24..entry + 32].copy_from_slice(&hash.to_le_bytes());
    }
    let mut hash = Xxh3::new();
    hash.update(&bytes[..24]);
    hash.update(&bytes[32..32 + 32 * blocks]);
    let digest = hash.digest();
    bytes[24..32].copy_from_slice(&digest.to_le_bytes());
    std::fs::write(path.join(file), bytes).unwrap();
    let mut m = Manifest::load(path).unwrap();
    let name = file.trim_start_matches("segments/");
    for e in std::iter::once(&mut m.model)
        .chain(m.segments.iter_mut().flat_map(|s| std::iter::once(&mut s.at).chain(s.deleted.as_mut().map(|d| &mut d.at))))
        .filter(|e| e.file == name)
    {
        e.digest = Digest(digest);
    }
    std::fs::write(path.join(MANIFEST), super::manifest::seal(&m)).unwrap();
}

#[test]
fn words_of_every_block() {
    for spec in
        ["IVF3,Flat", "LMI3(4),Flat", "IVF3,RaBitQ4,Refine(SQ8)", "PCA2,LMI3(4),RaBitQ1,Refine(Flat)", "IVF2,SQ4", "PQ3x4"]
    {
        let dir = tempfile::tempdir().unwrap();
        let path = sample(dir.path(), spec);
        let manifest = std::fs::read(path.join(MANIFEST)).unwrap();
        // the files of plain vectors are the same for every partition
        let files = Manifest::load(&path).unwrap().files();
        for file in files.into_iter().filter(|f| !spec.starts_with("IVF3,Flat") || f == "model.vsn") {
            let good = std::fs::read(path.join(&file)).unwrap();
            let blocks = u32::from_le_bytes(good[12..16].try_into().unwrap()) as usize;
            for at in (32 + 32 * blocks..good.len()).step_by(4) {
                let now = good[at..].iter().take(4).copied().collect::<Vec<u8>>();
                for value in [[0xff; 4], [now[0].wrapping_add(1), 0, 0, 0]] {
                    let mut bad = good.clone();
                    bad[at..at + now.len()].copy_from_slice(&value[..now.len()]);
                    reseal(&path, &file, bad);
                    let _ = ask(&path);
                    std::fs::write(path.join(MANIFEST), &manifest).unwrap();
                }
            }
            std::fs::write(path.join(&file), good).unwrap();
        }
        ask(&path).unwrap();
    }
}

#[test]
fn an_index_of_the_first_format_is_to_be_built_anew() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), "IVF3,Flat");
    let value: serde_json::Value = serde_json::from_slice(&std::fs::read(path.join(MANIFEST)).unwrap()).unwrap();
    let serde_json::Value::Object(mut fields) = value else { panic!("an object") };
    fields.remove("checksum");
    fields.insert("format".into(), 1.into());
    std::fs::write(path.join(MANIFEST), super::manifest::seal(&fields)).unwrap();
    for e in [Index::open(&path).unwrap_err(), verify(&path, &Quiet).unwrap_err()] {
        assert!(e.to_string().contains("format 1") && e.to_string().contains("anew"), "{e}");
    }
    let p = BuildParams { spec: Some("Flat".parse().unwrap()), ..Default::default() };
    build(&rows(9, 0..9), &path, &p, &Quiet).unwrap();
    assert_eq!(Index::open(&path).unwrap().len(), 9);
}

#[test]
fn numbers_and_names_of_the_manifest() {
    let dir = tempfile::tempdir().unwrap();
    let path = sample(dir.path(), "IVF3,Flat");
    let good = std::fs::read(path.join(MANIFEST)).unwrap();
    let value: serde_json::Value = serde_json::from_slice(&good).unwrap();
    let mut text = serde_json::to_string(&value).unwrap();
    text.truncate(text.rfind(",\"checksum\"").unwrap());
    text.push('}');
    let changes = [
        ("\"d\":3", "\"d\":0"),
        ("\"d\":3", "\"d\":18446744073709551615"),
        ("\"n\":23", "\"n\":18446744073709551615"),
        ("\"rows\":20", "\"rows\":18446744073709551615"),
        ("\"rows\":20", "\"rows\":1"),
        ("\"count\":2", "\"count\":21"),
        ("IVF3,Flat", "IVF16777216,Flat"),
        ("IVF3,Flat", "LMI16777216(65536-65536),Flat"),
        ("IVF3,Flat", "Flat"),
        ("IVF3,Flat", "PQ8"),
        ("cosine", "l2"),
        ("strings", "numbers"),
        ("model.vsn", "../model.vsn"),
        ("model.vsn", "00001-0000.vsn"),
        ("00001-0000.vsn", ".."),
        ("00002-0000.vsn", "00001-0000.vsn"),
        ("\"generation\":3", "\"generation\":-1"),
        ("\"metric\"", "\"metrics\""),
    ];
    for (from, to) in changes {
        assert!(text.contains(from), "{from} in {text}");
        let changed: serde_json::Value = serde_json::from_str(&text.replacen(from, to, 1)).unwrap();
        std::fs::write(path.join(MANIFEST), super::manifest::seal(&changed)).unwrap();
        assert!(Index::open(&path).is_err() || verify(&path, &Quiet).is_ok_and(|v| !v.problems.is_empty()), "{from} -> {to}");
        let _ = ask(&path);
    }
    std::fs::write(path.join(MANIFEST), good).unwrap();
    ask(&path).unwrap();
}
