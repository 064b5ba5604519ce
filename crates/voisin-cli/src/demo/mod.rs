//! `voisin demo`: the way of a learned metric index, from vectors to a measured result, in a minute.

mod data;
mod example;

use std::path::{Path, PathBuf};

use clap::Args;
use serde_json::json;
use voisin::eval::{Mode, evaluate, measure, quantile, usual_ks};
use voisin::exact::{ExactParams, exact};
use voisin::index::{BuildParams, BuildReport, Index, SearchParams, build, default_spec};
use voisin::{MemSource, Metric, Neighbors, PartitionSpec, Spec};

use crate::bench::{Muted, short_name};
use crate::common::{Context, parse_metric};
use crate::fail::{Fail, Result};
use crate::outcome::{Outcome, Seconds, count, round, time};
use crate::point::{Latency, Point, grid};
use crate::report::{Report, command_line, facts};
use data::Data;
use example::Example;

const EXAMPLES: &str = "Examples:
  voisin demo                                                 5,000 Debian packages that come with the program
  voisin demo --base laion2B-en-clip768v2-n=100K.h5           your own vectors; some rows are held out as queries
  voisin demo --base base.h5 --queries queries.h5 --lists 320 -o my-demo

The steps: the true neighbours by exact search; k-means cuts the vectors into lists; a small network learns which list a vector belongs
to; every vector is stored in the list that the network says; a query visits its most probable lists.";

/// Lists that queries visit, one after the other.
const NPROBE: [usize; 4] = [1, 2, 4, 8];
/// Vectors that the model learns from at most, so that a large file takes a minute too.
const TRAIN_SIZE: u64 = 200_000;
/// A query of the bundled data whose neighbours lie in several lists.
const SHOWN: usize = 121;

/// What it can do: k-means, model, lists, neighbours, recall and speed, on vectors that come with it or yours
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Demo {
    /// Your own vectors instead of those that come with the program
    #[arg(long, num_args = 1.., value_name = "FILE")]
    base: Vec<String>,
    /// Your own queries [default: a tenth of the rows, at most 1,000, held out]
    #[arg(long, num_args = 1.., value_name = "FILE", requires = "base")]
    queries: Vec<String>,
    /// l2, ip or cosine [default: what the file says, else l2]
    #[arg(long, value_parser = parse_metric, requires = "base")]
    metric: Option<Metric>,
    /// Lists to cut the vectors into [default: 320 from 50,000 vectors on, else about the square root of their number]
    #[arg(long, value_name = "N")]
    lists: Option<usize>,
    /// Neighbours for each query
    #[arg(short, default_value_t = 10)]
    k: usize,
    /// Number of the query that is shown, from 0
    #[arg(long, value_name = "N")]
    show: Option<usize>,
    /// Folder for the indexes and the page
    #[arg(short, long, value_name = "DIR", default_value = "voisin-demo")]
    out: PathBuf,
}

impl Demo {
    /// Runs it.
    ///
    /// # Errors
    /// A file that cannot be read, a folder that cannot be written; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        let data = match &self.base[..] {
            [] => Data::bundled()?,
            files => Data::of(files, &self.queries, self.metric, cx)?,
        };
        let shown = self.show.unwrap_or(if self.base.is_empty() { SHOWN } else { 0 });
        if shown >= data.queries.n() {
            return Err(Fail::usage(format!("show = {shown}: there are {} queries", data.queries.n()), "--show counts from 0"));
        }
        if self.out.is_file() {
            let hint = "give the name of a folder, existing or not, with -o";
            return Err(Fail::usage(format!("{}: a file is there", self.out.display()), hint));
        }
        std::fs::create_dir_all(&self.out).map_err(|e| voisin::Error::io(&self.out, e))?;
        let base = data.base();
        let (n, name) = (base.len(), short_name(&base.name()));
        cx.screen.say(&format!(
            "data      {} vectors of {} dimensions ({name}), {}; {} queries ({})",
            count(n),
            base.dim(),
            data.metric,
            count(data.queries.n() as u64),
            data.queries_from
        ));
        let (truth, exact_seconds) = self.truth(&data, cx)?;
        cx.screen.say(&format!("exact     the {} nearest of every query: {}", self.k, time(exact_seconds)));
        let nlist = self.lists.unwrap_or_else(|| usual_lists(n));
        let learned = Spec { partition: PartitionSpec::Learned { nlist, hidden: None }, ..Spec::flat() };
        let (lmi, lmi_built) = self.build(&data, learned, "lmi", cx)?;
        let last = lmi_built.epochs.last().map(|e| {
            format!("; after {} epochs it names the list of {:.1} % of the vectors", lmi_built.epochs.len(), e.accuracy * 100.0)
        });
        cx.screen.say(&format!(
            "learned   {}: built in {}{}",
            lmi.spec(),
            time(lmi_built.seconds.total),
            last.unwrap_or_default()
        ));
        let (ivf, ivf_built) = self.build(&data, Spec::ivf(nlist), "ivf", cx)?;
        cx.screen.say(&format!("k-means   {}: built in {}", ivf.spec(), time(ivf_built.seconds.total)));
        let (coded, coded_built) = self.build(&data, coded_spec(nlist, base.dim()), "coded", cx)?;
        let size = coded.info().code_bytes as f64 / (base.dim() * 4) as f64 * 100.0;
        let said = format!("{}: built in {}; codes of {size:.0} % of the vectors", coded.spec(), time(coded_built.seconds.total));
        cx.screen.say(&format!("codes     {said}"));

        let mut points = self.sweep(&data, &truth, &lmi, &lmi_built, cx)?;
        points.extend(self.sweep(&data, &truth, &ivf, &ivf_built, cx)?);
        points.extend(self.sweep(&data, &truth, &coded, &coded_built, cx)?);
        points.push(self.exact_point(&truth, exact_seconds, (base.dim() * 4) as f64)?);
        let example = Example::new(&data, shown, &truth, &lmi)?;
        let page = self.out.join("report.html");
        self.page(&data, &name, nlist, &points, &example).write(&page)?;
        Ok(self.outcome(&data, &points, &example, &page, nlist, cx))
    }

    /// The true neighbours, and the median time of a few runs where a run is short.
    fn truth(&self, data: &Data, cx: &Context) -> Result<(Neighbors, f64)> {
        let queries = MemSource::new("queries", data.queries.clone());
        let params = ExactParams { k: self.k, metric: data.metric, ..ExactParams::default() };
        let first = exact(data.base(), &queries, &params, &cx.screen)?;
        let mut seconds = vec![first.search_seconds];
        while seconds.len() < 3 && seconds[0] < 1.0 {
            seconds.push(exact(data.base(), &queries, &params, &cx.screen)?.search_seconds);
        }
        Ok((first.neighbors, quantile(&mut seconds, 0.5)))
    }

    fn build(&self, data: &Data, spec: Spec, folder: &str, cx: &Context) -> Result<(Index, BuildReport)> {
        let params = BuildParams {
            spec: Some(spec),
            metric: data.metric,
            seed: cx.common.seed,
            calibrate: 0, // a sweep shows every number of lists; nothing aims at a recall
            train_size: Some(TRAIN_SIZE).filter(|t| *t < data.base().len()),
            ..BuildParams::default()
        };
        let at = self.out.join(folder);
        let built = build(data.base(), &at, &params, &Muted(&cx.screen))?;
        Ok((Index::open(&at)?, built))
    }

    fn sweep(&self, data: &Data, truth: &Neighbors, index: &Index, built: &BuildReport, cx: &Context) -> Result<Vec<Point>> {
        let mut points = Vec::new();
        for nprobe in crate::bench::sweep(&NPROBE, index.spec().nlist()) {
            let params = SearchParams { k: self.k, nprobe, ..SearchParams::default() };
            let speed = measure(&|q| index.search(q, &params), data.queries.view(), Mode::Batch, 3, &cx.screen)?;
            let mut point = Point {
                spec: index.spec().to_string(),
                nprobe,
                queries_per_second: speed.queries_per_second,
                latency_ms: Latency { p50: speed.p50_ms, p99: speed.p99_ms },
                scanned: speed.scanned,
                build_seconds: built.seconds.total,
                bytes_per_vector: built.bytes as f64 / built.n.max(1) as f64,
                ..Point::default()
            };
            point.judge(&evaluate(&speed.neighbors, truth, &usual_ks(self.k), Some(data.metric))?);
            points.push(point);
        }
        Ok(points)
    }

    fn exact_point(&self, truth: &Neighbors, seconds: f64, bytes_per_vector: f64) -> Result<Point> {
        let queries_per_second = truth.len() as f64 / seconds.max(1e-9);
        let mut point = Point { spec: "exact".into(), nprobe: 0, queries_per_second, bytes_per_vector, ..Point::default() };
        point.judge(&evaluate(truth, truth, &usual_ks(self.k), None)?);
        Ok(point)
    }

    fn page(&self, data: &Data, name: &str, nlist: usize, points: &[Point], example: &Example) -> Report {
        let lead = format!(
            "{} vectors of {} dimensions, cut into {nlist} lists: once by k-means, once by a network that learned the lists of k-means; \
             the third index keeps small codes in the lists of k-means and ranks what they find by finer ones. A query visits few of the lists; the more it visits, the more of the true neighbours it finds.",
            count(data.base().len()),
            data.base().dim()
        );
        let mut all = vec![
            ("base".to_string(), data.base().name()),
            ("queries".into(), format!("{} ({})", count(data.queries.n() as u64), data.queries_from)),
            ("metric".into(), data.metric.to_string()),
            ("searched".into(), format!("all queries in one call, {} threads", rayon::current_num_threads())),
            ("command line".into(), command_line()),
        ];
        all.extend(facts());
        let sections = vec![("One query".to_string(), example.html(&NPROBE))];
        let title = format!("A learned metric index on {name}");
        Report { title, lead, k: self.k, points: points.to_vec(), sections, facts: all }
    }

    fn outcome(&self, data: &Data, points: &[Point], example: &Example, page: &Path, nlist: usize, cx: &Context) -> Outcome {
        let mut o = Outcome::new("demo");
        o.set("n", data.base().len()).set("d", data.base().dim()).set("queries", data.queries.n()).set("k", self.k);
        o.set("metric", data.metric.name()).set("nlist", nlist).set("points", json!(points)).set("example", example.json());
        o.set("out", page.display().to_string());
        o.set("seconds", Seconds { total: cx.elapsed(), ..Seconds::default() });
        o.line("").line(self.table(points, nlist).trim_end());
        o.line("").line(example.lines(&NPROBE));
        o.line("").line(format!("{} in all; the page with chart and figures: {}", time(cx.elapsed()), page.display()));
        let index = self.out.join("lmi");
        let queries = match (&self.base[..], &self.queries[..]) {
            ([], _) => "data/debtext-demo.h5",
            (_, []) => "FILE",
            (_, [first, ..]) => first,
        };
        o.line(format!("go on with: voisin search {} --queries {queries} --nprobe 4", index.display()));
        o
    }

    /// Recall and speed of both, beside each other.
    fn table(&self, points: &[Point], nlist: usize) -> String {
        let mut specs: Vec<&str> = points.iter().map(|p| p.spec.as_str()).collect();
        specs.dedup();
        let (indexes, exact) = (&specs[..specs.len() - 1], &points[points.len() - 1]);
        let mut head = vec!["lists".to_string()];
        for spec in indexes {
            head.extend([spec.to_string(), "queries/s".into(), "x exact".into()]);
        }
        let mut lists: Vec<usize> = points.iter().filter(|p| p.spec != exact.spec).map(|p| p.nprobe).collect();
        lists.sort_unstable();
        lists.dedup();
        let row = |nprobe: usize| {
            let mut row = vec![nprobe.to_string()];
            for p in indexes.iter().filter_map(|s| points.iter().find(|p| p.spec == *s && p.nprobe == nprobe)) {
                let times = p.queries_per_second / exact.queries_per_second;
                let speed = count(p.queries_per_second.round() as u64);
                row.extend([format!("{:.4}", p.recall_at(self.k)), speed, format!("{:.1}", round(times, 1))]);
            }
            row
        };
        let speed = count(exact.queries_per_second.round() as u64);
        let mut text = format!("recall@{} by lists visited, of {nlist}\n", self.k);
        text += &grid(&head, &lists.into_iter().map(row).collect::<Vec<_>>());
        text += &format!("exact search finds all of them at {speed} queries/s");
        let useful = |p: &&Point| p.nprobe > 0 && p.recall_at(self.k) >= 0.8;
        let fastest = points.iter().filter(useful).map(|p| p.queries_per_second).fold(0.0, f64::max);
        if fastest < 4.0 * exact.queries_per_second {
            text += ": so few vectors hardly need an index";
        }
        text.push('\n');
        text
    }
}

/// The index whose lists hold codes: those that `build` would choose for so many dimensions.
fn coded_spec(nlist: usize, d: usize) -> Spec {
    let (usual, _) = default_spec(u64::from(u32::MAX), d, Metric::L2);
    Spec { partition: PartitionSpec::KMeans { nlist }, ..usual }
}

/// Lists for `n` vectors: 320, as the works on learned indexes have it, or about sqrt(n) where there are few.
fn usual_lists(n: u64) -> usize {
    if n >= 50_000 { 320 } else { (((n as f64).sqrt() / 8.0).round() as usize * 8).clamp(1, n.max(1) as usize) }
}

#[cfg(test)]
mod tests {
    use super::usual_lists;

    #[test]
    fn lists_grow_with_the_vectors() {
        assert_eq!((usual_lists(1), usual_lists(2000), usual_lists(5000), usual_lists(60_313)), (1, 48, 72, 320));
    }
}
