//! Codes: what a vector is stored as, and how it is read back or compared without reading it back.
//!
//! A vector's code is a *record* of a fixed number of bytes. A run (at most 1024 rows of one list) stores its records in the
//! layout that the scan wants; [`Codec::pack`] and [`Codec::unpack`] convert. Rows come transformed, of unit length under
//! cosine; codes of residuals are made relative to the centre of the list that a row is stored in.

use crate::{Matrix, Result, Score, Spec, Vectors, Watch};

pub(crate) mod estimate;
#[allow(dead_code)]
pub(crate) mod pq;
pub(crate) mod rabitq;
mod rotation;
#[allow(dead_code)]
pub(crate) mod scalar;

use rabitq::RaBitQ;

// modules of this room, each declared by whoever adds it: pq, rabitq, scalar

/// A trained code.
#[derive(Clone, Debug)]
pub(crate) enum Codec {
    /// f32 values.
    Flat,
    RaBitQ(RaBitQ),
}

/// What training a code needs to know beside the rows.
pub(crate) struct Training<'a> {
    /// The list of each row.
    pub(crate) lists: &'a [u32],
    /// Centres of the lists, nlist x d; `None` where codes are not relative to a centre.
    pub(crate) centres: Option<&'a Matrix>,
    /// Whether keys are inner products.
    pub(crate) ip: bool,
    pub(crate) seed: u64,
    pub(crate) watch: &'a dyn Watch,
}

impl Codec {
    /// Whether codes of a spec are relative to the centre of their list.
    pub(crate) fn uses_centres(spec: &Spec) -> bool {
        match spec.score {
            Score::Flat => false,
            Score::Scalar(kind) => spec.nlist() > 1 && matches!(kind, crate::ScalarKind::Sq4 | crate::ScalarKind::Sq4Uniform),
            Score::Pq { .. } | Score::RaBitQ { .. } => true,
        }
    }

    /// Trains the code of a spec on a sample of rows.
    pub(crate) fn train(spec: &Spec, rows: Vectors<'_>, with: &Training<'_>) -> Result<Codec> {
        let _ = (with.seed, with.watch);
        match spec.score {
            Score::Flat => Ok(Codec::Flat),
            Score::RaBitQ { bits } => Ok(Codec::RaBitQ(RaBitQ::train(bits, rows, with))),
            _ => Err(crate::Error::param("index", spec, "a code that this version builds")),
        }
    }

    /// Rebuilds a code from what [`Codec::parts`] gave; anything else is an error text.
    pub(crate) fn from_parts(spec: &Spec, d: usize, parts: &[f32]) -> std::result::Result<Codec, String> {
        match spec.score {
            Score::Flat if parts.is_empty() => Ok(Codec::Flat),
            Score::RaBitQ { bits } => RaBitQ::from_parts(bits, d, parts).map(Codec::RaBitQ),
            _ => Err("its code does not fit the index".into()),
        }
    }

    /// All that was trained, for the model file.
    pub(crate) fn parts(&self) -> Vec<f32> {
        match self {
            Codec::Flat => Vec::new(),
            Codec::RaBitQ(code) => code.parts(),
        }
    }

    /// Bytes of a record of `d` dimensions.
    pub(crate) fn row_bytes(&self, d: usize) -> usize {
        match self {
            Codec::Flat => 4 * d,
            Codec::RaBitQ(code) => code.row_bytes(),
        }
    }

    /// Records of n rows into `out` (n x row_bytes), in parallel; `lists` and `centres` as in [`Training`].
    ///
    /// # Errors
    /// The row (counted here) and the reason, where a row cannot be coded.
    pub(crate) fn encode(
        &self,
        rows: Vectors<'_>,
        lists: &[u32],
        centres: Option<&Matrix>,
        out: &mut [u8],
    ) -> std::result::Result<(), (usize, String)> {
        match self {
            Codec::Flat => out.copy_from_slice(bytemuck::cast_slice(rows.data())),
            Codec::RaBitQ(code) => code.encode(rows, lists, centres, out),
        }
        Ok(())
    }

    /// Whether records can be decoded to rows that are then compared exactly (all but product codes and RaBitQ, which
    /// are compared by tables).
    pub(crate) fn decodes(&self) -> bool {
        match self {
            Codec::Flat => true,
            Codec::RaBitQ(_) => false,
        }
    }

    /// Rows from the content of a run of a list with this centre; only where [`Codec::decodes`]. The same bits always.
    pub(crate) fn decode(&self, run: &[u8], centre: Option<&[f32]>, out: &mut [f32]) {
        let _ = centre;
        match self {
            Codec::Flat => bytemuck::cast_slice_mut(out).copy_from_slice(run),
            Codec::RaBitQ(_) => unreachable!("asked only of codes that decode"),
        }
    }

    /// Bytes of a run of n records.
    pub(crate) fn run_bytes(&self, d: usize, n: usize) -> usize {
        match self {
            Codec::Flat | Codec::RaBitQ(_) => n * self.row_bytes(d),
        }
    }

    /// Lays n records out as a run.
    pub(crate) fn pack(&self, d: usize, records: &[u8], n: usize, run: &mut [u8]) {
        let _ = d;
        match self {
            Codec::RaBitQ(code) => code.pack(records, n, run),
            Codec::Flat => run.copy_from_slice(records),
        }
    }

    /// Record `i` of a run of n.
    pub(crate) fn unpack(&self, d: usize, run: &[u8], n: usize, i: usize, record: &mut [u8]) {
        let bytes = self.row_bytes(d);
        match self {
            Codec::Flat => record.copy_from_slice(&run[i * bytes..(i + 1) * bytes]),
            Codec::RaBitQ(code) => code.unpack(run, n, i, record),
        }
    }
}
