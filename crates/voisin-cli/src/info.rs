//! `voisin info`: what files hold, or what an index is.

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::Value;
use voisin_io::{expand_indexes, inspect};

use crate::build::targets;
use crate::common::{Context, empty_index, faiss_file, open_indexes, several};
use crate::fail::Result;
use crate::outcome::{Outcome, Seconds, bytes, count, things};

const EXAMPLES: &str = "Examples:
  voisin info base.h5
  voisin info 'shards/img_emb_*.npy'          (together one dataset)
  voisin info 'distractors_{idx}.hdf5'        (numbered from 0)
  voisin info index                           (a folder made by `voisin build`)
  voisin info ivfpq.index                     (a file of FAISS)
  voisin info part-0 part-1                   (indexes of one model, or a folder of them)";

/// Shows format, data sets, shape, type, norms, ids of files; or what an index is
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Info {
    /// Files, patterns, folders or templates with {idx}, together one dataset; or the folder of an index, or
    /// of several of one model
    #[arg(required = true, value_name = "FILE")]
    files: Vec<String>,
}

impl Info {
    /// Runs it.
    ///
    /// # Errors
    /// A file that is missing, damaged or unknown; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let mut o = Outcome::new("info");
        match &self.files[..] {
            files if faiss_file(files).is_some() => match crate::graph::named(files)? {
                Some(graph) => crate::graph::info(&graph, &several(files), &mut o),
                None => index(files, &mut o)?,
            },
            dirs if are_indexes(dirs) => index(dirs, &mut o)?,
            files => {
                let info = inspect(files, &cx.screen)?;
                merge(&mut o, serde_json::to_value(&info));
                o.line(info.to_string().trim_end());
            }
        }
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }
}

/// Whether folders of indexes are meant, or folders of them.
fn are_indexes(inputs: &[String]) -> bool {
    let is_one = |p: &PathBuf| p.join("manifest.json").is_file();
    let are = |i: &String| match expand_indexes(std::slice::from_ref(i)) {
        Ok(found) => found.iter().all(is_one),
        Err(voisin::Error::Format { path, .. }) => voisin_io::lacks_manifest(&path),
        Err(_) => false,
    };
    inputs.iter().all(|i| !Path::new(i).is_file() && are(i))
}

fn index(dirs: &[String], o: &mut Outcome) -> Result<()> {
    let i = open_indexes(dirs)?.info();
    merge(o, serde_json::to_value(&i));
    let dir = several(dirs);
    match i.folders.len() {
        0 if faiss_file(dirs).is_some() => o.line(format!("{dir}  a file of FAISS, as an index here")),
        0 => o.line(format!("{dir}  index, format {}", i.format)),
        n => o.line(format!("{dir}  {n} indexes of one model, format {}", i.format)),
    };
    let why = i.reason.as_ref().map(|r| format!(" ({r})")).unwrap_or_default();
    o.line(format!("spec     {}{why}", i.spec));
    o.line(format!("vectors  {} x {}, {}", count(i.n), i.d, i.metric));
    if i.n == 0 {
        o.line(empty_index(dirs));
    }
    if let Some(layer) = &i.layer {
        o.line(format!("adapted  by {layer}: `search` and `add` take it as --adapt"));
    }
    if i.deleted > 0 {
        o.line(format!(
            "removed  {}; `voisin compact {}` frees their space",
            count(i.deleted),
            if i.folders.is_empty() { &dir } else { "DIR" }
        ));
    }
    o.line(format!("ids      {}", i.ids));
    if let Some(hidden) = &i.hidden {
        let widths: Vec<String> = [i.d].iter().chain(hidden).chain([&i.nlist]).map(usize::to_string).collect();
        o.line(format!("model    MLP {}", widths.join("-")));
    }
    if let Some([d, nlist]) = i.router {
        o.line(format!("router   linear {d}-{nlist}, trained on queries, chooses the lists"));
    }
    if let Some(transform) = &i.transform {
        o.line(format!("first    {transform}"));
    }
    let refine = i.refine.as_ref().map(|r| format!("; {r}, {} bytes", count(i.refine_bytes as u64))).unwrap_or_default();
    o.line(format!("codes    {}, {} bytes a vector{refine}", i.code, count(i.code_bytes as u64)));
    let [least, median, most] = i.list_sizes;
    let lists = count(i.nlist as u64);
    o.line(format!("lists    {lists}, of {least} to {most} vectors, median {median}; {} empty", i.empty_lists));
    let per_vector = format!("{:.0} bytes a vector", i.bytes_per_vector);
    o.line(format!(
        "on disk  {}, {per_vector}, {}, {}",
        bytes(i.bytes),
        things(i.segments, "segment"),
        things(i.generation, "change")
    ));
    for m in &i.missing {
        let rows = if m.rows > 0 { format!(", {} rows", count(m.rows)) } else { String::new() };
        o.line(format!("without  {}{rows}: {}", m.file, m.what));
    }
    if let Some(n) = i.nprobe {
        o.line(format!("visits   {} lists where no --nprobe is given", count(n as u64)));
    }
    targets(i.calibration.as_ref(), o);
    for f in &i.folders {
        let removed = if f.deleted > 0 { format!(", {} removed", count(f.deleted)) } else { String::new() };
        o.line(format!(
            "  {}  {} vectors{removed}, {}, {}",
            f.path.display(),
            count(f.n),
            bytes(f.bytes),
            things(f.segments, "segment")
        ));
    }
    Ok(())
}

/// Takes over all keys that have a value, and `ids` also without.
fn merge(o: &mut Outcome, value: serde_json::Result<Value>) {
    if let Ok(Value::Object(all)) = value {
        for (key, value) in all.into_iter().filter(|(k, v)| k == "ids" || !v.is_null()) {
            o.set(&key, value);
        }
    }
}
