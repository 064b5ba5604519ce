//! Pickles made by Python and numpy, and pickles made to do harm.

use std::path::{Path, PathBuf};

use serde_json::Value as Json;
use voisin::Source;
use voisin_io::{Role, pickle};

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/pickle")
}

fn expected() -> serde_json::Map<String, Json> {
    let text = std::fs::read_to_string(folder().join("expected.json")).unwrap();
    serde_json::from_str::<Json>(&text).unwrap().as_object().unwrap().clone()
}

fn all(source: &dyn Source) -> Vec<f32> {
    let mut out = vec![0.0; source.len() as usize * source.dim()];
    source.read(0, &mut out).unwrap();
    out
}

/// Opens what is in `bytes` and reads everything that opens; the errors are of no interest, only that they are errors.
fn exercise(bytes: &[u8], dir: &Path) {
    let path = dir.join("x.pkl");
    std::fs::write(&path, bytes).unwrap();
    let Ok(sets) = pickle::describe(&path) else { return };
    for set in sets {
        if let Ok(source) = pickle::open(&path, Some(&set.name), Role::Base) {
            let _ = source.ids();
            let mut out = vec![0.0; source.len() as usize * source.dim()];
            let _ = source.read(0, &mut out);
        }
    }
}

fn error(bytes: &[u8]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.pkl");
    std::fs::write(&path, bytes).unwrap();
    pickle::describe(&path).unwrap_err().to_string()
}

#[test]
fn arrays_lists_and_dicts_of_every_protocol() {
    for (file, note) in expected() {
        let path = folder().join(&file);
        for (name, want) in note["sets"].as_object().unwrap() {
            let wanted = (!name.is_empty()).then_some(name.as_str());
            let source = pickle::open(&path, wanted, Role::Base).unwrap_or_else(|e| panic!("{file}: {e}"));
            let shape = [source.len(), source.dim() as u64];
            assert_eq!(want["shape"], serde_json::json!(shape), "{file} {name}");
            let values: Vec<f32> = want["values"].as_array().unwrap().iter().map(|v| v.as_f64().unwrap() as f32).collect();
            assert_eq!(all(&*source), values, "{file} {name}");
            let d = source.dim();
            let mut part = vec![0.0; values.len() - d];
            source.read(1, &mut part).unwrap();
            assert_eq!(part, values[d..], "{file} {name} from row 1");
            let ids = source.ids().unwrap().map(|ids| ids.iter().map(str::to_owned).collect::<Vec<_>>());
            assert_eq!(serde_json::json!(ids), note["ids"], "{file} {name}");
        }
    }
}

#[test]
fn data_sets_are_found_by_role_and_listed() {
    let two = folder().join("two.pkl");
    assert_eq!(pickle::open(&two, None, Role::Base).unwrap().len(), 4);
    assert_eq!(pickle::open(&two, None, Role::Queries).unwrap().len(), 2);
    let sets = pickle::describe(&folder().join("ilias.pkl")).unwrap();
    let shown: Vec<_> = sets.iter().map(|s| (s.name.as_str(), &s.shape[..], s.dtype.as_str())).collect();
    assert_eq!(
        shown,
        [("query_ids", &[2][..], "str"), ("db_ids", &[4], "str"), ("sims", &[2, 4], "f32"), ("ranks", &[2, 4], "i64")]
    );
    assert_eq!(pickle::describe(&folder().join("fortran_p5.pkl")).unwrap()[0].layout, "Fortran order");
    assert_eq!(pickle::describe(&folder().join("axes.pkl")).unwrap()[0].shape, [4, 2, 3]);
    let e = pickle::open(&folder().join("axes.pkl"), None, Role::Base).map(|_| ()).unwrap_err().to_string();
    assert!(e.contains("no n x d table of numbers"), "{e}");
}

#[test]
fn nothing_is_run() {
    let dir = tempfile::tempdir().unwrap();
    std::env::set_current_dir(dir.path()).unwrap();
    for p in 0..=5 {
        let e = pickle::describe(&folder().join(format!("code_p{p}.pkl"))).unwrap_err().to_string();
        assert!(e.contains("refers to posix.system, which voisin does not run"), "{e}");
    }
    let e = pickle::describe(&folder().join("eval.pkl")).unwrap_err().to_string();
    assert!(e.contains("builtins.eval"), "{e}");
    let e = pickle::describe(&folder().join("class.pkl")).unwrap_err().to_string();
    assert!(e.contains("collections.Counter"), "{e}");
    assert!(error(b"cos\nsystem\n(S'touch executed'\ntR.").contains("os.system"));
    assert!(error(b"(ios\nsystem\n.").contains("os.system"));
    assert!(error(b"(cos\nsystem\nS'x'\no.").contains("os.system"));
    assert!(!Path::new("executed").exists());
    let e = pickle::describe(&folder().join("out_of_band.pkl")).unwrap_err().to_string();
    assert!(e.contains("out-of-band"), "{e}");
}

#[test]
fn lengths_are_checked_before_anything_is_allocated() {
    let huge = (1u64 << 60).to_le_bytes();
    for op in [0x8d, 0x8e, 0x96, 0x95] {
        assert!(error(&[&[0x80, 4, op], &huge[..], b"abc."].concat()).contains("truncated"));
    }
    for op in [b'X', b'B', b'T'] {
        assert!(error(&[&[0x80, 2, op], &[0xff; 4][..], b"abc."].concat()).contains("truncated"));
    }
    assert!(error(b"\x80\x02\x8b\xff\xff\xff\x7fabc.").contains("truncated"));
    assert!(error(b"\x80\x02\x8b\xff\xff\xff\xffabc.").contains("negative"));
    // an array that claims more than there is: the shape of array_p4 made larger
    let mut bytes = std::fs::read(folder().join("array_p4.pkl")).unwrap();
    let at = bytes.windows(5).position(|w| w == b"K\x04K\x03\x86").unwrap();
    bytes[at + 1] = 200;
    assert!(error(&bytes).contains("shape [200, 3] where 12 f32 elements are stored"));
}

#[test]
fn sharing_does_not_multiply() {
    // a list of two references to a list of two references to ...: 2^60 leaves in a few hundred bytes
    let mut bomb = b"\x80\x02]q\x00(K\x01K\x02e0".to_vec();
    for i in 0..60u8 {
        bomb.extend([b']', b'q', i + 1, b'(', b'h', i, b'h', i, b'e', b'0']);
    }
    bomb.extend(b"h\x3c.");
    let dir = tempfile::tempdir().unwrap();
    exercise(&bomb, dir.path());
    // one row of 200 numbers, referred to 200 times
    let mut rows = b"\x80\x02]q\x00(".to_vec();
    rows.extend([b'K', 1].repeat(200));
    rows.extend(b"e](");
    rows.extend([b'h', 0].repeat(200));
    rows.extend(b"e.");
    assert!(error(&rows).contains("200 vectors of 200 dimensions in a file of"));
    // one string encoded again and again
    let mut encode = b"\x80\x02c_codecs\nencode\nq\x00X\x00\x10\x00\x00".to_vec();
    encode.extend([b'a'; 4096]);
    encode.extend(b"q\x01X\x06\x00\x00\x00latin1q\x02](");
    encode.extend(b"h\x00h\x01h\x02\x86R".repeat(2000));
    encode.extend(b"e.");
    assert!(error(&encode).contains("several times the size of the file"));
    // a list that holds itself, a dict that holds itself
    exercise(b"\x80\x02]q\x00h\x00a.", dir.path());
    exercise(b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.", dir.path());
    // deep nesting without memo
    exercise(&[&b"]".repeat(100_000)[..], &b"a".repeat(99_999), b"."].concat(), dir.path());
}

#[test]
fn every_truncation_and_flip_is_survived() {
    let dir = tempfile::tempdir().unwrap();
    let files = ["array_p0", "array_p2", "array_p5", "by_name_p1", "by_name_p4", "with_ids_u_p5", "scalars_p2", "pairs"];
    for file in files {
        let bytes = std::fs::read(folder().join(format!("{file}.pkl"))).unwrap();
        for n in 0..bytes.len() {
            exercise(&bytes[..n], dir.path());
        }
        for i in 0..bytes.len() {
            for flip in [0x01, 0xff] {
                let mut b = bytes.clone();
                b[i] ^= flip;
                exercise(&b, dir.path());
            }
        }
    }
    for op in 0..=255u8 {
        exercise(&[op], dir.path());
        exercise(&[b'(', op, b'.'], dir.path());
        exercise(&[b'(', b'K', 1, b'K', 2, op, b'.'], dir.path());
        exercise(&[b']', b'}', b')', op, op, b'.'], dir.path());
    }
}
