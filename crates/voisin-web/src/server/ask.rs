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
use super::body::Upload;
use super::kept::quoted;
use crate::collection::{Ask, Asks, Collection, Comparison, Hit, Params, Query};
use crate::{Kind, WebError};

/// Neighbours at most.
const MOST_K: u64 = 1000;
/// Neighbours where nobody says how many.
const K: u64 = 20;
/// Candidates a neighbour at most.
const MOST_REFINE: u64 = 10_000;
/// Length of the queue of a graph at most.
const MOST_EF: u64 = 100_000;
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
    ef: Option<u64>,
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

/// Where a query comes from.
enum Origin {
    /// The id of an item.
    Item(String),
    /// A key, and what is kept under it.
    Kept(String, Arc<Query>),
    Text(String),
    Vector(Vec<f32>),
    /// An image that was sent.
    Upload(Upload),
    /// One that was fetched.
    Image(Vec<u8>),
}

/// The key under which a query is kept (none for the items of a collection), and the seconds it took to make its vector.
struct Made {
    key: Option<String>,
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
    let from = from(&app, shelf, &asked).await?;
    found(&app, shelf, from, params, began).await
}

/// `POST /api/search/image`.
pub async fn search_image(State(app): State<Shared>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let began = Instant::now();
    let asked: Asked = query_of(&uri)?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    let params = asked.params(shelf)?;
    asked.names_no_query()?;
    able(&shelf.facts.asks, |a| &a.image, "images")?;
    let from = Origin::Upload(upload(&app, &headers, body).await?);
    found(&app, shelf, from, params, began).await
}

/// `POST /api/query`.
pub async fn query(State(app): State<Shared>, uri: Uri, headers: HeaderMap, body: Body) -> Answer {
    let began = Instant::now();
    let asked: Asked = query_of(&uri)?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    asked.names_no_query()?;
    able(&shelf.facts.asks, |a| &a.image, "images")?;
    let upload = upload(&app, &headers, body).await?;
    let (width, height) = voisin_embed::size(&upload.bytes).map_err(|e| {
        let error = WebError::new(Kind::Unreadable, format!("the image cannot be read: {e}"));
        error.hint("PNG, JPEG, WebP, GIF and BMP are read, of at most 50 megapixels")
    })?;
    let made = with(&app, shelf, Origin::Upload(upload), |_, _| Ok(())).await?.0;
    Ok(json_of(&json!({"query": made.key, "seconds": began.elapsed().as_secs_f64(), "width": width, "height": height})))
}

/// `POST /api/compare`.
pub async fn compare(State(app): State<Shared>, headers: HeaderMap, body: Body) -> Answer {
    let asked: Asked = app.bodies.json(&headers, body).await?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    let params = asked.params(shelf)?;
    able(&shelf.facts.asks, |a| &a.exact, "exact comparison")?;
    let from = from(&app, shelf, &asked).await?;
    let (made, both) = with(&app, shelf, from, move |collection, query| collection.compare(query, &params)).await?;
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
    let from = from(&app, shelf, &asked).await?;
    let (made, mut told) = with(&app, shelf, from, move |collection, query| collection.explain(query, &params, &map)).await?;
    if let (Value::Object(all), Some(key)) = (&mut told, made.key) {
        all.insert("query".into(), key.into());
    }
    Ok(json_of(&told))
}

/// Searches, and says what was found and how.
async fn found(app: &Shared, shelf: &Shelf, from: Origin, params: Params, began: Instant) -> Answer {
    let facts = &shelf.facts;
    let probe = params.nprobe.unwrap_or(facts.nprobe).min(facts.nlist);
    let (exact, by_recall) = (params.exact, params.recall.is_some());
    let (made, found) = with(app, shelf, from, move |collection, query| collection.search(query, &params)).await?;
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

/// Where the query of a request comes from; an image on the web is fetched.
async fn from(app: &Shared, shelf: &Shelf, asked: &Asked) -> Result<Origin, Refused> {
    let (facts, asks) = (&shelf.facts, &shelf.facts.asks);
    match asked.one()? {
        One::Id(id) => {
            able(asks, |a| &a.id, "ids")?;
            Ok(Origin::Item(id.into()))
        }
        One::Query(key) => Ok(Origin::Kept(key.into(), app.kept.get(&facts.name, key)?)),
        One::Text(text) => {
            able(asks, |a| &a.text, "texts")?;
            if text.trim().is_empty() || text.chars().count() > MOST_TEXT {
                return Err(Refused::bad(format!("the text has to have 1 to {MOST_TEXT} characters")));
            }
            Ok(Origin::Text(text.into()))
        }
        One::Vector(vector) => Ok(Origin::Vector(checked(vector, facts.d)?)),
        One::Url(url) => {
            able(asks, |a| &a.image, "images")?;
            if app.fetcher.is_none() {
                let error = WebError::new(Kind::Forbidden, "this server does not fetch images from the web");
                return Err(error.hint("start it with --allow-urls, or save the image and upload it").into());
            }
            let (url, app_) = (url.to_string(), Arc::clone(app));
            let fetch = move || app_.fetcher.as_ref().map_or_else(|| Ok(Vec::new()), |f| f.fetch(&url));
            Ok(Origin::Image(app.fetches.run(fetch).await?))
        }
    }
}

/// Makes the query and does something with it, both on one thread; keeps it under a key where it is no item's.
async fn with<T: Send + 'static>(
    app: &Shared,
    shelf: &Shelf,
    from: Origin,
    what: impl FnOnce(&Collection, &Query) -> Result<T, WebError> + Send + 'static,
) -> Result<(Made, T), Refused> {
    let (collection, name, app_) = (Arc::clone(&shelf.collection), shelf.facts.name.clone(), Arc::clone(app));
    let work = move || {
        let query = match from {
            Origin::Item(id) => {
                let query = collection.query(&Ask::Id(&id))?;
                return Ok((Made { key: None, seconds: query.seconds }, what(&collection, &query)?));
            }
            Origin::Kept(key, query) => return Ok((Made { key: Some(key), seconds: 0.0 }, what(&collection, &query)?)),
            Origin::Text(text) => collection.query(&Ask::Text(&text))?,
            Origin::Vector(vector) => collection.query(&Ask::Vector(vector))?,
            Origin::Upload(upload) => collection.query(&Ask::Image(&upload.bytes))?,
            Origin::Image(bytes) => collection.query(&Ask::Image(&bytes))?,
        };
        let done = what(&collection, &query)?;
        let seconds = query.seconds;
        Ok((Made { key: Some(app_.kept.keep(&name, query)), seconds }, done))
    };
    app.searches.run(work).await
}

/// The bytes of an image that is sent.
async fn upload(app: &Shared, headers: &HeaderMap, body: Body) -> Result<Upload, Refused> {
    let upload = app.bodies.image(headers, body).await?;
    app.metrics.uploaded(upload.bytes.len());
    Ok(upload)
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
        // a small collection has fewer, and the item that is asked with is left out
        let k = within("k", Some(self.k.unwrap_or(K.min(facts.n.saturating_sub(1).max(1)))), MOST_K)?.unwrap_or(1);
        let nprobe = within("nprobe", self.nprobe, u32::MAX.into())?.map(|p| p.min(facts.nlist.max(1)));
        let refine = within("refine", self.refine, MOST_REFINE)?;
        let ef = within("ef", self.ef, MOST_EF)?;
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
        Ok(Params { k, nprobe, recall: self.recall, refine, ef, label: self.label.clone(), exact: self.exact })
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
