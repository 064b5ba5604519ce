//! From any format that can be read to any that can be written.

use std::path::Path;

use voisin::{Error, Metric, Result, Source, StringIds, Watch};

use crate::open::chosen;
use crate::{Format, Role, WriteOptions, bins, expand, hdf5, npy, open_all, parquet, text, vecs};

/// Endings that [`convert`] writes.
pub const WRITABLE: &str = ".h5 .npy .fvecs .ivecs .bvecs .fbin .f16bin .u8bin .i8bin .ibin .parquet .csv .tsv .txt";

/// What was written.
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    /// Vectors.
    pub n: u64,
    /// Their dimensions.
    pub d: usize,
    /// The format of the target.
    pub format: Format,
    /// Size of the target in bytes.
    pub bytes: u64,
    /// String ids that the target's format has no place for.
    pub ids_left_out: u64,
}

/// Reads `inputs` as one dataset ([`open_all`]) and writes it to `out`, whose ending tells the format.
///
/// Streams: memory is a few blocks. The target appears whole or not at all.
///
/// # Errors
/// [`Error::Param`] for an ending that cannot be written, or a target that is one of the inputs; what reading gives;
/// [`Error::Format`] naming row and value where the target's type cannot hold a value; [`Error::Io`]; [`Error::Stopped`].
pub fn convert(inputs: &[String], out: &Path, options: &WriteOptions, watch: &dyn Watch) -> Result<Converted> {
    let format = writable(out)?;
    let specs = expand(inputs)?;
    if let Ok(target) = out.canonicalize()
        && specs.iter().any(|s| s.path.canonicalize().is_ok_and(|p| p == target))
    {
        return Err(Error::param("output", out.display(), "another file than the inputs"));
    }
    let source = open_all(inputs, Role::Base)?;
    let wide = |dtype: &str| matches!(dtype, "i32" | "u32" | "i64" | "u64");
    let mut whole = false;
    for spec in &specs {
        whole |= wide(&chosen(spec, Role::Base)?.1.dtype);
    }
    let exact = Exact(&*source);
    let source: &dyn Source = if whole { &exact } else { &*source };
    write_vectors(out, source, options, watch)?;
    let keeps_ids = matches!(format, Format::Hdf5 | Format::Parquet | Format::Text);
    let ids_left_out = if keeps_ids { 0 } else { source.ids()?.map_or(0, |ids| ids.len() as u64) };
    let bytes = std::fs::metadata(out).map_err(|e| Error::io(out, e))?.len();
    Ok(Converted { n: source.len(), d: source.dim(), format, bytes, ids_left_out })
}

/// Writes a source to `out` in the format of its ending, as [`convert`] does.
///
/// # Errors
/// As [`convert`].
pub fn write_vectors(out: &Path, source: &dyn Source, options: &WriteOptions, watch: &dyn Watch) -> Result<()> {
    match writable(out)? {
        Format::Hdf5 => hdf5::write(out, source, options, watch),
        Format::Npy => npy::write(out, source, options, watch),
        Format::Vecs => vecs::write(out, source, options, watch),
        Format::Bins => bins::write(out, source, options, watch),
        Format::Parquet => parquet::write(out, source, options, watch),
        Format::Text => text::write(out, source, options, watch),
        _ => Err(unwritable(out)),
    }
}

fn writable(out: &Path) -> Result<Format> {
    match Format::of_ending(out) {
        Some(f @ (Format::Hdf5 | Format::Npy | Format::Vecs | Format::Bins | Format::Parquet | Format::Text)) => Ok(f),
        _ => Err(unwritable(out)),
    }
}

fn unwritable(out: &Path) -> Error {
    Error::param("output", out.display(), format!("a name that ends in one of {WRITABLE}"))
}

/// Refuses integers that f32, through which every value passes, may have rounded.
struct Exact<'a>(&'a dyn Source);

impl Source for Exact<'_> {
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
        self.0.read(start, out)?;
        match out.iter().position(|x| x.abs() >= (1 << 24) as f32) {
            None => Ok(()),
            Some(i) => {
                let (name, row) = self.0.locate(start + (i / self.dim()) as u64);
                let what = format!("row {row}, column {}: whole numbers from 2^24 on are not read exactly", i % self.dim());
                Err(Error::format(name, what))
            }
        }
    }

    fn locate(&self, row: u64) -> (String, u64) {
        self.0.locate(row)
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        self.0.ids()
    }

    fn metric(&self) -> Option<Metric> {
        self.0.metric()
    }

    fn made_by(&self) -> Option<String> {
        self.0.made_by()
    }

    fn fingerprint(&self) -> u64 {
        self.0.fingerprint()
    }

    fn overhead(&self, rows: usize) -> u64 {
        self.0.overhead(rows)
    }
}
