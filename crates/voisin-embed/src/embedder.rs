//! What makes vectors of images and texts: the descriptor, or a model.

use std::path::{Path, PathBuf};

use rayon::prelude::*;
use voisin::{Error, Matrix, Result};

use crate::{DIM, MADE_BY, Picture, describe};

/// How a model is used; what is left out comes from a `preprocessor_config.json` beside it, or from the model.
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Options {
    /// A model whose vectors of texts lie among those of images (as CLIP's do).
    pub text_model: Option<PathBuf>,
    /// Its `tokenizer.json`.
    pub tokenizer: Option<PathBuf>,
}

/// Makes vectors of images, and of texts where there is a model for them; every thread may use it.
#[derive(Debug)]
#[non_exhaustive]
pub enum Embedder {
    /// [`describe`]: needs no weights.
    BuiltIn,
}

impl Embedder {
    /// Opens a model; without one it is the built-in descriptor.
    ///
    /// # Errors
    /// A file that is no model, or one that images cannot be given to; the message names it.
    pub fn open(model: Option<&Path>, options: &Options) -> Result<Embedder> {
        match model.or(options.text_model.as_deref()) {
            None => Ok(Embedder::BuiltIn),
            Some(path) => Err(Error::format(path, "models are not supported by this build")),
        }
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        match self {
            Embedder::BuiltIn => DIM,
        }
    }

    /// What made the vectors, with its preprocessing: vectors can only be compared if these are equal.
    pub fn made_by(&self) -> &str {
        match self {
            Embedder::BuiltIn => MADE_BY,
        }
    }

    /// The vector of an image: [`Embedder::dim`] values.
    ///
    /// # Errors
    /// An image that the model gives no number for.
    pub fn embed(&self, picture: &Picture) -> Result<Vec<f32>> {
        match self {
            Embedder::BuiltIn => Ok(describe(picture)),
        }
    }

    /// The vectors of images, made in parallel; each is what [`Embedder::embed`] gives.
    ///
    /// # Errors
    /// As [`Embedder::embed`], for the first such image.
    pub fn embed_batch(&self, pictures: &[Picture]) -> Result<Matrix> {
        let rows: Vec<Vec<f32>> = pictures.par_iter().map(|p| self.embed(p)).collect::<Result<_>>()?;
        Ok(Matrix::new(rows.concat(), self.dim()))
    }

    /// Whether [`Embedder::text`] works.
    pub fn takes_texts(&self) -> bool {
        match self {
            Embedder::BuiltIn => false,
        }
    }

    /// The vector of a text, to be compared with those of images.
    ///
    /// # Errors
    /// [`Error::Param`] where there is no model for texts.
    pub fn text(&self, text: &str) -> Result<Vec<f32>> {
        Err(Error::param("text", text, "a model for texts (--text-model and --tokenizer) is needed"))
    }
}
