//! Help texts, as people see them: a change of a word is a change of a snapshot.

mod run;

use run::{good, run};

#[test]
fn help_of_every_command() {
    let all = good(&["--help"]);
    insta::assert_snapshot!("voisin", all);
    let commands: Vec<&str> = all
        .lines()
        .skip_while(|l| !l.starts_with("Commands:"))
        .skip(1)
        .take_while(|l| !l.is_empty())
        .filter_map(|l| l.strip_prefix("  ").filter(|l| !l.starts_with(' ')))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|name| *name != "help")
        .collect();
    assert!(commands.len() >= 14, "{commands:?}");
    for name in commands.into_iter().chain(["ilias search", "ilias evaluate"]) {
        let words: Vec<&str> = name.split(' ').chain(["--help"]).collect();
        let text = good(&words);
        assert!(text.contains("Example"), "{name} shows no example");
        assert!(text.lines().all(|l| l.chars().count() <= 100), "{name} has long lines");
        insta::assert_snapshot!(name.replace(' ', "_"), text);
    }
    for step in ["plan", "train", "run", "status", "commit"] {
        let text = good(&["job", step, "--help"]);
        assert!(text.contains("Example"), "job {step} shows no example");
        assert!(text.lines().all(|l| l.chars().count() <= 100), "job {step} has long lines");
        insta::assert_snapshot!(format!("job_{step}"), text);
    }
}

#[test]
fn version_and_nothing() {
    assert_eq!(good(&["--version"]), format!("voisin {}\n", env!("CARGO_PKG_VERSION")));
    let r = run(&[]);
    assert!(r.code == Some(2) && r.err.contains("Commands:"), "{r:?}");
}
