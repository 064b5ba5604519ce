//! FAISS index files that are damaged: an error, never a panic or a large allocation. What sound ones give is tested through the binary.

use std::path::{Path, PathBuf};

use voisin::{Index, Quiet};
use voisin_io::faiss::{check_bytes, is_faiss, load_bytes, open, open_graph};

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/faiss").join(name)
}

fn every() -> Vec<(PathBuf, Vec<u8>)> {
    let entries = std::fs::read_dir(data("")).unwrap().map(|e| e.unwrap().path());
    let mut all: Vec<PathBuf> = entries.filter(|p| p.extension().is_some_and(|e| e == "index")).collect();
    all.sort();
    assert!(all.len() > 30);
    all.into_iter().map(|p| (p.clone(), std::fs::read(p).unwrap())).collect()
}

const X: &str = "x.index";

#[test]
fn every_truncation_is_an_error() {
    for (path, bytes) in every() {
        assert!(check_bytes(Path::new(X), &bytes).is_ok(), "{}", path.display());
        // arrays are long and alike: every place in what stands around them, some within
        let step = if bytes.len() > 8000 { 13 } else { 1 };
        for end in (0..bytes.len().min(400)).chain((400..bytes.len()).step_by(step)) {
            let e = check_bytes(Path::new(X), &bytes[..end]).expect_err("cut");
            assert!(e.to_string().starts_with("x.index: FAISS index: "), "{e}");
        }
        let more = [&bytes[..], b"x"].concat();
        assert!(check_bytes(Path::new(X), &more).unwrap_err().to_string().contains("after the end"));
    }
}

#[test]
fn flipped_bytes_are_answered() {
    for (_, mut bytes) in every().into_iter().filter(|f| f.1.len() < 16_000) {
        for at in 0..bytes.len() {
            for flip in [0xff, 0x80, 0x01] {
                bytes[at] ^= flip;
                let _ = check_bytes(Path::new(X), &bytes);
                bytes[at] ^= flip;
            }
        }
    }
}

#[test]
fn lengths_of_2_to_the_60_are_refused() {
    for (path, bytes) in every() {
        for at in (0..bytes.len().min(1200)).chain(bytes.len() - bytes.len().min(600)..bytes.len()) {
            for length in [1u64 << 60, u64::MAX, 1 << 62, i64::MAX as u64] {
                let mut odd = bytes.clone();
                let end = (at + 8).min(odd.len());
                odd[at..end].copy_from_slice(&length.to_le_bytes()[..end - at]);
                let _ = check_bytes(&path, &odd);
            }
        }
    }
}

#[test]
fn what_a_damaged_file_becomes_is_an_index_or_nothing() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["pq4", "ivf_sq4", "norm_pca", "id_map2"] {
        let bytes = std::fs::read(data(&format!("{name}.index"))).unwrap();
        for at in (0..bytes.len()).step_by(bytes.len() / 40) {
            let mut odd = bytes.clone();
            odd[at] ^= 0xff;
            let to = dir.path().join(format!("{name}-{at}"));
            match load_bytes(Path::new(X), &odd, &to, &Quiet) {
                Ok(()) => assert!(Index::open(&to).is_ok(), "{name} {at}"),
                Err(_) => assert!(!to.exists(), "{name} {at}: something was left"),
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_named() {
    let flat = std::fs::read(data("flat_l2.index")).unwrap();
    let with = |code: &[u8; 4]| {
        let odd = [&code[..], &flat[4..]].concat();
        check_bytes(Path::new(X), &odd).unwrap_err().to_string()
    };
    assert!(with(b"IwPf").contains("fast-scan"));
    assert!(with(b"IBxF").contains("binary"));
    assert!(with(b"Izzz").contains("\"Izzz\" is no index"));
    let lists = std::fs::read(data("ivf_flat.index")).unwrap();
    let at = lists.windows(4).position(|w| w == b"ilar").unwrap();
    let mut on_disk = lists.clone();
    on_disk[at..at + 4].copy_from_slice(b"ilod");
    let e = check_bytes(Path::new(X), &on_disk).unwrap_err().to_string();
    assert!(e.contains("ilod") && e.contains("another file"), "{e}");
    // metric L1
    let mut metric = flat.clone();
    metric[33] = 2;
    metric.splice(37..37, [0; 4]);
    assert!(check_bytes(Path::new(X), &metric).unwrap_err().to_string().contains("metric L1"));
    // indexes inside each other without end
    let around = &std::fs::read(data("id_map.index")).unwrap()[..37];
    let deep = around.repeat(5000);
    assert!(check_bytes(Path::new(X), &deep).unwrap_err().to_string().contains("inside each other"));
}

#[test]
fn a_value_that_is_no_number_and_an_id_that_stands_twice_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let refused = |bytes: &[u8]| load_bytes(Path::new(X), bytes, &dir.path().join("i"), &Quiet).unwrap_err().to_string();
    let mut flat = std::fs::read(data("flat_l2.index")).unwrap();
    let at = flat.len() - 4 * 16;
    flat[at..at + 4].copy_from_slice(&f32::NAN.to_le_bytes());
    assert!(refused(&flat).contains("id 399 has a value that is no number"));
    let mut map = std::fs::read(data("id_map.index")).unwrap();
    let at = map.len() - 16;
    map.copy_within(at + 8..at + 16, at);
    assert!(refused(&map).contains("stands twice"));
    map[at..at + 8].copy_from_slice(&(-1i64).to_le_bytes());
    assert!(refused(&map).contains("the id -1, which FAISS itself answers where it finds nothing"));
    map[at..at + 8].copy_from_slice(&(-2i64).to_le_bytes());
    load_bytes(Path::new(X), &map, &dir.path().join("negative"), &Quiet).unwrap();
    let id = map[at - 8..at].to_owned();
    map[at + 8..at + 16].copy_from_slice(&id);
    let e = refused(&map);
    let id = i64::from_le_bytes(id.try_into().unwrap()).to_string();
    assert!(e.contains("stands twice") && e.contains(&id), "{e}");
}

#[test]
fn files_are_told_apart() {
    assert!(is_faiss(&data("pq.index")) && !is_faiss(&data("queries.npy")) && !is_faiss(&data("nothing")));
    let dir = tempfile::tempdir().unwrap();
    let text = dir.path().join("iris.csv");
    std::fs::write(&text, "Iris1,Iris2\n1,2\n").unwrap();
    assert!(!is_faiss(&text));
    assert_eq!(open(&data("ivf_pq.index"), &Quiet).unwrap().spec().to_string(), "IVF8,PQ4");
    assert!(open_graph(&data("ivf_pq.index")).unwrap().is_none());
    let graph = open_graph(&data("hnsw.index")).unwrap().unwrap();
    assert_eq!((graph.len(), graph.dim(), graph.shape().1, graph.ef()), (400, 16, 16, 16));
    assert!(open(&data("hnsw.index"), &Quiet).unwrap_err().to_string().contains("voisin search"));
}
