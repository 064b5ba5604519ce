//! `voisin ilias evaluate`: mAP@k of similarities, and what the mean hides.

use std::path::PathBuf;

use clap::Args;
use serde_json::{Map, Value};
use voisin::eval::ilias::Report;
use voisin_io::ilias::{read_lists, read_similarities, write_report};

use crate::common::{Context, check_folder};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, round};
use crate::point::{grid, some};

const EXAMPLES: &str = "Examples:
  voisin ilias evaluate --similarity_file sims/similarities.json --dataset_dir ilias
  voisin ilias evaluate --similarity_file sims/similarities.pkl --dataset_dir ilias --k 100 --json
  voisin ilias evaluate --similarity_file s.pkl --dataset_dir ilias --result_file report.pkl

The folder of the data set holds image_ids/ (image_query_ids.txt, text_query_ids.txt,
positive_ids.txt) and taxonomy.json. AP@k is the sum of the precision at each positive among the
first k, divided by min(k, positives); items of equal similarity count as found together. The oracle
is the share of the positives among the first k. All figures are percent. Queries of the data set
that the file does not have are named and do not count.";

/// mAP@k of a file of similarities: over all queries, by scale, clutter and category
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Evaluate {
    /// Similarities: JSON {query: {item: similarity}}, or a pickle of query_ids, db_ids, sims, ranks
    #[arg(long = "similarity_file", alias = "similarity-file", value_name = "FILE")]
    similarity_file: PathBuf,
    /// Folder of the data set
    #[arg(long = "dataset_dir", alias = "dataset-dir", value_name = "DIR")]
    dataset_dir: PathBuf,
    /// The taxonomy [default: taxonomy.json in the folder, where it is there]
    #[arg(long, value_name = "FILE")]
    taxonomy: Option<PathBuf>,
    /// Items that count for each query
    #[arg(short, long = "k", default_value_t = 1000)]
    k: usize,
    /// Also write a report with the AP of every query: a pickle, or .json
    #[arg(long = "result_file", alias = "result-file", value_name = "FILE")]
    result_file: Option<PathBuf>,
}

impl Evaluate {
    /// Runs it.
    ///
    /// # Errors
    /// Files that are missing or no such lists; queries of which none is of the data set.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        self.result_file.as_deref().map(check_folder).transpose()?;
        let lists = read_lists(&self.dataset_dir, self.taxonomy.as_deref())?;
        let found = read_similarities(&self.similarity_file)?;
        let read = cx.elapsed();
        let report = lists.instances.evaluate(&found, self.k).map_err(|e| match e {
            voisin::Error::Empty { .. } => {
                let (file, first) = (self.similarity_file.display(), found.queries.get(0));
                let message = format!("{file}: no query is of this data set (the first is {first})");
                Fail::data(message, format!("{} names the instances", self.dataset_dir.join("image_ids").display()))
            }
            e => e.into(),
        })?;
        let mut o = self.outcome(&report, lists.taxonomy);
        let missing = lists.missing(&found.queries);
        o.set("missing", missing.len());
        if !missing.is_empty() {
            let (n, all) = (count(missing.len() as u64), count((missing.len() + report.queries.len()) as u64));
            let left = "are not in the file and do not count: the means are over those that are";
            o.line(format!("{n} of {all} queries of the data set {left}; missing are {}", some(&missing)));
        }
        let longest = found.rows.iter().map(Vec::len).max().unwrap_or(0);
        if longest < self.k {
            o.line(format!("k = {}: no query has more than {} items in the file", self.k, count(longest as u64)));
        }
        if let Some(out) = &self.result_file {
            write_report(out, &report)?;
            o.set("out", out.display().to_string()).line(format!("written to {}", out.display()));
        }
        o.set("seconds", Seconds { read: Some(read), total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }

    fn outcome(&self, r: &Report, taxonomy: bool) -> Outcome {
        let mut o = Outcome::new("ilias evaluate");
        o.set("queries", r.queries.len()).set("k", self.k);
        o.set("map", round(r.map, 6)).set("oracle", round(r.oracle, 6));
        let queries = count(r.queries.len() as u64);
        o.line(format!("mAP@{}  {:.2} %, oracle {:.2} %; {queries} queries", self.k, r.map, r.oracle));
        let groups = [("scale", &r.scale), ("clutter", &r.clutter), ("categories", &r.categories)];
        for (name, group) in groups {
            o.set(name, object(group));
            if !group.is_empty() {
                let rows: Vec<Vec<String>> = group.iter().map(|(g, v)| vec![short(g), format!("{v:.2}")]).collect();
                o.line(grid(&[name.to_string(), "mAP".into()], &rows).trim_end());
            }
        }
        o.set("subcategories", object(&r.subcategories));
        if !taxonomy {
            o.line("no taxonomy.json in the folder: no categories; --taxonomy names the file");
        }
        if let Some(first) = r.unknown.first() {
            o.set("unknown", r.unknown.len());
            let unknown = count(r.unknown.len() as u64);
            o.line(format!("{unknown} queries are of no instance of the data set and left out; the first is {first}"));
        }
        o
    }
}

fn object(group: &[(String, f64)]) -> Value {
    Value::Object(group.iter().map(|(name, value)| (name.clone(), round(*value, 6).into())).collect::<Map<_, _>>())
}

/// Bounds of a group with few digits, for the table.
fn short(group: &str) -> String {
    let digits =
        |s: &str| s.parse::<f64>().ok().filter(|x| x.fract() != 0.0).map_or_else(|| s.to_string(), |x| format!("{x:.3}"));
    match group.split_once('-').filter(|(a, b)| a.parse::<f64>().is_ok() && b.parse::<f64>().is_ok()) {
        Some((a, b)) => format!("{} to {}", digits(a), digits(b)),
        None => group.to_string(),
    }
}
