//! build, search, add, remove, compact, verify, model: the life of an index, through the binary.

mod run;

use std::path::Path;

use run::{Folder, bad, fixture, good, json, run, tree};
use serde_json::Value;

/// Builds an index of the named vectors.
fn built(dir: &Folder, name: &str, spec: &str, more: &[&str]) -> String {
    let out = dir.file(name);
    let base = fixture("cli/named.hdf5");
    good(&[&["build", "--base", &base, "--index", spec, "-o", &out, "--quiet"], more].concat());
    out
}

fn results(index: &str, more: &[&str]) -> Value {
    let queries = fixture("cli/queries.npy");
    json(&[&["search", index, "--queries", &queries], more].concat())["results"].clone()
}

fn ids(row: &Value) -> Vec<&str> {
    row["ids"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect()
}

#[test]
fn every_kind_is_exact_when_all_lists_are_visited() {
    let dir = Folder::new();
    let (base, queries) = (fixture("cli/named.hdf5"), fixture("cli/queries.npy"));
    for metric in ["l2", "ip", "cosine"] {
        let exact = json(&["exact", "--base", &base, "--queries", &queries, "--metric", metric])["results"].clone();
        for spec in ["Flat", "IVF7,Flat", "LMI7(16),Flat"] {
            let index = built(&dir, &format!("{metric}-{spec}"), spec, &["--metric", metric, "--epochs", "2"]);
            let found = results(&index, &["--nprobe", "7"]);
            for (a, b) in exact.as_array().unwrap().iter().zip(found.as_array().unwrap()) {
                assert_eq!(ids(a), ids(b), "{metric} {spec}");
            }
            assert_eq!(results(&index, &["--nprobe", "7", "--mode", "single", "--threads", "1"]), found, "{metric} {spec}");
        }
    }
}

#[test]
fn build_and_search_report_what_the_issue_asks() {
    let (dir, base) = (Folder::new(), fixture("cli/named.hdf5"));
    let out = dir.file("index");
    let v = json(&["build", "--base", &base, "--index", "lmi7(16-12), flat", "--epochs", "3", "-o", &out]);
    assert_eq!((&v["n"], &v["d"], &v["metric"], &v["spec"]), (&240.into(), &8.into(), &"l2".into(), &"LMI7(16-12),Flat".into()));
    for stage in ["read", "train", "assign", "encode", "write", "total"] {
        assert!(v["seconds"][stage].is_number(), "{stage}: {v}");
    }
    assert!(v["bytes"].as_u64() > Some(240 * 8 * 4) && v["bytes_per_vector"].as_f64() > Some(32.0), "{v}");
    assert_eq!((v["loss"].as_array().unwrap().len(), v["accuracy"].as_array().unwrap().len()), (3, 3));

    let (queries, result) = (fixture("cli/queries.npy"), dir.file("r.h5"));
    let exact = dir.file("truth.h5");
    good(&["exact", "--base", &base, "--queries", &queries, "-o", &exact]);
    let args = ["search", &out, "--queries", &queries, "--nprobe", "2", "--truth", &exact, "-o", &result];
    let v = json(&args);
    assert_eq!((&v["n"], &v["queries"], &v["k"], &v["out"]), (&240.into(), &15.into(), &10.into(), &result.clone().into()));
    let recall = v["recall"]["10"].as_f64().unwrap();
    assert!((0.1..=1.0).contains(&recall) && v["recall"]["1"].is_number() && v["recall_by_distance"]["10"].is_number(), "{v}");
    let e = json(&["eval", &result, "--truth", &exact]);
    assert_eq!((&e["recall"], &e["recall_by_distance"]), (&v["recall"], &v["recall_by_distance"]));
    let v = json(&[&args[..], &["--mode", "single"]].concat());
    assert!(v["latency_ms"]["p50"].as_f64() <= v["latency_ms"]["p99"].as_f64(), "{v}");
    let v = json(&["search", &out, "--queries", &queries, "--nprobe", "99", "--truth", &exact]);
    assert_eq!((&v["recall"]["10"], &v["nprobe"]), (&1.0.into(), &7.into()));
}

#[test]
fn an_index_is_chosen_and_said_why() {
    let dir = Folder::new();
    let v = json(&["build", "--base", &fixture("cli/base.npy"), "-o", &dir.file("index")]);
    assert_eq!(v["spec"], "Flat");
    assert!(v["reason"].as_str().is_some_and(|r| r.contains("240")), "{v}");
    // the metric that the file names
    let v = json(&["build", "--base", &fixture("cli/angular.hdf5"), "-o", &dir.file("angular")]);
    assert_eq!(v["metric"], "cosine");
    let v = json(&["info", &dir.file("angular")]);
    assert_eq!((&v["metric"], &v["n"], &v["d"], &v["ids"]), (&"cosine".into(), &240.into(), &8.into(), &"numbers".into()));
}

#[test]
fn same_seed_same_bytes_on_any_number_of_threads() {
    let dir = Folder::new();
    for spec in ["IVF7,Flat", "LMI7(16),Flat"] {
        let one = tree(Path::new(&built(&dir, &format!("1{spec}"), spec, &["--threads", "1", "--epochs", "2"])));
        let two = tree(Path::new(&built(&dir, &format!("2{spec}"), spec, &["--threads", "2", "--epochs", "2"])));
        let seed = tree(Path::new(&built(&dir, &format!("3{spec}"), spec, &["--seed", "3", "--epochs", "2"])));
        assert!(one == two, "{spec}: {:?}", one.iter().map(|f| &f.0).collect::<Vec<_>>());
        assert!(one != seed, "{spec}");
    }
}

#[test]
fn stored_vectors_are_queries() {
    let dir = Folder::new();
    let index = built(&dir, "index", "IVF7,Flat", &[]);
    let id = "class3/img_003.jpg";
    let v = json(&["search", &index, "--id", id, "-k", "3", "--nprobe", "7"]);
    assert_eq!(ids(&v["results"][0])[0], id);
    assert_eq!((&v["results"][0]["query"], &v["queries"]), (&id.into(), &1.into()));
    let v = json(&["search", &index, "--id", id, "-k", "3", "--nprobe", "7", "--exclude-self"]);
    assert!(!ids(&v["results"][0]).contains(&id));
    assert!(bad(&["search", &index, "--id", "nobody"], 1).contains("id nobody: not in"));
    // a set searched in itself, by name
    let base = fixture("cli/named.hdf5");
    let v = json(&["search", &index, "--queries", &base, "-k", "2", "--nprobe", "7", "--exclude-self"]);
    let rows = v["results"].as_array().unwrap();
    rows.iter().for_each(|r| assert!(!ids(r).contains(&r["query"].as_str().unwrap()), "{r}"));
}

#[test]
fn probability_mass_decides_how_many_lists() {
    let dir = Folder::new();
    let index = built(&dir, "index", "LMI7(16),Flat", &["--epochs", "30"]);
    let queries = fixture("cli/queries.npy");
    let lists =
        |more: &[&str]| json(&[&["search", &index, "--queries", &queries], more].concat())["lists_per_query"].as_f64().unwrap();
    assert_eq!(lists(&["--nprobe", "7"]), 7.0);
    assert!(lists(&["--mass", "0.5"]) < lists(&["--mass", "0.9999"]));
    assert!(lists(&["--mass", "0.9999", "--nprobe", "2"]) <= 2.0);
}

#[test]
fn vectors_come_and_go() {
    let dir = Folder::new();
    let index = built(&dir, "index", "IVF7,Flat", &[]);
    let gone = "class3/img_003.jpg";
    let v = json(&["remove", &index, "--ids", gone, "class4/img_004.jpg"]);
    assert_eq!((&v["removed"], &v["n"]), (&2.into(), &238.into()));
    let all = results(&index, &["-k", "238", "--nprobe", "7"]);
    assert!(all.as_array().unwrap().iter().all(|r| ids(r).len() == 238 && !ids(r).contains(&gone)));
    assert!(bad(&["remove", &index, "--ids", gone], 1).contains(gone));
    let file = dir.write("gone.txt", format!("{gone}\nclass5/img_005.jpg\n"));
    let v = json(&["remove", &index, "--ids-file", &file, "--missing-ok"]);
    assert_eq!((&v["removed"], &v["missing"], &v["n"]), (&1.into(), &1.into(), &237.into()));

    let base = fixture("cli/named.hdf5");
    assert!(bad(&["add", &index, "--base", &base], 1).contains("--replace"));
    assert_eq!(json(&["info", &index])["n"], 237);
    let v = json(&["add", &index, "--base", &base, "--replace"]);
    assert_eq!((&v["added"], &v["replaced"], &v["n"]), (&240.into(), &237.into(), &240.into()));
    let before = results(&index, &["--nprobe", "7"]);
    let v = json(&["compact", &index]);
    assert_eq!((&v["n"], &v["segments"]), (&240.into(), &1.into()));
    assert_eq!(results(&index, &["--nprobe", "7"]), before);
    let v = json(&["verify", &index]);
    assert_eq!((&v["sound"], &v["n"]), (&true.into(), &240.into()));
    // and it answers as an index that was built at once
    let fresh = results(&built(&dir, "fresh", "Flat", &[]), &[]);
    for (a, b) in before.as_array().unwrap().iter().zip(fresh.as_array().unwrap()) {
        assert_eq!(ids(a), ids(b));
    }
}

#[test]
fn numbers_go_on_where_there_are_no_names() {
    let dir = Folder::new();
    let index = dir.file("index");
    good(&["build", "--base", &fixture("cli/base.npy"), "-o", &index]);
    good(&["add", &index, "--base", &fixture("cli/queries.npy")]);
    let v = json(&["search", &index, "--id", "240", "-k", "1"]);
    assert_eq!(v["results"][0]["ids"][0], 240);
    assert!(bad(&["remove", &index, "--ids", "x"], 1).contains("numbers"));
    assert_eq!(json(&["remove", &index, "--ids", "240", "0"])["n"], 253);
    assert!(bad(&["search", &index, "--queries", &fixture("cli/queries.npy"), "-k", "254"], 2).contains("the 253 vectors of"));
}

#[test]
fn a_model_goes_out_and_in() {
    let dir = Folder::new();
    let index = built(&dir, "index", "LMI7(16-12),Flat", &["--epochs", "3"]);
    let before = results(&index, &["--nprobe", "2"]);
    for ending in ["pth", "npz", "safetensors"] {
        let out = dir.file(&format!("mlp.{ending}"));
        let v = json(&["model", &index, "-o", &out]);
        assert_eq!(v["layers"], serde_json::json!([8, 16, 12, 7]));
        let again = built(&dir, ending, "LMI7,Flat", &["--model", &out]);
        assert_eq!(results(&again, &["--nprobe", "2"]), before, "{ending}");
    }
    assert!(bad(&["model", &index, "-o", &dir.file("m.csv")], 2).contains(".safetensors"));
    let flat = built(&dir, "flat", "Flat", &[]);
    assert!(bad(&["model", &flat, "-o", &dir.file("m.pth")], 1).contains("no model"));
    let base = fixture("cli/base.npy");
    let other = ["build", "--base", &base, "--index", "LMI9,Flat", "--model", &dir.file("mlp.pth"), "-o", &dir.file("x")];
    bad(&other, 2);
    let wrong = fixture("torch/float32.pt");
    bad(&["build", "--base", &base, "--index", "LMI7,Flat", "--model", &wrong, "-o", &dir.file("x")], 1);
    assert!(!Path::new(&dir.file("x")).join("manifest.json").exists());
}

#[test]
fn a_state_dict_of_torch_is_a_model() {
    let dir = Folder::new();
    let base = dir.write("three.fvecs", run::fvecs(&run::rows(50, 3, 1), 3));
    let expected: Value = serde_json::from_str(&std::fs::read_to_string(fixture("torch/expected.json")).unwrap()).unwrap();
    for name in ["mlp.pt", "mlp_legacy.pt"] {
        let (index, out, csv) = (dir.file(&format!("i-{name}")), dir.file("w.npz"), dir.file("w.csv"));
        let state = fixture(&format!("torch/{name}"));
        good(&["build", "--base", &base, "--index", "LMI2,Flat", "--model", &state, "-o", &index]);
        assert_eq!(json(&["model", &index, "-o", &out])["layers"], serde_json::json!([3, 4, 2]));
        good(&["convert", &format!("{out}::2.weight"), &csv]);
        let text = std::fs::read_to_string(&csv).unwrap();
        let found: Vec<f64> = text.split([',', '\n']).filter_map(|x| x.parse().ok()).collect();
        let torch: Vec<f64> =
            expected[name]["2.weight"]["values"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
        assert_eq!(found.len(), torch.len(), "{text}");
        assert!(found.iter().zip(&torch).all(|(a, b)| (a - b).abs() < 1e-6), "{found:?} {torch:?}");
    }
}

#[test]
fn bad_queries_are_refused_or_counted() {
    let dir = Folder::new();
    let index = built(&dir, "index", "IVF7,Flat", &[]);
    let mut rows = run::rows(4, 8, 3);
    rows[2 * 8 + 5] = f32::NAN;
    let file = dir.write("q.fvecs", run::fvecs(&rows, 8));
    assert!(bad(&["search", &index, "--queries", &file], 1).contains("row 2: a value is NaN"));
    let v = json(&["search", &index, "--queries", &file, "--on-bad", "skip", "--nprobe", "7"]);
    let lengths: Vec<usize> = v["results"].as_array().unwrap().iter().map(|r| ids(r).len()).collect();
    assert_eq!((lengths, &v["skipped"], &v["queries"]), (vec![10, 10, 0, 10], &1.into(), &4.into()));
}

#[test]
fn an_index_serves_one_metric_only() {
    let dir = Folder::new();
    let index = built(&dir, "index", "Flat", &["--metric", "ip"]);
    let queries = fixture("cli/queries.npy");
    good(&["search", &index, "--queries", &queries, "--metric", "ip"]);
    assert!(bad(&["search", &index, "--queries", &queries, "--metric", "l2"], 2).contains("built for ip"));
    let r = run(&["search", &index]);
    assert!(r.code == Some(2) && r.err.contains("--queries"), "{r:?}");
}
