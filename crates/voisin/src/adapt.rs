//! An adaptation layer: a linear map and unit length, applied alike to base and queries.

use crate::transform::Linear;
use crate::{Error, Matrix, Metric, Result, Source, StringIds, Vectors};
use rayon::prelude::*;
use serde::{Deserialize, Serialize};
use std::path::Path;
use std::sync::Arc;

/// Rows mapped at a time, so that the rows before the map take little memory beside those after it.
const PIECE: usize = 4096;

/// y = (W x + b) / |W x + b|.
///
/// # Source
/// The linear adaptation of ILIAS (Kordopatis-Zilos et al., "ILIAS: Instance-Level Image retrieval At Scale",
/// arXiv:2502.11748): one layer, trained elsewhere, after which vectors are compared by cosine.
#[derive(Clone, Debug)]
pub struct Layer {
    linear: Linear,
    digest: u64,
}

/// Which layer vectors were mapped by: an index keeps it, so that no others join those in it or are asked for among them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LayerId {
    /// Name of its file.
    pub name: String,
    /// Digest of weights and bias, 16 hexadecimal digits.
    pub digest: String,
}

/// Files of other names may hold the same layer.
impl PartialEq for LayerId {
    fn eq(&self, other: &LayerId) -> bool {
        self.digest == other.digest
    }
}

impl Eq for LayerId {}

impl std::fmt::Display for LayerId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "the layer {} ({})", self.name, self.digest)
    }
}

/// A layer or its lack in words.
pub(crate) fn layer_name(layer: Option<&LayerId>) -> String {
    layer.map_or_else(|| "no layer".to_owned(), LayerId::to_string)
}

impl Layer {
    /// Takes weights of d_out x d_in and a bias (`None`: zeros), as `torch.nn.Linear` has them.
    ///
    /// # Errors
    /// [`Error::Param`] for a bias of another length, and for values that are not finite.
    pub fn new(weight: Matrix, bias: Option<Vec<f32>>) -> Result<Layer> {
        let bias = bias.unwrap_or_else(|| vec![0.0; weight.n()]);
        if bias.len() != weight.n() {
            let expected = format!("{} values, one for each row of the weights", weight.n());
            return Err(Error::param("bias", format!("{} values", bias.len()), expected));
        }
        if !voisin_kernels::all_finite(weight.data()) || !voisin_kernels::all_finite(&bias) {
            return Err(Error::param("layer", "NaN or infinity", "finite weights"));
        }
        let mut hash = xxhash_rust::xxh3::Xxh3::new();
        hash.update(&(weight.d() as u64).to_le_bytes());
        hash.update(bytemuck::cast_slice(weight.data()));
        hash.update(bytemuck::cast_slice(&bias));
        Ok(Layer { digest: hash.digest(), linear: Linear::new(weight, bias) })
    }

    /// Dimensions before the map.
    pub fn d_in(&self) -> usize {
        self.linear.weight.d()
    }

    /// Dimensions after it.
    pub fn d_out(&self) -> usize {
        self.linear.weight.n()
    }

    /// The mapped rows at unit length, in parallel; a row's result has the same bits alone and among others. A row that is
    /// mapped to zero stays zero, one with NaN stays NaN. Cost: n·d_in·d_out.
    ///
    /// # Panics
    /// If the rows have other than `d_in` dimensions.
    pub fn apply(&self, rows: Vectors<'_>) -> Matrix {
        let mut out = self.linear.apply(rows);
        let d = out.d();
        out.data_mut().par_chunks_mut(d).for_each(unit);
        out
    }
}

/// Brings a vector to unit length; zero stays zero.
pub(crate) fn unit(row: &mut [f32]) {
    let norm = voisin_kernels::dot_f64(row, row).sqrt();
    if norm != 0.0 {
        row.iter_mut().for_each(|x| *x = (f64::from(*x) / norm) as f32);
    }
}

/// A dataset whose rows pass through a [`Layer`] as they are read. Names, ids and places of rows are those of the dataset.
pub struct Adapted {
    inner: Box<dyn Source>,
    layer: Arc<Layer>,
    id: LayerId,
}

impl Adapted {
    /// Puts `layer`, which messages call `name`, over a dataset.
    ///
    /// # Errors
    /// [`Error::Dimension`] if the layer takes vectors of other dimensions.
    pub fn new(inner: Box<dyn Source>, layer: Arc<Layer>, name: &str) -> Result<Adapted> {
        if inner.dim() != layer.d_in() {
            let context = format!("the layer {name} maps {} dimensions to {}", layer.d_in(), layer.d_out());
            return Err(Error::Dimension { name: inner.name(), expected: layer.d_in(), got: inner.dim(), context });
        }
        let file = Path::new(name).file_name().map_or_else(|| name.to_owned(), |n| n.to_string_lossy().into_owned());
        let id = LayerId { name: file, digest: format!("{:016x}", layer.digest) };
        Ok(Adapted { inner, layer, id })
    }
}

impl Source for Adapted {
    fn len(&self) -> u64 {
        self.inner.len()
    }

    fn dim(&self) -> usize {
        self.layer.d_out()
    }

    fn name(&self) -> String {
        self.inner.name()
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let (d_in, d_out) = (self.layer.d_in(), self.layer.d_out());
        let n = out.len() / d_out;
        let mut rows = Matrix::zeros(n.min(PIECE), d_in);
        for (i, piece) in out.chunks_mut(PIECE * d_out).enumerate() {
            let m = piece.len() / d_out;
            let part = &mut rows.data_mut()[..m * d_in];
            self.inner.read(start + (i * PIECE) as u64, part)?;
            piece.copy_from_slice(self.layer.apply(Vectors::new(part, d_in)).data());
        }
        Ok(())
    }

    fn locate(&self, row: u64) -> (String, u64) {
        self.inner.locate(row)
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        self.inner.ids()
    }

    fn scan_ids(&self, visit: &mut dyn FnMut(u64, &str)) -> Result<bool> {
        self.inner.scan_ids(visit)
    }

    fn metric(&self) -> Option<Metric> {
        self.inner.metric()
    }

    fn made_by(&self) -> Option<String> {
        self.inner.made_by()
    }

    fn fingerprint(&self) -> u64 {
        self.inner.fingerprint() ^ self.layer.digest
    }

    fn layer(&self) -> Option<LayerId> {
        Some(self.id.clone())
    }

    fn overhead(&self, rows: usize) -> u64 {
        let piece = rows.min(PIECE);
        self.inner.overhead(piece) + 4 * (piece * (self.layer.d_in() + self.layer.d_out())) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::MemSource;

    fn layer() -> Layer {
        Layer::new(Matrix::new(vec![1.0, 0.0, 0.0, 1.0, 1.0, 1.0], 2), Some(vec![2.0, 0.0, 0.0])).unwrap()
    }

    #[test]
    fn by_hand() {
        // (1, 2) -> (3, 2, 3) and (-2, 0) -> (0, 0, -2)
        let y = layer().apply(Vectors::new(&[1.0, 2.0, -2.0, 0.0], 2));
        let norm = 22f32.sqrt();
        for (a, b) in y.row(0).iter().zip([3.0 / norm, 2.0 / norm, 3.0 / norm]) {
            assert!((a - b).abs() < 1e-6);
        }
        assert_eq!(y.row(1), [0.0, 0.0, -1.0]);
        let zero = Layer::new(Matrix::new(vec![1.0, -1.0], 2), None).unwrap();
        assert_eq!(zero.apply(Vectors::new(&[3.0, 3.0], 2)).row(0), [0.0]);
    }

    #[test]
    fn rows_are_the_same_in_any_block() {
        let rows = Matrix::new((0..2 * (PIECE + 100)).map(|i| (i as f32 * 0.37).sin()).collect(), 2);
        let whole = layer().apply(rows.view());
        let source = Adapted::new(Box::new(MemSource::new("x", rows)), Arc::new(layer()), "l").unwrap();
        let mut all = vec![0.0; 3 * source.len() as usize];
        source.read(0, &mut all).unwrap();
        assert!(all == whole.data());
        let mut some = vec![0.0; 3 * 7];
        source.read(4093, &mut some).unwrap();
        assert!(some == whole.data()[3 * 4093..3 * 4100]);
    }

    #[test]
    fn what_does_not_fit_is_refused() {
        assert!(Layer::new(Matrix::zeros(2, 3), Some(vec![0.0])).unwrap_err().to_string().contains("bias"));
        assert!(Layer::new(Matrix::new(vec![f32::NAN], 1), None).is_err());
        let source = Box::new(MemSource::new("base.h5", Matrix::zeros(4, 5)));
        let error = Adapted::new(source, Arc::new(layer()), "l.pth").err().unwrap().to_string();
        assert!(error.contains("base.h5: vectors of 5 dimensions where 2 are expected (the layer l.pth maps 2"), "{error}");
    }
}
