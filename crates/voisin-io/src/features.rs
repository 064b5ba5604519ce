//! Vectors with what belongs to them: ids, labels, and what made them.

use std::io::Write;
use std::path::Path;

use voisin::{Error, Result, Source, StringIds, Watch};

use crate::hdf5::{AttrValue, Writer, ann_name};
use crate::{AtomicFile, Elem, Encoder, Format, WriteOptions, npy, stream};

/// Endings that [`write_features`] writes.
pub const FEATURE_ENDINGS: &str = ".h5 .npz .npy";

/// What stands beside the vectors.
#[derive(Clone, Copy, Debug)]
pub struct Features<'a> {
    /// An id a vector.
    pub ids: &'a StringIds,
    /// A label a vector, where there are labels.
    pub labels: Option<&'a StringIds>,
    /// Name and version of what made the vectors; kept by an index that is built from the file.
    pub made_by: &'a str,
}

/// Refuses early what [`write_features`] would refuse.
///
/// # Errors
/// [`Error::Param`] for an ending that cannot be written.
pub fn check_features_path(out: &Path) -> Result<Format> {
    match Format::of_ending(out) {
        Some(f @ (Format::Hdf5 | Format::Npz | Format::Npy)) => Ok(f),
        _ => Err(Error::param("output", out.display(), format!("a name that ends in one of {FEATURE_ENDINGS}"))),
    }
}

/// Writes vectors as f32: HDF5 with `features` (n, d), `index` and `labels` (strings) and the attributes `made_by` and
/// `distance`; NPZ with arrays of the same names; NPY with the vectors alone. The file appears whole or not at all.
///
/// # Errors
/// As [`check_features_path`]; what reading gives; [`Error::Io`]; [`Error::Stopped`].
pub fn write_features(out: &Path, source: &dyn Source, features: &Features<'_>, watch: &dyn Watch) -> Result<()> {
    match check_features_path(out)? {
        Format::Hdf5 => hdf5(out, source, features, watch),
        Format::Npz => npz(out, source, features, watch),
        _ => npy::write(out, source, &WriteOptions::default(), watch),
    }
}

fn hdf5(path: &Path, source: &dyn Source, features: &Features<'_>, watch: &dyn Watch) -> Result<()> {
    let mut out = Writer::create(path)?;
    out.begin("features", Elem::F32, &[source.len(), source.dim() as u64])?;
    let mut encoder = Encoder::new(source, Elem::F32);
    stream(source, "writing", watch, |start, rows| out.values(encoder.encode(start, rows)?))?;
    out.end()?;
    for (name, strings) in [("index", Some(features.ids)), ("labels", features.labels)] {
        if let Some(strings) = strings {
            out.strings(name, &[strings.len() as u64], strings.iter())?;
        }
    }
    out.attribute("made_by", AttrValue::Text(features.made_by.into()));
    if let Some(metric) = source.metric() {
        out.attribute("distance", AttrValue::Text(ann_name(metric).into()));
    }
    out.finish()
}

fn npz(path: &Path, source: &dyn Source, features: &Features<'_>, watch: &dyn Watch) -> Result<()> {
    let mut out = AtomicFile::create(path)?;
    let zipped = |e: zip::result::ZipError| Error::io(path, e.into());
    let io = |e: std::io::Error| Error::io(path, e);
    let stored = zip::write::SimpleFileOptions::default().compression_method(zip::CompressionMethod::Stored).large_file(true);
    let mut zip = zip::ZipWriter::new(out.out());
    zip.start_file("features.npy", stored).map_err(zipped)?;
    zip.write_all(&npy::header_bytes(Elem::F32, &[source.len(), source.dim() as u64])).map_err(io)?;
    let mut encoder = Encoder::new(source, Elem::F32);
    stream(source, "writing", watch, |start, rows| zip.write_all(encoder.encode(start, rows)?).map_err(io))?;
    let made_by: StringIds = [features.made_by].iter().collect();
    for (name, strings) in [("index", Some(features.ids)), ("labels", features.labels), ("made_by", Some(&made_by))] {
        let Some(strings) = strings else { continue };
        zip.start_file(format!("{name}.npy"), stored).map_err(zipped)?;
        zip.write_all(&npy::string_bytes(strings)).map_err(io)?;
    }
    zip.finish().map_err(zipped)?;
    out.commit()
}
