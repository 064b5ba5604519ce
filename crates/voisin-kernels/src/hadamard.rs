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
        Isa::V4 => unsafe { v4(x) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { v3(x) },
        _ => body(x),
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
fn v4(x: &mut [f32]) {
    body(x);
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
    fn is_its_own_inverse_but_for_the_scale() {
        for n in [1usize, 2, 8, 16, 64, 512] {
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
