//! `voisin merge`: indexes of one model into one.

use std::path::{Path, PathBuf};

use clap::Args;
use voisin::index::{MergeParams, merge};

use crate::common::{Context, parse_bytes};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, bytes, count, round, time};

/// Writes several indexes of one model as one, without the vectors that were removed
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin merge part-0 part-1 part-2 -o index
  voisin merge parts --memory-limit 4G -o index        (a folder of indexes)

The indexes must be of one model: parts of one job, copies that changed, or built with `voisin
build --like DIR`. An id may stand in one of them only. The result finds what they find together;
they stay as they are. An index that is in the folder of -o is replaced when the new one is complete.
Killed and started again, it goes on from what is finished, to the same bytes.")]
pub struct Merge {
    /// Folders of the indexes, or a folder of them
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<String>,
    /// Folder of the new index
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
}

impl Merge {
    /// Runs it.
    ///
    /// # Errors
    /// Indexes that do not go together, an id in two of them, too little memory, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        if self.out.is_file() {
            let hint = "an index is a folder: give the name of one, existing or not";
            return Err(Fail::usage(format!("{}: a file is there", self.out.display()), hint));
        }
        let dirs = voisin_io::expand_indexes(&self.dirs)?;
        let real = |p: &Path| p.canonicalize().ok();
        let inside = self.out.parent().map(|p| if p.as_os_str().is_empty() { Path::new(".") } else { p }).and_then(real);
        if let Some(parts) =
            self.dirs.iter().find(|d| !dirs.contains(&PathBuf::from(d)) && inside.is_some() && real(Path::new(d)) == inside)
        {
            let message = format!("{}: in {parts} it would become one of the parts", self.out.display());
            return Err(Fail::usage(message, "write to another folder"));
        }
        let r = merge(&dirs, &self.out, &MergeParams { memory_limit: self.memory_limit }, &cx.screen)?;
        let per_vector = r.bytes as f64 / r.n.max(1) as f64;
        let mut o = Outcome::new("merge");
        o.set("n", r.n).set("indexes", dirs.len()).set("dropped", r.dropped).set("segments", r.segments);
        o.set("resumed", r.resumed).set("bytes", r.bytes).set("bytes_per_vector", round(per_vector, 2));
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() }).set("out", self.out.display().to_string());
        if r.resumed > 0 {
            o.line(format!("{} vectors were finished by an earlier run", count(r.resumed)));
        }
        let dropped = if r.dropped > 0 { format!(" ({} removed ones left out)", count(r.dropped)) } else { String::new() };
        o.line(format!("{} indexes, {} vectors{dropped} in {}", dirs.len(), count(r.n), time(cx.elapsed())));
        o.line(format!("{} in {} ({per_vector:.0} bytes a vector)", bytes(r.bytes), self.out.display()));
        Ok(o)
    }
}
