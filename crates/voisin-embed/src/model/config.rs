//! Which preparation a model wants: presets, and the `preprocessor_config.json` of Hugging Face.

use std::path::{Path, PathBuf};

use serde_json::Value;
use voisin::{Error, Result};

use super::prepare::{Filter, Layout, MAX_SIDE, Preparation, Resize, words};
use crate::Options;

/// The file that is looked for beside a model.
pub const CONFIG_FILE: &str = "preprocessor_config.json";
/// Bytes that such a file may have.
const MAX_CONFIG: u64 = 1 << 20;

/// Preparations that many models share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Preset {
    /// ImageNet classifiers of torchvision: shorter side to 8/7 of the input, bilinear, the middle.
    Resnet,
    /// CLIP: shorter side to the input, bicubic, the middle, colours of its own.
    Clip,
    /// DINO and DINOv2: shorter side to 8/7 of the input, bicubic, the middle; the class token of an output of tokens.
    Dino,
}
words!(Preset, "a preset", "resnet" = Resnet, "clip" = Clip, "dino" = Dino);

const IMAGENET: [[f32; 3]; 2] = [[0.485, 0.456, 0.406], [0.229, 0.224, 0.225]];
const CLIP: [[f32; 3]; 2] = [[0.481_454_66, 0.457_827_5, 0.408_210_73], [0.268_629_54, 0.261_302_6, 0.275_777_1]];

/// What a model's own shape says: layout, height, width (nothing where they are not fixed).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Shape {
    pub layout: Layout,
    pub size: Option<[u32; 2]>,
}

/// The preparation for a model: flags, then the configuration beside it (unless a preset is named), then a preset.
///
/// # Errors
/// A configuration that cannot be read or asks for what is not done; an input size that nothing names.
pub(crate) fn preparation(model: &Path, shape: Shape, options: &Options) -> Result<Preparation> {
    let beside = model.with_file_name(CONFIG_FILE);
    let file: Option<PathBuf> = match (&options.preprocessor, options.preset) {
        (Some(file), _) => Some(file.clone()),
        (None, None) if beside.is_file() => Some(beside),
        _ => None,
    };
    let said = options.preset.is_some() || options.crop.is_some() || options.resize.is_some();
    let mut p = match file {
        Some(file) => read(&file, shape)?,
        None if shape.size.is_none() && !said => {
            let what = format!(
                "its input size is not fixed: name it (--crop 224) or a preset (--preset clip), or put {CONFIG_FILE} beside it"
            );
            return Err(Error::format(model, what));
        }
        None => preset(options.preset, shape, options.crop),
    };
    if let Some(resize) = options.resize {
        p.resize = resize;
        p.crop = p.crop.filter(|_| !matches!(resize, Resize::Exact(_)));
    }
    p.crop = options.crop.or(p.crop);
    p.filter = options.filter.unwrap_or(p.filter);
    p.rescale = options.rescale.unwrap_or(p.rescale);
    p.mean = options.mean.unwrap_or(p.mean);
    p.std = options.std.unwrap_or(p.std);
    p.layout = options.layout.unwrap_or(p.layout);
    if p.std.iter().chain([&p.rescale]).any(|v| !(v.is_finite() && *v != 0.0)) || p.mean.iter().any(|v| !v.is_finite()) {
        return Err(Error::param("preprocessing", &p, "finite numbers, std and rescale other than 0"));
    }
    let least = match p.resize {
        Resize::None => None,
        Resize::Shortest(n) => Some([n, n]),
        Resize::Exact(size) => Some(size),
    };
    if let (Some([h, w]), Some([most_h, most_w])) = (p.crop, least)
        && (h > most_h || w > most_w)
    {
        return Err(Error::param(
            "crop",
            format!("{h}x{w}"),
            format!("at most the {most_h}x{most_w} of the resized image (--resize)"),
        ));
    }
    match (shape.size, p.size()) {
        (Some(wanted), Some(got)) if wanted != got => Err(Error::param(
            "input size",
            format!("{}x{}", got[0], got[1]),
            format!("{}x{}, which {} takes (--crop)", wanted[0], wanted[1], model.display()),
        )),
        (Some(wanted), None) => Err(Error::param(
            "input size",
            "not fixed",
            format!("{}x{}, which {} takes (--crop)", wanted[0], wanted[1], model.display()),
        )),
        _ => Ok(p),
    }
}

fn preset(preset: Option<Preset>, shape: Shape, crop: Option<[u32; 2]>) -> Preparation {
    let size = crop.or(shape.size).unwrap_or([224, 224]);
    let preset = preset.unwrap_or(Preset::Resnet);
    let [mean, std] = if preset == Preset::Clip { CLIP } else { IMAGENET };
    let shortest = if preset == Preset::Clip { size[0] } else { (size[0] * 8 + 3) / 7 };
    let square = size[0] == size[1];
    Preparation {
        resize: if square { Resize::Shortest(shortest) } else { Resize::Exact(size) },
        filter: if preset == Preset::Resnet { Filter::Bilinear } else { Filter::Bicubic },
        crop: square.then_some(size),
        even: true,
        rescale: 1.0 / 255.0,
        mean,
        std,
        bgr: false,
        layout: shape.layout,
    }
}

fn read(path: &Path, shape: Shape) -> Result<Preparation> {
    let len = std::fs::metadata(path).map_err(|e| Error::io(path, e))?.len();
    if len > MAX_CONFIG {
        return Err(Error::format(path, format!("{len} bytes; a preprocessor_config.json has a few hundred")));
    }
    let text = std::fs::read_to_string(path).map_err(|e| Error::io(path, e))?;
    let value: Value = serde_json::from_str(&text).map_err(|e| Error::format(path, format!("no JSON: {e}")))?;
    of_config(&value, shape).map_err(|what| Error::format(path, what))
}

/// What `transformers` does by such a configuration.
fn of_config(v: &Value, shape: Shape) -> Result<Preparation, String> {
    if !v.is_object() {
        return Err("no JSON object".into());
    }
    let on = |name: &str, default: bool| v.get(name).and_then(Value::as_bool).unwrap_or(default);
    for name in ["do_pad", "do_thumbnail", "do_align_long_axis", "do_crop_margin", "do_image_splitting"] {
        if on(name, false) {
            return Err(format!("{name} is not done here; say how with --resize, --crop, --mean and --std"));
        }
    }
    let kind = ["image_processor_type", "feature_extractor_type"].iter().find_map(|n| v.get(*n)?.as_str()).unwrap_or("");
    let mut resize = Resize::None;
    let mut crop = None;
    if on("do_resize", true) {
        resize = match v.get("size") {
            Some(size) => size_of(size, kind)?,
            None => Resize::Exact(shape.size.unwrap_or([224, 224])),
        };
    }
    if let (Some(pct), Resize::Shortest(n)) = (v.get("crop_pct").and_then(Value::as_f64), resize)
        && n < 384
        && (0.1..=1.0).contains(&pct)
    {
        // ConvNext's: a larger image, of which the middle is kept
        resize = Resize::Shortest((f64::from(n) / pct) as u32);
        crop = Some([n, n]);
    } else if let (Resize::Shortest(n), true) = (resize, kind.starts_with("ConvNext")) {
        resize = Resize::Exact([n, n]);
    }
    if on("do_center_crop", false) {
        let size = v.get("crop_size").ok_or("do_center_crop without crop_size")?;
        crop = match size_of(size, "square")? {
            Resize::Exact(size) => Some(size),
            _ => return Err(format!("crop_size {size}: height and width are expected")),
        };
    }
    let rescale = if on("do_rescale", true) { number(v, "rescale_factor")?.unwrap_or(1.0 / 255.0) } else { 1.0 };
    let normal = on("do_normalize", true);
    let three =
        |name: &str, default: [f32; 3], off: f32| if normal { Ok(three(v, name)?.unwrap_or(default)) } else { Ok([off; 3]) };
    let default = if kind.starts_with("CLIP") { CLIP } else { IMAGENET };
    Ok(Preparation {
        resize,
        filter: filter_of(v.get("resample"), kind)?,
        crop,
        even: false,
        rescale: rescale as f32,
        mean: three("image_mean", default[0], 0.0).map_err(|e: String| e)?,
        std: three("image_std", default[1], 1.0).map_err(|e: String| e)?,
        bgr: on("do_flip_channel_order", false),
        layout: shape.layout,
    })
}

/// A size as it stands there: a number, or height and width, or the shortest edge.
fn size_of(v: &Value, kind: &str) -> Result<Resize, String> {
    let side = |v: &Value| {
        let side = v.as_u64().filter(|n| (1..=u64::from(MAX_SIDE)).contains(n));
        side.map(|n| n as u32).ok_or_else(|| format!("size {v}: 1 to {MAX_SIDE} pixels are expected"))
    };
    if v.is_u64() {
        // these took a bare number for the shorter side before sizes had names
        let shorter = ["CLIP", "ChineseCLIP", "Bit", "ConvNext", "AltCLIP"].iter().any(|k| kind.starts_with(k));
        return Ok(if shorter { Resize::Shortest(side(v)?) } else { Resize::Exact([side(v)?, side(v)?]) });
    }
    if v.get("longest_edge").is_some_and(|v| !v.is_null()) {
        return Err(format!("size {v}: longest_edge is not done here; say how with --resize and --crop"));
    }
    match (v.get("height"), v.get("width"), v.get("shortest_edge")) {
        (Some(h), Some(w), _) => Ok(Resize::Exact([side(h)?, side(w)?])),
        (None, None, Some(short)) => Ok(Resize::Shortest(side(short)?)),
        _ => Err(format!("size {v}: a number, height and width, or shortest_edge is expected")),
    }
}

/// Numbers as Pillow's.
fn filter_of(v: Option<&Value>, kind: &str) -> Result<Filter, String> {
    let bicubic = ["CLIP", "Bit", "ChineseCLIP", "DeiT"].iter().any(|k| kind.starts_with(k));
    match v {
        None => Ok(if bicubic { Filter::Bicubic } else { Filter::Bilinear }),
        Some(v) => Ok(match v.as_u64() {
            Some(0) => Filter::Nearest,
            Some(1) => Filter::Lanczos,
            Some(2) => Filter::Bilinear,
            Some(3) => Filter::Bicubic,
            Some(4) => Filter::Box,
            Some(5) => Filter::Hamming,
            _ => return Err(format!("resample {v}: 0 to 5 are expected")),
        }),
    }
}

fn number(v: &Value, name: &str) -> Result<Option<f64>, String> {
    match v.get(name) {
        None | Some(Value::Null) => Ok(None),
        Some(x) => x.as_f64().map(Some).ok_or_else(|| format!("{name} {x}: a number is expected")),
    }
}

fn three(v: &Value, name: &str) -> Result<Option<[f32; 3]>, String> {
    let Some(x) = v.get(name).filter(|x| !x.is_null()) else { return Ok(None) };
    let values: Option<Vec<f32>> = match x {
        Value::Array(values) => values.iter().map(|x| x.as_f64().map(|x| x as f32)).collect(),
        x => x.as_f64().map(|x| vec![x as f32; 3]),
    };
    let values = values.and_then(|v| <[f32; 3]>::try_from(v).ok());
    values.map(Some).ok_or_else(|| format!("{name} {x}: three numbers are expected"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    const SHAPE: Shape = Shape { layout: Layout::Nchw, size: None };

    fn text(v: Value) -> String {
        match of_config(&v, SHAPE) {
            Ok(p) => p.to_string(),
            Err(e) => format!("error: {e}"),
        }
    }

    #[test]
    fn configurations_of_many_processors() {
        let clip = json!({"crop_size": {"height": 224, "width": 224}, "do_center_crop": true, "do_resize": true, "resample": 3,
            "image_mean": CLIP[0], "image_std": CLIP[1], "size": {"shortest_edge": 224}, "image_processor_type": "CLIPImageProcessor"});
        let clip = text(clip);
        assert!(clip.starts_with("shortest 224 bicubic, crop 224x224 down, x 0.003921569, mean 0.4814546"), "{clip}");
        let old =
            json!({"crop_size": 224, "size": 224, "do_center_crop": true, "feature_extractor_type": "CLIPFeatureExtractor"});
        assert!(text(old).starts_with("shortest 224 bicubic, crop 224x224 down"));
        let vit = json!({"size": 224, "resample": 2, "image_mean": [0.5, 0.5, 0.5], "image_std": 0.5});
        assert_eq!(text(vit), "224x224 bilinear, x 0.003921569, mean 0.5 0.5 0.5, std 0.5 0.5 0.5, nchw");
        let convnext =
            json!({"size": {"shortest_edge": 224}, "crop_pct": 0.875, "image_processor_type": "ConvNextImageProcessor"});
        assert!(text(convnext).starts_with("shortest 256 bilinear, crop 224x224 down"));
        let plain = json!({"do_rescale": false, "do_normalize": false, "do_resize": false, "do_flip_channel_order": true});
        assert_eq!(text(plain), "as it is, x 1, mean 0 0 0, std 1 1 1, bgr nchw");
        for (bad, word) in [
            (json!([1]), "object"),
            (json!({"do_pad": true}), "do_pad"),
            (json!({"size": {"shortest_edge": 800, "longest_edge": 1333}}), "longest_edge"),
            (json!({"size": {"height": 1u64 << 60, "width": 1}}), "8192"),
            (json!({"size": "large"}), "size"),
            (json!({"size": 224, "image_mean": [1.0]}), "image_mean"),
            (json!({"size": 224, "resample": 9}), "resample"),
            (json!({"size": 224, "rescale_factor": "x"}), "rescale_factor"),
        ] {
            let text = text(bad);
            assert!(text.starts_with("error: ") && text.contains(word), "{text}");
        }
    }

    #[test]
    fn presets_follow_the_input() {
        let shape = |n| Shape { layout: Layout::Nchw, size: Some([n, n]) };
        assert!(preset(None, SHAPE, None).to_string().starts_with("shortest 256 bilinear, crop 224x224,"));
        assert!(preset(Some(Preset::Clip), shape(336), None).to_string().starts_with("shortest 336 bicubic, crop 336x336,"));
        assert!(preset(Some(Preset::Dino), shape(448), None).to_string().starts_with("shortest 512 bicubic, crop 448x448,"));
    }
}
