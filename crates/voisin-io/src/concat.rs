//! Many files as one dataset.

use std::sync::{Arc, Mutex};

use voisin::{Error, Metric, Result, Source, StringIds};

use crate::file::fingerprint;
use crate::open::open_spec;
use crate::paths::FileSpec;
use crate::{Role, spec_name};

/// Files kept open at once; a descriptor limit of 1,024 is common, thousands of shards are too.
const OPEN: usize = 64;

/// A file of the dataset; `start` is its first row in the whole.
struct Part {
    spec: FileSpec,
    start: u64,
    n: u64,
}

/// Rows of several files, one after the other.
pub(crate) struct Concat {
    parts: Vec<Part>,
    role: Role,
    d: usize,
    n: u64,
    metric: Option<Metric>,
    made_by: Option<String>,
    fingerprint: u64,
    /// Files kept open.
    most: usize,
    /// Most recently used last.
    open: Mutex<Vec<(usize, Arc<dyn Source>)>>,
}

impl Concat {
    /// Opens every file once for its shape; all must have the dimension of the first.
    pub(crate) fn new(specs: Vec<FileSpec>, role: Role) -> Result<Concat> {
        let mut parts: Vec<Part> = Vec::with_capacity(specs.len());
        let mut open: Vec<(usize, Arc<dyn Source>)> = Vec::new();
        let (mut n, mut d, mut metric, mut made_by, mut prints) = (0u64, 0, None, None::<String>, Vec::new());
        for (i, spec) in specs.into_iter().enumerate() {
            let source: Arc<dyn Source> = open_spec(&spec, role)?.into();
            if i == 0 {
                (d, metric) = (source.dim(), source.metric());
            } else if source.dim() != d {
                let context = format!("as in {}", name_of(&parts[0].spec));
                return Err(Error::Dimension { name: source.name(), expected: d, got: source.dim(), context });
            }
            made_by = match (made_by, source.made_by()) {
                (Some(one), Some(other)) if one != other => {
                    let what = format!("vectors made by `{other}`, those of {} by `{one}`", name_of(&parts[0].spec));
                    return Err(Error::format(&spec.path, what));
                }
                (one, other) => one.or(other),
            };
            metric = metric.filter(|_| source.metric() == metric);
            prints.push(source.fingerprint().to_le_bytes());
            parts.push(Part { spec, start: n, n: source.len() });
            n = n.checked_add(source.len()).ok_or_else(|| Error::format(source.name(), "more rows than can be counted"))?;
            if open.len() < OPEN {
                open.push((i, source));
            }
        }
        Ok(Concat { parts, role, d, n, metric, made_by, fingerprint: fingerprint(prints), most: OPEN, open: Mutex::new(open) })
    }

    /// Keeps fewer files open: for datasets that are read from front to back.
    pub(crate) fn keep_open(mut self, most: usize) -> Concat {
        self.most = most.max(1);
        self.open.get_mut().unwrap_or_else(|e| e.into_inner()).truncate(self.most);
        self
    }

    /// The file of a row.
    fn part_of(&self, row: u64) -> usize {
        self.parts.partition_point(|p| p.start + p.n <= row).min(self.parts.len() - 1)
    }

    /// Part `i`, opened again if it was closed in between.
    fn part(&self, i: usize) -> Result<Arc<dyn Source>> {
        {
            let mut open = self.open.lock().unwrap_or_else(|e| e.into_inner());
            if let Some(at) = open.iter().position(|o| o.0 == i) {
                let hit = open.remove(at);
                open.push(hit.clone());
                return Ok(hit.1);
            }
        }
        let p = &self.parts[i];
        let source: Arc<dyn Source> = open_spec(&p.spec, self.role)?.into();
        if (source.len(), source.dim()) != (p.n, self.d) {
            return Err(Error::format(&p.spec.path, "the file changed while it was being read"));
        }
        let mut open = self.open.lock().unwrap_or_else(|e| e.into_inner());
        if open.len() >= self.most {
            open.remove(0);
        }
        open.push((i, source.clone()));
        Ok(source)
    }
}

fn name_of(spec: &FileSpec) -> String {
    spec_name(&spec.path, spec.dataset.as_deref().unwrap_or_default())
}

impl Source for Concat {
    fn len(&self) -> u64 {
        self.n
    }

    fn dim(&self) -> usize {
        self.d
    }

    fn name(&self) -> String {
        let (first, last) = (&self.parts[0].spec, &self.parts[self.parts.len() - 1].spec);
        format!("{} files, {} to {}", self.parts.len(), name_of(first), name_of(last))
    }

    fn read(&self, start: u64, out: &mut [f32]) -> Result<()> {
        let (mut row, mut out) = (start, out);
        while !out.is_empty() {
            let i = self.part_of(row);
            let p = &self.parts[i];
            let inside = row - p.start;
            let many = (p.n - inside).min((out.len() / self.d) as u64);
            let (now, rest) = out.split_at_mut(many as usize * self.d);
            self.part(i)?.read(inside, now)?;
            (row, out) = (row + many, rest);
        }
        Ok(())
    }

    fn locate(&self, row: u64) -> (String, u64) {
        let i = self.part_of(row);
        let inside = row - self.parts[i].start;
        match self.part(i) {
            Ok(source) => source.locate(inside),
            Err(_) => (name_of(&self.parts[i].spec), inside),
        }
    }

    fn ids(&self) -> Result<Option<StringIds>> {
        let mut all = StringIds::default();
        Ok(self.scan_ids(&mut |_, id| all.push(id))?.then_some(all))
    }

    fn scan_ids(&self, visit: &mut dyn FnMut(u64, &str)) -> Result<bool> {
        let (mut has, mut lacks) = (None, None);
        for (i, p) in self.parts.iter().enumerate().filter(|(_, p)| p.n > 0) {
            let part = self.part(i)?;
            match part.scan_ids(&mut |row, id| visit(p.start + row, id))? {
                true => has.get_or_insert(p),
                false => lacks.get_or_insert(p),
            };
            if let (Some(has), Some(lacks)) = (has, lacks) {
                let what = format!("it has no string ids, but {} has", name_of(&has.spec));
                return Err(Error::format(&lacks.spec.path, what));
            }
        }
        Ok(has.is_some())
    }

    fn metric(&self) -> Option<Metric> {
        self.metric
    }

    fn made_by(&self) -> Option<String> {
        self.made_by.clone()
    }

    fn fingerprint(&self) -> u64 {
        self.fingerprint
    }

    fn seeks(&self) -> bool {
        self.part(0).is_ok_and(|p| p.seeks())
    }

    fn overhead(&self, rows: usize) -> u64 {
        self.part(0).map_or(0, |p| p.overhead(rows))
    }
}
