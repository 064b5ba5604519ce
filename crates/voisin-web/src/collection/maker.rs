//! What makes vectors: of the images of a folder, and of queries. The only place that knows of models.

use std::path::Path;

use voisin::Watch;
use voisin_embed::{Embedded, Embedder, File, Options, Picture};

use crate::{Kind, WebError};

/// The built-in descriptor, or models.
#[derive(Debug)]
pub(super) struct Maker(Embedder);

impl Maker {
    /// The built-in descriptor, or the models that are named.
    pub fn new(model: Option<&Path>, options: &Options) -> Result<Maker, WebError> {
        Ok(Maker(Embedder::open(model, options)?))
    }

    /// Name and version: vectors of the same one can be compared.
    pub fn made_by(&self) -> &str {
        self.0.made_by()
    }

    /// Dimensions of its vectors.
    pub fn dim(&self) -> usize {
        self.0.dim()
    }

    /// Writes the vectors of images to a file, resuming from `state` (see [`voisin_embed::embed`]).
    pub fn embed(&self, files: &[File], out: &Path, state: &Path, watch: &dyn Watch) -> voisin::Result<Embedded> {
        voisin_embed::embed(files, &self.0, out, state, watch)
    }

    /// The vector of the bytes of an image file, and what was decoded of them.
    pub fn image(&self, bytes: &[u8]) -> Result<(Vec<f32>, Picture), WebError> {
        let unreadable = |e: String| {
            let what = format!("the image cannot be read: {e}");
            WebError::new(Kind::Unreadable, what).hint("send a PNG, JPEG, WebP, GIF or BMP image")
        };
        let picture = voisin_embed::decode(bytes).map_err(|e| unreadable(e.to_string()))?;
        let vector = self.0.embed(&picture).map_err(|e| unreadable(e.to_string()))?;
        Ok((vector, picture))
    }

    /// The vector of a text, where the model takes texts.
    pub fn text(&self, text: &str) -> Result<Vec<f32>, WebError> {
        self.0.text(text).map_err(|e| WebError::new(Kind::BadRequest, e.to_string()))
    }

    /// Why it takes no images.
    pub fn no_image(&self) -> Option<String> {
        (!self.0.takes_images()).then(|| "there is a model for texts, but none for images (--model FILE)".into())
    }

    /// Why it takes no texts.
    pub fn no_text(&self) -> Option<String> {
        (!self.0.takes_texts()).then(|| format!("{} describes images, not texts (--text-model FILE)", self.made_by()))
    }
}
