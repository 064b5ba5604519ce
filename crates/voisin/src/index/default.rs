//! The index that is built where nobody names one.

use crate::{Metric, PartitionSpec, RefineSpec, ScalarKind, Score, Spec};

/// Below this many vectors all of them are compared: lists save too little.
const FLAT_BELOW: u64 = 20_000;
/// From this many dimensions on, RaBitQ codes tell neighbours apart well enough.
const CODED_FROM: usize = 64;
/// Bits a dimension of the codes.
const BITS: usize = 4;

/// The spec for `n` vectors of `d` dimensions, and the reason in words.
///
/// - below 20,000 vectors `Flat`: an exact scan takes well below a millisecond a query;
/// - else k-means lists, about 4·sqrt(n) of them rounded to a power of two: what a query spends on centroids and on lists
///   is then of the same order (16·sqrt(n) to sqrt(n) are usual; FAISS's guidelines name 4 to 16 times sqrt(n));
/// - of `RaBitQ4` codes with `Refine(SQ8)` from 64 dimensions on. Their error bound goes as 1/sqrt(d) (arXiv:2409.09913,
///   theorem 3.2): below that, 8 bits a dimension, which need no refinement, take hardly more room.
pub fn default_spec(n: u64, d: usize, metric: Metric) -> (Spec, String) {
    let _ = metric; // the same codes serve all three
    if n < FLAT_BELOW {
        return (Spec::flat(), format!("{n} vectors: below {FLAT_BELOW} an exact scan is fastest"));
    }
    let nlist = 1usize << (4.0 * (n as f64).sqrt()).log2().round().min(24.0) as u32;
    let partition = PartitionSpec::KMeans { nlist };
    let lists = format!("{n} vectors: about 4·sqrt(n) k-means lists");
    if d < CODED_FROM {
        let spec = Spec { transform: None, partition, router: false, score: Score::Scalar(ScalarKind::Sq8), refine: None };
        return (spec, format!("{lists}; 8 bits a value, as {d} dimensions are few for smaller codes"));
    }
    let refine = Some(RefineSpec::Scalar(ScalarKind::Sq8));
    let spec = Spec { transform: None, partition, router: false, score: Score::RaBitQ { bits: BITS }, refine };
    (spec, format!("{lists}; {BITS} bits a value to find candidates, 8 to rank them"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_grow_with_the_square_root() {
        let spec = |n, d| default_spec(n, d, Metric::L2).0.to_string();
        assert_eq!(spec(19_999, 384), "Flat");
        assert_eq!(spec(60_313, 384), "IVF1024,RaBitQ4,Refine(SQ8)");
        assert_eq!(spec(1_000_000, 128), "IVF4096,RaBitQ4,Refine(SQ8)");
        assert_eq!(spec(1_000_000, 32), "IVF4096,SQ8");
        assert_eq!(spec(100_000_000, 768), "IVF32768,RaBitQ4,Refine(SQ8)");
        for n in [1, 20_000, 1 << 40, u64::MAX] {
            let (spec, why) = default_spec(n, 64, Metric::Cosine);
            assert!(spec.nlist() as u64 <= n && !why.is_empty() && spec.to_string().parse::<Spec>().is_ok(), "{n}");
        }
    }
}
