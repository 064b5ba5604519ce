//! Paired k-means and routers through the binary: captions, pairs made elsewhere, changes, what is refused.

mod run;

use std::path::Path;

use run::{Folder, bad, fixture, good, json, tree};
use serde_json::Value;

fn files() -> [String; 4] {
    ["images.npy", "captions.npy", "queries.npy", "pairs.h5"].map(|f| fixture(&format!("captions/{f}")))
}

/// The NPY file of the first rows of one of 8 columns, and where its values begin.
fn head(path: &str, rows: usize) -> (Vec<u8>, usize) {
    let mut bytes = std::fs::read(path).unwrap();
    let header = 10 + u16::from_le_bytes([bytes[8], bytes[9]]) as usize;
    let text = String::from_utf8(bytes[10..header].to_vec()).unwrap();
    let at = text.find("(").unwrap();
    let shape = text[at..=text.find(')').unwrap()].to_owned();
    let fewer = format!("{:w$}", format!("({rows}, 8)"), w = shape.len());
    bytes[10..header].copy_from_slice(text.replace(&shape, &fewer).as_bytes());
    bytes.truncate(header + rows * 8 * 4);
    (bytes, header)
}

fn built(dir: &Folder, name: &str, spec: &str, more: &[&str]) -> (String, Value) {
    let (out, [images, ..]) = (dir.file(name), files());
    let args = ["build", "--base", &images, "--metric", "cosine", "--index", spec, "-o", &out];
    let report = json(&[&args, more].concat());
    (out, report)
}

#[test]
fn pairs_computed_here_and_elsewhere_give_the_same_index() {
    let (dir, [images, captions, queries, pairs]) = (Folder::new(), files());
    let (own, report) = built(&dir, "own", "Paired12,SQ8", &["--captions", &captions]);
    assert_eq!(report["pairs"], 360);
    let (given, _) = built(&dir, "given", "Paired12,SQ8", &["--captions", &captions, "--pairs", &pairs]);
    let exact = dir.file("exact.h5");
    good(&["pair", "--base", &images, "--queries", &captions, "--metric", "cosine", "-o", &exact]);
    let (computed, _) = built(&dir, "computed", "Paired12,SQ8", &["--captions", &captions, "--pairs", &exact]);
    let model = |index: &str| std::fs::read(Path::new(index).join("model.vsn")).unwrap();
    assert!(model(&own) == model(&given) && model(&own) == model(&computed));
    // another index like it asks for no captions
    let like = dir.file("like");
    good(&["build", "--base", &images, "--metric", "cosine", "--like", &own, "-o", &like]);
    assert_eq!(json(&["info", &like])["spec"], "Paired12,SQ8");
    // all lists: what the codes make of an exact search
    let truth = dir.file("truth.h5");
    good(&["exact", "--base", &images, "--queries", &queries, "--metric", "cosine", "-o", &truth]);
    let found = json(&["search", &own, "--queries", &queries, "--nprobe", "12", "--truth", &truth]);
    assert!(found["recall"]["10"].as_f64().unwrap() > 0.97, "{found}");
    assert_eq!(json(&["verify", &own])["problems"].as_array().map(Vec::len), Some(0));
}

#[test]
fn a_tuple_of_torch_names_the_images() {
    // indices 0 1 / 2 3 / 4 5 / 6 7 beside four rows of similarities: the images of four captions are 0, 2, 4 and 6
    let dir = Folder::new();
    let four = dir.file("four.npy");
    let captions = fixture("captions/captions.npy");
    std::fs::write(&four, head(&captions, 4).0).unwrap();
    let mut models = Vec::new();
    for name in ["pair.pt", "pair_legacy.pt"] {
        let (out, report) =
            built(&dir, name, "Paired3,Flat", &["--captions", &four, "--pairs", &fixture(&format!("torch/{name}"))]);
        assert_eq!(report["pairs"], 4);
        models.push(std::fs::read(Path::new(&out).join("model.vsn")).unwrap());
    }
    assert!(models[0] == models[1]);
    let [images, all, ..] = files();
    let more = ["--base", &images, "--index", "Paired3,Flat", "--captions", &all, "-o"];
    let out = dir.file("no");
    let e = bad(&[&["build", "--pairs", &fixture("torch/pair.pt")], &more[..], &[&out]].concat(), 1);
    assert!(e.contains("pair.pt has 4 rows, ") && e.contains("captions.npy 360 captions"), "{e}");
    let e = bad(&[&["build", "--pairs", &fixture("torch/tensor.pt")], &more[..], &[&out]].concat(), 1);
    assert!(e.contains("tuple (similarities, indices)"), "{e}");
    assert!(!Path::new(&out).exists());
}

#[test]
fn a_router_lives_through_changes_and_any_number_of_threads() {
    let (dir, [_, captions, queries, _]) = (Folder::new(), files());
    let more = ["--queries", &captions, "--captions", &captions];
    for (spec, more) in
        [("IVF9(router),SQ8", &more[..2]), ("LMI9(16,router),RaBitQ4", &more[..2]), ("Paired9(router),SQ4", &more[..])]
    {
        let (index, report) = built(&dir, spec, spec, &[more, &["--threads", "1"]].concat());
        assert_eq!(report["spec"], spec);
        let reach = &report["router"]["reach"];
        assert!(reach[1].as_f64().unwrap() <= reach[0].as_f64().unwrap(), "{report}");
        let (again, _) = built(&dir, &format!("{spec} again"), spec, &[more, &["--threads", "3"]].concat());
        let without_lock = |p: &str| tree(Path::new(p)).into_iter().filter(|f| !f.0.ends_with("lock")).collect::<Vec<_>>();
        assert!(without_lock(&index) == without_lock(&again), "{spec}");
        let info = good(&["info", &index]);
        assert!(info.contains("router   linear 8-9"), "{info}");
        assert_eq!(json(&["info", &index])["router"], serde_json::json!([8, 9]));
        good(&["add", &index, "--base", &queries]);
        good(&["remove", &index, "--ids", "0", "17"]);
        good(&["compact", &index]);
        let found = json(&["search", &index, "--queries", &queries, "--recall", "0.5", "-k", "1"]);
        assert!(found["scanned_per_query"].as_f64().is_some_and(|n| n > 0.0), "{found}");
        assert_eq!(json(&["verify", &index])["problems"].as_array().map(Vec::len), Some(0), "{spec}");
        good(&["search", &index, "--queries", &queries, "--mass", "0.7", "--nprobe", "9"]);
    }
}

#[test]
fn what_is_missing_or_wrong_is_named() {
    let (dir, [images, captions, queries, pairs]) = (Folder::new(), files());
    let out = dir.file("index");
    let fault = |spec: &str, more: &[&str], code: i32| {
        let e = bad(&[&["build", "--base", &images, "--metric", "cosine", "--index", spec, "-o", &out], more].concat(), code);
        assert!(!Path::new(&out).exists(), "{e}");
        e
    };
    let e = fault("IVF9(router),Flat", &[], 2);
    assert!(e.contains("--queries FILE") && e.contains("hint: such as: voisin build"), "{e}");
    assert!(fault("Paired9,Flat", &[], 2).contains("--captions FILE"));
    assert!(fault("IVF9,Flat", &["--captions", &captions], 2).contains("a paired index, such as Paired1024,SQ4"));
    assert!(fault("Paired9,Flat", &["--pairs", &pairs], 2).contains("--captions"));
    assert!(fault("Paired9,Flat", &["--captions", &fixture("torch/tensor.pt")], 1).contains("3 dimensions where 8"));
    assert!(fault("Paired9,Flat", &["--captions", &captions, "--paired-niter", "0"], 2).contains("paired-niter"));
    assert!(fault("IVF9(router),Flat", &["--queries", &queries, "--router-epochs", "0"], 2).contains("router-epochs = 0"));
    assert!(fault("IVF9(router),Flat", &["--queries", &queries, "--router-k", "0"], 2).contains("router-k = 0"));
    for (name, lacks) in
        [("router-k", "no router"), ("router-epochs", "no router"), ("paired-niter", "no centroids among captions")]
    {
        let e = fault("IVF9,Flat", &[&format!("--{name}"), "7"], 2);
        assert!(e.contains(&format!("{name} = 7: IVF9,Flat has {lacks}")) && e.contains("hint: leave"), "{e}");
        let e = bad(&["job", "plan", "--base", &images, &format!("--{name}"), "7", "-o", &dir.file("plan.json")], 2);
        assert!(e.contains(lacks), "{e}");
    }
    assert!(fault("Paired290,Flat", &["--captions", &queries], 2).contains("captions that have an image, 60"));
    let e = fault("Paired9,Flat", &["--captions", &queries, "--pairs", &pairs], 1);
    assert!(e.contains("pairs.h5 has 360 rows, ") && e.contains("queries.npy 60 captions"), "{e}");
    // row 2 names an image that is not there
    let beyond = dir.write("beyond.csv", "query,rank,id,distance\n0,1,3,0.1\n1,1,4,0.1\n2,1,300,0.1\n");
    let few = dir.file("few.npy");
    let (mut bytes, header) = head(&queries, 3);
    std::fs::write(&few, &bytes).unwrap();
    assert!(fault("Paired2,Flat", &["--captions", &few, "--pairs", &beyond], 1).contains("beyond.csv, row 2: image 300, where"));
    let mut ivecs: Vec<u8> = [3i32, -1, -7].iter().flat_map(|id| [1i32.to_le_bytes(), id.to_le_bytes()].concat()).collect();
    let below = dir.write("below.ivecs", &ivecs);
    assert!(fault("Paired2,Flat", &["--captions", &few, "--pairs", &below], 1).contains("row 2: -7 is no row number"));
    // one caption without an image is none too few; pairs by another metric are remarked upon
    ivecs[20..24].copy_from_slice(&5i32.to_le_bytes());
    let right = dir.write("right.ivecs", &ivecs);
    let (index, by_l2) = (dir.file("fine"), dir.file("l2.h5"));
    let fine = ["build", "--base", &images, "--metric", "cosine", "--index", "Paired2,Flat", "--captions", &few, "-o", &index];
    assert_eq!(json(&[&fine[..], &["--pairs", &right]].concat())["pairs"], 2);
    good(&["pair", "--base", &images, "--queries", &few, "--metric", "l2", "-o", &by_l2]);
    let r = run::run(&[&fine[..], &["--pairs", &by_l2]].concat());
    assert!(r.code == Some(0) && r.err.contains("pairs by l2, where the index is built for cosine"), "{r:?}");
    bytes[header..header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    std::fs::write(&few, bytes).unwrap();
    assert!(fault("Paired2,Flat", &["--captions", &few], 1).contains("few.npy, row 0: a value is NaN"));
    // captions are looked at before the base is, and so before anything is learned
    let (mut bytes, header) = head(&images, 200);
    bytes[header..header + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    let base = dir.write("base.npy", bytes);
    let e = bad(&["build", "--base", &base, "--index", "Paired2,Flat", "--captions", &few, "-o", &out], 1);
    assert!(e.contains("few.npy, row 0: a value is NaN"), "{e}");
}

#[test]
fn queries_that_cannot_be_ranked_are_skipped_where_asked() {
    let (dir, [images, captions, ..]) = (Folder::new(), files());
    let (mut bytes, header) = head(&captions, 40);
    bytes[header + 32..header + 36].copy_from_slice(&f32::NAN.to_le_bytes());
    bytes[header + 64..header + 96].fill(0);
    let queries = dir.write("queries.npy", bytes);
    let (index, plan) = (dir.file("index"), dir.file("plan.json"));
    let shared = ["--base", &images, "--metric", "cosine", "--index", "IVF4(router),SQ8", "--queries", &queries, "-o"];
    let build = [&["build"], &shared[..], &[&index]].concat();
    assert!(bad(&build, 1).contains("queries.npy, row 1: a value is NaN"));
    let v = json(&[&build[..], &["--on-bad", "skip"]].concat());
    assert_eq!((v["skipped"].as_u64(), v["skipped_queries"].as_u64()), (Some(0), Some(2)));
    assert!(good(&[&build[..], &["--on-bad", "skip"]].concat()).contains("2 queries that cannot be ranked were left out"));
    good(&[&["job", "plan"], &shared[..], &[&plan, "--on-bad", "skip"]].concat());
    assert_eq!(json(&["job", "train", &plan])["skipped_queries"].as_u64(), Some(2));
}
