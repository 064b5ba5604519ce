//! A seeded sample of a dataset that is streamed.

use super::rng::Random;
use crate::{Matrix, Metric, OnBad, Result, Source, Vectors, Watch, for_each_block, screen};
use rayon::prelude::*;

/// Single rows are read where at most one of so many is wanted.
const SPARSE: u64 = 32;
/// Rows read between two looks at Ctrl-C.
const AT_ONCE: usize = 4096;

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
/// The source is read once, in blocks, or only the chosen rows are, where these are few and the source can seek. Rows that cannot
/// be ranked are left out under [`OnBad::Skip`], so that there may be fewer; under [`OnBad::Error`] what is read is looked at.
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
    if source.seeks() && (chosen.len() as u64).saturating_mul(SPARSE) < n {
        return seek(source, chosen, metric, on_bad, watch);
    }
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

/// Reads single rows; the sample is the same as from reading all.
fn seek(source: &dyn Source, chosen: Vec<u64>, metric: Metric, on_bad: OnBad, watch: &dyn Watch) -> Result<Sample> {
    let d = source.dim();
    let mut data = vec![0.0; chosen.len() * d];
    watch.begin("read", chosen.len() as u64, "vectors");
    for (rows, out) in chosen.chunks(AT_ONCE).zip(data.chunks_mut(AT_ONCE * d)) {
        watch.check()?;
        // side by side: a disk far away takes its time for each
        rows.par_iter().zip(out.par_chunks_mut(d)).try_for_each(|(&row, out)| source.read(row, out))?;
        watch.advance(rows.len() as u64);
    }
    watch.end();
    let bad = screen(Vectors::new(&data, d), metric);
    if let (OnBad::Error, Some(&(i, what))) = (on_bad, bad.first()) {
        let (name, row) = source.locate(chosen[i]);
        return Err(crate::Error::BadRow { name, row, what });
    }
    let mut ids = chosen;
    if !bad.is_empty() {
        let mut out = vec![false; ids.len()];
        bad.iter().for_each(|b| out[b.0] = true);
        let good: Vec<usize> = (0..ids.len()).filter(|&i| !out[i]).collect();
        for (to, &i) in good.iter().enumerate() {
            ids[to] = ids[i];
            data.copy_within(i * d..(i + 1) * d, to * d);
        }
        ids.truncate(good.len());
        data.truncate(good.len() * d);
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{MemSource, Quiet};

    struct Seeking(MemSource, bool);

    impl Source for Seeking {
        fn len(&self) -> u64 {
            self.0.len()
        }
        fn dim(&self) -> usize {
            self.0.dim()
        }
        fn name(&self) -> String {
            self.0.name()
        }
        fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
            self.0.read(start, out)
        }
        fn seeks(&self) -> bool {
            self.1
        }
    }

    #[test]
    fn seeking_gives_the_same_sample() {
        let mut data: Vec<f32> = (0..3 * 9000).map(|i| (i as f32).sin()).collect();
        let both = |data: &[f32], on_bad| {
            [false, true].map(|seeks| {
                let source = Seeking(MemSource::new("x", Matrix::new(data.to_vec(), 3)), seeks);
                draw(&source, 200, 4, Metric::L2, on_bad, &Quiet).map(|s| (s.ids, s.rows)).map_err(|e| e.to_string())
            })
        };
        let [all, some] = both(&data, OnBad::Error);
        assert!(all == some && all.as_ref().unwrap().0.len() == 200);
        let bad = all.unwrap().0[77];
        data[3 * bad as usize + 1] = f32::NAN;
        let [all, some] = both(&data, OnBad::Skip);
        assert!(all == some && all.unwrap().0.len() == 199);
        let [all, some] = both(&data, OnBad::Error);
        assert!(all == some && all.unwrap_err().contains(&format!("row {bad}")));
    }
}
