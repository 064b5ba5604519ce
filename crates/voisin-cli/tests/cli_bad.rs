//! Bad input through the binary: one line that names what is at fault, a hint, exit code 1 or 2, nothing half-written.

mod run;

use std::path::Path;

use run::{Folder, bad, fixture, fvecs, good, names, rows, run, tree};

/// Files that every reader of vectors must refuse, with a word of the message.
fn bad_files(dir: &Folder) -> Vec<(String, &'static str)> {
    let (npy, h5) = (std::fs::read(fixture("cli/base.npy")).unwrap(), std::fs::read(fixture("cli/named.hdf5")).unwrap());
    let fv = fvecs(&rows(9, 8, 1), 8);
    let mut nan = rows(9, 8, 1);
    nan[3 * 8 + 2] = f32::NAN;
    let mut inf = rows(9, 8, 1);
    inf[4 * 8] = f32::NEG_INFINITY;
    let mut row_of_seven = fv.clone();
    row_of_seven[36 * 5] = 7;
    vec![
        (dir.file("missing.npy"), "no such file"),
        (dir.file("missing_*.npy"), "no file matches"),
        (dir.write("empty.npy", b""), "empty"),
        (dir.write("cut.npy", &npy[..npy.len() - 5]), "cut.npy"),
        (dir.write("header.npy", &npy[..40]), "header.npy"),
        (dir.write("cut.hdf5", &h5[..h5.len() / 2]), "cut.hdf5"),
        (dir.write("cut.fvecs", &fv[..fv.len() - 3]), "truncated"),
        (dir.write("magic.npy", b"not a numpy array at all"), "magic.npy"),
        (dir.write("magic.hdf5", b"not an HDF5 file at all"), "magic.hdf5"),
        (dir.write("unknown.bin", b"\x00\x01\x02\x03\x04\x05"), "unknown format"),
        (dir.write("index.faiss", b"IxF2aaaaaaaaaaaaaaaaaaaaaaaa"), "index.faiss"),
        (dir.write("words.txt", b"one two three\nfour five six\n"), "words.txt"),
        (dir.write("seven.fvecs", row_of_seven), "row 5"),
        (dir.write("huge.fbin", [0xffu8; 40]), "huge.fbin"),
        (dir.write("code.pkl", b"\x80\x04cos\nsystem\n\x8c\x04true\x85R."), "code.pkl"),
        (dir.write("nan.fvecs", fvecs(&nan, 8)), "row 3: a value is NaN"),
        (dir.write("inf.fvecs", fvecs(&inf, 8)), "row 4: a value is infinite"),
        (fixture("hdf5/sisap2025.h5") + "::nothing", "nothing"),
    ]
}

#[test]
fn every_command_refuses_bad_files_and_writes_nothing() {
    let (dir, target) = (Folder::new(), Folder::new());
    let (base, queries) = (fixture("cli/base.npy"), fixture("cli/queries.npy"));
    let index = dir.file("index");
    good(&["build", "--base", &base, "-o", &index]);
    for (file, word) in bad_files(&dir) {
        let says = |args: &[&str]| {
            let message = bad(args, 1);
            assert!(message.contains(word), "{args:?}: {message}");
        };
        says(&["exact", "--base", &file, "--queries", &queries, "-k", "1", "-o", &target.file("r.h5")]);
        says(&["exact", "--base", &base, "--queries", &file, "-k", "1", "-o", &target.file("r.h5")]);
        says(&["kmeans", "--base", &file, "-k", "2", "-o", &target.file("c.npy")]);
        says(&["search", &index, "--queries", &file, "-o", &target.file("r.h5")]);
        says(&["add", &index, "--base", &file]);
        says(&["build", "--base", &file, "--index", "IVF2,Flat", "-o", &target.file("new")]);
        let left: Vec<String> = tree(target.path()).into_iter().map(|f| f.0.display().to_string()).collect();
        assert!(left.iter().all(|f| f.ends_with("lock")), "{file}: {left:?}");
        let not_finite = word.contains("value");
        if !not_finite {
            says(&["convert", &file, &target.file("x.npy")]);
        }
        let info = run(&["info", &file]);
        assert!(info.code == Some(1) || info.out.contains(word) || not_finite, "{file}: {info:?}");
    }
    assert_eq!(run::json(&["verify", &index])["n"], 240);
    assert_eq!(run::json(&["info", &index])["generation"], 1, "the index is as it was");
}

#[test]
fn rows_that_cannot_be_ranked_are_named_or_skipped_and_counted() {
    let dir = Folder::new();
    let mut r = rows(40, 8, 1);
    r[3 * 8 + 2] = f32::NAN;
    r[7 * 8..8 * 8].fill(0.0);
    let base = dir.write("b.fvecs", fvecs(&r, 8));
    let q = dir.write("q.fvecs", fvecs(&rows(2, 8, 2), 8));
    let args = ["exact", "--base", &base, "--queries", &q, "-k", "3", "--on-bad", "skip"];
    assert_eq!(run::json(&args)["skipped"], 1);
    assert_eq!(run::json(&[&args[..], &["--metric", "cosine"]].concat())["skipped"], 2);
    let v = run::json(&["build", "--base", &base, "--metric", "cosine", "--on-bad", "skip", "-o", &dir.file("i")]);
    assert_eq!((&v["skipped"], &v["n"]), (&2.into(), &38.into()));
    let zero = dir.write("z.fvecs", fvecs(&[&[0.0; 8][..], &rows(3, 8, 1)].concat(), 8));
    for args in [
        ["exact", "--base", &zero, "--queries", &q, "-k", "1", "--metric", "cosine"],
        ["exact", "--base", &q, "--queries", &zero, "-k", "1", "--metric", "cosine"],
        ["build", "--base", &zero, "--index", "Flat", "--metric", "cosine", "-o", &dir.file("n")],
    ] {
        assert!(bad(&args, 1).contains("row 0: a zero vector"), "{args:?}");
    }
    good(&["exact", "--base", &zero, "--queries", &q, "-k", "1", "--metric", "l2"]);
}

#[test]
fn wrong_calls_are_told_apart_from_bad_data() {
    let dir = Folder::new();
    let (base, queries) = (fixture("cli/base.npy"), fixture("cli/queries.npy"));
    let index = dir.file("index");
    good(&["build", "--base", &base, "--index", "IVF4,Flat", "-o", &index]);
    let out = dir.file("out");
    let before = dir.list();
    let exact = ["exact", "--base", &base, "--queries", &queries];
    let build = ["build", "--base", &base, "-o", &out];
    let kmeans = ["kmeans", "--base", &base, "-o", &out];
    let search = ["search", &index, "--queries", &queries];
    let with = |args: &[&str], more: &[&str]| bad(&[args, more].concat(), 2);
    for (message, word) in [
        (with(&exact, &["-k", "0"]), "k = 0"),
        (with(&exact, &["-k", "241"]), "240"),
        (with(&exact, &["-o", &dir.file("r.what")]), ".ivecs"),
        (with(&exact, &["-o", &dir.file("r.csv"), "--layout", "sisap"]), ".h5"),
        (with(&exact, &["--threads", "0"]), "threads = 0"),
        (with(&build, &["--index", "IVF241,Flat"]), "240"),
        (with(&build, &["--index", "LMI241,Flat"]), "240"),
        (with(&build, &["--index", "LMI4,Flat", "--batch", "0"]), "batch"),
        (with(&build, &["--index", "LMI4,Flat", "--epochs", "0"]), "epochs"),
        (with(&build, &["--index", "LMI4,Flat", "--lr", "-1"]), "lr"),
        (with(&build, &["--index", "IVF4,Flat", "--niter", "0"]), "niter"),
        (with(&kmeans, &["-k", "0"]), "k = 0"),
        (with(&kmeans, &["-k", "241"]), "240"),
        (with(&kmeans, &["-k", "2", "--max-points", "0"]), "max-points"),
        (with(&search, &["-k", "0"]), "k = 0"),
        (with(&search, &["--nprobe", "0"]), "nprobe = 0"),
        (with(&search, &["--mass", "0.5"]), "mass"),
        (with(&exact, &["-o", &base]), "ends in"),
        (with(&["kmeans", "--base", &base, "-k", "2"], &["-o", &base]), "one of the inputs"),
    ] {
        assert!(message.contains(word), "{word}: {message}");
    }
    assert_eq!(dir.list(), before);
    // 240 rows take little, but not nothing
    let little = [&build[..], &["--index", "IVF4,Flat", "--memory-limit", "8M"]].concat();
    let message = bad(&little, 1);
    assert!(message.contains("--memory-limit 33M"), "{message}");
    // what clap finds looks the same
    for (args, word) in [
        (&["exact"][..], "--queries <FILE>"),
        (&["exact", "--base", &base, "--queries", &queries, "--metric", "l3"], "l2, ip or cosine"),
        (&["exact", "--base", &base, "--queries", &queries, "--on-bad", "x"], "skip"),
        (&["exact", "--base", &base, "--queries", &queries, "--memory-limit", "4X"], "4G, 500M"),
        (&["exact", "--bose", &base], "--base"),
        (&["exakt"], "exact"),
    ] {
        let message = bad(args, 2);
        assert!(message.contains(word) && message.lines().count() == 2, "{message}");
    }
    // more than there are is refused, as in exact search
    assert!(bad(&[&search[..], &["-k", "241", "--nprobe", "4"]].concat(), 2).contains("at most the 240 vectors of"));
}

#[test]
fn dimensions_must_agree() {
    let dir = Folder::new();
    let (base, index) = (fixture("cli/base.npy"), dir.file("index"));
    good(&["build", "--base", &base, "-o", &index]);
    let other = dir.write("q.fvecs", fvecs(&rows(4, 9, 1), 9));
    for args in [
        ["exact", "--base", &base, "--queries", &other].as_slice(),
        &["exact", "--base", &base, &other, "--queries", &base],
        &["search", &index, "--queries", &other],
        &["add", &index, "--base", &other],
    ] {
        let message = bad(args, 1);
        assert!(message.contains('8') && message.contains('9') && message.contains("dimensions"), "{message}");
    }
}

#[test]
fn an_unknown_word_of_a_spec_is_pointed_at() {
    let (dir, base) = (Folder::new(), fixture("cli/base.npy"));
    for (spec, caret) in
        [("IVF4,Flut", "     ^^^^"), ("IFV4,Flat", "^^^^"), ("IVF4,HNSW8", "     ^^^^^"), ("LMI4(a),Flat", "^^^^^^^")]
    {
        let message = bad(&["build", "--base", &base, "--index", spec, "-o", &dir.file("x")], 2);
        assert!(message.contains(&format!("\n  {spec}\n  {caret}\nhint: ")), "{message}");
    }
    assert!(dir.list().is_empty());
}

#[test]
fn a_folder_that_is_no_index_is_left_alone() {
    let (dir, base) = (Folder::new(), fixture("cli/base.npy"));
    let precious = dir.write("precious.txt", "1 2 3");
    let folder = dir.path().display().to_string();
    bad(&["build", "--base", &base, "-o", &folder], 1);
    bad(&["build", "--base", &base, "-o", &precious], 2);
    for command in ["search", "add", "remove", "compact", "verify", "model"] {
        let more: &[&str] = match command {
            "search" => &["--queries", &base],
            "add" => &["--base", &base],
            "remove" => &["--ids", "1"],
            "model" => &["-o", "never.pth"],
            _ => &[],
        };
        for place in [&folder, &precious, &dir.file("nowhere")] {
            bad(&[&[command, place], more].concat(), 1);
        }
    }
    assert_eq!(dir.list(), ["precious.txt"]);
    bad(&["exact", "--base", &base, "--queries", &base, "-o", &dir.file("nowhere/r.h5")], 1);
}

#[test]
fn a_newer_format_is_told_from_damage() {
    let (dir, base) = (Folder::new(), fixture("cli/base.npy"));
    let index = dir.file("index");
    good(&["build", "--base", &base, "-o", &index]);
    let manifest = Path::new(&index).join("manifest.json");
    let text = std::fs::read_to_string(&manifest).unwrap();
    let newer = text.replacen("\"format\": 2", "\"format\": 99", 1);
    assert_ne!(newer, text, "{text}");
    std::fs::write(&manifest, newer).unwrap();
    let message = bad(&["search", &index, "--queries", &base], 1);
    assert!(message.contains("format 99") && message.contains("newer"), "{message}");
}

#[test]
fn flipped_bytes_anywhere_in_an_index_are_found() {
    let (dir, base) = (Folder::new(), fixture("cli/named.hdf5"));
    let index = dir.file("index");
    good(&["build", "--base", &base, "--index", "LMI4(8),Flat", "--epochs", "1", "-o", &index, "-q"]);
    good(&["remove", &index, "--ids", "class3/img_003.jpg"]);
    let mut files = vec![Path::new(&index).join("manifest.json"), Path::new(&index).join("model.vsn")];
    files.extend(names(&Path::new(&index).join("segments")).iter().map(|f| Path::new(&index).join("segments").join(f)));
    assert!(files.len() >= 4, "{files:?}");
    for file in files {
        let whole = std::fs::read(&file).unwrap();
        let places = [0, 9, whole.len() / 3, whole.len() / 2, whole.len() - 1];
        for at in places {
            let mut bytes = whole.clone();
            bytes[at] ^= 0x10;
            std::fs::write(&file, &bytes).unwrap();
            found_by_verify(&index, &format!("{} byte {at}", file.display()));
        }
        std::fs::write(&file, &whole[..whole.len() * 2 / 3]).unwrap();
        found_by_verify(&index, &format!("{} truncated", file.display()));
        std::fs::write(&file, b"").unwrap();
        found_by_verify(&index, &format!("{} empty", file.display()));
        std::fs::remove_file(&file).unwrap();
        found_by_verify(&index, &format!("{} missing", file.display()));
        std::fs::write(&file, &whole).unwrap();
    }
    assert_eq!(run::json(&["verify", &index])["sound"], true);
}

/// `verify` says so, and a search answers or refuses, without a panic.
fn found_by_verify(index: &str, what: &str) {
    let v = run(&["verify", index]);
    assert_eq!(v.code, Some(1), "{what}: {v:?}");
    assert!(!v.err.contains("a bug"), "{what}: {v:?}");
    let s = run(&["search", index, "--queries", &fixture("cli/queries.npy"), "--nprobe", "4"]);
    assert!(matches!(s.code, Some(0 | 1)) && !s.err.contains("a bug"), "{what}: {s:?}");
}

#[test]
fn a_full_disk_leaves_nothing() {
    if !Path::new("/dev/full").exists() {
        return eprintln!("skipped: no /dev/full here");
    }
    let (base, queries) = (fixture("cli/base.npy"), fixture("cli/queries.npy"));
    // what is printed
    let full = std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap();
    let o = run::command(&["exact", "--base", &base, "--queries", &queries]).stdout(full).output().unwrap();
    assert_eq!(o.status.code(), Some(1), "{o:?}");
    assert!(String::from_utf8_lossy(&o.stderr).contains("hint: "), "{o:?}");
    // what is written, on a file system of 64 KiB
    let dir = Folder::new();
    let small = dir.file("small");
    std::fs::create_dir(&small).unwrap();
    let mounted = std::process::Command::new("mount").args(["-t", "tmpfs", "-o", "size=64k", "tmpfs", &small]).output();
    if !mounted.is_ok_and(|o| o.status.success()) {
        return eprintln!("skipped: a small file system cannot be mounted here");
    }
    let big = dir.write("big.fvecs", fvecs(&rows(4000, 8, 1), 8));
    let tries = [
        vec!["convert", &big, "small/x.npy"],
        vec!["convert", &big, "small/x.h5"],
        vec!["convert", &big, "small/x.csv"],
        vec!["exact", "--base", &big, "--queries", &big, "-k", "9", "-o", "small/r.h5"],
        vec!["exact", "--base", &big, "--queries", &big, "-k", "9", "-o", "small/r.json"],
        vec!["build", "--base", &big, "-o", "small/index"],
    ];
    let runs: Vec<_> = tries.iter().map(|args| (args, run::command(args).current_dir(dir.path()).output().unwrap())).collect();
    let left: Vec<_> = tree(Path::new(&small)).into_iter().map(|f| (f.0, f.1.len())).collect();
    let _ = std::process::Command::new("umount").arg(&small).output();
    for (args, o) in runs {
        let err = String::from_utf8_lossy(&o.stderr);
        assert_eq!(o.status.code(), Some(1), "{args:?}: {err}");
        assert!(err.contains("error: ") && err.contains("hint: ") && !err.contains("a bug"), "{args:?}: {err}");
    }
    // the build may keep what it can resume from
    assert!(left.iter().all(|f| f.0.starts_with("index")), "{left:?}");
}

#[test]
fn a_read_only_folder_is_named() {
    use std::os::unix::fs::PermissionsExt;
    let (dir, base) = (Folder::new(), fixture("cli/base.npy"));
    let locked = dir.file("locked");
    std::fs::create_dir(&locked).unwrap();
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o555)).unwrap();
    if std::fs::write(Path::new(&locked).join("probe"), b"x").is_ok() {
        return eprintln!("skipped: root may write to a read-only folder");
    }
    let inside = |name: &str| Path::new(&locked).join(name).display().to_string();
    for args in [
        ["exact", "--base", &base, "--queries", &base, "-o", &inside("r.h5")].as_slice(),
        &["build", "--base", &base, "-o", &inside("index")],
        &["kmeans", "--base", &base, "-k", "2", "-o", &inside("c.npy")],
        &["convert", &base, &inside("x.h5")],
    ] {
        assert!(bad(args, 1).contains("locked"), "{args:?}");
    }
    std::fs::set_permissions(&locked, std::fs::Permissions::from_mode(0o755)).unwrap();
}
