//! Tables of neighbours in HDF5: ann-benchmarks, SISAP, and what is written here.

use std::sync::Arc;

use voisin::{Error, Metric, Result, Source};

use super::{DistanceKind, Truth, arrays, from_table};
use crate::hdf5::{Found, H5, H5Source, by_name, read_strings, stored_bytes, walk};
use crate::{Dataset, Elem, InFile, show, spec_name};

/// Where neighbours are, the likeliest first, and the name of the distances beside them.
const NAMES: [(&str, &str); 2] = [("neighbors", "distances"), ("knns", "dists")];
/// Groups that are meant when several have neighbours (SISAP: queries from outside the data).
const GROUPS: [&str; 3] = ["", "otest/", "itest/"];

pub(super) fn read(file: Arc<InFile>, dataset: Option<&str>, k: Option<usize>) -> Result<Truth> {
    let h5 = H5::open(file.clone())?;
    let found = find(&h5, dataset)?;
    let Some((elem, big_endian)) = found.elem.filter(|(e, _)| !e.is_float()) else {
        return Err(h5.error(&found.name, "row numbers (integers) are expected"));
    };
    let &[n, width] = found.dataset.shape() else {
        return Err(h5.error(&found.name, "a table, one row a query, is expected"));
    };
    let bytes = stored_bytes(&h5, &found, elem.size())?;
    let ids = arrays::to_i64(elem, big_endian, &bytes).ok_or_else(|| h5.error(&found.name, "an id beyond 63 bits"))?;

    let (group, last) = found.name.rsplit_once('/').map_or(("", found.name.as_str()), |(g, l)| (&found.name[..=g.len()], l));
    let one_based = last == "knns";
    let beside = NAMES.iter().find(|(i, _)| *i == last).map_or("distances", |(_, d)| d);
    let beside = by_name(&h5, &format!("{group}{beside}"))?.filter(|d| d.elem.is_some_and(|(e, _)| e.is_float()));
    let distances = match beside {
        Some(d) if d.dataset.shape() == [n, width] => Some(floats(file.clone(), d)?),
        Some(d) => return Err(h5.error(&d.name, format!("shape {:?} beside ids of {:?}", d.dataset.shape(), [n, width]))),
        None => None,
    };
    let metric = h5.metric();
    let kind = match (one_based, metric) {
        (true, None | Some(Metric::Ip)) => DistanceKind::OneMinusDot,
        _ => DistanceKind::Reported,
    };
    let width = width as usize;
    let table = from_table(h5.path(), &ids, distances.as_deref(), width, one_based as i64, k)?;
    let mut truth = Truth::new(table, distances.as_ref().map(|_| kind));
    truth.name = spec_name(h5.path(), &found.name);
    truth.metric = metric;
    truth.size = h5.count("size");
    truth.notes = notes(last, distances.is_some(), kind);
    if let Some(names) = by_name(&h5, &format!("{group}ids"))?.filter(|s| s.is_string() && s.dataset.shape() == [n, width as u64])
    {
        let all = read_strings(&h5, &names)?;
        let row = |i: usize| (0..truth.neighbors.ids(i).len()).map(move |j| i * width + j);
        truth.strings = Some((0..truth.neighbors.len()).flat_map(row).map(|i| all.get(i)).collect());
    }
    if let Some(names) = by_name(&h5, &format!("{group}query_ids"))?.filter(|s| s.is_string() && s.dataset.shape() == [n]) {
        truth.query_ids = Some(read_strings(&h5, &names)?);
    }
    Ok(truth)
}

/// What was assumed about arrays of this name.
pub(super) fn notes(name: &str, distances: bool, kind: DistanceKind) -> Vec<String> {
    let mut out = Vec::new();
    if name == "knns" {
        out.push("ids of `knns` count from 1".to_string());
    }
    match (distances, kind) {
        (true, DistanceKind::OneMinusDot) => out.push("distances are taken as 1 - dot product".into()),
        (true, DistanceKind::SquaredL2) => out.push("distances under l2 are taken as squared, as FAISS gives them".into()),
        _ => {}
    }
    out
}

/// The data set of ids: the one named (or in the group named), else the usual names, else the only table of integers.
fn find(file: &H5, dataset: Option<&str>) -> Result<Found> {
    if let Some(name) = dataset
        && let Some(found) = by_name(file, name)?
    {
        return Ok(found);
    }
    let all = walk(file)?;
    let prefix = dataset.map(|d| format!("{}/", d.trim_matches('/')));
    let groups: Vec<&str> = prefix.as_deref().map_or(GROUPS.to_vec(), |p| vec![p]);
    for group in groups {
        for (ids, _) in NAMES {
            if let Some(found) = all.iter().find(|f| f.name.strip_prefix(group) == Some(ids)) {
                return Ok(found.clone());
            }
        }
    }
    let tables: Vec<&Found> =
        all.iter().filter(|f| f.dataset.shape().len() == 2 && f.elem.is_some_and(|(e, _): (Elem, bool)| !e.is_float())).collect();
    if let ([only], None) = (&tables[..], dataset) {
        return Ok((*only).clone());
    }
    let list: Vec<String> = all.iter().take(12).map(|f| show(&Dataset { layout: String::new(), ..f.describe(file) })).collect();
    let what = match dataset {
        Some(d) => format!("no data set `{d}` and no neighbours in such a group"),
        None => "no table of neighbours (`neighbors` or `knns`)".into(),
    };
    Err(Error::format(file.path(), format!("{what}; the file has {}", list.join(", "))))
}

fn floats(file: Arc<InFile>, found: Found) -> Result<Vec<f32>> {
    let source = H5Source::new(H5::open(file)?, found)?;
    let mut out = vec![0.0; source.len() as usize * source.dim()];
    source.read(0, &mut out)?;
    Ok(out)
}
