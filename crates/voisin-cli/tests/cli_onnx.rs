//! `voisin embed --model` and `--text-model`, against vectors computed by torch (tests/data/onnx/make_onnx.py).
#![cfg(feature = "onnx")]

mod run;

use run::{Folder, bad, fixture, good, json};
use voisin_io::Role;

fn rows(file: &str) -> (Vec<String>, Vec<Vec<f32>>) {
    let source = voisin_io::open(file, Role::Base).expect("a file of vectors");
    let mut values = vec![0.0; source.len() as usize * source.dim()];
    source.read(0, &mut values).expect("rows");
    let ids = source.ids().expect("ids").map_or_else(Vec::new, |ids| ids.iter().map(str::to_owned).collect());
    (ids, values.chunks_exact(source.dim()).map(<[f32]>::to_vec).collect())
}

fn expected(key: &str) -> Vec<String> {
    let file = std::fs::read(fixture("onnx/expected.json")).expect("it is there");
    let json: serde_json::Value = serde_json::from_slice(&file).expect("JSON");
    json[key].as_array().expect("a list").iter().map(|s| s.as_str().expect("strings").to_owned()).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f32 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| x * y).sum::<f32>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

#[test]
fn a_folder_through_a_model_is_what_torch_gives() {
    let dir = Folder::new();
    let (out, model) = (dir.file("f.h5"), fixture("onnx/cnn.onnx"));
    let o = json(&["embed", &fixture("images"), "-o", &out, "--model", &model, "--preset", "resnet"]);
    assert_eq!((o["d"].as_u64(), o["skipped"].as_u64(), o["labels"].as_u64()), (Some(24), Some(4), Some(4)), "{o}");
    let made_by = o["made_by"].as_str().expect("a text");
    assert!(made_by.starts_with("cnn.onnx ") && made_by.contains("shortest 73 bilinear, crop 64x64"), "{made_by}");
    let (ids, found) = rows(&out);
    let (names, (_, torch)) = (expected("images"), rows(&fixture("onnx/cnn.npy")));
    assert_eq!(ids.len(), names.len());
    for (name, row) in names.iter().zip(torch) {
        let at = ids.iter().position(|i| i == name).unwrap_or_else(|| panic!("{name} is missing"));
        let c = cosine(&found[at], &row);
        assert!(c >= 0.999, "{name}: {c}");
    }
    // on one thread, and after a run that was killed: the same bytes
    let again = dir.file("g.h5");
    good(&["embed", &fixture("images"), "-o", &again, "--model", &model, "--threads", "1"]);
    assert_eq!(std::fs::read(&out).unwrap(), std::fs::read(&again).unwrap());
}

#[test]
fn an_index_refuses_what_another_model_made() {
    let dir = Folder::new();
    let [features, index, query] = ["f.h5", "index", "q.h5"].map(|n| dir.file(n));
    let (images, vit, clip) = (fixture("images"), fixture("onnx/vit/vit.onnx"), fixture("onnx/clip/vision.onnx"));
    good(&["embed", &images, "-o", &features, "--model", &vit, "--pooling", "cls"]);
    good(&["build", "--base", &features, "-o", &index]);
    let one = fixture("images/colour/a.bmp");
    good(&["embed", &one, "-o", &query, "--model", &vit, "--pooling", "cls"]);
    let found = json(&["search", &index, "--queries", &query, "-k", "3"]);
    assert!(found["results"][0]["ids"].to_string().contains("a.png"), "{found}");
    for other in
        [&["--pooling", "mean"][..], &["--pooling", "cls", "--filter", "bicubic"], &["--pooling", "cls", "--no-normalise"]]
    {
        good(&[&["embed", &one, "-o", &query, "--model", &vit], other].concat());
        let message = bad(&["search", &index, "--queries", &query, "-k", "3"], 1);
        assert!(message.contains("vit.onnx ") && message.contains("those of the index"), "{message}");
    }
    good(&["embed", &one, "-o", &query, "--model", &clip]);
    let message = bad(&["search", &index, "--queries", &query, "-k", "3"], 1);
    assert!(message.contains("24 dimensions where 32"), "{message}");
}

#[test]
fn images_are_found_by_words() {
    let dir = Folder::new();
    let [features, index, query, plain] = ["f.h5", "index", "q.h5", "t.npz"].map(|n| dir.file(n));
    let (vision, text) = (fixture("onnx/clip/vision.onnx"), fixture("onnx/clip/text.onnx"));
    good(&["embed", &fixture("images"), "-o", &features, "--model", &vision]);
    good(&["build", "--base", &features, "-o", &index]);
    let words = dir.write("words.txt", expected("texts").join("\n").into_bytes());
    let tokenizer = fixture("onnx/clip/tokenizer.json");
    let o = json(&["embed", &words, "-o", &query, "--model", &vision, "--text-model", &text, "--tokenizer", &tokenizer]);
    assert_eq!((o["n"].as_u64(), o["d"].as_u64()), (Some(6), Some(24)), "{o}");
    let (made_by, by_text) = (o["made_by"].as_str().unwrap(), o["text_made_by"].as_str().unwrap());
    assert!(made_by.starts_with("vision.onnx ") && by_text.starts_with("text.onnx ") && by_text.contains("tokens 20"), "{o}");
    let (ids, found) = rows(&query);
    assert_eq!(ids, ["1", "2", "3", "4", "5", "6"]);
    for (row, torch) in found.iter().zip(rows(&fixture("onnx/clip_text.npy")).1) {
        assert!(cosine(row, &torch) >= 0.999);
    }
    // what torch's vectors of images and texts give
    let (names, images) = (expected("images"), rows(&fixture("onnx/clip.npy")).1);
    let texts = rows(&fixture("onnx/clip_text.npy")).1;
    let results = json(&["search", &index, "--queries", &query, "-k", "1"]);
    for (i, text) in texts.iter().enumerate() {
        let best = results["results"][i]["ids"][0].as_str().expect("an id");
        let at = names.iter().position(|n| n == best).expect("an image");
        let most = images.iter().map(|image| cosine(image, text)).fold(f32::MIN, f32::max);
        assert!(cosine(&images[at], text) > most - 0.01, "text {i}: {best}");
    }
    // by itself the text model is another maker
    good(&["embed", &words, "-o", &plain, "--text-model", &text]);
    good(&["embed", &words, "-o", &query, "--text-model", &text]);
    let message = bad(&["search", &index, "--queries", &query], 1);
    assert!(message.contains("text.onnx"), "{message}");
    let table = dir.write("words.csv", b"id,text,label\nred,\"a red bicycle\",things\ncat,two cats,animals\n");
    let bert = fixture("onnx/bert/model.onnx");
    let o = json(&["embed", &table, "-o", &query, "--text-model", &bert]);
    assert_eq!((o["d"].as_u64(), o["labels"].as_u64()), (Some(32), Some(2)), "{o}");
    assert_eq!(rows(&query).0, ["red", "cat"]);
}

#[test]
fn what_is_wrong_is_said() {
    let dir = Folder::new();
    let (images, out, cnn) = (fixture("images/colour"), dir.file("f.h5"), fixture("onnx/cnn.onnx"));
    for (model, code, word) in [
        ("onnx/bad/text.onnx", 1, "no ONNX model"),
        ("onnx/bad/truncated.onnx", 1, "cut short"),
        ("onnx/bad/operator.onnx", 1, "Whirl"),
        ("onnx/bad/rank.onnx", 1, "(n, 3, height, width)"),
        ("onnx/bad/open.onnx", 1, "--crop"),
        ("onnx/bad/tokens.onnx", 1, "--pooling cls or mean"),
        ("onnx/bad/far.onnx", 1, "far.data"),
    ] {
        let message = bad(&["embed", &images, "-o", &out, "--model", &fixture(model)], code);
        assert!(message.contains(word) && message.contains(model.rsplit('/').next().unwrap()), "{message}");
    }
    for (flags, word) in [
        (&["--crop", "48"][..], "64x64"),
        (&["--crop", "99999"], "8192"),
        (&["--resize", "32"], "crop"),
        (&["--pooling", "largest"], "none, cls, eos, mean, gap"),
        (&["--pooling", "cls"], "(n, tokens, d)"),
        (&["--mean", "1,2"], "three numbers"),
        (&["--preset", "vgg"], "resnet, clip, dino"),
        (&["--output", "logits"], "features"),
        (&["--tokenizer", "x.json"], "--text-model"),
    ] {
        let message = bad(&[&["embed", &images, "-o", &out, "--model", &cnn], flags].concat(), 2);
        assert!(message.contains(word), "{flags:?}: {message}");
    }
    let nan = fixture("onnx/bad/nan.onnx");
    let (white, dark) = (fixture("images/grey/deep/white-line.png"), fixture("images/grey/deep/one-pixel.png"));
    let o = json(&["embed", &white, &dark, "-o", &out, "--model", &nan, "--mean", "0.4", "--std", "0.5"]);
    assert_eq!((o["n"].as_u64(), o["skipped"].as_u64()), (Some(1), Some(1)), "{o}");
    assert!(o["unreadable"][0]["reason"].as_str().unwrap().contains("NaN"), "{o}");
    let message = bad(&["embed", &images, "-o", &dir.file("g.h5"), "--text-model", &fixture("onnx/clip/text.onnx")], 1);
    assert!(message.contains("hint"), "{message}");
    assert_eq!(dir.list(), ["f.h5"]);
}
