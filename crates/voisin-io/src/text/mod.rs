//! Text: one vector a line, separated by commas, tabs, semicolons, `|` or spaces.
//!
//! A header line, a leading column of names (which become the string ids), comments (`#`), blank lines, a delimiter at
//! the end of lines, CRLF and a byte order mark are recognised. The file is never held in memory: a quick pass marks
//! where lines begin, then rows are read by position and parsed on all threads of the rayon pool.

mod index;
mod row;
mod write;

use std::path::Path;
use std::sync::Arc;

use rayon::prelude::*;
use voisin::{Error, Result, Source, StringIds};

use self::index::Lines;
use self::row::{Delimiter, Fault, fields, number, parse};
use crate::choose::choose;
use crate::file::InFile;
use crate::raw::spec_name;
use crate::{Dataset, DatasetKind, Role};

pub use self::write::write;

/// Lines looked at to tell delimiter, header and names.
const SAMPLE: u64 = 20;

/// Headers of a first column that holds names even if all of them are numbers.
const NAMES: [&str; 12] = ["", "id", "ids", "name", "names", "key", "index", "file", "filename", "path", "image", "label"];

/// How the lines of a file are built.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Style {
    delimiter: Delimiter,
    header: bool,
    named: bool,
    d: usize,
}

#[derive(Debug)]
struct TextSource {
    file: Arc<InFile>,
    lines: Lines,
    style: Style,
}

/// Tells the style from the first of `n` lines of data.
fn sniff(sample: &[Vec<u8>], n: u64) -> Option<Style> {
    let body = if sample.len() > 1 { &sample[1..] } else { sample };
    let fits = |d: Delimiter| {
        let f = fields(&body[0], d);
        let numeric = f.iter().skip(1).all(|x| number(x).is_some());
        (numeric && (f.len() > 1 || f.first().is_some_and(|x| number(x).is_some()))).then_some(f.len())
    };
    let all = [b'\t', b',', b';', b'|'].map(Delimiter::Byte).into_iter().chain([Delimiter::Blank]);
    let all: Vec<Delimiter> = all.collect();
    // most fields win, the earlier one of the list on a tie; where nothing fits, the reader's error will say what is there
    let best = all.iter().rev().max_by_key(|&&d| (fits(d), fields(&body[0], d).len()))?;
    let delimiter = *best;
    let first = fields(&sample[0], delimiter);
    let numeric = |f: &[std::borrow::Cow<str>]| f.iter().all(|x| number(x).is_some());
    let width = fields(&body[0], delimiter).len();
    let counted = first.len() >= 8 && first.iter().enumerate().all(|(i, x)| **x == *i.to_string());
    // word2vec's first line is n and d
    let counts = |a: &str, b: &str| *a == *(n - 1).to_string() && *b == *(width - 1).to_string();
    let word2vec = delimiter == Delimiter::Blank && width > 2 && matches!(&first[..], [a, b] if counts(a, b));
    let unnamed = first.len() > 1 && first[0].is_empty() && delimiter != Delimiter::Blank;
    let header = sample.len() > 1
        && (counted
            || word2vec
            || unnamed
            || !numeric(first.get(1..).unwrap_or_default())
            || (first.len() == 1 && width == 1 && !numeric(&first)));
    let data = if header { &sample[1..] } else { sample };
    // one bad value among numbers is a fault of that row, not a column of names
    let words = data.iter().filter(|l| fields(l, delimiter).first().is_some_and(|f| number(f).is_none())).count();
    let named = width > 1
        && (word2vec
            || (header && NAMES.contains(&first.first().map_or("x", |f| f).to_ascii_lowercase().as_str()))
            || 2 * words >= data.len());
    let d = fields(&data[0], delimiter).len() - named as usize;
    Some(Style { delimiter, header, named, d })
}

impl TextSource {
    fn new(file: Arc<InFile>) -> Result<TextSource> {
        let lines = Lines::find(&file)?;
        let mut sample: Vec<Vec<u8>> = Vec::new();
        let mut buf = Vec::new();
        for span in lines.spans(0..lines.len().min(SAMPLE)) {
            span.each(&file, &mut buf, |_, _, line| {
                sample.push(line.to_vec());
                Ok(())
            })?;
        }
        let empty = || Error::Empty { name: file.path().display().to_string() };
        if sample.is_empty() {
            return Err(empty());
        }
        let style = sniff(&sample, lines.len()).filter(|s| s.d > 0).ok_or_else(empty)?;
        let source = TextSource { file, lines, style };
        source.check_first()?;
        Ok(source)
    }

    /// The first row must be numbers: a file that is something else is refused when it is opened.
    fn check_first(&self) -> Result<()> {
        let mut row = vec![0.0; self.style.d];
        self.read(0, &mut row)
    }

    fn fault(&self, line: u64, fault: Fault) -> Error {
        let d = self.style.d;
        let what = match fault {
            Fault::Count(n) => format!("line {line}: {n} values where the first row has {d}"),
            Fault::NotANumber(c, s) if s.is_empty() => format!("line {line}, column {c}: an empty field, no number"),
            Fault::NotANumber(c, s) => format!("line {line}, column {c}: \"{}\" is not a number", s.escape_debug()),
        };
        Error::format(self.file.path(), what)
    }

    fn dataset(&self) -> Dataset {
        let s = &self.style;
        let mut layout = s.delimiter.name().to_string();
        if s.header {
            layout += ", header line";
        }
        if s.named {
            layout += ", name column";
        }
        let shape = vec![self.len(), s.d as u64];
        Dataset { name: String::new(), shape, dtype: "f32".into(), kind: DatasetKind::Vectors, layout }
    }
}

impl Source for TextSource {
    fn len(&self) -> u64 {
        self.lines.len() - self.style.header as u64
    }

    fn dim(&self) -> usize {
        self.style.d
    }

    fn name(&self) -> String {
        spec_name(self.file.path(), "")
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let Style { delimiter, header, named, d } = self.style;
        let first = start + header as u64;
        let spans = self.lines.spans(first..first + (out.len() / d) as u64);
        let mut rest = out;
        let mut work = Vec::with_capacity(spans.len());
        for span in spans {
            let (now, later) = rest.split_at_mut((span.rows.end - span.rows.start) as usize * d);
            work.push((span, now));
            rest = later;
        }
        let read = |buf: &mut Vec<u8>, (span, out): (index::Span, &mut [f32])| {
            let mut rows = out.chunks_exact_mut(d);
            span.each(&self.file, buf, |_, line, text| {
                let row = rows.next().expect("a span has as many rows as it says");
                parse(text, delimiter, named, row).map_err(|f| self.fault(line, f))
            })
        };
        if let [_] = work[..] {
            return read(&mut Vec::new(), work.remove(0));
        }
        // the first fault of the file is reported, whichever thread is done first
        match work.into_par_iter().map_init(Vec::new, read).find_map_first(Result::err) {
            Some(e) => Err(e),
            None => Ok(()),
        }
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        let Style { delimiter, header, named, .. } = self.style;
        if !named {
            return Ok(None);
        }
        let mut ids = StringIds::default();
        let mut buf = Vec::new();
        for span in self.lines.spans(header as u64..self.lines.len()) {
            span.each(&self.file, &mut buf, |_, _, text| {
                let name = &text[..row::after_first(text, delimiter)];
                ids.push(fields(name, delimiter).first().map_or("", |f| f));
                Ok(())
            })?;
        }
        Ok(Some(ids))
    }

    fn fingerprint(&self) -> u64 {
        self.file.fingerprint("")
    }

    fn overhead(&self, _rows: usize) -> u64 {
        // a buffer of one piece, or one long row, for every thread
        let row = 2 * self.file.len() / self.lines.len().max(1);
        rayon::current_num_threads() as u64 * row.max(1 << 18)
    }
}

/// Opens a text file. Cost: one quick pass to find the lines.
///
/// # Errors
/// [`Error::Format`] naming line and column of what is no number, here for the first row, later for all others;
/// [`Error::Empty`].
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let source = TextSource::new(file)?;
    choose(&[source.dataset()], dataset.filter(|d| !d.is_empty()), role, source.file.path())?;
    Ok(Box::new(source))
}

/// Lists the one table.
///
/// # Errors
/// As [`open`].
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    Ok(vec![TextSource::new(Arc::new(InFile::open(path)?))?.dataset()])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn style(text: &str) -> (u8, bool, bool, usize) {
        let lines: Vec<Vec<u8>> = text.lines().map(|l| l.as_bytes().to_vec()).collect();
        let s = sniff(&lines, lines.len() as u64).unwrap();
        let c = match s.delimiter {
            Delimiter::Byte(c) => c,
            Delimiter::Blank => b' ',
        };
        (c, s.header, s.named, s.d)
    }

    #[test]
    fn styles_are_told_apart() {
        assert_eq!(style("1,2\n3,4"), (b',', false, false, 2));
        assert_eq!(style("1 2\n3 4"), (b' ', false, false, 2));
        assert_eq!(style("1;2;3\n3;4;5"), (b';', false, false, 3));
        assert_eq!(style("x,y\n3,4"), (b',', true, false, 2));
        assert_eq!(style("id,y,z\n3,4,5"), (b',', true, true, 2));
        assert_eq!(style(",0,1\n0,4,5"), (b',', true, true, 2));
        assert_eq!(style("0,1,2,3,4,5,6,7\n4,5,4,5,4,5,4,5"), (b',', true, false, 8));
        assert_eq!(style("a\t1\t2\nb\t3\t4"), (b'\t', false, true, 2));
        assert_eq!(style("1\t1\t2\nb\t3\t4"), (b'\t', false, true, 2));
        assert_eq!(style("2 3\nthe 1 2 3\nof 1 2 3"), (b' ', true, true, 3));
        assert_eq!(style("a,b c\t1\t2\nb\t3\t4"), (b'\t', false, true, 2));
        assert_eq!(style("1.5\n2"), (b'\t', false, false, 1));
        assert_eq!(style("v\n2"), (b'\t', true, false, 1));
        assert_eq!(style("1,2"), (b',', false, false, 2));
    }
}
