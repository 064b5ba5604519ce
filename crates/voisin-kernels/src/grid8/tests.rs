use super::*;
use crate::l2_squared;
use proptest::prelude::*;

fn wave(n: usize, k: u32) -> Vec<f32> {
    (0..n as u32).map(|i| ((i.wrapping_mul(7) + k) as f32).sin() + 0.5).collect()
}

proptest! {
    #[test]
    fn bounds_hold_and_the_nearest_is_never_lost(m in 1usize..20, n in 1usize..150, d in 1usize..60, seed in 0u32..999, centred: bool, size in -20i32..20) {
        let scaled = |v: Vec<f32>| v.into_iter().map(|x| x * 2f32.powi(size)).collect::<Vec<f32>>();
        let (a, b) = (scaled(wave(m * d, seed)), scaled(wave(n * d, seed + 5000)));
        let centre = scaled(wave(d, 17));
        let centre = centred.then_some(&centre[..]);
        let (rows, columns) = (Store8::new(&a, d, centre), Store8::new(&b, d, centre));
        let order: Vec<u32> = (0..n as u32).rev().collect();
        let grid = Grid8::new(&columns, &order, Key::L2);
        let mut refilled = Grid8::default();
        refilled.refill(&columns, &order[..n / 2], Key::Ip);
        refilled.refill(&columns, &order, Key::L2);
        prop_assert_eq!((grid.reach, grid.height, grid.worst), (refilled.reach, refilled.height, refilled.worst));
        let x = |i: usize| &a[i * d..(i + 1) * d];
        let c = |j: u32| &b[order[j as usize] as usize * d..][..d];
        let mut out = vec![0.0; grid.places()];
        for i in 0..m {
            grid.lower(&rows, i, 0..grid.places() / WIDE, &mut out);
            let mut again = out.clone();
            refilled.lower(&rows, i, 0..grid.places() / WIDE, &mut again);
            prop_assert_eq!(&out, &again);
            prop_assert!(out[n..].iter().all(|k| *k == f32::INFINITY));
            for j in 0..n as u32 {
                prop_assert!(out[j as usize] <= rows.limit(i, l2_squared(x(i), c(j))));
            }
        }
        let all: Vec<u32> = (0..m as u32).collect();
        grid.nearest(&rows, &all, 0..grid.places() / WIDE, &[], &mut Hits8::default(), |i, _, found| {
            let best = (0..n as u32).map(|j| l2_squared(x(i), c(j))).fold(f32::INFINITY, f32::min);
            let kept = |j: u32| found.iter().any(|f| f.0 == j);
            assert!((0..n as u32).all(|j| l2_squared(x(i), c(j)) > best || kept(j)));
        });
    }

    #[test]
    fn every_instruction_set_gives_the_same_integers(n in 1usize..80, d in 1usize..40, seed in 0u32..999) {
        let (rows, columns) = (Store8::new(&wave(d, seed), d, None), Store8::new(&wave(n * d, seed + 9), d, None));
        let grid = Grid8::new(&columns, &(0..n as u32).collect::<Vec<_>>(), Key::Ip);
        let want = products_portable(rows.row(0), &grid.panels[..grid.lines()]);
        prop_assert_eq!(products(rows.row(0), &grid.panels[..grid.lines()]), want);
        let mut out = vec![0.0; grid.places()];
        grid.lower(&rows, 0, 0..grid.places() / WIDE, &mut out);
        let slow = grid.keys(rows.row(0), grid.facts(&rows, 0), 0);
        prop_assert!(out.iter().zip(slow).take(n.min(WIDE)).all(|(a, b)| (a - b).abs() <= 1e-5 * (1.0 + d as f32)));
    }
}
