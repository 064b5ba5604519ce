//! The file as the library's page reader sees it.
//!
//! That reader allocates what a page's header says the page unpacks to, up to 2 GiB, before it looks at the page. So the
//! header is looked at first: Thrift's compact protocol writes its first three fields (type, unpacked size, packed size)
//! as the byte 0x15 and a zigzag number each.

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
        let len = self.0.len().saturating_sub(start).min(24);
        let head = self.get_bytes(start, len as usize)?;
        let wrong = || ParquetError::General(format!("no page header at byte {start}"));
        let (unpacked, packed) = sizes(&head).ok_or_else(wrong)?;
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

/// Bytes of a page unpacked and packed.
fn sizes(mut head: &[u8]) -> Option<(u64, u64)> {
    let mut field = || {
        head = head.strip_prefix(&[0x15])?;
        let end = head.iter().take(5).position(|b| b & 0x80 == 0)?;
        let number = head[..=end].iter().rev().fold(0u64, |n, b| n << 7 | (b & 0x7f) as u64);
        head = &head[end + 1..];
        // zigzag: even numbers are the positive ones
        (number & 1 == 0).then_some(number >> 1)
    };
    field()?;
    Some((field()?, field()?))
}
