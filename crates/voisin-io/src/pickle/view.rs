//! An n-dimensional array that lies somewhere in a file, with strides.

use voisin::{Result, Source, StringIds};

use super::bytes::Bytes;
use crate::{Elem, Layout, RawSource};

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
        shape: &[u64],
        stride: &[u64],
    ) -> Result<View, String> {
        let have = bytes.len() / elem.size() as u64;
        if shape.len() != stride.len() {
            return Err(format!("{} dimensions with {} strides", shape.len(), stride.len()));
        }
        let numel = product(shape).filter(|&n| n <= have);
        let numel = numel.ok_or_else(|| format!("shape {shape:?} where {have} {} elements are stored", elem.name()))?;
        let mut last = Some(offset);
        for (&n, &s) in shape.iter().zip(stride) {
            last = last.and_then(|l| l.checked_add(n.saturating_sub(1).checked_mul(s)?));
        }
        if numel > 0 && last.is_none_or(|l| l >= have) {
            return Err(format!(
                "offset {offset}, shape {shape:?}, strides {stride:?} reach beyond the {have} {} elements stored",
                elem.name()
            ));
        }
        let (shape, stride) = (shape.to_vec(), stride.to_vec());
        let offset = if numel > 0 { offset } else { 0 };
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
        product(&self.shape).unwrap_or(0)
    }

    /// How it lies in the file, in words.
    pub(crate) fn layout(&self) -> String {
        let order = if self.is_contiguous() {
            "contiguous"
        } else if self.shape.len() == 2 && self.stride[0] == 1 {
            "Fortran order"
        } else {
            "strided"
        };
        let big = if self.big && self.elem.size() > 1 { ", big endian" } else { "" };
        format!("{order}{big}")
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

    /// Consecutive elements from element `at` of the bytes.
    fn run(&self, at: u64, out: &mut [f32]) -> Result<()> {
        let size = self.elem.size();
        let piece = (1 << 18) / size; // a piece at a time: decoding finds its bytes in the cache
        let mut raw = vec![0u8; out.len().min(piece) * size];
        for (i, out) in out.chunks_mut(piece).enumerate() {
            let raw = &mut raw[..out.len() * size];
            self.bytes.read_at(raw, (at + (i * piece) as u64) * size as u64)?;
            self.elem.decode(raw, self.big, out);
        }
        Ok(())
    }

    /// All elements in row-major order.
    pub(crate) fn to_f32(&self) -> Result<Vec<f32>> {
        let mut out = vec![0.0; self.numel() as usize];
        if self.is_contiguous() {
            self.run(self.offset, &mut out)?;
        } else if !out.is_empty() {
            self.gather(&mut out)?;
        }
        Ok(out)
    }

    /// Reads the span that holds all elements, which is at most the bytes of the storage, and picks from it.
    fn gather(&self, out: &mut [f32]) -> Result<()> {
        let span: u64 = self.shape.iter().zip(&self.stride).map(|(&n, &s)| (n - 1) * s).sum();
        let mut all = vec![0.0; span as usize + 1];
        self.run(self.offset, &mut all)?;
        let mut index = vec![0u64; self.shape.len()];
        let mut at = 0u64;
        for o in out {
            *o = all[at as usize];
            for k in (0..index.len()).rev() {
                index[k] += 1;
                if index[k] < self.shape[k] {
                    at += self.stride[k];
                    break;
                }
                at -= self.stride[k] * (self.shape[k] - 1);
                index[k] = 0;
            }
        }
        Ok(())
    }

    /// Elements of a 1-D view into `out`, which has its length.
    pub(crate) fn fill(&self, out: &mut [f32]) -> Result<()> {
        if self.is_contiguous() {
            return self.run(self.offset, out);
        }
        out.copy_from_slice(&self.to_f32()?);
        Ok(())
    }

    /// A 1-D view of numbers as a table of one row.
    pub(crate) fn as_row(&self) -> Option<View> {
        let (&[d], &[step]) = (&self.shape[..], &self.stride[..]) else { return None };
        Some(View { shape: vec![1, d], stride: vec![d, step], ..self.clone() })
    }

    /// A 2-D view, or a 1-D one as a table of one column.
    pub(crate) fn as_table(&self) -> Option<View> {
        match (&self.shape[..], &self.stride[..]) {
            (&[_, _], _) => Some(self.clone()),
            (&[n], &[step]) => Some(View { shape: vec![n, 1], stride: vec![step, 1], ..self.clone() }),
            _ => None,
        }
    }

    /// The rows of a 2-D view, read when they are asked for.
    ///
    /// # Errors
    /// Rows without values.
    pub(crate) fn source(&self, dataset: &str, ids: Option<StringIds>) -> Result<Box<dyn Source>> {
        Ok(Box::new(self.raw(dataset, ids)?))
    }

    /// As [`View::source`], the type named.
    pub(crate) fn raw(&self, dataset: &str, ids: Option<StringIds>) -> Result<RawSource> {
        let (n, d, size) = (self.shape[0], self.shape[1] as usize, self.elem.size() as u64);
        let layout = Layout {
            offset: self.bytes.offset() + self.offset * size,
            n,
            d,
            elem: self.elem,
            big_endian: self.big,
            row_stride: self.stride[0].saturating_mul(size),
            col_stride: if d == 1 { size } else { self.stride[1].saturating_mul(size) },
        };
        Ok(RawSource::new(self.bytes.file().clone(), layout, dataset)?.with_ids(ids))
    }
}

/// Product of a shape, or none when it overflows.
pub(crate) fn product(shape: &[u64]) -> Option<u64> {
    if shape.contains(&0) {
        return Some(0);
    }
    shape.iter().try_fold(1u64, |p, &n| p.checked_mul(n))
}

/// Strides of a row-major or column-major array without gaps.
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
