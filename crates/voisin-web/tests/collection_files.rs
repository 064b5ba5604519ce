//! Collections of what people have from elsewhere: FAISS files, files of vectors, names and images beside them.

mod shelf;

use serde_json::Value;
use shelf::{ids, page, params, picture, spec, test_data};
use std::path::{Path, PathBuf};
use voisin::index::{BuildParams, build};
use voisin::{Metric, Quiet};
use voisin_io::Role;
use voisin_web::Kind;
use voisin_web::collection::{Ask, Collection, CollectionSpec, Found, Page, Params};

fn at(dir: &Path, name: &str) -> Option<String> {
    Some(dir.join(name).display().to_string())
}

fn expected(names: &Path) -> Value {
    serde_json::from_slice(&std::fs::read(names.join("expected.json")).unwrap()).unwrap()
}

fn strings(v: &Value) -> Vec<String> {
    v.as_array().unwrap().iter().map(|x| x.as_str().map_or_else(|| x.to_string(), str::to_owned)).collect()
}

fn found(f: &Found) -> Vec<&str> {
    f.hits.iter().map(|h| &h.item.id[..]).collect()
}

fn by_id(c: &Collection, id: &str, p: &Params) -> Found {
    c.search(&c.query(&Ask::Id(id)).unwrap(), p).unwrap()
}

/// A FAISS file with the names of its rows, and a folder with the images of two classes of four.
fn caltech(file: &str, names: &str, folder: &Path) -> Option<(CollectionSpec, Value)> {
    let (faiss, beside) = (test_data("faiss")?, test_data("names")?);
    let expected = expected(&beside);
    for (i, f) in strings(&expected["files"]).iter().enumerate() {
        if f.starts_with("cup") || f.starts_with("ewer") {
            picture(&folder.join(f), 32, 24, [i as u8, 100, 50], 0);
        }
    }
    let from = CollectionSpec { names: at(&beside, names), images: Some(folder.to_owned()), ..spec(&faiss.join(file)) };
    Some((from, expected))
}

#[test]
fn a_faiss_file_with_names_and_images() {
    let dir = tempfile::tempdir().unwrap();
    let mut first: Option<Vec<(String, bool)>> = None;
    for names in
        ["paths.pkl", "paths_array.pkl", "paths_of_rows.pkl", "paths_windows.txt", "table.csv", "paths.npy", "strings.h5"]
    {
        let Some((from, expected)) = caltech("ivf_flat.index", names, dir.path()) else { return };
        let c = Collection::open(&from, &Quiet).unwrap_or_else(|e| panic!("{names}: {e}"));
        let facts = c.facts();
        assert_eq!((facts.n, facts.d, &facts.spec[..], facts.nlist, facts.nprobe), (400, 16, "IVF8,Flat", 8, 3));
        assert_eq!((facts.shows, facts.metric.as_str()), ("images", "l2"));
        assert!(facts.asks.id.is_none() && facts.asks.image.as_ref().unwrap().contains("--model"), "{:?}", facts.asks);
        assert!(facts.notes.iter().any(|n| n.contains("of 400 images are not in")), "{:?}", facts.notes);
        let items = c.items(&page(400)).unwrap().items;
        let (files, labels) = (strings(&expected["files"]), strings(&expected["labels"]));
        for (row, item) in items.iter().enumerate() {
            assert_eq!((item.id.parse(), item.image), (Ok(row), files[row].starts_with("cup") || files[row].starts_with("ewer")));
            if item.image {
                assert_eq!(
                    (item.label.as_deref(), &item.name[..]),
                    (Some(&labels[row][..]), files[row].rsplit('/').next().unwrap())
                );
                assert_eq!(c.image(&item.id).unwrap().0, std::fs::read(dir.path().join(&files[row])).unwrap());
            } else {
                assert_eq!(c.image(&item.id).unwrap_err().kind, Kind::NotFound);
            }
        }
        let shown: Vec<(String, bool)> = items.into_iter().map(|i| (i.id, i.image)).collect();
        assert_eq!(*first.get_or_insert_with(|| shown.clone()), shown, "{names}");
        // people type what they see
        let row = files.iter().position(|f| f == "ewer/image_0000.png").expect("a file of the fixture");
        if names == "paths.pkl" {
            assert_eq!(c.item("ewer/image_0000.png").unwrap().id, row.to_string());
            assert_eq!(c.item("image_0000").unwrap_err().kind, Kind::NotFound);
        }
    }
}

#[test]
fn files_of_one_name_in_two_folders_are_two() {
    let dir = tempfile::tempdir().unwrap();
    let at_dir = |name: &str| dir.path().join(name);
    for (i, file) in ["both/a/1.png", "both/b/1.png", "flat/1.png"].iter().enumerate() {
        picture(&at_dir(file), 32, 24, [200, 80 * i as u8, 50], i as u8);
    }
    let bytes = |name: &str| std::fs::read(at_dir(name)).unwrap();
    // a folder of images: ids, labels and images are apart
    let c = Collection::open(&spec(&at_dir("both")), &Quiet).unwrap();
    for (id, label) in [("a/1.png", "a"), ("b/1.png", "b")] {
        let item = c.item(id).unwrap();
        assert_eq!((&item.id[..], &item.name[..], item.label.as_deref()), (id, "1.png", Some(label)));
        assert_eq!(c.image(id).unwrap().0, bytes(&format!("both/{id}")));
    }
    assert_ne!(c.thumbnail("a/1.png", 64).unwrap(), c.thumbnail("b/1.png", 64).unwrap());
    // vectors with names: by both parts of the path, and by none where the folder does not say which of them it is
    let vectors = at_dir("v.csv");
    std::fs::write(&vectors, "1,0\n0,1\n").unwrap();
    std::fs::write(at_dir("names.txt"), "/data/a/1.png\n/data/b/1.png\n").unwrap();
    let open = |images: &str| {
        let keep = Some(at_dir("kept"));
        let (names, images) = (at(dir.path(), "names.txt"), Some(at_dir(images)));
        Collection::open(&CollectionSpec { names, images, keep, ..spec(&vectors) }, &Quiet).unwrap()
    };
    let c = open("both");
    assert_eq!((c.image("0").unwrap().0, c.image("1").unwrap().0), (bytes("both/a/1.png"), bytes("both/b/1.png")));
    assert_eq!((c.item("1").unwrap().label.as_deref(), c.item("b/1.png").unwrap().id), (Some("b"), "1".into()));
    assert_eq!(c.item("1.png").unwrap_err().kind, Kind::NotFound, "which of the two?");
    let c = open("flat");
    assert!(c.items(&page(2)).unwrap().items.iter().all(|i| !i.image));
    assert!(c.facts().notes.iter().any(|n| n.starts_with("2 names end like those of others")), "{:?}", c.facts().notes);
    assert!(c.facts().notes.iter().all(|n| !n.contains(&*dir.path().to_string_lossy())), "{:?}", c.facts().notes);
    let c = open("both/b");
    assert_eq!((c.image("0").unwrap_err().kind, c.image("1").unwrap().0), (Kind::NotFound, bytes("both/b/1.png")));
}

#[test]
fn neighbours_are_those_of_numpy() {
    let (Some(faiss), Some(beside)) = (test_data("faiss"), test_data("names")) else { return };
    let expected = expected(&beside);
    let features = at(&faiss, "base.npy");
    for file in ["flat_l2.index", "ivf_flat.index", "hnsw.index", "ivf_pq.index", "pca.index", "ivf_sq8.index"] {
        let from = CollectionSpec { labels: at(&beside, "labels.json"), features: features.clone(), ..spec(&faiss.join(file)) };
        let c = Collection::open(&from, &Quiet).unwrap();
        assert!(c.facts().asks.id.is_none() && c.facts().asks.exact.is_none(), "{file}");
        for (id, truth) in expected["found"].as_object().unwrap() {
            let q = c.query(&Ask::Id(id)).unwrap();
            let exact = c.search(&q, &Params { exact: true, ..params(10) }).unwrap();
            assert_eq!(found(&exact), strings(&truth["ids"]), "{file} {id}");
            for (hit, d) in exact.hits.iter().zip(truth["distances"].as_array().unwrap()) {
                assert!((f64::from(hit.distance) - d.as_f64().unwrap()).abs() < 1e-5 * f64::from(hit.distance), "{file} {id}");
            }
            let label = strings(&expected["labels"])[id.parse::<usize>().unwrap()].clone();
            let within = Params { label: Some(label.clone()), exact: true, ..params(10) };
            let of_class = c.search(&q, &within).unwrap();
            assert_eq!(found(&of_class), strings(&truth["within"]), "{file} {id}");
            assert!(of_class.hits.iter().all(|h| h.item.label.as_ref() == Some(&label)));
            if !file.contains("pq") && !file.contains("pca") && !file.contains("sq8") {
                // every list, or the graph with a filter: the same
                let all = Params { nprobe: Some(8), ..within };
                assert_eq!(
                    found(&c.search(&q, &Params { exact: false, ..all }).unwrap()),
                    strings(&truth["within"]),
                    "{file} {id}"
                );
            }
            let compared = c.compare(&q, &Params { nprobe: Some(1), ..params(10) }).unwrap();
            let both = found(&compared.approximate).iter().filter(|i| found(&compared.exact).contains(i)).count();
            assert_eq!(compared.recall, both as f64 / 10.0, "{file} {id}: there are no ties");
            assert_eq!(found(&compared.exact), strings(&truth["ids"]));
        }
    }
}

#[test]
fn codes_say_that_they_are_codes() {
    let Some(faiss) = test_data("faiss") else { return };
    for (file, plain) in [
        ("ivf_pq.index", false),
        ("ivf_sq8.index", false),
        ("refine.index", true),
        ("flat_ip.index", true),
        ("hnsw_ip.index", true),
    ] {
        let c = Collection::open(&spec(&faiss.join(file)), &Quiet).unwrap();
        let facts = c.facts();
        assert_eq!(facts.notes.iter().any(|n| n.contains("--features")), !plain, "{file}: {:?}", facts.notes);
        assert_eq!((facts.shows, facts.classes.len()), ("ids", 0));
        let compared = c.compare(&c.query(&Ask::Id("5")).unwrap(), &Params { nprobe: Some(8), ..params(10) }).unwrap();
        assert!(compared.recall >= if file == "refine.index" { 0.7 } else { 1.0 }, "{file}: {}", compared.recall);
    }
    let exact_by = |file: &str| Collection::open(&spec(&faiss.join(file)), &Quiet).unwrap().facts().exact_by;
    assert_eq!(["ivf_pq.index", "flat_l2.index", "hnsw.index"].map(exact_by), ["codes", "vectors", "vectors"]);
    // a longer queue of a graph finds more, up to all
    let graph = Collection::open(&spec(&faiss.join("hnsw.index")), &Quiet).unwrap();
    assert_eq!(graph.facts().ef, Some(16));
    let q = graph.query(&Ask::Id("5")).unwrap();
    let [short, long] = [1, 400].map(|ef| graph.search(&q, &Params { ef: Some(ef), ..params(10) }).unwrap());
    assert!(short.scanned < long.scanned);
    assert_eq!(found(&long), found(&graph.search(&q, &Params { exact: true, ..params(10) }).unwrap()));
    // codes of mapped vectors do not tell the vectors: search by id says so
    let c = Collection::open(&spec(&faiss.join("pca.index")), &Quiet).unwrap();
    assert!(c.facts().asks.id.as_ref().unwrap().contains("--features"));
    assert_eq!(c.query(&Ask::Id("5")).unwrap_err().kind, Kind::Unable);
    // ids of its own
    let c = Collection::open(&spec(&faiss.join("id_map.index")), &Quiet).unwrap();
    let all = ids(&c);
    assert!(all[0] == "10000" && all.len() == 400 && c.item("5").is_err());
    assert_eq!(by_id(&c, "10000", &params(399)).hits.len(), 399);
    assert_eq!(c.item("+10000").unwrap_err().kind, Kind::NotFound);
    // nothing in it
    let c = Collection::open(&spec(&faiss.join("empty.index")), &Quiet).unwrap();
    assert_eq!((c.facts().n, ids(&c).len()), (0, 0));
    let q = c.query(&Ask::Vector(vec![1.0; 16])).unwrap();
    assert_eq!(c.search(&q, &params(1)).unwrap_err().kind, Kind::BadRequest);
}

#[test]
fn counts_that_differ_are_errors_that_name_both() {
    let (Some(faiss), Some(beside)) = (test_data("faiss"), test_data("names")) else { return };
    let from = spec(&faiss.join("flat_l2.index"));
    let error = |from: CollectionSpec| Collection::open(&from, &Quiet).unwrap_err().message;
    for name in ["names", "labels", "texts"] {
        let file = at(&beside, "short.txt");
        let from = match name {
            "names" => CollectionSpec { names: file, ..from.clone() },
            "labels" => CollectionSpec { labels: file, ..from.clone() },
            _ => CollectionSpec { texts: file, ..from.clone() },
        };
        let e = error(from);
        assert!(e.contains("short.txt has 399 strings") && e.contains("400 vectors"), "{e}");
    }
    let e = error(CollectionSpec { features: at(&faiss, "queries.npy"), ..from.clone() });
    assert!(e.contains("has 6 vectors, where the index has 400"), "{e}");
    let e = error(CollectionSpec { images: Some(beside.clone()), ..from.clone() });
    assert!(e.contains("--images"), "{e}");
    let e = error(CollectionSpec { images: Some(beside.clone()), names: at(&beside, "paths.txt"), ..from });
    assert!(e.contains("none of the 400 names is a path of an image"), "{e}");
}

#[test]
fn names_never_lead_out_of_the_folder() {
    let Some(faiss) = test_data("faiss") else { return };
    let dir = tempfile::tempdir().unwrap();
    let images = dir.path().join("images");
    picture(&images.join("good.png"), 16, 16, [1, 2, 3], 0);
    picture(&dir.path().join("secret.png"), 16, 16, [3, 2, 1], 0);
    std::os::unix::fs::symlink(dir.path().join("secret.png"), images.join("link.png")).unwrap();
    std::os::unix::fs::symlink(dir.path(), images.join("up")).unwrap();
    let mut names = vec!["../secret.png".to_owned(), dir.path().join("secret.png").display().to_string(), "link.png".into()];
    names.extend(
        ["up/secret.png", "images/../../secret.png", "file:///etc/passwd", "good.png\0.html", "..", ""].map(String::from),
    );
    let bad = names.len();
    names.resize(400, "x/good.png".into());
    std::fs::write(dir.path().join("names.txt"), names.join("\n")).unwrap();
    let from = CollectionSpec { names: at(dir.path(), "names.txt"), images: Some(images), ..spec(&faiss.join("flat_l2.index")) };
    let c = Collection::open(&from, &Quiet).unwrap();
    for (id, name) in names.iter().enumerate().take(bad) {
        assert!(!c.item(&id.to_string()).unwrap().image, "{name}");
        assert_eq!(c.image(&id.to_string()).unwrap_err().kind, Kind::NotFound);
        assert_eq!(c.thumbnail(&id.to_string(), 64).unwrap_err().kind, Kind::NotFound);
    }
    assert!(c.image("399").is_ok());
}

#[test]
fn texts_and_an_index_of_ours() {
    let (Some(faiss), Some(beside)) = (test_data("faiss"), test_data("names")) else { return };
    let expected = expected(&beside);
    let dir = tempfile::tempdir().unwrap();
    // a file of vectors: its index is built beside it, and kept
    let file = dir.path().join("base.npy");
    std::fs::copy(faiss.join("base.npy"), &file).unwrap();
    let from = CollectionSpec { texts: at(&beside, "texts.csv"), labels: at(&beside, "table.csv"), ..spec(&file) };
    let c = Collection::open(&from, &Quiet).unwrap();
    let facts = c.facts();
    assert_eq!((facts.shows, &facts.spec[..], facts.n, facts.classes.len()), ("texts", "Flat", 400, 4));
    let texts: Vec<String> = c.items(&page(400)).unwrap().items.into_iter().map(|i| i.text.unwrap()).collect();
    assert_eq!(texts, strings(&expected["texts"]));
    assert_eq!(found(&by_id(&c, "17", &params(10))), strings(&expected["found"]["17"]["ids"]));
    let manifest = dir.path().join("base.npy.voisin/index/manifest.json");
    let built = std::fs::metadata(&manifest).unwrap().modified().unwrap();
    Collection::open(&from, &Quiet).unwrap();
    assert_eq!(std::fs::metadata(&manifest).unwrap().modified().unwrap(), built, "not built again");
    std::fs::File::options().write(true).open(&file).unwrap().set_modified(std::time::SystemTime::now()).unwrap();
    Collection::open(&from, &Quiet).unwrap();
    assert_ne!(std::fs::metadata(&manifest).unwrap().modified().unwrap(), built, "the file has changed");

    // an index folder, and two as one
    let source = voisin_io::open(&file.display().to_string(), Role::Base).unwrap();
    let (one, two): (PathBuf, PathBuf) = (dir.path().join("parts/one"), dir.path().join("parts/two"));
    let ivf = BuildParams { spec: Some("IVF4,SQ8".parse().unwrap()), metric: Metric::L2, ..BuildParams::default() };
    build(&*source, &one, &ivf, &Quiet).unwrap();
    build(&*source, &two, &BuildParams { like: Some(one.clone()), spec: None, first_id: 400, ..ivf }, &Quiet).unwrap();
    let c = Collection::open(&spec(&one), &Quiet).unwrap();
    assert_eq!((c.facts().n, &c.facts().spec[..], c.facts().recall_targets), (400, "IVF4,SQ8", true));
    let both = Collection::open(&spec(&dir.path().join("parts")), &Quiet).unwrap();
    assert_eq!(both.facts().n, 800);
    assert_eq!(by_id(&both, "17", &params(1)).hits[0].item.id, "417", "the same vector in the other folder");
    let named = CollectionSpec { paths: vec![at(&one, "").unwrap(), at(&two, "").unwrap()], ..spec(&one) };
    assert_eq!(Collection::open(&named, &Quiet).unwrap().facts().n, 800);
    assert_eq!(by_id(&both, "17", &Params { recall: Some(0.95), ..params(5) }).hits.len(), 5);
    let page = Page { seed: Some(3), ..page(500) };
    assert_eq!(both.items(&page).unwrap().items.len(), 500);
}

#[test]
fn ties_count_as_found() {
    let dir = tempfile::tempdir().unwrap();
    // as far to the left as to the right, in two lists: which of a pair is found depends on the list that is visited
    let rows = voisin::Matrix::new((1..=8).flat_map(|i| [-(i as f32), i as f32]).collect(), 1);
    let ivf = BuildParams { spec: Some("IVF2,Flat".parse().unwrap()), ..BuildParams::default() };
    build(&voisin::MemSource::new("pairs", rows), dir.path(), &ivf, &Quiet).unwrap();
    let c = Collection::open(&spec(dir.path()), &Quiet).unwrap();
    let q = c.query(&Ask::Vector(vec![0.0])).unwrap();
    let recall = |k| c.compare(&q, &Params { nprobe: Some(1), ..params(k) }).unwrap().recall;
    assert_eq!((recall(1), recall(2), recall(3)), (1.0, 0.5, 2.0 / 3.0));
}
