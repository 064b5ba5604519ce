//! info, convert, exact, kmeans: the binary on files.

mod run;

use run::{Folder, bad, fixture, fvecs, good, json, rows, run};
use serde_json::Value;

fn truth() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("cli/truth.json")).unwrap()).unwrap()
}

/// The ids of a csv result, a row a query.
fn csv_ids(path: &str) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(path).unwrap();
    let mut all: Vec<(String, Vec<String>)> = Vec::new();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        match all.last_mut() {
            Some(last) if last.0 == cells[0] => last.1.push(cells[2].into()),
            _ => all.push((cells[0].into(), vec![cells[2].into()])),
        }
    }
    all.into_iter().map(|r| r.1).collect()
}

fn expected(metric: &str, name: impl Fn(u64) -> String) -> Vec<Vec<String>> {
    let t = truth();
    let rows = t[metric]["ids"].as_array().unwrap();
    rows.iter().map(|r| r.as_array().unwrap().iter().map(|i| name(i.as_u64().unwrap())).collect()).collect()
}

#[test]
fn exact_is_what_numpy_finds_for_every_metric_and_layout() {
    let (base, queries, dir) = (fixture("cli/base.npy"), fixture("cli/queries.npy"), Folder::new());
    for metric in ["l2", "ip", "cosine"] {
        let out = dir.file(&format!("{metric}.csv"));
        good(&["exact", "--base", &base, "--queries", &queries, "--metric", metric, "-o", &out]);
        assert_eq!(csv_ids(&out), expected(metric, |i| i.to_string()), "{metric}");
    }
    for ending in ["h5", "json", "npz", "ivecs", "ibin", "csv", "tsv", "trec"] {
        let out = dir.file(&format!("r.{ending}"));
        let v = json(&["exact", "--base", &base, "--queries", &queries, "--metric", "cosine", "-o", &out]);
        assert_eq!(v["out"], out);
        let e = json(&["eval", &out, "--truth", &fixture("cli/gold_cosine_sisap.h5"), "-k", "1,10"]);
        assert_eq!((&e["recall"]["1"], &e["recall"]["10"]), (&1.0.into(), &1.0.into()), "{ending}: {e}");
    }
    let sisap = dir.file("sisap.h5");
    let call = ["exact", "--base", &base, "--queries", &queries, "--metric", "cosine", "--layout", "sisap", "-o"];
    good(&[&call[..], &[&sisap, "--attr", "buildtime=12.53125", "data=laion2B-100K"]].concat());
    let bytes = std::fs::read(&sisap).unwrap();
    let has = |wanted: &[u8]| bytes.windows(wanted.len()).any(|w| w == wanted);
    assert!(has(b"laion2B-100K") && has(&12.53125f64.to_le_bytes()), "attributes are those asked for");
    let json_file = dir.file("x.json");
    let plain = ["exact", "--base", &base, "--queries", &queries, "-o", &json_file, "--attr", "data=x"];
    assert!(bad(&plain, 2).contains("no attributes"));
    assert!(bad(&[&call[..], &[&sisap, "--attr", "data"]].concat(), 2).contains("NAME=VALUE"));
    let info = json(&["info", &sisap]);
    let names: Vec<&str> = info["files"][0]["datasets"].as_array().unwrap().iter().map(|d| d["name"].as_str().unwrap()).collect();
    assert!(names.contains(&"knns") && names.contains(&"dists"), "{names:?}");
}

#[test]
fn exact_reports_what_the_issue_asks() {
    let (base, queries) = (fixture("cli/base.npy"), fixture("cli/queries.npy"));
    let v = json(&["exact", "--base", &base, "--queries", &queries, "-k", "3", "--threads", "1"]);
    for (key, value) in [("command", "exact".into()), ("n", Value::from(240)), ("d", 8.into()), ("queries", 15.into())] {
        assert_eq!(v[key], value, "{key}");
    }
    assert_eq!((&v["k"], &v["metric"], &v["threads"]), (&3.into(), &"l2".into(), &1.into()));
    assert!(v["seconds"]["search"].as_f64() > Some(0.0) && v["seconds"]["read"].is_number());
    assert!(v["queries_per_second"].as_f64() > Some(0.0));
    let first: Vec<u64> = v["results"][0]["ids"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect();
    assert_eq!(first, truth()["l2"]["ids"][0].as_array().unwrap()[..3].iter().map(|i| i.as_u64().unwrap()).collect::<Vec<_>>());
    // people see a table
    let text = good(&["exact", "--base", &base, "--queries", &queries, "-k", "3"]);
    assert!(text.contains("query  rank") && text.contains("12 more queries"), "{text}");
}

#[test]
fn one_ann_benchmarks_file_is_base_queries_and_metric() {
    let (file, dir) = (fixture("cli/angular.hdf5"), Folder::new());
    let out = dir.file("r.csv");
    let r = run(&["exact", "--base", &file, "--queries", &file, "-o", &out]);
    assert!(r.err.contains("metric cosine"), "{r:?}");
    assert_eq!(csv_ids(&out), expected("cosine", |i| i.to_string()));
    assert_eq!(json(&["eval", &out, "--truth", &file])["recall"]["10"], 1.0);
}

#[test]
fn string_ids_come_back() {
    let (file, dir) = (fixture("cli/named.hdf5"), Folder::new());
    let (csv, h5) = (dir.file("r.csv"), dir.file("r.h5"));
    let args = ["exact", "--base", &file, "--queries", &fixture("cli/queries.npy"), "-o"];
    good(&[&args[..], &[&csv]].concat());
    assert_eq!(csv_ids(&csv), expected("l2", |i| format!("class{}/img_{i:03}.jpg", i % 7)));
    good(&[&args[..], &[&h5]].concat());
    let info = json(&["info", &h5]);
    let sets = info["files"][0]["datasets"].as_array().unwrap();
    assert!(sets.iter().any(|d| d["name"] == "ids" && d["dtype"] == "str"), "{info}");
}

#[test]
fn a_set_is_searched_in_itself() {
    let base = fixture("cli/base.npy");
    let v = json(&["exact", "--base", &base, "--queries", &base, "-k", "2"]);
    assert_eq!(v["results"][7]["ids"][0], 7);
    let v = json(&["exact", "--base", &base, "--queries", &base, "-k", "2", "--exclude-self"]);
    let ids = v["results"].as_array().unwrap().iter().map(|r| r["ids"].as_array().unwrap());
    ids.enumerate().for_each(|(i, ids)| assert!(!ids.contains(&i.into()), "{i}"));
}

#[test]
fn self_is_told_by_name_where_there_are_names() {
    let dir = Folder::new();
    let named = |name: &str, ids: &[usize]| {
        let all = rows(30, 4, 1);
        let line = |&i: &usize| {
            let values: Vec<String> = all[i * 4..i * 4 + 4].iter().map(f32::to_string).collect();
            format!("doc{i},{}\n", values.join(","))
        };
        dir.write(name, ids.iter().map(line).collect::<String>())
    };
    let (base, some) = (named("base.csv", &(0..30).collect::<Vec<_>>()), named("some.csv", &[17, 3, 28]));
    let v = json(&["exact", "--base", &base, "--queries", &some, "-k", "29", "--exclude-self"]);
    for (row, own) in v["results"].as_array().unwrap().iter().zip(["doc17", "doc3", "doc28"]) {
        let ids = row["ids"].as_array().unwrap();
        assert!(row["query"] == own && ids.len() == 29 && !ids.contains(&own.into()), "{row}");
    }
    assert_eq!(json(&["exact", "--base", &base, "--queries", &some, "-k", "30", "--exclude-self"])["short_rows"], 3);
}

#[test]
fn many_files_are_one_dataset() {
    let dir = Folder::new();
    let all = rows(90, 6, 1);
    let whole = dir.write("whole.fvecs", fvecs(&all, 6));
    for (i, part) in all.chunks(30 * 6).enumerate() {
        dir.write(&format!("part_{i}.fvecs"), fvecs(part, 6));
    }
    let queries = dir.write("q.fvecs", fvecs(&rows(5, 6, 2), 6));
    let results = |base: &[&str]| {
        let v = json(&[&["exact", "--queries", &queries, "-k", "4"], base].concat());
        assert_eq!(v["n"], 90);
        v["results"].clone()
    };
    let one = results(&["--base", &whole]);
    let (a, b, c) = (dir.file("part_0.fvecs"), dir.file("part_1.fvecs"), dir.file("part_2.fvecs"));
    assert_eq!(results(&["--base", &a, &b, &c]), one);
    assert_eq!(results(&["--base", &a, "--base", &b, "--base", &c]), one);
    assert_eq!(results(&["--base", &dir.file("part_*.fvecs")]), one);
    assert_eq!(results(&["--base", &dir.file("part_{idx}.fvecs")]), one);
    assert_eq!(results(&["--base", &whole, "--threads", "1", "--memory-limit", "1G"]), one);
}

#[test]
fn info_tells_what_matters() {
    let v = json(&["info", &fixture("cli/named.hdf5")]);
    assert_eq!((&v["n"], &v["d"], &v["dtype"], &v["format"]), (&240.into(), &8.into(), &"f32".into(), &"hdf5".into()));
    assert_eq!((&v["finite"], &v["unit_norm"], &v["ids"]["count"]), (&true.into(), &false.into(), &240.into()));
    let text = good(&["info", &fixture("cli/named.hdf5")]);
    assert!(text.contains("240 x 8 f32") && text.contains("class0/img_000.jpg"), "{text}");
}

#[test]
fn convert_goes_there_and_back() {
    let (base, dir) = (fixture("cli/base.npy"), Folder::new());
    let mut last = base.clone();
    for ending in ["h5", "fvecs", "fbin", "csv", "npy"] {
        let next = dir.file(&format!("x.{ending}"));
        let v = json(&["convert", &last, &next]);
        assert_eq!((&v["n"], &v["d"], &v["out"]), (&240.into(), &8.into(), &next.clone().into()));
        last = next;
    }
    assert_eq!(std::fs::read(&last).unwrap(), std::fs::read(&base).unwrap(), "five conversions change nothing");
    good(&["convert", &base, &dir.file("half.npy"), "--dtype", "f16"]);
    assert_eq!(json(&["info", &dir.file("half.npy")])["dtype"], "f16");
    good(&["convert", &base, &dir.file("n.h5"), "--dataset", "emb"]);
    assert_eq!(json(&["info", &format!("{}::emb", dir.file("n.h5"))])["n"], 240);
    bad(&["convert", &base, &dir.file("x.u8bin")], 1); // not whole numbers
    bad(&["convert", &base, &dir.file("x.what")], 2);
    bad(&["convert", &last, &last], 2);
    assert!(!dir.list().iter().any(|f| f.contains("u8bin") || f.contains("what") || f.contains("tmp")), "{:?}", dir.list());
}

#[test]
fn kmeans_writes_centroids_that_do_not_depend_on_threads() {
    let (base, dir) = (fixture("cli/base.npy"), Folder::new());
    let run = |out: &str, more: &[&str]| {
        let out = dir.file(out);
        let v = json(&[&["kmeans", "--base", &base, "-k", "10", "-o", &out], more].concat());
        (v, std::fs::read(&out).unwrap())
    };
    let (v, one) = run("one.npy", &["--threads", "1"]);
    assert_eq!((&v["n"], &v["k"], &v["d"], &v["trained_on"]), (&240.into(), &10.into(), &8.into(), &240.into()));
    let objective: Vec<f64> = v["objective"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap()).collect();
    assert!(objective.windows(2).all(|w| w[1] <= w[0] * (1.0 + 1e-9)), "{objective:?}");
    assert_eq!(run("two.npy", &["--threads", "2"]).1, one);
    assert_ne!(run("seed.npy", &["--seed", "5"]).1, one);
    assert_eq!(json(&["info", &dir.file("one.npy")])["n"], 10);
    run("more.npy", &["--init", "kmeans++", "--nredo", "2", "--max-points", "12", "--spherical", "--niter", "3"]);
    assert_eq!(json(&["info", &dir.file("more.npy")])["unit_norm"], true);
    // every ending that vectors can be written to
    run("c.h5", &[]);
    assert_eq!(json(&["info", &dir.file("c.h5")])["format"], "hdf5");
}

#[test]
fn a_closed_pipe_is_no_error() {
    use std::process::Stdio;
    let mut child = run::command(&["exact", "--help"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let o = child.wait_with_output().unwrap();
    assert!(o.stderr.is_empty(), "{:?}", String::from_utf8_lossy(&o.stderr));
    let base = fixture("cli/base.npy");
    let args = ["exact", "--base", &base, "--queries", &base];
    let mut child = run::command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let o = child.wait_with_output().unwrap();
    assert!(o.status.success() && o.stderr.is_empty(), "{o:?}");
}
