//! `convert` goes from any format to any other with the same values and ids; `inspect` says what a file is.

mod common;

use std::path::Path;

use voisin::{Matrix, MemSource, Metric, Quiet};
use voisin_io::{Role, WriteOptions, convert, inspect, npy, open};

fn fixture(name: &str) -> Vec<String> {
    vec![common::data(name).display().to_string()]
}

fn all(path: &Path) -> Vec<f32> {
    let source = open(&path.display().to_string(), Role::Base).unwrap();
    let mut out = vec![7.0; source.len() as usize * source.dim()];
    source.read(0, &mut out).unwrap();
    out
}

#[test]
fn there_and_back_through_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let base = common::data("arrays/x.u8bin");
    let want = all(&base);
    let mut from = base;
    for name in
        ["a.npy", "a.h5", "a.csv", "a.fvecs", "a.tsv", "a.bvecs", "a.u8bin", "a.txt", "a.fbin", "a.ivecs", "a.hdf5", "a.f16bin"]
    {
        let to = dir.path().join(name);
        let done = convert(&[from.display().to_string()], &to, &WriteOptions::default(), &Quiet).unwrap();
        assert_eq!((done.n, done.d), (7, 6), "{name}");
        assert_eq!(done.bytes, std::fs::metadata(&to).unwrap().len());
        assert_eq!(all(&to), want, "{name}");
        from = to;
    }
}

#[test]
fn ids_go_along_or_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    for (name, left) in [("a.csv", 0), ("a.h5", 0), ("a.npy", 12)] {
        let to = dir.path().join(name);
        let done = convert(&fixture("text/names.tsv"), &to, &WriteOptions::default(), &Quiet).unwrap();
        assert_eq!(done.ids_left_out, left);
        let ids = open(&to.display().to_string(), Role::Base).unwrap().ids().unwrap();
        assert_eq!(ids.map(|ids| ids.get(2).to_string()), (left == 0).then(|| "comma, inside".to_string()));
    }
}

#[test]
fn what_cannot_be_done_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let to = |name: &str| dir.path().join(name);
    let fail = |inputs: &[String], out: &Path| convert(inputs, out, &WriteOptions::default(), &Quiet).unwrap_err();
    let e = fail(&fixture("arrays/x.fbin"), &to("x.xyz"));
    assert!(e.is_usage() && e.to_string().contains(".npy"), "{e}");
    let e = fail(&fixture("arrays/le_i4_C.npy"), &to("x.npy"));
    assert!(e.to_string().contains("row 0, column 0: whole numbers from 2^24 on"), "{e}");
    let e = fail(&fixture("arrays/x.fbin"), &to("x.bvecs"));
    assert!(e.to_string().contains("x.fbin: row 0, column 2: 65504 cannot be written as u8"), "{e}");
    std::fs::copy(common::data("arrays/x.fbin"), to("y.fbin")).unwrap();
    let e = fail(&[to("y.fbin").display().to_string()], &to("y.fbin"));
    assert!(e.is_usage() && e.to_string().contains("another file"), "{e}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
}

fn written(dir: &Path, name: &str, values: Vec<f32>) -> Vec<String> {
    let path = dir.join(name);
    npy::write(&path, &MemSource::new("mem", Matrix::new(values, 2)), &WriteOptions::default(), &Quiet).unwrap();
    vec![path.display().to_string()]
}

#[test]
fn info_tells_what_fits() {
    let dir = tempfile::tempdir().unwrap();
    let info = inspect(&written(dir.path(), "unit.npy", vec![1.0, 0.0, 0.6, 0.8]), &Quiet).unwrap();
    assert_eq!((info.n, info.d, info.dtype.as_deref(), info.format.as_deref()), (Some(2), Some(2), Some("f32"), Some("npy")));
    assert_eq!((info.unit_norm, info.finite, info.suggested_metric), (Some(true), Some(true), Some(Metric::Cosine)));
    let json = serde_json::to_value(&info).unwrap();
    for key in ["n", "d", "dtype", "format", "finite", "unit_norm", "ids"] {
        assert!(json.get(key).is_some(), "{key}");
    }
    assert!(info.to_string().contains("vectors  2 x 2 f32") && info.to_string().contains("unit vectors"), "{info}");

    let info =
        inspect(&written(dir.path(), "bad.npy", vec![1.0, 0.0, f32::NAN, 1.0, 0.0, 0.0, f32::INFINITY, 0.0]), &Quiet).unwrap();
    assert_eq!((info.finite, info.bad_rows.count, info.zero_rows.count), (Some(false), 2, 1));
    assert_eq!(info.bad_rows.first.as_ref().unwrap().1, 1);
    assert!(info.to_string().contains("bad rows: 2, the first is row 1 of"), "{info}");

    let huge = inspect(&written(dir.path(), "huge.npy", vec![3e38, 0.0, 1e-30, 0.0]), &Quiet).unwrap();
    let norms = huge.norms.unwrap();
    assert!(huge.finite == Some(true) && norms.max > 2.9e38 && (norms.min / 1e-30 - 1.0).abs() < 1e-6);

    let info = inspect(&fixture("arrays/x.u8bin"), &Quiet).unwrap();
    assert_eq!((info.suggested_metric, info.dtype.as_deref()), (Some(Metric::L2), Some("u8")));
    let info = inspect(&fixture("text/names.csv"), &Quiet).unwrap();
    assert_eq!(info.ids.as_ref().unwrap().count, 12);
    let info = inspect(&fixture("hdf5/ann_benchmarks.h5"), &Quiet).unwrap();
    assert!(info.metric.is_some() && info.reason.as_deref() == Some("the file names it"));
}

#[test]
fn files_without_vectors_are_listed_all_the_same() {
    let info = inspect(&fixture("arrays/two.npz"), &Quiet).unwrap();
    assert!(info.n.is_none() && info.problem.as_ref().unwrap().contains("2 data sets could be the base"));
    assert_eq!(info.files[0].datasets.len(), 2);
    let both = [fixture("arrays/x.fbin"), fixture("arrays/le_f4_C.npy")].concat();
    let info = inspect(&both, &Quiet).unwrap();
    assert!(info.problem.as_ref().unwrap().contains("vectors of 5 dimensions where 6 are expected"), "{info}");
    assert_eq!(info.format.as_deref(), Some("mixed"));
    assert!(inspect(&fixture("arrays/missing.npy"), &Quiet).is_err());
    assert!(inspect(&fixture("arrays/one.npy"), &Quiet).unwrap().problem.is_some());
}
