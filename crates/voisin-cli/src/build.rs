//! `voisin build`: an index from files of vectors.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Args, ValueEnum};
use voisin::index::{BuildParams, BuildReport, CalibrationInfo, Captions, Index, build};
use voisin::partition::{KMeansParams, PAIRED_ITERATIONS, Precision, RouterParams, TrainParams};
use voisin::{Error, Matrix, Metric, OnBad, PartitionSpec, Source, Spec, StringIds, read_good};
use voisin_io::read_neighbors;

use crate::common::{AdaptArgs, Bad, BaseArgs, Context, check_limit, choose_metric, open_queries, parse_bytes, parse_metric};
use crate::fail::{Fail, Result};
use crate::kmeans::InitArg;
use crate::model::read_mlp;
use crate::outcome::{Outcome, Seconds, bytes, count, round, time};

const EXAMPLES: &str = "Examples:
  voisin build --base base.h5 -o index                              (chooses the kind)
  voisin build --base base.h5 --index LMI320,Flat -o index          (a learned index)
  voisin build --base base.h5 --index 'LMI320(512-384),Flat' --epochs 20 --precision f32 -o index
  voisin build --base base.h5 --index IVF320,Flat -o index          (k-means lists)
  voisin build --base base.h5 --index 'IVF1024,RaBitQ4,Refine(SQ8)' -o index   (codes, and vectors to rank them by)
  voisin build --base base.h5 --index PCA64,IVF1024,SQ8 -o index    (the 64 directions of largest variance)
  voisin build --base base.h5 --queries old-queries.h5 -o index     (recall targets go by these queries)
  voisin build --base images.h5 --index 'IVF1024(router),RaBitQ4' --queries captions.h5 -o index
     (queries of another kind than the vectors: a layer trained on them chooses the lists)
  voisin build --base images.h5 --index Paired1024,SQ4 --captions c.npy --pairs pairs.h5 -o index
     (centroids among captions; without --pairs the image of each is computed)
  voisin build --base 'emb_*.npy' --index LMI320,Flat --train-size 100000 -o index
  voisin build --base base.h5 --index LMI320,Flat --model mlp.pth -o index     (no training)
  voisin build --base more.h5 --like index --first-id 100000 -o index-2     (another part, of the same model)

Killed and started again, it goes on from what is finished. An index that was in DIR stays usable until the new one is complete.";

/// Arithmetic of the products in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum PrecisionArg {
    F32,
    Bf16,
}

/// Builds an index in a folder
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct Build {
    #[command(flatten)]
    base: BaseArgs,
    #[command(flatten)]
    adapt: AdaptArgs,
    /// Folder of the index
    #[arg(short, long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    how: BuildArgs,
}

/// What is built and how, the same in one go and in parts.
#[derive(Args, Clone, Debug)]
pub struct BuildArgs {
    /// Kind of index: words for transform, lists, code, refinement, of which the code is needed. PCA64 or OPQ16;
    /// IVF320 (k-means lists), LMI320 (learned lists), LMI320(512-384), or Paired320 (k-means among captions); with
    /// (router), as in IVF320(router), a layer trained on --queries chooses the lists; Flat, F16, SQ8, SQ4, PQ16 (8 bits a part),
    /// PQ16x4 (4 bits), RaBitQ1 to RaBitQ8 (bits a value); Refine(Flat), Refine(F16) or Refine(SQ8)
    /// [default: by number and dimensions of the vectors; the reason is printed]
    #[arg(long, value_name = "SPEC")]
    index: Option<String>,
    /// l2, ip or cosine [default: what the base file says, else l2]
    #[arg(long, value_parser = parse_metric)]
    pub metric: Option<Metric>,
    /// Train on at most this many vectors [default: all for LMI, 256 a list for IVF]
    #[arg(long, value_name = "N")]
    train_size: Option<u64>,
    /// Queries like those to come: recall targets are calibrated on them, and a router is trained on them
    /// [default: rows of the base]
    #[arg(long, num_args = 1.., value_name = "FILE")]
    queries: Vec<String>,
    /// Calibrate recall targets on at most this many queries; 0 for no calibration
    #[arg(long, value_name = "N", default_value_t = 1000)]
    calibrate: usize,
    /// Take the model of this index instead of learning one: what is built can be searched together with it
    #[arg(long, value_name = "DIR", conflicts_with_all = ["model", "train_size", "niter", "nredo", "init", "max_points", "spherical", "epochs", "lr", "batch", "precision"])]
    like: Option<PathBuf>,
    /// Number of the first vector, where the file has no string ids [default: 0]
    #[arg(long, value_name = "N", default_value_t = 0, hide_default_value = true)]
    first_id: u64,
    /// Memory that the process may take, such as 4G or 500M
    #[arg(long, value_name = "BYTES", value_parser = parse_bytes)]
    memory_limit: Option<u64>,
    #[command(flatten)]
    kmeans: KMeansArgs,
    #[command(flatten)]
    paired: PairedArgs,
    #[command(flatten)]
    train: TrainArgs,
}

impl BuildArgs {
    /// All that is no data: neither model nor queries, which are files.
    ///
    /// # Errors
    /// A spec that cannot be read; options of what it does not have.
    pub fn params(&self, metric: Metric, on_bad: Bad, cx: &Context) -> Result<BuildParams> {
        let spec = self.index.as_deref().map(Spec::parse).transpose()?;
        self.paired.check(spec.as_ref(), self.like.is_some())?;
        Ok(BuildParams {
            spec,
            metric,
            calibrate: self.calibrate,
            seed: cx.common.seed,
            on_bad: on_bad.into(),
            memory_limit: self.memory_limit,
            kmeans: self.kmeans.params(),
            train: self.train.params(),
            train_size: self.train_size,
            like: self.like.clone(),
            first_id: self.first_id,
            paired_niter: self.paired.paired_niter.unwrap_or(PAIRED_ITERATIONS),
            router: self.paired.router(),
            ..BuildParams::default()
        })
    }

    /// The metric: what is asked for, that of the index to be like, or what the base says.
    ///
    /// # Errors
    /// The index to be like cannot be opened.
    fn metric_of(&self, base: &dyn Source, cx: &Context) -> Result<Metric> {
        Ok(match self.like_metric()? {
            Some(metric) => metric,
            None => choose_metric(self.metric, base, cx),
        })
    }

    /// The metric of the index to be like, where no other is asked for.
    ///
    /// # Errors
    /// It cannot be opened.
    pub fn like_metric(&self) -> Result<Option<Metric>> {
        match (&self.like, self.metric) {
            (Some(like), None) => Ok(Some(Index::open(like)?.metric())),
            _ => Ok(None),
        }
    }

    /// Refuses a memory limit that could not be kept for n x d vectors.
    ///
    /// # Errors
    /// It is too small.
    pub fn check_limit(&self, n: u64, d: usize) -> Result<()> {
        let spec = self.index.as_deref().and_then(|s| Spec::parse(s).ok());
        let twice = spec.is_some_and(|s| s.router || matches!(s.partition, PartitionSpec::Paired { .. }));
        check_limit(self.memory_limit, n, d, twice)
    }

    /// The files that parameters are read from, by parameter, for a plan.
    pub fn files(&self) -> Vec<(&'static str, Vec<String>)> {
        let model = self.train.model.iter().map(|m| m.display().to_string()).collect();
        let pairs = self.paired.pairs.iter().cloned().collect();
        vec![("model", model), ("queries", self.queries.clone()), ("captions", self.paired.captions.clone()), ("pairs", pairs)]
    }

    /// The file of the model that is given instead of trained.
    fn model(&self) -> Option<&Path> {
        self.train.model.as_deref()
    }
}

/// Options of the k-means under an index.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Lists (IVF and LMI)")]
pub struct KMeansArgs {
    /// Iterations of k-means
    #[arg(long, value_name = "N")]
    niter: Option<usize>,
    /// Runs of k-means, of which the best is kept
    #[arg(long, value_name = "N")]
    nredo: Option<usize>,
    /// How k-means begins: with random rows, or with rows far from each other
    #[arg(long, value_enum, value_name = "HOW")]
    init: Option<InitArg>,
    /// k-means on at most this many vectors a list
    #[arg(long, value_name = "N")]
    max_points: Option<usize>,
    /// Keep the centroids at unit length
    #[arg(long)]
    spherical: bool,
}

impl KMeansArgs {
    /// Over the defaults of the engine.
    pub fn params(&self) -> KMeansParams {
        let mut p = BuildParams::default().kmeans;
        p.niter = self.niter.unwrap_or(p.niter);
        p.nredo = self.nredo.unwrap_or(p.nredo);
        p.init = self.init.map_or(p.init, Into::into);
        p.max_points_per_centroid = self.max_points.or(p.max_points_per_centroid);
        p.spherical |= self.spherical;
        p
    }
}

/// Options of paired k-means and of a router.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Queries of another kind (Paired and router)")]
pub struct PairedArgs {
    /// Captions for Paired: queries of the kind to come, among which the centroids lie; leave out those you test with
    #[arg(long, num_args = 1.., value_name = "FILE")]
    captions: Vec<String>,
    /// The image of each caption, as `voisin pair --base IMAGES --queries CAPTIONS -o FILE` writes it, or a .pt tuple of
    /// similarities and indices [default: computed so]
    #[arg(long, value_name = "FILE", requires = "captions")]
    pairs: Option<String>,
    /// Iterations of paired k-means [default: 10]
    #[arg(long, value_name = "N")]
    paired_niter: Option<usize>,
    /// Passes over the queries in training the router, at most [default: 8]
    #[arg(long, value_name = "N")]
    router_epochs: Option<usize>,
    /// Neighbours of each query whose lists the router learns [default: 10]
    #[arg(long, value_name = "K")]
    router_k: Option<usize>,
}

impl PairedArgs {
    /// Refuses options of a router or of paired k-means where the index has none, or takes over that of another.
    fn check(&self, spec: Option<&Spec>, like: bool) -> Result<()> {
        let router = ("has no router", spec.is_some_and(|s| s.router), "'IVF1024(router),RaBitQ4' --queries FILE");
        let paired = spec.is_some_and(|s| matches!(s.partition, PartitionSpec::Paired { .. }));
        let paired = ("has no centroids among captions", paired, "Paired1024,SQ4 --captions FILE");
        let given = [
            ("router-k", self.router_k, router),
            ("router-epochs", self.router_epochs, router),
            ("paired-niter", self.paired_niter, paired),
        ];
        for (name, value, (lacks, has, such)) in given {
            let Some(value) = value.filter(|_| like || !has) else { continue };
            let what = match spec {
                _ if like => "nothing is learned beside --like".to_owned(),
                Some(spec) => format!("{spec} {lacks}"),
                None => format!("the index that is chosen without --index {lacks}"),
            };
            return Err(Fail::usage(
                format!("{name} = {value}: {what}"),
                format!("leave --{name} out, or build such as --index {such}"),
            ));
        }
        Ok(())
    }

    fn router(&self) -> RouterParams {
        let usual = RouterParams::default();
        RouterParams { epochs: self.router_epochs.unwrap_or(usual.epochs), k: self.router_k.unwrap_or(usual.k), ..usual }
    }
}

/// What captions belong to.
pub struct Images<'a> {
    /// What to call them.
    pub name: &'a str,
    /// Their number.
    pub n: u64,
    /// How they are compared.
    pub metric: Metric,
    /// Their ids.
    pub ids: &'a dyn Fn() -> Result<Option<StringIds>>,
}

/// The captions of files, and the image of each where another file says it. Says so where that file goes by another metric.
///
/// # Errors
/// What reading gives; pairs that are not one a caption, of images that are not there, or by strings, where the images have none.
pub fn read_captions(
    captions: &[String],
    pairs: Option<&str>,
    images: &Images<'_>,
    adapt: &AdaptArgs,
    cx: &Context,
) -> Result<Option<Captions>> {
    if captions.is_empty() {
        return Ok(None);
    }
    let source: Arc<dyn Source> = adapt.over(open_queries(captions)?)?.into();
    let Some(file) = pairs else { return Ok(Some(Captions { source, pairs: None })) };
    let mut table = read_neighbors(file, Some(1))?;
    if let Some(ids) = (images.ids)()? {
        table.number(&ids)?;
    }
    if table.only_strings {
        let hint = "write the pairs with row numbers, as `voisin pair -o pairs.h5` does";
        return Err(Fail::data(format!("{file}: string ids, but the base has none"), hint));
    }
    if table.neighbors.len() as u64 != source.len() {
        let (rows, captions) = (count(table.neighbors.len() as u64), count(source.len()));
        let message = format!("{file} has {rows} rows, {} {captions} captions", source.name());
        return Err(Fail::data(
            message,
            "pairs are a row for each caption, as `voisin pair --base IMAGES --queries CAPTIONS` writes them",
        ));
    }
    if let Some(size) = table.size.filter(|n| *n != images.n) {
        let message = format!("{file}: pairs among {} images, where {} has {}", count(size), images.name, count(images.n));
        return Err(Fail::data(message, "name the same files as for `voisin pair`: a row stands for another image otherwise"));
    }
    let image = |row: usize| table.neighbors.ids(row).first().copied();
    if let Some((row, id)) =
        (0..table.neighbors.len()).find_map(|row| image(row).filter(|id| *id >= images.n).map(|id| (row, id)))
    {
        let message = format!("{file}, row {row}: image {id}, where the rows of {} are 0 to {}", images.name, images.n - 1);
        return Err(Fail::data(message, "pairs name images by their row, counted from 0; -1 stands for none"));
    }
    if let Some(metric) = table.metric.filter(|m| *m != images.metric) {
        cx.screen.say(&format!("{file}: pairs by {metric}, where the index is built for {}", images.metric));
    }
    let pairs = (0..table.neighbors.len()).map(image).collect();
    Ok(Some(Captions { source, pairs: Some(pairs) }))
}

/// Options of the training of a learned index.
#[derive(Args, Clone, Debug)]
#[command(next_help_heading = "Model (LMI)")]
pub struct TrainArgs {
    /// Passes over the training vectors [default: by precision]
    #[arg(long, value_name = "N")]
    epochs: Option<usize>,
    /// Step size of Adam [default: by precision]
    #[arg(long, value_name = "X", allow_negative_numbers = true)]
    lr: Option<f32>,
    /// Vectors a step [default: by precision]
    #[arg(long, value_name = "N")]
    batch: Option<usize>,
    /// Arithmetic of the products in training, and with it the recipe: bf16 takes few large steps
    /// from a warm start, f32 is as published (10 epochs, 256 vectors a step, step size 0.001)
    /// [default: bf16]
    #[arg(long, value_enum)]
    precision: Option<PrecisionArg>,
    /// Use this model instead of training one: a PyTorch state dict with keys 0.weight, 0.bias, 2.weight, ...
    #[arg(long, value_name = "FILE")]
    model: Option<PathBuf>,
}

impl TrainArgs {
    /// Over the defaults of the engine.
    pub fn params(&self) -> TrainParams {
        let mut p = BuildParams::default().train;
        p.epochs = self.epochs.or(p.epochs);
        p.lr = self.lr.or(p.lr);
        p.batch = self.batch.or(p.batch);
        p.precision = match self.precision {
            Some(PrecisionArg::F32) => Precision::F32,
            Some(PrecisionArg::Bf16) => Precision::Bf16,
            None => p.precision,
        };
        p
    }
}

impl Build {
    /// Runs it.
    ///
    /// # Errors
    /// Wrong parameters, bad data, a full disk; Ctrl-C.
    pub fn run(&self, cx: &Context) -> Result<Outcome> {
        self.how.index.as_deref().map(Spec::parse).transpose()?;
        if self.out.is_file() {
            let hint = "an index is a folder: give the name of one, existing or not";
            return Err(Fail::usage(format!("{}: a file is there", self.out.display()), hint));
        }
        let base = self.adapt.over(self.base.open(cx)?)?;
        self.how.check_limit(base.len(), base.dim())?;
        let metric = self.how.metric_of(&*base, cx)?;
        let (captions, pairs) = (&self.how.paired.captions, self.how.paired.pairs.as_deref());
        let rest = self.how.params(metric, self.base.on_bad, cx)?;
        let (queries, skipped) = calibration_queries(&self.how.queries, &self.adapt, base.dim(), metric, rest.on_bad)?.unzip();
        let images = Images { name: &base.name(), n: base.len(), metric, ids: &|| Ok(base.ids()?) };
        let params = BuildParams {
            queries,
            captions: read_captions(captions, pairs, &images, &self.adapt, cx)?,
            model: self.how.model().map(read_mlp).transpose()?,
            ..rest
        };
        let report = build(&*base, &self.out, &params, &cx.screen)?;
        let mut o = self.outcome(&report, cx);
        skipped_queries(skipped, &mut o);
        targets(Index::open(&self.out)?.info().calibration.as_ref(), &mut o);
        Ok(o)
    }

    fn outcome(&self, r: &BuildReport, cx: &Context) -> Outcome {
        let s = r.seconds;
        let seconds = Seconds {
            read: Some(s.read),
            train: Some(s.train),
            assign: Some(s.assign),
            encode: Some(s.encode),
            write: Some(s.write),
            calibrate: Some(s.calibrate).filter(|c| *c > 0.0),
            total: cx.elapsed(),
            ..Seconds::default()
        };
        let per_vector = r.bytes as f64 / r.n.max(1) as f64;
        let mut o = Outcome::new("build");
        o.set("n", r.n).set("d", r.d).set("metric", r.metric.name()).set("spec", r.spec.to_string()).set("seconds", seconds);
        o.set("bytes", r.bytes).set("bytes_per_vector", round(per_vector, 2)).set("out", self.out.display().to_string());
        o.set("trained_on", r.trained_on).set("skipped", r.skipped).set("resumed", r.resumed).set("segments", r.segments);
        if !r.objective.is_empty() {
            o.set("objective", r.objective.clone());
        }
        if !r.epochs.is_empty() {
            o.set("loss", r.epochs.iter().map(|e| round(e.loss, 6)).collect::<Vec<_>>());
            o.set("accuracy", r.epochs.iter().map(|e| round(e.accuracy, 6)).collect::<Vec<_>>());
        }
        o.set_some("pairs", r.pairs);
        if let Some(router) = &r.router {
            let losses: Vec<f64> = router.epochs.iter().map(|e| round(e.loss, 6)).collect();
            let reach = router.reach.map(|x| round(x, 2));
            o.set("router", serde_json::json!({ "trained_on": router.trained_on, "loss": losses, "reach": reach }));
        }
        o.set_some("reason", r.reason.clone());
        let why = r.reason.as_ref().map(|w| format!(" ({w})")).unwrap_or_default();
        o.line(format!("{}{why}: {} vectors of {} dimensions, {}", r.spec, count(r.n), r.d, r.metric));
        if let Some(last) = r.epochs.last() {
            o.line(format!("model: loss {:.4}, accuracy {:.4} after {} epochs", last.loss, last.accuracy, r.epochs.len()));
        }
        if let Some(pairs) = r.pairs {
            o.line(format!("centroids among {} captions that have an image", count(pairs)));
        }
        if let Some(router) = &r.router {
            let [before, after] = router.reach;
            o.line(format!(
                "router: trained on {} queries; a neighbour's list is reached after {after:.0} vectors, by centroids after {before:.0} (geometric means, queries held out)",
                count(router.trained_on as u64)
            ));
        }
        if r.skipped > 0 {
            o.line(format!("{} rows that cannot be ranked were left out", count(r.skipped)));
        }
        if r.resumed > 0 {
            o.line(format!("{} vectors were finished by an earlier run", count(r.resumed)));
        }
        o.line(format!(
            "{}: read {}, train {}, assign {}, encode {}, write {}, calibrate {}",
            time(cx.elapsed()),
            time(s.read),
            time(s.train),
            time(s.assign),
            time(s.encode),
            time(s.write),
            time(s.calibrate)
        ));
        o.line(format!("{} in {} ({per_vector:.0} bytes a vector)", bytes(r.bytes), self.out.display()));
        o
    }
}

/// The queries that recall targets are calibrated on, where there are files of them, and how many `on_bad` left out.
///
/// # Errors
/// Another dimension than the base has; what reading gives.
pub fn calibration_queries(
    files: &[String],
    adapt: &AdaptArgs,
    d: usize,
    metric: Metric,
    on_bad: OnBad,
) -> Result<Option<(Matrix, u64)>> {
    if files.is_empty() {
        return Ok(None);
    }
    let source = adapt.over(open_queries(files)?)?;
    if source.is_empty() {
        return Err(Error::Empty { name: source.name() }.into());
    }
    if source.dim() != d {
        let (name, got) = (source.name(), source.dim());
        return Err(Error::Dimension { name, expected: d, got, context: "the base".into() }.into());
    }
    Ok(Some(read_good(&*source, metric, on_bad)?))
}

/// How many queries were left out, as key and line.
pub fn skipped_queries(skipped: Option<u64>, o: &mut Outcome) {
    o.set_some("skipped_queries", skipped);
    if let Some(n) = skipped.filter(|n| *n > 0) {
        o.line(format!("{} queries that cannot be ranked were left out", count(n)));
    }
}

/// What a calibration promises, as key and line.
pub fn targets(found: Option<&CalibrationInfo>, o: &mut Outcome) {
    let Some(c) = found else { return };
    o.set("calibration", serde_json::json!(c));
    let one = |t: &voisin::index::Promise| match t.lists {
        Some(lists) => format!("{} takes {lists:.1} lists", t.recall),
        None => format!("{} is beyond what the codes keep, {:.4}", t.recall, c.best),
    };
    let all = c.targets.iter().map(one).collect::<Vec<_>>().join(", ");
    let from = if c.given { "queries given" } else { "rows of the base as queries; others may be harder: --queries" };
    o.line(format!("targets  recall {all} ({} {from})", count(c.queries as u64)));
}
