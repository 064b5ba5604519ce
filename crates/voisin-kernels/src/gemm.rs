//! Matrix products of f32 on packed panels.
//!
//! Each side is packed once into panels of the tile's width, zero-padded, cut along k into blocks that fit the first
//! cache. The blocks depend on k alone, so an element of the product has the same bits wherever it stands
//! and however the work is shared (Goto & van de Geijn, "Anatomy of high-performance matrix multiplication", 2008).

use crate::{aligned::Aligned, micro};
use rayon::prelude::*;

const KC: usize = 256;

/// A matrix as a strided view: element (i, j) is `data[i * row_stride + j * col_stride]`.
#[derive(Clone, Copy)]
pub struct View<'a> {
    data: &'a [f32],
    rows: usize,
    cols: usize,
    row_stride: usize,
    col_stride: usize,
}

impl<'a> View<'a> {
    /// rows x cols values, row after row.
    ///
    /// # Panics
    /// If `data` is of another length.
    pub fn new(data: &'a [f32], rows: usize, cols: usize) -> Self {
        assert_eq!(data.len(), rows * cols);
        View { data, rows, cols, row_stride: cols, col_stride: 1 }
    }

    /// rows x cols values, the rows `stride` apart.
    ///
    /// # Panics
    /// If a row is longer than the stride or the last one ends beyond `data`.
    pub fn strided(data: &'a [f32], rows: usize, cols: usize, stride: usize) -> Self {
        assert!(cols <= stride && (rows == 0 || data.len() >= (rows - 1) * stride + cols));
        View { data, rows, cols, row_stride: stride, col_stride: 1 }
    }

    pub(crate) fn rows(&self) -> usize {
        self.rows
    }

    pub(crate) fn cols(&self) -> usize {
        self.cols
    }

    pub(crate) fn at(&self, i: usize, j: usize) -> f32 {
        self.data[i * self.row_stride + j * self.col_stride]
    }

    /// `len` values of row i from column j on, if they are contiguous.
    pub(crate) fn along_cols(&self, i: usize, j: usize, len: usize) -> Option<&'a [f32]> {
        (self.col_stride == 1).then(|| &self.data[i * self.row_stride + j..][..len])
    }

    /// `len` values of column j from row i on, if they are contiguous.
    pub(crate) fn along_rows(&self, i: usize, j: usize, len: usize) -> Option<&'a [f32]> {
        (self.row_stride == 1).then(|| &self.data[i + j * self.col_stride..][..len])
    }

    /// The view without its first `j` columns.
    pub(crate) fn starting_at(self, j: usize) -> Self {
        View { data: &self.data[(j * self.col_stride).min(self.data.len())..], cols: self.cols - j, ..self }
    }

    /// The transpose, without copying.
    pub fn t(self) -> Self {
        View { data: self.data, rows: self.cols, cols: self.rows, row_stride: self.col_stride, col_stride: self.row_stride }
    }
}

/// One side of a product A · Bᵀ: n rows of k values, packed into panels.
pub struct Packed {
    data: Aligned,
    n: usize,
    k: usize,
    width: usize,
}

impl Packed {
    /// Packs the rows of the left side (A, m x k).
    pub fn left(a: View<'_>) -> Packed {
        Packed::new(a, micro::kernel().left)
    }

    /// Packs the rows of the right side (Bᵀ as n x k: each row of the view becomes a column of the product).
    pub fn right(b: View<'_>) -> Packed {
        Packed::new(b, micro::kernel().right)
    }

    fn new(v: View<'_>, width: usize) -> Packed {
        let panels = v.rows.div_ceil(width);
        let mut data = Aligned::zeros(panels * width * v.cols);
        let out = &mut data.as_mut_slice()[..panels * width * v.cols];
        // One k block after the other; inside it one panel after the other.
        let mut rest = out;
        for k in k_blocks(v.cols) {
            let (block, tail) = rest.split_at_mut(panels * width * k.len());
            block
                .par_chunks_mut(width * k.len())
                .enumerate()
                .with_min_len(4)
                .for_each(|(p, panel)| pack_panel(v, p * width, width, k.clone(), panel));
            rest = tail;
        }
        Packed { data, n: v.rows, k: v.cols, width }
    }

    /// Number of rows packed.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Values a row.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Rows a panel: starts of ranges given to [`tiles`] are multiples of it.
    pub fn width(&self) -> usize {
        self.width
    }

    /// `count` panels from `p` on, of one k block.
    pub(crate) fn panels_at(&self, k: &std::ops::Range<usize>, p: usize, count: usize) -> &[f32] {
        let panels = self.n.div_ceil(self.width);
        let at = panels * self.width * k.start + p * self.width * k.len();
        &self.data.as_slice()[at..at + count * self.width * k.len()]
    }

    fn panel(&self, k: &std::ops::Range<usize>, p: usize) -> &[f32] {
        let panels = self.n.div_ceil(self.width);
        let at = panels * self.width * k.start + p * self.width * k.len();
        &self.data.as_slice()[at..at + self.width * k.len()]
    }
}

/// Cuts k into equal blocks of at most KC.
pub(crate) fn k_blocks(k: usize) -> impl Iterator<Item = std::ops::Range<usize>> {
    let step = k.div_ceil(k.div_ceil(KC).max(1)).max(1);
    (0..k).step_by(step).map(move |s| s..(s + step).min(k))
}

fn pack_panel(v: View<'_>, first: usize, width: usize, k: std::ops::Range<usize>, panel: &mut [f32]) {
    let rows = width.min(v.rows - first);
    if v.col_stride == 1 {
        // rows are contiguous: transpose eight steps at a time, so that each source line is read in one go
        for (c, chunk) in panel.chunks_mut(width * 16).enumerate() {
            let from = k.start + c * 16;
            let len = chunk.len() / width;
            for r in 0..rows {
                let at = (first + r) * v.row_stride + from;
                for (p, &x) in v.data[at..at + len].iter().enumerate() {
                    chunk[p * width + r] = x;
                }
            }
        }
    } else {
        for (p, line) in k.zip(panel.chunks_exact_mut(width)) {
            let at = first * v.row_stride + p * v.col_stride;
            if v.row_stride == 1 {
                line[..rows].copy_from_slice(&v.data[at..at + rows]);
            } else {
                for (r, x) in line[..rows].iter_mut().enumerate() {
                    *x = v.data[at + r * v.row_stride];
                }
            }
        }
    }
}

/// Computes A · Bᵀ for `rows` of the left and `cols` of the right side into `c` (row stride `ldc`), on this thread.
///
/// `c` must have room for whole tiles: `ldc` at least `cols` rounded up to the right width, and as many rows as `rows`
/// rounded up to the left width. Padding holds zeros or products of other rows.
///
/// # Panics
/// If a range starts off a panel, ends beyond the side, the sides disagree about k, or `c` is too small.
pub fn tiles(
    left: &Packed,
    rows: std::ops::Range<usize>,
    right: &Packed,
    cols: std::ops::Range<usize>,
    c: &mut [f32],
    ldc: usize,
) {
    let kernel = micro::kernel();
    assert_eq!(left.k, right.k, "both sides of a product have the same k");
    assert!(left.width == kernel.left && right.width == kernel.right, "a left and a right side");
    assert!(rows.start.is_multiple_of(left.width) && cols.start.is_multiple_of(right.width), "ranges start at panels");
    assert!(rows.end <= left.n && cols.end <= right.n);
    let (row_panels, col_panels) = (rows.len().div_ceil(left.width), cols.len().div_ceil(right.width));
    assert!(
        ldc >= col_panels * right.width
            && c.len() >= (row_panels * left.width).saturating_sub(1) * ldc + col_panels * right.width
    );
    if left.k == 0 {
        c.fill(0.0);
    }
    for (b, k) in k_blocks(left.k).enumerate() {
        for q in 0..col_panels {
            let r = right.panel(&k, cols.start / right.width + q);
            for p in 0..row_panels {
                let l = left.panel(&k, rows.start / left.width + p);
                // SAFETY: the panels hold k.len() steps of their width; the asserts above leave room for every whole
                // tile in `c`; the kernel was chosen for this processor.
                unsafe {
                    let out = c.as_mut_ptr().add(p * left.width * ldc + q * right.width);
                    (kernel.run)(k.len(), l.as_ptr(), r.as_ptr(), out, ldc, b > 0);
                }
            }
        }
    }
}

/// C = A · B (or C += A · B with `add`), C row-major m x n, on the current rayon pool.
///
/// Every element is the same chain of operations for any number of threads.
///
/// # Panics
/// If the shapes do not fit.
pub fn gemm(a: View<'_>, b: View<'_>, c: &mut [f32], add: bool) {
    let (m, n) = (a.rows, b.cols);
    assert_eq!(a.cols, b.rows);
    assert_eq!(c.len(), m * n);
    if m == 0 || n == 0 {
        return;
    }
    let (left, right) = (Packed::left(a), Packed::right(b.t()));
    let (mr, nr) = (left.width * 8, right.width * 4);
    c.par_chunks_mut(mr * n).enumerate().for_each_init(Vec::new, |scratch, (block, out)| {
        let rows = block * mr..(block * mr + mr).min(m);
        let tall = rows.len().next_multiple_of(left.width);
        scratch.resize(tall * nr, 0.0);
        for start in (0..n).step_by(nr) {
            let cols = start..(start + nr).min(n);
            tiles(&left, rows.clone(), &right, cols.clone(), scratch, nr);
            for (i, line) in out.chunks_exact_mut(n).enumerate() {
                let (to, from) = (&mut line[cols.clone()], &scratch[i * nr..i * nr + cols.len()]);
                if add {
                    to.iter_mut().zip(from).for_each(|(t, &f)| *t += f);
                } else {
                    to.copy_from_slice(from);
                }
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as f32) - 128.0).collect()
    }

    fn naive(a: &[f32], b: &[f32], m: usize, k: usize, n: usize) -> Vec<f32> {
        let mut c = vec![0.0; m * n];
        for i in 0..m {
            for j in 0..n {
                c[i * n + j] = (0..k).map(|p| a[i * k + p] * b[p * n + j]).sum();
            }
        }
        c
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(60))]
        #[test]
        fn integer_products_are_exact(m in 1usize..70, k in 0usize..300, n in 1usize..90, seed in 0u32..1000) {
            let (a, b) = (values(m * k, seed), values(k * n, seed + 1));
            let want = naive(&a, &b, m, k, n);
            let mut c = vec![1.0; m * n];
            gemm(View::new(&a, m, k), View::new(&b, k, n), &mut c, false);
            prop_assert_eq!(&c, &want);
            gemm(View::new(&a, m, k), View::new(&b, k, n), &mut c, true);
            prop_assert!(c.iter().zip(&want).all(|(x, y)| *x == 2.0 * y));
        }

        #[test]
        fn transposed_views_give_the_same(m in 1usize..40, k in 1usize..40, n in 1usize..40) {
            let (a, b) = (values(m * k, 3), values(k * n, 4));
            let at: Vec<f32> = (0..k * m).map(|i| a[i % m * k + i / m]).collect();
            let bt: Vec<f32> = (0..k * n).map(|i| b[i % k * n + i / k]).collect();
            let mut c = vec![0.0; m * n];
            gemm(View::new(&at, k, m).t(), View::new(&bt, n, k).t(), &mut c, false);
            prop_assert_eq!(c, naive(&a, &b, m, k, n));
        }
    }

    #[test]
    fn an_element_has_the_same_bits_in_any_block() {
        let (m, k, n) = (50, 700, 100);
        let a: Vec<f32> = (0..m * k).map(|i| (i as f32 * 0.37).sin()).collect();
        let b: Vec<f32> = (0..n * k).map(|i| (i as f32 * 0.11).cos()).collect();
        let mut whole = vec![0.0; m * n];
        gemm(View::new(&a, m, k), View::new(&b, n, k).t(), &mut whole, false);
        for (i, j) in [(0, 0), (13, 57), (49, 99), (12, 31), (11, 32)] {
            let mut one = [0.0];
            gemm(View::new(&a[i * k..][..k], 1, k), View::new(&b[j * k..][..k], 1, k).t(), &mut one, false);
            assert_eq!(one[0].to_bits(), whole[i * n + j].to_bits());
        }
    }
}
