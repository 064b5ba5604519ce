//! Tables of neighbours as arrays: ivecs, ibin, npy, npz.

use std::sync::Arc;

use voisin::{Error, Neighbors, Result, Source};

use super::{DistanceKind, Truth, from_table, row_numbers};
use crate::npy::Header;
use crate::zipfile::Archive;
use crate::{Elem, InFile, Layout, RawSource, Role};

/// TEXMEX: rows of i32 k and k ids; k may differ from row to row.
pub(super) fn ivecs(file: &InFile, k: Option<usize>) -> Result<Truth> {
    let bytes = file.bytes(0, file.len())?;
    let number = |at: usize| bytes.get(at..at + 4).map(|b| i32::from_le_bytes(b.try_into().expect("four bytes")));
    let (mut at, mut rows, mut most) = (0, Vec::new(), 0);
    while at < bytes.len() {
        let bad = |what: String| Error::format(file.path(), format!("row {}: {what}", rows.len()));
        let count = number(at).ok_or_else(|| bad("truncated".into()))?;
        let size = usize::try_from(count).map_err(|_| bad(format!("{count} ids")))? * 4;
        let ids = bytes.get(at + 4..at + 4 + size).ok_or_else(|| bad(format!("truncated: {count} ids are expected")))?;
        rows.push(&bytes[at + 4..at + 4 + size]);
        most = most.max(ids.len() / 4);
        at += 4 + size;
    }
    let mut out = Neighbors::new(k.unwrap_or(most).min(most));
    for (row, ids) in rows.iter().enumerate() {
        let ids = to_i64(Elem::I32, false, ids).expect("integers");
        row_numbers(file.path(), row, &ids)?;
        let one = from_table(file.path(), &ids, None, ids.len(), 0, k);
        let one = one.map_err(|_| Error::format(file.path(), format!("row {row}: a negative id before others")))?;
        match one.is_empty() {
            true => out.push_row([]),
            false => out.push_row(one.distances(0).iter().copied().zip(one.ids(0).iter().copied())),
        }
    }
    Ok(Truth::new(out, None))
}

/// big-ann: u32 queries, u32 k, all ids i32, then (in truth files) all distances f32.
pub(super) fn ibin(file: &InFile, k: Option<usize>) -> Result<Truth> {
    let head = file.bytes(0, 8)?;
    let size = |at: usize| u32::from_le_bytes(head[at..at + 4].try_into().expect("four bytes"));
    let (n, width) = (size(0) as u64, size(4) as u64);
    let (table, len) = (4 * n as u128 * width as u128, file.len() as u128);
    let with_distances = 8 + 2 * table == len;
    if !with_distances && 8 + table != len {
        let what = format!("{n} x {width} ids need {} bytes, with distances {}; it has {len}", 8 + table, 8 + 2 * table);
        return Err(Error::format(file.path(), what));
    }
    let table = table as u64; // within the file
    let ids = to_i64(Elem::I32, false, &file.bytes(8, table)?).expect("integers");
    let mut distances = vec![0.0; if with_distances { ids.len() } else { 0 }];
    if with_distances {
        Elem::F32.decode(&file.bytes(8 + table, table)?, false, &mut distances);
    }
    let neighbors = from_table(file.path(), &ids, with_distances.then_some(&distances[..]), width as usize, 0, k)?;
    let mut truth = Truth::new(neighbors, with_distances.then_some(DistanceKind::SquaredL2));
    if with_distances {
        truth.notes.push("distances under l2 are taken as squared, as big-ann has them".into());
    }
    Ok(truth)
}

/// One array of ids; a plain list has one for each query.
pub(super) fn npy(file: Arc<InFile>, k: Option<usize>) -> Result<Truth> {
    let source = Header::read(&file, 0)?.into_table().source(file.clone(), 0, "", Role::Base)?;
    let (ids, width) = integers(&source)?;
    Ok(Truth::new(from_table(file.path(), &ids, None, width, 0, k)?, None))
}

/// `neighbors` and `distances`, `knns` and `dists`, or FAISS's `I` and `D`.
pub(super) fn npz(file: Arc<InFile>, dataset: Option<&str>, k: Option<usize>) -> Result<Truth> {
    const NAMES: [(&str, &str, DistanceKind); 4] = [
        ("neighbors", "distances", DistanceKind::Reported),
        ("knns", "dists", DistanceKind::OneMinusDot),
        ("I", "D", DistanceKind::SquaredL2),
        ("ids", "distances", DistanceKind::Reported),
    ];
    let path = file.path().to_owned();
    let mut archive = Archive::open(file)?;
    let names: Vec<String> = archive.members().iter().filter_map(|m| m.name.strip_suffix(".npy").map(str::to_owned)).collect();
    let has = |name: &str| names.iter().any(|n| n == name);
    let (ids, distances, kind) = match dataset {
        Some(name) => NAMES.into_iter().find(|n| n.0 == name).unwrap_or((name, "", DistanceKind::Reported)),
        None => NAMES.into_iter().find(|n| has(n.0)).ok_or_else(|| {
            Error::format(
                &path,
                format!("no array of neighbours (`neighbors`, `knns`, `I` or `ids`); it has {}", names.join(", ")),
            )
        })?,
    };
    let table = open(&mut archive, ids)?;
    let (numbers, width) = integers(&table)?;
    let n = table.len();
    let mut values = None;
    if has(distances) {
        let source = open(&mut archive, distances)?;
        if (source.len(), source.dim()) != (n, width) {
            let what = format!("`{distances}` is {} x {}, `{ids}` {n} x {width}", source.len(), source.dim());
            return Err(Error::format(&path, what));
        }
        let mut out = vec![0.0; numbers.len()];
        source.read(0, &mut out)?;
        values = Some(out);
    }
    let first = (ids == "knns") as i64;
    let mut truth = Truth::new(from_table(&path, &numbers, values.as_deref(), width, first, k)?, values.as_ref().map(|_| kind));
    truth.notes = super::hdf5::notes(ids, values.is_some(), kind);
    Ok(truth)
}

fn open(archive: &mut Archive, name: &str) -> Result<RawSource> {
    let path = archive.file().path().to_owned();
    let member = archive.find(&format!("{name}.npy"));
    let member = member.ok_or_else(|| Error::format(&path, format!("no array `{name}`")))?;
    let (data, at) = archive.data(member)?;
    Header::read(&data, at)?.source(data, at, name, Role::Base)
}

/// All values of a table of integers, row by row, and its columns.
pub(super) fn integers(source: &RawSource) -> Result<(Vec<i64>, usize)> {
    let (Layout { offset, n, d, elem, big_endian, row_stride, col_stride }, file) = (*source.layout(), source.file());
    let bad = || Error::format(file.path(), format!("{} {} values where row numbers are expected", source.name(), elem.name()));
    let size = elem.size() as u64;
    if col_stride == size && row_stride == size * d as u64 {
        let bytes = file.bytes(offset, n * row_stride)?;
        return Ok((to_i64(elem, big_endian, &bytes).ok_or_else(bad)?, d));
    }
    let mut out = vec![0; n as usize * d];
    for column in 0..d {
        let bytes = file.bytes(offset + column as u64 * col_stride, n * size)?;
        let values = to_i64(elem, big_endian, &bytes).ok_or_else(bad)?;
        values.iter().enumerate().for_each(|(row, &v)| out[row * d + column] = v);
    }
    Ok((out, d))
}

/// Bytes to i64; `None` for floats and for values beyond i64.
pub(super) fn to_i64(elem: Elem, big_endian: bool, bytes: &[u8]) -> Option<Vec<i64>> {
    macro_rules! each {
        ($t:ty) => {{
            let number = |b: &[u8]| {
                let b = b.try_into().expect("exact chunks");
                if big_endian { <$t>::from_be_bytes(b) } else { <$t>::from_le_bytes(b) }
            };
            bytes.chunks_exact(size_of::<$t>()).map(|b| i64::try_from(number(b)).ok()).collect()
        }};
    }
    match elem {
        Elem::F16 | Elem::BF16 | Elem::F32 | Elem::F64 | Elem::Bool => None,
        Elem::U8 => each!(u8),
        Elem::I8 => each!(i8),
        Elem::U16 => each!(u16),
        Elem::I16 => each!(i16),
        Elem::U32 => each!(u32),
        Elem::I32 => each!(i32),
        Elem::U64 => each!(u64),
        Elem::I64 => each!(i64),
    }
}
