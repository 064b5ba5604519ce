//! Reusable packed sides of a product, in f32 or in bf16, for work that packs anew at every step (training).
//!
//! A side is cut into panels of the tile's width; step s of a panel holds one 32-bit word a row: an f32 (steps = k), or
//! two bf16 that follow each other along k (steps = k / 2), which is what `vdpbf16ps` multiplies. So both precisions share
//! the packing. Products of bf16 are added up in f32. Without the instruction, values are rounded to bf16 and
//! multiplied in f32.

#[cfg(target_arch = "x86_64")]
use crate::pack_v4;
use crate::{Isa, View, aligned::Aligned, isa, micro};
use rayon::prelude::*;

/// What a product is made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Words {
    /// f32.
    F32,
    /// bf16 (rounded to nearest), added up in f32.
    Bf16,
}

/// How the words are laid out on this processor.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Layout {
    Single,
    /// f32 words that hold bf16 values.
    Rounded,
    Pairs,
}

/// One side of a product A · Bᵀ, packed; packing again reuses the memory.
pub struct Panels {
    data: Aligned,
    n: usize,
    k: usize,
    width: usize,
    layout: Layout,
}

fn has_bf16() -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa() == Isa::V4 && is_x86_feature_detected!("avx512bf16");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

impl Panels {
    /// An empty left side (A: each row becomes a row of the product).
    pub fn left(words: Words) -> Panels {
        Panels::new(words, micro::kernel().left)
    }

    /// An empty right side (B: each row becomes a column of the product).
    pub fn right(words: Words) -> Panels {
        Panels::new(words, micro::kernel().right)
    }

    fn new(words: Words, width: usize) -> Panels {
        let layout = match words {
            Words::F32 => Layout::Single,
            Words::Bf16 if has_bf16() => Layout::Pairs,
            Words::Bf16 => Layout::Rounded,
        };
        Panels { data: Aligned::zeros(0), n: 0, k: 0, width, layout }
    }

    /// Rows packed.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Rows a panel.
    pub fn width(&self) -> usize {
        self.width
    }

    fn steps(&self) -> usize {
        if self.layout == Layout::Pairs { self.k.div_ceil(2) } else { self.k }
    }

    fn resize(&mut self, v: View<'_>) -> usize {
        (self.n, self.k) = (v.rows(), v.cols());
        let need = self.n.div_ceil(self.width) * self.width * self.steps();
        if self.data.as_slice().len() < need {
            self.data = Aligned::zeros(need);
        }
        need
    }

    /// Packs the rows of `v` on this thread.
    pub fn pack(&mut self, v: View<'_>) {
        let (need, width, layout, size) = (self.resize(v), self.width, self.layout, self.width * self.steps());
        let panels = self.data.as_mut_slice()[..need].chunks_mut(size.max(1));
        panels.enumerate().for_each(|(p, panel)| pack_panel(v, p * width, width, layout, panel));
    }

    /// Packs the rows of `v` on the current rayon pool.
    pub fn pack_parallel(&mut self, v: View<'_>) {
        let (need, width, layout, size) = (self.resize(v), self.width, self.layout, self.width * self.steps());
        let panels = self.data.as_mut_slice()[..need].par_chunks_mut(size.max(1));
        panels.enumerate().with_min_len(2).for_each(|(p, panel)| pack_panel(v, p * width, width, layout, panel));
    }
}

/// Computes A · Bᵀ for `rows` of the left and all of the right side into `c` (row stride `ldc`), on this thread.
///
/// `c` has room for whole tiles: `ldc` at least the right side's rows rounded up to its width, and as many rows as `rows`
/// rounded up to the left width. Every element is one chain of operations along k.
///
/// # Panics
/// If `rows` starts off a panel or ends beyond the side, the sides do not fit, or `c` is too small.
pub fn panel_product(left: &Panels, rows: std::ops::Range<usize>, right: &Panels, c: &mut [f32], ldc: usize) {
    let kernel = micro::kernel();
    assert!(left.k == right.k && left.layout == right.layout, "both sides of a product have the same k and words");
    assert!(left.width == kernel.left && right.width == kernel.right, "a left and a right side");
    assert!(rows.start.is_multiple_of(left.width) && rows.end <= left.n, "rows start at a panel");
    let (row_panels, col_panels) = (rows.len().div_ceil(left.width), right.n.div_ceil(right.width));
    assert!(
        ldc >= col_panels * right.width
            && c.len() >= (row_panels * left.width).saturating_sub(1) * ldc + col_panels * right.width
    );
    let steps = left.steps();
    let run = match left.layout {
        #[cfg(target_arch = "x86_64")]
        Layout::Pairs => bf16_v4 as micro::Micro,
        _ => kernel.run,
    };
    for q in 0..col_panels {
        let r = &right.data.as_slice()[q * right.width * steps..][..right.width * steps];
        for p in 0..row_panels {
            let l = &left.data.as_slice()[(rows.start / left.width + p) * left.width * steps..][..left.width * steps];
            // SAFETY: the slices hold `steps` words of each row of both panels; the asserts leave room for every whole tile
            // in `c`; the kernel fits the layout, which was chosen for this processor.
            unsafe {
                let out = c.as_mut_ptr().add(p * left.width * ldc + q * right.width);
                run(steps, l.as_ptr(), r.as_ptr(), out, ldc, false);
            }
        }
    }
}

/// The tile of [`micro`] on pairs of bf16: 12 rows by 32 columns.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bf16")]
unsafe fn bf16_v4(steps: usize, left: *const f32, right: *const f32, c: *mut f32, ldc: usize, add: bool) {
    use std::arch::x86_64::*;
    const ROWS: usize = 12;
    let mut acc = [[_mm512_setzero_ps(); 2]; ROWS];
    let (mut l, mut r) = (left.cast::<i32>(), right);
    for _ in 0..steps {
        // SAFETY: the caller vouches for `steps` words of both panels; __m512bh is 32 bf16 in 512 bits.
        unsafe {
            let (r0, r1) = (_mm512_loadu_si512(r.cast()), _mm512_loadu_si512(r.add(16).cast()));
            let (r0, r1) = (std::mem::transmute::<__m512i, __m512bh>(r0), std::mem::transmute::<__m512i, __m512bh>(r1));
            for (i, a) in acc.iter_mut().enumerate() {
                let s = std::mem::transmute::<__m512i, __m512bh>(_mm512_set1_epi32(*l.add(i)));
                a[0] = _mm512_dpbf16_ps(a[0], s, r0);
                a[1] = _mm512_dpbf16_ps(a[1], s, r1);
            }
            l = l.add(ROWS);
            r = r.add(32);
        }
    }
    for (i, a) in acc.iter().enumerate() {
        // SAFETY: the caller vouches for the whole tile.
        unsafe {
            let out = c.add(i * ldc);
            for (j, &v) in a.iter().enumerate() {
                let v = if add { _mm512_add_ps(_mm512_loadu_ps(out.add(16 * j)), v) } else { v };
                _mm512_storeu_ps(out.add(16 * j), v);
            }
        }
    }
}

/// The upper half of the nearest bf16, ties to even. Finite values only.
#[inline(always)]
fn bf16(x: f32) -> u32 {
    let bits = x.to_bits();
    bits.wrapping_add(0x7fff + ((bits >> 16) & 1)) >> 16
}

#[inline(always)]
fn word(layout: Layout, low: f32, high: f32) -> f32 {
    match layout {
        Layout::Single => low,
        Layout::Rounded => f32::from_bits(bf16(low) << 16),
        Layout::Pairs => f32::from_bits(bf16(low) | bf16(high) << 16),
    }
}

fn pack_panel(v: View<'_>, first: usize, width: usize, layout: Layout, panel: &mut [f32]) {
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor, and `Pairs` is only chosen where bf16 is.
        Isa::V4 => unsafe {
            match layout {
                Layout::Single => pack_v4::single(v, first, width, panel),
                Layout::Pairs => pack_v4::pairs(v, first, width, panel),
                Layout::Rounded => pack_body(v, first, width, layout, panel),
            }
        },
        _ => pack_body(v, first, width, layout, panel),
    }
}

/// Writes rows `first..first + width` of `v`, zeros where there are none.
#[inline(always)]
pub(crate) fn pack_body(v: View<'_>, first: usize, width: usize, layout: Layout, panel: &mut [f32]) {
    let rows = width.min(v.rows() - first);
    let per = if layout == Layout::Pairs { 2 } else { 1 };
    for (s, line) in panel.chunks_exact_mut(width).enumerate() {
        let p = s * per;
        let second = per == 2 && p + 1 < v.cols();
        line[rows..].fill(0.0);
        if let (Some(a), Some(b)) = (v.along_rows(first, p, rows), v.along_rows(first, if second { p + 1 } else { p }, rows)) {
            for ((x, &a), &b) in line.iter_mut().zip(a).zip(b) {
                *x = word(layout, a, if second { b } else { 0.0 });
            }
        } else {
            for (r, x) in line[..rows].iter_mut().enumerate() {
                *x = word(layout, v.at(first + r, p), if second { v.at(first + r, p + 1) } else { 0.0 });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as f32) - 128.0).collect()
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        /// Integers up to 128 are exact in bf16 as well.
        #[test]
        fn integer_products_are_exact(m in 1usize..60, k in 1usize..100, n in 1usize..90, seed in 0u32..999, flags in 0u8..8) {
            let words = if flags & 1 == 0 { Words::F32 } else { Words::Bf16 };
            let (a, b) = (values(m * k, seed), values(n * k, seed + 1));
            let turn = |v: &[f32], rows: usize| (0..rows * k).map(|i| v[i % rows * k + i / rows]).collect::<Vec<f32>>();
            let (at, bt) = (turn(&a, m), turn(&b, n));
            let va = if flags & 2 == 0 { View::new(&a, m, k) } else { View::new(&at, k, m).t() };
            let vb = if flags & 4 == 0 { View::new(&b, n, k) } else { View::new(&bt, k, n).t() };
            let (mut left, mut right) = (Panels::left(words), Panels::right(words));
            right.pack(View::new(&values(200, 5), 50, 4)); // old content must not shine through
            left.pack_parallel(va);
            right.pack(vb);
            let ldc = n.next_multiple_of(right.width());
            let mut c = vec![f32::NAN; m.next_multiple_of(left.width()) * ldc];
            panel_product(&left, 0..m, &right, &mut c, ldc);
            for i in 0..m {
                for j in 0..n {
                    let want: f32 = (0..k).map(|p| a[i * k + p] * b[j * k + p]).sum();
                    prop_assert_eq!(c[i * ldc + j], want);
                }
            }
            prop_assert!((n..ldc).all(|j| c[j] == 0.0), "columns of padding are zero");
        }
    }

    #[test]
    fn bf16_rounds_to_nearest_even() {
        // 1 + 2^-8 lies half-way between 1 and 1 + 2^-7; 1 + 3 * 2^-8 half-way above
        let e = 1.0 / 256.0;
        for (x, want) in [(1.0, 1.0), (1.0 + e, 1.0), (1.0 + 3.0 * e, 1.0 + 4.0 * e), (-3.1, -3.09375)] {
            assert_eq!(f32::from_bits(bf16(x) << 16), want);
        }
    }
}
