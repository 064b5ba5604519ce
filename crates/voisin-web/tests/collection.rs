//! Collections as a server uses them: opened from what people have, searched, browsed, looked at.

mod shelf;

use shelf::{picture, spec, test_data};
use std::path::Path;
use voisin::Quiet;
use voisin_web::Kind;
use voisin_web::collection::{Ask, Collection, Page, Params};

fn params(k: usize) -> Params {
    Params { k, nprobe: None, recall: None, refine: None, label: None, exact: false }
}

fn page(limit: u64) -> Page {
    Page { limit, ..Page::default() }
}

fn ids(c: &Collection) -> Vec<String> {
    c.items(&page(500)).unwrap().items.into_iter().map(|i| i.id).collect()
}

fn open_folder(dir: &Path) -> Collection {
    Collection::open(&spec(dir), &Quiet).unwrap()
}

/// A folder of pictures: red, green, blue and grey squares in folders of their colour.
fn colours(dir: &Path) {
    for (c, colour) in [[250, 10, 10], [10, 250, 10], [10, 10, 250], [120, 120, 120]].iter().enumerate() {
        for i in 0..4u8 {
            let name = ["red", "green", "blue", "grey"][c];
            picture(&dir.join(format!("{name}/{name}{i}.png")), 40 + 8 * u32::from(i), 40, *colour, i);
        }
    }
}

#[test]
fn a_folder_of_images_is_described_once_and_kept() {
    let dir = tempfile::tempdir().unwrap();
    colours(dir.path());
    std::fs::write(dir.path().join("red/broken.png"), b"\x89PNG\r\n\x1a\nno").unwrap();
    std::fs::write(dir.path().join("notes.txt"), b"no image").unwrap();
    let c = open_folder(dir.path());
    let facts = c.facts();
    assert_eq!((facts.n, facts.d, &facts.spec[..], &facts.metric[..], facts.shows), (16, 1067, "Flat", "cosine", "images"));
    assert_eq!(facts.made_by.as_deref(), Some(voisin_embed::MADE_BY));
    assert!(facts.asks.id.is_none() && facts.asks.image.is_none() && facts.asks.exact.is_none() && facts.asks.text.is_some());
    assert!(facts.notes.iter().any(|n| n.contains("red/broken.png")), "{:?}", facts.notes);
    let classes: Vec<(&str, u64)> = facts.classes.iter().map(|c| (&c.label[..], c.count)).collect();
    assert_eq!(classes, [("blue", 4), ("green", 4), ("grey", 4), ("red", 4)]);

    let query = c.query(&Ask::Id("red/red1.png")).unwrap();
    let found = c.search(&query, &params(3)).unwrap();
    assert!(found.hits.iter().all(|h| h.item.label.as_deref() == Some("red") && h.item.image), "{found:?}");
    assert!(found.hits.iter().all(|h| h.item.id != "red/red1.png"), "not itself");
    assert_eq!((found.hits[0].rank, found.lists, found.scanned), (1, 1, 16));
    let similarity = found.hits[0].similarity.unwrap();
    assert!((similarity - (1.0 - found.hits[0].distance)).abs() < 1e-6);

    // the same image as bytes finds itself first, at no distance
    let (bytes, kind) = c.image("red/red1.png").unwrap();
    assert_eq!(kind, "image/png");
    let by_image = c.search(&c.query(&Ask::Image(&bytes)).unwrap(), &params(4)).unwrap();
    assert_eq!((&by_image.hits[0].item.id[..], &by_image.hits[0].item.name[..]), ("red/red1.png", "red1.png"));
    assert!(by_image.hits[0].distance < 1e-6);
    assert_eq!(by_image.hits[1].item.id, found.hits[0].item.id);

    // what is kept is taken at the next start: nothing is written
    let kept = std::fs::metadata(dir.path().join(".voisin/features.h5")).unwrap().modified().unwrap();
    let again = open_folder(dir.path());
    assert_eq!((ids(&again), again.facts().notes), (ids(&c), facts.notes));
    assert_eq!(std::fs::metadata(dir.path().join(".voisin/features.h5")).unwrap().modified().unwrap(), kept);
    assert!(!dir.path().join(".voisin/new.h5").exists() && !dir.path().join(".voisin/next.json").exists());
}

#[test]
fn images_come_change_and_go() {
    let dir = tempfile::tempdir().unwrap();
    colours(dir.path());
    let before = open_folder(dir.path());
    let vector = |c: &Collection, id: &str| c.query(&Ask::Id(id)).unwrap().vector;
    let (kept, changed) = (vector(&before, "blue/blue0.png"), vector(&before, "green/green0.png"));

    std::fs::remove_file(dir.path().join("red/red0.png")).unwrap();
    picture(&dir.path().join("amber/new.png"), 50, 50, [250, 190, 10], 0);
    picture(&dir.path().join("green/green0.png"), 64, 64, [200, 250, 200], 9);
    std::fs::write(dir.path().join("amber/broken.jpg"), b"\xff\xd8\xff").unwrap();
    let now = open_folder(dir.path());
    assert_eq!(now.facts().n, 16);
    let all = ids(&now);
    assert!(all.contains(&"amber/new.png".into()) && !all.contains(&"red/red0.png".into()));
    assert_eq!(all[0], "amber/new.png", "in the order of the folder");
    assert_eq!(vector(&now, "blue/blue0.png"), kept);
    assert_ne!(vector(&now, "green/green0.png"), changed);
    assert_eq!(now.item("red/red0.png").unwrap_err().kind, Kind::NotFound);
    assert!(now.facts().notes.iter().any(|n| n.contains("amber/broken.jpg")));

    // what is new alone cannot be read: said, and not tried again
    std::fs::write(dir.path().join("amber/broken2.jpg"), b"nothing").unwrap();
    let again = open_folder(dir.path());
    assert_eq!((again.facts().n, ids(&again)), (16, all));
    assert!(again.facts().notes.iter().any(|n| n.contains("broken2.jpg")), "{:?}", again.facts().notes);
    // the outcome is that of a folder described at once
    let other = tempfile::tempdir().unwrap();
    let anew = Collection::open(
        &voisin_web::collection::CollectionSpec { keep: Some(other.path().join("k")), ..spec(dir.path()) },
        &Quiet,
    );
    let anew = anew.unwrap();
    assert_eq!(ids(&anew), ids(&again));
    assert!(ids(&anew).iter().all(|id| vector(&anew, id) == vector(&again, id)));
}

#[test]
fn images_of_every_kind_are_shown() {
    let Some(images) = test_data("images") else { return };
    let keep = tempfile::tempdir().unwrap();
    let from = voisin_web::collection::CollectionSpec { keep: Some(keep.path().join("kept")), ..spec(&images) };
    let c = Collection::open(&from, &Quiet).unwrap();
    assert!(!images.join(".voisin").exists());
    let all = c.items(&page(500)).unwrap();
    assert!(all.total > 20);
    for item in &all.items {
        let (bytes, kind) = c.image(&item.id).unwrap();
        let ending = item.id.rsplit('.').next().unwrap().to_lowercase().replace("jpg", "jpeg");
        assert_eq!(kind, format!("image/{ending}"), "{}", item.id);
        assert_eq!(bytes, std::fs::read(images.join(&item.id)).unwrap());
        let small = image::load_from_memory(&c.thumbnail(&item.id, 64).unwrap()).unwrap();
        assert!(small.width() <= 64 && small.height() <= 64 && small.color() == image::ColorType::Rgb8, "{}", item.id);
        assert_eq!(c.thumbnail(&item.id, 64).unwrap(), c.thumbnail(&item.id, 70).unwrap());
    }
    // all eight are the same picture once they are turned
    let side = |i: u32| {
        let t = image::load_from_memory(&c.thumbnail(&format!("turned/{i}.jpg"), 64).unwrap()).unwrap();
        (t.width(), t.height())
    };
    assert!((2..=8).all(|i| side(i) == side(1)));
    assert_eq!(c.image("bad/text.png").unwrap_err().kind, Kind::NotFound);
}

#[test]
fn a_search_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    colours(dir.path());
    let c = open_folder(dir.path());
    let query = c.query(&Ask::Id("red/red1.png")).unwrap();
    let told = c.explain(&query, &params(3), "tsne").unwrap();
    let found = c.search(&query, &params(3)).unwrap();
    let ids =
        |v: &serde_json::Value| v.as_array().unwrap().iter().map(|h| h["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&told["hits"]), found.hits.iter().map(|h| h.item.id.clone()).collect::<Vec<_>>());
    assert_eq!((told["recall"].as_f64(), told["counts"]["scanned"].as_u64()), (Some(1.0), Some(found.scanned)));
    assert_eq!(told["map"]["points"].as_array().unwrap().len(), 1 + 16);
    assert!(ids(&told["hits"]).iter().all(|id| id != "red/red1.png"), "not itself");
    let green = Params { label: Some("green".into()), ..params(3) };
    let told = c.explain(&query, &green, "none").unwrap();
    assert!(ids(&told["hits"]).iter().all(|id| id.starts_with("green/")), "{told}");
    assert!(ids(&told["missed"]).iter().all(|id| !id.starts_with("green/")) && told["recall"] == 1.0, "{told}");
    assert!(told["missed"].as_array().unwrap().iter().all(|m| m["reason"] == "filtered"), "{told}");
    assert!(c.explain(&query, &params(3), "umap").is_err());
    assert!(c.explain(&query, &params(0), "none").is_err());
}

#[test]
fn files_of_faiss_are_explained() {
    let (Some(faiss), Some(base)) = (test_data("faiss"), test_data("faiss/base.npy")) else { return };
    for (name, features) in [("ivf_pq", true), ("ivf_pq", false), ("hnsw", false), ("refine", false)] {
        let features = features.then(|| base.display().to_string());
        let from = voisin_web::collection::CollectionSpec { features, ..spec(&faiss.join(format!("{name}.index"))) };
        let c = Collection::open(&from, &Quiet).unwrap();
        assert!(c.facts().asks.explain.is_none());
        let query = c.query(&Ask::Id("42")).unwrap();
        let (found, told) = (c.search(&query, &params(6)).unwrap(), c.explain(&query, &params(6), "pca").unwrap());
        let hits: Vec<&str> = told["hits"].as_array().unwrap().iter().map(|h| h["id"].as_str().unwrap()).collect();
        assert_eq!(hits, found.hits.iter().map(|h| &h.item.id[..]).collect::<Vec<_>>(), "{name}");
        assert_eq!(told["counts"]["scanned"].as_u64(), Some(found.scanned), "{name}");
        assert!(told["truth"] == "exact" || (name == "ivf_pq" && from.features.is_none()), "{name}");
        assert_eq!(told.get("graph").is_some(), name == "hnsw");
    }
}
