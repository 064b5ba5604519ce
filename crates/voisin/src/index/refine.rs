//! The vectors kept beside the codes, by which the best candidates are ranked again: as they came, before any transform.

use crate::encode::scalar::Scalar;
use crate::{Metric, RefineSpec, Result, Spec, Vectors};

/// As what they are kept.
#[derive(Clone, Debug)]
pub(crate) enum Refine {
    /// Not at all: candidates are ranked by their codes.
    None,
    /// f32.
    Flat,
    /// In fewer bits.
    Scalar(Scalar),
}

impl Refine {
    /// Trains what a spec asks for on a sample of rows as they came.
    pub(super) fn train(spec: &Spec, rows: Vectors<'_>) -> Refine {
        match spec.refine {
            None => Refine::None,
            Some(RefineSpec::Flat) => Refine::Flat,
            Some(RefineSpec::Scalar(kind)) => Refine::Scalar(Scalar::train(kind, rows)),
        }
    }

    /// Rebuilds it for vectors of `d` dimensions from what [`Refine::parts`] gave; anything else is an error text.
    pub(super) fn from_parts(spec: &Spec, d: usize, parts: &[f32]) -> Result<Refine, String> {
        match spec.refine {
            None if parts.is_empty() => Ok(Refine::None),
            Some(RefineSpec::Flat) if parts.is_empty() => Ok(Refine::Flat),
            Some(RefineSpec::Scalar(kind)) => Scalar::from_parts(kind, d, parts).map(Refine::Scalar),
            _ => Err("its refinement does not fit the index".into()),
        }
    }

    /// All that was trained, for the model file.
    pub(super) fn parts(&self) -> Vec<f32> {
        match self {
            Refine::None | Refine::Flat => Vec::new(),
            Refine::Scalar(code) => code.parts(),
        }
    }

    /// Whether there are such vectors.
    pub(crate) fn is_some(&self) -> bool {
        !matches!(self, Refine::None)
    }

    /// Bytes of a record of `d` dimensions.
    pub(crate) fn row_bytes(&self, d: usize) -> usize {
        match self {
            Refine::None => 0,
            Refine::Flat => 4 * d,
            Refine::Scalar(code) => code.row_bytes(),
        }
    }

    /// Records of n rows into `out` (n x row_bytes), in parallel.
    ///
    /// # Errors
    /// The row (counted here) and the reason, where a row cannot be coded.
    pub(super) fn encode(&self, rows: Vectors<'_>, out: &mut [u8]) -> Result<(), (usize, String)> {
        match self {
            Refine::None => {}
            Refine::Flat => out.copy_from_slice(bytemuck::cast_slice(rows.data())),
            Refine::Scalar(code) => code.encode(rows, out)?,
        }
        Ok(())
    }

    /// The row of a record.
    pub(crate) fn decode(&self, record: &[u8], out: &mut [f32]) {
        match self {
            Refine::None => {}
            Refine::Flat => bytemuck::cast_slice_mut(out).copy_from_slice(record),
            Refine::Scalar(code) => code.decode(record, out),
        }
    }

    /// The exact key, in f64, of the row that a record stands for.
    ///
    /// A row without direction under cosine is as far as a perpendicular one; one that is no number is farther than all.
    ///
    /// `norm` is [`Metric::exact_norm`] of the query; `row` is a buffer.
    pub(crate) fn key(&self, metric: Metric, query: &[f32], norm: f64, record: &[u8], row: &mut Vec<f32>) -> f64 {
        let key = match self {
            Refine::None => f64::NAN,
            Refine::Flat => metric.exact_key_of(query, norm, bytemuck::cast_slice(record)),
            Refine::Scalar(code) => {
                row.resize(query.len(), 0.0);
                code.decode(record, row);
                metric.exact_key_of(query, norm, row)
            }
        };
        match (key.is_nan(), metric) {
            (false, _) => key,
            (true, Metric::Cosine) => 1.0,
            (true, _) => f64::INFINITY,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(text: &str) -> Spec {
        text.parse().unwrap()
    }

    #[test]
    fn records_rank_as_the_rows_they_decode_to() {
        let rows: Vec<f32> = (0..40 * 7).map(|i| ((i * 7919) % 101) as f32 / 50.0 - 1.0).collect();
        let (rows, query) = (Vectors::new(&rows, 7), [0.3, -0.2, 0.9, 0.0, 0.1, -0.7, 0.4]);
        for (name, error) in [("Flat", 0.0), ("F16", 1e-3), ("SQ8", 0.01), ("SQ4", 0.1), ("SQ8(uniform)", 0.01)] {
            let spec = spec(&format!("RaBitQ4,Refine({name})"));
            let refine = Refine::train(&spec, rows);
            let again = Refine::from_parts(&spec, 7, &refine.parts()).unwrap();
            assert!(Refine::from_parts(&spec, 7, &[1.0]).is_err(), "{name}");
            let bytes = refine.row_bytes(7);
            let mut records = vec![0; 40 * bytes];
            refine.encode(rows, &mut records).unwrap();
            let mut row = [0.0; 7];
            for (x, record) in rows.iter().zip(records.chunks(bytes)) {
                again.decode(record, &mut row);
                assert!(x.iter().zip(&row).all(|(a, b)| (a - b).abs() <= error), "{name}: {x:?} {row:?}");
                for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
                    let (norm, mut buffer) = (metric.exact_norm(&query), Vec::new());
                    let key = again.key(metric, &query, norm, record, &mut buffer);
                    assert_eq!(key, metric.exact_key(&query, &row), "{name} {metric}");
                }
            }
        }
    }

    #[test]
    fn what_has_no_direction_or_is_no_number_has_a_key() {
        let key =
            |metric, row: [f32; 2]| Refine::Flat.key(metric, &[1.0, 2.0], 5f64.sqrt(), bytemuck::bytes_of(&row), &mut vec![]);
        assert_eq!(key(Metric::Cosine, [0.0, 0.0]), 1.0);
        assert_eq!(key(Metric::L2, [f32::NAN, 0.0]), f64::INFINITY);
        assert_eq!(key(Metric::Cosine, [0.0, f32::NAN]), 1.0);
    }
}
