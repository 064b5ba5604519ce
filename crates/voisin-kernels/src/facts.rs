//! What must be known of values before they are compared: are they finite, how large, are they bytes?
//!
//! Folds over sixteen lanes; a plain fold of f32 waits for every addition.

use crate::{Isa, isa};

/// Whether no value is NaN or infinite.
pub fn all_finite(values: &[f32]) -> bool {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { finite_v4(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { finite_v3(values) },
        _ => finite(values),
    }
}

/// The largest magnitude; NaN values are passed over. 0 without values.
pub fn max_abs(values: &[f32]) -> f32 {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { top_v4(values) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { top_v3(values) },
        _ => top(values),
    }
}

#[inline(always)]
fn finite(values: &[f32]) -> bool {
    // the magnitude bits of NaN and infinity are the largest
    lanes(values, 0u32, |m, x| m.max(x.to_bits() & 0x7fff_ffff)) < 0x7f80_0000
}

#[inline(always)]
pub(crate) fn top(values: &[f32]) -> f32 {
    lanes(values, 0.0f32, |m, x| if x.abs() > m { x.abs() } else { m })
}

/// Folds with a `step` whose order does not matter, then takes the largest lane.
#[inline(always)]
fn lanes<T: Copy + PartialOrd>(values: &[f32], zero: T, step: impl Fn(T, f32) -> T) -> T {
    let mut acc = [zero; 32];
    let (chunks, tail) = values.as_chunks::<32>();
    for c in chunks {
        for l in 0..32 {
            acc[l] = step(acc[l], c[l]);
        }
    }
    for (l, &x) in tail.iter().enumerate() {
        acc[l] = step(acc[l], x);
    }
    acc.into_iter().fold(zero, |m, x| if x > m { x } else { m })
}

macro_rules! level {
    ($features:literal, $finite:ident, $top:ident) => {
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $finite(values: &[f32]) -> bool {
            finite(values)
        }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = $features)]
        fn $top(values: &[f32]) -> f32 {
            top(values)
        }
    };
}
level!("avx512f,avx512bw,avx512dq,avx512vl", finite_v4, top_v4);
level!("avx2", finite_v3, top_v3);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_is_looked_at() {
        for len in 1..100 {
            for at in 0..len {
                for (bad, largest) in
                    [(f32::NAN, 1.0), (f32::INFINITY, f32::INFINITY), (f32::NEG_INFINITY, f32::INFINITY), (-7.5, 7.5)]
                {
                    let mut v = vec![1.0; len];
                    v[at] = bad;
                    assert_eq!(all_finite(&v), bad == -7.5);
                    if len > 1 {
                        assert_eq!(max_abs(&v), largest);
                    }
                }
            }
        }
        assert!(all_finite(&[]) && max_abs(&[]) == 0.0);
    }
}
