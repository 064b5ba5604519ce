//! Codes that are compared by estimates: what a scan asks of them.

use super::rabitq::{self, RaBitQ};
use super::Codec;
use crate::Metric;
use voisin_kernels::{dot_f64, l2_squared_f64};

/// A run of codes.
pub(crate) use super::rabitq::Run;
/// What a query and a list share.
pub(crate) use super::rabitq::Shared;

/// A code that is compared by estimates.
#[derive(Clone, Copy)]
pub(crate) enum Estimator<'a> {
    RaBitQ(&'a RaBitQ),
}

/// A query as an estimator wants it.
#[derive(Debug)]
pub(crate) enum Asked {
    RaBitQ(rabitq::Query),
}

/// Buffers of one thread.
#[derive(Default)]
pub(crate) struct Scratch {
    rabitq: rabitq::Scratch,
}

/// Rows of a run and their ranks.
pub(crate) type Hits = Vec<(u32, f32)>;

impl Codec {
    /// The code as an estimator; `None` for codes that are decoded.
    pub(crate) fn estimator(&self) -> Option<Estimator<'_>> {
        match self {
            Codec::RaBitQ(code) => Some(Estimator::RaBitQ(code)),
            _ => None,
        }
    }
}

impl Estimator<'_> {
    /// Prepares a query.
    pub(crate) fn ask(&self, q: &[f32]) -> Asked {
        match self {
            Estimator::RaBitQ(code) => {
                let mut query = rabitq::Query::default();
                code.query(q, &mut query);
                Asked::RaBitQ(query)
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
            Estimator::RaBitQ(code) => code.first(run.bytes, run.n),
        }
    }

    /// Rows whose rank is at most `limit`; smaller ranks are nearer. A rank is a function of query and row alone.
    pub(crate) fn scan(&self, asked: &Asked, run: Run<'_>, shared: Shared, limit: f32, s: &mut Scratch, hits: &mut Hits) {
        match (self, asked) {
            (Estimator::RaBitQ(code), Asked::RaBitQ(query)) => code.scan(query, run, shared, limit, &mut s.rabitq, hits),
        }
    }

    /// From this many queries of a run on, [`Estimator::scan_many`] is faster than one after the other.
    pub(crate) fn many(&self) -> usize {
        match self {
            Estimator::RaBitQ(_) if RaBitQ::many() => 3,
            Estimator::RaBitQ(_) => usize::MAX,
        }
    }

    /// As [`Estimator::scan`] for several queries; `take` gets the place of a query in `asked` and its rows.
    pub(crate) fn scan_many(
        &self,
        asked: &[(&Asked, Shared)],
        run: Run<'_>,
        s: &mut Scratch,
        limit: impl Fn(usize) -> f32,
        take: impl FnMut(usize, &mut Hits),
    ) {
        match self {
            Estimator::RaBitQ(code) => {
                let queries: Vec<(&rabitq::Query, Shared)> = asked
                    .iter()
                    .map(|(asked, shared)| match asked {
                        Asked::RaBitQ(q) => (q, *shared),
                    })
                    .collect();
                code.scan_many(&queries, run, &mut s.rabitq, limit, take);
            }
        }
    }
}
