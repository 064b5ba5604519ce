//! TEXMEX `.fvecs .ivecs .bvecs`: every row is its dimension as i32, then its values.
//!
//! Format: <http://corpus-texmex.irisa.fr/>.

use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result, Source, Watch};

use crate::choose::{choose, kind_of};
use crate::elem::Elem;
use crate::file::{AtomicFile, InFile};
use crate::raw::spec_name;
use crate::write::{Encoder, stream, wanted_elem};
use crate::{Dataset, Role, WriteOptions};

/// Bytes read at once.
const PIECE: usize = 1 << 18;

/// Rows that each repeat their dimension; it is checked as they are read.
#[derive(Debug)]
struct VecsSource {
    file: Arc<InFile>,
    elem: Elem,
    n: u64,
    d: usize,
}

/// Element type by the first letter of the ending.
fn elem_of(path: &Path) -> Result<Elem> {
    let ending = path.extension().map(|e| e.to_string_lossy().to_ascii_lowercase()).unwrap_or_default();
    match ending.as_str() {
        "fvecs" | "fvec" => Ok(Elem::F32),
        "ivecs" | "ivec" => Ok(Elem::I32),
        "bvecs" | "bvec" => Ok(Elem::U8),
        _ => Err(Error::format(path, format!("the ending .{ending} tells no type: .fvecs, .ivecs and .bvecs are known"))),
    }
}

impl VecsSource {
    fn new(file: Arc<InFile>) -> Result<VecsSource> {
        let elem = elem_of(file.path())?;
        let head = file.bytes(0, 4)?;
        let d = i32::from_le_bytes([head[0], head[1], head[2], head[3]]);
        if d <= 0 {
            return Err(Error::format(file.path(), format!("row 0 says that it has {d} dimensions")));
        }
        let width = 4 + d as u64 * elem.size() as u64;
        let (n, rest) = (file.len() / width, file.len() % width);
        if rest != 0 {
            let what = format!(
                "{} bytes are not a whole number of rows of {width} bytes (4 + {d} x {}): {n} rows and {rest} bytes; \
                 truncated, or the rows differ in dimension",
                file.len(),
                elem.size()
            );
            return Err(Error::format(file.path(), what));
        }
        Ok(VecsSource { file, elem, n, d: d as usize })
    }

    fn dataset(&self) -> Dataset {
        let (shape, dtype) = (vec![self.n, self.d as u64], self.elem.name());
        let kind = kind_of("", &shape, dtype);
        let layout = "rows with their dimension".into();
        Dataset { name: String::new(), shape, dtype: dtype.into(), kind, layout }
    }
}

impl Source for VecsSource {
    fn len(&self) -> u64 {
        self.n
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        spec_name(self.file.path(), "")
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let width = 4 + self.d * self.elem.size();
        let many = (PIECE / width).clamp(1, (out.len() / self.d).max(1));
        let mut buf = vec![0u8; many * width];
        for (i, block) in out.chunks_mut(many * self.d).enumerate() {
            let first = start + (i * many) as u64;
            let b = &mut buf[..block.len() / self.d * width];
            self.file.read_at(b, first * width as u64)?;
            for (r, (o, row)) in block.chunks_exact_mut(self.d).zip(b.chunks_exact(width)).enumerate() {
                let d = i32::from_le_bytes([row[0], row[1], row[2], row[3]]);
                if d as i64 != self.d as i64 {
                    let what = format!("row {}: {d} dimensions where row 0 has {}", first + r as u64, self.d);
                    return Err(Error::format(self.file.path(), what));
                }
                self.elem.decode(&row[4..], false, o);
            }
        }
        Ok(())
    }

    fn fingerprint(&self) -> u64 {
        self.file.fingerprint("")
    }

    fn overhead(&self, _rows: usize) -> u64 {
        (PIECE as u64).max(4 + self.d as u64 * 4)
    }
}

/// Opens the rows; the type of the values follows from the ending.
///
/// # Errors
/// [`Error::Format`] if the size is no multiple of a row; while reading, if a row has another dimension than the first.
pub fn open(path: &Path, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    open_file(Arc::new(InFile::open(path)?), dataset, role)
}

/// As [`open`] for a file that is open already.
///
/// # Errors
/// As [`open`].
pub fn open_file(file: Arc<InFile>, dataset: Option<&str>, role: Role) -> Result<Box<dyn Source>> {
    let source = VecsSource::new(file)?;
    choose(&[source.dataset()], dataset.filter(|d| !d.is_empty()), role, source.file.path())?;
    Ok(Box::new(source))
}

/// Lists the one table.
///
/// # Errors
/// As [`open`].
pub fn describe(path: &Path) -> Result<Vec<Dataset>> {
    Ok(vec![VecsSource::new(Arc::new(InFile::open(path)?))?.dataset()])
}

/// Writes rows with the type that the ending says.
///
/// # Errors
/// What reading gives; a value that the type cannot hold; [`Error::Io`]; [`Error::Stopped`]. Nothing is left then.
pub fn write(path: &Path, source: &dyn Source, options: &WriteOptions, watch: &dyn Watch) -> Result<()> {
    let elem = elem_of(path)?;
    wanted_elem(options, elem, &[elem], "this ending")?;
    let d = i32::try_from(source.dim()).map_err(|_| Error::format(path, "more dimensions than 2^31"))?;
    let width = source.dim() * elem.size();
    let mut out = AtomicFile::create(path)?;
    let mut encoder = Encoder::new(source, elem);
    stream(source, "writing", watch, |start, rows| {
        for row in encoder.encode(start, rows)?.chunks_exact(width) {
            out.write(&d.to_le_bytes())?;
            out.write(row)?;
        }
        Ok(())
    })?;
    out.commit()
}
