//! Products of 8-bit codes with a certified error, several times faster than f32 where the processor has VNNI.
//!
//! A row x is stored as bytes u with x ≈ scale · (u − 128); its rounding error is e = |x − x̃|, rounded up. By
//! Cauchy–Schwarz, |<q, x> − <q̃, x̃>| <= |q|·e + |q − q̃|·|x̃|, so a scan of codes gives lower and upper bounds of every
//! exact product. Rows of integers in 0..=255 (SIFT, pixels) are stored as they are, without error.

use crate::quantise::{quantise, slack};
#[cfg(target_arch = "x86_64")]
use crate::{Isa, isa};
use rayon::prelude::*;

/// Columns a panel of [`Codes8`].
const RIGHT: usize = 32;
/// Rows a panel of [`Rows8`].
const LEFT: usize = 12;
/// Whether the processor has the instructions; without them [`tiles8`] must not be called.
pub fn int8_available() -> bool {
    #[cfg(target_arch = "x86_64")]
    return isa() == Isa::V4 && is_x86_feature_detected!("avx512vnni");
    #[cfg(not(target_arch = "x86_64"))]
    false
}

/// What a column's product is turned into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    /// |x|² − 2<q, x>: squared L2 without the query's norm.
    L2,
    /// −<q, x>.
    Ip,
}

impl Key {
    fn factor(self) -> f32 {
        match self {
            Key::L2 => 2.0,
            Key::Ip => 1.0,
        }
    }
}

/// The right side: n rows as bytes in panels of 32, with what bounds need.
pub struct Codes8 {
    pub(crate) panels: Vec<[u8; 64]>,
    pub(crate) n: usize,
    pub(crate) d: usize,
    pub(crate) groups: usize,
    pub(crate) exact: bool,
    pub(crate) factor: f32,
    pub(crate) bias: Vec<f32>,
    pub(crate) scale: Vec<f32>,
    pub(crate) error: Vec<f32>,
    /// Largest |x̃| times the factor.
    pub(crate) reach: f32,
    /// Largest |bias|.
    pub(crate) height: f32,
}

/// The left side: m rows as signed bytes in panels of 12.
pub struct Rows8 {
    panels: Vec<u8>,
    n: usize,
    groups: usize,
    exact: bool,
    rows: Vec<Row8>,
}

/// What bounds need of a left row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row8 {
    pub(crate) scale: f32,
    pub(crate) offset: i32,
    pub(crate) norm: f32,
    pub(crate) error: f32,
}

fn row_of(v: &[f32], d: usize, i: usize) -> &[f32] {
    &v[i * d..(i + 1) * d]
}

impl Codes8 {
    /// Encodes n rows of d values. `exact` is for rows that [`crate::are_bytes`]; the left side must be encoded alike.
    ///
    /// # Panics
    /// If `rows` is not n x d, or d is above 65,000.
    pub fn new(rows: &[f32], d: usize, key: Key, exact: bool) -> Codes8 {
        assert!(d > 0 && d <= 65_000 && rows.len().is_multiple_of(d));
        let n = rows.len() / d;
        let groups = d.div_ceil(4);
        let lines = groups * RIGHT * 4 / 64;
        let mut panels = vec![[0u8; 64]; n.div_ceil(RIGHT) * lines];
        let mut facts = vec![[0.0f32; 4]; n];
        panels.par_chunks_mut(lines).zip(facts.par_chunks_mut(RIGHT)).enumerate().for_each_init(
            || vec![0u8; groups * 4],
            |line, (p, (panel, facts))| {
                let panel = panel.as_flattened_mut();
                for (j, fact) in facts.iter_mut().enumerate() {
                    *fact = encode_right(row_of(rows, d, p * RIGHT + j), key, exact, line);
                    for (g, four) in line.as_chunks::<4>().0.iter().enumerate() {
                        panel[(g * RIGHT + j) * 4..][..4].copy_from_slice(four);
                    }
                }
            },
        );
        let column = |c: usize| facts.iter().map(|f| f[c]).collect::<Vec<f32>>();
        let top = |c: usize| facts.iter().map(|f| f[c].abs()).fold(0.0, |m: f32, x| if x <= m { m } else { x });
        let factor = key.factor();
        Codes8 {
            n,
            d,
            groups,
            exact,
            factor,
            bias: column(0),
            scale: column(1),
            error: column(2),
            reach: factor * top(3),
            height: top(0),
            panels,
        }
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Values a row.
    pub fn d(&self) -> usize {
        self.d
    }

    /// An upper bound of the largest norm; infinite or NaN if values are too large for f32.
    pub fn largest_norm(&self) -> f32 {
        self.reach / self.factor
    }

    /// Takes a row out of every answer.
    pub fn exclude(&mut self, row: usize) {
        self.bias[row] = f32::INFINITY;
    }

    /// Columns a panel: ranges given to [`tiles8`] start at multiples of it.
    pub const WIDTH: usize = RIGHT;
}

/// Bias, factor · scale, factor · error, |x̃| of a row; its bytes go to `line`.
fn encode_right(x: &[f32], key: Key, exact: bool, line: &mut [u8]) -> [f32; 4] {
    let f = key.factor();
    if exact {
        let (mut sum, mut squares) = (0u64, 0u64);
        for (b, &v) in line.iter_mut().zip(x) {
            *b = v as u8;
            sum += *b as u64;
            squares += *b as u64 * *b as u64;
        }
        // the left side is stored as q − 128: <q, x> = <q − 128, x> + 128 Σx
        let bias = if key == Key::L2 { squares as f64 } else { 0.0 } - f as f64 * 128.0 * sum as f64;
        return [bias as f32, f, 0.0, (squares as f64).sqrt() as f32];
    }
    let c = quantise(x, |i, q| line[i] = (q + 128) as u8);
    let bias = if key == Key::L2 { c.norm_squared } else { 0.0 };
    [bias, f * c.scale, f * c.error, c.norm_squared.sqrt() * (1.0 + slack(x.len())) + c.error]
}

impl Rows8 {
    /// Encodes m rows of d values for the left side; `exact` as for the right side.
    ///
    /// # Panics
    /// If `rows` is not m x d.
    pub fn new(rows: &[f32], d: usize, exact: bool) -> Rows8 {
        assert!(d > 0 && rows.len().is_multiple_of(d));
        let n = rows.len() / d;
        let groups = d.div_ceil(4);
        let bytes = groups * LEFT * 4;
        let mut panels = vec![0u8; n.div_ceil(LEFT) * bytes];
        let mut facts = vec![Row8::default(); n];
        panels.par_chunks_mut(bytes).zip(facts.par_chunks_mut(LEFT)).enumerate().for_each(|(p, (panel, facts))| {
            for (j, fact) in facts.iter_mut().enumerate() {
                let x = row_of(rows, d, p * LEFT + j);
                let at = |i: usize| (i / 4 * LEFT + j) * 4 + i % 4;
                *fact = if exact {
                    x.iter().enumerate().for_each(|(i, &v)| panel[at(i)] = (v as i16 - 128) as i8 as u8);
                    let norm = x.iter().map(|&v| v as f64 * v as f64).sum::<f64>().sqrt() as f32;
                    Row8 { scale: 1.0, offset: 0, norm, error: 0.0 }
                } else {
                    let q = quantise(x, |i, c| panel[at(i)] = c as i8 as u8);
                    Row8 { scale: q.scale, offset: 128 * q.sum, norm: q.norm_squared.sqrt() * (1.0 + slack(d)), error: q.error }
                };
            }
        });
        Rows8 { panels, n, groups, exact, rows: facts }
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Facts of row `i`, for [`Codes8::below`].
    pub fn row(&self, i: usize) -> Row8 {
        self.rows[i]
    }

    /// Rows a panel: ranges given to [`tiles8`] start at multiples of it.
    pub const WIDTH: usize = LEFT;
}

/// Integer products of `rows` of the left with `cols` of the right side into `c` (row stride `ldc`), on this thread.
///
/// `c` has room for whole tiles, as for [`crate::tiles`].
///
/// # Panics
/// Without [`int8_available`]; if ranges start off a panel or end beyond a side; if the sides were encoded for other
/// dimensions or another exactness; if `c` is too small.
pub fn tiles8(
    left: &Rows8,
    rows: std::ops::Range<usize>,
    right: &Codes8,
    cols: std::ops::Range<usize>,
    c: &mut [i32],
    ldc: usize,
) {
    assert!(int8_available(), "this processor has no VNNI");
    assert!(left.groups == right.groups && left.exact == right.exact, "both sides encoded alike");
    assert!(rows.start.is_multiple_of(LEFT) && cols.start.is_multiple_of(RIGHT) && rows.end <= left.n && cols.end <= right.n);
    let (row_panels, col_panels) = (rows.len().div_ceil(LEFT), cols.len().div_ceil(RIGHT));
    assert!(ldc >= col_panels * RIGHT && c.len() >= (row_panels * LEFT).saturating_sub(1) * ldc + col_panels * RIGHT);
    let lines = right.groups * RIGHT * 4 / 64;
    for q in 0..col_panels {
        let r = &right.panels[(cols.start / RIGHT + q) * lines..][..lines];
        for p in 0..row_panels {
            let l = &left.panels[(rows.start / LEFT + p) * left.groups * LEFT * 4..][..left.groups * LEFT * 4];
            #[cfg(target_arch = "x86_64")]
            // SAFETY: VNNI is there; the slices hold `groups` steps of both panels; the asserts leave room for the tile.
            unsafe {
                vnni(left.groups, l.as_ptr(), r.as_ptr().cast(), c.as_mut_ptr().add(p * LEFT * ldc + q * RIGHT), ldc);
            }
            #[cfg(not(target_arch = "x86_64"))]
            let _ = (l, r);
        }
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn vnni(groups: usize, left: *const u8, right: *const u8, c: *mut i32, ldc: usize) {
    use std::arch::x86_64::*;
    let mut acc = [[_mm512_setzero_si512(); 2]; LEFT];
    let (mut l, mut r) = (left.cast::<i32>(), right);
    for _ in 0..groups {
        // SAFETY: the caller vouches for `groups` steps of both panels.
        unsafe {
            let (r0, r1) = (_mm512_loadu_si512(r.cast()), _mm512_loadu_si512(r.add(64).cast()));
            for (i, a) in acc.iter_mut().enumerate() {
                let s = _mm512_set1_epi32(l.add(i).read_unaligned());
                a[0] = _mm512_dpbusd_epi32(a[0], r0, s);
                a[1] = _mm512_dpbusd_epi32(a[1], r1, s);
            }
            l = l.add(LEFT);
            r = r.add(128);
        }
    }
    for (i, a) in acc.iter().enumerate() {
        // SAFETY: the caller vouches for the whole tile.
        unsafe {
            _mm512_storeu_si512(c.add(i * ldc).cast(), a[0]);
            _mm512_storeu_si512(c.add(i * ldc + 16).cast(), a[1]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::are_bytes;
    use proptest::prelude::*;

    fn check(left: &[f32], right: &[f32], d: usize, key: Key, exact: bool) -> Result<(), TestCaseError> {
        let (m, n) = (left.len() / d, right.len() / d);
        let (rows, codes) = (Rows8::new(left, d, exact), Codes8::new(right, d, key, exact));
        let ldc = n.next_multiple_of(Codes8::WIDTH);
        let mut c = vec![0; m.next_multiple_of(Rows8::WIDTH) * ldc];
        tiles8(&rows, 0..m, &codes, 0..n, &mut c, ldc);
        for i in 0..m {
            let mut all = Vec::new();
            codes.below(&c[i * ldc..], 0..n, rows.row(i), f32::INFINITY, &mut all);
            prop_assert_eq!(all.len(), n);
            for (j, lower) in all {
                let (q, x) = (row_of(left, d, i), row_of(right, d, j as usize));
                let ip: f64 = q.iter().zip(x).map(|(&a, &b)| a as f64 * b as f64).sum();
                let norm: f64 = x.iter().map(|&b| b as f64 * b as f64).sum();
                let want = if key == Key::L2 { norm - 2.0 * ip } else { -ip };
                let upper = lower + codes.width(j as usize, rows.row(i));
                prop_assert!(lower as f64 <= want && want <= upper as f64, "{} <= {} <= {}", lower, want, upper);
                if exact {
                    prop_assert!((upper - lower) as f64 <= 1e-4 * (want.abs() + norm + 1.0) + 16.0);
                }
            }
        }
        Ok(())
    }

    proptest! {
        #[test]
        fn bounds_hold(m in 1usize..20, n in 1usize..70, d in 1usize..50, seed in 0u32..999, size in -20i32..20) {
            if int8_available() {
                let s = 2f32.powi(size);
                let v = |n: usize, k: u32| (0..n as u32).map(|i| s * ((i * 7 + k + seed) as f32).sin().powi(3)).collect::<Vec<f32>>();
                for key in [Key::L2, Key::Ip] { check(&v(m * d, 1), &v(n * d, 77), d, key, false)?; }
            }
        }

        #[test]
        fn bytes_have_no_error(m in 1usize..20, n in 1usize..70, d in 1usize..200, seed in 0u32..999) {
            if int8_available() {
                let v = |n: usize, k: u32| (0..n as u32).map(|i| ((i + k).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as f32).collect::<Vec<f32>>();
                let (a, b) = (v(m * d, 1), v(n * d, 77));
                prop_assert!(are_bytes(&a));
                for key in [Key::L2, Key::Ip] { check(&a, &b, d, key, true)?; }
            }
        }
    }

    #[test]
    fn what_is_no_byte_is_seen() {
        for bad in [0.5, -1.0, 256.0, f32::NAN] {
            assert!(!are_bytes(&[1.0, bad]));
        }
    }
}
