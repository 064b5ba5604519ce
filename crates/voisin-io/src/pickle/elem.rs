//! Element types of numpy arrays and torch storages, and how their bytes become numbers.

use half::{bf16, f16};

/// An element type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Elem {
    F16,
    BF16,
    F32,
    F64,
    Bool,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
}

impl Elem {
    /// Bytes of one element.
    pub(crate) fn size(self) -> usize {
        match self {
            Elem::Bool | Elem::U8 | Elem::I8 => 1,
            Elem::F16 | Elem::BF16 | Elem::U16 | Elem::I16 => 2,
            Elem::F32 | Elem::U32 | Elem::I32 => 4,
            Elem::F64 | Elem::U64 | Elem::I64 => 8,
        }
    }

    /// The name shown to users.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Elem::F16 => "f16",
            Elem::BF16 => "bf16",
            Elem::F32 => "f32",
            Elem::F64 => "f64",
            Elem::Bool => "bool",
            Elem::U8 => "u8",
            Elem::I8 => "i8",
            Elem::U16 => "u16",
            Elem::I16 => "i16",
            Elem::U32 => "u32",
            Elem::I32 => "i32",
            Elem::U64 => "u64",
            Elem::I64 => "i64",
        }
    }

    /// By numpy's type code without byte order: `f4`, `i8`, `b1`.
    pub(crate) fn from_numpy(code: &str) -> Option<Elem> {
        Some(match code {
            "f2" | "e" => Elem::F16,
            "f4" | "f" => Elem::F32,
            "f8" | "d" => Elem::F64,
            "b1" | "?" => Elem::Bool,
            "u1" | "B" => Elem::U8,
            "i1" | "b" => Elem::I8,
            "u2" | "H" => Elem::U16,
            "i2" | "h" => Elem::I16,
            "u4" | "I" => Elem::U32,
            "i4" | "i" => Elem::I32,
            "u8" | "L" | "Q" => Elem::U64,
            "i8" | "l" | "q" => Elem::I64,
            _ => return None,
        })
    }

    /// By the name of a torch storage class: `FloatStorage`.
    pub(crate) fn from_torch_storage(class: &str) -> Option<Elem> {
        Some(match class {
            "HalfStorage" => Elem::F16,
            "BFloat16Storage" => Elem::BF16,
            "FloatStorage" => Elem::F32,
            "DoubleStorage" => Elem::F64,
            "BoolStorage" => Elem::Bool,
            "ByteStorage" => Elem::U8,
            "CharStorage" => Elem::I8,
            "ShortStorage" => Elem::I16,
            "IntStorage" => Elem::I32,
            "LongStorage" => Elem::I64,
            _ => return None,
        })
    }

    /// By the name of a torch dtype: `float32`.
    pub(crate) fn from_torch_dtype(name: &str) -> Option<Elem> {
        Some(match name {
            "float16" => Elem::F16,
            "bfloat16" => Elem::BF16,
            "float32" => Elem::F32,
            "float64" => Elem::F64,
            "bool" => Elem::Bool,
            "uint8" => Elem::U8,
            "int8" => Elem::I8,
            "uint16" => Elem::U16,
            "int16" => Elem::I16,
            "uint32" => Elem::U32,
            "int32" => Elem::I32,
            "uint64" => Elem::U64,
            "int64" => Elem::I64,
            _ => return None,
        })
    }

    /// Decodes `out.len()` elements of `bytes`, which holds exactly that many.
    pub(crate) fn decode(self, big: bool, bytes: &[u8], out: &mut [f32]) {
        debug_assert_eq!(bytes.len(), out.len() * self.size());
        match self {
            Elem::F16 => each(bytes, big, out, |b| f16::from_bits(u16::from_le_bytes(b)).to_f32()),
            Elem::BF16 => each(bytes, big, out, |b| bf16::from_bits(u16::from_le_bytes(b)).to_f32()),
            Elem::F32 => each(bytes, big, out, f32::from_le_bytes),
            Elem::F64 => each(bytes, big, out, |b| f64::from_le_bytes(b) as f32),
            Elem::Bool => each(bytes, big, out, |[b]| f32::from(u8::from(b != 0))),
            Elem::U8 => each(bytes, big, out, |[b]| f32::from(b)),
            Elem::I8 => each(bytes, big, out, |b| f32::from(i8::from_le_bytes(b))),
            Elem::U16 => each(bytes, big, out, |b| f32::from(u16::from_le_bytes(b))),
            Elem::I16 => each(bytes, big, out, |b| f32::from(i16::from_le_bytes(b))),
            Elem::U32 => each(bytes, big, out, |b| u32::from_le_bytes(b) as f32),
            Elem::I32 => each(bytes, big, out, |b| i32::from_le_bytes(b) as f32),
            Elem::U64 => each(bytes, big, out, |b| u64::from_le_bytes(b) as f32),
            Elem::I64 => each(bytes, big, out, |b| i64::from_le_bytes(b) as f32),
        }
    }

    /// Whether the type holds whole numbers that serve as ids rather than as components of vectors.
    pub(crate) fn is_wide_integer(self) -> bool {
        matches!(self, Elem::U16 | Elem::I16 | Elem::U32 | Elem::I32 | Elem::U64 | Elem::I64)
    }

    /// One element as an integer, if the type is one.
    pub(crate) fn integer(self, big: bool, bytes: &[u8]) -> Option<i64> {
        let mut le = [0u8; 8];
        let b = le.get_mut(..self.size())?;
        b.copy_from_slice(bytes.get(..self.size())?);
        if big {
            b.reverse();
        }
        let u = u64::from_le_bytes(le);
        Some(match self {
            Elem::Bool => i64::from(u != 0),
            Elem::U8 | Elem::U16 | Elem::U32 => u as i64,
            Elem::U64 => i64::try_from(u).ok()?,
            Elem::I8 => i64::from(u as i8),
            Elem::I16 => i64::from(u as i16),
            Elem::I32 => i64::from(u as i32),
            Elem::I64 => u as i64,
            _ => return None,
        })
    }

    /// One element as a float.
    pub(crate) fn float(self, big: bool, bytes: &[u8]) -> Option<f64> {
        let bytes = bytes.get(..self.size())?;
        if let (Elem::F64, Ok(mut b)) = (self, <[u8; 8]>::try_from(bytes)) {
            if big {
                b.reverse();
            }
            return Some(f64::from_le_bytes(b));
        }
        let mut out = [0.0f32];
        self.decode(big, bytes, &mut out);
        Some(f64::from(out[0]))
    }
}

#[inline]
fn each<const N: usize>(bytes: &[u8], big: bool, out: &mut [f32], f: impl Fn([u8; N]) -> f32) {
    let (elements, _) = bytes.as_chunks::<N>();
    if big {
        for (o, &b) in out.iter_mut().zip(elements) {
            let mut b = b;
            b.reverse();
            *o = f(b);
        }
    } else {
        for (o, &b) in out.iter_mut().zip(elements) {
            *o = f(b);
        }
    }
}
