//! A matrix of plain numbers somewhere in a file: the common ground of npy, fvecs, bins, stored zip members,
//! safetensors, torch storages and contiguous HDF5 data sets.

use std::sync::Arc;

use voisin::{Error, Metric, Result, Source, StringIds};

use crate::elem::Elem;
use crate::file::InFile;

/// Bytes read at once when they must be converted: fits the second-level cache.
const PIECE: usize = 1 << 18;

/// Where the numbers of an n x d matrix lie in a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Layout {
    /// Byte of element (0, 0).
    pub offset: u64,
    /// Rows.
    pub n: u64,
    /// Values a row.
    pub d: usize,
    /// Type of a value.
    pub elem: Elem,
    /// Whether values are big endian.
    pub big_endian: bool,
    /// Bytes from a row to the next.
    pub row_stride: u64,
    /// Bytes from a value to the next one of its row.
    pub col_stride: u64,
}

impl Layout {
    /// Rows one after the other (C order), little endian.
    pub fn rows(offset: u64, n: u64, d: usize, elem: Elem) -> Layout {
        let size = elem.size() as u64;
        let row_stride = (d as u64).saturating_mul(size);
        Layout { offset, n, d, elem, big_endian: false, row_stride, col_stride: size }
    }

    /// Columns one after the other (Fortran order), little endian.
    pub fn columns(offset: u64, n: u64, d: usize, elem: Elem) -> Layout {
        let size = elem.size() as u64;
        Layout { offset, n, d, elem, big_endian: false, row_stride: size, col_stride: n.saturating_mul(size) }
    }

    /// The first byte after the last value, or `None` if it does not fit 64 bits.
    pub fn end(&self) -> Option<u64> {
        if self.n == 0 || self.d == 0 {
            return Some(self.offset);
        }
        let last = (self.n - 1).checked_mul(self.row_stride)?.checked_add((self.d as u64 - 1).checked_mul(self.col_stride)?)?;
        self.offset.checked_add(last)?.checked_add(self.elem.size() as u64)
    }
}

/// A matrix in a file, read by position; rows, columns or any strides.
///
/// Cost of a read: one pass over the bytes of the rows asked for; f32 rows go straight into the output. In Fortran
/// order one positioned read a column, so blocks of many rows are cheap and single rows are not.
#[derive(Debug)]
pub struct RawSource {
    file: Arc<InFile>,
    layout: Layout,
    dataset: String,
    ids: Option<StringIds>,
    metric: Option<Metric>,
}

impl RawSource {
    /// Checks that the layout lies within the file.
    ///
    /// # Errors
    /// [`Error::Format`] if the file is too short or a row has no values.
    pub fn new(file: Arc<InFile>, layout: Layout, dataset: impl Into<String>) -> Result<RawSource> {
        let path = file.path();
        if layout.d == 0 {
            return Err(Error::format(path, "vectors of 0 dimensions"));
        }
        match layout.end() {
            Some(end) if end <= file.len() => {}
            _ => {
                let (n, d, t) = (layout.n, layout.d, layout.elem.name());
                let end = layout.end().map_or("far more".to_string(), |e| e.to_string());
                let what = format!("truncated: {n} x {d} {t} end at byte {end}, but the file has {} bytes", file.len());
                return Err(Error::format(path, what));
            }
        }
        Ok(RawSource { file, layout, dataset: dataset.into(), ids: None, metric: None })
    }

    /// Adds string ids, one a row.
    pub fn with_ids(mut self, ids: Option<StringIds>) -> Self {
        self.ids = ids;
        self
    }

    /// Says which metric the file names.
    pub fn with_metric(mut self, metric: Option<Metric>) -> Self {
        self.metric = metric;
        self
    }

    /// The file.
    pub fn file(&self) -> &Arc<InFile> {
        &self.file
    }

    /// Where the numbers lie.
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// Rows without gaps between their values (and maybe gaps between rows, as in fvecs).
    fn read_rows(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let l = &self.layout;
        let width = l.d * l.elem.size();
        let first = l.offset + start * l.row_stride;
        let gapless = l.row_stride == width as u64;
        if gapless && l.elem == Elem::F32 && l.big_endian == cfg!(target_endian = "big") {
            return self.file.read_at(bytemuck::cast_slice_mut(out), first);
        }
        if gapless {
            let piece = (PIECE / l.elem.size()).min(out.len());
            let mut buf = vec![0u8; piece * l.elem.size()];
            let mut at = first;
            for o in out.chunks_mut(piece.max(1)) {
                let b = &mut buf[..o.len() * l.elem.size()];
                self.file.read_at(b, at)?;
                l.elem.decode(b, l.big_endian, o);
                at += b.len() as u64;
            }
            return Ok(());
        }
        self.read_gapped(first, width, out)
    }

    /// Rows with something between them: whole stretches are read, the gaps skipped in memory.
    fn read_gapped(&self, first: u64, width: usize, out: &mut [f32]) -> Result<()> {
        let l = &self.layout;
        let stride = l.row_stride as usize; // rows lie within the file, so a stride of many rows does too
        let rows = out.len() / l.d;
        let many = if stride > 4 * width { 1 } else { (PIECE / stride.max(1)).clamp(1, rows.max(1)) };
        let mut buf = vec![0u8; (many - 1) * stride + width];
        for (i, block) in out.chunks_mut(many * l.d).enumerate() {
            let m = block.len() / l.d;
            let b = &mut buf[..(m - 1) * stride + width];
            self.file.read_at(b, first + (i * many) as u64 * l.row_stride)?;
            for (r, o) in block.chunks_exact_mut(l.d).enumerate() {
                l.elem.decode(&b[r * stride..r * stride + width], l.big_endian, o);
            }
        }
        Ok(())
    }

    /// Columns: for a stretch of rows, each column's piece is read and scattered.
    fn read_columns(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let l = &self.layout;
        let (d, size) = (l.d, l.elem.size());
        let rows = out.len() / d;
        const TOGETHER: usize = 16; // columns scattered at once: one cache line of an output row
        let tall = rows.min(1 << 14);
        let mut raw = vec![0u8; tall * size];
        let mut cols = vec![0f32; tall * TOGETHER.min(d)];
        for (i, block) in out.chunks_mut(tall.max(1) * d).enumerate() {
            let m = block.len() / d;
            let row0 = start + (i * tall) as u64;
            for c0 in (0..d).step_by(TOGETHER) {
                let wide = TOGETHER.min(d - c0);
                for c in 0..wide {
                    let at = l.offset + row0 * l.row_stride + (c0 + c) as u64 * l.col_stride;
                    self.file.read_at(&mut raw[..m * size], at)?;
                    l.elem.decode(&raw[..m * size], l.big_endian, &mut cols[c * tall..c * tall + m]);
                }
                for (r, row) in block.chunks_exact_mut(d).enumerate() {
                    for (c, o) in row[c0..c0 + wide].iter_mut().enumerate() {
                        *o = cols[c * tall + r];
                    }
                }
            }
        }
        Ok(())
    }

    /// Any other strides (a transposed view of a slice): value by value out of each row's span.
    fn read_strided(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let l = &self.layout;
        let size = l.elem.size();
        let mut one = vec![0u8; size];
        for (r, row) in out.chunks_exact_mut(l.d).enumerate() {
            let first = l.offset + (start + r as u64) * l.row_stride;
            for (c, o) in row.iter_mut().enumerate() {
                self.file.read_at(&mut one, first + c as u64 * l.col_stride)?;
                l.elem.decode(&one, l.big_endian, std::slice::from_mut(o));
            }
        }
        Ok(())
    }
}

impl Source for RawSource {
    fn len(&self) -> u64 {
        self.layout.n
    }

    fn dim(&self) -> usize {
        self.layout.d
    }

    fn name(&self) -> String {
        spec_name(self.file.path(), &self.dataset)
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        if out.is_empty() {
            return Ok(());
        }
        let l = &self.layout;
        let size = l.elem.size() as u64;
        if l.col_stride == size || l.d == 1 {
            self.read_rows(start, out)
        } else if l.row_stride == size {
            self.read_columns(start, out)
        } else {
            self.read_strided(start, out)
        }
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        Ok(self.ids.clone())
    }

    fn metric(&self) -> Option<Metric> {
        self.metric
    }

    fn fingerprint(&self) -> u64 {
        self.file.fingerprint(&self.dataset)
    }

    fn seeks(&self) -> bool {
        self.layout.col_stride == self.layout.elem.size() as u64
    }

    fn overhead(&self, _rows: usize) -> u64 {
        2 * PIECE as u64 + (self.layout.row_stride.min(1 << 20))
    }
}

/// `path` or `path::dataset`, as messages and the command line write it.
pub fn spec_name(path: &std::path::Path, dataset: &str) -> String {
    if dataset.is_empty() { path.display().to_string() } else { format!("{}::{dataset}", path.display()) }
}
