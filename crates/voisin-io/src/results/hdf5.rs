//! Results as HDF5.

use std::path::Path;

use voisin::{Metric, Result};

use super::{AttrValue, ResultFile, ResultLayout, id_i32};
use crate::Elem;
use crate::hdf5::{Writer, ann_name};

pub(super) fn write(path: &Path, file: &ResultFile<'_>, layout: ResultLayout) -> Result<()> {
    let shape = [file.neighbors.len() as u64, file.neighbors.k() as u64];
    let mut out = Writer::create(path)?;
    let nan = f32::NAN.to_le_bytes();
    let sisap = layout == ResultLayout::Sisap;
    if sisap {
        out.begin("knns", Elem::I32, &shape)?;
        let id = |row, id, _| Ok(id_i32(path, row, id, 1)?.to_le_bytes());
        file.in_pieces(id, 0i32.to_le_bytes(), |bytes| out.values(bytes))?;
    } else {
        out.begin("neighbors", Elem::I64, &shape)?;
        file.in_pieces(|_, id, _| Ok(id.to_le_bytes()), (-1i64).to_le_bytes(), |bytes| out.values(bytes))?;
    }
    out.end()?;
    out.begin(if sisap { "dists" } else { "distances" }, Elem::F32, &shape)?;
    let one_minus = sisap && file.metric == Metric::Ip;
    let distance = |_, _, d: f32| Ok((if one_minus { 1.0 - d } else { d }).to_le_bytes());
    file.in_pieces(distance, nan, |bytes| out.values(bytes))?;
    out.end()?;
    if file.similarities && file.metric != Metric::L2 {
        out.begin("similarity", Elem::F32, &shape)?;
        let similarity = |_, _, d| Ok(file.similarity(d).unwrap_or(f32::NAN).to_le_bytes());
        file.in_pieces(similarity, nan, |bytes| out.values(bytes))?;
        out.end()?;
    }
    if let Some(base) = file.base_ids {
        let (n, k) = (file.neighbors.len(), file.neighbors.k());
        let name = |i: usize| file.neighbors.ids(i / k).get(i % k).map_or("", |id| base.get(*id as usize));
        out.strings("ids", &shape, (0..n * k).map(name))?;
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
