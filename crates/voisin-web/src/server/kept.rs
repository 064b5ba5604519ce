//! Queries that were made from an upload, a text or an address, kept under a key so that they can be searched again.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};

use xxhash_rust::xxh3::Xxh3;

use crate::collection::Query;
use crate::{Kind, WebError};

/// Queries that are kept; the least recently used go.
pub const KEPT: usize = 1000;
/// Bytes of pictures of them that are kept; those of the least recently used queries go.
const PICTURES: usize = 32 << 20;

/// The queries that are kept.
#[derive(Debug, Default)]
pub struct Kept {
    inner: Mutex<Inner>,
}

#[derive(Debug, Default)]
struct Inner {
    queries: HashMap<String, Entry>,
    clock: u64,
    /// Bytes of all pictures.
    pictures: usize,
}

#[derive(Debug)]
struct Entry {
    collection: String,
    /// Its picture stands beside it: that may go first.
    query: Arc<Query>,
    picture: Option<Arc<Vec<u8>>>,
    used: u64,
}

impl Inner {
    fn drop_picture(&mut self, key: &str) {
        let picture = self.queries.get_mut(key).and_then(|e| e.picture.take());
        self.pictures -= picture.map_or(0, |p| p.len());
    }

    fn oldest(&self, of: impl Fn(&Entry) -> bool) -> Option<String> {
        // a thousand entries are looked through in microseconds
        self.queries.iter().filter(|(_, e)| of(e)).min_by_key(|(_, e)| e.used).map(|(k, _)| k.clone())
    }

    fn put(&mut self, key: &str, collection: &str, mut query: Query) {
        let picture = query.picture.take().or_else(|| self.queries.get_mut(key).and_then(|e| e.picture.clone()));
        self.drop_picture(key);
        if self.queries.len() >= KEPT
            && !self.queries.contains_key(key)
            && let Some(oldest) = self.oldest(|_| true)
        {
            self.drop_picture(&oldest);
            self.queries.remove(&oldest);
        }
        self.pictures += picture.as_ref().map_or(0, |p| p.len());
        self.clock += 1;
        let entry = Entry { collection: collection.into(), query: Arc::new(query), picture, used: self.clock };
        self.queries.insert(key.into(), entry);
        while self.pictures > PICTURES
            && let Some(oldest) = self.oldest(|e| e.picture.is_some())
        {
            self.drop_picture(&oldest);
        }
    }

    fn get(&mut self, collection: &str, key: &str) -> Result<&Entry, WebError> {
        self.clock += 1;
        let used = self.clock;
        match self.queries.get_mut(key) {
            Some(entry) if entry.collection == collection => {
                entry.used = used;
                Ok(entry)
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
}

impl Kept {
    /// Keeps a query; the key follows from the collection and the values alone, so the same image has the same key.
    pub fn keep(&self, collection: &str, query: Query) -> String {
        let key = key(collection, &query);
        self.inner().put(&key, collection, query);
        key
    }

    /// The query of a key.
    ///
    /// # Errors
    /// A key that is not kept (any more), or one of another collection.
    pub fn get(&self, collection: &str, key: &str) -> Result<Arc<Query>, WebError> {
        Ok(Arc::clone(&self.inner().get(collection, key)?.query))
    }

    /// The picture of a query that was made of an image: a JPEG that was written here, never what was sent.
    ///
    /// # Errors
    /// As [`Kept::get`]; a query of a text or a vector, a picture that had to go.
    pub fn picture(&self, collection: &str, key: &str) -> Result<Arc<Vec<u8>>, WebError> {
        let picture = self.inner().get(collection, key)?.picture.clone();
        picture.ok_or_else(|| WebError::new(Kind::NotFound, format!("no picture of the query {} is kept", quoted(key))))
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(|e| e.into_inner())
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.inner().queries.len()
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
        Query { vector: vec![x, 1.0], own: None, picture: None, seconds: 0.0 }
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

    #[test]
    fn pictures_go_before_queries() {
        let kept = Kept::default();
        let with = |x, bytes| Query { picture: Some(Arc::new(vec![0; bytes])), ..query(x) };
        let a = kept.keep("c", with(1.0, PICTURES / 2));
        let b = kept.keep("c", with(2.0, PICTURES / 2));
        // the same query without its picture keeps it, and is used
        assert_eq!(kept.keep("c", query(1.0)), a);
        kept.keep("c", with(3.0, 1));
        assert!(kept.picture("c", &a).is_ok());
        assert!(kept.picture("c", &b).is_err() && kept.get("c", &b).is_ok());
        assert_eq!(kept.picture("d", &a).unwrap_err().kind, Kind::BadRequest);
        let huge = kept.keep("c", with(4.0, PICTURES + 1));
        assert!(kept.picture("c", &huge).is_err() && kept.get("c", &huge).is_ok());
        (0..KEPT).for_each(|i| drop(kept.keep("c", with(10.0 + i as f32, 7))));
        assert_eq!(kept.len(), KEPT);
        assert_eq!(kept.inner().pictures, 7 * KEPT);
    }
}
