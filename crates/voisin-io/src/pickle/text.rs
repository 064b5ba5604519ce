//! Strings as protocol 0 writes them: escaped text.

/// A Python 2 string literal with its quotes, to bytes; none if it is malformed.
pub(super) fn unquote(line: &[u8]) -> Option<Vec<u8>> {
    let line = line.trim_ascii();
    let (first, last) = (line.first()?, line.last()?);
    if line.len() < 2 || first != last || !matches!(first, b'\'' | b'"') {
        return None;
    }
    let mut rest = line[1..line.len() - 1].iter().copied();
    let mut out = Vec::new();
    while let Some(b) = rest.next() {
        if b != b'\\' {
            out.push(b);
            continue;
        }
        out.push(match rest.next()? {
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'a' => 7,
            b'b' => 8,
            b'f' => 12,
            b'v' => 11,
            b'x' => hex(&mut rest, 2)? as u8,
            c @ b'0'..=b'7' => {
                let mut n = u32::from(c - b'0');
                for _ in 0..2 {
                    match rest.clone().next() {
                        Some(c @ b'0'..=b'7') => {
                            n = n * 8 + u32::from(c - b'0');
                            rest.next();
                        }
                        _ => break,
                    }
                }
                n as u8
            }
            c @ (b'\\' | b'\'' | b'"') => c,
            _ => return None,
        });
    }
    Some(out)
}

/// Python's raw-unicode-escape: Latin-1 with `\uXXXX` and `\UXXXXXXXX`; none if an escape is malformed.
pub(super) fn raw_unicode(line: &[u8]) -> Option<String> {
    let mut rest = line.iter().copied();
    let mut out = String::new();
    while let Some(b) = rest.next() {
        let digits = match (b, rest.clone().next()) {
            (b'\\', Some(b'u')) => 4,
            (b'\\', Some(b'U')) => 8,
            _ => {
                out.push(char::from(b));
                continue;
            }
        };
        rest.next();
        out.push(char::from_u32(hex(&mut rest, digits)?).unwrap_or(char::REPLACEMENT_CHARACTER));
    }
    Some(out)
}

fn hex(rest: &mut impl Iterator<Item = u8>, digits: usize) -> Option<u32> {
    (0..digits).try_fold(0u32, |n, _| Some(n << 4 | char::from(rest.next()?).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes() {
        assert_eq!(unquote(br"'a\n\x00\'\\\101'").unwrap(), b"a\n\0'\\A");
        assert_eq!(unquote(b"\"it's\"").unwrap(), b"it's");
        for bad in [&b"'"[..], b"", b"'a", b"a", br"'\x1'", br"'\q'", br"'\'"] {
            assert_eq!(unquote(bad), None, "{bad:?}");
        }
        assert_eq!(raw_unicode(b"\\u005c\\U0001f600\xe9\\").unwrap(), "\\\u{1f600}é\\");
        assert_eq!(raw_unicode(br"\ud800").unwrap(), "\u{fffd}");
        assert_eq!(raw_unicode(br"\u12"), None);
    }
}
