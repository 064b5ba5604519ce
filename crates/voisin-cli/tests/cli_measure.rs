//! eval, bench, demo: the binary measures.

mod run;

use run::{Folder, bad, fixture, fvecs, good, json, rows, run};
use serde_json::{Value, json};

/// The tables of tests/data/make_eval.py as files: result and truth.
fn tables(dir: &Folder, metric: &str) -> (String, String, Value) {
    let all: Value = serde_json::from_str(&std::fs::read_to_string(fixture("eval/numpy.json")).unwrap()).unwrap();
    let case = all[metric].clone();
    let file = |name: &str, ids: &str, distances: &str| {
        let rows = case[ids].as_array().unwrap().iter().zip(case[distances].as_array().unwrap()).enumerate();
        let rows = rows.map(|(q, (ids, distances))| {
            let pairs = ids.as_array().unwrap().iter().zip(distances.as_array().unwrap());
            let neighbors: Vec<Value> = pairs.map(|(id, d)| json!({ "id": id, "distance": d })).collect();
            json!({ "query": q, "neighbors": neighbors })
        });
        dir.write(name, Value::Array(rows.collect()).to_string())
    };
    (file("found.json", "found", "found_d"), file("truth.json", "truth", "truth_d"), case)
}

#[test]
fn eval_gives_the_numbers_of_numpy() {
    for metric in ["l2", "ip"] {
        let dir = Folder::new();
        let (found, truth, case) = tables(&dir, metric);
        let v = json(&["eval", &found, "--truth", &truth, "-k", "1,5,10", "--metric", metric]);
        assert_eq!((&v["queries"], &v["metric"], &v["k"]), (&json!(24), &json!(metric), &json!(10)));
        for k in ["1", "5", "10"] {
            let expected = &case["expected"][k];
            for (key, kind, of) in
                [("recall", "id", "mean"), ("recall_by_distance", "distance", "mean"), ("worst_tenth", "id", "worst_tenth")]
            {
                let (got, want) = (v[key][k].as_f64().unwrap(), expected[kind][of].as_f64().unwrap());
                assert!((got - want).abs() < 1e-6, "{metric} {key}@{k}: {got} where numpy gives {want}");
            }
        }
        assert!((v["mrr"].as_f64().unwrap() - case["mrr"].as_f64().unwrap()).abs() < 1e-6);
        let text = good(&["eval", &found, "--truth", &truth]);
        assert!(text.contains("recall@1 ") && text.contains("recall@10") && text.contains("24 queries"), "{text}");
    }
}

#[test]
fn eval_without_metric_goes_by_the_direction() {
    let dir = Folder::new();
    let (found, truth, case) = tables(&dir, "ip");
    let v = json(&["eval", &found, "--truth", &truth, "-k", "10"]);
    let want = case["expected"]["10"]["distance"]["mean"].as_f64().unwrap();
    assert!((v["recall_by_distance"]["10"].as_f64().unwrap() - want).abs() < 1e-6, "{v}");
}

#[test]
fn eval_compares_string_ids_and_refuses_what_does_not_fit() {
    let dir = Folder::new();
    let table = |names: [[&str; 2]; 2]| {
        let rows = names.iter().enumerate().map(|(q, [a, b])| {
            json!({ "query": format!("q{q}"), "neighbors": [{ "id": a, "distance": 0.5 }, { "id": b, "distance": 0.75 }] })
        });
        Value::Array(rows.collect()).to_string()
    };
    let truth = dir.write("truth.json", table([["a", "b"], ["c", "d"]]));
    let found = dir.write("found.json", table([["b", "x"], ["c", "d"]]));
    let v = json(&["eval", &found, "--truth", &truth]);
    assert_eq!((&v["recall"]["1"], &v["recall"]["2"], &v["mrr"]), (&json!(0.5), &json!(0.75), &json!(0.5)), "{v}");

    let ids = dir.write("short.ivecs", [2i32, 0, 1].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    let two = dir.write("two.ivecs", [2i32, 0, 1, 2, 5, 6].iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>());
    assert!(bad(&["eval", &ids, "--truth", &two], 1).contains("1 queries, but"));
    assert!(bad(&["eval", &two, "--truth", &two, "-k", "3"], 2).contains("k = 3"));
    bad(&["eval", &two, "--truth", &two, "-k", "0"], 2);
    assert!(bad(&["eval", &found, "--truth", &two], 1).contains("string ids"));
    bad(&["eval", &dir.file("none.h5"), "--truth", &two], 1);
    bad(&["eval", &dir.write("empty.h5", b""), "--truth", &two], 1);
    let v = json(&["eval", &two, "--truth", &two]);
    assert!(v["recall_by_distance"].is_null() && v["recall"]["2"] == 1.0, "{v}");
}

#[test]
fn bench_measures_every_spec_in_a_process_of_its_own() {
    let dir = Folder::new();
    let (n, d) = (1500, 24);
    let base = dir.write("base.fvecs", fvecs(&rows(n, d, 1), d));
    let queries = dir.write("queries.fvecs", fvecs(&rows(60, d, 2), d));
    let page = dir.file("report.html");
    let v = json(&[
        "bench",
        "--base",
        &base,
        "--queries",
        &queries,
        "--index",
        "LMI6,Flat",
        "--index",
        "IVF6,Flat",
        "--index",
        "Flat",
        "--nprobe",
        "1,3,6,9",
        "--repeat",
        "1",
        "--threads",
        "1",
        "--mode",
        "single",
        "--report",
        &page,
        "--scratch",
        &dir.file(""),
    ]);
    let points = v["points"].as_array().unwrap();
    let seen: Vec<(String, u64)> =
        points.iter().map(|p| (p["spec"].as_str().unwrap().into(), p["nprobe"].as_u64().unwrap())).collect();
    let expected =
        [("LMI6,Flat", 1), ("LMI6,Flat", 3), ("LMI6,Flat", 6), ("IVF6,Flat", 1), ("IVF6,Flat", 3), ("IVF6,Flat", 6), ("Flat", 1)];
    assert_eq!(seen, expected.map(|(s, n)| (s.to_string(), n)));
    for p in points {
        let of = |key: &str| p[key].as_f64().unwrap();
        assert!(of("queries_per_second") > 0.0 && of("build_seconds") > 0.0 && of("peak_rss_bytes") > 1e6, "{p}");
        assert!(of("bytes_per_vector") >= (d * 4) as f64 && p["latency_ms"]["p99"].as_f64() >= p["latency_ms"]["p50"].as_f64());
        let recall = p["recall"]["10"].as_f64().unwrap();
        assert!(recall > 0.3 && (p["nprobe"] != 6 && p["spec"] != "Flat" || recall == 1.0), "{p}");
        assert!(p["recall_by_distance"]["10"].as_f64().unwrap() >= recall, "{p}");
    }
    let html = std::fs::read_to_string(&page).unwrap();
    assert!(
        html.contains("<svg") && html.contains("LMI6,Flat") && html.contains("voisin bench --base") && !html.contains("<script")
    );
    assert_eq!(dir.list(), ["base.fvecs", "queries.fvecs", "report.html"], "the indexes are gone");
}

#[test]
fn bench_takes_a_truth_and_says_once_what_is_wrong() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(300, 8, 1), 8));
    let queries = dir.write("queries.fvecs", fvecs(&rows(20, 8, 2), 8));
    let truth = dir.file("truth.ivecs");
    good(&["exact", "--base", &base, "--queries", &queries, "-k", "5", "-o", &truth]);
    let call = |more: &[&str]| -> Vec<String> {
        let all = [&["bench", "--base", &base, "--queries", &queries, "--repeat", "1"], more].concat();
        all.into_iter().map(String::from).collect()
    };
    let with = |more: &[&str], code: i32| {
        let args = call(more);
        bad(&args.iter().map(String::as_str).collect::<Vec<_>>(), code)
    };
    let args = call(&["--index", "Flat", "--truth", &truth, "-k", "5"]);
    let v = json(&args.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!((&v["points"][0]["recall"]["5"], &v["truth"]), (&json!(1.0), &json!(truth)), "{v}");
    assert!(v["points"][0]["recall_by_distance"].as_object().unwrap().is_empty(), "ivecs have no distances: {v}");

    let mut nan = rows(300, 8, 1);
    nan[100 * 8 + 3] = f32::NAN;
    let broken = dir.write("broken.fvecs", fvecs(&nan, 8));
    let args = ["bench", "--base", &broken, "--queries", &queries, "--index", "IVF4,Flat", "--nprobe", "4", "--repeat", "1"];
    assert!(bad(&args, 1).contains("row 100: a value is NaN"));
    let v = json(&[&args[..], &["--on-bad", "skip"]].concat());
    assert_eq!(v["points"][0]["recall"]["10"], 1.0, "rows keep their numbers: {v}");

    assert!(with(&["--index", "Flat", "--truth", &truth], 2).contains("k = 10"));
    assert!(with(&["--index", "IVF4,Flatt"], 2).contains("did you mean Flat?"));
    assert!(with(&["--index", "IVF400,Flat"], 2).contains("400"));
    with(&["--index", "Flat", "-k", "0"], 2);
    with(&["--index", "Flat", "--nprobe", "0"], 2);
    with(&["--index", "Flat", "--repeat", "0"], 2);
    with(&["--index", "Flat", "--report", &dir.file("no/such/report.html")], 1);
    with(&["--index", "Flat", "--scratch", &dir.file("no-such")], 1);
}

#[test]
fn the_demo_runs_on_what_comes_with_it() {
    let dir = Folder::new();
    let out = dir.file("demo");
    let v = json(&["demo", "-o", &out, "--quiet"]);
    assert_eq!((&v["n"], &v["d"], &v["queries"], &v["metric"]), (&json!(5000), &json!(384), &json!(400), &json!("cosine")));
    let points = v["points"].as_array().unwrap();
    assert_eq!(points.len(), 13);
    for spec in ["LMI72,Flat", "IVF72,Flat", "IVF72,RaBitQ4,Refine(SQ8)"] {
        let recalls: Vec<f64> =
            points.iter().filter(|p| p["spec"] == spec).map(|p| p["recall"]["10"].as_f64().unwrap()).collect();
        assert!(recalls.windows(2).all(|w| w[0] < w[1]) && recalls[0] > 0.4 && recalls[3] > 0.8, "{spec}: {recalls:?}");
    }
    let neighbors = v["example"]["neighbors"].as_array().unwrap();
    assert_eq!((v["example"]["query"].as_str(), neighbors.len()), (Some("freetuxtv"), 10));
    assert!(neighbors.iter().any(|n| n["id"] == "freetuxtv" && n["list_visited"] == 1), "{neighbors:?}");
    let html = std::fs::read_to_string(format!("{out}/report.html")).unwrap();
    assert!(html.contains("Internet television and radio player") && html.contains("<svg") && !html.contains("<script"));

    // what it leaves is an index like any other, with names
    let data = format!("{}/../../data/debtext-demo.h5", env!("CARGO_MANIFEST_DIR"));
    let found = good(&["search", &format!("{out}/lmi"), "--queries", &data, "--nprobe", "72", "-k", "1"]);
    assert!(found.contains("7kaa"), "{found}");
}

#[test]
fn the_demo_takes_other_vectors() {
    let dir = Folder::new();
    let base = dir.write("mine.fvecs", fvecs(&rows(800, 12, 1), 12));
    let out = dir.file("demo");
    let r = run(&["demo", "--base", &base, "--lists", "4", "-k", "5", "--show", "3", "-o", &out]);
    assert_eq!(r.code, Some(0), "{r:?}");
    assert!(r.out.contains("recall@5 by lists visited, of 4") && r.out.contains("query: row "), "{}", r.out);
    assert!(r.err.contains("720 vectors of 12 dimensions (mine.fvecs), l2; 80 queries (80 rows held out)"), "{}", r.err);
    let v = json(&["demo", "--base", &base, "--queries", &base, "--lists", "4", "-o", &out, "--quiet"]);
    let last = |spec: &str| v["points"].as_array().unwrap().iter().rfind(|p| p["spec"] == spec).unwrap()["recall"]["10"].clone();
    assert_eq!((last("LMI4,Flat"), last("IVF4,Flat")), (json!(1.0), json!(1.0)), "all lists find all");

    bad(&["demo", "--base", &base, "--show", "80", "-o", &out], 2);
    bad(&["demo", "--base", &base, "--lists", "801", "-o", &out], 2);
    bad(&["demo", "--base", &dir.file("none.h5"), "-o", &out], 1);
    bad(&["demo", "--base", &base, "-k", "0", "-o", &out], 2);
    assert!(bad(&["demo", "-o", &base], 2).contains("a file is there"));
}
