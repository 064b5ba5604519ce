//! `voisin job status` and `voisin job commit`.

use clap::Args;
use serde_json::json;
use voisin::index::job::{PartState, commit, status};

use super::PlanFile;
use crate::common::Context;
use crate::fail::{DATA, Result};
use crate::outcome::{Outcome, Seconds, bytes, count, things};

/// Says which parts are done, missing or damaged
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin job status laion.json
  voisin job status laion.json --quick --json      (for programs; headers and sizes alone)

Everything that the parts wrote is read. The exit code is 1 where something is damaged: `voisin job run` does
that part again, `voisin job train` the model, `voisin job commit` the manifest.")]
pub struct Status {
    #[command(flatten)]
    plan: PlanFile,
    /// Look at headers and sizes alone
    #[arg(long)]
    quick: bool,
}

impl Status {
    /// Runs it.
    ///
    /// # Errors
    /// No plan, another index in the folder; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let (plan, dir) = self.plan.open()?;
        let s = status(&plan, &dir, self.quick, &cx.screen).map_err(|e| self.plan.hinted(e))?;
        let mut o = Outcome::new("job status");
        let done = s.which(|s| *s == PartState::Done);
        let begun = s.which(|s| matches!(s, PartState::Begun { .. }));
        let missing = s.which(|s| *s == PartState::Missing);
        let damaged = s.which(|s| matches!(s, PartState::Damaged { .. }));
        let n: u64 = s.parts.iter().filter_map(|p| p.n).sum();
        let size: u64 = s.parts.iter().filter_map(|p| p.bytes).sum();
        o.set("n", n).set("d", plan.dim()).set("spec", plan.spec().to_string()).set("bytes", size);
        o.set("out", dir.display().to_string()).set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        o.set("model", json!(s.model)).set("committed", s.committed).set("parts", json!(s.parts));
        o.set("done", done.clone()).set("begun", begun.clone()).set("missing", missing.clone()).set("damaged", damaged.clone());
        o.line(format!("{}: {} x {} in {} parts", plan.spec(), count(plan.len()), plan.dim(), plan.parts()));
        o.line(match &s.model {
            PartState::Done => "model    done".to_string(),
            PartState::Damaged { what } => format!("damaged  model: {what}"),
            _ => "model    not trained".to_string(),
        });
        o.set_some("manifest", s.manifest.clone());
        if let Some(what) = &s.manifest {
            o.line(format!("damaged  manifest.json: {what}; `{}` makes it again", self.plan.command("commit")));
        }
        o.line(format!("done     {} parts, {} vectors, {}", done.len(), count(n), bytes(size)));
        for (name, parts) in [("begun", &begun), ("missing", &missing)] {
            if !parts.is_empty() {
                o.line(format!("{name:<8} {} parts: {}", parts.len(), ranges(parts)));
            }
        }
        for p in &s.parts {
            if let PartState::Damaged { what } = &p.state {
                o.line(format!("damaged  part {}: {what}", p.part));
            }
            for m in &p.missing {
                o.line(format!("without  part {}: {}: {}", p.part, m.file, m.what));
            }
        }
        let open: Vec<usize> = s.which(|s| *s != PartState::Done);
        o.line(match (&s.model, open.is_empty(), s.committed) {
            (PartState::Done, true, true) => format!("committed: the index is in {}", dir.display()),
            (PartState::Done, true, false) => format!("next     {}", self.plan.command("commit")),
            (PartState::Done, false, _) => format!("next     {} --part {}", self.plan.command("run"), ranges(&open)),
            _ => format!("next     {}", self.plan.command("train")),
        });
        if !damaged.is_empty() || s.manifest.is_some() || matches!(s.model, PartState::Damaged { .. }) {
            o.exit_with(DATA);
        }
        Ok(o)
    }
}

/// `0-3,7,9-12`.
fn ranges(numbers: &[usize]) -> String {
    let runs = numbers.chunk_by(|a, b| a + 1 == *b);
    let show = |r: &[usize]| if r.len() > 1 { format!("{}-{}", r[0], r[r.len() - 1]) } else { r[0].to_string() };
    runs.map(show).collect::<Vec<_>>().join(",")
}

/// Makes the index of all parts
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin job commit laion.json
  voisin job commit laion.json --quick     (after `voisin job status` has just read everything)

Every receipt and every byte of the parts is checked, then one manifest is put in place. Repeated, it
checks them again; a damaged manifest is replaced.")]
pub struct Commit {
    #[command(flatten)]
    plan: PlanFile,
    /// Look at headers and sizes alone
    #[arg(long)]
    quick: bool,
}

impl Commit {
    /// Runs it.
    ///
    /// # Errors
    /// Parts that are not done or damaged, another index in the folder, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let (plan, dir) = self.plan.open()?;
        let r = commit(&plan, &dir, self.quick, &cx.screen).map_err(|e| self.plan.hinted(e))?;
        let i = r.info;
        let mut o = Outcome::new("job commit");
        o.set("n", i.n).set("d", i.d).set("metric", i.metric.name()).set("spec", i.spec.clone()).set("bytes", i.bytes);
        o.set("segments", i.segments).set("parts", plan.parts()).set("missing", json!(i.missing)).set("before", r.before);
        o.set_some("replaced", r.replaced.clone());
        o.set("out", dir.display().to_string()).set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        o.line(format!("{}: {} vectors of {} dimensions, {}", i.spec, count(i.n), i.d, i.metric));
        for m in &i.missing {
            o.line(format!("without  {}: {}", m.file, m.what));
        }
        o.line(format!(
            "{} in {}, {} of {}",
            bytes(i.bytes),
            dir.display(),
            things(i.segments, "segment"),
            things(plan.parts(), "part")
        ));
        let checked = if self.quick {
            "headers and sizes of its parts are as they should be"
        } else {
            "every byte of its parts is as it should be"
        };
        if r.before {
            o.line(format!("committed before; {checked}"));
        }
        if let Some(what) = r.replaced {
            o.line(format!("manifest.json was damaged ({what}) and was made again from the receipts"));
        }
        Ok(o)
    }
}
