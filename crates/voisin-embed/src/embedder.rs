//! What makes vectors of images and texts: the descriptor, or models.

use std::path::{Path, PathBuf};
#[cfg(feature = "onnx")]
use std::sync::atomic::{AtomicUsize, Ordering};

use rayon::prelude::*;
use voisin::{Error, Matrix, Result};

#[cfg(feature = "onnx")]
use crate::model::{Filter, ImageModel, Layout, Pooling, Preset, Resize, TextModel};
use crate::{DIM, MADE_BY, Picture, describe};

/// Images or texts between two writes of what is finished.
const BATCH: usize = 64;
/// The most that can be asked for.
#[cfg(feature = "onnx")]
const MAX_BATCH: usize = 1 << 16;

/// How models are used; what is left out comes from a `preprocessor_config.json` beside the model, or from a preset, which
/// is for ImageNet classifiers where none is named.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Options {
    /// A preparation that many models share, instead of the configuration beside the model.
    #[cfg(feature = "onnx")]
    pub preset: Option<Preset>,
    /// A configuration that lies elsewhere than beside the model.
    #[cfg(feature = "onnx")]
    pub preprocessor: Option<PathBuf>,
    /// How an image becomes the size that the model takes.
    #[cfg(feature = "onnx")]
    pub resize: Option<Resize>,
    /// Height and width of the middle that is kept then.
    #[cfg(feature = "onnx")]
    pub crop: Option<[u32; 2]>,
    /// How it is resized.
    #[cfg(feature = "onnx")]
    pub filter: Option<Filter>,
    /// What a byte is multiplied by; 1/255 as a rule.
    #[cfg(feature = "onnx")]
    pub rescale: Option<f32>,
    /// Subtracted from red, green, blue.
    #[cfg(feature = "onnx")]
    pub mean: Option<[f32; 3]>,
    /// What they are divided by then.
    #[cfg(feature = "onnx")]
    pub std: Option<[f32; 3]>,
    /// Order of the values.
    #[cfg(feature = "onnx")]
    pub layout: Option<Layout>,
    /// The input that takes images.
    #[cfg(feature = "onnx")]
    pub input: Option<String>,
    /// The output that is taken.
    #[cfg(feature = "onnx")]
    pub output: Option<String>,
    /// How it becomes one vector.
    #[cfg(feature = "onnx")]
    pub pooling: Option<Pooling>,
    /// Whether vectors are brought to unit length; they are where nothing is said.
    #[cfg(feature = "onnx")]
    pub unit: Option<bool>,
    /// A model for texts; beside a model for images one whose vectors lie among those of images (as CLIP's do).
    pub text_model: Option<PathBuf>,
    /// Its `tokenizer.json`; the one beside it where nothing is said.
    pub tokenizer: Option<PathBuf>,
    /// The output of the model for texts that is taken.
    #[cfg(feature = "onnx")]
    pub text_output: Option<String>,
    /// How it becomes one vector.
    #[cfg(feature = "onnx")]
    pub text_pooling: Option<Pooling>,
    /// Tokens that a text is cut to.
    #[cfg(feature = "onnx")]
    pub max_tokens: Option<usize>,
    /// Images or texts between two writes of what is finished, 64 as a rule; vectors do not depend on it.
    #[cfg(feature = "onnx")]
    pub batch: Option<usize>,
}

/// Makes vectors of images, and of texts where there is a model for them; every thread may use it.
///
/// A vector depends on image and model alone: not on the others of a batch, nor on the number of threads.
#[derive(Debug)]
#[non_exhaustive]
pub enum Embedder {
    /// [`describe`]: needs no weights.
    BuiltIn,
    /// ONNX models: for images, for texts, or for both.
    #[cfg(feature = "onnx")]
    Model(Box<Models>),
}

/// The models of an [`Embedder`]; one of them at least.
#[cfg(feature = "onnx")]
#[derive(Debug)]
pub struct Models {
    images: Option<ImageModel>,
    texts: Option<TextModel>,
    batch: usize,
}

impl Embedder {
    /// Opens a model for images, and one for texts where `options` name one; without any it is the built-in descriptor.
    ///
    /// # Errors
    /// A file that is no model, or one that images or texts cannot be given to; models whose vectors have different
    /// dimensions. The message names the file.
    #[cfg(feature = "onnx")]
    pub fn open(model: Option<&Path>, options: &Options) -> Result<Embedder> {
        if options.batch.is_some_and(|n| !(1..=MAX_BATCH).contains(&n)) {
            return Err(Error::param("batch", options.batch.unwrap_or(0), format!("1 to {MAX_BATCH}")));
        }
        let images = model.map(|path| ImageModel::open(path, options)).transpose()?;
        let texts = match (&options.text_model, &options.tokenizer) {
            (Some(path), Some(tokenizer)) => Some(TextModel::open(path, tokenizer, options)?),
            (Some(path), None) => Some(TextModel::open(path, &path.with_file_name("tokenizer.json"), options)?),
            (None, Some(tokenizer)) => {
                return Err(Error::param("tokenizer", tokenizer.display(), "something for a model of texts (--text-model)"));
            }
            (None, None) => None,
        };
        if let (Some(i), Some(t)) = (&images, &texts)
            && i.dim() != t.dim()
        {
            let context = format!("those of images by {}", i.made_by());
            return Err(Error::Dimension { name: t.path().display().to_string(), expected: i.dim(), got: t.dim(), context });
        }
        Ok(match (images, texts) {
            (None, None) => Embedder::BuiltIn,
            (images, texts) => Embedder::Model(Box::new(Models { images, texts, batch: options.batch.unwrap_or(BATCH) })),
        })
    }

    /// As with the feature `onnx`, which this build is without.
    ///
    /// # Errors
    /// Any model.
    #[cfg(not(feature = "onnx"))]
    pub fn open(model: Option<&Path>, options: &Options) -> Result<Embedder> {
        match model.or(options.text_model.as_deref()) {
            None => Ok(Embedder::BuiltIn),
            Some(path) => Err(Error::param("model", path.display(), "nothing: this build is without models (feature onnx)")),
        }
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        match self {
            Embedder::BuiltIn => DIM,
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => m.images.as_ref().map(ImageModel::dim).or(m.texts.as_ref().map(TextModel::dim)).unwrap_or(0),
        }
    }

    /// What made the vectors, with its preprocessing: vectors can only be compared if these are equal. That of the model for
    /// images where there are two: the one for texts is said to belong to it.
    pub fn made_by(&self) -> &str {
        match self {
            Embedder::BuiltIn => MADE_BY,
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => {
                m.images.as_ref().map(ImageModel::made_by).or(m.texts.as_ref().map(TextModel::made_by)).unwrap_or("")
            }
        }
    }

    /// The vector of an image: [`Embedder::dim`] values. A model uses all threads for it.
    ///
    /// # Errors
    /// [`Error::Format`] for an image that the model gives no number for, or without a model for images.
    pub fn embed(&self, picture: &Picture) -> Result<Vec<f32>> {
        self.on_lane(0, picture).map_err(|what| Error::format("image", what))
    }

    /// The vectors of images, made in parallel; each is what [`Embedder::embed`] gives.
    ///
    /// # Errors
    /// As [`Embedder::embed`], for the first such image.
    pub fn embed_batch(&self, pictures: &[Picture]) -> Result<Matrix> {
        let rows = self.each(pictures.len(), |i, lane| self.on_lane(lane, &pictures[i]));
        let rows: Vec<Vec<f32>> = rows.into_iter().collect::<Result<_, _>>().map_err(|what| Error::format("image", what))?;
        Ok(Matrix::new(rows.concat(), self.dim()))
    }

    /// Whether [`Embedder::embed`] works.
    pub fn takes_images(&self) -> bool {
        match self {
            Embedder::BuiltIn => true,
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => m.images.is_some(),
        }
    }

    /// Whether [`Embedder::text`] works.
    pub fn takes_texts(&self) -> bool {
        match self {
            Embedder::BuiltIn => false,
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => m.texts.is_some(),
        }
    }

    /// The vector of a text, to be compared with those of images where there is a model for both.
    ///
    /// # Errors
    /// [`Error::Param`] where there is no model for texts; [`Error::Format`] for a text that it gives no number for.
    pub fn text(&self, text: &str) -> Result<Vec<f32>> {
        if !self.takes_texts() {
            return Err(Error::param("text", text, "nothing without a model for texts (--text-model and --tokenizer)"));
        }
        self.text_on_lane(0, text).map_err(|what| Error::format("text", what))
    }

    /// What made the vectors of texts, whatever they are compared with.
    pub fn text_made_by(&self) -> Option<&str> {
        match self {
            Embedder::BuiltIn => None,
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => m.texts.as_ref().map(TextModel::made_by),
        }
    }

    /// What runs the models: `rten`, `onnxruntime`, or nothing for the descriptor.
    pub fn runtime(&self) -> Option<&'static str> {
        match self {
            Embedder::BuiltIn => None,
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => m.images.as_ref().map(ImageModel::runtime).or(m.texts.as_ref().map(TextModel::runtime)),
        }
    }

    /// Images or texts between two writes of what is finished.
    pub(crate) fn batch(&self) -> usize {
        match self {
            Embedder::BuiltIn => BATCH,
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => m.batch,
        }
    }

    pub(crate) fn on_lane(&self, lane: usize, picture: &Picture) -> Result<Vec<f32>, String> {
        let _ = lane;
        match self {
            Embedder::BuiltIn => Ok(describe(picture)),
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => match &m.images {
                Some(model) => model.embed(lane, picture),
                None => Err("there is no model for images, only one for texts (--model)".into()),
            },
        }
    }

    pub(crate) fn text_on_lane(&self, lane: usize, text: &str) -> Result<Vec<f32>, String> {
        let _ = (lane, text);
        match self {
            Embedder::BuiltIn => Err("there is no model for texts".into()),
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => match &m.texts {
                Some(model) => model.embed(lane, text),
                None => Err("there is no model for texts, only one for images (--text-model)".into()),
            },
        }
    }

    /// Does `work` for each of `n` things, in parallel; it is given the lane of the model that is free for it.
    pub(crate) fn each<T: Send>(&self, n: usize, work: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
        match self {
            Embedder::BuiltIn => (0..n).into_par_iter().map(|i| work(i, 0)).collect(),
            #[cfg(feature = "onnx")]
            Embedder::Model(m) => {
                let lanes = m.images.as_ref().map(ImageModel::lanes).or(m.texts.as_ref().map(TextModel::lanes));
                on_lanes(lanes.unwrap_or(1), n, work)
            }
        }
    }
}

/// On threads of their own: one of rayon's that waits for a model would begin another image meanwhile.
#[cfg(feature = "onnx")]
fn on_lanes<T: Send>(lanes: usize, n: usize, work: impl Fn(usize, usize) -> T + Sync) -> Vec<T> {
    let next = AtomicUsize::new(0);
    let lane = |lane: usize| {
        let mut done = Vec::new();
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= n {
                return done;
            }
            done.push((i, work(i, lane)));
        }
    };
    let lane = &lane;
    let mut done: Vec<(usize, T)> = std::thread::scope(|s| {
        let threads: Vec<_> = (1..=lanes.min(n)).map(|l| s.spawn(move || lane(l))).collect();
        threads.into_iter().flat_map(|t| t.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))).collect()
    });
    done.sort_unstable_by_key(|(i, _)| *i);
    done.into_iter().map(|(_, t)| t).collect()
}
