//! The best k of many candidates, and the table of results.

/// Collects the k smallest (key, id) pairs; equal keys go to the smaller id.
#[derive(Clone, Debug)]
pub struct TopK<K = f32> {
    k: usize,
    heap: Vec<(K, u64)>, // max-heap on (key, id)
}

impl<K: PartialOrd + Copy> TopK<K> {
    /// Room for `k` results.
    pub fn new(k: usize) -> Self {
        TopK { k, heap: Vec::with_capacity(k.min(1 << 16)) }
    }

    fn after(a: (K, u64), b: (K, u64)) -> bool {
        a.0 > b.0 || (a.0 == b.0 && a.1 > b.1)
    }

    /// Results wanted.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Whether k results are held.
    pub fn is_full(&self) -> bool {
        self.heap.len() == self.k
    }

    /// Number of results held.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing is held.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// The largest key held once full: a candidate above it cannot enter.
    pub fn worst(&self) -> Option<K> {
        if self.is_full() { self.heap.first().map(|e| e.0) } else { None }
    }

    /// Offers a candidate; NaN keys never enter.
    pub fn push(&mut self, key: K, id: u64) {
        if key.partial_cmp(&key).is_none() || self.k == 0 {
            return;
        }
        let e = (key, id);
        if self.heap.len() < self.k {
            self.heap.push(e);
            let mut i = self.heap.len() - 1;
            while i > 0 {
                let p = (i - 1) / 2;
                if !Self::after(self.heap[i], self.heap[p]) {
                    break;
                }
                self.heap.swap(i, p);
                i = p;
            }
        } else if Self::after(self.heap[0], e) {
            self.heap[0] = e;
            let mut i = 0;
            loop {
                let (l, r) = (2 * i + 1, 2 * i + 2);
                let mut m = i;
                if l < self.heap.len() && Self::after(self.heap[l], self.heap[m]) {
                    m = l;
                }
                if r < self.heap.len() && Self::after(self.heap[r], self.heap[m]) {
                    m = r;
                }
                if m == i {
                    break;
                }
                self.heap.swap(i, m);
                i = m;
            }
        }
    }

    /// The results, best first.
    pub fn into_sorted(self) -> Vec<(K, u64)> {
        let mut v = self.heap;
        v.sort_by(|a, b| a.0.partial_cmp(&b.0).expect("no NaN enters").then(a.1.cmp(&b.1)));
        v
    }

    /// The results held, in no order.
    pub fn entries(&self) -> &[(K, u64)] {
        &self.heap
    }
}

/// Results of many queries: for each a row of ids and distances, best first. Rows may be shorter than k.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Neighbors {
    k: usize,
    offsets: Vec<usize>,
    ids: Vec<u64>,
    distances: Vec<f32>,
}

impl Neighbors {
    /// An empty table for rows of at most `k`.
    pub fn new(k: usize) -> Self {
        Neighbors { k, offsets: vec![0], ids: Vec::new(), distances: Vec::new() }
    }

    /// Room for so many rows more, and no more than that.
    pub fn reserve(&mut self, rows: usize) {
        self.offsets.reserve_exact(rows);
        self.ids.reserve_exact(rows.saturating_mul(self.k));
        self.distances.reserve_exact(rows.saturating_mul(self.k));
    }

    /// Appends the row of the next query; `row` is (reported distance, id), best first.
    pub fn push_row(&mut self, row: impl IntoIterator<Item = (f32, u64)>) {
        for (distance, id) in row {
            self.ids.push(id);
            self.distances.push(distance);
        }
        self.offsets.push(self.ids.len());
    }

    /// Number of queries.
    pub fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    /// Whether there is no query.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Neighbours asked for.
    pub fn k(&self) -> usize {
        self.k
    }

    /// Ids of query `i`, best first.
    pub fn ids(&self, i: usize) -> &[u64] {
        &self.ids[self.offsets[i]..self.offsets[i + 1]]
    }

    /// Reported distances of query `i`, best first.
    pub fn distances(&self, i: usize) -> &[f32] {
        &self.distances[self.offsets[i]..self.offsets[i + 1]]
    }

    /// All ids that occur, ascending, each once.
    pub fn distinct_ids(&self) -> Vec<u64> {
        let mut all = self.ids.clone();
        all.sort_unstable();
        all.dedup();
        all
    }

    /// The same rows with every id replaced by what `number` makes of it.
    pub fn renumbered(mut self, number: impl Fn(u64) -> u64) -> Neighbors {
        self.ids.iter_mut().for_each(|id| *id = number(*id));
        self
    }

    /// Number of queries with fewer than k results.
    pub fn short_rows(&self) -> usize {
        (0..self.len()).filter(|&i| self.ids(i).len() < self.k).count()
    }

    /// (nq x k) ids padded with −1 and distances padded with NaN, row-major, as files hold them.
    pub fn padded(&self) -> (Vec<i64>, Vec<f32>) {
        let mut ids = vec![-1i64; self.len() * self.k];
        let mut distances = vec![f32::NAN; self.len() * self.k];
        for i in 0..self.len() {
            for (j, (&id, &distance)) in self.ids(i).iter().zip(self.distances(i)).enumerate() {
                ids[i * self.k + j] = id as i64;
                distances[i * self.k + j] = distance;
            }
        }
        (ids, distances)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ties_go_to_the_smaller_id() {
        let mut t = TopK::new(2);
        for id in [5, 3, 9, 1] {
            t.push(1.0f32, id);
        }
        assert_eq!(t.into_sorted(), vec![(1.0, 1), (1.0, 3)]);
    }

    #[test]
    fn nan_never_enters() {
        let mut t = TopK::new(2);
        t.push(f32::NAN, 0);
        t.push(2.0, 1);
        assert_eq!(t.into_sorted(), vec![(2.0, 1)]);
    }

    #[test]
    fn short_rows_are_padded() {
        let mut n = Neighbors::new(2);
        n.push_row([(0.5, 7)]);
        n.push_row([(0.1, 1), (0.2, 0)]);
        let (ids, d) = n.padded();
        assert_eq!(ids, [7, -1, 1, 0]);
        assert!(d[1].is_nan() && n.short_rows() == 1);
    }

    proptest! {
        #[test]
        fn is_the_head_of_a_full_sort(keys in proptest::collection::vec(0u8..20, 0..200), k in 0usize..20) {
            let mut t = TopK::new(k);
            let mut all: Vec<(f32, u64)> = keys.iter().enumerate().map(|(i, &x)| (x as f32, i as u64)).collect();
            for &(x, i) in &all { t.push(x, i); }
            all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
            all.truncate(k);
            prop_assert_eq!(t.into_sorted(), all);
        }
    }
}
