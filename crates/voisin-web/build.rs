//! Puts every file of `static/` into the binary: writes the table that `src/server/page.rs` includes.

use std::fmt::Write;
use std::path::Path;

fn main() {
    println!("cargo:rerun-if-changed=static");
    let root = std::env::var("CARGO_MANIFEST_DIR").expect("cargo sets it");
    let out = std::env::var("OUT_DIR").expect("cargo sets it");
    let mut files = Vec::new();
    below(&Path::new(&root).join("static"), "", &mut files);
    files.sort();
    let mut table = String::from("[\n");
    for (name, path) in files {
        let _ = writeln!(table, "    ({name:?}, include_bytes!({path:?}).as_slice()),");
    }
    table.push_str("]\n");
    std::fs::write(Path::new(&out).join("files.rs"), table).expect("the output folder can be written");
}

fn below(folder: &Path, before: &str, files: &mut Vec<(String, String)>) {
    for entry in std::fs::read_dir(folder).expect("static/ can be read") {
        let entry = entry.expect("an entry");
        let name = format!("{before}{}", entry.file_name().to_str().expect("a name in UTF-8"));
        if entry.path().is_dir() {
            below(&entry.path(), &format!("{name}/"), files);
        } else {
            files.push((name, entry.path().to_str().expect("a path in UTF-8").to_string()));
        }
    }
}
