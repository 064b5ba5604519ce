//! Captions and the images they belong to, for paired k-means.

use super::ingest::{Loaded, to_unit};
use super::learn::Held;
use super::params::{BuildParams, Captions};
use crate::exact::{ExactParams, Named, exact};
use crate::partition::{Sample, distinct, draw};
use crate::transform::Linear;
use crate::{Error, Matrix, Metric, OnBad, PartitionSpec, Result, Source, Spec, Vectors, Watch, for_each_block, screen};
use rayon::prelude::*;
use xxhash_rust::xxh3::xxh3_64;

/// Rows handed on at once.
const BLOCK: usize = 1 << 14;

/// Captions with an image, as they came.
pub(super) struct Pairs {
    pub(super) captions: Matrix,
    /// Each image once.
    pub(super) images: Matrix,
    /// The row of `images` of each caption.
    pub(super) image_of: Vec<u32>,
}

/// Refuses captions and pairs that cannot be used, before anything is built.
pub(super) fn check(base: &dyn Source, spec: &Spec, params: &BuildParams) -> Result<()> {
    let paired = matches!(spec.partition, PartitionSpec::Paired { .. });
    let Some(captions) = &params.captions else {
        if paired && params.like.is_none() {
            return Err(Error::param("index", spec, "captions (--captions FILE): paired k-means lays its centroids among them"));
        }
        return Ok(());
    };
    if params.like.is_some() {
        let what = "none beside an index whose centroids are taken over (--like)";
        return Err(Error::param("captions", captions.source.name(), what));
    }
    if !paired {
        return Err(Error::param(
            "captions",
            captions.source.name(),
            format!("a paired index, such as Paired1024,SQ4, not {spec}"),
        ));
    }
    if captions.source.is_empty() {
        return Err(Error::Empty { name: captions.source.name() });
    }
    if captions.source.dim() != base.dim() {
        let (name, got) = (captions.source.name(), captions.source.dim());
        let context = format!("{} has {}", base.name(), base.dim());
        return Err(Error::Dimension { name, expected: base.dim(), got, context });
    }
    let n = captions.source.len();
    if let Some(pairs) = &captions.pairs {
        if pairs.len() as u64 != n {
            return Err(Error::param("pairs", pairs.len(), format!("one a caption, {n}")));
        }
        let beyond = |p: &Option<u64>| p.is_some_and(|id| id >= base.len());
        if let Some(row) = pairs.iter().position(beyond) {
            let image = pairs[row].unwrap_or_default();
            let what = format!("a row of {} from 0 to {}", base.name(), base.len() - 1);
            return Err(Error::param("pairs", format!("image {image} in row {row}"), what));
        }
    }
    let usable = captions.pairs.as_ref().map_or(n, |p| p.iter().flatten().count() as u64);
    too_few(spec, usable)
}

fn too_few(spec: &Spec, captions: u64) -> Result<()> {
    if (spec.nlist() as u64) > captions {
        return Err(Error::param("index", spec, format!("at most as many lists as captions that have an image, {captions}")));
    }
    Ok(())
}

/// What decides about the pairs of a build.
pub(super) fn key(params: &BuildParams) -> String {
    let one = |c: &Captions| {
        let ids = c.pairs.as_ref().map(|p| {
            let flat: Vec<u64> = p.iter().map(|id| id.unwrap_or(u64::MAX)).collect();
            xxh3_64(bytemuck::cast_slice(&flat))
        });
        (c.source.name(), c.source.len(), c.source.fingerprint(), ids)
    };
    format!(" {:?} {}", params.captions.as_ref().map(one), params.paired_niter)
}

/// The captions of a paired index, before anything is learned: a sample by the seed, where they and their images do not fit half
/// of the memory limit, 8 GiB without one.
pub(super) fn captions(spec: &Spec, params: &BuildParams, watch: &dyn Watch) -> Result<Option<Sample>> {
    let Some(Captions { source, .. }) = &params.captions else { return Ok(None) };
    let fits = params.memory_limit.map_or(8 << 30, |l| l / 2) / (8 * source.dim() as u64);
    let most = fits.max(spec.nlist() as u64);
    draw(&**source, most, params.seed, params.metric, params.on_bad, watch).map(Some)
}

/// The captions drawn and their images: those of the file of pairs, or the nearest by exact search.
pub(super) fn load(
    drawn: Sample,
    base: &dyn Source,
    whole: Option<&Loaded>,
    spec: &Spec,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<Pairs> {
    let captions = params.captions.as_ref().expect("checked before");
    let d = base.dim();
    let images: Vec<Option<u64>> = match &captions.pairs {
        Some(all) => drawn.ids.iter().map(|&row| all[row as usize]).collect(),
        None => nearest(base, whole, &drawn.rows, params, watch)?,
    };
    let (rows, _) = distinct(&images.iter().flatten().copied().collect::<Vec<u64>>());
    let mut found = Vec::with_capacity(rows.len() * d);
    let mut there = Vec::with_capacity(rows.len());
    each(base, whole, &rows, params, watch, |numbers, block| {
        there.extend_from_slice(numbers);
        found.extend_from_slice(block.data());
        Ok(())
    })?;
    // captions without an image, and images that were left out as they cannot be ranked
    let place = |image: &Option<u64>| image.and_then(|row| there.binary_search(&row).ok());
    let places: Vec<Option<usize>> = images.iter().map(place).collect();
    let mut data = drawn.rows.into_data();
    let (mut to, mut image_of) = (0, Vec::with_capacity(places.len()));
    for (i, place) in places.into_iter().enumerate() {
        if let Some(place) = place {
            data.copy_within(i * d..(i + 1) * d, to * d);
            image_of.push(place as u32);
            to += 1;
        }
    }
    data.truncate(to * d);
    too_few(spec, to as u64)?;
    Ok(Pairs { captions: Matrix::new(data, d), images: Matrix::new(found, d), image_of })
}

/// The nearest image of every caption, exactly.
fn nearest(
    base: &dyn Source,
    whole: Option<&Loaded>,
    captions: &Matrix,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<Vec<Option<u64>>> {
    let found = truth(base, whole, captions.view(), 1, params, watch)?;
    Ok((0..found.len()).map(|i| found.ids(i).first().copied()).collect())
}

/// The exact neighbours of queries among the rows of the base, as row numbers of the base.
pub(super) fn truth(
    base: &dyn Source,
    whole: Option<&Loaded>,
    queries: Vectors<'_>,
    k: usize,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<crate::Neighbors> {
    let held = whole.map(|w| Held(w, base));
    let from: &dyn Source = held.as_ref().map_or(base, |h| h);
    let queries = Named("queries", queries);
    let how = ExactParams {
        k: k.min(from.len() as usize),
        metric: params.metric,
        // rows that cannot be ranked were refused before, or are left out
        on_bad: OnBad::Skip,
        memory_limit: params.memory_limit,
        ..ExactParams::default()
    };
    let found = exact(from, &queries, &how, watch)?.neighbors;
    let Some(w) = whole else { return Ok(found) };
    let mut out = crate::Neighbors::new(found.k());
    for q in 0..found.len() {
        let ids = found.ids(q).iter().map(|&at| w.numbers[at as usize]);
        out.push_row(found.distances(q).iter().copied().zip(ids));
    }
    Ok(out)
}

/// Hands on the rows of the base with these numbers (ascending) that can be ranked, block by block, as they came.
pub(super) fn each(
    base: &dyn Source,
    whole: Option<&Loaded>,
    numbers: &[u64],
    params: &BuildParams,
    watch: &dyn Watch,
    mut hand: impl FnMut(&[u64], Vectors<'_>) -> Result<()>,
) -> Result<()> {
    let d = base.dim();
    if let Some(w) = whole {
        for numbers in numbers.chunks(BLOCK) {
            watch.check()?;
            let found: Vec<(u64, usize)> =
                numbers.iter().filter_map(|&n| w.numbers.binary_search(&n).ok().map(|at| (n, at))).collect();
            let rows: Vec<f32> = found.iter().flat_map(|f| w.rows.row(f.1)).copied().collect();
            hand(&found.iter().map(|f| f.0).collect::<Vec<u64>>(), Vectors::new(&rows, d))?;
        }
        return Ok(());
    }
    let (Some(&first), Some(&last)) = (numbers.first(), numbers.last()) else { return Ok(()) };
    let step = ((8 << 20) / d).clamp(1, 1 << 16);
    watch.begin("read", last + 1 - first, "vectors");
    for_each_block(base, first..last + 1, step, params.metric, OnBad::Skip, watch, |block| {
        let end = block.start + block.rows.n() as u64;
        let here = &numbers[numbers.partition_point(|&n| n < block.start)..numbers.partition_point(|&n| n < end)];
        let (mut kept, mut rows) = (Vec::new(), Vec::new());
        for &n in here {
            let at = (n - block.start) as usize;
            if block.bad.binary_search(&at).is_err() {
                kept.push(n);
                rows.extend_from_slice(block.rows.row(at));
            } else if params.on_bad == OnBad::Error {
                let (name, row) = base.locate(n);
                let what = screen(block.rows.view().rows(at..at + 1), params.metric)[0].1;
                return Err(Error::BadRow { name, row, what });
            }
        }
        watch.advance(block.rows.n() as u64);
        hand(&kept, Vectors::new(&rows, d))
    })?;
    watch.end();
    Ok(())
}

/// Rows as partition and codes want them, in their own memory where no map is applied.
pub(super) fn prepared(mut rows: Matrix, metric: Metric, transform: Option<&Linear>) -> Matrix {
    let d = rows.d();
    if metric == Metric::Cosine {
        rows.data_mut().par_chunks_mut(d).for_each(to_unit);
    }
    match transform {
        None => rows,
        Some(map) => map.apply(rows.view()),
    }
}
