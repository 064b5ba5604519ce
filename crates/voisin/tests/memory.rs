//! What a limit of memory does to a build. Alone in this file: the limit counts all that the process takes, and other tests in
//! it would take some.

use voisin::index::{self, BuildParams};
use voisin::{Index, Matrix, MemSource, Metric, Quiet};

const D: usize = 24;

/// Rows around twelve centres, from a small generator of its own.
fn rows(n: usize) -> Matrix {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let mut next = move || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 24) as f32 - 0.5
    };
    let value = |i: usize, j: usize| ((i % 12 * 31 + j * 17) % 23) as f32 / 11.5 - 1.0;
    Matrix::new((0..n * D).map(|at| value(at / D, at % D) + 0.6 * next()).collect(), D)
}

#[test]
fn little_memory_streams_the_base_and_least_leaves_the_calibration_out() {
    let dir = tempfile::tempdir().unwrap();
    // 57 MB of rows
    let base = MemSource::new("base", rows(600_000));
    let build = |name: &str, memory_limit: Option<u64>| {
        let path = dir.path().join(name);
        let spec = Some("IVF8,Flat".parse().unwrap());
        let p = BuildParams { spec, metric: Metric::L2, seed: 5, memory_limit, train_size: Some(2000), ..Default::default() };
        index::build(&base, &path, &p, &Quiet).unwrap();
        Index::open(&path).unwrap().calibration().cloned()
    };
    let whole = build("whole", None);
    assert!(whole.is_some());
    // a quarter is less than the rows take: they are streamed
    let limit = 215 << 20;
    assert_eq!(build("streamed", Some(limit)), whole);
    assert_eq!(build("least", Some(1 << 20)), None);
}
