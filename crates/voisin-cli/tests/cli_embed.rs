//! `voisin embed`, against images written by Pillow and descriptors computed with numpy.

mod run;

use std::path::Path;
use std::process::Stdio;

use run::{Folder, bad, command, fixture, good, json, run};
use voisin_io::Role;

fn rows(file: &str) -> (Vec<String>, Vec<f32>) {
    let source = voisin_io::open(file, Role::Base).expect("a file of features");
    let mut values = vec![0.0; source.len() as usize * source.dim()];
    source.read(0, &mut values).expect("rows");
    let ids = source.ids().expect("ids").map_or_else(Vec::new, |ids| ids.iter().map(str::to_owned).collect());
    (ids, values)
}

#[test]
fn every_format_gives_what_numpy_computes() {
    let dir = Folder::new();
    let out = dir.file("features.h5");
    let o = json(&["embed", &fixture("images"), "-o", &out]);
    let (ids, found) = rows(&out);
    let expected_ids: Vec<String> =
        serde_json::from_slice(&std::fs::read(fixture("images/expected.json")).expect("it is there")).expect("JSON");
    let (_, expected) = rows(&fixture("images/expected.npy"));
    let d = found.len() / ids.len();
    assert_eq!((o["n"].as_u64(), o["d"].as_u64()), (Some(expected_ids.len() as u64), Some(d as u64)));
    assert_eq!(o["labels"], 4);
    for (i, id) in expected_ids.iter().enumerate() {
        let at = ids.iter().position(|x| x == id).unwrap_or_else(|| panic!("{id} is missing"));
        let (f, e) = (&found[at * d..][..d], &expected[i * d..][..d]);
        let cosine: f32 = f.iter().zip(e).map(|(a, b)| a * b).sum();
        // JPEG decoders differ by a level here and there, which the texture counts
        let limit = if id.to_ascii_lowercase().ends_with("jpg") || id.ends_with("JPEG") { 0.99 } else { 0.999 };
        assert!(cosine > limit, "{id}: {cosine}");
    }
    let unreadable: Vec<String> = o["unreadable"].as_array().expect("a list").iter().map(|u| u.to_string()).collect();
    assert_eq!(o["skipped"], 4, "{unreadable:?}");
    for (file, reason) in
        [("empty.png", "empty"), ("text.png", "not a PNG"), ("truncated.png", ""), ("huge.png", "100000 x 100000 pixels")]
    {
        assert!(unreadable.iter().any(|u| u.contains(file) && u.contains(reason)), "{file}: {unreadable:?}");
    }
    let labels = voisin_io::hdf5::texts(std::sync::Arc::new(voisin_io::InFile::open(Path::new(&out)).unwrap()), "labels");
    let labels: Vec<String> = labels.expect("labels").iter().map(str::to_owned).collect();
    assert_eq!(labels[ids.iter().position(|i| i == "grey/deep/one-pixel.png").unwrap()], "grey/deep");
    assert_eq!(labels[ids.iter().position(|i| i == "a.png").unwrap()], "");
    assert_eq!(dir.list(), ["features.h5"]);
}

#[test]
fn a_folder_becomes_an_index_that_refuses_other_queries() {
    let dir = Folder::new();
    let (features, index, query) = (dir.file("f.h5"), dir.file("index"), dir.file("q.h5"));
    good(&["embed", &fixture("images"), "-o", &features]);
    good(&["build", "--base", &features, "-o", &index]);
    let info = json(&["info", &index]);
    assert_eq!((info["metric"].as_str(), info["made_by"].as_str()), (Some("cosine"), Some("voisin descriptor 1")));
    good(&["embed", &fixture("images/colour/a.bmp"), "-o", &query]);
    let found = json(&["search", &index, "--queries", &query, "-k", "3"]);
    let ids = found["results"][0]["ids"].to_string();
    for same in ["a.png", "colour/a.bmp", "colour/a.webp"] {
        assert!(ids.contains(same), "{ids}");
    }
    // the same vectors, said to be made by something else
    let mut bytes = std::fs::read(&query).unwrap();
    let text = b"voisin descriptor 1";
    let at = bytes.windows(text.len()).position(|w| w == text).expect("the attribute");
    bytes[at + text.len() - 1] = b'7';
    let other = dir.write("other.h5", bytes);
    let message = bad(&["search", &index, "--queries", &other], 1);
    assert!(message.contains("descriptor 7") && message.contains("descriptor 1"), "{message}");
    let message = bad(&["add", &index, "--base", &other], 1);
    assert!(message.contains("descriptor 7"), "{message}");
}

#[test]
fn npz_and_npy_hold_the_same() {
    let dir = Folder::new();
    let [h5, npz, npy] = ["f.h5", "f.npz", "f.npy"].map(|n| dir.file(n));
    for out in [&h5, &npz, &npy] {
        good(&["embed", &fixture("images/colour"), "-o", out, "--threads", "1"]);
    }
    assert_eq!(rows(&h5), rows(&npz));
    assert_eq!(rows(&h5).1, rows(&npy).1);
    let message = bad(&["embed", &fixture("images"), "-o", &dir.file("f.txt")], 2);
    assert!(message.contains(".h5 .npz .npy"), "{message}");
    let message = bad(&["embed", &dir.file("none"), "-o", &h5], 1);
    assert!(message.contains("no such file"), "{message}");
    let message = bad(&["embed", &fixture("images/bad"), "-o", &dir.file("b.h5")], 1);
    assert!(message.contains("no image can be read"), "{message}");
    assert!(!dir.list().iter().any(|n| n.starts_with("b.h5")), "{:?}", dir.list());
}

#[test]
fn killed_midway_it_goes_on_with_the_same_bytes() {
    let dir = Folder::new();
    let folder = dir.path().join("images");
    std::fs::create_dir(&folder).unwrap();
    for i in 0..300 {
        std::fs::copy(fixture("images/turned/6.jpg"), folder.join(format!("{i}.jpg"))).unwrap();
    }
    let (images, whole, out) = (folder.display().to_string(), dir.file("whole.h5"), dir.file("out.h5"));
    good(&["embed", &images, "-o", &whole]);
    let part = Path::new(&out).with_extension("h5.part");
    let mut child = command(&["embed", &images, "-o", &out, "--threads", "1"]).stdout(Stdio::null()).spawn().unwrap();
    while !std::fs::metadata(&part).is_ok_and(|m| m.len() > 100_000) && child.try_wait().unwrap().is_none() {
        std::thread::sleep(std::time::Duration::from_micros(200));
    }
    let _ = child.kill();
    let _ = child.wait();
    if part.exists() {
        // as a torn write leaves it
        let bytes = std::fs::read(&part).unwrap();
        std::fs::write(&part, &bytes[..bytes.len() - 1000]).unwrap();
    }
    let o = json(&["embed", &images, "-o", &out]);
    assert_eq!(o["n"], 300);
    assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&out).unwrap());
    assert!(!part.exists());
    // a state of something else is no harm
    std::fs::write(&part, b"something else that is long enough to be read").unwrap();
    let r = run(&["embed", &images, "-o", &out]);
    assert_eq!(r.code, Some(0), "{r:?}");
    assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&out).unwrap());
}

#[test]
fn an_index_built_in_parts_knows_what_made_its_vectors() {
    let dir = Folder::new();
    let (one, two) = (dir.file("one.h5"), dir.file("two.h5"));
    good(&["embed", &fixture("images/colour"), "-o", &one]);
    good(&["embed", &fixture("images/grey"), "-o", &two]);
    let plan = |name: &str, files: [&str; 2]| {
        let plan = dir.file(name);
        good(&["job", "plan", "--base", files[0], files[1], "--index", "Flat", "--parts", "2", "-o", &plan]);
        plan
    };
    let whole = plan("whole.json", [&one, &two]);
    for step in [&["train", &whole][..], &["run", &whole, "--part", "0"], &["run", &whole, "--part", "1"], &["commit", &whole]] {
        good(&[&["job"], step].concat());
    }
    assert_eq!(json(&["info", &dir.file("whole")])["made_by"], "voisin descriptor 1");
    // the second file, said to be made by something else
    let mut bytes = std::fs::read(&two).unwrap();
    let text = b"voisin descriptor 1";
    let at = bytes.windows(text.len()).position(|w| w == text).expect("the attribute");
    bytes[at + text.len() - 1] = b'7';
    let other = dir.write("other.h5", bytes);
    let mixed = plan("mixed.json", [&one, &other]);
    let message = bad(&["job", "train", &mixed], 1);
    assert!(message.contains("descriptor 7") && message.contains("one.h5"), "{message}");
}
