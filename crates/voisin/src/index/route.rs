//! The router of an index, trained when it is built on the lists that hold the true neighbours of queries that somebody gave.

use super::ingest::Loaded;
use super::model::Model;
use super::pairs::{each, truth};
use super::params::BuildParams;
use crate::partition::{RouterData, RouterParams, RouterResult, router_bytes, train_router};
use crate::{Error, Matrix, Result, Source, Spec, Vectors, Watch};

/// Queries held out, about: recall targets are calibrated on them too.
const HELD: usize = 1000;
/// Of few queries, one in so many is held out.
const LEAST_STEP: usize = 5;
/// Queries without which no router is trained.
const LEAST: usize = 10;

/// Where a router begins.
pub(super) struct Begin {
    /// A centroid a list.
    pub(super) centroids: Matrix,
    /// Training rows a list.
    pub(super) sizes: Vec<u64>,
}

/// Every so many of the queries given, one is not trained on.
pub(super) fn held_step(queries: usize) -> usize {
    queries.div_ceil(HELD).max(LEAST_STEP)
}

/// Refuses a router without queries, before anything is built.
pub(super) fn check(spec: &Spec, params: &BuildParams) -> Result<()> {
    // whatever was learned is taken over
    if params.like.is_some() {
        return Ok(());
    }
    match &params.queries {
        None if spec.router => {
            let what = "queries like those to come (--queries FILE), on which the router is trained";
            Err(Error::param("index", spec, what))
        }
        Some(q) if spec.router && q.n() < LEAST => Err(Error::param(
            "queries",
            format!("{} rows", q.n()),
            format!("at least {LEAST} to train a router on, better thousands"),
        )),
        _ => Ok(()),
    }
}

/// Trains a router for the lists of a model. Cost: an exact search of all queries, and the training.
pub(super) fn train(
    begin: &Begin,
    model: &Model,
    base: &dyn Source,
    whole: Option<&Loaded>,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<RouterResult> {
    let queries = params.queries.as_ref().expect("checked before");
    let how = RouterParams { held: held_step(queries.n()), seed: params.seed, ..params.router.clone() };
    let code_d = model.code_d(base.dim());
    if let Some(limit) = params.memory_limit {
        let need = crate::watch::resident_bytes().unwrap_or(0) + router_bytes(begin.sizes.len(), code_d, 512);
        if need > limit {
            return Err(Error::Memory { limit, need, what: format!("training a router of {} lists", begin.sizes.len()) });
        }
    }
    let found = truth(base, whole, queries.view(), how.k, params, watch)?;
    let lists = lists_of(&found, model, base, whole, params, watch)?;
    let prepared = model.prepared(queries.view(), params.metric);
    let data = RouterData {
        queries: Vectors::new(&prepared, code_d),
        lists: &lists,
        centroids: &begin.centroids,
        sizes: &begin.sizes,
        metric: params.metric,
    };
    train_router(&data, &how, watch)
}

/// The lists in which the neighbours of each query are stored, equally many a query.
fn lists_of(
    found: &crate::Neighbors,
    model: &Model,
    base: &dyn Source,
    whole: Option<&Loaded>,
    params: &BuildParams,
    watch: &dyn Watch,
) -> Result<Vec<u32>> {
    let mut rows: Vec<u64> = (0..found.len()).flat_map(|q| found.ids(q)).copied().collect();
    rows.sort_unstable();
    rows.dedup();
    let mut lists = Vec::with_capacity(rows.len());
    each(base, whole, &rows, params, watch, |_, block| {
        let prepared = model.prepared(block, params.metric);
        lists.extend(model.partition.assign(Vectors::new(&prepared, model.code_d(base.dim()))));
        Ok(())
    })?;
    let list = |row: &u64| lists[rows.binary_search(row).expect("every neighbour was looked at")];
    let mut out = Vec::with_capacity(found.len() * found.k());
    for q in 0..found.len() {
        // a row is short only where the base has fewer rows that can be ranked; those it has count again
        let ids = found.ids(q);
        if ids.is_empty() {
            return Err(Error::Empty { name: base.name() });
        }
        out.extend(ids.iter().cycle().take(found.k()).map(list));
    }
    Ok(out)
}
