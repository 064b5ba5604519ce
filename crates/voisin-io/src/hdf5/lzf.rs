//! The LZF decompressor (filter 32000, which h5py calls `lzf`).
//!
//! A stream is a sequence of literal runs and back references. A control byte below 32 is followed by that many + 1
//! literal bytes; otherwise its top three bits are a length (7: one more length byte follows) and its low five bits
//! with the next byte an offset: copy length + 2 bytes from offset + 1 bytes back. (LibLZF's format description.)

/// Decompresses to exactly `len` bytes; `None` if the stream is damaged.
pub(crate) fn decompress(input: &[u8], len: usize) -> Option<Vec<u8>> {
    // three bytes give at most 264, so a damaged length cannot ask for more than that
    let mut out = Vec::with_capacity(len.min(input.len().saturating_mul(88).saturating_add(64)));
    let mut at = 0;
    while at < input.len() {
        let control = input[at] as usize;
        at += 1;
        if control < 32 {
            out.extend_from_slice(input.get(at..at + control + 1)?);
            at += control + 1;
        } else {
            let mut length = control >> 5;
            if length == 7 {
                length += *input.get(at)? as usize;
                at += 1;
            }
            let back = ((control & 31) << 8 | *input.get(at)? as usize) + 1;
            at += 1;
            let from = out.len().checked_sub(back)?;
            for i in from..from + length + 2 {
                out.push(out[i]);
            }
        }
        if out.len() > len {
            return None;
        }
    }
    (out.len() == len).then_some(out)
}

#[cfg(test)]
mod tests {
    use super::decompress;

    #[test]
    fn literals_and_overlapping_references() {
        // "ab", then 2 + 2 bytes from two back, then a long run: 7 + 1 + 2 bytes from one back
        let stream = [1, b'a', b'b', 2 << 5, 1, 7 << 5, 1, 0];
        assert_eq!(decompress(&stream, 16).unwrap(), ["ababab", "bbbbbbbbbb"].concat().as_bytes());
    }

    #[test]
    fn damage_is_noticed() {
        assert_eq!(decompress(&[5, 1], 6), None); // literals cut off
        assert_eq!(decompress(&[1 << 5, 0], 3), None); // reference before the start
        assert_eq!(decompress(&[0, 1], 5), None); // too short
        assert_eq!(decompress(&[0, 1, 7 << 5, 255, 0], 5), None); // too long
    }
}
