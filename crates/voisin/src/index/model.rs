//! `model.vsn`: all that was learned. Small, read as a whole when an index is opened.

use super::blocks::{BlockWriter, Blocks};
use super::manifest::{Digest, FileEntry};
use crate::partition::{Centroids, Linear, Mlp, Partition};
use crate::{Error, Matrix, Metric, PartitionSpec, Result, Spec};
use std::path::Path;

pub(super) const MAGIC: &[u8; 8] = b"VSNMODEL";
/// u64 a layer and side: outputs, inputs; centroids are one layer without bias.
const SHAPE: &[u8; 8] = b"shape\0\0\0";
const WEIGHTS: &[u8; 8] = b"weights\0";
const BIAS: &[u8; 8] = b"bias\0\0\0\0";

/// Writes a model as `dir/file`.
pub(super) fn save(partition: &Partition, dir: &Path, file: &str) -> Result<FileEntry> {
    let mut w = BlockWriter::create(&dir.join(file), MAGIC, 3)?;
    let layers: Vec<(&Matrix, &[f32])> = match partition {
        Partition::One => vec![],
        Partition::KMeans(c) => vec![(c.matrix(), &[])],
        Partition::Learned(m) => m.layers().iter().map(|l| (&l.weight, &l.bias[..])).collect(),
    };
    let shape: Vec<u64> = layers.iter().flat_map(|(w, _)| [w.n() as u64, w.d() as u64]).collect();
    w.block(SHAPE, bytemuck::cast_slice(&shape))?;
    w.begin(WEIGHTS)?;
    layers.iter().try_for_each(|(m, _)| w.put(bytemuck::cast_slice(m.data())))?;
    w.end();
    w.begin(BIAS)?;
    layers.iter().try_for_each(|(_, b)| w.put(bytemuck::cast_slice(b)))?;
    w.end();
    let (bytes, digest) = w.finish()?;
    Ok(FileEntry { file: file.to_owned(), bytes, digest: Digest(digest) })
}

/// Reads the model of an index of `d` dimensions, checksums included.
pub(super) fn load(dir: &Path, entry: &FileEntry, spec: &Spec, metric: Metric, d: usize) -> Result<Partition> {
    let path = dir.join(&entry.file);
    let blocks = Blocks::open_known(&path, MAGIC, entry.bytes, entry.digest.0)?;
    let wrong = |what: &str| Error::corrupt(&path, what);
    let shape = blocks.checked(SHAPE)?;
    let shape: &[u64] = blocks.values(SHAPE, shape.len() as u64 / 8)?;
    let (shape, rest) = shape.as_chunks::<2>();
    let sum = |f: &dyn Fn(&[u64; 2]) -> Option<u64>| shape.iter().try_fold(0u64, |s, l| s.checked_add(f(l)?));
    let weights = sum(&|l| l[0].checked_mul(l[1])).ok_or_else(|| wrong("the layers are too large"))?;
    let biases = if matches!(spec.partition, PartitionSpec::Learned { .. }) { sum(&|l| Some(l[0])) } else { Some(0) };
    let biases = biases.ok_or_else(|| wrong("the layers are too large"))?;
    if !rest.is_empty() || shape.iter().any(|l| l[0] == 0 || l[1] == 0) || shape.first().is_some_and(|l| l[1] != d as u64) {
        return Err(wrong("its layers do not fit the index"));
    }
    let mut weights: &[f32] = blocks.checked_values(WEIGHTS, weights)?;
    let mut biases: &[f32] = blocks.checked_values(BIAS, biases)?;
    let mut take = |l: &[u64; 2]| {
        let (now, later) = weights.split_at(l[0] as usize * l[1] as usize);
        weights = later;
        Matrix::new(now.to_vec(), l[1] as usize)
    };
    let partition = match (&spec.partition, shape) {
        (PartitionSpec::One, []) => Partition::One,
        (PartitionSpec::KMeans { .. }, [one]) => Partition::KMeans(Centroids::new(take(one), metric)),
        (PartitionSpec::Learned { .. }, layers) => {
            let layers = layers.iter().map(|l| {
                let (now, later) = biases.split_at(l[0] as usize);
                biases = later;
                Linear { weight: take(l), bias: now.to_vec() }
            });
            Partition::Learned(Mlp::new(layers.collect()).map_err(|e| wrong(&e.to_string()))?)
        }
        _ => return Err(wrong("it is not a model of this spec")),
    };
    if partition.nlist() != spec.nlist() {
        return Err(wrong(&format!("{} lists where the spec says {}", partition.nlist(), spec.nlist())));
    }
    Ok(partition)
}

/// All that is wrong with the file of a model.
pub(super) fn check(dir: &Path, entry: &FileEntry) -> Result<Vec<Error>> {
    Ok(Blocks::open_known(&dir.join(&entry.file), MAGIC, entry.bytes, entry.digest.0)?.check_all())
}
