//! Some rows of a dataset as a dataset.

use crate::{Error, Metric, Result, Source, StringIds};

/// Rows between two wanted ones that are read along with them rather than skipped.
const GAP: u64 = 64;
/// Most rows read at a time.
const SPAN: u64 = 8192;

/// Rows of a dataset in their order; row i here is row `rows()[i]` there. Memory: 8 bytes a row.
pub struct Subset {
    inner: Box<dyn Source>,
    rows: Vec<u64>,
}

impl Subset {
    /// Takes the numbers of the rows.
    ///
    /// # Errors
    /// [`Error::Param`] for rows that do not ascend, or beyond the dataset.
    pub fn new(inner: Box<dyn Source>, rows: Vec<u64>) -> Result<Subset> {
        if let Some(w) = rows.windows(2).find(|w| w[0] >= w[1]) {
            return Err(Error::param("rows", format!("{} before {}", w[0], w[1]), "ascending row numbers"));
        }
        if let Some(&last) = rows.last().filter(|&&r| r >= inner.len()) {
            return Err(Error::param("rows", last, format!("below {}, the rows of {}", inner.len(), inner.name())));
        }
        Ok(Subset { inner, rows })
    }

    /// Where each row stands in the dataset.
    pub fn rows(&self) -> &[u64] {
        &self.rows
    }

    /// The dataset.
    pub fn inner(&self) -> &dyn Source {
        &*self.inner
    }
}

impl Source for Subset {
    fn len(&self) -> u64 {
        self.rows.len() as u64
    }

    fn dim(&self) -> usize {
        self.inner.dim()
    }

    fn name(&self) -> String {
        format!("{} selected rows of {}", self.rows.len(), self.inner.name())
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let d = self.dim();
        let mut wanted = &self.rows[start as usize..start as usize + out.len() / d];
        let (mut out, mut span) = (out, Vec::new());
        while let Some(&first) = wanted.first() {
            let near = |w: &[u64]| w[1] - w[0] <= GAP && w[1] - first < SPAN;
            let many = 1 + wanted.windows(2).take_while(|w| near(w)).count();
            let (now, rest) = wanted.split_at(many);
            let (to, others) = out.split_at_mut(many * d);
            let length = (now[many - 1] - first + 1) as usize;
            if length == many {
                self.inner.read(first, to)?;
            } else {
                span.resize(length * d, 0.0);
                self.inner.read(first, &mut span)?;
                for (to, row) in to.chunks_exact_mut(d).zip(now) {
                    to.copy_from_slice(&span[(row - first) as usize * d..][..d]);
                }
            }
            (wanted, out) = (rest, others);
        }
        Ok(())
    }

    fn locate(&self, row: u64) -> (String, u64) {
        self.inner.locate(self.rows.get(row as usize).copied().unwrap_or(row))
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        let mut out = StringIds::default();
        let there = self.scan_ids(&mut |_, id| out.push(id))?;
        Ok(there.then_some(out))
    }

    fn scan_ids(&self, visit: &mut dyn FnMut(u64, &str)) -> Result<bool> {
        let mut next = 0;
        self.inner.scan_ids(&mut |row, id| {
            if self.rows.get(next) == Some(&row) {
                visit(next as u64, id);
                next += 1;
            }
        })
    }

    fn metric(&self) -> Option<Metric> {
        self.inner.metric()
    }

    fn made_by(&self) -> Option<String> {
        self.inner.made_by()
    }

    fn fingerprint(&self) -> u64 {
        self.inner.fingerprint() ^ xxhash_rust::xxh3::xxh3_64(bytemuck::cast_slice(&self.rows))
    }

    fn layer(&self) -> Option<crate::LayerId> {
        self.inner.layer()
    }

    fn overhead(&self, rows: usize) -> u64 {
        // rows may lie far apart: a span, and what the reader needs for it
        let span = (rows as u64).saturating_mul(GAP).min(SPAN);
        self.inner.overhead(span as usize) + span * 4 * self.dim() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Matrix, MemSource};

    #[test]
    fn rows_and_ids_are_those_of_the_dataset() {
        let n = 20_000usize;
        let names: StringIds = (0..n).map(|i| format!("r{i}")).collect();
        let base = MemSource::new("base", Matrix::new((0..2 * n).map(|i| i as f32).collect(), 2)).with_ids(Some(names));
        let rows: Vec<u64> = (0..n as u64).filter(|i| i % 7 == 3 || (900..1000).contains(i) || i % 500 == 0).collect();
        let s = Subset::new(Box::new(base), rows.clone()).unwrap();
        let mut out = vec![0.0; 2 * rows.len()];
        s.read(0, &mut out).unwrap();
        assert!(out.chunks(2).zip(&rows).all(|(o, &r)| o[0] == 2.0 * r as f32));
        let mut few = vec![0.0; 2 * 3];
        s.read(200, &mut few).unwrap();
        assert_eq!(few, &out[400..406]);
        let ids = s.ids().unwrap().unwrap();
        assert_eq!((ids.len(), ids.get(5)), (rows.len(), format!("r{}", rows[5]).as_str()));
        assert_eq!(s.locate(5), ("base".into(), rows[5]));
    }

    #[test]
    fn rows_must_ascend_and_be_there() {
        let base = || Box::new(MemSource::new("base", Matrix::zeros(4, 1)));
        assert!(Subset::new(base(), vec![1, 1]).is_err());
        assert!(Subset::new(base(), vec![1, 4]).err().unwrap().to_string().contains("below 4"));
        assert_eq!(Subset::new(base(), Vec::new()).unwrap().len(), 0);
    }
}
