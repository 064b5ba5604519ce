//! The web face: a server with a page and an API over collections.
#![forbid(unsafe_code)]

pub mod collection;
mod error;
pub mod server;

pub use error::{Kind, WebError};
pub use server::{Options, Server};
