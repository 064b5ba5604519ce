//! The innermost tile of a matrix product, one body per instruction set.
//!
//! A tile is `left_width` rows by `right_width` columns. Both sides are packed so that step p of the product reads one
//! contiguous column of each; every element of the tile is one chain of fused multiply-adds in the order of p.

use crate::{Isa, isa};

/// Computes or adds to one tile: `left` is kc x left_width, `right` kc x right_width, `c` has row stride `ldc`.
///
/// # Safety
/// The processor has the instruction set; the pointers are valid for kc steps of the widths and for the whole tile.
pub(crate) type Micro = unsafe fn(kc: usize, left: *const f32, right: *const f32, c: *mut f32, ldc: usize, add: bool);

/// A tile kernel and its size.
#[derive(Clone, Copy)]
pub(crate) struct Kernel {
    pub(crate) left: usize,
    pub(crate) right: usize,
    pub(crate) run: Micro,
}

/// The tile kernel of the level in use.
pub(crate) fn kernel() -> Kernel {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        Isa::V4 => Kernel { left: 12, right: 32, run: v4 },
        #[cfg(target_arch = "x86_64")]
        Isa::V3 => Kernel { left: 6, right: 16, run: v3 },
        _ => Kernel { left: 4, right: 16, run: portable },
    }
}

unsafe fn portable(kc: usize, left: *const f32, right: *const f32, c: *mut f32, ldc: usize, add: bool) {
    let mut acc = [[0.0f32; 16]; 4];
    // SAFETY: the caller vouches for kc x 4 and kc x 16 packed values.
    let (left, right) = unsafe { (std::slice::from_raw_parts(left, kc * 4), std::slice::from_raw_parts(right, kc * 16)) };
    for (l, r) in left.as_chunks::<4>().0.iter().zip(right.as_chunks::<16>().0) {
        for i in 0..4 {
            for j in 0..16 {
                acc[i][j] += l[i] * r[j];
            }
        }
    }
    for (i, row) in acc.iter().enumerate() {
        // SAFETY: the caller vouches for four rows of sixteen values, ldc apart.
        let out = unsafe { std::slice::from_raw_parts_mut(c.add(i * ldc), 16) };
        for (o, &v) in out.iter_mut().zip(row) {
            *o = if add { *o + v } else { v };
        }
    }
}

// By hand, so that the 24 accumulators stay in registers. `examples/product` prints the speed; a compiled body of the same
// tile has not been measured beside it.
#[cfg(target_arch = "x86_64")]
macro_rules! tile {
    ($name:ident, $features:literal, $rows:literal, $lanes:literal, $zero:ident, $load:ident, $store:ident, $splat:ident, $fma:ident, $add:ident) => {
        #[target_feature(enable = $features)]
        unsafe fn $name(kc: usize, left: *const f32, right: *const f32, c: *mut f32, ldc: usize, add: bool) {
            use std::arch::x86_64::*;
            let mut acc = [[$zero(); 2]; $rows];
            let (mut l, mut r) = (left, right);
            for _ in 0..kc {
                // SAFETY: the caller vouches for kc steps of both packed sides.
                unsafe {
                    let (r0, r1) = ($load(r), $load(r.add($lanes)));
                    for i in 0..$rows {
                        let s = $splat(*l.add(i));
                        acc[i][0] = $fma(s, r0, acc[i][0]);
                        acc[i][1] = $fma(s, r1, acc[i][1]);
                    }
                    l = l.add($rows);
                    r = r.add(2 * $lanes);
                }
            }
            for (i, a) in acc.iter().enumerate() {
                // SAFETY: the caller vouches for the whole tile.
                unsafe {
                    let out = c.add(i * ldc);
                    let (mut x, mut y) = (a[0], a[1]);
                    if add {
                        x = $add($load(out), x);
                        y = $add($load(out.add($lanes)), y);
                    }
                    $store(out, x);
                    $store(out.add($lanes), y);
                }
            }
        }
    };
}
#[cfg(target_arch = "x86_64")]
tile!(
    v4,
    "avx512f",
    12,
    16,
    _mm512_setzero_ps,
    _mm512_loadu_ps,
    _mm512_storeu_ps,
    _mm512_set1_ps,
    _mm512_fmadd_ps,
    _mm512_add_ps
);
#[cfg(target_arch = "x86_64")]
tile!(v3, "avx2,fma", 6, 8, _mm256_setzero_ps, _mm256_loadu_ps, _mm256_storeu_ps, _mm256_set1_ps, _mm256_fmadd_ps, _mm256_add_ps);
