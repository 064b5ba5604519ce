//! ONNX models: vectors of images ([`ImageModel`]) and of texts ([`TextModel`]).

mod config;
mod file;
#[cfg(feature = "ort")]
mod ort;
mod pooling;
mod prepare;
mod runtime;
mod text;

use std::path::{Path, PathBuf};

use voisin::{Error, Result};

pub use config::{CONFIG_FILE, Preset};
pub use pooling::Pooling;
pub use prepare::{Filter, Layout, Preparation, Resize, Size};
pub use runtime::ONNXRUNTIME;
pub use text::TextModel;

use crate::{Options, Picture};
use config::Shape;
use runtime::{Kind, Port, Runtime, Tensor};

/// A model that makes a vector of an image.
pub struct ImageModel {
    path: PathBuf,
    runtime: Runtime,
    input: String,
    output: String,
    prepare: Preparation,
    pooling: Pooling,
    unit: bool,
    /// Images that it takes at once; 1 where that is open.
    batch: usize,
    d: usize,
    made_by: String,
}

impl ImageModel {
    /// Opens a model, finds out how images are prepared for it, and tries it on a grey image.
    ///
    /// Cost: the file is read twice (its digest, its weights); one image.
    ///
    /// # Errors
    /// What is no ONNX model or is damaged; operators that are not supported; inputs that are no image; an output that is no
    /// vector an image and for which no pooling is named.
    pub fn open(path: &Path, options: &Options) -> Result<ImageModel> {
        let digest = file::digest(path)?;
        let runtime = Runtime::open(path, lanes())?;
        let input = image_input(path, &runtime.inputs, options.input.as_deref())?;
        let (shape, batch) = shape_of(path, input)?;
        let prepare = config::preparation(path, shape, options)?;
        let output = output_of(path, &runtime.outputs, options.output.as_deref(), &["image_embeds", "embeddings", "embedding"])?.clone();
        let usual = match options.preset {
            Some(Preset::Dino) if output.shape.as_ref().is_none_or(|s| s.len() == 3) => Some(Pooling::Cls),
            _ => None,
        };
        let input = input.name.clone();
        let pooling = options.pooling.or(usual).unwrap_or(Pooling::None);
        let unit = options.unit.unwrap_or(true);
        let output = output.name;
        let mut model = ImageModel { path: path.into(), runtime, input, output, prepare, pooling, unit, batch, d: 0, made_by: String::new() };
        let given = options.pooling.or(usual).is_some();
        model.d = model.try_it(given)?;
        let unit = if unit { ", unit" } else { "" };
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        model.made_by = format!("{name} {digest}: {}, {} {}{unit}", model.prepare, model.output, model.pooling);
        Ok(model)
    }

    /// Runs a grey image through the model; chooses the pooling by what comes out where none is named.
    fn try_it(&mut self, given: bool) -> Result<usize> {
        let grey = Picture { width: 64, height: 64, rgb: vec![128; 64 * 64 * 3] };
        let format = |what: String| Error::format(&self.path, what);
        let (shape, values) = self.raw(0, &grey).map_err(|e| format(format!("the model does not take a grey image: {e}")))?;
        if !given {
            self.pooling = pooling::usual(shape.len()).ok_or_else(|| {
                format(format!("output {} has the shape {shape:?}: is it tokens, name --pooling cls or mean; other outputs: {}", self.output, names(&self.runtime.outputs)))
            })?;
        }
        let row = pooling::pool(&shape, values, self.pooling, self.prepare.layout, usize::MAX);
        let row = row.map_err(|what| Error::param("pooling", self.pooling, format!("one for {}, which gives {what}", self.path.display())))?;
        Ok(row.len())
    }

    /// The output for an image as the model gives it: shape (1, ...) and values.
    fn raw(&self, lane: usize, picture: &Picture) -> Result<runtime::Output, String> {
        let mut values = Vec::new();
        let [h, w] = self.prepare.values(picture, &mut values)?;
        let one = values.len();
        // a model for a fixed number of images sees the image again in the other places
        (1..self.batch).for_each(|_| values.extend_from_within(..one));
        let shape = match self.prepare.layout {
            Layout::Nchw => vec![self.batch, 3, h, w],
            Layout::Nhwc => vec![self.batch, h, w, 3],
        };
        let (mut shape, mut values) = self.runtime.run(lane, vec![(&self.input, Tensor::F32(shape, values))], &self.output)?;
        if self.batch > 1 && shape.first() == Some(&self.batch) {
            values.truncate(values.len() / self.batch);
            shape[0] = 1;
        }
        Ok((shape, values))
    }

    /// The vector of an image: [`ImageModel::dim`] values, the same on every lane.
    ///
    /// # Errors
    /// An image that the model gives NaN, infinity or zeros for.
    pub(crate) fn embed(&self, lane: usize, picture: &Picture) -> Result<Vec<f32>, String> {
        let (shape, values) = self.raw(lane, picture)?;
        let row = pooling::pool(&shape, values, self.pooling, self.prepare.layout, usize::MAX)?;
        if row.len() != self.d {
            return Err(format!("{} values where other images have {}", row.len(), self.d));
        }
        pooling::finish(row, self.unit)
    }

    /// Values of a vector.
    pub fn dim(&self) -> usize {
        self.d
    }

    /// File, digest, preparation, output and pooling in one line.
    pub fn made_by(&self) -> &str {
        &self.made_by
    }

    /// Lanes that work beside each other.
    pub(crate) fn lanes(&self) -> usize {
        self.runtime.lanes()
    }

    /// What runs it: `rten` or `onnxruntime`.
    pub fn runtime(&self) -> &'static str {
        self.runtime.name()
    }

    /// What happens to an image before the model sees it.
    pub fn preparation(&self) -> &Preparation {
        &self.prepare
    }
}

impl std::fmt::Debug for ImageModel {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ImageModel").field("made_by", &self.made_by).field("d", &self.d).finish_non_exhaustive()
    }
}

/// One lane a thread.
fn lanes() -> usize {
    rayon::current_num_threads().max(1)
}

fn names(ports: &[Port]) -> String {
    ports.iter().map(|p| p.name.as_str()).collect::<Vec<_>>().join(", ")
}

fn image_input<'p>(path: &Path, ports: &'p [Port], asked: Option<&str>) -> Result<&'p Port> {
    if let Some(name) = asked {
        return ports.iter().find(|p| p.name == name).ok_or_else(|| Error::param("input", name, format!("one of {}", names(ports))));
    }
    let image = |p: &&Port| p.kind == Kind::F32 && p.shape.as_ref().is_none_or(|s| s.len() == 4);
    let named = ports.iter().find(|p| p.name == "pixel_values");
    let mut others = ports.iter().filter(image);
    match (named, others.next(), others.next()) {
        (Some(port), ..) | (None, Some(port), None) => Ok(port),
        (None, Some(_), Some(_)) => Err(Error::param("input", "none named", format!("one of {}", names(ports)))),
        (None, None, _) => {
            let shapes: Vec<String> = ports.iter().map(|p| format!("{} {}", p.name, shape_text(p))).collect();
            let what = format!("no input that takes images as 32-bit floats (n, 3, height, width); there are: {}", shapes.join("; "));
            Err(Error::format(path, what))
        }
    }
}

fn shape_text(port: &Port) -> String {
    let sizes = |s: &Vec<Option<usize>>| s.iter().map(|n| n.map_or("?".into(), |n| n.to_string())).collect::<Vec<_>>().join(", ");
    let kind = match port.kind {
        Kind::F32 => "floats",
        Kind::Int => "integers",
        Kind::Other => "of another type",
    };
    format!("({}) {kind}", port.shape.as_ref().map_or("any shape".into(), sizes))
}

/// Layout, size and number of images that an input takes.
fn shape_of(path: &Path, port: &Port) -> Result<(Shape, usize)> {
    let wrong = || Error::format(path, format!("input {} is {}; (n, 3, height, width) or (n, height, width, 3) is expected", port.name, shape_text(port)));
    if port.kind != Kind::F32 {
        return Err(wrong());
    }
    let Some(shape) = &port.shape else { return Ok((Shape { layout: Layout::Nchw, size: None }, 1)) };
    let &[n, a, b, c] = shape.as_slice() else { return Err(wrong()) };
    let (layout, h, w) = match (a, c) {
        (Some(3), _) => (Layout::Nchw, b, c),
        (_, Some(3)) => (Layout::Nhwc, a, b),
        (None, _) => (Layout::Nchw, b, c),
        _ => return Err(wrong()),
    };
    let side = |n: usize| u32::try_from(n).ok().filter(|n| (1..=prepare::MAX_SIDE).contains(n)).ok_or_else(wrong);
    let size = match (h, w) {
        (Some(h), Some(w)) => Some([side(h)?, side(w)?]),
        _ => None,
    };
    match n.unwrap_or(1) {
        n @ 1..=1024 => Ok((Shape { layout, size }, n)),
        _ => Err(wrong()),
    }
}

/// The output of this name, else one of the usual names, else the first.
fn output_of<'p>(path: &Path, ports: &'p [Port], asked: Option<&str>, usual: &[&str]) -> Result<&'p Port> {
    if let Some(name) = asked {
        return ports.iter().find(|p| p.name == name).ok_or_else(|| Error::param("output", name, format!("one of {}", names(ports))));
    }
    let usual = usual.iter().find_map(|name| ports.iter().find(|p| p.name == *name));
    usual.or(ports.first()).ok_or_else(|| Error::format(path, "the model has no output"))
}
