use super::dots::*;
use super::*;
use proptest::prelude::*;

const KINDS: [ScalarBits; 3] = [ScalarBits::F16, ScalarBits::Eight, ScalarBits::Four];

/// Values from a seed, of about the size 2^size.
fn values(n: usize, seed: u32, size: i32) -> Vec<f32> {
    let s = 2f32.powi(size);
    (0..n as u32).map(|i| s * ((i.wrapping_mul(2_654_435_761).wrapping_add(seed) >> 8) as f32 / 8_388_608.0 - 1.0)).collect()
}

struct Case {
    low: Vec<f32>,
    step: Vec<f32>,
    inverse: Vec<f32>,
}

impl Case {
    fn new(d: usize, seed: u32, size: i32, bits: ScalarBits) -> Case {
        let low = values(d, seed, size);
        let step: Vec<f32> = values(d, seed + 1, size).iter().map(|s| s.abs() / 100.0).collect();
        let step: Vec<f32> = step.iter().enumerate().map(|(i, &s)| if i % 7 == 3 { 0.0 } else { s }).collect();
        let inverse = step.iter().map(|&s| if s > 0.0 { 1.0 / s } else { 0.0 }).collect();
        if bits == ScalarBits::F16 { Case { low: vec![], step: vec![], inverse: vec![] } } else { Case { low, step, inverse } }
    }

    fn grid(&self, bits: ScalarBits, d: usize) -> ScalarGrid<'_> {
        ScalarGrid { bits, d, low: &self.low, step: &self.step, inverse: &self.inverse }
    }
}

/// Bodies by name, as far as this processor has them.
type Bodies<T> = Vec<(&'static str, T)>;
type Encode = fn(&ScalarGrid<'_>, &[f32], &mut [u8]);
type Decode = fn(&ScalarGrid<'_>, &[u8], &mut [f32]);
type Dots = fn(&ScalarQuery, &[u8], &mut [f32]);

fn encoders() -> Bodies<Encode> {
    let mut all: Bodies<Encode> = vec![("portable", |g, r, o| encode_body(g, r, o))];
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the level was detected.
        if isa() >= Isa::V3 {
            all.push(("v3", |g, r, o| unsafe { encode_v3(g, r, o) }));
        }
        // SAFETY: as above.
        if isa() >= Isa::V4 {
            all.push(("v4", |g, r, o| unsafe { encode_v4(g, r, o) }));
        }
    }
    all
}

fn decoders() -> Bodies<Decode> {
    let mut all: Bodies<Decode> = vec![("portable", |g, c, o| decode_body(g, c, o))];
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the level was detected.
        if isa() >= Isa::V3 {
            all.push(("v3", |g, c, o| unsafe { decode_v3(g, c, o) }));
        }
        // SAFETY: as above.
        if isa() >= Isa::V4 {
            all.push(("v4", |g, c, o| unsafe { decode_v4(g, c, o) }));
        }
    }
    all
}

fn products() -> Bodies<Dots> {
    let mut all: Bodies<Dots> = vec![("portable", dots_portable)];
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: the level was detected.
        if isa() >= Isa::V3 {
            all.push(("v3", |q, c, o| unsafe { dots_v3(q, c, o) }));
        }
        // SAFETY: as above.
        if isa() >= Isa::V4 {
            all.push(("v4", |q, c, o| unsafe { dots_v4(q, c, o) }));
        }
    }
    all
}

/// The nearest code by the definition, in f64, and whether a tie is near.
fn code(x: f32, low: f32, step: f32, top: u8) -> (u8, bool) {
    if step == 0.0 {
        return (0, false);
    }
    let t = ((x as f64 - low as f64) / step as f64).clamp(0.0, top as f64);
    (t.round() as u8, ((t - t.floor()) - 0.5).abs() < 1e-3)
}

proptest! {
    #[test]
    fn codes_are_the_nearest_on_every_instruction_set(n in 0usize..5, d in 1usize..200, seed in 0u32..9999, size in -100i32..100) {
        for bits in [ScalarBits::Eight, ScalarBits::Four] {
            let case = Case::new(d, seed, size, bits);
            let grid = case.grid(bits, d);
            let rows = values(n * d, seed + 2, size + 1);
            let bytes = bits.row_bytes(d);
            let mut first = None;
            for (name, encode) in encoders() {
                let mut out = vec![0xaa; n * bytes];
                encode(&grid, &rows, &mut out);
                prop_assert_eq!(first.get_or_insert(out.clone()), &out, "{}", name);
            }
            let codes = first.unwrap();
            let mut first = None;
            for (name, decode) in decoders() {
                let mut out = vec![f32::NAN; n * d];
                decode(&grid, &codes, &mut out);
                let out: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
                prop_assert_eq!(first.get_or_insert(out.clone()), &out, "{}", name);
            }
            let back = first.unwrap();
            for i in 0..n * d {
                let j = i % d;
                let got = match bits {
                    ScalarBits::Four => codes[i / d * bytes + j / 2] >> (4 * (j % 2)) & 15,
                    _ => codes[i],
                };
                let (want, tie) = code(rows[i], case.low[j], case.step[j], bits.levels());
                prop_assert!(got == want || (tie && got.abs_diff(want) <= 1), "{} is coded {}, not {}", rows[i], got, want);
                prop_assert_eq!(back[i], (case.step[j] * got as f32 + case.low[j]).to_bits());
            }
        }
    }

    #[test]
    fn products_keep_their_bound(n in 0usize..9, d in 1usize..300, seed in 0u32..9999, size in -12i32..12) {
        for bits in KINDS {
            let case = Case::new(d, seed, size, bits);
            let grid = case.grid(bits, d);
            let (rows, q) = (values(n * d, seed + 2, size + 1), values(d, seed + 3, -size));
            let mut codes = vec![0; n * bits.row_bytes(d)];
            scalar_encode(&grid, &rows, &mut codes);
            let mut back = vec![0.0; n * d];
            scalar_decode(&grid, &codes, &mut back);
            let norm = |x: &[f32]| x.iter().map(|&v| v as f64 * v as f64).sum::<f64>().sqrt();
            let (scaled, bias): (Vec<f32>, f64) = match bits {
                ScalarBits::F16 => (q.clone(), 0.0),
                _ => (
                    q.iter().zip(&case.step).map(|(q, s)| q * s).collect(),
                    q.iter().zip(&case.low).map(|(&q, &l)| q as f64 * l as f64).sum(),
                ),
            };
            let query = ScalarQuery::new(bits, &scaled, bias as f32);
            let mut fused: Option<Vec<u32>> = None;
            for (name, dots) in products() {
                let mut out = vec![f32::NAN; n];
                dots(&query, &codes, &mut out);
                for (i, x) in back.chunks(d).enumerate() {
                    let want: f64 = x.iter().zip(&q).map(|(&x, &q)| x as f64 * q as f64).sum();
                    let bound = ScalarQuery::slack(d) as f64 * norm(&q) * (norm(x) + norm(&case.low));
                    prop_assert!((out[i] as f64 - want).abs() <= bound, "{} {:?}: {} for {} (± {})", name, bits, out[i], want, bound);
                    let mut alone = [0.0];
                    dots(&query, &codes[i * bits.row_bytes(d)..(i + 1) * bits.row_bytes(d)], &mut alone);
                    prop_assert_eq!(alone[0].to_bits(), out[i].to_bits());
                }
                if name != "portable" {
                    let out: Vec<u32> = out.iter().map(|x| x.to_bits()).collect();
                    prop_assert_eq!(fused.get_or_insert(out.clone()), &out, "{}", name);
                }
            }
        }
    }

    #[test]
    fn half_floats_are_the_conversion(d in 1usize..150, n in 0usize..4, seed in 0u32..9999, size in -30i32..15) {
        let case = Case::new(d, 0, 0, ScalarBits::F16);
        let grid = case.grid(ScalarBits::F16, d);
        let rows = values(n * d, seed, size);
        let (mut codes, mut back) = (vec![0; 2 * n * d], vec![0.0; n * d]);
        scalar_encode(&grid, &rows, &mut codes);
        scalar_decode(&grid, &codes, &mut back);
        let mut half = vec![0; n * d];
        f32_to_f16(&rows, &mut half);
        let want: Vec<u8> = half.iter().flat_map(|h| h.to_le_bytes()).collect();
        prop_assert_eq!(codes, want);
        for (x, y) in rows.iter().zip(back) {
            prop_assert!((x - y).abs() <= (x.abs() / 2048.0).max(2f32.powi(-25)));
        }
    }
}

#[test]
fn small_integers_are_exact_on_every_length() {
    for d in 1..=140 {
        let (low, step) = (vec![0.0; d], vec![1.0; d]);
        for bits in [ScalarBits::Eight, ScalarBits::Four] {
            let grid = ScalarGrid { bits, d, low: &low, step: &step, inverse: &step };
            let rows: Vec<f32> = (0..3 * d).map(|i| (i * 7 % (bits.levels() as usize + 1)) as f32).collect();
            let q: Vec<f32> = (0..d).map(|i| (i % 9) as f32 - 4.0).collect();
            let (mut codes, mut back) = (vec![0; 3 * bits.row_bytes(d)], vec![0.0; 3 * d]);
            scalar_encode(&grid, &rows, &mut codes);
            scalar_decode(&grid, &codes, &mut back);
            assert_eq!(rows, back);
            let want: Vec<f32> = rows.chunks(d).map(|x| x.iter().zip(&q).map(|(x, q)| x * q).sum::<f32>() + 3.0).collect();
            for (name, dots) in products() {
                let mut out = [0.0; 3];
                dots(&ScalarQuery::new(bits, &q, 3.0), &codes, &mut out);
                assert_eq!(out, want[..], "{name}, {bits:?}, d {d}");
            }
        }
    }
}

#[test]
fn what_is_beyond_the_ends_is_clamped() {
    let grid = ScalarGrid { bits: ScalarBits::Eight, d: 5, low: &[-1.0; 5], step: &[0.5; 5], inverse: &[2.0; 5] };
    let mut codes = [9; 5];
    scalar_encode(&grid, &[-3e38, 3e38, -1.0, f32::NAN, f32::INFINITY], &mut codes);
    assert_eq!(codes, [0, 255, 0, 0, 255]);
}
