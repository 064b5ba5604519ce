//! A dataset cut in two: a few rows as queries, the others to be searched.

use crate::{Error, Matrix, Metric, Result, Source, StringIds};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// The rows of a dataset without those held out as queries; rows are numbered anew from 0.
pub struct HeldOut {
    inner: Box<dyn Source>,
    held: Vec<u64>, // ascending
}

impl std::fmt::Debug for HeldOut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "HeldOut({} without {} rows)", self.inner.name(), self.held.len())
    }
}

impl HeldOut {
    /// Holds `count` rows out, chosen by `seed`; the second part is those rows, in the order of the dataset.
    ///
    /// Reads `count` single rows, nothing else.
    ///
    /// # Errors
    /// Unless at least one row stays on each side; what reading gives.
    pub fn new(inner: Box<dyn Source>, count: usize, seed: u64) -> Result<(HeldOut, Matrix)> {
        let n = inner.len();
        if n < 2 {
            return Err(Error::param("rows", n, format!("at least 2 in {}, of which some become queries", inner.name())));
        }
        if count == 0 || count as u64 >= n {
            return Err(Error::param("queries held out", count, format!("1 to {}, so that vectors are left", n - 1)));
        }
        let Ok(rows) = usize::try_from(n) else { return Err(Error::param("rows", n, "what the machine can address")) };
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut held: Vec<u64> = rand::seq::index::sample(&mut rng, rows, count).into_iter().map(|i| i as u64).collect();
        held.sort_unstable();
        let mut queries = Matrix::zeros(count, inner.dim());
        for (i, &row) in held.iter().enumerate() {
            inner.read(row, queries.row_mut(i))?;
        }
        Ok((HeldOut { inner, held }, queries))
    }

    /// Rows of the dataset that were held out, ascending.
    pub fn held(&self) -> &[u64] {
        &self.held
    }

    /// Row of the whole dataset behind row `row` of this one.
    pub fn original(&self, row: u64) -> u64 {
        // held[i] - i rows that stay lie before held[i]: the first i for which that exceeds `row` counts those skipped
        let (mut low, mut high) = (0, self.held.len());
        while low < high {
            let middle = (low + high) / 2;
            if self.held[middle] - middle as u64 <= row { low = middle + 1 } else { high = middle }
        }
        row + low as u64
    }
}

impl Source for HeldOut {
    fn len(&self) -> u64 {
        self.inner.len() - self.held.len() as u64
    }

    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let d = self.dim();
        let (mut row, mut rest) = (start, out);
        while !rest.is_empty() {
            let from = self.original(row);
            let next = self.held.partition_point(|&h| h < from);
            let until = self.held.get(next).copied().unwrap_or(u64::MAX); // the run of rows that ends at the next one held
            let run = (until - from).min((rest.len() / d) as u64);
            let (now, later) = rest.split_at_mut(run as usize * d);
            self.inner.read(from, now)?;
            (row, rest) = (row + run, later);
        }
        Ok(())
    }

    fn locate(&self, row: u64) -> (String, u64) {
        self.inner.locate(self.original(row))
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        let Some(all) = self.inner.ids()? else { return Ok(None) };
        let stays = |i: &usize| self.held.binary_search(&(*i as u64)).is_err();
        Ok(Some((0..all.len()).filter(stays).map(|i| all.get(i)).collect()))
    }

    fn metric(&self) -> Option<Metric> {
        self.inner.metric()
    }

    fn fingerprint(&self) -> u64 {
        let bytes: Vec<u8> = self.held.iter().flat_map(|h| h.to_le_bytes()).collect();
        xxhash_rust::xxh3::xxh3_64_with_seed(&bytes, self.inner.fingerprint())
    }

    fn overhead(&self, rows: usize) -> u64 {
        self.inner.overhead(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemSource;

    #[test]
    fn the_two_parts_make_up_the_whole() {
        let n = 50;
        let rows = Matrix::new((0..n).flat_map(|i| [i as f32, -(i as f32)]).collect(), 2);
        let names: StringIds = (0..n).map(|i| format!("r{i}")).collect();
        for (count, seed) in [(1, 0), (7, 1), (49, 2), (25, 3)] {
            let inner = Box::new(MemSource::new("x", rows.clone()).with_ids(Some(names.clone())));
            let (rest, queries) = HeldOut::new(inner, count, seed).unwrap();
            assert_eq!((rest.len(), queries.n()), ((n - count) as u64, count));
            let ids = rest.ids().unwrap().unwrap();
            let mut seen: Vec<i32> = queries.view().iter().map(|r| r[0] as i32).collect();
            for start in 0..rest.len() {
                let mut block = Matrix::zeros((rest.len() - start).min(9) as usize, 2);
                rest.read(start, block.data_mut()).unwrap();
                for (j, row) in block.view().iter().enumerate() {
                    let at = start + j as u64;
                    assert_eq!((row[0], row[1]), (rest.original(at) as f32, -(rest.original(at) as f32)));
                    assert_eq!(ids.get(at as usize), format!("r{}", row[0]));
                }
                seen.push(block.row(0)[0] as i32);
            }
            seen.sort_unstable();
            assert_eq!(seen, (0..n as i32).collect::<Vec<_>>());
        }
    }

    #[test]
    fn something_must_be_left() {
        let inner = || Box::new(MemSource::new("x", Matrix::zeros(3, 2)));
        assert!(HeldOut::new(inner(), 3, 0).is_err());
        assert!(HeldOut::new(inner(), 0, 0).is_err());
    }
}
