//! The element-wise parts of training a perceptron, each one pass over its arrays.
//!
//! No fused multiply-adds and sixteen fixed lanes: every level gives the same bits.

use crate::{Isa, isa};

const LANES: usize = 16;

/// exp(x) with a relative error below 2e-7 for x in -87..=88; smaller x give about 1e-38.
///
/// Cody–Waite reduction and the polynomial of Cephes (Moshier, expf).
#[inline(always)]
fn exp(x: f32) -> f32 {
    const ROUND: f32 = 12_582_912.0; // 1.5 * 2^23: adding it rounds to an integer, which stands in the low bits
    let x = if x > -87.0 { x } else { -87.0 };
    let x = if x < 88.0 { x } else { 88.0 };
    let t = x * std::f32::consts::LOG2_E + ROUND;
    let n = t - ROUND;
    let r = x - n * 0.693_359_4 - n * -2.121_944_4e-4;
    let p = 1.987_569_1e-4;
    let p = p * r + 1.398_199_9e-3;
    let p = p * r + 8.333_452e-3;
    let p = p * r + 4.166_579_6e-2;
    let p = p * r + 1.666_666_5e-1;
    let p = p * r + 5e-1;
    let p = p * r * r + r + 1.0;
    p * f32::from_bits(t.to_bits().wrapping_add(127) << 23)
}

#[inline(always)]
fn fold(x: &[f32], start: f32, f: impl Fn(f32, f32) -> f32) -> f32 {
    let mut lanes = [start; LANES];
    let (whole, tail) = x.as_chunks::<LANES>();
    for c in whole {
        for l in 0..LANES {
            lanes[l] = f(lanes[l], c[l]);
        }
    }
    for (l, &v) in tail.iter().enumerate() {
        lanes[l] = f(lanes[l], v);
    }
    let mut width = LANES / 2;
    while width > 0 {
        for l in 0..width {
            lanes[l] = f(lanes[l], lanes[l + width]);
        }
        width /= 2;
    }
    lanes[0]
}

/// Turns logits into exp(z - top) and returns (top, sum).
#[inline(always)]
fn exps(z: &mut [f32]) -> (f32, f32) {
    let top = fold(z, f32::NEG_INFINITY, |a, b| if b > a { b } else { a });
    z.iter_mut().for_each(|v| *v = exp(*v - top));
    (top, fold(z, 0.0, |a, b| a + b))
}

#[inline(always)]
fn softmax_body(z: &mut [f32]) {
    let (_, sum) = exps(z);
    let scale = 1.0 / sum;
    z.iter_mut().for_each(|v| *v *= scale);
}

#[inline(always)]
fn cross_entropy_body(z: &mut [f32], bias: &[f32], labels: &[u32], scale: f32) -> (f32, bool) {
    z.iter_mut().zip(bias).for_each(|(z, &b)| *z += b);
    let share = 1.0 / labels.len() as f32;
    let (mut own, mut best) = (0.0, f32::NEG_INFINITY);
    for &l in labels {
        let z = z[l as usize];
        own += z * share;
        best = if z > best { z } else { best };
    }
    let (top, sum) = exps(z);
    let factor = scale / sum;
    z.iter_mut().for_each(|v| *v *= factor);
    labels.iter().for_each(|&l| z[l as usize] -= scale * share);
    (sum.ln() - (own - top), best == top)
}

#[inline(always)]
fn bias_relu_body(z: &mut [f32], bias: &[f32]) {
    z.iter_mut().zip(bias).for_each(|(z, &b)| {
        let v = *z + b;
        *z = if v > 0.0 { v } else { 0.0 };
    });
}

#[inline(always)]
fn relu_gradient_body(delta: &mut [f32], activation: &[f32]) {
    delta.iter_mut().zip(activation).for_each(|(d, &a)| *d = if a > 0.0 { *d } else { 0.0 });
}

/// The constants of one Adam step.
#[derive(Clone, Copy, Debug)]
pub struct AdamStep {
    /// Decay of the first moment.
    pub beta1: f32,
    /// Decay of the second moment.
    pub beta2: f32,
    /// Step size divided by 1 − beta1^t.
    pub rate: f32,
    /// 1 / sqrt(1 − beta2^t).
    pub root: f32,
    /// Added to the root of the second moment.
    pub epsilon: f32,
}

impl AdamStep {
    /// Step number t (from 1) with the usual decays, as `torch.optim.Adam` computes it.
    pub fn new(t: u32, lr: f32) -> AdamStep {
        let (b1, b2) = (0.9f64, 0.999f64);
        AdamStep {
            beta1: b1 as f32,
            beta2: b2 as f32,
            rate: (lr as f64 / (1.0 - b1.powf(t as f64))) as f32,
            root: (1.0 / (1.0 - b2.powf(t as f64)).sqrt()) as f32,
            epsilon: 1e-8,
        }
    }
}

#[inline(always)]
fn adam_body(weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], s: AdamStep) {
    let (c1, c2) = (1.0 - s.beta1, 1.0 - s.beta2);
    for (((w, &g), m), v) in weights.iter_mut().zip(gradient).zip(first).zip(second) {
        *m = s.beta1 * *m + c1 * g;
        *v = s.beta2 * *v + c2 * g * g;
        *w -= s.rate * *m / (v.sqrt() * s.root + s.epsilon);
    }
}

macro_rules! levels {
    ($($(#[$doc:meta])* $name:ident, $body:ident, $v3:ident, $v4:ident, ($($arg:ident: $type:ty),*) -> $out:ty { $check:expr };)*) => {$(
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx512f,avx512bw,avx512dq,avx512vl")]
        fn $v4($($arg: $type),*) -> $out { $body($($arg),*) }
        #[cfg(target_arch = "x86_64")]
        #[target_feature(enable = "avx2")]
        fn $v3($($arg: $type),*) -> $out { $body($($arg),*) }
        $(#[$doc])*
        pub fn $name($($arg: $type),*) -> $out {
            assert!($check);
            match isa() {
                #[cfg(target_arch = "x86_64")]
                // SAFETY: the level was detected on this processor.
                Isa::V4 => unsafe { $v4($($arg),*) },
                #[cfg(target_arch = "x86_64")]
                // SAFETY: as above.
                Isa::V3 => unsafe { $v3($($arg),*) },
                _ => $body($($arg),*),
            }
        }
    )*};
}
levels! {
    /// Turns logits into probabilities.
    softmax, softmax_body, softmax_v3, softmax_v4, (z: &mut [f32]) -> () { true };
    /// z = max(z + bias, 0).
    ///
    /// # Panics
    /// If the lengths differ.
    bias_relu, bias_relu_body, bias_relu_v3, bias_relu_v4, (z: &mut [f32], bias: &[f32]) -> () { z.len() == bias.len() };
    /// Turns logits without their bias into the gradient of scale · cross-entropy with labels that share the probability (one
    /// that stands twice has twice the share); returns the cross-entropy (not scaled) and whether a label has the largest logit.
    ///
    /// # Panics
    /// If the lengths differ, there is no label, or one is beyond them.
    cross_entropy, cross_entropy_body, cross_entropy_v3, cross_entropy_v4,
        (z: &mut [f32], bias: &[f32], labels: &[u32], scale: f32) -> (f32, bool)
        { z.len() == bias.len() && !labels.is_empty() && labels.iter().all(|&l| (l as usize) < z.len()) };
    /// Zeroes the gradient where the unit was off.
    ///
    /// # Panics
    /// If the lengths differ.
    relu_gradient, relu_gradient_body, relu_gradient_v3, relu_gradient_v4,
        (delta: &mut [f32], activation: &[f32]) -> () { delta.len() == activation.len() };
    /// One step of Adam (Kingma & Ba, 2015) on weights and their two moments.
    ///
    /// # Panics
    /// If the lengths differ.
    adam, adam_body, adam_v3, adam_v4,
        (weights: &mut [f32], gradient: &[f32], first: &mut [f32], second: &mut [f32], s: AdamStep) -> ()
        { weights.len() == gradient.len() && first.len() == gradient.len() && second.len() == gradient.len() };
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn exp_is_near_the_library() {
        for i in -8700..8800 {
            let x = i as f32 * 0.01;
            let want = (x as f64).exp();
            assert!((exp(x) as f64 - want).abs() <= 2e-7 * want, "exp({x})");
        }
        assert!(exp(f32::NEG_INFINITY) < 2e-38 && exp(-1e9) < 2e-38);
    }

    #[test]
    fn softmax_of_equal_logits_is_uniform_and_large_ones_do_not_overflow() {
        let mut z = vec![300.0; 40];
        softmax(&mut z);
        assert!(z.iter().all(|p| (p - 0.025).abs() < 1e-8));
    }

    #[test]
    fn every_level_gives_the_same_bits() {
        let z: Vec<f32> = (0..77).map(|i| (i as f32 * 0.7).sin() * 9.0).collect();
        let bias: Vec<f32> = (0..77).map(|i| (i as f32 * 0.3).cos()).collect();
        let (mut a, mut b) = (z.clone(), z.clone());
        assert_eq!(cross_entropy(&mut a, &bias, &[5, 9], 0.25), cross_entropy_body(&mut b, &bias, &[5, 9], 0.25));
        assert_eq!(a, b);
        let s = AdamStep::new(3, 1e-3);
        let (mut m1, mut v1, mut m2, mut v2) = (bias.clone(), z.clone(), bias.clone(), z.clone());
        v1.iter_mut().chain(&mut v2).for_each(|v| *v = v.abs());
        adam(&mut a, &z, &mut m1, &mut v1, s);
        adam_body(&mut b, &z, &mut m2, &mut v2, s);
        assert_eq!((a, m1, v1), (b, m2, v2));
    }

    #[test]
    fn the_gradient_of_cross_entropy_is_its_slope() {
        let z: Vec<f64> = (0..9).map(|i| (i as f64).sin()).collect();
        for labels in [&[4u32][..], &[4, 1, 4, 0]] {
            let own = |z: &[f64]| labels.iter().map(|&l| z[l as usize]).sum::<f64>() / labels.len() as f64;
            let loss = |z: &[f64]| (z.iter().map(|v| v.exp()).sum::<f64>()).ln() - own(z);
            let mut g: Vec<f32> = z.iter().map(|&v| v as f32).collect();
            let (l, _) = cross_entropy(&mut g, &[0.0; 9], labels, 1.0);
            assert!((l as f64 - loss(&z)).abs() < 1e-6);
            for i in 0..9 {
                let (mut up, mut down) = (z.clone(), z.clone());
                up[i] += 1e-5;
                down[i] -= 1e-5;
                assert!(((loss(&up) - loss(&down)) / 2e-5 - g[i] as f64).abs() < 1e-6);
            }
        }
    }
}
