//! Query expansion: a query becomes the mean of itself and its nearest neighbours, and is searched again.

use super::{ExactParams, ExactResult, exact};
use crate::adapt::unit;
use crate::{Error, Matrix, MemSource, Metric, Neighbors, Result, Source, Vectors, Watch, read_rows};
use std::path::PathBuf;

/// Exact neighbours of expanded queries: the `n` nearest rows of each query are found first, then the neighbours of
/// [`expand`]ed queries. Two passes over the base, the first with k = `n`; between them the rows that are nearest are read
/// again, in their order. All queries are held in memory, as f32 and as sums in f64. Killed runs resume where [`ExactParams::checkpoint`] names a file; the first pass keeps its own
/// beside it.
///
/// # Errors
/// As [`exact`]; [`Error::Param`] for an `n` of 0 or beyond the base, and under L2.
pub fn exact_expanded(
    base: &dyn Source,
    queries: &dyn Source,
    n: usize,
    params: &ExactParams,
    watch: &dyn Watch,
) -> Result<ExactResult> {
    check(n, params.metric)?;
    if n as u64 > base.len() {
        return Err(Error::param("expand", n, format!("at most the {} vectors of {}", base.len(), base.name())));
    }
    super::check(base, queries, params)?;
    let own = params.checkpoint.as_ref().map(|c| {
        let mut name = c.clone().into_os_string();
        name.push(".expand");
        PathBuf::from(name)
    });
    let first = ExactParams { k: n, checkpoint: own.clone(), ..params.clone() };
    let first = exact(base, queries, &first, watch)?;
    let mut rows = Matrix::zeros(queries.len() as usize, queries.dim());
    queries.read(0, rows.data_mut())?;
    let expanded = expand(rows.view(), &first.neighbors, params.metric, &mut |ids| read_rows(base, ids))?;
    let mut found = exact(base, &MemSource::new(queries.name(), expanded), params, watch)?;
    found.read_seconds += first.read_seconds;
    found.search_seconds += first.search_seconds;
    if let Some(own) = own {
        let _ = std::fs::remove_file(own); // there may be none
    }
    Ok(found)
}

/// Whether queries can be expanded by `n` neighbours under a metric.
///
/// # Errors
/// [`Error::Param`] for an `n` of 0, and under L2, which has no similarity to weight by.
pub fn check(n: usize, metric: Metric) -> Result<()> {
    if n == 0 {
        return Err(Error::param("expand", 0, "at least 1 neighbour"));
    }
    if metric == Metric::L2 {
        let expected = "ip or cosine with --expand, which weights neighbours by their similarity";
        return Err(Error::param("metric", metric, expected));
    }
    Ok(())
}

/// Every query as the mean of itself and its neighbours weighted by their similarity (dot product or cosine), at unit length:
/// (q + Σ s_i x_i) / |q + Σ s_i x_i|; under cosine q and x_i have unit length first.
///
/// `found` has a row a query; `vectors` gives the vectors of ids, which ascend and come a few thousand at a time. Sums are
/// f64 in the order of the ids. A query without neighbours, or whose sum vanishes, stays as it is.
///
/// # Errors
/// What `vectors` gives; those of [`check`] under L2.
///
/// # Source
/// Chum, Philbin, Sivic, Isard & Zisserman, "Total recall", ICCV 2007 (average query expansion); the weight is the similarity
/// itself, as in ILIAS (arXiv:2502.11748).
pub fn expand(
    queries: Vectors<'_>,
    found: &Neighbors,
    metric: Metric,
    vectors: &mut dyn FnMut(&[u64]) -> Result<Matrix>,
) -> Result<Matrix> {
    check(found.k().max(1), metric)?;
    let d = queries.d();
    let mut sums: Vec<f64> = queries.data().iter().map(|&x| f64::from(x)).collect();
    if metric == Metric::Cosine {
        sums.chunks_exact_mut(d).for_each(to_unit);
    }
    let similarity = |s: f32| if metric == Metric::Cosine { 1.0 - f64::from(s) } else { f64::from(s) };
    let mut uses: Vec<(u64, usize, f64)> = Vec::new(); // id, query, weight
    for q in 0..found.len() {
        uses.extend(found.ids(q).iter().zip(found.distances(q)).map(|(&id, &s)| (id, q, similarity(s))));
    }
    uses.sort_by_key(|u| (u.0, u.1));
    let mut rest = &uses[..];
    while !rest.is_empty() {
        let mut ids: Vec<u64> = rest.iter().take(4096).map(|u| u.0).collect();
        let last = ids[ids.len() - 1];
        ids.dedup();
        let rows = vectors(&ids)?;
        let (now, later) = rest.split_at(rest.partition_point(|u| u.0 <= last));
        let mut at = 0;
        for &(id, q, weight) in now {
            at += usize::from(ids[at] != id);
            let x = rows.row(at);
            let norm = if metric == Metric::Cosine { voisin_kernels::dot_f64(x, x).sqrt() } else { 1.0 };
            let weight = if norm > 0.0 { weight / norm } else { 0.0 };
            sums[q * d..][..d].iter_mut().zip(x).for_each(|(s, &x)| *s += weight * f64::from(x));
        }
        rest = later;
    }
    let mut out = Matrix::zeros(queries.n(), d);
    for (q, sum) in sums.chunks_exact_mut(d).enumerate() {
        to_unit(sum);
        let keep = found.ids(q).is_empty() || sum.iter().all(|x| *x == 0.0);
        let row = out.row_mut(q);
        match keep {
            true => row.copy_from_slice(queries.row(q)),
            false => row.iter_mut().zip(sum).for_each(|(o, s)| *o = *s as f32),
        }
        if !keep {
            unit(row); // rounding to f32 left it a little off
        }
    }
    Ok(out)
}

/// Brings a vector to unit length; zero stays zero.
fn to_unit(row: &mut [f64]) {
    let norm = row.iter().map(|x| x * x).sum::<f64>().sqrt();
    if norm > 0.0 && norm.is_finite() {
        row.iter_mut().for_each(|x| *x /= norm);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Quiet;

    fn rows(n: usize, d: usize, seed: f32) -> Matrix {
        Matrix::new((0..n * d).map(|i| ((i as f32 + seed) * 12.9898).sin()).collect(), d)
    }

    #[test]
    fn by_hand() {
        let mut found = Neighbors::new(2);
        found.push_row([(2.0, 5), (0.5, 3)]);
        found.push_row([]);
        let queries = Matrix::new(vec![1.0, 1.0, 0.0, 7.0], 2);
        let mut vectors = |ids: &[u64]| {
            assert_eq!(ids, [3, 5]);
            Ok(Matrix::new(vec![4.0, 0.0, 0.0, 1.0], 2))
        };
        let out = expand(queries.view(), &found, Metric::Ip, &mut vectors).unwrap();
        let half = 0.5f32.sqrt(); // (1, 1) + 2 (0, 1) + 0.5 (4, 0) = (3, 3)
        assert!((out.row(0)[0] - half).abs() < 1e-7 && (out.row(0)[1] - half).abs() < 1e-7);
        assert_eq!(out.row(1), [0.0, 7.0]);
    }

    #[test]
    fn cosine_does_not_see_lengths_and_l2_is_refused() {
        let (base, queries) = (rows(300, 6, 1.0), rows(5, 6, 2.0));
        let mut longer = base.clone();
        (0..300).for_each(|i| longer.row_mut(i).iter_mut().for_each(|x| *x *= 1.0 + (i % 7) as f32));
        let params = ExactParams { k: 4, metric: Metric::Cosine, ..ExactParams::default() };
        let search = |base: &Matrix| {
            let (base, queries) = (MemSource::new("b", base.clone()), MemSource::new("q", queries.clone()));
            exact_expanded(&base, &queries, 3, &params, &Quiet).unwrap().neighbors
        };
        let (a, b) = (search(&base), search(&longer));
        assert!((0..5).all(|i| a.ids(i) == b.ids(i)));
        let (b, q) = (MemSource::new("b", base), MemSource::new("q", queries));
        let error = |n, metric| exact_expanded(&b, &q, n, &ExactParams { metric, ..params.clone() }, &Quiet).unwrap_err();
        assert!(error(3, Metric::L2).is_usage() && error(0, Metric::Ip).is_usage() && error(301, Metric::Ip).is_usage());
    }

    #[test]
    fn equals_the_definition_however_many_rows_are_read_at_a_time() {
        let (n, d, nq, k) = (9000, 4, 3000, 3);
        let (base, queries) = (rows(n, d, 1.0), rows(nq, d, 2.0));
        let mut found = Neighbors::new(k);
        (0..nq).for_each(|q| found.push_row((0..k).map(|j| (0.3 * j as f32, ((q * 7 + j * 2999) % n) as u64))));
        let source = MemSource::new("b", base.clone());
        let out = expand(queries.view(), &found, Metric::Ip, &mut |ids| read_rows(&source, ids)).unwrap();
        for q in 0..nq {
            let mut want: Vec<f64> = queries.row(q).iter().map(|&x| x.into()).collect();
            for (j, &id) in found.ids(q).iter().enumerate() {
                let weight = f64::from(0.3 * j as f32);
                want.iter_mut().zip(base.row(id as usize)).for_each(|(w, &x)| *w += weight * f64::from(x));
            }
            let norm = want.iter().map(|x| x * x).sum::<f64>().sqrt();
            assert!(out.row(q).iter().zip(&want).all(|(a, b)| (f64::from(*a) - b / norm).abs() < 1e-6), "{q}");
        }
    }
}
