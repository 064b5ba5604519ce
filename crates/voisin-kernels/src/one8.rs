//! One 8-bit row, or a few, against all rows of a right side: what a single query needs.
//!
//! A tile of twelve rows would do twelve times the work. Here each panel is read once, front to back, so that the speed is
//! that of the memory it comes from. The integers are those of [`crate::tiles8`], on every processor.

use crate::int8::{Codes8Ref, LEFT, Line, RIGHT, Rows8};
use crate::{Isa, int8_available, isa};
use std::ops::Range;

/// Most rows that [`few8`] takes.
pub const FEW8: usize = 8;

/// Integer products of at most [`FEW8`] `rows` of the left with `cols` of the right side into `c` (row stride `ldc`), on
/// this thread. `rows` may start anywhere, `cols` at a multiple of [`crate::Codes8::WIDTH`].
///
/// Cost: one pass over the codes. `c` has room for whole panels: `ldc` at least `cols.len()` rounded up to one.
///
/// # Panics
/// If there are too many rows, a range ends beyond its side or starts off a panel, the sides were encoded for other
/// dimensions, the left one alone as bytes, or `c` is too small.
///
/// # Example
/// ```
/// use voisin_kernels::{Codes8, Key, Rows8, few8};
/// let codes = Codes8::new(&[1.0, 2.0, 3.0, 4.0], 2, Key::L2, true); // two rows of bytes
/// let query = Rows8::new(&[1.0, 1.0], 2, true);
/// let mut products = [0; Codes8::WIDTH];
/// few8(&query, 0..1, &codes, 0..2, &mut products, Codes8::WIDTH);
/// let mut near = Vec::new();
/// codes.below(&products, 0..2, query.row(0), 100.0, &mut near); // (column, |x|² − 2<q, x>, rounded down)
/// assert_eq!((near[0].0, near[0].1.round()), (0, -1.0));
/// assert_eq!((near[1].0, near[1].1.round()), (1, 11.0));
/// ```
pub fn few8<'a>(
    left: &Rows8,
    rows: Range<usize>,
    right: impl Into<Codes8Ref<'a>>,
    cols: Range<usize>,
    c: &mut [i32],
    ldc: usize,
) {
    let right = right.into();
    check(left, &rows, &right, &cols);
    assert!(rows.len() <= FEW8, "few rows");
    let width = cols.len().next_multiple_of(RIGHT);
    assert!(ldc >= width && c.len() >= rows.len().saturating_sub(1) * ldc + if rows.is_empty() { 0 } else { width });
    #[cfg(target_arch = "x86_64")]
    if int8_available() {
        // SAFETY: VNNI is there; the asserts leave room for whole panels of every row.
        return unsafe {
            match rows.len() {
                0 => (),
                1 => few_vnni::<1, 4>(left, rows.start, right, cols, c, ldc),
                2 => few_vnni::<2, 2>(left, rows.start, right, cols, c, ldc),
                3 => few_vnni::<3, 2>(left, rows.start, right, cols, c, ldc),
                4 => few_vnni::<4, 2>(left, rows.start, right, cols, c, ldc),
                5 => few_vnni::<5, 1>(left, rows.start, right, cols, c, ldc),
                6 => few_vnni::<6, 1>(left, rows.start, right, cols, c, ldc),
                7 => few_vnni::<7, 1>(left, rows.start, right, cols, c, ldc),
                _ => few_vnni::<8, 1>(left, rows.start, right, cols, c, ldc),
            }
        };
    }
    rows_alone(left, rows, right, cols, c, ldc);
}

/// As [`few8`] for one row.
///
/// # Panics
/// As there.
pub fn one8<'a>(left: &Rows8, row: usize, right: impl Into<Codes8Ref<'a>>, cols: Range<usize>, out: &mut [i32]) {
    let ldc = cols.len().next_multiple_of(RIGHT);
    few8(left, row..row + 1, right, cols, out, ldc);
}

/// What every product asks of its sides.
pub(crate) fn check(left: &Rows8, rows: &Range<usize>, right: &Codes8Ref<'_>, cols: &Range<usize>) {
    assert!(left.groups == right.groups && left.exact <= right.exact, "both sides encoded alike");
    assert!(rows.start <= rows.end && cols.start <= cols.end && rows.end <= left.n && cols.end <= right.n);
    assert!(cols.start.is_multiple_of(RIGHT), "columns start at a panel");
}

/// Every row with every panel; the caller has checked that `c` has room for them.
pub(crate) fn rows_alone(left: &Rows8, rows: Range<usize>, right: Codes8Ref<'_>, cols: Range<usize>, c: &mut [i32], ldc: usize) {
    let first = cols.start / RIGHT;
    for p in 0..cols.len().div_ceil(RIGHT) {
        let panel = &right.panels[(first + p) * right.lines()..][..right.lines()];
        for (i, row) in rows.clone().enumerate() {
            let out = c[i * ldc + p * RIGHT..].first_chunk_mut::<RIGHT>().expect("room was checked");
            let fours = fours(left, row);
            match isa() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level was detected on this processor.
                Isa::V3 | Isa::V4 => unsafe { panel_v3(fours, panel, out) },
                _ => panel_portable(fours, panel, out),
            }
        }
    }
}

/// The row's bytes, four a step; steps are a whole panel apart.
fn fours(left: &Rows8, row: usize) -> impl Iterator<Item = [u8; 4]> {
    let panel = &left.panels[row / LEFT * left.groups * LEFT * 4..][..left.groups * LEFT * 4];
    panel.as_chunks::<4>().0.iter().skip(row % LEFT).step_by(LEFT).copied()
}

fn panel_portable(fours: impl Iterator<Item = [u8; 4]>, panel: &[Line], out: &mut [i32; RIGHT]) {
    let mut acc = [0i32; RIGHT];
    for (q, lines) in fours.zip(panel.as_chunks::<2>().0) {
        let q = q.map(|b| b as i8 as i16 as i32);
        for (half, line) in lines.iter().enumerate() {
            for (a, u) in acc[half * 16..].iter_mut().zip(line.0.as_chunks::<4>().0) {
                *a += u[0] as i32 * q[0] + u[1] as i32 * q[1] + u[2] as i32 * q[2] + u[3] as i32 * q[3];
            }
        }
    }
    *out = acc;
}

/// Bytes widened to 16 bits: products of bytes in pairs (`vpmaddubsw`) could saturate.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2")]
fn panel_v3(fours: impl Iterator<Item = [u8; 4]>, panel: &[Line], out: &mut [i32; RIGHT]) {
    use std::arch::x86_64::*;
    // each accumulator holds two halves of the products of four columns
    let mut acc = [_mm256_setzero_si256(); RIGHT / 4];
    for (q, lines) in fours.zip(panel.as_chunks::<2>().0) {
        let q = _mm256_cvtepi8_epi16(_mm_set1_epi32(i32::from_le_bytes(q)));
        for (half, line) in lines.iter().enumerate() {
            for (i, four) in line.0.as_chunks::<16>().0.iter().enumerate() {
                // SAFETY: sixteen bytes are there.
                let u = _mm256_cvtepu8_epi16(unsafe { _mm_loadu_si128(four.as_ptr().cast()) });
                let a = &mut acc[half * 4 + i];
                *a = _mm256_add_epi32(*a, _mm256_madd_epi16(u, q));
            }
        }
    }
    for (two, out) in acc.as_chunks::<2>().0.iter().zip(out.as_chunks_mut::<8>().0) {
        // columns 0 1 4 5 | 2 3 6 7
        let sums = _mm256_permute4x64_epi64::<0b11_01_10_00>(_mm256_hadd_epi32(two[0], two[1]));
        // SAFETY: room for eight values.
        unsafe { _mm256_storeu_si256(out.as_mut_ptr().cast(), sums) };
    }
}

/// M rows with every panel; U steps have accumulators of their own, since one chain of additions waits for its latency.
#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512vnni")]
unsafe fn few_vnni<const M: usize, const U: usize>(
    left: &Rows8,
    row: usize,
    right: Codes8Ref<'_>,
    cols: Range<usize>,
    c: &mut [i32],
    ldc: usize,
) {
    use std::arch::x86_64::*;
    let groups = left.groups;
    let rows: [*const i32; M] = std::array::from_fn(|i| {
        let panel = &left.panels[(row + i) / LEFT * groups * LEFT * 4..][..groups * LEFT * 4];
        panel[(row + i) % LEFT * 4..].as_ptr().cast()
    });
    let first = cols.start / RIGHT;
    for p in 0..cols.len().div_ceil(RIGHT) {
        let panel = right.panels[(first + p) * right.lines()..][..right.lines()].as_ptr();
        let mut acc = [[[_mm512_setzero_si512(); 2]; M]; U];
        let step = |g: usize, acc: &mut [[__m512i; 2]; M]| {
            // SAFETY: the panel holds two lines a step, the rows four bytes.
            unsafe {
                let (r0, r1) = (_mm512_load_si512(panel.add(2 * g).cast()), _mm512_load_si512(panel.add(2 * g + 1).cast()));
                for (a, row) in acc.iter_mut().zip(rows) {
                    let s = _mm512_set1_epi32(row.add(g * LEFT).read_unaligned());
                    a[0] = _mm512_dpbusd_epi32(a[0], r0, s);
                    a[1] = _mm512_dpbusd_epi32(a[1], r1, s);
                }
            }
        };
        let whole = groups / U * U;
        for g in (0..whole).step_by(U) {
            for (u, acc) in acc.iter_mut().enumerate() {
                step(g + u, acc);
            }
        }
        for g in whole..groups {
            step(g, &mut acc[0]);
        }
        for i in 0..M {
            let mut sum = acc[0][i];
            for a in &acc[1..] {
                sum = [_mm512_add_epi32(sum[0], a[i][0]), _mm512_add_epi32(sum[1], a[i][1])];
            }
            // SAFETY: the caller vouches for whole panels of every row.
            unsafe {
                let out = c.as_mut_ptr().add(i * ldc + p * RIGHT);
                _mm512_storeu_si512(out.cast(), sum[0]);
                _mm512_storeu_si512(out.add(16).cast(), sum[1]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Codes8, Key, tiles8};
    use proptest::prelude::*;

    fn bytes(n: usize, seed: u32) -> Vec<f32> {
        (0..n as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 24) as f32).collect()
    }

    proptest! {
        #[test]
        fn every_kernel_gives_the_same_integers(m in 1usize..30, n in 1usize..130, d in 1usize..90, seed in 0u32..999, kind in 0..3) {
            let wave = |n: usize, k: u32| (0..n as u32).map(|i| ((i * 7 + k + seed) as f32).sin()).collect::<Vec<f32>>();
            let (a, b) = (bytes(m * d, seed), bytes(n * d, seed + 5000));
            let (rows, codes) = match kind {
                0 => (Rows8::new(&a, d, true), Codes8::new(&b, d, Key::L2, true)),
                1 => (Rows8::new(&wave(m * d, 3), d, false), Codes8::new(&b, d, Key::L2, true)),
                _ => (Rows8::new(&wave(m * d, 3), d, false), Codes8::new(&wave(n * d, 9), d, Key::Ip, false)),
            };
            let right = codes.view();
            let ldc = n.next_multiple_of(RIGHT);
            let mut want = vec![0; m.next_multiple_of(LEFT) * ldc];
            for (i, row) in want.chunks_mut(ldc).take(m).enumerate() {
                for (j, w) in row.iter_mut().take(n).enumerate() {
                    let u = |k: usize| right.panels[j / RIGHT * right.lines() + k / 4 * 2 + j % RIGHT / 16].0[j % 16 * 4 + k % 4] as i32;
                    *w = fours(&rows, i).flatten().enumerate().map(|(k, q)| q as i8 as i32 * u(k)).sum();
                }
            }
            let same = |got: &[i32], i: usize| got[..n] == want[i * ldc..][..n];
            let mut got = vec![0; want.len()];
            tiles8(&rows, 0..m, right, 0..n, &mut got, ldc);
            prop_assert!((0..m).all(|i| same(&got[i * ldc..], i)));
            for few in 1..=FEW8.min(m) {
                got.fill(0);
                few8(&rows, m - few..m, right, 0..n, &mut got, ldc);
                prop_assert!((0..few).all(|i| same(&got[i * ldc..], m - few + i)));
            }
            for i in 0..m {
                for p in 0..n.div_ceil(RIGHT) {
                    let panel = &right.panels[p * right.lines()..][..right.lines()];
                    let mut out = [0; RIGHT];
                    let seen = RIGHT.min(n - p * RIGHT);
                    panel_portable(fours(&rows, i), panel, &mut out);
                    prop_assert_eq!(&out[..seen], &want[i * ldc + p * RIGHT..][..seen]);
                    #[cfg(target_arch = "x86_64")]
                    if isa() >= Isa::V3 {
                        // SAFETY: the level was detected on this processor.
                        unsafe { panel_v3(fours(&rows, i), panel, &mut out) };
                        prop_assert_eq!(&out[..seen], &want[i * ldc + p * RIGHT..][..seen]);
                    }
                }
            }
        }
    }
}
