//! Images to vectors: files are decoded ([`decode`]), described ([`describe`]) or given to a model ([`Embedder`]), and gathered
//! folder by folder ([`embed`]). Texts to vectors where there is a model for them ([`embed_texts`]).
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
#[cfg(feature = "onnx")]
mod model;
mod state;
mod texts;

pub use decode::{MAX_FILE, MAX_PIXELS, Picture, Unreadable, decode, read, size};
pub use describe::{DIM, MADE_BY, describe};
#[cfg(feature = "onnx")]
pub use embedder::Models;
pub use embedder::{Embedder, Options};
pub use files::{File, find};
pub use folder::{Embedded, Skipped, embed};
#[cfg(feature = "onnx")]
pub use model::{CONFIG_FILE, Filter, ImageModel, Layout, ONNXRUNTIME, Pooling, Preparation, Preset, Resize, Size, TextModel};
pub use texts::{Text, embed_texts, read_texts};
