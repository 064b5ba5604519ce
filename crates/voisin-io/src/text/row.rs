//! One line of text: its fields, its numbers.

use std::borrow::Cow;

/// What stands between two fields.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Delimiter {
    /// Exactly this byte, spaces around it ignored.
    Byte(u8),
    /// Any run of spaces and tabs.
    Blank,
}

/// Why a line is no row of d numbers.
#[derive(Debug, PartialEq)]
pub(super) enum Fault {
    /// This many values instead of d.
    Count(usize),
    /// Field (from 1) and its text.
    NotANumber(usize, String),
}

impl Delimiter {
    pub(super) fn name(self) -> &'static str {
        match self {
            Delimiter::Byte(b'\t') => "tab separated",
            Delimiter::Byte(b',') => "comma separated",
            Delimiter::Byte(b';') => "semicolon separated",
            Delimiter::Byte(_) => "| separated",
            Delimiter::Blank => "space separated",
        }
    }

    fn skip(self, line: &[u8], mut at: usize) -> usize {
        while at < line.len() && (line[at] == b' ' || (line[at] == b'\t' && self != Delimiter::Byte(b'\t'))) {
            at += 1;
        }
        at
    }
}

/// Byte after the first field and its delimiter.
pub(super) fn after_first(line: &[u8], delimiter: Delimiter) -> usize {
    let start = delimiter.skip(line, 0);
    let mut at = start;
    if line.get(at) == Some(&b'"') {
        at += 1;
        while at < line.len() {
            match (line[at], line.get(at + 1)) {
                (b'"', Some(b'"')) => at += 2,
                (b'"', _) => {
                    at += 1;
                    break;
                }
                _ => at += 1,
            }
        }
    }
    let end = |b: &u8| match delimiter {
        Delimiter::Byte(c) => *b == c,
        Delimiter::Blank => *b == b' ' || *b == b'\t',
    };
    line[at..].iter().position(end).map_or(line.len(), |k| at + k + 1)
}

/// The fields of a line, quotes removed; a delimiter at the end adds none.
pub(super) fn fields(line: &[u8], delimiter: Delimiter) -> Vec<Cow<'_, str>> {
    let mut out = Vec::new();
    let mut rest = line;
    while !rest.is_empty() {
        if delimiter == Delimiter::Blank {
            rest = &rest[delimiter.skip(rest, 0)..];
            if rest.is_empty() {
                break;
            }
        }
        let next = after_first(rest, delimiter);
        let mut field = &rest[..next];
        if let (Delimiter::Byte(c), Some((last, before))) = (delimiter, field.split_last())
            && *last == c
        {
            field = before;
        }
        out.push(unquote(field.trim_ascii()));
        rest = &rest[next..];
    }
    out
}

fn unquote(field: &[u8]) -> Cow<'_, str> {
    match field {
        [b'"', inner @ .., b'"'] => {
            let s = String::from_utf8_lossy(inner);
            if s.contains("\"\"") { s.replace("\"\"", "\"").into() } else { s }
        }
        _ => String::from_utf8_lossy(field),
    }
}

/// A number as text files write it.
pub(super) fn number(field: &str) -> Option<f32> {
    let field = field.trim();
    fast_float2::parse(field.strip_prefix('+').unwrap_or(field)).ok()
}

/// Reads the d numbers of a line into `out`; with `named`, after the first field.
pub(super) fn parse(line: &[u8], delimiter: Delimiter, named: bool, out: &mut [f32]) -> Result<(), Fault> {
    match quick(line, delimiter, named, out) {
        Some(()) => Ok(()),
        None => careful(line, delimiter, named, out),
    }
}

/// Plain numbers with one delimiter between them; `None` for whatever needs a closer look.
fn quick(line: &[u8], delimiter: Delimiter, named: bool, out: &mut [f32]) -> Option<()> {
    let mut at = if named { after_first(line, delimiter) } else { 0 };
    let last = out.len() - 1;
    for (i, o) in out.iter_mut().enumerate() {
        at = delimiter.skip(line, at);
        let (x, len) = fast_float2::parse_partial(line.get(at..)?).ok()?;
        *o = x;
        at += len;
        if i < last {
            let b = *line.get(at)?;
            match delimiter {
                Delimiter::Byte(c) if b == c => at += 1,
                Delimiter::Byte(c) => {
                    at = delimiter.skip(line, at);
                    if *line.get(at)? != c {
                        return None;
                    }
                    at += 1;
                }
                Delimiter::Blank if b == b' ' || b == b'\t' => at += 1,
                Delimiter::Blank => return None,
            }
        }
    }
    at = delimiter.skip(line, at);
    if let (Delimiter::Byte(c), Some(&b)) = (delimiter, line.get(at))
        && b == c
    {
        at = delimiter.skip(line, at + 1); // a delimiter at the end of every line is common
    }
    (at == line.len()).then_some(())
}

/// Field by field: quoted numbers and plus signs are read, everything else is named.
fn careful(line: &[u8], delimiter: Delimiter, named: bool, out: &mut [f32]) -> Result<(), Fault> {
    let fields = fields(line, delimiter);
    let values = fields.get(named as usize..).unwrap_or_default();
    for (i, field) in values.iter().enumerate() {
        match number(field) {
            Some(x) if i < out.len() => out[i] = x,
            Some(_) => {}
            None => {
                let shown: String = field.chars().take(40).collect();
                return Err(Fault::NotANumber(i + 1 + named as usize, shown));
            }
        }
    }
    if values.len() != out.len() { Err(Fault::Count(values.len())) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(line: &str, delimiter: Delimiter, named: bool) -> Result<[f32; 3], Fault> {
        let mut out = [0.0; 3];
        parse(line.as_bytes(), delimiter, named, &mut out).map(|()| out)
    }

    #[test]
    fn what_people_write() {
        let comma = Delimiter::Byte(b',');
        let tab = Delimiter::Byte(b'\t');
        for line in ["1,2.5,-3e1", "1,2.5,-30.0,", " 1 , 2.5 ,-30 ", "+1,\"2.5\",-30", "1.0e+0,2.5,-3E+1 ,"] {
            assert_eq!(row(line, comma, false), Ok([1.0, 2.5, -30.0]), "{line}");
        }
        for line in ["1 2.5 -30", "  1\t2.5   -30  ", "1  +2.5 -30"] {
            assert_eq!(row(line, Delimiter::Blank, false), Ok([1.0, 2.5, -30.0]), "{line}");
        }
        for line in ["a\t1\t2.5\t-30", "\"a\tb\"\t1\t2.5\t-30\t", "\t1\t2.5\t-30"] {
            assert_eq!(row(line, tab, true), Ok([1.0, 2.5, -30.0]), "{line}");
        }
        assert_eq!(row("\"a,\"\"b\"\"\",1,2.5,-30", comma, true), Ok([1.0, 2.5, -30.0]));
        assert_eq!(fields(b"\"a,\"\"b\"\"\",1,", comma), ["a,\"b\"", "1"]);
        assert!(row("nan,inf,-inf", comma, false).unwrap()[0].is_nan());
    }

    #[test]
    fn what_is_wrong_is_named() {
        let comma = Delimiter::Byte(b',');
        assert_eq!(row("1,2", comma, false), Err(Fault::Count(2)));
        assert_eq!(row("1,2,3,4", comma, false), Err(Fault::Count(4)));
        assert_eq!(row("1,x2,3", comma, false), Err(Fault::NotANumber(2, "x2".into())));
        assert_eq!(row("1,,3", comma, false), Err(Fault::NotANumber(2, "".into())));
        assert_eq!(row("a,1,2,3x", comma, true), Err(Fault::NotANumber(4, "3x".into())));
        assert_eq!(row("1,2,3 4", comma, false), Err(Fault::NotANumber(3, "3 4".into())));
        assert_eq!(row("0x1,2,3", comma, false), Err(Fault::NotANumber(1, "0x1".into())));
        assert_eq!(row("a", comma, true), Err(Fault::Count(0)));
        assert_eq!(row("1 2,3", Delimiter::Blank, false), Err(Fault::NotANumber(2, "2,3".into())));
    }
}
