//! Row-major f32 matrices: borrowed ([`Vectors`]) and owned ([`Matrix`]).

/// n x d vectors, row-major f32, borrowed.
#[derive(Clone, Copy, Debug)]
pub struct Vectors<'a> {
    data: &'a [f32],
    d: usize,
}

impl<'a> Vectors<'a> {
    /// Views `data` as rows of `d` values.
    ///
    /// # Panics
    /// If `d` is 0 or does not divide the length.
    pub fn new(data: &'a [f32], d: usize) -> Self {
        assert!(d > 0 && data.len().is_multiple_of(d), "{} values are no rows of {d}", data.len());
        Vectors { data, d }
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.data.len() / self.d
    }

    /// Dimensions of a row.
    pub fn d(&self) -> usize {
        self.d
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &'a [f32] {
        &self.data[i * self.d..(i + 1) * self.d]
    }

    /// Rows `range` as a view.
    pub fn rows(&self, range: std::ops::Range<usize>) -> Vectors<'a> {
        Vectors { data: &self.data[range.start * self.d..range.end * self.d], d: self.d }
    }

    /// All values, row after row.
    pub fn data(&self) -> &'a [f32] {
        self.data
    }

    /// The rows one by one.
    pub fn iter(&self) -> std::slice::ChunksExact<'a, f32> {
        self.data.chunks_exact(self.d)
    }
}

/// n x d vectors, row-major f32, owned.
#[derive(Clone, Debug, PartialEq)]
pub struct Matrix {
    data: Vec<f32>,
    d: usize,
}

impl Matrix {
    /// Takes `data` as rows of `d` values.
    ///
    /// # Panics
    /// If `d` is 0 or does not divide the length.
    pub fn new(data: Vec<f32>, d: usize) -> Self {
        assert!(d > 0 && data.len().is_multiple_of(d), "{} values are no rows of {d}", data.len());
        Matrix { data, d }
    }

    /// n x d zeros.
    pub fn zeros(n: usize, d: usize) -> Self {
        let mut data = vec![0.0; n * d];
        voisin_kernels::advise_huge(&mut data);
        Matrix::new(data, d)
    }

    /// Number of rows.
    pub fn n(&self) -> usize {
        self.data.len() / self.d
    }

    /// Dimensions of a row.
    pub fn d(&self) -> usize {
        self.d
    }

    /// Borrowed view.
    pub fn view(&self) -> Vectors<'_> {
        Vectors { data: &self.data, d: self.d }
    }

    /// Row `i`.
    pub fn row(&self, i: usize) -> &[f32] {
        &self.data[i * self.d..(i + 1) * self.d]
    }

    /// Row `i`, to be changed.
    pub fn row_mut(&mut self, i: usize) -> &mut [f32] {
        &mut self.data[i * self.d..(i + 1) * self.d]
    }

    /// All values, row after row.
    pub fn data(&self) -> &[f32] {
        &self.data
    }

    /// All values, to be changed.
    pub fn data_mut(&mut self) -> &mut [f32] {
        &mut self.data
    }

    /// The values, row after row.
    pub fn into_data(self) -> Vec<f32> {
        self.data
    }
}
