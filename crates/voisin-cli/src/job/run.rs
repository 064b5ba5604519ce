//! `voisin job train` and `voisin job run`.

use std::path::Path;

use clap::Args;
use serde_json::json;
use voisin::index::job::{PartReport, Plan, RunParams, finished, run, train};
use voisin_io::inputs::Files;

use super::{PlanFile, RootArgs, hooks};
use crate::build::{Images, calibration_queries, read_captions, skipped_queries};
use crate::common::{AdaptArgs, Context};
use crate::fail::{DATA, Fail, Result};
use crate::model::read_mlp;
use crate::outcome::{Outcome, Seconds, bytes, count, round, time};

/// Trains what all parts share: lists, model, code
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin job train laion.json
  voisin job train laion.json -o /shared/laion --root /scratch/laion

Trained before, it returns at once.")]
pub struct Train {
    #[command(flatten)]
    plan: PlanFile,
    #[command(flatten)]
    root: RootArgs,
}

impl Train {
    /// Runs it.
    ///
    /// # Errors
    /// Training files that are missing, a folder with something else in it, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let (plan, dir) = self.plan.open()?;
        let build = plan.params();
        let adapt = AdaptArgs::default();
        let (queries, skipped) =
            calibration_queries(plan.files("queries"), &adapt, plan.dim(), build.metric, build.on_bad)?.unzip();
        let images = Images { name: "all inputs", n: plan.len(), metric: build.metric, ids: &|| Ok(None) };
        let params = RunParams {
            allow_missing: self.root.allow_missing,
            quick: false,
            model: plan.files("model").first().map(|m| read_mlp(Path::new(m))).transpose()?,
            queries,
            captions: read_captions(
                plan.files("captions"),
                plan.files("pairs").first().map(String::as_str),
                &images,
                &adapt,
                cx,
            )?,
        };
        let r = train(&plan, &dir, &self.root.files(), &params, &cx.screen).map_err(|e| self.plan.hinted(e))?;
        let mut o = Outcome::new("job train");
        let s = Seconds {
            read: Some(r.seconds.read),
            train: Some(r.seconds.train),
            write: Some(r.seconds.write),
            total: cx.elapsed(),
            ..Seconds::default()
        };
        o.set("d", plan.dim()).set("spec", plan.spec().to_string()).set("trained_on", r.trained_on).set("bytes", r.bytes);
        o.set("before", r.before).set("out", dir.display().to_string()).set("seconds", s);
        if !r.objective.is_empty() {
            o.set("objective", r.objective.clone());
        }
        if !r.epochs.is_empty() {
            o.set("loss", r.epochs.iter().map(|e| round(e.loss, 6)).collect::<Vec<_>>());
        }
        o.set_some("pairs", r.pairs);
        skipped_queries(skipped, &mut o);
        if let Some(router) = &r.router {
            o.set("router", json!({"trained_on": router.trained_on, "reach": router.reach.map(|x| round(x, 2))}));
        }
        if r.before {
            o.line("trained before");
        } else {
            o.line(format!("{} trained on {} vectors in {}", plan.spec(), count(r.trained_on), time(cx.elapsed())));
        }
        o.line(format!("model of {} in {}", bytes(r.bytes), dir.display()));
        o.line(format!("next     {} --part 0 to {}", self.plan.command("run"), plan.parts() - 1));
        Ok(o)
    }
}

const EXAMPLES: &str = "Examples:
  voisin job run laion.json --part 7
  voisin job run laion.json --part $SLURM_ARRAY_TASK_ID -o /shared/laion
  voisin job run laion.json --part 0-9,12
  voisin job run laion.json --all                        (whatever is not done yet)
  voisin job run laion.json --part 7 --root /scratch \\
      --before-part 'while read f; do wget -q -O \"$f\" https://host/$(basename \"$f\"); done' \\
      --after-part 'xargs -d \"\\n\" rm -f'

A part that is done returns at once; one that was killed goes on after its last finished file if its
inputs are the same as then; one that is damaged, or that was made without a file that is there now, is done again.
Two machines with the same part do no harm. Commands get the names of the files of a part on standard input, one a line, and its
number as $VOISIN_PART; --after-part gets those that no other part needs, also for a part that was done before.";

/// Stores the vectors of a part
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Run {
    #[command(flatten)]
    plan: PlanFile,
    /// Parts, counted from 0: 7, 0-9, or 3,5,8-10
    #[arg(long, num_args = 1.., value_name = "N", required_unless_present = "all")]
    part: Vec<String>,
    /// All parts, one after the other
    #[arg(long, conflicts_with = "part")]
    all: bool,
    #[command(flatten)]
    root: RootArgs,
    /// Command that fetches the files of a part before they are read
    #[arg(long, value_name = "CMD")]
    before_part: Option<String>,
    /// Command that removes the files of a part after it is done
    #[arg(long, value_name = "CMD")]
    after_part: Option<String>,
    /// Believe the receipts of parts that are done, without reading what they wrote
    #[arg(long)]
    quick: bool,
}

impl Run {
    /// Runs it.
    ///
    /// # Errors
    /// No model yet, inputs that are missing or not as planned, a command that fails, a full disk; Ctrl-C. Of several parts
    /// those that can be done are done.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let (plan, dir) = self.plan.open()?;
        let parts = if self.all { (0..plan.parts()).collect() } else { parts_of(&self.part, plan.parts())? };
        if let Some(&first) = parts.first() {
            // a model that is missing is missing for all of them
            finished(&plan, &dir, first, &self.root.files(), &RunParams { quick: true, ..RunParams::default() })
                .map_err(|e| self.plan.hinted(e))?;
        }
        let (mut reports, mut failed): (Vec<PartReport>, Vec<(usize, Fail)>) = (Vec::with_capacity(parts.len()), Vec::new());
        for &part in &parts {
            match self.part(&plan, &dir, part, cx) {
                Ok(report) => reports.push(report),
                // other parts may have what they need
                Err(fail) if fail.code == DATA && parts.len() > 1 => {
                    cx.screen.say(&format!("part {part}: {}", fail.message));
                    failed.push((part, fail));
                }
                Err(fail) => return Err(fail),
            }
        }
        let mut o = self.outcome(&plan, &dir, &reports, cx);
        if !failed.is_empty() {
            o.set("failed", failed.iter().map(|(part, f)| json!({"part": part, "what": f.message})).collect::<Vec<_>>());
            for (part, fail) in &failed {
                o.line(format!("part {part} failed: {}", fail.message));
            }
            let (n, all) = (failed.len(), parts.len());
            o.line(format!("{n} of {all} parts failed; the others are done. The same command runs those that failed again"));
            o.exit_with(DATA);
        }
        Ok(o)
    }

    fn part(&self, plan: &Plan, dir: &Path, part: usize, cx: &Context) -> Result<PartReport> {
        let files = self.root.files();
        let params = RunParams { allow_missing: self.root.allow_missing, quick: self.quick, ..RunParams::default() };
        let names = |all: &[&voisin::index::job::Input]| -> Vec<String> {
            all.iter().filter(|i| i.rows > 0).map(|i| files.path(&i.file).display().to_string()).collect()
        };
        if let Some(command) = &self.before_part
            && !finished(plan, dir, part, &files, &params)?
        {
            hooks::call("before-part", command, &self.plan.plan, part, &names(&plan.inputs_of_part(part)?))?;
        }
        let report = run(plan, dir, part, &files as &Files, &params, &cx.screen).map_err(|e| self.plan.hinted(e))?;
        if let Some(command) = &self.after_part {
            // a file at the border of two parts goes with the later one
            let quick = RunParams { quick: true, ..params };
            let needed = |p: usize| p != part && !finished(plan, dir, p, &files, &quick).unwrap_or(false);
            let mut done = plan.inputs_of_part(part)?;
            done.retain(|i| !plan.parts_of_input(&i.file).into_iter().any(needed));
            hooks::call("after-part", command, &self.plan.plan, part, &names(&done))?;
        }
        Ok(report)
    }

    fn outcome(&self, plan: &Plan, dir: &Path, all: &[PartReport], cx: &Context) -> Outcome {
        let mut o = Outcome::new("job run");
        let sum = |f: &dyn Fn(&PartReport) -> f64| Some(all.iter().map(f).sum::<f64>());
        let total = |f: &dyn Fn(&PartReport) -> u64| all.iter().map(f).sum::<u64>();
        let seconds = Seconds {
            read: sum(&|r| r.seconds.read),
            assign: sum(&|r| r.seconds.assign),
            encode: sum(&|r| r.seconds.encode),
            write: sum(&|r| r.seconds.write),
            total: cx.elapsed(),
            ..Seconds::default()
        };
        o.set("n", total(&|r| r.n)).set("d", plan.dim()).set("spec", plan.spec().to_string()).set("seconds", seconds);
        o.set("bytes", total(&|r| r.bytes)).set("skipped", total(&|r| r.skipped)).set("resumed", total(&|r| r.resumed));
        o.set("segments", all.iter().map(|r| r.segments).sum::<usize>()).set("out", dir.display().to_string());
        let part = |r: &PartReport| json!({"part": r.part, "n": r.n, "before": r.before, "missing": r.missing});
        o.set("parts", all.iter().map(part).collect::<Vec<_>>());
        for r in all {
            let before = if r.before { "; done before" } else { "" };
            let speed = if r.before || r.seconds.total <= 0.0 {
                String::new()
            } else {
                format!(
                    " in {}, {} a second",
                    time(r.seconds.total),
                    count(((r.n - r.resumed.min(r.n)) as f64 / r.seconds.total) as u64)
                )
            };
            o.line(format!("part {}: {} vectors, {}{speed}{before}", r.part, count(r.n), bytes(r.bytes)));
            if r.resumed > 0 {
                o.line(format!("  {} rows were finished by an earlier run", count(r.resumed)));
            }
            if r.skipped > 0 {
                o.line(format!("  {} rows that cannot be ranked were left out", count(r.skipped)));
            }
            for m in &r.missing {
                o.line(format!("  without {}: {}", m.file, m.what));
            }
        }
        o
    }
}

/// Numbers of parts as people write them.
fn parts_of(words: &[String], parts: usize) -> Result<Vec<usize>> {
    let mut all = Vec::new();
    for word in words.iter().flat_map(|w| w.split(',')) {
        let hint = format!("parts are numbers from 0 to {}: 7, 0-9, or 3,5,8-10", parts - 1);
        let wrong = || Fail::usage(format!("part = {word:?}: the plan has {parts} parts"), hint.clone());
        let number = |s: &str| s.trim().parse::<usize>().ok().filter(|n| *n < parts).ok_or_else(wrong);
        match word.split_once('-') {
            Some((first, last)) => all.extend(number(first)?..=number(last)?),
            None => all.push(number(word)?),
        }
    }
    if all.is_empty() {
        return Err(Fail::usage("no part in this range", "write the smaller number first"));
    }
    Ok(all)
}
