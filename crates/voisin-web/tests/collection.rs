//! Collections as a server uses them: opened from what people have, searched, browsed, looked at.

mod shelf;

use shelf::{colours, ids, page, params, picture, spec, test_data};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use voisin::{Quiet, Watch};
use voisin_web::Kind;
use voisin_web::collection::{Ask, Collection, CollectionSpec, Page, Params};

fn open_folder(dir: &Path) -> Collection {
    Collection::open(&spec(dir), &Quiet).unwrap()
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
    let anew = Collection::open(&CollectionSpec { keep: Some(other.path().join("k")), ..spec(dir.path()) }, &Quiet);
    let anew = anew.unwrap();
    assert_eq!(ids(&anew), ids(&again));
    assert!(ids(&anew).iter().all(|id| vector(&anew, id) == vector(&again, id)));
}

#[test]
fn images_of_every_kind_are_shown() {
    let Some(images) = test_data("images") else { return };
    let keep = tempfile::tempdir().unwrap();
    let from = CollectionSpec { keep: Some(keep.path().join("kept")), ..spec(&images) };
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
    // the last four are stored on their side
    let side = |i: u32| {
        let t = image::load_from_memory(&c.thumbnail(&format!("turned/{i}.jpg"), 64).unwrap()).unwrap();
        (t.width(), t.height())
    };
    assert!((1..=4).all(|i| side(i) == (64, 40)) && (5..=8).all(|i| side(i) == (40, 64)));
    assert_eq!(c.image("bad/text.png").unwrap_err().kind, Kind::NotFound);
}

/// Stops the work after some images.
struct StopAfter(u64, AtomicU64);

impl Watch for StopAfter {
    fn advance(&self, n: u64) {
        self.1.fetch_add(n, Relaxed);
    }

    fn stopped(&self) -> bool {
        self.1.load(Relaxed) >= self.0
    }
}

/// Counts the images that are described.
#[derive(Default)]
struct Described(std::sync::Mutex<(bool, u64)>);

impl Watch for Described {
    fn begin(&self, stage: &str, _: u64, _: &str) {
        self.0.lock().unwrap().0 = stage == "embedding";
    }

    fn advance(&self, n: u64) {
        let mut this = self.0.lock().unwrap();
        this.1 += if this.0 { n } else { 0 };
    }
}

#[test]
fn what_was_stopped_goes_on() {
    let dir = tempfile::tempdir().unwrap();
    (0..200u32)
        .for_each(|i| picture(&dir.path().join(format!("{i}.png")), 30 + i, 30, [i as u8, 90, 200 - i as u8], (i % 5) as u8));
    let stopped = Collection::open(&spec(dir.path()), &StopAfter(100, AtomicU64::new(0))).unwrap_err();
    assert!(stopped.message.contains("stopped"), "{stopped}");
    assert!(dir.path().join(".voisin/new.part").exists() && !dir.path().join(".voisin/features.h5").exists());
    let first = open_folder(dir.path());
    assert_eq!(first.facts().n, 200);

    // killed between the vectors and the rest: they are not made again
    let keep = dir.path().join(".voisin");
    picture(&dir.path().join("extra.png"), 77, 50, [9, 9, 200], 1);
    let described = Described::default();
    Collection::open(&spec(dir.path()), &described).unwrap();
    assert_eq!(described.0.lock().unwrap().1, 1, "only the new one");
    std::fs::copy(keep.join("features.h5"), keep.join("new.h5")).unwrap();
    std::fs::copy(keep.join("files.json"), keep.join("next.json")).unwrap();
    ["features.h5", "files.json", "indexed.json"].iter().for_each(|f| std::fs::remove_file(keep.join(f)).unwrap());
    let described = Described::default();
    let after = Collection::open(&spec(dir.path()), &described).unwrap();
    assert_eq!((after.facts().n, described.0.lock().unwrap().1), (201, 0));
    assert!(!keep.join("new.h5").exists());

    // damaged lists and vectors: all is made anew
    for file in ["files.json", "features.h5", "index/manifest.json"] {
        let anew = || {
            std::fs::write(keep.join(file), b"{").unwrap();
            if file == "features.h5" {
                std::fs::remove_file(keep.join("files.json")).unwrap();
            }
            Collection::open(&spec(dir.path()), &Quiet)
        };
        match anew() {
            Ok(c) => assert_eq!(ids(&c), ids(&after), "{file}"),
            // what is damaged says so with the file
            Err(e) => assert!(e.message.contains(file), "{file}: {e}"),
        }
        let _ = std::fs::remove_dir_all(&keep);
        open_folder(dir.path());
    }
}

#[test]
fn links_that_leave_the_folder_are_left_out() {
    let dir = tempfile::tempdir().unwrap();
    let (inside, outside) = (dir.path().join("images"), dir.path().join("secret.png"));
    picture(&inside.join("a.png"), 40, 40, [200, 0, 0], 0);
    picture(&inside.join("b.png"), 40, 40, [0, 0, 200], 0);
    picture(&outside, 40, 40, [0, 200, 0], 0);
    std::os::unix::fs::symlink(&outside, inside.join("link.png")).unwrap();
    std::os::unix::fs::symlink(inside.join("a.png"), inside.join("inner.png")).unwrap();
    let c = open_folder(&inside);
    assert_eq!(ids(&c), ["a.png", "b.png", "inner.png"]);
    assert!(c.facts().notes.iter().any(|n| n.contains("1 links that lead out")));
    assert!(c.image("inner.png").is_ok());
    for id in ["link.png", "../secret.png", "/etc/passwd", "", "a.png/", "./a.png"] {
        assert_eq!(c.image(id).unwrap_err().kind, Kind::NotFound, "{id}");
    }
    // a link put in the place of an image later
    std::fs::remove_file(inside.join("b.png")).unwrap();
    std::os::unix::fs::symlink(&outside, inside.join("b.png")).unwrap();
    assert_eq!(c.image("b.png").unwrap_err().kind, Kind::NotFound);
    assert_eq!(c.thumbnail("b.png", 64).unwrap_err().kind, Kind::NotFound);
    // a page in the place of an image
    std::fs::write(inside.join("a.png"), b"<svg xmlns='http://www.w3.org/2000/svg'><script>1</script></svg>").unwrap();
    assert_eq!(c.image("a.png").unwrap_err().kind, Kind::Unreadable);
    assert_eq!(c.thumbnail("a.png", 64).unwrap_err().kind, Kind::Unreadable);
}

#[test]
fn folders_that_cannot_be_opened_say_why() {
    let dir = tempfile::tempdir().unwrap();
    let error = |from: &CollectionSpec| Collection::open(from, &Quiet).unwrap_err();
    std::fs::create_dir(dir.path().join("empty")).unwrap();
    let e = error(&spec(&dir.path().join("empty")));
    assert!(e.message.contains("no image in it") && e.message.contains("empty") && e.hint.is_some(), "{e}");
    assert!(error(&spec(&dir.path().join("missing"))).message.contains("missing"));
    std::fs::create_dir(dir.path().join("bad")).unwrap();
    std::fs::write(dir.path().join("bad/x.png"), b"no").unwrap();
    assert!(error(&spec(&dir.path().join("bad"))).message.contains("x.png"), "{}", error(&spec(&dir.path().join("bad"))));
    // a file in the place of the folder to write to stands for one that cannot be written
    colours(&dir.path().join("colours"));
    std::fs::write(dir.path().join("colours/.voisin"), b"").unwrap();
    let e = error(&spec(&dir.path().join("colours")));
    assert!(e.message.contains("cannot be written") && e.hint.unwrap().contains("--keep"));
    let keep = CollectionSpec { keep: Some(dir.path().join("kept")), ..spec(&dir.path().join("colours")) };
    assert_eq!(Collection::open(&keep, &Quiet).unwrap().facts().n, 16);
    let model = CollectionSpec { model: Some("m.onnx".into()), ..keep };
    assert!(error(&model).message.contains("m.onnx"));
}

#[test]
fn pages_of_items() {
    let dir = tempfile::tempdir().unwrap();
    colours(dir.path());
    let c = open_folder(dir.path());
    let get = |page: &Page| -> (u64, Vec<String>) {
        let items = c.items(page).unwrap();
        (items.total, items.items.into_iter().map(|i| i.id).collect())
    };
    let all = ids(&c);
    assert_eq!(get(&Page { offset: 14, limit: 5, ..Page::default() }), (16, all[14..].to_vec()));
    assert_eq!(get(&Page { offset: u64::MAX, limit: 5, ..Page::default() }), (16, vec![]));
    assert_eq!(get(&Page { label: Some("red".into()), offset: 1, limit: 2, seed: None }).1, ["red/red1.png", "red/red2.png"]);
    let random = |offset, limit| get(&Page { offset, limit, seed: Some(5), label: None }).1;
    assert_eq!([random(0, 7), random(7, 500)].concat(), random(0, 500));
    let mut sorted = random(0, 500);
    assert_ne!(sorted, all);
    sorted.sort();
    let mut expected = all;
    expected.sort();
    assert_eq!(sorted, expected);
    assert_eq!(c.items(&Page { label: Some("pink".into()), ..page(5) }).unwrap_err().kind, Kind::NotFound);
    assert_eq!(c.item("red/red1.png").unwrap().name, "red1.png");
}

#[test]
fn what_cannot_be_asked_is_refused_with_the_reason() {
    let dir = tempfile::tempdir().unwrap();
    colours(dir.path());
    let c = open_folder(dir.path());
    let q = c.query(&Ask::Id("red/red1.png")).unwrap();
    let error = |p: Params| c.search(&q, &p).unwrap_err();
    assert_eq!(error(params(0)).message, "k = 0: 1 to 1000");
    assert_eq!(error(params(1001)).kind, Kind::BadRequest);
    for (k, found) in [(15, 15), (16, 15), (1000, 15)] {
        assert_eq!(c.search(&q, &params(k)).unwrap().hits.len(), found, "all but itself");
    }
    assert!(error(Params { ef: Some(20), ..params(3) }).message.contains("no graph"));
    assert!(error(Params { nprobe: Some(0), ..params(3) }).message.contains("nprobe"));
    assert!(error(Params { recall: Some(1.5), ..params(3) }).message.contains("recall"));
    assert!(error(Params { refine: Some(0), ..params(3) }).message.contains("refine"));
    assert_eq!(error(Params { label: Some("pink".into()), ..params(3) }).kind, Kind::NotFound);
    assert_eq!(c.search(&q, &Params { recall: Some(0.9), ..params(3) }).unwrap().hits.len(), 3);
    assert_eq!(c.query(&Ask::Id("pink")).unwrap_err().kind, Kind::NotFound);
    assert_eq!(c.query(&Ask::Image(b"<html>")).unwrap_err().kind, Kind::Unreadable);
    assert_eq!(c.query(&Ask::Image(b"")).unwrap_err().kind, Kind::Unreadable);
    assert_eq!(c.query(&Ask::Text("red")).unwrap_err().kind, Kind::Unable);
    let vector = |v: Vec<f32>| c.query(&Ask::Vector(v)).unwrap_err().message;
    assert!(vector(vec![1.0; 3]).contains("3 values") && vector(vec![f32::NAN; 1067]).contains("NaN"));
    assert!(vector(vec![0.0; 1067]).contains("zero vector"));
    assert_eq!(c.search(&c.query(&Ask::Vector(q.vector.clone())).unwrap(), &params(16)).unwrap().hits[0].item.id, "red/red1.png");
}
