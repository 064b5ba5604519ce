//! Commands of the user around a part: fetching its files before, removing them after.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

use crate::fail::{Fail, Result};

/// Runs a command through `sh -c`; it reads the files, one a line, from its standard input.
///
/// What it prints goes to standard error, so that `--json` stays one object.
///
/// # Errors
/// It cannot be started, or ends with another exit code than 0.
pub fn call(option: &str, command: &str, plan: &Path, part: usize, files: &[String]) -> Result<()> {
    let wrong = |what: String| {
        let hint = format!("the command reads names of files from its standard input and must exit with 0; --{option} CMD");
        Fail::data(format!("--{option} of part {part}: {what}"), hint)
    };
    let mut child = Command::new("sh")
        .args(["-c", command])
        .env("VOISIN_PLAN", plan)
        .env("VOISIN_PART", part.to_string())
        .stdin(Stdio::piped())
        .stdout(std::io::stderr())
        .spawn()
        .map_err(|e| wrong(format!("sh cannot be started: {e}")))?;
    let mut text = files.join("\n");
    if !files.is_empty() {
        text.push('\n');
    }
    // a command that does not care for the names may close its end
    let written = child.stdin.take().map_or(Ok(()), |mut s| s.write_all(text.as_bytes()));
    let status = child.wait().map_err(|e| wrong(e.to_string()))?;
    match written {
        Err(e) if e.kind() != std::io::ErrorKind::BrokenPipe => Err(wrong(e.to_string())),
        _ if !status.success() => Err(wrong(status.to_string())),
        _ => Ok(()),
    }
}
