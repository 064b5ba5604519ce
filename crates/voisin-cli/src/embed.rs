//! `voisin embed`: images to vectors.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin_embed::{Embedder, Options, embed, find};
use voisin_io::features::check_features_path;

use crate::common::{Context, beside, check_folder};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, time};

const EXAMPLES: &str = "Examples:
  voisin embed photos -o features.h5                  (a folder with all below it)
  voisin build --base features.h5 -o index            (ids are paths: photos/a/b.jpg is a/b.jpg)
  voisin embed one.png -o query.h5
  voisin search index --queries query.h5 -k 10";

/// Images that are named among those left out.
const FIRST: usize = 10;

/// Describes images by vectors, for look-alikes; ids are their paths, labels the folders they lie in
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Embed {
    /// Folders, taken with all below them, and images: PNG, JPEG, WebP, GIF (its first frame), BMP
    #[arg(required = true, value_name = "IMAGES")]
    images: Vec<PathBuf>,
    /// File to write: .h5 (features, index, labels), .npz (the same) or .npy (the vectors alone)
    #[arg(short, long, value_name = "OUT")]
    out: PathBuf,
}

impl Embed {
    /// Runs it.
    ///
    /// # Errors
    /// A folder that cannot be read, or without a readable image; a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        check_features_path(&self.out)?;
        check_folder(&self.out)?;
        let files = find(&self.images)?;
        if files.is_empty() {
            let names: Vec<String> = self.images.iter().map(|p| p.display().to_string()).collect();
            let hint = "images are files that end in .png, .jpg, .jpeg, .webp, .gif or .bmp";
            return Err(Fail::data(format!("{}: no image in it", names.join(", ")), hint));
        }
        let embedder = Embedder::open(None, &Options::default())?;
        let done = embed(&files, &embedder, &self.out, &beside(&self.out, "part"), &cx.screen)?;
        let total = cx.elapsed();
        let mut o = Outcome::new("embed");
        o.set("n", done.n).set("d", done.d).set("made_by", done.made_by.clone()).set("labels", done.labels);
        o.set("resumed", done.resumed).set("skipped", done.skipped.len());
        let unreadable = done.skipped.iter().map(|s| json!({"file": s.path.display().to_string(), "reason": s.reason}));
        o.set("unreadable", unreadable.collect::<Vec<_>>());
        o.set("seconds", Seconds { total, ..Seconds::default() }).set("out", self.out.display().to_string());
        let now = (files.len() as u64 - done.resumed) as f64;
        o.line(format!("{} images as vectors of {} dimensions in {} ({:.0}/s)", count(done.n), done.d, time(total), now / total));
        if done.labels > 0 {
            o.line(format!("{} labels: the folders they lie in", count(done.labels as u64)));
        }
        if done.resumed > 0 {
            o.line(format!("{} images were finished by an earlier run", count(done.resumed)));
        }
        for skipped in done.skipped.iter().take(FIRST) {
            o.line(format!("left out: {}: {}", skipped.path.display(), skipped.reason));
        }
        if done.skipped.len() > FIRST {
            o.line(format!("left out: {} more (--json names all)", done.skipped.len() - FIRST));
        }
        o.line(format!("written to {}", self.out.display()));
        Ok(o)
    }
}
