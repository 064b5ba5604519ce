//! NumPy's `.npy`: a Python dict literal as header, then the numbers.
//!
//! Format: <https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html>, versions 1 to 3.

use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result, Source, StringIds, Watch};

use crate::choose::{choose, kind_of};
use crate::elem::Elem;
use crate::file::{AtomicFile, InFile};
use crate::raw::{Layout, RawSource};
use crate::write::{Encoder, stream, wanted_elem};
use crate::{Dataset, DatasetKind, Role, WriteOptions};

/// The first bytes of every npy file.
pub const MAGIC: &[u8] = b"\x93NUMPY";

/// Longest header that is read; NumPy itself refuses 10,000 characters unless told otherwise.
const LONGEST: u64 = 1 << 16;

/// Type of the elements of an array.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    Number(Elem),
    /// `<U`: this many UCS-4 characters.
    Unicode(usize),
    /// `|S`: this many bytes.
    Bytes(usize),
}

impl Kind {
    fn size(&self) -> u64 {
        match self {
            Kind::Number(e) => e.size() as u64,
            Kind::Unicode(n) => *n as u64 * 4,
            Kind::Bytes(n) => *n as u64,
        }
    }
}

/// What the header says.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Header {
    pub kind: Kind,
    pub big_endian: bool,
    pub fortran: bool,
    pub shape: Vec<u64>,
    /// Byte at which the data begins.
    pub data: u64,
}

impl Header {
    /// Reads the header of the array that begins at byte `at` of `file`; what is wrong comes back as text.
    pub(crate) fn read(file: &InFile, at: u64) -> Result<Header> {
        let want = LONGEST.min(file.len().saturating_sub(at));
        let head = file.bytes(at, want)?;
        Header::parse(&head).map_err(|what| Error::format(file.path(), what))
    }

    /// Parses the first bytes of an npy file.
    pub(crate) fn parse(head: &[u8]) -> Result<Header, String> {
        if !head.starts_with(MAGIC) {
            return Err("no .npy file: it does not begin with \\x93NUMPY".into());
        }
        let cut = || "truncated: the file ends within the .npy header".to_string();
        let &[major, _] = head.get(6..8).and_then(|b| b.first_chunk()).ok_or_else(cut)?;
        let (len, from) = match major {
            1 => (u16::from_le_bytes(*head.get(8..).and_then(|b| b.first_chunk()).ok_or_else(cut)?) as usize, 10),
            2 | 3 => (u32::from_le_bytes(*head.get(8..).and_then(|b| b.first_chunk()).ok_or_else(cut)?) as usize, 12),
            v => return Err(format!(".npy version {v}; versions 1 to 3 are known")),
        };
        if len as u64 > LONGEST - 12 {
            return Err(format!("a .npy header of {len} bytes; at most {} are read", LONGEST - 12));
        }
        let text = head.get(from..from + len).ok_or_else(cut)?;
        let text = String::from_utf8_lossy(text);
        let mut h = parse_dict(&text)?;
        h.data = (from + len) as u64;
        Ok(h)
    }

    /// Values in the array, if their bytes fit 63 bits.
    fn bytes(&self) -> Option<u64> {
        let n = self.shape.iter().try_fold(1u64, |n, &x| n.checked_mul(x))?;
        n.checked_mul(self.kind.size()).filter(|&b| b < 1 << 63)
    }

    /// As `voisin info` lists it.
    pub(crate) fn dataset(&self, name: &str) -> Dataset {
        let dtype = match self.kind {
            Kind::Number(e) => e.name(),
            _ => "str",
        };
        let order = if self.fortran && self.shape.len() > 1 { "Fortran order" } else { "C order" };
        let layout = if self.big_endian { format!("{order}, big endian") } else { order.to_string() };
        let kind = kind_of(name, &self.shape, dtype);
        Dataset { name: name.into(), shape: self.shape.clone(), dtype: dtype.into(), kind, layout }
    }

    /// A plain list as a table of one column.
    pub(crate) fn into_table(mut self) -> Header {
        if self.shape.len() == 1 {
            self.shape.push(1);
        }
        self
    }

    /// Opens the array that begins at byte `at` of `file` as vectors.
    pub(crate) fn source(&self, file: Arc<InFile>, at: u64, dataset: &str, role: Role) -> Result<RawSource> {
        let bad = |what: String| Error::format(file.path(), what);
        let Kind::Number(elem) = self.kind else { return Err(bad("an array of strings, not of numbers".into())) };
        let (n, d) = match (&self.shape[..], role) {
            (&[n, d], _) => (n, d),
            // one query is often saved as a plain vector
            (&[d], Role::Queries) => (1, d),
            (shape, _) => {
                let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
                return Err(bad(format!("an array of shape ({}); vectors are 2-dimensional, (n, d)", shape.join(", "))));
            }
        };
        let data = at.checked_add(self.data).ok_or_else(|| bad("offset out of range".into()))?;
        self.bytes().ok_or_else(|| bad(format!("a shape of {n} x {d} values is larger than any file")))?;
        let d = usize::try_from(d).map_err(|_| bad(format!("{d} dimensions")))?;
        let layout = match self.fortran && self.shape.len() == 2 {
            false => Layout::rows(data, n, d, elem),
            true => Layout::columns(data, n, d, elem),
        };
        RawSource::new(file, Layout { big_endian: self.big_endian, ..layout }, dataset)
    }

    /// Reads a one-dimensional array of strings that begins at byte `at` of `file`.
    pub(crate) fn strings(&self, file: &InFile, at: u64) -> Result<StringIds> {
        let bad = |what: &str| Error::format(file.path(), what);
        let (&[n], true) = (&self.shape[..], !matches!(self.kind, Kind::Number(_))) else {
            return Err(bad("no list of strings"));
        };
        let bytes = self.bytes().ok_or_else(|| bad("a list of strings longer than any file"))?;
        let data = file.bytes(at.saturating_add(self.data), bytes)?;
        let size = self.kind.size() as usize;
        if size == 0 {
            // n empty strings take no bytes: a crafted n must not take memory either
            return Err(bad("a list of strings of no length"));
        }
        let mut ids = StringIds::default();
        for c in data.chunks_exact(size).take(n as usize) {
            match self.kind {
                Kind::Unicode(_) => ids.push(&ucs4(c, self.big_endian).ok_or_else(|| bad("a string with an invalid character"))?),
                _ => ids.push(String::from_utf8_lossy(c).trim_end_matches('\0')),
            }
        }
        Ok(ids)
    }
}

/// UCS-4 padded with zeros, as NumPy stores `U` strings.
fn ucs4(bytes: &[u8], big: bool) -> Option<String> {
    let chars = bytes.chunks_exact(4).map(|c| {
        let c = [c[0], c[1], c[2], c[3]];
        if big { u32::from_be_bytes(c) } else { u32::from_le_bytes(c) }
    });
    let s: Option<String> = chars.map(char::from_u32).collect();
    s.map(|s| s.trim_end_matches('\0').to_string())
}

/// `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`
fn parse_dict(text: &str) -> Result<Header, String> {
    let bad = |what: &str| {
        let shown: String = text.trim_end().chars().take(120).collect();
        format!("unreadable .npy header ({what}): {shown}")
    };
    let value = |key: &str| -> Option<&str> {
        let at = text.find(&format!("'{key}'")).or_else(|| text.find(&format!("\"{key}\"")))? + key.len() + 2;
        Some(text[at..].trim_start().strip_prefix(':')?.trim_start())
    };
    let descr = value("descr").ok_or_else(|| bad("no descr"))?;
    let (kind, big_endian) = parse_descr(descr)?;
    let order = value("fortran_order").ok_or_else(|| bad("no fortran_order"))?;
    let fortran = match order {
        o if o.starts_with("True") => true,
        o if o.starts_with("False") => false,
        _ => return Err(bad("fortran_order is neither True nor False")),
    };
    let shape = value("shape").and_then(|s| s.strip_prefix('(')?.split_once(')')).ok_or_else(|| bad("no shape"))?.0;
    let shape: Result<Vec<u64>, String> = shape
        .split(',')
        .map(|x| x.trim().trim_end_matches('L')) // Python 2 wrote 3L
        .filter(|x| !x.is_empty())
        .map(|x| x.parse().map_err(|_| bad("shape")))
        .collect();
    Ok(Header { kind, big_endian, fortran, shape: shape?, data: 0 })
}

/// A type such as `'<f4'`.
fn parse_descr(text: &str) -> Result<(Kind, bool), String> {
    if text.starts_with('[') {
        return Err("an array of records (a structured dtype); only plain numbers can be read".into());
    }
    let quote = text.chars().next().filter(|c| matches!(c, '\'' | '"')).unwrap_or('\'');
    let name = text.strip_prefix(quote).and_then(|t| t.split_once(quote)).ok_or("unreadable .npy header (descr)")?.0;
    let (order, code) = match name.as_bytes().first() {
        Some(b'<' | b'>' | b'|' | b'=') => name.split_at(1),
        _ => ("<", name),
    };
    let length = || code.get(1..).and_then(|n| n.parse::<u32>().ok()).map(|n| n as usize);
    let kind = match code {
        "f2" | "f4" | "f8" | "u1" | "i1" | "u2" | "i2" | "u4" | "i4" => Elem::from_name(code).map(Kind::Number),
        "u8" => Some(Kind::Number(Elem::U64)),
        "i8" => Some(Kind::Number(Elem::I64)),
        "b1" => Some(Kind::Number(Elem::Bool)),
        "O" => return Err("an array of Python objects (dtype O); save it as plain numbers".into()),
        c if c.starts_with('U') => length().map(Kind::Unicode),
        c if c.starts_with('S') => length().map(Kind::Bytes),
        _ => None,
    };
    let kind = kind.ok_or_else(|| {
        let name: String = name.chars().take(40).collect();
        format!("elements of type '{name}'; f2 f4 f8 u1 i1 u2 i2 u4 i4 u8 i8 can be read")
    })?;
    Ok((kind, order == ">"))
}

/// Opens an array of vectors; a 1-D one is one query.
///
/// # Errors
/// [`Error::Format`] with what is wrong; [`Error::Io`].
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let h = Header::read(&file, 0)?;
    if dataset.is_some_and(|d| !d.is_empty()) {
        choose(&[h.dataset("")], dataset, role, file.path())?;
    }
    Ok(Box::new(h.source(file, 0, "", role)?))
}

/// The strings of an array of such; `None` for one of numbers.
pub(crate) fn strings_of(file: &InFile) -> Result<Option<StringIds>> {
    let header = Header::read(file, 0)?;
    if matches!(header.kind, Kind::Number(_)) { Ok(None) } else { header.strings(file, 0).map(Some) }
}

/// Lists the one array.
///
/// # Errors
/// As [`open`].
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    let set = Header::read(&InFile::open(path)?, 0)?.dataset("");
    // 2-D integers alone in a file may be vectors as well as neighbours
    let kind = if set.kind == DatasetKind::Ids && set.shape.len() == 2 { DatasetKind::Vectors } else { set.kind };
    Ok(vec![Dataset { kind, ..set }])
}

/// Header bytes of a C-order little-endian array; its length is a multiple of 64, as NumPy aligns it.
pub(crate) fn header_bytes(elem: Elem, shape: &[u64]) -> Vec<u8> {
    let code = match elem {
        Elem::F16 => "<f2",
        Elem::BF16 | Elem::F32 => "<f4",
        Elem::F64 => "<f8",
        Elem::U8 => "|u1",
        Elem::I8 => "|i1",
        Elem::Bool => "|b1",
        Elem::U16 => "<u2",
        Elem::I16 => "<i2",
        Elem::U32 => "<u4",
        Elem::I32 => "<i4",
        Elem::U64 => "<u8",
        Elem::I64 => "<i8",
    };
    header_of(code, shape)
}

/// A whole 1-D array of strings (`<U`): its header and its code points, as wide as the longest.
pub(crate) fn string_bytes(strings: &StringIds) -> Vec<u8> {
    let width = strings.iter().map(|s| s.chars().count()).max().unwrap_or(0).max(1);
    let mut out = header_of(&format!("<U{width}"), &[strings.len() as u64]);
    for s in strings.iter() {
        let end = out.len() + width * 4;
        s.chars().for_each(|c| out.extend(u32::from(c).to_le_bytes()));
        out.resize(end, 0);
    }
    out
}

fn header_of(code: &str, shape: &[u64]) -> Vec<u8> {
    let shape: Vec<String> = shape.iter().map(u64::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let dict = format!("{{'descr': '{code}', 'fortran_order': False, 'shape': ({}{comma}), }}", shape.join(", "));
    let total = (10 + dict.len() + 1).next_multiple_of(64);
    let mut out = MAGIC.to_vec();
    out.extend([1, 0]);
    out.extend(((total - 10) as u16).to_le_bytes());
    out.extend(dict.bytes());
    out.resize(total - 1, b' ');
    out.push(b'\n');
    out
}

/// Writes vectors as a C-order array, f32 unless `options.dtype` says otherwise.
///
/// # Errors
/// What reading gives; a value that the type cannot hold; [`Error::Io`]; [`Error::Stopped`]. Nothing is left then.
pub fn write(path: &Path, source: &dyn Source, options: &WriteOptions, watch: &dyn Watch) -> Result<()> {
    use Elem::*;
    let elem = wanted_elem(options, F32, &[F16, F32, F64, U8, I8, U16, I16, U32, I32, U64, I64], "npy")?;
    let mut out = AtomicFile::create(path)?;
    out.write(&header_bytes(elem, &[source.len(), source.dim() as u64]))?;
    let mut encoder = Encoder::new(source, elem);
    stream(source, "writing", watch, |start, rows| out.write(encoder.encode(start, rows)?))?;
    out.commit()
}
