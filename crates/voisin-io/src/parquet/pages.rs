//! The file as the library's page reader sees it.
//!
//! That reader believes a page's header: it allocates what the page says that it unpacks to, up to 2 GiB, and goes
//! through lists of as many elements as they claim, also past the end of the file. So the header is looked at first.
//! (Thrift compact protocol: <https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md>.)

use std::io::{BufReader, Seek, SeekFrom};
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
    type T = BufReader<Cursor>;

    fn get_read(&self, start: u64) -> Result<Self::T> {
        let (unpacked, packed) = self.sizes(start)?;
        if unpacked > packed.saturating_mul(MOST_EXPANSION).saturating_add(1 << 20) {
            return Err(ParquetError::General(format!("{packed} bytes at byte {start} cannot unpack to {unpacked}")));
        }
        let mut cursor = self.0.cursor();
        cursor.seek(SeekFrom::Start(start))?;
        Ok(BufReader::new(cursor))
    }

    fn get_bytes(&self, start: u64, length: usize) -> Result<Bytes> {
        let bytes = self.0.bytes(start, length as u64).map_err(|e| ParquetError::EOF(e.to_string()))?;
        Ok(bytes.into())
    }
}

impl Pages {
    /// Bytes of the page whose header begins at `start`, unpacked and packed.
    fn sizes(&self, start: u64) -> Result<(u64, u64)> {
        // statistics in a header may hold values of any length; nearly all headers are below a hundred bytes
        for window in [1 << 8, 1 << 14, 1 << 20] {
            let len = self.0.len().saturating_sub(start).min(window);
            let mut header = Header { rest: &self.get_bytes(start, len as usize)?, sizes: [None; 2] };
            match header.fields(0) {
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

/// A walk through a page header.
struct Header<'a> {
    rest: &'a [u8],
    /// Fields 2 and 3: unpacked and packed size.
    sizes: [Option<u64>; 2],
}

impl Header<'_> {
    /// Walks through the fields of a struct; `None` where the bytes end, `Some(false)` for what no page header has.
    fn fields(&mut self, depth: u32) -> Option<bool> {
        let mut id = 0u64;
        loop {
            let [kind] = *self.take(1)? else { return None };
            if kind == 0 {
                return Some(true);
            }
            id = if kind >> 4 == 0 { self.number()? >> 1 } else { id.saturating_add((kind >> 4) as u64) };
            match kind & 15 {
                1 | 2 => {} // a bool is in its kind
                3 => drop(self.take(1)?),
                4..=6 => {
                    let zigzag = self.number()?; // even numbers are the positive ones
                    if depth == 0 && (id == 2 || id == 3) {
                        self.sizes[id as usize - 2] = (zigzag & 1 == 0).then_some(zigzag >> 1);
                    }
                }
                7 => drop(self.take(8)?),
                8 => {
                    let len = self.number()?;
                    self.take(usize::try_from(len).ok()?)?;
                }
                12 if depth < 4 => match self.fields(depth + 1)? {
                    true => {}
                    false => return Some(false),
                },
                _ => return Some(false), // lists, sets and maps among them
            }
        }
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
        let mut header = Header { rest: bytes, sizes: [None; 2] };
        (header.fields(0), header.sizes)
    }

    #[test]
    fn headers_are_walked_and_lists_refused() {
        // type 0, unpacked 300, packed 5, a data page header (struct 5) with a number and a text
        let good = [0x15, 0, 0x15, 0xd8, 0x04, 0x15, 10, 0x2c, 0x15, 2, 0x18, 2, b'a', b'b', 0, 0];
        assert_eq!(walk(&good), (Some(true), [Some(300), Some(5)]));
        for end in 0..good.len() {
            assert_eq!(walk(&good[..end]).0, None);
        }
        let list = [0x15, 0, 0x15, 2, 0x15, 2, 0x19, 0xf5, 0xff, 0xff, 0xff, 0xff, 0x0f];
        assert_eq!(walk(&list).0, Some(false));
        assert_eq!(walk(&[0x15, 0, 0x15, 1, 0x15, 2, 0]).1, [None, Some(1)]); // a negative size
    }
}
