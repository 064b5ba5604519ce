//! What a model gives, as one vector.

use super::prepare::{Layout, words};

/// How several vectors become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pooling {
    /// The output is the vector: (n, d).
    None,
    /// The first of the tokens: (n, tokens, d).
    Cls,
    /// The last token of a text: (n, tokens, d).
    Eos,
    /// The mean over tokens: (n, tokens, d); of a text without what fills it up.
    Mean,
    /// The mean over height and width: (n, d, h, w), or (n, h, w, d) with the layout NHWC.
    Gap,
}
words!(Pooling, "the pooling", "none" = None, "cls" = Cls, "eos" = Eos, "mean" = Mean, "gap" = Gap);

/// The vector in an output for one image or text of `real` tokens.
///
/// # Errors
/// A shape that this pooling is not for.
pub(crate) fn pool(shape: &[usize], values: Vec<f32>, pooling: Pooling, layout: Layout, real: usize) -> Result<Vec<f32>, String> {
    let wrong = |expected: &str| Err(format!("an output of shape {shape:?}; pooling {pooling} is for {expected}"));
    if shape.first() != Some(&1) || values.is_empty() || shape.iter().product::<usize>() != values.len() {
        return Err(format!("an output of shape {shape:?} for one input; its first size should be 1, and none of the others 0"));
    }
    let mean = |rows: &[f32], d: usize| {
        let mut sums = vec![0f64; d];
        rows.chunks_exact(d).for_each(|row| sums.iter_mut().zip(row).for_each(|(s, x)| *s += f64::from(*x)));
        let n = (rows.len() / d) as f64;
        sums.into_iter().map(|s| (s / n) as f32).collect()
    };
    match (pooling, &shape[1..]) {
        (Pooling::None, [_] | [_, 1, 1]) => Ok(values),
        (Pooling::None, _) => wrong("(n, d)"),
        (Pooling::Cls, [_, d]) => Ok(values[..*d].to_vec()),
        (Pooling::Eos, [t, d]) => Ok(values[(real.min(*t) - 1) * d..][..*d].to_vec()),
        (Pooling::Mean, [t, d]) => Ok(mean(&values[..real.min(*t) * d], *d)),
        (Pooling::Cls | Pooling::Eos | Pooling::Mean, _) => wrong("(n, tokens, d)"),
        (Pooling::Gap, [d, h, w]) if layout == Layout::Nchw => {
            Ok(values.chunks_exact(h * w).take(*d).map(|c| (c.iter().map(|x| f64::from(*x)).sum::<f64>() / (h * w) as f64) as f32).collect())
        }
        (Pooling::Gap, [_, _, d]) => Ok(mean(&values, *d)),
        (Pooling::Gap, _) => wrong("four sizes, such as (n, d, h, w)"),
    }
}

/// What an output of so many sizes is pooled by where nobody says how.
pub(crate) fn usual(rank: usize) -> Option<Pooling> {
    match rank {
        2 => Some(Pooling::None),
        4 => Some(Pooling::Gap),
        _ => None,
    }
}

/// Checks numbers and brings a vector to unit length.
pub(crate) fn finish(mut row: Vec<f32>, unit: bool) -> Result<Vec<f32>, String> {
    if row.iter().any(|x| !x.is_finite()) {
        return Err("the model gives NaN or infinity for it".into());
    }
    let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    if norm == 0.0 {
        return Err("the model gives zeros for it".into());
    }
    if unit {
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
    Ok(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pooled(shape: &[usize], pooling: Pooling, layout: Layout, real: usize) -> Result<Vec<f32>, String> {
        pool(shape, (0..shape.iter().product::<usize>()).map(|x| x as f32).collect(), pooling, layout, real)
    }

    #[test]
    fn every_pooling() {
        let (nchw, nhwc) = (Layout::Nchw, Layout::Nhwc);
        assert_eq!(pooled(&[1, 3], Pooling::None, nchw, 1).unwrap(), [0., 1., 2.]);
        assert_eq!(pooled(&[1, 3, 2], Pooling::Cls, nchw, 3).unwrap(), [0., 1.]);
        assert_eq!(pooled(&[1, 3, 2], Pooling::Eos, nchw, 2).unwrap(), [2., 3.]);
        assert_eq!(pooled(&[1, 3, 2], Pooling::Mean, nchw, usize::MAX).unwrap(), [2., 3.]);
        assert_eq!(pooled(&[1, 3, 2], Pooling::Mean, nchw, 2).unwrap(), [1., 2.]);
        assert_eq!(pooled(&[1, 2, 2, 2], Pooling::Gap, nchw, 1).unwrap(), [1.5, 5.5]);
        assert_eq!(pooled(&[1, 2, 2, 2], Pooling::Gap, nhwc, 1).unwrap(), [3., 4.]);
        assert_eq!(pooled(&[1, 2, 1, 1], Pooling::None, nchw, 1).unwrap(), [0., 1.]);
    }

    #[test]
    fn shapes_that_do_not_fit() {
        for (shape, pooling) in [
            (&[][..], Pooling::None),
            (&[1], Pooling::None),
            (&[2, 3], Pooling::None),
            (&[1, 0], Pooling::None),
            (&[1, 3, 2], Pooling::None),
            (&[1, 3], Pooling::Cls),
            (&[1, 3, 2], Pooling::Gap),
            (&[1, 0, 2], Pooling::Mean),
        ] {
            assert!(pooled(shape, pooling, Layout::Nchw, 5).is_err(), "{shape:?}");
        }
        assert!(finish(vec![0.0, f32::NAN], true).is_err() && finish(vec![0.0; 3], false).is_err());
        assert_eq!(finish(vec![3.0, 4.0], true).unwrap(), [0.6, 0.8]);
    }
}
