//! The `voisin` binary: one file a subcommand; what is longer than a screen belongs in the engine.
#![forbid(unsafe_code)]

mod bench;
mod build;
mod calibrate;
mod change;
mod common;
mod convert;
mod demo;
mod embed;
mod eval;
mod exact;
mod fail;
mod graph;
mod ilias;
mod info;
mod job;
mod kmeans;
mod merge;
mod model;
mod outcome;
mod pair;
mod point;
mod relevance;
mod report;
mod saving;
mod screen;
mod search;
#[cfg(feature = "web")]
mod serve;
mod show;

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};

use clap::error::ErrorKind;
use clap::{CommandFactory, Parser, Subcommand};

use common::{Common, Context};
use fail::{Fail, Result};
use outcome::Outcome;

/// Nearest neighbours in embeddings: exact, through k-means lists, through learned partitions
#[derive(Parser)]
#[command(name = "voisin", version, max_term_width = 100, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    common: Common,
}

const EXAMPLES: &str = "Examples:
  voisin demo                                                     what it can do, in a minute
  voisin info base.h5                                             what a file holds
  voisin exact --base base.h5 --queries queries.h5 -o truth.h5    exact neighbours
  voisin build --base base.h5 --index LMI320,Flat -o index        a learned index
  voisin search index --queries queries.h5 --nprobe 4 --truth truth.h5 -o result.h5
  voisin eval result.h5 --truth truth.h5                          recall of a result
  voisin serve photos                                             a page to search by image

`voisin COMMAND --help` shows every option, with examples.";

#[derive(Subcommand)]
enum Command {
    Info(info::Info),
    Convert(convert::Convert),
    Embed(embed::Embed),
    Exact(exact::Exact),
    Pair(pair::Pair),
    #[command(name = "kmeans")]
    KMeans(kmeans::KMeans),
    Build(Box<build::Build>),
    Job(Box<job::Job>),
    Search(Box<search::Search>),
    #[cfg(feature = "web")]
    Serve(Box<serve::Serve>),
    Add(change::Add),
    Remove(change::Remove),
    Compact(change::Compact),
    Merge(merge::Merge),
    Calibrate(calibrate::Calibrate),
    Verify(change::Verify),
    Model(model::Model),
    Eval(eval::Eval),
    Ilias(ilias::Ilias),
    Bench(Box<bench::Bench>),
    Demo(demo::Demo),
}

impl Command {
    fn run(&self, cx: &Context) -> Result<Outcome> {
        match self {
            Command::Info(args) => args.run(cx),
            Command::Convert(args) => args.run(cx),
            Command::Embed(args) => args.run(cx),
            Command::Exact(args) => args.run(cx),
            Command::Pair(args) => args.run(cx),
            Command::KMeans(args) => args.run(cx),
            Command::Build(args) => args.run(cx),
            Command::Job(args) => args.run(cx),
            Command::Search(args) => args.run(cx),
            #[cfg(feature = "web")]
            Command::Serve(args) => args.run(cx),
            Command::Add(args) => args.run(cx),
            Command::Remove(args) => args.run(cx),
            Command::Compact(args) => args.run(cx),
            Command::Merge(args) => args.run(cx),
            Command::Calibrate(args) => args.run(cx),
            Command::Verify(args) => args.run(cx),
            Command::Model(args) => args.run(cx),
            Command::Eval(args) => args.run(cx),
            Command::Ilias(args) => args.run(cx),
            Command::Bench(args) => args.run(cx),
            Command::Demo(args) => args.run(cx),
        }
    }
}

/// The command that is called, with the one below it where it has some: `job run`.
fn name_of(all: &clap::Command, words: impl Iterator<Item = OsString>) -> Option<String> {
    let mut words = words;
    let command = words.find_map(|word| all.find_subcommand(word))?;
    let below = words.find_map(|word| command.find_subcommand(word));
    Some(command.get_name().to_string() + &below.map(|c| format!(" {}", c.get_name())).unwrap_or_default())
}

fn main() -> ExitCode {
    last_resort();
    let all = Cli::command();
    let name = name_of(&all, std::env::args_os().skip(1)).unwrap_or_else(|| "COMMAND".into());
    let failed = |mut fail: Fail| {
        fail.name_command(&name);
        let _ = std::io::stderr().write_all(fail.text().as_bytes());
        fail.code
    };
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) if e.kind() == ErrorKind::DisplayHelp || e.kind() == ErrorKind::DisplayVersion => {
            let _ = e.print(); // `| head` may have closed stdout
            return ExitCode::SUCCESS;
        }
        Err(e) if e.kind() == ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let _ = e.print();
            return ExitCode::from(fail::USAGE);
        }
        Err(e) => return ExitCode::from(failed(Fail::of_call(&e))),
    };
    let (json, quiet) = (cli.common.json, cli.common.quiet);
    let done = Context::new(cli.common).and_then(|cx| cli.command.run(&cx));
    ExitCode::from(match done {
        Ok(outcome) => outcome.print(json, quiet),
        Err(fail) => failed(fail),
    })
}

/// A panic is a bug: it gets one line that says so instead of a backtrace, and the exit code 101.
fn last_resort() {
    static SAID: AtomicBool = AtomicBool::new(false);
    std::panic::set_hook(Box::new(|info| {
        #[cfg(feature = "onnx")]
        if std::thread::current().name().is_some_and(|n| n.starts_with(voisin_embed::THREADS)) {
            return; // what runs models gives up on one; that becomes an error
        }
        if SAID.swap(true, Ordering::Relaxed) {
            return; // the threads that waited for the first one
        }
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied().or_else(|| payload.downcast_ref::<String>().map(String::as_str));
        let at = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        let _ = writeln!(
            std::io::stderr(),
            "error: a bug in voisin {}: {}{at}; please report it with the command line",
            env!("CARGO_PKG_VERSION"),
            text.unwrap_or("unknown").lines().next().unwrap_or_default()
        );
    }));
}
