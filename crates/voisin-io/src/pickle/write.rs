//! Writes plain values as a pickle that Python loads, numpy arrays included.

use std::io::Write;
use std::path::Path;

use voisin::{Error, Result, StringIds};

use crate::AtomicFile;

/// A value to be pickled; arrays are borrowed.
#[derive(Clone, Debug, PartialEq)]
pub enum Py<'a> {
    /// `None`
    None,
    /// `bool`
    Bool(bool),
    /// `int`
    Int(i64),
    /// `float`
    Float(f64),
    /// `str`
    Str(&'a str),
    /// `list`
    List(Vec<Py<'a>>),
    /// `list` of `str`
    Strings(&'a StringIds),
    /// `dict` with keys of type `str`, in this order.
    Dict(Vec<(&'a str, Py<'a>)>),
    /// `numpy.ndarray` of float32, row-major, with its shape.
    F32(Vec<usize>, &'a [f32]),
    /// `numpy.ndarray` of float64, row-major, with its shape.
    F64(Vec<usize>, &'a [f64]),
    /// `numpy.ndarray` of int64, row-major, with its shape.
    I64(Vec<usize>, &'a [i64]),
}

/// Writes `value` to `path` as a pickle of protocol 4 without frames; appears under its name once complete.
///
/// Read by Python 3.4 and newer; arrays need numpy of any version. Cost: one pass over the data.
///
/// # Errors
/// [`Error::Io`]; [`Error::Param`] for an array whose shape does not fit its values.
pub fn write(path: &Path, value: &Py<'_>) -> Result<()> {
    let mut file = AtomicFile::create(path)?;
    let shapes = check(value);
    shapes.map_err(|got| Error::param("shape", got, "as many elements as there are values"))?;
    to_writer(file.out(), value).map_err(|e| Error::io(path, e))?;
    file.commit()
}

fn check(value: &Py<'_>) -> Result<(), String> {
    let fits = |shape: &[usize], len: usize| {
        let ok = shape.iter().try_fold(1usize, |p, &n| p.checked_mul(n)) == Some(len);
        if ok { Ok(()) } else { Err(format!("{shape:?}")) }
    };
    match value {
        Py::F32(shape, data) => fits(shape, data.len()),
        Py::F64(shape, data) => fits(shape, data.len()),
        Py::I64(shape, data) => fits(shape, data.len()),
        Py::List(items) => items.iter().try_for_each(check),
        Py::Dict(pairs) => pairs.iter().try_for_each(|(_, v)| check(v)),
        _ => Ok(()),
    }
}

fn to_writer(out: &mut impl Write, value: &Py<'_>) -> std::io::Result<()> {
    out.write_all(b"\x80\x04")?;
    put(out, value)?;
    out.write_all(b".")
}

fn put(out: &mut impl Write, value: &Py<'_>) -> std::io::Result<()> {
    match value {
        Py::None => out.write_all(b"N"),
        Py::Bool(b) => out.write_all(if *b { b"\x88" } else { b"\x89" }),
        Py::Int(i) => int(out, *i),
        Py::Float(x) => {
            out.write_all(b"G")?;
            out.write_all(&x.to_be_bytes())
        }
        Py::Str(s) => string(out, s),
        Py::List(items) => {
            out.write_all(b"](")?;
            items.iter().try_for_each(|v| put(out, v))?;
            out.write_all(b"e")
        }
        Py::Strings(items) => {
            out.write_all(b"](")?;
            items.iter().try_for_each(|s| string(out, s))?;
            out.write_all(b"e")
        }
        Py::Dict(pairs) => {
            out.write_all(b"}(")?;
            for (k, v) in pairs {
                string(out, k)?;
                put(out, v)?;
            }
            out.write_all(b"u")
        }
        Py::F32(shape, data) => array(out, shape, "f4", data.iter().map(|x| x.to_le_bytes()), data.len() * 4),
        Py::F64(shape, data) => array(out, shape, "f8", data.iter().map(|x| x.to_le_bytes()), data.len() * 8),
        Py::I64(shape, data) => array(out, shape, "i8", data.iter().map(|x| x.to_le_bytes()), data.len() * 8),
    }
}

/// Appends an int to a pickle in memory.
pub(crate) fn put_int(out: &mut Vec<u8>, i: i64) {
    int(out, i).expect("memory takes all bytes");
}

fn int(out: &mut impl Write, i: i64) -> std::io::Result<()> {
    match (u8::try_from(i), i32::try_from(i)) {
        (Ok(b), _) => out.write_all(&[b'K', b]),
        (_, Ok(i)) => {
            out.write_all(b"J")?;
            out.write_all(&i.to_le_bytes())
        }
        _ => {
            out.write_all(b"\x8a\x08")?;
            out.write_all(&i.to_le_bytes())
        }
    }
}

fn string(out: &mut impl Write, s: &str) -> std::io::Result<()> {
    match u8::try_from(s.len()) {
        Ok(n) => out.write_all(&[0x8c, n])?,
        Err(_) => {
            out.write_all(b"\x8d")?;
            out.write_all(&(s.len() as u64).to_le_bytes())?;
        }
    }
    out.write_all(s.as_bytes())
}

/// As numpy itself pickles in protocol 4: `_reconstruct(ndarray, (0,), b"b")`, then the state
/// `(1, shape, dtype, False, bytes)`. The module's old name is known to every version of numpy.
fn array<const N: usize>(
    out: &mut impl Write,
    shape: &[usize],
    code: &str,
    elements: impl Iterator<Item = [u8; N]>,
    len: usize,
) -> std::io::Result<()> {
    out.write_all(b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\0\x85C\x01b\x87R(K\x01(")?;
    shape.iter().try_for_each(|&n| int(out, n as i64))?;
    out.write_all(b"tcnumpy\ndtype\n")?;
    string(out, code)?;
    out.write_all(b"\x89\x88\x87R(K\x03\x8c\x01<NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\0tb\x89\x8e")?;
    out.write_all(&(len as u64).to_le_bytes())?;
    for e in elements {
        out.write_all(&e)?;
    }
    out.write_all(b"tb")
}
