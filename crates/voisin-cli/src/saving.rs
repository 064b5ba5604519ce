//! Where results go: a file whose ending names its layout, or a table on the screen.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::{Value, json};
use voisin::{Metric, Neighbors, StringIds};
use voisin_io::results::{AttrValue, ResultFile, ResultLayout, check_result_path, write_results};

use crate::common::{check_folder, refuse_same};
use crate::fail::{Fail, Result};
use crate::outcome::Outcome;

/// `--layout`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Layout {
    #[default]
    Default,
    Sisap,
}

/// Rows of `results` in JSON without `-o`.
const FIRST: usize = 100;

/// Options of commands that find neighbours.
#[derive(Args, Clone, Debug)]
pub struct SaveArgs {
    /// File for the result: .h5, .json, .npz, .ivecs, .ibin, .csv, .tsv or .trec; without it the first
    /// queries are shown (100 with --json, as `results`)
    #[arg(short, long, value_name = "OUT")]
    pub out: Option<PathBuf>,
    /// Names in an .h5 result: ann-benchmarks (neighbors, distances) or SISAP (knns from 1, dists)
    #[arg(long, value_enum, default_value_t, value_name = "NAMES")]
    pub layout: Layout,
    /// Attributes of an .h5 result beside or in place of its own, for scripts that read them: buildtime=12.3
    /// data=laion2B-100K
    #[arg(long, num_args = 1.., value_name = "NAME=VALUE", value_parser = parse_attribute, requires = "out")]
    pub attr: Vec<(String, String)>,
    /// Whether similarities stand beside the distances.
    #[arg(skip)]
    pub similarities: bool,
}

/// What was found, with the names of base and queries.
pub struct Found<'a> {
    /// Rows of row numbers and distances.
    pub neighbors: &'a Neighbors,
    /// What the distances are.
    pub metric: Metric,
    /// Names of the ids.
    pub base_ids: Option<&'a StringIds>,
    /// Names of the queries.
    pub query_ids: Option<&'a StringIds>,
    /// For the attributes of an HDF5 file.
    pub run: Run<'a>,
}

/// How it was found, as SISAP's attributes say it.
pub struct Run<'a> {
    /// Name of the base.
    pub data: String,
    /// Number of vectors.
    pub n: u64,
    /// `exact` or a spec.
    pub algorithm: String,
    /// Parameters of the search.
    pub params: &'a str,
    /// Seconds of searching.
    pub seconds: f64,
    /// Seconds of building, where they are known.
    pub build_seconds: f64,
}

impl SaveArgs {
    fn result_layout(&self) -> ResultLayout {
        match self.layout {
            Layout::Default => ResultLayout::Default,
            Layout::Sisap => ResultLayout::Sisap,
        }
    }

    /// What can be told before the work: an ending that is not known, a folder that is not there, an input as output.
    ///
    /// # Errors
    /// Any of these.
    pub fn check<'a>(&self, inputs: impl IntoIterator<Item = &'a [String]>) -> Result<()> {
        let Some(out) = &self.out else { return Ok(()) };
        check_result_path(out, self.result_layout())?;
        check_folder(out)?;
        let ending = ending(out);
        if let Some((name, _)) = self.attr.first()
            && !["h5", "hdf5"].contains(&&ending[..])
        {
            return Err(Fail::usage(format!("--attr {name}: a .{ending} has no attributes"), "write an .h5"));
        }
        if self.attr.iter().any(|(name, _)| name == "distance") {
            return Err(Fail::usage("--attr distance: the file says its metric itself", "choose another name"));
        }
        inputs.into_iter().try_for_each(|files| refuse_same(files, out))
    }

    /// Writes the file, or adds the table to the outcome.
    ///
    /// # Errors
    /// An id that the format cannot hold; a full disk.
    pub fn save(&self, found: &Found<'_>, o: &mut Outcome) -> Result<()> {
        match &self.out {
            Some(out) => self.write(out, found, o),
            None => {
                let name = |ids: Option<&StringIds>, i: usize| ids.map_or_else(|| i.to_string(), |ids| ids.get(i).to_string());
                let (query, id) = (|q| name(found.query_ids, q), |id: u64| name(found.base_ids, id as usize));
                let similarity = |d| found.metric.similarity(d).filter(|_| self.similarities);
                o.set("results", first_rows(found, similarity));
                o.line(crate::show::table(found.neighbors, query, id, similarity).trim_end());
                Ok(())
            }
        }
    }

    fn write(&self, out: &Path, found: &Found<'_>, o: &mut Outcome) -> Result<()> {
        let run = &found.run;
        let text = |s: &str| AttrValue::Text(s.to_string());
        let mut attributes = vec![
            ("data".to_string(), text(&run.data)),
            ("size".into(), AttrValue::Int(run.n as i64)),
            ("algo".into(), text(&run.algorithm)),
            ("params".into(), text(run.params)),
        ];
        if self.layout == Layout::Sisap {
            // times differ from run to run: the default layout stays without them, so that the same search gives the same bytes
            attributes.push(("buildtime".into(), AttrValue::Float(run.build_seconds)));
            attributes.push(("querytime".into(), AttrValue::Float(run.seconds)));
        }
        for (name, value) in &self.attr {
            let value = match (value.parse(), value.parse::<f64>()) {
                (Ok(whole), _) => AttrValue::Int(whole),
                (_, Ok(number)) => AttrValue::Float(number),
                _ => text(value),
            };
            attributes.retain(|(known, _)| known != name);
            attributes.push((name.clone(), value));
        }
        let file = ResultFile {
            neighbors: found.neighbors,
            metric: found.metric,
            base_ids: found.base_ids,
            query_ids: found.query_ids,
            similarities: self.similarities,
            attributes,
        };
        write_results(out, &file, self.result_layout())?;
        o.set("out", out.display().to_string());
        o.line(format!("written to {}", out.display()));
        let ending = ending(out);
        if found.base_ids.is_some() && ["npz", "ivecs", "ibin"].contains(&&ending[..]) {
            o.line(format!("its ids are row numbers: .{ending} has no place for strings; .h5, .json, .csv and .tsv keep them"));
        }
        Ok(())
    }
}

/// The ending of a file, in small letters.
fn ending(out: &Path) -> String {
    out.extension().unwrap_or_default().to_string_lossy().to_ascii_lowercase()
}

/// `name=value`.
fn parse_attribute(s: &str) -> std::result::Result<(String, String), String> {
    match s.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("NAME=VALUE is expected, such as buildtime=12.3".into()),
    }
}

/// The first rows for the JSON object: ids as strings where there are names.
fn first_rows(found: &Found<'_>, similarity: impl Fn(f32) -> Option<f32>) -> Vec<Value> {
    let row = |i: usize| {
        let id = |id: &u64| found.base_ids.map_or_else(|| json!(id), |names| json!(names.get(*id as usize)));
        let query = found.query_ids.map_or_else(|| json!(i), |names| json!(names.get(i)));
        let ids: Vec<Value> = found.neighbors.ids(i).iter().map(id).collect();
        let distances = found.neighbors.distances(i);
        let mut row = json!({"query": query, "ids": ids, "distances": distances});
        if similarity(0.0).is_some() {
            row["similarities"] = distances.iter().map(|&d| similarity(d)).collect();
        }
        row
    };
    (0..found.neighbors.len().min(FIRST)).map(row).collect()
}
