//! What `torch.topk` gives, saved: a tuple of similarities and indices (or of one of them first or alone).

use std::sync::Arc;

use voisin::{Error, Result};

use super::{DistanceKind, Truth, arrays, from_table};
use crate::pickle::{Value, View};
use crate::{InFile, torch};

/// Indices (n, or n x k integers) and, of the same shape, similarities.
pub(super) fn read(file: Arc<InFile>, k: Option<usize>) -> Result<Truth> {
    let path = file.path().to_owned();
    let doc = torch::parse(file)?;
    let parts: Vec<Value> = doc.items(doc.root).map_or_else(|| vec![doc.root], <[Value]>::to_vec);
    let mut views = Vec::new();
    for v in parts.into_iter().take(8) {
        views.extend(doc.view(v)?.and_then(|view| view.as_table()));
    }
    let is_ids = |v: &&View| !v.elem().is_float();
    let ids: Vec<&View> = views.iter().filter(is_ids).collect();
    let [ids] = ids[..] else {
        let what = format!("{} tensors of indices where one is expected: a tuple (similarities, indices)", ids.len());
        return Err(Error::format(&path, what));
    };
    let (numbers, width) = arrays::integers(&ids.raw("indices", None)?)?;
    let values = match views.iter().find(|v| v.elem().is_float() && v.shape() == ids.shape()) {
        Some(view) => Some(view.to_f32()?),
        None => None,
    };
    let table = from_table(&path, &numbers, values.as_deref(), width, 0, k)?;
    let mut truth = Truth::new(table, values.is_some().then_some(DistanceKind::Similarity));
    truth.notes.push("indices of a torch tuple count from 0".to_string());
    Ok(truth)
}
