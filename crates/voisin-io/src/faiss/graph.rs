//! The graph of an HNSW index.

use voisin::graph::{Edges, Graph};
use voisin::{Matrix, Metric};

use super::bytes::{Read, floats, ints, longs};
use super::plain;
use super::tree::*;

/// Takes a graph, and ids around it; `None` for an index of another kind.
pub(super) fn graph(node: &Node<'_>) -> Option<Read<Graph>> {
    match node {
        Node::Graph { graph, storage, head } => Some(made(graph, storage, *head, None)),
        Node::IdMap { index, ids, .. } => match &**index {
            Node::Graph { graph, storage, head } => Some(made(graph, storage, *head, Some(ids))),
            _ => None,
        },
        _ => None,
    }
}

fn made(graph: &super::tree::Graph<'_>, storage: &Node<'_>, head: Head, ids: Option<&[u8]>) -> Read<Graph> {
    let Node::Flat { values, .. } = storage else { return Err("a graph over codes; HNSW over Flat is read".into()) };
    let counts = |bytes: &[u8], what: &str| -> Read<Vec<u32>> {
        ints(bytes).map(|x| u32::try_from(x).map_err(|_| format!("{what} of {x}"))).collect()
    };
    let metric: Metric = plain::metric(head.metric)?;
    let edges = Edges {
        room: counts(graph.room, "room for neighbours")?,
        levels: counts(graph.levels, "a number of levels")?,
        offsets: longs(graph.offsets).collect(),
        neighbours: ints(graph.neighbours).collect(),
        entry: usize::try_from(graph.entry).unwrap_or(usize::MAX),
    };
    let top = edges.levels.get(edges.entry).copied().unwrap_or(0);
    if head.n > 0 && graph.max_level + 1 != top as i32 {
        return Err(format!("an entry point on {top} levels where the highest is {}", graph.max_level));
    }
    let ids = ids.map(|ids| longs(ids).map(number).collect::<Read<Vec<u64>>>()).transpose()?;
    let ef = usize::try_from(graph.ef).unwrap_or(1);
    Graph::new(Matrix::new(floats(values), head.d), edges, ids, metric, ef)
}

/// An id of a graph.
fn number(found: u64) -> Read<u64> {
    match plain::id(found)? {
        id if (id as i64) < 0 => Err(format!("the id {} of a graph, whose ids are read from 0 on", id as i64)),
        id => Ok(id),
    }
}
