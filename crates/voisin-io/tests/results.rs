//! Results are written as other tools expect them, and tables of neighbours are read back to the same rows.

mod common;

use std::path::Path;
use std::sync::Arc;

use voisin::{Metric, Neighbors, StringIds};
use voisin_io::truth::read_file;
use voisin_io::{AttrValue, DistanceKind, InFile, ResultFile, ResultLayout, Truth, comparable, read_neighbors, write_results};

const ENDINGS: [&str; 10] = ["h5", "hdf5", "json", "npz", "ivecs", "ibin", "csv", "tsv", "trec", "run"];

/// Three queries, k = 2, the second one short.
fn table() -> Neighbors {
    let mut t = Neighbors::new(2);
    t.push_row([(0.5, 7), (1.5, 2)]);
    t.push_row([(0.0, 9)]);
    t.push_row([(0.25, 0), (4.0, 8)]);
    t
}

fn base_ids() -> StringIds {
    (0..10).map(|i| format!("img,\"{i}\"")).collect()
}

fn file(neighbors: &Neighbors, metric: Metric) -> ResultFile<'_> {
    ResultFile { neighbors, metric, base_ids: None, query_ids: None, similarities: false, attributes: Vec::new() }
}

fn same(a: &Neighbors, b: &Neighbors, context: &str) {
    assert_eq!(a.len(), b.len(), "{context}");
    for i in 0..a.len() {
        assert_eq!((a.ids(i), a.distances(i)), (b.ids(i), b.distances(i)), "{context}, row {i}");
    }
}

fn read(path: &Path) -> Truth {
    read_neighbors(path.to_str().unwrap(), None).unwrap()
}

#[test]
fn every_format_reads_back_to_what_was_written() {
    let dir = tempfile::tempdir().unwrap();
    let t = table();
    for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
        for ending in ENDINGS {
            let path = dir.path().join(format!("r.{ending}"));
            write_results(&path, &file(&t, metric), ResultLayout::Default).unwrap();
            let back = read(&path);
            let context = format!("{ending} {metric}");
            if ending == "ivecs" {
                assert_eq!(back.distances, None);
                (0..3).for_each(|i| assert_eq!(back.neighbors.ids(i), t.ids(i), "{context}"));
            } else {
                same(&back.reported(metric), &t, &context);
            }
            assert_eq!((back.only_strings, &back.query_ids), (false, &None), "{context}");
        }
        let path = dir.path().join("sisap.h5");
        write_results(&path, &file(&t, metric), ResultLayout::Sisap).unwrap();
        let back = read(&path);
        same(&back.reported(metric), &t, &format!("sisap {metric}"));
        assert_eq!(back.metric, Some(metric));
        assert_eq!(back.notes[0], "ids of `knns` count from 1");
    }
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), ENDINGS.len() + 1);
}

#[test]
fn at_most_k_of_each_row_are_read() {
    let dir = tempfile::tempdir().unwrap();
    for ending in ENDINGS {
        let path = dir.path().join(format!("r.{ending}"));
        write_results(&path, &file(&table(), Metric::L2), ResultLayout::Default).unwrap();
        let back = read_neighbors(path.to_str().unwrap(), Some(1)).unwrap();
        let ids: Vec<&[u64]> = (0..3).map(|i| back.neighbors.ids(i)).collect();
        assert_eq!((ids, back.neighbors.k()), (vec![&[7][..], &[9], &[0]], 1), "{ending}");
    }
}

#[test]
fn string_ids_come_back() {
    let dir = tempfile::tempdir().unwrap();
    let (t, base) = (table(), base_ids());
    let queries: StringIds = ["q 1", "q\n2", "q3"].into_iter().collect();
    for ending in ["h5", "json", "csv"] {
        let path = dir.path().join(format!("r.{ending}"));
        let out = ResultFile { base_ids: Some(&base), query_ids: Some(&queries), ..file(&t, Metric::L2) };
        write_results(&path, &out, ResultLayout::Default).unwrap();
        let mut back = read(&path);
        assert_eq!(back.query_ids.as_ref(), Some(&queries), "{ending}");
        let want: StringIds = [7, 2, 9, 0, 8].map(|i| base.get(i)).into_iter().collect();
        assert_eq!(back.strings.as_ref(), Some(&want), "{ending}");
        assert_eq!(back.only_strings, ending != "h5");
        back.number(&base).unwrap();
        same(&back.reported(Metric::L2), &t, ending);
    }
    let json = read(&dir.path().join("r.json"));
    let h5 = read(&dir.path().join("r.h5"));
    let (a, b) = comparable(&json, &h5, Metric::L2).unwrap();
    same(&a, &b, "strings on both sides");
    let numbers = dir.path().join("r.npz");
    write_results(&numbers, &file(&t, Metric::L2), ResultLayout::Default).unwrap();
    let e = comparable(&json, &read(&numbers), Metric::L2).unwrap_err().to_string();
    assert!(e.contains("only string ids"), "{e}");
}

#[test]
fn text_formats_to_the_letter() {
    let dir = tempfile::tempdir().unwrap();
    let (t, base) = (table(), base_ids());
    let write = |ending: &str, metric, base_ids| {
        let path = dir.path().join(format!("r.{ending}"));
        write_results(&path, &ResultFile { base_ids, ..file(&t, metric) }, ResultLayout::Default).unwrap();
        std::fs::read_to_string(path).unwrap()
    };
    assert_eq!(
        write("tsv", Metric::L2, None),
        "query\trank\tid\tdistance\n0\t1\t7\t0.5\n0\t2\t2\t1.5\n1\t1\t9\t0\n2\t1\t0\t0.25\n2\t2\t8\t4\n"
    );
    assert!(write("csv", Metric::L2, Some(&base)).starts_with("query,rank,id,distance\n0,1,\"img,\"\"7\"\"\",0.5\n"));
    assert!(write("trec", Metric::L2, None).starts_with("0 Q0 7 1 -0.5 voisin\n0 Q0 2 2 -1.5 voisin\n1 Q0 9 1 0 voisin\n"));
    assert!(write("run", Metric::Ip, None).starts_with("0 Q0 7 1 0.5 voisin\n"));
    assert_eq!(
        write("json", Metric::L2, None),
        r#"[
{"query":0,"neighbors":[{"id":7,"distance":0.5},{"id":2,"distance":1.5}]},
{"query":1,"neighbors":[{"id":9,"distance":0.0}]},
{"query":2,"neighbors":[{"id":0,"distance":0.25},{"id":8,"distance":4.0}]}
]
"#
    );
}

#[test]
fn python_reads_the_same() {
    let dir = tempfile::tempdir().unwrap();
    let t = table();
    let base: StringIds = (0..10).map(|i| format!("é{i}")).collect();
    let attributes = vec![
        ("data".to_string(), AttrValue::Text("debtext".into())),
        ("querytime".to_string(), AttrValue::Float(0.5)),
        ("size".to_string(), AttrValue::Int(100_000)),
    ];
    for (name, layout) in [("a.h5", ResultLayout::Default), ("s.h5", ResultLayout::Sisap)] {
        let out = ResultFile { base_ids: Some(&base), attributes: attributes.clone(), ..file(&t, Metric::Ip) };
        write_results(&dir.path().join(name), &out, layout).unwrap();
    }
    for name in ["a.npz", "a.ivecs", "a.ibin", "a.csv"] {
        write_results(&dir.path().join(name), &file(&t, Metric::L2), ResultLayout::Default).unwrap();
    }
    let script = r#"
import sys, h5py, numpy as np
d = sys.argv[1] + "/"
ids = np.array([[7, 2], [9, -1], [0, 8]])
dist = np.array([[.5, 1.5], [0, np.nan], [.25, 4]], "f4")
def same(a, b): assert a.dtype == b.dtype and np.array_equal(a, b, equal_nan=True), (a, b)
f = h5py.File(d + "a.h5")
same(f["neighbors"][:], ids); same(f["distances"][:], dist)
assert f["ids"].asstr()[:].tolist() == [["é7", "é2"], ["é9", ""], ["é0", "é8"]]
assert f.attrs["distance"] == "ip" and f.attrs["data"] == "debtext" and f.attrs["querytime"] == .5 and f.attrs["size"] == 100000
assert f.attrs["short_rows"] == 1
f = h5py.File(d + "s.h5")
same(f["knns"][:], (ids + 1).astype("i4")); same(f["dists"][:], 1 - dist)
z = np.load(d + "a.npz")
same(z["neighbors"], ids); same(z["distances"], dist)
v = np.fromfile(d + "a.ivecs", "<i4").reshape(3, 3)
assert (v[:, 0] == 2).all() and np.array_equal(v[:, 1:], ids)
b = open(d + "a.ibin", "rb").read()
assert np.frombuffer(b[:8], "<u4").tolist() == [3, 2]
assert np.array_equal(np.frombuffer(b[8:32], "<i4").reshape(3, 2), ids)
same(np.frombuffer(b[32:], "<f4").reshape(3, 2), dist ** 2)
import csv
assert list(csv.DictReader(open(d + "a.csv")))[0] == {"query": "0", "rank": "1", "id": "7", "distance": "0.5"}
"#;
    common::python("h5py, numpy", script, &[dir.path()]);
}

#[test]
fn tables_of_numpy_and_the_benchmarks() {
    let mut want = Neighbors::new(3);
    for i in 0..4 {
        want.push_row((0..if i == 3 { 1 } else { 3 }).map(|j| (i as f32 + j as f32 / 4.0, 10 * i + j)));
    }
    for name in ["truth.ibin", "faiss.npz", "ours.npz"] {
        same(&read(&common::data("results").join(name)).reported(Metric::L2), &want, name);
    }
    for name in ["ids.npy", "ids_fortran.npy", "ids.ibin", "truth.ivecs"] {
        let t = read(&common::data("results").join(name));
        assert_eq!(t.distances, None);
        (0..4).for_each(|i| assert_eq!(t.neighbors.ids(i), want.ids(i), "{name}"));
        assert!(t.neighbors.distances(0).iter().all(|d| d.is_nan()));
    }
}

#[test]
fn tables_in_hdf5() {
    let spec = |name: &str| common::data("hdf5").join(name).to_str().unwrap().to_string();
    let t = read_neighbors(&spec("ann_benchmarks.h5"), None).unwrap();
    assert_eq!(
        (t.neighbors.ids(3), t.metric, t.distances),
        (&[9, 10, 11][..], Some(Metric::Cosine), Some(DistanceKind::Reported))
    );
    let t = read_neighbors(&spec("sisap_truth.h5"), None).unwrap();
    assert_eq!((t.neighbors.ids(3), t.distances), (&[9, 10, 11][..], Some(DistanceKind::OneMinusDot)));
    assert_eq!(t.reported(Metric::Ip).distances(3)[2], 0.5);
    assert_eq!(t.notes, ["ids of `knns` count from 1", "distances are taken as 1 - dot product"]);
    for name in ["sisap2025.h5", "sisap2025.h5::itest", "sisap2025.h5::itest/knns"] {
        let t = read_neighbors(&spec(name), None).unwrap();
        assert_eq!(t.neighbors.ids(1), [3, 4, 5], "{name}");
        assert_eq!(t.name.ends_with("::itest/knns"), name.contains("itest"), "{}", t.name);
    }
    let e = read_neighbors(&spec("types.h5::f32"), None).unwrap_err().to_string();
    assert!(e.contains("data set `f32`: row numbers (integers) are expected"), "{e}");
    let e = read_neighbors(&spec("ilias.h5"), None).unwrap_err().to_string();
    assert!(e.contains("no table of neighbours (`neighbors` or `knns`)"), "{e}");
}

#[test]
fn queries_that_are_missing_in_text_are_empty_rows() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("r.csv");
    std::fs::write(&path, "query,rank,id,distance\r\n2,2,5,0.5\r\n2,1,4,0.25\r\n").unwrap();
    let t = read(&path);
    assert_eq!((t.neighbors.len(), t.neighbors.ids(0), t.neighbors.ids(2)), (3, &[][..], &[4, 5][..]));
    let (a, b) = comparable(&t, &read(&common::data("results/ids.npy")), Metric::L2).unwrap();
    assert_eq!((a.len(), b.len()), (4, 4));
}

#[test]
fn rows_follow_the_names_of_the_queries() {
    let dir = tempfile::tempdir().unwrap();
    let (a, b) = (dir.path().join("a.tsv"), dir.path().join("b.tsv"));
    std::fs::write(&a, "x\t1\t5\t0\ny\t1\t6\t0\n").unwrap();
    std::fs::write(&b, "y\t1\t6\t0\nz\t1\t9\t0\nx\t1\t5\t0\n").unwrap();
    let (a, b) = comparable(&read(&a), &read(&b), Metric::L2).unwrap();
    let rows = |t: &Neighbors| (0..t.len()).map(|i| t.ids(i).to_vec()).collect::<Vec<_>>();
    assert_eq!((rows(&a), rows(&b)), (vec![vec![6], vec![], vec![5]], vec![vec![6], vec![9], vec![5]]));
}

#[test]
fn what_cannot_be_written_says_why_and_leaves_nothing() {
    let dir = tempfile::tempdir().unwrap();
    let try_write =
        |name: &str, f: &ResultFile<'_>, layout| write_results(&dir.path().join(name), f, layout).unwrap_err().to_string();
    let mut big = Neighbors::new(1);
    big.push_row([(0.0, 1 << 31)]);
    for name in ["r.ivecs", "r.ibin"] {
        let e = try_write(name, &file(&big, Metric::L2), ResultLayout::Default);
        assert!(e.contains("query 0: id 2147483648 does not fit the 32-bit ids"), "{e}");
    }
    assert!(try_write("r.h5", &file(&big, Metric::L2), ResultLayout::Sisap).contains("32-bit"));
    assert!(try_write("r.xyz", &file(&big, Metric::L2), ResultLayout::Default).contains(".h5 .hdf5 .json"));
    assert!(try_write("r.csv", &file(&big, Metric::L2), ResultLayout::Sisap).contains("layout = sisap"));
    let few: StringIds = ["a b"].into_iter().collect();
    let e = try_write("r.csv", &ResultFile { base_ids: Some(&few), ..file(&big, Metric::L2) }, ResultLayout::Default);
    assert!(e.contains("id 2147483648 is beyond the last id 0"), "{e}");
    let mut one = Neighbors::new(1);
    one.push_row([(0.0, 0)]);
    let e = try_write("r.trec", &ResultFile { base_ids: Some(&few), ..file(&one, Metric::L2) }, ResultLayout::Default);
    assert!(e.contains("\"a b\""), "{e}");
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn bad_tables_are_errors() {
    let dir = tempfile::tempdir().unwrap();
    for (name, content, wanted) in [
        ("a.csv", "0,1,2\n", "line 1: query, rank, id, distance are expected"),
        ("a.csv", "0,x,2,0\n", "line 1: the rank is no number"),
        ("a.csv", "query,rank,id,distance\n0,1,\"2,0\n", "line 2: a quoted field does not end"),
        ("a.csv", "99999999999,1,2,0\n", "query 99999999999 is beyond any row"),
        ("a.csv", "query,rank,id,distance\n", "no neighbours in it"),
        ("a.trec", "0 Q0 7 1 0.5\n", "line 1: query, Q0, id, rank, score, tag are expected"),
        ("a.json", "[{\"query\": 1}]", "JSON: missing field `neighbors`"),
        ("a.json", "[[[[", "JSON: "),
        ("a.ivecs", "\x03\0\0\0ABCD", "row 0: truncated: 3 ids are expected"),
        ("a.ibin", "\x03\0\0\0\x03\0\0\0ABCD", "3 x 3 ids need 44 bytes, with distances 80; it has 12"),
        ("a.ibin", "\x7f\x7f\x7f\x7f\x7f\x7f\x7f\x7fABCD", "it has 12"),
        ("a.ivecs", "\x02\0\0\0\x7f\x7f\x7f\x7f", "truncated"),
        ("a.txt", "1 2 3", "no table of neighbours"),
    ] {
        let path = dir.path().join(name);
        std::fs::write(&path, content).unwrap();
        let e = read_neighbors(path.to_str().unwrap(), None).unwrap_err().to_string();
        assert!(e.contains(wanted), "{name}: {e}");
    }
    let path = dir.path().join("a.ivecs");
    let row: Vec<u8> = [3i32, 4, -1, 5].iter().flat_map(|x| x.to_le_bytes()).collect();
    std::fs::write(&path, row).unwrap();
    assert!(read_neighbors(path.to_str().unwrap(), None).unwrap_err().to_string().contains("row 0"));
}

#[test]
fn damaged_tables_never_panic() {
    let dir = tempfile::tempdir().unwrap();
    let mut paths: Vec<_> = ["truth.ibin", "ids_fortran.npy", "ids.npy", "faiss.npz", "ours.npz", "truth.ivecs"]
        .map(|n| common::data("results").join(n))
        .to_vec();
    let base = base_ids();
    for ending in ["h5", "json", "csv", "trec"] {
        let path = dir.path().join(format!("whole.{ending}"));
        let base_ids = (ending != "trec").then_some(&base);
        write_results(&path, &ResultFile { base_ids, ..file(&table(), Metric::L2) }, ResultLayout::Default).unwrap();
        paths.push(path);
    }
    for path in paths {
        let bytes = std::fs::read(&path).unwrap();
        let try_read = |bytes: &[u8]| {
            if !bytes.is_empty() {
                let _ = read_file(Arc::new(InFile::from_bytes(&path, bytes.to_vec())), None, None);
            }
        };
        let step = 1 + bytes.len() / 2000;
        for at in (0..bytes.len()).step_by(step) {
            try_read(&bytes[..at]);
            for with in [0xff, 0x01, 0x80] {
                let mut flipped = bytes.clone();
                flipped[at] ^= with;
                try_read(&flipped);
            }
        }
    }
}
