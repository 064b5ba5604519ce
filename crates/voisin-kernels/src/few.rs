//! One row times a packed side: what a single query needs.
//!
//! A tile of twelve rows would do twelve times the work. This walks four panels at once instead, and every element is the
//! same chain of operations as in [`crate::tiles`], so a query alone and the same query in a batch get the same bits.

use crate::{Isa, Packed, gemm::k_blocks, isa};

/// Computes x · Bᵀ for all rows of the right side, on this thread; bit for bit a row of [`crate::tiles`].
///
/// Cost: one pass over the packed side. `out` may be longer than the side has rows; the rest is padding.
///
/// # Panics
/// If `x` is not k values, `right` is a left side, or `out` is shorter than the side's whole panels.
pub fn row(x: &[f32], right: &Packed, out: &mut [f32]) {
    assert_eq!(x.len(), right.k(), "both sides of a product have the same k");
    assert_eq!(right.width(), crate::micro::kernel().right, "a right side");
    let panels = right.n().div_ceil(right.width());
    let out = &mut out[..panels * right.width()];
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { row_v4(x, right, out) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { row_v3(x, right, out) },
        _ => body::<16>(x, right, out, |s, x, y| s + x * y),
    }
}

/// W is the panel's width.
#[inline(always)]
fn body<const W: usize>(x: &[f32], right: &Packed, out: &mut [f32], step: impl Fn(f32, f32, f32) -> f32 + Copy) {
    if x.is_empty() {
        out.fill(0.0);
    }
    for (b, k) in k_blocks(x.len()).enumerate() {
        for (q, out) in out.chunks_mut(4 * W).enumerate() {
            let at = right.panels_at(&k, q * 4, out.len() / W);
            match out.len() / W {
                4 => some::<W, 4>(&x[k.clone()], at, out, b > 0, step),
                3 => some::<W, 3>(&x[k.clone()], at, out, b > 0, step),
                2 => some::<W, 2>(&x[k.clone()], at, out, b > 0, step),
                _ => some::<W, 1>(&x[k.clone()], at, out, b > 0, step),
            }
        }
    }
}

#[inline(always)]
fn some<const W: usize, const P: usize>(
    x: &[f32],
    panels: &[f32],
    out: &mut [f32],
    add: bool,
    step: impl Fn(f32, f32, f32) -> f32,
) {
    let mut acc = [[0.0f32; W]; P];
    let each: [&[[f32; W]]; P] = std::array::from_fn(|p| panels[p * x.len() * W..(p + 1) * x.len() * W].as_chunks::<W>().0);
    for (i, &v) in x.iter().enumerate() {
        for p in 0..P {
            let line = &each[p][i];
            for l in 0..W {
                acc[p][l] = step(acc[p][l], v, line[l]);
            }
        }
    }
    for (o, a) in out.as_chunks_mut::<W>().0.iter_mut().zip(acc) {
        for l in 0..W {
            o[l] = if add { o[l] + a[l] } else { a[l] };
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn row_v4(x: &[f32], right: &Packed, out: &mut [f32]) {
    body::<32>(x, right, out, |s, x, y| x.mul_add(y, s));
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn row_v3(x: &[f32], right: &Packed, out: &mut [f32]) {
    body::<16>(x, right, out, |s, x, y| x.mul_add(y, s));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{View, tiles};

    #[test]
    fn a_row_alone_has_the_bits_of_the_row_in_a_tile() {
        for (n, k) in [(1, 5), (31, 0), (40, 300), (100, 64), (140, 17), (320, 512), (97, 900)] {
            let a: Vec<f32> = (0..5 * k).map(|i| (i as f32 * 0.37).sin()).collect();
            let b: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.11).cos()).collect();
            let (left, right) = (Packed::left(View::new(&a, 5, k)), Packed::right(View::new(&b, n, k)));
            let ldc = n.next_multiple_of(right.width());
            let mut c = vec![0.0; left.width().max(12) * ldc];
            tiles(&left, 0..5, &right, 0..n, &mut c, ldc);
            let mut out = vec![f32::NAN; ldc];
            for i in 0..5 {
                row(&a[i * k..(i + 1) * k], &right, &mut out);
                for j in 0..n {
                    assert_eq!(out[j].to_bits(), c[i * ldc + j].to_bits(), "n {n}, k {k}, row {i}, column {j}");
                }
            }
        }
    }
}
