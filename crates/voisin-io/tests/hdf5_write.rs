//! HDF5 files that are written hold what h5py and the own reader expect.

mod common;

use voisin::{Matrix, MemSource, Metric, Quiet, Source, StringIds};
use voisin_io::{Role, WriteOptions, hdf5};

fn options(dtype: &str, dataset: &str) -> WriteOptions {
    let some = |s: &str| (!s.is_empty()).then(|| s.to_string());
    WriteOptions { dtype: some(dtype), dataset: some(dataset) }
}

/// 3,000 rows of 5 values that every type holds, ids of many lengths (some empty), enough of them for several heaps.
fn source() -> MemSource {
    let values = (0..3000 * 5).map(|i| (i * 7 % 100) as f32).collect();
    let ids: StringIds = (0..3000).map(|i| format!("é{i}").repeat(i % 60)).collect();
    MemSource::new("mem", Matrix::new(values, 5)).with_ids(Some(ids)).with_metric(Some(Metric::Cosine))
}

#[test]
fn what_is_written_is_read_back() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.h5");
    let s = source();
    for dtype in ["", "f16", "bf16", "f64", "u8", "i8", "u16", "i16", "u32", "i32", "u64", "i64"] {
        hdf5::write(&path, &s, &options(dtype, ""), &Quiet).unwrap();
        let back = hdf5::open(&path, Some("emb"), Role::Base).unwrap();
        assert_eq!((back.len(), back.dim(), back.metric()), (3000, 5, Some(Metric::Cosine)));
        let mut rows = vec![0.0; 15000];
        back.read(0, &mut rows).unwrap();
        assert_eq!(rows, s.view().data(), "{dtype}");
        assert_eq!(back.ids().unwrap(), s.ids().unwrap());
        let wanted = if dtype.is_empty() { "f32" } else { dtype };
        assert_eq!(hdf5::describe(&path).unwrap()[0].dtype, wanted);
    }
}

#[test]
fn groups_are_made() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.h5");
    hdf5::write(&path, &source(), &options("", "/a/b/queries"), &Quiet).unwrap();
    let names: Vec<String> = hdf5::describe(&path).unwrap().into_iter().map(|s| s.name).collect();
    assert_eq!(names, ["a/b/queries", "a/b/ids"]);
    let back = hdf5::open(&path, None, Role::Base).unwrap();
    assert_eq!(back.ids().unwrap().unwrap().get(59), "é59".repeat(59));
}

#[test]
fn h5py_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let (plain, half) = (dir.path().join("x.h5"), dir.path().join("half.h5"));
    hdf5::write(&plain, &source(), &options("", ""), &Quiet).unwrap();
    hdf5::write(&half, &source(), &options("f16", "a/b"), &Quiet).unwrap();
    let script = r#"
import sys, h5py, numpy as np
f = h5py.File(sys.argv[1])
assert list(f) == ["emb", "ids"], list(f)
want = (np.arange(15000) * 7 % 100).reshape(3000, 5)
assert f["emb"].dtype == "<f4" and np.array_equal(f["emb"][:], want)
assert f["ids"].asstr()[:].tolist() == [f"é{i}" * (i % 60) for i in range(3000)]
assert f.attrs["distance"] == "angular"
g = h5py.File(sys.argv[2])
assert g["a/b"].dtype == "<f2" and np.array_equal(g["a/b"][:], want) and g["a/ids"].shape == (3000,)
"#;
    common::python("h5py", script, &[&plain, &half]);
}

#[test]
fn what_cannot_be_written_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.h5");
    let s = MemSource::new("mem", Matrix::new(vec![1.0, 0.5], 1));
    let e = hdf5::write(&path, &s, &options("u8", ""), &Quiet).unwrap_err().to_string();
    assert!(e.contains("row 1, column 0: 0.5 cannot be written as u8"), "{e}");
    let e = hdf5::write(&path, &source(), &options("", "ids"), &Quiet).unwrap_err();
    assert!(e.is_usage(), "{e}");
    let e = hdf5::write(&path, &source(), &options("string", ""), &Quiet).unwrap_err();
    assert!(e.is_usage(), "{e}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}
