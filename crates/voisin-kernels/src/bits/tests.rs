use super::*;
use proptest::prelude::*;

fn bytes(n: usize, seed: u32) -> Vec<u8> {
    (0..n as u32).map(|i| (i.wrapping_add(seed).wrapping_mul(2_654_435_761) >> 13) as u8).collect()
}

fn plain(codes: &[u8], q: &[i8]) -> i32 {
    codes.iter().zip(q).map(|(&c, &q)| c as i32 * q as i32).sum()
}

proptest! {
    #[test]
    fn products_are_those_of_the_codes(words in 1usize..5, n in 0usize..40, bits in 1usize..9, m in 1usize..9, seed in 0u32..999) {
        let d = words * WORD;
        let codes: Vec<u8> = bytes(n * d, seed).iter().map(|c| c >> (8 - bits)).collect();
        let queries: Vec<Vec<i8>> = (0..m).map(|i| bytes(d, seed + 77 + i as u32).iter().map(|&c| (c as i8).max(-127)).collect()).collect();
        let (mut top, mut rest) = (vec![0; n * words], vec![0; n * (words * (bits - 1) + 1)]);
        let stride = words * (bits - 1) + 1;
        for (i, row) in codes.chunks_exact(d).enumerate() {
            let high: Vec<u8> = row.iter().map(|c| c >> (bits - 1)).collect();
            planes_pack(&high, 1, &mut top[i * words..(i + 1) * words]);
            if bits > 1 {
                let low: Vec<u8> = row.iter().map(|c| c & ((1 << (bits - 1)) - 1)).collect();
                planes_pack(&low, bits - 1, &mut rest[i * stride..][..words * (bits - 1)]);
                let mut one = Vec::new();
                planes_dots(&rest, stride, bits - 1, &ByteRow::new(queries[0].clone()), [i as u32].into_iter(), &mut one);
                prop_assert_eq!(one[0], plain(&low, &queries[0]));
                prop_assert_eq!(dot_body(&rest[i * stride..][..words * (bits - 1)], bits - 1, &queries[0]), plain(&low, &queries[0]));
            }
        }
        let mut out = vec![0; n];
        let first = ByteRow::new(queries[0].clone());
        plane_dots(&top, &first, &mut out);
        let mut again = Vec::new();
        planes_dots(&top, words, 1, &first, 0..n as u32, &mut again);
        prop_assert_eq!(&out, &again);
        for (i, row) in codes.chunks_exact(d).enumerate() {
            let high: Vec<u8> = row.iter().map(|c| c >> (bits - 1)).collect();
            prop_assert_eq!(out[i], plain(&high, &queries[0]));
            prop_assert_eq!(dot_body(&top[i * words..(i + 1) * words], 1, &queries[0]), plain(&high, &queries[0]));
        }
        if CodePanels::available() {
            let mut panels = CodePanels::default();
            panels.fill(&top, &rest, stride, bits, n, words);
            let ldc = n.next_multiple_of(32);
            let mut out = vec![0; m * ldc];
            let queries: Vec<&[i8]> = queries.iter().map(|q| &q[..]).collect();
            code_tiles(&queries, &panels, &mut out, ldc);
            for (i, q) in queries.iter().enumerate() {
                for (j, row) in codes.chunks_exact(d).enumerate() {
                    prop_assert_eq!(out[i * ldc + j], plain(row, q));
                }
            }
        }
    }
}

#[test]
fn signed_codes_are_the_same_on_every_level() {
    for n in [64usize, 192, 768, 775] {
        let row: Vec<f32> = (0..n).map(|i| if i % 11 == 0 { 0.0 } else { (i as f32 * 0.7).sin() * (i % 5) as f32 }).collect();
        for (bits, scale) in [(1, 1.0), (2, 0.9), (4, 3.3), (8, 40.0), (4, 0.0), (3, 1e30)] {
            let (mut codes, mut values) = (vec![0; n], vec![0.0; n]);
            signed_codes(&row, scale, bits, &mut codes, &mut values);
            let (mut want, mut centred) = (vec![0; n], vec![0.0; n]);
            signed_body(&row, scale, bits, &mut want, &mut centred);
            assert!(codes == want && values == centred, "{n} values, {bits} bits, scale {scale}");
        }
    }
}
