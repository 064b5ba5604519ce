//! Element types of numeric data sets and how their bytes become f32 or i64.

use hdf5_reader::{ByteOrder, Datatype};

/// A numeric element type that can be read as f32.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    F16,
    Bf16,
    F32,
    F64,
    U8,
    I8,
    U16,
    I16,
    U32,
    I32,
    U64,
    I64,
}

/// Element type and byte order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Elem {
    pub kind: Kind,
    pub big_endian: bool,
}

impl Elem {
    /// The element type of a data set, if it is one that can be read; `raw` is its datatype message.
    ///
    /// The parsed type keeps only the size of a float, so the field layout is compared with IEEE 754 here
    /// (HDF5 file format, IV.A.2.d: bit offset, precision, exponent and mantissa positions).
    pub fn of(dtype: &Datatype, raw: &[u8]) -> Option<Elem> {
        let (kind, order) = match *dtype {
            Datatype::FloatingPoint { size, byte_order } => {
                let fields: [u8; 4] = raw.get(12..16)?.try_into().ok()?;
                let kind = match (size, fields) {
                    (2, [10, 5, 0, 10]) => Kind::F16,
                    (2, [7, 8, 0, 7]) => Kind::Bf16,
                    (4, [23, 8, 0, 23]) => Kind::F32,
                    (8, [52, 11, 0, 52]) => Kind::F64,
                    _ => return None,
                };
                (kind, byte_order)
            }
            Datatype::FixedPoint { size, signed, byte_order } => {
                let kind = match (size, signed) {
                    (1, false) => Kind::U8,
                    (1, true) => Kind::I8,
                    (2, false) => Kind::U16,
                    (2, true) => Kind::I16,
                    (4, false) => Kind::U32,
                    (4, true) => Kind::I32,
                    (8, false) => Kind::U64,
                    (8, true) => Kind::I64,
                    _ => return None,
                };
                (kind, byte_order)
            }
            _ => return None,
        };
        Some(Elem { kind, big_endian: order == ByteOrder::BigEndian && kind.size() > 1 })
    }

    pub fn size(self) -> usize {
        self.kind.size()
    }

    /// Whether the bytes of a value in the file are those of an f32 in memory.
    pub fn is_native_f32(self) -> bool {
        self.kind == Kind::F32 && self.big_endian == cfg!(target_endian = "big")
    }

    /// Bytes to f32, one value for each of `out`.
    pub fn decode(self, bytes: &[u8], out: &mut [f32]) {
        macro_rules! convert {
            ($t:ty) => {
                if self.big_endian {
                    each(bytes, out, |b| <$t>::from_be_bytes(b) as f32)
                } else {
                    each(bytes, out, |b| <$t>::from_le_bytes(b) as f32)
                }
            };
        }
        match self.kind {
            Kind::F16 if !self.big_endian => decode_f16(bytes, out),
            Kind::F16 => each(bytes, out, |b| half::f16::from_be_bytes(b).to_f32()),
            Kind::Bf16 if self.big_endian => each(bytes, out, |b| half::bf16::from_be_bytes(b).to_f32()),
            Kind::Bf16 => each(bytes, out, |b| half::bf16::from_le_bytes(b).to_f32()),
            Kind::F32 => convert!(f32),
            Kind::F64 => convert!(f64),
            Kind::U8 => convert!(u8),
            Kind::I8 => convert!(i8),
            Kind::U16 => convert!(u16),
            Kind::I16 => convert!(i16),
            Kind::U32 => convert!(u32),
            Kind::I32 => convert!(i32),
            Kind::U64 => convert!(u64),
            Kind::I64 => convert!(i64),
        }
    }

    /// Bytes to i64; `None` for floats and for values beyond i64.
    pub fn decode_i64(self, bytes: &[u8]) -> Option<Vec<i64>> {
        macro_rules! convert {
            ($t:ty) => {
                bytes
                    .chunks_exact(size_of::<$t>())
                    .map(|b| {
                        let b = b.try_into().expect("chunks_exact gives the size asked for");
                        let v = if self.big_endian { <$t>::from_be_bytes(b) } else { <$t>::from_le_bytes(b) };
                        i64::try_from(v).ok()
                    })
                    .collect()
            };
        }
        match self.kind {
            Kind::F16 | Kind::Bf16 | Kind::F32 | Kind::F64 => None,
            Kind::U8 => convert!(u8),
            Kind::I8 => convert!(i8),
            Kind::U16 => convert!(u16),
            Kind::I16 => convert!(i16),
            Kind::U32 => convert!(u32),
            Kind::I32 => convert!(i32),
            Kind::U64 => convert!(u64),
            Kind::I64 => convert!(i64),
        }
    }
}

impl Kind {
    pub fn size(self) -> usize {
        match self {
            Kind::U8 | Kind::I8 => 1,
            Kind::F16 | Kind::Bf16 | Kind::U16 | Kind::I16 => 2,
            Kind::F32 | Kind::U32 | Kind::I32 => 4,
            Kind::F64 | Kind::U64 | Kind::I64 => 8,
        }
    }

    pub fn name(self) -> &'static str {
        match self {
            Kind::F16 => "f16",
            Kind::Bf16 => "bf16",
            Kind::F32 => "f32",
            Kind::F64 => "f64",
            Kind::U8 => "u8",
            Kind::I8 => "i8",
            Kind::U16 => "u16",
            Kind::I16 => "i16",
            Kind::U32 => "u32",
            Kind::I32 => "i32",
            Kind::U64 => "u64",
            Kind::I64 => "i64",
        }
    }

    pub fn is_float(self) -> bool {
        matches!(self, Kind::F16 | Kind::Bf16 | Kind::F32 | Kind::F64)
    }
}

fn each<const N: usize>(bytes: &[u8], out: &mut [f32], f: impl Fn([u8; N]) -> f32) {
    for (o, b) in out.iter_mut().zip(bytes.chunks_exact(N)) {
        *o = f(b.try_into().expect("chunks_exact gives the size asked for"));
    }
}

fn decode_f16(bytes: &[u8], out: &mut [f32]) {
    use half::slice::HalfFloatSliceExt;
    match bytemuck::try_cast_slice::<u8, half::f16>(bytes) {
        Ok(values) if cfg!(target_endian = "little") => values[..out.len()].convert_to_f32_slice(out),
        _ => each(bytes, out, |b| half::f16::from_le_bytes(b).to_f32()),
    }
}
