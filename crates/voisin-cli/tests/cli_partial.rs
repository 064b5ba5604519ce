//! One of many things is missing, fails, or is of another kind: what is done all the same, and what is said.

mod run;

use run::{Folder, bad, fvecs, good, json, rows, run};
use serde_json::{Value, json};

const D: usize = 16;

/// Numbered shards of 150 rows, and queries.
fn shards(dir: &Folder, n: usize) -> String {
    let all = rows(n * 150, D, 1);
    for i in 0..n {
        dir.write(&format!("e_{i}.fvecs"), fvecs(&all[i * 150 * D..(i + 1) * 150 * D], D));
    }
    dir.write("q.fvecs", fvecs(&rows(40, D, 2), D))
}

#[test]
fn parts_that_can_be_done_are_done() {
    let dir = Folder::new();
    shards(&dir, 6);
    let plan = dir.file("p.json");
    good(&["job", "plan", "--base", &dir.file("e_*.fvecs"), "--parts", "6", "--index", "IVF4,SQ8", "-o", &plan]);
    let e = bad(&["job", "run", &plan, "--all"], 1);
    assert!(e.matches("no model").count() <= 2, "what all six parts would say ends the run: {e}");
    good(&["job", "train", &plan, "-q"]);
    std::fs::rename(dir.file("e_3.fvecs"), dir.file("away")).unwrap();
    let r = run(&["job", "run", &plan, "--all", "--json"]);
    let v: Value = serde_json::from_str(&r.out).unwrap();
    let done: Vec<u64> = v["parts"].as_array().unwrap().iter().map(|p| p["part"].as_u64().unwrap()).collect();
    assert_eq!((r.code, done), (Some(1), vec![0, 1, 2, 4, 5]), "{v}");
    assert!(v["failed"][0]["part"] == 3 && v["failed"][0]["what"].as_str().unwrap().contains("e_3.fvecs"), "{v}");
    std::fs::rename(dir.file("away"), dir.file("e_3.fvecs")).unwrap();
    good(&["job", "run", &plan, "--all"]);
    // an index is there once the job is committed
    let e = bad(&["search", &dir.file("p"), "--queries", &dir.file("q.fvecs")], 1);
    assert!(e.contains("job commit"), "{e}");
    good(&["job", "commit", &plan]);
}

#[test]
fn a_missing_file_of_two_parts_fails_no_other() {
    let dir = Folder::new();
    shards(&dir, 2);
    let large = dir.write("a_large.fvecs", fvecs(&rows(600, D, 3), D));
    let (plan, small) = (dir.file("p.json"), dir.file("e_*.fvecs"));
    good(&["job", "plan", "--base", &large, &small, "--parts", "4", "--index", "IVF4,SQ8", "-o", &plan]);
    good(&["job", "train", &plan, "-q"]);
    std::fs::remove_file(&large).unwrap();
    let r = run(&["job", "run", &plan, "--all", "--json"]);
    let v: Value = serde_json::from_str(&r.out).unwrap();
    let parts = |key: &str| v[key].as_array().unwrap().iter().map(|p| p["part"].as_u64().unwrap()).collect::<Vec<_>>();
    assert!(r.code == Some(1) && parts("failed").len() > 1 && parts("parts").contains(&3), "{v}");
}

#[test]
fn a_missing_shard_of_a_pattern_is_said() {
    let dir = Folder::new();
    let queries = shards(&dir, 6);
    let (base, pairs) = (dir.file("e_*.fvecs"), dir.file("pairs.h5"));
    std::fs::rename(dir.file("e_2.fvecs"), dir.file("away")).unwrap();
    let r = run(&["pair", "--base", &base, "--queries", &queries, "-o", &pairs]);
    assert!(r.code == Some(0) && r.err.contains("e_2.fvecs is not there") && r.err.contains("counted without"), "{r:?}");
    std::fs::rename(dir.file("away"), dir.file("e_2.fvecs")).unwrap();
    // and its pairs are not taken for those of all shards
    let build = ["build", "--base", &base, "--index", "Paired8,SQ8", "--captions", &queries, "-o", &dir.file("i"), "--pairs"];
    let e = bad(&[&build[..], &[&pairs]].concat(), 1);
    assert!(e.contains("750 images") && e.contains("900"), "{e}");
    let r = run(&["pair", "--base", &base, "--queries", &queries, "-o", &pairs]);
    assert!(r.code == Some(0) && !r.err.contains("is not there"), "{r:?}");
    good(&[&build[..], &[&pairs]].concat());
    // a plain list of row numbers is pairs too
    let ids = dir.file("pairs.npy");
    let mut npy = b"\x93NUMPY\x01\x00".to_vec();
    let head = format!("{:<117}\n", "{'descr': '<i8', 'fortran_order': False, 'shape': (40,), }");
    npy.extend((head.len() as u16).to_le_bytes());
    npy.extend(head.bytes());
    (0..40i64).for_each(|i| npy.extend((i * 7).to_le_bytes()));
    std::fs::write(&ids, npy).unwrap();
    good(&[&build[..], &[&ids]].concat());
}

#[test]
fn bench_keeps_what_it_measured() {
    let dir = Folder::new();
    let queries = shards(&dir, 4);
    let (base, page) = (dir.file("e_*.fvecs"), dir.file("page.html"));
    let call = ["bench", "--base", &base, "--queries", &queries, "--repeat", "1", "--nprobe", "2", "-k", "5"];
    let r = run(&[&call[..], &["--index", "IVF8,Flat", "--index", "IVF8,PQ7", "--report", &page, "--json"]].concat());
    let v: Value = serde_json::from_str(&r.out).unwrap();
    assert!(r.code == Some(2) && v["points"].as_array().unwrap().len() == 1, "{r:?}");
    assert!(v["failed"][0]["index"] == "IVF8,PQ7" && std::fs::read_to_string(&page).unwrap().contains("IVF8,Flat"), "{v}");
    bad(&[&call[..], &["--index", "IVF8,PQ7"]].concat(), 2);
    let e = bad(&[&call[..], &["--index", "nothere.index"]].concat(), 2);
    assert!(e.contains("nothere.index: no such file"), "{e}");
    let e = bad(&[&call[..], &["--index", dir.path().to_str().unwrap()]].concat(), 2);
    assert!(e.contains("a folder"), "{e}");
}

#[test]
fn estimates_are_not_compared_with_distances() {
    let dir = Folder::new();
    let queries = shards(&dir, 6);
    let (base, index, truth, result) = (dir.file("e_*.fvecs"), dir.file("i"), dir.file("t.h5"), dir.file("r.csv"));
    good(&["exact", "--base", &base, "--queries", &queries, "-o", &truth]);
    let search = |more: &[&str]| json(&[&["search", &index, "--queries", &queries, "--nprobe", "8"], more].concat());
    good(&["build", "--base", &base, "--index", "IVF8,PQ4", "-o", &index]);
    let v = search(&["--truth", &truth]);
    assert!(v["recall"]["10"].as_f64().unwrap() > 0.1 && v["recall_by_distance"].is_null(), "{v}");
    search(&["-o", &result]);
    let text = good(&["eval", &result, "--truth", &truth]);
    assert!(text.contains("estimates by codes") && text.contains("by id only"), "{text}");
    // plain vectors have the distances of the truth
    for spec in ["IVF8,Flat", "IVF8,PQ4,Refine(Flat)"] {
        good(&["build", "--base", &base, "--index", spec, "-o", &index]);
        let v = search(&["--truth", &truth]);
        assert!(v["recall_by_distance"]["10"].as_f64() >= v["recall"]["10"].as_f64(), "{spec}: {v}");
    }
    // ids of its own
    good(&["build", "--base", &base, "--index", "IVF8,Flat", "--first-id", "5000", "-o", &index]);
    let text = good(&["search", &index, "--queries", &queries, "--nprobe", "8", "--truth", &truth]);
    assert!(text.contains("no id of the result is an id of"), "{text}");
    assert_eq!(search(&["--truth", &truth])["recall"]["10"], json!(0.0));
}
