//! `voisin calibrate`: indexes that were not calibrated when they were built.

mod run;

use run::{Folder, bad, fixture, fvecs, good, json, rows};
use serde_json::{Value, json};

const D: usize = 24;

/// A base and queries of its kind.
fn vectors(dir: &Folder) -> (String, String) {
    let base = dir.write("base.fvecs", fvecs(&rows(3000, D, 1), D));
    (base, dir.write("queries.fvecs", fvecs(&rows(60, D, 2), D)))
}

fn recall(index: &str, queries: &str, truth: &str, target: &str) -> f64 {
    json(&["search", index, "--queries", queries, "--recall", target, "--truth", truth])["recall"]["10"].as_f64().unwrap()
}

#[test]
fn it_measures_what_a_build_measures() {
    let dir = Folder::new();
    let (base, queries) = vectors(&dir);
    let (index, truth) = (dir.file("index"), dir.file("truth.ivecs"));
    good(&["exact", "--base", &base, "--queries", &queries, "-k", "100", "-o", &truth]);
    for spec in ["IVF20,Flat", "IVF20,RaBitQ2,Refine(SQ8)"] {
        let build = ["build", "--base", &base, "--index", spec, "-o", &index];
        let want = json(&[&build[..], &["--queries", &queries]].concat())["calibration"].clone();
        assert_eq!(want["queries"], 60);
        good(&[&build[..], &["--calibrate", "0"]].concat());
        let e = bad(&["search", &index, "--queries", &queries, "--recall", "0.9"], 2);
        assert!(e.contains("voisin calibrate"), "{e}");
        let before = json(&["search", &index, "--queries", &queries, "--nprobe", "3"])["results"].clone();
        for from in [["--base", &base], ["--truth", &truth]] {
            let v = json(&[&["calibrate", &index, "--queries", &queries], &from[..]].concat());
            assert_eq!((&v["calibration"], &v["missing"]), (&want, &json!(0)), "{spec} {from:?}");
        }
        assert!(recall(&index, &queries, &truth, "0.9") > 0.87);
        assert_eq!(json(&["search", &index, "--queries", &queries, "--nprobe", "3"])["results"], before);
        good(&["verify", &index]);
        let files =
            std::fs::read_dir(&index).unwrap().filter(|f| f.as_ref().unwrap().file_name().to_string_lossy().contains("calib"));
        assert_eq!(files.count(), 1, "the earlier file is gone");
    }
}

#[test]
fn a_job_gets_recall_targets() {
    let dir = Folder::new();
    let (base, queries) = vectors(&dir);
    let (plan, index, truth) = (dir.file("plan.json"), dir.file("plan"), dir.file("truth.ivecs"));
    good(&["exact", "--base", &base, "--queries", &queries, "-o", &truth]);
    let ids = ["--first-id", "5000"];
    good(&[&["job", "plan", "--base", &base, "--parts", "3", "--index", "IVF20,SQ8", "-o", &plan][..], &ids].concat());
    good(&["job", "train", &plan, "-q"]);
    (0..3).for_each(|p| drop(good(&["job", "run", &plan, "--part", &p.to_string(), "-q"])));
    good(&["job", "commit", &plan, "-q"]);
    let e = bad(&["calibrate", &index, "--base", &base], 1);
    assert!(e.contains("not in the index"), "ids from 0 are others: {e}");
    let v = json(&[&["calibrate", &index, "--base", &base, "--sample", "300"][..], &ids].concat());
    assert_eq!((&v["calibration"]["queries"], &v["calibration"]["given"]), (&json!(300), &json!(false)));
    let found = json(&["search", &index, "--queries", &queries, "--recall", "0.9"]);
    let all = json(&["search", &index, "--queries", &queries, "--nprobe", "20"]);
    let set = |v: &Value, q: usize| v["results"][q]["ids"].as_array().unwrap().clone();
    let same: usize = (0..60).map(|q| set(&found, q).iter().filter(|id| set(&all, q).contains(id)).count()).sum();
    assert!(same as f64 > 0.87 * 600.0 && found["lists_per_query"].as_f64().unwrap() < 20.0, "{same}");
    let v = json(&["job", "status", &plan]);
    assert_eq!((v["committed"].as_bool(), v["done"].as_array().map(Vec::len)), (Some(true), Some(3)), "{v}");
    assert!(good(&["job", "commit", &plan]).contains("before") || json(&["info", &index])["calibration"]["queries"] == 300);
}

#[test]
fn strings_and_removed_vectors() {
    let dir = Folder::new();
    let data = fixture("../../data/debtext-demo.h5");
    let (index, truth) = (dir.file("index"), dir.file("truth.h5"));
    good(&["build", "--base", &data, "--index", "IVF32,SQ8", "--calibrate", "0", "-o", &index]);
    good(&["exact", "--base", &data, "--queries", &data, "-k", "30", "-o", &truth]);
    let removed = json(&["search", &index, "--queries", &data, "-k", "1"])["results"][0]["ids"][0].as_str().unwrap().to_owned();
    good(&["remove", &index, "--ids", &removed]);
    let by_base = json(&["calibrate", &index, "--base", &data, "--queries", &data, "--sample", "200"]);
    let by_truth = json(&["calibrate", &index, "--queries", &data, "--truth", &truth]);
    assert_eq!((&by_base["calibration"]["queries"], &by_truth["calibration"]["queries"]), (&json!(200), &json!(400)));
    assert!(by_base["missing"].as_u64().unwrap() > 0 && by_truth["missing"].as_u64().unwrap() > 0, "{by_base} {by_truth}");
    let numbers = dir.file("truth.ivecs");
    good(&["exact", "--base", &data, "--queries", &data, "-k", "30", "-o", &numbers]);
    let e = bad(&["calibrate", &index, "--queries", &data, "--truth", &numbers], 1);
    assert!(e.contains("row numbers") && e.contains("string ids"), "{e}");
}

#[test]
fn what_cannot_be_calibrated_is_left_as_it_is() {
    let dir = Folder::new();
    let (base, queries) = vectors(&dir);
    let (index, flat, truth) = (dir.file("index"), dir.file("flat"), dir.file("truth.ivecs"));
    good(&["build", "--base", &base, "--index", "IVF20,Flat", "--calibrate", "300", "-o", &index]);
    good(&["build", "--base", &base, "--index", "Flat", "-o", &flat]);
    good(&["exact", "--base", &base, "--queries", &base, "-o", &truth]);
    let before = json(&["info", &index])["calibration"].clone();
    let other = fixture("cli/base.npy");
    let nan = dir.write("nan.fvecs", fvecs(&[&rows(9, D, 3)[..], &[f32::NAN; D]].concat(), D));
    let refused = |args: &[&str], code: i32, word: &str| {
        let e = bad(&[&["calibrate"], args].concat(), code);
        assert!(e.contains(word), "{args:?}: {e}");
    };
    refused(&[&flat, "--base", &base], 2, "whatever the target");
    refused(&[&index, "--base", &other], 1, "dimensions");
    refused(&[&index, "--base", &base, "--queries", &other], 1, "dimensions");
    refused(&[&index, "--base", &base, "--queries", &nan], 1, "nan.fvecs");
    refused(&[&index, "--queries", &queries, "--truth", &truth], 1, "3,000 queries, where there are 60");
    refused(&[&index, "--base", &base, "--first-id", "100000"], 1, "not in the index");
    refused(&[&index, "--base", &base, "--sample", "0"], 2, "--sample 0");
    refused(&[&index, "--queries", &queries], 2, "--base");
    refused(&[&dir.file("nothing"), "--base", &base], 1, "nothing");
    refused(&[&fixture("faiss/ivf_flat.index"), "--base", &base], 2, "voisin convert");
    assert_eq!(json(&["info", &index])["calibration"], before);
    let v = json(&["calibrate", &index, "--base", &base, "--queries", &nan, "--on-bad", "skip"]);
    assert_eq!((&v["skipped_queries"], &v["calibration"]["queries"]), (&json!(1), &json!(9)));
}
