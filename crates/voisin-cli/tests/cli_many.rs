//! Several indexes as one, merging, pairs: through the binary.

mod run;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use run::{Folder, bad, command, fixture, fvecs, good, json, rows, tree};
use serde_json::Value;

/// What numpy computed in f64.
fn truth() -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture("cli/truth.json")).unwrap()).unwrap()
}

/// A base in three files, an index of all of it, and one of each file with the same model, in the folder `parts`.
struct World {
    dir: Folder,
    whole: String,
    parts: Vec<String>,
    queries: String,
}

impl World {
    fn new(n: usize, d: usize, spec: &str) -> World {
        let dir = Folder::new();
        let all = rows(n, d, 1);
        let (whole, queries) = (dir.file("whole"), dir.write("q.fvecs", fvecs(&rows(30, d, 2), d)));
        let base = dir.write("base.fvecs", fvecs(&all, d));
        good(&["build", "--base", &base, "--index", spec, "-o", &whole, "--niter", "4", "-q"]);
        std::fs::create_dir(dir.file("parts")).unwrap();
        let part = |i: usize| {
            let (from, to) = (i * n / 3, (i + 1) * n / 3);
            let (base, first) = (dir.write(&format!("b{i}.fvecs"), fvecs(&all[from * d..to * d], d)), from.to_string());
            let out = dir.file(&format!("parts/p{}", i + 8)); // p8, p9, p10
            good(&["build", "--base", &base, "--like", &whole, "--first-id", &first, "-o", &out, "-q"]);
            out
        };
        let parts = (0..3).map(part).collect();
        World { whole, parts, queries, dir }
    }

    fn parts(&self) -> Vec<&str> {
        self.parts.iter().map(String::as_str).collect()
    }

    /// Results of some indexes, and what the search says beside them.
    fn search(&self, indexes: &[&str], more: &[&str]) -> Value {
        json(&[&["search"], indexes, &["--queries", &self.queries], more].concat())
    }
}

#[test]
fn parts_are_searched_as_one_index() {
    let w = World::new(3000, 16, "IVF24,RaBitQ4,Refine(SQ8)");
    let allow = w.dir.write("allow.txt", (0..3000).step_by(7).map(|i| format!("{i}\n")).collect::<String>() + "99999\n");
    let deny = w.dir.write("deny.txt", (0..3000).filter(|i| i % 3 > 0).map(|i| format!("{i}\n")).collect::<String>());
    let (folder, pattern) = (w.dir.file("parts"), w.dir.file("parts/p*"));
    for more in [
        &["--nprobe", "4"][..],
        &["--nprobe", "99", "-k", "25", "--refine", "30"],
        &["--nprobe", "4", "--allow", &allow],
        &["--nprobe", "4", "--deny", &deny, "--mode", "single", "--threads", "1"],
        &["--id", "17", "1700", "--nprobe", "6", "--exclude-self"],
    ] {
        let ask = |indexes: &[&str]| {
            let queries = if more[0] == "--id" { &[][..] } else { &["--queries", &w.queries] };
            json(&[&["search"], indexes, queries, more].concat())
        };
        let whole = ask(&[&w.whole]);
        assert!(whole["indexes"].is_null());
        for indexes in [w.parts(), vec![folder.as_str()], vec![pattern.as_str()]] {
            let found = ask(&indexes);
            for key in ["n", "d", "spec", "metric", "results", "scanned_per_query", "lists_per_query", "filter", "short_rows"] {
                assert_eq!(found[key], whole[key], "{more:?} {key}");
            }
            let names: Vec<&str> = found["indexes"].as_array().unwrap().iter().map(|n| n.as_str().unwrap()).collect();
            assert_eq!(names, w.parts(), "in the order in which people count");
        }
    }
    // a target goes by the calibration of a part, and is met
    let out = w.dir.file("truth.h5");
    good(&["exact", "--base", &w.dir.file("base.fvecs"), "--queries", &w.queries, "-o", &out]);
    let v = w.search(&w.parts(), &["--recall", "0.8", "--truth", &out]);
    assert!(v["recall"]["10"].as_f64().unwrap() >= 0.75 && v["lists_per_query"].as_f64() < Some(24.0), "{v}");
    // results as files name every part the same way
    let (a, b) = (w.dir.file("a.npz"), w.dir.file("b.npz"));
    good(&["search", &w.whole, "--queries", &w.queries, "--nprobe", "3", "-o", &a]);
    good(&[&["search"], &w.parts()[..], &["--queries", &w.queries, "--nprobe", "3", "-o", &b]].concat());
    assert!(std::fs::read(a).unwrap() == std::fs::read(b).unwrap());

    let v = json(&["info", &folder]);
    assert_eq!((&v["n"], &v["segments"], v["folders"].as_array().unwrap().len()), (&3000.into(), &3.into(), 3));
    assert_eq!((&v["folders"][1]["path"], &v["folders"][1]["n"]), (&w.parts[1].clone().into(), &1000.into()));
    assert!(v["bytes"].as_u64() >= v["folders"].as_array().unwrap().iter().map(|f| f["bytes"].as_u64()).sum::<Option<u64>>());
    let text = good(&["info", &folder]);
    assert!(text.contains("3 indexes of one model") && text.contains("/p9  1,000 vectors"), "{text}");
}

#[test]
fn merged_is_what_one_build_makes() {
    for spec in ["Flat", "IVF24,SQ8", "LMI12(16),RaBitQ4,Refine(F16)"] {
        let w = World::new(2400, 12, spec);
        let (out, folder) = (w.dir.file("out"), w.dir.file("parts"));
        let v = json(&["merge", &folder, "-o", &out]);
        assert_eq!((&v["n"], &v["indexes"], &v["dropped"], &v["segments"]), (&2400.into(), &3.into(), &0.into(), &1.into()));
        for file in ["model.vsn", "segments/00001-0000.vsn"] {
            let read = |dir: &str| std::fs::read(Path::new(dir).join(file)).unwrap();
            assert!(read(&w.whole) == read(&out), "{spec}: {file}");
        }
        assert_eq!(json(&["verify", &out])["sound"], true);
        let bytes = tree(Path::new(&out));
        // again, over what is there, with fewer threads
        good(&["merge", &folder, "-o", &out, "--threads", "1"]);
        let search = |index: &str| w.search(&[index], &["--nprobe", "5"])["results"].clone();
        assert_eq!(search(&out), search(&w.whole));
        assert_eq!(bytes.len(), tree(Path::new(&out)).len());

        // adding to a part, and removing, then merged again
        let more = w.dir.write("more.fvecs", fvecs(&rows(10, 12, 9), 12));
        good(&["add", &w.parts[2], "--base", &more]);
        good(&["remove", &w.parts[0], "--ids", "0", "5", "799"]);
        good(&["add", &w.whole, "--base", &more]);
        good(&["remove", &w.whole, "--ids", "0", "5", "799"]);
        let together = w.search(&w.parts(), &["--nprobe", "5"])["results"].clone();
        assert_eq!(together, search(&w.whole), "{spec}");
        let v = json(&["merge", &folder, "-o", &out]);
        assert_eq!((&v["n"], &v["dropped"]), (&2407.into(), &3.into()));
        assert_eq!(search(&out), together);
        // and the merged index goes on like any other
        assert!(bad(&["add", &out, "--base", &more, "--replace", "--memory-limit", "x"], 2).contains("500M"));
        assert_eq!(json(&["add", &out, "--base", &more])["n"], 2417);
        assert_eq!(json(&["remove", &out, "--ids", "2415"])["n"], 2416);
        assert_eq!(json(&["compact", &out])["segments"], 1);
        assert_eq!(json(&["verify", &out])["sound"], true);
        // with a part of its own model it goes together too
        let ids = ["--first-id", "5000"];
        let last = w.dir.file("last");
        good(&[&["build", "--base", &more, "--like", &out, "-o", &last, "-q"][..], &ids].concat());
        assert_eq!(w.search(&[&out, &last], &[])["n"], 2426);
    }
}

#[test]
fn strings_stay_strings() {
    let dir = Folder::new();
    let base = fixture("cli/named.hdf5");
    let (a, b) = (dir.file("a"), dir.file("b"));
    good(&["build", "--base", &base, "--index", "IVF7,Flat", "-o", &a, "-q"]);
    good(&["build", "--base", &base, "--like", &a, "-o", &b, "-q"]);
    let message = bad(&["search", &a, &b, "--queries", &fixture("cli/queries.npy")], 1);
    assert!(message.contains("id class0/img_000.jpg: stands in") && message.contains(&a) && message.contains(&b), "{message}");
    let even: Vec<String> = (0..240).filter(|i| i % 2 == 0).map(|i| format!("class{}/img_{i:03}.jpg", i % 7)).collect();
    let odd: Vec<String> = (0..240).filter(|i| i % 2 == 1).map(|i| format!("class{}/img_{i:03}.jpg", i % 7)).collect();
    for (index, gone) in [(&a, &even), (&b, &odd)] {
        good(&["remove", index, "--ids-file", &dir.write("gone.txt", gone.join("\n"))]);
    }
    let out = dir.file("out");
    assert_eq!(json(&["merge", &a, &b, "-o", &out])["n"], 240);
    for index in [vec![a.as_str(), &b], vec![out.as_str()]] {
        let queries = fixture("cli/queries.npy");
        let v = json(&[&["search"], &index[..], &["--queries", &queries, "--nprobe", "7"]].concat());
        for (row, want) in v["results"].as_array().unwrap().iter().zip(truth()["l2"]["ids"].as_array().unwrap()) {
            let want: Vec<String> = want
                .as_array()
                .unwrap()
                .iter()
                .map(|i| format!("class{}/img_{:03}.jpg", i.as_u64().unwrap() % 7, i.as_u64().unwrap()))
                .collect();
            let found: Vec<&str> = row["ids"].as_array().unwrap().iter().map(|i| i.as_str().unwrap()).collect();
            assert_eq!(found, want);
        }
        let v = json(&[&["search"], &index[..], &["--id", "class3/img_003.jpg", "-k", "1", "--nprobe", "7"]].concat());
        assert_eq!(v["results"][0]["ids"][0], "class3/img_003.jpg");
    }
    assert_eq!(json(&["verify", &out])["sound"], true);
}

#[test]
fn indexes_that_do_not_go_together_are_named() {
    let w = World::new(600, 8, "IVF4,Flat");
    let out = w.dir.file("out");
    let (base, a) = (w.dir.file("base.fvecs"), w.parts[0].clone());
    let build = |name: &str, more: &[&str]| {
        let path = w.dir.file(name);
        good(&[&["build", "--base", &base, "-o", &path, "-q"], more].concat());
        path
    };
    let seed = build("seed", &["--index", "IVF4,Flat", "--seed", "7"]);
    let ip = build("ip", &["--index", "IVF4,Flat", "--metric", "ip"]);
    for (b, what) in [(&seed, "another model"), (&ip, "metric ip, where")] {
        for args in [vec!["search", &a, b, "--queries", &w.queries], vec!["merge", &a, b, "-o", &out], vec!["info", &a, b]] {
            let message = bad(&args, 1);
            assert!(message.contains(what) && message.contains(&a) && message.contains(b.as_str()), "{message}");
            assert!(message.contains("--like"), "{message}");
        }
    }
    // the whole holds what its parts hold
    assert!(bad(&["merge", &a, &w.whole, "-o", &out], 1).contains("id 0: stands in"));
    assert!(bad(&["search", &a, &a, "--queries", &w.queries], 2).contains("each folder once"));
    assert!(bad(&["merge", &a, "-o", &a], 2).contains("another folder"));
    let folder = w.dir.file("parts");
    assert!(bad(&["merge", &folder, "-o", &w.dir.file("parts/out")], 2).contains("become one of the parts"));
    assert!(bad(&["merge", &folder, "-o", &out, "--memory-limit", "5M"], 1).contains("memory limit"));
    assert!(bad(&["merge", &folder, "-o", &base], 2).contains("a file is there"));
    assert!(bad(&["search", &w.dir.file("none*"), "--queries", &w.queries], 1).contains("no index matches"));
    assert!(bad(&["search", &a, &base, "--queries", &w.queries], 1).contains("an index is a folder"));
    assert!(!Path::new(&out).exists());
    bad(&["build", "--base", &base, "--like", &w.whole, "--index", "IVF5,Flat", "-o", &out], 1);
    bad(&["build", "--base", &base, "--like", &w.whole, "--metric", "ip", "-o", &out], 1);
    bad(&["build", "--base", &base, "--like", &w.whole, "--niter", "3", "-o", &out], 2);
    // a part that is not finished, or lost its manifest, is not left out without a word
    std::fs::remove_file(Path::new(&w.parts[1]).join("manifest.json")).unwrap();
    let pattern = w.dir.file("parts/*");
    for input in [&folder, &pattern] {
        for args in [vec!["search", input, "--queries", &w.queries], vec!["info", input], vec!["merge", input, "-o", &out]] {
            let message = bad(&args, 1);
            assert!(message.contains("p9: an index without manifest.json"), "{args:?}: {message}");
        }
    }
}

#[test]
fn what_is_added_to_a_part_can_be_numbered_above_the_others() {
    let w = World::new(600, 8, "IVF4,Flat");
    let (folder, more) = (w.dir.file("parts"), w.dir.write("more.fvecs", fvecs(&rows(10, 8, 9), 8)));
    let low = bad(&["add", &w.parts[0], "--base", &more, "--first-id", "199"], 2);
    assert!(low.contains("first-id = 199: 200 or more"), "{low}");
    assert_eq!(json(&["add", &w.parts[0], "--base", &more, "--first-id", "600"])["n"], 210);
    assert_eq!(json(&["info", &folder])["n"], 610);
    let v = json(&["search", &folder, "--queries", &more, "--nprobe", "4", "-k", "1"]);
    assert_eq!(v["results"][9]["ids"][0], 609);
    // numbered on from the part's own largest they meet those of the next part, and the error says what to do
    good(&["add", &w.parts[1], "--base", &more]);
    let message = bad(&["info", &folder], 1);
    assert!(message.contains("id 400: stands in") && message.contains("--first-id"), "{message}");
    // strings are no numbers
    let (named, index) = (fixture("cli/named.hdf5"), w.dir.file("named"));
    good(&["build", "--base", &named, "--index", "Flat", "-o", &index, "-q"]);
    assert!(bad(&["add", &index, "--base", &named, "--first-id", "900"], 2).contains("first-id"));
}

#[test]
fn every_part_is_verified() {
    let w = World::new(600, 8, "IVF4,SQ8");
    let folder = w.dir.file("parts");
    let v = json(&["verify", &folder]);
    assert_eq!((&v["sound"], &v["n"], v["indexes"].as_array().unwrap().len()), (&true.into(), &600.into(), 3));
    let segment = Path::new(&w.parts[1]).join("segments/00001-0000.vsn");
    let mut bytes = std::fs::read(&segment).unwrap();
    let codes = (0..bytes.len()).find(|&i| bytes[i..].starts_with(b"codes")).unwrap();
    let at = u64::from_le_bytes(bytes[codes + 8..codes + 16].try_into().unwrap()) as usize;
    bytes[at + 5] ^= 1;
    std::fs::write(&segment, bytes).unwrap();
    for args in [vec!["verify", &folder], vec!["verify", &w.parts[0], &w.parts[1]], vec!["verify", &w.parts[1]]] {
        let out = run::run(&[&args[..], &["--json"]].concat());
        let v: Value = serde_json::from_str(&out.out).unwrap();
        let problems = v["problems"].as_array().unwrap();
        assert_eq!((out.code, problems.len()), (Some(1), 1), "one damage is one problem: {v}");
        assert_eq!(problems[0]["path"], segment.display().to_string());
        if args.len() > 2 {
            assert_eq!((&v["indexes"][0]["sound"], &v["indexes"][1]["sound"]), (&true.into(), &false.into()));
        }
    }
    // one that cannot be opened at all does not hide the others
    std::fs::write(Path::new(&w.parts[0]).join("manifest.json"), "{}").unwrap();
    let out = run::run(&["verify", &folder]);
    assert_eq!(out.code, Some(1));
    assert!(out.out.contains("3 indexes: ") && out.out.contains(": 2 damaged"), "{}", out.out);
    assert!(out.out.contains("/p8: 0 files") && out.out.contains("/p10: 3 files"), "{}", out.out);
}

#[test]
fn folders_above_an_index_are_made() {
    let dir = Folder::new();
    let base = dir.write("b.fvecs", fvecs(&rows(40, 4, 1), 4));
    let (a, b, c) = (dir.file("new/parts/0"), dir.file("new/parts/1"), dir.file("merged/deep/index"));
    good(&["build", "--base", &base, "--index", "Flat", "-o", &a, "-q"]);
    good(&["build", "--base", &base, "--like", &a, "--first-id", "40", "-o", &b, "-q"]);
    let text = good(&["merge", &dir.file("new/parts"), "-o", &c]);
    assert!(text.contains("80 vectors"), "{text}");
    let text = good(&["info", &dir.file("new/parts")]);
    assert!(text.contains(", 1 segment\n") && !text.contains("1 segments"), "{text}");
    let (file, back) = (dir.file("x.index"), dir.file("from/faiss/index"));
    good(&["convert", &c, &file]);
    good(&["convert", &file, &back]);
    assert_eq!(json(&["info", &back])["n"], 80);
    // what is in the way of a merge is named
    let message = bad(&["merge", &a, &b, "-o", &dir.file("new")], 1);
    assert!(message.contains("it holds the folder \"parts\""), "{message}");
}

#[test]
fn an_id_twice_is_named_with_both_files() {
    let dir = Folder::new();
    let part = |name: &str, ids: &str| {
        let lines: String = ids.split(' ').map(|id| format!("{id},1.5,2.5\n")).collect();
        dir.write(name, format!("id,a,b\n{lines}"))
    };
    part("f0.csv", "x y z");
    part("f1.csv", "u v y");
    let message = bad(&["build", "--base", &dir.file("f*.csv"), "-o", &dir.file("out")], 1);
    assert!(message.contains("id y: stands twice: row 1 of") && message.contains("f0.csv and row 2 of"), "{message}");
    assert!(message.contains("f1.csv"), "{message}");
}

#[test]
fn no_more_neighbours_than_there_are() {
    let w = World::new(300, 8, "IVF4,Flat");
    let (base, few) = (w.dir.file("base.fvecs"), w.dir.write("few.txt", "3\n5\n8\n"));
    let (index, base) = (["search", &w.whole, "--queries", &w.queries], ["exact", "--base", &base, "--queries", &w.queries]);
    for command in [&index[..], &base] {
        let allowed = [command, &["--allow", &few]].concat();
        for args in [command, &allowed] {
            let message = bad(&[args, &["-k", "301"]].concat(), 2);
            assert!(message.contains("k = 301: at most the 300 vectors of"), "{message}");
        }
        let v = json(&[&allowed[..], &["-k", "50"]].concat());
        assert_eq!((&v["k"], &v["short_rows"]), (&50.into(), &30.into()));
        assert_eq!(v["results"][0]["ids"].as_array().unwrap().len(), 3);
        let text = good(&[&allowed[..], &["-k", "50"]].concat());
        assert!(text.contains("30 queries have fewer than 50 neighbours") && !text.contains("visit more"), "{text}");
    }
    let text = good(&[&index[..], &["-k", "300"]].concat());
    assert!(text.contains("fewer than 300 neighbours: visit more lists"), "{text}");
    let text = good(&[&index[..], &["-k", "300", "--nprobe", "4"]].concat());
    assert!(!text.contains("fewer than"), "{text}");
    assert!(bad(&["search", &w.dir.file("parts"), "--queries", &w.queries, "-k", "301"], 2).contains("300 vectors"));
}

/// Starts it, kills it at some moments, each time going on; then lets it end.
fn killed(args: &[&str], full: Duration, done: &Path) {
    for i in 1..=8u32 {
        let mut child = command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
        std::thread::sleep(full * i / 9);
        let _ = child.kill();
        child.wait().expect("it ends");
        if done.exists() {
            return;
        }
    }
    good(args);
}

#[test]
fn a_merge_goes_on_where_it_was_killed() {
    let w = World::new(60_000, 32, "IVF64,RaBitQ4,Refine(SQ8)");
    let (whole, cut, folder) = (w.dir.file("out"), w.dir.file("cut"), w.dir.file("parts"));
    let clock = Instant::now();
    good(&["merge", &folder, "-o", &whole]);
    let full = clock.elapsed();
    killed(&["merge", &folder, "-o", &cut], full, &Path::new(&cut).join("manifest.json"));
    // killed after the last rename it only leaves its journal, which the next change removes
    let files = |dir: &str| {
        let mut all = tree(Path::new(dir));
        all.retain(|f| f.0 != Path::new("journal.json"));
        all
    };
    let (a, b) = (files(&whole), files(&cut));
    assert_eq!(a.iter().map(|f| &f.0).collect::<Vec<_>>(), b.iter().map(|f| &f.0).collect::<Vec<_>>());
    assert!(a == b, "same files, other bytes");
}

#[test]
fn pairs_are_what_numpy_finds() {
    let dir = Folder::new();
    let (base, queries) = (fixture("cli/base.npy"), fixture("cli/queries.npy"));
    let column = |file: &str, set: &str| -> Vec<f64> {
        let csv = dir.file("x.csv");
        good(&["convert", &format!("{file}::{set}"), &csv, "-q"]);
        std::fs::read_to_string(&csv).unwrap().lines().map(|l| l.parse().unwrap()).collect()
    };
    for metric in ["l2", "ip", "cosine"] {
        let (out, one) = (dir.file(&format!("{metric}.h5")), dir.file("one.npz"));
        let args = ["--base", &base, "--queries", &queries, "--metric", metric];
        let v = json(&[&["pair"], &args[..], &["-o", &out]].concat());
        assert_eq!((&v["command"], &v["k"], &v["queries"]), (&"pair".into(), &1.into(), &15.into()));
        let first =
            |key: &str| -> Vec<f64> { truth()[metric][key].as_array().unwrap().iter().map(|r| r[0].as_f64().unwrap()).collect() };
        let (ids, want) = (first("ids"), first("distances"));
        let near =
            |a: &[f64], b: &[f64]| a.len() == b.len() && a.iter().zip(b).all(|(a, b)| (a - b).abs() < 2e-5 * b.abs().max(1.0));
        assert!(near(&column(&out, "distances"), &want));
        let similar: Vec<f64> = want.iter().map(|d| if metric == "cosine" { 1.0 - d } else { *d }).collect();
        if metric == "l2" {
            assert!(v["similarity"].is_null() && v["distance"]["mean"].is_number());
        } else {
            assert!(near(&column(&out, "similarity"), &similar), "{metric}");
            let mean = similar.iter().sum::<f64>() / 15.0;
            assert!((v["similarity"]["mean"].as_f64().unwrap() - mean).abs() < 1e-4 * mean.abs().max(1.0), "{v}");
        }
        // it is exact search with k = 1, in every format
        good(&[&["exact"], &args[..], &["-k", "1", "-o", &one]].concat());
        let npz = dir.file("pair.npz");
        good(&[&["pair"], &args[..], &["-o", &npz]].concat());
        assert!(std::fs::read(&one).unwrap() == std::fs::read(&npz).unwrap());
        let e = json(&["eval", &out, "--truth", &one]);
        assert_eq!(e["recall"]["1"], 1.0, "{e}");
        let shown = json(&[&["pair"], &args[..]].concat());
        let shown: Vec<f64> = shown["results"].as_array().unwrap().iter().map(|r| r["ids"][0].as_f64().unwrap()).collect();
        assert_eq!(shown, ids);
        // and each pair says how similar it is
        let (rows, text) = (json(&[&["pair"], &args[..]].concat())["results"].clone(), good(&[&["pair"], &args[..]].concat()));
        let files = ["csv", "json"].map(|ending| {
            let file = dir.file(&format!("pairs.{ending}"));
            good(&[&["pair"], &args[..], &["-o", &file]].concat());
            std::fs::read_to_string(file).unwrap()
        });
        assert_eq!(text.contains("distance  similarity\n"), metric != "l2", "{text}");
        assert_eq!(files[0].starts_with("query,rank,id,distance,similarity\n"), metric != "l2");
        let filed: Value = serde_json::from_str(&files[1]).unwrap();
        if metric == "l2" {
            assert!(rows[0]["similarities"].is_null() && filed[0]["neighbors"][0]["similarity"].is_null());
        } else {
            let shown: Vec<f64> = rows.as_array().unwrap().iter().map(|r| r["similarities"][0].as_f64().unwrap()).collect();
            let filed: Vec<f64> =
                filed.as_array().unwrap().iter().map(|r| r["neighbors"][0]["similarity"].as_f64().unwrap()).collect();
            let lines: Vec<f64> = files[0].lines().skip(1).map(|l| l.split(',').nth(4).unwrap().parse().unwrap()).collect();
            assert!(near(&shown, &similar) && near(&filed, &similar) && near(&lines, &similar), "{metric}");
        }
        for ending in ["csv", "json"] {
            assert_eq!(json(&["eval", &dir.file(&format!("pairs.{ending}")), "--truth", &one])["recall"]["1"], 1.0);
        }
    }
    assert!(bad(&["pair", "--base", &base], 2).contains("--queries"));
    assert!(
        bad(
            &["pair", "--base", &base, "--queries", &fixture("cli/named.hdf5"), "--metric", "cosine", "-o", &dir.file("no/x.h5")],
            1
        )
        .contains("no such folder")
    );
}

#[test]
fn pairs_stream_both_sides_and_go_on_where_they_were_killed() {
    let dir = Folder::new();
    let (n, d) = (20_000, 64);
    let base = dir.write("base.fvecs", fvecs(&rows(n, d, 1), d));
    let mut captions = rows(60_000, d, 2);
    let queries = dir.write("q.fvecs", fvecs(&captions, d));
    let (whole, cut) = (dir.file("whole.h5"), dir.file("cut.h5"));
    good(&["pair", "--base", &base, "--queries", &queries, "--metric", "ip", "-o", &whole]);
    // the captions alone are 15 MB: not all of them fit at once
    let little =
        ["pair", "--base", &base, "--queries", &queries, "--metric", "ip", "--threads", "1", "--memory-limit", "32M", "-o", &cut];
    let state = dir.file("cut.h5.part");
    let mut child = command(&little).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
    let clock = Instant::now();
    while child.try_wait().unwrap().is_none() && !Path::new(&state).exists() && clock.elapsed() < Duration::from_secs(120) {
        std::thread::sleep(Duration::from_millis(1));
    }
    let running = child.try_wait().unwrap().is_none();
    let _ = child.kill();
    child.wait().unwrap();
    if running {
        assert!(!Path::new(&cut).exists(), "no result before the end");
        let v = json(&little);
        assert!(v["resumed"].is_number(), "{v}");
    } else {
        eprintln!("skipped: too fast here to be killed midway");
    }
    assert!(std::fs::read(&whole).unwrap() == std::fs::read(&cut).unwrap());
    assert!(!Path::new(&state).exists());
    let v = json(&little);
    let peak = v["peak_rss_bytes"].as_u64().unwrap();
    assert!(peak < 33 << 20, "{peak} bytes at most under a limit of 32 MiB");

    // a bad caption near the end is found before any are searched
    captions[59_990 * d + 3] = f32::NAN;
    let queries = dir.write("bad.fvecs", fvecs(&captions, d));
    let args = ["pair", "--base", &base, "--queries", &queries, "--memory-limit", "32M", "-o", &cut];
    assert!(bad(&args, 1).contains("bad.fvecs, row 59990: a value is NaN"));
    let v = json(&[&args[..], &["--on-bad", "skip", "--metric", "ip"]].concat());
    assert_eq!((&v["skipped"], &v["queries"]), (&1.into(), &60_000.into()));
}
