//! Texts of a file to vectors.

use std::path::{Path, PathBuf};

use voisin::{Error, Result, Watch};
use voisin_io::fingerprint;

use crate::folder::{Item, gather};
use crate::state::Made;
use crate::{Embedded, Embedder};

/// Bytes that a file of texts may have: it is held in memory.
const MAX_TEXTS: u64 = 4 << 30;

/// A text to be given to a model.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Text {
    /// Its id: the number of its line from 1, or what the column `id` says.
    pub id: String,
    /// What the column `label` says, or nothing.
    pub label: String,
    /// The text.
    pub text: String,
    /// Its file.
    pub path: PathBuf,
    /// Its line there, from 1.
    pub line: u64,
}

impl Item for Text {
    fn id(&self) -> &str {
        &self.id
    }

    fn label(&self) -> &str {
        &self.label
    }

    fn place(&self) -> PathBuf {
        format!("{}, line {}", self.path.display(), self.line).into()
    }

    fn print(&self) -> u64 {
        fingerprint([&self.id, &self.text])
    }

    fn make(&self, embedder: &Embedder, lane: usize) -> Made {
        embedder.text_on_lane(lane, &self.text)
    }
}

/// Makes vectors of texts by `embedder` and writes them as [`crate::embed`] writes those of images.
///
/// # Errors
/// As [`crate::embed`]; [`Error::Param`] without a model for texts.
pub fn embed_texts(texts: &[Text], embedder: &Embedder, out: &Path, state: &Path, watch: &dyn Watch) -> Result<Embedded> {
    let Some(made_by) = embedder.text_made_by() else {
        return Err(Error::param("text-model", "none", "a model for texts"));
    };
    gather(texts, "texts", &[embedder.made_by(), made_by], embedder, out, state, watch)
}

/// The texts of a file: one a line, those that are empty left out; of `.csv` and `.tsv` the column `text`, with the columns
/// `id` and `label` where there are any.
///
/// # Errors
/// What is no UTF-8; no column `text`; two texts of one id.
pub fn read_texts(path: &Path) -> Result<Vec<Text>> {
    let io = |e| Error::io(path, e);
    let len = std::fs::metadata(path).map_err(io)?.len();
    if len > MAX_TEXTS {
        return Err(Error::format(path, format!("{len} bytes of text where at most {MAX_TEXTS} are read; split it")));
    }
    let content = String::from_utf8(std::fs::read(path).map_err(io)?);
    let content = content.map_err(|e| Error::format(path, format!("no UTF-8 at byte {}", e.utf8_error().valid_up_to())))?;
    let content = content.strip_prefix('\u{feff}').unwrap_or(&content);
    let ending = path.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    let texts = match ending.as_deref() {
        Some("csv") => of_table(path, content, ',')?,
        Some("tsv") => of_table(path, content, '\t')?,
        _ => {
            let lines = content.lines().zip(1..).filter(|(l, _)| !l.trim().is_empty());
            lines.map(|(text, line)| of_line(path, line, line.to_string(), text.trim(), "")).collect()
        }
    };
    let mut ids: Vec<&str> = texts.iter().map(|t| t.id.as_str()).collect();
    ids.sort_unstable();
    match ids.windows(2).find(|w| w[0] == w[1]) {
        Some(twice) => Err(Error::format(path, format!("two texts have the id {}", twice[0]))),
        None if texts.is_empty() => Err(Error::Empty { name: path.display().to_string() }),
        None => Ok(texts),
    }
}

fn of_line(path: &Path, line: u64, id: String, text: &str, label: &str) -> Text {
    Text { id, label: label.into(), text: text.into(), path: path.into(), line }
}

fn of_table(path: &Path, content: &str, delimiter: char) -> Result<Vec<Text>> {
    let mut rows = Rows { rest: content, line: 1, delimiter };
    let (_, header) = rows.next().unwrap_or_default();
    let column = |name: &str| header.iter().position(|h| h.trim().eq_ignore_ascii_case(name));
    let Some(text) = column("text") else {
        return Err(Error::format(path, format!("no column `text` in its first line ({})", header.join(", "))));
    };
    let (id, label) = (column("id"), column("label"));
    let mut texts = Vec::new();
    for (line, fields) in rows {
        if fields.iter().all(|f| f.trim().is_empty()) {
            continue;
        }
        let field = |at: Option<usize>| at.and_then(|i| fields.get(i)).map_or("", |f| f.trim());
        if field(Some(text)).is_empty() || (id.is_some() && field(id).is_empty()) {
            return Err(Error::format(path, format!("line {line}: no text or no id in it")));
        }
        let id = if id.is_some() { field(id).into() } else { (texts.len() + 1).to_string() };
        texts.push(of_line(path, line, id, field(Some(text)), field(label)));
    }
    Ok(texts)
}

/// Rows of a table as RFC 4180 has them, with the lines that they begin at: quoted fields may hold delimiters, line breaks
/// and doubled quotes.
struct Rows<'a> {
    rest: &'a str,
    line: u64,
    delimiter: char,
}

impl Iterator for Rows<'_> {
    type Item = (u64, Vec<String>);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let start = self.line;
        let (mut fields, mut field, mut quoted) = (Vec::new(), String::new(), false);
        let mut chars = self.rest.char_indices().peekable();
        let mut end = self.rest.len();
        while let Some((at, c)) = chars.next() {
            self.line += u64::from(c == '\n');
            match c {
                '"' if quoted && chars.peek().is_some_and(|(_, c)| *c == '"') => {
                    chars.next();
                    field.push('"');
                }
                '"' if quoted || field.trim().is_empty() => {
                    field.truncate(if quoted { field.len() } else { 0 });
                    quoted = !quoted;
                }
                '\n' if !quoted => {
                    end = at + 1;
                    break;
                }
                c if c == self.delimiter && !quoted => fields.push(std::mem::take(&mut field)),
                c => field.push(c),
            }
        }
        self.rest = &self.rest[end..];
        fields.push(field.trim_end_matches('\r').to_string());
        Some((start, fields))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(name: &str, content: &str) -> Result<Vec<(String, String, u64)>> {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join(name);
        std::fs::write(&path, content).expect("written");
        Ok(read_texts(&path)?.into_iter().map(|t| (t.id, t.text, t.line)).collect())
    }

    #[test]
    fn lines_and_tables() {
        let row = |id: &str, text: &str, line| (id.to_string(), text.to_string(), line);
        assert_eq!(texts("a.txt", "one\r\n\n two \n").unwrap(), [row("1", "one", 1), row("3", "two", 3)]);
        let csv = "\u{feff}id,text\r\na,\"x, \"\"y\"\"\nz\"\r\nb,plain\r\n\r\n";
        assert_eq!(texts("a.csv", csv).unwrap(), [row("a", "x, \"y\"\nz", 2), row("b", "plain", 4)]);
        assert_eq!(texts("a.tsv", "n\ttext\n1\tone, two").unwrap(), [row("1", "one, two", 2)]);
        for (name, content, word) in [
            ("a.csv", "id,caption\n1,x\n", "column `text`"),
            ("a.csv", "id,text\n1,x\n1,y\n", "the id 1"),
            ("a.csv", "id,text\n1,\n", "line 2"),
            ("a.txt", "\n \n", "no vectors"),
        ] {
            let message = texts(name, content).unwrap_err().to_string();
            assert!(message.contains(word), "{message}");
        }
    }
}
