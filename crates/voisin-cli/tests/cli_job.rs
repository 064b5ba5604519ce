//! Builds in parts through the binary: planned, fetched, run, killed, damaged, committed, searched.

mod run;

use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use run::{Folder, bad, command, fixture, fvecs, good, json, rows, run, tree};

/// What sha256sum says of `cli/base.npy`.
const SHA256: &str = "ad7771a752148af8df2439e1a32afb984fadc17b9aa8ede051b07247bd517657";
const ROWS: usize = 240;

/// The steps between a plan and its index.
fn finish(plan: &str, parts: usize) {
    good(&["job", "train", plan, "-q"]);
    (0..parts).for_each(|p| drop(good(&["job", "run", plan, "--part", &p.to_string(), "-q"])));
    good(&["job", "commit", plan, "-q"]);
}

#[test]
fn a_job_finds_what_a_build_finds() {
    let dir = Folder::new();
    let (base, queries) = (fixture("cli/base.npy"), fixture("cli/queries.npy"));
    let (plan, index) = (dir.file("plan.json"), dir.file("index"));
    let spec = ["--index", "IVF8,SQ8,Refine(Flat)", "--metric", "cosine", "--calibrate", "0"];
    good(&[&["build", "--base", &base, "-o", &index][..], &spec].concat());
    let v = json(&[&["job", "plan", "--base", &base, "--parts", "3", "-o", &plan][..], &spec].concat());
    assert_eq!((v["n"].as_u64(), v["parts"].as_u64()), (Some(ROWS as u64), Some(3)), "{v}");
    finish(&plan, 3);
    let again = json(&["job", "run", &plan, "--part", "1"]);
    assert_eq!(again["parts"][0]["before"], true, "{again}");
    let found = |dir: &str| json(&["search", dir, "--queries", &queries, "--nprobe", "3", "-k", "5"])["results"].clone();
    assert_eq!(found(&dir.file("plan")), found(&index));
    assert_eq!(std::fs::read(dir.file("plan/model.vsn")).unwrap(), std::fs::read(dir.file("index/model.vsn")).unwrap());
    // the receipt has the digest that other programs take
    let receipt = std::fs::read_to_string(dir.file("plan/job/part-00002.json")).unwrap();
    assert!(receipt.contains(SHA256), "{receipt}");
    // it is an index like any other
    let plan_dir = dir.file("plan");
    good(&["remove", &plan_dir, "--ids", "7"]);
    let v = json(&["add", &plan_dir, "--base", &queries]);
    assert_eq!(v["n"].as_u64(), Some(ROWS as u64 - 1 + v["added"].as_u64().unwrap()));
    good(&["compact", &plan_dir]);
    good(&["verify", &plan_dir]);
    let v = json(&["job", "status", &plan]);
    assert_eq!((v["committed"].as_bool(), v["done"].as_array().map(Vec::len)), (Some(true), Some(3)), "{v}");
}

#[test]
fn files_are_fetched_before_their_part_and_removed_after_it() {
    let (dir, store) = (Folder::new(), Folder::new());
    let r = rows(900, 8, 1);
    let mut list = "file,rows,dtype\n".to_string();
    for i in 0..6 {
        store.write(&format!("e_{i}.fvecs"), fvecs(&r[i * 150 * 8..(i + 1) * 150 * 8], 8));
        list += &format!("e_{i}.fvecs,150,f32\n");
    }
    let (list, scratch, log) = (dir.write("list.csv", list), dir.file("scratch"), dir.file("log"));
    std::fs::create_dir(&scratch).unwrap();
    let spec = ["--index", "IVF6,SQ4", "--parts", "4", "--seed", "5"];
    let plan = dir.file("far.json");
    let from = ["--inputs", &list, "--root", &scratch];
    let e = bad(&[&["job", "plan", "-o", &plan][..], &from, &spec].concat(), 2);
    assert!(e.contains("--dim"), "{e}");
    let e = bad(&[&["job", "plan", "-o", &plan, "--dim", "8"][..], &from, &spec].concat(), 2);
    assert!(e.contains("--train"), "{e}");
    let train = ["--train", "e_0.fvecs", "e_3.fvecs", "--dim", "8"];
    let v = json(&[&["job", "plan", "-o", &plan][..], &from, &train, &spec].concat());
    assert_eq!(v["absent"], 6, "{v}");
    let e = bad(&["job", "train", &plan, "--root", &scratch], 1);
    assert!(e.contains("e_0.fvecs: is not there"), "{e}");
    good(&["job", "train", &plan, "--root", &store.path().display().to_string()]);
    let fetch = format!("while read f; do cp {}/$(basename $f) $f; done", store.path().display());
    let gone = format!("ls {scratch} | wc -l >> {log}; xargs rm");
    for part in ["2", "0", "3", "1"] {
        let args = ["job", "run", &plan, "--part", part, "--root", &scratch, "--before-part", &fetch, "--after-part", &gone];
        let v = json(&args);
        assert_eq!(v["parts"][0]["before"], false, "{v}");
    }
    // six files in four parts, none in two of them
    let counts = std::fs::read_to_string(&log).unwrap();
    let mut counts: Vec<&str> = counts.split_whitespace().collect();
    counts.sort_unstable();
    assert_eq!(counts, ["1", "1", "2", "2"], "never more than the files of a part");
    assert_eq!(std::fs::read_dir(&scratch).unwrap().count(), 0);
    let v = json(&["job", "commit", &plan]);
    assert_eq!(v["n"], 900);
    // the same as with all files at hand
    let near = dir.file("near.json");
    let files = store.path().display().to_string();
    good(&[&["job", "plan", "-o", &near, "--inputs", &list, "--root", &files][..], &train, &spec].concat());
    good(&["job", "train", &near, "--root", &files]);
    good(&["job", "run", &near, "--all", "--root", &files]);
    good(&["job", "commit", &near]);
    let only = |name: &str, sub: &str| tree(Path::new(&dir.file(name)).join(sub).as_path());
    assert!(only("near", "segments") == only("far", "segments"));
    // a command that fails fails the part
    let e = bad(&["job", "run", &near, "--part", "1", "--root", &files, "--after-part", "exit 3"], 1);
    assert!(e.contains("--after-part of part 1") && e.contains('3'), "{e}");
}

#[test]
fn gaps_and_short_files_are_named_and_only_left_out_when_asked() {
    let dir = Folder::new();
    let r = rows(90, 8, 1);
    let whole = fvecs(&r, 8);
    for (i, bytes) in [(0, &whole[..]), (1, &whole[..]), (3, &whole[..]), (4, &whole[..whole.len() - 7])] {
        dir.write(&format!("e_{i}.fvecs"), bytes);
    }
    let (base, plan) = (dir.file("e_*.fvecs"), dir.file("p.json"));
    let args = ["job", "plan", "--base", &base, "--index", "IVF3,Flat", "-o", &plan];
    let e = bad(&args, 1);
    assert!(e.contains("e_2.fvecs") && e.contains("and 1 more") && e.contains("--allow-missing"), "{e}");
    assert!(!Path::new(&plan).exists());
    let v = json(&[&args[..], &["--allow-missing"]].concat());
    assert_eq!((v["n"].as_u64(), v["problems"].as_array().map(Vec::len)), (Some(270), Some(2)), "{v}");
    finish(&plan, 1);
    let info = json(&["info", &dir.file("p")]);
    let names: Vec<&str> = info["missing"].as_array().unwrap().iter().map(|m| m["file"].as_str().unwrap()).collect();
    assert!(names.len() == 2 && names[0].ends_with("e_2.fvecs") && names[1].ends_with("e_4.fvecs"), "{info}");
    let text = good(&["info", &dir.file("p")]);
    assert!(text.contains("without  ") && text.contains("truncated"), "{text}");
    // a listed file that is short when its part comes
    let list = dir.write("l.csv", format!("{},90,f32\n{},100,f32\n", dir.file("e_0.fvecs"), dir.file("e_1.fvecs")));
    let plan = dir.file("l.json");
    let args = ["job", "plan", "--inputs", &list, "--index", "Flat", "-o", &plan];
    let e = bad(&args, 1);
    assert!(e.contains("e_1.fvecs: 90 rows where the list says 100"), "{e}");
    good(&[&args[..], &["--allow-missing"]].concat());
    finish(&plan, 1);
    assert_eq!(json(&["info", &dir.file("l")])["missing"][0]["rows"], 100);
    // a digest that is another one
    let wrong = SHA256.replace(&SHA256[..1], if &SHA256[..1] == "0" { "1" } else { "0" });
    let list = dir.write("d.csv", format!("{},{ROWS},,{wrong}\n", fixture("cli/base.npy")));
    let plan = dir.file("d.json");
    good(&["job", "plan", "--inputs", &list, "--index", "Flat", "-o", &plan]);
    good(&["job", "train", &plan]);
    let e = bad(&["job", "run", &plan, "--part", "0"], 1);
    assert!(e.contains("its SHA-256 is") && e.contains(SHA256), "{e}");
}

#[test]
fn wrong_calls_say_what_to_do() {
    let dir = Folder::new();
    let (base, plan) = (fixture("cli/base.npy"), dir.file("p.json"));
    let make = ["job", "plan", "--base", &base, "--parts", "2", "-o", &plan];
    good(&make);
    good(&make); // the same plan
    for (args, code, word) in [
        (vec!["job", "plan", "--base", &base, "--parts", "3", "-o", &plan], 1, "another plan"),
        (vec!["job", "plan", "--base", &base, "--parts", "241", "-o", "x.json"], 2, "1 to the number of rows, 240"),
        (vec!["job", "plan", "--base", &base, "--index", "IVF241,Flat", "-o", "x.json"], 2, "at most as many lists"),
        (vec!["job", "plan", "-o", "x.json"], 2, "--base"),
        (vec!["job", "run", &plan, "--part", "0"], 1, "job train"),
        (vec!["job", "run", &plan, "--part", "2"], 2, "the plan has 2 parts"),
        (vec!["job", "run", &plan, "--part", "1-0"], 2, "no part"),
        (vec!["job", "run", &plan], 2, "--part"),
        (vec!["job", "commit", &plan], 1, "job train"),
        (vec!["job", "status", &base], 1, "no plan"),
        (vec!["job", "train", &dir.file("none.json")], 1, "no such file"),
    ] {
        let e = bad(&args, code);
        assert!(e.contains(word), "{args:?}: {e}");
    }
    good(&["job", "train", &plan]);
    let e = bad(&["job", "commit", &plan], 1);
    assert!(e.contains("parts 0, 1 are not done") && e.contains("voisin job run"), "{e}");
    let text = std::fs::read_to_string(&plan).unwrap();
    std::fs::write(&plan, text.replace("240", "239")).unwrap();
    let e = bad(&["job", "run", &plan, "--part", "0"], 1);
    assert!(e.contains("a plan never changes") && e.contains("restore the plan"), "{e}");
    std::fs::write(&plan, text).unwrap();
    // inputs that cannot go together are refused when they are planned
    let (wide, other) = (dir.write("w.fvecs", fvecs(&rows(9, 7, 1), 7)), dir.file("other.json"));
    let e = bad(&["job", "plan", "--base", &wide, &wide.replace("w.fvecs", "./w.fvecs"), "--index", "Flat", "-o", &other], 1);
    assert!(e.contains("stands twice"), "{e}");
    let e = bad(&["job", "plan", "--base", &base, "--train", &wide, "--index", "Flat", "-o", &other], 1);
    assert!(e.contains("w.fvecs") && e.contains('7'), "{e}");
    assert!(!Path::new(&other).exists());
    // a row that cannot be ranked takes another plan
    let mut some = rows(9, 8, 1);
    some[20] = f32::NAN;
    let nan = dir.write("n.fvecs", fvecs(&some, 8));
    good(&["job", "plan", "--base", &nan, "--index", "Flat", "-o", &other]);
    let e = run(&["job", "train", &other]);
    let e = if e.code == Some(0) { bad(&["job", "run", &other, "--all"], 1) } else { e.err };
    assert!(e.contains("a new plan, with --on-bad skip"), "{e}");
}

#[test]
fn a_flipped_byte_costs_one_part() {
    let dir = Folder::new();
    let base = dir.write("b.fvecs", fvecs(&rows(3_000, 16, 1), 16));
    let plan = dir.file("p.json");
    good(&["job", "plan", "--base", &base, "--index", "IVF16,RaBitQ4", "--parts", "5", "-o", &plan]);
    finish(&plan, 5);
    let before = tree(Path::new(&dir.file("p")));
    let file = dir.file("p/segments/00001-0003.vsn");
    let mut bytes = std::fs::read(&file).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&file, &bytes).unwrap();
    let r = run(&["job", "status", &plan]);
    assert!(r.code == Some(1) && r.out.contains("damaged  part 3: ") && r.out.contains("run"), "{r:?}");
    assert_eq!(run(&["verify", &dir.file("p")]).code, Some(1));
    let v = json(&["job", "run", &plan, "--all"]);
    let again: Vec<bool> = v["parts"].as_array().unwrap().iter().map(|p| p["before"] == false).collect();
    assert_eq!(again, [false, false, false, true, false]);
    assert!(tree(Path::new(&dir.file("p"))) == before);
    let r = run(&["job", "commit", &plan]);
    assert!(r.code == Some(0) && r.out.contains("committed before; every byte"), "{r:?}");
    // the manifest is made again, and the model
    for (name, step, word) in [("p/manifest.json", "commit", "was made again"), ("p/job/model.json", "train", "trained on")] {
        let file = dir.file(name);
        let mut bytes = std::fs::read(&file).unwrap();
        bytes[60] ^= 1;
        std::fs::write(&file, &bytes).unwrap();
        let r = run(&["job", "status", &plan]);
        assert!(r.code == Some(1) && r.out.contains("done     5 parts") && r.out.contains(&format!("job {step}")), "{r:?}");
        assert!(good(&["job", step, &plan]).contains(word));
    }
    assert!(tree(Path::new(&dir.file("p"))) == before);
    assert_eq!(json(&["job", "status", &plan])["damaged"].as_array().map(Vec::len), Some(0));
}

/// Numbers that look random, the same each time.
fn random(state: &mut u64) -> f64 {
    *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    (*state >> 11) as f64 / (1u64 << 53) as f64
}

#[test]
fn killed_at_random_a_job_ends_with_the_same_bytes() {
    let dir = Folder::new();
    let base = dir.write("base.fvecs", fvecs(&rows(12_000, 48, 1), 48));
    let plan = |name: &str| {
        let plan = dir.file(&format!("{name}.json"));
        let size = ["--parts", "3", "--segment-rows", "1500", "--niter", "4"];
        good(&[&["job", "plan", "--base", &base, "--index", "IVF64,SQ8", "-o", &plan][..], &size].concat());
        plan
    };
    let whole = plan("whole");
    let clock = Instant::now();
    finish(&whole, 3);
    let step = clock.elapsed() / 5;
    let cut = plan("cut");
    let (mut state, mut kills) = (7, 0);
    for args in [vec!["job", "train", &cut], vec!["job", "run", &cut, "--all"], vec!["job", "commit", &cut]] {
        for _ in 0..6 {
            let mut child = command(&args).stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("the binary starts");
            std::thread::sleep(Duration::from_secs_f64(step.as_secs_f64() * 2.0 * random(&mut state)));
            let _ = child.kill();
            kills += !child.wait().expect("it ends").success() as u32;
        }
        good(&args);
    }
    if kills < 3 {
        eprintln!("skipped: too fast here to be killed midway");
    }
    let (want, found) = (tree(Path::new(&dir.file("whole"))), tree(Path::new(&dir.file("cut"))));
    let name = |t: &[(std::path::PathBuf, Vec<u8>)]| t.iter().map(|f| f.0.clone()).collect::<Vec<_>>();
    assert_eq!(name(&found), name(&want));
    // plans differ by their folders alone, receipts and manifest name the plan
    let other = found.iter().zip(&want).filter(|(a, b)| a.0.extension().is_some_and(|e| e == "vsn") && a.1 != b.1).count();
    assert_eq!(other, 0);
}

#[cfg(unix)]
#[test]
fn a_full_disk_leaves_an_error_and_what_was_there() {
    let dir = Folder::new();
    let base = dir.write("b.fvecs", fvecs(&rows(6_000, 32, 1), 32));
    let (plan, index) = (dir.file("p.json"), dir.file("index"));
    good(&["job", "plan", "--base", &base, "--index", "IVF16,Flat", "--parts", "2", "-o", &plan]);
    good(&["job", "train", &plan]);
    good(&["job", "run", &plan, "--part", "0"]);
    good(&["build", "--base", &base, "--index", "IVF8,Flat", "-o", &index]);
    let (job, built) = (tree(Path::new(&dir.file("p"))), tree(Path::new(&index)));
    for args in [vec!["job", "run", &plan, "--part", "1"], vec!["build", "--base", &base, "--index", "IVF16,Flat", "-o", &index]]
    {
        // no file may grow beyond 100 KiB; the signal that says so is ignored, as writing then fails as on a full disk
        let binary = command(&[]).get_program().to_string_lossy().into_owned();
        let script = format!("trap '' XFSZ; ulimit -f 200; exec {binary} {}", args.join(" "));
        let o = std::process::Command::new("sh").args(["-c", &script]).output().expect("sh is there");
        let err = String::from_utf8_lossy(&o.stderr);
        assert!(o.status.code() == Some(1) && err.contains("error: ") && err.contains("hint: "), "{args:?}: {o:?}");
    }
    assert!(tree(Path::new(&index)) == built || json(&["verify", &index])["n"] == 6_000, "the old index is still there");
    assert!(tree(Path::new(&dir.file("p"))) == job, "nothing but what was there");
    good(&["job", "run", &plan, "--part", "1"]);
    assert_eq!(json(&["job", "commit", &plan])["n"], 6_000);
}
