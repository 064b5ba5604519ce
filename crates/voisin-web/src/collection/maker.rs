//! What makes vectors: of the images of a folder, and of queries. The only place that knows of models.

use std::path::Path;

use voisin::Watch;
use voisin_embed::{Embedded, File};

use crate::{Kind, WebError};

/// A descriptor or a model.
#[derive(Clone, Debug)]
pub(super) struct Maker {
    made_by: String,
    d: usize,
}

impl Maker {
    /// The built-in descriptor, or the model that is named.
    pub fn new(model: Option<&Path>) -> Result<Maker, WebError> {
        match model {
            None => Ok(Maker { made_by: voisin_embed::MADE_BY.into(), d: voisin_embed::DIM }),
            Some(path) => {
                let what = format!("{}: models cannot be run by this build", path.display());
                Err(WebError::new(Kind::Unable, what).hint("leave --model out for the built-in descriptor"))
            }
        }
    }

    /// Name and version: vectors of the same one can be compared.
    pub fn made_by(&self) -> &str {
        &self.made_by
    }

    /// Dimensions of its vectors.
    pub fn dim(&self) -> usize {
        self.d
    }

    /// Writes the vectors of images to a file, resuming from `state` (see [`voisin_embed::embed`]).
    pub fn embed(&self, files: &[File], out: &Path, state: &Path, watch: &dyn Watch) -> voisin::Result<Embedded> {
        voisin_embed::embed(files, out, state, watch)
    }

    /// The vector of the bytes of an image file.
    pub fn image(&self, bytes: &[u8]) -> Result<Vec<f32>, WebError> {
        let picture = voisin_embed::decode(bytes).map_err(|e| {
            WebError::new(Kind::Unreadable, format!("the image cannot be read: {e}"))
                .hint("send a PNG, JPEG, WebP, GIF or BMP image")
        })?;
        Ok(voisin_embed::describe(&picture))
    }

    /// The vector of a text, where the model takes texts.
    pub fn text(&self, _text: &str) -> Result<Vec<f32>, WebError> {
        Err(WebError::new(Kind::Unable, self.no_text().unwrap_or_default()))
    }

    /// Why it takes no texts.
    pub fn no_text(&self) -> Option<String> {
        Some(format!("{} describes images, not texts", self.made_by))
    }
}
