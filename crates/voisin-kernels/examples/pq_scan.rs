//! Speed of product codes on one thread: `cargo run --release -p voisin-kernels --example pq_scan`.
//! Scans 100,000 vectors in runs of 1024, for one query and for 32 at once; tables of a query; codes of a row.
use std::hint::black_box;
use std::time::Instant;
use voisin_kernels::{BLOCK4, Books, Tables, block4_bytes, isa, pq4_keys, pq8_keys};

const N: usize = 100_000;
const RUN: usize = 1024;

fn median(mut run: impl FnMut()) -> f64 {
    let mut t: Vec<f64> = (0..7)
        .map(|_| {
            let t = Instant::now();
            run();
            t.elapsed().as_secs_f64()
        })
        .collect();
    t.sort_by(f64::total_cmp);
    t[3]
}

fn noise(n: usize) -> impl Iterator<Item = u32> {
    (0..n as u32).map(|i| (i ^ i >> 7).wrapping_mul(2_654_435_761) >> 8)
}

fn scan(bits: u32, d: usize, m: usize) {
    let k = 1 << bits;
    let values = |n: usize| noise(n).map(|x| x as f32 / 8e6 - 1.0).collect::<Vec<f32>>();
    let books = Books::new(values(k * d), m, k);
    let queries = values(32 * d);
    let mut floats = vec![0.0; 32 * m * k];
    let one =
        median(|| (0..32).for_each(|q| books.products(&queries[q * d..(q + 1) * d], -2.0, &mut floats[q * m * k..][..m * k])))
            / 32.0;
    let all = median(|| books.products(&queries, -2.0, &mut floats)) / 32.0;
    let mut tables = vec![Tables::default(); 32];
    let fill = median(|| {
        for (t, f) in tables.iter_mut().zip(floats.chunks_exact(m * k)) {
            if bits == 4 { t.fill4(f) } else { t.fill8(f) }
        }
    }) / 32.0;
    let rows = values(256 * d);
    let mut codes = vec![0; 256 * m];
    let code = median(|| books.nearest(&rows, black_box(&mut codes))) / 256.0;
    let bytes = |n: usize| if bits == 4 { n.div_ceil(BLOCK4) * block4_bytes(m) } else { n * (m + 4) };
    let run: Vec<u8> = noise(bytes(N)).map(|x| (x >> 9) as u8).collect();
    let mut keys = vec![0.0f32; 32 * RUN];
    let tables: Vec<&Tables> = tables.iter().collect();
    let base = [0.0; 32];
    let mut seconds = |q: usize| {
        median(|| {
            for (r, run) in run.chunks(bytes(RUN)).enumerate() {
                let n = (N - r * RUN).min(RUN);
                let keys = black_box(&mut keys[..q * n]);
                if bits == 4 {
                    pq4_keys(run, n, &tables[..q], &base[..q], keys)
                } else {
                    pq8_keys(run, n, &tables[..q], &base[..q], keys)
                }
            }
        })
    };
    let (single, batch) = (N as f64 / seconds(1) / 1e6, 32.0 * N as f64 / seconds(32) / 1e6);
    println!(
        "{bits} bits, d {d:4}, m {m:3}: scan {single:6.0} M/s alone, {batch:6.0} M/s in 32; tables {:6.2} us alone, {:6.2} us in 32, rounded {:5.2} us; code of a row {:6.2} us",
        one * 1e6,
        all * 1e6,
        fill * 1e6,
        code * 1e6
    );
}

fn main() {
    println!("{:?}", isa());
    for (d, m) in [(128, 64), (384, 64), (384, 192), (768, 384)] {
        scan(4, d, m);
    }
    for (d, m) in [(2048, 8), (128, 16), (384, 48), (384, 96)] {
        scan(8, d, m);
    }
}
