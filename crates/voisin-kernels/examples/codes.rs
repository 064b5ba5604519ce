//! Speed of 8-bit products and of their bounds: `cargo run --release -p voisin-kernels --example codes`.
use std::hint::black_box;
use std::time::Instant;
use voisin_kernels::{Codes8, Key, Packed, Rows8, View, few8, isa, near8, tiles, tiles8};

/// Fewest seconds of a run among many short ones: other programs can only add to it.
fn time(mut run: impl FnMut()) -> f64 {
    let start = Instant::now();
    run();
    let repeat = (0.0005 / start.elapsed().as_secs_f64()).ceil().max(1.0) as usize;
    let once = |_| {
        let start = Instant::now();
        (0..repeat).for_each(|_| run());
        start.elapsed().as_secs_f64() / repeat as f64
    };
    (0..40).map(once).fold(f64::INFINITY, f64::min)
}

fn main() {
    println!("{:?}, one thread", isa());
    for d in [128, 384, 768] {
        let (m, n) = (48, 1024);
        let v = |n: usize, s: f32| (0..n * d).map(|i| (i as f32 * 0.37 + s).sin()).collect::<Vec<f32>>();
        let (a, b) = (v(m, 0.0), v(n, 5.0));
        let (left, right) = (Rows8::new(&a, d, false), Codes8::new(&b, d, Key::Ip, false));
        let mut c = vec![0; m * n];
        let s = time(|| tiles8(&left, 0..m, &right, 0..n, black_box(&mut c), n));
        let work = (m * n * d) as f64;
        print!("d = {d}: tiles8 {:.0} G multiply-adds/s", 1e-9 * work / s);
        let (fl, fr) = (Packed::left(View::new(&a, m, d)), Packed::right(View::new(&b, n, d)));
        let mut f = vec![0.0; m * n];
        let s = time(|| tiles(&fl, 0..m, &fr, 0..n, black_box(&mut f), n));
        println!(", f32 tiles {:.0}", 1e-9 * work / s);
        let mut hits = Vec::new();
        let s = time(|| {
            for (i, p) in c.chunks(n).enumerate() {
                hits.clear();
                right.below(p, 0..n, left.row(i), -1e9, &mut hits);
            }
        });
        println!(
            "  below: {:.3} ns a product, tiles8 of it {:.3} ns",
            1e9 * s / (m * n) as f64,
            1e9 * time(|| tiles8(&left, 0..m, &right, 0..n, black_box(&mut c), n)) / (m * n) as f64
        );
        let (limits, mut near) = (vec![-1e9; m], vec![Vec::new(); m]);
        let s = time(|| near8(&left, 0..m, &right, 0..n, &limits, &mut c, &mut near));
        println!("  near8: {:.3} ns a product", 1e9 * s / (m * n) as f64);
        let s = time(|| drop(black_box(Codes8::new(&b, d, Key::Ip, false))));
        println!("  encoding: {:.1} GB/s of f32 (all threads)", 4e-9 * (n * d) as f64 / s);
        for rows in [1_000, 60_000, 1_000_000 * 128 / d] {
            let codes = Codes8::new(&v(rows, 1.0), d, Key::Ip, false);
            let mut out = vec![0; 8 * rows.next_multiple_of(32)];
            print!("  {rows} rows in memory:");
            for few in [1, 2, 4, 8] {
                let s = time(|| {
                    for from in (0..rows).step_by(1024) {
                        few8(&left, 0..few, &codes, from..(from + 1024).min(rows), black_box(&mut out), 1024);
                    }
                });
                print!(" {few} queries {:.1} GB/s of codes,", 1e-9 * (rows * d) as f64 / s);
            }
            println!();
        }
    }
}
