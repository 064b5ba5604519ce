//! Queries that were made from an upload, a text or an address, kept under a key so that they can be searched again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};

use xxhash_rust::xxh3::Xxh3;

use crate::collection::Query;
use crate::{Kind, WebError};

/// Queries that are kept; the least recently used go.
pub const KEPT: usize = 1000;

/// The queries that are kept.
#[derive(Debug, Default)]
pub struct Kept {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queries: HashMap<String, Entry>,
    clock: u64,
}

#[derive(Debug)]
struct Entry {
    collection: String,
    query: Arc<Query>,
    used: u64,
}

impl Kept {
    /// Keeps a query; the key follows from the collection and the values alone, so the same image has the same key.
    pub fn keep(&self, collection: &str, query: Query) -> String {
        let key = key(collection, &query);
        let mut inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        inner.clock += 1;
        let used = inner.clock;
        if inner.queries.len() >= KEPT && !inner.queries.contains_key(&key) {
            // a thousand entries are looked through in microseconds
            let oldest = inner.queries.iter().min_by_key(|(_, e)| e.used).map(|(k, _)| k.clone());
            oldest.map(|k| inner.queries.remove(&k));
        }
        inner.queries.insert(key.clone(), Entry { collection: collection.into(), query: Arc::new(query), used });
        key
    }

    /// The query of a key.
    ///
    /// # Errors
    /// A key that is not kept (any more), or one of another collection.
    pub fn get(&self, collection: &str, key: &str) -> Result<Arc<Query>, WebError> {
        let mut inner = self.inner.lock().unwrap_or_else(|e| e.into_inner());
        inner.clock += 1;
        let used = inner.clock;
        match inner.queries.get_mut(key) {
            Some(entry) if entry.collection == collection => {
                entry.used = used;
                Ok(Arc::clone(&entry.query))
            }
            Some(entry) => {
                let message =
                    format!("that query was made for the collection \"{}\", not for \"{collection}\"", entry.collection);
                Err(WebError::new(Kind::BadRequest, message).hint("upload the image again for this collection"))
            }
            None => {
                let message = format!("no query {} is kept (the last {KEPT} are)", quoted(key));
                Err(WebError::new(Kind::NotFound, message).hint("upload the image again"))
            }
        }
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner.lock().unwrap_or_else(|e| e.into_inner()).queries.len()
    }
}

fn key(collection: &str, query: &Query) -> String {
    let mut hash = Xxh3::new();
    for part in [collection, query.own.as_deref().unwrap_or_default()] {
        hash.update(&(part.len() as u64).to_le_bytes());
        hash.update(part.as_bytes());
    }
    for x in &query.vector {
        hash.update(&x.to_le_bytes());
    }
    format!("q{:032x}", hash.digest128())
}

/// What somebody sent, short enough to be repeated in a message.
pub fn quoted(s: &str) -> String {
    if s.chars().count() <= 60 { format!("{s:?}") } else { format!("{:?}...", s.chars().take(60).collect::<String>()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(x: f32) -> Query {
        Query { vector: vec![x, 1.0], own: None, seconds: 0.0 }
    }

    #[test]
    fn the_least_recently_used_goes() {
        let kept = Kept::default();
        let keys: Vec<String> = (0..KEPT).map(|i| kept.keep("c", query(i as f32))).collect();
        assert!(kept.get("c", &keys[0]).is_ok());
        kept.keep("c", query(-1.0));
        assert_eq!(kept.len(), KEPT);
        assert!(kept.get("c", &keys[0]).is_ok());
        assert_eq!(kept.get("c", &keys[1]).unwrap_err().kind, Kind::NotFound);
        assert_eq!(kept.get("d", &keys[0]).unwrap_err().kind, Kind::BadRequest);
    }

    #[test]
    fn a_key_follows_from_the_query() {
        let kept = Kept::default();
        let a = kept.keep("c", query(1.0));
        assert_eq!(a, kept.keep("c", query(1.0)));
        assert_ne!(a, kept.keep("d", query(1.0)));
        assert_ne!(a, kept.keep("c", Query { own: Some("x".into()), ..query(1.0) }));
        assert_eq!(kept.len(), 3);
    }
}
