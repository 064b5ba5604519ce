//! From the tree of a FAISS file to the plain arrays that [`voisin::index::import`] takes.

use std::borrow::Cow;

use voisin::index::{Portable, PortableCode, PortableList};
use voisin::{Matrix, Metric, PartitionSpec, RefineSpec, ScalarKind, Score, Spec, StringIds, TransformSpec, Unit};

use super::bytes::{Read, floats, ints, longs};
use super::tree::*;

/// Most values of a map that stands in a file as less: a mean, dimensions that are taken, a product of maps. Kept in f64.
const MADE: usize = 1 << 24;

/// What stands around an index that holds vectors.
#[derive(Default)]
struct Around<'a> {
    /// As they stand there: negative ones are large.
    ids: Option<Vec<u64>>,
    refine: Option<(&'a [u8], f32)>,
    maps: Vec<Map<'a>>,
}

/// The arrays of an index without a graph.
pub(super) fn portable(node: Node<'_>) -> Read<Portable<'_>> {
    let outer = node.head();
    let (mut around, core) = peel(node)?;
    let head = core.head();
    if !head.trained || !outer.trained {
        return Err("it is not trained; train it with FAISS first (adding vectors can wait)".into());
    }
    let metric = metric(outer.metric)?;
    let (code, codes, centroids, residual, nprobe) = match core {
        Node::Flat { values, .. } => (Code::Flat, Codes::One(values), None, false, None),
        Node::Coded { code, codes, .. } => (code, Codes::One(codes), None, false, None),
        Node::Ivf { ivf, code, residual, lists } => {
            let nprobe = ivf.nprobe.min(ivf.nlist as u64) as usize;
            (code, Codes::Lists(lists), Some((ivf.nlist, Matrix::new(floats(ivf.centroids), head.d))), residual, Some(nprobe))
        }
        _ => return Err("a graph inside another index; a graph by itself is read".into()),
    };
    let (score, code) = scored(&code, head.d)?;
    let (transform, map) = transform(&around.maps, score)?;
    let partition = match &centroids {
        None => PartitionSpec::One,
        Some((nlist, _)) => PartitionSpec::KMeans { nlist: *nlist },
    };
    if score == Score::Flat && transform.is_none() {
        // plain vectors are ranked by themselves already
        around.refine = None;
    }
    let refine = around.refine.map(|_| RefineSpec::Flat);
    let (lists, strings) = named(lists(codes, head.n, &around)?);
    Ok(Portable {
        spec: Spec { transform, partition, router: false, score, refine },
        metric,
        d: outer.d,
        map,
        centroids: centroids.map(|c| c.1),
        residual,
        code,
        nprobe,
        refine_factor: around.refine.map(|r| (r.1.ceil() as usize).clamp(1, 1 << 20)),
        lists,
        strings,
        refine: around.refine.map(|r| r.0),
    })
}

enum Codes<'a> {
    One(&'a [u8]),
    Lists(Vec<List<'a>>),
}

/// Takes off ids, refinement and maps, from outside to inside.
fn peel(mut node: Node<'_>) -> Read<(Around<'_>, Node<'_>)> {
    let mut around = Around::default();
    loop {
        node = match node {
            Node::IdMap { index, ids, .. } => {
                if around.ids.is_some() || around.refine.is_some() {
                    return Err("ids inside a refinement or inside other ids; IDMap is read as the outermost index".into());
                }
                around.ids = Some(longs(ids).map(id).collect::<Read<_>>()?);
                *index
            }
            Node::Refine { base, refine, factor, .. } => {
                if around.refine.is_some() || !around.maps.is_empty() {
                    return Err("a refinement inside another index; Refine is read outside of transforms".into());
                }
                let Node::Flat { values, .. } = *refine else { return Err("a refinement by codes; Refine(Flat) is read".into()) };
                around.refine = Some((values, factor));
                *base
            }
            Node::Before { maps, index, .. } => {
                around.maps.extend(maps);
                *index
            }
            core => return Ok((around, core)),
        }
    }
}

/// An id, negative ones as they stand there.
pub(super) fn id(found: u64) -> Read<u64> {
    match found as i64 {
        -1 => Err("the id -1, which FAISS itself answers where it finds nothing; give this vector another id".into()),
        i64::MAX => Err(format!("the id {found}, the largest number; give this vector another id")),
        _ => Ok(found),
    }
}

/// Negative ids (hashes) are strings here, like all ids beside them; what stands for them keeps their order.
fn named(mut lists: Vec<PortableList<'_>>) -> (Vec<PortableList<'_>>, Option<StringIds>) {
    let mut all: Vec<i64> = lists.iter().flat_map(|l| &l.ids).map(|id| *id as i64).collect();
    if all.iter().all(|id| *id >= 0) {
        return (lists, None);
    }
    all.sort_unstable();
    // an id that stands twice is one string, and refused with its name
    all.dedup();
    let place = |id: &mut u64| *id = all.partition_point(|x| *x < *id as i64) as u64;
    lists.iter_mut().for_each(|l| l.ids.iter_mut().for_each(place));
    (lists, Some(all.iter().map(i64::to_string).collect()))
}

pub(super) fn metric(found: i32) -> Read<Metric> {
    let name = match found {
        0 => return Ok(Metric::Ip),
        1 => return Ok(Metric::L2),
        2 => "L1",
        3 => "Linf",
        4 => "Lp",
        20 => "Canberra",
        21 => "BrayCurtis",
        22 => "JensenShannon",
        23 => "Jaccard",
        _ => return Err(format!("metric {found}; inner product (0) and L2 (1) are read")),
    };
    Err(format!("metric {name}; inner product and L2 are read"))
}

fn scored(code: &Code<'_>, d: usize) -> Read<(Score, PortableCode)> {
    let (kind, trained) = match *code {
        Code::Flat => return Ok((Score::Flat, PortableCode::Plain)),
        Code::Pq { m, bits, words } => return Ok((Score::Pq { m, bits }, PortableCode::Codebooks(floats(words)))),
        Code::Scalar { kind, trained } => (kind, floats(trained)),
    };
    let (kind, top, low, width) = match kind {
        // bytes as they are, from 0 or from -128
        5 | 8 => {
            let low = if kind == 5 { 0.0 } else { -128.0 };
            let code = PortableCode::Ranges { low: vec![low], step: vec![1.0] };
            return Ok((Score::Scalar(ScalarKind::Sq8Uniform), code));
        }
        4 => return Ok((Score::Scalar(ScalarKind::F16), PortableCode::Plain)),
        2 | 3 if trained.len() == 2 => {
            let (kind, top) = if kind == 2 { (ScalarKind::Sq8Uniform, 255.0) } else { (ScalarKind::Sq4Uniform, 15.0) };
            (kind, top, vec![trained[0]], vec![trained[1]])
        }
        0 | 1 if trained.len() == 2 * d => {
            let (kind, top) = if kind == 0 { (ScalarKind::Sq8, 255.0) } else { (ScalarKind::Sq4, 15.0) };
            (kind, top, trained[..d].to_vec(), trained[d..].to_vec())
        }
        _ => return Err("a scalar code without its ranges".into()),
    };
    // code c stands for the middle of its cell
    let step: Vec<f32> = width.iter().map(|w| w / top).map(|s| if s.abs() < f32::MIN_POSITIVE { 0.0 } else { s }).collect();
    let low = low.iter().zip(&step).map(|(l, s)| l + s / 2.0).collect();
    Ok((Score::Scalar(kind), PortableCode::Ranges { low, step }))
}

fn bounded(d_in: usize, d_out: usize) -> Read<()> {
    match d_in.checked_mul(d_out) {
        Some(size) if size <= MADE => Ok(()),
        _ => Err(format!("a map from {d_in} to {d_out} dimensions, made of several or of less; at most {MADE} values are")),
    }
}

/// A map, in f64 while several become one.
struct Affine {
    d_in: usize,
    d_out: usize,
    weights: Vec<f64>,
    bias: Vec<f64>,
}

impl Affine {
    fn of(map: &Map<'_>) -> Read<Option<Affine>> {
        let (d_in, d_out) = map.dims();
        if !matches!(map, Map::Linear { .. } | Map::Unit { .. }) {
            bounded(d_in, d_out)?;
        }
        let unit = |d: usize| (0..d * d).map(|i| if i % (d + 1) == 0 { 1.0 } else { 0.0 }).collect();
        let wide = |bytes: &[u8]| -> Vec<f64> { floats(bytes).iter().map(|x| *x as f64).collect() };
        let (weights, bias) = match map {
            Map::Unit { .. } => return Ok(None),
            Map::Linear { weights, bias: [], .. } => (wide(weights), vec![0.0; d_out]),
            Map::Linear { weights, bias, .. } => (wide(weights), wide(bias)),
            Map::Centre { d, mean } => (unit(*d), wide(mean).iter().map(|m| -m).collect()),
            Map::Take { map, .. } => {
                let mut weights = vec![0.0; d_in * d_out];
                for (to, from) in ints(map).enumerate() {
                    match usize::try_from(from) {
                        Ok(from) if from < d_in => weights[to * d_in + from] = 1.0,
                        _ if from == -1 => {}
                        _ => return Err(format!("a map that takes dimension {from} of {d_in}")),
                    }
                }
                (weights, vec![0.0; d_out])
            }
        };
        Ok(Some(Affine { d_in, d_out, weights, bias }))
    }

    /// First `self`, then `next`.
    fn then(&self, next: &Affine) -> Read<Affine> {
        let (d_in, d_out) = (self.d_in, next.d_out);
        bounded(d_in, d_out)?;
        let (mut weights, mut bias) = (vec![0.0; d_in * d_out], next.bias.clone());
        for (o, row) in weights.chunks_exact_mut(d_in).enumerate() {
            let factors = &next.weights[o * next.d_in..(o + 1) * next.d_in];
            for ((f, inner), b) in factors.iter().zip(self.weights.chunks_exact(d_in)).zip(&self.bias) {
                bias[o] += f * b;
                row.iter_mut().zip(inner).for_each(|(w, x)| *w += f * x);
            }
        }
        Ok(Affine { d_in, d_out, weights, bias })
    }

    fn arrays(&self) -> (Matrix, Vec<f32>) {
        let narrow = |v: &[f64]| v.iter().map(|x| *x as f32).collect();
        (Matrix::new(narrow(&self.weights), self.d_in), narrow(&self.bias))
    }
}

type Arrays = Option<(Matrix, Vec<f32>)>;

/// All maps as one, and the word for it.
fn transform(maps: &[Map<'_>], score: Score) -> Read<(Option<TransformSpec>, Arrays)> {
    let (mut before, mut after, mut all) = (false, false, None::<Affine>);
    for map in maps {
        match (Affine::of(map)?, &all) {
            (None, None) => before = true,
            (None, Some(_)) => after = true,
            (Some(_), _) if after => return Err("a map after a map to unit length".into()),
            (Some(map), None) => all = Some(map),
            (Some(map), Some(first)) => all = Some(first.then(&map)?),
        }
    }
    let Some(map) = all else { return Ok((before.then_some(TransformSpec::Unit), None)) };
    let unit = match (before, after) {
        (true, true) if map.bias.iter().any(|b| *b != 0.0) => {
            return Err("unit length before and after a map that adds something".into());
        }
        // what only turns and stretches needs the unit length once
        (_, true) => Unit::After,
        (true, false) => Unit::Before,
        _ => Unit::No,
    };
    let d = map.d_out;
    let spec = match (maps, score, unit) {
        ([Map::Linear { name: Word::Pca, .. }], _, Unit::No) => TransformSpec::Pca { d },
        ([Map::Linear { bias: [], .. }], Score::Pq { m, .. }, Unit::No) if map.d_in >= d => TransformSpec::Opq { m },
        _ => TransformSpec::Map { d, unit },
    };
    Ok((Some(spec), Some(map.arrays())))
}

fn lists<'a>(codes: Codes<'a>, n: u64, around: &Around<'_>) -> Read<Vec<PortableList<'a>>> {
    let one = |list: usize, places: Vec<u64>, codes: &'a [u8]| -> Read<PortableList<'a>> {
        let known = |p: &u64| match &around.ids {
            None => Ok(*p),
            Some(ids) => {
                ids.get(*p as usize).copied().ok_or_else(|| format!("a vector numbered {} among {}", *p as i64, ids.len()))
            }
        };
        let ids = places.iter().map(known).collect::<Read<_>>()?;
        let refine = if around.refine.is_some() { places } else { vec![] };
        Ok(PortableList { list, ids, codes: Cow::Borrowed(codes), refine })
    };
    match codes {
        Codes::One(_) if n == 0 => Ok(vec![]),
        Codes::One(codes) => Ok(vec![one(0, (0..n).collect(), codes)?]),
        Codes::Lists(lists) => {
            let places = |l: &List<'_>| longs(l.ids).map(id).collect::<Read<Vec<u64>>>();
            lists.iter().map(|l| one(l.list, places(l)?, l.codes)).collect()
        }
    }
}
