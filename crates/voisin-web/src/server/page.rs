//! The page: files that are part of the binary.

use std::path::{Path, PathBuf};

use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use xxhash_rust::xxh3::xxh3_128;

use super::answer::{Refused, bytes_of};
use super::kept::quoted;
use crate::{Kind, WebError};

/// Names with the bytes of all that lies in `static/`, by name (`build.rs`).
const FILES: &[(&str, &[u8])] = &include!(concat!(env!("OUT_DIR"), "/files.rs"));

/// Browsers ask each time whether a file has changed, so that a new version is seen at once.
const KEEP: &str = "no-cache";

/// The page's files: those of the binary, or of a folder while the page is worked on.
#[derive(Debug)]
pub struct Files {
    folder: Option<PathBuf>,
    tags: Vec<String>,
}

impl Files {
    /// Of the binary, or of `folder`.
    pub fn new(folder: Option<PathBuf>) -> Files {
        Files { folder, tags: FILES.iter().map(|(_, bytes)| tag(bytes)).collect() }
    }

    /// The file of this name.
    ///
    /// # Errors
    /// There is none.
    pub fn get(&self, name: &str, headers: &HeaderMap) -> Result<Response, Refused> {
        if let Some(folder) = &self.folder {
            let bytes = from_folder(folder, name).ok_or_else(|| none(name))?;
            return Ok(bytes_of(content_type(name), "no-store", bytes));
        }
        let at = FILES.iter().position(|(n, _)| *n == name).ok_or_else(|| none(name))?;
        let tag = &self.tags[at];
        let known = headers.get_all(header::IF_NONE_MATCH).iter().filter_map(|v| v.to_str().ok());
        let known = known.flat_map(|v| v.split(',')).any(|t| t.trim().trim_start_matches("W/") == tag);
        let mut response = if known {
            (StatusCode::NOT_MODIFIED, [(header::CACHE_CONTROL, KEEP)]).into_response()
        } else {
            bytes_of(content_type(name), KEEP, FILES[at].1)
        };
        if let Ok(value) = HeaderValue::from_str(tag) {
            response.headers_mut().insert(header::ETAG, value);
        }
        Ok(response)
    }
}

fn none(name: &str) -> Refused {
    WebError::new(Kind::NotFound, format!("no file {} belongs to the page", quoted(name))).into()
}

fn tag(bytes: &[u8]) -> String {
    format!("\"{:032x}\"", xxh3_128(bytes))
}

/// A plain name below a folder; nothing else, whatever it looks like.
fn from_folder(folder: &Path, name: &str) -> Option<Vec<u8>> {
    let plain = |part: &str| {
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b))
    };
    name.split('/').all(plain).then(|| std::fs::read(folder.join(name)).ok())?
}

fn content_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "html" => "text/html; charset=utf-8",
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "json" | "webmanifest" => "application/json",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_file_has_a_type() {
        let names: Vec<&str> = FILES.iter().map(|(n, _)| *n).collect();
        assert!(names.contains(&"index.html"), "{names:?}");
        assert!(names.iter().all(|n| content_type(n) != "application/octet-stream"), "{names:?}");
    }

    #[test]
    fn a_known_file_is_not_sent_again() {
        let files = Files::new(None);
        let first = files.get("index.html", &HeaderMap::new()).expect("the page");
        let tag = first.headers()[header::ETAG].clone();
        let mut headers = HeaderMap::new();
        headers.insert(header::IF_NONE_MATCH, tag);
        assert_eq!(files.get("index.html", &headers).expect("the page").status(), 304);
    }

    #[test]
    fn nothing_beside_the_folder() {
        let files = Files::new(Some(Path::new(env!("CARGO_MANIFEST_DIR")).join("static")));
        assert!(files.get("index.html", &HeaderMap::new()).is_ok());
        for name in [
            "../Cargo.toml",
            "..",
            "",
            ".",
            "/etc/passwd",
            "a/../../Cargo.toml",
            "..\\Cargo.toml",
            "index.html\0",
            "./index.html",
        ] {
            assert!(files.get(name, &HeaderMap::new()).is_err(), "{name}");
        }
    }
}
