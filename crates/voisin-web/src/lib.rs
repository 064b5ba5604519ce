//! The web face: a server with a page and an API over collections.
#![forbid(unsafe_code)]

pub mod collection;
mod error;

pub use error::{Kind, WebError};
