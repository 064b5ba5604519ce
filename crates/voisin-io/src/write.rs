//! What the writers share: streaming blocks of a source, and conversion to the element type of the target.

use std::path::Path;

use voisin::{Error, Result, Source, Watch};

use crate::{Elem, WriteOptions};

/// Values held at once while a source is written (16 MiB of f32).
const BLOCK: usize = 1 << 22;

/// Hands the rows of `source` to `f` in order: first row of the block, its values. Reports rows to `watch`.
///
/// Memory: one block of 16 MiB, or one row. Values are not screened: what a file holds is what is converted.
///
/// # Errors
/// [`Error::Empty`] without rows; what reading or `f` gives; [`Error::Stopped`].
pub fn stream(source: &dyn Source, stage: &str, watch: &dyn Watch, mut f: impl FnMut(u64, &[f32]) -> Result<()>) -> Result<()> {
    let (n, d) = (source.len(), source.dim());
    if n == 0 || d == 0 {
        return Err(Error::Empty { name: source.name() });
    }
    let rows = (BLOCK / d).max(1).min(n.min(1 << 20) as usize);
    let mut buf = vec![0f32; rows * d];
    watch.begin(stage, n, "vectors");
    let mut start = 0;
    while start < n {
        watch.check()?;
        let m = (n - start).min(rows as u64) as usize;
        source.read(start, &mut buf[..m * d])?;
        f(start, &buf[..m * d])?;
        watch.advance(m as u64);
        start += m as u64;
    }
    watch.end();
    Ok(())
}

/// The element type asked for by `--dtype`, `default` without.
///
/// # Errors
/// [`Error::Param`] if the format does not hold it.
pub fn wanted_elem(options: &WriteOptions, default: Elem, allowed: &[Elem], format: &str) -> Result<Elem> {
    let Some(name) = &options.dtype else { return Ok(default) };
    let names: Vec<&str> = allowed.iter().map(|e| e.name()).collect();
    match Elem::from_name(name) {
        Some(e) if allowed.contains(&e) => Ok(e),
        _ => Err(Error::param("dtype", name, format!("{} can hold {}", format, names.join(", ")))),
    }
}

/// Converts rows of a source to bytes of one element type, little endian; refuses what would change.
pub struct Encoder<'a> {
    source: &'a dyn Source,
    elem: Elem,
    bytes: Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// For rows of `source`.
    pub fn new(source: &'a dyn Source, elem: Elem) -> Self {
        Encoder { source, elem, bytes: Vec::new() }
    }

    /// The bytes of `values`, the rows from `start`.
    ///
    /// # Errors
    /// [`Error::Format`] naming row and value where an integer type cannot hold a value exactly, or f16 only as infinity.
    pub fn encode(&mut self, start: u64, values: &[f32]) -> Result<&[u8]> {
        self.bytes.clear();
        self.bytes.reserve(values.len() * self.elem.size());
        let out = &mut self.bytes;
        macro_rules! whole {
            ($t:ty) => {
                values.iter().try_for_each(|&x| {
                    // MAX + 1 is a power of two, exact in f64 (where i64::MAX itself would round up to it)
                    let fits = x.fract() == 0.0 && x >= <$t>::MIN as f32 && (x as f64) < <$t>::MAX as f64 + 1.0;
                    out.extend_from_slice(&(x as $t).to_le_bytes());
                    if fits { Ok(()) } else { Err(()) }
                })
            };
        }
        let done = match self.elem {
            Elem::F32 => {
                if cfg!(target_endian = "little") {
                    out.extend_from_slice(bytemuck::cast_slice(values));
                } else {
                    values.iter().for_each(|x| out.extend_from_slice(&x.to_le_bytes()));
                }
                Ok(())
            }
            Elem::F64 => {
                values.iter().for_each(|&x| out.extend_from_slice(&(x as f64).to_le_bytes()));
                Ok(())
            }
            Elem::F16 => values.iter().try_for_each(|&x| {
                let y = half::f16::from_f32(x);
                out.extend_from_slice(&y.to_le_bytes());
                if y.is_infinite() && x.is_finite() { Err(()) } else { Ok(()) }
            }),
            Elem::BF16 => {
                values.iter().for_each(|&x| out.extend_from_slice(&half::bf16::from_f32(x).to_le_bytes()));
                Ok(())
            }
            Elem::U8 => whole!(u8),
            Elem::I8 => whole!(i8),
            Elem::U16 => whole!(u16),
            Elem::I16 => whole!(i16),
            Elem::U32 => whole!(u32),
            Elem::I32 => whole!(i32),
            Elem::U64 => whole!(u64),
            Elem::I64 => whole!(i64),
            Elem::Bool => values.iter().try_for_each(|&x| {
                out.push(x as u8);
                if x == 0.0 || x == 1.0 { Ok(()) } else { Err(()) }
            }),
        };
        if done.is_err() {
            let at = self.bytes.len() / self.elem.size() - 1; // the value at fault was pushed last
            return Err(self.lossy(start, at, values[at]));
        }
        Ok(&self.bytes)
    }

    fn lossy(&self, start: u64, at: usize, value: f32) -> Error {
        let d = self.source.dim();
        let (name, row) = self.source.locate(start + (at / d) as u64);
        let (col, elem) = (at % d, self.elem.name());
        let why = if self.elem.is_float() { "is beyond its range" } else { "is not one of its whole numbers" };
        Error::format(Path::new(&name), format!("row {row}, column {col}: {value} cannot be written as {elem}: it {why}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use voisin::{Matrix, MemSource};

    fn encode(elem: Elem, values: &[f32]) -> Result<Vec<u8>> {
        let s = MemSource::new("mem", Matrix::new(values.to_vec(), 2));
        Encoder::new(&s, elem).encode(0, values).map(<[u8]>::to_vec)
    }

    #[test]
    fn what_fits_is_written_and_what_does_not_is_named() {
        assert_eq!(encode(Elem::U8, &[0.0, 255.0]).unwrap(), [0, 255]);
        assert_eq!(encode(Elem::I8, &[-128.0, 127.0]).unwrap(), [128, 127]);
        assert_eq!(encode(Elem::F16, &[1.0, -2.0]).unwrap(), [0, 0x3c, 0, 0xc0]);
        assert_eq!(encode(Elem::F32, &[1.5, f32::NAN]).unwrap().len(), 8);
        for (elem, bad) in [
            (Elem::U8, 256.0),
            (Elem::U8, -1.0),
            (Elem::U8, 0.5),
            (Elem::U8, f32::NAN),
            (Elem::I8, 128.0),
            (Elem::I32, 2147483648.0),
            (Elem::I64, 9223372036854775808.0),
            (Elem::U64, 18446744073709551616.0),
            (Elem::F16, 1e6),
            (Elem::Bool, 2.0),
        ] {
            let e = encode(elem, &[0.0, 0.0, 0.0, bad]).unwrap_err().to_string();
            assert!(e.contains("mem: row 1, column 1") && e.contains(elem.name()), "{e}");
        }
    }
}
