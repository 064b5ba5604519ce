//! How fast files are read: `cargo run --release -p voisin-io --example read_speed -- FILE...`
//!
//! Reads every file three times in blocks of 16 MiB of f32, as the commands do, and prints the median.

use std::time::Instant;

use voisin::Result;
use voisin_io::{Role, open};

fn main() -> Result<()> {
    for path in std::env::args().skip(1) {
        let bytes = std::fs::metadata(&path).map_err(|e| voisin::Error::io(&path, e))?.len();
        let (mut opening, mut reading) = (Vec::new(), Vec::new());
        for _ in 0..3 {
            let start = Instant::now();
            let source = open(&path, Role::Base)?;
            opening.push(start.elapsed().as_secs_f64());
            let d = source.dim();
            let rows = ((1 << 22) / d).max(1);
            let mut block = vec![0f32; rows * d];
            let start = Instant::now();
            for at in (0..source.len()).step_by(rows) {
                let n = (source.len() - at).min(rows as u64) as usize;
                source.read(at, &mut block[..n * d])?;
            }
            reading.push(start.elapsed().as_secs_f64());
        }
        opening.sort_by(f64::total_cmp);
        reading.sort_by(f64::total_cmp);
        let (o, r) = (opening[1], reading[1]);
        let rate = bytes as f64 / 1e6 / (o + r);
        println!("{path}: {:.0} MB, open {:.1} ms, read {:.1} ms, {rate:.0} MB/s", bytes as f64 / 1e6, o * 1e3, r * 1e3);
    }
    Ok(())
}
