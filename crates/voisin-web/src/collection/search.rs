//! Queries, searches and their comparison.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Instant;

use voisin::Metric;

use super::engine::{Answer, Engine, Question, walk};
use super::pictures::small_jpeg;
use super::{Ask, Collection, Comparison, Found, Hit, Params, Query};
use crate::{Kind, WebError};

/// Most neighbours.
const MOST: usize = 1000;
/// The longer side of the picture that stands for an image that was asked with.
const QUERY_SIDE: u32 = 512;

fn bad(what: String) -> WebError {
    WebError::new(Kind::BadRequest, what)
}

impl Collection {
    /// A vector of what is asked.
    ///
    /// # Errors
    /// What the collection does not take (see [`super::Asks`]), an id that is not in it, an image that cannot be read, a vector
    /// of other dimensions or of values that cannot be compared.
    pub fn query(&self, ask: &Ask<'_>) -> Result<Query, WebError> {
        let clock = Instant::now();
        let refuse = |why: &Option<String>| why.as_ref().map_or(Ok(()), |why| Err(WebError::new(Kind::Unable, why.clone())));
        let asks = &self.facts.asks;
        let (mut own, mut picture) = (None, None);
        let vector = match ask {
            Ask::Id(id) => {
                let row = self.row(id)?;
                refuse(&asks.id)?;
                own = Some((*id).to_owned());
                self.vector(self.rows.number(row))?
            }
            Ask::Image(bytes) => {
                refuse(&asks.image)?;
                let maker = self.maker.as_ref().ok_or_else(|| WebError::new(Kind::Unable, "no model"))?;
                let (vector, decoded) = maker.image(bytes)?;
                picture = Some(Arc::new(small_jpeg(decoded, QUERY_SIDE)?));
                vector
            }
            Ask::Text(text) => {
                refuse(&asks.text)?;
                self.maker.as_ref().ok_or_else(|| WebError::new(Kind::Unable, "no model"))?.text(text)?
            }
            Ask::Vector(vector) => vector.clone(),
        };
        self.check_vector(&vector)?;
        Ok(Query { vector, own, picture, seconds: clock.elapsed().as_secs_f64() })
    }

    fn check_vector(&self, vector: &[f32]) -> Result<(), WebError> {
        if vector.len() != self.facts.d {
            return Err(bad(format!(
                "a vector of {} values, where the collection {} has {}",
                vector.len(),
                self.facts.name,
                self.facts.d
            )));
        }
        let rows = voisin::Vectors::new(vector, vector.len());
        match voisin::screen(rows, self.engine.metric()).first() {
            Some((_, what)) => Err(bad(format!("the vector cannot be compared: {what}"))),
            None => Ok(()),
        }
    }

    /// The vector of a number: that of the features where there are some, else the stored one.
    fn vector(&self, number: u64) -> Result<Vec<f32>, WebError> {
        let found = match &self.exact {
            Some(exact) => exact.index.vector_of(number)?,
            None => self.engine.vector(number)?,
        };
        found.ok_or_else(|| WebError::new(Kind::Internal, format!("the vector of {number} is missing")))
    }

    /// The neighbours of a query.
    ///
    /// # Errors
    /// k, nprobe, recall or refine out of range, a label that no item has, a damaged index.
    pub fn search(&self, query: &Query, params: &Params) -> Result<Found, WebError> {
        let question = self.question(query, params)?;
        let clock = Instant::now();
        let answer = self.answer(question)?;
        let seconds = clock.elapsed().as_secs_f64();
        let unit = self.unit && is_unit(&query.vector);
        let hits = answer.hits.iter().enumerate();
        let hit = |(i, &(number, distance)): (usize, &(u64, f32))| {
            let row = self.rows.row(number).expect("numbers of the index");
            Hit { item: self.item_of(row), rank: i + 1, distance, similarity: self.similarity(distance, unit) }
        };
        Ok(Found { hits: hits.map(hit).collect(), lists: answer.lists, scanned: answer.scanned, seconds })
    }

    pub(super) fn question<'a>(&self, query: &'a Query, params: &'a Params) -> Result<Question<'a>, WebError> {
        self.check_vector(&query.vector)?;
        let own = query.own.as_ref().map(|id| self.row(id)).transpose()?;
        let most = self.rows.len() - usize::from(own.is_some());
        if params.k == 0 || params.k > MOST {
            return Err(bad(format!("k = {}: 1 to {MOST}", params.k)));
        }
        if most == 0 {
            let what = if own.is_some() { "it has only this item" } else { "it is empty" };
            return Err(bad(format!("nothing can be found in {}: {what}", self.facts.name)));
        }
        if params.ef == Some(0) {
            return Err(bad("ef = 0: at least 1".into()));
        }
        if let (Some(ef), None) = (params.ef, self.facts.ef) {
            return Err(bad(format!("ef = {ef}: {} is no graph", self.facts.name)).hint("nprobe says how many lists are visited"));
        }
        if params.nprobe == Some(0) {
            return Err(bad("nprobe = 0: at least 1 list".into()));
        }
        if params.refine == Some(0) {
            return Err(bad("refine = 0: at least 1 candidate a neighbour".into()));
        }
        if let Some(recall) = params.recall {
            if !(recall > 0.0 && recall <= 1.0) {
                return Err(bad(format!("recall = {recall}: a share above 0 and at most 1")));
            }
            if !self.facts.recall_targets && self.facts.nlist > 1 {
                let what = format!("recall = {recall}: the index of {} has no calibration", self.facts.name);
                return Err(bad(what).hint("say the lists to visit with nprobe"));
            }
        }
        let class = params.label.as_ref().map(|l| self.class(l)).transpose()?;
        // a small collection gives what it has
        let k = params.k.min(most);
        Ok(Question { vector: &query.vector, own: own.map(|row| self.rows.number(row)), class, k, params })
    }

    fn answer(&self, question: Question<'_>) -> Result<Answer, WebError> {
        let params = question.params;
        match (&self.engine, &self.exact) {
            (_, Some(exact)) if params.exact => exact.ask(question, &self.rows, 1),
            // a walk knows no filters: the vectors of a class are compared one by one
            (Engine::Graph(_), Some(exact)) if question.class.is_some() => exact.ask(question, &self.rows, 1),
            (Engine::Graph(graph), _) => walk(graph, question),
            (Engine::Lists(lists), _) => {
                let exact_anyway = self.facts.nlist == 1;
                let params = Params { recall: params.recall.filter(|_| !exact_anyway), ..params.clone() };
                let nprobe = params.nprobe.unwrap_or(self.facts.nprobe);
                lists.ask(Question { params: &params, ..question }, &self.rows, nprobe)
            }
        }
    }

    /// How similar 0 to 1 a pair of this distance is, where the metric says it.
    fn similarity(&self, distance: f32, unit: bool) -> Option<f32> {
        let cosine = match self.engine.metric() {
            Metric::Cosine => 1.0 - distance,
            Metric::Ip if unit => distance,
            Metric::L2 if unit => 1.0 - distance * distance / 2.0,
            _ => return None,
        };
        Some(cosine.clamp(0.0, 1.0))
    }

    /// The same by the index and by comparing every vector. A found item counts for the recall if it is among the true ones, or as
    /// near as the last of them.
    ///
    /// # Errors
    /// As [`Collection::search`].
    pub fn compare(&self, query: &Query, params: &Params) -> Result<Comparison, WebError> {
        let approximate = self.search(query, &Params { exact: false, ..params.clone() })?;
        let exact =
            self.search(query, &Params { exact: true, nprobe: None, recall: None, refine: None, ef: None, ..params.clone() })?;
        let recall = self.recall(query, &approximate.hits, &exact.hits)?;
        Ok(Comparison { approximate, exact, recall })
    }

    fn recall(&self, query: &Query, found: &[Hit], truth: &[Hit]) -> Result<f64, WebError> {
        let Some(last) = truth.last() else { return Ok(1.0) };
        let metric = self.engine.metric();
        let limit = metric.key(f64::from(last.distance));
        // distances are f32, and roots of keys at that
        let limit = limit + limit.abs() * 1e-6;
        let ids: HashSet<&str> = truth.iter().map(|h| &h.item.id[..]).collect();
        let mut right = 0;
        for hit in found {
            right += usize::from(
                ids.contains(&hit.item.id[..]) || {
                    // where the index goes by codes, its distance is not the true one
                    let distance = match &self.exact {
                        Some(_) => {
                            let number = self.rows.number(self.row(&hit.item.id)?);
                            metric.distance(&query.vector, &self.vector(number)?)
                        }
                        None => f64::from(hit.distance),
                    };
                    metric.key(distance) <= limit
                },
            );
        }
        Ok((right as f64 / truth.len() as f64).min(1.0))
    }
}

/// Whether a vector has the length 1, within what f16 leaves of it.
pub(super) fn is_unit(vector: &[f32]) -> bool {
    let squared: f64 = vector.iter().map(|x| f64::from(*x) * f64::from(*x)).sum();
    (squared - 1.0).abs() < 2e-3
}
