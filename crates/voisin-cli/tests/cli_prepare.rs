//! `exact --prepare`: codes beside a base change no result, and are refused where they could.

mod run;

use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use run::{Folder, bad, command, fvecs, good, json, rows};

const D: usize = 40;

fn case(dir: &Folder) -> (String, String) {
    let base = dir.write("base.fvecs", fvecs(&rows(12_000, D, 1), D));
    (base, dir.write("q.fvecs", fvecs(&rows(50, D, 2), D)))
}

#[test]
fn codes_are_found_and_change_nothing_on_any_instruction_set() {
    let dir = Folder::new();
    let (base, queries) = case(&dir);
    let codes = dir.file("base.fvecs.codes8");
    for metric in ["l2", "ip", "cosine"] {
        let search = |out: &str, isa: &str, more: &[&str]| {
            let out = dir.file(out);
            let args = ["exact", "--base", &base, "--queries", &queries, "--metric", metric, "-k", "12", "-o", &out];
            let args = [&args[..], more].concat();
            assert!(command(&args).env("VOISIN_ISA", isa).stdout(Stdio::null()).status().unwrap().success());
            std::fs::read(out).unwrap()
        };
        let want = search("plain.npz", "", &[]);
        let v = json(&["exact", "--prepare", "--base", &base, "--metric", metric]);
        assert_eq!((v["out"].as_str(), v["n"].as_u64()), (Some(&codes[..]), Some(12_000)));
        assert_eq!(v["bytes"].as_u64(), Some(std::fs::metadata(&codes).unwrap().len()));
        let first = std::fs::read(&codes).unwrap();
        for isa in ["portable", "v3", "v4"] {
            assert!(search("coded.npz", isa, &[]) == want, "{metric}, {isa}");
            assert!(search("coded.npz", isa, &["--threads", "1"]) == want, "{metric}, {isa}, one thread");
            std::fs::remove_file(&codes).unwrap();
            assert!(search("coded.npz", isa, &[]) == want, "{metric}, {isa}, without codes");
            let args = ["exact", "--prepare", "--base", &base, "--metric", metric];
            assert!(command(&args).env("VOISIN_ISA", isa).stdout(Stdio::null()).status().unwrap().success());
        }
        std::fs::write(&codes, first).unwrap();
        let v = json(&["exact", "--base", &base, "--queries", &queries, "--metric", metric]);
        assert_eq!(v["codes"].as_str(), Some(&codes[..]));
        // for another metric they are passed over, unless they were named
        let other = if metric == "l2" { "ip" } else { "l2" };
        let asked = ["exact", "--base", &base, "--queries", &queries, "--metric", other];
        assert!(json(&asked)["codes"].is_null());
        let error = bad(&[&asked[..], &["--codes", &codes]].concat(), 1);
        assert!(error.contains(&format!("codes for {metric} where {other} is asked for")), "{error}");
    }
}

#[test]
fn stale_and_damaged_codes_are_refused() {
    let dir = Folder::new();
    let (base, queries) = case(&dir);
    let codes = dir.file("base.fvecs.codes8");
    good(&["exact", "--prepare", "--base", &base]);
    let search = ["exact", "--base", &base, "--queries", &queries];
    let whole = std::fs::read(&codes).unwrap();
    let refused = |what: &str| {
        let error = bad(&search, 1);
        assert!(error.contains("base.fvecs.codes8") && error.contains(what), "{error}");
        assert!(error.contains("prepare the codes anew, or remove the file") || error.contains("no file of codes"), "{error}");
        assert!(error.contains("hint: `voisin exact --prepare`"), "{error}");
    };
    std::fs::write(&codes, &whole[..whole.len() - 5]).unwrap();
    refused("damaged");
    let mut flipped = whole.clone();
    flipped[100_000] ^= 1;
    std::fs::write(&codes, &flipped).unwrap();
    refused("damaged: the codes of rows");
    std::fs::write(&codes, b"something else").unwrap();
    refused("no file of codes");
    std::fs::write(&codes, &whole).unwrap();
    let mut values = rows(12_000, D, 1);
    values[5] += 1.0;
    std::thread::sleep(Duration::from_millis(20)); // a clock that ticks slowly
    dir.write("base.fvecs", fvecs(&values, D));
    refused("stale codes");
    let shorter = fvecs(&values[..11_000 * D], D);
    dir.write("base.fvecs", shorter);
    refused("stale codes: of 12000 x 40 values");
    std::fs::remove_file(&codes).unwrap();
    good(&search);
}

#[test]
fn many_files_are_one_base() {
    let dir = Folder::new();
    let values = rows(9000, D, 1);
    let (one, two) = values.split_at(4000 * D);
    let files = [dir.write("b0.fvecs", fvecs(one, D)), dir.write("b1.fvecs", fvecs(two, D))];
    let queries = dir.write("q.fvecs", fvecs(&rows(20, D, 2), D));
    let (plain, coded) = (dir.file("plain.npz"), dir.file("coded.npz"));
    let pattern = dir.file("b*.fvecs");
    good(&["exact", "--base", &pattern, "--queries", &queries, "-o", &plain]);
    good(&["exact", "--prepare", "--base", &pattern]);
    assert!(dir.list().contains(&"b0.fvecs.and1.codes8".to_string()), "{:?}", dir.list());
    let v = json(&["exact", "--base", &files[0], &files[1], "--queries", &queries, "-o", &coded]);
    assert!(v["codes"].is_string());
    assert!(std::fs::read(plain).unwrap() == std::fs::read(coded).unwrap());
}

#[test]
fn bad_rows_are_skipped_and_memory_is_limited() {
    let dir = Folder::new();
    let mut values = rows(60_000, 96, 1);
    values[96 * 700 + 5] = f32::NAN;
    let base = dir.write("base.fvecs", fvecs(&values, 96));
    let queries = dir.write("q.fvecs", fvecs(&rows(200, 96, 2), 96));
    let error = bad(&["exact", "--prepare", "--base", &base], 1);
    assert!(error.contains("row 700: a value is NaN"), "{error}");
    let (plain, coded) = (dir.file("plain.npz"), dir.file("coded.npz"));
    let search = ["exact", "--base", &base, "--queries", &queries, "--on-bad", "skip", "--memory-limit", "48M", "-o"];
    good(&[&search[..], &[&plain]].concat());
    let v = json(&["exact", "--prepare", "--base", &base, "--on-bad", "skip", "--memory-limit", "48M"]);
    assert_eq!(v["skipped"].as_u64(), Some(1));
    let peak = |v: &serde_json::Value| v["peak_rss_bytes"].as_u64().unwrap();
    assert!(peak(&v) < 51 << 20, "{v}");
    let v = json(&[&search[..], &[&coded]].concat());
    assert!(v["codes"].is_string() && peak(&v) < 51 << 20, "{v}");
    assert!(std::fs::read(plain).unwrap() == std::fs::read(coded).unwrap());
    bad(&["exact", "--prepare", "--base", &base, "--on-bad", "skip", "--memory-limit", "1M"], 1);
}

#[test]
fn killed_midway_leaves_what_was_there() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(60_000, 96, 1), 96));
    let codes = dir.file("base.fvecs.codes8");
    let prepare = ["exact", "--prepare", "--base", &base, "--threads", "1", "--memory-limit", "48M"];
    good(&prepare);
    let whole = std::fs::read(&codes).unwrap();
    for i in 0..6 {
        if i % 2 == 1 {
            let _ = std::fs::remove_file(&codes);
        }
        let mut child = command(&prepare).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        std::thread::sleep(Duration::from_millis(4 << i));
        let _ = child.kill();
        child.wait().unwrap();
        assert!(!Path::new(&codes).exists() || std::fs::read(&codes).unwrap() == whole, "whole or not there");
    }
    good(&prepare);
    assert!(std::fs::read(&codes).unwrap() == whole);
    assert_eq!(dir.list(), ["base.fvecs", "base.fvecs.codes8"], "nothing is left over");
}

#[test]
fn wrong_calls_say_so() {
    let dir = Folder::new();
    let (base, queries) = case(&dir);
    bad(&["exact", "--prepare", "--base", &base, "--queries", &queries], 2);
    bad(&["exact", "--base", &base], 2);
    bad(&["exact", "--prepare", "--base", &base, "-o", &dir.file("missing/codes8")], 1);
    bad(&["exact", "--prepare", "--base", &base, "-o", &base], 2);
    bad(&["exact", "--base", &base, "--queries", &queries, "--codes", &dir.file("none")], 1);
    let named = dir.file("named");
    good(&["exact", "--prepare", "--base", &base, "-o", &named]);
    assert_eq!(json(&["exact", "--base", &base, "--queries", &queries, "--codes", &named])["codes"].as_str(), Some(&named[..]));
}
