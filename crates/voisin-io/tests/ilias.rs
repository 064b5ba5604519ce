//! Files of ILIAS: similarities, lists of ids, layers; damaged ones are errors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use voisin::{Neighbors, StringIds, Vectors};
use voisin_io::ilias::{Retrieved, read_lists, read_similarities, read_similarities_file, shards, write_json, write_pickle};
use voisin_io::{InFile, Tensor, read_layer, read_relevant_file, write_state};

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data")
}

fn names(all: &[&str]) -> StringIds {
    all.iter().collect()
}

/// Three queries, of which one was left out; "b" stands in two rows of the base.
fn found() -> (Neighbors, StringIds, Vec<u64>, StringIds) {
    let mut n = Neighbors::new(3);
    n.push_row([(0.5, 9), (0.25, 4), (-1e-7, 7)]);
    n.push_row([]);
    n.push_row([(1.0, 4), (0.75, 9), (0.5, 2)]);
    (n, names(&["q \"1\"", "skipped", "ü\u{1f600}"]), vec![2, 4, 7, 9], names(&["a", "b", "c\\", "b"]))
}

#[test]
fn what_is_written_is_read_again() {
    let dir = tempfile::tempdir().unwrap();
    let (neighbors, queries, rows, ids) = found();
    let all = Retrieved { queries: &queries, neighbors: &neighbors, rows: &rows, names: &ids };
    let (json, pickle) = (dir.path().join("s.json"), dir.path().join("s.pkl"));
    write_json(&json, &all).unwrap();
    write_pickle(&pickle, &all).unwrap();
    let text = std::fs::read_to_string(&json).unwrap();
    let want = "{\n    \"q \\\"1\\\"\": {\n        \"b\": 0.5,\n        \"c\\\\\": -1.0000000116860974e-07\n    },\n    \"\\u00fc\\ud83d\\ude00\": \
                {\n        \"b\": 1.0,\n        \"a\": 0.5\n    }\n}";
    assert_eq!(text, want); // an object names an item once: the best of its rows
    let read = read_similarities(&json).unwrap();
    assert_eq!((read.queries, read.items), (names(&["q \"1\"", "ü\u{1f600}"]), names(&["b", "c\\", "a"])));
    assert_eq!(read.rows[1], [(0, 1.0), (2, 0.5)]);
    let read = read_similarities(&pickle).unwrap();
    assert_eq!((read.queries.len(), read.items), (2, ids.clone()));
    assert_eq!(read.rows[0], [(3, 0.5), (1, 0.25), (2, f64::from(-1e-7f32))]);
    // a table of rows of different length is no table
    let mut uneven = Neighbors::new(2);
    uneven.push_row([(0.5, 2), (0.4, 4)]);
    uneven.push_row([(0.5, 2)]);
    uneven.push_row([(0.5, 2), (0.4, 4)]);
    let error = write_pickle(&pickle, &Retrieved { neighbors: &uneven, ..all }).unwrap_err().to_string();
    assert!(error.contains("query skipped has 1 items, others 2"), "{error}");
}

#[test]
fn pickles_of_python_are_read_under_both_names() {
    // arrays of strings of fixed width and `sims`; arrays of objects and `similarities`
    let read = |name: &str| read_similarities(&data().join("ilias").join(name)).unwrap();
    let (a, b) = (read("sims.pkl"), read("similarities.pkl"));
    assert!(a == b && a.queries.len() == 13 && a.rows.iter().all(|r| r.len() == 5));
    assert_eq!(a.queries.get(1), "object-01/query/Q0.jpg");
    assert!(a.items.iter().all(|id| id.contains('/')) && a.rows.iter().all(|r| r.windows(2).all(|w| w[0].1 >= w[1].1)));
    let error = read_similarities(&data().join("pickle/ilias.pkl")).unwrap_err().to_string();
    assert!(error.contains("query q2: rank 4 is no place in the 4 db_ids"), "{error}");
}

#[test]
fn damaged_files_are_errors() {
    let (neighbors, queries, rows, ids) = found();
    let all = Retrieved { queries: &queries, neighbors: &neighbors, rows: &rows, names: &ids };
    let dir = tempfile::tempdir().unwrap();
    for name in ["s.json", "s.pkl"] {
        let path = dir.path().join(name);
        if name == "s.json" { write_json(&path, &all) } else { write_pickle(&path, &all) }.unwrap();
        let whole = std::fs::read(&path).unwrap();
        let read = |bytes: Vec<u8>| read_similarities_file(Arc::new(InFile::from_bytes(&path, bytes)));
        for at in 1..whole.len() {
            assert!(read(whole[..at].to_vec()).is_err(), "{name} cut at {at}");
            for bit in [0, 3, 7] {
                let mut flipped = whole.clone();
                flipped[at] ^= 1 << bit;
                let _ = read(flipped); // other numbers or an error, no panic
            }
        }
    }
    let read = |text: &str| read_similarities_file(Arc::new(InFile::from_bytes(Path::new("s.json"), text.into())));
    for bad in [r#"{"q": {"a": 1e999}}"#, r#"{"q": {"a": NaN}}"#, r#"{"q": [1]}"#, r#"{"q": {}} x"#, "{"] {
        assert!(read(bad).is_err(), "{bad}");
    }
    assert_eq!(read(r#"{"q": {"a": 1}, "q": {"a": 2}}"#).unwrap().rows, [[(0, 2.0)]]); // as Python has it
    let relevant = |text: &str| read_relevant_file(&InFile::from_bytes(Path::new("gt.json"), text.into()));
    for bad in ["[]", "{}", r#"{"q": 1}"#, r#"{"q": {"a": -1}}"#, r#"{"q": ["a"]"#] {
        assert!(relevant(bad).is_err(), "{bad}");
    }
    assert!(relevant(r#"{"q": ["a", 3], "r": {"a": 0.5}}"#).is_ok());
}

#[test]
fn lists_name_their_line() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("image_ids")).unwrap();
    let list = |name: &str, text: &str| std::fs::write(dir.path().join("image_ids").join(name), text).unwrap();
    list("image_query_ids.txt", "a,x/query/1.jpg,0.5\n");
    list("text_query_ids.txt", "b/text\n\n");
    let error = |positives: &str| {
        list("positive_ids.txt", positives);
        read_lists(dir.path(), None).err().unwrap().to_string()
    };
    assert!(error("b/1,0.5,3\nb/2,0.5\n").contains("line 2: id,scale,clutter is expected"));
    assert!(error("b/1,-0.5,3\n").contains("line 1"));
    assert!(error("c/1,0.5,3\n").contains("c/1: a positive whose instance has no query"));
    assert!(error("").contains("no ids in positive_ids.txt"));
    list("positive_ids.txt", "b/1,0.5,3\n");
    let lists = read_lists(dir.path(), None).unwrap();
    let queries: usize = lists.queries.iter().map(|list| list.len()).sum();
    assert_eq!((queries, lists.positives, lists.taxonomy, lists.instances.len()), (2, 1, false, 2));
    let taxonomy = dir.path().join("taxonomy.json");
    std::fs::write(&taxonomy, "{\"kind\": [\"b\"]}").unwrap();
    assert!(read_lists(dir.path(), None).err().unwrap().to_string().contains("taxonomy.json"));
    assert!(read_lists(dir.path(), Some(Path::new("nowhere.json"))).is_err());
}

#[test]
fn layers_are_one_linear_layer() {
    let dir = tempfile::tempdir().unwrap();
    let tensor = |shape: &[usize]| Tensor { shape: shape.to_vec(), data: vec![1.0; shape.iter().product()] };
    let read = |state: &[(&str, &[usize])]| {
        let path = dir.path().join("layer.safetensors");
        let state: Vec<(String, Tensor)> = state.iter().map(|(name, shape)| (name.to_string(), tensor(shape))).collect();
        write_state(&path, &state).unwrap();
        read_layer(&path)
    };
    let layer = read(&[("layer.weight", &[2, 3]), ("layer.bias", &[2])]).unwrap();
    assert_eq!((layer.d_in(), layer.d_out()), (3, 2));
    let y = layer.apply(Vectors::new(&[1.0, 2.0, 3.0], 3));
    assert!(y.row(0).iter().all(|y| (y - 0.5f32.sqrt()).abs() < 1e-6));
    assert!(read(&[("weight", &[2, 3]), ("scale", &[1])]).is_ok());
    let refused = |state: &[(&str, &[usize])], what: &str| {
        let error = read(state).unwrap_err().to_string();
        assert!(error.contains("layer.safetensors") && error.contains(what), "{error}");
    };
    refused(&[("a.weight", &[2, 3]), ("b.weight", &[2, 3])], "one linear layer");
    refused(&[("weights", &[2, 3])], "one linear layer");
    refused(&[("weight", &[2, 3, 1])], "[out, in]");
    refused(&[("weight", &[2, 3]), ("bias", &[3])], "a bias of [out]");
}

#[test]
fn shards_are_counted_from_zero() {
    let dir = tempfile::tempdir().unwrap();
    let template = dir.path().join("d_{idx}.h5").display().to_string();
    for i in [0, 1, 3] {
        std::fs::write(dir.path().join(format!("d_{i:05}.h5")), b"x").unwrap();
    }
    assert_eq!(shards(&template, 2).unwrap().len(), 2);
    let error = shards(&template, 4).unwrap_err().to_string();
    assert!(error.contains("d_00002.h5: this shard is missing") && error.contains("d_00000.h5 to d_00003.h5"), "{error}");
    assert!(shards(&template, 0).unwrap_err().is_usage() && shards("one.h5", 2).unwrap_err().is_usage());
    assert_eq!(shards("one.h5", 1).unwrap(), [PathBuf::from("one.h5")]);
}
