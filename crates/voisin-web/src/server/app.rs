//! What all requests share.

use std::path::PathBuf;
use std::sync::Arc;

use axum::http::Uri;
use serde::de::DeserializeOwned;

use super::answer::Refused;
use super::body::Bodies;
use super::fetch::Fetcher;
use super::guard::Guard;
use super::kept::{Kept, quoted};
use super::metrics::Metrics;
use super::page::Files;
use super::work::Work;
use crate::collection::{Collection, Facts};
use crate::{Kind, WebError};

/// Requests that may wait for a slot.
const QUEUE: usize = 4096;
/// Images fetched from the web at once, and waiting to be.
const FETCHES: (usize, usize) = (8, 64);

/// A collection and what it said of itself when it was opened.
#[derive(Debug)]
pub struct Shelf {
    /// The collection.
    pub collection: Arc<Collection>,
    /// What it is.
    pub facts: Facts,
}

/// The state of a server.
pub struct App {
    /// The collections, in the order in which they were named.
    pub shelves: Vec<Shelf>,
    /// Who may ask.
    pub guard: Guard,
    /// Counters.
    pub metrics: Metrics,
    /// Queries under keys.
    pub kept: Kept,
    /// Reads bodies.
    pub bodies: Bodies,
    /// Searches.
    pub searches: Work,
    /// Lists of items, images, thumbnails.
    pub pictures: Work,
    /// Fetching from the web.
    pub fetches: Work,
    /// Where it is allowed.
    pub fetcher: Option<Fetcher>,
    /// The page.
    pub files: Files,
    /// Lines for whoever runs the server.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}

/// A handle for handlers.
pub type Shared = Arc<App>;

/// What [`App::new`] takes beside the collections.
pub struct Parts {
    /// Searches at once.
    pub threads: usize,
    /// Who may ask.
    pub guard: Guard,
    /// Whether images may be fetched from the web.
    pub allow_urls: bool,
    /// The page's files, where not those of the binary.
    pub folder: Option<PathBuf>,
    /// Lines for whoever runs the server.
    pub log: Box<dyn Fn(&str) + Send + Sync>,
}

impl App {
    /// Over these collections.
    pub fn new(collections: Vec<Arc<Collection>>, parts: Parts) -> App {
        let shelves = collections.into_iter().map(|collection| Shelf { facts: collection.facts(), collection }).collect();
        App {
            shelves,
            guard: parts.guard,
            metrics: Metrics::default(),
            kept: Kept::default(),
            bodies: Bodies::default(),
            searches: Work::new(parts.threads, QUEUE),
            pictures: Work::new(parts.threads, QUEUE),
            fetches: Work::new(FETCHES.0, FETCHES.1),
            fetcher: parts.allow_urls.then(Fetcher::new),
            files: Files::new(parts.folder),
            log: parts.log,
        }
    }

    /// The collection of this name; the only one where no name is given.
    ///
    /// # Errors
    /// There is none.
    pub fn shelf(&self, name: Option<&str>) -> Result<&Shelf, WebError> {
        let names = || self.shelves.iter().map(|s| s.facts.name.as_str()).collect::<Vec<_>>().join(", ");
        match name {
            Some(name) => self.shelves.iter().find(|s| s.facts.name == name).ok_or_else(|| {
                let error = WebError::new(Kind::NotFound, format!("no collection {}", quoted(name)));
                error.hint(format!("there are: {}", names()))
            }),
            None => match &self.shelves[..] {
                [one] => Ok(one),
                _ => Err(WebError::new(Kind::BadRequest, "collection is missing").hint(format!("one of: {}", names()))),
            },
        }
    }
}

/// The parameters of an address.
///
/// # Errors
/// Unknown ones, values of the wrong kind.
pub fn query_of<T: DeserializeOwned>(uri: &Uri) -> Result<T, Refused> {
    axum::extract::Query::<T>::try_from_uri(uri).map(|q| q.0).map_err(|e| {
        let text = e.body_text();
        let text = text.strip_prefix("Failed to deserialize query string: ").unwrap_or(&text);
        let text = no_number(text, uri.query().unwrap_or_default()).unwrap_or_else(|| text.to_owned());
        WebError::new(Kind::BadRequest, text).hint("/api/openapi.json lists the parameters").into()
    })
}

/// What is said of a value that is no number where one is needed: `k: invalid digit found in string` does not show it.
fn no_number(text: &str, query: &str) -> Option<String> {
    let (name, why) = text.split_once(": ")?;
    let expected = match why {
        w if w.starts_with("invalid float") => "a number",
        w if w.contains("digit") || w.starts_with("number too large") || w.starts_with("cannot parse") => {
            "a whole number from 1 on"
        }
        _ => return None,
    };
    let value = query.split('&').find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))?;
    Some(format!("{name} = {}: {expected} is expected", quoted(value)))
}
