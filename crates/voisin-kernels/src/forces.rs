//! What all points of a plane do to one of them, as t-SNE counts it.

use crate::{Isa, isa};

const LANES: usize = 16;

/// With w = 1 / (1 + |a − b|²) for every point b: the sums of p·w·(a − b), of w²·(a − b), two values each, and of w (1 for a point
/// at the place itself). The same bits on every processor.
///
/// # Panics
/// If `others` and `p` differ in length.
pub fn forces(at: [f32; 2], others: [&[f32]; 2], p: &[f32]) -> [f32; 5] {
    assert!(others[0].len() == p.len() && others[1].len() == p.len());
    match isa() {
        #[cfg(target_arch = "x86_64")]
        // SAFETY: the level was detected on this processor.
        Isa::V4 => unsafe { v4(at, others, p) },
        #[cfg(target_arch = "x86_64")]
        // SAFETY: as above.
        Isa::V3 => unsafe { v3(at, others, p) },
        _ => body(at, others, p),
    }
}

#[inline(always)]
fn body([x, y]: [f32; 2], [xs, ys]: [&[f32]; 2], p: &[f32]) -> [f32; 5] {
    let mut sums = [[0.0f32; LANES]; 5];
    let ((xs, x_tail), (ys, y_tail), (p, p_tail)) = (xs.as_chunks::<LANES>(), ys.as_chunks(), p.as_chunks());
    for ((xs, ys), p) in xs.iter().zip(ys).zip(p) {
        add(&mut sums, [x, y], [xs, ys], p);
    }
    if !p_tail.is_empty() {
        // so far away that nothing comes from there
        let mut tail = [[f32::MAX; LANES], [f32::MAX; LANES], [0.0; LANES]];
        for (to, from) in tail.iter_mut().zip([x_tail, y_tail, p_tail]) {
            to[..from.len()].copy_from_slice(from);
        }
        add(&mut sums, [x, y], [&tail[0], &tail[1]], &tail[2]);
    }
    sums.map(|s| s.iter().sum())
}

#[inline(always)]
fn add(sums: &mut [[f32; LANES]; 5], [x, y]: [f32; 2], [xs, ys]: [&[f32; LANES]; 2], p: &[f32; LANES]) {
    for l in 0..LANES {
        let (dx, dy) = (x - xs[l], y - ys[l]);
        let w = 1.0 / (1.0 + dx * dx + dy * dy);
        let (pull, push) = (p[l] * w, w * w);
        sums[0][l] += pull * dx;
        sums[1][l] += pull * dy;
        sums[2][l] += push * dx;
        sums[3][l] += push * dy;
        sums[4][l] += w;
    }
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl,fma")]
fn v4(at: [f32; 2], others: [&[f32]; 2], p: &[f32]) -> [f32; 5] {
    body(at, others, p)
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma")]
fn v3(at: [f32; 2], others: [&[f32]; 2], p: &[f32]) -> [f32; 5] {
    body(at, others, p)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_levels_add_up_the_same() {
        for n in [0, 1, 15, 16, 17, 100] {
            let line = |k: usize| (0..n).map(|i| ((i * k + 3) % 23) as f32 / 7.0 - 1.0).collect::<Vec<f32>>();
            let (xs, ys, p) = (line(5), line(9), line(2));
            let at = [0.25, -0.5];
            let got = forces(at, [&xs, &ys], &p);
            assert_eq!(got, body(at, [&xs, &ys], &p));
            let mut want = [0.0f64; 5];
            for i in 0..n {
                let d = [at[0] as f64 - xs[i] as f64, at[1] as f64 - ys[i] as f64];
                let w = 1.0 / (1.0 + d[0] * d[0] + d[1] * d[1]);
                let p = p[i] as f64;
                for (s, v) in want.iter_mut().zip([p * w * d[0], p * w * d[1], w * w * d[0], w * w * d[1], w]) {
                    *s += v;
                }
            }
            assert!(got.iter().zip(want).all(|(a, b)| (*a as f64 - b).abs() < 1e-4), "{got:?} {want:?}");
        }
    }
}
