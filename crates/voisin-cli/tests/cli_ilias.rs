//! `voisin ilias`, and its parts for everyone: a layer, query expansion, allowed ids, relevance. What is expected was computed
//! by numpy (`tests/data/make_ilias.py`), and on ilias-mini by the data set's own scripts.

mod run;

use std::path::Path;
use std::process::Command;

use run::{Folder, bad, command, fixture, good, json};
use serde_json::Value;

fn expected() -> Value {
    serde_json::from_slice(&std::fs::read(fixture("ilias/expected.json")).unwrap()).unwrap()
}

/// `ilias search` on the fixture, with more options.
fn search(dir: &Folder, more: &[&str]) -> Vec<String> {
    let at = |name: &str| fixture(&format!("ilias/{name}"));
    let shards = at("distractors_00000.hdf5").replace("00000", "{idx}");
    let (queries, positives, out) = (at("image_queries.hdf5"), at("positives.hdf5"), dir.file("out"));
    let words = ["ilias", "search", "--query_hdf5", &queries, "--positive_hdf5", &positives];
    let words = [&words[..], &["--distractor_hdf5", &shards, "--total_distractors", "4", "--save_dir", &out]].concat();
    words.iter().chain(more).map(|s| s.to_string()).collect()
}

fn run_search(dir: &Folder, more: &[&str]) -> Value {
    let words = search(dir, more);
    json(&words.iter().map(String::as_str).collect::<Vec<_>>())
}

/// A Python with numpy and h5py: `VOISIN_PYTHON`, else `python3`.
fn python() -> Option<String> {
    let python = std::env::var("VOISIN_PYTHON").unwrap_or_else(|_| "python3".into());
    let ran = Command::new(&python).args(["-c", "import numpy, h5py"]).output();
    if ran.is_ok_and(|o| o.status.success()) {
        return Some(python);
    }
    eprintln!("skipped: {python} cannot import numpy and h5py (set VOISIN_PYTHON)");
    None
}

/// A result of JSON equals rows of (ids, similarities).
fn same(found: &Value, want: &Value) {
    let (found, want) = (found.as_object().unwrap(), want.as_object().unwrap());
    assert_eq!(found.keys().collect::<Vec<_>>(), want.keys().collect::<Vec<_>>());
    for (query, row) in want {
        let (ids, sims) = (row[0].as_array().unwrap(), row[1].as_array().unwrap());
        let got = found[query].as_object().unwrap();
        assert_eq!(got.len(), ids.len(), "{query}");
        for ((id, sim), (got_id, got_sim)) in ids.iter().zip(sims).zip(got) {
            assert_eq!(id.as_str(), Some(&got_id[..]), "{query}");
            assert!((sim.as_f64().unwrap() - got_sim.as_f64().unwrap()).abs() < 1e-5, "{query} {id}: {sim} {got_sim}");
        }
    }
}

fn saved(dir: &Folder, name: &str) -> Value {
    serde_json::from_slice(&std::fs::read(dir.path().join("out").join(name)).unwrap()).unwrap()
}

/// Every number of `want` is in `got`, to 1e-6 relative to `unit`, and groups have the same names.
fn close(got: &Value, want: &Value, tolerance: f64) {
    match want {
        Value::Object(all) => {
            let names = |v: &Value| {
                let mut names: Vec<String> = v.as_object().unwrap().keys().cloned().collect();
                names.sort();
                names
            };
            assert_eq!(names(got), names(want));
            all.iter().for_each(|(name, want)| close(&got[name], want, tolerance));
        }
        want => {
            let (a, b) = (got.as_f64().unwrap(), want.as_f64().unwrap());
            assert!((a - b).abs() <= tolerance, "{got} where {want} is expected");
        }
    }
}

const FIGURES: [&str; 6] = ["map", "oracle", "scale", "clutter", "categories", "subcategories"];

#[test]
fn what_is_found_is_what_numpy_finds() {
    let (dir, want, layer) = (Folder::new(), expected(), fixture("ilias/layer.npz"));
    let selected = fixture("ilias/selected.txt");
    let cases: [(&str, &[&str]); 6] = [
        ("plain", &[]),
        ("adapt", &["--lin_adapt_path", &layer]),
        ("qe", &["--query_expansion", "3"]),
        ("selected", &["--selected_ids", &selected]),
        ("selected_qe", &["--selected-ids", &selected, "--query-expansion", "3"]),
        ("adapt_qe", &["--lin_adopt_path", &layer, "--query_expansion", "3"]),
    ];
    for (name, more) in cases {
        let v = run_search(&dir, &[&["--k", "40", "--save_name", name][..], more].concat());
        assert_eq!((v["queries"].as_u64(), v["k"].as_u64(), v["files"].as_u64()), (Some(13), Some(40), Some(5)), "{v}");
        same(&saved(&dir, &format!("{name}.json")), &want[name]);
        // neither threads nor blocks change a byte, and a layer of torch's format is the same layer
        let first = std::fs::read(dir.file(&format!("out/{name}.json"))).unwrap();
        run_search(&dir, &[&["--k", "40", "--save_name", "again", "--threads", "1"][..], more].concat());
        assert!(std::fs::read(dir.file("out/again.json")).unwrap() == first, "{name}");
    }
    let state = voisin_io::read_state(Path::new(&layer)).unwrap();
    voisin_io::write_state(&dir.path().join("layer.pth"), &state).unwrap();
    run_search(&dir, &["--k", "40", "--save_name", "torch", "--lin-adapt-path", &dir.file("layer.pth")]);
    assert_eq!(saved(&dir, "torch.json"), saved(&dir, "adapt.json"));
    assert_eq!(std::fs::read_dir(dir.path().join("out")).unwrap().count(), 8, "nothing is left beside the results");
}

#[test]
fn similarities_are_written_as_python_writes_them() {
    let dir = Folder::new();
    run_search(&dir, &["-k", "40", "--save_as", "json", "--use_gpu", "False"]);
    run_search(&dir, &["-k", "40", "--save-as", "pickle"]);
    let text = std::fs::read_to_string(dir.file("out/similarities.json")).unwrap();
    assert!(text.starts_with("{\n    \"object-00/query/Q0.jpg\": {\n        \"") && text.ends_with("\n    }\n}"), "{text}");
    let Some(python) = python() else { return };
    let script = "import json, pickle, sys, numpy as np
text = open(sys.argv[1]).read()
j = json.loads(text)
assert json.dumps(j, indent=4) == text
p = pickle.load(open(sys.argv[2], 'rb'))
assert list(p) == ['query_ids', 'db_ids', 'sims', 'ranks'] and p['sims'].dtype == 'f4' and p['ranks'].dtype == 'i8'
assert sorted(set(p['ranks'].ravel().tolist())) == list(range(len(p['db_ids'])))
ids = np.asarray(p['db_ids'])
assert list(j) == list(p['query_ids'])
for q, s, r in zip(p['query_ids'], p['sims'], p['ranks']):
    assert j[q] == dict(zip(ids[r].tolist(), s.tolist())), q
assert list(j['object-00/query/Q0.jpg']) == json.load(open(sys.argv[3]))['plain']['object-00/query/Q0.jpg'][0]";
    let files = [dir.file("out/similarities.json"), dir.file("out/similarities.pkl"), fixture("ilias/expected.json")];
    let ran = Command::new(python).args(["-c", script]).args(files).output().unwrap();
    assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
}

#[test]
fn figures_are_those_of_the_definition() {
    let (dir, want, data) = (Folder::new(), expected(), fixture("ilias"));
    run_search(&dir, &["-k", "40"]);
    run_search(&dir, &["-k", "40", "--save_as", "pickle"]);
    for (file, k, name) in [("json", "40", "evaluation"), ("pkl", "40", "evaluation"), ("json", "10", "evaluation_10")] {
        let file = dir.file(&format!("out/similarities.{file}"));
        let v = json(&["ilias", "evaluate", "--similarity_file", &file, "--dataset_dir", &data, "--k", k]);
        FIGURES.iter().for_each(|f| close(&v[f], &want[name][f], 1e-5));
        assert_eq!(v["queries"].as_u64(), Some(13));
    }
    let file = dir.file("out/similarities.pkl");
    let report = dir.file("report.json");
    let ask = ["ilias", "evaluate", "--similarity-file", &file, "--dataset-dir", &data, "--k", "40"];
    let text = good(&[&ask[..], &["--result_file", &report]].concat());
    assert!(text.contains("mAP@40  28.93 %, oracle 96.15 %; 13 queries"), "{text}");
    let v: Value = serde_json::from_slice(&std::fs::read(report).unwrap()).unwrap();
    assert_eq!(v["queries"].as_array().unwrap().len(), 13);
    v["aps"].as_array().unwrap().iter().zip(want["evaluation"]["aps"].as_array().unwrap()).for_each(|(a, b)| close(a, b, 1e-5));
    if let Some(python) = python() {
        good(&[&ask[..], &["--result_file", &dir.file("report.pkl")]].concat());
        let script = "import pickle, sys; r = pickle.load(open(sys.argv[1], 'rb'))
assert r['aps'].shape == (13,) and abs(r['aps'].mean() - r['map']) < 1e-9 and len(r['scale']) == 4";
        assert!(Command::new(python).args(["-c", script, &dir.file("report.pkl")]).status().unwrap().success());
    }
    if let Some(python) = python() {
        // a pickle as the public search writes it, with arrays of strings
        let script = "import json, pickle, sys, numpy as np
j = json.load(open(sys.argv[1]))
ids, ranks = np.unique([list(row) for row in j.values()], return_inverse=True)
sims = np.array([list(row.values()) for row in j.values()], np.float32)
out = {'query_ids': np.array(list(j), dtype=object), 'db_ids': ids, 'sims': sims, 'ranks': ranks.reshape(sims.shape)}
pickle.dump(out, open(sys.argv[2], 'wb'))";
        let theirs = dir.file("theirs.pkl");
        let files = [dir.file("out/similarities.json"), theirs.clone()];
        assert!(Command::new(python).args(["-c", script]).args(files).status().unwrap().success());
        let v = json(&["ilias", "evaluate", "--similarity_file", &theirs, "--dataset_dir", &data, "--k", "40"]);
        FIGURES.iter().for_each(|f| close(&v[f], &want["evaluation"][f], 1e-5));
    }
    // a file without some of the queries says so
    let mut fewer = saved(&dir, "similarities.json");
    let gone: Vec<String> = fewer.as_object().unwrap().keys().take(4).cloned().collect();
    gone.iter().for_each(|query| drop(fewer.as_object_mut().unwrap().remove(query)));
    let fewer = dir.write("fewer.json", fewer.to_string());
    let ask = ["ilias", "evaluate", "--similarity_file", &fewer, "--dataset_dir", &data, "--k", "100"];
    let (v, text) = (json(&ask), good(&ask));
    assert_eq!((v["queries"].as_u64(), v["missing"].as_u64()), (Some(9), Some(4)));
    assert!(text.contains("4 of 13 queries of the data set are not in the file and do not count"), "{text}");
    assert!(text.contains(&gone[0]) && text.contains("k = 100: no query has more than 40 items"), "{text}");
    // without a taxonomy there are no categories
    let bare = dir.file("bare");
    std::fs::create_dir_all(format!("{bare}/image_ids")).unwrap();
    for list in ["image_query_ids.txt", "text_query_ids.txt", "positive_ids.txt"] {
        std::fs::copy(format!("{data}/image_ids/{list}"), format!("{bare}/image_ids/{list}")).unwrap();
    }
    let ask = ["ilias", "evaluate", "--similarity_file", &file, "--dataset_dir", &bare, "--k", "40"];
    let v = json(&ask);
    close(&v["map"], &want["evaluation"]["map"], 1e-5);
    assert!(v["categories"].as_object().unwrap().is_empty());
    let taxonomy = fixture("ilias/taxonomy.json");
    let v = json(&[&ask[..], &["--taxonomy", &taxonomy]].concat());
    close(&v["categories"], &want["evaluation"]["categories"], 1e-5);
}

/// `exact` on the fixture, written to `out`.
fn exact_words(out: &str, more: &[&str]) {
    let at = |name: &str| fixture(&format!("ilias/{name}"));
    let base = [at("positives.hdf5"), at("distractors_00000.hdf5").replace("00000", "{idx}")];
    let queries = at("image_queries.hdf5");
    let words = ["exact", "--base", &base[0], &base[1], "--queries", &queries, "--metric", "ip", "-k", "40", "-o", out];
    json(&[&words[..], more].concat());
}

/// The same as JSON.
fn exact(dir: &Folder, out: &str, more: &[&str]) -> Value {
    let out = dir.file(out);
    exact_words(&out, more);
    serde_json::from_slice(&std::fs::read(out).unwrap()).unwrap()
}

/// Rows as `voisin` writes them as JSON equal rows of (ids, similarities).
fn same_rows(found: &Value, want: &Value) {
    let object = |row: &Value| {
        let pairs = row["neighbors"].as_array().unwrap().iter();
        Value::Object(pairs.map(|n| (n["id"].as_str().unwrap().to_string(), n["distance"].clone())).collect())
    };
    let rows = found.as_array().unwrap().iter();
    same(&Value::Object(rows.map(|r| (r["query"].as_str().unwrap().to_string(), object(r))).collect()), want);
}

#[test]
fn exact_search_has_the_parts_for_everyone() {
    let (dir, want, layer) = (Folder::new(), expected(), fixture("ilias/layer.npz"));
    same_rows(&exact(&dir, "plain.json", &[]), &want["plain"]);
    same_rows(&exact(&dir, "adapt.json", &["--adapt", &layer]), &want["adapt"]);
    same_rows(&exact(&dir, "qe.json", &["--expand", "3"]), &want["qe"]);
    same_rows(&exact(&dir, "both.json", &["--adapt", &layer, "--expand", "3"]), &want["adapt_qe"]);
    // allowed are whole ids here: positives and what was selected
    let chosen: Vec<String> = std::fs::read_to_string(fixture("ilias/selected.txt")).unwrap().lines().map(String::from).collect();
    let number = |id: &str| id.split('_').next().unwrap().trim_start_matches("img").parse::<usize>();
    let ids = chosen.iter().filter(|c| c.starts_with("img")).map(|c| format!("{:06}.tar/{c}", number(c).unwrap()));
    let positives = std::fs::read_to_string(fixture("ilias/image_ids/positive_ids.txt")).unwrap();
    let positives = positives.lines().map(|l| l.split(',').next().unwrap().to_string());
    let allow = dir.write("allow.txt", ids.chain(positives).collect::<Vec<_>>().join("\n") + "\nnobody\n");
    same_rows(&exact(&dir, "few.json", &["--allow", &allow]), &want["selected"]);
    same_rows(&exact(&dir, "few_qe.json", &["--allow", &allow, "--expand", "3"]), &want["selected_qe"]);
    // a base without names: row numbers, and a set searched in itself
    let (base, rows) = (fixture("cli/base.npy"), dir.write("rows.txt", "239\n7\n8\n9000\n100\n7\n"));
    let words = ["exact", "--base", &base, "--queries", &base, "-k", "3", "--allow", &rows, "--exclude-self"];
    let v = json(&words);
    let ids = |row: &Value| row["ids"].as_array().unwrap().iter().map(|i| i.as_u64().unwrap()).collect::<Vec<_>>();
    for (query, row) in v["results"].as_array().unwrap().iter().enumerate() {
        let ids = ids(row);
        assert!(ids.len() == 3 && ids.iter().all(|i| [7, 8, 100, 239].contains(i) && *i != query as u64), "{query}: {ids:?}");
    }
    assert!(run::run(&words).err.contains("--allow: 1 of 6 ids are not in the base; the first is 9000"));
}

#[test]
fn codes_are_of_one_layer_and_of_all_rows() {
    let dir = Folder::new();
    let (base, layer) = (dir.file("base.npy"), fixture("ilias/layer.npz"));
    good(&["convert", &fixture("ilias/distractors_00003.hdf5"), &base]);
    let queries = fixture("ilias/image_queries.hdf5");
    let ask = ["exact", "--base", &base, "--queries", &queries, "--metric", "cosine", "-k", "9"];
    let (plain, adapted) = (json(&ask), json(&[&ask[..], &["--adapt", &layer]].concat()));
    let prepare = ["exact", "--prepare", "--base", &base, "--metric", "cosine"];
    assert_eq!(json(&prepare)["out"].as_str(), Some(&dir.file("base.npy.codes8")[..]));
    let v = json(&[&prepare[..], &["--adapt", &layer]].concat());
    assert_eq!(v["out"].as_str(), Some(&dir.file("base.npy.layer.codes8")[..]));
    let (a, b) = (json(&ask), json(&[&ask[..], &["--adapt", &layer]].concat()));
    assert!(a["results"] == plain["results"] && b["results"] == adapted["results"]);
    assert!(a["codes"].is_string() && b["codes"].is_string() && plain["results"] != adapted["results"]);
    let expanded = json(&[&ask[..], &["--expand", "2"]].concat());
    std::fs::remove_file(dir.file("base.npy.codes8")).unwrap();
    assert_eq!(json(&[&ask[..], &["--expand", "2"]].concat())["results"], expanded["results"]);
}

#[test]
fn an_index_is_asked_with_the_same_layer_and_expanded() {
    let (dir, layer) = (Folder::new(), fixture("ilias/layer.npz"));
    let (base, queries) = (fixture("ilias/distractors_00003.hdf5"), fixture("ilias/image_queries.hdf5"));
    let index = dir.file("index");
    good(&["build", "--base", &base, "--adapt", &layer, "--index", "Flat", "--metric", "ip", "-o", &index]);
    let shared = ["--queries", &queries, "-k", "20", "--adapt", &layer, "--expand", "3"];
    let found = json(&[&["search", &index[..]][..], &shared].concat());
    let exact = json(&[&["exact", "--base", &base, "--metric", "ip"][..], &shared].concat());
    for (a, b) in found["results"].as_array().unwrap().iter().zip(exact["results"].as_array().unwrap()) {
        assert_eq!((&a["query"], &a["ids"]), (&b["query"], &b["ids"]));
    }
    let error = bad(&["search", &index, "--queries", &queries, "-k", "20"], 2);
    assert!(error.contains("mapped by no layer, where the vectors of") && error.contains("layer.npz"), "{error}");
}

/// A layer of 24 to 24 dimensions.
fn square(dir: &Folder, name: &str, seed: u64) -> String {
    let path = dir.file(name);
    let tensor =
        |shape: &[usize], seed| voisin_io::Tensor { shape: shape.to_vec(), data: run::rows(shape.iter().product(), 1, seed) };
    let state = [("weight".into(), tensor(&[24, 24], seed)), ("bias".into(), tensor(&[24], seed + 1))];
    voisin_io::write_state(Path::new(&path), &state).unwrap();
    path
}

#[test]
fn an_index_keeps_the_layer_of_its_vectors() {
    let dir = Folder::new();
    let (good_layer, other, same) = (square(&dir, "good.npz", 1), square(&dir, "other.npz", 5), square(&dir, "same.pth", 1));
    let shard = |i: u32| fixture(&format!("ilias/distractors_0000{i}.hdf5"));
    let (base, more, queries) = (shard(3), shard(2), fixture("ilias/image_queries.hdf5"));
    let [index, plain] = ["index", "plain"].map(|n| dir.file(n));
    let build = ["build", "--base", &base, "--index", "IVF4,Flat", "--metric", "ip", "-o"];
    good(&[&build[..], &[&index, "--adapt", &good_layer]].concat());
    good(&[&build[..], &[&plain]].concat());
    assert_eq!(json(&["info", &index])["layer"]["name"], "good.npz");
    assert!(good(&["info", &index]).contains("adapted  by the layer good.npz ("));
    assert!(json(&["info", &plain])["layer"].is_null());

    let before = run::tree(Path::new(&index));
    let ask = |dir: &str, layer: &[&str], code| bad(&[&["search", dir, "--queries", &queries], layer].concat(), code);
    let add = |dir: &str, layer: &[&str], code| bad(&[&["add", dir, "--base", &more], layer].concat(), code);
    for (dir, layer, [got, expected]) in [
        (&index, &["--adapt", &other[..]][..], ["the layer other.npz (", "the layer good.npz ("]),
        (&index, &[], ["no layer", "the layer good.npz ("]),
        (&plain, &["--adapt", &other[..]], ["the layer other.npz (", "no layer"]),
    ] {
        for error in [ask(dir, layer, 2), add(dir, layer, 2)] {
            let words = error.split(", where the vectors of").collect::<Vec<_>>();
            assert!(words.len() == 2 && words[0].contains(got) && words[1].contains(expected), "{error}");
            assert!(error.contains("--adapt"), "{error}");
        }
    }
    assert!(run::tree(Path::new(&index)) == before, "a refused addition changes nothing");
    // another index of its model, and both as one
    let part = dir.file("part");
    let like = ["build", "--base", &more, "--like", &index, "--first-id", "1000", "-o", &part];
    assert!(bad(&[&like[..], &["--adapt", &other]].concat(), 2).contains("other.npz"));
    assert!(bad(&like, 2).contains("no layer"));
    // the same layer in another file
    good(&[&like[..], &["--adapt", &same]].concat());
    good(&["search", &index, &part, "--queries", &queries, "--adapt", &same]);
    assert!(bad(&["search", &index, &part, "--queries", &queries], 2).contains("no layer"));
    let whole = dir.file("whole");
    good(&["merge", &index, &part, "-o", &whole]);
    assert_eq!(json(&["info", &whole])["layer"], json(&["info", &index])["layer"]);
    good(&["add", &whole, "--base", &fixture("ilias/distractors_00000.hdf5"), "--adapt", &good_layer]);
    good(&["compact", &whole]);
    assert!(bad(&["search", &whole, "--queries", &queries, "--adapt", &other], 2).contains("other.npz"));
}

#[test]
fn relevance_of_any_result() {
    let (dir, want) = (Folder::new(), expected());
    run_search(&dir, &["-k", "40", "--save_as", "pickle"]);
    run_search(&dir, &["-k", "40"]);
    exact(&dir, "rows.json", &[]);
    let tsv = dir.file("rows.tsv");
    exact_words(&tsv, &[]);
    let gt = fixture("ilias/gt.json");
    for result in [dir.file("out/similarities.pkl"), dir.file("out/similarities.json"), dir.file("rows.json"), tsv] {
        let v = json(&["eval", &result, "--relevant", &gt, "--k", "40,5,1"]);
        for k in ["1", "5", "40"] {
            for figure in ["map", "precision", "ndcg"] {
                close(&v[figure][k], &want["relevance"][k][figure], 2e-6);
            }
        }
    }
    // graded, by row numbers; a query that is not named is left out
    let graded = dir.write("graded.json", r#"{"0": {"7": 3, "8": 1}, "2": [5], "3": []}"#);
    let result = dir.write("r.tsv", "query\trank\tid\tdistance\n0\t1\t8\t0.1\n0\t2\t7\t0.2\n1\t1\t1\t0.1\n2\t1\t5\t0.3\n");
    let v = json(&["eval", &result, "--relevant", &graded]);
    assert_eq!((v["queries"].as_u64(), v["without_relevant"].as_u64()), (Some(2), Some(1)));
    let ndcg = (1.0 + 3.0 / 3f64.log2()) / (3.0 + 1.0 / 3f64.log2());
    close(&v["ndcg"]["2"], &((1.0 + ndcg) / 2.0).into(), 1e-6);
    // queries that the result does not have are counted, and so is a k beyond it
    let some = dir.write("some.json", r#"{"0": [7], "2": [5], "8": [1], "9": [1], "a": []}"#);
    let v = json(&["eval", &result, "--relevant", &some]);
    assert_eq!((v["queries"].as_u64(), v["missing"].as_u64()), (Some(2), Some(2)));
    let text = good(&["eval", &result, "--relevant", &some, "-k", "1,100"]);
    assert!(text.contains("2 queries of") && text.contains("do not count; missing are 8, 9"), "{text}");
    assert!(text.contains("k = 100: no query has more than 2 neighbours"), "{text}");
    assert!(!good(&["eval", &result, "--relevant", &graded]).contains("no query has more"));
    let wrong = dir.write("wrong.json", r#"{"nobody": ["x"]}"#);
    assert!(
        bad(&["eval", &result, "--relevant", &wrong], 1).contains("nothing is relevant to any of its queries (the first is 0)")
    );
    assert!(bad(&["eval", &result, "--relevant", &result], 1).contains("JSON"));
    assert!(bad(&["eval", &result], 2).contains("--truth"));
}

#[test]
fn bad_data_is_named_and_leaves_nothing() {
    let dir = Folder::new();
    let refused = |more: &[&str], code: i32| {
        let words = search(&dir, more);
        let error = bad(&words.iter().map(String::as_str).collect::<Vec<_>>(), code);
        let left = std::fs::read_dir(dir.path().join("out")).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{more:?}");
        error
    };
    // options are given again: the last counts
    let at = |name: &str| fixture(&format!("ilias/{name}"));
    let error = refused(&["--total_distractors", "6"], 1);
    assert!(
        error.contains("distractors_00004.hdf5: this shard is missing: total_distractors = 6 asks for distractors_00000"),
        "{error}"
    );
    assert!(refused(&["--total_distractors", "0"], 2).contains("total_distractors = 0"));
    let (queries, positives, out) = (at("image_queries.hdf5"), at("positives.hdf5"), dir.file("out"));
    let alone = ["ilias", "search", "--query_hdf5", &queries, "--positive_hdf5", &positives, "--save_dir", &out];
    let error = bad(&[&alone[..], &["--total_distractors", "3"]].concat(), 2);
    assert!(error.contains("total_distractors = 3: without --distractor_hdf5"), "{error}");
    assert!(!Path::new(&out).join("similarities.json").exists());
    assert!(refused(&["--distractor_hdf5", &at("distractors_00000.hdf5")], 2).contains("no {idx}"));
    assert!(refused(&["--query_hdf5", "nowhere.hdf5"], 1).contains("nowhere.hdf5: no such file"));
    let narrow = dir.file("narrow.npz");
    let tensor = |shape: [usize; 2]| voisin_io::Tensor { shape: shape.to_vec(), data: vec![0.5; shape[0] * shape[1]] };
    voisin_io::write_state(Path::new(&narrow), &[("weight".into(), tensor([3, 7]))]).unwrap();
    let error = refused(&["--lin_adapt_path", &narrow], 1);
    assert!(error.contains("vectors of 24 dimensions where 7 are expected (the layer"), "{error}");
    let two = dir.file("two.npz");
    voisin_io::write_state(Path::new(&two), &[("a.weight".into(), tensor([3, 7])), ("b.weight".into(), tensor([3, 7]))]).unwrap();
    assert!(refused(&["--lin_adapt_path", &two], 1).contains("one linear layer is expected"));
    let unknown = dir.write("unknown.txt", "x.jpg\ny.jpg\n");
    let error = refused(&["--selected_ids", &unknown], 1);
    assert!(error.contains("no distractor has any of its 2 ids (the first is x.jpg)"), "{error}");
    assert!(refused(&["--selected_ids", &dir.write("none.txt", "\n")], 1).contains("no id in it"));
    assert!(refused(&["--k", "0"], 2).contains("k = 0"));
    assert!(refused(&["--query_expansion", "9000"], 2).contains("query_expansion = 9000"));
    assert!(refused(&["--save_name", "a/b"], 2).contains("save_name"));
    let nan = dir.write("nan.npy", npy_with_nan(24));
    assert!(refused(&["--query_hdf5", &nan], 1).contains("nan.npy"));
    let words = search(&dir, &["--positive_hdf5", &nan]);
    let error = bad(&words.iter().map(String::as_str).collect::<Vec<_>>(), 1);
    assert!(error.contains("nan.npy") && error.contains("ids"), "{error}");

    let evaluate =
        |file: &str, data: &str, code| bad(&["ilias", "evaluate", "--similarity_file", file, "--dataset_dir", data], code);
    let data = fixture("ilias");
    assert!(evaluate(&dir.write("a.json", "[1]"), &data, 1).contains("neither JSON"));
    assert!(evaluate(&dir.write("b.json", r#"{"q": {"x": "y"}}"#), &data, 1).contains("JSON"));
    assert!(evaluate(&dir.write("c.json", "{}"), &data, 1).contains("no query in it"));
    assert!(
        evaluate(&dir.write("d.json", r#"{"q": {"x": 0.5}}"#), &data, 1)
            .contains("no query is of this data set (the first is q)")
    );
    assert!(evaluate(&fixture("pickle/with_ids_p5.pkl"), &data, 1).contains("query_ids"));
    assert!(evaluate(&dir.file("d.json"), &dir.file("."), 1).contains("image_query_ids.txt"));
}

#[test]
fn features_that_cannot_be_ranked_are_named_by_file_and_row_or_skipped() {
    let Some(python) = python() else { return };
    let dir = Folder::new();
    let script = "import h5py, sys
for name, row in (('image_queries', 2), ('distractors_00003', 77)):
    with h5py.File(f'{sys.argv[1]}/{name}.hdf5') as f, h5py.File(f'{sys.argv[2]}/{name}.hdf5', 'w') as g:
        x = f['features'][:]; x[row, 3] = float('nan'); g['features'] = x
        g.create_dataset('index', data=f['index'].asstr()[:], dtype=h5py.string_dtype())";
    assert!(Command::new(python).args(["-c", script, &fixture("ilias"), &dir.file("")]).status().unwrap().success());
    for name in ["distractors_00000", "distractors_00001", "distractors_00002"] {
        std::fs::copy(fixture(&format!("ilias/{name}.hdf5")), dir.file(&format!("{name}.hdf5"))).unwrap();
    }
    let (queries, shards) = (dir.file("image_queries.hdf5"), dir.file("distractors_{idx}.hdf5"));
    let ask = |more: &[&str]| search(&dir, &[&["-k", "40"][..], more].concat());
    let refused = |more: &[&str]| bad(&ask(more).iter().map(String::as_str).collect::<Vec<_>>(), 1);
    assert!(refused(&["--query_hdf5", &queries]).contains("image_queries.hdf5::features, row 2: a value is NaN"));
    assert!(refused(&["--distractor_hdf5", &shards]).contains("distractors_00003.hdf5::features, row 77: a value is NaN"));
    for format in ["json", "pickle"] {
        let more = ["--query_hdf5", &queries, "--distractor_hdf5", &shards, "--on-bad", "skip", "--save_as", format];
        let words = ask(&more);
        let v = json(&words.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(v["skipped"].as_u64(), Some(2));
    }
    let found = saved(&dir, "similarities.json");
    assert_eq!(found.as_object().unwrap().len(), 12);
    assert!(!found.to_string().contains("img3_077"));
}

/// Two rows, one value NaN, as numpy writes them.
fn npy_with_nan(d: usize) -> Vec<u8> {
    let header = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': (2, {d}), }}");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    let padded = format!("{header:<117}\n");
    bytes.extend((padded.len() as u16).to_le_bytes());
    bytes.extend(padded.as_bytes());
    (0..2 * d).for_each(|i| bytes.extend(if i == 5 { f32::NAN } else { i as f32 }.to_le_bytes()));
    bytes
}

#[test]
fn the_state_of_another_search_is_not_taken() {
    let dir = Folder::new();
    run_search(&dir, &["-k", "40", "--query_expansion", "2"]);
    let want = std::fs::read(dir.file("out/similarities.json")).unwrap();
    for state in ["part", "part.expand"] {
        std::fs::write(dir.file(&format!("out/similarities.json.{state}")), b"something else").unwrap();
    }
    run_search(&dir, &["-k", "40", "--query_expansion", "2"]);
    assert!(std::fs::read(dir.file("out/similarities.json")).unwrap() == want);
    assert_eq!(run::names(&dir.path().join("out")), ["similarities.json"]);
    assert!(command(&["ilias"]).output().unwrap().status.code() == Some(2));
}

#[test]
fn every_figure_of_ilias_mini() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/ilias-mini");
    if !data.join("expected.json").is_file() {
        eprintln!("skipped: {} is not there", data.display());
        return;
    }
    let want: Value = serde_json::from_slice(&std::fs::read(data.join("expected.json")).unwrap()).unwrap();
    let at = |name: &str| data.join(name).display().to_string();
    let (dir, layer) = (Folder::new(), at("lin_adapt_384_to_256.pth"));
    let cases: [(&str, &[&str], &str); 4] = [
        ("plain", &[], "json"),
        ("adapt", &["--lin_adopt_path", &layer], "pickle"),
        ("qe", &["--query_expansion", "5"], "json"),
        ("qe", &["--query_expansion", "5"], "pickle"),
    ];
    for (name, more, format) in cases {
        let shards = at("features_distractors_{idx}.hdf5");
        let (queries, positives, out) = (at("features_image_queries.hdf5"), at("features_positives.hdf5"), dir.file("out"));
        let words = ["ilias", "search", "--query_hdf5", &queries, "--positive_hdf5", &positives, "--distractor_hdf5", &shards];
        let words = [&words[..], &["--total_distractors", "3", "--save_path", &out, "--save_as", format], more].concat();
        assert_eq!(json(&words)["n"].as_u64(), Some(16_000));
        let file = dir.file(if format == "json" { "out/similarities.json" } else { "out/similarities.pkl" });
        let v = json(&["ilias", "evaluate", "--similarity_file", &file, "--dataset_dir", &at("")]);
        FIGURES.iter().for_each(|f| close(&v[f], &want[name][f], 1e-4));
    }
}
