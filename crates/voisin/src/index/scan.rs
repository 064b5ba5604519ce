//! Comparing queries with the runs of the lists they visit.
//!
//! f32 products give every key with a bounded error; whatever could be among the k is compared in f64. What is found is
//! therefore a function of the lists visited alone: not of the kernel, the batch, the threads or the segments.

use super::coded::{Candidate as Place, rank_again};
use super::deleted::Deleted;
use super::filter::Filter;
use super::found::{Candidate, Found, Query, offset, place};
use super::opened::Opened;
use super::segment::{RUN, Rows};
use super::trace::Trace;
use crate::encode::Codec;
use crate::encode::scalar::Scalar;
use crate::exact::pass::{self, Pass};
use crate::{Metric, Result, TopK, Vectors};
use rayon::prelude::*;
use std::sync::{Mutex, MutexGuard, OnceLock};
use voisin_kernels::{Codes8, Panels, ScalarQuery, View, Words, below, dot_f64, dots, panel_product, scalar_dots};

/// From this many queries of one list on, packing the list is earned back.
const PACK: usize = 12;
/// From this many queries in a row on, encoding a run to 8 bits is earned back.
const ENCODE: usize = 192;
/// From this many queries of one list on, decoding a run once is earned back.
const DECODE: usize = 3;
/// Queries of a task where there are few runs: a multiple of every tile's height.
const GROUP: usize = 960;
/// Queries whose products are held at once: also a multiple.
const UNIT: usize = 96;
/// Bytes of rows that stay in the first cache while queries pass.
const CACHE: usize = 24 << 10;
/// Multiply-adds below which sharing work among threads costs more than it gains.
const SMALL: u64 = 1 << 20;
/// Columns that are compared before a query has a limit.
const FIRST: usize = 256;
/// Larger norms overflow in f32 products.
const LARGEST: f64 = 1e15;
static ZEROS: [f32; RUN] = [0.0; RUN];

/// The queries of a batch and what is known of them.
pub(super) struct Queries<'a> {
    pub(super) rows: Vectors<'a>,
    /// As partition and codes want them: of unit length under cosine, then transformed.
    pub(super) prepared: Vectors<'a>,
    /// An id for each that is left out.
    pub(super) exclude: &'a (dyn Fn(usize) -> Option<u64> + Sync),
}

/// A run and the queries that visit its list.
struct Task<'a> {
    part: usize,
    list: usize,
    run: usize,
    queries: &'a [u32],
}

/// The search of a batch.
pub(super) struct Scan<'a> {
    index: &'a Opened,
    queries: &'a Queries<'a>,
    filter: Option<&'a Filter>,
    norms: Vec<f64>,
    found: Vec<Mutex<Found>>,
    /// The queries as products with scalar codes want them.
    scalar: Vec<OnceLock<ScalarQuery>>,
    /// The queries as the first pass of exact search wants them.
    prepared: OnceLock<pass::Queries<'a>>,
}

/// Buffers of one thread.
struct Scratch {
    gathered: Vec<f32>,
    left: Panels,
    right: Panels,
    products: Vec<f32>,
    pass: pass::Scratch,
    hits: Vec<(u32, f32)>,
    limits: Vec<f32>,
    /// Rows of the run, where they are not stored as they are.
    decoded: Vec<f32>,
}

impl Scratch {
    fn new() -> Scratch {
        Scratch {
            gathered: Vec::new(),
            left: Panels::left(Words::F32),
            right: Panels::right(Words::F32),
            products: Vec::new(),
            pass: pass::Scratch::default(),
            hits: Vec::new(),
            limits: Vec::new(),
            decoded: Vec::new(),
        }
    }
}

impl<'a> Scan<'a> {
    /// `keep` rows a query are found.
    pub(super) fn new(index: &'a Opened, queries: &'a Queries<'a>, filter: Option<&'a Filter>, keep: usize) -> Self {
        let norms: Vec<f64> = queries.prepared.iter().map(|q| dot_f64(q, q).sqrt()).collect();
        let found = norms.iter().map(|_| Mutex::new(Found::new(keep))).collect();
        let scalar = norms.iter().map(|_| OnceLock::new()).collect();
        Scan { index, queries, filter, norms, found, scalar, prepared: OnceLock::new() }
    }

    /// Compares; `groups` are the queries of each list. Returns how many pairs of query and vector were met.
    pub(super) fn run(&self, groups: &[(u32, Vec<u32>)]) -> Result<u64> {
        let mut tasks = Vec::new();
        let mut pairs = 0;
        let runs: usize =
            groups.iter().map(|g| self.index.parts.iter().map(|p| p.segment.runs_of(g.0 as usize).len()).sum::<usize>()).sum();
        let group = if runs >= 4 * rayon::current_num_threads() { usize::MAX } else { GROUP };
        for (list, queries) in groups {
            for (part, p) in self.index.parts.iter().enumerate() {
                for run in p.segment.runs_of(*list as usize) {
                    let rows = p.segment.runs()[run].range();
                    pairs += (rows.len() as u64 - self.skip(part).within(rows)) * queries.len() as u64;
                    tasks.extend(queries.chunks(group).map(|queries| Task { part, list: *list as usize, run, queries }));
                }
            }
        }
        if pairs.saturating_mul(self.queries.prepared.d() as u64) < SMALL {
            let mut scratch = Scratch::new();
            tasks.iter().try_for_each(|t| self.task(t, &mut scratch))?;
        } else {
            tasks.par_iter().try_for_each_init(Scratch::new, |scratch, t| self.task(t, scratch))?;
        }
        Ok(pairs)
    }

    fn skip(&self, part: usize) -> &'a Deleted {
        self.filter.map_or(&self.index.parts[part].deleted, |f| f.part(part))
    }

    /// Tells what was compared with the first query, best first, and goes on with the best `keep`.
    pub(super) fn show(&mut self, keep: usize, trace: &mut Trace) {
        let query = self.query(0);
        let mut found = self.lock(0);
        found.settle(&query);
        let all = std::mem::replace(&mut found.best, TopK::new(keep)).into_sorted();
        all.iter().take(keep).for_each(|&(key, place)| found.best.push(key, place));
        let id = |place: u64| match self.index.refine.is_some() {
            true => self.index.parts[(place >> 32) as usize].segment.id(place as u32 as usize),
            false => place,
        };
        trace.kept = all.len().min(keep);
        trace.compared = all.into_iter().map(|(key, place)| (key, id(place))).collect();
    }

    /// The k neighbours of each query, best first.
    pub(super) fn finish(self, k: usize) -> Result<Vec<Vec<(f64, u64)>>> {
        let settle = |q: usize| {
            let query = self.query(q);
            let mut found = self.lock(q);
            found.shrink(&query);
            found.settle(&query);
            let best = std::mem::replace(&mut found.best, TopK::new(0)).into_sorted();
            if !self.index.refine.is_some() {
                return Ok(best);
            }
            let place = |&(key, place): &(f64, u64)| {
                let (part, row) = ((place >> 32) as u32, place as u32);
                let segment = &self.index.parts[part as usize].segment;
                let run = segment.run_of(row as usize);
                Place { rank: key as f32, part, run: run as u32, row: row - segment.runs()[run].start as u32 }
            };
            let best: Vec<Place> = best.iter().map(place).collect();
            rank_again(self.index, self.queries.rows.row(q), self.queries.prepared.row(q), (&best, f32::INFINITY), k)
        };
        if self.norms.len() < 8 {
            return (0..self.norms.len()).map(settle).collect();
        }
        (0..self.norms.len()).into_par_iter().map(settle).collect()
    }

    fn task(&self, task: &Task<'_>, s: &mut Scratch) -> Result<()> {
        let part = &self.index.parts[task.part];
        let rows = part.segment.visit(task.run)?;
        if let Codec::Scalar(code) = &self.index.codec
            && task.queries.len() < DECODE
            && rows.run.extreme == 0
            && task.queries.iter().all(|&q| self.norms[q as usize] <= LARGEST)
        {
            let to = Target { part: task.part, run: task.run, rows, vectors: &[], deleted: self.skip(task.part) };
            self.fused(&to, code, self.index.centre(task.list), task.queries, s);
            return Ok(());
        }
        let mut decoded = std::mem::take(&mut s.decoded);
        let vectors = if matches!(self.index.codec, Codec::Flat) {
            rows.vectors()
        } else {
            decoded.resize(rows.ids.len() * self.queries.prepared.d(), 0.0);
            self.index.codec.decode(rows.codes, self.index.centre(task.list), &mut decoded);
            &decoded
        };
        let to = Target { part: task.part, run: task.run, rows, vectors, deleted: self.skip(task.part) };
        self.compare(&to, task.queries, s);
        s.decoded = decoded;
        Ok(())
    }

    /// Products with the codes as they are, for few queries.
    fn fused(&self, to: &Target<'_>, code: &Scalar, centre: Option<&[f32]>, queries: &[u32], s: &mut Scratch) {
        let (n, d) = (to.rows.ids.len(), self.queries.prepared.d());
        s.products.resize(s.products.len().max(n), 0.0);
        let centre_norm = centre.map_or(0.0, |c| dot_f64(c, c).sqrt() as f32);
        let scale = match self.metric() {
            Metric::L2 => 2.0,
            Metric::Ip => 1.0,
            Metric::Cosine => to.rows.facts.iter().fold(0.0f32, |m, f| m.max(*f)),
        };
        for &q in queries {
            let (query, norm) = (self.queries.prepared.row(q as usize), self.norms[q as usize] as f32);
            let products = &mut s.products[..n];
            scalar_dots(self.scalar[q as usize].get_or_init(|| code.query(query)), to.rows.codes, products);
            let mut error = code.margin(norm, to.rows.run.reach + centre_norm);
            if let Some(centre) = centre {
                let shift = dot_f64(query, centre) as f32;
                products.iter_mut().for_each(|p| *p += shift);
                error += (d as f32 + 8.0) * f32::EPSILON * norm * (to.rows.run.reach + 2.0 * centre_norm);
            }
            self.read(to, q as usize, products, 2.0 * scale * error, &mut s.hits);
        }
    }

    fn compare(&self, to: &Target<'_>, queries: &[u32], s: &mut Scratch) {
        let in_a_row = queries[queries.len() - 1] as usize - queries[0] as usize + 1 == queries.len();
        if to.rows.run.extreme != 0 {
            return queries.iter().for_each(|&q| self.in_f64(to, q as usize));
        }
        // queries that are apart would each be a product of their own
        let few = in_a_row || queries.len() < PACK;
        let part = &self.index.parts[to.part];
        let vectors = Vectors::new(to.vectors, self.queries.prepared.d());
        if few && let Some(codes) = part.kept.codes(to.run, vectors, queries.len(), self.metric(), &self.index.budget) {
            self.kept(to, codes, queries, s);
        } else if queries.len() >= ENCODE && in_a_row {
            self.encoded(to, queries, s);
        } else if queries.len() >= PACK {
            self.packed(to, queries, s);
        } else {
            self.unpacked(to, queries, s);
        }
    }

    /// Rows that fit the first cache meet every query before the next rows come.
    fn unpacked(&self, to: &Target<'_>, queries: &[u32], s: &mut Scratch) {
        let (n, d) = (to.rows.ids.len(), self.queries.prepared.d());
        s.products.resize(s.products.len().max(queries.len() * n), 0.0);
        let step = (CACHE / (4 * d)).max(1);
        for from in (0..n).step_by(step) {
            let part = from..(from + step).min(n);
            let vectors = &to.vectors[part.start * d..part.end * d];
            for (i, &q) in queries.iter().enumerate() {
                dots(self.queries.prepared.row(q as usize), vectors, &mut s.products[i * n..][part.clone()]);
            }
        }
        for (i, &q) in queries.iter().enumerate() {
            self.read(to, q as usize, &mut s.products[i * n..(i + 1) * n], 0.0, &mut s.hits);
        }
    }

    fn packed(&self, to: &Target<'_>, queries: &[u32], s: &mut Scratch) {
        let (n, d) = (to.rows.ids.len(), self.queries.prepared.d());
        s.right.pack(View::new(to.vectors, n, d));
        let ldc = n.next_multiple_of(s.right.width());
        s.products.resize(s.products.len().max(UNIT * ldc), 0.0);
        for unit in queries.chunks(UNIT) {
            s.gathered.clear();
            unit.iter().for_each(|&q| s.gathered.extend_from_slice(self.queries.prepared.row(q as usize)));
            s.left.pack(View::new(&s.gathered, unit.len(), d));
            panel_product(&s.left, 0..unit.len(), &s.right, &mut s.products, ldc);
            for (i, &q) in unit.iter().enumerate() {
                self.read(to, q as usize, &mut s.products[i * ldc..i * ldc + n], 0.0, &mut s.hits);
            }
        }
    }

    /// As exact search does it: 8-bit codes with certified bounds where the processor has the instructions.
    fn encoded(&self, to: &Target<'_>, queries: &[u32], s: &mut Scratch) {
        let (n, d) = (to.rows.ids.len(), self.queries.prepared.d());
        let prepared = self.as_passes_want();
        let start = to.rows.run.start as usize;
        let deleted: Vec<usize> = (0..n).filter(|i| to.deleted.contains(start + i)).collect();
        let Some(pass) = Pass::new(Vectors::new(to.vectors, d), &deleted, prepared) else {
            return queries.iter().for_each(|&q| self.in_f64(to, q as usize));
        };
        let (first, last) = (queries[0] as usize, queries[queries.len() - 1] as usize + 1);
        // panels begin at multiples of a unit; a unit that others share is compared as a whole
        for from in (first - first % UNIT..last).step_by(UNIT) {
            let unit = from..(from + UNIT).min(prepared.rows.n());
            pass.products(prepared, unit, 0..n, &mut s.pass, |q, products| {
                if !(first..last).contains(&q) {
                    return;
                }
                let mut found = self.lock(q);
                s.hits.clear();
                pass.below(prepared, q, products, 0..n, found.limit, &mut s.hits);
                let width = |&(column, _): &(u32, f32)| pass.width(prepared, q, column as usize);
                found.width = s.hits.iter().map(width).fold(found.width, f32::max);
                self.take(to, q, &mut found, &s.hits, 0.0);
            });
        }
    }

    /// By the codes that are kept of the run.
    fn kept(&self, to: &Target<'_>, codes: &Codes8, queries: &[u32], s: &mut Scratch) {
        let prepared = self.as_passes_want();
        if prepared.large {
            return self.unpacked(to, queries, s);
        }
        let (n, pass) = (to.rows.ids.len(), Pass::lent(codes.view()));
        for together in queries.chunk_by(|a, b| a + 1 == *b).flat_map(|c| c.chunks(UNIT)) {
            let rows = together[0] as usize..together[0] as usize + together.len();
            let mut from = 0;
            while from < n {
                s.limits.clear();
                s.limits.extend(rows.clone().map(|q| self.lock(q).limit));
                // a first limit as soon as there is one
                let open = s.limits.contains(&f32::INFINITY);
                let to_column = if open { (from + FIRST).min(n) } else { n };
                pass.near(prepared, rows.clone(), &s.limits, from..to_column, &mut s.pass, |q, hits| {
                    let mut found = self.lock(q);
                    let width = |&(column, _): &(u32, f32)| pass.width(prepared, q, from + column as usize);
                    found.width = hits.iter().map(width).fold(found.width, f32::max);
                    s.hits.clear();
                    s.hits.extend(hits.iter().map(|&(column, lower)| (column + from as u32, lower)));
                    self.take(to, q, &mut found, &s.hits, 0.0);
                    if found.limit == f32::INFINITY {
                        found.shrink(&self.query(q));
                    }
                });
                from = to_column;
            }
        }
    }

    fn as_passes_want(&self) -> &pass::Queries<'a> {
        self.prepared.get_or_init(|| pass::Queries::new(self.ranked(), self.metric()))
    }

    fn metric(&self) -> Metric {
        self.index.manifest.metric
    }

    /// Takes over the columns whose products may be good enough; `more` is what keys may be off beside the usual margin.
    fn read(&self, to: &Target<'_>, q: usize, products: &mut [f32], more: f32, hits: &mut Vec<(u32, f32)>) {
        let metric = self.metric();
        let norm = self.norms[q];
        // false for NaN
        let fits = norm <= LARGEST;
        if !fits {
            return self.in_f64(to, q);
        }
        let margin = more + margin(metric, self.queries.prepared.d(), norm as f32, to.rows.run.reach);
        let (bias, scale) = match metric {
            Metric::L2 => (to.rows.facts, -2.0),
            Metric::Ip => (&ZEROS[..products.len()], -1.0),
            Metric::Cosine => {
                products.iter_mut().zip(to.rows.facts).for_each(|(p, f)| *p *= f);
                (&ZEROS[..products.len()], -1.0)
            }
        };
        let mut found = self.lock(q);
        hits.clear();
        below(products, bias, scale, found.limit + margin, hits);
        found.width = found.width.max(2.0 * margin);
        self.take(to, q, &mut found, hits, margin);
    }

    /// Keeps the columns of `hits` whose keys, less the margin, are lower bounds.
    fn take(&self, to: &Target<'_>, q: usize, found: &mut Found, hits: &[(u32, f32)], margin: f32) {
        let (start, exclude) = (to.rows.run.start as usize, (self.queries.exclude)(q));
        for &(column, key) in hits {
            let row = start + column as usize;
            if !to.deleted.contains(row) && exclude != Some(to.rows.id(column as usize)) {
                found.pending.push(Candidate { lower: key - margin, part: to.part as u32, run: to.run as u32, row: column });
            }
        }
        if found.pending.len() > 2 * found.k + 16 {
            found.shrink(&self.query(q));
        }
    }

    /// Compares every row in f64, where f32 could not bound the error.
    fn in_f64(&self, to: &Target<'_>, q: usize) {
        let (query, exclude) = (self.query(q), (self.queries.exclude)(q));
        let d = self.queries.prepared.d();
        let mut found = self.lock(q);
        for (i, x) in to.vectors.chunks_exact(d).enumerate() {
            let id = to.rows.id(i);
            if !to.deleted.contains(to.rows.run.start as usize + i) && exclude != Some(id) {
                let id = if self.index.refine.is_some() { place(to.part, to.rows.run.start as usize + i) } else { id };
                found.best.push(self.metric().exact_key(query.row, x), id);
            }
        }
    }

    fn query(&self, q: usize) -> Query<'_> {
        Query { index: self.index, row: self.ranked().row(q), offset: offset(self.metric(), self.norms[q]) }
    }

    /// The queries as they are ranked in the end: as they came, where the codes are the vectors.
    fn ranked(&self) -> Vectors<'a> {
        if self.index.codes_are_vectors() { self.queries.rows } else { self.queries.prepared }
    }

    fn lock(&self, q: usize) -> MutexGuard<'_, Found> {
        self.found[q].lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// A run that is being compared.
struct Target<'a> {
    part: usize,
    run: usize,
    rows: Rows<'a>,
    vectors: &'a [f32],
    deleted: &'a Deleted,
}

/// Bound of the error of a key in f32, twice over: γ of d terms for the product (Higham, "Accuracy and Stability of
/// Numerical Algorithms", §3.1), the rounding of norms, of unit lengths and of limits.
fn margin(metric: Metric, d: usize, norm: f32, reach: f32) -> f32 {
    let (d, eps) = (d as f32, f32::EPSILON);
    let key = match metric {
        Metric::L2 => (d + 24.0) * norm * reach + 24.0 * reach * reach,
        Metric::Ip => (d + 24.0) * norm * reach,
        Metric::Cosine => 1.1 * d + 64.0,
    };
    // the f64 keys that decide in the end are rounded too
    key * eps + norm * norm * d * 4.0 * f64::EPSILON as f32 + 1e-30
}
