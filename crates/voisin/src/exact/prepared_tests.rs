use super::*;
use crate::{MemSource, Quiet};
use std::path::PathBuf;
use std::sync::Arc;

fn wave(n: usize, d: usize, seed: f32) -> Matrix {
    Matrix::new((0..n * d).map(|i| (i as f32 * 12.9898 + seed).sin() * 43.7).map(|x| x - x.floor() - 0.3).collect(), d)
}

fn bytes(n: usize, d: usize, seed: u32) -> Matrix {
    Matrix::new((0..(n * d) as u32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 24) as f32).collect(), d)
}

struct Case {
    folder: tempfile::TempDir,
    base: MemSource,
    metric: Metric,
}

impl Case {
    fn new(base: Matrix, metric: Metric) -> Case {
        Case { folder: tempfile::tempdir().unwrap(), base: MemSource::new("base", base), metric }
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("base.codes8")
    }

    fn prepare(&self, on_bad: OnBad, memory_limit: Option<u64>) -> Result<Prepared8> {
        prepare(&self.base, &self.path(), &PrepareParams { metric: self.metric, on_bad, memory_limit }, &Quiet)
    }

    fn exact(&self, queries: &Matrix, k: usize, codes: bool) -> Result<ExactResult> {
        let queries = MemSource::new("queries", queries.clone());
        let codes = codes.then(|| self.path());
        let on_bad = OnBad::Skip;
        exact(&self.base, &queries, &ExactParams { k, metric: self.metric, on_bad, codes, ..Default::default() }, &Quiet)
    }
}

#[test]
fn the_codes_change_nothing() {
    for (base, queries) in [
        (wave(20_000, 48, 0.1), wave(130, 48, 7.7)),
        (wave(50, 3, 0.1), wave(9, 3, 7.7)),
        (bytes(9000, 32, 1), bytes(20, 32, 9_999_999)),
        (bytes(9000, 33, 1), wave(20, 33, 3.0)),
        (wave(3000, 700, 0.2), wave(11, 700, 5.0)),
    ] {
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let case = Case::new(base.clone(), metric);
            case.prepare(OnBad::Error, None).unwrap();
            let want = case.exact(&queries, 13, false).unwrap().neighbors;
            assert_eq!(case.exact(&queries, 13, true).unwrap().neighbors, want);
            let prepared = Prepared::open(Arc::new(case.base.clone()), &case.path(), metric).unwrap();
            assert_eq!(prepared.search(queries.view(), 13).unwrap(), want);
            // a query alone, on any number of threads, whether or not they share its work
            for threads in [1, 3] {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                for q in 0..queries.n().min(5) {
                    let one = pool.install(|| prepared.search(queries.view().rows(q..q + 1), 13)).unwrap();
                    assert_eq!((one.ids(0), one.distances(0)), (want.ids(q), want.distances(q)));
                }
            }
        }
    }
}

#[test]
fn many_equal_rows_go_to_the_smaller_ids() {
    let mut base = Matrix::zeros(30_000, 16);
    for i in 0..30_000 {
        base.row_mut(i).fill(if i % 7 == 0 { 0.25 } else { 1.0 + i as f32 });
    }
    let case = Case::new(base, Metric::L2);
    case.prepare(OnBad::Error, None).unwrap();
    let queries = Matrix::new(vec![0.25; 3 * 16], 16);
    let found = case.exact(&queries, 20, true).unwrap().neighbors;
    assert_eq!(found.ids(2), (0..20).map(|i| 7 * i).collect::<Vec<u64>>());
    assert_eq!(found, case.exact(&queries, 20, false).unwrap().neighbors);
}

#[test]
fn bad_rows_are_left_out_or_refused() {
    for extreme in [false, true] {
        let mut base = wave(9000, 24, 0.1);
        base.row_mut(17)[3] = f32::NAN;
        base.row_mut(8000)[0] = f32::INFINITY;
        base.row_mut(50).fill(0.0);
        if extreme {
            base.row_mut(16)[1] = 1e30;
        }
        let mut queries = wave(12, 24, 2.0);
        queries.row_mut(4)[2] = f32::NAN;
        let case = Case::new(base, Metric::Cosine);
        assert_eq!(case.prepare(OnBad::Error, None).unwrap_err().to_string(), "base, row 17: a value is NaN");
        assert!(!case.path().exists() && case.folder.path().read_dir().unwrap().next().is_none());
        assert_eq!(case.prepare(OnBad::Skip, None).unwrap().skipped, 3);
        let with = case.exact(&queries, 8990, true).unwrap();
        assert_eq!((with.skipped_base, with.skipped_queries), (3, 1));
        assert_eq!(with.neighbors, case.exact(&queries, 8990, false).unwrap().neighbors);
        let params = ExactParams { metric: Metric::Cosine, codes: Some(case.path()), ..Default::default() };
        let queries = MemSource::new("queries", wave(2, 24, 2.0));
        let refused = exact(&case.base, &queries, &params, &Quiet).unwrap_err().to_string();
        assert_eq!(refused, "base, row 17: a value is NaN");
    }
}

#[test]
fn a_set_can_leave_itself_out() {
    let case = Case::new(wave(700, 12, 0.4), Metric::L2);
    case.prepare(OnBad::Error, None).unwrap();
    let mut params = ExactParams { k: 3, exclude_self: true, ..Default::default() };
    let want = exact(&case.base, &case.base, &params, &Quiet).unwrap().neighbors;
    params.codes = Some(case.path());
    assert_eq!(exact(&case.base, &case.base, &params, &Quiet).unwrap().neighbors, want);
}

#[test]
fn other_codes_are_refused() {
    let case = Case::new(wave(5000, 20, 0.1), Metric::L2);
    case.prepare(OnBad::Error, None).unwrap();
    let open = |base: Matrix, metric| {
        let error = Prepared::open(Arc::new(MemSource::new("other", base)), &case.path(), metric).unwrap_err().to_string();
        assert!(error.contains("base.codes8: ") && error.ends_with("prepare the codes anew, or remove the file"), "{error}");
        error
    };
    assert!(open(wave(5001, 20, 0.1), Metric::L2).contains("stale codes: of 5000 x 20 values where other has 5001 x 20"));
    assert!(open(wave(5000, 20, 0.2), Metric::L2).contains("stale codes: other has changed since they were made"));
    assert!(open(wave(5000, 20, 0.1), Metric::Ip).contains("codes for l2 where ip is asked for"));
    assert_eq!(codes_info(&case.path()).unwrap(), CodesInfo { n: 5000, d: 20, metric: Metric::L2, skipped: 0 });
}

#[test]
fn every_damage_is_seen() {
    let case = Case::new(wave(9000, 20, 0.1), Metric::L2);
    case.prepare(OnBad::Error, None).unwrap();
    let whole = std::fs::read(case.path()).unwrap();
    let queries = wave(2, 20, 1.0);
    let says = |bytes: &[u8]| {
        std::fs::write(case.path(), bytes).unwrap();
        let error = case.exact(&queries, 5, true).expect_err("damage is seen");
        assert!(error.to_string().contains("base.codes8"), "{error}");
        error.to_string()
    };
    for len in [0, 7, 127, 128, 129, 5000, whole.len() - 1] {
        says(&whole[..len]);
    }
    says(&[&whole[..], &[0]].concat());
    for at in (0..128).chain((128..whole.len()).step_by(whole.len() / 97)).chain(whole.len() - 48..whole.len()) {
        let mut bytes = whole.clone();
        bytes[at] ^= 4;
        let error = says(&bytes);
        if (128..whole.len() - 48).contains(&at) {
            assert!(error.contains("damaged: the codes of rows "), "{error}");
        }
    }
    std::fs::write(case.path(), &whole).unwrap();
    assert!(case.exact(&queries, 5, true).is_ok());
}

#[test]
fn memory_and_threads_do_not_change_the_file() {
    let case = Case::new(wave(60_000, 64, 0.1), Metric::Cosine);
    case.prepare(OnBad::Error, None).unwrap();
    let whole = std::fs::read(case.path()).unwrap();
    let resident = crate::watch::resident_bytes().unwrap_or(1 << 30);
    let pool = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
    pool.install(|| case.prepare(OnBad::Error, Some(resident + (24 << 20)))).unwrap();
    assert!(std::fs::read(case.path()).unwrap() == whole);
    assert!(matches!(case.prepare(OnBad::Error, Some(1000)), Err(Error::Memory { .. })));
    assert!(std::fs::read(case.path()).unwrap() == whole, "what was there is still there");
    // too little memory to map: chunks are read
    let queries = MemSource::new("queries", wave(200, 64, 5.0));
    let mut params = ExactParams { metric: Metric::Cosine, ..Default::default() };
    let want = exact(&case.base, &queries, &params, &Quiet).unwrap().neighbors;
    params.codes = Some(case.path());
    let file = CodesFile::open(&case.path(), 0).unwrap();
    assert!(file.buffer() > 0);
    let mut rows = Matrix::zeros(200, 64);
    queries.read(0, rows.data_mut()).unwrap();
    let prepared = Queries::new(rows.view(), Metric::Cosine);
    let bad_queries = [false; 200];
    let job =
        prepared::Job { file: &file, base: &case.base, queries: &prepared, bad_queries: &bad_queries, k: params.k, own: None };
    let mut found = ExactResult { neighbors: Neighbors::new(params.k), ..Default::default() };
    report(job.search(&Quiet).unwrap(), &params, &mut found.neighbors);
    assert_eq!(found.neighbors, want);
}
