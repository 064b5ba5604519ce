//! Killed at any moment and started again: the same bytes as undisturbed, and what was there before is still there.

mod run;

use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use run::{Folder, command, fvecs, good, json, rows, tree};

fn start(args: &[&str]) -> Child {
    command(args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts")
}

/// Waits until `seen` or the end of the child; whether it was seen while the child ran.
fn while_running(child: &mut Child, seen: impl Fn() -> bool) -> bool {
    let clock = Instant::now();
    while clock.elapsed() < Duration::from_secs(120) {
        if child.try_wait().expect("a child").is_some() {
            return false;
        }
        if seen() {
            return true;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    panic!("neither seen nor over after two minutes");
}

#[test]
fn exact_goes_on_where_it_was_killed() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(60_000, 96, 1), 96));
    let queries = dir.write("q.fvecs", fvecs(&rows(2_000, 96, 2), 96));
    let (whole, cut) = (dir.file("whole.h5"), dir.file("cut.h5"));
    // small blocks and one thread: long enough for a checkpoint
    let args = ["exact", "--base", &base, "--queries", &queries, "-k", "20", "--threads", "1", "--memory-limit", "64M", "-o"];
    good(&[&args[..], &[&whole]].concat());
    let checkpoint = dir.file("cut.h5.part");
    let mut child = start(&[&args[..], &[&cut]].concat());
    let killed = while_running(&mut child, || Path::new(&checkpoint).exists());
    child.kill().expect("it can be killed");
    child.wait().expect("it ends");
    if killed {
        assert!(!Path::new(&cut).exists(), "no result before the end");
        let v = json(&[&args[..], &[&cut]].concat());
        assert!(v["resumed"].as_u64().is_some_and(|r| r > 0 && r < 60_000), "{v}");
    } else {
        eprintln!("skipped: too fast here to be killed midway");
    }
    assert_eq!(std::fs::read(&whole).unwrap(), std::fs::read(&cut).unwrap());
    assert_eq!(dir.list(), ["base.fvecs", "cut.h5", "q.fvecs", "whole.h5"], "nothing is left over");
}

#[test]
fn build_goes_on_where_it_was_killed() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(30_000, 48, 1), 48));
    let queries = dir.write("q.fvecs", fvecs(&rows(20, 48, 2), 48));
    let build = |out: &str, spec: &'static str| {
        let base = base.clone();
        let more = ["--epochs", "1", "--niter", "4", "--memory-limit", "60M"];
        let mut args = vec!["build".into(), "--base".into(), base, "--index".into(), spec.into(), "-o".into(), out.to_string()];
        args.extend(more.map(String::from));
        args
    };
    for spec in ["IVF64,Flat", "LMI64(64),Flat"] {
        let whole = dir.file(&format!("whole-{spec}"));
        let clock = Instant::now();
        run_all(&build(&whole, spec));
        let full = clock.elapsed();
        let expected = tree(Path::new(&whole));
        let cut = dir.file(&format!("cut-{spec}"));
        // killed at eight moments, each time going on
        for i in 1..=8u32 {
            let args = build(&cut, spec);
            let mut child = start(&args.iter().map(String::as_str).collect::<Vec<_>>());
            std::thread::sleep(full * i / 9);
            let _ = child.kill();
            child.wait().expect("it ends");
            if Path::new(&cut).join("manifest.json").exists() {
                break; // complete: the next one would build over it
            }
        }
        if !Path::new(&cut).join("manifest.json").exists() {
            run_all(&build(&cut, spec));
        }
        let mut found = tree(Path::new(&cut));
        // killed in the moment after the manifest came, the journal is left: the next change removes it
        found.retain(|f| !f.0.ends_with("journal.json"));
        let name = |t: &[(std::path::PathBuf, Vec<u8>)]| t.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
        assert_eq!(name(&found), name(&expected), "{spec}");
        assert!(found == expected, "{spec}: same files, other bytes");
    }
    // an index that is there stays usable while another is built over it
    let index = dir.file("whole-IVF64,Flat");
    let search = ["search", &index, "--queries", &queries, "--nprobe", "64"];
    let before = json(&search)["results"].clone();
    for i in 0..6u32 {
        let args = build(&index, "LMI64(64),Flat");
        let mut child = start(&args.iter().map(String::as_str).collect::<Vec<_>>());
        std::thread::sleep(Duration::from_millis(20 * i as u64));
        let _ = child.kill();
        child.wait().expect("it ends");
        assert_eq!(json(&search)["results"], before);
    }
}

fn run_all(args: &[String]) {
    good(&args.iter().map(String::as_str).collect::<Vec<_>>());
}

#[test]
fn add_and_compact_happen_whole_or_not_at_all() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(8_000, 32, 1), 32));
    let more = dir.write("more.fvecs", fvecs(&rows(20_000, 32, 2), 32));
    let index = dir.file("index");
    good(&["build", "--base", &base, "--index", "IVF16,Flat", "--niter", "2", "-o", &index]);
    let mut n = 8_000u64;
    for i in 0..6u64 {
        for (args, step) in [(vec!["add", &index, "--base", &more], 20_000), (vec!["compact", &index], 0)] {
            let mut child = start(&args);
            std::thread::sleep(Duration::from_millis(4 * i));
            let _ = child.kill();
            child.wait().expect("it ends");
            let now = json(&["verify", &index])["n"].as_u64().unwrap();
            assert!(now == n || now == n + step, "{args:?}: {now} vectors, {n} before");
            n = now;
        }
    }
    good(&["compact", &index]);
    assert_eq!(json(&["info", &index])["n"], n);
    assert_eq!(json(&["info", &index])["segments"], 1);
}

/// Sends a signal as a terminal does.
fn signal(child: &Child, name: &str) {
    let done = std::process::Command::new("kill").args([format!("-{name}"), child.id().to_string()]).status();
    assert!(done.is_ok_and(|s| s.success()), "kill is there");
}

#[test]
fn ctrl_c_ends_cleanly_and_says_how_to_go_on() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(60_000, 96, 1), 96));
    let queries = dir.write("q.fvecs", fvecs(&rows(2_000, 96, 2), 96));
    let out = dir.file("r.h5");
    for name in ["INT", "TERM"] {
        let args =
            ["exact", "--base", &base, "--queries", &queries, "-k", "20", "--threads", "1", "--memory-limit", "64M", "-o", &out];
        let child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        std::thread::sleep(Duration::from_millis(300));
        signal(&child, name);
        let o = child.wait_with_output().unwrap();
        if o.status.success() {
            eprintln!("skipped: too fast here to be stopped midway");
            continue;
        }
        let err = String::from_utf8_lossy(&o.stderr);
        assert_eq!(
            (o.status.code(), err.as_ref()),
            (Some(130), "stopped\nhint: run the same command again: with -o FILE it goes on where it was\n")
        );
        assert!(o.stdout.is_empty() && !Path::new(&out).exists());
    }
}

#[test]
fn ctrl_c_leaves_a_build_that_goes_on_and_conversions_that_never_were() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(30_000, 48, 1), 48));
    let (whole, cut) = (dir.file("whole"), dir.file("cut"));
    let args = ["build", "--base", &base, "--index", "LMI64(64),Flat", "--niter", "6", "-q", "-o"];
    good(&[&args[..], &[&whole]].concat());
    let csv = dir.file("x.csv");
    for (args, hint) in [
        ([&args[..], &[&cut]].concat(), "goes on from what is finished"),
        (vec!["convert", &base, &csv, "-q"], "nothing was changed"),
    ] {
        let child = command(&args).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("the binary starts");
        std::thread::sleep(Duration::from_millis(60));
        signal(&child, "INT");
        let o = child.wait_with_output().unwrap();
        let err = String::from_utf8_lossy(&o.stderr);
        match o.status.code() {
            Some(0) => eprintln!("skipped: too fast here to be stopped midway"),
            code => assert!(code == Some(130) && err.lines().count() == 2 && err.contains(hint), "{args:?}: {err}"),
        }
    }
    assert!(!Path::new(&csv).exists() || json(&["info", &csv])["n"] == 30_000);
    if !Path::new(&cut).join("manifest.json").exists() {
        good(&[&args[..], &[&cut]].concat());
    }
    assert!(tree(Path::new(&whole)) == tree(Path::new(&cut)));
}
