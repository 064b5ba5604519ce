//! Models against torch's own outputs, from the file of an image on (tests/data/onnx/make_onnx.py).
#![cfg(feature = "onnx")]

use std::path::{Path, PathBuf};

use voisin_embed::{Embedder, Filter, Layout, Options, Picture, Pooling, Preset, Resize, read};
use voisin_io::Role;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(name)
}

fn onnx(name: &str) -> PathBuf {
    data("onnx").join(name)
}

fn expected(name: &str) -> Vec<Vec<f32>> {
    let source = voisin_io::open(onnx(name).to_str().unwrap(), Role::Base).expect("rows of torch");
    let mut values = vec![0.0; source.len() as usize * source.dim()];
    source.read(0, &mut values).expect("rows");
    values.chunks_exact(source.dim()).map(<[f32]>::to_vec).collect()
}

fn strings(key: &str) -> Vec<String> {
    let json: serde_json::Value = serde_json::from_slice(&std::fs::read(onnx("expected.json")).unwrap()).unwrap();
    json[key].as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect()
}

fn pictures() -> Vec<(String, Picture)> {
    strings("images").into_iter().map(|n| (n.clone(), read(&data("images").join(n)).unwrap())).collect()
}

fn cosine(a: &[f32], b: &[f32]) -> f64 {
    let dot = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(x, y)| f64::from(*x) * f64::from(*y)).sum::<f64>();
    dot(a, b) / (dot(a, a) * dot(b, b)).sqrt()
}

/// The smallest cosine between what a model gives here and what torch gives, and for which image.
fn worst(model: &str, options: &Options, rows: &str) -> (f64, String) {
    let embedder = Embedder::open(Some(&onnx(model)), options).unwrap_or_else(|e| panic!("{model}: {e}"));
    let rows = expected(rows);
    let all = pictures().into_iter().zip(rows).map(|((name, picture), row)| {
        let found = embedder.embed(&picture).unwrap_or_else(|e| panic!("{model}, {name}: {e}"));
        assert_eq!(found.len(), embedder.dim());
        (cosine(&found, &row), name)
    });
    all.min_by(|a, b| a.0.total_cmp(&b.0)).expect("images")
}

fn map() -> Options {
    let half = Some([0.5; 3]);
    let resize = Some(Resize::Exact([48, 40]));
    Options { resize, filter: Some(Filter::Bicubic), mean: half, std: half, ..Options::default() }
}

#[test]
fn vectors_are_those_of_torch() {
    let resnet = Options { preset: Some(Preset::Resnet), ..Options::default() };
    let pooled = |pooling| Options { pooling: Some(pooling), ..Options::default() };
    for (model, options, rows) in [
        ("cnn.onnx", Options::default(), "cnn.npy"),
        ("cnn4.onnx", resnet, "cnn.npy"),
        ("map.onnx", map(), "map.npy"),
        ("map_nhwc.onnx", map(), "map.npy"),
        ("vit/vit.onnx", pooled(Pooling::Cls), "vit_cls.npy"),
        ("vit/vit.onnx", pooled(Pooling::Mean), "vit_mean.npy"),
        ("clip/vision.onnx", Options::default(), "clip.npy"),
    ] {
        let (cosine, name) = worst(model, &options, rows);
        println!("{model}: {cosine:.6} ({name})");
        assert!(cosine >= 0.999, "{model}: {cosine} for {name}");
    }
}

#[test]
fn another_preparation_gives_other_vectors() {
    for (model, rows, options) in [
        ("cnn.onnx", "cnn.npy", Options { filter: Some(Filter::Nearest), ..Options::default() }),
        ("cnn.onnx", "cnn.npy", Options { preset: Some(Preset::Clip), ..Options::default() }),
        ("map.onnx", "map.npy", Options { mean: Some([0.0; 3]), ..map() }),
    ] {
        let (cosine, _) = worst(model, &options, rows);
        assert!(cosine < 0.99, "{model}, {options:?}: {cosine}");
    }
}

#[test]
fn texts_are_those_of_torch() {
    let pooled = |pooling| Options { text_pooling: Some(pooling), ..Options::default() };
    for (model, options, rows) in [
        ("clip/text.onnx", Options::default(), "clip_text.npy"),
        ("bert/model.onnx", Options::default(), "bert_mean.npy"),
        ("bert/model.onnx", pooled(Pooling::Cls), "bert_cls.npy"),
    ] {
        let options = Options { text_model: Some(onnx(model)), ..options };
        let embedder = Embedder::open(None, &options).unwrap_or_else(|e| panic!("{model}: {e}"));
        for (text, row) in strings("texts").iter().zip(expected(rows)) {
            let found = cosine(&embedder.text(text).unwrap(), &row);
            assert!(found >= 0.999, "{model}: {found} for {text}");
        }
        assert!(embedder.takes_texts() && !embedder.takes_images());
        assert!(embedder.embed(&pictures()[0].1).unwrap_err().to_string().contains("no model for images"));
    }
}

#[test]
fn images_and_texts_of_a_pair_have_one_maker() {
    let text_model = Some(onnx("clip/text.onnx"));
    let both = Embedder::open(Some(&onnx("clip/vision.onnx")), &Options { text_model: text_model.clone(), ..Options::default() })
        .unwrap();
    let images = Embedder::open(Some(&onnx("clip/vision.onnx")), &Options::default()).unwrap();
    assert_eq!((both.made_by(), both.dim()), (images.made_by(), 24));
    assert!(both.takes_texts() && both.takes_images() && both.text_made_by().unwrap().starts_with("text.onnx "));
    let made_by = images.made_by();
    assert!(made_by.starts_with("vision.onnx ") && made_by.contains("shortest 48 bicubic, crop 48x48 down"), "{made_by}");
    let wrong =
        Embedder::open(Some(&onnx("vit/vit.onnx")), &Options { text_model, pooling: Some(Pooling::Cls), ..Options::default() });
    let message = wrong.unwrap_err().to_string();
    assert!(message.contains("24 dimensions where 32"), "{message}");
}

#[test]
fn a_vector_depends_on_nothing_else() {
    let pictures: Vec<Picture> = pictures().into_iter().map(|p| p.1).collect();
    for (model, options) in
        [("cnn.onnx", Options::default()), ("vit/vit.onnx", Options { pooling: Some(Pooling::Mean), ..Options::default() })]
    {
        let on = |threads: usize| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| {
                let embedder = Embedder::open(Some(&onnx(model)), &options).unwrap();
                let single: Vec<f32> = pictures.iter().flat_map(|p| embedder.embed(p).unwrap()).collect();
                let batch = embedder.embed_batch(&pictures).unwrap().into_data();
                assert!(single == batch, "{model}, {threads} threads");
                batch
            })
        };
        assert!(on(1) == on(3), "{model}");
    }
}

fn refused(model: &str, options: &Options) -> String {
    match Embedder::open(Some(&onnx(model)), options) {
        Ok(e) => panic!("{model} is taken: {}", e.made_by()),
        Err(e) => e.to_string(),
    }
}

#[test]
fn what_cannot_be_used_is_refused() {
    for (model, words) in [
        ("bad/text.onnx", &["text.onnx", "no ONNX model"][..]),
        ("bad/empty.onnx", &["empty"]),
        ("bad/truncated.onnx", &["truncated.onnx", "cut short"]),
        ("bad/operator.onnx", &["operator.onnx", "Whirl"]),
        ("bad/rank.onnx", &["(?, 192) floats", "(n, 3, height, width)"]),
        ("bad/channels.onnx", &["(?, 1, 8, 8)"]),
        ("bad/integers.onnx", &["integers", "32-bit floats"]),
        ("bad/open.onnx", &["not fixed", "--crop"]),
        ("bad/tokens.onnx", &["[1, 3, 64]", "--pooling"]),
        ("bad/far.onnx", &["far.data", "16 bytes"]),
        ("bad/outside.onnx", &["../../images/a.png"]),
        ("bad/none.onnx", &["none.onnx"]),
        ("bad", &["a folder"]),
        ("clip/text.onnx", &["input_ids (?, ?) integers"]),
        ("expected.json", &["no ONNX model"]),
    ] {
        let message = refused(model, &Options::default());
        assert!(words.iter().all(|w| message.contains(w)), "{model}: {message}");
    }
    let crop = |n| Options { crop: Some([n, n]), ..Options::default() };
    for (model, options, words) in [
        ("cnn.onnx", crop(48), &["48x48", "64x64"][..]),
        ("cnn.onnx", Options { resize: Some(Resize::Shortest(32)), ..Options::default() }, &["crop", "32x32"]),
        ("cnn.onnx", Options { pooling: Some(Pooling::Cls), ..Options::default() }, &["pooling = cls", "(n, tokens, d)"]),
        ("cnn.onnx", Options { output: Some("x".into()), ..Options::default() }, &["output = x", "features"]),
        ("cnn.onnx", Options { input: Some("x".into()), ..Options::default() }, &["input = x", "one of input"]),
        ("cnn.onnx", Options { std: Some([0.0; 3]), ..Options::default() }, &["std"]),
        ("cnn.onnx", Options { layout: Some(Layout::Nhwc), ..Options::default() }, &["cnn.onnx"]),
        ("cnn.onnx", Options { preprocessor: Some(onnx("expected.npy")), ..Options::default() }, &["expected.npy"]),
        ("cnn.onnx", Options { preprocessor: Some(onnx("cnn.npy")), ..Options::default() }, &["cnn.npy"]),
        ("cnn.onnx", Options { tokenizer: Some(onnx("clip/tokenizer.json")), ..Options::default() }, &["tokenizer"]),
        ("cnn.onnx", Options { text_model: Some(onnx("vit/vit.onnx")), ..Options::default() }, &["tokenizer.json"]),
    ] {
        let message = refused(model, &options);
        assert!(words.iter().all(|w| message.contains(w)), "{model}, {options:?}: {message}");
    }
}

#[test]
fn every_truncation_and_flipped_bytes_are_errors_or_models() {
    let whole = std::fs::read(onnx("cnn.onnx")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("m.onnx");
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    let open = |bytes: &[u8]| {
        std::fs::write(&path, bytes).unwrap();
        pool.install(|| Embedder::open(Some(&path), &Options::default()).is_ok())
    };
    for len in (0..whole.len()).step_by(499) {
        assert!(!open(&whole[..len]), "{len} bytes of it are taken for a model");
    }
    // most flips in weights make another model; none may do worse
    for at in (0..whole.len()).step_by(293) {
        let mut bytes = whole.clone();
        bytes[at] ^= 0xff;
        open(&bytes);
    }
}

#[test]
fn images_without_a_number_are_left_out() {
    let embedder =
        Embedder::open(Some(&onnx("bad/nan.onnx")), &Options { mean: Some([0.5; 3]), std: Some([0.5; 3]), ..Options::default() });
    // grey, which a model is tried on, is no error yet
    let embedder = embedder.unwrap();
    let picture = |v: u8| Picture { width: 8, height: 8, rgb: vec![v; 192] };
    let message = embedder.embed(&picture(3)).unwrap_err().to_string();
    assert!(message.contains("NaN"), "{message}");
    assert!(embedder.embed(&picture(200)).is_ok());
}
