//! `voisin exact`: the true neighbours.

use std::path::{Path, PathBuf};

use clap::Args;
use voisin::exact::{ExactParams, ExactResult, PrepareParams, codes_info, exact, exact_expanded, prepare};
use voisin::{Error, IdSet, Metric, Neighbors, Source, StringIds, Subset};

use crate::common::{
    AdaptArgs, BaseArgs, Context, beside, check_folder, check_k, choose_metric, id_lines, open_queries, parse_bytes,
    parse_metric, refuse_same,
};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, queries_have, round, time};
use crate::saving::{Found, Run, SaveArgs};

const EXAMPLES: &str = "Examples:
  voisin exact --base base.h5 --queries queries.h5 -k 100 -o truth.h5
  voisin exact --base 'emb_*.npy' --queries q.fvecs --metric cosine --memory-limit 4G -o gt.ivecs
  voisin exact --base sift.hdf5 --queries sift.hdf5             (takes `train` and `test`)
  voisin exact --base emb.npy --queries emb.npy --exclude-self -o knn.npz
  voisin exact --base b.h5 --queries q.h5 --adapt layer.pth --expand 5 --allow ids.txt --metric ip
  voisin exact --prepare --base emb.npy                         (writes emb.npy.codes8, then used)

The ending of OUT decides its format. Killed and started again with the same OUT, it goes on where
it was and gives the same bytes. Base and queries may both be larger than memory: where the queries
do not fit (--memory-limit; 1 GiB of them without it), the base is read once for each block of them.
The results are held to the end, 8 + 12 k bytes a query.";

/// Exact nearest neighbours of every query; base and queries may be larger than memory
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Exact {
    #[command(flatten)]
    pub base: BaseArgs,
    #[command(flatten)]
    pub adapt: AdaptArgs,
    /// Vectors to search for
    #[arg(long, required_unless_present = "prepare", num_args = 1.., value_name = "FILE")]
    pub queries: Vec<String>,
    /// Neighbours for each query
    #[arg(short, default_value_t = 10)]
    pub k: usize,
    /// l2, ip or cosine [default: what the base file says, else l2]
    #[arg(long, value_parser = parse_metric)]
    pub metric: Option<Metric>,
    /// Leave out the vector that has the id of the query (its row number where there are no
    /// string ids): for a set searched in itself
    #[arg(long)]
    pub exclude_self: bool,
    /// Find only vectors with these ids (row numbers where there are no string ids): a text file with an id on each
    /// line, - for standard input. Ids that are not there are counted
    #[arg(long, value_name = "FILE", conflicts_with = "codes")]
    pub allow: Option<PathBuf>,
    /// Search again for the mean of each query and its N nearest, weighted by their similarity (ip and cosine)
    #[arg(long, value_name = "N", conflicts_with = "exclude_self")]
    pub expand: Option<usize>,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    pub memory_limit: Option<u64>,
    /// Write 8-bit codes of the base beside it (or to OUT), a quarter of its size as f32, so that
    /// later searches with this metric read them and few rows of the base; the results are the same
    #[arg(long, conflicts_with_all = ["queries", "k", "exclude_self", "codes", "allow", "expand"])]
    pub prepare: bool,
    /// Codes that --prepare wrote [default: BASE.codes8, where it is there]
    #[arg(long, value_name = "FILE")]
    pub codes: Option<PathBuf>,
    #[command(flatten)]
    pub save: SaveArgs,
}

impl Exact {
    /// Runs it.
    ///
    /// # Errors
    /// Wrong parameters, bad data, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        if self.prepare {
            return self.prepare(cx);
        }
        Ok(self.search("exact", cx)?.0)
    }

    /// Searches under the name of a command; what was found too, and under which metric.
    ///
    /// # Errors
    /// As [`Exact::run`].
    pub fn search(&self, name: &str, cx: &Context) -> Result<(Outcome, Neighbors, Metric)> {
        self.save.check([&self.base.base[..], &self.queries[..]])?;
        let (whole, queries) = (self.adapt.over(self.base.open(cx)?)?, self.adapt.over(open_queries(&self.queries)?)?);
        let rows = self.allow.as_deref().map(|file| allowed_rows(file, &*whole, cx)).transpose()?;
        let searched = Searched::new(whole, rows)?;
        let (whole, base) = (searched.whole(), searched.base());
        let names = if self.exclude_self { other_names(whole, &*queries)? } else { None };
        let leave_out = self.exclude_self && (names.is_some() || self.allow.is_some());
        let one_more = (leave_out && self.k > 0 && (self.k as u64) < base.len()) as usize;
        let metric = choose_metric(self.metric, whole, cx);
        let mut k = self.k + one_more;
        if self.allow.is_some() {
            // few may be found of many: rows are short, as those of `search` are
            check_k(self.k, whole.len(), &whole.name())?;
            k = k.min(base.len() as usize);
        }
        let params = ExactParams {
            k,
            metric,
            on_bad: self.base.on_bad.into(),
            exclude_self: self.exclude_self && !leave_out,
            memory_limit: self.memory_limit,
            checkpoint: self.save.out.as_deref().map(|o| beside(o, "part")),
            codes: self.codes(metric, cx)?,
        };
        let found = match self.expand {
            Some(n) => exact_expanded(base, &*queries, n, &params, &cx.screen),
            None => exact(base, &*queries, &params, &cx.screen),
        };
        let mut found = found.map_err(|e| of_codes(e, params.codes.as_deref()))?;
        found.neighbors = searched.numbered(found.neighbors);
        if leave_out {
            let own = |query: usize, id: u64| match &names {
                Some((base, queries)) => base.get(id as usize) == queries.get(query),
                None => id == query as u64,
            };
            found.neighbors = without_self(&found.neighbors, own, self.k);
        } else if k < self.k {
            found.neighbors = without_self(&found.neighbors, |_, _| false, self.k);
        }
        let mut o = self.outcome(name, &found, base, &*queries, metric);
        if let Some(codes) = &params.codes {
            o.set("codes", codes.display().to_string()).line(format!("by the codes of {}", codes.display()));
        }
        let begun = cx.elapsed();
        self.write(&found, whole, &*queries, params.metric, &mut o)?;
        let write = self.save.out.as_ref().map(|_| cx.elapsed() - begun);
        if let Some(checkpoint) = &params.checkpoint {
            let _ = std::fs::remove_file(checkpoint); // the result is safe; there may be none
        }
        let (read, search) = (Some(found.read_seconds), Some(found.search_seconds));
        o.set("seconds", Seconds { read, search, write, total: cx.elapsed(), ..Seconds::default() });
        Ok((o, found.neighbors, metric))
    }

    /// Writes the codes of the base.
    fn prepare(&self, cx: &Context) -> Result<Outcome> {
        let base = self.adapt.over(self.base.open(cx)?)?;
        let out = match &self.save.out {
            Some(out) => out.clone(),
            None => self.codes_beside()?,
        };
        check_folder(&out)?;
        refuse_same(&self.base.base, &out)?;
        let metric = choose_metric(self.metric, &*base, cx);
        let params = PrepareParams { metric, on_bad: self.base.on_bad.into(), memory_limit: self.memory_limit };
        let made = prepare(&*base, &out, &params, &cx.screen)?;
        let mut o = Outcome::new("exact");
        o.set("n", base.len()).set("d", base.dim()).set("metric", metric.name()).set("bytes", made.bytes);
        o.set("out", out.display().to_string());
        o.line(format!(
            "codes of {} vectors of {} dimensions for {metric}: {} MB in {}, written to {}",
            count(base.len()),
            base.dim(),
            count(made.bytes.div_ceil(1_000_000)),
            time(cx.elapsed()),
            out.display()
        ));
        if made.skipped > 0 {
            o.set("skipped", made.skipped);
            o.line(format!("left out because they cannot be ranked: {} of the base", count(made.skipped)));
        }
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        Ok(o)
    }

    /// The file of codes to use: the one that is named, or the one beside the base if it is for this metric.
    fn codes(&self, metric: Metric, cx: &Context) -> Result<Option<PathBuf>> {
        if self.codes.is_some() {
            return Ok(self.codes.clone());
        }
        let path = self.codes_beside()?;
        if !path.is_file() || self.allow.is_some() {
            return Ok(None); // codes are of all rows
        }
        let info = codes_info(&path).map_err(|e| of_codes(e, Some(&path)))?;
        if info.metric != metric {
            cx.screen.say(&format!("{} is for {}: not used for {metric}", path.display(), info.metric));
            return Ok(None);
        }
        Ok(Some(path))
    }

    /// Where the codes of the base lie unless they are named: beside its first file.
    fn codes_beside(&self) -> Result<PathBuf> {
        let files = voisin_io::expand(&self.base.base)?;
        let mut name = String::new();
        if let Some(dataset) = &files[0].dataset {
            name += &dataset.replace('/', "_");
            name.push('.');
        }
        if files.len() > 1 {
            name += &format!("and{}.", files.len() - 1);
        }
        if let Some(layer) = self.adapt.adapt.as_ref().and_then(|p| p.file_stem()) {
            name += &format!("{}.", layer.to_string_lossy());
        }
        Ok(beside(&files[0].path, &(name + "codes8")))
    }

    fn outcome(&self, name: &str, found: &ExactResult, base: &dyn Source, queries: &dyn Source, metric: Metric) -> Outcome {
        let speed = queries.len() as f64 / found.search_seconds.max(1e-9);
        let mut o = Outcome::new(name);
        o.set("n", base.len()).set("d", base.dim()).set("queries", queries.len()).set("k", self.k);
        o.set("metric", metric.name()).set("queries_per_second", round(speed, 3)).set_some("resumed", found.resumed_at);
        o.line(format!(
            "{} queries in {} vectors of {} dimensions, {metric}: {} ({} queries/s), {} waiting for input",
            count(queries.len()),
            count(base.len()),
            base.dim(),
            time(found.search_seconds),
            count(speed as u64),
            time(found.read_seconds)
        ));
        if let Some(row) = found.resumed_at {
            let before = format!("{} queries and, for the next, ", count(found.resumed_queries));
            let before = if found.resumed_queries > 0 { before } else { String::new() };
            o.line(format!("an earlier run had done {before}the first {} vectors", count(row)));
            if found.resumed_queries > 0 {
                o.set("resumed_queries", found.resumed_queries);
            }
        }
        if found.skipped_base + found.skipped_queries > 0 {
            o.set("skipped", found.skipped_base + found.skipped_queries);
            let (base, queries) = (count(found.skipped_base), count(found.skipped_queries));
            o.line(format!("left out because they cannot be ranked: {base} of the base, {queries} of the queries"));
        }
        let short = found.neighbors.short_rows() as u64 - found.skipped_queries;
        if short > 0 {
            o.set("short_rows", short).line(format!("{} fewer than {} neighbours", queries_have(short), self.k));
        }
        o
    }

    fn write(&self, found: &ExactResult, base: &dyn Source, queries: &dyn Source, metric: Metric, o: &mut Outcome) -> Result<()> {
        let (base_ids, query_ids) = (base.ids()?, queries.ids()?);
        let mut params = format!("k={} metric={metric}", self.k);
        params += &self.expand.map(|n| format!(" expand={n}")).unwrap_or_default();
        let run = Run {
            data: base.name(),
            n: base.len(),
            algorithm: "exact".into(),
            params: &params,
            seconds: found.search_seconds,
            build_seconds: 0.0,
        };
        let (base_ids, query_ids) = (base_ids.as_ref(), query_ids.as_ref());
        self.save.save(&Found { neighbors: &found.neighbors, metric, base_ids, query_ids, run }, o)
    }
}

/// What to do about codes that cannot be used.
fn of_codes(e: Error, codes: Option<&Path>) -> Fail {
    match &e {
        Error::Corrupt { path, .. } | Error::Format { path, .. } | Error::NewerFormat { path, .. } if Some(&**path) == codes => {
            Fail::data(
                e.to_string(),
                format!("`voisin exact --prepare` with the same --base and --metric makes {} anew", path.display()),
            )
        }
        _ => e.into(),
    }
}

/// The names of base and queries where both have some and a query's row is not the one with its name: a subset, or another order.
fn other_names(base: &dyn Source, queries: &dyn Source) -> Result<Option<(StringIds, StringIds)>> {
    let (Some(b), Some(q)) = (base.ids()?, queries.ids()?) else { return Ok(None) };
    let aligned = q.len() <= b.len() && q.iter().zip(b.iter()).all(|(q, b)| q == b);
    Ok((!aligned).then_some((b, q)))
}

/// Leaves out what is the query itself, of results that hold one more than k; a table for k neighbours.
fn without_self(found: &Neighbors, own: impl Fn(usize, u64) -> bool, k: usize) -> Neighbors {
    let mut out = Neighbors::new(k);
    for i in 0..found.len() {
        let pairs = found.distances(i).iter().copied().zip(found.ids(i).iter().copied());
        out.push_row(pairs.filter(|(_, id)| !own(i, *id)).take(k));
    }
    out
}

/// The base, or the rows of it that may be found.
enum Searched {
    All(Box<dyn Source>),
    Some(Subset),
}

impl Searched {
    fn new(base: Box<dyn Source>, rows: Option<Vec<u64>>) -> Result<Searched> {
        Ok(match rows {
            Some(rows) => Searched::Some(Subset::new(base, rows)?),
            None => Searched::All(base),
        })
    }

    fn whole(&self) -> &dyn Source {
        match self {
            Searched::All(base) => &**base,
            Searched::Some(rows) => rows.inner(),
        }
    }

    fn base(&self) -> &dyn Source {
        match self {
            Searched::All(base) => &**base,
            Searched::Some(rows) => rows,
        }
    }

    /// Ids as the whole base has them.
    fn numbered(&self, found: Neighbors) -> Neighbors {
        match self {
            Searched::All(_) => found,
            Searched::Some(rows) => found.renumbered(|id| rows.rows()[id as usize]),
        }
    }
}

/// The rows of `--allow`: those with its ids, or with its row numbers where the base has no string ids.
fn allowed_rows(file: &Path, base: &dyn Source, cx: &Context) -> Result<Vec<u64>> {
    let lines = id_lines(file)?;
    let allowed = IdSet::new(lines.iter().collect());
    let (mut rows, mut seen) = (Vec::new(), vec![false; lines.len()]);
    let named = base.scan_ids(&mut |row, id| {
        if let Some(at) = allowed.find(id) {
            seen[at] = true;
            rows.push(row);
        }
    })?;
    if !named {
        for (line, seen) in lines.iter().zip(&mut seen) {
            let number = line.trim().parse::<u64>();
            let number =
                number.map_err(|_| Error::Id { id: line.clone(), what: "the ids of this base are row numbers".into() })?;
            *seen = number < base.len();
            rows.extend(seen.then_some(number));
        }
        rows.sort_unstable();
        rows.dedup();
    }
    let missing: Vec<&String> =
        lines.iter().zip(&seen).filter(|(l, s)| !**s && allowed.find(l).is_some_and(|i| !seen[i])).map(|l| l.0).collect();
    if rows.is_empty() {
        let first = missing.first().map(|id| format!(" (the first is {id})")).unwrap_or_default();
        let message = format!("--allow {}: none of its {} ids is in the base{first}", file.display(), lines.len());
        return Err(Fail::data(message, "a line is an id; `voisin info FILE` shows whether a file has string ids"));
    }
    if let Some(first) = missing.first() {
        let (missing, of) = (count(missing.len() as u64), count(lines.len() as u64));
        cx.screen.say(&format!("--allow: {missing} of {of} ids are not in the base; the first is {first}"));
    }
    cx.screen.say(&format!("{} of {} vectors may be found", count(rows.len() as u64), count(base.len())));
    Ok(rows)
}
