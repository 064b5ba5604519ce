//! `voisin job plan`: which rows of which files go to which part.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::Args;
use voisin::index::job::{Input, Plan, PlanParams, Seen};
use voisin::{Error, Metric};
use voisin_io::inputs::{Files, found, listed};

use super::RootArgs;
use crate::build::BuildArgs;
use crate::common::{Bad, Context, check_folder};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count};

const EXAMPLES: &str = "Examples:
  voisin job plan --base 'img_emb_*.npy' --index IVF16384,SQ4 --parts 58 -o laion.json
  voisin job plan --inputs list.csv --dim 768 --metric cosine --train img_emb_0.npy img_emb_700.npy \\
      --index IVF131072,SQ4 --parts 58 -o laion.json                  (files that are not there yet)

A list has a line for each file: file,rows,dtype or file,rows,dtype,sha256. Parts count from 0 and are runs of rows; with more
files than parts no file lies in two of them. A plan never changes: with other inputs or parameters, make another one. Names of
files are kept as they are written: run the parts from the same folder, or say --root.";

/// Writes the plan of a build in parts: every input, its rows, the parts, all parameters
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct PlanArgs {
    /// Vectors to search in, which are there: files, patterns, folders or templates with {idx}
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "inputs", conflicts_with = "inputs")]
    base: Vec<String>,
    /// A list of files that may not be there yet: file,rows,dtype[,sha256] on each line
    #[arg(long, value_name = "LIST")]
    inputs: Option<PathBuf>,
    /// Dimensions, where no file of the list is there to tell
    #[arg(long, value_name = "D")]
    dim: Option<usize>,
    /// Number of parts
    #[arg(long, value_name = "N", default_value_t = 1)]
    parts: usize,
    /// Files to draw training vectors from, of the inputs or others [default: all inputs, or those that are there]
    #[arg(long = "train", num_args = 1.., value_name = "FILE")]
    train_on: Vec<String>,
    /// File of the plan
    #[arg(short, long, value_name = "PLAN")]
    out: PathBuf,
    /// Folder of the index, from the folder of the plan [default: the name of the plan without its ending]
    #[arg(long, value_name = "DIR")]
    dir: Option<String>,
    /// Rows a file of the index [default: as many as have codes of 2 GiB, or of a quarter of the memory limit]
    #[arg(long, value_name = "N")]
    segment_rows: Option<u64>,
    /// Rows with NaN or infinity, and zero vectors under cosine: refuse the input, or skip and count them
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_bad: Bad,
    #[command(flatten)]
    root: RootArgs,
    #[command(flatten)]
    how: BuildArgs,
}

impl PlanArgs {
    /// Runs it.
    ///
    /// # Errors
    /// Wrong parameters, inputs that are missing or short, another plan under that name.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        check_folder(&self.out)?;
        let files = self.root.files();
        let (inputs, seen) = match &self.inputs {
            Some(list) => listed(list, &files)?,
            None if self.root.root.is_some() => {
                return Err(Fail::usage("--root goes with --inputs", "patterns are looked up where they say"));
            }
            None => found(&self.base)?,
        };
        let (train, seen) = self.training(&inputs, seen, &files)?;
        let mut plan = Plan::new(inputs, self.params(train, seen, cx)?)?;
        self.how.check_limit(plan.len(), plan.dim())?;
        plan.save(&self.out)?;
        Ok(self.outcome(&plan, cx))
    }

    fn params(&self, train: Vec<Input>, seen: Option<Seen>, cx: &Context) -> Result<PlanParams> {
        let d = match (self.dim, &seen) {
            (Some(d), Some(seen)) if d != seen.d => {
                return Err(Fail::usage(format!("--dim {d}: the files have {} dimensions", seen.d), "leave --dim out"));
            }
            (Some(d), _) => d,
            (None, Some(seen)) => seen.d,
            (None, None) => {
                let hint = "say the dimensions with --dim, or fetch one of the files";
                return Err(Fail::usage("none of the files is there to tell its dimensions", hint));
            }
        };
        let named = seen.as_ref().and_then(|s| s.metric);
        let metric = self.how.like_metric()?.or(self.how.metric).or(named).unwrap_or(Metric::L2);
        let parameters = self.how.files().into_iter().filter(|f| !f.1.is_empty());
        let parameters: BTreeMap<String, Vec<String>> = parameters.map(|(name, files)| (name.to_string(), files)).collect();
        let mut build = self.how.params(metric, self.on_bad, cx)?;
        build.segment_rows = self.segment_rows;
        build.calibrate = 0; // the true neighbours of queries take all rows at once
        Ok(PlanParams {
            build,
            parts: self.parts,
            d,
            strings: seen.is_some_and(|s| s.strings),
            train,
            allow_missing: self.root.allow_missing,
            dir: self.dir.clone(),
            files: parameters,
        })
    }

    /// The files named for training: inputs as the list has them, others as they are, of the same dimensions.
    fn training(&self, inputs: &[Input], mut seen: Option<Seen>, files: &Files) -> Result<(Vec<Input>, Option<Seen>)> {
        let mut all = Vec::new();
        for name in &self.train_on {
            match inputs.iter().find(|i| i.file == *name) {
                Some(input) => all.push(input.clone()),
                None => {
                    let place = files.path(name).display().to_string();
                    let (more, first) = found(&[place])?;
                    if let (Some(a), Some(b)) = (&seen, &first)
                        && a.d != b.d
                    {
                        let context = "the files before it".into();
                        return Err(Error::Dimension { name: name.clone(), expected: a.d, got: b.d, context }.into());
                    }
                    seen = seen.or(first);
                    all.extend(more);
                }
            }
        }
        Ok((all, seen))
    }

    fn outcome(&self, plan: &Plan, cx: &Context) -> Outcome {
        let absent = plan.inputs().iter().filter(|i| !i.present).count();
        let wrong: Vec<&Input> = plan.inputs().iter().filter(|i| i.problem.is_some()).collect();
        let mut o = Outcome::new("job plan");
        o.set("n", plan.len())
            .set("d", plan.dim())
            .set("metric", plan.params().metric.name())
            .set("spec", plan.spec().to_string());
        o.set("parts", plan.parts()).set("inputs", plan.inputs().len()).set("absent", absent);
        o.set("out", self.out.display().to_string()).set("dir", plan.dir().display().to_string());
        o.set("digest", format!("{:016x}", plan.digest())).set_some("reason", plan.reason());
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        let problems = |i: &&Input| serde_json::json!({"file": i.file, "problem": i.problem});
        o.set("problems", wrong.iter().map(problems).collect::<Vec<_>>());
        let why = plan.reason().map(|r| format!(" ({r})")).unwrap_or_default();
        o.line(format!("{}{why}: {} x {}, {}", plan.spec(), count(plan.len()), plan.dim(), plan.params().metric));
        let later = if absent > 0 { format!(", {} of them not there yet", count(absent as u64)) } else { String::new() };
        o.line(format!("{} files{later}; {} parts", count(plan.inputs().len() as u64), plan.parts()));
        for i in wrong {
            o.line(format!("left out unless it changes  {}: {}", i.file, i.problem.as_deref().unwrap_or_default()));
        }
        let name = self.out.display();
        o.line(format!("written to {name}; the index will be in {}", plan.dir().display()));
        o.line(format!("next     voisin job train {name}; then voisin job run {name} --part 0 to {}", plan.parts() - 1));
        o
    }
}
