//! Codes: what a vector is stored as, and how it is read back or compared without reading it back.
//!
//! A vector's code is a *record* of a fixed number of bytes. A run (at most 1024 rows of one list) stores its records in the
//! layout that the scan wants; [`Codec::pack`] and [`Codec::unpack`] convert. Rows come transformed, of unit length under
//! cosine; codes of residuals are made relative to the centre of the list that a row is stored in.

pub(crate) mod estimate;
pub(crate) mod pq;
pub(crate) mod rabitq;
mod rotation;
pub(crate) mod scalar;

use crate::{Matrix, Result, ScalarKind, Score, Spec, Vectors, Watch};
use pq::Pq;
use rabitq::RaBitQ;
use rayon::prelude::*;
use scalar::Scalar;
use std::borrow::Cow;

/// A trained code.
#[derive(Clone, Debug)]
pub(crate) enum Codec {
    /// f32 values.
    Flat,
    /// Every value by itself.
    Scalar(Scalar),
    /// Product codes.
    Pq(Pq),
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

/// A row that cannot be coded, by its place, and why.
pub(crate) type Refused = (usize, String);

impl Codec {
    /// Whether codes of a spec are relative to the centre of their list: where ranges or codewords shrink by it.
    pub(crate) fn uses_centres(spec: &Spec) -> bool {
        match spec.score {
            Score::Flat => false,
            Score::Scalar(kind) => spec.nlist() > 1 && matches!(kind, ScalarKind::Sq4 | ScalarKind::Sq4Uniform),
            Score::Pq { .. } | Score::RaBitQ { .. } => true,
        }
    }

    /// Trains the code of a spec on a sample of rows.
    ///
    /// # Errors
    /// A number of parts that does not divide the dimensions; [`crate::Error::Stopped`].
    pub(crate) fn train(spec: &Spec, rows: Vectors<'_>, with: &Training<'_>) -> Result<Codec> {
        Ok(match spec.score {
            Score::Flat => Codec::Flat,
            Score::Scalar(kind) => {
                Codec::Scalar(Scalar::train(kind, Vectors::new(&less(rows, with.lists, with.centres), rows.d())))
            }
            Score::Pq { m, bits } => Codec::Pq(Pq::train(m, bits, rows, with)?),
            Score::RaBitQ { bits } => Codec::RaBitQ(RaBitQ::train(bits, rows, with)),
        })
    }

    /// Rebuilds a code from what [`Codec::parts`] gave; anything else is an error text.
    pub(crate) fn from_parts(spec: &Spec, d: usize, parts: &[f32]) -> std::result::Result<Codec, String> {
        match spec.score {
            Score::Flat if parts.is_empty() => Ok(Codec::Flat),
            Score::Flat => Err("its code does not fit the index".into()),
            Score::Scalar(kind) => Scalar::from_parts(kind, d, parts).map(Codec::Scalar),
            Score::Pq { m, bits } => Pq::from_parts(m, bits, d, parts).map(Codec::Pq),
            Score::RaBitQ { bits } => RaBitQ::from_parts(bits, d, parts).map(Codec::RaBitQ),
        }
    }

    /// All that was trained, for the model file.
    pub(crate) fn parts(&self) -> Vec<f32> {
        match self {
            Codec::Flat => Vec::new(),
            Codec::Scalar(code) => code.parts(),
            Codec::Pq(code) => code.parts(),
            Codec::RaBitQ(code) => code.parts(),
        }
    }

    /// Bytes of a record of `d` dimensions.
    pub(crate) fn row_bytes(&self, d: usize) -> usize {
        match self {
            Codec::Flat => 4 * d,
            Codec::Scalar(code) => code.row_bytes(),
            Codec::Pq(code) => code.row_bytes(),
            Codec::RaBitQ(code) => code.row_bytes(),
        }
    }

    /// What it needs of centres for coding many rows, made once: nlist x [`Codec::prepared_width`] values, or nothing.
    pub(crate) fn prepare(&self, centres: Option<&Matrix>) -> Vec<f32> {
        match (self, centres) {
            (Codec::RaBitQ(code), Some(centres)) => code.rotated(centres),
            _ => Vec::new(),
        }
    }

    /// Values a centre that [`Codec::prepare`] makes.
    pub(crate) fn prepared_width(&self) -> usize {
        if let Codec::RaBitQ(code) = self { code.padded() } else { 0 }
    }

    /// Records of n rows into `out` (n x row_bytes), in parallel; `lists` and `centres` as in [`Training`], `prepared` what
    /// [`Codec::prepare`] made of these, or nothing.
    ///
    /// # Errors
    /// The row and the reason, where a row cannot be coded.
    pub(crate) fn encode(
        &self,
        rows: Vectors<'_>,
        lists: &[u32],
        centres: Option<&Matrix>,
        prepared: &[f32],
        out: &mut [u8],
    ) -> std::result::Result<(), Refused> {
        if !matches!(self, Codec::Flat) {
            bounded(rows)?;
        }
        match self {
            Codec::Flat => out.copy_from_slice(bytemuck::cast_slice(rows.data())),
            Codec::Scalar(code) => code.encode_relative(rows, lists, centres, out)?,
            Codec::Pq(code) => code.encode(rows, lists, centres, out),
            Codec::RaBitQ(code) => code.encode(rows, lists, centres, prepared, out),
        }
        Ok(())
    }

    /// Whether records can be decoded to rows that are then compared exactly (all but product codes and RaBitQ, which
    /// are compared by estimates).
    pub(crate) fn decodes(&self) -> bool {
        matches!(self, Codec::Flat | Codec::Scalar(_))
    }

    /// Rows from the content of a run of a list with this centre; only where [`Codec::decodes`]. The same bits always.
    pub(crate) fn decode(&self, run: &[u8], centre: Option<&[f32]>, out: &mut [f32]) {
        match self {
            Codec::Flat => bytemuck::cast_slice_mut(out).copy_from_slice(run),
            Codec::Scalar(code) => code.decode(run, out),
            Codec::Pq(_) | Codec::RaBitQ(_) => unreachable!("asked only of codes that decode"),
        }
        if let Some(centre) = centre {
            out.chunks_exact_mut(centre.len()).for_each(|row| row.iter_mut().zip(centre).for_each(|(x, c)| *x += c));
        }
    }

    /// The row that a record of a list with this centre stands for; only for codes but RaBitQ.
    pub(crate) fn read(&self, record: &[u8], centre: Option<&[f32]>, out: &mut [f32]) {
        match self {
            Codec::Pq(code) => {
                code.decode(record, out);
                centre.iter().for_each(|c| out.iter_mut().zip(*c).for_each(|(x, c)| *x += c));
            }
            _ => self.decode(record, centre, out),
        }
    }

    /// Bytes of a run of n records.
    pub(crate) fn run_bytes(&self, d: usize, n: usize) -> usize {
        match self {
            Codec::Flat | Codec::Scalar(_) => n * self.row_bytes(d),
            Codec::Pq(code) => code.run_bytes(n),
            Codec::RaBitQ(code) => code.run_bytes(n),
        }
    }

    /// Lays n records out as a run.
    pub(crate) fn pack(&self, records: &[u8], n: usize, run: &mut [u8]) {
        match self {
            Codec::Flat | Codec::Scalar(_) => run.copy_from_slice(records),
            Codec::Pq(code) => code.pack(records, n, run),
            Codec::RaBitQ(code) => code.pack(records, n, run),
        }
    }

    /// Record `i` of a run of n.
    pub(crate) fn unpack(&self, d: usize, run: &[u8], n: usize, i: usize, record: &mut [u8]) {
        let bytes = self.row_bytes(d);
        match self {
            Codec::Flat | Codec::Scalar(_) => record.copy_from_slice(&run[i * bytes..(i + 1) * bytes]),
            Codec::Pq(code) => code.unpack(run, n, i, record),
            Codec::RaBitQ(code) => code.unpack(run, n, i, record),
        }
    }
}

/// Rows less the centres of their lists.
fn less<'a>(rows: Vectors<'a>, lists: &[u32], centres: Option<&Matrix>) -> Cow<'a, [f32]> {
    let Some(centres) = centres else { return Cow::Borrowed(rows.data()) };
    let mut out = rows.data().to_vec();
    out.par_chunks_mut(rows.d()).zip(lists.par_iter()).with_min_len(64).for_each(|(row, &list)| {
        row.iter_mut().zip(centres.row(list as usize)).for_each(|(x, c)| *x -= c);
    });
    Cow::Owned(out)
}

/// Refuses rows whose squares would overflow the factors of a code.
fn bounded(rows: Vectors<'_>) -> std::result::Result<(), Refused> {
    const LARGEST: f32 = 1e15;
    match rows.data().par_chunks(rows.d()).with_min_len(64).position_first(|r| voisin_kernels::max_abs(r) > LARGEST) {
        None => Ok(()),
        Some(i) => Err((i, "a value above 1e15, which codes cannot hold; Flat can".into())),
    }
}
