//! Rows of 8-bit codes against panels of columns that are put together at will: what coarse search and k-means over many
//! centroids need, where every row meets other columns.
//!
//! Codes and bounds are those of [`crate::Codes8`]; here rows lie one after another, so that any choice of them can be taken
//! without packing, columns are gathered from such rows, and bounds come out of the product directly, in no buffer of
//! integers. The integers are the same on every instruction set.

// "not above" keeps NaN, "at most" would lose it
#![allow(clippy::neg_cmp_op_on_partial_ord)]

use crate::quantise::{quantise, slack};
use crate::{Isa, Key, int8_available, isa};
use rayon::prelude::*;

/// Columns a panel of [`Grid8`].
pub(crate) const WIDE: usize = 64;
/// Rows of one tile of [`Grid8::nearest`].
const TALL: usize = 6;

/// A cache line of codes: four values of each of sixteen columns.
#[derive(Clone, Copy)]
#[repr(C, align(64))]
pub(crate) struct Line([u8; 64]);

/// Rows rounded to 8 bits, with their errors.
#[derive(Clone, Debug, Default)]
pub struct Store8 {
    bytes: Vec<i8>,
    facts: Vec<Fact>,
    d: usize,
}

/// x ≈ scale · code, |x − x̃| <= error.
#[derive(Clone, Copy, Debug, Default)]
struct Fact {
    scale: f32,
    error: f32,
    norm_squared: f32,
    sum: i32,
}

impl Store8 {
    /// Rounds n rows of d values, less `centre` where there is one, in parallel. Memory: n x d bytes and 16 a row.
    ///
    /// # Panics
    /// If `rows` is not n x d, `centre` is not d values, or d is 0 or above 65,000.
    pub fn new(rows: &[f32], d: usize, centre: Option<&[f32]>) -> Store8 {
        let mut store = Store8::default();
        store.room(rows, d);
        let stride = store.stride();
        let (bytes, facts) = (store.bytes.par_chunks_mut(stride * 64), store.facts.par_chunks_mut(64));
        bytes.zip(facts).zip(rows.par_chunks(d * 64)).for_each_init(Vec::new, |line, ((bytes, facts), rows)| {
            encode(rows, d, centre, line, bytes, facts);
        });
        store
    }

    /// As [`Store8::new`] on this thread, in the memory of before.
    ///
    /// # Panics
    /// As there.
    pub fn refill(&mut self, rows: &[f32], d: usize, centre: Option<&[f32]>, line: &mut Vec<f32>) {
        self.room(rows, d);
        encode(rows, d, centre, line, &mut self.bytes, &mut self.facts);
    }

    fn room(&mut self, rows: &[f32], d: usize) {
        assert!(d > 0 && d <= 65_000 && rows.len().is_multiple_of(d));
        let n = rows.len() / d;
        self.d = d;
        self.bytes.resize(n * self.stride(), 0);
        self.facts.resize(n, Fact::default());
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.facts.len()
    }

    fn stride(&self) -> usize {
        self.d.next_multiple_of(4)
    }

    fn row(&self, i: usize) -> &[i8] {
        &self.bytes[i * self.stride()..(i + 1) * self.stride()]
    }

    /// An upper bound of the squared norm of a row (less the centre).
    pub fn norm_squared(&self, row: usize) -> f32 {
        self.facts[row].norm_squared * (1.0 + 3.0 * slack(self.d))
    }

    /// The largest key (squared distance without the row's norm) that a column may have whose squared distance in f32, by
    /// [`crate::l2_squared`] of rows and columns before the centre was taken off, is at most `distance`.
    pub fn limit(&self, row: usize, distance: f32) -> f32 {
        let own = self.facts[row].norm_squared;
        distance - own + 8.0 * slack(self.d) * (distance + own) + 1e-30
    }
}

fn encode(rows: &[f32], d: usize, centre: Option<&[f32]>, line: &mut Vec<f32>, bytes: &mut [i8], facts: &mut [Fact]) {
    let stride = d.next_multiple_of(4);
    for ((x, bytes), fact) in rows.chunks_exact(d).zip(bytes.chunks_exact_mut(stride)).zip(facts) {
        let x = match centre {
            Some(centre) => {
                assert_eq!(centre.len(), d);
                line.clear();
                line.extend(x.iter().zip(centre).map(|(x, c)| x - c));
                &line[..]
            }
            None => x,
        };
        let q = quantise(x, |i, c| bytes[i] = c as i8);
        bytes[d..].fill(0);
        *fact = Fact { scale: q.scale, error: q.error, norm_squared: q.norm_squared, sum: q.sum };
    }
}

/// Columns in panels of 64, with what bounds need; places without a column have an infinite key.
#[derive(Clone, Default)]
pub struct Grid8 {
    panels: Vec<Line>,
    bias: Vec<f32>,
    scale: Vec<f32>,
    error: Vec<f32>,
    d: usize,
    factor: f32,
    /// Largest |x̃| times the factor, largest |bias|, largest error times the factor.
    reach: f32,
    height: f32,
    worst: f32,
}

impl std::fmt::Debug for Grid8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Grid8({} x {})", self.places(), self.d)
    }
}

/// A row as it meets a grid: key = bias − scale · s · (product − offset) − norm · e − shift.
#[derive(Clone, Copy, Default)]
struct Facts {
    scale: f32,
    offset: i32,
    norm: f32,
    shift: f32,
    /// Upper minus lower bound of any key, and what f32 may be wrong by.
    width: f32,
}

impl Grid8 {
    /// Places are multiples of this.
    pub const WIDTH: usize = WIDE;

    /// The rows of `store` named by `columns`, in parallel; `u32::MAX` leaves a place empty.
    ///
    /// # Panics
    /// If a column is beyond the store.
    pub fn new(store: &Store8, columns: &[u32], key: Key) -> Grid8 {
        let mut grid = Grid8::default();
        grid.room(store, columns.len(), key);
        let lines = grid.lines();
        let panels = grid.panels.par_chunks_mut(lines).zip(columns.par_chunks(WIDE));
        let facts = grid.bias.par_chunks_mut(WIDE).zip(grid.scale.par_chunks_mut(WIDE)).zip(grid.error.par_chunks_mut(WIDE));
        let tops: Vec<[f32; 3]> = panels.zip(facts).map(|((p, c), ((b, s), e))| panel(store, c, key, p, (b, s, e))).collect();
        grid.tops(&tops);
        grid
    }

    /// As [`Grid8::new`] on this thread, in the memory of before.
    ///
    /// # Panics
    /// As there.
    pub fn refill(&mut self, store: &Store8, columns: &[u32], key: Key) {
        self.room(store, columns.len(), key);
        self.tops(&[]);
        let lines = self.lines();
        for (i, columns) in columns.chunks(WIDE).enumerate() {
            let at = i * WIDE..(i + 1) * WIDE;
            let facts = (&mut self.bias[at.clone()], &mut self.scale[at.clone()], &mut self.error[at]);
            let top = panel(store, columns, key, &mut self.panels[i * lines..(i + 1) * lines], facts);
            self.tops(&[[self.reach, self.height, self.worst], top]);
        }
    }

    fn room(&mut self, store: &Store8, columns: usize, key: Key) {
        self.d = store.d;
        self.factor = factor(key);
        let places = columns.next_multiple_of(WIDE);
        let lines = places / WIDE * self.lines();
        self.panels.resize(lines, Line([0; 64]));
        for v in [&mut self.bias, &mut self.scale, &mut self.error] {
            v.resize(places, 0.0);
        }
    }

    fn tops(&mut self, tops: &[[f32; 3]]) {
        let top = |i: usize| tops.iter().map(|t| t[i]).fold(0.0, |m: f32, x| if x <= m { m } else { x });
        (self.reach, self.height, self.worst) = (top(0), top(1), top(2));
    }

    /// Number of panels.
    pub fn panels(&self) -> usize {
        self.places() / WIDE
    }

    /// Number of places: columns rounded up to whole panels.
    pub fn places(&self) -> usize {
        self.bias.len()
    }

    /// Cache lines a panel.
    fn lines(&self) -> usize {
        self.d.div_ceil(4) * WIDE / 16
    }

    fn facts(&self, store: &Store8, row: usize) -> Facts {
        let f = store.facts[row];
        let norm = f.norm_squared.sqrt() * (1.0 + slack(self.d));
        let largest = self.height + self.factor * norm * self.reach;
        // 1e-30: products of very small values vanish instead of being rounded
        let shift = f.error * self.reach + if largest.is_finite() { largest * slack(self.d) } else { 0.0 } + 1e-30;
        let width = 2.0 * (norm * self.worst + shift) * (1.0 + slack(self.d)) + 8.0 * slack(self.d) * norm * norm;
        Facts { scale: f.scale, offset: 128 * f.sum, norm, shift, width }
    }

    /// Lower bounds of the keys of a row with every place of some panels.
    ///
    /// # Panics
    /// If the store has other dimensions, the panels are not there, or `out` is not a value a place.
    pub fn lower(&self, store: &Store8, row: usize, panels: std::ops::Range<usize>, out: &mut [f32]) {
        assert!(store.d == self.d && panels.end * WIDE <= self.places() && out.len() == panels.len() * WIDE);
        let (facts, bytes) = (self.facts(store, row), store.row(row));
        #[cfg(target_arch = "x86_64")]
        if int8_available() {
            // SAFETY: the processor has the instructions.
            return unsafe { vnni::lower(self, bytes, facts, panels, out) };
        }
        for (p, out) in panels.zip(out.as_chunks_mut::<WIDE>().0) {
            *out = self.keys(bytes, facts, p);
        }
    }

    fn keys(&self, bytes: &[i8], f: Facts, panel: usize) -> [f32; WIDE] {
        let products = products(bytes, &self.panels[panel * self.lines()..][..self.lines()]);
        let at = panel * WIDE;
        std::array::from_fn(|j| {
            let ip = (products[j] - f.offset) as f32;
            self.bias[at + j] - f.scale * self.scale[at + j] * ip - f.norm * self.error[at + j] - f.shift
        })
    }

    /// Places of some panels that may be the nearest of each of `rows`: all whose lower bound is within the smallest upper
    /// bound, by [`crate::l2_squared`], or within `limits[row]` where `limits` is not empty.
    ///
    /// `each` gets the index in `rows`, that bound and (place, lower bound); a place alone is certain. Where keys are no
    /// numbers, places without a column may be among them.
    ///
    /// # Panics
    /// If the store has other dimensions, or rows, panels or limits are not there.
    pub fn nearest(
        &self,
        store: &Store8,
        rows: &[u32],
        panels: std::ops::Range<usize>,
        limits: &[f32],
        hits: &mut Hits8,
        mut each: impl FnMut(usize, f32, &mut Vec<(u32, f32)>),
    ) {
        assert!(store.d == self.d && panels.end * WIDE <= self.places());
        for (t, tile) in rows.chunks(TALL).enumerate() {
            let row = |i: usize| tile[i.min(tile.len() - 1)] as usize;
            let facts: [Facts; TALL] = std::array::from_fn(|i| self.facts(store, row(i)));
            let bytes: [&[i8]; TALL] = std::array::from_fn(|i| store.row(row(i)));
            hits.limit = std::array::from_fn(|i| if limits.is_empty() { f32::INFINITY } else { limits[row(i)] });
            hits.found.iter_mut().for_each(|f| f.clear());
            self.tile(bytes, &facts, panels.clone(), hits);
            for (i, found) in hits.found.iter_mut().enumerate().take(tile.len()) {
                let limit = hits.limit[i];
                found.retain(|f| !(f.1 > limit));
                each(t * TALL + i, limit, found);
            }
        }
    }

    fn tile(&self, bytes: [&[i8]; TALL], facts: &[Facts; TALL], panels: std::ops::Range<usize>, hits: &mut Hits8) {
        #[cfg(target_arch = "x86_64")]
        if int8_available() {
            // SAFETY: the processor has the instructions.
            return unsafe { vnni::nearest(self, bytes, facts, panels, hits) };
        }
        for p in panels {
            for i in 0..TALL {
                for (j, keys) in self.keys(bytes[i], facts[i], p).as_chunks::<16>().0.iter().enumerate() {
                    hits.offer(i, (p * WIDE + j * 16) as u32, keys, facts[i].width);
                }
            }
        }
    }
}

/// Memory of [`Grid8::nearest`].
#[derive(Default)]
pub struct Hits8 {
    limit: [f32; TALL],
    found: [Vec<(u32, f32)>; TALL],
}

impl Hits8 {
    /// Sixteen keys of a row: lowers the limit and keeps what is within it. NaN is kept.
    fn offer(&mut self, i: usize, first: u32, keys: &[f32; 16], width: f32) {
        let least = keys.iter().fold(f32::INFINITY, |m, &k| if k < m { k } else { m });
        if least + width < self.limit[i] {
            self.limit[i] = least + width;
        }
        for (l, &k) in keys.iter().enumerate() {
            if !(k > self.limit[i]) {
                self.found[i].push((first + l as u32, k));
            }
        }
    }
}

fn factor(key: Key) -> f32 {
    if key == Key::L2 { 2.0 } else { 1.0 }
}

/// Writes a panel and its facts; largest |x̃| times the factor, |bias|, error times the factor.
fn panel(store: &Store8, columns: &[u32], key: Key, lines: &mut [Line], facts: (&mut [f32], &mut [f32], &mut [f32])) -> [f32; 3] {
    let f = factor(key);
    let mut top = [0.0f32; 3];
    for j in 0..WIDE {
        let column = columns.get(j).copied().unwrap_or(u32::MAX);
        if column == u32::MAX {
            (facts.0[j], facts.1[j], facts.2[j]) = (f32::INFINITY, 0.0, 0.0);
            lines[j / 16..].iter_mut().step_by(WIDE / 16).for_each(|l| l.0[j % 16 * 4..][..4].fill(0));
            continue;
        }
        let x = store.facts[column as usize];
        for (line, four) in lines[j / 16..].iter_mut().step_by(WIDE / 16).zip(store.row(column as usize).as_chunks::<4>().0) {
            line.0[j % 16 * 4..][..4].copy_from_slice(&four.map(|c| (c as u8) ^ 0x80));
        }
        let bias = if key == Key::L2 { x.norm_squared } else { 0.0 };
        (facts.0[j], facts.1[j], facts.2[j]) = (bias, f * x.scale, f * x.error);
        let reach = f * (x.norm_squared.sqrt() * (1.0 + slack(store.d)) + x.error);
        // NaN counts as the largest
        for (t, v) in top.iter_mut().zip([reach, bias.abs(), f * x.error]) {
            *t = if v <= *t { *t } else { v };
        }
    }
    top
}

fn products(bytes: &[i8], panel: &[Line]) -> [i32; WIDE] {
    #[cfg(target_arch = "x86_64")]
    if isa() >= Isa::V3 {
        // SAFETY: the level was detected on this processor.
        return unsafe { products_v3(bytes, panel) };
    }
    products_portable(bytes, panel)
}

fn products_portable(bytes: &[i8], panel: &[Line]) -> [i32; WIDE] {
    let mut out = [0i32; WIDE];
    for (q, lines) in bytes.as_chunks::<4>().0.iter().zip(panel.chunks_exact(WIDE / 16)) {
        for (j, o) in out.iter_mut().enumerate() {
            let u = &lines[j / 16].0[j % 16 * 4..][..4];
            *o += (0..4).map(|l| q[l] as i32 * u[l] as i32).sum::<i32>();
        }
    }
    out
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn products_v3(bytes: &[i8], panel: &[Line]) -> [i32; WIDE] {
    use std::arch::x86_64::*;
    let mut out = [0i32; WIDE];
    // 16 columns at once: two sums a column, of the first and the second pair of each four
    for part in 0..WIDE / 16 {
        let mut acc = [_mm256_setzero_si256(); 4];
        for (q, line) in bytes.as_chunks::<4>().0.iter().zip(panel[part..].iter().step_by(WIDE / 16)) {
            let four = _mm_cvtepi8_epi16(_mm_set1_epi32(i32::from_ne_bytes(q.map(|x| x as u8))));
            let q = _mm256_broadcastsi128_si256(four);
            for (a, u) in acc.iter_mut().zip(line.0.as_chunks::<16>().0) {
                // SAFETY: sixteen bytes are there.
                let u = unsafe { _mm_loadu_si128(u.as_ptr().cast()) };
                *a = _mm256_add_epi32(*a, _mm256_madd_epi16(_mm256_cvtepu8_epi16(u), q));
            }
        }
        for (a, o) in acc.iter().zip(out[part * 16..].as_chunks_mut::<4>().0) {
            let mut pairs = [0i32; 8];
            // SAFETY: room for eight integers.
            unsafe { _mm256_storeu_si256(pairs.as_mut_ptr().cast(), *a) };
            *o = std::array::from_fn(|l| pairs[2 * l] + pairs[2 * l + 1]);
        }
    }
    out
}

#[cfg(target_arch = "x86_64")]
mod vnni {
    use super::{Facts, Grid8, Hits8, TALL, WIDE};
    use std::arch::x86_64::*;

    /// Keys of sixteen columns from their products.
    #[inline]
    #[target_feature(enable = "avx512f")]
    fn key(grid: &Grid8, at: usize, product: __m512i, f: &Facts) -> __m512 {
        let (b, s, e) = (&grid.bias[at..at + 16], &grid.scale[at..at + 16], &grid.error[at..at + 16]);
        // SAFETY: sixteen values each.
        let (b, s, e) = unsafe { (_mm512_loadu_ps(b.as_ptr()), _mm512_loadu_ps(s.as_ptr()), _mm512_loadu_ps(e.as_ptr())) };
        let ip = _mm512_cvtepi32_ps(_mm512_sub_epi32(product, _mm512_set1_epi32(f.offset)));
        let base = _mm512_fnmadd_ps(_mm512_set1_ps(f.norm), e, _mm512_sub_ps(b, _mm512_set1_ps(f.shift)));
        _mm512_fnmadd_ps(_mm512_mul_ps(_mm512_set1_ps(f.scale), s), ip, base)
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn lower(grid: &Grid8, row: &[i8], f: Facts, panels: std::ops::Range<usize>, out: &mut [f32]) {
        let lines = grid.lines();
        let mut p = panels.start;
        while p < panels.end {
            let at = (p - panels.start) * WIDE;
            // two panels at once hide the latency of a product
            if p + 2 <= panels.end {
                tile(&grid.panels[p * lines..(p + 2) * lines], row, |acc: &[[__m512i; 4]; 2]| {
                    for (i, acc) in acc.iter().flatten().enumerate() {
                        let key = key(grid, p * WIDE + i * 16, *acc, &f);
                        // SAFETY: sixteen values are there.
                        unsafe { _mm512_storeu_ps(out[at + i * 16..at + i * 16 + 16].as_mut_ptr(), key) };
                    }
                });
                p += 2;
            } else {
                tile(&grid.panels[p * lines..(p + 1) * lines], row, |acc: &[[__m512i; 4]; 1]| {
                    for (i, acc) in acc.iter().flatten().enumerate() {
                        let key = key(grid, p * WIDE + i * 16, *acc, &f);
                        // SAFETY: as above.
                        unsafe { _mm512_storeu_ps(out[at + i * 16..at + i * 16 + 16].as_mut_ptr(), key) };
                    }
                });
                p += 1;
            }
        }
    }

    /// Products of a row with P panels that follow each other.
    #[inline]
    #[target_feature(enable = "avx512f,avx512vnni")]
    fn tile<const P: usize>(panels: &[super::Line], row: &[i8], use_it: impl FnOnce(&[[__m512i; 4]; P])) {
        let mut acc = [[_mm512_setzero_si512(); 4]; P];
        let lines = panels.len() / P;
        let each: [&[[super::Line; 4]]; P] = std::array::from_fn(|p| panels[p * lines..(p + 1) * lines].as_chunks::<4>().0);
        for (g, q) in row.as_chunks::<4>().0.iter().enumerate() {
            let q = _mm512_set1_epi32(i32::from_ne_bytes(q.map(|x| x as u8)));
            for (acc, panel) in acc.iter_mut().zip(&each) {
                for (a, line) in acc.iter_mut().zip(&panel[g]) {
                    // SAFETY: a line is 64 bytes, aligned.
                    let u = unsafe { _mm512_load_si512(line.0.as_ptr().cast()) };
                    *a = _mm512_dpbusd_epi32(*a, u, q);
                }
            }
        }
        use_it(&acc);
    }

    #[target_feature(enable = "avx512f,avx512vnni")]
    pub(super) fn nearest(
        grid: &Grid8,
        rows: [&[i8]; TALL],
        facts: &[Facts; TALL],
        panels: std::ops::Range<usize>,
        hits: &mut Hits8,
    ) {
        let groups = grid.lines() / 4;
        assert!(rows.iter().all(|r| r.len() == groups * 4));
        let at: [*const i8; TALL] = rows.map(|r| r.as_ptr());
        for p in panels {
            let panel = &grid.panels[p * grid.lines()..(p + 1) * grid.lines()];
            let mut acc = [[_mm512_setzero_si512(); 4]; TALL];
            for (g, four) in panel.as_chunks::<4>().0.iter().enumerate() {
                // SAFETY: lines are 64 aligned bytes; every row has 4 · groups values.
                unsafe {
                    let u: [__m512i; 4] = std::array::from_fn(|i| _mm512_load_si512(four[i].0.as_ptr().cast()));
                    for (acc, row) in acc.iter_mut().zip(&at) {
                        let q = _mm512_set1_epi32(row.add(g * 4).cast::<i32>().read_unaligned());
                        for (a, u) in acc.iter_mut().zip(&u) {
                            *a = _mm512_dpbusd_epi32(*a, *u, q);
                        }
                    }
                }
            }
            for (i, (acc, f)) in acc.iter().zip(facts).enumerate() {
                for (v, a) in acc.iter().enumerate() {
                    let first = p * WIDE + v * 16;
                    let key = key(grid, first, *a, f);
                    // not above, so that NaN is kept
                    if _mm512_cmp_ps_mask::<_CMP_NGT_UQ>(key, _mm512_set1_ps(hits.limit[i])) != 0 {
                        let mut keys = [0.0f32; 16];
                        // SAFETY: room for sixteen values.
                        unsafe { _mm512_storeu_ps(keys.as_mut_ptr(), key) };
                        hits.offer(i, first as u32, &keys, f.width);
                    }
                }
            }
        }
    }
}

#[cfg(test)]
mod tests;
