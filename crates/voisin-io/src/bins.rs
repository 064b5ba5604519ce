//! big-ann `.fbin .u8bin .i8bin .ibin .f16bin`: u32 n, u32 d, then the rows.
//!
//! Format: <https://big-ann-benchmarks.com/neurips21.html>, "dataset formats". A truth file has the same header, all ids
//! (i32), then all distances (f32); it is recognised here so that the message can say what it is.

use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result, Source, Watch};

use crate::choose::{choose, kind_of};
use crate::elem::Elem;
use crate::file::{AtomicFile, InFile};
use crate::raw::{Layout, RawSource};
use crate::write::{Encoder, stream, wanted_elem};
use crate::{Dataset, Role, WriteOptions};

/// Bytes of the header.
const HEADER: u64 = 8;

/// Element type by the ending.
fn elem_of(path: &Path) -> Result<Elem> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "fbin" => Ok(Elem::F32),
        "f16bin" | "hbin" => Ok(Elem::F16),
        "u8bin" => Ok(Elem::U8),
        "i8bin" => Ok(Elem::I8),
        "ibin" => Ok(Elem::I32),
        _ => Err(Error::format(
            path,
            format!("the ending .{ending} tells no type: .fbin, .f16bin, .u8bin, .i8bin and .ibin are known"),
        )),
    }
}

fn layout(file: &InFile) -> Result<Layout> {
    let elem = elem_of(file.path())?;
    let head = file.bytes(0, HEADER)?;
    let word = |i: usize| u32::from_le_bytes([head[i], head[i + 1], head[i + 2], head[i + 3]]);
    let (n, d) = (word(0) as u64, word(4) as u64);
    let cells = n * d; // two u32: fits
    let size = elem.size() as u64;
    let expected = cells.checked_mul(size).and_then(|b| b.checked_add(HEADER));
    if n == 0 || d == 0 {
        return Err(Error::format(file.path(), format!("the header says n = {n}, d = {d}: no vectors")));
    }
    if expected != Some(file.len()) {
        let mut what = format!(
            "the header says n = {n}, d = {d}: {} bytes are expected, the file has {}",
            expected.map_or("more than 2^64".into(), |e| e.to_string()),
            file.len()
        );
        if cells.checked_mul(8).is_some_and(|b| b + HEADER == file.len()) {
            what += "; that is the size of a truth file (ids, then distances): pass it as --truth";
        } else if let rows = (file.len() - HEADER) / (d * size)
            && rows > 0
            && rows < n
        {
            what += &format!("; truncated after {rows} whole rows");
        }
        return Err(Error::format(file.path(), what));
    }
    Ok(Layout::rows(HEADER, n, d as usize, elem))
}

fn dataset(l: &Layout) -> Dataset {
    let (shape, dtype) = (vec![l.n, l.d as u64], l.elem.name());
    let kind = kind_of("", &shape, dtype);
    Dataset { name: String::new(), shape, dtype: dtype.into(), kind, layout: "contiguous".into() }
}

/// Opens the table; the type of the values follows from the ending.
///
/// # Errors
/// [`Error::Format`] if the size is not exactly what the header says.
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, wanted: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let l = layout(&file)?;
    choose(&[dataset(&l)], wanted.filter(|d| !d.is_empty()), role, file.path())?;
    Ok(Box::new(RawSource::new(file, l, "")?))
}

/// Lists the one table.
///
/// # Errors
/// As [`open`].
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    Ok(vec![dataset(&layout(&InFile::open(path)?)?)])
}

/// Writes a table with the type that the ending says.
///
/// # Errors
/// What reading gives; a value that the type cannot hold; [`Error::Io`]; [`Error::Stopped`]. Nothing is left then.
pub fn write(path: &Path, source: &dyn Source, options: &WriteOptions, watch: &dyn Watch) -> Result<()> {
    let elem = elem_of(path)?;
    wanted_elem(options, elem, &[elem], "this ending")?;
    let too_many = |what: &str| Error::format(path, format!("more than 2^32 - 1 {what} do not fit this format"));
    let n = u32::try_from(source.len()).map_err(|_| too_many("vectors"))?;
    let d = u32::try_from(source.dim()).map_err(|_| too_many("dimensions"))?;
    let mut out = AtomicFile::create(path)?;
    out.write(&n.to_le_bytes())?;
    out.write(&d.to_le_bytes())?;
    let mut encoder = Encoder::new(source, elem);
    stream(source, "writing", watch, |start, rows| out.write(encoder.encode(start, rows)?))?;
    out.commit()
}
