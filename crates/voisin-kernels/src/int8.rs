//! Products of 8-bit codes with a certified error, several times faster than f32 where the processor has VNNI.
//!
//! A row x is stored as bytes u with x ≈ scale · (u − 128); its rounding error is e = |x − x̃|, rounded up. By
//! Cauchy–Schwarz, |<q, x> − <q̃, x̃>| <= |q|·e + |q − q̃|·|x̃|, so a scan of codes gives lower and upper bounds of every
//! exact product. Rows of integers in 0..=255 (SIFT, pixels) are stored as they are, without error.

use crate::one8;
use crate::quantise::{quantise, slack};
#[cfg(target_arch = "x86_64")]
use crate::{Isa, isa};
use rayon::prelude::*;

/// Columns a panel of [`Codes8`].
pub(crate) const RIGHT: usize = 32;
/// Rows a panel of [`Rows8`].
pub(crate) const LEFT: usize = 12;
/// Whether the processor multiplies bytes several times faster than f32; [`tiles8`] gives the same integers without.
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

/// 64 bytes that do not cross a line of the cache.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line(pub(crate) [u8; 64]);

impl Line {
    /// The lines of `bytes`; `None` if it is not whole lines or starts off a multiple of 64 bytes.
    fn all_of(bytes: &[u8]) -> Option<&[Line]> {
        // SAFETY: any bytes make a line.
        let (before, lines, after) = unsafe { bytes.align_to::<Line>() };
        (before.is_empty() && after.is_empty()).then_some(lines)
    }

    fn bytes(lines: &[Line]) -> &[u8] {
        // SAFETY: a line is its 64 bytes, without padding.
        unsafe { std::slice::from_raw_parts(lines.as_ptr().cast(), lines.len() * 64) }
    }

    fn bytes_mut(lines: &mut [Line]) -> &mut [u8] {
        // SAFETY: as above; any bytes make a line.
        unsafe { std::slice::from_raw_parts_mut(lines.as_mut_ptr().cast(), lines.len() * 64) }
    }
}

/// The right side: n rows as bytes in panels of 32, with what bounds need.
pub struct Codes8 {
    panels: Vec<Line>,
    n: usize,
    d: usize,
    key: Key,
    exact: bool,
    bias: Vec<f32>,
    scale: Vec<f32>,
    error: Vec<f32>,
    reach: f32,
    height: f32,
}

/// [`Codes8`] that lie elsewhere, such as in a mapped file.
#[derive(Clone, Copy)]
pub struct Codes8Ref<'a> {
    pub(crate) panels: &'a [Line],
    pub(crate) n: usize,
    pub(crate) d: usize,
    pub(crate) groups: usize,
    pub(crate) key: Key,
    /// Whether rows are bytes as they are: the factors are all one, `error` holds what [`Row8`] of bytes adds.
    pub(crate) exact: bool,
    pub(crate) factor: f32,
    pub(crate) bias: &'a [f32],
    pub(crate) scale: &'a [f32],
    pub(crate) error: &'a [f32],
    /// Largest |x̃| times the factor.
    pub(crate) reach: f32,
    /// Largest |bias|, with what is added for bytes.
    pub(crate) height: f32,
}

/// What [`Codes8`] consist of, to be stored and mapped; n values a slice.
#[derive(Clone, Copy)]
pub struct Parts8<'a> {
    /// [`Codes8Ref::panel_bytes`] bytes that start at a multiple of 64.
    pub panels: &'a [u8],
    /// Norms, or 0.
    pub bias: &'a [f32],
    /// Steps of the codes times the key's factor.
    pub scale: &'a [f32],
    /// Errors times the key's factor; for bytes 128 · sum times the factor.
    pub error: &'a [f32],
    /// Largest norm times the key's factor.
    pub reach: f32,
    /// Largest |bias|, with what is added for bytes.
    pub height: f32,
    /// Whether rows are bytes as they are.
    pub exact: bool,
}

/// The left side: m rows as signed bytes in panels of 12.
pub struct Rows8 {
    pub(crate) panels: Vec<u8>,
    pub(crate) n: usize,
    pub(crate) groups: usize,
    pub(crate) exact: bool,
    rows: Vec<Row8>,
}

/// What bounds need of a left row.
#[derive(Clone, Copy, Debug, Default)]
pub struct Row8 {
    scale: f32,
    offset: i32,
    norm: f32,
    error: f32,
    exact: bool,
}

/// A left row as it meets one kind of right side: key = bias − scale · s · (product − offset) − weight · e − shift.
#[derive(Clone, Copy)]
pub(crate) struct Facts {
    pub(crate) scale: f32,
    pub(crate) offset: i32,
    pub(crate) weight: f32,
    pub(crate) shift: f32,
}

fn row_of(v: &[f32], d: usize, i: usize) -> &[f32] {
    &v[i * d..(i + 1) * d]
}

impl Codes8 {
    /// Encodes n rows of d values. `exact` is for rows that [`crate::are_bytes`].
    ///
    /// # Panics
    /// If `rows` is not n x d, or d is above 65,000.
    pub fn new(rows: &[f32], d: usize, key: Key, exact: bool) -> Codes8 {
        assert!(d > 0 && d <= 65_000 && rows.len().is_multiple_of(d));
        let n = rows.len() / d;
        let groups = d.div_ceil(4);
        let lines = groups * RIGHT * 4 / 64;
        let mut panels = vec![Line([0; 64]); n.div_ceil(RIGHT) * lines];
        let mut facts = vec![[0.0f32; 4]; n];
        panels.par_chunks_mut(lines).zip(facts.par_chunks_mut(RIGHT)).enumerate().for_each_init(
            || vec![0u8; groups * 4],
            |line, (p, (panel, facts))| {
                let panel = Line::bytes_mut(panel);
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
        let height = top(0) + if exact { top(2) } else { 0.0 };
        let reach = key.factor() * top(3);
        Codes8 { n, d, key, exact, bias: column(0), scale: column(1), error: column(2), reach, height, panels }
    }

    /// The codes, borrowed.
    pub fn view(&self) -> Codes8Ref<'_> {
        Codes8Ref {
            panels: &self.panels,
            n: self.n,
            d: self.d,
            groups: self.d.div_ceil(4),
            key: self.key,
            exact: self.exact,
            factor: self.key.factor(),
            bias: &self.bias,
            scale: &self.scale,
            error: &self.error,
            reach: self.reach,
            height: self.height,
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
        self.view().largest_norm()
    }

    /// Takes a row out of every answer.
    pub fn exclude(&mut self, row: usize) {
        self.bias[row] = f32::INFINITY;
    }

    /// As [`Codes8Ref::width`].
    pub fn width(&self, column: usize, row: Row8) -> f32 {
        self.view().width(column, row)
    }

    /// As [`Codes8Ref::below`].
    ///
    /// # Panics
    /// As there.
    pub fn below(&self, products: &[i32], cols: std::ops::Range<usize>, row: Row8, limit: f32, out: &mut Vec<(u32, f32)>) {
        self.view().below(products, cols, row, limit, out)
    }

    /// Columns a panel: ranges given to [`tiles8`] start at multiples of it.
    pub const WIDTH: usize = RIGHT;
}

impl<'a> From<&'a Codes8> for Codes8Ref<'a> {
    fn from(codes: &'a Codes8) -> Self {
        codes.view()
    }
}

impl<'a> Codes8Ref<'a> {
    /// Bytes of the panels of n rows of d values.
    pub fn panel_bytes(n: usize, d: usize) -> usize {
        n.div_ceil(RIGHT) * d.div_ceil(4) * RIGHT * 4
    }

    /// Codes of d values from what [`Codes8Ref::parts`] gave; `None` if lengths or alignment are others.
    pub fn from_parts(d: usize, key: Key, parts: Parts8<'a>) -> Option<Self> {
        let (n, groups) = (parts.bias.len(), d.div_ceil(4));
        let panels = Line::all_of(parts.panels)?;
        let fits = d > 0
            && d <= 65_000
            && parts.panels.len() == Codes8Ref::panel_bytes(n, d)
            && parts.scale.len() == n
            && parts.error.len() == n;
        let Parts8 { bias, scale, error, reach, height, exact, .. } = parts;
        fits.then_some(Codes8Ref { panels, n, d, groups, key, exact, factor: key.factor(), bias, scale, error, reach, height })
    }

    /// What the codes consist of.
    pub fn parts(&self) -> Parts8<'a> {
        let Codes8Ref { bias, scale, error, reach, height, exact, .. } = *self;
        Parts8 { panels: Line::bytes(self.panels), bias, scale, error, reach, height, exact }
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.n
    }

    /// Values a row.
    pub fn d(&self) -> usize {
        self.d
    }

    /// What products are turned into.
    pub fn key(&self) -> Key {
        self.key
    }

    /// Whether rows are bytes as they are.
    pub fn exact(&self) -> bool {
        self.exact
    }

    /// An upper bound of the largest norm; infinite or NaN if values are too large for f32.
    pub fn largest_norm(&self) -> f32 {
        self.reach / self.factor
    }

    pub(crate) fn lines(&self) -> usize {
        self.groups * RIGHT * 4 / 64
    }

    pub(crate) fn facts(&self, row: Row8) -> Facts {
        let (offset, weight) = match (self.exact, row.exact) {
            (false, _) => (row.offset, row.norm),
            // bytes on both sides: the left ones are stored less 128, and <q, x> = <q − 128, x> + 128 Σx
            (true, true) => (0, 1.0),
            (true, false) => (0, 0.0),
        };
        Facts { scale: row.scale, offset, weight, shift: self.common(row) }
    }

    /// The part of a bound's half-width that is the same for every column.
    pub(crate) fn common(&self, row: Row8) -> f32 {
        let largest = self.height + self.factor * row.norm * self.reach;
        // 1e-30: products of very small values vanish instead of being rounded
        row.error * self.reach + if largest.is_finite() { largest * slack(self.d) } else { 0.0 } + 1e-30
    }

    /// Upper minus lower bound of a column's key.
    pub fn width(&self, column: usize, row: Row8) -> f32 {
        let error = if self.exact { 0.0 } else { row.norm * self.error[column] };
        2.0 * (error + self.common(row)) * (1.0 + slack(self.d))
    }
}

/// Bias, factor · scale, factor · error, |x̃| of a row; its bytes go to `line`.
fn encode_right(x: &[f32], key: Key, exact: bool, line: &mut [u8]) -> [f32; 4] {
    let f = key.factor();
    let bias = |norm_squared: f32| if key == Key::L2 { norm_squared } else { 0.0 };
    if exact {
        let (mut sum, mut squares) = (0u64, 0u64);
        for (b, &v) in line.iter_mut().zip(x) {
            *b = v as u8;
            sum += *b as u64;
            squares += *b as u64 * *b as u64;
        }
        return [bias(squares as f32), f, f * (128 * sum) as f32, (squares as f64).sqrt() as f32];
    }
    let c = quantise(x, |i, q| line[i] = (q + 128) as u8);
    [bias(c.norm_squared), f * c.scale, f * c.error, c.norm_squared.sqrt() * (1.0 + slack(x.len())) + c.error]
}

impl Rows8 {
    /// Encodes m rows of d values for the left side. `exact` is for rows that [`crate::are_bytes`]; their right side is too.
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
                    Row8 { scale: 1.0, offset: 0, norm, error: 0.0, exact }
                } else {
                    let q = quantise(x, |i, c| panel[at(i)] = c as i8 as u8);
                    let norm = q.norm_squared.sqrt() * (1.0 + slack(d));
                    Row8 { scale: q.scale, offset: 128 * q.sum, norm, error: q.error, exact }
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
/// `c` has room for whole tiles, as for [`crate::tiles`]. The integers are the same on every processor.
///
/// # Panics
/// If ranges start off a panel or end beyond a side; if the sides were encoded for other dimensions, or the left one alone
/// as bytes; if `c` is too small.
pub fn tiles8<'a>(
    left: &Rows8,
    rows: std::ops::Range<usize>,
    right: impl Into<Codes8Ref<'a>>,
    cols: std::ops::Range<usize>,
    c: &mut [i32],
    ldc: usize,
) {
    let right = right.into();
    one8::check(left, &rows, &right, &cols);
    assert!(rows.start.is_multiple_of(LEFT));
    let (row_panels, col_panels) = (rows.len().div_ceil(LEFT), cols.len().div_ceil(RIGHT));
    assert!(ldc >= col_panels * RIGHT && c.len() >= (row_panels * LEFT).saturating_sub(1) * ldc + col_panels * RIGHT);
    if !int8_available() {
        return one8::rows_alone(left, rows, right, cols, c, ldc);
    }
    for q in 0..col_panels {
        let r = &right.panels[(cols.start / RIGHT + q) * right.lines()..][..right.lines()];
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
mod tests;
