//! What every format module speaks: which formats there are, what a file holds, which data set is meant.

/// What a data set is wanted for; decides between several that fit (`train` for a base, `test` for queries).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Role {
    /// Vectors to be searched.
    #[default]
    Base,
    /// Vectors to be searched for.
    Queries,
}

/// A file format.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Format {
    /// HDF5 (`.h5 .hdf5`).
    Hdf5,
    /// NumPy array (`.npy`).
    Npy,
    /// NumPy archive (`.npz`).
    Npz,
    /// TEXMEX (`.fvecs .ivecs .bvecs`).
    Vecs,
    /// big-ann (`.fbin .u8bin .i8bin .ibin .f16bin`).
    Bins,
    /// PyTorch, zip or legacy (`.pt .pth`).
    Torch,
    /// Python pickle (`.pkl .pickle`).
    Pickle,
    /// safetensors.
    Safetensors,
    /// Parquet.
    Parquet,
    /// csv, tsv or space-separated text.
    Text,
}

/// What a data set can serve as.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DatasetKind {
    /// n x d numbers.
    Vectors,
    /// Strings, one a row.
    Strings,
    /// Integers that look like neighbour ids or labels.
    Ids,
    /// Anything else.
    Other,
}

/// A data set of a file, as `voisin info` lists it.
#[derive(Clone, Debug, PartialEq)]
pub struct Dataset {
    /// Name after `file::`; empty where the file holds just one.
    pub name: String,
    /// Its shape.
    pub shape: Vec<u64>,
    /// Element type: `f16 f32 f64 u8 i8 i32 i64 str ...`.
    pub dtype: String,
    /// What it can serve as.
    pub kind: DatasetKind,
    /// Storage details worth showing: "contiguous", "chunked 1024x384, gzip + shuffle", "Fortran order".
    pub layout: String,
}

/// How a data set is written.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Element type to write (`f32` unless told; a format refuses what it cannot hold).
    pub dtype: Option<String>,
    /// Data set name in formats that have names.
    pub dataset: Option<String>,
}
