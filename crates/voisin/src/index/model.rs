//! `model.vsn`: all that was learned. Small, read as a whole when an index is opened.
//!
//! | block | content |
//! |---|---|
//! | `sizes` | u64 dimensions of the vectors, of what is partitioned and coded |
//! | `shape`, `weights`, `bias` | the partition: u64 outputs and inputs of each layer; centroids are one layer without bias |
//! | `map` | the transform: weight, bias |
//! | `router` | the router, where the spec has one: f32 lift, what was taken off each logit, rows of the layer |
//! | `centres` | f32, a row a list, where codes are relative to centres that the spec does not imply |
//! | `storing` | u64 1, only where vectors are stored in the list that they would visit first under ip (lists of FAISS) |
//! | `codec`, `refine` | what the code and the refinement were trained to |

use super::blocks::{BlockWriter, Blocks};
use super::ingest::{direct, directed};
use super::manifest::{Digest, FileEntry};
use super::refine::Refine;
use crate::encode::Codec;
use crate::partition::{self, Centroids, Mlp, Partition, Routed, Router};
use crate::transform::Linear;
use crate::{Error, Matrix, Metric, PartitionSpec, Result, Spec, TransformSpec, Unit, Vectors};
use std::borrow::Cow;
use std::path::Path;
use std::sync::OnceLock;

pub(super) const MAGIC: &[u8; 8] = b"VSNMODEL";
const SIZES: &[u8; 8] = b"sizes\0\0\0";
const SHAPE: &[u8; 8] = b"shape\0\0\0";
const WEIGHTS: &[u8; 8] = b"weights\0";
const BIAS: &[u8; 8] = b"bias\0\0\0\0";
const MAP: &[u8; 8] = b"map\0\0\0\0\0";
const CENTRES: &[u8; 8] = b"centres\0";
const CODEC: &[u8; 8] = b"codec\0\0\0";
const REFINE: &[u8; 8] = b"refine\0\0";
const ROUTER: &[u8; 8] = b"router\0\0";
const STORING: &[u8; 8] = b"storing\0";
const BLOCKS: usize = 8;
/// Most dimensions of anything.
const MOST: u64 = 1 << 24;

/// All that an index learned.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) transform: Option<Linear>,
    pub(crate) partition: Partition,
    /// Centres of the lists, nlist x d, where they are kept by themselves; see [`Model::centres`].
    pub(crate) own_centres: Option<Matrix>,
    pub(crate) codec: Codec,
    pub(crate) refine: Refine,
    /// Whether codes are relative to centres.
    pub(super) relative: bool,
    /// Where rows get unit length beside what the metric asks for.
    unit: Unit,
    /// Norm of the farthest centre, once it was asked for.
    farthest: OnceLock<f32>,
}

impl Model {
    pub(super) fn new(spec: &Spec, transform: Option<Linear>, partition: Partition) -> Model {
        Model {
            transform,
            partition,
            own_centres: None,
            codec: Codec::Flat,
            refine: Refine::None,
            relative: Codec::uses_centres(spec),
            unit: match spec.transform {
                Some(TransformSpec::Map { unit, .. }) => unit,
                Some(TransformSpec::Unit) => Unit::Before,
                _ => Unit::No,
            },
            farthest: OnceLock::new(),
        }
    }

    /// What codes are relative to, nlist x d (transformed): the centroids, or means of training rows; `None` where they
    /// are not.
    pub(crate) fn centres(&self) -> Option<&Matrix> {
        match (&self.own_centres, self.partition.stored()) {
            _ if !self.relative => None,
            (Some(m), _) => Some(m),
            (None, Partition::KMeans(c)) => Some(c.matrix()),
            (None, _) => None,
        }
    }

    /// The centre of a list.
    pub(crate) fn centre(&self, list: usize) -> Option<&[f32]> {
        self.centres().map(|m| m.row(list))
    }

    /// Dimensions of what is partitioned and coded, for vectors of `d`.
    pub(crate) fn code_d(&self, d: usize) -> usize {
        self.transform.as_ref().map_or(d, |t| t.weight.n())
    }

    /// Whether the codes are the vectors as they came.
    pub(crate) fn codes_are_vectors(&self) -> bool {
        !self.changes_rows() && matches!(self.codec, Codec::Flat)
    }

    /// Whether something is done to rows before they are coded, beside what the metric asks for.
    pub(crate) fn changes_rows(&self) -> bool {
        self.transform.is_some() || self.unit != Unit::No
    }

    /// The largest norm of a centre.
    pub(crate) fn farthest_centre(&self) -> f32 {
        let norm = |row: &[f32]| voisin_kernels::dot_f64(row, row).sqrt() as f32;
        *self.farthest.get_or_init(|| self.centres().map_or(0.0, |m| m.view().iter().map(norm).fold(0.0, f32::max)))
    }

    /// As [`Model::prepared`], in `room`, which is kept from block to block.
    pub(crate) fn prepared_in<'a>(&self, rows: Vectors<'a>, metric: Metric, room: &'a mut Vec<f32>) -> &'a [f32] {
        match &self.transform {
            None if metric != Metric::Cosine && self.unit == Unit::No => return rows.data(),
            None => {
                room.resize(rows.data().len(), 0.0);
                direct(rows, room);
            }
            Some(_) => *room = self.prepared(rows, metric).into_owned(),
        }
        room
    }

    /// Rows as partition and codes want them: of unit length under cosine, then transformed.
    pub(crate) fn prepared<'a>(&self, rows: Vectors<'a>, metric: Metric) -> Cow<'a, [f32]> {
        let first = if self.unit == Unit::Before { Metric::Cosine } else { metric };
        let directed = directed(rows, first);
        let Some(map) = &self.transform else { return directed };
        let mapped = map.apply(Vectors::new(&directed, rows.d()));
        if self.unit == Unit::After {
            return Cow::Owned(super::ingest::directed(mapped.view(), Metric::Cosine).into_owned());
        }
        Cow::Owned(mapped.into_data())
    }
}

/// Writes a model of vectors of `d` dimensions as `dir/file`.
pub(super) fn save(model: &Model, d: usize, dir: &Path, file: &str) -> Result<FileEntry> {
    let router = model.partition.router();
    let as_routed = matches!(model.partition.stored(), Partition::KMeans(c) if c.is_stored_as_routed());
    let more = router.is_some() as usize + as_routed as usize;
    let mut w = BlockWriter::create(&dir.join(file), MAGIC, BLOCKS + more)?;
    w.block(SIZES, bytemuck::cast_slice(&[d as u64, model.code_d(d) as u64]))?;
    let layers: Vec<(&Matrix, &[f32])> = match model.partition.stored() {
        Partition::One | Partition::Routed(_) => vec![],
        Partition::KMeans(c) => vec![(c.matrix(), &[])],
        Partition::Learned(m) => m.layers().iter().map(|l| (&l.weight, &l.bias[..])).collect(),
    };
    let shape: Vec<u64> = layers.iter().flat_map(|(w, _)| [w.n() as u64, w.d() as u64]).collect();
    w.block(SHAPE, bytemuck::cast_slice(&shape))?;
    let (weights, biases): (Vec<&[f32]>, Vec<&[f32]>) = layers.iter().map(|(m, b)| (m.data(), *b)).unzip();
    let map: Vec<&[f32]> = model.transform.iter().flat_map(|t| [t.weight.data(), &t.bias[..]]).collect();
    let centres: Vec<&[f32]> = model.own_centres.iter().map(|m| m.data()).collect();
    let (codec, refine) = (model.codec.parts(), model.refine.parts());
    for (tag, values) in [
        (WEIGHTS, weights),
        (BIAS, biases),
        (MAP, map),
        (CENTRES, centres),
        (CODEC, vec![&codec[..]]),
        (REFINE, vec![&refine[..]]),
    ] {
        w.begin(tag)?;
        values.iter().try_for_each(|v| w.put(bytemuck::cast_slice(v)))?;
        w.end();
    }
    if let Some(r) = router {
        w.begin(ROUTER)?;
        [&[r.lift()], r.prior(), r.rows().data()].iter().try_for_each(|v| w.put(bytemuck::cast_slice(v)))?;
        w.end();
    }
    if as_routed {
        w.block(STORING, &1u64.to_le_bytes())?;
    }
    let (bytes, digest) = w.finish()?;
    Ok(FileEntry { file: file.to_owned(), bytes, digest: Digest(digest) })
}

/// Reads the model of an index of `d` dimensions, checksums included.
pub(super) fn load(dir: &Path, entry: &FileEntry, spec: &Spec, metric: Metric, d: usize) -> Result<Model> {
    let path = dir.join(&entry.file);
    let blocks = Blocks::open_known(&path, MAGIC, entry.bytes, entry.digest.0)?;
    let wrong = |what: &str| Error::corrupt(&path, what);
    let sizes: &[u64] = blocks.checked_values(SIZES, 2)?;
    let out = sizes[1];
    let fits = match spec.transform {
        None => out == d as u64,
        Some(TransformSpec::Unit) => out == d as u64,
        Some(TransformSpec::Pca { d } | TransformSpec::Map { d, .. }) => out == d as u64,
        Some(TransformSpec::Opq { .. }) => out > 0,
    };
    if sizes[0] != d as u64 || out > MOST || !fits {
        return Err(wrong("its dimensions do not fit the index"));
    }
    let code_d = out as usize;
    let transform = match spec.transform {
        None | Some(TransformSpec::Unit) => floats(&blocks, MAP, 0).map(|_| None)?,
        Some(_) => {
            let all = floats(&blocks, MAP, out.checked_mul(d as u64 + 1).ok_or_else(|| wrong("its map is too large"))?)?;
            let (weight, bias) = all.split_at(code_d * d);
            Some(Linear::new(Matrix::new(weight.to_vec(), d), bias.to_vec()))
        }
    };
    let mut partition = load_partition(&blocks, &path, spec, metric, code_d)?;
    if spec.router {
        let router = load_router(&blocks, &path, spec, metric, code_d)?;
        partition = Partition::Routed(Box::new(Routed { stored: partition, router }));
    }
    let mut model = Model::new(spec, transform, partition);
    // an index of another program may have centres where the spec has none, or none where it has some (zeros)
    let given = !blocks.checked(CENTRES)?.is_empty() && spec.score != crate::Score::Flat;
    let own = given || model.relative && !matches!(spec.partition, PartitionSpec::KMeans { .. });
    model.relative |= given;
    let count = if own { (spec.nlist() as u64).checked_mul(out) } else { Some(0) };
    let centres = floats(&blocks, CENTRES, count.ok_or_else(|| wrong("its centres are too many"))?)?;
    model.own_centres = own.then(|| Matrix::new(centres.to_vec(), code_d));
    model.codec = Codec::from_parts(spec, code_d, any(&blocks, CODEC)?).map_err(|e| wrong(&e))?;
    model.refine = Refine::from_parts(spec, d, any(&blocks, REFINE)?).map_err(|e| wrong(&e))?;
    Ok(model)
}

/// A block of `count` numbers.
fn floats<'a>(blocks: &'a Blocks, tag: &[u8; 8], count: u64) -> Result<&'a [f32]> {
    let all: &[f32] = blocks.checked_values(tag, count)?;
    if all.iter().all(|x| x.is_finite()) {
        return Ok(all);
    }
    let name = String::from_utf8_lossy(tag);
    let what = format!("block {}: a value that is no number", name.trim_end_matches('\0'));
    Err(Error::corrupt(blocks.path(), what))
}

/// A block of as many values as it has.
fn any<'a>(blocks: &'a Blocks, tag: &[u8; 8]) -> Result<&'a [f32]> {
    let bytes = blocks.checked(tag)?.len() as u64;
    blocks.values(tag, bytes / 4)
}

fn load_partition(blocks: &Blocks, path: &Path, spec: &Spec, metric: Metric, d: usize) -> Result<Partition> {
    let wrong = |what: &str| Error::corrupt(path, what);
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
        (PartitionSpec::KMeans { .. } | PartitionSpec::Paired { .. }, [one]) => {
            let centroids = Centroids::new(take(one), metric);
            Partition::KMeans(if as_routed(blocks, &wrong)? { centroids.stored_as_routed() } else { centroids })
        }
        (PartitionSpec::Learned { .. }, layers) => {
            let layers = layers.iter().map(|l| {
                let (now, later) = biases.split_at(l[0] as usize);
                biases = later;
                partition::Linear { weight: take(l), bias: now.to_vec() }
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

/// Whether vectors are stored in the list that they would visit first.
fn as_routed(blocks: &Blocks, wrong: &impl Fn(&str) -> Error) -> Result<bool> {
    match blocks.has(STORING).then(|| blocks.checked_values(STORING, 1)).transpose()? {
        None => Ok(false),
        Some([1u64]) => Ok(true),
        Some(_) => Err(wrong("vectors are stored by a rule that is not known; a newer voisin may know it")),
    }
}

fn load_router(blocks: &Blocks, path: &Path, spec: &Spec, metric: Metric, d: usize) -> Result<Router> {
    let nlist = spec.nlist();
    let count = (nlist as u64).checked_mul(d as u64 + 2).and_then(|c| c.checked_add(1));
    let all = floats(blocks, ROUTER, count.ok_or_else(|| Error::corrupt(path, "its router is too large"))?)?;
    let (prior, rows) = all[1..].split_at(nlist);
    Ok(Router::new(Matrix::new(rows.to_vec(), d + 1), prior.to_vec(), all[0], metric))
}

/// All that is wrong with the file of a model.
pub(super) fn check(dir: &Path, entry: &FileEntry) -> Result<Vec<Error>> {
    Ok(Blocks::open_known(&dir.join(&entry.file), MAGIC, entry.bytes, entry.digest.0)?.check_all())
}
