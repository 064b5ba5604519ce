//! An index as plain arrays, to and from the files of other programs.
//!
//! What was trained elsewhere is taken as it is: nothing is learned again, codes keep their bytes. What is not in such
//! arrays is what only the files of an index here have: checksums, look-up tables, facts that the scan wants.

use super::build::{Folder, standing};
use super::ingest::Journal;
use super::manifest::{FORMAT, IdKind, Manifest, SEGMENTS};
use super::model::{self, Model};
use super::refine::Refine;
use super::segment::{Shape, record_bytes};
use super::segment_writer::SegmentWriter;
use super::{Index, opened};
use crate::encode::Codec;
use crate::partition::{Centroids, Partition};
use crate::transform::Linear;
use crate::{Error, Matrix, Metric, PartitionSpec, RefineSpec, Result, Score, Spec, StringIds, Watch};
use rayon::prelude::*;
use std::borrow::Cow;
use std::path::Path;

/// Rows whose records are made at a time.
const ROWS: usize = 1 << 14;

/// What a code was trained to.
#[derive(Clone, Debug, PartialEq)]
pub enum PortableCode {
    /// Nothing: plain vectors, and half floats.
    Plain,
    /// Code c of a dimension stands for low + step · c; one of each for all dimensions of a uniform code, else one a
    /// dimension.
    Ranges {
        /// What code 0 stands for.
        low: Vec<f32>,
        /// How far codes are apart.
        step: Vec<f32>,
    },
    /// Codewords of a product code: part, codeword, dimension.
    Codebooks(Vec<f32>),
}

/// A list that holds rows.
#[derive(Clone, Debug)]
pub struct PortableList<'a> {
    /// Its number.
    pub list: usize,
    /// The id of each row.
    pub ids: Vec<u64>,
    /// The code of each row: little-endian f32 or half floats; 8 bits a dimension; 4 bits, the first in the low half of a
    /// byte; the codes of a product code likewise.
    pub codes: Cow<'a, [u8]>,
    /// Which of [`Portable::refine`] belongs to each row; empty where there are none.
    pub refine: Vec<u64>,
}

/// An index as plain arrays.
#[derive(Clone, Debug)]
pub struct Portable<'a> {
    /// What it is.
    pub spec: Spec,
    /// How its vectors are compared.
    pub metric: Metric,
    /// Dimensions of its vectors.
    pub d: usize,
    /// The map before everything else: weights, d_out x d, and what is added.
    pub map: Option<(Matrix, Vec<f32>)>,
    /// Centroids of the lists, nlist x d_out.
    pub centroids: Option<Matrix>,
    /// Whether codes are those of rows less the centroid of their list.
    pub residual: bool,
    /// The code.
    pub code: PortableCode,
    /// Lists that a search visits where nobody says how many.
    pub nprobe: Option<usize>,
    /// Candidates a neighbour that are refined where nobody says how many.
    pub refine_factor: Option<usize>,
    /// Lists that hold rows, ascending.
    pub lists: Vec<PortableList<'a>>,
    /// Where ids are strings: string i is what the id i of a list stands for.
    pub strings: Option<StringIds>,
    /// Vectors that candidates are ranked again by: f32, little-endian, d a row.
    pub refine: Option<&'a [u8]>,
}

impl Portable<'_> {
    /// Number of rows.
    pub fn rows(&self) -> u64 {
        self.lists.iter().map(|l| l.ids.len() as u64).sum()
    }

    /// Dimensions of what is coded.
    fn code_d(&self) -> usize {
        self.map.as_ref().map_or(self.d, |m| m.0.n())
    }

    fn id_kind(&self) -> IdKind {
        if self.strings.is_some() { IdKind::Strings } else { IdKind::Numbers }
    }

    /// The id of a row as people know it.
    fn id_text(&self, id: u64) -> String {
        self.strings.as_ref().filter(|s| id < s.len() as u64).map_or_else(|| id.to_string(), |s| s.get(id as usize).to_owned())
    }

    fn check(&self, name: &str) -> Result<()> {
        let wrong = |what: String| Err(Error::format(name, what));
        let (d, nlist) = (self.code_d(), self.spec.nlist());
        let centroids = self.centroids.as_ref().map(|c| (c.n(), c.d()));
        let expected = matches!(self.spec.partition, PartitionSpec::KMeans { .. }).then_some((nlist, d));
        if centroids != expected || self.map.as_ref().is_some_and(|m| m.0.d() != self.d || m.1.len() != d) {
            return wrong(format!("its parts do not fit {} of {} dimensions", self.spec, self.d));
        }
        let all = self.centroids.iter().chain(self.map.iter().map(|m| &m.0)).flat_map(|m| m.data());
        if !all.chain(self.map.iter().flat_map(|m| &m.1)).all(|x| x.is_finite()) {
            return wrong("a centroid or a map with a value that is no number".into());
        }
        if !self.lists.windows(2).all(|w| w[0].list < w[1].list) || self.lists.last().is_some_and(|l| l.list >= nlist) {
            return wrong("its lists are not in order".into());
        }
        Ok(())
    }

    fn codec(&self) -> std::result::Result<Codec, String> {
        let ip = (self.metric == Metric::Ip) as u8 as f32;
        let parts = match &self.code {
            PortableCode::Plain => vec![],
            PortableCode::Ranges { low, step } => [&low[..], &step[..]].concat(),
            PortableCode::Codebooks(words) => [&[ip], &words[..]].concat(),
        };
        Codec::from_parts(&self.spec, self.code_d(), &parts)
    }

    fn model(&self, name: &str) -> Result<Model> {
        self.check(name)?;
        let map = self.map.as_ref().map(|(w, b)| Linear::new(w.clone(), b.clone()));
        let partition = match &self.centroids {
            None => Partition::One,
            // what is added later goes where the other program would put it
            Some(c) => Partition::KMeans(Centroids::new(c.clone(), self.metric).stored_as_routed()),
        };
        let mut model = Model::new(&self.spec, map, partition);
        model.codec = self.codec().map_err(|what| Error::format(name, what))?;
        model.refine = match self.spec.refine {
            None => Refine::None,
            Some(RefineSpec::Flat) => Refine::Flat,
            Some(_) => return Err(Error::format(name, "refinement vectors other than f32")),
        };
        let usual = model.relative;
        let zeros = || Matrix::zeros(self.spec.nlist(), self.code_d());
        model.own_centres = match (&self.centroids, self.residual) {
            _ if matches!(model.codec, Codec::Flat) => None,
            (Some(_), true) if usual => None,
            (Some(c), true) => Some(c.clone()),
            _ if usual => Some(zeros()),
            _ => None,
        };
        model.relative = usual || model.own_centres.is_some();
        Ok(model)
    }
}

/// Writes an index of plain arrays into a folder, as `build` would; `name` is the file they are from.
///
/// Ids must be below 2^63 and stand once. An index that is there is replaced when the new one is complete. Memory: the ids, and
/// a run of codes.
///
/// # Errors
/// Arrays that do not fit each other, values that are no numbers, ids that stand twice, a folder that is something else, what
/// writing gives, [`Error::Stopped`].
pub fn import(dir: &Path, name: &str, index: &Portable<'_>, watch: &dyn Watch) -> Result<()> {
    let model = index.model(name)?;
    distinct(name, index)?;
    let folder = Folder::prepare(dir)?;
    let done = write(dir, name, index, model, watch);
    if done.is_err() {
        let _ = opened::clean(dir, &Manifest::load(dir).map_or_else(|_| vec![], |m| m.files()));
        folder.undo();
    }
    done
}

fn distinct(name: &str, index: &Portable<'_>) -> Result<()> {
    let mut ids: Vec<u64> = index.lists.iter().flat_map(|l| l.ids.iter().copied()).collect();
    ids.par_sort_unstable();
    if let Some(twice) = ids.windows(2).find(|w| w[0] == w[1]) {
        let id = index.id_text(twice[0]);
        return Err(Error::Id { id, what: format!("stands twice in {name}; here an id is one vector") });
    }
    match ids.last() {
        Some(last) if index.strings.as_ref().is_some_and(|s| *last >= s.len() as u64) => {
            Err(Error::format(name, format!("{} strings for an id {last}", index.strings.as_ref().map_or(0, StringIds::len))))
        }
        Some(last) if *last >= i64::MAX as u64 => Err(Error::Id { id: last.to_string(), what: "too large a number".into() }),
        _ if ids.len() >= u32::MAX as usize => Err(Error::format(name, "more than 2^32 vectors")),
        _ => Ok(()),
    }
}

fn write(dir: &Path, name: &str, index: &Portable<'_>, model: Model, watch: &dyn Watch) -> Result<()> {
    let (_, journal) = standing(dir, 0)?;
    let generation = journal.generation;
    let file = if generation == 1 { "model.vsn".to_owned() } else { format!("model.{generation:05}.vsn") };
    let entry = model::save(&model, index.d, dir, &file)?;
    let shape = Shape { d: index.d, nlist: index.spec.nlist(), metric: index.metric, ids: index.id_kind() };
    let mut segments = Vec::new();
    if index.rows() > 0 {
        watch.begin("store", index.rows(), "vectors");
        let file = format!("{generation:05}-0000.vsn");
        let mut writer = SegmentWriter::create(&dir.join(SEGMENTS), file, shape, &model)?;
        writer.reserve(index.rows() as usize);
        let mut next = 0;
        for list in &index.lists {
            while next < list.list {
                writer.next_list()?;
                next += 1;
            }
            push(&mut writer, name, index, list, &model, watch)?;
        }
        if let Some(all) = index.refine {
            writer.begin_refine()?;
            refine(&mut writer, name, index, all)?;
        }
        segments.push(writer.finish()?);
        watch.end();
    }
    let last = index.lists.iter().flat_map(|l| l.ids.iter()).max();
    let manifest = Manifest {
        format: FORMAT,
        spec: index.spec.to_string(),
        reason: None,
        metric: index.metric,
        made_by: None,
        d: index.d,
        n: index.rows(),
        ids: index.id_kind(),
        next_id: last.map_or(0, |l| l + 1),
        generation,
        model: entry,
        calibration: None,
        layer: None,
        nprobe: index.nprobe.map(|n| n.max(1)),
        refine: index.refine_factor,
        job: None,
        missing: vec![],
        segments,
    };
    manifest.save(dir)?;
    Journal::end(dir, &manifest.files())
}

/// Stores the rows of a list.
fn push(
    writer: &mut SegmentWriter<'_>,
    name: &str,
    index: &Portable<'_>,
    list: &PortableList<'_>,
    model: &Model,
    watch: &dyn Watch,
) -> Result<()> {
    let [bytes, _] = record_bytes(model, index.d);
    let code = bytes - if matches!(model.codec, Codec::Pq(_)) { 4 } else { 0 };
    if list.codes.len() != list.ids.len() * code {
        let (have, n) = (list.codes.len(), list.ids.len());
        return Err(Error::format(name, format!("list {}: {have} bytes of codes for {n} vectors of {code}", list.list)));
    }
    for (ids, codes) in list.ids.chunks(ROWS).zip(list.codes.chunks(ROWS * code)) {
        watch.check()?;
        let mut records = vec![0; ids.len() * bytes];
        let made = records.par_chunks_mut(bytes).zip(codes.par_chunks(code)).map(|(record, code)| {
            record[..code.len()].copy_from_slice(code);
            complete(model, index, list.list, record)
        });
        let bad = made.enumerate().find_first(|m| !m.1).map(|m| m.0);
        if let Some(i) = bad {
            return Err(Error::format(
                name,
                format!("the vector with id {} has a value that is no number", index.id_text(ids[i])),
            ));
        }
        for (id, record) in ids.iter().zip(records.chunks_exact(bytes)) {
            writer.push(*id, record, index.strings.as_ref().map(|s| s.get(*id as usize)))?;
        }
        watch.advance(ids.len() as u64);
    }
    Ok(())
}

/// Adds what a record has beside the code; whether all values of the row are numbers.
fn complete(model: &Model, index: &Portable<'_>, list: usize, record: &mut [u8]) -> bool {
    match (&model.codec, index.spec.score) {
        (Codec::Pq(code), _) => {
            code.complete(record, model.centre(list));
            true
        }
        (Codec::Flat, _) => record.chunks_exact(4).all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite()),
        (_, Score::Scalar(crate::ScalarKind::F16)) => record.chunks_exact(2).all(|b| b[1] & 0x7c != 0x7c),
        _ => {
            // four bits: the last half byte of odd dimensions
            if index.code_d() % 2 == 1 && record.len() < index.code_d() {
                record.last_mut().iter_mut().for_each(|b| **b &= 15);
            }
            true
        }
    }
}

fn refine(writer: &mut SegmentWriter<'_>, name: &str, index: &Portable<'_>, all: &[u8]) -> Result<()> {
    let bytes = 4 * index.d;
    for (id, row) in index.lists.iter().flat_map(|l| l.ids.iter().zip(&l.refine)) {
        let from = (*row as usize).checked_mul(bytes);
        let record = from.and_then(|f| all.get(f..f.checked_add(bytes)?));
        let finite = |r: &[u8]| r.chunks_exact(4).all(|b| f32::from_le_bytes([b[0], b[1], b[2], b[3]]).is_finite());
        match record {
            Some(record) if finite(record) => writer.push_refine(record)?,
            _ => {
                return Err(Error::format(
                    name,
                    format!("the vector with id {} has no refinement vector of numbers", index.id_text(*id)),
                ));
            }
        }
    }
    Ok(())
}

impl Index {
    /// The index as plain arrays. Memory: all ids and codes.
    ///
    /// Deleted rows are left out; rows of a list come by segment. Strings are left out: ids are the numbers that stand for them
    /// ([`Index::string_id`]).
    ///
    /// # Errors
    /// Learned partitions and RaBitQ, which have no such form; damaged files.
    pub fn portable(&self) -> Result<Portable<'static>> {
        let opened = self.opened();
        let (spec, codec) = (self.spec().clone(), &opened.codec);
        let none = |word: String| Error::param("index", self.spec(), format!("{word} has no form in other programs' files"));
        let centroids = match &opened.partition {
            Partition::One => None,
            Partition::KMeans(c) => Some(c.matrix().clone()),
            _ => return Err(none("a learned partition".into())),
        };
        let code = match codec {
            Codec::Flat => PortableCode::Plain,
            Codec::Pq(code) => PortableCode::Codebooks(code.codebooks().to_vec()),
            Codec::Scalar(code) => {
                let parts = code.parts();
                let (low, step) = parts.split_at(parts.len() / 2);
                if parts.is_empty() {
                    PortableCode::Plain
                } else {
                    PortableCode::Ranges { low: low.to_vec(), step: step.to_vec() }
                }
            }
            Codec::RaBitQ(_) => return Err(none(spec.score.to_string())),
        };
        let centres = opened.centres();
        let zero = centres.is_none_or(|m| m.data().iter().all(|x| *x == 0.0));
        let as_centroids = centres.zip(centroids.as_ref()).is_some_and(|(a, b)| a.data() == b.data());
        if !zero && !as_centroids {
            return Err(none(format!("{spec} with codes relative to the mean of the vectors")));
        }
        let d = opened.code_d(self.dim());
        let mut lists: Vec<PortableList<'static>> = Vec::new();
        for list in 0..spec.nlist() {
            let rows = self.rows_of(list, d)?;
            lists.extend((!rows.ids.is_empty()).then_some(rows));
        }
        Ok(Portable {
            metric: self.metric(),
            d: self.dim(),
            map: opened.transform.as_ref().map(|t| (t.weight.clone(), t.bias.clone())),
            centroids,
            residual: !zero,
            code,
            nprobe: opened.manifest.nprobe,
            refine_factor: opened.manifest.refine,
            lists,
            strings: None,
            refine: None,
            spec,
        })
    }

    fn rows_of(&self, list: usize, d: usize) -> Result<PortableList<'static>> {
        let opened = self.opened();
        let bytes = opened.codec.row_bytes(d);
        let code = bytes - if matches!(opened.codec, Codec::Pq(_)) { 4 } else { 0 };
        let (mut ids, mut codes, mut record) = (Vec::new(), Vec::new(), vec![0; bytes]);
        for part in &opened.parts {
            for run in part.segment.runs_of(list) {
                let rows = part.segment.visit(run)?;
                for i in 0..rows.ids.len() {
                    if !part.deleted.contains(rows.run.start as usize + i) {
                        ids.push(rows.id(i));
                        opened.codec.unpack(d, rows.codes, rows.ids.len(), i, &mut record);
                        codes.extend_from_slice(&record[..code]);
                    }
                }
            }
        }
        Ok(PortableList { list, ids, codes: Cow::Owned(codes), refine: vec![] })
    }
}
