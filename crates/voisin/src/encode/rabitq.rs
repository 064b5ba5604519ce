//! RaBitQ codes: a residual is rotated, its signs and a few more bits of every value are kept, and keys are estimated without
//! bias from integer products, with a bound of the error.
//!
//! # Source
//! Gao & Long, "RaBitQ" (arXiv 2405.12497); Gao et al., extended RaBitQ (arXiv 2409.09913).
//!
//! r is the rotated residual of a row to the centre c of its list, x̄ its code centred at 0 (odd multiples of ½), q' the rotated
//! query, both shifted by the mean µ of the centres. With f = |r|²/<r, x̄>, <r, q − c> is estimated as f·<x̄, q' − c'>, so that
//!
//! - squared L2 = |q − c|² + (|r|² + 2f<x̄, c'>) − 2f<x̄, q'>,
//! - −inner product = −<q, c> + (−<r, c> + f<x̄, c'>) − f<x̄, q'>:
//!
//! what the list gives, `add`, and `res` times one product of integers; one rounded query serves all lists.
//!
//! A row is ranked by the larger of its estimate from all bits and its lower bound from the signs alone (which is above the
//! estimate only where the bound, 1.4 deviations wide, fails). So a scan that reads the other bits only of rows whose lower
//! bound is good enough finds the same rows as one that reads everything, in whatever order lists are visited.
//!
//! A run of n rows of W words: `add`, `res` and error of the signs alone (n bf16 each, zeros up to a multiple of 8 bytes; none
//! where the signs are all bits), signs (n x W u64), then for each row the lower bits (W·(bits − 1) u64) and the pair `add`,
//! `res` (2 f32). So what is read of every row comes first.

use super::Training;
use super::rotation::Rotation;
use crate::{Matrix, Vectors};
use rayon::prelude::*;
use voisin_kernels::{
    ByteRow, CodePanels, Side, TILE_QUERIES, WORD, code_tiles, dot_f64, keys, lowers, plane_dots, planes_dots, planes_pack,
    prefetch, signed_codes,
};

/// Deviations that the error bound is wide.
///
/// The paper takes 1.9. With the larger of bound and estimate as the rank, 1.5 cost .0001 of recall@10 and 1.2 .0005, at .95 and
/// at .99 (a million SIFT descriptors), and fewer rows' other bits are looked at.
const EPSILON: f64 = 1.4;

#[derive(Clone, Debug)]
pub(crate) struct RaBitQ {
    bits: usize,
    ip: bool,
    /// Codes are values of a unit residual times this, rounded.
    stretch: f32,
    /// Mean of the centres.
    mean: Vec<f32>,
    rotation: Rotation,
}

/// A query, rotated and rounded to bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct Query {
    bytes: ByteRow,
    half: f32,
    sum: i32,
}

/// A run and the query's share of its list.
#[derive(Clone, Copy)]
pub(crate) struct Run<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) n: usize,
}

/// What a query and a list share: |q − c|² or −<q, c>, and |q − c|.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shared {
    pub(crate) base: f32,
    pub(crate) reach: f32,
}

/// Buffers of one thread.
#[derive(Debug, Default)]
pub(crate) struct Scratch {
    products: Vec<i32>,
    panels: CodePanels,
    add: Vec<f32>,
    res: Vec<f32>,
    lowers: Vec<(u32, f32)>,
    hits: Vec<(u32, f32)>,
    some: Vec<i32>,
}

/// The blocks of a run.
struct Parts<'a> {
    signs: &'a [u64],
    rest: &'a [u64],
    facts: [&'a [u16]; 3],
}

impl RaBitQ {
    /// Chooses how far values are stretched before they are rounded, by a few rows.
    pub(crate) fn train(bits: usize, rows: Vectors<'_>, with: &Training<'_>) -> RaBitQ {
        let d = rows.d();
        let mut mean = vec![0.0f64; d];
        let centres = with.centres.map_or(0, Matrix::n);
        for c in with.centres.iter().flat_map(|c| c.view().data().chunks_exact(d)) {
            mean.iter_mut().zip(c).for_each(|(m, &c)| *m += c as f64 / centres as f64);
        }
        let mean = mean.into_iter().map(|m| m as f32).collect();
        let mut code = RaBitQ { bits, ip: with.ip, stretch: 1.0, mean, rotation: Rotation::new(d) };
        let step = (rows.n() / 256).max(1);
        let (mut sample, mut line) = (Vec::new(), Line::new(&code));
        for i in (0..rows.n()).step_by(step).take(256) {
            code.residual(rows.row(i), with.centres.map(|c| c.row(with.lists[i] as usize)), &mut line);
            let norm = dot_f64(&line.r, &line.r).sqrt();
            if norm > 0.0 {
                sample.push(line.r.iter().map(|v| (*v as f64 / norm) as f32).collect::<Vec<f32>>());
            }
        }
        let root = (code.padded() as f32).sqrt();
        let quality = |stretch: f32| -> f64 {
            let levels = code.levels();
            sample.iter().map(|r| cosine(r, stretch, levels)).sum()
        };
        // values of a unit vector are about 1 / root; the last level is at two to four deviations
        let tries: Vec<f32> = (1..=48).map(|i| i as f32 / 12.0 * code.levels() / 2.0 * root / 2.0).collect();
        let scores: Vec<f64> = tries.par_iter().map(|&s| quality(s)).collect();
        let best = (0..tries.len()).fold(0, |b, i| if scores[i] > scores[b] { i } else { b });
        code.stretch = tries[best];
        code
    }

    /// Rebuilds it from [`RaBitQ::parts`].
    pub(crate) fn from_parts(bits: usize, d: usize, parts: &[f32]) -> Result<RaBitQ, String> {
        match parts {
            &[stretch, ip, ref mean @ ..]
                if mean.len() == d && stretch > 0.0 && parts.iter().all(|p| p.is_finite()) && (ip == 0.0 || ip == 1.0) =>
            {
                Ok(RaBitQ { bits, ip: ip == 1.0, stretch, mean: mean.to_vec(), rotation: Rotation::new(d) })
            }
            _ => Err("its RaBitQ code does not fit the index".into()),
        }
    }

    pub(crate) fn parts(&self) -> Vec<f32> {
        [self.stretch, self.ip as u8 as f32].into_iter().chain(self.mean.iter().copied()).collect()
    }

    pub(crate) fn padded(&self) -> usize {
        self.rotation.padded()
    }

    fn words(&self) -> usize {
        self.padded() / WORD
    }

    /// Largest lower code and a half: the outermost level.
    fn levels(&self) -> f32 {
        (1u32 << (self.bits - 1)) as f32
    }

    /// Words of a row beside its signs.
    fn stride(&self) -> usize {
        self.words() * (self.bits - 1) + 1
    }

    fn facts(&self) -> usize {
        if self.bits == 1 { 0 } else { 3 }
    }

    pub(crate) fn row_bytes(&self) -> usize {
        8 * (self.words() + self.stride()) + 2 * self.facts()
    }

    /// The rotated residual.
    fn residual(&self, row: &[f32], centre: Option<&[f32]>, s: &mut Line) {
        match centre {
            Some(centre) => {
                s.less.clear();
                s.less.extend(row.iter().zip(centre).map(|(x, c)| x - c));
                self.rotation.apply(&s.less, &mut s.r);
            }
            None => self.rotation.apply(row, &mut s.r),
        }
    }

    /// The rotated centre less the mean.
    fn rotate_centre(&self, centre: Option<&[f32]>, less: &mut Vec<f32>, out: &mut [f32]) {
        less.clear();
        match centre {
            Some(centre) => less.extend(centre.iter().zip(&self.mean).map(|(c, m)| c - m)),
            None => less.extend(self.mean.iter().map(|m| -m)),
        }
        self.rotation.apply(less, out);
    }

    /// The rotated centres less the mean, nlist x [`RaBitQ::padded`]: half of the rotations of an encoding.
    pub(crate) fn rotated(&self, centres: &Matrix) -> Vec<f32> {
        let mut out = vec![0.0; centres.n() * self.padded()];
        let rows = out.par_chunks_mut(self.padded()).enumerate().with_min_len(64);
        rows.for_each_init(Vec::new, |less, (i, out)| self.rotate_centre(Some(centres.row(i)), less, out));
        out
    }

    /// Records of rows, each by itself; `rotated` as [`RaBitQ::rotated`] gives it, or nothing.
    pub(crate) fn encode(&self, rows: Vectors<'_>, lists: &[u32], centres: Option<&Matrix>, rotated: &[f32], out: &mut [u8]) {
        let (bytes, width) = (self.row_bytes(), self.padded());
        out.par_chunks_mut(bytes * 64).enumerate().for_each_init(
            || Line::new(self),
            |line, (b, out)| {
                for (i, out) in out.chunks_exact_mut(bytes).enumerate() {
                    let row = 64 * b + i;
                    let list = lists.get(row).map_or(0, |&l| l as usize);
                    let centre = centres.map(|c| c.row(list));
                    let found = rotated.get(list * width..(list + 1) * width);
                    let mut own = std::mem::take(&mut line.c);
                    if found.is_none() {
                        self.rotate_centre(centre, &mut line.less, &mut own);
                    }
                    self.record(rows.row(row), centre, found.unwrap_or(&own), line, out);
                    line.c = own;
                }
            },
        );
    }

    fn record(&self, row: &[f32], centre: Option<&[f32]>, rotated: &[f32], s: &mut Line, out: &mut [u8]) {
        self.residual(row, centre, s);
        let square = dot_f64(&s.r, &s.r);
        let rc = if self.ip { centre.map_or(0.0, |c| dot_f64(row, c) - dot_f64(c, c)) } else { 0.0 };
        let (w, low) = (self.words(), self.words() * (self.bits - 1));
        // signs alone first: the codes of all bits take their place
        signed_codes(&s.r, 1.0, 1, &mut s.codes, &mut s.x);
        planes_pack(&s.codes, 1, &mut s.words[..w]);
        let signs = self.factors(s, rotated, square, rc);
        let scale = if square > 0.0 { (self.stretch as f64 / square.sqrt()) as f32 } else { 0.0 };
        signed_codes(&s.r, scale, self.bits, &mut s.codes, &mut s.x);
        let all = self.factors(s, rotated, square, rc);
        if self.bits > 1 {
            planes_pack(&s.codes, self.bits - 1, &mut s.words[w..w + low]);
        }
        s.words[w + low] = (all.add as f32).to_bits() as u64 | ((all.res as f32).to_bits() as u64) << 32;
        let at = 8 * s.words.len();
        out[..at].copy_from_slice(bytemuck::cast_slice(&s.words));
        if self.bits > 1 {
            let facts = [down(signs.add), nearest(signs.res), up(signs.err)];
            out[at..].copy_from_slice(bytemuck::cast_slice(&facts));
        }
    }

    /// `add`, `res` and error of the centred code in `s.x`; `c` is the rotated centre, `rc` is <r, c>.
    fn factors(&self, s: &Line, c: &[f32], square: f64, rc: f64) -> Factors {
        let (rx, cx, xx) = (dot_f64(&s.r, &s.x), dot_f64(c, &s.x), dot_f64(&s.x, &s.x));
        let f = if rx > 0.0 { square / rx } else { 0.0 };
        let spread = (f * f * xx - square).max(0.0) / (s.r.len().max(2) - 1) as f64;
        let err = EPSILON * spread.sqrt();
        if self.ip {
            Factors { add: f * cx - rc, res: -f, err }
        } else {
            Factors { add: square + 2.0 * f * cx, res: -2.0 * f, err: 2.0 * err }
        }
    }

    /// Bytes of the facts of n rows.
    fn facts_bytes(&self, n: usize) -> usize {
        (2 * self.facts() * n).next_multiple_of(8)
    }

    pub(crate) fn run_bytes(&self, n: usize) -> usize {
        self.facts_bytes(n) + 8 * n * (self.words() + self.stride())
    }

    pub(crate) fn pack(&self, records: &[u8], n: usize, run: &mut [u8]) {
        let (w, s, bytes) = (8 * self.words(), 8 * self.stride(), self.row_bytes());
        let (facts, rest) = run.split_at_mut(self.facts_bytes(n));
        let (signs, rest) = rest.split_at_mut(n * w);
        facts.fill(0);
        for (i, record) in records.chunks_exact(bytes).enumerate() {
            signs[i * w..(i + 1) * w].copy_from_slice(&record[..w]);
            rest[i * s..(i + 1) * s].copy_from_slice(&record[w..w + s]);
            for f in 0..self.facts() {
                facts[2 * (f * n + i)..][..2].copy_from_slice(&record[w + s + 2 * f..][..2]);
            }
        }
    }

    pub(crate) fn unpack(&self, run: &[u8], n: usize, i: usize, record: &mut [u8]) {
        let (w, s) = (8 * self.words(), 8 * self.stride());
        let (facts, rest) = run.split_at(self.facts_bytes(n));
        record[..w].copy_from_slice(&rest[i * w..(i + 1) * w]);
        record[w..w + s].copy_from_slice(&rest[n * w + i * s..][..s]);
        for f in 0..self.facts() {
            record[w + s + 2 * f..][..2].copy_from_slice(&facts[2 * (f * n + i)..][..2]);
        }
    }

    fn blocks<'a>(&self, run: Run<'a>) -> Parts<'a> {
        let (facts, rest) = run.bytes[..self.run_bytes(run.n)].split_at(self.facts_bytes(run.n));
        let (signs, rest) = rest.split_at(8 * run.n * self.words());
        let facts: &[u16] = bytemuck::cast_slice(facts);
        let each = |f: usize| if self.bits == 1 { &facts[..0] } else { &facts[f * run.n..(f + 1) * run.n] };
        Parts { signs: bytemuck::cast_slice(signs), rest: bytemuck::cast_slice(rest), facts: [each(0), each(1), each(2)] }
    }

    /// The part of a run that a single query reads of every row.
    pub(crate) fn first<'a>(&self, run: &'a [u8], n: usize) -> &'a [u8] {
        &run[..self.facts_bytes(n) + 8 * n * self.words()]
    }

    /// Prepares a query of d dimensions.
    pub(crate) fn query(&self, q: &[f32]) -> Query {
        let mut rotated = vec![0.0; self.padded()];
        let less: Vec<f32> = q.iter().zip(&self.mean).map(|(q, m)| q - m).collect();
        self.rotation.apply(&less, &mut rotated);
        let largest = rotated.iter().fold(0.0f32, |m, v| m.max(v.abs()));
        let step = largest / 127.0;
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let bytes: Vec<i8> = rotated.iter().map(|v| nearest_byte(v * inverse)).collect();
        let sum = bytes.iter().map(|&b| b as i32).sum();
        Query { bytes: ByteRow::new(bytes), half: 0.5 * step, sum }
    }

    fn side(&self, query: &Query, shared: Shared, bits: usize) -> Side {
        let offset = ((1i32 << bits) - 1) * query.sum;
        Side { offset, half: query.half, base: shared.base, reach: shared.reach }
    }

    /// Rows of a run whose rank is within the limit, for one query: signs first, other bits where they may matter.
    pub(crate) fn scan(
        &self,
        query: &Query,
        run: Run<'_>,
        shared: Shared,
        limit: Limit,
        s: &mut Scratch,
        hits: &mut Vec<(u32, f32)>,
    ) {
        let parts = self.blocks(run);
        let (stride, low) = (self.stride(), self.words() * (self.bits - 1));
        s.products.resize(s.products.len().max(run.n), 0);
        let products = &mut s.products[..run.n];
        plane_dots(parts.signs, &query.bytes, products);
        let side = self.side(query, shared, self.bits);
        if self.bits == 1 {
            self.pairs(&parts, run.n, &mut s.add, &mut s.res);
            return keys(products, &s.add, &s.res, &side, limit.rank, hits);
        }
        s.lowers.clear();
        lowers(products, parts.facts, &self.side(query, shared, 1), limit.rank, &mut s.lowers);
        let high = 1i32 << (self.bits - 1);
        // they lie apart: ask for all of them before the first is needed
        s.lowers.iter().for_each(|&(i, _)| prefetch(&parts.rest[i as usize * stride..][..stride]));
        limit.narrow(&mut s.lowers, hits, |some, hits, most| {
            s.some.clear();
            planes_dots(parts.rest, stride, self.bits - 1, &query.bytes, some.iter().map(|h| h.0), &mut s.some);
            for (&(i, lower), &ip) in some.iter().zip(&s.some) {
                let (add, res) = split(parts.rest[i as usize * stride + low]);
                let rank = side.key(high * products[i as usize] + ip, add, res).max(lower);
                if rank <= most {
                    hits.push((i, rank));
                }
            }
        });
    }

    fn pairs(&self, parts: &Parts<'_>, n: usize, add: &mut Vec<f32>, res: &mut Vec<f32>) {
        let stride = self.stride();
        add.clear();
        res.clear();
        for row in parts.rest.chunks_exact(stride).take(n) {
            let (a, r) = split(row[stride - 1]);
            add.push(a);
            res.push(r);
        }
    }

    /// Whether [`RaBitQ::scan_many`] is there on this processor.
    pub(crate) fn many() -> bool {
        CodePanels::available()
    }

    /// As [`RaBitQ::scan`] for several queries, each with its share, limit; `take` gets the query's number and its rows. All
    /// bits are unpacked once for all queries; the ranks are the same.
    pub(crate) fn scan_many(
        &self,
        queries: &[(&Query, Shared)],
        run: Run<'_>,
        s: &mut Scratch,
        limit: impl Fn(usize) -> Limit,
        mut take: impl FnMut(usize, &mut Vec<(u32, f32)>),
    ) {
        let parts = self.blocks(run);
        let (n, w) = (run.n, self.words());
        self.pairs(&parts, n, &mut s.add, &mut s.res);
        s.panels.fill(parts.signs, parts.rest, self.stride(), self.bits, n, w);
        let ldc = n.next_multiple_of(32);
        s.products.resize(s.products.len().max(TILE_QUERIES * ldc), 0);
        for (t, group) in queries.chunks(TILE_QUERIES).enumerate() {
            let bytes: Vec<&[i8]> = group.iter().map(|q| q.0.bytes.bytes()).collect();
            code_tiles(&bytes, &s.panels, &mut s.products, ldc);
            for (i, (query, shared)) in group.iter().enumerate() {
                let number = t * TILE_QUERIES + i;
                let (side, first) = (self.side(query, *shared, self.bits), self.side(query, *shared, 1));
                let most = limit(number);
                s.lowers.clear();
                keys(&s.products[i * ldc..i * ldc + n], &s.add, &s.res, &side, most.rank, &mut s.lowers);
                if s.lowers.is_empty() {
                    continue;
                }
                s.hits.clear();
                most.narrow(&mut s.lowers, &mut s.hits, |some, hits, most| {
                    if self.bits == 1 {
                        return hits.extend_from_slice(some);
                    }
                    s.some.clear();
                    planes_dots(parts.signs, w, 1, &query.bytes, some.iter().map(|h| h.0), &mut s.some);
                    for (&(i, key), &ip) in some.iter().zip(&s.some) {
                        let at = i as usize;
                        let rank = key.max(first.lower(ip, [parts.facts[0][at], parts.facts[1][at], parts.facts[2][at]]));
                        if rank <= most {
                            hits.push((i, rank));
                        }
                    }
                });
                take(number, &mut s.hits);
            }
        }
    }
}

/// What a query has no use for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    /// Rows of a higher rank.
    pub(crate) rank: f32,
    /// More rows than this of one run.
    pub(crate) keep: usize,
}

impl Limit {
    /// Ranks rows of which lower bounds are known, and keeps those within the limit; `rank` appends those of some rows whose
    /// rank is within a limit.
    ///
    /// Where there is no limit yet, the rows of the `keep` lowest bounds are ranked first: the highest of their ranks is one.
    fn narrow(
        self,
        lowers: &mut Vec<(u32, f32)>,
        hits: &mut Vec<(u32, f32)>,
        mut rank: impl FnMut(&[(u32, f32)], &mut Vec<(u32, f32)>, f32),
    ) {
        if self.rank < f32::INFINITY || self.keep >= lowers.len() {
            return rank(lowers, hits, self.rank);
        }
        let before = hits.len();
        lowers.select_nth_unstable_by(self.keep, |a, b| a.1.total_cmp(&b.1));
        rank(&lowers[..self.keep], hits, f32::INFINITY);
        let ranked = &hits[before..];
        let most = if ranked.len() < self.keep { f32::INFINITY } else { ranked.iter().fold(f32::MIN, |m, h| m.max(h.1)) };
        lowers.drain(..self.keep);
        lowers.retain(|l| l.1 <= most);
        rank(lowers, hits, most);
    }
}

/// A row while it is coded.
struct Line {
    less: Vec<f32>,
    r: Vec<f32>,
    c: Vec<f32>,
    x: Vec<f32>,
    codes: Vec<u8>,
    words: Vec<u64>,
}

impl Line {
    fn new(code: &RaBitQ) -> Line {
        let zeros = || vec![0.0; code.padded()];
        let words = vec![0; code.words() + code.stride()];
        Line { less: Vec::new(), r: zeros(), c: zeros(), x: zeros(), codes: vec![0; code.padded()], words }
    }
}

struct Factors {
    add: f64,
    res: f64,
    err: f64,
}

/// The nearest whole number from −127 to 127, the even one on a tie.
fn nearest_byte(x: f32) -> i8 {
    // a sum with 1.5 · 2^23 has no bits left for a fraction
    const WHOLE: f32 = 12_582_912.0;
    ((x.clamp(-127.0, 127.0) + WHOLE) - WHOLE) as i8
}

fn split(pair: u64) -> (f32, f32) {
    (f32::from_bits(pair as u32), f32::from_bits((pair >> 32) as u32))
}

/// Cosine between a unit vector and its code.
fn cosine(r: &[f32], stretch: f32, levels: f32) -> f64 {
    let (mut rx, mut xx) = (0.0f64, 0.0f64);
    for &v in r {
        let x = ((v.abs() * stretch).floor().min(levels - 1.0) + 0.5) as f64;
        rx += v.abs() as f64 * x;
        xx += x * x;
    }
    rx / xx.sqrt()
}

/// bf16 at most x, at least x, nearest to x.
fn down(x: f64) -> u16 {
    let near = nearest(x);
    if (voisin_kernels::widen(near) as f64) <= x { near } else { below(near) }
}

fn up(x: f64) -> u16 {
    down(-x) ^ 0x8000
}

fn nearest(x: f64) -> u16 {
    // cut towards zero: a bit pattern whose neighbour is at most one step away
    ((x as f32).to_bits() >> 16) as u16
}

/// The next bf16 below.
fn below(x: u16) -> u16 {
    match x {
        0 => 0x8001,
        _ if x & 0x8000 == 0 => x - 1,
        _ => x + 1,
    }
}

#[cfg(test)]
mod tests;
