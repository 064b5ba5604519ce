use super::*;
use crate::{MemSource, Quiet};
use proptest::prelude::*;

/// The definition, in plain f64.
fn naive(base: Vectors<'_>, queries: Vectors<'_>, k: usize, metric: Metric) -> Vec<Vec<u64>> {
    let f = |q: &[f32], x: &[f32]| {
        let ip = |a: &[f32], b: &[f32]| a.iter().zip(b).map(|(&a, &b)| a as f64 * b as f64).sum::<f64>();
        match metric {
            Metric::L2 => q.iter().zip(x).map(|(&a, &b)| (a as f64 - b as f64).powi(2)).sum(),
            Metric::Ip => -ip(q, x),
            Metric::Cosine => 1.0 - ip(q, x) / (ip(q, q).sqrt() * ip(x, x).sqrt()),
        }
    };
    queries
        .iter()
        .map(|q| {
            let mut all: Vec<(f64, u64)> = base.iter().enumerate().map(|(i, x)| (f(q, x), i as u64)).collect();
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.truncate(k);
            all.into_iter().map(|e| e.1).collect()
        })
        .collect()
}

fn wave(n: usize, d: usize, seed: f32) -> Matrix {
    Matrix::new((0..n * d).map(|i| (i as f32 * 12.9898 + seed).sin() * 43.7).map(|x| x - x.floor() - 0.3).collect(), d)
}

fn with(base: &Matrix, queries: &Matrix, params: &ExactParams) -> Result<ExactResult> {
    exact(&MemSource::new("base", base.clone()), &MemSource::new("queries", queries.clone()), params, &Quiet)
}

#[test]
fn equals_plain_f64_for_every_metric_and_pass() {
    for (n, nq, d) in [(3000, 100, 48), (2500, 5, 33), (70, 9, 3), (1, 1, 1), (5000, 60, 200)] {
        let (base, queries) = (wave(n, d, 0.1), wave(nq, d, 7.7));
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let k = n.min(13);
            let want = naive(base.view(), queries.view(), k, metric);
            let got = with(&base, &queries, &ExactParams { k, metric, ..Default::default() }).unwrap().neighbors;
            let memory = exact_in_memory(base.view(), queries.view(), k, metric).unwrap();
            assert_eq!(got, memory);
            for (q, want) in want.iter().enumerate() {
                assert_eq!(got.ids(q), want, "{metric} n={n} nq={nq} d={d} query {q}");
            }
        }
    }
}

#[test]
fn near_ties_are_settled_in_f64_and_equal_distances_go_to_the_smaller_id() {
    // rows that differ by one ulp of f32, far from the origin, and many exact copies
    let d = 24;
    let mut base = Matrix::zeros(600, d);
    for i in 0..600 {
        base.row_mut(i).fill(1000.0);
        let ulp = f32::from_bits(1000f32.to_bits() + (i % 7) as u32);
        base.row_mut(i)[i % d] = ulp;
    }
    let queries = Matrix::new(vec![1000.0; 20 * d], d);
    for metric in [Metric::L2, Metric::Ip] {
        let want = naive(base.view(), queries.view(), 50, metric);
        let got = exact_in_memory(base.view(), queries.view(), 50, metric).unwrap();
        (0..20).for_each(|q| assert_eq!(got.ids(q), want[q], "{metric}"));
    }
}

#[test]
fn very_large_and_very_small_values_are_ranked() {
    for size in [1e-30f32, 1e-22, 1e18, 1e30] {
        let (mut base, mut queries) = (wave(300, 8, 0.5), wave(20, 8, 3.0));
        base.data_mut().iter_mut().for_each(|x| *x *= size);
        queries.data_mut().iter_mut().for_each(|x| *x *= size);
        for metric in [Metric::L2, Metric::Ip, Metric::Cosine] {
            let want = naive(base.view(), queries.view(), 5, metric);
            let got = exact_in_memory(base.view(), queries.view(), 5, metric).unwrap();
            (0..20).for_each(|q| assert_eq!(got.ids(q), want[q], "{metric} at {size:e}"));
        }
    }
}

#[test]
fn bytes_take_the_pass_without_error() {
    let bytes = |n: usize, seed: u32| {
        Matrix::new((0..n as u32 * 32).map(|i| ((i + seed).wrapping_mul(2_654_435_761) >> 24) as f32).collect(), 32)
    };
    let (base, queries) = (bytes(4000, 1), bytes(60, 9_999_999));
    let want = naive(base.view(), queries.view(), 20, Metric::L2);
    let got = exact_in_memory(base.view(), queries.view(), 20, Metric::L2).unwrap();
    (0..60).for_each(|q| assert_eq!(got.ids(q), want[q]));
}

#[test]
fn bad_rows_are_refused_or_left_out() {
    let (mut base, mut queries) = (wave(200, 16, 0.1), wave(12, 16, 2.0));
    base.row_mut(17)[3] = f32::NAN;
    base.row_mut(40)[0] = f32::INFINITY;
    base.row_mut(50).fill(0.0);
    let params = ExactParams { k: 190, metric: Metric::Cosine, ..Default::default() };
    let error = with(&base, &queries, &params).unwrap_err().to_string();
    assert_eq!(error, "base, row 17: a value is NaN");
    queries.row_mut(4)[2] = f32::NAN;
    let out = with(&base, &queries, &ExactParams { on_bad: OnBad::Skip, ..params }).unwrap();
    assert_eq!((out.skipped_base, out.skipped_queries), (3, 1));
    assert!(out.neighbors.ids(4).is_empty());
    assert!([17, 40, 50].iter().all(|i| !out.neighbors.ids(0).contains(i)) && out.neighbors.ids(0).len() == 190);
}

#[test]
fn a_set_searched_in_itself_can_leave_itself_out() {
    let base = wave(500, 12, 0.4);
    let out = with(&base, &base, &ExactParams { k: 3, exclude_self: true, ..Default::default() }).unwrap();
    let all = with(&base, &base, &ExactParams { k: 4, ..Default::default() }).unwrap();
    for q in 0..500 {
        assert_eq!(all.neighbors.ids(q)[0], q as u64);
        assert_eq!(out.neighbors.ids(q), &all.neighbors.ids(q)[1..]);
    }
}

#[test]
fn wrong_calls_are_errors() {
    let (base, queries) = (wave(5, 4, 0.0), wave(2, 4, 1.0));
    let says = |k, q: &Matrix| with(&base, q, &ExactParams { k, ..Default::default() }).unwrap_err().to_string();
    assert_eq!(says(0, &queries), "k = 0: at least 1");
    assert_eq!(says(6, &queries), "k = 6: at most the 5 vectors of base");
    assert_eq!(says(1, &wave(2, 3, 0.0)), "queries: vectors of 3 dimensions where 4 are expected (base has 4)");
    let limit = ExactParams { memory_limit: Some(1000), ..Default::default() };
    assert!(matches!(with(&wave(50, 4, 0.0), &queries, &limit), Err(Error::Memory { .. })));
}

struct StopAfter(std::sync::atomic::AtomicU64);

impl Watch for StopAfter {
    fn stopped(&self) -> bool {
        self.0.fetch_sub(1, std::sync::atomic::Ordering::Relaxed) == 0
    }
}

#[test]
fn a_stopped_run_resumes_with_the_same_result() {
    let folder = tempfile::tempdir().unwrap();
    let (base, queries) = (wave(90_000, 64, 0.2), wave(30, 64, 5.0));
    let params = ExactParams { checkpoint: Some(folder.path().join("state")), memory_limit: None, ..Default::default() };
    let (b, q) = (MemSource::new("b", base), MemSource::new("q", queries));
    let whole = exact(&b, &q, &ExactParams::default(), &Quiet).unwrap().neighbors;
    // a block holds 131,072 rows of 64 values here, so state is saved by hand at an odd row
    let key = work_key(&b, &q, &params);
    let rows = b.view().rows(0..33_333);
    let part = Named("b", rows);
    let mut results = vec![TopK::new(10); 30];
    let prepared = Queries::new(q.view(), Metric::L2);
    Task { queries: &prepared, bad_queries: &[false; 30], block: part.1, bad_rows: &[], start: 0, own: None }
        .search(&mut results);
    let out = ExactResult { neighbors: Neighbors::new(10), ..Default::default() };
    let at = passes::At { out: &out, next: 33_333, current: &results };
    checkpoint::save(&folder.path().join("state"), key, &at).unwrap();
    let resumed = exact(&b, &q, &params, &Quiet).unwrap();
    assert_eq!(resumed.resumed_at, Some(33_333));
    assert_eq!(resumed.neighbors, whole);
    assert!(matches!(exact(&b, &q, &params, &StopAfter(0.into())), Err(Error::Stopped)));
    // a damaged file is ignored
    let mut bytes = std::fs::read(folder.path().join("state")).unwrap();
    bytes[100] ^= 1;
    std::fs::write(folder.path().join("state"), bytes).unwrap();
    assert_eq!(exact(&b, &q, &params, &Quiet).unwrap().resumed_at, None);
}

#[test]
fn blocks_of_queries_change_nothing_and_resume() {
    let folder = tempfile::tempdir().unwrap();
    let (base, mut queries) = (wave(700, 12, 0.2), wave(100, 12, 0.2));
    queries.row_mut(60)[1] = f32::NAN;
    let (b, q) = (MemSource::new("b", base), MemSource::new("q", queries));
    let plan = |queries: usize, params: &ExactParams| memory::Plan { queries, ..memory::Plan::new(&b, &q, params) };
    for (k, exclude_self) in [(1, false), (3, true)] {
        let state = folder.path().join(format!("state{k}"));
        let params = ExactParams { k, exclude_self, on_bad: OnBad::Skip, ..Default::default() };
        let whole = exact(&b, &q, &params, &Quiet).unwrap();
        let run = |step: usize, params: &ExactParams| {
            Passes { base: &b, queries: &q, params, plan: plan(step, params), watch: &Quiet }.run().unwrap()
        };
        for step in [1, 7, 50, 99, 100] {
            let cut = run(step, &params);
            assert_eq!((&cut.neighbors, cut.skipped_queries), (&whole.neighbors, 1), "{step}");
        }
        // the state of a run that was stopped after 50 queries: they are not searched again, in whatever blocks the rest comes
        let mut done = ExactResult { neighbors: Neighbors::new(k), skipped_queries: 0, ..Default::default() };
        (0..50).for_each(|i| done.neighbors.push_row(whole.neighbors.distances(i).iter().copied().zip([9999; 3])));
        checkpoint::save(&state, work_key(&b, &q, &params), &passes::At { out: &done, next: 0, current: &[] }).unwrap();
        for step in [9, 50, 100] {
            let resumed = run(step, &ExactParams { checkpoint: Some(state.clone()), ..params.clone() });
            assert_eq!((resumed.resumed_queries, resumed.resumed_at, resumed.skipped_queries), (50, Some(0), 1));
            let ids = |i| resumed.neighbors.ids(i);
            assert!((0..50).all(|i| ids(i).iter().all(|id| *id == 9999)) && (50..100).all(|i| ids(i) == whole.neighbors.ids(i)));
        }
    }
    // a pass that was stopped midway keeps its queries, where memory allows, and goes on in the base
    let params = ExactParams { k: 1, on_bad: OnBad::Skip, checkpoint: Some(folder.path().join("midway")), ..Default::default() };
    let whole = exact(&b, &q, &ExactParams { checkpoint: None, ..params.clone() }, &Quiet).unwrap();
    let mut current = vec![TopK::new(1); 41];
    current.iter_mut().for_each(|t| t.push(-1.0, 7777)); // nearer than anything
    let out = ExactResult { neighbors: Neighbors::new(1), ..Default::default() };
    let at = passes::At { out: &out, next: 650, current: &current };
    checkpoint::save(&folder.path().join("midway"), work_key(&b, &q, &params), &at).unwrap();
    for (step, resumed) in [(100, Some(650)), (40, Some(650)), (37, Some(650)), (20, None)] {
        let found = Passes { base: &b, queries: &q, params: &params, plan: plan(step, &params), watch: &Quiet }.run().unwrap();
        assert_eq!((found.resumed_at, found.resumed_queries, found.neighbors.len()), (resumed, 0, 100), "{step}");
        let kept = |i: usize| if resumed.is_some() && i < 41 { &[7777][..] } else { whole.neighbors.ids(i) };
        assert!((0..100).all(|i| found.neighbors.ids(i) == kept(i)), "{step}");
    }
    // all are looked at before any is searched
    let params = ExactParams { k: 1, ..Default::default() };
    let e = Passes { base: &b, queries: &q, params: &params, plan: plan(10, &params), watch: &Quiet }.run().unwrap_err();
    assert_eq!(e.to_string(), "q, row 60: a value is NaN");
}

#[test]
fn queries_share_what_memory_there_is() {
    let (b, q) = (MemSource::new("b", wave(300, 64, 0.2)), MemSource::new("q", wave(40_000, 64, 0.2)));
    let pass =
        |limit: Option<u64>| memory::Plan::new(&b, &q, &ExactParams { k: 1, memory_limit: limit, ..Default::default() }).queries;
    let now = crate::watch::resident_bytes().unwrap_or(24 << 20);
    assert_eq!((pass(None), pass(Some(now + (1 << 30)))), (40_000, 40_000));
    let few = pass(Some(now + (16 << 20) + (4 << 20) * rayon::current_num_threads() as u64));
    assert!((64..40_000).contains(&few), "{few}");
    assert_eq!(pass(Some(1000)), 64);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]
    #[test]
    fn blocks_and_threads_do_not_matter(n in 1usize..400, nq in 1usize..70, d in 1usize..20, cut in 1usize..399, threads in 1usize..4, levels in 1u32..9) {
        // few distinct values: many exact ties
        let few = |n: usize, s: u32| Matrix::new((0..(n * d) as u32).map(|i| ((i + s).wrapping_mul(2_654_435_761) >> 24) as f32).map(|x| (x as u32 % (levels + 1)) as f32 * 0.1).collect(), d);
        let (base, queries) = (few(n, 3), few(nq, 5_000));
        let k = n.min(7);
        let whole = exact_in_memory(base.view(), queries.view(), k, Metric::L2).unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        let mut results = vec![TopK::new(k); nq];
        let prepared = Queries::new(queries.view(), Metric::L2);
        pool.install(|| for from in (0..n).step_by(cut) {
            let block = base.view().rows(from..(from + cut).min(n));
            Task { queries: &prepared, bad_queries: &vec![false; nq], block, bad_rows: &[], start: from as u64, own: None }.search(&mut results);
        });
        let params = ExactParams { k, ..Default::default() };
        let mut found = Neighbors::new(k);
        report(results, &params, &mut found);
        prop_assert_eq!(found, whole);
    }
}
