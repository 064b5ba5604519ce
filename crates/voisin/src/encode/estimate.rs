//! Codes that are compared by estimates: what a scan asks of them.

use super::Codec;
use super::pq::Pq;
use super::rabitq::{self, RaBitQ};
use crate::{Metric, Vectors};
use rayon::prelude::*;
use voisin_kernels::{Tables, dot_f64, l2_squared_f64};

/// What a query has no use for.
pub(crate) use super::rabitq::Limit;
/// A run of codes.
pub(crate) use super::rabitq::Run;
/// What a query and a list share.
pub(crate) use super::rabitq::Shared;

/// A code that is compared by estimates.
#[derive(Clone, Copy)]
pub(crate) enum Estimator<'a> {
    Pq(&'a Pq),
    RaBitQ(&'a RaBitQ),
}

/// Queries as an estimator wants them.
#[derive(Debug)]
pub(crate) enum Asked {
    Pq(Vec<Tables>),
    RaBitQ(Vec<rabitq::Query>),
}

/// Buffers of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    keys: Vec<f32>,
    rabitq: rabitq::Scratch,
}

/// Rows of a run and their ranks.
pub(crate) type Hits = Vec<(u32, f32)>;

impl Codec {
    /// The code as an estimator; `None` for codes that are decoded.
    pub(crate) fn estimator(&self) -> Option<Estimator<'_>> {
        match self {
            Codec::Flat | Codec::Scalar(_) => None,
            Codec::Pq(code) => Some(Estimator::Pq(code)),
            Codec::RaBitQ(code) => Some(Estimator::RaBitQ(code)),
        }
    }
}

impl Estimator<'_> {
    /// Prepares queries, in parallel; one is prepared alone as among others.
    pub(crate) fn ask(&self, queries: Vectors<'_>) -> Asked {
        match self {
            Estimator::Pq(code) if queries.n() == 1 => Asked::Pq(vec![code.tables(queries.row(0))]),
            Estimator::Pq(code) => Asked::Pq(code.tables_many(queries)),
            Estimator::RaBitQ(code) if queries.n() == 1 => Asked::RaBitQ(vec![code.query(queries.row(0))]),
            Estimator::RaBitQ(code) => {
                let rows = queries.data().par_chunks(queries.d()).with_min_len(16);
                Asked::RaBitQ(rows.map(|q| code.query(q)).collect())
            }
        }
    }

    /// What `q` shares with the list of a centre.
    pub(crate) fn shared(&self, metric: Metric, q: &[f32], centre: &[f32]) -> Shared {
        let far = l2_squared_f64(q, centre);
        let base = if metric == Metric::Ip { -dot_f64(q, centre) } else { far };
        Shared { base: base as f32, reach: far.sqrt() as f32 }
    }

    /// The bytes of a run that a single query reads first.
    pub(crate) fn first<'a>(&self, run: &Run<'a>) -> &'a [u8] {
        match self {
            Estimator::Pq(_) => run.bytes,
            Estimator::RaBitQ(code) => code.first(run.bytes, run.n),
        }
    }

    /// Rows whose rank for query `q` is within the limit; smaller ranks are nearer. A rank is a function of query and row.
    pub(crate) fn scan(
        &self,
        (asked, q): (&Asked, usize),
        run: Run<'_>,
        shared: Shared,
        limit: Limit,
        s: &mut Scratch,
        hits: &mut Hits,
    ) {
        match (self, asked) {
            (Estimator::Pq(code), Asked::Pq(tables)) => {
                code.scan(&tables[q], run, shared.base, limit.rank, &mut s.keys, hits);
            }
            (Estimator::RaBitQ(code), Asked::RaBitQ(queries)) => {
                code.scan(&queries[q], run, shared, limit, &mut s.rabitq, hits);
            }
            _ => unreachable!("asked by the same code"),
        }
    }

    /// Whether a batch is faster list by list. Tables of 8 bits a part fill the cache: queries that take turns drive each
    /// other's out.
    pub(crate) fn by_list(&self) -> bool {
        match self {
            Estimator::Pq(code) => code.bits() == 4,
            Estimator::RaBitQ(_) => true,
        }
    }

    /// From this many queries of a run on, [`Estimator::scan_many`] is faster than one after the other.
    pub(crate) fn many(&self) -> usize {
        match self {
            Estimator::Pq(_) => 2,
            Estimator::RaBitQ(_) if RaBitQ::many() => 3,
            Estimator::RaBitQ(_) => usize::MAX,
        }
    }

    /// As [`Estimator::scan`] for several queries; `take` gets the place of a query in `queries` and its rows.
    pub(crate) fn scan_many(
        &self,
        asked: &Asked,
        queries: &[(u32, Shared)],
        run: Run<'_>,
        s: &mut Scratch,
        limit: impl Fn(usize) -> Limit,
        take: impl FnMut(usize, &mut Hits),
    ) {
        match (self, asked) {
            (Estimator::Pq(code), Asked::Pq(tables)) => {
                let queries: Vec<(&Tables, f32)> = queries.iter().map(|(q, s)| (&tables[*q as usize], s.base)).collect();
                code.scan_many(&queries, run, &mut s.keys, |i| limit(i).rank, take);
            }
            (Estimator::RaBitQ(code), Asked::RaBitQ(all)) => {
                let queries: Vec<(&rabitq::Query, Shared)> = queries.iter().map(|(q, s)| (&all[*q as usize], *s)).collect();
                code.scan_many(&queries, run, &mut s.rabitq, limit, take);
            }
            _ => unreachable!("asked by the same code"),
        }
    }
}
