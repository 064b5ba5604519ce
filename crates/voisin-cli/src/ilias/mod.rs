//! `voisin ilias`: search and evaluation of ILIAS under the options and in the files of its own tools.

mod evaluate;
mod search;

use clap::{Args, Subcommand};

use crate::common::Context;
use crate::fail::Result;
use crate::outcome::Outcome;

const EXAMPLES: &str = "Examples:
  voisin ilias search --query_hdf5 features_image_queries.hdf5 \\
      --positive_hdf5 features_positives.hdf5 \\
      --distractor_hdf5 'features_distractors_{idx}.hdf5' --total_distractors 100 --save_dir sims
  voisin ilias evaluate --similarity_file sims/similarities.json --dataset_dir ilias

`voisin ilias search --help` and `voisin ilias evaluate --help` show every option.";

/// ILIAS: search and evaluation with the options and files of its own tools
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Ilias {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand, Debug)]
enum What {
    Search(Box<search::Search>),
    Evaluate(evaluate::Evaluate),
}

impl Ilias {
    /// Runs it.
    ///
    /// # Errors
    /// Those of what was asked for.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        match &self.what {
            What::Search(args) => args.run(cx),
            What::Evaluate(args) => args.run(cx),
        }
    }
}
