//! Element types of files, and their conversion to f32 in big blocks.

/// The type of one number in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs)]
pub enum Elem {
    F16,
    BF16,
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
    Bool,
}

impl Elem {
    /// Bytes of one.
    pub fn size(self) -> usize {
        match self {
            Elem::U8 | Elem::I8 | Elem::Bool => 1,
            Elem::F16 | Elem::BF16 | Elem::U16 | Elem::I16 => 2,
            Elem::F32 | Elem::U32 | Elem::I32 => 4,
            Elem::F64 | Elem::U64 | Elem::I64 => 8,
        }
    }

    /// Its name as `voisin info` prints it.
    pub fn name(self) -> &'static str {
        match self {
            Elem::F16 => "f16",
            Elem::BF16 => "bf16",
            Elem::F32 => "f32",
            Elem::F64 => "f64",
            Elem::U8 => "u8",
            Elem::I8 => "i8",
            Elem::U16 => "u16",
            Elem::I16 => "i16",
            Elem::U32 => "u32",
            Elem::I32 => "i32",
            Elem::U64 => "u64",
            Elem::I64 => "i64",
            Elem::Bool => "bool",
        }
    }

    /// Reads a name as [`Elem::name`] or NumPy writes it.
    pub fn from_name(name: &str) -> Option<Elem> {
        Some(match name {
            "f16" | "float16" | "half" | "f2" => Elem::F16,
            "bf16" | "bfloat16" => Elem::BF16,
            "f32" | "float32" | "float" | "f4" => Elem::F32,
            "f64" | "float64" | "double" | "f8" => Elem::F64,
            "u8" | "uint8" | "u1" => Elem::U8,
            "i8" | "int8" | "i1" => Elem::I8,
            "u16" | "uint16" | "u2" => Elem::U16,
            "i16" | "int16" | "i2" => Elem::I16,
            "u32" | "uint32" | "u4" => Elem::U32,
            "i32" | "int32" | "i4" => Elem::I32,
            "uint64" | "u64" => Elem::U64,
            "int64" | "i64" => Elem::I64,
            "bool" => Elem::Bool,
            _ => return None,
        })
    }

    /// Whether it is a floating-point type.
    pub fn is_float(self) -> bool {
        matches!(self, Elem::F16 | Elem::BF16 | Elem::F32 | Elem::F64)
    }

    /// Converts `bytes` (`out.len()` elements, little endian unless `big`) to f32.
    ///
    /// # Panics
    /// If the lengths do not match.
    pub fn decode(self, bytes: &[u8], big: bool, out: &mut [f32]) {
        assert_eq!(bytes.len(), out.len() * self.size());
        macro_rules! each {
            ($t:ty, $n:literal, $f:expr) => {{
                let of = |c: &[u8]| <[u8; $n]>::try_from(c).expect("exact chunks");
                let pairs = out.iter_mut().zip(bytes.chunks_exact($n));
                if big {
                    pairs.for_each(|(o, c)| *o = $f(<$t>::from_be_bytes(of(c))));
                } else {
                    pairs.for_each(|(o, c)| *o = $f(<$t>::from_le_bytes(of(c))));
                }
            }};
        }
        match self {
            Elem::F16 if !big => f16_le(bytes, out),
            Elem::F16 => each!(u16, 2, |x| half::f16::from_bits(x).to_f32()),
            Elem::BF16 => each!(u16, 2, |x| f32::from_bits((x as u32) << 16)),
            Elem::F32 => each!(f32, 4, |x| x),
            Elem::F64 => each!(f64, 8, |x| x as f32),
            Elem::U8 => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = b as f32),
            Elem::I8 => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = b as i8 as f32),
            Elem::Bool => out.iter_mut().zip(bytes).for_each(|(o, &b)| *o = (b != 0) as u8 as f32),
            Elem::U16 => each!(u16, 2, |x| x as f32),
            Elem::I16 => each!(i16, 2, |x| x as f32),
            Elem::U32 => each!(u32, 4, |x| x as f32),
            Elem::I32 => each!(i32, 4, |x| x as f32),
            Elem::U64 => each!(u64, 8, |x| x as f32),
            Elem::I64 => each!(i64, 8, |x| x as f32),
        }
    }
}

/// f16 to f32 through the hardware's conversion; bytes that lie unaligned go through a small aligned buffer.
fn f16_le(bytes: &[u8], out: &mut [f32]) {
    if cfg!(target_endian = "little")
        && let Ok(bits) = bytemuck::try_cast_slice::<u8, u16>(bytes)
    {
        return voisin_kernels::f16_to_f32(bits, out);
    }
    let mut bits = [0u16; 1024];
    for (o, b) in out.chunks_mut(1024).zip(bytes.chunks(2048)) {
        for (x, c) in bits.iter_mut().zip(b.chunks_exact(2)) {
            *x = u16::from_le_bytes([c[0], c[1]]);
        }
        voisin_kernels::f16_to_f32(&bits[..o.len()], o);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(elem: Elem, bytes: &[u8], big: bool) -> f32 {
        let mut out = [0.0];
        elem.decode(bytes, big, &mut out);
        out[0]
    }

    #[test]
    fn every_type_in_both_orders() {
        for (elem, le, want) in [
            (Elem::F16, half::f16::from_f32(-1.5).to_le_bytes().to_vec(), -1.5),
            (Elem::BF16, half::bf16::from_f32(2.5).to_le_bytes().to_vec(), 2.5),
            (Elem::F32, 3.25f32.to_le_bytes().to_vec(), 3.25),
            (Elem::F64, (-7.0f64).to_le_bytes().to_vec(), -7.0),
            (Elem::U16, 65535u16.to_le_bytes().to_vec(), 65535.0),
            (Elem::I16, (-3i16).to_le_bytes().to_vec(), -3.0),
            (Elem::U32, 77u32.to_le_bytes().to_vec(), 77.0),
            (Elem::I32, (-77i32).to_le_bytes().to_vec(), -77.0),
            (Elem::U64, 1u64.to_le_bytes().to_vec(), 1.0),
            (Elem::I64, (-1i64).to_le_bytes().to_vec(), -1.0),
            (Elem::U8, vec![255], 255.0),
            (Elem::I8, vec![255], -1.0),
            (Elem::Bool, vec![1], 1.0),
        ] {
            assert_eq!(one(elem, &le, false), want, "{}", elem.name());
            let be: Vec<u8> = le.iter().rev().copied().collect();
            assert_eq!(one(elem, &be, true), want, "{} big endian", elem.name());
            assert_eq!(Elem::from_name(elem.name()), Some(elem));
        }
    }

    #[test]
    fn all_halves_aligned_or_not() {
        let mut bytes = vec![0u8];
        (0..=u16::MAX).for_each(|b| bytes.extend(b.to_le_bytes()));
        let mut out = vec![0.0; 65536];
        for at in [0, 1] {
            let b: Vec<u8> = bytes[1 - at..].to_vec();
            f16_le(&b[at..at + 131072 - 2 * (1 - at)], &mut out[..65536 - (1 - at)]);
            if at == 1 {
                for (i, x) in out.iter().enumerate() {
                    let want = half::f16::from_bits(i as u16).to_f32();
                    assert!(*x == want || (x.is_nan() && want.is_nan()));
                }
            }
        }
    }
}
