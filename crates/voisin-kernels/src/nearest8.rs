//! The two smallest lower bounds of a row of 8-bit products: who is probably nearest, and how near another could be.

use crate::{Codes8, Codes8Ref, Isa, Row8, isa};

impl Codes8 {
    /// The column with the smallest lower bound of its key, that bound, and the next smallest one.
    ///
    /// `products` is a row of [`crate::tiles8`] over all columns. If the exact key of the column is below the second bound,
    /// it is the smallest of all. `(u32::MAX, inf, inf)` without columns.
    ///
    /// # Panics
    /// If `products` is shorter than the number of columns.
    pub fn two_smallest(&self, products: &[i32], row: Row8) -> (u32, f32, f32) {
        let products = &products[..self.n()];
        match isa() {
            #[cfg(target_arch = "x86_64")]
            // SAFETY: the level was detected on this processor.
            Isa::V4 => unsafe { two_v4(self.view(), products, row) },
            _ => two_body(self.view(), products, row),
        }
    }
}

const LANES: usize = 16;

#[inline(always)]
fn two_body(codes: Codes8Ref<'_>, products: &[i32], row: Row8) -> (u32, f32, f32) {
    let row = codes.facts(row);
    let key = |p: i32, b: f32, s: f32, e: f32| b - row.scale * s * (p - row.offset) as f32 - row.weight * e - row.shift;
    let n = products.len();
    let (mut first, mut second, mut at) = ([f32::INFINITY; LANES], [f32::INFINITY; LANES], [u32::MAX; LANES]);
    let (p, p_tail) = products.as_chunks::<LANES>();
    let (b, s, e) = (codes.bias.as_chunks::<LANES>().0, codes.scale.as_chunks::<LANES>().0, codes.error.as_chunks::<LANES>().0);
    for (c, (((p, b), s), e)) in p.iter().zip(b).zip(s).zip(e).enumerate() {
        for l in 0..LANES {
            let k = key(p[l], b[l], s[l], e[l]);
            let nearer = k < first[l];
            let worse = if nearer { first[l] } else { k };
            second[l] = if worse < second[l] { worse } else { second[l] };
            at[l] = if nearer { c as u32 } else { at[l] };
            first[l] = if nearer { k } else { first[l] };
        }
    }
    let mut best = (u32::MAX, f32::INFINITY, f32::INFINITY);
    let mut offer = |column: u32, k: f32| {
        if k < best.1 {
            best = (column, k, best.1);
        } else if k < best.2 {
            best.2 = k;
        }
    };
    for l in 0..LANES {
        offer(at[l].wrapping_mul(LANES as u32).wrapping_add(l as u32), first[l]);
        offer(u32::MAX, second[l]);
    }
    for (j, &p) in (n - p_tail.len()..n).zip(p_tail) {
        offer(j as u32, key(p, codes.bias[j], codes.scale[j], codes.error[j]));
    }
    best
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn two_v4(codes: Codes8Ref<'_>, products: &[i32], row: Row8) -> (u32, f32, f32) {
    two_body(codes, products, row)
}

#[cfg(test)]
mod tests {
    use crate::{Codes8, Key, Rows8, tiles8};
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn are_the_first_two_of_all_lower_bounds(n in 1usize..100, d in 1usize..40, seed in 0u32..999) {
            let v = |n: usize, k: u32| (0..n as u32).map(|i| ((i * 7 + k + seed) as f32).sin()).collect::<Vec<f32>>();
            let (rows, codes) = (Rows8::new(&v(d, 1), d, false), Codes8::new(&v(n * d, 5), d, Key::L2, false));
            let ldc = n.next_multiple_of(Codes8::WIDTH);
            let mut c = vec![0; 12 * ldc];
            tiles8(&rows, 0..1, &codes, 0..n, &mut c, ldc);
            let mut all = Vec::new();
            codes.below(&c, 0..n, rows.row(0), f32::INFINITY, &mut all);
            all.sort_by(|a, b| a.1.total_cmp(&b.1));
            let (at, first, second) = codes.two_smallest(&c, rows.row(0));
            // the two scans round in another order
            let near = |a: f32, b: f32| a == b || (a - b).abs() <= 1e-5 * (a.abs() + 1.0);
            prop_assert!(near(first, all[0].1));
            prop_assert!(all.iter().any(|e| e.0 == at && near(e.1, first)));
            prop_assert!(near(second, all.get(1).map_or(f32::INFINITY, |e| e.1)));
        }
    }
}
