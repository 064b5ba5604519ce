//! Half precision to and from f32.

use crate::{Isa, isa};

/// Widens IEEE half-precision values (as bits) to f32; exact.
///
/// # Panics
/// If the lengths differ.
pub fn f16_to_f32(bits: &[u16], out: &mut [f32]) {
    assert_eq!(bits.len(), out.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 | Isa::V3 => unsafe { widen_f16c(bits, out) },
        _ => {
            for (o, &b) in out.iter_mut().zip(bits) {
                *o = widen(b);
            }
        }
    }
}

/// Rounds f32 values to half precision (nearest, ties to even); too large becomes infinite.
///
/// # Panics
/// If the lengths differ.
pub fn f32_to_f16(values: &[f32], out: &mut [u16]) {
    assert_eq!(values.len(), out.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 | Isa::V3 => unsafe { narrow_f16c(values, out) },
        _ => {
            for (o, &v) in out.iter_mut().zip(values) {
                *o = narrow(v);
            }
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
fn widen_f16c(bits: &[u16], out: &mut [f32]) {
    use std::arch::x86_64::*;
    let (b, tail) = bits.as_chunks::<8>();
    let (o, otail) = out.as_chunks_mut::<8>();
    for (b, o) in b.iter().zip(o) {
        // SAFETY: both arrays hold exactly the eight values that are loaded and stored.
        unsafe { _mm256_storeu_ps(o.as_mut_ptr(), _mm256_cvtph_ps(_mm_loadu_si128(b.as_ptr().cast()))) };
    }
    for (o, &b) in otail.iter_mut().zip(tail) {
        *o = widen(b);
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx,f16c")]
fn narrow_f16c(values: &[f32], out: &mut [u16]) {
    use std::arch::x86_64::*;
    let (v, tail) = values.as_chunks::<8>();
    let (o, otail) = out.as_chunks_mut::<8>();
    for (v, o) in v.iter().zip(o) {
        // SAFETY: both arrays hold exactly the eight values that are loaded and stored.
        unsafe {
            let h = _mm256_cvtps_ph::<_MM_FROUND_TO_NEAREST_INT>(_mm256_loadu_ps(v.as_ptr()));
            _mm_storeu_si128(o.as_mut_ptr().cast(), h);
        }
    }
    for (o, &v) in otail.iter_mut().zip(tail) {
        *o = narrow(v);
    }
}

fn widen(b: u16) -> f32 {
    let (sign, exp, man) = ((b as u32 & 0x8000) << 16, (b >> 10) & 31, b as u32 & 0x3ff);
    match exp {
        0 => f32::from_bits(sign | (man as f32 * 2f32.powi(-24)).to_bits()),
        31 if man != 0 => f32::from_bits(sign | 0x7fc0_0000 | man << 13),
        31 => f32::from_bits(sign | 0x7f80_0000),
        e => f32::from_bits(sign | (e as u32 + 112) << 23 | man << 13),
    }
}

fn narrow(v: f32) -> u16 {
    let bits = v.to_bits();
    let sign = ((bits >> 16) & 0x8000) as u16;
    let a = f32::from_bits(bits & 0x7fff_ffff);
    if a.is_nan() {
        return sign | 0x7e00 | ((bits >> 13) & 0x3ff) as u16;
    }
    if a >= 65520.0 {
        return sign | 0x7c00;
    }
    if a < 2f32.powi(-14) {
        // subnormal: the f32 addition rounds to multiples of 2^-24, ties to even
        return sign | ((a + 0.5).to_bits() - 0.5f32.to_bits()) as u16;
    }
    let r = bits & 0x7fff_ffff;
    sign | ((r + 0xfff + ((r >> 13) & 1) - (112 << 23)) >> 13) as u16
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_value_agrees_with_the_scalar_definition() {
        let all: Vec<u16> = (0..=u16::MAX).collect();
        let mut out = vec![0.0; all.len()];
        f16_to_f32(&all, &mut out);
        for (&b, &o) in all.iter().zip(&out) {
            assert!(widen(b).to_bits() == o.to_bits() || (o.is_nan() && widen(b).is_nan()), "{b:#x}");
        }
        let mut back = vec![0; all.len()];
        f32_to_f16(&out, &mut back);
        for (&b, &r) in all.iter().zip(&back) {
            assert!(b == r || widen(b).is_nan());
        }
    }

    #[test]
    fn rounding_agrees_between_scalar_and_vector() {
        let v: Vec<f32> =
            (0..200_000u32).map(|i| f32::from_bits(i.wrapping_mul(2_654_435_761))).filter(|x| !x.is_nan()).collect();
        let mut out = vec![0; v.len()];
        f32_to_f16(&v, &mut out);
        for (&x, &h) in v.iter().zip(&out) {
            assert_eq!(narrow(x), h, "{x:e}");
        }
    }
}
