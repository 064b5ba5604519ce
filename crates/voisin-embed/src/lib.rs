//! Images to vectors: files are decoded ([`decode`]), described ([`describe`]) and gathered folder by folder ([`embed`]).
//!
//! ```
//! # fn demo(bytes: &[u8]) -> Result<(), voisin_embed::Unreadable> {
//! let picture = voisin_embed::decode(bytes)?; // PNG, JPEG, WebP, GIF, BMP
//! let row: Vec<f32> = voisin_embed::describe(&picture); // DIM values of unit length
//! # Ok(())
//! # }
//! ```
#![forbid(unsafe_code)]

mod decode;
mod describe;
mod embedder;
mod files;
mod folder;
mod state;

pub use decode::{MAX_FILE, MAX_PIXELS, Picture, Unreadable, decode, read};
pub use describe::{DIM, MADE_BY, describe};
pub use embedder::{Embedder, Options};
pub use files::{File, find};
pub use folder::{Embedded, Skipped, embed};
