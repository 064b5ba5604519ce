//! Browsing: pages of items in their order, or in a random one that takes no memory.

/// The numbers below `n` in a random order that depends on the seed alone: a keyed permutation, so that a page of it costs what
/// it holds and not n.
///
/// A Feistel network of four rounds over the next even number of bits (after Luby and Rackoff, "How to construct pseudorandom
/// permutations from pseudorandom functions", SIAM J. Comput. 1988); what it leads beyond n goes through it again.
pub(super) struct Shuffled {
    n: u64,
    half: u32,
    seed: u64,
}

impl Shuffled {
    pub fn new(n: u64, seed: u64) -> Shuffled {
        let bits = 64 - n.saturating_sub(1).leading_zeros();
        Shuffled { n, half: bits.div_ceil(2).max(1), seed }
    }

    /// What stands at place `i`, which is below n.
    pub fn at(&self, i: u64) -> u64 {
        let mut x = i;
        loop {
            x = self.once(x);
            if x < self.n {
                return x;
            }
        }
    }

    fn once(&self, x: u64) -> u64 {
        let mask = (1u64 << self.half) - 1;
        let (mut left, mut right) = (x >> self.half & mask, x & mask);
        for round in 0..4 {
            (left, right) = (right, left ^ mix(right ^ self.seed.rotate_left(16 * round) ^ u64::from(round) << 56) & mask);
        }
        left << self.half | right
    }
}

/// SplitMix64's finaliser (Steele, Lea and Flood, OOPSLA 2014).
fn mix(x: u64) -> u64 {
    let x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let x = (x ^ x >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ x >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ x >> 31
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_once_and_in_another_order_for_another_seed() {
        for n in [1, 2, 3, 5, 64, 65, 1000, 5310] {
            let order = |seed| (0..n).map(|i| Shuffled::new(n, seed).at(i)).collect::<Vec<u64>>();
            let mut sorted = order(7);
            sorted.sort_unstable();
            assert_eq!(sorted, (0..n).collect::<Vec<_>>(), "{n}");
            assert_eq!(order(7), order(7));
            if n >= 64 {
                assert_ne!(order(7), order(8));
                let still = order(7).iter().enumerate().filter(|(i, x)| *i as u64 == **x).count();
                assert!(still < 10, "{still} of {n} stay where they are");
            }
        }
        let large = Shuffled::new(1 << 40, 1);
        assert!((0..100).all(|i| large.at(i) < 1 << 40));
    }
}
