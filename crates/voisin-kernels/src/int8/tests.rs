use super::*;
use crate::are_bytes;
use proptest::prelude::*;

fn check(left: &[f32], right: &[f32], d: usize, key: Key, exact: [bool; 2]) -> Result<(), TestCaseError> {
    let (m, n) = (left.len() / d, right.len() / d);
    let (rows, codes) = (Rows8::new(left, d, exact[0]), Codes8::new(right, d, key, exact[1]));
    let ldc = n.next_multiple_of(Codes8::WIDTH);
    let mut c = vec![0; m.next_multiple_of(Rows8::WIDTH) * ldc];
    tiles8(&rows, 0..m, &codes, 0..n, &mut c, ldc);
    for i in 0..m {
        let mut all = Vec::new();
        codes.below(&c[i * ldc..], 0..n, rows.row(i), f32::INFINITY, &mut all);
        prop_assert_eq!(all.len(), n);
        for (j, lower) in all {
            let (q, x) = (row_of(left, d, i), row_of(right, d, j as usize));
            let ip: f64 = q.iter().zip(x).map(|(&a, &b)| a as f64 * b as f64).sum();
            let norm: f64 = x.iter().map(|&b| b as f64 * b as f64).sum();
            let want = if key == Key::L2 { norm - 2.0 * ip } else { -ip };
            let upper = lower + codes.width(j as usize, rows.row(i));
            prop_assert!(lower as f64 <= want && want <= upper as f64, "{} <= {} <= {}", lower, want, upper);
            if exact[0] {
                prop_assert!((upper - lower) as f64 <= 1e-4 * (want.abs() + norm + 1.0) + 16.0);
            }
        }
    }
    Ok(())
}

proptest! {
    #[test]
    fn bounds_hold(m in 1usize..20, n in 1usize..70, d in 1usize..50, seed in 0u32..999, size in -20i32..20) {
        let s = 2f32.powi(size);
        let v = |n: usize, k: u32| (0..n as u32).map(|i| s * ((i * 7 + k + seed) as f32).sin().powi(3)).collect::<Vec<f32>>();
        for key in [Key::L2, Key::Ip] { check(&v(m * d, 1), &v(n * d, 77), d, key, [false, false])?; }
    }

    #[test]
    fn bytes_have_no_error(m in 1usize..20, n in 1usize..70, d in 1usize..200, seed in 0u32..999) {
        let v = |n: usize, k: u32| (0..n as u32).map(|i| ((i + k).wrapping_mul(2_654_435_761).wrapping_add(seed) >> 24) as f32).collect::<Vec<f32>>();
        let (a, b) = (v(m * d, 1), v(n * d, 77));
        prop_assert!(are_bytes(&a));
        let between: Vec<f32> = a.iter().map(|x| x * 0.77 - 90.0).collect();
        for key in [Key::L2, Key::Ip] {
            check(&a, &b, d, key, [true, true])?;
            check(&between, &b, d, key, [false, true])?;
        }
    }
}

#[test]
fn what_is_no_byte_is_seen() {
    for bad in [0.5, -1.0, 256.0, f32::NAN] {
        assert!(!are_bytes(&[1.0, bad]));
    }
}
