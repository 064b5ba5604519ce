//! From an index here to a file that FAISS reads.

use std::path::Path;

use voisin::index::{Index, Portable, PortableCode, PortableList};
use voisin::{Error, Matrix, Metric, Result, ScalarKind, Score, TransformSpec, Unit};

use crate::AtomicFile;

/// Writes an index as a file of FAISS.
///
/// Flat, IVF,Flat, IVF,PQ, IVF,SQ, PQ and SQ with their transforms; ids that are not 0..n-1 go into an IDMap where there are no
/// lists. String ids are written where all of them are numbers (hashes, negative ones too). Under cosine, which FAISS does not
/// have, vectors are written at unit length, under L2 behind a map to unit length: the order is the same, and FAISS's squared
/// distances are 2 − 2 cos. Memory: all codes and ids.
///
/// # Errors
/// [`Error::Param`] for an index that FAISS has no form for: learned lists, RaBitQ, Refine; [`Error::Id`] for an id that is no
/// number; what writing gives.
pub fn save(index: &Index, path: &Path) -> Result<u64> {
    let no =
        |what: &str| Err(Error::param("index", index.spec(), format!("{what}; Flat, IVF, PQ and SQ can be written for FAISS")));
    if index.spec().refine.is_some() {
        return no("refinement vectors have no place in the file");
    }
    let mut all = index.portable()?;
    if index.has_string_ids() {
        numbered(index, &mut all)?;
    }
    let unit = all.metric == Metric::Cosine;
    if unit && all.spec.score == Score::Flat && all.map.is_none() {
        all.lists.iter_mut().for_each(|l| normalise(l, all.d));
    }
    let mut out = Out(AtomicFile::create(path)?, 0);
    out.index(&all, unit)?;
    out.0.commit()?;
    Ok(out.1)
}

/// Puts the numbers that ids are strings of in their place.
fn numbered(index: &Index, all: &mut Portable<'_>) -> Result<()> {
    for id in all.lists.iter_mut().flat_map(|l| &mut l.ids) {
        let text = index.string_id(*id)?.unwrap_or_default();
        match text.parse::<i64>().ok().filter(|n| *n != -1 && n.to_string() == text) {
            Some(number) => *id = number as u64,
            None => {
                let what = "is no number as FAISS has them (64 bits with a sign; -1 is its answer where it finds nothing)";
                return Err(Error::Id { id: text.to_string(), what: what.into() });
            }
        }
    }
    Ok(())
}

fn normalise(list: &mut PortableList<'_>, d: usize) {
    for row in list.codes.to_mut().chunks_exact_mut(4 * d) {
        let values = super::bytes::floats(row);
        let norm = values.iter().map(|x| *x as f64 * *x as f64).sum::<f64>().sqrt();
        let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        for (to, x) in row.chunks_exact_mut(4).zip(values) {
            to.copy_from_slice(&((x as f64 * scale) as f32).to_le_bytes());
        }
    }
}

struct Out(AtomicFile, u64);

impl Out {
    fn put(&mut self, bytes: &[u8]) -> Result<()> {
        self.1 += bytes.len() as u64;
        self.0.write(bytes)
    }

    fn u8(&mut self, x: u8) -> Result<()> {
        self.put(&[x])
    }

    fn i32(&mut self, x: i32) -> Result<()> {
        self.put(&x.to_le_bytes())
    }

    fn u64(&mut self, x: u64) -> Result<()> {
        self.put(&x.to_le_bytes())
    }

    fn floats(&mut self, values: &[f32]) -> Result<()> {
        self.u64(values.len() as u64)?;
        values.chunks(1 << 16).try_for_each(|v| {
            let bytes: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
            self.put(&bytes)
        })
    }

    fn longs(&mut self, values: &[u64]) -> Result<()> {
        values.chunks(1 << 16).try_for_each(|v| {
            let bytes: Vec<u8> = v.iter().flat_map(|x| x.to_le_bytes()).collect();
            self.put(&bytes)
        })
    }

    fn head(&mut self, code: &[u8; 4], d: usize, n: u64, metric: Metric) -> Result<()> {
        self.put(code)?;
        self.i32(d as i32)?;
        self.u64(n)?;
        // two fields that nothing reads
        self.u64(1 << 20)?;
        self.u64(1 << 20)?;
        self.u8(1)?;
        self.i32(if metric == Metric::Ip { 0 } else { 1 })
    }

    fn index(&mut self, all: &Portable<'_>, unit: bool) -> Result<()> {
        let (d, n, metric) = (all.d, all.rows(), all.metric);
        // without lists a vector is known by its place
        let order = all.centroids.is_none().then(|| sorted(all));
        let counted = order.as_ref().is_none_or(|o| o.iter().enumerate().all(|(i, x)| x.0 == i as u64));
        if !counted {
            self.head(b"IxMp", d, n, metric)?;
        }
        self.maps(all, unit)?;
        match &order {
            Some(order) => self.plain(all, order)?,
            None => self.lists(all)?,
        }
        if let (false, Some(order)) = (counted, &order) {
            self.u64(n)?;
            let ids: Vec<u64> = order.iter().map(|x| x.0).collect();
            self.longs(&ids)?;
        }
        Ok(())
    }

    /// Maps before the index, with what an index behind maps begins with.
    fn maps(&mut self, all: &Portable<'_>, unit: bool) -> Result<()> {
        let (before, after) = match all.spec.transform {
            Some(TransformSpec::Unit | TransformSpec::Map { unit: Unit::Before, .. }) => (true, false),
            Some(TransformSpec::Map { unit: Unit::After, .. }) => (unit, true),
            _ => (unit, false),
        };
        let count = before as i32 + after as i32 + all.map.is_some() as i32;
        if count == 0 {
            return Ok(());
        }
        self.head(b"IxPT", all.d, all.rows(), all.metric)?;
        self.i32(count)?;
        if before {
            self.unit(all.d)?;
        }
        if let Some((weights, bias)) = &all.map {
            self.put(b"LTra")?;
            self.u8(1)?;
            self.floats(weights.data())?;
            self.floats(bias)?;
            self.i32(weights.d() as i32)?;
            self.i32(weights.n() as i32)?;
            self.u8(1)?;
        }
        if after {
            self.unit(code_d(all))?;
        }
        Ok(())
    }

    fn unit(&mut self, d: usize) -> Result<()> {
        self.put(b"VNrm")?;
        self.put(&2f32.to_le_bytes())?;
        self.i32(d as i32)?;
        self.i32(d as i32)?;
        self.u8(1)
    }

    /// An index without lists, rows in the order of their ids.
    fn plain(&mut self, all: &Portable<'_>, order: &[(u64, usize, usize)]) -> Result<()> {
        let (d, n) = (code_d(all), all.rows());
        let (size, flat) = (code_bytes(all), all.spec.score == Score::Flat);
        let code = match all.spec.score {
            Score::Flat if all.metric == Metric::Ip => b"IxFI",
            Score::Flat => b"IxF2",
            Score::Pq { .. } => b"IxPq",
            _ => b"IxSQ",
        };
        self.head(code, d, n, all.metric)?;
        self.code(all)?;
        self.u64(n * size as u64 / if flat { 4 } else { 1 })?;
        for &(_, list, row) in order {
            self.put(&all.lists[list].codes[row * size..(row + 1) * size])?;
        }
        if let Score::Pq { m, bits } = all.spec.score {
            self.i32(0)?;
            self.u8(0)?;
            self.i32((m * bits + 1) as i32)?;
        }
        Ok(())
    }

    /// What was trained.
    fn code(&mut self, all: &Portable<'_>) -> Result<()> {
        let d = code_d(all) as u64;
        match (all.spec.score, &all.code) {
            (Score::Pq { m, bits }, PortableCode::Codebooks(words)) => {
                [d, m as u64, bits as u64].into_iter().try_for_each(|x| self.u64(x))?;
                self.floats(words)
            }
            (Score::Scalar(kind), code) => {
                let (qtype, top) = match kind {
                    ScalarKind::Sq8 => (0, 255.0),
                    ScalarKind::Sq4 => (1, 15.0),
                    ScalarKind::Sq8Uniform => (2, 255.0),
                    ScalarKind::Sq4Uniform => (3, 15.0),
                    ScalarKind::F16 => (4, 0.0),
                };
                self.i32(qtype)?;
                self.i32(0)?;
                self.put(&0f32.to_le_bytes())?;
                self.u64(d)?;
                self.u64(code_bytes(all) as u64)?;
                let trained: Vec<f32> = match code {
                    PortableCode::Ranges { low, step } => {
                        let least = low.iter().zip(step).map(|(l, s)| l - s / 2.0);
                        least.chain(step.iter().map(|s| s * top)).collect()
                    }
                    _ => vec![],
                };
                self.floats(&trained)
            }
            _ => Ok(()),
        }
    }

    fn lists(&mut self, all: &Portable<'_>) -> Result<()> {
        let (d, size, nlist) = (code_d(all), code_bytes(all), all.spec.nlist());
        let code = match all.spec.score {
            Score::Flat => b"IwFl",
            Score::Pq { .. } => b"IwPQ",
            _ => b"IwSq",
        };
        self.head(code, d, all.rows(), all.metric)?;
        self.u64(nlist as u64)?;
        self.u64(all.nprobe.unwrap_or(1) as u64)?;
        self.head(if all.metric == Metric::Ip { b"IxFI" } else { b"IxF2" }, d, nlist as u64, all.metric)?;
        self.floats(all.centroids.as_ref().map_or(&[], Matrix::data))?;
        // no direct map
        self.u8(0)?;
        self.u64(0)?;
        match all.spec.score {
            Score::Flat => {}
            Score::Pq { .. } => {
                self.u8(all.residual as u8)?;
                self.u64(size as u64)?;
                self.code(all)?;
            }
            _ => {
                self.code(all)?;
                self.u64(size as u64)?;
                self.u8(all.residual as u8)?;
            }
        }
        self.put(b"ilar")?;
        self.u64(nlist as u64)?;
        self.u64(size as u64)?;
        self.put(b"full")?;
        self.u64(nlist as u64)?;
        let mut sizes = vec![0; nlist];
        all.lists.iter().for_each(|l| sizes[l.list] = l.ids.len() as u64);
        self.longs(&sizes)?;
        for list in &all.lists {
            self.put(&list.codes)?;
            self.longs(&list.ids)?;
        }
        Ok(())
    }
}

/// Id, list and row of every vector, by id.
fn sorted(all: &Portable<'_>) -> Vec<(u64, usize, usize)> {
    let rows = all.lists.iter().enumerate().flat_map(|(l, list)| list.ids.iter().enumerate().map(move |(r, id)| (*id, l, r)));
    let mut rows: Vec<(u64, usize, usize)> = rows.collect();
    rows.sort_unstable_by_key(|r| (r.0 as i64, r.1, r.2));
    rows
}

fn code_d(all: &Portable<'_>) -> usize {
    all.map.as_ref().map_or(all.d, |m| m.0.n())
}

fn code_bytes(all: &Portable<'_>) -> usize {
    let d = code_d(all);
    match all.spec.score {
        Score::Pq { m, bits } => (m * bits).div_ceil(8),
        Score::Scalar(ScalarKind::F16) => 2 * d,
        Score::Scalar(ScalarKind::Sq8 | ScalarKind::Sq8Uniform) => d,
        Score::Scalar(_) => d.div_ceil(2),
        _ => 4 * d,
    }
}
