//! What a build learns before it stores anything: transform, partition, centres, code, refinement, in this order.

use super::ingest::{Journal, Loaded, directed, load};
use super::model::{self, Model};
use super::params::{BuildParams, RouterReport, Seconds};
use super::refine::Refine;
use super::{pairs, route};
use crate::encode::{Codec, Training};
use crate::partition::{
    Centroids, Epoch, KMeansParams, PairedData, Partition, Routed, Sample, TrainParams, draw, kmeans, paired_kmeans, train_mlp,
};
use crate::transform::{Linear, opq, pca};
use crate::{Error, Matrix, Metric, PartitionSpec, RefineSpec, Result, Score, Source, Spec, TransformSpec, Vectors, Watch};
use std::borrow::Cow;
use std::path::Path;
use std::time::Instant;

/// Rows trained on for each list.
const ROWS_A_LIST: u64 = 256;
/// Lists for which rows are drawn at least where a code is trained: as many as product codes have centroids.
const CODE_LISTS: u64 = 256;

/// Bytes of vectors that may be held in memory at once. k-means, unit lengths and a transform need as much again each. Beside
/// pairs, which take half of the limit, it is less.
fn held(spec: &Spec, memory_limit: Option<u64>) -> u64 {
    let part = if matches!(spec.partition, PartitionSpec::Paired { .. }) { 8 } else { 4 };
    memory_limit.map_or(2 << 30, |l| l / part)
}

pub(super) struct Learning<'a> {
    base: &'a dyn Source,
    params: &'a BuildParams,
    spec: &'a Spec,
    watch: &'a dyn Watch,
    pub(super) seconds: Seconds,
    /// The rows, where all of them fit in memory.
    pub(super) whole: Option<Loaded>,
    pub(super) objective: Vec<f64>,
    pub(super) epochs: Vec<Epoch>,
    pub(super) pairs: Option<u64>,
    pub(super) router: Option<RouterReport>,
    /// What paired k-means will move the centroids to.
    captions: Option<Sample>,
    /// Where the router begins.
    begin: Option<route::Begin>,
}

impl<'a> Learning<'a> {
    pub(super) fn new(base: &'a dyn Source, params: &'a BuildParams, spec: &'a Spec, watch: &'a dyn Watch) -> Learning<'a> {
        Learning {
            base,
            params,
            spec,
            watch,
            seconds: Seconds::default(),
            whole: None,
            objective: vec![],
            epochs: vec![],
            pairs: None,
            router: None,
            captions: None,
            begin: None,
        }
    }

    /// The model, trained now or by the run that is resumed.
    pub(super) fn model(&mut self, dir: &Path, journal: &mut Journal) -> Result<Model> {
        let (params, d) = (self.params, self.base.dim());
        if journal.model.is_none() {
            self.captions = pairs::captions(self.spec, params, self.watch)?;
        }
        if journal.next_row < self.base.len() {
            self.hold()?;
        }
        if let Some(entry) = &journal.model {
            return model::load(dir, entry, self.spec, params.metric, d);
        }
        let (mut model, trained_on) = if let Some(like) = &params.like {
            (super::Index::open(like)?.0.model.as_ref().clone(), 0)
        } else if self.trains() {
            self.train()?
        } else {
            let partition = params.model.clone().map_or(Partition::One, Partition::Learned);
            (Model::new(self.spec, None, partition), 0)
        };
        self.route(&mut model)?;
        let file = if journal.generation == 1 { "model.vsn".to_owned() } else { format!("model.{:05}.vsn", journal.generation) };
        let start = Instant::now();
        journal.model = Some(model::save(&model, d, dir, &file)?);
        journal.trained_on = trained_on;
        journal.save(dir)?;
        self.seconds.write += start.elapsed().as_secs_f64();
        Ok(model)
    }

    /// Whether the partition is learned here.
    fn partitions(&self) -> bool {
        self.spec.partition != PartitionSpec::One && self.params.model.is_none()
    }

    /// Whether anything is learned from rows.
    fn trains(&self) -> bool {
        let coded = self.spec.score != Score::Flat || matches!(self.spec.refine, Some(RefineSpec::Scalar(_)));
        self.partitions() || coded || self.spec.transform.is_some() || self.spec.router
    }

    /// Reads all rows where they fit.
    fn hold(&mut self) -> Result<()> {
        let (n, d) = (self.base.len(), self.base.dim() as u64);
        if n.checked_mul(4 * d).is_none_or(|bytes| bytes > held(self.spec, self.params.memory_limit)) {
            return Ok(());
        }
        let start = Instant::now();
        self.watch.begin("read", n, "vectors");
        self.whole = Some(load(self.base, 0..n, self.params.metric, self.params.on_bad, self.watch)?);
        self.watch.end();
        self.seconds.read += start.elapsed().as_secs_f64();
        Ok(())
    }

    /// Rows to train on: what is asked for; without that all for a learned partition, else 256 a list.
    fn wanted(&self) -> u64 {
        let nlist = self.spec.nlist() as u64;
        let coded = self.spec.score != Score::Flat || self.spec.transform.is_some() || self.spec.refine.is_some();
        let usual = match &self.spec.partition {
            PartitionSpec::Learned { .. } if self.partitions() => u64::MAX,
            _ => ROWS_A_LIST * nlist.max(if coded { CODE_LISTS } else { 1 }),
        };
        let fits = (held(self.spec, self.params.memory_limit) / (4 * self.base.dim() as u64)).max(nlist);
        self.params.train_size.unwrap_or(usual.min(fits))
    }

    fn train(&mut self) -> Result<(Model, u64)> {
        let (params, metric, d) = (self.params, self.params.metric, self.base.dim());
        let start = Instant::now();
        let whole = self.whole.take();
        let sample = match &whole {
            Some(w) if self.wanted() >= w.rows.n() as u64 => Cow::Borrowed(w.rows.data()),
            Some(w) => {
                let all = Held(w, self.base);
                Cow::Owned(draw(&all, self.wanted(), params.seed, metric, params.on_bad, &crate::Quiet)?.rows.into_data())
            }
            None => {
                let drawn = draw(self.base, self.wanted(), params.seed, metric, params.on_bad, self.watch)?;
                Cow::Owned(drawn.rows.into_data())
            }
        };
        *(if whole.is_some() { &mut self.seconds.encode } else { &mut self.seconds.read }) += start.elapsed().as_secs_f64();
        let start = Instant::now();
        let learned = self.learn(sample, d, whole.as_ref())?;
        self.seconds.train += start.elapsed().as_secs_f64();
        self.whole = whole;
        Ok(learned)
    }

    /// Learns everything from rows as they came, which are let go as soon as they are not needed.
    fn learn(&mut self, sample: Cow<'_, [f32]>, d: usize, whole: Option<&Loaded>) -> Result<(Model, u64)> {
        let refine = Refine::train(self.spec, Vectors::new(&sample, d));
        let unit = unit_length(sample, d, self.params.metric);
        let transform = self.transform(Vectors::new(&unit, d))?;
        let rows = match &transform {
            None => unit,
            Some(map) => transformed(map, unit, d),
        };
        let rows = Vectors::new(&rows, transform.as_ref().map_or(d, |t| t.weight.n()));
        let (partition, mut lists) = self.partition(rows, transform.as_ref(), whole)?;
        let mut model = Model::new(self.spec, transform, partition);
        model.refine = refine;
        // what is stored in a list is what the model puts there, not k-means
        let asked = self.spec.score != Score::Flat || self.spec.router;
        if asked && (lists.is_empty() || matches!(model.partition, Partition::Learned(_))) {
            lists = model.partition.assign(rows);
        }
        if self.spec.router {
            self.begin = Some(begin(&model.partition, rows, &lists));
        }
        if self.spec.score != Score::Flat {
            // the centroids of pairs lie among captions, not among what is stored
            if Codec::uses_centres(self.spec) && !matches!(self.spec.partition, PartitionSpec::KMeans { .. }) {
                model.own_centres = Some(means(rows, &lists, self.spec.nlist()));
            }
            let with = Training {
                lists: &lists,
                centres: model.centres(),
                ip: self.params.metric == Metric::Ip,
                seed: self.params.seed,
                watch: self.watch,
            };
            model.codec = Codec::train(self.spec, rows, &with)?;
        }
        Ok((model, rows.n() as u64))
    }

    fn transform(&self, rows: Vectors<'_>) -> Result<Option<Linear>> {
        let bits = if let Score::Pq { bits, .. } = self.spec.score { bits } else { 8 };
        // inner products do not survive a subtracted mean
        let centre = self.params.metric == Metric::L2;
        match self.spec.transform {
            None => Ok(None),
            Some(TransformSpec::Pca { d }) => pca(rows, d, centre, self.watch).map(Some),
            Some(TransformSpec::Opq { m }) => opq(rows, m, bits, self.params.seed, self.watch).map(Some),
            Some(TransformSpec::Map { .. } | TransformSpec::Unit) => unreachable!("refused before anything is read"),
        }
    }

    /// The partition, and the list of each row where k-means knows it.
    fn partition(
        &mut self,
        rows: Vectors<'_>,
        transform: Option<&Linear>,
        whole: Option<&Loaded>,
    ) -> Result<(Partition, Vec<u32>)> {
        let (params, nlist) = (self.params, self.spec.nlist());
        if let Some(given) = &params.model {
            return Ok((Partition::Learned(given.clone()), vec![]));
        }
        if !self.partitions() {
            return Ok((Partition::One, vec![]));
        }
        if rows.n() < nlist {
            let most = format!("at most as many lists as vectors that can be ranked, {}", rows.n());
            return Err(Error::param("index", self.spec, most));
        }
        // directions are partitioned by directions: on short texts against long ones 1,024 lists then hold 1.1 points more of the
        // true ten at 64 lists, and a tenth fewer vectors are compared
        let unit = params.metric == Metric::Cosine && self.spec.transform.is_none();
        let learned = matches!(self.spec.partition, PartitionSpec::Learned { .. });
        let spherical = params.kmeans.spherical || (unit && !learned);
        let k = KMeansParams { k: nlist, seed: params.seed, spherical, ..params.kmeans.clone() };
        let clusters = kmeans(rows, &k, self.watch)?;
        self.objective = clusters.objective;
        if matches!(self.spec.partition, PartitionSpec::Paired { .. }) {
            return Ok((self.paired(clusters.centroids, transform, whole)?, vec![]));
        }
        let PartitionSpec::Learned { hidden, .. } = &self.spec.partition else {
            return Ok((Partition::KMeans(Centroids::new(clusters.centroids, params.metric)), clusters.assignment));
        };
        let hidden = hidden.clone().unwrap_or_else(|| params.train.hidden.clone());
        let t = TrainParams { hidden, seed: params.seed, train_size: None, ..params.train.clone() };
        let trained = train_mlp(rows, &clusters.assignment, nlist, &t, self.watch)?;
        self.epochs = trained.epochs;
        Ok((Partition::Learned(trained.mlp), clusters.assignment))
    }

    /// Centroids of the images, moved to the captions.
    fn paired(&mut self, start: Matrix, transform: Option<&Linear>, whole: Option<&Loaded>) -> Result<Partition> {
        let params = self.params;
        let drawn = self.captions.take().expect("drawn before");
        let pairs = pairs::load(drawn, self.base, whole, self.spec, params, self.watch)?;
        let captions = pairs::prepared(pairs.captions, params.metric, transform);
        let images = pairs::prepared(pairs.images, params.metric, transform);
        let data = PairedData { captions: captions.view(), images: images.view(), image_of: &pairs.image_of };
        // where directions count and nothing was subtracted from them
        let unit = params.metric != Metric::L2 && transform.is_none();
        let found = paired_kmeans(&data, start, params.paired_niter, unit, self.watch)?;
        self.objective = found.objective;
        self.pairs = Some(pairs.image_of.len() as u64);
        Ok(Partition::KMeans(Centroids::new(found.centroids, params.metric)))
    }

    /// Trains the router, where the spec has one.
    fn route(&mut self, model: &mut Model) -> Result<()> {
        let Some(begin) = self.begin.take() else { return Ok(()) };
        let start = Instant::now();
        let r = route::train(&begin, model, self.base, self.whole.as_ref(), self.params, self.watch)?;
        self.router = Some(RouterReport { trained_on: r.trained_on, epochs: r.epochs, reach: r.reach });
        let stored = std::mem::replace(&mut model.partition, Partition::One);
        model.partition = Partition::Routed(Box::new(Routed { stored, router: r.router }));
        self.seconds.train += start.elapsed().as_secs_f64();
        Ok(())
    }
}

/// The centroids of the lists (means of what a model puts there), and how many rows each has.
fn begin(partition: &Partition, rows: Vectors<'_>, lists: &[u32]) -> route::Begin {
    let centroids = match partition {
        Partition::KMeans(c) => c.matrix().clone(),
        other => means(rows, lists, other.nlist()),
    };
    let mut sizes = vec![0; partition.nlist()];
    lists.iter().for_each(|&l| sizes[l as usize] += 1);
    route::Begin { centroids, sizes }
}

/// Rows at unit length under cosine; those that came are let go where they are not these.
fn unit_length(rows: Cow<'_, [f32]>, d: usize, metric: Metric) -> Cow<'_, [f32]> {
    if metric == Metric::Cosine { Cow::Owned(directed(Vectors::new(&rows, d), metric).into_owned()) } else { rows }
}

/// Rows under a map; those that came are let go.
fn transformed(map: &Linear, rows: Cow<'_, [f32]>, d: usize) -> Cow<'static, [f32]> {
    Cow::Owned(map.apply(Vectors::new(&rows, d)).into_data())
}

/// The mean of the rows of each list; of all rows for a list without any.
fn means(rows: Vectors<'_>, lists: &[u32], nlist: usize) -> Matrix {
    let d = rows.d();
    let (mut sums, mut counts) = (vec![0.0f64; (nlist + 1) * d], vec![0u64; nlist + 1]);
    let mut add = |list: usize, row: &[f32]| {
        counts[list] += 1;
        sums[list * d..(list + 1) * d].iter_mut().zip(row).for_each(|(s, &x)| *s += x as f64);
    };
    rows.iter().zip(lists).for_each(|(row, &list)| add(list as usize, row));
    rows.iter().for_each(|row| add(nlist, row));
    let mut out = Matrix::zeros(nlist, d);
    for list in 0..nlist {
        let from = if counts[list] > 0 { list } else { nlist };
        let (sum, scale) = (&sums[from * d..(from + 1) * d], 1.0 / counts[from].max(1) as f64);
        out.row_mut(list).iter_mut().zip(sum).for_each(|(x, s)| *x = (s * scale) as f32);
    }
    out
}

/// Rows in memory as a source.
pub(super) struct Held<'a>(pub(super) &'a Loaded, pub(super) &'a dyn Source);

impl Source for Held<'_> {
    fn len(&self) -> u64 {
        self.0.rows.n() as u64
    }
    fn dim(&self) -> usize {
        self.0.rows.d()
    }
    fn name(&self) -> String {
        self.1.name()
    }
    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let at = start as usize * self.dim();
        out.copy_from_slice(&self.0.rows.data()[at..at + out.len()]);
        Ok(())
    }
}
