//! A place in the bytes of a file: every length is compared with what is left before anything is made of it.

/// Why a file cannot be read, without its name.
pub(super) type Wrong = String;
pub(super) type Read<T> = Result<T, Wrong>;

/// What is left to read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cursor<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Cursor<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Cursor<'a> {
        Cursor { bytes, at: 0 }
    }

    /// Bytes from the beginning of the file.
    pub(super) fn at(&self) -> usize {
        self.at
    }

    pub(super) fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// The next `count` values of `size` bytes.
    pub(super) fn take(&mut self, count: u64, size: usize, what: &str) -> Read<&'a [u8]> {
        let bytes = usize::try_from(count).ok().and_then(|c| c.checked_mul(size));
        match bytes.filter(|b| *b <= self.left()) {
            Some(bytes) => {
                let from = self.at;
                self.at += bytes;
                Ok(&self.bytes[from..from + bytes])
            }
            None => {
                Err(format!("byte {}: {what} of {count} values of {size} bytes where {} bytes are left", self.at, self.left()))
            }
        }
    }

    fn array<const N: usize>(&mut self, what: &str) -> Read<[u8; N]> {
        Ok(self.take(1, N, what)?.try_into().expect("N bytes"))
    }

    pub(super) fn u8(&mut self, what: &str) -> Read<u8> {
        Ok(self.array::<1>(what)?[0])
    }

    pub(super) fn i32(&mut self, what: &str) -> Read<i32> {
        self.array(what).map(i32::from_le_bytes)
    }

    pub(super) fn u64(&mut self, what: &str) -> Read<u64> {
        self.array(what).map(u64::from_le_bytes)
    }

    pub(super) fn f32(&mut self, what: &str) -> Read<f32> {
        self.array(what).map(f32::from_le_bytes)
    }

    /// Four characters that say what follows.
    pub(super) fn code(&mut self) -> Read<[u8; 4]> {
        self.array("a code of four characters")
    }

    /// A count, then so many values of `size` bytes.
    pub(super) fn vector(&mut self, size: usize, what: &str) -> Read<&'a [u8]> {
        let count = self.u64(what)?;
        self.take(count, size, what)
    }

    /// As [`Cursor::vector`] with the count in units of four bytes.
    pub(super) fn words(&mut self, what: &str) -> Read<&'a [u8]> {
        self.vector(4, what)
    }

    /// A whole number that is written as i64 and must be from `least` to `most`.
    pub(super) fn number(&mut self, what: &str, least: u64, most: u64) -> Read<u64> {
        let at = self.at;
        within(self.u64(what)?, what, at, least, most)
    }

    /// As [`Cursor::number`] for an i32.
    pub(super) fn small(&mut self, what: &str, least: u64, most: u64) -> Read<u64> {
        let at = self.at;
        let found = self.i32(what)?;
        within(u64::try_from(found).unwrap_or(u64::MAX), what, at, least, most).map_err(|_| range(found, what, at, least, most))
    }
}

fn range(found: impl std::fmt::Display, what: &str, at: usize, least: u64, most: u64) -> Wrong {
    format!("byte {at}: {what} is {found} where {least} to {most} is possible")
}

fn within(found: u64, what: &str, at: usize, least: u64, most: u64) -> Read<u64> {
    if (least..=most).contains(&found) { Ok(found) } else { Err(range(found as i64, what, at, least, most)) }
}

/// f32 values as they stand in a file.
pub(super) fn floats(bytes: &[u8]) -> Vec<f32> {
    bytes.chunks_exact(4).map(|b| f32::from_le_bytes(b.try_into().expect("4 bytes"))).collect()
}

/// i64 or u64 values as they stand in a file.
pub(super) fn longs(bytes: &[u8]) -> impl ExactSizeIterator<Item = u64> + '_ {
    bytes.chunks_exact(8).map(|b| u64::from_le_bytes(b.try_into().expect("8 bytes")))
}

/// i32 values as they stand in a file.
pub(super) fn ints(bytes: &[u8]) -> impl ExactSizeIterator<Item = i32> + '_ {
    bytes.chunks_exact(4).map(|b| i32::from_le_bytes(b.try_into().expect("4 bytes")))
}

/// A code as text.
pub(super) fn name(code: [u8; 4]) -> String {
    if code.iter().all(u8::is_ascii_graphic) { String::from_utf8_lossy(&code).into_owned() } else { format!("{code:02x?}") }
}
