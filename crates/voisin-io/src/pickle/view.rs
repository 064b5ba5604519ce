//! An n-dimensional array that lies somewhere in a file, with strides, and the [`Source`] that streams its rows.

use std::io;
use std::path::{Path, PathBuf};

use voisin::{Error, Result, Source, StringIds};

use super::bytes::Bytes;
use super::elem::Elem;

/// Elements of `bytes` from `offset`, seen through `shape` and `stride` (all counted in elements).
///
/// Every index is within the bytes, and there are not more elements than the bytes hold (an expanded tensor of
/// stride 0 would make a few bytes into any amount of memory).
#[derive(Clone, Debug)]
pub(crate) struct View {
    bytes: Bytes,
    elem: Elem,
    big: bool,
    offset: u64,
    shape: Vec<u64>,
    stride: Vec<u64>,
}

impl View {
    /// Checks the bounds; the text of the error says what is out of them.
    pub(crate) fn new(
        bytes: Bytes,
        (elem, big): (Elem, bool),
        offset: u64,
        shape: Vec<u64>,
        stride: Vec<u64>,
    ) -> Result<View, String> {
        let have = bytes.len() / elem.size() as u64;
        if shape.len() != stride.len() {
            return Err(format!("{} dimensions with {} strides", shape.len(), stride.len()));
        }
        let numel = product(&shape).filter(|&n| n <= have);
        let numel = numel.ok_or_else(|| format!("shape {shape:?} where {have} {} elements are stored", elem.name()))?;
        if numel > 0 {
            let mut last = Some(offset);
            for (&n, &s) in shape.iter().zip(&stride) {
                last = last.and_then(|l| l.checked_add((n - 1).checked_mul(s)?));
            }
            if last.is_none_or(|l| l >= have) {
                return Err(format!(
                    "offset {offset}, shape {shape:?}, strides {stride:?} reach beyond the {have} {} elements stored",
                    elem.name()
                ));
            }
        }
        Ok(View { bytes, elem, big, offset, shape, stride })
    }

    pub(crate) fn shape(&self) -> &[u64] {
        &self.shape
    }

    pub(crate) fn elem(&self) -> Elem {
        self.elem
    }

    /// Number of elements.
    pub(crate) fn numel(&self) -> u64 {
        self.shape.iter().product()
    }

    /// How it lies in the file, in words; empty for little-endian rows one after the other.
    pub(crate) fn layout(&self) -> String {
        let order = if self.is_contiguous() {
            ""
        } else if self.shape.len() == 2 && self.stride[0] == 1 {
            "column-major"
        } else {
            "strided"
        };
        match (order, self.big && self.elem.size() > 1) {
            ("", true) => "big-endian".into(),
            (o, true) => format!("{o}, big-endian"),
            (o, false) => o.into(),
        }
    }

    fn is_contiguous(&self) -> bool {
        let mut expected = 1u64;
        for (&n, &s) in self.shape.iter().zip(&self.stride).rev() {
            if n != 1 && s != expected {
                return false;
            }
            expected = expected.saturating_mul(n);
        }
        true
    }

    /// `out.len()` consecutive elements from element `at` of the bytes.
    fn run(&self, at: u64, out: &mut [f32]) -> io::Result<()> {
        let size = self.elem.size();
        if self.elem == Elem::F32 && cfg!(target_endian = "little") && !self.big {
            return self.bytes.read_at(at * 4, bytemuck::cast_slice_mut(out));
        }
        // a small piece at a time, so that decoding finds its bytes in the cache
        let mut raw = vec![0u8; (out.len() * size).min(1 << 18)];
        for (i, out) in out.chunks_mut((1 << 18) / size).enumerate() {
            let raw = &mut raw[..out.len() * size];
            self.bytes.read_at((at + (i * ((1 << 18) / size)) as u64) * size as u64, raw)?;
            self.elem.decode(self.big, raw, out);
        }
        Ok(())
    }

    /// All elements in row-major order.
    pub(crate) fn to_f32(&self) -> io::Result<Vec<f32>> {
        let mut out = vec![0.0; self.numel() as usize];
        if self.is_contiguous() {
            self.run(self.offset, &mut out)?;
        } else if !out.is_empty() {
            self.gather(&mut out)?;
        }
        Ok(out)
    }

    /// Reads the span that holds all elements, which is at most the bytes of the storage, and picks from it.
    fn gather(&self, out: &mut [f32]) -> io::Result<()> {
        let span: u64 = self.shape.iter().zip(&self.stride).map(|(&n, &s)| (n - 1) * s).sum();
        let mut all = vec![0.0; span as usize + 1];
        self.run(self.offset, &mut all)?;
        let mut index = vec![0u64; self.shape.len()];
        let mut at = 0u64;
        for o in out {
            *o = all[at as usize];
            for k in (0..index.len()).rev() {
                index[k] += 1;
                at += self.stride[k];
                if index[k] < self.shape[k] {
                    break;
                }
                at -= self.stride[k] * self.shape[k];
                index[k] = 0;
            }
        }
        Ok(())
    }

    /// Rows `start..` of a 2-D view, or elements `start..` of a 1-D view as rows of one.
    fn read_rows(&self, start: u64, out: &mut [f32]) -> io::Result<()> {
        let (d, rs, cs) = (self.shape[1] as usize, self.stride[0], self.stride[1]);
        let n = out.len() / d.max(1);
        let at = self.offset + start * rs;
        if cs == 1 && (rs == d as u64 || n == 1) {
            return self.run(at, out);
        }
        if rs == 1 {
            let mut column = vec![0.0; n];
            for j in 0..d {
                self.run(at + j as u64 * cs, &mut column)?;
                for (i, &x) in column.iter().enumerate() {
                    out[i * d + j] = x;
                }
            }
            return Ok(());
        }
        let mut span = vec![0.0; (d - 1) * cs as usize + 1];
        for (i, row) in out.chunks_exact_mut(d).enumerate() {
            self.run(at + i as u64 * rs, &mut span)?;
            for (j, x) in row.iter_mut().enumerate() {
                *x = span[j * cs as usize];
            }
        }
        Ok(())
    }

    /// The element at a flat row-major position as raw bytes in native order of the file; for small tables only.
    pub(crate) fn scalar(&self) -> io::Result<(Elem, bool, Vec<u8>)> {
        let mut raw = vec![0; self.elem.size()];
        self.bytes.read_at(self.offset * self.elem.size() as u64, &mut raw)?;
        Ok((self.elem, self.big, raw))
    }
}

/// Product of a shape, or none when it overflows.
pub(crate) fn product(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u64, |p, &n| p.checked_mul(n))
}

/// Strides of a row-major (or column-major) array; the shape's product must not overflow.
pub(crate) fn strides(shape: &[u64], column_major: bool) -> Vec<u64> {
    let mut out = vec![0; shape.len()];
    let mut step = 1u64;
    for i in 0..shape.len() {
        let k = if column_major { i } else { shape.len() - 1 - i };
        out[k] = step;
        step = step.saturating_mul(shape[k].max(1));
    }
    out
}

/// The rows of a 2-D [`View`], read from the file when they are asked for.
pub(crate) struct ViewSource {
    pub(crate) path: PathBuf,
    pub(crate) name: String,
    pub(crate) view: View,
    pub(crate) ids: Option<StringIds>,
    pub(crate) fingerprint: u64,
}

impl Source for ViewSource {
    fn len(&self) -> u64 {
        self.view.shape[0]
    }

    fn dim(&self) -> usize {
        self.view.shape[1] as usize
    }

    fn name(&self) -> String {
        self.name.clone()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        self.view.read_rows(start, out).map_err(|e| Error::io(&self.path, e))
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        Ok(self.ids.clone())
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn overhead(&self, rows: usize) -> u64 {
        // one column of the block, one row's span, and the piece being decoded
        (1 << 18) + 4 * rows as u64 + 4 * self.view.stride[1].saturating_mul(self.view.shape[1])
    }
}

/// What to call a data set in messages.
pub(crate) fn display_name(path: &Path, dataset: &str) -> String {
    if dataset.is_empty() { path.display().to_string() } else { format!("{}::{dataset}", path.display()) }
}
