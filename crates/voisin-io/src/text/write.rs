//! Writing text: csv, tsv, or spaces, by the ending.

use std::fmt::Write as _;
use std::path::Path;

use rayon::prelude::*;
use voisin::{Error, Result, Source, Watch};

use crate::WriteOptions;
use crate::elem::Elem;
use crate::file::AtomicFile;
use crate::write::{stream, wanted_elem};

/// Writes one vector a line, in the shortest digits that read back to the same f32. String ids become the first column,
/// with a header line, so that numbers among them stay ids.
///
/// # Errors
/// What reading gives; [`Error::Io`]; [`Error::Stopped`]. Nothing is left then.
pub fn write(path: &Path, source: &dyn Source, options: &WriteOptions, watch: &dyn Watch) -> Result<()> {
    wanted_elem(options, Elem::F32, &[Elem::F32], "text")?;
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    let delimiter = match ending.as_str() {
        "csv" => ',',
        "tsv" => '\t',
        _ => ' ',
    };
    let d = source.dim();
    let ids = source.ids()?;
    if let Some(ids) = &ids
        && ids.len() as u64 != source.len()
    {
        let what = format!("{} ids for {} vectors", ids.len(), source.len());
        return Err(Error::format(source.name(), what));
    }
    let mut out = AtomicFile::create(path)?;
    if ids.is_some() {
        let mut header = "id".to_string();
        (0..d).for_each(|i| write!(header, "{delimiter}v{i}").expect("a String takes everything"));
        out.write(header.as_bytes())?;
        out.write(b"\n")?;
    }
    stream(source, "writing", watch, |start, rows| {
        let lines = |(i, rows): (usize, &[f32])| {
            let mut s = String::with_capacity(rows.len() * 12);
            for (j, row) in rows.chunks_exact(d).enumerate() {
                if let Some(ids) = &ids {
                    push_name(&mut s, ids.get(start as usize + i * 64 + j), delimiter);
                    s.push(delimiter);
                }
                push_row(&mut s, row, delimiter);
            }
            s
        };
        let parts: Vec<String> = rows.par_chunks(64 * d).enumerate().map(lines).collect();
        parts.iter().try_for_each(|p| out.write(p.as_bytes()))
    })?;
    out.commit()
}

fn push_row(s: &mut String, row: &[f32], delimiter: char) {
    for (i, &x) in row.iter().enumerate() {
        if i > 0 {
            s.push(delimiter);
        }
        // whole numbers without ".0"; -0 keeps its sign
        let done = if x.fract() == 0.0 && x.abs() < 1e9 && (x != 0.0 || x.is_sign_positive()) {
            write!(s, "{}", x as i64)
        } else {
            write!(s, "{x:?}")
        };
        done.expect("a String takes everything");
    }
    s.push('\n');
}

/// Quoted where the reader would split it, drop it, or take it for a comment.
fn push_name(s: &mut String, name: &str, delimiter: char) {
    let plain = |c: char| c != delimiter && !matches!(c, '"' | '\n' | '\r' | ' ' | '\t');
    if !name.is_empty() && !name.starts_with('#') && name.chars().all(plain) {
        return s.push_str(name);
    }
    s.push('"');
    for c in name.chars() {
        match c {
            '"' => s.push_str("\"\""),
            '\n' | '\r' => s.push(' '), // a line is a row
            c => s.push(c),
        }
    }
    s.push('"');
}
