//! `search --explain` through the binary: what it tells is what `search` does, and its reasons can be checked.

mod run;

use run::{Folder, bad, fixture, fvecs, good, json, rows, run};
use serde_json::Value;

const D: usize = 8;

/// An index of 600 rows with ids from 0, and queries beside it.
fn index(dir: &Folder, spec: &str) -> [String; 3] {
    let (base, queries) = (dir.file("base.fvecs"), dir.file("queries.fvecs"));
    dir.write("base.fvecs", fvecs(&rows(600, D, 1), D));
    dir.write("queries.fvecs", fvecs(&rows(4, D, 2), D));
    let at = dir.file(spec);
    good(&["build", "--base", &base, "--index", spec, "-o", &at, "-q"]);
    [at, base, queries]
}

/// The explanation of a search.
fn told(args: &[&str]) -> Value {
    let all = [&["search"], args, &["--explain", "-", "-q"]].concat();
    let r = run(&all);
    assert_eq!(r.code, Some(0), "{all:?}: {r:?}");
    assert_eq!(r.out.lines().count(), 1, "{}", r.out);
    serde_json::from_str(&r.out).expect("stdout is JSON")
}

/// Ids and distances of a search for the row of the queries.
fn found(args: &[&str], row: usize) -> (Vec<String>, Vec<f64>) {
    let v = json(&[&["search", "-q"], args].concat());
    let r = &v["results"][row];
    let ids = r["ids"].as_array().unwrap().iter().map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned)).collect();
    (ids, r["distances"].as_array().unwrap().iter().map(|d| d.as_f64().unwrap()).collect())
}

fn all<'a>(v: &'a Value, list: &str) -> &'a Vec<Value> {
    v[list].as_array().unwrap_or_else(|| panic!("no {list} in {v}"))
}

/// The hits are those of the search without `--explain`.
fn same(args: &[&str], row: usize) -> Value {
    let number = row.to_string();
    let v = told(&[args, &["--row", &number]].concat());
    let (ids, distances) = found(args, row);
    let told: Vec<&str> = all(&v, "hits").iter().map(|h| h["id"].as_str().unwrap()).collect();
    assert_eq!(told, ids, "{args:?}");
    for (h, d) in all(&v, "hits").iter().zip(distances) {
        assert!((h["distance"].as_f64().unwrap() - d).abs() <= 1e-6 * d.abs().max(1.0), "{h} {d}");
    }
    v
}

#[test]
fn lists_that_are_not_visited_lose_neighbours_until_they_are() {
    let dir = Folder::new();
    for spec in ["IVF16,Flat", "LMI12(16),Flat", "IVF16,RaBitQ4,Refine(Flat)"] {
        let [at, _, queries] = index(&dir, spec);
        let mut any = false;
        for row in 0..4 {
            let ask = |nprobe: &str| {
                let mut args = vec![&at[..], "--queries", &queries, "-k", "40", "--nprobe", nprobe];
                if spec.contains("Refine") {
                    args.extend(["--refine", "15"]);
                }
                same(&args, row)
            };
            let one = ask("1");
            assert_eq!((all(&one, "lists").len(), one["nprobe"].as_u64()), (1, Some(1)));
            assert_eq!(one["lists"][0]["scanned"], one["counts"]["scanned"]);
            for m in all(&one, "missed").iter().step_by(9) {
                any = true;
                assert_eq!(m["reason"], "list_not_visited", "{m}");
                let order = m["order"].as_u64().unwrap();
                assert!(m["text"].as_str().unwrap().ends_with("; 1 was visited") && order > 1, "{m}");
                let list = all(&one, "not_visited").iter().find(|l| l["list"] == m["list"]).unwrap();
                assert_eq!(list["order"], m["order"]);
                let before = ask(&(order - 1).to_string());
                let after = ask(&order.to_string());
                let lost = |v: &Value| all(v, "missed").iter().any(|x| x["id"] == m["id"]);
                assert!(lost(&before) && !lost(&after), "{spec}: {m}");
            }
            let every = ask("16");
            assert_eq!((every["recall"].as_f64(), all(&every, "missed").len()), (Some(1.0), 0), "{spec}");
            let share: f64 = all(&every, "lists").iter().filter_map(|l| l["probability"].as_f64()).sum();
            assert!((share - if spec.starts_with("LMI") { 1.0 } else { 0.0 }).abs() < 1e-3, "{share}");
        }
        assert!(any, "{spec}: nothing was missed");
    }
}

#[test]
fn what_a_code_loses_a_larger_refinement_finds() {
    let dir = Folder::new();
    let [at, base, queries] = index(&dir, "IVF8,RaBitQ1,Refine(Flat)");
    let mut any = false;
    for row in 0..4 {
        let args =
            |refine: &'static str| [&at[..], "--queries", &queries, "-k", "10", "--nprobe", "8", "--refine", refine].to_vec();
        let little = same(&args("1"), row);
        assert_eq!(little["counts"]["candidates"], 10);
        assert_eq!(little["counts"]["refined"], 10);
        for m in all(&little, "missed") {
            any = true;
            assert_eq!(m["reason"], "code_error");
            assert!(m["estimate_rank"].as_u64() > Some(10) && m["estimate"].as_f64().is_some(), "{m}");
        }
        let much = same(&args("60"), row);
        assert_eq!((all(&much, "missed").len(), much["truth"].as_str()), (0, Some("exact")));
        let outside = told(&[&args("60")[..], &["--row", &row.to_string(), "--features", &base]].concat());
        assert_eq!((&outside["hits"], &outside["recall"]), (&much["hits"], &much["recall"]));
    }
    assert!(any, "one bit lost nothing");
    // a code alone has nothing to be compared with but itself
    let [at, base, queries] = index(&dir, "IVF8,PQ2");
    let args = [&at[..], "--queries", &queries, "-k", "10", "--nprobe", "8"];
    let codes = same(&args, 0);
    assert_eq!((codes["truth"].as_str(), codes["recall"].as_f64()), (Some("codes"), Some(1.0)));
    let v = told(&[&args[..], &["--row", "0", "--features", &base]].concat());
    assert_eq!((v["truth"].as_str(), &v["hits"][0]["id"]), (Some("exact"), &codes["hits"][0]["id"]));
    assert!(all(&v, "missed").iter().all(|m| m["reason"] == "code_error") && v["recall"].as_f64() < Some(1.0), "{v}");
}

#[test]
fn what_was_removed_or_is_not_allowed_is_said() {
    let dir = Folder::new();
    let [at, base, queries] = index(&dir, "IVF8,SQ8");
    let args = [&at[..], "--queries", &queries, "--row", "1", "-k", "5", "--nprobe", "8"];
    let before = told(&args);
    let nearest = before["hits"][0]["id"].as_str().unwrap();
    let deny = dir.write("deny.txt", format!("{nearest}\n"));
    let v = told(&[&args[..], &["--deny", &deny]].concat());
    assert_eq!(v["missed"][0]["reason"], "filtered", "{v}");
    assert_eq!((v["missed"][0]["id"].as_str(), v["recall"].as_f64()), (Some(nearest), Some(1.0)));
    assert_eq!(
        (v["compared"].as_str(), v["counts"]["scanned"].as_u64(), v["nprobe"].as_u64()),
        (Some("allowed"), Some(599), Some(0))
    );
    good(&["remove", &at, "--ids", nearest]);
    let v = told(&[&args[..], &["--features", &base]].concat());
    let gone = all(&v, "missed").iter().find(|m| m["id"] == nearest).unwrap();
    assert_eq!((gone["reason"].as_str(), gone["true_rank"].as_u64()), (Some("deleted"), Some(1)));
    let v = told(&[&at, "--id", "17", "--features", &base, "--exclude-self", "-k", "5", "--nprobe", "8"]);
    assert!(all(&v, "hits").iter().chain(all(&v, "missed")).all(|h| h["id"] != "17"), "{v}");
}

#[test]
fn files_of_faiss_are_explained() {
    let (queries, base) = (fixture("faiss/queries.npy"), fixture("faiss/base.npy"));
    for name in ["ivf_pq", "ivf_pq4", "ivf_pq_ip", "refine", "opq", "pca", "flat_ip", "ivf_sq8_ip"] {
        let at = fixture(&format!("faiss/{name}.index"));
        for row in [0, 5] {
            let args = [&at[..], "--queries", &queries, "-k", "5"];
            let own = same(&args, row);
            // the file says 3 lists
            let lists = own["nlist"].as_u64().unwrap();
            assert_eq!(all(&own, "lists").len() as u64, lists.min(3), "{name}");
            let v = told(&[&args[..], &["--row", &row.to_string(), "--features", &base, "--map", "pca"]].concat());
            assert_eq!((&v["lists"][0]["list"], v["truth"].as_str()), (&own["lists"][0]["list"], Some("exact")));
            let map = &v["map"];
            assert!(map["trustworthiness"].as_f64() > Some(0.5) && map["explained_variance"][0].as_f64() > Some(0.0), "{name}");
            let points = map["points"].as_array().unwrap();
            let of = |kind: &str| points.iter().filter(|p| p["kind"] == kind).count() as u64;
            assert_eq!((of("query"), of("centroid")), (1, if lists > 1 { lists } else { 0 }), "{name}");
            assert_eq!(points.iter().filter(|p| p["state"] == "hit").count(), 5);
            assert_eq!(points.iter().filter(|p| p["state"] == "missed").count(), all(&v, "missed").len());
        }
    }
}

#[test]
fn a_graph_shows_its_hops() {
    let (at, queries) = (fixture("faiss/hnsw.index"), fixture("faiss/queries.npy"));
    for ef in ["5", "400"] {
        let v = same(&[&at, "--queries", &queries, "-k", "5", "--ef", ef], 3);
        assert!(v.get("lists").is_none() && v["graph"]["ef"] == ef.parse::<u64>().unwrap(), "{v}");
        let hops = v["graph"]["hops"].as_array().unwrap();
        assert_eq!(hops[0]["level"].as_u64().unwrap() + 1, v["graph"]["levels"].as_u64().unwrap());
        for (a, b) in hops.iter().zip(&hops[1..]) {
            let (up, down) = (a["level"].as_u64().unwrap(), b["level"].as_u64().unwrap());
            assert!(up >= down);
            if up > 0 && up == down {
                assert!(a["distance"].as_f64() > b["distance"].as_f64() && b["from"] == a["id"], "{a} {b}");
            }
        }
        let lowest: Vec<&Value> = hops.iter().filter(|h| h["level"] == 0).map(|h| &h["id"]).collect();
        let from = |h: &Value| h["from"].is_null() || lowest.contains(&&h["from"]);
        assert!(hops.iter().filter(|h| h["level"] == 0).all(from), "{v}");
        assert!(ef == "5" || (v["recall"] == 1.0 && v["graph"]["visited"].as_u64() >= Some(400)), "{v}");
        assert!(all(&v, "missed").iter().all(|m| m["reason"] == "not_reached"));
    }
    let v = told(&[&at, "--id", "7", "--exclude-self", "-k", "5", "--map", "tsne"]);
    assert!(all(&v, "hits").iter().all(|h| h["id"] != "7") && all(&v, "hits").len() == 5, "{v}");
    assert!(v["map"]["method"] == "tsne" && v["map"].get("explained_variance").is_none(), "{v}");
}

#[test]
fn reports_and_files() {
    let dir = Folder::new();
    let [at, _, queries] = index(&dir, "LMI12(16),SQ4,Refine(F16)");
    let args = ["search", &at[..], "--queries", &queries, "--row", "2", "-k", "30", "--nprobe", "2"];
    let text = good(&[&args[..], &["--explain"]].concat());
    for part in
        ["query 2: LMI12(16),SQ4,Refine(F16) over 600", "lists: 2 of 12 visited", "probability", "recall: ", "by code  place"]
    {
        assert!(text.contains(part), "{part}: {text}");
    }
    assert!(text.contains("not visited, with true neighbours") == text.contains("list not visited: "), "{text}");
    let file = dir.file("why.json");
    let v = json(&[&args[..], &["--explain", &file, "--map", "tsne"]].concat());
    assert!(v["out"] == file[..] && v.get("explanation").is_none(), "{v}");
    let kept: Value = serde_json::from_str(&std::fs::read_to_string(&file).unwrap()).unwrap();
    let shown = json(&[&args[..], &["--explain"]].concat());
    assert_eq!(kept["hits"], shown["explanation"]["hits"]);
    assert_eq!(kept["map"]["method"], "tsne");
    for threads in ["1", "3"] {
        let again = dir.file("again.json");
        good(&[&args[..], &["--explain", &again, "--map", "tsne", "--threads", threads]].concat());
        assert_eq!(std::fs::read(&again).unwrap(), std::fs::read(&file).unwrap());
    }
}

#[test]
fn wrong_calls_say_what_to_do() {
    let dir = Folder::new();
    let [at, base, queries] = index(&dir, "IVF8,Flat");
    let e = bad(&["search", &at, "--queries", &queries, "--explain"], 2);
    assert!(e.contains("about one query") && e.contains("has 4") && e.contains("--row N"), "{e}");
    assert!(bad(&["search", &at, "--id", "1", "2", "--explain"], 2).contains("about one query"));
    assert!(bad(&["search", &at, "--queries", &queries, "--row", "4", "--explain"], 2).contains("0 to 3"));
    assert!(bad(&["search", &at, "--id", "1", "--explain", "x.txt"], 2).contains(".json"));
    assert!(bad(&["search", &at, "--id", "1", "--explain", &dir.file("no/x.json")], 1).contains("no such folder"));
    assert!(bad(&["search", &at, "--queries", &queries, "--map", "pca"], 2).contains("--explain"));
    bad(&["search", &at, "--id", "1", "--explain", "-o", &dir.file("x.h5")], 2);
    let other = dir.write("other.fvecs", fvecs(&rows(9, 5, 1), 5));
    assert!(bad(&["search", &at, "--id", "1", "--explain", "--features", &other], 1).contains("5 dimensions"));
    let e = bad(&["search", &at, "--id", "700", "--explain", "--features", &base], 1);
    assert!(e.contains("700") && e.contains("base.fvecs"), "{e}");
    let graph = fixture("faiss/hnsw.index");
    assert!(bad(&["search", &graph, "--id", "1", "--explain", "--features", &base], 2).contains("is a graph"));
    assert!(bad(&["search", &graph, "--id", "4000", "--explain"], 1).contains("4000"));
    assert_eq!(dir.list().iter().filter(|f| f.ends_with(".json")).count(), 0);
}

#[test]
fn ids_are_those_of_the_index() {
    let dir = Folder::new();
    let (base, at) = (fixture("cli/named.hdf5"), dir.file("index"));
    good(&["build", "--base", &base, "--index", "IVF4,PQ4", "-o", &at, "-q"]);
    let id = "class0/img_000.jpg";
    for features in [&[][..], &["--features", &base]] {
        let v = told(&[&[&at, "--id", id, "-k", "7", "--nprobe", "2", "--map", "pca"][..], features].concat());
        let named = |h: &Value| h["id"].as_str().is_some_and(|id| id.starts_with("class") && id.ends_with(".jpg"));
        assert!(all(&v, "hits").iter().chain(all(&v, "missed")).all(named), "{v}");
        let points = v["map"]["points"].as_array().unwrap();
        assert!(points.iter().filter(|p| p["kind"] == "vector").all(named), "{v}");
        // as it was, the vector is its own nearest
        assert!(features.is_empty() || all(&v, "hits").iter().any(|h| h["id"] == id && h["true_rank"] == 1), "{v}");
    }
    let e = bad(&["search", &at, "--id", id, "--explain", "--features", &fixture("cli/base.npy")], 1);
    assert!(e.contains("no ids") || e.contains("dimensions"), "{e}");
}
