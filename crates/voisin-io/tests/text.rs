//! Text as numpy.savetxt and Python's csv module write it (tests/data/make_text.py) is read to the same values and names.

mod common;

use serde_json::Value;
use voisin::{Matrix, MemSource, Quiet, Source, StringIds};
use voisin_io::{Role, WriteOptions, describe, open, text};

fn all(source: &dyn Source) -> Vec<f32> {
    let mut out = vec![7.0; source.len() as usize * source.dim()];
    source.read(0, &mut out).unwrap();
    out
}

fn bits(x: &[f32]) -> Vec<u32> {
    x.iter().map(|x| x.to_bits()).collect()
}

#[test]
fn every_file_reads_as_the_reference_reads_it() {
    let text = std::fs::read_to_string(common::data("text/expected.json")).unwrap();
    for (name, e) in serde_json::from_str::<Value>(&text).unwrap().as_object().unwrap() {
        let source = open(&common::data("text").join(name).display().to_string(), Role::Base).unwrap();
        let values: Vec<f32> = e["values"].as_array().unwrap().iter().map(|x| x.as_f64().unwrap() as f32).collect();
        assert_eq!(e["shape"][0].as_u64(), Some(source.len()), "{name}");
        assert_eq!(e["shape"][1].as_u64(), Some(source.dim() as u64), "{name}");
        assert_eq!(bits(&all(&*source)), bits(&values), "{name}");
        let ids: Option<Vec<&str>> = e["ids"].as_array().map(|a| a.iter().map(|x| x.as_str().unwrap()).collect());
        let found = source.ids().unwrap();
        assert_eq!(found.as_ref().map(|f| f.iter().collect::<Vec<_>>()), ids, "{name}");
    }
    let (format, sets) = describe(&common::data("text/names.csv")).unwrap();
    assert_eq!((format.key(), sets[0].layout.as_str()), ("text", "comma separated, header line, name column"));
}

fn file(content: &[u8]) -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("x.csv");
    std::fs::write(&path, content).unwrap();
    (dir, path.display().to_string())
}

fn fault(content: &[u8]) -> String {
    let (_dir, path) = file(content);
    let read = open(&path, Role::Base).and_then(|s| s.read(0, &mut vec![0.0; s.len() as usize * s.dim()]));
    read.map_or_else(|e| e.to_string(), |()| "no fault".into())
}

#[test]
fn faults_name_line_and_column() {
    for (content, what) in [
        (&b"1,2\n3,4\n5\n"[..], "x.csv: line 3: 1 values where the first row has 2"),
        (b"# note\n\n1,2\n3,4,5\n", "line 4: 3 values where the first row has 2"),
        (b"a,1,2\nb,3,x4\n", "line 2, column 3: \"x4\" is not a number"),
        (b"1,2\n3,\n", "line 2: 1 values"),
        (b"1,2,3\n3,,4\n", "line 2, column 2: an empty field"),
        (b"x,y\n1,2\n3,4\n\x00\x01,2\n", "line 4, column 1: \"\\0\\u{1}\" is not a number"),
        (b"alpha\nbeta\n", "line 2, column 1: \"beta\" is not a number"),
        (b"# only a comment\n", "no vectors in it"),
        (b"\n\n  \n", "no vectors in it"),
        (b"[1,2]\n[3,4]\n", "is not a number"),
    ] {
        let e = fault(content);
        assert!(e.contains(what), "{:?}: {e}", String::from_utf8_lossy(content));
    }
}

/// Many lines, longer than any buffer, with comments in between: rows are found from anywhere.
#[test]
fn rows_are_found_by_position() {
    let mut content = String::from("id,a,b,c\n");
    for i in 0..60_000 {
        if i % 97 == 0 {
            content += "# between\n\n";
        }
        content += &format!("n{i},{i},{},0.5\n", i as f32 / 8.0);
    }
    let (_dir, path) = file(content.as_bytes());
    let source = open(&path, Role::Base).unwrap();
    assert_eq!((source.len(), source.dim()), (60_000, 3));
    let want: Vec<f32> = (0..60_000).flat_map(|i| [i as f32, i as f32 / 8.0, 0.5]).collect();
    assert_eq!(all(&*source), want);
    for (start, rows) in [(0, 1), (59_999, 1), (12_345, 20_000), (31_000, 3), (5, 0)] {
        let mut out = vec![0.0; rows * 3];
        source.read(start, &mut out).unwrap();
        assert_eq!(out, want[start as usize * 3..][..rows * 3]);
    }
    let ids = source.ids().unwrap().unwrap();
    assert_eq!((ids.len(), ids.get(59_999)), (60_000, "n59999"));
    let bad = content.replace("n40000,40000", "n40000,4000o").replace("n50000,50000", "n50000,");
    assert!(fault(bad.as_bytes()).contains("column 2: \"4000o\" is not a number"), "the first fault is named");
}

/// A row longer than every buffer, without an end of line.
#[test]
fn a_long_row() {
    let row: Vec<String> = (0..200_000).map(|i| (i % 977).to_string()).collect();
    let (_dir, path) = file(row.join(",").as_bytes());
    let source = open(&path, Role::Base).unwrap();
    assert_eq!((source.len(), source.dim()), (1, 200_000));
    assert!(all(&*source).iter().enumerate().all(|(i, &x)| x == (i % 977) as f32));
}

#[test]
fn what_is_written_reads_back_with_names() {
    let values = vec![1e-40, -0.0, 3.0, f32::MAX, 0.1, -2.5e-7, 123456789.0, 1e9, f32::MIN_POSITIVE, 16777216.0, -7.0, 0.0];
    let names: StringIds = ["plain", "", "a,\"b\"", "#4"].into_iter().collect();
    let dir = tempfile::tempdir().unwrap();
    for name in ["x.csv", "x.tsv", "x.txt"] {
        for ids in [None, Some(names.clone()), Some(["1", "2", "3", "4"].into_iter().collect())] {
            if name == "x.txt" && ids.as_ref() == Some(&names) {
                continue; // spaces cannot hold an empty name
            }
            let source = MemSource::new("mem", Matrix::new(values.clone(), 3)).with_ids(ids.clone());
            let path = dir.path().join(name);
            text::write(&path, &source, &WriteOptions::default(), &Quiet).unwrap();
            let back = open(&path.display().to_string(), Role::Base).unwrap();
            assert_eq!(bits(&all(&*back)), bits(&values), "{name}");
            assert_eq!(back.ids().unwrap(), ids, "{name}");
        }
    }
}

#[test]
fn flipped_bytes_never_panic() {
    let dir = common::quick_dir();
    let path = dir.path().join("x.csv");
    for name in ["names.csv", "messy.txt", "words.vec", "crlf.csv"] {
        let whole = std::fs::read(common::data("text").join(name)).unwrap();
        for at in 0..whole.len() {
            for flip in [0x01, 0x0f, 0x80, whole[at] ^ b'\n', whole[at] ^ b'"'] {
                let mut bytes = whole.clone();
                bytes[at] ^= flip;
                std::fs::write(&path, &bytes).unwrap();
                if let Ok(s) = open(&path.display().to_string(), Role::Base) {
                    let _ = s.read(0, &mut vec![0.0; s.len() as usize * s.dim()]);
                    let _ = s.ids();
                }
            }
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig { cases: 64, ..Default::default() })]

    /// Every finite f32 survives being written as text.
    #[test]
    fn any_value_survives(values in proptest::collection::vec(proptest::num::f32::NORMAL | proptest::num::f32::SUBNORMAL
        | proptest::num::f32::ZERO, 4..80), d in 1usize..4) {
        let values = &values[..values.len() / d * d];
        let dir = common::quick_dir();
        let path = dir.path().join("x.csv");
        text::write(&path, &MemSource::new("mem", Matrix::new(values.to_vec(), d)), &WriteOptions::default(), &Quiet).unwrap();
        let back = all(&*open(&path.display().to_string(), Role::Base).unwrap());
        proptest::prop_assert_eq!(bits(&back), bits(values));
    }
}
