//! How the binary fails: one line that names what is at fault, one that says what to do, and an exit code.

use voisin::Error;

/// Exit code of a wrong call.
pub const USAGE: u8 = 2;
/// Exit code of bad data.
pub const DATA: u8 = 1;
/// Exit code after Ctrl-C.
pub const STOPPED: u8 = 130;

/// What went wrong, ready to be printed.
#[derive(Debug)]
pub struct Fail {
    /// One line.
    pub message: String,
    /// The spec and the word at fault in it: text, first byte, length.
    pub caret: Option<(String, usize, usize)>,
    /// What the user can do.
    pub hint: Option<String>,
    /// The exit code.
    pub code: u8,
}

/// A result of a command.
pub type Result<T, E = Fail> = std::result::Result<T, E>;

impl Fail {
    /// A wrong call.
    pub fn usage(message: impl Into<String>, hint: impl Into<String>) -> Fail {
        Fail { message: message.into(), caret: None, hint: Some(hint.into()), code: USAGE }
    }

    /// Bad data.
    pub fn data(message: impl Into<String>, hint: impl Into<String>) -> Fail {
        Fail { message: message.into(), caret: None, hint: Some(hint.into()), code: DATA }
    }

    /// What clap found, in the form of all errors: its paragraphs become a message and a hint.
    pub fn of_call(e: &clap::Error) -> Fail {
        let text = e.render().to_string();
        let mut parts = text.split("\n\n").map(|p| p.split_whitespace().collect::<Vec<_>>().join(" "));
        let message = parts.next().unwrap_or_default();
        let message = message.strip_prefix("error: ").unwrap_or(&message).to_string();
        let tip = parts.find_map(|p| p.strip_prefix("tip: ").map(str::to_string));
        let help = "`voisin COMMAND --help` shows every option, with examples";
        Fail::usage(message, tip.map_or_else(|| help.to_string(), |tip| format!("{tip}; {help}")))
    }

    /// Says what this command does after it was stopped, and names it where the hint speaks of commands.
    pub fn name_command(&mut self, name: &str) {
        if self.code == STOPPED {
            self.hint = Some(match name {
                "embed" | "serve" => "run the same command again to go on where it was".into(),
                "exact" | "pair" => "run the same command again: with -o FILE it goes on where it was".into(),
                "build" | "job train" => {
                    "run the same command again: it goes on from what is finished; a training that was stopped begins anew".into()
                }
                "ilias search" | "job run" | "merge" => "run the same command again to go on where it was".into(),
                _ => "nothing was changed; run the same command again".into(),
            });
        }
        self.hint = self.hint.take().map(|h| h.replace("voisin COMMAND", &format!("voisin {name}")));
    }

    /// What standard error shows.
    pub fn text(&self) -> String {
        let mut s = if self.code == STOPPED { "stopped\n".to_string() } else { format!("error: {}\n", one_line(&self.message)) };
        if let Some((spec, at, len)) = &self.caret {
            let before = spec.get(..*at).map_or(0, |b| b.chars().count());
            let word = spec.get(*at..at + len).map_or(1, |w| w.chars().count()).max(1);
            s += &format!("  {spec}\n  {}{}\n", " ".repeat(before), "^".repeat(word));
        }
        if let Some(hint) = &self.hint {
            s += &format!("hint: {}\n", one_line(hint));
        }
        s
    }
}

impl From<Error> for Fail {
    fn from(e: Error) -> Fail {
        let code = match &e {
            Error::Stopped => STOPPED,
            e if e.is_usage() => USAGE,
            _ => DATA,
        };
        let caret = match &e {
            Error::Spec { spec, at, len, .. } => Some((spec.clone(), *at, *len)),
            _ => None,
        };
        let hint = Some(e.hint().unwrap_or_else(|| hint(&e)));
        let message = match &e {
            Error::Io { path, source } if source.kind() == std::io::ErrorKind::NotFound => {
                format!("{}: no such file or folder", path.display())
            }
            e => e.to_string(),
        };
        Fail { message, caret, hint, code }
    }
}

/// What to do about an error that brings no hint of its own.
fn hint(e: &Error) -> String {
    match e {
        Error::Io { path, source } => match source.kind() {
            std::io::ErrorKind::IsADirectory => format!("name the files in it: {}", path.join("*").display()),
            _ => "check the path, the permissions and the free space".into(),
        },
        Error::Format { path, .. } if path.is_dir() => "name another folder, or the files that are meant".into(),
        Error::Format { path, .. } if path.to_string_lossy().contains(['*', '?', '{']) => "check the folder and the name".into(),
        Error::Format { path, .. } if path.is_file() && voisin_io::faiss::is_faiss(path) => {
            "write it with FAISS as an index that is read (README, \"Files of FAISS\"), or build one of the vectors".into()
        }
        Error::Format { path, .. } if path.is_file() => format!("`voisin info {}` shows what the file holds", path.display()),
        Error::Format { .. } => "`voisin info FILE` shows what a file holds".into(),
        Error::Param { name, expected, .. } if name == "index" && expected.contains("--") => {
            "such as: voisin build --base images.npy --index SPEC --queries queries.npy --captions captions.npy -o index".into()
        }
        Error::Empty { .. } => "at least one vector is needed; `voisin info FILE` shows what a file holds".into(),
        Error::Param { name, .. } => format!("change {name}; `voisin COMMAND --help` lists every option"),
        Error::Spec { .. } => "specs are words such as `Flat`, `IVF320,Flat`, `LMI320,Flat` or `LMI320(512-384),Flat`".into(),
        Error::Id { .. } => "`voisin info DIR` says whether the ids of an index are strings or numbers".into(),
        Error::Memory { need, .. } => format!("pass --memory-limit {}M or more", need.div_ceil(1 << 20)),
        _ => "`voisin COMMAND --help` shows how the command is used".into(),
    }
}

/// Line breaks (in names of files, say) would break the promise of one line.
fn one_line(s: &str) -> String {
    s.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_word() {
        let e = Error::Spec { spec: "IVFé,Flt".into(), at: 6, len: 3, what: "unknown word".into() };
        let text = Fail::from(e).text();
        assert!(text.contains("\n  IVFé,Flt\n       ^^^\nhint: "), "{text}");
    }

    #[test]
    fn every_error_has_a_hint_and_a_code() {
        let io = |kind: std::io::ErrorKind| Error::io("a\nb", kind.into());
        for (e, code) in [
            (io(std::io::ErrorKind::NotFound), 1),
            (io(std::io::ErrorKind::Other), 1),
            (Error::format("x", "y"), 1),
            (Error::param("k", 0, "1 or more"), 2),
            (Error::Stopped, 130),
            (Error::Memory { limit: 1, need: 2, what: "x".into() }, 1),
        ] {
            let fail = Fail::from(e);
            assert_eq!(fail.code, code, "{fail:?}");
            assert_eq!(fail.text().lines().count(), 2, "{fail:?}");
        }
    }
}
