//! Names, labels and texts in files of their own, as Python wrote them.

use std::path::Path;
use voisin_io::{StringRole, read_strings};

fn data(file: &str) -> String {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data/names").join(file).display().to_string()
}

fn expected() -> serde_json::Value {
    serde_json::from_slice(&std::fs::read(data("expected.json")).unwrap()).unwrap()
}

fn list(v: &serde_json::Value) -> Vec<String> {
    v.as_array().unwrap().iter().map(|s| s.as_str().unwrap().to_owned()).collect()
}

/// The strings in the order of the rows.
fn read(file: &str, role: StringRole) -> Vec<String> {
    let found = read_strings(&data(file), role, 400).unwrap_or_else(|e| panic!("{file}: {e}"));
    let values: Vec<String> = found.values.iter().map(str::to_owned).collect();
    let Some(keys) = found.keys else { return values };
    let mut all = vec![String::new(); values.len()];
    keys.iter().zip(values).for_each(|(k, v)| all[k.parse::<usize>().unwrap()] = v);
    all
}

#[test]
fn names_of_every_kind() {
    let files = list(&expected()["files"]);
    let unix: Vec<String> = files.iter().map(|f| format!("/home/ana/datasets/caltech/{f}")).collect();
    let names = [
        "paths.pkl",
        "paths_array.pkl",
        "paths_objects.pkl",
        "paths_of_rows.pkl",
        "rows_of_paths.pkl",
        "both.pkl",
        "both.pkl::filenames",
        "paths.npy",
        "paths.txt",
        "table.csv",
        "table.csv::path",
        "strings.h5",
        "strings.h5::paths",
    ];
    for file in names {
        assert_eq!(read(file, StringRole::Names), unix, "{file}");
    }
    let windows = read("paths_windows.txt", StringRole::Names);
    assert_eq!(windows[7], format!(r"C:\data\caltech\{}", files[7].replace('/', r"\")));
}

#[test]
fn labels_and_texts() {
    let labels = list(&expected()["labels"]);
    for file in ["labels.json", "table.csv"] {
        assert_eq!(read(file, StringRole::Labels), labels, "{file}");
    }
    let numbers: Vec<String> =
        labels.iter().map(|l| ["airplanes", "bonsai", "cup", "ewer"].iter().position(|c| c == l).unwrap().to_string()).collect();
    for file in ["labels.pkl", "labels.npy", "strings.h5", "both.pkl"] {
        assert_eq!(read(file, StringRole::Labels), numbers, "{file}");
    }
    let texts = list(&expected()["texts"]);
    for file in ["texts.csv", "table.csv", "strings.h5::group/texts"] {
        assert_eq!(read(file, StringRole::Texts), texts, "{file}");
    }
}

#[test]
fn what_holds_no_strings_is_refused() {
    let error = |file: &str, role| read_strings(file, role, 400).unwrap_err().to_string();
    assert!(
        error(&data("table.csv::colour"), StringRole::Names).contains("no column `colour` among: id, path, class, width, text")
    );
    let e = error(&data("strings.h5::x"), StringRole::Names);
    assert!(
        e.contains("no data set `x` among:") && ["group/texts", "labels", "paths"].iter().all(|name| e.contains(name)),
        "{e}"
    );
    assert!(error(&data("both.pkl::x"), StringRole::Names).contains("no entry `x`"));
    assert!(error(&data("both.pkl"), StringRole::Texts).contains("no entry `text` among: filenames, classes"));
    let faiss = |f: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/data").join(f).display().to_string();
    assert!(error(&faiss("faiss/base.npy"), StringRole::Names).contains("400 x 16 numbers where a list is expected"));
    assert!(error(&faiss("pickle/array_p4.pkl"), StringRole::Names).contains("whole numbers"));
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(dir.path().join(name), bytes).unwrap();
        dir.path().join(name).display().to_string()
    };
    assert!(error(&write("uneven.csv", b"a,b\nc\n"), StringRole::Names).contains("line 2 has 1 fields, where the first has 2"));
    assert!(error(&write("two.csv", b"a,b\nc,d\n"), StringRole::Names).contains("no column `name or names` among: a, b"));
    assert!(error(&write("latin.txt", b"caf\xe9\n"), StringRole::Names).contains("no UTF-8 at byte 3"));
    assert!(error(&write("x.json", b"[1, {}]"), StringRole::Names).contains("where a string is expected"));
    assert!(
        error(&write("half.npy", &std::fs::read(data("paths.npy")).unwrap()[..5000]), StringRole::Names).contains("truncated")
    );
    assert!(error(&data("missing.txt"), StringRole::Names).contains("missing.txt"));
}
