//! Which format a file has: by its first bytes, then by its ending.

use std::path::Path;
use std::sync::Arc;

use voisin::{Error, Result};

use crate::Format;
use crate::file::InFile;
use crate::zipfile::Archive;

/// How PyTorch's legacy files begin: a pickled number.
const TORCH_LEGACY: &[u8] = b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19";

impl Format {
    /// The format that the ending of a file name stands for.
    pub fn of_ending(path: &Path) -> Option<Format> {
        let ending = path.extension()?.to_str()?.to_ascii_lowercase();
        Some(match ending.as_str() {
            "h5" | "hdf5" | "hdf" | "he5" => Format::Hdf5,
            "npy" => Format::Npy,
            "npz" => Format::Npz,
            "fvecs" | "ivecs" | "bvecs" | "fvec" | "ivec" | "bvec" => Format::Vecs,
            "fbin" | "u8bin" | "i8bin" | "ibin" | "f16bin" | "hbin" => Format::Bins,
            "pt" | "pth" => Format::Torch,
            "pkl" | "pickle" => Format::Pickle,
            "safetensors" => Format::Safetensors,
            "parquet" | "pq" => Format::Parquet,
            "csv" | "tsv" | "txt" | "text" | "dat" | "ssv" | "vec" => Format::Text,
            _ => return None,
        })
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Format::Hdf5 => "HDF5",
            Format::Npy => "NPY",
            Format::Npz => "NPZ",
            Format::Vecs => "TEXMEX vecs",
            Format::Bins => "big-ann bin",
            Format::Torch => "PyTorch",
            Format::Pickle => "pickle",
            Format::Safetensors => "safetensors",
            Format::Parquet => "Parquet",
            Format::Text => "text",
        }
    }

    /// Its name in JSON.
    pub fn key(self) -> &'static str {
        match self {
            Format::Hdf5 => "hdf5",
            Format::Npy => "npy",
            Format::Npz => "npz",
            Format::Vecs => "vecs",
            Format::Bins => "bin",
            Format::Torch => "torch",
            Format::Pickle => "pickle",
            Format::Safetensors => "safetensors",
            Format::Parquet => "parquet",
            Format::Text => "text",
        }
    }
}

/// The format of a file: its first bytes decide, then its ending, then whether it looks like text.
///
/// # Errors
/// [`Error::Io`] if it cannot be read; [`Error::Format`] if it is empty or nothing known.
pub fn detect(path: &Path) -> Result<Format> {
    detect_file(&Arc::new(InFile::open(path)?))
}

pub(crate) fn detect_file(file: &Arc<InFile>) -> Result<Format> {
    let head = file.head(4096)?;
    let ending = Format::of_ending(file.path());
    if let Some(format) = by_magic(file, &head, ending)? {
        return Ok(format);
    }
    if let Some(format) = ending {
        return Ok(format); // its reader says what is wrong with the first bytes
    }
    if looks_like_numbers(&head) {
        return Ok(Format::Text);
    }
    let shown: Vec<String> = head.iter().take(8).map(|b| format!("{b:02x}")).collect();
    let what = format!(
        "unknown format (it begins with {}); read are HDF5, .npy, .npz, .fvecs/.ivecs/.bvecs, .fbin/.f16bin/.u8bin/.i8bin/.ibin, \
         .pt/.pth, .pkl, .safetensors, .parquet and text",
        shown.join(" ")
    );
    Err(Error::format(file.path(), what))
}

fn by_magic(file: &Arc<InFile>, head: &[u8], ending: Option<Format>) -> Result<Option<Format>> {
    // formats without a magic number may begin with anything: their ending decides first
    if matches!(ending, Some(Format::Vecs | Format::Bins)) {
        return Ok(ending);
    }
    let refuse = |what: &str| Err(Error::format(file.path(), what));
    Ok(Some(match head {
        h if h.starts_with(b"\x89HDF\r\n\x1a\n") => Format::Hdf5,
        h if h.starts_with(crate::npy::MAGIC) => Format::Npy,
        h if h.starts_with(b"PAR1") => Format::Parquet,
        h if h.starts_with(TORCH_LEGACY) => Format::Torch,
        [0x80, 2..=5, ..] if ending == Some(Format::Torch) => Format::Torch,
        [0x80, 2..=5, ..] if ending != Some(Format::Safetensors) => Format::Pickle,
        h if h.starts_with(b"PK\x03\x04") || h.starts_with(b"PK\x05\x06") => of_zip(file, ending)?,
        [_, _, _, _, _, 0, 0, 0, b'{', ..] => Format::Safetensors,
        [0x1f, 0x8b, ..] => return refuse("compressed with gzip; unpack it first (gunzip)"),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => return refuse("compressed with zstd; unpack it first (unzstd)"),
        [0xfd, b'7', b'z', b'X', b'Z', ..] => return refuse("compressed with xz; unpack it first (unxz)"),
        [b'I', b'x' | b'w' | b'H' | b'B', a, b, ..]
            if a.is_ascii_alphanumeric() && b.is_ascii_alphanumeric() && ending.is_none() =>
        {
            return refuse("a FAISS index, not a file of vectors");
        }
        _ => return Ok(None),
    }))
}

/// Both NumPy and PyTorch write zip archives; the members tell which.
fn of_zip(file: &Arc<InFile>, ending: Option<Format>) -> Result<Format> {
    let archive = Archive::open(file.clone())?;
    let any = |end: &str| archive.members().iter().any(|m| m.name.ends_with(end));
    match ending {
        _ if any("data.pkl") => Ok(Format::Torch),
        _ if any(".npy") => Ok(Format::Npz),
        Some(format @ (Format::Npz | Format::Torch)) => Ok(format),
        _ => Err(Error::format(file.path(), "a zip archive without arrays; unpack it first")),
    }
}

/// Whether the beginning of a file is text with numbers in it.
fn looks_like_numbers(head: &[u8]) -> bool {
    let text = |b: &u8| matches!(b, b'\t' | b'\n' | b'\r' | 0x20..=0x7e | 0x80..);
    head.iter().all(text) && head.iter().any(u8::is_ascii_digit)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, bytes: &[u8]) -> String {
        let file = Arc::new(InFile::from_bytes(Path::new(name), bytes.to_vec()));
        detect_file(&file).map_or_else(|e| e.to_string(), |f| f.key().to_string())
    }

    #[test]
    fn first_bytes_come_before_the_ending() {
        assert_eq!(of("x.csv", b"\x93NUMPY\x01\x00"), "npy");
        assert_eq!(of("x.bin", b"\x89HDF\r\n\x1a\n"), "hdf5");
        assert_eq!(of("x.fvecs", b"\x93NUMPY\x01\x00"), "vecs");
        assert_eq!(of("x.pth", b"\x80\x02}q"), "torch");
        assert_eq!(of("x", b"\x80\x04\x95"), "pickle");
        assert_eq!(of("x.pkl", TORCH_LEGACY), "torch");
        assert_eq!(of("x", b"1 2 3\n"), "text");
        assert_eq!(of("X.NPY", b"nothing"), "npy");
        assert!(of("x.csv", b"\x1f\x8b\x08").contains("gunzip"));
        assert!(of("x.index", b"IxF2\0").contains("FAISS"));
        assert!(of("x.bin", b"\0\x01\x02").contains("unknown format (it begins with 00 01 02)"));
        assert!(of("x.npz", b"PK\x03\x04junk").contains("zip"));
    }
}
