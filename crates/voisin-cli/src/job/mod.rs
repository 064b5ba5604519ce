//! `voisin job`: an index built in parts, by as many machines as there are.

mod hooks;
mod plan;
mod run;
mod state;

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use voisin::Error;
use voisin::index::job::Plan;
use voisin_io::inputs::Files;

use crate::common::Context;
use crate::fail::{Fail, Result};
use crate::outcome::Outcome;

const EXAMPLES: &str = "Examples:
  voisin job plan --base 'img_emb_*.npy' --index IVF16384,SQ4 --parts 58 -o laion.json
  voisin job train laion.json                  once, on one machine
  voisin job run laion.json --part 7           every part from 0 to 57, anywhere, in any order
  voisin job status laion.json                 what is done, missing, damaged
  voisin job commit laion.json                 the index, in the folder laion
  voisin search laion --queries q.npy --nprobe 64

`voisin job plan --help` and so on show the options of each step.";

/// Builds an index in parts: plan, train, run every part anywhere, commit
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Job {
    #[command(subcommand)]
    step: Step,
}

#[derive(Subcommand, Debug)]
enum Step {
    Plan(Box<plan::PlanArgs>),
    Train(run::Train),
    Run(run::Run),
    Status(state::Status),
    Commit(state::Commit),
}

impl Job {
    /// Runs the step.
    ///
    /// # Errors
    /// What the step gives.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        match &self.step {
            Step::Plan(args) => args.run(cx),
            Step::Train(args) => args.run(cx),
            Step::Run(args) => args.run(cx),
            Step::Status(args) => args.run(cx),
            Step::Commit(args) => args.run(cx),
        }
    }
}

/// A plan and the folder of its index.
#[derive(Args, Clone, Debug)]
pub struct PlanFile {
    /// The plan
    #[arg(value_name = "PLAN")]
    plan: PathBuf,
    /// Folder of the index, shared by all machines [default: the one that the plan names]
    #[arg(short, long, value_name = "DIR")]
    out: Option<PathBuf>,
}

impl PlanFile {
    /// Reads the plan.
    ///
    /// # Errors
    /// No plan, or a damaged one.
    pub fn open(&self) -> Result<(Plan, PathBuf)> {
        let plan = Plan::load(&self.plan).map_err(|e| self.hinted(e))?;
        let dir = self.out.clone().unwrap_or_else(|| plan.dir());
        Ok((plan, dir))
    }

    /// An error with what to do about it in a job.
    pub fn hinted(&self, e: Error) -> Fail {
        let hint = match &e {
            Error::BadRow { .. } => Some(
                "repair the row and run again, or make a new plan, with --on-bad skip, that leaves such rows out".to_string(),
            ),
            Error::Corrupt { path, .. } if *path == self.plan => {
                Some("restore the plan from a copy, or make one again under another name with `voisin job plan`".to_string())
            }
            Error::Corrupt { path, .. } => Some(match path.file_name().and_then(|n| n.to_str()) {
                Some("model.json" | "model.vsn") => format!("`{}` makes the model again", self.command("train")),
                Some("manifest.json") => "restore it from a copy; what was added and removed is known to it alone".to_string(),
                _ => format!("`{}` lists what is damaged and says what to do", self.command("status")),
            }),
            _ => None,
        };
        let fail = Fail::from(e);
        Fail { hint: hint.or(fail.hint.clone()), ..fail }
    }

    /// The steps that follow, as they are typed.
    fn command(&self, step: &str) -> String {
        let out = self.out.as_ref().map(|o| format!(" -o {}", o.display())).unwrap_or_default();
        format!("voisin job {step} {}{out}", self.plan.display())
    }
}

/// Where inputs are.
#[derive(Args, Clone, Debug)]
pub struct RootArgs {
    /// Folder that names of inputs start from, where they are relative [default: the working folder]
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Leave out inputs that are missing or short, and list them in the index
    #[arg(long)]
    allow_missing: bool,
}

impl RootArgs {
    fn files(&self) -> Files {
        Files::new(self.root.as_deref().unwrap_or(Path::new("")))
    }
}
