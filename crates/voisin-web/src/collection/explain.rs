//! How the index of a collection searched.

use voisin::Quiet;
use voisin::explain::{MapKind, Originals, Truth, explain};

use super::engine::{Engine, Lists, Question};
use super::{Collection, Params, Query};
use crate::{Kind, WebError};

impl Collection {
    /// How the index searched for a query: the JSON of [`voisin::explain::Explanation`], its ids those of the items. `map` is
    /// `pca`, `tsne` or `none`. An item asked with is left out, as a search does it.
    ///
    /// # Errors
    /// As [`Collection::search`]; another map.
    pub fn explain(&self, query: &Query, params: &Params, map: &str) -> Result<serde_json::Value, WebError> {
        let map = match map {
            "pca" => MapKind::Pca,
            "tsne" => MapKind::Tsne,
            "none" => MapKind::None,
            other => return Err(WebError::new(Kind::BadRequest, format!("map = {other}: pca, tsne or none"))),
        };
        // one list needs no target
        let recall = params.recall.filter(|_| self.facts.nlist > 1);
        let params = Params { exact: false, recall, ..params.clone() };
        let question = self.question(query, &params)?;
        let told = match (&self.engine, &self.exact) {
            // a walk knows no filters: the vectors of a class are compared one by one
            (Engine::Graph(_), Some(exact)) if question.class.is_some() => self.by_lists(exact, question, 1, map)?,
            (Engine::Graph(graph), _) => graph.explain(question.vector, question.k, params.ef, question.own, map)?,
            (Engine::Lists(lists), _) => self.by_lists(lists, question, params.nprobe.unwrap_or(self.facts.nprobe), map)?,
        };
        serde_json::to_value(&told).map_err(|e| WebError::new(Kind::Internal, format!("the explanation: {e}")))
    }

    fn by_lists(
        &self,
        lists: &Lists,
        question: Question<'_>,
        nprobe: usize,
        map: MapKind,
    ) -> Result<voisin::explain::Explanation, WebError> {
        let params = lists.params(question, &self.rows, nprobe)?;
        let other = self.exact.as_ref().filter(|exact| !std::ptr::eq(*exact, lists));
        let originals = other.map(|exact| Originals::of_index(&lists.index, &exact.index)).transpose()?;
        let truth = originals.as_ref().map_or(Truth::Kept, |o| Truth::Originals(o, &Quiet));
        Ok(explain(&lists.index, question.vector, &params, truth, map)?)
    }
}
