//! Results as HDF5.

use std::path::Path;

use voisin::{Metric, Result};

use super::{AttrValue, ResultFile, ResultLayout};
use crate::Elem;
use crate::hdf5::{Writer, ann_name};

pub(super) fn write(path: &Path, file: &ResultFile<'_>, layout: ResultLayout) -> Result<()> {
    let shape = [file.neighbors.len() as u64, file.neighbors.k() as u64];
    let (ids, mut distances) = file.neighbors.padded();
    let mut out = Writer::create(path)?;
    match layout {
        ResultLayout::Default => {
            out.begin("neighbors", Elem::I64, &shape)?;
            out.values(&le_bytes(&ids, i64::to_le_bytes))?;
        }
        ResultLayout::Sisap => {
            out.begin("knns", Elem::I32, &shape)?;
            out.values(&le_bytes(&file.ids_i32(path, 1)?, i32::to_le_bytes))?;
            if file.metric == Metric::Ip {
                distances.iter_mut().for_each(|d| *d = 1.0 - *d);
            }
        }
    }
    out.end()?;
    out.begin(if layout == ResultLayout::Sisap { "dists" } else { "distances" }, Elem::F32, &shape)?;
    out.values(&le_bytes(&distances, f32::to_le_bytes))?;
    out.end()?;
    if let Some(base) = file.base_ids {
        out.strings("ids", &shape, ids.iter().map(|&id| if id < 0 { "" } else { base.get(id as usize) }))?;
    }
    if let Some(queries) = file.query_ids {
        out.strings("query_ids", &shape[..1], queries.iter())?;
    }
    out.attribute("distance", AttrValue::Text(ann_name(file.metric).into()));
    out.attribute("short_rows", AttrValue::Int(file.neighbors.short_rows() as i64));
    for (name, value) in &file.attributes {
        out.attribute(name, value.clone());
    }
    out.finish()
}

fn le_bytes<T: Copy, const N: usize>(values: &[T], f: impl Fn(T) -> [u8; N]) -> Vec<u8> {
    values.iter().flat_map(|&v| f(v)).collect()
}
