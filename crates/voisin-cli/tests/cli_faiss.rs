//! Files of FAISS through the binary: FAISS's own answers, an index made of them, files that FAISS reads back.

mod run;

use std::collections::HashSet;
use std::path::Path;
use std::process::Command;

use run::{Folder, bad, fixture, good, json};
use serde_json::Value;

fn answers() -> Value {
    answers_of("faiss/answers.json")
}

fn answers_of(file: &str) -> Value {
    serde_json::from_str(&std::fs::read_to_string(fixture(file)).unwrap()).unwrap()
}

/// An id: a number, or the string of one where ids are strings.
fn number(id: &Value) -> i64 {
    id.as_i64().unwrap_or_else(|| id.as_str().expect("a number or a string").parse().expect("a number"))
}

/// Rows of ids and distances that a search shows.
fn search(index: &str, queries: &str, k: usize, more: &[&str]) -> Vec<Vec<(i64, f64)>> {
    let k = k.to_string();
    let v = json(&[&["search", index, "--queries", queries, "-k", &k, "-q"], more].concat());
    let row = |r: &Value| {
        let ids = r["ids"].as_array().unwrap().iter().map(number);
        ids.zip(r["distances"].as_array().unwrap().iter().map(|d| d.as_f64().unwrap())).collect()
    };
    v["results"].as_array().unwrap().iter().map(row).collect()
}

/// FAISS's ids, but where two distances are the same to 1e-5, and its distances to 1e-4; squared L2 becomes its root.
fn same(name: &str, found: &[Vec<(i64, f64)>], ids: &Value, distances: &Value, root: bool) {
    for (q, row) in found.iter().enumerate() {
        let theirs: Vec<(i64, f64)> = (0..)
            .map_while(|i| Some((ids[q][i].as_i64()?, distances[q][i].as_f64()?)))
            .filter(|t| t.0 != -1)
            .map(|t| (t.0, if root { t.1.max(0.0).sqrt() } else { t.1 }))
            .collect();
        assert_eq!(row.len(), theirs.len(), "{name}, query {q}");
        for ((id, d), (their_id, theirs)) in row.iter().zip(&theirs) {
            let scale = theirs.abs().max(1e-3);
            assert!((d - theirs).abs() <= 1e-4 * scale, "{name}, query {q}: {d} and {theirs}");
            assert!(id == their_id || (d - theirs).abs() <= 1e-5 * scale, "{name}, query {q}: {row:?} and {theirs}");
        }
    }
}

#[test]
fn faiss_answers_are_ours() {
    let queries = fixture("faiss/queries.npy");
    for (name, a) in answers().as_object().unwrap() {
        let index = fixture(&format!("faiss/{name}.index"));
        for (nprobe, found) in a["found"].as_object().unwrap() {
            let lists = ["--nprobe", nprobe.as_str()];
            let more: &[&str] = if a["ivf"] == true { &lists } else { &[] };
            same(name, &search(&index, &queries, 5, more), &found["ids"], &found["distances"], a["metric"] == "l2");
        }
        if a["ivf"] == true && name != "empty" {
            // the file says 3
            let (own, three) = (search(&index, &queries, 5, &[]), search(&index, &queries, 5, &["--nprobe", "3"]));
            assert_eq!(own, three, "{name}");
        }
    }
}

#[test]
fn an_index_made_of_a_file_is_one_like_others() {
    let dir = Folder::new();
    let (at, queries) = (dir.file("index"), fixture("faiss/queries.npy"));
    let made = json(&["convert", &fixture("faiss/ivf_pq.index"), &at]);
    assert_eq!((made["n"].as_u64(), made["spec"].as_str(), made["nprobe"].as_u64()), (Some(400), Some("IVF8,PQ4"), Some(3)));
    let before = search(&at, &queries, 5, &[]);
    assert_eq!(before, search(&fixture("faiss/ivf_pq.index"), &queries, 5, &[]));
    good(&["verify", &at]);
    let first = before[0][0].0.to_string();
    good(&["remove", &at, "--ids", &first]);
    assert_ne!(search(&at, &queries, 5, &[])[0][0].0, before[0][0].0);
    good(&["compact", &at]);
    good(&["verify", &at]);
    assert!(json(&["info", &at])["nprobe"].as_u64() == Some(3));
    assert_eq!(json(&["info", &fixture("faiss/refine.index")])["spec"], "IVF8,PQ4x4,Refine(Flat)");
}

#[test]
fn a_trained_empty_file_is_filled() {
    let dir = Folder::new();
    let (at, base) = (dir.file("index"), fixture("faiss/base.npy"));
    let e = bad(&["add", &fixture("faiss/empty.index"), "--base", &base], 2);
    assert!(e.contains("voisin convert"), "{e}");
    good(&["convert", &fixture("faiss/empty.index"), &at]);
    let added = json(&["add", &at, "--base", &base]);
    assert_eq!(added["n"], 400, "{added}");
    // the same rows in an index that FAISS filled: trained on the same rows, so the same codes
    let queries = fixture("faiss/queries.npy");
    let found = search(&at, &queries, 5, &["--nprobe", "8"]);
    let theirs = &answers()["ivf_pq"]["found"]["8"];
    let hits: usize = found
        .iter()
        .enumerate()
        .map(|(q, row)| {
            let ids: HashSet<i64> = theirs["ids"][q].as_array().unwrap().iter().map(|i| i.as_i64().unwrap()).collect();
            row.iter().filter(|r| ids.contains(&r.0)).count()
        })
        .sum();
    assert!(hits >= 20, "{hits} of 30");
    good(&["verify", &at]);
}

#[test]
fn an_empty_file_says_that_it_is_and_how_to_fill_it() {
    let dir = Folder::new();
    let (file, queries) = (fixture("faiss/empty.index"), fixture("faiss/queries.npy"));
    let ask = ["search", &file, "--queries", &queries, "-k", "3"];
    assert_eq!(json(&ask)["n"], 0);
    let how = format!("{file} holds no vectors; `voisin convert {file} DIR`, then `voisin add DIR --base FILE` fills it");
    let said = run::run(&ask);
    assert!(said.code == Some(0) && [&said.out, &said.err].iter().any(|s| s.contains(&how)), "{said:?}");
    assert!(!said.out.contains("--nprobe") && !said.err.contains("--nprobe"), "{said:?}");
    let said = run::run(&[&ask[..], &["--explain", "--row", "0"]].concat());
    assert!([&said.out, &said.err].iter().any(|s| s.contains(&how)), "{said:?}");
    assert!(good(&["info", &file]).contains(&how));
    let e = bad(&["bench", "--base", &fixture("faiss/base.npy"), "--queries", &queries, "-k", "3", "--index", &file], 1);
    assert!(e.contains(&how), "{e}");
    let at = dir.file("index");
    good(&["convert", &file, &at]);
    assert!(good(&["info", &at]).contains(&format!("`voisin add {at} --base FILE` fills it")));
}

#[test]
fn what_is_added_under_ip_goes_where_faiss_puts_it() {
    let dir = Folder::new();
    let queries = fixture("faiss/fill/queries.npy");
    let all = answers_of("faiss/fill/answers.json");
    // the test is about vectors whose nearest centroid is another one
    assert!(all["flat_half"]["others"].as_u64() > Some(20));
    for (name, a) in all.as_object().unwrap() {
        let at = dir.file(name);
        good(&["convert", &fixture(&format!("faiss/fill/{name}.index")), &at]);
        good(&["add", &at, "--base", &fixture(&format!("faiss/fill/rest_{}.npy", a["first"]))]);
        good(&["compact", &at]);
        let mut lists = vec![vec![]; 8];
        for l in voisin::Index::open(&at).unwrap().portable().unwrap().lists {
            lists[l.list] = l.ids;
            lists[l.list].sort_unstable();
        }
        let theirs: Vec<Vec<u64>> = serde_json::from_value(a["lists"].clone()).unwrap();
        assert_eq!(lists, theirs, "{name}");
        for (nprobe, found) in a["found"].as_object().unwrap() {
            let ours = search(&at, &queries, 5, &["--nprobe", nprobe]);
            if !name.starts_with("sq8") {
                same(&format!("{name}, {nprobe}"), &ours, &found["ids"], &found["distances"], false);
                continue;
            }
            // the largest value of a dimension is as far from what the code 254 stands for as from 255, FAISS's choice
            for (q, row) in ours.iter().enumerate() {
                let theirs: HashSet<i64> = found["ids"][q].as_array().unwrap().iter().map(number).collect();
                let other = row.iter().filter(|r| !theirs.contains(&r.0)).count();
                assert!(row.len() == 5 && other <= 1, "{name}, {nprobe}, query {q}: {row:?} and {theirs:?}");
            }
        }
    }
}

#[test]
fn ids_that_are_not_those_of_faiss_have_the_same_code() {
    // codes of 16 bits: many vectors share one. FAISS keeps what it met first and, of equals under ip, the larger id
    let (index, deep) = (fixture("faiss/ivf_pq4_ip.index"), &answers()["ivf_pq4_ip"]["deep"]);
    for (q, row) in search(&index, &fixture("faiss/queries.npy"), 5, &["--nprobe", "8"]).iter().enumerate() {
        let ids = deep["ids"][q].as_array().unwrap().iter().map(number);
        let theirs: Vec<(i64, f64)> =
            ids.zip(deep["distances"][q].as_array().unwrap().iter().map(|d| d.as_f64().unwrap())).collect();
        let near = |a: f64, b: f64| (a - b).abs() <= 1e-4 * b.abs();
        assert!(theirs.last().unwrap().1 < row[4].1 - 1e-3, "{q}: not all of that distance are there");
        for ((id, d), (_, at_rank)) in row.iter().zip(&theirs) {
            let (_, of_id) = theirs.iter().find(|t| t.0 == *id).unwrap_or_else(|| panic!("{q}: {id} is not FAISS's"));
            assert!(near(*d, *of_id) && near(*d, *at_rank), "{q}: {id} at {d}, {of_id}, {at_rank}");
        }
    }
}

#[test]
fn negative_ids_are_strings_and_numbers_again() {
    let dir = Folder::new();
    let queries = fixture("faiss/queries.npy");
    for name in ["neg_map", "neg_ivf"] {
        let (at, back) = (dir.file(name), dir.file(&format!("{name}.index")));
        good(&["convert", &fixture(&format!("faiss/{name}.index")), &at]);
        let first = search(&at, &queries, 5, &["--nprobe", "8"]);
        let negative = first.iter().flatten().find(|r| r.0 < 0).expect("half of them").0.to_string();
        assert_eq!(search_id(&at, &negative), negative);
        good(&["convert", &at, &back]);
        assert_eq!(search(&back, &queries, 5, &["--nprobe", "8"]), first, "{name}");
        // the same file but for the order of the rows
        let (ours, theirs) = (std::fs::read(&back).unwrap(), std::fs::read(fixture(&format!("faiss/{name}.index"))).unwrap());
        assert_eq!(ours.len(), theirs.len(), "{name}");
        good(&["remove", &at, "--ids", &negative]);
        assert_eq!(json(&["info", &at])["n"], 399);
        good(&["verify", &at]);
    }
    // a string that is no number stays here
    let at = dir.file("text");
    let base = dir.write("base.csv", "id,a,b\n-5,1,2\nseven,3,4\n");
    good(&["build", "--base", &base, "--index", "Flat", "-o", &at, "-q"]);
    let e = bad(&["convert", &at, &dir.file("text.index")], 1);
    assert!(e.contains("seven") && e.contains("no number"), "{e}");
}

fn search_id(index: &str, id: &str) -> String {
    let v = json(&["search", index, "--id", id, "-k", "1", "--nprobe", "8", "-q"]);
    v["results"][0]["ids"][0].as_str().expect("ids are strings").to_owned()
}

#[test]
fn batches_and_threads_change_nothing() {
    let (index, queries) = (fixture("faiss/ivf_pq4.index"), fixture("faiss/base.npy"));
    let all = search(&index, &queries, 7, &["--nprobe", "4", "--threads", "1"]);
    assert_eq!(all, search(&index, &queries, 7, &["--nprobe", "4", "--threads", "3"]));
    assert_eq!(all, search(&index, &queries, 7, &["--nprobe", "4", "--mode", "single"]));
}

#[test]
fn a_file_is_measured_beside_an_index() {
    let (index, base) = (fixture("faiss/ivf_pq.index"), fixture("faiss/base.npy"));
    let all = ["bench", "--base", &base, "--queries", &fixture("faiss/queries.npy"), "--repeat", "1", "-k", "5"];
    let v = json(&[&all[..], &["--index", &index, "--index", "IVF8,Flat", "--nprobe", "3,8"]].concat());
    let recall: Vec<f64> = v["points"].as_array().unwrap().iter().map(|p| p["recall"].as_f64().unwrap_or(-1.0)).collect();
    assert_eq!(v["points"].as_array().unwrap().len(), 4, "{v}");
    assert_eq!(v["points"][0]["spec"], "IVF8,PQ4", "{recall:?}");
    let other = fixture("faiss/pq.index");
    assert!(
        bad(&["bench", "--base", &base, "--queries", &base, "--index", &other, "--metric", "ip"], 1)
            .contains("of 16 dimensions under l2")
    );
}

#[test]
fn graphs_take_ef_and_nothing_else() {
    let (index, queries) = (fixture("faiss/hnsw.index"), fixture("faiss/queries.npy"));
    let wide = search(&index, &queries, 5, &["--ef", "400"]);
    assert_eq!(wide, search(&fixture("faiss/flat_l2.index"), &queries, 5, &[]));
    let info = json(&["info", &index]);
    assert_eq!((info["spec"].as_str(), info["ef"].as_u64()), (Some("HNSW8,Flat"), Some(16)));
    assert!(bad(&["search", &index, "--queries", &queries, "--nprobe", "2"], 2).contains("is a graph"));
    assert!(bad(&["search", &fixture("faiss/pq.index"), "--queries", &queries, "--ef", "2"], 2).contains("is no graph"));
    let dir = Folder::new();
    assert!(bad(&["convert", &index, &dir.file("x")], 1).contains("graph"));
    assert!(dir.list().is_empty());
}

#[test]
fn a_graph_is_measured_beside_an_index() {
    let (index, base) = (fixture("faiss/hnsw.index"), fixture("faiss/base.npy"));
    let queries = fixture("faiss/queries.npy");
    let all = ["bench", "--base", &base, "--queries", &queries, "--repeat", "1", "-k", "5", "--index", &index];
    let v = json(&[&all[..], &["--ef", "2,5,400", "--index", "Flat"]].concat());
    let points = v["points"].as_array().unwrap();
    assert_eq!(points.iter().map(|p| p["ef"].as_u64()).collect::<Vec<_>>(), [Some(5), Some(400), None], "2 is a queue of k");
    assert_eq!((points[0]["spec"].as_str(), points[1]["recall"]["5"].as_f64()), (Some("HNSW8,Flat"), Some(1.0)));
    assert!(bad(&[&all[..], &["--ef", "0"]].concat(), 2).contains("ef = 0"));
    assert!(bad(&[&all[..], &["--metric", "ip"]].concat(), 1).contains("of 16 dimensions under l2"));
}

/// Folder with the published index of Caltech101's features, where it is.
fn caltech() -> Option<String> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/caltech");
    dir.exists().then(|| dir.display().to_string())
}

#[test]
fn a_published_index_gives_the_ids_of_faiss() {
    let Some(dir) = caltech() else { return eprintln!("skipped: ../shared/data/caltech is not here") };
    let dir2 = Folder::new();
    for nprobe in ["1", "2", "4", "100"] {
        let out = dir2.file("found.npz");
        let index = format!("{dir}/index_ivfpq_caltech.index");
        good(&["search", &index, "--queries", &format!("{dir}/queries.npy"), "-k", "10", "--nprobe", nprobe, "-o", &out, "-q"]);
        let set = |file: &str, d: &str| {
            let source = voisin_io::open(&format!("{file}{d}"), voisin_io::Role::Base).unwrap();
            let mut rows = vec![0.0; source.len() as usize * source.dim()];
            voisin::Source::read(&*source, 0, &mut rows).unwrap();
            rows
        };
        let (ids, distances) = (set(&out, "::neighbors"), set(&out, "::distances"));
        let theirs = set(&format!("{dir}/faiss_nprobe{nprobe}_ids.npy"), "");
        let squared = set(&format!("{dir}/faiss_nprobe{nprobe}_distances.npy"), "");
        assert_eq!(ids.len(), 2000);
        let mut differ = 0;
        for i in 0..ids.len() {
            let root = squared[i].sqrt();
            assert!((distances[i] - root).abs() <= 1e-5 * root, "nprobe {nprobe}, {i}: {} and {root}", distances[i]);
            differ += (ids[i] != theirs[i]) as usize;
        }
        // FAISS's sums in f32 put a few pairs of the same distance (to seven digits) the other way round
        assert!(differ <= 8, "nprobe {nprobe}: {differ} of 2000");
    }
}

/// What FAISS finds in a file: rows of ids and distances.
const ASK: &str = "
import sys, json, faiss, numpy as np
index = faiss.read_index(sys.argv[1])
nprobe = int(sys.argv[4])
if nprobe:
    faiss.extract_index_ivf(index).nprobe = nprobe
d, i = index.search(np.load(sys.argv[2]).astype('f4'), int(sys.argv[3]))
print(json.dumps({'ids': i.tolist(), 'distances': d.tolist()}))
";

#[test]
fn what_is_written_faiss_reads() {
    let Ok(python) = std::env::var("VOISIN_PYTHON") else {
        return eprintln!("skipped: VOISIN_PYTHON names no python with faiss");
    };
    if !Command::new(&python).args(["-c", "import faiss"]).output().is_ok_and(|o| o.status.success()) {
        return eprintln!("skipped: {python} has no faiss");
    }
    let dir = Folder::new();
    let (base, queries) = (fixture("faiss/base.npy"), fixture("faiss/queries.npy"));
    let check = |name: &str, index: &str, nprobe: &str, metric: &str| {
        let file = dir.file(&format!("{name}.index"));
        good(&["convert", index, &file]);
        let o = Command::new(&python).args(["-c", ASK, &file, &queries, "5", nprobe]).output().unwrap();
        assert!(o.status.success(), "{name}: {}", String::from_utf8_lossy(&o.stderr));
        let theirs: Value = serde_json::from_slice(&o.stdout).unwrap();
        let lists = ["--nprobe", nprobe];
        let ours = search(index, &queries, 5, if nprobe == "0" { &[] } else { &lists });
        let cosine = |rows: Vec<Vec<(i64, f64)>>| -> Vec<Vec<(i64, f64)>> {
            rows.into_iter().map(|r| r.into_iter().map(|(i, d)| (i, (2.0 * d).sqrt())).collect()).collect()
        };
        let ours = if metric == "cosine" { cosine(ours) } else { ours };
        same(name, &ours, &theirs["ids"], &theirs["distances"], metric != "ip");
    };
    for name in ["flat_l2", "flat_ip", "ivf_flat", "ivf_pq", "ivf_pq_plain", "ivf_pq4", "ivf_pq_ip", "ivf_sq8", "ivf_sq4_plain"]
        .iter()
        .chain(&[
            "ivf_f16",
            "ivf_sq8_ip",
            "pq",
            "pq4",
            "sq8",
            "sq4_uniform",
            "f16",
            "opq",
            "pca_norm",
            "norm_pca",
            "id_map",
            "ivf_ids",
            "ivf_pq4_ip",
            "neg_map",
            "neg_ivf",
        ])
    {
        let at = dir.file(name);
        good(&["convert", &fixture(&format!("faiss/{name}.index")), &at]);
        let a = &answers()[*name];
        check(name, &at, if a["ivf"] == true { "3" } else { "0" }, a["metric"].as_str().unwrap());
    }
    for (spec, metric) in
        [("IVF8,PQ4", "l2"), ("IVF8,SQ4", "ip"), ("IVF8,SQ8", "l2"), ("Flat", "cosine"), ("IVF8,PQ8x4", "cosine")]
    {
        let at = dir.file(&format!("{spec}-{metric}"));
        good(&["build", "--base", &base, "--index", spec, "--metric", metric, "-o", &at, "-q"]);
        check(&format!("built-{spec}"), &at, if spec == "Flat" { "0" } else { "3" }, metric);
    }
    let at = dir.file("lmi");
    good(&["build", "--base", &base, "--index", "IVF8,RaBitQ4", "-o", &at, "-q"]);
    assert!(bad(&["convert", &at, &dir.file("no.index")], 2).contains("RaBitQ4"));
    assert!(bad(&["convert", &at, &dir.file("no.h5")], 2).contains(".index"));
}
