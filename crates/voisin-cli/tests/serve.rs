//! `voisin serve`, spoken to over TCP as browsers, programs and mischief do.
#![cfg(feature = "web")]

mod run;
mod web;

use run::{Folder, bad, fixture};
use serde_json::{Value, json};
use web::{Served, pictures};

#[test]
fn every_route() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    let all = s.json("/api/collections");
    assert_eq!((all["version"].as_str(), all["allow_urls"].as_bool()), (Some(env!("CARGO_PKG_VERSION")), Some(false)));
    let facts = all["collections"][0].clone();
    assert_eq!((facts["name"].as_str(), facts["shows"].as_str()), (Some("pics"), Some("images")));
    assert_eq!(s.json("/api/collections/pics"), facts);
    let (n, d) = (facts["n"].as_u64().unwrap(), facts["d"].as_u64().unwrap() as usize);

    let page = s.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, "text/html; charset=utf-8"));
    assert_eq!(s.get("/static/index.html").body, page.body);

    let items = s.json("/api/items?collection=pics&limit=500");
    assert_eq!((items["total"].as_u64(), items["items"].as_array().map(|i| i.len() as u64)), (Some(n), Some(n)));
    let shuffled = s.json("/api/items?collection=pics&limit=500&seed=7");
    assert_ne!(shuffled["items"], items["items"]);
    assert_eq!(s.json("/api/items?seed=7&offset=3&limit=1")["items"][0], shuffled["items"][3]);
    let turned = s.json("/api/items?collection=pics&label=turned");
    assert_eq!(turned["total"], 8);
    assert_eq!(s.json("/api/item?collection=pics&id=turned%2F1.jpg"), turned["items"][0]);

    let image = s.get("/api/image?collection=pics&id=a.png");
    assert_eq!((image.status, image.header("content-type")), (200, "image/png"));
    assert_eq!(image.body, std::fs::read(fixture("images/a.png")).unwrap());
    let small = s.get("/api/thumbnail?collection=pics&id=turned%2F6.jpg&side=16");
    assert_eq!((small.status, small.header("content-type"), &small.body[..2]), (200, "image/jpeg", &[0xff, 0xd8][..]));

    // a query by upload, then by its key; width and height as a person sees them
    let made = s.post("/api/query?collection=pics", "image/bmp", &std::fs::read(fixture("images/colour/a.bmp")).unwrap());
    let made: Value = made.ok();
    assert!(made["width"].as_u64() > Some(0) && made["height"].as_u64() > Some(0), "{made}");
    let by_key = s.search(&json!({"collection": "pics", "query": made["query"], "k": 3}));
    assert_eq!(by_key["query"], made["query"]);
    let names: Vec<&str> = by_key["hits"].as_array().unwrap().iter().map(|h| h["id"].as_str().unwrap()).collect();
    for same in ["a.png", "colour/a.bmp", "colour/a.webp"] {
        assert!(names.contains(&same), "{by_key}");
    }
    let picture = s.get(&format!("/api/query/picture?collection=pics&query={}", made["query"].as_str().unwrap()));
    assert_eq!((picture.status, picture.header("content-type"), &picture.body[..2]), (200, "image/jpeg", &[0xff, 0xd8][..]));
    let once =
        s.post("/api/search/image?collection=pics&k=3", "image/png", &std::fs::read(fixture("images/colour/a.bmp")).unwrap());
    assert_eq!(once.ok()["hits"], by_key["hits"]);

    // by id: not itself; GET and POST are the same
    let by_id = s.search(&json!({"collection": "pics", "id": "a.png", "k": 5}));
    assert!(by_id["query"].is_null() && by_id["hits"].as_array().unwrap().iter().all(|h| h["id"] != "a.png"), "{by_id}");
    assert_eq!(s.json("/api/search?collection=pics&id=a.png&k=5")["hits"], by_id["hits"]);
    for key in ["lists", "scanned", "seconds", "spec", "metric", "nprobe"] {
        assert!(!by_id[key].is_null(), "{key}: {by_id}");
    }
    let of_class = s.search(&json!({"id": "a.png", "label": "turned", "k": 20}));
    assert_eq!(of_class["hits"].as_array().unwrap().len(), 8);
    let mut vector = vec![0.0; d];
    vector[0] = 1.0;
    let by_vector = s.search(&json!({"vector": vector, "k": 2}));
    assert!(by_vector["query"].as_str().is_some_and(|q| q.starts_with('q')), "{by_vector}");

    let compared = s.post_json("/api/compare", &json!({"collection": "pics", "query": made["query"], "k": 4})).ok();
    assert!(compared["recall"].as_f64() > Some(0.0) && compared["exact"]["hits"].as_array().unwrap().len() == 4, "{compared}");
    let explained = s.post_json("/api/explain", &json!({"collection": "pics", "id": "a.png", "k": 4, "map": "pca"}));
    let expected = if facts["asks"]["explain"].is_null() { 200 } else { 409 };
    assert_eq!(explained.status, expected, "{}", explained.text());

    assert_eq!(s.json("/healthz"), json!({"status": "ok"}));
    let api = s.json("/api/openapi.json");
    let metrics = s.get("/metrics").text();
    for path in api["paths"].as_object().unwrap().keys().filter(|p| *p != "/metrics") {
        let route = path.replace("{name}", if path.starts_with("/static") { "{*name}" } else { "{name}" });
        assert!(metrics.contains(&format!("route=\"{route}\",status=\"200\"")) || path == "/api/explain", "{path} in\n{metrics}");
    }
    assert!(metrics.contains(&format!("voisin_collection_vectors{{collection=\"pics\"}} {n}\n")), "{metrics}");
    assert!(metrics.contains("voisin_uploads_total 2\n") && metrics.contains("voisin_queries_kept 2\n"), "{metrics}");
}

#[cfg(feature = "onnx")]
#[test]
fn texts_find_images() {
    let dir = Folder::new();
    let s = pictures(&dir, &["--model", &fixture("onnx/clip/vision.onnx"), "--text-model", &fixture("onnx/clip/text.onnx")]);
    assert!(s.json("/api/collections/pics")["asks"]["text"].is_null());
    // what torch's vectors of these texts and images (clip_text.npy, clip.npy) find, and their cosines
    for (text, id, cosine) in [
        ("a red bicycle", "grey/deep/one-pixel.png", 0.570_105),
        ("two cats on a sofa, asleep", "turned/3.jpg", 0.542_687),
        ("The Cat sat; it's 12 o'clock!", "grey/deep/one-pixel.png", 0.471_909),
    ] {
        let found = s.search(&json!({"text": text, "k": 2}));
        let first = &found["hits"][0];
        assert_eq!(first["id"], id, "{text}");
        assert!((first["similarity"].as_f64().unwrap() - cosine).abs() < 2e-3, "{text}: {first}");
    }
    assert_eq!(s.post_json("/api/search", &json!({"text": " "})).status, 400);
}

#[test]
fn headers_of_every_answer() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    for path in ["/", "/static/index.html", "/api/collections", "/api/image?id=a.png", "/nowhere", "/healthz", "/metrics"] {
        let r = s.get(path);
        assert_eq!(
            r.header("content-security-policy"),
            "default-src 'self'; img-src 'self' blob: data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'",
            "{path}"
        );
        assert_eq!(r.header("x-content-type-options"), "nosniff", "{path}");
        assert_eq!(r.header("referrer-policy"), "no-referrer", "{path}");
        assert_eq!(r.header("cross-origin-resource-policy"), "same-origin", "{path}");
        assert!(r.header("permissions-policy").contains("camera=(self)"), "{path}");
        assert_eq!(r.header("access-control-allow-origin"), "", "{path}");
    }
    // a file of the page that is known already is not sent again
    let tag = s.get("/").header("etag").to_string();
    let again = s.ask("GET", "/", &[("If-None-Match", &tag)], b"");
    assert_eq!((again.status, again.body.len()), (304, 0));
    let head = s.ask("HEAD", "/", &[], b"");
    assert_eq!((head.status, head.body.len()), (200, 0));
}

#[test]
fn bad_requests_are_refused_with_a_reason() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    let refused = |r: web::Reply, status: u16, kind: &str, part: &str| {
        let v: Value = serde_json::from_slice(&r.body).unwrap_or_else(|e| panic!("{e}: {}", r.text()));
        let message = v["error"]["message"].as_str().unwrap_or_default();
        assert!(
            r.status == status && v["error"]["kind"] == kind && message.contains(part),
            "{status} {kind} {part}: {} {v}",
            r.status
        );
    };
    for (body, status, kind, part) in [
        (r#"{"id": "a.png", "k": 0}"#, 400, "bad_request", "k = 0"),
        (r#"{"id": "a.png", "k": 1001}"#, 400, "bad_request", "k = 1001"),
        (r#"{"id": "a.png", "k": -1}"#, 400, "bad_request", "-1"),
        (r#"{"id": "a.png", "k": "many"}"#, 400, "bad_request", "many"),
        (r#"{"id": "a.png", "nprobe": 0}"#, 400, "bad_request", "nprobe"),
        (r#"{"id": "a.png", "recall": 1.5}"#, 400, "bad_request", "recall"),
        (r#"{"id": "a.png", "recall": 0.9, "nprobe": 3}"#, 400, "bad_request", "nprobe"),
        (r#"{"id": "a.png", "refine": 0}"#, 400, "bad_request", "refine"),
        (r#"{"id": "a.png", "label": "no such class"}"#, 404, "not_found", "no such class"),
        (r#"{"id": "a.png", "surprise": 1}"#, 400, "bad_request", "surprise"),
        (r#"{"id": "nobody.png"}"#, 404, "not_found", "nobody.png"),
        (r#"{"id": "../images/a.png"}"#, 404, "not_found", ""),
        (r#"{"query": "q0000"}"#, 404, "not_found", "q0000"),
        (r#"{"collection": "other", "id": "a.png"}"#, 404, "not_found", "other"),
        (r#"{"id": "a.png", "vector": [1]}"#, 400, "bad_request", "only one"),
        (r#"{"k": 3}"#, 400, "bad_request", "one of"),
        (r#"{"vector": [1, 2, 3]}"#, 400, "bad_request", "3 values"),
        (r#"{"vector": [1, NaN]}"#, 400, "bad_request", ""),
        (r#"{"text": "a red square"}"#, 409, "unable", ""),
        (r#"{"url": "http://example.com/a.png"}"#, 403, "forbidden", "does not fetch"),
        (r#"{"id": "a.png""#, 400, "bad_request", ""),
        ("", 400, "bad_request", ""),
        ("[]", 400, "bad_request", ""),
        (&"[".repeat(100_000), 400, "bad_request", ""),
    ] {
        refused(s.post("/api/search", "application/json", body.as_bytes()), status, kind, part);
    }
    let facts = s.json("/api/collections/pics");
    let mut vector = vec!["0"; facts["d"].as_u64().unwrap() as usize];
    refused(s.post_text("/api/search", &format!("{{\"vector\": [{}]}}", vector.join(","))), 400, "bad_request", "");
    vector[1] = "1e300";
    refused(s.post_text("/api/search", &format!("{{\"vector\": [{}]}}", vector.join(","))), 400, "bad_request", "");
    refused(s.post("/api/search", "text/plain", b"{\"id\": \"a.png\"}"), 415, "bad_request", "application/json");
    refused(s.post_text("/api/search", &format!("{{\"id\": \"{}\"}}", "x".repeat(1 << 20))), 413, "too_large", "1 MB");
    for (path, part) in [
        ("/api/search?id=a.png&k=0", "k = 0"),
        ("/api/search?id=a.png&k=x", ""),
        ("/api/search?id=a.png&surprise=1", "surprise"),
        ("/api/items?limit=501", "500"),
        ("/api/items?offset=-1", ""),
        ("/api/thumbnail?id=a.png&side=100000", "side"),
        ("/api/image", "id"),
    ] {
        refused(s.get(path), 400, "bad_request", part);
    }
    refused(s.get("/api/collections/other"), 404, "not_found", "other");
    refused(s.get("/api/items?label=none"), 404, "not_found", "none");
    refused(s.get("/api/nothing"), 404, "not_found", "");
    refused(s.ask("DELETE", "/api/item?id=a.png", &[], b""), 405, "bad_request", "");
    let png = std::fs::read(fixture("images/a.png")).unwrap();
    let upload = |bytes: &[u8], kind: &str| s.post("/api/search/image?collection=pics", kind, bytes);
    refused(upload(b"", "image/png"), 400, "bad_request", "empty");
    refused(upload(b"no image at all", "image/png"), 422, "unreadable", "");
    refused(upload(&png[..png.len() / 2], "image/png"), 422, "unreadable", "");
    refused(upload(&std::fs::read(fixture("images/bad/huge.png")).unwrap(), "image/png"), 422, "unreadable", "100000 x 100000");
    refused(upload(&png, "text/html"), 415, "bad_request", "text/html");
    refused(upload(&vec![0; (32 << 20) + 1], "image/png"), 413, "too_large", "32 MB");
    refused(s.post("/api/search/image?id=a.png", "image/png", &png), 400, "bad_request", "the image is the query");
    assert_eq!(s.json("/healthz"), json!({"status": "ok"}));
}

#[test]
fn images_are_served_by_id_and_never_by_path() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    let outside = fixture("images/expected.json");
    for id in [
        "bad%2Fnotes.txt",
        "bad%2Ftext.png",
        "expected.json",
        "..%2Fimages%2Fa.png",
        "..%2F..%2F..%2FCargo.toml",
        "%2Fetc%2Fpasswd",
        "..%5Ca.png",
        "a.png%00",
        "a.png%00.jpg",
        ".%2Fa.png",
        "turned%2F..%2Fa.png",
        "%FF%FE",
        "",
        &outside.replace('/', "%2F"),
    ] {
        for path in ["image", "thumbnail", "item"] {
            let r = s.get(&format!("/api/{path}?collection=pics&id={id}"));
            assert!(matches!(r.status, 400 | 404), "{path} {id}: {} {}", r.status, r.text());
        }
    }
    for path in [
        "/static/../Cargo.toml",
        "/static/..%2FCargo.toml",
        "/static/%2e%2e/%2e%2e/Cargo.toml",
        "/static//etc/passwd",
        "/static/",
        "/static/%00",
        "/../../etc/passwd",
        "//etc/passwd",
        "/static/index.html/..",
        "/index.html",
    ] {
        assert_eq!(s.get(path).status, 404, "{path}");
    }
}

#[test]
fn only_the_loopback_under_its_own_names() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    let port = s.port;
    let raw = |host: &str, more: &str| {
        let r = s.raw(format!("GET /api/collections HTTP/1.1\r\nHost: {host}\r\n{more}Connection: close\r\n\r\n").as_bytes());
        r.status
    };
    assert_eq!(raw(&format!("localhost:{port}"), ""), 200);
    assert_eq!(raw(&format!("127.0.0.1:{port}"), ""), 200);
    assert_eq!(raw(&format!("[::1]:{port}"), ""), 200);
    for host in ["evil.example", "localhost", &format!("evil.example:{port}"), &format!("192.168.1.1:{port}")] {
        assert_eq!(raw(host, ""), 403, "{host}");
    }
    assert_eq!(s.raw(b"GET /api/collections HTTP/1.1\r\nConnection: close\r\n\r\n").status, 400);
    let body = br#"{"id": "a.png"}"#;
    let post =
        |origin: &str| s.ask("POST", "/api/search", &[("Content-Type", "application/json"), ("Origin", origin)], body).status;
    assert_eq!(post(&format!("http://127.0.0.1:{port}")), 200);
    for origin in ["http://evil.example", "null", "http://127.0.0.1", "http://127.0.0.1:1", "chrome-extension://abc"] {
        assert_eq!(post(origin), 403, "{origin}");
    }
    let cross = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors")];
    assert_eq!(s.ask("GET", "/api/image?id=a.png", &cross, b"").status, 403);
}

#[test]
fn with_a_host_a_token() {
    let dir = Folder::new();
    let s = pictures(&dir, &["--host", "127.0.0.1"]);
    let token = s.ready["token"].as_str().expect("a token").to_string();
    assert_eq!(token.len(), 32);
    assert!(s.ready["page"].as_str().unwrap().ends_with(&format!("/?token={token}")), "{}", s.ready);
    assert_eq!(s.get("/healthz").status, 200);
    for path in
        ["/", "/static/index.html", "/api/collections", "/api/image?id=a.png", "/metrics", "/api/openapi.json", "/?token=wrong"]
    {
        assert_eq!(s.get(path).status, 401, "{path}");
    }
    assert_eq!(s.post_json("/api/search", &json!({"id": "a.png"})).status, 401);
    assert_eq!(s.ask("GET", "/metrics", &[("Authorization", &format!("Bearer {token}"))], b"").status, 200);
    assert_eq!(s.ask("GET", "/metrics", &[("Authorization", &format!("Bearer {token}x"))], b"").status, 401);
    let entry = s.get(&format!("/?token={token}&c=pics"));
    assert_eq!((entry.status, entry.header("location")), (303, "/?c=pics"));
    let cookie = entry.header("set-cookie").to_string();
    assert!(cookie.contains("HttpOnly") && cookie.contains("SameSite=Strict"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    assert_eq!(s.ask("GET", "/api/collections", &[("Cookie", cookie)], b"").status, 200);
    let people = s.ask("GET", "/", &[("Accept", "text/html")], b"");
    assert!(people.status == 401 && people.text().contains("A token is needed"), "{}", people.text());
    let wrong = s.ask("GET", "/?token=not-the-right-one", &[("Accept", "text/html")], b"");
    assert!(wrong.status == 401 && wrong.text().contains("That is not the token"), "{}", wrong.text());
    // what the page that asks for it looks like is no secret; what is not a style sheet stays closed
    assert_eq!(
        (s.get("/static/base.css").status, s.get("/static/app.js").status, s.get("/static/x.css").status),
        (200, 401, 404)
    );
    drop(s);
    let chosen = pictures(&dir, &["--token", "a-token-of-mine"]);
    assert_eq!(chosen.get("/").status, 401);
    assert_eq!(chosen.ask("GET", "/", &[("Authorization", "Bearer a-token-of-mine")], b"").status, 200);
}

#[test]
fn a_thousand_requests_at_once_and_clients_that_break_off() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    let png = std::fs::read(fixture("images/a.png")).unwrap();
    // half a head, half a body, nothing at all: held open until the end
    let slow: Vec<_> = (0..90)
        .map(|i| {
            let mut stream = s.connect();
            let half = match i % 3 {
                0 => format!("GET /api/collections HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n", s.port),
                1 => format!("POST /api/query HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: image/png\r\nContent-Length: 999999\r\n\r\nhalf", s.port),
                _ => String::new(),
            };
            web::send(&mut stream, half.as_bytes());
            stream
        })
        .collect();
    // uploads that stop in the middle, and askers that do not wait for the answer
    for _ in 0..20 {
        let mut stream = s.connect();
        let head = format!(
            "POST /api/query HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: image/png\r\nContent-Length: {}\r\n\r\n",
            s.port,
            png.len()
        );
        web::send(&mut stream, head.as_bytes());
        web::send(&mut stream, &png[..png.len() / 2]);
        drop(stream);
        let mut stream = s.connect();
        web::send(&mut stream, format!("GET /api/search?id=a.png HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", s.port).as_bytes());
    }
    let bodies: Vec<Vec<u8>> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..64)
            .map(|t| {
                let (s, png) = (&s, &png);
                scope.spawn(move || {
                    let mut hits = Vec::new();
                    for i in 0..16 {
                        let r = match (t + i) % 4 {
                            0 => s.post("/api/search/image?k=5", "image/png", png),
                            1 => s.get("/api/thumbnail?id=a.png"),
                            2 => s.get("/api/items"),
                            _ => s.get("/api/search?id=a.png&k=5"),
                        };
                        assert_eq!(r.status, 200, "{}", r.text());
                        if (t + i) % 4 == 3 {
                            hits.push(serde_json::to_vec(&r.ok()["hits"]).unwrap());
                        }
                    }
                    hits
                })
            })
            .collect();
        threads.into_iter().flat_map(|t| t.join().expect("no panic")).collect()
    });
    assert!(bodies.len() >= 250 && bodies.iter().all(|b| *b == bodies[0]));
    drop(slow);
    let metrics = s.get("/metrics").text();
    assert!(metrics.contains("voisin_panics_total 0\n"), "{metrics}");
    // what was broken off does not stay
    for _ in 0..100 {
        if s.get("/metrics").text().contains("voisin_requests_in_flight 1\n") {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
    panic!("requests stay in flight: {}", s.get("/metrics").text());
}

#[test]
fn what_is_no_http() {
    let dir = Folder::new();
    let s = pictures(&dir, &[]);
    for bytes in [
        &b"\0\0\0\0\r\n\r\n"[..],
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03 a TLS hello\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: -5\r\n\r\n",
        b"POST /api/search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 5\r\nContent-Length: 7\r\n\r\nabcdefg",
    ] {
        let r = s.raw(bytes);
        assert!(matches!(r.status, 0 | 400 | 403 | 505), "{bytes:?}: {}", r.status);
    }
    let long = format!("GET /{} HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n\r\n", "x".repeat(100_000), s.port);
    assert!(matches!(s.raw(long.as_bytes()).status, 0 | 404 | 414 | 431));
    let many = format!("GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\n{}\r\n", s.port, "X-A: b\r\n".repeat(1000));
    assert!(matches!(s.raw(many.as_bytes()).status, 0 | 431));
    let chunked = format!(
        "POST /api/search HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n\
         7\r\n{{\"id\": \r\n8\r\n\"a.png\"}}\r\n0\r\n\r\n",
        s.port
    );
    assert_eq!(s.raw(chunked.as_bytes()).status, 200);
    assert_eq!(s.get("/healthz").status, 200);
}

#[test]
fn addresses_of_the_web_are_public_ones() {
    let dir = Folder::new();
    let s = pictures(&dir, &["--allow-urls"]);
    assert_eq!(s.json("/api/collections")["allow_urls"], true);
    let own = format!("http://127.0.0.1:{}/api/image?id=a.png", s.port);
    for url in
        [own.as_str(), "http://localhost/", "http://[::1]/", "http://169.254.169.254/latest/meta-data", "https://10.1.2.3/a.png"]
    {
        let r = s.post_json("/api/search", &json!({"url": url}));
        assert_eq!(r.status, 403, "{url}: {}", r.text());
    }
    assert_eq!(s.post_json("/api/search", &json!({"url": "file:///etc/passwd"})).status, 400);
}

#[test]
fn it_ends_in_order() {
    let dir = Folder::new();
    let mut s = pictures(&dir, &[]);
    assert_eq!(s.get("/healthz").status, 200);
    let idle = s.connect(); // open connections do not hold it up
    let taken = s.port.to_string();
    let error = bad(&["serve", &fixture("images"), "--port", &taken, "--keep", &dir.file("other")], 1);
    assert!(error.contains(&format!("port {taken} is in use")) && error.contains("--port"), "{error}");
    let (code, out) = s.stop();
    assert_eq!((code, out.as_str()), (Some(0), ""), "stdout has one line");
    drop(idle);
    let again = Served::start(&["serve", &fixture("images"), "--keep", &dir.file("kept"), "--port", "0"], false);
    assert_eq!(again.ready, Value::String(format!("http://127.0.0.1:{}", again.port)));
    assert_eq!(again.json("/api/collections")["collections"][0]["name"], "images");
}

#[test]
fn wrong_calls() {
    let images = fixture("images");
    let (a, b) = (format!("a={images}"), format!("b={images}"));
    for (args, part) in [
        (vec!["serve"], "nothing to serve"),
        (vec!["serve", "--collection", "x"], "NAME=PATH"),
        (vec!["serve", &images, &images], "two collections are named images"),
        (vec!["serve", "--collection", &a, "--collection", &b, "--images", "x"], "--images is for a single collection"),
        (vec!["serve", &images, "--token", "short"], "8 to 256"),
        (vec!["serve", &images, "--token", "with spaces in it"], "8 to 256"),
        (vec!["serve", &images, "--host", "no.such.host.invalid"], "no.such.host.invalid"),
        (vec!["serve", &images, "--port", "70000"], "70000"),
    ] {
        assert!(bad(&args, 2).contains(part), "{args:?}: {part}");
    }
    let dir = Folder::new();
    bad(&["serve", &dir.file("missing"), "--port", "0"], 1);
    bad(&["serve", &dir.write("x.index", "no index"), "--port", "0"], 1);
}
