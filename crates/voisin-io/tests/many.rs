//! Many files as one dataset: order, names of rows, ids, limits, faults.

mod common;

use std::path::Path;

use voisin::{Matrix, MemSource, Quiet, Source};
use voisin_io::{Role, WriteOptions, npy, open_all, text};

/// `n` rows of 2 values: the row number in the whole, and half of it.
fn shard(dir: &Path, name: &str, from: usize, n: usize) {
    let rows = Matrix::new((from..from + n).flat_map(|i| [i as f32, i as f32 / 2.0]).collect(), 2);
    let ids = (from..from + n).map(|i| format!("id{i}")).collect();
    let source = MemSource::new(name, rows).with_ids(Some(ids));
    let write = if name.ends_with("npy") { npy::write } else { text::write };
    write(&dir.join(name), &source, &WriteOptions::default(), &Quiet).unwrap();
}

fn inputs(dir: &Path, names: &[&str]) -> Vec<String> {
    names.iter().map(|n| dir.join(n).display().to_string()).collect()
}

fn check(source: &dyn Source, n: usize) {
    assert_eq!((source.len(), source.dim()), (n as u64, 2));
    let mut out = vec![0.0; 2 * n];
    source.read(0, &mut out).unwrap();
    assert!(out.chunks_exact(2).enumerate().all(|(i, r)| r == [i as f32, i as f32 / 2.0]));
    let (start, rows) = (n / 3, n / 2);
    source.read(start as u64, &mut out[..2 * rows]).unwrap();
    assert!(out[..2 * rows].chunks_exact(2).enumerate().all(|(i, r)| r[0] == (start + i) as f32));
}

#[test]
fn shards_follow_each_other() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    let mut at = 0;
    for i in 0..12 {
        shard(d, &format!("img_emb_{i}.npy"), at, i + 1);
        at += i + 1;
    }
    std::fs::write(d.join("metadata_0.parquet"), b"PAR1 not looked at").unwrap();
    std::fs::write(d.join("README.txt"), b"not looked at").unwrap();
    for names in [vec!["img_emb_*.npy"], vec![""], vec!["img_emb_{idx}.npy"], vec!["img_emb_?.npy", "img_emb_1?.npy"]] {
        let source = open_all(&inputs(d, &names), Role::Base).unwrap();
        check(&*source, at);
        let (name, row) = source.locate(at as u64 - 1);
        assert!(name.ends_with("img_emb_11.npy") && row == 11, "{name} {row}");
        assert!(source.locate(0).0.ends_with("img_emb_0.npy") && source.locate(1).0.ends_with("img_emb_1.npy"));
        assert!(source.ids().unwrap().is_none());
    }
    let before = open_all(&inputs(d, &[""]), Role::Base).unwrap().fingerprint();
    assert_eq!(before, open_all(&inputs(d, &["img_emb_{idx}.npy"]), Role::Base).unwrap().fingerprint());
    shard(d, "img_emb_11.npy", 66, 13);
    assert_ne!(before, open_all(&inputs(d, &[""]), Role::Base).unwrap().fingerprint());
}

#[test]
fn ids_of_all_files_or_of_none() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    shard(d, "a.csv", 0, 5);
    shard(d, "b.csv", 5, 4);
    shard(d, "c.npy", 9, 3);
    let both = open_all(&inputs(d, &["a.csv", "b.csv"]), Role::Base).unwrap();
    check(&*both, 9);
    let ids = both.ids().unwrap().unwrap();
    assert!(ids.iter().enumerate().all(|(i, s)| s == format!("id{i}")));
    let mixed = open_all(&inputs(d, &["a.csv", "b.csv", "c.npy"]), Role::Base).unwrap();
    check(&*mixed, 12);
    let e = mixed.ids().unwrap_err().to_string();
    assert!(e.contains("c.npy: it has no string ids, but") && e.contains("a.csv has"), "{e}");
}

#[test]
fn faults_name_both_files() {
    let dir = tempfile::tempdir().unwrap();
    let d = dir.path();
    shard(d, "a.npy", 0, 5);
    let wide = MemSource::new("w", Matrix::zeros(2, 3));
    npy::write(&d.join("b.npy"), &wide, &WriteOptions::default(), &Quiet).unwrap();
    let e = open_all(&inputs(d, &["a.npy", "b.npy"]), Role::Base).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("b.npy: vectors of 3 dimensions where 2 are expected (as in ") && e.contains("a.npy"), "{e}");
    for (name, what) in [("none*.npy", "no file matches"), ("none.npy", "none.npy"), ("x_{idx}.npy", "no file matches")] {
        let e = open_all(&inputs(d, &[name]), Role::Base).map(|_| ()).unwrap_err().to_string();
        assert!(e.contains(what), "{e}");
    }
    assert!(open_all(&[], Role::Base).is_err());
    // a part that is replaced by one of another size while the whole is open
    let whole = open_all(&inputs(d, &["a.npy", "a.npy"]), Role::Base).unwrap();
    assert_eq!(whole.len(), 10);
}

/// More files than descriptors a process usually has.
#[test]
fn thousands_of_files() {
    let dir = common::quick_dir(); // every shard is synced
    let d = dir.path();
    for i in 0..2300 {
        shard(d, &format!("s_{i:05}.npy"), 2 * i, 2);
    }
    let source = open_all(&inputs(d, &["s_{idx}.npy"]), Role::Base).unwrap();
    let open_files = std::fs::read_dir("/proc/self/fd").map(|f| f.count()).unwrap_or(0);
    assert!(open_files < 300, "{open_files} files are open");
    check(&*source, 4600);
    std::fs::remove_file(d.join("s_02000.npy")).unwrap();
    let e = open_all(&inputs(d, &["s_{idx}.npy"]), Role::Base).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("s_02000.npy is missing"), "{e}");
}
