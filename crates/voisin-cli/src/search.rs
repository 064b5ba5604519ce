//! `voisin search`: queries against an index.

mod explain;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Instant;

use clap::{Args, ValueEnum};
use serde_json::json;
use voisin::eval::quantile;
use voisin::exact::{check_expand, expand};
use voisin::index::{Filter, FilterKind, Index, SearchParams};
use voisin::{Error, Matrix, Metric, Neighbors, Score, StringIds, Watch, screen};
use voisin_io::truth::{DistanceKind, Truth, read_neighbors};

use crate::change::id_list;
use crate::common::{AdaptArgs, Bad, Context, check_k, empty_index, id_lines, open_queries, parse_metric, parse_recall, several};
use crate::eval::judge;
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, queries_have, round, time};
use crate::saving::{Found, Run, SaveArgs};

const EXAMPLES: &str = "Examples:
  voisin search index --queries queries.h5 -k 10 --nprobe 4 -o result.h5
  voisin search index --queries queries.h5 --nprobe 16 --truth truth.h5      (says the recall)
  voisin search index --queries queries.h5 --recall 0.95 -o result.h5        (as many lists as that takes)
  voisin search index --queries queries.h5 --mass 0.9 -o result.json         (learned index)
  voisin search index --queries queries.h5 --nprobe 16 --refine 8            (index with Refine(...))
  voisin search index --queries queries.h5 --nprobe 16 --allow ids.txt       (one id a line; - is stdin)
  voisin search index --queries queries.h5 --nprobe 16 --expand 5            (ip or cosine)
  voisin search index --id instance/img.jpg --exclude-self                   (a stored vector)
  voisin search ivfpq.index --queries queries.npy --nprobe 4 -o result.npz   (a file of FAISS)
  voisin search part-0 part-1 --queries queries.h5 --nprobe 16 -o result.h5  (indexes of one model)
  voisin search parts --queries queries.h5 --nprobe 16 -o result.h5          (a folder of them)
  voisin search index --queries queries.h5 --mode single --threads 1 --json  (latencies)
  voisin search index --id 17 --nprobe 4 --explain                           (how it searched)
  voisin search x.index --id 17 --features features.npy --explain why.json --map pca";

/// Queries in a call of the batch mode: enough for the products, few enough to be stopped.
const BATCH: usize = 1 << 16;

/// `--mode`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum ModeArg {
    #[default]
    Batch,
    Single,
}

/// Searches an index, or several of one model as one, for the neighbours of every query
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Search {
    /// Folder of the index, or file of a FAISS index; several indexes of one model, or a folder of such, are
    /// searched as one
    #[arg(required = true, value_name = "DIR")]
    dirs: Vec<String>,
    /// Vectors to search for: files, patterns, folders or templates with {idx}; FILE::NAME names a data set
    #[arg(long, num_args = 1.., value_name = "FILE", required_unless_present = "id", conflicts_with = "id")]
    queries: Vec<String>,
    /// Search for the neighbours of a stored vector
    #[arg(long, num_args = 1.., value_name = "ID", allow_negative_numbers = true)]
    id: Vec<String>,
    /// Neighbours for each query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Lists that a query visits [default: what a FAISS index says, else 1; with --mass or --recall: as many as it takes]
    #[arg(long, value_name = "N")]
    nprobe: Option<usize>,
    /// Visit as many lists as finds this share of the true neighbours, by the calibration made when the index was built
    #[arg(long, value_name = "X", value_parser = parse_recall, allow_negative_numbers = true, conflicts_with_all = ["nprobe", "mass"])]
    recall: Option<f32>,
    /// Index with Refine(...): candidates for each neighbour that the codes pass on to the refinement
    #[arg(long, value_name = "R")]
    refine: Option<usize>,
    /// HNSW index of FAISS: length of the queue, more finds more [default: what the file says]
    #[arg(long, value_name = "N")]
    ef: Option<usize>,
    /// Learned index: visit lists until their probability adds up to this (0 to 1)
    #[arg(long, value_name = "P", allow_negative_numbers = true)]
    mass: Option<f32>,
    /// All queries at once, or one after the other with the latency of each
    #[arg(long, value_enum, default_value_t)]
    mode: ModeArg,
    /// l2, ip or cosine: refused where the index was built for another
    #[arg(long, value_parser = parse_metric)]
    metric: Option<Metric>,
    /// Leave out the vector that has the id of the query
    #[arg(long)]
    exclude_self: bool,
    /// Find only vectors with these ids: a text file with an id on each line, - for standard input. Ids that
    /// are not in the index are counted
    #[arg(long, value_name = "FILE")]
    allow: Option<PathBuf>,
    /// Find no vector with these ids; with --allow, what is in both is not found
    #[arg(long, value_name = "FILE")]
    deny: Option<PathBuf>,
    /// Queries with NaN or infinity, and zero vectors under cosine: refuse the input, or skip and count them
    #[arg(long, value_enum, default_value_t, value_name = "WHAT")]
    on_bad: Bad,
    /// The true neighbours: says the recall of the result
    #[arg(long, value_name = "FILE")]
    truth: Option<String>,
    /// Search so many times before the times are taken: pages are mapped and caches warm (for measurements)
    #[arg(long, value_name = "N", default_value_t = 0, hide = true)]
    warm_up: usize,
    /// Search again for the mean of each query and its N nearest, weighted by their similarity (ip and cosine)
    #[arg(long, value_name = "N", conflicts_with_all = ["exclude_self", "mode"])]
    expand: Option<usize>,
    /// Map the queries by a linear layer, then to unit length: for an index that was built with the same --adapt
    #[arg(long, value_name = "LAYER", conflicts_with = "id")]
    adapt: Option<PathBuf>,
    #[command(flatten)]
    save: SaveArgs,
    #[command(flatten)]
    how: explain::ExplainArgs,
}

/// The queries that can be ranked, and where they stood.
struct Asked {
    rows: Matrix,
    at: Vec<usize>,
    total: usize,
    names: Option<StringIds>,
    exclude: Option<Vec<u64>>,
}

/// What the calls gave and took.
#[derive(Default)]
struct Answers {
    rows: Vec<Vec<(f32, u64)>>,
    seconds: f64,
    latencies: Vec<f64>,
    lists: u64,
    scanned: u64,
}

impl Search {
    /// Runs it.
    ///
    /// # Errors
    /// No index there, queries of another dimension, wrong parameters, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        self.save.check([&self.queries[..]])?;
        voisin::keep_freed_memory(64 << 20);
        if self.how.asked() {
            return self.explained(cx);
        }
        if let Some(graph) = crate::graph::named(&self.dirs)? {
            return self.in_graph(&graph, cx);
        }
        let index = self.opened_index()?;
        check_k(self.k, index.len(), &several(&self.dirs))?;
        let truth = self.truth.as_deref().map(|f| read_neighbors(f, Some(self.k))).transpose()?;
        let opened = cx.elapsed();
        let asked = if self.id.is_empty() { self.opened(&index)? } else { self.stored(&index)? };
        let read = cx.elapsed() - opened;
        let params = self.params(&index, cx)?;
        let lists = index.partition().nlist();
        let compared = params.filter.as_ref().is_some_and(|f| f.is_small());
        let many = lists > 1 && !compared && !index.is_empty();
        if self.nprobe.is_none() && self.mass.is_none() && self.recall.is_none() && many {
            let more = "--nprobe visits more and finds more, --recall 0.95 as many as that takes";
            cx.screen.say(&format!("visiting {} of {} lists; {more}", params.nprobe.min(lists), count(lists as u64)));
        }
        let asked = match self.expand {
            Some(n) => self.expanded(&index, asked, &SearchParams { k: n, ..params.clone() }, cx)?,
            None => asked,
        };
        for _ in 0..self.warm_up {
            self.search(&index, &asked, &params, cx)?;
        }
        let answers = self.search(&index, &asked, &params, cx)?;

        let mut o = self.outcome(&index, &asked, &answers, &params);
        let (seconds, lists_visited) = (answers.seconds, answers.lists);
        let neighbors = spread(answers.rows, &asked, self.k);
        let few = params.filter.as_ref().map_or(index.len(), |f| f.allowed()).saturating_sub(self.exclude_self as u64);
        let all = compared || lists_visited >= asked.at.len() as u64 * lists as u64;
        self.remarks(&neighbors, &asked, Some(few).filter(|f| *f < self.k as u64), all, &mut o);
        let begun = cx.elapsed();
        let base_ids = base_names(&index, &neighbors)?;
        let how = self.as_text(&params);
        let run = Run {
            data: several(&self.dirs),
            n: index.len(),
            algorithm: index.spec().to_string(),
            params: &how,
            seconds,
            build_seconds: f64::NAN,
        };
        let (base_ids, query_ids) = (base_ids.as_ref(), asked.names.as_ref());
        if self.save.out.is_some() || truth.is_none() {
            self.save.save(&Found { neighbors: &neighbors, metric: index.metric(), base_ids, query_ids, run }, &mut o)?;
        }
        let write = self.save.out.as_ref().map(|_| cx.elapsed() - begun);
        if let Some(truth) = &truth {
            judge(&as_table(&neighbors, &index, base_ids, query_ids), truth, Some(index.metric()), &[])?.report(&mut o);
        }
        let total = cx.elapsed();
        o.set("seconds", Seconds { read: Some(read), search: Some(seconds), write, total, ..Seconds::default() });
        Ok(o)
    }

    /// What was asked and how fast it was answered.
    fn outcome(&self, index: &Index, asked: &Asked, answers: &Answers, params: &SearchParams) -> Outcome {
        let mut o = Outcome::new("search");
        let (nq, seconds) = (asked.at.len().max(1) as f64, answers.seconds);
        o.set("n", index.len()).set("d", index.dim()).set("queries", asked.total).set("k", self.k);
        o.set("metric", index.metric().name()).set("spec", index.spec().to_string());
        let folders = index.folders();
        if folders.len() > 1 {
            let names: Vec<_> = folders.iter().map(|f| f.path.display().to_string()).collect();
            o.line(format!("{} indexes searched as one", folders.len())).set("indexes", names);
        }
        if self.recall.is_none() {
            o.set("nprobe", params.nprobe.min(index.partition().nlist()));
        }
        o.set_some("mass", self.mass.map(|m| round(f64::from(m), 6)))
            .set_some("recall_target", self.recall.map(|r| round(f64::from(r), 6)));
        o.set_some("refine", self.refine);
        if let Some(f) = &params.filter {
            o.set("filter", json!({"allowed": f.allowed(), "matched": f.matched(), "missing": f.missing()}));
        }
        o.set("queries_per_second", round(asked.at.len() as f64 / seconds.max(1e-9), 3));
        o.set("lists_per_query", round(answers.lists as f64 / nq, 3))
            .set("scanned_per_query", round(answers.scanned as f64 / nq, 1));
        o.line(format!(
            "{} queries in {}: {} queries/s, {:.0} of {} vectors compared a query",
            count(asked.total as u64),
            time(seconds),
            count((asked.at.len() as f64 / seconds.max(1e-9)) as u64),
            answers.scanned as f64 / nq,
            count(index.len())
        ));
        if self.mode == ModeArg::Single {
            let mut ms: Vec<f64> = answers.latencies.iter().map(|s| s * 1e3).collect();
            let (p50, p99) = (quantile(&mut ms, 0.5), quantile(&mut ms, 0.99));
            o.set("latency_ms", json!({"p50": round(p50, 4), "p99": round(p99, 4)}));
            o.line(format!("latency: {p50:.3} ms for half of the queries, {p99:.3} ms for 99 of 100"));
        }
        o
    }

    /// Refuses what graphs do not know.
    fn check_graph(&self) -> Result<()> {
        let lists = self.nprobe.is_some() || self.recall.is_some() || self.mass.is_some() || self.refine.is_some();
        let rows = self.allow.is_some() || self.deny.is_some();
        if lists || rows || self.expand.is_some() || self.adapt.is_some() || self.mode == ModeArg::Single {
            let message = format!("{} is a graph, which is searched with --queries, -k and --ef alone", several(&self.dirs));
            return Err(Fail::usage(message, "leave the other options out; a larger --ef finds more"));
        }
        Ok(())
    }

    fn in_graph(&self, graph: &voisin::graph::Graph, cx: &Context) -> Result<Outcome> {
        self.check_graph()?;
        if !self.id.is_empty() || self.exclude_self {
            let message = format!("{} is a graph, which is searched with --queries, -k and --ef alone", several(&self.dirs));
            return Err(Fail::usage(message, "leave the other options out; a larger --ef finds more"));
        }
        let ask = crate::graph::Ask {
            name: &several(&self.dirs),
            queries: &self.queries,
            k: self.k,
            ef: self.ef,
            on_bad: self.on_bad,
            truth: self.truth.as_deref().map(|f| read_neighbors(f, Some(self.k))).transpose()?,
            save: &self.save,
            warm_up: self.warm_up,
        };
        crate::graph::search(graph, &ask, cx)
    }

    fn params(&self, index: &Index, cx: &Context) -> Result<SearchParams> {
        let spec = index.spec();
        if let (Some(r), None) = (self.refine, spec.refine) {
            let message = format!("refine = {r}: {} is {spec}, without vectors to refine by", several(&self.dirs));
            return Err(Fail::usage(message, "leave --refine out, or build an index such as IVF1024,RaBitQ4,Refine(SQ8)"));
        }
        if self.refine == Some(0) {
            return Err(Error::param("refine", 0, "at least 1 candidate a neighbour").into());
        }
        let filter = self.filter(index, cx)?.map(Arc::new);
        let all = index.partition().nlist();
        let usual = if self.mass.is_some() || self.recall.is_some() { all } else { index.default_nprobe() };
        let nprobe = self.nprobe.unwrap_or(usual);
        // one list of plain vectors is searched exactly: any target is met
        let recall = self.recall.filter(|_| all > 1 || spec.score != Score::Flat || spec.transform.is_some());
        if let (Some(r), None) = (recall, index.calibration()) {
            let message = format!("recall = {r}: {} has no calibration", several(&self.dirs));
            return Err(Fail::usage(
                message,
                "`voisin calibrate DIR --base FILES` measures one; or choose the lists with --nprobe",
            ));
        }
        let refine = self.refine.unwrap_or(0);
        Ok(SearchParams { k: self.k, nprobe, mass: self.mass, recall, refine, filter, ..SearchParams::default() })
    }

    /// How it was searched, as a result file says it.
    fn as_text(&self, params: &SearchParams) -> String {
        let mut how = format!("k={}", self.k);
        match self.recall {
            Some(target) => how += &format!(" recall={target}"),
            None => how += &format!(" nprobe={}", params.nprobe),
        }
        for (name, value) in [("mass", self.mass.map(f64::from)), ("refine", self.refine.map(|r| r as f64))] {
            how += &value.map(|v| format!(" {name}={}", round(v, 6))).unwrap_or_default();
        }
        how += &self.expand.map(|n| format!(" expand={n}")).unwrap_or_default();
        how + &params.filter.as_ref().map(|f| format!(" allowed={}", f.allowed())).unwrap_or_default()
    }

    /// What --allow and --deny leave.
    fn filter(&self, index: &Index, cx: &Context) -> Result<Option<Filter>> {
        if self.allow.as_deref() == Some(Path::new("-")) && self.deny.as_deref() == Some(Path::new("-")) {
            return Err(Fail::usage("--allow - and --deny -: standard input is read once", "name a file for one of them"));
        }
        let mut all: Option<Filter> = None;
        for (name, file, kind) in [("allow", &self.allow, FilterKind::Allow), ("deny", &self.deny, FilterKind::Deny)] {
            let Some(file) = file else { continue };
            let lines = id_lines(file)?;
            let filter = index.filter(&id_list(index, &lines)?, kind)?;
            if filter.matched() == 0 && kind == FilterKind::Allow {
                let first = filter.first_missing().map(|id| format!(" (the first is {id})")).unwrap_or_default();
                let message = format!("--allow {}: none of its {} ids is in the index{first}", file.display(), lines.len());
                return Err(Fail::data(message, "a line is an id; `voisin info DIR` says whether ids are strings or numbers"));
            }
            if let Some(first) = filter.first_missing() {
                let (missing, of) = (count(filter.missing()), count(lines.len() as u64));
                cx.screen.say(&format!("--{name}: {missing} of {of} ids are not in the index; the first is {first}"));
            }
            all = Some(match all {
                Some(other) => other.and(&filter, index)?,
                None => filter,
            });
        }
        if let Some(f) = &all {
            let exactly = if f.is_small() { ", all of which are compared" } else { "" };
            cx.screen.say(&format!("{} of {} vectors may be found{exactly}", count(f.allowed()), count(index.len())));
        }
        Ok(all)
    }

    fn opened(&self, index: &Index) -> Result<Asked> {
        let source = AdaptArgs { adapt: self.adapt.clone() }.over(open_queries(&self.queries)?)?;
        if source.is_empty() {
            return Err(Error::Empty { name: source.name() }.into());
        }
        index.check_layer(&*source)?;
        let (d, expected) = (source.dim(), index.dim());
        if d != expected {
            let context = format!("the index {}", several(&self.dirs));
            return Err(Error::Dimension { name: source.name(), expected, got: d, context }.into());
        }
        index.check_made_by(&*source)?;
        let mut rows = Matrix::zeros(source.len() as usize, d);
        source.read(0, rows.data_mut())?;
        let bad = screen(rows.view(), index.metric());
        if let (Bad::Error, Some(&(row, what))) = (self.on_bad, bad.first()) {
            let (name, row) = source.locate(row as u64);
            return Err(Error::BadRow { name, row, what }.into());
        }
        let (total, names) = (rows.n(), source.ids()?);
        let mut at: Vec<usize> = (0..total).collect();
        if !bad.is_empty() {
            at.retain(|i| bad.binary_search_by_key(i, |b| b.0).is_err());
            rows = Matrix::new(at.iter().flat_map(|&i| rows.row(i).to_vec()).collect(), d);
        }
        let exclude = self.exclude_self.then(|| own_ids(index, &at, names.as_ref())).transpose()?;
        Ok(Asked { rows, at, total, names, exclude })
    }

    fn stored(&self, index: &Index) -> Result<Asked> {
        let mut data = Vec::new();
        let mut own = Vec::new();
        for id in &self.id {
            let unknown = || Error::Id { id: id.clone(), what: format!("not in {}", several(&self.dirs)) };
            let number = if index.has_string_ids() { index.find(id)? } else { id.parse().ok() };
            let number = number.ok_or_else(unknown)?;
            data.extend_from_slice(&index.vector_of(number)?.ok_or_else(unknown)?);
            own.push(number);
        }
        let (total, names) = (own.len(), Some(self.id.iter().collect()));
        let exclude = self.exclude_self.then_some(own);
        Ok(Asked { rows: Matrix::new(data, index.dim()), at: (0..total).collect(), total, names, exclude })
    }

    fn search(&self, index: &Index, asked: &Asked, params: &SearchParams, cx: &Context) -> Result<Answers> {
        let mut all = Answers::default();
        let step = if self.mode == ModeArg::Single { 1 } else { BATCH };
        let n = asked.at.len();
        cx.screen.begin("search", n as u64, "queries");
        for start in (0..n).step_by(step) {
            cx.screen.check()?;
            let end = (start + step).min(n);
            let exclude = asked.exclude.as_ref().map(|e| e[start..end].to_vec());
            let params = SearchParams { exclude, ..params.clone() };
            let clock = Instant::now();
            let found = index.search(asked.rows.view().rows(start..end), &params)?;
            let seconds = clock.elapsed().as_secs_f64();
            all.seconds += seconds;
            all.latencies.push(seconds);
            all.lists += found.lists;
            all.scanned += found.scanned;
            let rows = (0..found.neighbors.len()).map(|i| {
                let (ids, distances) = (found.neighbors.ids(i), found.neighbors.distances(i));
                distances.iter().copied().zip(ids.iter().copied()).collect()
            });
            all.rows.extend(rows);
            cx.screen.advance((end - start) as u64);
        }
        cx.screen.end();
        Ok(all)
    }

    /// The queries as means of themselves and what they find.
    fn expanded(&self, index: &Index, asked: Asked, params: &SearchParams, cx: &Context) -> Result<Asked> {
        check_expand(params.k, index.metric())?;
        let mut found = Neighbors::new(params.k);
        self.search(index, &asked, params, cx)?.rows.into_iter().for_each(|row| found.push_row(row));
        let mut vectors = |ids: &[u64]| {
            let mut rows = Vec::with_capacity(ids.len() * index.dim());
            for &id in ids {
                let gone = || Error::Id { id: id.to_string(), what: "no longer in the index".into() };
                rows.extend(index.vector_of(id)?.ok_or_else(gone)?);
            }
            Ok(Matrix::new(rows, index.dim()))
        };
        let rows = expand(asked.rows.view(), &found, index.metric(), &mut vectors)?;
        Ok(Asked { rows, ..asked })
    }

    /// What is missing in the results, and why; `few` is how many vectors may be found where they are fewer than k, `all` whether every list
    /// was visited.
    fn remarks(&self, neighbors: &Neighbors, asked: &Asked, few: Option<u64>, all: bool, o: &mut Outcome) {
        let skipped = asked.total - asked.at.len();
        let short = neighbors.short_rows() - skipped;
        if skipped > 0 {
            o.set("skipped", skipped).line(format!("{} queries that cannot be ranked have no neighbours", count(skipped as u64)));
        }
        if short > 0 {
            o.set("short_rows", short);
            let why = match few {
                Some(0) if self.allow.is_none() && self.deny.is_none() => format!(": {}", empty_index(&self.dirs)),
                Some(few) => format!(": {} vectors may be found", count(few)),
                None if all => String::new(),
                None => ": visit more lists".into(),
            };
            o.line(format!("{} fewer than {} neighbours{why}", queries_have(short as u64), self.k));
        }
    }
}

/// For each query the number of the vector with its name, or with its row number where there are no names.
fn own_ids(index: &Index, at: &[usize], names: Option<&StringIds>) -> Result<Vec<u64>> {
    at.iter()
        .map(|&i| match names.filter(|_| index.has_string_ids()) {
            Some(names) => Ok(index.find(names.get(i))?.unwrap_or(u64::MAX)),
            None => Ok(i as u64),
        })
        .collect()
}

/// The rows at the places of their queries; those left out are empty.
fn spread(rows: Vec<Vec<(f32, u64)>>, asked: &Asked, k: usize) -> Neighbors {
    let mut all = Neighbors::new(k);
    let mut rows = rows.into_iter();
    let mut next = asked.at.iter().peekable();
    for i in 0..asked.total {
        let row = next.next_if(|at| **at == i).and_then(|_| rows.next());
        all.push_row(row.unwrap_or_default());
    }
    all
}

/// Names of the ids that were found, at the places of their numbers.
fn base_names(index: &Index, found: &Neighbors) -> Result<Option<StringIds>> {
    if !index.has_string_ids() {
        return Ok(None);
    }
    let mut used: Vec<u64> = (0..found.len()).flat_map(|i| found.ids(i).iter().copied()).collect();
    used.sort_unstable();
    used.dedup();
    let mut names = StringIds::default();
    for id in used {
        while (names.len() as u64) < id {
            names.push("");
        }
        names.push(index.string_id(id)?.unwrap_or_default());
    }
    Ok(Some(names))
}

/// The result as the comparison with a truth takes it.
fn as_table(found: &Neighbors, index: &Index, base: Option<&StringIds>, queries: Option<&StringIds>) -> Truth {
    let strings = |base: &StringIds| (0..found.len()).flat_map(|i| found.ids(i)).map(|&id| base.get(id as usize)).collect();
    Truth {
        name: "the result".into(),
        neighbors: found.clone(),
        strings: base.map(strings),
        only_strings: false,
        query_ids: queries.cloned(),
        distances: Some(DistanceKind::Reported),
        metric: Some(index.metric()),
        size: None,
        notes: Vec::new(),
        gaps: false,
    }
}
