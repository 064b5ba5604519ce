//! The plan: which rows of which files go to which part, and how all of them are built.

use super::super::build::{Size, check, choose};
use super::super::manifest::{FORMAT, IdKind, seal, seal_of, unseal};
use super::super::params::BuildParams;
use super::super::{disk, store};
use crate::{Error, PartitionSpec, Result, Spec};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::ops::Range;
use std::path::{Path, PathBuf};

/// Folder of the receipts in that of the index.
pub(in crate::index) const JOB: &str = "job";
/// Version of plans.
const PLAN: u32 = 1;
/// Most rows that a plan may count: ids end at 2^63.
const MOST_ROWS: u64 = 1 << 62;

/// A file of a plan.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// Its name, as [`super::Inputs`] knows it.
    pub file: String,
    /// Its rows.
    pub rows: u64,
    /// Type of its values, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dtype: Option<String>,
    /// SHA-256 of its bytes as 64 hexadecimal digits, where it is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sha256: Option<String>,
    /// What was wrong with it when the plan was made. Without rows it is left out for good.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// Whether it was there when the plan was made.
    #[serde(default, skip_serializing_if = "is_false")]
    pub present: bool,
}

fn is_false(x: &bool) -> bool {
    !x
}

/// An input that an index was built without.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Missing {
    /// Its name.
    pub file: String,
    /// Rows it should have had; 0 where nobody knows.
    pub rows: u64,
    /// What was wrong with it.
    pub what: String,
}

/// How a build in parts is planned.
#[derive(Clone, Debug, Default)]
pub struct PlanParams {
    /// What is built, as for a build on one machine. `model`, `ids` and `queries` are not kept.
    pub build: BuildParams,
    /// Number of parts.
    pub parts: usize,
    /// Dimensions.
    pub d: usize,
    /// Whether the files have string ids.
    pub strings: bool,
    /// Files to train on; none: all inputs, or those that are present where some are not.
    pub train: Vec<Input>,
    /// Leave out files that are missing or short, instead of refusing.
    pub allow_missing: bool,
    /// The folder of the index, from the folder of the plan; `None`: the name of the plan without its ending (`.index` added
    /// where it has none).
    pub dir: Option<String>,
    /// Other files that parameters are read from when they are needed, by parameter (`model`).
    pub files: BTreeMap<String, Vec<String>>,
}

/// A build in parts. It never changes: its digest is in every receipt.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    plan: u32,
    /// Format of the index.
    format: u32,
    /// The version of the library that made it.
    version: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    dir: Option<String>,
    /// Rows, those of missing files included where they are known: ids count from 0 to n.
    n: u64,
    d: usize,
    ids: IdKind,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    allow_missing: bool,
    build: BuildParams,
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    files: BTreeMap<String, Vec<String>>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    train: Vec<Input>,
    /// First row and end of each part.
    parts: Vec<[u64; 2]>,
    inputs: Vec<Input>,
    #[serde(default, skip_serializing)]
    #[allow(dead_code, reason = "written by the seal")]
    checksum: Option<String>,
    #[serde(skip)]
    digest: u64,
    #[serde(skip)]
    path: PathBuf,
}

impl Plan {
    /// Plans a build of the rows of all inputs, one file after the other.
    ///
    /// Parts are runs of rows of about the same number; where there are files enough, no file lies in two of them.
    ///
    /// # Errors
    /// Missing or short files without `allow_missing`; no rows, more parts than rows, a spec that does not fit.
    pub fn new(inputs: Vec<Input>, params: PlanParams) -> Result<Plan> {
        let mut build = params.build;
        let n = rows_of(&inputs)?;
        problems(&inputs, params.allow_missing)?;
        let size = Size { n, d: params.d, name: "the inputs", layer: None };
        let (spec, reason) = choose(&size, &build)?;
        check(&size, &spec, &build)?;
        for (needs, file) in [(matches!(spec.partition, PartitionSpec::Paired { .. }), "captions"), (spec.router, "queries")] {
            if needs && build.like.is_none() && !params.files.contains_key(file) {
                return Err(Error::param("index", &spec, format!("{file} (--{file} FILE), on which it is trained")));
            }
        }
        store::check_segment_rows(build.segment_rows)?;
        if params.parts == 0 || params.parts as u64 > n {
            return Err(Error::param("parts", params.parts, format!("1 to the number of rows, {n}")));
        }
        build.spec = Some(spec);
        let train = if build.like.is_some() { vec![] } else { training(&inputs, params.train)? };
        let plan = Plan {
            plan: PLAN,
            format: FORMAT,
            version: env!("CARGO_PKG_VERSION").into(),
            dir: params.dir,
            n,
            d: params.d,
            ids: if params.strings { IdKind::Strings } else { IdKind::Numbers },
            reason,
            allow_missing: params.allow_missing,
            build,
            files: params.files,
            train,
            parts: cut(&inputs, n, params.parts),
            inputs,
            checksum: None,
            digest: 0,
            path: PathBuf::new(),
        };
        plan.check().map_err(|what| Error::param("plan", what, "a plan that can be carried out"))?;
        Ok(plan)
    }

    /// Writes it. A plan that is there already is only accepted if it is the same.
    ///
    /// # Errors
    /// Another plan, or another file, under that name; what writing gives.
    pub fn save(&mut self, path: &Path) -> Result<()> {
        let bytes = seal(self);
        self.digest = seal_of(&bytes).expect("just sealed");
        self.path = path.to_owned();
        match std::fs::read(path) {
            Ok(found) if found == bytes => return Ok(()),
            Ok(_) => {
                let what = "is there already and is another plan; a plan never changes: give this one another name";
                return Err(Error::format(path, what));
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {}
            Err(e) => return Err(Error::io(path, e)),
        }
        disk::write_file(path, &bytes)
    }

    /// Reads a plan and checks it.
    ///
    /// # Errors
    /// No plan, a damaged or a changed one, one of a newer version.
    pub fn load(path: &Path) -> Result<Plan> {
        #[derive(Deserialize)]
        struct Version {
            plan: u32,
            format: u32,
        }
        let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
        let Ok(v) = serde_json::from_slice::<Version>(&bytes) else {
            return Err(Error::format(path, "no plan of a build in parts (`voisin job plan` makes one)"));
        };
        if v.plan > PLAN || v.format > FORMAT {
            return Err(Error::NewerFormat { path: path.to_owned(), found: v.format.max(v.plan), supported: FORMAT });
        }
        if v.format < FORMAT {
            return Err(Error::format(path, format!("a plan for indexes of format {}; plan again", v.format)));
        }
        let damaged = |what: String| Error::corrupt(path, format!("{what}; a plan never changes"));
        let mut plan: Plan = unseal(&bytes).map_err(damaged)?;
        plan.check().map_err(damaged)?;
        plan.digest = seal_of(&bytes).ok_or_else(|| damaged("it does not end with its checksum".into()))?;
        plan.path = path.to_owned();
        Ok(plan)
    }

    fn check(&self) -> Result<(), String> {
        if self.build.spec.is_none() || self.d == 0 || self.d > 1 << 24 {
            return Err(format!("{} dimensions", self.d));
        }
        if rows_of(&self.inputs).map_err(|e| e.to_string())? != self.n {
            return Err("its inputs have other rows than it says".into());
        }
        let mut end = 0;
        for (p, &[first, last]) in self.parts.iter().enumerate() {
            if first != end || last <= first {
                return Err(format!("part {p} does not follow the one before it"));
            }
            end = last;
        }
        if end != self.n {
            return Err("its parts are not all rows".into());
        }
        Ok(())
    }

    /// Number of parts.
    pub fn parts(&self) -> usize {
        self.parts.len()
    }

    /// Rows of all inputs.
    pub fn len(&self) -> u64 {
        self.n
    }

    /// Whether it has no rows; never, for a plan that was made here.
    pub fn is_empty(&self) -> bool {
        self.n == 0
    }

    /// Dimensions.
    pub fn dim(&self) -> usize {
        self.d
    }

    /// What is built.
    pub fn spec(&self) -> &Spec {
        self.build.spec.as_ref().expect("checked when it was made and when it was read")
    }

    /// Why, where the plan chose the spec.
    pub fn reason(&self) -> Option<&str> {
        self.reason.as_deref()
    }

    /// How, without what is data.
    pub fn params(&self) -> &BuildParams {
        &self.build
    }

    /// All inputs in the order of their rows.
    pub fn inputs(&self) -> &[Input] {
        &self.inputs
    }

    /// The files that a parameter is read from.
    pub fn files(&self, parameter: &str) -> &[String] {
        self.files.get(parameter).map_or(&[], Vec::as_slice)
    }

    /// Digest of the plan, of which there is one for each plan.
    pub fn digest(&self) -> u64 {
        self.digest
    }

    /// The folder of the index that it names.
    pub fn dir(&self) -> PathBuf {
        let beside = self.path.parent().unwrap_or(Path::new(""));
        match &self.dir {
            Some(dir) => beside.join(dir),
            None if self.path.extension().is_some() => self.path.with_extension(""),
            None => self.path.with_extension("index"),
        }
    }

    /// Whether files that are missing or short are left out.
    pub fn allows_missing(&self) -> bool {
        self.allow_missing
    }

    /// First row and end of a part.
    ///
    /// # Errors
    /// A part that it does not have.
    pub fn rows_of_part(&self, part: usize) -> Result<Range<u64>> {
        let wrong = || Error::param("part", part, format!("0 to {}: parts count from 0", self.parts.len() - 1));
        self.parts.get(part).map(|p| p[0]..p[1]).ok_or_else(wrong)
    }

    /// The inputs that a part reads.
    ///
    /// # Errors
    /// A part that it does not have.
    pub fn inputs_of_part(&self, part: usize) -> Result<Vec<&Input>> {
        Ok(pieces(&self.inputs, self.rows_of_part(part)?).iter().map(|p| &self.inputs[p.input]).collect())
    }

    /// The parts that read a file.
    pub fn parts_of_input(&self, file: &str) -> Vec<usize> {
        let mut first = 0;
        for i in &self.inputs {
            let end = first + i.rows;
            if i.file == file {
                let part = |row: u64| self.parts.partition_point(|p| p[1] <= row);
                return if first == end { vec![] } else { (part(first)..=part(end - 1)).collect() };
            }
            first = end;
        }
        vec![]
    }

    /// What it trains on; nothing where it takes the model of another index.
    pub fn training(&self) -> &[Input] {
        match &self.train[..] {
            _ if self.build.like.is_some() => &[],
            [] => &self.inputs,
            some => some,
        }
    }

    /// The number of the first row.
    pub(super) fn first_id(&self) -> u64 {
        self.build.first_id
    }

    pub(super) fn ids(&self) -> IdKind {
        self.ids
    }
}

fn rows_of(inputs: &[Input]) -> Result<u64> {
    let sum = inputs.iter().try_fold(0u64, |sum, i| sum.checked_add(i.rows).filter(|s| *s < MOST_ROWS));
    sum.ok_or_else(|| Error::param("inputs", "more than 2^62 rows", "fewer"))
}

/// Refuses inputs that are known to be wrong, naming the first few, and those that stand twice.
fn problems(inputs: &[Input], allowed: bool) -> Result<()> {
    let mut seen = HashMap::with_capacity(inputs.len());
    for i in inputs {
        if seen.insert(&i.file, ()).is_some() {
            return Err(Error::format(&i.file, "stands twice among the inputs"));
        }
    }
    let wrong: Vec<&Input> = inputs.iter().filter(|i| i.problem.is_some()).collect();
    match wrong.first() {
        Some(first) if !allowed => {
            let more = if wrong.len() > 1 { format!(" (and {} more)", wrong.len() - 1) } else { String::new() };
            let what = first.problem.clone().unwrap_or_default();
            Err(Error::format(&first.file, format!("{what}{more}; --allow-missing leaves such files out and lists them")))
        }
        _ => Ok(()),
    }
}

/// Files to train on: empty for all inputs.
fn training(inputs: &[Input], asked: Vec<Input>) -> Result<Vec<Input>> {
    if !asked.is_empty() {
        return Ok(asked);
    }
    let fit: Vec<&Input> = inputs.iter().filter(|i| i.present && i.problem.is_none() && i.rows > 0).collect();
    if fit.is_empty() {
        return Err(Error::param("train", "nothing", "files to train on, as none of the inputs is there yet (--train FILE)"));
    }
    let all = inputs.iter().filter(|i| i.rows > 0).count();
    Ok(if fit.len() == all { vec![] } else { fit.into_iter().cloned().collect() })
}

/// Rows of a file that belong to a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Piece {
    /// Number of the file.
    pub(super) input: usize,
    /// First row in the file.
    pub(super) skip: u64,
    pub(super) rows: u64,
    /// First row among those of all inputs.
    pub(super) global: u64,
}

/// The pieces of files that make up a range of all rows.
pub(super) fn pieces(inputs: &[Input], range: Range<u64>) -> Vec<Piece> {
    let (mut out, mut first) = (Vec::new(), 0);
    for (input, i) in inputs.iter().enumerate() {
        let end = first + i.rows;
        let (from, to) = (first.max(range.start), end.min(range.end));
        if from < to {
            out.push(Piece { input, skip: from - first, rows: to - from, global: from });
        }
        first = end;
    }
    out
}

/// Cuts n rows into parts of about the same size, between files where there are at least as many as parts.
fn cut(inputs: &[Input], n: u64, parts: usize) -> Vec<[u64; 2]> {
    let mut ends: Vec<u64> = Vec::new(); // of files
    for i in inputs.iter().filter(|i| i.rows > 0) {
        ends.push(ends.last().unwrap_or(&0) + i.rows);
    }
    let even = |p: usize| (n as u128 * p as u128 / parts as u128) as u64;
    let mut cuts = vec![0];
    if ends.len() < parts {
        cuts.extend((1..=parts).map(even));
    } else {
        let mut at = 0; // files before the last cut
        for p in 1..parts {
            // every part takes a file, and leaves one for each part after it
            let (least, most) = (at + 1, ends.len() - (parts - p));
            let near = ends.partition_point(|&e| e < even(p));
            let before = near > 0 && near < ends.len() && even(p) - ends[near - 1] < ends[near] - even(p);
            at = (if before { near } else { near + 1 }).clamp(least, most);
            cuts.push(ends[at - 1]);
        }
        cuts.push(n);
    }
    cuts.windows(2).map(|w| [w[0], w[1]]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(rows: &[u64]) -> Vec<Input> {
        let file = |(i, &rows): (usize, &u64)| Input { file: format!("f{i}"), rows, present: true, ..Input::default() };
        rows.iter().enumerate().map(file).collect()
    }

    fn params(parts: usize) -> PlanParams {
        let build = BuildParams { spec: Some(Spec::flat()), ..BuildParams::default() };
        PlanParams { parts, d: 4, build, ..PlanParams::default() }
    }

    #[test]
    fn parts_end_with_files_where_there_are_enough() {
        let cuts = |rows: &[u64], parts| cut(&files(rows), rows.iter().sum(), parts);
        assert_eq!(cuts(&[10; 6], 3), [[0, 20], [20, 40], [40, 60]]);
        assert_eq!(cuts(&[10, 0, 10, 10], 2), [[0, 20], [20, 30]]);
        assert_eq!(cuts(&[1, 1, 98], 3), [[0, 1], [1, 2], [2, 100]]);
        assert_eq!(cuts(&[98, 1, 1], 3), [[0, 98], [98, 99], [99, 100]]);
        assert_eq!(cuts(&[7], 3), [[0, 2], [2, 4], [4, 7]]);
        assert_eq!(cuts(&[5, 5], 1), [[0, 10]]);
        for parts in 1..=7 {
            let all = cuts(&[3, 1, 4, 1, 5, 9, 2], parts);
            assert!(all.len() == parts && all.iter().all(|p| p[0] < p[1]), "{all:?}");
        }
    }

    #[test]
    fn pieces_are_the_rows_of_a_range() {
        let found = pieces(&files(&[4, 0, 6, 5]), 2..12);
        let piece = |input, skip, rows, global| Piece { input, skip, rows, global };
        assert_eq!(found, [piece(0, 2, 2, 2), piece(2, 0, 6, 4), piece(3, 0, 2, 10)]);
    }

    #[test]
    fn a_plan_never_changes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("p.json");
        let mut plan = Plan::new(files(&[10, 20]), params(2)).unwrap();
        plan.save(&path).unwrap();
        let loaded = Plan::load(&path).unwrap();
        assert_eq!((loaded.digest(), loaded.dir()), (plan.digest(), dir.path().join("p")));
        let three = Plan::new(files(&[10, 20]), params(3)).unwrap();
        assert_eq!(
            [three.parts_of_input("f0"), three.parts_of_input("f1"), three.parts_of_input("x")],
            [vec![0], vec![1, 2], vec![]]
        );
        plan.save(&path).unwrap();
        let e = Plan::new(files(&[10, 21]), params(2)).unwrap().save(&path).unwrap_err();
        assert!(e.to_string().contains("another plan"), "{e}");
        let text = std::fs::read_to_string(&path).unwrap();
        for (from, to) in [("\"rows\": 20", "\"rows\": 21"), ("\"seed\": 0", "\"seed\": 1"), ("checksum", "checksun")] {
            assert!(text.contains(from));
            std::fs::write(&path, text.replacen(from, to, 1)).unwrap();
            assert!(Plan::load(&path).is_err(), "{from}");
        }
        std::fs::write(&path, "{}").unwrap();
        assert!(Plan::load(&path).unwrap_err().to_string().contains("no plan"));
    }

    #[test]
    fn what_cannot_be_built_is_refused() {
        let mut short = files(&[10, 20]);
        short[1].problem = Some("19 rows where the list says 20".into());
        let e = Plan::new(short.clone(), params(2)).unwrap_err().to_string();
        assert!(e.contains("f1") && e.contains("--allow-missing"), "{e}");
        assert!(Plan::new(short, PlanParams { allow_missing: true, ..params(2) }).is_ok());
        for bad in [params(0), params(31), PlanParams { d: 0, ..params(1) }] {
            assert!(Plan::new(files(&[10, 20]), bad).is_err());
        }
        let absent: Vec<Input> = files(&[10]).into_iter().map(|i| Input { present: false, ..i }).collect();
        assert!(Plan::new(absent, params(1)).unwrap_err().to_string().contains("--train"));
        assert!(Plan::new([files(&[1]), files(&[1])].concat(), params(1)).unwrap_err().to_string().contains("twice"));
    }
}
