//! Seeded choices whose bytes depend on nothing but the seed: not on the version of a random-number crate's helpers, not
//! on the number of threads.

use rand_chacha::ChaCha8Rng;
use rand_chacha::rand_core::{Rng, SeedableRng};

pub(crate) struct Random(ChaCha8Rng);

impl Random {
    /// `stream` separates uses of one seed (start of k-means, order of batches, ...).
    pub(crate) fn new(seed: u64, stream: u64) -> Random {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        rng.set_stream(stream);
        Random(rng)
    }

    /// A number in 0..n; n is at least 1. The bias of a 128-bit multiplication is below 2^-64 n.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((self.0.next_u64() as u128 * n as u128) >> 64) as u64
    }

    /// Uniform in [0, 1) with 53 bits.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.0.next_u64() >> 11) as f64 * (1.0 / (1u64 << 53) as f64)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for i in (1..items.len()).rev() {
            items.swap(i, self.below(i as u64 + 1) as usize);
        }
    }

    /// `count` different numbers of 0..n, ascending; memory and time grow with `count` only (Floyd's algorithm).
    pub(crate) fn sample(&mut self, n: u64, count: u64) -> Vec<u64> {
        if count >= n {
            return (0..n).collect();
        }
        let mut chosen = std::collections::HashSet::with_capacity(count as usize);
        for j in n - count..n {
            let t = self.below(j + 1);
            if !chosen.insert(t) {
                chosen.insert(j);
            }
        }
        let mut out: Vec<u64> = chosen.into_iter().collect();
        out.sort_unstable();
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_are_distinct_ascending_and_repeatable() {
        for (n, count) in [(10, 3), (10, 10), (10, 12), (1000, 999), (1, 1), (5, 0)] {
            let a = Random::new(7, 1).sample(n, count);
            assert_eq!(a, Random::new(7, 1).sample(n, count));
            assert_eq!(a.len() as u64, count.min(n));
            assert!(a.windows(2).all(|w| w[0] < w[1]) && a.iter().all(|&x| x < n));
        }
        assert_ne!(Random::new(7, 1).sample(1000, 10), Random::new(7, 2).sample(1000, 10));
    }

    #[test]
    fn a_shuffle_keeps_everything() {
        let mut v: Vec<u32> = (0..100).collect();
        Random::new(1, 0).shuffle(&mut v);
        assert_ne!(v, (0..100).collect::<Vec<_>>());
        v.sort_unstable();
        assert_eq!(v, (0..100).collect::<Vec<_>>());
    }
}
