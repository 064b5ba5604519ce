//! A seeded sample of a dataset that is streamed.

use super::rng::Random;
use crate::{Matrix, Metric, OnBad, Result, Source, Watch, for_each_block};

/// Rows of a dataset, with their numbers.
#[derive(Clone, Debug)]
pub struct Sample {
    /// The rows.
    pub rows: Matrix,
    /// Their row numbers in the dataset, ascending.
    pub ids: Vec<u64>,
}

/// `count` different rows of a source (all, if it has fewer), chosen by `seed` alone; unit length under cosine.
///
/// The source is read once, in blocks. Rows that cannot be ranked are left out under [`OnBad::Skip`], so that there may be
/// fewer.
///
/// # Errors
/// What reading gives; [`crate::Error::Empty`] if no row is left.
pub fn sample(source: &dyn Source, count: u64, seed: u64, metric: Metric, on_bad: OnBad, watch: &dyn Watch) -> Result<Sample> {
    let mut drawn = draw(source, count, seed, metric, on_bad, watch)?;
    if metric == Metric::Cosine {
        (0..drawn.rows.n()).for_each(|i| normalise(drawn.rows.row_mut(i)));
    }
    Ok(drawn)
}

/// As [`sample`], the rows as they came.
pub(crate) fn draw(
    source: &dyn Source,
    count: u64,
    seed: u64,
    metric: Metric,
    on_bad: OnBad,
    watch: &dyn Watch,
) -> Result<Sample> {
    let (n, d) = (source.len(), source.dim());
    let chosen = Random::new(seed, 1).sample(n, count);
    let mut ids = Vec::with_capacity(chosen.len());
    let mut data = Vec::with_capacity(chosen.len() * d);
    let block_rows = ((8 << 20) / d.max(1)).clamp(1, 1 << 16);
    watch.begin("read", n, "vectors");
    for_each_block(source, 0..n, block_rows, metric, on_bad, watch, |block| {
        let end = block.start + block.rows.n() as u64;
        let range = chosen.partition_point(|&r| r < block.start)..chosen.partition_point(|&r| r < end);
        for &r in &chosen[range] {
            let i = (r - block.start) as usize;
            if block.bad.binary_search(&i).is_err() {
                ids.push(r);
                data.extend_from_slice(block.rows.row(i));
            }
        }
        watch.advance(block.rows.n() as u64);
        Ok(())
    })?;
    watch.end();
    if ids.is_empty() {
        return Err(crate::Error::Empty { name: source.name() });
    }
    Ok(Sample { rows: Matrix::new(data, d), ids })
}

/// Scales a row to unit length; a zero row stays.
pub(crate) fn normalise(row: &mut [f32]) {
    let norm = row.iter().map(|&x| x as f64 * x as f64).sum::<f64>().sqrt();
    if norm > 0.0 {
        row.iter_mut().for_each(|x| *x = (*x as f64 / norm) as f32);
    }
}
