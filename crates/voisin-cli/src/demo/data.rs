//! What the demo searches: the packages that come with the program, or somebody's own file.

use std::path::Path;
use std::sync::Arc;

use voisin::eval::HeldOut;
use voisin::{Matrix, Metric, Source, StringIds, read_all};
use voisin_io::{InFile, Role, hdf5};

use crate::common::{Context, open_queries};
use crate::fail::Result;

/// 5,000 Debian packages; see data/README.md.
const BUNDLED: &[u8] = include_bytes!("../../../../data/debtext-demo.h5");
const BUNDLED_NAME: &str = "debtext-demo.h5";
/// Of the user's own file at most this many rows become queries.
const MOST_QUERIES: u64 = 1000;

/// Where the vectors are.
enum Base {
    Whole(Box<dyn Source>),
    Rest(HeldOut),
}

/// Vectors, queries, and what they are called.
pub struct Data {
    base: Base,
    /// The queries; none of them is in the base.
    pub queries: Matrix,
    /// How they are compared.
    pub metric: Metric,
    /// Where the queries are from.
    pub queries_from: String,
    ids: Option<StringIds>,
    texts: Option<StringIds>,
    query_ids: Option<StringIds>,
    query_texts: Option<StringIds>,
}

impl Data {
    /// The data that comes with the program.
    ///
    /// # Errors
    /// None that can be foreseen.
    pub fn bundled() -> Result<Data> {
        let file = Arc::new(InFile::from_bytes(Path::new(BUNDLED_NAME), BUNDLED.to_vec()));
        let base = hdf5::open_file(file.clone(), Some("emb"), Role::Base)?;
        let queries = hdf5::open_file(file.clone(), Some("queries"), Role::Queries)?;
        let metric = base.metric().unwrap_or(Metric::Cosine);
        let texts = |name: &str| hdf5::texts(file.clone(), name);
        Ok(Data {
            queries: read_all(&*queries, metric)?,
            metric,
            queries_from: "one-line descriptions".into(),
            ids: Some(texts("ids")?),
            texts: Some(texts("texts")?),
            query_ids: Some(texts("query_ids")?),
            query_texts: Some(texts("query_texts")?),
            base: Base::Whole(base),
        })
    }

    /// The user's vectors, and as queries the user's or rows held out.
    ///
    /// # Errors
    /// What opening and reading give; fewer than two rows.
    pub fn of(files: &[String], queries: &[String], metric: Option<Metric>, cx: &Context) -> Result<Data> {
        let base = voisin_io::open_all(files, Role::Base)?;
        let metric = crate::common::choose_metric(metric, &*base, cx);
        if !queries.is_empty() {
            let source = open_queries(queries)?;
            let (rows, names, ids) = (read_all(&*source, metric)?, source.ids()?, base.ids()?);
            let from = source.name();
            return Ok(Data::unnamed(Base::Whole(base), rows, metric, from, ids, names));
        }
        let count = (base.len() / 10).clamp(1, MOST_QUERIES) as usize;
        let all = base.ids()?;
        let (rest, rows) = HeldOut::new(base, count, cx.common.seed)?;
        let row = |&r: &u64| all.as_ref().map_or_else(|| format!("row {r}"), |ids| ids.get(r as usize).to_string());
        let names = rest.held().iter().map(row).collect();
        let (ids, from) = (rest.ids()?, format!("{count} rows held out"));
        Ok(Data::unnamed(Base::Rest(rest), rows, metric, from, ids, Some(names)))
    }

    fn unnamed(
        base: Base,
        queries: Matrix,
        metric: Metric,
        queries_from: String,
        ids: Option<StringIds>,
        query_ids: Option<StringIds>,
    ) -> Data {
        Data { base, queries, metric, queries_from, ids, texts: None, query_ids, query_texts: None }
    }

    /// The vectors that are searched.
    pub fn base(&self) -> &dyn Source {
        match &self.base {
            Base::Whole(source) => &**source,
            Base::Rest(rest) => rest,
        }
    }

    /// What row `row` of the base is called: its id, or its number in the file.
    pub fn name(&self, row: u64) -> String {
        match (&self.ids, &self.base) {
            (Some(ids), _) => ids.get(row as usize).to_string(),
            (None, Base::Rest(rest)) => format!("row {}", rest.original(row)),
            (None, Base::Whole(_)) => format!("row {row}"),
        }
    }

    /// What it says, where that is known.
    pub fn text(&self, row: u64) -> &str {
        self.texts.as_ref().map_or("", |t| t.get(row as usize))
    }

    /// What query `q` is called.
    pub fn query_name(&self, q: usize) -> String {
        self.query_ids.as_ref().map_or_else(|| format!("query {q}"), |ids| ids.get(q).to_string())
    }

    /// What it says, where that is known.
    pub fn query_text(&self, q: usize) -> &str {
        self.query_texts.as_ref().map_or("", |t| t.get(q))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bundled_data_is_whole() {
        let data = Data::bundled().unwrap();
        assert_eq!((data.base().len(), data.base().dim(), data.metric), (5000, 384, Metric::Cosine));
        assert_eq!((data.queries.n(), data.queries.d()), (400, 384));
        for names in [&data.ids, &data.texts] {
            assert_eq!(names.as_ref().map(StringIds::len), Some(5000));
        }
        for names in [&data.query_ids, &data.query_texts] {
            assert_eq!(names.as_ref().map(StringIds::len), Some(400));
        }
    }
}
