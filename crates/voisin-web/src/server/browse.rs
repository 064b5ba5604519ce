//! Looking around: collections, items, images.

use axum::extract::{Path, State};
use axum::http::Uri;
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::json;

use super::answer::{Answer, Refused, bytes_of, json_of};
use super::app::{Shared, query_of};
use crate::collection::Page;

/// Images may be kept by the browser for so long; an id may stand for another image after the server was started again.
const KEEP_IMAGES: &str = "private, max-age=600";
/// Items of a page at most.
const MOST_ITEMS: u64 = 500;
/// Sides of thumbnails.
const SIDES: std::ops::RangeInclusive<u32> = 16..=1024;

/// `GET /api/collections`.
pub async fn collections(State(app): State<Shared>) -> Answer {
    let all: Vec<_> = app.shelves.iter().map(|s| &s.facts).collect();
    Ok(json_of(&json!({"version": env!("CARGO_PKG_VERSION"), "allow_urls": app.fetcher.is_some(), "collections": all})))
}

/// `GET /api/collections/{name}`.
pub async fn collection(State(app): State<Shared>, Path(name): Path<String>) -> Answer {
    Ok(json_of(&app.shelf(Some(&name))?.facts))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Which {
    collection: Option<String>,
    label: Option<String>,
    #[serde(default)]
    offset: u64,
    limit: Option<u64>,
    seed: Option<u64>,
}

/// `GET /api/items`.
pub async fn items(State(app): State<Shared>, uri: Uri) -> Answer {
    let asked: Which = query_of(&uri)?;
    let limit = asked.limit.unwrap_or(60);
    if limit > MOST_ITEMS {
        return Err(Refused::bad(format!("limit = {limit}: at most {MOST_ITEMS}")));
    }
    let collection = app.shelf(asked.collection.as_deref())?.collection.clone();
    let page = Page { label: asked.label, offset: asked.offset, limit, seed: asked.seed };
    Ok(json_of(&app.pictures.run(move || collection.items(&page)).await?))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct One {
    collection: Option<String>,
    id: String,
    side: Option<u32>,
}

/// `GET /api/item`.
pub async fn item(State(app): State<Shared>, uri: Uri) -> Answer {
    let asked: One = query_of(&uri)?;
    let collection = app.shelf(asked.collection.as_deref())?.collection.clone();
    Ok(json_of(&app.pictures.run(move || collection.item(&asked.id)).await?))
}

/// `GET /api/image`.
pub async fn image(State(app): State<Shared>, uri: Uri) -> Answer {
    let asked: One = query_of(&uri)?;
    let collection = app.shelf(asked.collection.as_deref())?.collection.clone();
    let (bytes, kind) = app.pictures.run(move || collection.image(&asked.id)).await?;
    Ok(bytes_of(kind, KEEP_IMAGES, bytes).into_response())
}

/// `GET /api/thumbnail`.
pub async fn thumbnail(State(app): State<Shared>, uri: Uri) -> Answer {
    let asked: One = query_of(&uri)?;
    let side = asked.side.unwrap_or(256);
    if !SIDES.contains(&side) {
        return Err(Refused::bad(format!("side = {side}: {} to {}", SIDES.start(), SIDES.end())));
    }
    let collection = app.shelf(asked.collection.as_deref())?.collection.clone();
    let bytes = app.pictures.run(move || collection.thumbnail(&asked.id, side)).await?;
    Ok(bytes_of("image/jpeg", KEEP_IMAGES, bytes))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Key {
    collection: Option<String>,
    query: String,
}

/// `GET /api/query/picture`.
pub async fn picture(State(app): State<Shared>, uri: Uri) -> Answer {
    let asked: Key = query_of(&uri)?;
    let shelf = app.shelf(asked.collection.as_deref())?;
    let bytes = app.kept.picture(&shelf.facts.name, &asked.query)?;
    Ok(bytes_of("image/jpeg", KEEP_IMAGES, bytes.to_vec()))
}
