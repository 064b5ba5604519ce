//! What a server shares: pictures of uploads, not its files; a folder with another server that builds in it.
#![cfg(feature = "web")]

mod run;
mod web;

use run::{Folder, command, fixture, good};
use serde_json::{Value, json};
use std::process::{Command, Stdio};
use web::{Served, pictures, says, spawn_into};

#[test]
fn an_error_of_the_server_names_no_file() {
    let dir = Folder::new();
    let (base, index, log) = (fixture("faiss/base.npy"), dir.file("index"), dir.file("log"));
    good(&["build", "--base", &base, "-o", &index, "--index", "IVF4,Flat"]);
    // runs are checked when they are first visited: opening does not see it
    let segments = std::fs::read_dir(dir.file("index/segments")).unwrap().map(|e| e.unwrap().path());
    let segment = segments.into_iter().find(|p| p.extension().is_some_and(|e| e == "vsn")).unwrap();
    let mut bytes = std::fs::read(&segment).unwrap();
    let (a, b) = (bytes.len() / 4, bytes.len() / 2);
    bytes[a..b].iter_mut().for_each(|x| *x ^= 0x10);
    std::fs::write(&segment, bytes).unwrap();
    let s = Served::start_into(&["serve", &index, "--port", "0", "--json"], &log);
    let d = s.json("/api/collections")["collections"][0]["d"].as_u64().unwrap() as usize;
    for (path, body) in [
        ("/api/search", json!({"vector": vec![0.5; d], "nprobe": 4})),
        ("/api/compare", json!({"vector": vec![0.5; d]})),
        ("/api/explain", json!({"vector": vec![0.5; d], "nprobe": 4})),
    ] {
        let r = s.post_json(path, &body);
        let told: Value = serde_json::from_slice(&r.body).unwrap();
        assert_eq!((r.status, told["error"]["kind"].as_str()), (500, Some("internal")), "{path}: {told}");
        let reference = told["error"]["reference"].as_str().unwrap();
        assert!(told["error"]["message"].as_str().unwrap().contains(reference), "{told}");
        assert!(!r.text().contains(".vsn") && !r.text().contains(&index), "{told}");
        let line = says(&log, &format!("error {reference}: "));
        let line = line.lines().find(|l| l.contains(reference)).unwrap();
        assert!(line.contains(".vsn") && line.ends_with(&format!("[POST {path}]")), "{line}");
    }
}

#[test]
fn a_picture_of_an_upload_is_kept_for_others() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    let picture = |key: &Value| s.get(&format!("/api/query/picture?query={}", key.as_str().unwrap()));
    // an image with a page behind it is shown as what it is, and nothing else of it
    let mut bytes = std::fs::read(fixture("images/a.png")).unwrap();
    bytes.extend_from_slice(b"<!doctype html><script>alert(1)</script>");
    let found = s.post("/api/search/image?k=3", "image/png", &bytes).ok();
    let shown = picture(&found["query"]);
    assert_eq!((shown.status, shown.header("content-type")), (200, "image/jpeg"), "{}", shown.text());
    assert_eq!(shown.header("x-content-type-options"), "nosniff");
    assert!(shown.body.starts_with(&[0xff, 0xd8]) && !shown.body.windows(7).any(|w| w == b"<script"));
    // at most 512 pixels, whatever was sent
    let (w, h) = (1300u32, 650u32);
    let mut bmp = b"BM".to_vec();
    for x in [54 + w * h * 3, 0, 54, 40, w, h, 1 | 24 << 16, 0, 0, 0, 0, 0, 0] {
        bmp.extend_from_slice(&x.to_le_bytes());
    }
    bmp.extend((0..w * h * 3).map(|i| (i % 251) as u8));
    let found = s.post("/api/query", "image/bmp", &bmp).ok();
    assert_eq!((found["width"].as_u64(), found["height"].as_u64()), (Some(1300), Some(650)));
    let shown = picture(&found["query"]);
    let frame = shown.body.windows(2).position(|m| m == [0xff, 0xc0]).expect("a baseline JPEG");
    assert_eq!(&shown.body[frame + 5..frame + 9], [1, 0, 2, 0], "256 x 512");
    // what is no image has none, and neither has what is not kept
    let mut vector = vec![0.0; s.json("/api/collections/pics")["d"].as_u64().unwrap() as usize];
    vector[0] = 1.0;
    let found = s.search(&json!({"vector": vector, "k": 1}));
    assert_eq!(picture(&found["query"]).status, 404);
    assert_eq!(picture(&json!("q0123")).status, 404);
    assert_eq!(s.get("/api/query/picture?query=..%2F..%2Fetc%2Fpasswd").status, 404);
    assert_eq!(s.get("/api/query/picture").status, 400);
}

#[test]
fn two_servers_begin_on_one_folder() {
    let dir = Folder::new();
    let keep = dir.file("kept");
    let start = |log: &str| spawn_into(&["serve", &fixture("images"), "--keep", &keep, "--port", "0", "--json"], log);
    let logs = [dir.file("a.log"), dir.file("b.log")];
    let both = [start(&logs[0]), start(&logs[1])].map(|child| Served::when_ready(child, true));
    let items = both.each_ref().map(|s| s.json("/api/items?limit=500"));
    assert!(items[0] == items[1] && items[0]["total"].as_u64() > Some(3), "{}", items[0]);
}

#[test]
fn whoever_builds_is_waited_for() {
    let dir = Folder::new();
    let (keep, log) = (dir.file("kept"), dir.file("log"));
    std::fs::create_dir_all(&keep).unwrap();
    let mut held = std::fs::File::create(dir.file("kept/lock")).unwrap();
    held.lock().unwrap();
    std::io::Write::write_all(&mut held, b"4242\n").unwrap();
    let args = ["serve", &fixture("images"), "--keep", &keep, "--port", "0", "--json"];
    let waiting = spawn_into(&args, &log);
    says(&log, "another process (pid 4242) is building what is kept in");
    // Ctrl-C ends the wait
    let mut other =
        command(&args).stdout(Stdio::piped()).stderr(std::fs::File::create(dir.file("other")).unwrap()).spawn().unwrap();
    says(&dir.file("other"), "waiting until it has finished");
    assert!(Command::new("kill").args(["-INT", &other.id().to_string()]).status().unwrap().success());
    assert_eq!(other.wait().unwrap().code(), Some(130));
    assert!(!std::path::Path::new(&dir.file("kept/files.json")).exists(), "nobody has built yet");
    drop(held);
    let s = Served::when_ready(waiting, true);
    assert!(s.json("/api/items")["total"].as_u64() > Some(3));
    assert!(says(&log, "going on").contains("pid 4242"));
    let kept = std::fs::read_to_string(dir.file("kept/lock")).unwrap();
    assert!(kept.trim().parse::<u32>().is_ok_and(|pid| pid != 4242), "{kept}");
}
