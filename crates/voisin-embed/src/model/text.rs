//! Vectors of texts: a tokenizer and a model.

use std::path::{Path, PathBuf};

use serde_json::Value;
use tokenizers::{PaddingStrategy, Tokenizer, TruncationParams};
use voisin::{Error, Result};

use super::pooling::{self, Pooling};
use super::prepare::Layout;
use super::runtime::{Kind, Runtime, Tensor};
use super::{file, lanes, names, output_of};
use crate::Options;

/// Bytes that a tokenizer may have.
const MAX_TOKENIZER: u64 = 256 << 20;
/// Tokens where neither model nor tokenizer says how many there may be.
const TOKENS: usize = 512;
/// Most tokens that can be asked for.
const MAX_TOKENS: usize = 1 << 20;

/// A model that makes a vector of a text.
pub struct TextModel {
    path: PathBuf,
    tokenizer: Tokenizer,
    runtime: Runtime,
    output: String,
    pooling: Pooling,
    unit: bool,
    /// Tokens that every text is filled up to, where the model or the tokenizer wants that; and with what.
    fill: Option<usize>,
    filler: u32,
    d: usize,
    made_by: String,
}

impl TextModel {
    /// Opens a model and its tokenizer (a `tokenizer.json`), and tries them on a word.
    ///
    /// # Errors
    /// As [`super::ImageModel::open`]; a tokenizer that cannot be read; inputs other than `input_ids`, `attention_mask`,
    /// `token_type_ids` and `position_ids`.
    pub fn open(path: &Path, tokenizer: &Path, options: &Options) -> Result<TextModel> {
        let digest = file::digest(path)?;
        let (mut tokenizer, tokenizer_digest, most) = read_tokenizer(tokenizer)?;
        let runtime = Runtime::open(path, lanes())?;
        let ids = runtime.inputs.iter().find(|p| p.name == "input_ids");
        let strange = runtime.inputs.iter().any(|p| p.kind != Kind::Int || value(&p.name, &[], 0).is_none());
        let (Some(ids), false) = (ids, strange) else {
            let expected = "input_ids and perhaps attention_mask, token_type_ids, position_ids as integers are expected";
            return Err(Error::format(path, format!("inputs {}; {expected}", names(&runtime.inputs))));
        };
        let fixed = ids.shape.as_ref().and_then(|s| s.get(1).copied().flatten());
        let padding = tokenizer.get_padding().cloned();
        let filled = padding.as_ref().and_then(|p| match p.strategy {
            PaddingStrategy::Fixed(n) => Some(n),
            PaddingStrategy::BatchLongest => None,
        });
        let tokens = options.max_tokens.or(fixed).or(filled).or(most).unwrap_or(TOKENS);
        if !(1..=MAX_TOKENS).contains(&tokens) || fixed.is_some_and(|n| n != tokens) {
            let expected = fixed.map_or(format!("1 to {MAX_TOKENS}"), |n| format!("{n}, which {} takes", path.display()));
            return Err(Error::param("max-tokens", tokens, expected));
        }
        let filler = padding.map(|p| p.pad_id).unwrap_or_else(|| {
            let known = ["[PAD]", "<pad>", "<|pad|>", "<|endoftext|>", "</s>"];
            known.iter().find_map(|t| tokenizer.token_to_id(t)).unwrap_or(0)
        });
        tokenizer.with_padding(None);
        let truncation = TruncationParams { max_length: tokens, ..TruncationParams::default() };
        tokenizer.with_truncation(Some(truncation)).map_err(|e| Error::param("max-tokens", tokens, e.to_string()))?;
        let usual = ["text_embeds", "sentence_embedding", "embeddings", "embedding"];
        let output = output_of(path, &runtime.outputs, options.text_output.as_deref(), &usual)?.name.clone();
        let (unit, fill) = (options.unit.unwrap_or(true), fixed.or(filled.map(|_| tokens)));
        let pooling = options.text_pooling.unwrap_or(Pooling::None);
        let mut model =
            TextModel { path: path.into(), tokenizer, runtime, output, pooling, unit, fill, filler, d: 0, made_by: String::new() };
        model.d = model.try_it(options.text_pooling.is_some())?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let unit = if unit { ", unit" } else { "" };
        model.made_by =
            format!("{name} {digest}: tokenizer {tokenizer_digest}, tokens {tokens}, {} {}{unit}", model.output, model.pooling);
        Ok(model)
    }

    fn try_it(&mut self, given: bool) -> Result<usize> {
        let ((shape, values), real) = self.raw(0, "a").map_err(|e| Error::format(&self.path, format!("the model does not take the text `a`: {e}")))?;
        if !given {
            self.pooling = if shape.len() == 3 { Pooling::Mean } else { Pooling::None };
        }
        let row = pooling::pool(&shape, values, self.pooling, Layout::Nchw, real);
        let row = row.map_err(|what| Error::param("text-pooling", self.pooling, format!("one for {}, which gives {what}", self.path.display())))?;
        Ok(row.len())
    }

    /// The output for a text, and how many of its tokens are the text's own.
    fn raw(&self, lane: usize, text: &str) -> Result<(super::runtime::Output, usize), String> {
        let encoding = self.tokenizer.encode(text, true).map_err(|e| e.to_string())?;
        let mut ids: Vec<i32> = encoding.get_ids().iter().map(|&id| id as i32).collect();
        let real = ids.len();
        if real == 0 {
            return Err("no token in it".into());
        }
        ids.resize(self.fill.unwrap_or(real), self.filler as i32);
        let inputs = self.runtime.inputs.iter();
        let inputs = inputs.filter_map(|p| Some((p.name.as_str(), Tensor::Int(vec![1, ids.len()], value(&p.name, &ids, real)?)))).collect();
        Ok((self.runtime.run(lane, inputs, &self.output)?, real))
    }

    /// The vector of a text: [`TextModel::dim`] values, the same on every lane.
    ///
    /// # Errors
    /// A text without a token, or one that the model gives NaN, infinity or zeros for.
    pub(crate) fn embed(&self, lane: usize, text: &str) -> Result<Vec<f32>, String> {
        let ((shape, values), real) = self.raw(lane, text)?;
        let row = pooling::pool(&shape, values, self.pooling, Layout::Nchw, real)?;
        if row.len() != self.d {
            return Err(format!("{} values where other texts have {}", row.len(), self.d));
        }
        pooling::finish(row, self.unit)
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.d
    }

    /// File, digests, tokens, output and pooling in one line.
    pub fn made_by(&self) -> &str {
        &self.made_by
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// Lanes that work beside each other.
    pub(crate) fn lanes(&self) -> usize {
        self.runtime.lanes()
    }

    /// What runs it: `rten` or `onnxruntime`.
    pub fn runtime(&self) -> &'static str {
        self.runtime.name()
    }
}

impl std::fmt::Debug for TextModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("TextModel").field("made_by", &self.made_by).field("d", &self.d).finish_non_exhaustive()
    }
}

/// The values of an input, by its name; nothing for a name that is not known.
fn value(name: &str, ids: &[i32], real: usize) -> Option<Vec<i32>> {
    match name {
        "input_ids" => Some(ids.to_vec()),
        "attention_mask" => Some((0..ids.len()).map(|i| i32::from(i < real)).collect()),
        "token_type_ids" => Some(vec![0; ids.len()]),
        "position_ids" => Some((0..ids.len() as i32).collect()),
        _ => None,
    }
}

/// A tokenizer, its digest, and the tokens that a text may have by it or by the `tokenizer_config.json` beside it.
fn read_tokenizer(path: &Path) -> Result<(Tokenizer, String, Option<usize>)> {
    let len = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    if len > MAX_TOKENIZER {
        return Err(Error::format(path, format!("{len} bytes; a tokenizer.json has some megabytes")));
    }
    let digest = file::plain_digest(path)?;
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    let tokenizer = Tokenizer::from_bytes(&bytes).map_err(|e| Error::format(path, format!("no tokenizer.json: {e}")))?;
    let beside: Option<Value> =
        std::fs::read(path.with_file_name("tokenizer_config.json")).ok().and_then(|b| serde_json::from_slice(&b).ok());
    // where there is no limit a number far beyond any stands there
    let said = beside.and_then(|v| v.get("model_max_length")?.as_u64()).filter(|n| *n <= MAX_TOKENS as u64);
    let most = tokenizer.get_truncation().map(|t| t.max_length).or(said.map(|n| n as usize));
    Ok((tokenizer, digest, most))
}
