//! The fast Walsh–Hadamard transform.

use crate::{Isa, isa};

/// Replaces `x` by its Walsh–Hadamard transform, not scaled: log2(n) rounds of sums and differences, no product, so the same
/// bits everywhere.
///
/// # Panics
/// If the length is not a power of two.
pub fn hadamard(x: &mut [f32]) {
    assert!(x.len().is_power_of_two());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { v4::transform(x) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { v3(x) },
        _ => body(x),
    }
}

/// A round of a rotation: `x` times `signs`; the transform of its first `power` values, or with `last` of its last, times `scale`;
/// where these are not all, sums and differences of both halves. The same bits everywhere.
///
/// # Panics
/// If `power` is no power of two or above the length, or `x` and `signs` differ in length.
pub fn rotate_round(x: &mut [f32], signs: &[f32], power: usize, last: bool, scale: f32) {
    assert!(power.is_power_of_two() && power <= x.len() && x.len() == signs.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { v4::round(x, signs, power, last, scale) },
        _ => round_body(x, signs, power, last, scale, hadamard),
    }
}

#[inline(always)]
fn round_body(x: &mut [f32], signs: &[f32], power: usize, last: bool, scale: f32, transform: impl Fn(&mut [f32])) {
    x.iter_mut().zip(signs).for_each(|(x, s)| *x *= s);
    let n = x.len();
    let part = if last { &mut x[n - power..] } else { &mut x[..power] };
    transform(part);
    part.iter_mut().for_each(|x| *x *= scale);
    if power != n {
        let (a, b) = x.split_at_mut(n / 2);
        a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
    }
}

/// As [`body`], the same operations in the same order, with several rounds in registers: a tenth of the time.
#[cfg(target_arch = "x86_64")]
mod v4 {
    use std::arch::x86_64::*;

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn transform(x: &mut [f32]) {
        let n = x.len();
        if n < 64 {
            return super::body(x);
        }
        for chunk in x.as_chunks_mut::<64>().0 {
            let mut v = [_mm512_setzero_ps(); 4];
            for (v, lane) in v.iter_mut().zip(chunk.as_chunks::<16>().0) {
                // SAFETY: the lane has 16 values.
                *v = within(unsafe { _mm512_loadu_ps(lane.as_ptr()) });
            }
            across(&mut v);
            for (v, lane) in v.iter().zip(chunk.as_chunks_mut::<16>().0) {
                // SAFETY: as above.
                unsafe { _mm512_storeu_ps(lane.as_mut_ptr(), *v) };
            }
        }
        let mut h = 64;
        while h < n {
            h *= match n / h {
                2 => strided::<2>(x, h),
                4 => strided::<4>(x, h),
                _ => strided::<8>(x, h),
            };
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    pub(super) fn round(x: &mut [f32], signs: &[f32], power: usize, last: bool, scale: f32) {
        super::round_body(x, signs, power, last, scale, |part| transform(part));
    }

    /// Four rounds within a register: sums of values and of their partners' negatives.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn within(v: __m512) -> __m512 {
        let one = _mm512_set1_ps(1.0);
        let sign = |bits: u16| _mm512_mask_sub_ps(one, bits, _mm512_setzero_ps(), one);
        // a product with 1 or -1 is exact, so that the sum is rounded once, as it is without
        let v = _mm512_fmadd_ps(v, sign(0xaaaa), _mm512_permute_ps::<0b10_11_00_01>(v));
        let v = _mm512_fmadd_ps(v, sign(0xcccc), _mm512_permute_ps::<0b01_00_11_10>(v));
        let v = _mm512_fmadd_ps(v, sign(0xf0f0), _mm512_shuffle_f32x4::<0b10_11_00_01>(v, v));
        _mm512_fmadd_ps(v, sign(0xff00), _mm512_shuffle_f32x4::<0b01_00_11_10>(v, v))
    }

    /// The rounds between registers, near ones first.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn across<const N: usize>(v: &mut [__m512; N]) {
        let mut h = 1;
        while h < N {
            for i in 0..N {
                if i & h == 0 {
                    (v[i], v[i | h]) = (_mm512_add_ps(v[i], v[i | h]), _mm512_sub_ps(v[i], v[i | h]));
                }
            }
            h *= 2;
        }
    }

    /// The rounds of N registers that lie `h` values apart; N.
    #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
    fn strided<const N: usize>(x: &mut [f32], h: usize) -> usize {
        for group in x.chunks_exact_mut(N * h) {
            for at in (0..h).step_by(16) {
                let mut v = [_mm512_setzero_ps(); N];
                for (i, v) in v.iter_mut().enumerate() {
                    let lane = &group[i * h + at..][..16];
                    // SAFETY: the lane has 16 values.
                    *v = unsafe { _mm512_loadu_ps(lane.as_ptr()) };
                }
                across(&mut v);
                for (i, v) in v.iter().enumerate() {
                    let lane = &mut group[i * h + at..][..16];
                    // SAFETY: as above.
                    unsafe { _mm512_storeu_ps(lane.as_mut_ptr(), *v) };
                }
            }
        }
        N
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn v3(x: &mut [f32]) {
    body(x);
}

#[inline(always)]
fn body(x: &mut [f32]) {
    if x.len() < 16 {
        return small(x);
    }
    for lane in x.as_chunks_mut::<16>().0 {
        round::<1>(lane);
        round::<2>(lane);
        round::<4>(lane);
        round::<8>(lane);
    }
    let mut h = 16;
    while h < x.len() {
        for pair in x.chunks_exact_mut(2 * h) {
            let (a, b) = pair.split_at_mut(h);
            for (a, b) in a.as_chunks_mut::<16>().0.iter_mut().zip(b.as_chunks_mut::<16>().0) {
                for l in 0..16 {
                    (a[l], b[l]) = (a[l] + b[l], a[l] - b[l]);
                }
            }
        }
        h *= 2;
    }
}

#[inline(always)]
fn round<const H: usize>(x: &mut [f32; 16]) {
    let old = *x;
    for l in 0..16 {
        x[l] = if l & H == 0 { old[l] + old[l | H] } else { old[l ^ H] - old[l] };
    }
}

fn small(x: &mut [f32]) {
    let mut h = 1;
    while h < x.len() {
        for pair in x.chunks_exact_mut(2 * h) {
            let (a, b) = pair.split_at_mut(h);
            a.iter_mut().zip(b).for_each(|(a, b)| (*a, *b) = (*a + *b, *a - *b));
        }
        h *= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_level_gives_the_same_bits() {
        for n in [1usize, 16, 32, 64, 128, 256, 512, 1024, 4096] {
            let x: Vec<f32> = (0..n).map(|i| (i as f32 * 0.37).sin() * if i % 7 == 0 { 0.0 } else { 1e3 }).collect();
            let (mut fast, mut plain) = (x.clone(), x);
            hadamard(&mut fast);
            body(&mut plain);
            assert!(fast.iter().zip(&plain).all(|(a, b)| a.to_bits() == b.to_bits()), "{n}");
        }
    }

    #[test]
    fn is_its_own_inverse_but_for_the_scale() {
        for n in [1usize, 2, 8, 16, 64, 128, 256, 512, 1024, 2048, 4096] {
            let x: Vec<f32> = (0..n).map(|i| ((i * 37) % 11) as f32).collect();
            let mut y = x.clone();
            hadamard(&mut y);
            assert_eq!(y[0], x.iter().sum::<f32>());
            let mut plain = x.clone();
            small(&mut plain);
            assert_eq!(y, plain);
            hadamard(&mut y);
            assert!(y.iter().zip(&x).all(|(y, x)| *y == x * n as f32));
        }
    }
}
