//! `voisin add`, `remove`, `compact`, `verify`: an index that changes.

use std::path::PathBuf;

use clap::Args;
use serde_json::json;
use voisin::index::{AddParams, IdList, Index, Problem, VerifyReport, add, compact, remove, verify};
use voisin::{Error, StringIds};

use crate::common::{AdaptArgs, BaseArgs, Context, faiss_file, parse_bytes};
use crate::fail::{DATA, Fail, Result};
use crate::outcome::{Outcome, Seconds, bytes, count, things, time};

/// Adds vectors to an index; ids come from the files, else they are numbered on
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin add index --base new.h5
  voisin add index --base changed.h5 --replace
  voisin add parts/0 --base new.h5 --first-id 5000000     (above the ids of all parts)")]
pub struct Add {
    /// Folder of the index
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    adapt: AdaptArgs,
    /// Replace vectors whose id is in the index already, instead of refusing them
    #[arg(long)]
    replace: bool,
    /// Number of the first vector, where the file has no string ids: above all of the index, and for one of several
    /// parts above those of the others [default: one after the largest of the index]
    #[arg(long, value_name = "N")]
    first_id: Option<u64>,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
}

impl Add {
    /// Runs it.
    ///
    /// # Errors
    /// An id that exists, another dimension, bad data, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        if faiss_file(&[self.dir.display().to_string()]).is_some() {
            let message = format!("{0}: a file of FAISS; `add` changes the folder of an index", self.dir.display());
            return Err(Fail::usage(message, "`voisin convert x.index DIR` makes one of it, and back"));
        }
        let source = self.adapt.over(self.base.open(cx)?)?;
        let params = AddParams {
            replace: self.replace,
            first_id: self.first_id,
            on_bad: self.base.on_bad.into(),
            memory_limit: self.memory_limit,
            ..AddParams::default()
        };
        let r = add(&self.dir, &*source, &params, &cx.screen)?;
        let s = r.seconds;
        let seconds = Seconds {
            read: Some(s.read),
            assign: Some(s.assign),
            encode: Some(s.encode),
            write: Some(s.write),
            total: cx.elapsed(),
            ..Seconds::default()
        };
        let mut o = Outcome::new("add");
        o.set("n", r.n).set("d", source.dim()).set("added", r.added).set("replaced", r.replaced).set("skipped", r.skipped);
        o.set("seconds", seconds).set("out", self.dir.display().to_string());
        let (added, replaced) = (count(r.added), count(r.replaced));
        o.line(format!("{added} vectors added ({replaced} of them replaced older ones) in {}", time(cx.elapsed())));
        if r.skipped > 0 {
            o.line(format!("{} rows that cannot be ranked were left out", count(r.skipped)));
        }
        o.line(format!("{} has {} vectors now", self.dir.display(), count(r.n)));
        Ok(o)
    }
}

/// Removes vectors from an index; `compact` frees their space
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin remove index --ids 17 42 4711
  voisin remove index --ids-file gone.txt --missing-ok     (one id a line)")]
pub struct Remove {
    /// Folder of the index
    #[arg(value_name = "DIR")]
    dir: PathBuf,
    /// The ids
    #[arg(long, num_args = 1.., value_name = "ID", required_unless_present = "ids_file", allow_negative_numbers = true)]
    ids: Vec<String>,
    /// A text file with an id on each line
    #[arg(long, value_name = "FILE")]
    ids_file: Option<PathBuf>,
    /// Ids that are not in the index are counted instead of refused
    #[arg(long)]
    missing_ok: bool,
}

impl Remove {
    /// Runs it.
    ///
    /// # Errors
    /// Unknown ids; what writing gives.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let ids = self.ids()?;
        let r = remove(&self.dir, &ids, self.missing_ok)?;
        let mut o = Outcome::new("remove");
        o.set("n", r.n).set("removed", r.removed).set("missing", r.missing);
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() }).set("out", self.dir.display().to_string());
        let missing = if r.missing > 0 { format!(" ({} were not in it)", count(r.missing)) } else { String::new() };
        o.line(format!("{} vectors removed{missing}; {} has {} now", count(r.removed), self.dir.display(), count(r.n)));
        Ok(o)
    }

    fn ids(&self) -> Result<IdList> {
        let mut all: Vec<String> = self.ids.clone();
        if let Some(file) = &self.ids_file {
            let text = std::fs::read_to_string(file).map_err(|e| voisin::Error::io(file, e))?;
            all.extend(text.lines().filter(|l| !l.is_empty()).map(str::to_string));
        }
        if all.is_empty() {
            return Err(Fail::usage("no ids to remove", "pass --ids ID... or a file with an id on each line"));
        }
        id_list(&Index::open(&self.dir)?, &all)
    }
}

/// Ids as the index has them: numbers or strings.
///
/// # Errors
/// An id that is no number where the index has numbers.
pub fn id_list(index: &Index, ids: &[String]) -> Result<IdList> {
    if index.has_string_ids() {
        return Ok(IdList::Strings(ids.iter().collect::<StringIds>()));
    }
    let number = |s: &String| {
        s.parse::<u64>().map_err(|_| voisin::Error::Id { id: s.clone(), what: "the ids of this index are numbers".into() }.into())
    };
    Ok(IdList::Numbers(ids.iter().map(number).collect::<Result<_>>()?))
}

/// Writes an index anew as one piece, without the vectors that were removed
#[derive(Args, Debug)]
#[command(after_help = "Example:
  voisin compact index")]
pub struct Compact {
    /// Folder of the index
    #[arg(value_name = "DIR")]
    dir: PathBuf,
}

impl Compact {
    /// Runs it.
    ///
    /// # Errors
    /// Damaged files, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let r = compact(&self.dir, &cx.screen)?;
        let mut o = Outcome::new("compact");
        o.set("n", r.n).set("dropped", r.dropped).set("segments", r.segments.1).set("bytes", r.bytes.1);
        o.set("bytes_before", r.bytes.0).set("segments_before", r.segments.0);
        o.set("bytes_per_vector", crate::outcome::round(r.bytes.1 as f64 / r.n.max(1) as f64, 2));
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() }).set("out", self.dir.display().to_string());
        o.line(format!(
            "{} of {} became {} of {}; {} removed vectors were dropped, {} are left",
            things(r.segments.0, "segment"),
            bytes(r.bytes.0),
            r.segments.1,
            bytes(r.bytes.1),
            count(r.dropped),
            count(r.n)
        ));
        Ok(o)
    }
}

/// Reads every byte of an index, or of several, and says what is damaged; exit code 1 if anything is
#[derive(Args, Debug)]
#[command(after_help = "Examples:
  voisin verify index
  voisin verify parts                                     (a folder of indexes)")]
pub struct Verify {
    /// Folders of the indexes, or a folder of them
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<String>,
}

impl Verify {
    /// Runs it.
    ///
    /// # Errors
    /// A folder that holds no index at all; one of several is reported as damaged.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let dirs = voisin_io::expand_indexes(&self.dirs)?;
        let (mut all, mut each, mut o) = (VerifyReport::default(), Vec::new(), Outcome::new("verify"));
        for dir in &dirs {
            let r = match verify(dir, &cx.screen) {
                Err(e) if dirs.len() > 1 && !matches!(e, Error::Stopped) => {
                    VerifyReport { problems: vec![Problem::new(&dir.join("manifest.json"), e)], ..VerifyReport::default() }
                }
                r => r?,
            };
            for p in &r.problems {
                o.line(format!("damaged: {}: {}", p.path.display(), p.what));
            }
            if !r.leftovers.is_empty() {
                let (left, place) =
                    (r.leftovers.len(), if dirs.len() > 1 { format!("{}: ", dir.display()) } else { String::new() });
                o.line(format!("{place}{left} files are left from a change that was stopped; the next change removes them"));
            }
            if dirs.len() > 1 {
                o.line(format!("{}: {}", dir.display(), summary(&r)));
                each.push(json!({"path": dir.display().to_string(), "n": r.vectors, "sound": r.problems.is_empty()}));
            }
            all.problems.extend(r.problems);
            all.leftovers.extend(r.leftovers);
            (all.files, all.bytes, all.vectors) = (all.files + r.files, all.bytes + r.bytes, all.vectors + r.vectors);
        }
        let names = |paths: &[PathBuf]| paths.iter().map(|p| p.display().to_string()).collect::<Vec<_>>();
        o.set("n", all.vectors).set("files", all.files).set("bytes", all.bytes).set("sound", all.problems.is_empty());
        let problems: Vec<_> =
            all.problems.iter().map(|p| json!({"path": p.path.display().to_string(), "what": p.what})).collect();
        o.set("problems", problems).set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        if !all.leftovers.is_empty() {
            o.set("leftovers", names(&all.leftovers));
        }
        let together = if dirs.len() > 1 { format!("{} indexes: ", dirs.len()) } else { String::new() };
        o.line(together + &summary(&all));
        if !each.is_empty() {
            o.set("indexes", each);
        }
        if !all.problems.is_empty() {
            o.exit_with(DATA);
        }
        Ok(o)
    }
}

/// What was read, and the verdict.
fn summary(r: &VerifyReport) -> String {
    let (files, size) = (count(r.files as u64), bytes(r.bytes));
    let verdict = if r.problems.is_empty() { "sound".to_string() } else { format!("{} damaged", r.problems.len()) };
    format!("{files} files, {size}, {} vectors: {verdict}", count(r.vectors))
}
