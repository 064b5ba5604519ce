//! The first pass over a block: bounds of every key, from 8-bit codes or f32 products.
//!
//! A *key* here lacks what is the same for all candidates of a query: |x|² − 2<q, x> for L2, −<q, x> for inner
//! product, −cos for cosine. Every pass vouches for lower <= exact key <= lower + width.

use crate::{Metric, Vectors};
use rayon::prelude::*;
use std::borrow::Cow;
use std::ops::Range;
use std::sync::OnceLock;
use voisin_kernels as kernels;
use voisin_kernels::{Codes8, Codes8Ref, FEW8, Key, Packed, Rows8, View, near8};

/// Below this many queries the cost of encoding or packing the base is not earned back.
const FEW_QUERIES: usize = 8;
/// Squares and products of larger values could overflow f32.
const LARGEST: f32 = 1e15;

/// The queries in every form that a pass wants; forms are made when first asked for.
pub(crate) struct Queries<'a> {
    pub(crate) rows: Vectors<'a>,
    pub(crate) metric: Metric,
    /// What the first pass multiplies: the rows, of unit length under cosine.
    scaled: Cow<'a, [f32]>,
    norms: Vec<f32>,
    bytes: bool,
    pub(crate) large: bool,
    packed: OnceLock<Packed>,
    codes: [OnceLock<Rows8>; 2],
}

impl<'a> Queries<'a> {
    pub(crate) fn new(rows: Vectors<'a>, metric: Metric) -> Self {
        let scaled = scaled(rows, metric);
        let norms = scaled.par_chunks(rows.d()).map(|r| kernels::dot_f64(r, r).sqrt() as f32 * (1.0 + f32::EPSILON)).collect();
        let bytes = metric != Metric::Cosine && kernels::are_bytes(rows.data());
        let large = !bounded(kernels::max_abs(rows.data()));
        Queries { rows, metric, scaled, norms, bytes, large, packed: OnceLock::new(), codes: Default::default() }
    }

    fn packed(&self) -> &Packed {
        self.packed.get_or_init(|| Packed::left(View::new(&self.scaled, self.rows.n(), self.rows.d())))
    }

    fn codes(&self, exact: bool) -> &Rows8 {
        self.codes[exact as usize].get_or_init(|| Rows8::new(&self.scaled, self.rows.d(), exact))
    }
}

/// A block of the base, ready to be compared with queries.
pub(crate) struct Pass<'a> {
    kind: Kind<'a>,
    n: usize,
    d: usize,
    /// Largest |x|.
    reach: f32,
}

enum Kind<'a> {
    /// 8-bit codes; without error where the base is bytes.
    Codes(Codes<'a>),
    /// Packed f32 and |x|² (or 0) per column.
    Products { packed: Packed, bias: Vec<f32> },
    /// The rows as they are, for few queries.
    Rows { rows: Cow<'a, [f32]>, bias: Vec<f32> },
}

enum Codes<'a> {
    Own(Codes8),
    Lent(Codes8Ref<'a>),
}

impl Codes<'_> {
    fn view(&self) -> Codes8Ref<'_> {
        match self {
            Codes::Own(codes) => codes.view(),
            Codes::Lent(codes) => *codes,
        }
    }
}

/// Buffers of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    floats: Vec<f32>,
    ints: Vec<i32>,
    limits: Vec<f32>,
    hits: Vec<Vec<(u32, f32)>>,
}

/// What a column's product becomes under a metric.
pub(super) fn key_of(metric: Metric) -> Key {
    if metric == Metric::L2 { Key::L2 } else { Key::Ip }
}

/// Longest rows that codes are made of.
pub(crate) const MAX_CODED: usize = 65_000;

/// The codes of a block whose rows `bad` are taken out; bytes stay as they are. Dimensions: at most [`MAX_CODED`].
pub(crate) fn encode(block: Vectors<'_>, bad: &[usize], metric: Metric) -> Codes8 {
    let clean = without(block, bad);
    let rows = scaled(Vectors::new(&clean, block.d()), metric);
    let exact = metric != Metric::Cosine && kernels::are_bytes(&rows);
    let mut codes = Codes8::new(&rows, block.d(), key_of(metric), exact);
    bad.iter().for_each(|&i| codes.exclude(i));
    codes
}

/// Whether codes bound every product; not so for values so large that f32 cannot.
pub(crate) fn certified(codes: &Codes8) -> bool {
    bounded(codes.largest_norm())
}

impl<'a> Pass<'a> {
    /// Prepares `block`, whose rows `bad` are taken out. `None` if values are so large that f32 cannot bound them.
    pub(crate) fn new(block: Vectors<'a>, bad: &[usize], queries: &Queries<'_>) -> Option<Self> {
        let (n, d, metric) = (block.n(), block.d(), queries.metric);
        if queries.large {
            return None;
        }
        // AVX2 multiplies bytes as fast as f32, plain code slower: encoding would gain nothing
        if queries.rows.n() > FEW_QUERIES && kernels::int8_available() && d <= MAX_CODED {
            let codes = encode(block, bad, metric);
            return certified(&codes).then_some(Pass { kind: Kind::Codes(Codes::Own(codes)), n, d, reach: 1.0 });
        }
        let clean = without(block, bad);
        let rows: Cow<'a, [f32]> = match metric {
            Metric::Cosine => Cow::Owned(scaled(Vectors::new(&clean, d), metric).into_owned()),
            _ => clean,
        };
        let mut bias = vec![0.0; n];
        bias.par_iter_mut().zip(rows.par_chunks(d)).for_each(|(b, r)| *b = kernels::dot(r, r));
        let reach = bias.iter().copied().fold(0.0, f32::max).sqrt() * (1.0 + f32::EPSILON * (16 + d / 64) as f32);
        if !bounded(reach) {
            return None;
        }
        if metric != Metric::L2 {
            bias.fill(0.0);
        }
        bad.iter().for_each(|&i| bias[i] = f32::INFINITY);
        let kind = if queries.rows.n() > FEW_QUERIES {
            Kind::Products { packed: Packed::right(View::new(&rows, n, d)), bias }
        } else {
            Kind::Rows { rows, bias }
        };
        Some(Pass { kind, n, d, reach })
    }

    /// Codes that lie elsewhere, as [`encode`] made them and [`certified`] allows.
    pub(crate) fn lent(codes: Codes8Ref<'a>) -> Self {
        Pass { n: codes.n(), d: codes.d(), reach: 1.0, kind: Kind::Codes(Codes::Lent(codes)) }
    }

    /// Calls `each(query, hits)` for every query of `rows` that a column of `cols` is near enough to: hits are
    /// (column − cols.start, lower bound) of the columns whose lower bound is at most the query's limit. A limit of −∞
    /// leaves a query out. `cols` start at a multiple of 64; `rows` anywhere, but multiples of 12 cost least.
    pub(crate) fn near(
        &self,
        q: &Queries<'_>,
        rows: Range<usize>,
        limits: &[f32],
        cols: Range<usize>,
        s: &mut Scratch,
        mut each: impl FnMut(usize, &[(u32, f32)]),
    ) {
        assert_eq!(limits.len(), rows.len(), "a limit for every query");
        let Kind::Codes(codes) = &self.kind else {
            return self.near_products(q, rows, limits, cols, s, each);
        };
        let codes = codes.view();
        // whole panels, unless there are so few queries that panels do not matter
        let first = if rows.len() > FEW8 { rows.start / Rows8::WIDTH * Rows8::WIDTH } else { rows.start };
        s.limits.clear();
        s.limits.resize(rows.start - first, f32::NEG_INFINITY);
        s.limits.extend(rows.clone().zip(limits).map(|(query, limit)| limit + self.pad(q, query)));
        let count = rows.end - first;
        s.hits.resize_with(s.hits.len().max(count), Vec::new);
        s.hits[..count].iter_mut().for_each(Vec::clear);
        near8(q.codes(codes.exact() && q.bytes), first..rows.end, codes, cols, &s.limits, &mut s.ints, &mut s.hits[..count]);
        for query in rows {
            let hits = &mut s.hits[query - first];
            if !hits.is_empty() {
                let pad = self.pad(q, query);
                hits.iter_mut().for_each(|h| h.1 -= pad);
                each(query, hits);
            }
        }
    }

    fn near_products(
        &self,
        q: &Queries<'_>,
        rows: Range<usize>,
        limits: &[f32],
        cols: Range<usize>,
        s: &mut Scratch,
        mut each: impl FnMut(usize, &[(u32, f32)]),
    ) {
        // multiples of every tile's height
        let first = if matches!(self.kind, Kind::Products { .. }) { rows.start / 12 * 12 } else { rows.start };
        let mut hits = Vec::new();
        self.products(q, first..rows.end, cols.clone(), s, |query, products| {
            if query < rows.start || limits[query - rows.start] == f32::NEG_INFINITY {
                return;
            }
            hits.clear();
            self.below(q, query, products, cols.clone(), limits[query - rows.start], &mut hits);
            if !hits.is_empty() {
                each(query, &hits);
            }
        });
    }

    /// Number of rows.
    pub(crate) fn n(&self) -> usize {
        self.n
    }

    /// Calls `each(query, products)` with the products of every query of `rows` and the columns `cols`; a row of products
    /// is read with [`Pass::below`].
    pub(crate) fn products(
        &self,
        q: &Queries<'_>,
        rows: Range<usize>,
        cols: Range<usize>,
        s: &mut Scratch,
        mut each: impl FnMut(usize, Products<'_>),
    ) {
        let ldc = cols.len().next_multiple_of(64);
        let room = rows.len().next_multiple_of(24) * ldc;
        match &self.kind {
            Kind::Codes(codes) => {
                let codes = codes.view();
                s.ints.resize(room.max(s.ints.len()), 0);
                kernels::tiles8(q.codes(codes.exact() && q.bytes), rows.clone(), codes, cols.clone(), &mut s.ints, ldc);
                rows.enumerate().for_each(|(i, query)| each(query, Products::Ints(&s.ints[i * ldc..][..cols.len()])));
            }
            Kind::Products { packed, .. } => {
                s.floats.resize(room.max(s.floats.len()), 0.0);
                kernels::tiles(q.packed(), rows.clone(), packed, cols.clone(), &mut s.floats, ldc);
                rows.enumerate().for_each(|(i, query)| each(query, Products::Floats(&s.floats[i * ldc..][..cols.len()])));
            }
            Kind::Rows { rows: base, .. } => {
                s.floats.resize(cols.len().max(s.floats.len()), 0.0);
                for query in rows {
                    let out = &mut s.floats[..cols.len()];
                    kernels::dots(&q.scaled[query * self.d..][..self.d], &base[cols.start * self.d..cols.end * self.d], out);
                    each(query, Products::Floats(out));
                }
            }
        }
    }

    /// Appends (column − cols.start, lower bound) of every column whose lower bound is at most `limit`.
    pub(crate) fn below(
        &self,
        q: &Queries<'_>,
        query: usize,
        products: Products<'_>,
        cols: Range<usize>,
        limit: f32,
        out: &mut Vec<(u32, f32)>,
    ) {
        let (from, pad) = (out.len(), self.pad(q, query));
        match (&self.kind, products) {
            (Kind::Codes(codes), Products::Ints(p)) => {
                let codes = codes.view();
                codes.below(p, cols, q.codes(codes.exact() && q.bytes).row(query), limit + pad, out)
            }
            (Kind::Products { bias, .. } | Kind::Rows { bias, .. }, Products::Floats(p)) => {
                let scale = if q.metric == Metric::L2 { -2.0 } else { -1.0 };
                kernels::below(p, &bias[cols], scale, limit + pad, out);
            }
            _ => unreachable!("a pass reads its own products"),
        }
        // columns taken out have an infinite bias
        let mut keep = from;
        for i in from..out.len() {
            if out[i].1 < f32::INFINITY {
                out[keep] = (out[i].0, out[i].1 - pad);
                keep += 1;
            }
        }
        out.truncate(keep);
    }

    /// Upper minus lower bound.
    pub(crate) fn width(&self, q: &Queries<'_>, query: usize, column: usize) -> f32 {
        let codes = match &self.kind {
            Kind::Codes(codes) => {
                let codes = codes.view();
                codes.width(column, q.codes(codes.exact() && q.bytes).row(query))
            }
            _ => 0.0,
        };
        codes + 2.0 * self.pad(q, query)
    }

    /// The rounding of f32 that the codes do not know of: products and norms (γ of d terms; Higham, "Accuracy and
    /// Stability of Numerical Algorithms", §3.1), and bringing rows to unit length.
    fn pad(&self, q: &Queries<'_>, query: usize) -> f32 {
        let (d, norm) = (self.d as f32, q.norms[query]);
        let unit = if q.metric == Metric::Cosine { (d / 16.0 + 32.0) * norm * self.reach * 1.01 } else { 0.0 };
        let products = match self.kind {
            Kind::Codes(_) => 0.0,
            _ => (d + 16.0) * norm * self.reach + (d / 32.0 + 16.0) * self.reach * self.reach,
        };
        (unit + products) * f32::EPSILON + 1e-30
    }
}

/// A row of products, as its pass made it.
#[derive(Clone, Copy)]
pub(crate) enum Products<'a> {
    Floats(&'a [f32]),
    Ints(&'a [i32]),
}

/// The rows; of unit length under cosine (rows without a direction become zero).
fn scaled(rows: Vectors<'_>, metric: Metric) -> Cow<'_, [f32]> {
    if metric != Metric::Cosine {
        return Cow::Borrowed(rows.data());
    }
    let mut out = rows.data().to_vec();
    out.par_chunks_mut(rows.d()).for_each(|r| {
        let norm = kernels::dot_f64(r, r).sqrt();
        let inverse = if norm > 0.0 { 1.0 / norm } else { 0.0 };
        r.iter_mut().for_each(|x| *x = (*x as f64 * inverse) as f32);
    });
    Cow::Owned(out)
}

fn without<'a>(block: Vectors<'a>, bad: &[usize]) -> Cow<'a, [f32]> {
    let mut rows = Cow::Borrowed(block.data());
    for &i in bad {
        rows.to_mut()[i * block.d()..(i + 1) * block.d()].fill(0.0);
    }
    rows
}

/// Whether products of rows of this norm stay within f32; false for NaN.
fn bounded(norm: f32) -> bool {
    norm <= LARGEST
}
