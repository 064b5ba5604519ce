//! Searching, comparing, explaining.

use std::sync::Arc;
use std::time::Instant;

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::answer::{Answer, Refused, json_of};
use super::app::{Shared, Shelf, query_of};
use super::kept::quoted;
use crate::collection::{Ask, Asks, Comparison, Hit, Params, Query};
use crate::{Kind, WebError};

/// Neighbours at most.
const MOST_K: u64 = 1000;
/// Neighbours where nobody says how many.
const K: u64 = 20;
/// Candidates a neighbour at most.
const MOST_REFINE: u64 = 10_000;
/// Characters of a text at most.
const MOST_TEXT: usize = 10_000;
/// The maps that `explain` draws.
const MAPS: [&str; 3] = ["pca", "tsne", "none"];

/// What a request says.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Asked {
    collection: Option<String>,
    id: Option<String>,
    query: Option<String>,
    text: Option<String>,
    vector: Option<Vec<f32>>,
    url: Option<String>,
    k: Option<u64>,
    nprobe: Option<u64>,
    recall: Option<f32>,
    refine: Option<u64>,
    label: Option<String>,
    exact: bool,
    map: Option<String>,
}

/// What a search answers.
#[derive(Serialize)]
struct SearchAnswer<'a> {
    query: Option<&'a str>,
    hits: &'a [Hit],
    lists: u64,
    scanned: u64,
    seconds: Times,
    spec: &'a str,
    metric: &'a str,
    nprobe: u64,
}

/// Seconds of making the vector, of the search alone, of the whole answer.
#[derive(Serialize)]
struct Times {
    query: f64,
    search: f64,
    total: f64,
}

/// What a comparison answers.
#[derive(Serialize)]
struct CompareAnswer<'a> {
    query: Option<&'a str>,
    #[serde(flatten)]
    both: &'a Comparison,
}

/// A query, and the key under which it is kept (none for the items of a collection).
struct Made {
    key: Option<String>,
    query: Arc<Query>,
    seconds: f64,
}

/// `GET /api/search`.
pub async fn search_get(State(app): State<Shared>, uri: Uri) -> Answer {
    search(app, query_of(&uri)?).await
}

/// `POST /api/search`.
pub async fn search_post(State(app): State<Shared>, headers: HeaderMap, body: Body) -> Answer {
    let asked = app.bodies.json(&headers, body).await?;
    search(app, asked).await
}

async fn search(app: Shared, asked: Asked) -> Answer {
    let began = Instant::now();
    let shelf = app.shelf(asked.collection.as_deref())?;
    let params = asked.params(shelf)?;
    let made = make(&app, shelf, &asked).await?;
    found(&app, shelf, made, params, began).await
}

/// `POST /api/search/image`.
pub async fn search_image(State(app): State<Shared>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let began = Instant::now();
    let asked: Asked = query_of(&uri)?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    let params = asked.params(shelf)?;
    asked.names_no_query()?;
    able(&shelf.facts.asks, |a| &a.image, "images")?;
    let made = make_of_image(&app, shelf, &headers, body).await?.0;
    found(&app, shelf, made, params, began).await
}

/// `POST /api/query`.
pub async fn query(State(app): State<Shared>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let began = Instant::now();
    let asked: Asked = query_of(&uri)?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    asked.names_no_query()?;
    able(&shelf.facts.asks, |a| &a.image, "images")?;
    let (made, (width, height)) = make_of_image(&app, shelf, &headers, body).await?;
    Ok(json_of(&json!({"query": made.key, "seconds": began.elapsed().as_secs_f64(), "width": width, "height": height})))
}

/// `POST /api/compare`.
pub async fn compare(State(app): State<Shared>, headers: HeaderMap, body: Body) -> Answer {
    let asked: Asked = app.bodies.json(&headers, body).await?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    let params = asked.params(shelf)?;
    able(&shelf.facts.asks, |a| &a.exact, "exact comparison")?;
    let made = make(&app, shelf, &asked).await?;
    let (collection, query) = (Arc::clone(&shelf.collection), Arc::clone(&made.query));
    let both = app.searches.run(move || collection.compare(&query, &params)).await?;
    for found in [&both.approximate, &both.exact] {
        app.metrics.searched(&shelf.facts.name, found.scanned, found.seconds);
    }
    Ok(json_of(&CompareAnswer { query: made.key.as_deref(), both: &both }))
}

/// `POST /api/explain`.
pub async fn explain(State(app): State<Shared>, headers: HeaderMap, body: Body) -> Answer {
    let asked: Asked = app.bodies.json(&headers, body).await?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    let params = asked.params(shelf)?;
    able(&shelf.facts.asks, |a| &a.explain, "explanations")?;
    let map = asked.map.clone().unwrap_or_else(|| "pca".into());
    if !MAPS.contains(&map.as_str()) {
        return Err(WebError::new(Kind::BadRequest, format!("map = {}: pca, tsne or none", quoted(&map))).into());
    }
    let made = make(&app, shelf, &asked).await?;
    let (collection, query) = (Arc::clone(&shelf.collection), Arc::clone(&made.query));
    let mut told = app.searches.run(move || collection.explain(&query, &params, &map)).await?;
    if let (Value::Object(all), Some(key)) = (&mut told, made.key) {
        all.insert("query".into(), key.into());
    }
    Ok(json_of(&told))
}

/// Searches, and says what was found and how.
async fn found(app: &Shared, shelf: &Shelf, made: Made, params: Params, began: Instant) -> Answer {
    let facts = &shelf.facts;
    let probe = params.nprobe.unwrap_or(facts.nprobe).min(facts.nlist);
    let (exact, by_recall) = (params.exact, params.recall.is_some());
    let (collection, query) = (Arc::clone(&shelf.collection), Arc::clone(&made.query));
    let found = app.searches.run(move || collection.search(&query, &params)).await?;
    app.metrics.searched(&facts.name, found.scanned, found.seconds);
    let nprobe = match (exact, by_recall) {
        (true, _) => facts.nlist as u64,
        (false, true) => found.lists,
        (false, false) => probe as u64,
    };
    Ok(json_of(&SearchAnswer {
        query: made.key.as_deref(),
        hits: &found.hits,
        lists: found.lists,
        scanned: found.scanned,
        seconds: Times { query: made.seconds, search: found.seconds, total: began.elapsed().as_secs_f64() },
        spec: &facts.spec,
        metric: &facts.metric,
        nprobe,
    }))
}

/// A vector of what is asked, kept under a key where it is no item's.
async fn make(app: &Shared, shelf: &Shelf, asked: &Asked) -> Result<Made, Refused> {
    let (facts, asks) = (&shelf.facts, &shelf.facts.asks);
    let collection = Arc::clone(&shelf.collection);
    let query = match asked.one()? {
        One::Id(id) => {
            able(asks, |a| &a.id, "ids")?;
            let id = id.to_string();
            let query = app.searches.run(move || collection.query(&Ask::Id(&id))).await?;
            return Ok(Made { key: None, seconds: query.seconds, query: Arc::new(query) });
        }
        One::Query(key) => {
            let query = app.kept.get(&facts.name, key)?;
            return Ok(Made { key: Some(key.into()), query, seconds: 0.0 });
        }
        One::Text(text) => {
            able(asks, |a| &a.text, "texts")?;
            if text.trim().is_empty() || text.chars().count() > MOST_TEXT {
                return Err(WebError::new(Kind::BadRequest, format!("the text has to have 1 to {MOST_TEXT} characters")).into());
            }
            let text = text.to_string();
            app.searches.run(move || collection.query(&Ask::Text(&text))).await?
        }
        One::Vector(vector) => {
            let vector = checked(vector, facts.d)?;
            app.searches.run(move || collection.query(&Ask::Vector(vector))).await?
        }
        One::Url(url) => {
            able(asks, |a| &a.image, "images")?;
            if app.fetcher.is_none() {
                let error = WebError::new(Kind::Forbidden, "this server does not fetch images from the web");
                return Err(error.hint("start it with --allow-urls, or save the image and upload it").into());
            }
            let (url, with) = (url.to_string(), Arc::clone(app));
            let fetch = move || with.fetcher.as_ref().map_or_else(|| Ok(Vec::new()), |f| f.fetch(&url));
            let bytes = app.fetches.run(fetch).await?;
            app.searches.run(move || collection.query(&Ask::Image(&bytes))).await?
        }
    };
    let seconds = query.seconds;
    let (key, query) = app.kept.keep(&facts.name, query);
    Ok(Made { key: Some(key), query, seconds })
}

/// A vector of an uploaded image; its width and height as a person sees it.
async fn make_of_image(app: &Shared, shelf: &Shelf, headers: &HeaderMap, body: Body) -> Result<(Made, (u32, u32)), Refused> {
    let upload = app.bodies.image(headers, body).await?;
    app.metrics.uploaded(upload.bytes.len());
    let collection = Arc::clone(&shelf.collection);
    let make = move || {
        let size = voisin_embed::size(&upload.bytes).map_err(|e| {
            let error = WebError::new(Kind::Unreadable, format!("the image cannot be read: {e}"));
            error.hint("PNG, JPEG, WebP, GIF and BMP are read, of at most 50 megapixels")
        })?;
        Ok((collection.query(&Ask::Image(&upload.bytes))?, size))
    };
    let (query, size) = app.searches.run(make).await?;
    let seconds = query.seconds;
    let (key, query) = app.kept.keep(&shelf.facts.name, query);
    Ok((Made { key: Some(key), query, seconds }, size))
}

/// 409 where the collection says why it cannot.
fn able(asks: &Asks, of: fn(&Asks) -> &Option<String>, what: &str) -> Result<(), WebError> {
    match of(asks) {
        None => Ok(()),
        Some(why) => Err(WebError::new(Kind::Unable, format!("this collection takes no {what}: {why}"))),
    }
}

/// A vector that can be compared.
fn checked(vector: &[f32], d: usize) -> Result<Vec<f32>, WebError> {
    if vector.len() != d {
        let message = format!("vector: {} values where {d} are expected", vector.len());
        return Err(WebError::new(Kind::BadRequest, message).hint("/api/collections says d of each collection"));
    }
    match vector.iter().position(|x| !x.is_finite()) {
        Some(at) => Err(WebError::new(Kind::BadRequest, format!("vector: value {at} is not a finite number"))),
        None => Ok(vector.to_vec()),
    }
}

/// The kinds of query.
enum One<'a> {
    Id(&'a str),
    Query(&'a str),
    Text(&'a str),
    Vector(&'a [f32]),
    Url(&'a str),
}

impl Asked {
    /// The one query that is named.
    fn one(&self) -> Result<One<'_>, WebError> {
        let all = [
            self.id.as_deref().map(One::Id),
            self.query.as_deref().map(One::Query),
            self.text.as_deref().map(One::Text),
            self.vector.as_deref().map(One::Vector),
            self.url.as_deref().map(One::Url),
        ];
        let mut all = all.into_iter().flatten();
        match (all.next(), all.next()) {
            (Some(one), None) => Ok(one),
            (None, _) => {
                Err(WebError::new(Kind::BadRequest, "nothing to search for: one of id, query, text, vector, url is needed"))
            }
            _ => Err(WebError::new(Kind::BadRequest, "only one of id, query, text, vector, url can be searched for")),
        }
    }

    /// For uploads: the image is the query.
    fn names_no_query(&self) -> Result<(), WebError> {
        if self.id.is_some() || self.query.is_some() || self.text.is_some() || self.vector.is_some() || self.url.is_some() {
            return Err(WebError::new(Kind::BadRequest, "the image is the query: no id, query, text, vector or url beside it"));
        }
        Ok(())
    }

    fn params(&self, shelf: &Shelf) -> Result<Params, WebError> {
        let within = |name: &str, value: Option<u64>, most: u64| match value {
            Some(v) if v == 0 || v > most => Err(WebError::new(Kind::BadRequest, format!("{name} = {v}: 1 to {most}"))),
            v => Ok(v.map(|v| v as usize)),
        };
        let facts = &shelf.facts;
        let k = within("k", Some(self.k.unwrap_or(K)), MOST_K)?.unwrap_or(K as usize);
        let nprobe = within("nprobe", self.nprobe, u32::MAX.into())?.map(|p| p.min(facts.nlist.max(1)));
        let refine = within("refine", self.refine, MOST_REFINE)?;
        if let Some(recall) = self.recall {
            if !(recall > 0.0 && recall <= 1.0) {
                return Err(WebError::new(Kind::BadRequest, format!("recall = {recall}: above 0 and at most 1")));
            }
            if nprobe.is_some() {
                return Err(WebError::new(Kind::BadRequest, "either nprobe or recall says how far to look, not both"));
            }
            if !facts.recall_targets {
                return Err(
                    WebError::new(Kind::Unable, "this index was built without recall targets").hint("give nprobe instead")
                );
            }
        }
        Ok(Params { k, nprobe, recall: self.recall, refine, label: self.label.clone(), exact: self.exact })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_query_at_a_time() {
        let asked = |s: &str| serde_json::from_str::<Asked>(s).expect("JSON");
        assert!(matches!(asked(r#"{"id": "a"}"#).one(), Ok(One::Id("a"))));
        for bad in ["{}", r#"{"id": "a", "text": "b"}"#, r#"{"vector": [1], "url": "http://x"}"#] {
            assert_eq!(asked(bad).one().err().map(|e| e.kind), Some(Kind::BadRequest), "{bad}");
        }
        assert!(serde_json::from_str::<Asked>(r#"{"ids": "a"}"#).is_err());
        assert!(serde_json::from_str::<Asked>(r#"{"vector": [1, NaN]}"#).is_err());
    }

    #[test]
    fn vectors_are_finite_and_of_the_right_length() {
        assert_eq!(checked(&[1.0, 2.0], 2).unwrap(), [1.0, 2.0]);
        assert!(checked(&[1.0], 2).is_err());
        assert!(checked(&[1.0, f32::INFINITY], 2).unwrap_err().message.contains("value 1"));
    }
}
