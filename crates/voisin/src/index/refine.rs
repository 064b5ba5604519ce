//! The vectors kept beside the codes, by which the best candidates are ranked again: as they came, before any transform.

use crate::{Metric, RefineSpec, Result, Spec, Vectors};

/// As what they are kept.
#[derive(Clone, Debug)]
pub(crate) enum Refine {
    /// Not at all: candidates are ranked by their codes.
    None,
    /// f32.
    Flat,
}

impl Refine {
    /// Trains what a spec asks for on a sample of rows as they came.
    pub(super) fn train(spec: &Spec, rows: Option<Vectors<'_>>) -> Result<Refine> {
        let _ = rows;
        match spec.refine {
            None => Ok(Refine::None),
            Some(RefineSpec::Flat) => Ok(Refine::Flat),
            Some(RefineSpec::Scalar(_)) => Err(crate::Error::param("index", spec, "a refinement that this version builds")),
        }
    }

    /// Rebuilds it from what [`Refine::parts`] gave; anything else is an error text.
    pub(super) fn from_parts(spec: &Spec, d: usize, parts: &[f32]) -> Result<Refine, String> {
        let _ = d;
        match spec.refine {
            None if parts.is_empty() => Ok(Refine::None),
            Some(RefineSpec::Flat) if parts.is_empty() => Ok(Refine::Flat),
            _ => Err("its refinement does not fit the index".into()),
        }
    }

    /// All that was trained, for the model file.
    pub(super) fn parts(&self) -> Vec<f32> {
        match self {
            Refine::None | Refine::Flat => Vec::new(),
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
        }
    }

    /// Records of n rows into `out` (n x row_bytes), in parallel.
    pub(super) fn encode(&self, rows: Vectors<'_>, out: &mut [u8]) {
        match self {
            Refine::None => {}
            Refine::Flat => out.copy_from_slice(bytemuck::cast_slice(rows.data())),
        }
    }

    /// The row of a record.
    pub(crate) fn decode(&self, record: &[u8], out: &mut [f32]) {
        match self {
            Refine::None => {}
            Refine::Flat => bytemuck::cast_slice_mut(out).copy_from_slice(record),
        }
    }

    /// The exact key, in f64, of the row that a record stands for.
    ///
    /// A row without direction under cosine is as far as a perpendicular one; one that is no number is farther than all.
    pub(crate) fn key(&self, metric: Metric, query: &[f32], record: &[u8]) -> f64 {
        let key = match self {
            Refine::None => f64::NAN,
            Refine::Flat => metric.exact_key(query, bytemuck::cast_slice(record)),
        };
        match (key.is_nan(), metric) {
            (false, _) => key,
            (true, Metric::Cosine) => 1.0,
            (true, _) => f64::INFINITY,
        }
    }
}
