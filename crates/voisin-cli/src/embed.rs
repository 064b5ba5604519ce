//! `voisin embed`: images and texts to vectors.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin_embed::{Embedded, Embedder, Options, embed, embed_texts, find, read_texts};
use voisin_io::features::check_features_path;

use crate::common::{Context, beside, check_folder};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, time};

const EXAMPLES: &str = "Examples:
  voisin embed photos -o features.h5                  (a folder with all below it)
  voisin build --base features.h5 -o index            (ids are paths: photos/a/b.jpg is a/b.jpg)
  voisin embed one.png -o query.h5
  voisin search index --queries query.h5 -k 10

With a model (preprocessor_config.json beside it says how images are prepared, or flags do):
  voisin embed photos -o f.h5 --model resnet18.onnx
  voisin embed photos -o f.h5 --model vit.onnx --preset dino --pooling cls
  voisin embed photos -o f.h5 --model m.onnx --resize 256 --crop 224 --mean 0.5 --std 0.5

Images found by words, with the two models of a CLIP:
  voisin embed photos -o f.h5 --model vision.onnx
  voisin build --base f.h5 -o index
  voisin embed words.txt -o q.h5 --model vision.onnx --text-model text.onnx
  voisin search index --queries q.h5 -k 10
words.txt has a text a line (ids are line numbers); a .csv or .tsv has a column text, and perhaps
id and label. tokenizer.json lies beside text.onnx, or --tokenizer names it.

An index keeps what made its vectors (model, digest, preparation) and refuses queries made otherwise.
Models are ONNX files with 32-bit weights; from torch:
  torch.onnx.export(model, x, 'm.onnx', dynamo=False, input_names=['input'],
                    output_names=['features'], dynamic_axes={'input': {0: 'n'}})";

/// Images or texts that are named among those left out.
const FIRST: usize = 10;

/// Makes vectors of images, by a descriptor for look-alikes or by a model; ids are their paths, labels the folders they lie in
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Embed {
    /// Folders, taken with all below them, and images: PNG, JPEG, WebP, GIF (its first frame), BMP; with --text-model
    /// files of texts
    #[arg(required = true, value_name = "IMAGES")]
    images: Vec<PathBuf>,
    /// File to write: .h5 (features, index, labels), .npz (the same) or .npy (the vectors alone)
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
    #[command(flatten)]
    model: ModelArgs,
}

/// Which models make vectors, and how.
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Models")]
pub struct ModelArgs {
    /// ONNX model that makes the vectors [default: a descriptor that needs no weights]
    #[arg(long, value_name = "M.onnx")]
    pub model: Option<PathBuf>,
    /// ONNX model that makes vectors of texts; with --model its partner, whose vectors are compared with those of images
    #[arg(long, value_name = "T.onnx")]
    pub text_model: Option<PathBuf>,
    /// Tokenizer of the texts [default: tokenizer.json beside the model for texts]
    #[arg(long, value_name = "FILE", requires = "text_model")]
    pub tokenizer: Option<PathBuf>,
    #[cfg(feature = "onnx")]
    #[command(flatten)]
    how: HowArgs,
}

/// How images and texts are given to models; all of it has defaults.
#[cfg(feature = "onnx")]
#[derive(Args, Clone, Debug, Default)]
#[command(next_help_heading = "Models")]
struct HowArgs {
    /// Preparation: resnet (ImageNet classifiers), clip or dino [default: preprocessor_config.json beside the model, else
    /// resnet]
    #[arg(long, value_name = "NAME", requires = "model")]
    preset: Option<voisin_embed::Preset>,
    /// A preprocessor_config.json that lies elsewhere
    #[arg(long, value_name = "FILE", conflicts_with = "preset", requires = "model")]
    preprocessor: Option<PathBuf>,
    /// Shorter side of the resized image (256), or height and width (224x224), or none
    #[arg(long, value_name = "SIZE", requires = "model")]
    resize: Option<voisin_embed::Resize>,
    /// The middle that the model sees: 224 or 224x160
    #[arg(long, value_name = "SIZE", requires = "model")]
    crop: Option<voisin_embed::Size>,
    /// nearest, box, bilinear, hamming, bicubic or lanczos, as Pillow has them
    #[arg(long, value_name = "NAME", requires = "model")]
    filter: Option<voisin_embed::Filter>,
    /// What the bytes of a pixel are multiplied by [default: 1/255]
    #[arg(long, value_name = "X", requires = "model")]
    rescale: Option<f32>,
    /// Subtracted from red, green, blue then
    #[arg(long, value_name = "R,G,B", value_parser = three, requires = "model")]
    mean: Option<[f32; 3]>,
    /// What they are divided by
    #[arg(long, value_name = "R,G,B", value_parser = three, requires = "model")]
    std: Option<[f32; 3]>,
    /// nchw or nhwc [default: what the model says]
    #[arg(long, value_name = "NAME", requires = "model")]
    layout: Option<voisin_embed::Layout>,
    /// Input that takes images, where there are several
    #[arg(long, value_name = "NAME", requires = "model")]
    input: Option<String>,
    /// Output that is taken [default: image_embeds, or the first]
    #[arg(long, value_name = "NAME", requires = "model")]
    output: Option<String>,
    /// How the output becomes a vector: none (n, d), cls or mean of tokens, gap over height and width
    #[arg(long, value_name = "NAME", requires = "model")]
    pooling: Option<voisin_embed::Pooling>,
    /// Leave vectors at the length that the model gives them
    #[arg(long)]
    no_normalise: bool,
    /// Output of the model for texts [default: text_embeds, sentence_embedding, or the first]
    #[arg(long, value_name = "NAME", requires = "text_model")]
    text_output: Option<String>,
    /// none, cls, eos (the last token) or mean [default: mean of tokens]
    #[arg(long, value_name = "NAME", requires = "text_model")]
    text_pooling: Option<voisin_embed::Pooling>,
    /// Tokens that a text is cut to [default: what model or tokenizer say, else 512]
    #[arg(long, value_name = "N", requires = "text_model")]
    max_tokens: Option<usize>,
    /// Images between two writes of what is finished; vectors do not depend on it [default: 64]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
}

#[cfg(feature = "onnx")]
fn three(s: &str) -> Result<[f32; 3], String> {
    let values: Result<Vec<f32>, _> = s.split(',').map(|x| x.trim().parse::<f32>()).collect();
    match *values.map_err(|_| format!("`{s}` is no list of numbers"))? {
        [x] => Ok([x; 3]),
        [r, g, b] => Ok([r, g, b]),
        _ => Err("three numbers, such as 0.485,0.456,0.406".into()),
    }
}

impl ModelArgs {
    /// Opens the models, or takes the descriptor where there are none.
    ///
    /// # Errors
    /// What opening gives.
    pub fn open(&self) -> Result<Embedder> {
        Ok(Embedder::open(self.model.as_deref(), &self.options())?)
    }

    /// How images and texts are given to them.
    #[cfg(feature = "onnx")]
    pub fn options(&self) -> Options {
        let how = self.how.clone();
        Options {
            preset: how.preset,
            preprocessor: how.preprocessor,
            resize: how.resize,
            crop: how.crop.map(|c| c.0),
            filter: how.filter,
            rescale: how.rescale,
            mean: how.mean,
            std: how.std,
            layout: how.layout,
            input: how.input,
            output: how.output,
            pooling: how.pooling,
            unit: how.no_normalise.then_some(false),
            text_model: self.text_model.clone(),
            tokenizer: self.tokenizer.clone(),
            text_output: how.text_output,
            text_pooling: how.text_pooling,
            max_tokens: how.max_tokens,
            batch: how.batch,
        }
    }

    /// The model for texts.
    #[cfg(not(feature = "onnx"))]
    pub fn options(&self) -> Options {
        Options { text_model: self.text_model.clone(), tokenizer: self.tokenizer.clone() }
    }
}

impl Embed {
    /// Runs it.
    ///
    /// # Errors
    /// A folder that cannot be read, or without a readable image; a model that cannot be used; a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        check_features_path(&self.out)?;
        check_folder(&self.out)?;
        let part = beside(&self.out, "part");
        let texts = self.model.text_model.is_some();
        let (done, all, embedder) = if texts {
            let mut texts = Vec::new();
            for file in &self.images {
                texts.extend(read_texts(file)?);
            }
            let embedder = self.model.open()?;
            (embed_texts(&texts, &embedder, &self.out, &part, &cx.screen)?, texts.len(), embedder)
        } else {
            let files = find(&self.images)?;
            if files.is_empty() {
                let names: Vec<String> = self.images.iter().map(|p| p.display().to_string()).collect();
                let hint = "images are files that end in .png, .jpg, .jpeg, .webp, .gif or .bmp";
                return Err(Fail::data(format!("{}: no image in it", names.join(", ")), hint));
            }
            let embedder = self.model.open()?;
            (embed(&files, &embedder, &self.out, &part, &cx.screen)?, files.len(), embedder)
        };
        Ok(self.outcome(&done, all as u64, if texts { "texts" } else { "images" }, &embedder, cx))
    }

    fn outcome(&self, done: &Embedded, all: u64, what: &str, embedder: &Embedder, cx: &Context) -> Outcome {
        let total = cx.elapsed();
        let mut o = Outcome::new("embed");
        o.set("n", done.n).set("d", done.d).set("made_by", done.made_by.clone()).set("labels", done.labels);
        o.set("resumed", done.resumed).set("skipped", done.skipped.len());
        let unreadable = done.skipped.iter().map(|s| json!({"file": s.path.display().to_string(), "reason": s.reason}));
        o.set("unreadable", unreadable.collect::<Vec<_>>());
        if let Some(runtime) = embedder.runtime() {
            o.set("runtime", runtime);
        }
        o.set("seconds", Seconds { total, ..Seconds::default() }).set("out", self.out.display().to_string());
        let now = (all - done.resumed) as f64;
        o.line(format!("{} {what} as vectors of {} dimensions in {} ({:.0}/s)", count(done.n), done.d, time(total), now / total));
        if embedder.runtime().is_some() {
            o.line(format!("made by {}", done.made_by));
        }
        if let (Some(made_by), "texts") = (embedder.text_made_by(), what)
            && made_by != done.made_by
        {
            o.set("text_made_by", made_by);
            o.line(format!("texts by {made_by}"));
        }
        if done.labels > 0 && what == "images" {
            o.line(format!("{} labels: the folders they lie in", count(done.labels as u64)));
        }
        if done.resumed > 0 {
            o.line(format!("{} {what} were finished by an earlier run", count(done.resumed)));
        }
        for skipped in done.skipped.iter().take(FIRST) {
            o.line(format!("left out: {}: {}", skipped.path.display(), skipped.reason));
        }
        if done.skipped.len() > FIRST {
            o.line(format!("left out: {} more (--json names all)", done.skipped.len() - FIRST));
        }
        o.line(format!("written to {}", self.out.display()));
        o
    }
}
