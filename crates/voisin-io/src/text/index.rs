//! Where the lines of a text file are: found once in a quick pass, so that any rows can be read by position.

use std::ops::Range;

use memchr::memchr;
use voisin::Result;

use crate::file::InFile;

/// Bytes between two marks: small enough that a single row is found quickly, large enough that marks are few.
const GAP: u64 = 1 << 16;
/// Bytes that one thread reads and parses at a time: fits the second-level cache.
const PIECE: u64 = 1 << 18;
/// Bytes read at once while looking for lines.
const BLOCK: usize = 1 << 20;

/// A line that begins a stretch of the file.
#[derive(Clone, Copy, Debug)]
struct Mark {
    /// Number of lines with data before it.
    row: u64,
    /// Its line number as editors count, from 1.
    line: u64,
    /// Its first byte.
    offset: u64,
}

/// Lines with data: neither blank nor a comment.
#[derive(Debug)]
pub(super) struct Lines {
    marks: Vec<Mark>,
    rows: u64,
    end: u64,
}

/// Bytes that hold some of the rows.
#[derive(Clone, Debug)]
pub(super) struct Span {
    first: Mark,
    bytes: Range<u64>,
    /// Rows wanted out of it.
    pub(super) rows: Range<u64>,
}

impl Lines {
    /// One pass over the file. Memory: 24 bytes for every 64 KiB.
    pub(super) fn find(file: &InFile) -> Result<Lines> {
        let skip = if file.head(3)? == b"\xef\xbb\xbf" { 3 } else { 0 };
        let mut marks: Vec<Mark> = Vec::new();
        let (mut rows, mut line, mut line_start, mut inside) = (0, 1, skip, false);
        let mut buf = vec![0u8; BLOCK.min(file.len() as usize)];
        let mut base = skip;
        while base < file.len() {
            let len = (file.len() - base).min(buf.len() as u64) as usize;
            let b = &mut buf[..len];
            file.read_at(b, base)?;
            let mut i = 0;
            while i < len {
                if inside {
                    let Some(k) = memchr(b'\n', &b[i..]) else { break };
                    i += k + 1;
                    (line, line_start, inside) = (line + 1, base + i as u64, false);
                    continue;
                }
                match b[i] {
                    b' ' | b'\t' | b'\r' => i += 1,
                    b'\n' => {
                        i += 1;
                        (line, line_start) = (line + 1, base + i as u64);
                    }
                    c => {
                        inside = true;
                        if c != b'#' {
                            if marks.last().is_none_or(|m| line_start - m.offset >= GAP) {
                                marks.push(Mark { row: rows, line, offset: line_start });
                            }
                            rows += 1;
                        }
                    }
                }
            }
            base += len as u64;
        }
        Ok(Lines { marks, rows, end: file.len() })
    }

    /// Number of lines with data.
    pub(super) fn len(&self) -> u64 {
        self.rows
    }

    /// Stretches of the file that hold `rows`, in order.
    pub(super) fn spans(&self, rows: Range<u64>) -> Vec<Span> {
        let mut spans: Vec<Span> = Vec::new();
        if rows.is_empty() {
            return spans;
        }
        let first = self.marks.partition_point(|m| m.row <= rows.start) - 1; // the first mark is row 0
        for (i, &m) in self.marks.iter().enumerate().skip(first).take_while(|(_, m)| m.row < rows.end) {
            let (row_end, end) = self.marks.get(i + 1).map_or((self.rows, self.end), |m| (m.row, m.offset));
            match spans.last_mut() {
                Some(s) if end - s.bytes.start <= PIECE => {
                    s.bytes.end = end;
                    s.rows.end = row_end.min(rows.end);
                }
                _ => spans.push(Span { first: m, bytes: m.offset..end, rows: m.row.max(rows.start)..row_end.min(rows.end) }),
            }
        }
        spans
    }
}

impl Span {
    /// Hands each wanted row to `f`: row number, line number, the line without its end. `buf` is reused.
    pub(super) fn each(&self, file: &InFile, buf: &mut Vec<u8>, mut f: impl FnMut(u64, u64, &[u8]) -> Result<()>) -> Result<()> {
        buf.resize((self.bytes.end - self.bytes.start) as usize, 0);
        file.read_at(buf, self.bytes.start)?;
        let (mut rest, mut row, mut line) = (&buf[..], self.first.row, self.first.line);
        while row < self.rows.end && !rest.is_empty() {
            let (now, next) = memchr(b'\n', rest).map_or((rest, &[][..]), |k| (&rest[..k], &rest[k + 1..]));
            if is_data(now) {
                if row >= self.rows.start {
                    f(row, line, now.strip_suffix(b"\r").unwrap_or(now))?;
                }
                row += 1;
            }
            line += 1;
            rest = next;
        }
        if row < self.rows.end {
            return Err(voisin::Error::format(file.path(), "the file changed while it was being read"));
        }
        Ok(())
    }
}

/// Neither blank nor a comment.
fn is_data(line: &[u8]) -> bool {
    line.iter().find(|b| !matches!(b, b' ' | b'\t' | b'\r')).is_some_and(|&b| b != b'#')
}
