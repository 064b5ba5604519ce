//! `voisin convert`: from any format that is read to any that is written.

use std::path::{Path, PathBuf};

use clap::Args;
use voisin::Index;
use voisin_io::{WriteOptions, convert, faiss};

use crate::common::{Context, check_folder, faiss_file, refuse_same};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, bytes, count, time};

const EXAMPLES: &str = "Examples:
  voisin convert vectors.csv vectors.h5
  voisin convert 'img_emb_*.npy' all.fbin                        (many files become one)
  voisin convert base.bvecs base.npy --dtype f16
  voisin convert sift-128-euclidean.hdf5::test queries.fvecs
  voisin convert mlp.pth::0.weight weights.npy
  voisin convert ivfpq.index index                               (a file of FAISS as an index)
  voisin convert index ivfpq.index                               (and back)";

/// Converts vectors between formats; the ending of OUT says which
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Convert {
    /// Files, patterns, folders or templates with {idx}, written as one; then the file to write:
    /// .h5 .npy .fvecs .bvecs .fbin .f16bin .u8bin .i8bin .parquet .csv .tsv; or a FAISS index and the folder to
    /// make of it, or the folder of an index and the .index file to write
    #[arg(required = true, num_args = 2.., value_names = ["IN", "OUT"])]
    files: Vec<String>,
    /// Type of the values: f16, f32, f64, u8, i8, ... [default: f32, or what the ending says]
    #[arg(long, value_name = "TYPE")]
    dtype: Option<String>,
    /// Name of the data set in an .h5 file
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
}

impl Convert {
    /// Runs it.
    ///
    /// # Errors
    /// What reading gives; a value that the type cannot hold; a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let Some((out, inputs)) = self.files.split_last().filter(|f| !f.1.is_empty()) else {
            return Err(Fail::usage("nothing to convert", "voisin convert IN... OUT"));
        };
        let out = PathBuf::from(out);
        if let Some(file) = faiss_file(inputs) {
            return from_faiss(file, &out, cx);
        }
        check_folder(&out)?;
        if let [dir] = inputs
            && Path::new(dir).join("manifest.json").is_file()
        {
            return to_faiss(dir, &out, cx);
        }
        refuse_same(inputs, &out)?;
        let options = WriteOptions { dtype: self.dtype.clone(), dataset: self.dataset.clone() };
        let done = convert(inputs, &out, &options, &cx.screen)?;
        let total = cx.elapsed();
        let mut o = Outcome::new("convert");
        o.set("n", done.n).set("d", done.d).set("format", done.format.key()).set("bytes", done.bytes);
        o.set("seconds", Seconds { total, ..Seconds::default() }).set("out", out.display().to_string());
        let speed = bytes((done.bytes as f64 / total.max(1e-6)) as u64);
        o.line(format!("{} vectors of {} dimensions in {} ({speed}/s)", count(done.n), done.d, time(total)));
        if done.ids_left_out > 0 {
            o.set("ids_left_out", done.ids_left_out);
            o.line(format!(
                "{} string ids have no place in this format; .h5, .parquet and .csv keep them",
                count(done.ids_left_out)
            ));
        }
        o.line(format!("written to {}: {}, {}", out.display(), done.format.name(), bytes(done.bytes)));
        Ok(o)
    }
}

/// The folder of an index as a file of FAISS.
fn to_faiss(dir: &str, out: &Path, cx: &Context) -> Result<Outcome> {
    if !out.extension().is_some_and(|e| e == "index" || e == "faiss") {
        let message = format!("{}: {dir} is an index, which is written for FAISS", out.display());
        return Err(Fail::usage(message, "end the name of the output in .index or .faiss"));
    }
    let index = Index::open(dir)?;
    let (written, i) = (faiss::save(&index, out)?, index.info());
    let mut o = Outcome::new("convert");
    o.set("n", i.n).set("d", i.d).set("format", "faiss").set("bytes", written).set("spec", i.spec.clone());
    o.set("metric", i.metric.name()).set("out", out.display().to_string());
    o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
    o.line(format!("written to {}: {} vectors as {}, {}", out.display(), count(i.n), i.spec, bytes(written)));
    if let Some(layer) = &i.layer {
        o.set("layer", layer.to_string());
        o.line(format!(
            "its vectors were mapped by {layer}: the file does not say so, queries must be mapped before FAISS gets them"
        ));
    }
    if i.metric == voisin::Metric::Cosine {
        o.line("metric cosine is written as L2 at unit length: FAISS's squared distances are 2 - 2 cos");
    }
    Ok(o)
}

/// A file of FAISS as the folder of an index.
fn from_faiss(file: &Path, out: &Path, cx: &Context) -> Result<Outcome> {
    faiss::load(file, out, &cx.screen)?;
    let (i, total) = (Index::open(out)?.info(), cx.elapsed());
    let mut o = Outcome::new("convert");
    o.set("n", i.n).set("d", i.d).set("format", "index").set("bytes", i.bytes).set("spec", i.spec.clone());
    o.set("metric", i.metric.name()).set_some("nprobe", i.nprobe);
    o.set("seconds", Seconds { total, ..Seconds::default() }).set("out", out.display().to_string());
    o.line(format!("{} vectors of {} dimensions as {} in {}", count(i.n), i.d, i.spec, time(total)));
    o.line(format!("written to {}: an index, {}", out.display(), bytes(i.bytes)));
    Ok(o)
}
