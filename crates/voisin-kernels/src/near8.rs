//! Which columns are near enough, straight from the products of 8-bit codes.
//!
//! A tile's products become keys while they are in registers; where d is small, storing them and reading them again would
//! take as long as the products themselves.

#![allow(clippy::needless_range_loop)] // kernels: the index is the lane or the row of a tile

use crate::int8::{Codes8Ref, Facts, LEFT, RIGHT, Rows8};
use crate::one8::{self, FEW8, few8};
use crate::{int8_available, tiles8};
use std::ops::Range;

/// Appends to `out[i]` (column − cols.start, lower bound of its key) of every column of `cols` whose lower bound is at most
/// `limits[i]`, for each of `rows`; columns in ascending order. Columns taken out never appear, whatever the limit.
///
/// As [`few8`] or [`tiles8`] with [`Codes8Ref::below`], in one go where there are many rows. `products` is a buffer to be
/// used again.
///
/// # Panics
/// If `limits` or `out` are not as many as `rows`; if there are more than [`FEW8`] rows and they start off a panel; if
/// `cols` starts off a panel; if ranges or sides do not fit, as for [`tiles8`].
pub fn near8<'a>(
    left: &Rows8,
    rows: Range<usize>,
    right: impl Into<Codes8Ref<'a>>,
    cols: Range<usize>,
    limits: &[f32],
    products: &mut Vec<i32>,
    out: &mut [Vec<(u32, f32)>],
) {
    let right = right.into();
    one8::check(left, &rows, &right, &cols);
    assert!(limits.len() == rows.len() && out.len() == rows.len(), "a limit and a list for every row");
    assert!(rows.len() <= FEW8 || rows.start.is_multiple_of(LEFT), "many rows start at a panel");
    #[cfg(target_arch = "x86_64")]
    if rows.len() > FEW8 && int8_available() {
        let tile = |first: usize| Tile::new(left, first..(first + LEFT).min(rows.end), &right, &limits[first - rows.start..]);
        let tiles: Vec<Tile> = rows.clone().step_by(LEFT).map(tile).collect();
        // a panel stays in the first cache while all rows meet it
        for from in cols.clone().step_by(RIGHT) {
            for (tile, out) in tiles.iter().zip(out.chunks_mut(LEFT)) {
                // SAFETY: VNNI is there; the sides and ranges were checked.
                unsafe { tile.near_vnni(left, right, from, &cols, out) };
            }
        }
        return;
    }
    let ldc = cols.len().next_multiple_of(RIGHT);
    let height = if rows.len() <= FEW8 { rows.len() } else { rows.len().next_multiple_of(LEFT) };
    products.resize(products.len().max(height * ldc), 0);
    if rows.len() <= FEW8 {
        few8(left, rows.clone(), right, cols.clone(), products, ldc);
    } else {
        tiles8(left, rows.clone(), right, cols.clone(), products, ldc);
    }
    for (i, row) in rows.enumerate() {
        right.below(&products[i * ldc..][..cols.len()], cols.clone(), left.row(row), limits[i].min(f32::MAX), &mut out[i]);
    }
}

/// What twelve rows ask: a product passes if bias − weight · e − scale · s · (product − offset) <= limit.
struct Tile {
    first: usize,
    rows: usize,
    less: [i32; LEFT],
    scale: [f32; LEFT],
    weight: [f32; LEFT],
    limit: [f32; LEFT],
    shift: [f32; LEFT],
}

impl Tile {
    fn new(left: &Rows8, rows: Range<usize>, right: &Codes8Ref<'_>, limits: &[f32]) -> Tile {
        let mut tile = Tile {
            first: rows.start,
            rows: rows.len(),
            less: [0; LEFT],
            scale: [0.0; LEFT],
            weight: [0.0; LEFT],
            limit: [f32::NEG_INFINITY; LEFT],
            shift: [0.0; LEFT],
        };
        for (i, row) in rows.enumerate() {
            let Facts { scale, offset, weight, shift } = right.facts(left.row(row));
            (tile.less[i], tile.scale[i], tile.weight[i], tile.shift[i]) = (-offset, scale, weight, shift);
            // rounding the sum is within the slack of `shift`
            tile.limit[i] = (limits[i] + shift).min(f32::MAX);
        }
        tile
    }

    /// The tile's rows with the panel from column `from`. Plain loops: a closure that is not inlined would take the
    /// accumulators out of their registers.
    #[cfg(target_arch = "x86_64")]
    #[target_feature(enable = "avx512f,avx512vnni")]
    unsafe fn near_vnni(
        &self,
        left: &Rows8,
        right: Codes8Ref<'_>,
        from: usize,
        cols: &Range<usize>,
        out: &mut [Vec<(u32, f32)>],
    ) {
        use std::arch::x86_64::*;
        let groups = left.groups;
        let mut l = left.panels[self.first / LEFT * groups * LEFT * 4..][..groups * LEFT * 4].as_ptr().cast::<i32>();
        let mut r = right.panels[from / RIGHT * right.lines()..][..right.lines()].as_ptr();
        let mut acc = [[_mm512_setzero_si512(); 2]; LEFT];
        for i in 0..LEFT {
            acc[i] = [_mm512_set1_epi32(self.less[i]); 2];
        }
        for _ in 0..groups {
            // SAFETY: both panels hold `groups` steps.
            unsafe {
                let (r0, r1) = (_mm512_load_si512(r.cast()), _mm512_load_si512(r.add(1).cast()));
                for i in 0..LEFT {
                    let s = _mm512_set1_epi32(l.add(i).read_unaligned());
                    acc[i][0] = _mm512_dpbusd_epi32(acc[i][0], r0, s);
                    acc[i][1] = _mm512_dpbusd_epi32(acc[i][1], r1, s);
                }
                l = l.add(LEFT);
                r = r.add(2);
            }
        }
        let there = u32::MAX >> (RIGHT - (cols.end - from).min(RIGHT));
        let there = [there as __mmask16, (there >> 16) as __mmask16];
        let mut facts = [[_mm512_setzero_ps(); 3]; 2];
        for half in 0..2 {
            let (at, m) = (from + half * 16, there[half]);
            // SAFETY: only values that are there are loaded.
            unsafe {
                facts[half][0] = _mm512_maskz_loadu_ps(m, right.bias.as_ptr().wrapping_add(at));
                facts[half][1] = _mm512_maskz_loadu_ps(m, right.scale.as_ptr().wrapping_add(at));
                facts[half][2] = _mm512_maskz_loadu_ps(m, right.error.as_ptr().wrapping_add(at));
            }
        }
        // all masks first: the registers that hold products are not kept across calls
        let mut masks = [0u32; LEFT];
        let mut any = 0;
        for i in 0..LEFT {
            let (weight, scale, limit) =
                (_mm512_set1_ps(self.weight[i]), _mm512_set1_ps(self.scale[i]), _mm512_set1_ps(self.limit[i]));
            for half in 0..2 {
                let [b, s, e] = facts[half];
                let p = _mm512_mul_ps(_mm512_cvtepi32_ps(acc[i][half]), s);
                let key = _mm512_fnmadd_ps(scale, p, _mm512_fnmadd_ps(weight, e, b));
                let mask = _mm512_mask_cmp_ps_mask::<_CMP_LE_OQ>(there[half], key, limit);
                masks[i] |= (mask as u32) << (16 * half);
            }
            any |= masks[i];
        }
        if any != 0 {
            let mut products = [[0i32; RIGHT]; LEFT];
            for i in 0..LEFT {
                // SAFETY: room for 32 values.
                unsafe {
                    _mm512_storeu_si512(products[i].as_mut_ptr().cast(), acc[i][0]);
                    _mm512_storeu_si512(products[i].as_mut_ptr().add(16).cast(), acc[i][1]);
                }
            }
            self.take(&masks, &products, &right, from, (from - cols.start) as u32, out);
        }
    }

    /// Appends the lower bounds of the columns that the masks name.
    #[inline(never)]
    fn take(
        &self,
        masks: &[u32; LEFT],
        products: &[[i32; RIGHT]; LEFT],
        right: &Codes8Ref<'_>,
        from: usize,
        first: u32,
        out: &mut [Vec<(u32, f32)>],
    ) {
        for i in 0..self.rows {
            let mut mask = masks[i];
            while mask != 0 {
                let l = mask.trailing_zeros() as usize;
                let (b, s, e) = (right.bias[from + l], right.scale[from + l], right.error[from + l]);
                let key = b - self.scale[i] * s * products[i][l] as f32 - self.weight[i] * e - self.shift[i];
                out[i].push((first + l as u32, key));
                mask &= mask - 1;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codes8, Key};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_near_is_found(m in 1usize..30, n in 1usize..130, d in 1usize..40, seed in 0u32..999, bytes in 0..2, share in 0f32..1.0) {
            let wave = |n: usize, k: u32| (0..n as u32).map(|i| ((i * 7 + k + seed) as f32).sin()).collect::<Vec<f32>>();
            let floor = |v: Vec<f32>| v.iter().map(|x| (x * 127.0 + 128.0).floor()).collect::<Vec<f32>>();
            let (a, b) = (wave(m * d, 1), wave(n * d, 77));
            let (a, b) = if bytes == 1 { (floor(a), floor(b)) } else { (a, b) };
            let (rows, mut codes) = (Rows8::new(&a, d, bytes == 1), Codes8::new(&b, d, Key::L2, bytes == 1));
            let out_of = n / 2;
            codes.exclude(out_of);
            let from = if n > 64 { 32 } else { 0 };
            let ldc = n.next_multiple_of(RIGHT);
            let mut c = vec![0; m.next_multiple_of(LEFT) * ldc];
            tiles8(&rows, 0..m, &codes, 0..n, &mut c, ldc);
            let all: Vec<Vec<(u32, f32)>> = (0..m).map(|i| {
                let mut all = Vec::new();
                codes.below(&c[i * ldc + from..], from..n, rows.row(i), f32::MAX, &mut all);
                all
            }).collect();
            for rows_of in [0..m, m - m.min(FEW8)..m] {
                let limits: Vec<f32> = all[rows_of.clone()].iter().map(|a| {
                    let mut keys: Vec<f32> = a.iter().map(|e| e.1).collect();
                    keys.sort_by(f32::total_cmp);
                    keys.get((share * keys.len() as f32) as usize).copied().unwrap_or(f32::INFINITY)
                }).collect();
                let mut out = vec![Vec::new(); rows_of.len()];
                near8(&rows, rows_of.clone(), &codes, from..n, &limits, &mut Vec::new(), &mut out);
                for ((got, all), &limit) in out.iter().zip(&all[rows_of]).zip(&limits) {
                    // the two scans round in another order
                    let slack = 1e-5 * all.iter().fold(1.0f32, |m, e| m.max(e.1.abs()));
                    prop_assert!(got.windows(2).all(|w| w[0].0 < w[1].0));
                    prop_assert!(got.iter().all(|e| e.0 as usize + from != out_of && e.1 <= limit + slack));
                    for e in all.iter().filter(|e| e.1 <= limit - slack) {
                        prop_assert!(got.iter().any(|g| g.0 == e.0 && (g.1 - e.1).abs() <= slack));
                    }
                }
            }
            let mut out = vec![Vec::new(); m];
            near8(&rows, 0..m, &codes, from..n, &vec![f32::INFINITY; m], &mut Vec::new(), &mut out);
            let taken = (out_of >= from) as usize;
            prop_assert!(out.iter().all(|o| o.len() == n - from - taken));
        }
    }
}
