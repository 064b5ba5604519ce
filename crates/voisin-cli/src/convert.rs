//! `voisin convert`: from any format that is read to any that is written.

use std::path::PathBuf;

use clap::Args;
use voisin_io::{WriteOptions, convert};

use crate::common::{Context, check_folder, refuse_same};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, bytes, count, time};

const EXAMPLES: &str = "Examples:
  voisin convert vectors.csv vectors.h5
  voisin convert 'img_emb_*.npy' all.fbin                        (many files become one)
  voisin convert base.bvecs base.npy --dtype f16
  voisin convert sift-128-euclidean.hdf5::test queries.fvecs
  voisin convert mlp.pth::0.weight weights.npy";

/// Converts vectors between formats; the ending of OUT says which
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Convert {
    /// Files, patterns, folders or templates with {idx}, written as one; then the file to write:
    /// .h5 .npy .fvecs .bvecs .fbin .f16bin .u8bin .i8bin .parquet .csv .tsv
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
        check_folder(&out)?;
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
