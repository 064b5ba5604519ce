//! `voisin ilias search`: exact neighbours of the queries among positives and distractors.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};
use serde_json::json;
use voisin::exact::{ExactParams, ExactResult, exact, exact_expanded};
use voisin::{Error, IdSet, Metric, Source, StringIds, Subset};
use voisin_io::Role;
use voisin_io::ilias::{Retrieved, no_ids, open_base, selected_rows, shard, shards, write_json, write_pickle};

use crate::common::{AdaptArgs, Bad, Context, beside, id_lines, parse_bytes, refuse_same};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, round, time};

const EXAMPLES: &str = "Examples:
  voisin ilias search --query_hdf5 features_image_queries.hdf5 \\
      --positive_hdf5 features_positives.hdf5 \\
      --distractor_hdf5 'features_distractors_{idx}.hdf5' --total_distractors 100 \\
      --k 1000 --save_dir sims --save_name image --save_as pickle
  voisin ilias search ... --lin_adapt_path layer.pth --query_expansion 5
  voisin ilias search ... --selected_ids mini_ilias_yfcc100m_ids.txt

Options are also read with dashes (--query-hdf5). Files are streamed: memory does not grow with
their number. Killed and started again, the same command goes on where it was. Vectors are compared
by their dot product.";

/// `--save_as`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum SaveAs {
    Json,
    Pickle,
}

/// Finds the most similar positives and distractors of every query
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES, args_override_self = true)]
pub struct Search {
    /// Features of the queries: `features` (n x d) and `index` (ids)
    #[arg(long = "query_hdf5", alias = "query-hdf5", value_name = "FILE")]
    query_hdf5: String,
    /// Features of the positives
    #[arg(long = "positive_hdf5", alias = "positive-hdf5", value_name = "FILE")]
    positive_hdf5: PathBuf,
    /// Features of the distractors; {idx} in it becomes 00000, 00001, ...
    #[arg(long = "distractor_hdf5", alias = "distractor-hdf5", value_name = "TEMPLATE")]
    distractor_hdf5: Option<String>,
    /// Number of files of distractors [default: 1]
    #[arg(long = "total_distractors", alias = "total-distractors", value_name = "N")]
    total_distractors: Option<usize>,
    /// Search only distractors whose id has one of these after its slash: a text file with one on each line. Positives
    /// are always searched
    #[arg(long = "selected_ids", aliases = ["selected-ids", "selected"], value_name = "FILE")]
    selected_ids: Option<PathBuf>,
    /// Neighbours for each query
    #[arg(short, long = "k", default_value_t = 1000)]
    k: usize,
    /// Search again for the mean of each query and its N nearest, weighted by their similarity; 0 for no
    #[arg(long = "query_expansion", alias = "query-expansion", value_name = "N", default_value_t = 0)]
    query_expansion: usize,
    /// Map all features by a linear layer (`*.weight`, `*.bias`), then to unit length [also --lin_adopt_path]
    #[arg(long = "lin_adapt_path", aliases = ["lin-adapt-path", "lin_adopt_path", "lin-adopt-path"], value_name = "LAYER")]
    lin_adapt_path: Option<PathBuf>,
    /// Folder for the result, made where it is missing [also --save_path]
    #[arg(long = "save_dir", aliases = ["save-dir", "save_path", "save-path"], value_name = "DIR")]
    save_dir: PathBuf,
    /// Name of the result, without its ending
    #[arg(long = "save_name", alias = "save-name", value_name = "NAME", default_value = "similarities")]
    save_name: String,
    /// Write NAME.json or NAME.pkl
    #[arg(long = "save_as", alias = "save-as", value_enum, value_name = "FORMAT", default_value = "json")]
    save_as: SaveAs,
    /// Read for the sake of existing scripts, and ignored: the search runs on the CPU
    #[arg(long = "use_gpu", alias = "use-gpu", num_args = 0..=1, default_missing_value = "true", value_name = "BOOL")]
    use_gpu: Option<String>,
    /// Features with NaN or infinity: refuse the input, or skip and count them
    #[arg(long = "on-bad", alias = "on_bad", value_enum, default_value_t, value_name = "WHAT")]
    on_bad: Bad,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long = "memory-limit", alias = "memory_limit", value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
}

impl Search {
    /// Runs it.
    ///
    /// # Errors
    /// A shard that is missing, files of other dimensions, features that cannot be ranked, selected ids of which none is
    /// there, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        if let (Some(n), None) = (self.total_distractors, &self.distractor_hdf5) {
            let message = format!("total_distractors = {n}: without --distractor_hdf5 only the positives are searched");
            return Err(Fail::usage(
                message,
                "pass --distractor_hdf5 'features_distractors_{idx}.hdf5', or leave --total_distractors out",
            ));
        }
        self.remarks(cx);
        let out = self.out()?;
        let (base, positives, files) = self.base()?;
        let queries = self.adapt().over(voisin_io::open(&self.query_hdf5, Role::Queries)?)?;
        let query_ids = queries.ids()?.ok_or_else(|| no_ids(&*queries))?;
        let base: Box<dyn Source> = match &self.selected_ids {
            Some(file) => Box::new({
                let rows = self.selected(file, &*base, positives, cx)?;
                Subset::new(base, rows)?
            }),
            None => base,
        };
        if self.query_expansion as u64 > base.len() {
            let most = format!("at most the {} vectors searched", base.len());
            return Err(Error::param("query_expansion", self.query_expansion, most).into());
        }
        let metric = Metric::Ip;
        let k = self.k.min(base.len() as usize);
        if k < self.k {
            cx.screen.say(&format!("k = {}: there are {} vectors, all of which are ranked", self.k, count(base.len())));
        }
        let params = ExactParams {
            k,
            metric,
            on_bad: self.on_bad.into(),
            memory_limit: self.memory_limit,
            checkpoint: Some(beside(&out, "part")),
            ..ExactParams::default()
        };
        let found = match self.query_expansion {
            0 => exact(&*base, &*queries, &params, &cx.screen)?,
            n => exact_expanded(&*base, &*queries, n, &params, &cx.screen)?,
        };
        let begun = cx.elapsed();
        self.write(&out, &found, &query_ids, &*base)?;
        let write = cx.elapsed() - begun;
        if let Some(checkpoint) = &params.checkpoint {
            let _ = std::fs::remove_file(checkpoint); // the result is safe; there may be none
        }
        let mut o = self.outcome(&found, &*queries, &*base, k, &out);
        o.set("positives", positives).set("files", files);
        let (read, search) = (Some(found.read_seconds), Some(found.search_seconds));
        o.set("seconds", Seconds { read, search, write: Some(write), total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }

    fn remarks(&self, cx: &Context) {
        if let Some(value) = &self.use_gpu {
            cx.screen.say(&format!("--use_gpu {value} is ignored: the search runs on the CPU"));
        }
        if let Some(template) = self.distractor_hdf5.as_ref().filter(|t| t.contains("{idx}")) {
            let n = self.total_distractors.unwrap_or(1);
            let next = shard(template, n);
            if next.is_file() {
                let next = next.display();
                cx.screen.say(&format!("--total_distractors {n}: {next} is there too, and not searched"));
            }
        }
    }

    /// The file of the result; makes its folder.
    fn out(&self) -> Result<PathBuf> {
        if self.save_name.is_empty() || self.save_name.contains(['/', '\\']) {
            return Err(Fail::usage(format!("save_name = {:?}: a file name", self.save_name), "--save_dir names the folder"));
        }
        std::fs::create_dir_all(&self.save_dir).map_err(|e| Error::io(&self.save_dir, e))?;
        let ending = if self.save_as == SaveAs::Json { "json" } else { "pkl" };
        let out = self.save_dir.join(format!("{}.{ending}", self.save_name));
        refuse_same(&[self.query_hdf5.clone(), self.positive_hdf5.display().to_string()], &out)?;
        Ok(out)
    }

    /// Positives and distractors, mapped where there is a layer; how many positives, and how many files of both.
    fn base(&self) -> Result<(Box<dyn Source>, u64, usize)> {
        let distractors = match &self.distractor_hdf5 {
            Some(template) => shards(template, self.total_distractors.unwrap_or(1))?,
            None => Vec::new(),
        };
        let (base, positives) = open_base(&self.positive_hdf5, &distractors)?;
        Ok((self.adapt().over(base)?, positives, 1 + distractors.len()))
    }

    /// The rows that `--selected_ids` leaves.
    fn selected(&self, file: &Path, base: &dyn Source, positives: u64, cx: &Context) -> Result<Vec<u64>> {
        let lines = id_lines(file)?;
        let selected = IdSet::new(lines.iter().map(|l| l.trim()).collect());
        let (rows, missing) = selected_rows(base, positives, &selected)?;
        let hint = "a line is what stands after the slash in the id of a distractor; `voisin info` shows ids of a file";
        if selected.is_empty() {
            return Err(Fail::data(format!("{}: no id in it", file.display()), hint));
        }
        let first = missing.first().map(|&i| selected.ids().get(i)).unwrap_or_default();
        let found = rows.len() as u64 - positives;
        if found == 0 {
            let message =
                format!("{}: no distractor has any of its {} ids (the first is {first})", file.display(), selected.len());
            return Err(Fail::data(message, hint));
        }
        if !missing.is_empty() {
            let (missing, all) = (count(missing.len() as u64), count(selected.len() as u64));
            cx.screen.say(&format!("--selected_ids: {missing} of {all} are in no file of distractors; the first is {first}"));
        }
        cx.screen.say(&format!("{} distractors are selected", count(found)));
        Ok(rows)
    }

    /// Writes the result with the ids of what was found, file by file.
    fn write(&self, out: &Path, found: &ExactResult, queries: &StringIds, base: &dyn Source) -> Result<()> {
        let rows = found.neighbors.distinct_ids();
        let (mut names, mut next) = (StringIds::default(), 0);
        let there = base.scan_ids(&mut |row, id| {
            if rows.get(next) == Some(&row) {
                names.push(id);
                next += 1;
            }
        })?;
        if !there {
            return Err(no_ids(base).into());
        }
        let all = Retrieved { queries, neighbors: &found.neighbors, rows: &rows, names: &names };
        match self.save_as {
            SaveAs::Json => write_json(out, &all)?,
            SaveAs::Pickle => write_pickle(out, &all)?,
        }
        Ok(())
    }

    fn outcome(&self, found: &ExactResult, queries: &dyn Source, base: &dyn Source, k: usize, out: &Path) -> Outcome {
        let speed = queries.len() as f64 / found.search_seconds.max(1e-9);
        let mut o = Outcome::new("ilias search");
        o.set("n", base.len()).set("d", base.dim()).set("queries", queries.len()).set("k", k).set("metric", "ip");
        o.set("queries_per_second", round(speed, 3)).set_some("resumed", found.resumed_at);
        o.set("query_expansion", self.query_expansion).set("out", json!(out.display().to_string()));
        o.line(format!(
            "{} queries in {} vectors of {} dimensions: {}, {} waiting for input",
            count(queries.len()),
            count(base.len()),
            base.dim(),
            time(found.search_seconds),
            time(found.read_seconds)
        ));
        let (bad, bad_queries) = (found.skipped_base, found.skipped_queries);
        if bad + bad_queries > 0 {
            o.set("skipped", bad + bad_queries);
            let (bad, bad_queries) = (count(bad), count(bad_queries));
            o.line(format!("left out because they cannot be ranked: {bad} of the base, {bad_queries} of the queries"));
        }
        o.line(format!("written to {}", out.display()));
        o
    }

    fn adapt(&self) -> AdaptArgs {
        AdaptArgs { adapt: self.lin_adapt_path.clone() }
    }
}
