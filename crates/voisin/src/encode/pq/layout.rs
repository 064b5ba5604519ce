//! Runs of product codes: blocks of 32 vectors (4 bits) or 64 (8 bits), as the scans of `voisin-kernels` want them.

use super::Pq;
use voisin_kernels::{BLOCK4, BLOCK8, block4_bytes};

impl Pq {
    /// Bytes of a run of n records. 4 bits: whole blocks of 32 rows and parts in fours; 8 bits: n records.
    pub(crate) fn run_bytes(&self, n: usize) -> usize {
        if self.bits == 8 { n * self.row_bytes() } else { n.div_ceil(BLOCK4) * block4_bytes(self.m()) }
    }

    /// Lays n records out as a run.
    pub(crate) fn pack(&self, records: &[u8], n: usize, run: &mut [u8]) {
        assert!(records.len() == n * self.row_bytes() && run.len() == self.run_bytes(n), "a run of the records");
        run.fill(0);
        for (i, record) in records.chunks_exact(self.row_bytes()).enumerate() {
            let (codes, add) = record.split_at(self.code_bytes());
            let at = self.place(n, i);
            run[at.add..at.add + 4].copy_from_slice(add);
            if self.bits == 8 {
                codes.iter().enumerate().for_each(|(p, &c)| run[at.code + p * at.step] = c);
            } else {
                for p in 0..self.m() {
                    run[at.code + p / 4 * at.step + p % 4] |= self.code(codes, p) << at.shift;
                }
            }
        }
    }

    /// Record `i` of a run of n.
    pub(crate) fn unpack(&self, run: &[u8], n: usize, i: usize, record: &mut [u8]) {
        assert!(i < n && run.len() == self.run_bytes(n) && record.len() == self.row_bytes(), "a record of the run");
        let at = self.place(n, i);
        let (codes, add) = record.split_at_mut(self.code_bytes());
        add.copy_from_slice(&run[at.add..at.add + 4]);
        if self.bits == 8 {
            codes.iter_mut().enumerate().for_each(|(p, c)| *c = run[at.code + p * at.step]);
        } else {
            codes.fill(0);
            for p in 0..self.m() {
                codes[p / 2] |= (run[at.code + p / 4 * at.step + p % 4] >> at.shift & 15) << (4 * (p % 2));
            }
        }
    }

    /// The codewords that row `i` of a run of n stands for, part after part.
    pub(crate) fn words_of_run<'a>(&'a self, run: &'a [u8], n: usize, i: usize) -> impl Iterator<Item = &'a [f32]> {
        let (at, sub, k) = (self.place(n, i), self.d() / self.m(), 1 << self.bits);
        (0..self.m()).map(move |p| {
            let code =
                if self.bits == 8 { run[at.code + p * at.step] } else { run[at.code + p / 4 * at.step + p % 4] >> at.shift & 15 };
            let word = p * k + code as usize;
            &self.codebooks()[word * sub..(word + 1) * sub]
        })
    }

    fn place(&self, n: usize, i: usize) -> Place {
        if self.bits == 8 {
            let (block, v) = (i / BLOCK8, i % BLOCK8);
            let (rows, from) = (BLOCK8.min(n - block * BLOCK8), block * BLOCK8 * self.row_bytes());
            return Place { code: from + v, step: rows, shift: 0, add: from + rows * self.m() + 4 * v };
        }
        let (block, v, lines) = (i / BLOCK4, i % BLOCK4, self.m().div_ceil(4));
        let from = block * block4_bytes(self.m());
        Place { code: from + 4 * (v % 16), step: 64, shift: 4 * (v / 16), add: from + 64 * lines + 4 * v }
    }
}

/// Where a row of a run is.
struct Place {
    /// Its first code.
    code: usize,
    /// From a part (8 bits) or four parts (4 bits) to the next.
    step: usize,
    /// Bits before its half of a byte.
    shift: usize,
    add: usize,
}
