//! `voisin search --explain`: how the index searched for one query, as JSON or as a report.

use std::path::Path;

use clap::{Args, ValueEnum};
use voisin::explain::{Compared, Explanation, MapKind, Originals, Reason, Truth, TruthKind, explain};
use voisin::graph::Graph;
use voisin::{Error, Index, Matrix, SearchParams, Source, Watch};
use voisin_io::AtomicFile;

use super::{Asked, Search};
use crate::common::{AdaptArgs, Context, check_folder, check_k, empty_index, open_indexes, open_queries, refuse_same, several};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count};

/// Lines of a table before it is cut.
const LINES: usize = 20;

/// `--map`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum MapArg {
    #[default]
    None,
    Pca,
    Tsne,
}

/// Options of an explanation.
#[derive(Args, Clone, Debug, Default)]
pub struct ExplainArgs {
    /// Show how one query is searched: lists in the order of visits, how many vectors came how far, and why true
    /// neighbours were missed. As JSON into a file (or - for standard output), else as a report
    #[arg(
        long,
        value_name = "FILE.json",
        num_args = 0..=1,
        default_missing_value = "",
        conflicts_with_all = ["out", "mode", "expand", "truth", "warm_up"]
    )]
    explain: Option<String>,
    /// With --explain: the query of this number (from 0), where there are several
    #[arg(long, value_name = "N", requires = "explain", conflicts_with = "id")]
    row: Option<usize>,
    /// With --explain: the vectors of the index as they were, for the true neighbours and for --id; rows with its ids, or
    /// row i for id i [default: what the index keeps of them]
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "explain")]
    features: Vec<String>,
    /// With --explain: put query, centroids and vectors on a plane, in the JSON
    #[arg(long, value_enum, default_value_t, value_name = "HOW", requires = "explain")]
    map: MapArg,
}

impl ExplainArgs {
    /// Whether an explanation is asked for.
    pub fn asked(&self) -> bool {
        self.explain.is_some()
    }

    fn kind(&self) -> MapKind {
        match self.map {
            MapArg::None => MapKind::None,
            MapArg::Pca => MapKind::Pca,
            MapArg::Tsne => MapKind::Tsne,
        }
    }

    /// The file to write, if any; `-` is none.
    fn file(&self) -> Option<&Path> {
        self.explain.as_deref().filter(|f| !f.is_empty() && *f != "-").map(Path::new)
    }

    fn check(&self, inputs: [&[String]; 3]) -> Result<()> {
        let Some(file) = self.file() else { return Ok(()) };
        if file.extension().is_none_or(|e| !e.eq_ignore_ascii_case("json")) {
            let message = format!("--explain {}: JSON is written, to a name that ends in .json", file.display());
            return Err(Fail::usage(message, "such as --explain why.json; without a name --explain shows a report"));
        }
        check_folder(file)?;
        inputs.into_iter().try_for_each(|files| refuse_same(files, file))
    }

    /// Which of the queries.
    fn one(&self, total: usize, what: &str) -> Result<usize> {
        match self.row {
            Some(row) if row >= total => {
                Err(Error::param("row", row, format!("0 to {}, as {what} has {total}", total - 1)).into())
            }
            Some(row) => Ok(row),
            None if total == 1 => Ok(0),
            None => {
                let message = format!("--explain is about one query, and {what} has {}", count(total as u64));
                Err(Fail::usage(message, "--row N chooses one of them (from 0); --id ID explains a stored vector"))
            }
        }
    }
}

impl Search {
    /// Explains instead of searching.
    pub(super) fn explained(&self, cx: &Context) -> Result<Outcome> {
        self.how.check([&self.queries, &self.dirs, &self.how.features])?;
        if self.id.len() > 1 {
            self.how.one(self.id.len(), "--id")?;
        }
        if let Some(graph) = crate::graph::named(&self.dirs)? {
            return self.graph_explained(&graph, cx);
        }
        let index = self.opened_index()?;
        check_k(self.k, index.len(), &several(&self.dirs))?;
        let source = self.features()?;
        let originals = source.as_deref().map(|s| Originals::new(&index, s)).transpose()?;
        let (name, query, own) = self.query(&index, originals.as_ref())?;
        let params = SearchParams { exclude: own.map(|id| vec![id]), ..self.params(&index, cx)? };
        cx.screen.check()?;
        let truth = originals.as_ref().map_or(Truth::Kept, |o| Truth::Originals(o, &cx.screen));
        let told = explain(&index, &query, &params, truth, self.how.kind())?;
        self.tell(&told, &name, cx)
    }

    fn features(&self) -> Result<Option<Box<dyn Source>>> {
        if self.how.features.is_empty() {
            return Ok(None);
        }
        let source = voisin_io::open_all(&self.how.features, voisin_io::Role::Base)?;
        Ok(Some(AdaptArgs { adapt: self.adapt.clone() }.over(source)?))
    }

    /// The query, what it is called, and the id that is not to be found.
    fn query(&self, index: &Index, originals: Option<&Originals<'_>>) -> Result<(String, Vec<f32>, Option<u64>)> {
        if let (Some(originals), [id]) = (originals, &self.id[..]) {
            // the vector itself says more than what its code decodes to
            let unknown = || Error::Id { id: id.clone(), what: format!("not among {}", originals.name()) };
            let vector = originals.vector(id)?.ok_or_else(unknown)?;
            let number = if index.has_string_ids() { index.find(id)? } else { id.parse().ok() };
            return Ok((id.clone(), vector, number.filter(|_| self.exclude_self)));
        }
        let (asked, what) = if self.id.is_empty() {
            (self.opened(index)?, several(&self.queries))
        } else {
            (self.stored(index)?, "--id".to_string())
        };
        let Asked { rows, at, total, names, exclude } = asked;
        let row = self.how.one(total, &what)?;
        let Some(i) = at.iter().position(|a| *a == row) else {
            let message = format!("row = {row}: a query that cannot be ranked");
            return Err(Fail::data(message, "choose another one; zero vectors have no direction under cosine"));
        };
        let name = names.map_or_else(|| row.to_string(), |names| names.get(row).to_string());
        Ok((name, rows.row(i).to_vec(), exclude.map(|e| e[i])))
    }

    fn graph_explained(&self, graph: &Graph, cx: &Context) -> Result<Outcome> {
        self.check_graph()?;
        if !self.how.features.is_empty() || (self.exclude_self && self.id.is_empty()) {
            let message = format!("{} is a graph: --explain takes --queries or --id, -k, --ef and --map", several(&self.dirs));
            return Err(Fail::usage(message, "leave the other options out; a larger --ef finds more"));
        }
        check_k(self.k, graph.len() as u64, &several(&self.dirs))?;
        let (name, query, own) = match &self.id[..] {
            [id] => {
                let unknown = || Error::Id { id: id.clone(), what: format!("not in {}", several(&self.dirs)) };
                let number: u64 = id.parse().ok().ok_or_else(unknown)?;
                let query = graph.vector_of(number).ok_or_else(unknown)?.to_vec();
                (id.clone(), query, Some(number).filter(|_| self.exclude_self))
            }
            _ => {
                let source = open_queries(&self.queries)?;
                let row = self.how.one(source.len() as usize, &source.name())?;
                let mut query = Matrix::zeros(1, source.dim());
                source.read(row as u64, query.data_mut())?;
                (row.to_string(), query.into_data(), None)
            }
        };
        let told = graph.explain(&query, self.k, self.ef, own, self.how.kind())?;
        self.tell(&told, &name, cx)
    }

    /// Writes it, or shows it.
    fn tell(&self, told: &Explanation, query: &str, cx: &Context) -> Result<Outcome> {
        let wrong = |e: serde_json::Error| Fail::data(format!("the explanation: {e}"), "please report it");
        let text = serde_json::to_string(told).map_err(wrong)?;
        let mut o = Outcome::new("search");
        o.set("n", told.n).set("d", told.d).set("k", told.k).set("metric", told.metric.name()).set("spec", told.spec.clone());
        o.set("query", query);
        if self.how.explain.as_deref() == Some("-") {
            o.instead(text);
        } else if let Some(file) = self.how.file() {
            let mut out = AtomicFile::create(file)?;
            out.write(text.as_bytes())?;
            out.write(b"\n")?;
            out.commit()?;
            o.set("out", file.display().to_string());
        } else {
            o.set("explanation", serde_json::from_str::<serde_json::Value>(&text).map_err(wrong)?);
        }
        o.line(report(told, query).trim_end());
        if told.n == 0 {
            o.line(empty_index(&self.dirs));
        }
        if let Some(file) = self.how.file() {
            o.line(format!("written to {}", file.display()));
        }
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }

    /// The index that was named, for the metric that was named.
    pub(super) fn opened_index(&self) -> Result<Index> {
        let index = open_indexes(&self.dirs)?;
        if let Some(ef) = self.ef {
            let message = format!("ef = {ef}: {} is no graph", several(&self.dirs));
            return Err(Fail::usage(message, "leave --ef out; --nprobe says how many lists are visited"));
        }
        if let Some(metric) = self.metric.filter(|m| *m != index.metric()) {
            let message = format!("metric = {metric}: {} was built for {}", several(&self.dirs), index.metric());
            return Err(Fail::usage(message, "leave --metric out, or build an index for this metric"));
        }
        Ok(index)
    }
}

/// What people read.
fn report(told: &Explanation, query: &str) -> String {
    let mut text =
        format!("query {query}: {} over {} vectors of {} dimensions, {}\n", told.spec, count(told.n), told.d, told.metric);
    let c = &told.counts;
    text += &match (&told.graph, told.nprobe, told.nlist) {
        _ if told.compared == Some(Compared::Allowed) => format!(
            "lists: none was chosen, as the filter leaves few vectors; all of these were compared: {} of {} -> {} found\n",
            count(c.scanned),
            count(told.n),
            c.found
        ),
        (Some(walk), ..) => format!(
            "walk: {} of {} vectors compared, {} stood at, on {} levels, queue of {}\n",
            count(walk.visited),
            count(told.n),
            count(walk.hops.len() as u64),
            walk.levels,
            walk.ef
        ),
        (_, nprobe, nlist) => format!(
            "lists: {} of {} visited; vectors: {} of {} compared -> {} candidates -> {} refined -> {} found\n",
            nprobe.unwrap_or(0),
            nlist.unwrap_or(0),
            count(c.scanned),
            count(told.n),
            c.candidates,
            c.refined,
            c.found
        ),
    };
    let truth = if told.truth == TruthKind::Exact { "exact" } else { "by codes" };
    text += &format!("recall: {:.3} of the true neighbours, {truth}: {}\n", told.recall, told.truth_text);
    told.notes.iter().for_each(|note| text += &format!("{note}\n"));
    text += &walk(told);
    text += &lists(told);
    text += &found(told);
    text += &missed(told);
    if let Some(map) = &told.map {
        let name = if map.method == MapKind::Tsne { "t-SNE" } else { "principal components" };
        let (points, trust) = (map.points.len(), map.trustworthiness);
        text += &format!("\nmap: {points} points by {name}, trustworthiness {trust:.3}; it is in the JSON\n");
    }
    text
}

fn walk(told: &Explanation) -> String {
    let Some(walk) = &told.graph else { return String::new() };
    let row = |h: &voisin::explain::Hop| {
        vec![h.level.to_string(), h.id.clone(), distance(h.distance), h.from.clone().unwrap_or_else(|| "-".into())]
    };
    table(&["level", "stood at", "distance", "seen from"], walk.hops.iter().map(row))
}

fn lists(told: &Explanation) -> String {
    let mut text = String::new();
    let likely = told.lists.iter().flatten().any(|l| l.probability.is_some());
    let head = |last: &[&'static str]| {
        let first = ["order", "list", if likely { "logit" } else { "centroid" }];
        first.into_iter().chain(likely.then_some("probability")).chain(last.iter().copied()).collect::<Vec<_>>()
    };
    let cells = |order: usize, list: u32, score: f32, probability: Option<f32>, last: &[u64]| {
        let share = likely.then(|| probability.map_or_else(|| "-".into(), |p| format!("{p:.4}")));
        let first = [order.to_string(), list.to_string(), distance(score)].into_iter();
        first.chain(share).chain(last.iter().map(|n| count(*n))).collect::<Vec<String>>()
    };
    if let Some(lists) = told.lists.as_ref().filter(|l| !l.is_empty()) {
        let rows = lists.iter().map(|l| {
            let last = [l.size, l.scanned, l.hits as u64, l.truth as u64];
            cells(l.order, l.list, l.score, l.probability, &last)
        });
        text += &table(&head(&["vectors", "compared", "found", "true"]), rows);
    }
    if let Some(lists) = told.not_visited.as_ref().filter(|l| !l.is_empty()) {
        let rows = lists.iter().map(|l| cells(l.order, l.list, l.score, l.probability, &[l.size, l.truth as u64]));
        text += "\nnot visited, with true neighbours in them:";
        text += &table(&head(&["vectors", "true"]), rows);
    }
    text
}

fn found(told: &Explanation) -> String {
    let dash = || "-".to_string();
    let coded = told.hits.iter().any(|h| h.estimate.is_some());
    let row = |h: &voisin::explain::Hit| {
        let mut cells = vec![h.rank.to_string(), h.id.clone(), distance(h.distance)];
        if told.lists.is_some() {
            cells.push(h.list.map_or_else(dash, |l| l.to_string()));
        }
        if coded {
            cells.push(h.estimate.map_or_else(dash, distance));
            cells.push(h.estimate_rank.map_or_else(dash, |r| r.to_string()));
        }
        cells.push(h.true_rank.map_or_else(dash, |r| r.to_string()));
        cells
    };
    let list = told.lists.is_some().then_some("list");
    let codes = if coded { &["by code", "place"][..] } else { &[] };
    let head: Vec<&str> =
        ["found", "id", "distance"].into_iter().chain(list).chain(codes.iter().copied()).chain(["true place"]).collect();
    table(&head, told.hits.iter().map(row))
}

fn missed(told: &Explanation) -> String {
    if told.missed.is_empty() {
        return "\nno true neighbour was missed\n".into();
    }
    let reasons = [
        (Reason::ListNotVisited, "list not visited"),
        (Reason::CodeError, "lost to the code"),
        (Reason::Filtered, "filtered"),
        (Reason::Deleted, "not in the index"),
        (Reason::NotReached, "not reached"),
    ];
    let row = |m: &voisin::explain::Missed| {
        let reason = reasons.iter().find(|r| r.0 == m.reason).map_or("", |r| r.1);
        vec![m.true_rank.to_string(), m.id.clone(), distance(m.distance), format!("{reason}: {}", m.text)]
    };
    table(&["missed", "id", "distance", "why"], told.missed.iter().map(row))
}

fn distance(x: f32) -> String {
    format!("{x:.6}")
}

/// Columns, the first and numbers to the right; long tables are cut.
fn table(head: &[&str], rows: impl ExactSizeIterator<Item = Vec<String>>) -> String {
    let more = rows.len().saturating_sub(LINES);
    let rows: Vec<Vec<String>> = std::iter::once(head.iter().map(|h| h.to_string()).collect()).chain(rows.take(LINES)).collect();
    let left = |h: &str| ["id", "why", "stood at", "seen from"].contains(&h);
    let mut text = String::from("\n");
    for row in &rows {
        let mut line = String::new();
        for (c, cell) in row.iter().enumerate() {
            let width = rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0);
            line += &if left(head[c]) { format!("{cell:<width$}  ") } else { format!("{cell:>width$}  ") };
        }
        text += line.trim_end();
        text.push('\n');
    }
    if more > 0 {
        text += &format!("... {} more; --explain FILE.json keeps all of them\n", count(more as u64));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_tables_are_cut() {
        let text = table(&["order", "id"], (0..22).map(|i| vec![i.to_string(), format!("x{i}")]).collect::<Vec<_>>().into_iter());
        assert!(text.starts_with("\norder  id\n    0  x0\n"), "{text}");
        assert!(text.ends_with("   19  x19\n... 2 more; --explain FILE.json keeps all of them\n"), "{text}");
    }
}
