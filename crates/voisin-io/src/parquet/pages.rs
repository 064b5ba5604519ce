//! The file as the library's page reader sees it, and a look at Thrift structures before the library parses them.
//!
//! The library believes them: it allocates what a page says that it unpacks to, up to 2 GiB, and goes through lists of as
//! many elements as they claim, also past the end of the file, and without reading a byte where they are of bools.
//! (Thrift compact protocol: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.)

use std::io::{BufReader, Read, Seek, SeekFrom};
use std::sync::Arc;

use bytes::Bytes;
use parquet::errors::{ParquetError, Result};
use parquet::file::reader::{ChunkReader, Length};

use super::MOST_EXPANSION;
use crate::{Cursor, InFile};

/// Reads of whole pages; each begins at a page header.
pub(super) struct Pages(pub Arc<InFile>);

impl Length for Pages {
    fn len(&self) -> u64 {
        self.0.len()
    }
}

impl ChunkReader for Pages {
    type T = BufReader<Strict>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let (unpacked, packed) = self.sizes(start)?;
        if unpacked > packed.saturating_mul(MOST_EXPANSION).saturating_add(1 << 20) {
            return Err(ParquetError::General(format!("{packed} bytes at byte {start} cannot unpack to {unpacked}")));
        }
        let mut cursor = self.0.cursor();
        cursor.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(Strict(cursor)))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.0.bytes(start, length as u64).map_err(|e| ParquetError::EOF(e.to_string()))?;
        Ok(bytes.into())
    }
}

/// A reader to which the end of the file is an error: the library goes on for long where it is not.
pub(super) struct Strict(Cursor);

impl Read for Strict {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        match self.0.read(buf)? {
            0 if !buf.is_empty() => Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => Ok(n),
        }
    }
}

impl Pages {
    /// Bytes of the page whose header begins at `start`, unpacked and packed.
    fn sizes(&self, start: u64) -> Result<(u64, u64)> {
        // statistics in a header may hold values of any length; nearly all headers are below a hundred bytes
        for window in [1 << 8, 1 << 14, 1 << 20] {
            let len = self.0.len().saturating_sub(start).min(window);
            let bytes = self.get_bytes(start, len as usize)?;
            let mut header = Thrift { rest: &bytes, lists: false, sizes: [None; 2] };
            match header.fields(PAGE_HEADER, 0) {
                Some(true) => match header.sizes {
                    [Some(unpacked), Some(packed)] => return Ok((unpacked, packed)),
                    _ => break,
                },
                None if len == window => {} // cut by the window: a larger one
                _ => break,
            }
        }
        Err(ParquetError::General(format!("no page header at byte {start}")))
    }
}

/// Whether the footer is a structure whose lists are as long as they say.
///
/// # Errors
/// `General` if not; a file without a footer is left to the library.
pub(super) fn check_footer(file: &InFile) -> Result<()> {
    let end = file.len().saturating_sub(8);
    let tail = file.bytes(end, file.len() - end).map_err(|e| ParquetError::EOF(e.to_string()))?;
    let (Some(len), Some(b"PAR1")) = (tail.first_chunk::<4>(), tail.get(4..)) else { return Ok(()) };
    let len = u32::from_le_bytes(*len) as u64;
    let Some(start) = end.checked_sub(len) else { return Ok(()) };
    let bytes = file.bytes(start, len).map_err(|e| ParquetError::EOF(e.to_string()))?;
    match (Thrift { rest: &bytes, lists: true, sizes: [None; 2] }).fields(&[], 0) {
        Some(true) => Ok(()),
        _ => Err(ParquetError::General("the footer is damaged".into())),
    }
}

/// Fields that the library reads without a look at their type: id, type (1 for bool), fields of a struct.
struct Field(u64, u8, &'static [Field]);

const STATISTICS: &[Field] = &[
    Field(1, 8, &[]),
    Field(2, 8, &[]),
    Field(3, 6, &[]),
    Field(4, 6, &[]),
    Field(5, 8, &[]),
    Field(6, 8, &[]),
    Field(7, 1, &[]),
    Field(8, 1, &[]),
];
const DATA_PAGE: &[Field] = &[Field(1, 5, &[]), Field(2, 5, &[]), Field(3, 5, &[]), Field(4, 5, &[]), Field(5, 12, STATISTICS)];
const DICTIONARY_PAGE: &[Field] = &[Field(1, 5, &[]), Field(2, 5, &[]), Field(3, 1, &[])];
const DATA_PAGE_V2: &[Field] = &[
    Field(1, 5, &[]),
    Field(2, 5, &[]),
    Field(3, 5, &[]),
    Field(4, 5, &[]),
    Field(5, 5, &[]),
    Field(6, 5, &[]),
    Field(7, 1, &[]),
    Field(8, 12, STATISTICS),
];
const PAGE_HEADER: &[Field] = &[
    Field(1, 5, &[]),
    Field(2, 5, &[]),
    Field(3, 5, &[]),
    Field(4, 5, &[]),
    Field(5, 12, DATA_PAGE),
    Field(6, 12, &[]),
    Field(7, 12, DICTIONARY_PAGE),
    Field(8, 12, DATA_PAGE_V2),
];

/// A walk through a structure.
struct Thrift<'a> {
    rest: &'a [u8],
    /// Whether it may have lists: footers have some, page headers none.
    lists: bool,
    /// Fields 2 and 3 of a page header: unpacked and packed size.
    sizes: [Option<u64>; 2],
}

impl Thrift<'_> {
    /// Walks through the fields of a struct; `None` where the bytes end, `Some(false)` for what Parquet does not have.
    fn fields(&mut self, known: &[Field], depth: u32) -> Option<bool> {
        let mut id = 0u64;
        loop {
            let [head] = *self.take(1)? else { return None };
            if head == 0 {
                return Some(true);
            }
            id = if head >> 4 == 0 { self.number()? >> 1 } else { id.saturating_add((head >> 4) as u64) };
            let kind = if head & 15 == 2 { 1 } else { head & 15 }; // true or false
            let field = known.iter().find(|f| f.0 == id);
            if field.is_some_and(|f| f.1 != kind) {
                return Some(false);
            }
            match kind {
                1 => {} // a bool is in its type
                5 if depth == 0 && (id == 2 || id == 3) => {
                    let zigzag = self.number()?; // even numbers are the positive ones
                    self.sizes[id as usize - 2] = (zigzag & 1 == 0).then_some(zigzag >> 1);
                }
                _ => {
                    if !self.value(kind, field.map_or(&[], |f| f.2), depth)? {
                        return Some(false);
                    }
                }
            }
        }
    }

    /// Walks through a value that is no bool.
    fn value(&mut self, kind: u8, known: &[Field], depth: u32) -> Option<bool> {
        match kind {
            3 => drop(self.take(1)?),
            4..=6 => drop(self.number()?),
            7 => drop(self.take(8)?),
            8 => {
                let len = self.number()?;
                self.take(usize::try_from(len).ok()?)?;
            }
            9 if self.lists && depth < 16 => {
                let [head] = *self.take(1)? else { return None };
                let count = if head >> 4 == 15 { self.number()? } else { (head >> 4) as u64 };
                // each takes a byte or more, but for bools, which the library skips without reading
                if head & 15 <= 2 && count > 0 {
                    return Some(false);
                }
                for _ in 0..count {
                    if !self.value(head & 15, &[], depth + 1)? {
                        return Some(false);
                    }
                }
            }
            12 if depth < 16 => return self.fields(known, depth + 1),
            _ => return Some(false), // sets, maps and what there is not
        }
        Some(true)
    }

    fn take(&mut self, n: usize) -> Option<&[u8]> {
        let (taken, rest) = self.rest.split_at_checked(n)?;
        self.rest = rest;
        Some(taken)
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let end = self.rest.iter().take(10).position(|b| b & 0x80 == 0)?;
        let bytes = self.take(end + 1)?;
        Some(bytes.iter().rev().fold(0, |n, b| n << 7 | (b & 0x7f) as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn walk(bytes: &[u8]) -> (Option<bool>, [Option<u64>; 2]) {
        let mut header = Thrift { rest: bytes, lists: false, sizes: [None; 2] };
        (header.fields(PAGE_HEADER, 0), header.sizes)
    }

    #[test]
    fn headers_are_walked_and_lists_refused() {
        // type 0, unpacked 300, packed 5, a data page header (struct 5) with a number and statistics with a text
        let good = [0x15, 0, 0x15, 0xd8, 0x04, 0x15, 10, 0x2c, 0x15, 2, 0x4c, 0x18, 2, b'a', b'b', 0, 0, 0];
        assert_eq!(walk(&good), (Some(true), [Some(300), Some(5)]));
        for end in 0..good.len() {
            assert_eq!(walk(&good[..end]).0, None);
        }
        let list = [0x15, 0, 0x15, 2, 0x15, 2, 0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(walk(&list).0, Some(false));
        let footer = |bytes: &[u8]| Thrift { rest: bytes, lists: true, sizes: [None; 2] }.fields(&[], 0);
        assert_eq!(footer(&list), None); // no bytes for the elements that it claims
        assert_eq!(footer(&[0x19, 0x25, 2, 4, 0]), Some(true)); // two numbers
        assert_eq!(footer(&[0x19, 0x22, 1, 1, 0]), Some(false)); // two bools
        assert_eq!(walk(&[0x15, 0, 0x15, 2, 0x15, 2, 0x25, 2, 0]).0, Some(false)); // a number where a struct belongs
        assert_eq!(walk(&[0x15, 0, 0x15, 1, 0x15, 2, 0]).1, [None, Some(1)]); // a negative size
    }
}
