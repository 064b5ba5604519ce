//! Filters, recall targets, refinement and calibration, through the binary.

mod run;

use std::io::Write;
use std::process::Stdio;

use run::{Folder, bad, command, fixture, fvecs, good, json, rows, run};
use serde_json::{Value, json};

const D: usize = 24;

/// A base and queries of its kind, and an index of the base.
fn built(dir: &Folder, spec: &str, more: &[&str]) -> (String, String, String) {
    let base = dir.write("base.fvecs", fvecs(&rows(3000, D, 1), D));
    let queries = dir.write("queries.fvecs", fvecs(&rows(60, D, 2), D));
    let index = dir.file("index");
    good(&[&["build", "--base", &base, "--index", spec, "-o", &index, "--quiet"], more].concat());
    (base, queries, index)
}

fn ids(v: &Value) -> Vec<Vec<u64>> {
    let row = |r: &Value| r["ids"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
    v["results"].as_array().unwrap().iter().map(row).collect()
}

#[test]
fn allowed_and_denied_ids_come_from_files() {
    let dir = Folder::new();
    let (_, queries, index) = built(&dir, "IVF7,Flat", &[]);
    let lines = |all: &mut dyn Iterator<Item = u64>| all.map(|i| format!("{i}\n")).collect::<String>();
    let search = |more: &[&str]| json(&[&["search", &index, "--queries", &queries, "--nprobe", "7", "-k", "5"], more].concat());
    let all = json(&["search", &index, "--queries", &queries, "--nprobe", "7", "-k", "3000"]);
    let want = |keep: &dyn Fn(u64) -> bool| -> Vec<Vec<u64>> {
        ids(&all).iter().map(|r| r.iter().copied().filter(|i| keep(*i)).take(5).collect()).collect()
    };
    let odd = dir.write("odd.txt", lines(&mut (0..3000).filter(|i| i % 2 == 1)) + "\n99999\n");
    let v = search(&["--allow", &odd]);
    assert_eq!(ids(&v), want(&|i| i % 2 == 1));
    assert_eq!(v["filter"], json!({"allowed": 1500, "matched": 1500, "missing": 1}));
    let few = dir.write("few.txt", lines(&mut (0..3000).filter(|i| i % 10 == 3)));
    assert_eq!(ids(&search(&["--deny", &few])), want(&|i| i % 10 != 3));
    assert_eq!(ids(&search(&["--allow", &odd, "--deny", &few])), want(&|i| i % 2 == 1 && i % 10 != 3));
    // few are compared as a whole, in whatever list they are
    let one_list = json(&["search", &index, "--queries", &queries, "-k", "5", "--allow", &few]);
    assert_eq!(ids(&one_list), want(&|i| i % 10 == 3));

    let mut child =
        command(&["search", &index, "--queries", &queries, "--nprobe", "7", "-k", "5", "--allow", "-", "--json", "--quiet"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(lines(&mut (0..3000).filter(|i| i % 2 == 1)).as_bytes()).unwrap();
    let out = child.wait_with_output().unwrap();
    assert_eq!(ids(&serde_json::from_slice(&out.stdout).unwrap()), want(&|i| i % 2 == 1));

    let r = run(&["search", &index, "--queries", &queries, "--allow", &odd, "-o", &dir.file("r.json")]);
    assert!(r.err.contains("1 of 1,501 ids are not in the index; the first is 99999"), "{r:?}");
    let call = |more: &[&str]| [&["search", &index, "--queries", &queries], more].concat().join("\n");
    let refused = |more: &[&str], code: i32| bad(&call(more).split('\n').collect::<Vec<_>>(), code);
    let none = dir.write("none.txt", "77777\n88888\n");
    assert!(refused(&["--allow", &none], 1).contains("none of its 2 ids is in the index (the first is 77777)"));
    assert!(refused(&["--allow", &dir.write("empty.txt", "")], 1).contains("none of its 0 ids"));
    assert!(refused(&["--deny", &dir.write("words.txt", "a\nb\n")], 1).contains("numbers"));
    refused(&["--allow", &dir.file("no-such.txt")], 1);
    refused(&["--allow", "-", "--deny", "-"], 2);
    good(&["search", &index, "--queries", &queries, "--deny", &none]);
}

#[test]
fn names_are_filtered_by() {
    let dir = Folder::new();
    let index = dir.file("index");
    good(&["build", "--base", &fixture("cli/named.hdf5"), "--index", "LMI7(16),Flat", "--epochs", "2", "-o", &index, "--quiet"]);
    let names = ["class3/img_003.jpg", "class4/img_004.jpg", "class5/img_005.jpg"];
    let file = dir.write("names.txt", names.join("\n"));
    let v = json(&["search", &index, "--queries", &fixture("cli/queries.npy"), "--allow", &file]);
    for row in v["results"].as_array().unwrap() {
        let mut found: Vec<&str> = row["ids"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
        found.sort_unstable();
        assert_eq!(found, names);
    }
    assert_eq!(v["short_rows"], 15);
}

#[test]
fn a_recall_is_aimed_at() {
    let dir = Folder::new();
    let (base, queries, index) = built(&dir, "IVF20,Flat", &["--calibrate", "500"]);
    let truth = dir.file("truth.ivecs");
    good(&["exact", "--base", &base, "--queries", &queries, "-o", &truth]);
    let mut lists = 0.0;
    for target in ["0.8", "0.9", "0.99"] {
        let v = json(&["search", &index, "--queries", &queries, "--recall", target, "--truth", &truth]);
        let x: f64 = target.parse().unwrap();
        assert!(v["recall"]["10"].as_f64().unwrap() > x - 0.03 && v["recall_target"] == x && v["nprobe"].is_null(), "{v}");
        assert!(v["lists_per_query"].as_f64().unwrap() > lists, "{v}");
        lists = v["lists_per_query"].as_f64().unwrap();
    }
    let v = json(&["info", &index]);
    assert_eq!((&v["calibration"]["queries"], &v["calibration"]["given"]), (&json!(500), &json!(false)));
    assert_eq!((&v["code"], &v["code_bytes"], &v["refine_bytes"]), (&json!("Flat"), &json!(4 * D), &json!(0)));
    assert!(v["calibration"]["targets"][1]["lists"].as_f64().unwrap() > 1.0, "{v}");
    let text = good(&["info", &index]);
    assert!(text.contains("targets  recall 0.9 takes ") && text.contains("500 rows of the base"), "{text}");

    let q = ["search", &index, "--queries", &queries];
    bad(&[&q[..], &["--recall", "0.9", "--nprobe", "2"]].concat(), 2);
    bad(&[&q[..], &["--recall", "0.9", "--mass", "0.2"]].concat(), 2);
    for wrong in ["0", "1.1", "-1", "x", "nan"] {
        bad(&[&q[..], &["--recall", wrong]].concat(), 2);
    }
    assert!(bad(&[&q[..], &["--refine", "4"]].concat(), 2).contains("without vectors to refine by"));

    // queries that are given take the place of rows, and are looked at first
    let v = json(&["build", "--base", &base, "--index", "IVF20,Flat", "--queries", &queries, "-o", &index]);
    assert_eq!((&v["calibration"]["queries"], &v["calibration"]["given"]), (&json!(60), &json!(true)));
    assert!(v["seconds"]["calibrate"].as_f64().unwrap() > 0.0, "{v}");
    let other = fixture("cli/queries.npy");
    assert!(
        bad(&["build", "--base", &base, "--index", "IVF20,Flat", "--queries", &other, "-o", &index], 1).contains("dimensions")
    );
    good(&["build", "--base", &base, "--index", "IVF20,Flat", "--calibrate", "0", "-o", &index]);
    assert!(bad(&[&q[..], &["--recall", "0.9"]].concat(), 2).contains("no calibration"));
    // exact search needs none
    good(&["build", "--base", &base, "--index", "Flat", "-o", &index]);
    assert_eq!(json(&[&q[..], &["--recall", "0.9", "--truth", &truth]].concat())["recall"]["10"], 1.0);
}

#[test]
fn bench_shows_what_targets_deliver() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(3000, D, 1), D));
    let queries = dir.write("queries.fvecs", fvecs(&rows(60, D, 2), D));
    let page = dir.file("page.html");
    let call = ["bench", "--base", &base, "--queries", &queries, "--repeat", "1"];
    let v = json(&[&call[..], &["--index", "IVF20,Flat", "--index", "Flat", "--recall", "0.9,0.99", "--report", &page]].concat());
    let points = v["points"].as_array().unwrap();
    let seen: Vec<_> =
        points.iter().map(|p| (p["spec"].as_str().unwrap(), p["target"].as_f64(), p["nprobe"].as_u64().unwrap())).collect();
    assert_eq!(seen, [("IVF20,Flat", Some(0.9), 0), ("IVF20,Flat", Some(0.99), 0), ("Flat", None, 1)]);
    for p in &points[..2] {
        let (recall, target) = (p["recall"]["10"].as_f64().unwrap(), p["target"].as_f64().unwrap());
        assert!(recall > target - 0.03 && (1.0..20.0).contains(&p["lists"].as_f64().unwrap()), "{p}");
    }
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(html.contains("aimed at") && html.contains("→0.99"), "{html}");
    let text =
        good(&[&call[..], &["--index", "IVF20,Flat", "--recall", "0.9", "--nprobe", "4", "--calibration", &queries]].concat());
    assert!(text.contains("target  lists") && text.lines().count() == 3, "{text}");
    // what codes cannot keep is told, the rest is measured
    let args = [&call[..], &["--index", "IVF20,RaBitQ1", "--recall", "0.2,0.9999"]].concat();
    let r = run(&args);
    assert!(r.code == Some(0) && r.out.lines().count() == 3 && r.out.contains("recall = 0.9999: at most 0."), "{r:?}");
    // without a spec: what build takes
    let v = json(&[&call[..], &["--nprobe", "1"]].concat());
    assert_eq!((v["points"].as_array().unwrap().len(), &v["points"][0]["spec"]), (1, &json!("Flat")));
    bad(&[&call[..], &["--recall", "1.5"]].concat(), 2);
    bad(&[&call[..], &["--refine", "0"]].concat(), 2);
}

#[test]
fn codes_are_refined() {
    let dir = Folder::new();
    let (base, queries, index) = built(&dir, "IVF20,RaBitQ2,Refine(Flat)", &[]);
    let truth = dir.file("truth.ivecs");
    good(&["exact", "--base", &base, "--queries", &queries, "-o", &truth]);
    let recall = |refine: &str| {
        let v = json(&["search", &index, "--queries", &queries, "--nprobe", "20", "--refine", refine, "--truth", &truth]);
        assert_eq!(v["refine"].to_string(), refine);
        v["recall"]["10"].as_f64().unwrap()
    };
    let (one, many) = (recall("1"), recall("50"));
    assert!(one < many && many > 0.999, "{one} {many}");
    assert!(bad(&["search", &index, "--queries", &queries, "--refine", "0"], 2).contains("refine = 0"));
    let v = json(&["search", &index, "--queries", &queries, "--recall", "0.95", "--truth", &truth]);
    assert!(v["recall"]["10"].as_f64().unwrap() > 0.92, "{v}");
    let v = json(&["info", &index]);
    assert_eq!((&v["code"], &v["refine"], &v["refine_bytes"]), (&json!("RaBitQ2"), &json!("Refine(Flat)"), &json!(4 * D)));
    let text = good(&["info", &index]);
    assert!(text.contains("codes    RaBitQ2, ") && text.contains("; Refine(Flat), 96 bytes"), "{text}");
    let v = json(&[
        "bench",
        "--base",
        &base,
        "--queries",
        &queries,
        "--repeat",
        "1",
        "--index",
        "IVF20,RaBitQ2,Refine(Flat)",
        "--nprobe",
        "5,20",
        "--refine",
        "1,20",
    ]);
    let points: Vec<_> = v["points"].as_array().unwrap().iter().map(|p| (p["refine"].as_u64(), p["nprobe"].as_u64())).collect();
    assert_eq!(points, [(Some(1), Some(5)), (Some(1), Some(20)), (Some(20), Some(5)), (Some(20), Some(20))]);
}
