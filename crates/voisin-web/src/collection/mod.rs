//! A collection: an index, the names, labels, texts and images of its vectors, and what makes a vector of a query.
//!
//! Nothing here knows of HTTP. All calls are blocking and may come from many threads at once.

mod types;

pub use types::*;

use crate::WebError;
use voisin::Watch;

/// An opened collection.
#[derive(Debug)]
pub struct Collection {}

impl Collection {
    /// Opens what `from` names; an index is built where there is none yet, and kept.
    pub fn open(_from: &CollectionSpec, _watch: &dyn Watch) -> Result<Collection, WebError> {
        todo!()
    }
    /// What it is and what can be asked.
    pub fn facts(&self) -> Facts {
        todo!()
    }
    /// Items in order of their rows, of one class or all; in a random order where there is a seed.
    pub fn items(&self, _page: &Page) -> Result<Items, WebError> {
        todo!()
    }
    /// One item.
    pub fn item(&self, _id: &str) -> Result<Item, WebError> {
        todo!()
    }
    /// A vector of what is asked.
    pub fn query(&self, _ask: &Ask<'_>) -> Result<Query, WebError> {
        todo!()
    }
    /// The neighbours of a query.
    pub fn search(&self, _query: &Query, _params: &Params) -> Result<Found, WebError> {
        todo!()
    }
    /// The same by the index and by comparing every vector.
    pub fn compare(&self, _query: &Query, _params: &Params) -> Result<Comparison, WebError> {
        todo!()
    }
    /// How the index searched, as JSON (`voisin::explain`).
    pub fn explain(&self, _query: &Query, _params: &Params, _map: &str) -> Result<serde_json::Value, WebError> {
        todo!()
    }
    /// The image of an item: its bytes as they are and their content type.
    pub fn image(&self, _id: &str) -> Result<(Vec<u8>, &'static str), WebError> {
        todo!()
    }
    /// A JPEG of the item's image, at most `side` pixels wide and high.
    pub fn thumbnail(&self, _id: &str, _side: u32) -> Result<Vec<u8>, WebError> {
        todo!()
    }
}
