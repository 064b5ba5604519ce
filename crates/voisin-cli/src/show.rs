//! The first results as a table that people read.

use voisin::Neighbors;

/// Queries shown.
const QUERIES: usize = 3;
/// Neighbours shown for each.
const EACH: usize = 10;

/// The neighbours of the first queries, with names given by `query` and `id`, and a column of similarities where there are some.
pub fn table(
    found: &Neighbors,
    query: impl Fn(usize) -> String,
    id: impl Fn(u64) -> String,
    similarity: impl Fn(f32) -> Option<f32>,
) -> String {
    let shown = found.len().min(QUERIES);
    let similarity = |d| similarity(d).map(|s| format!("{s:.6}")).unwrap_or_default();
    let mut rows =
        vec![["query", "rank", "id", "distance", if similarity(0.0).is_empty() { "" } else { "similarity" }].map(String::from)];
    let none = String::new;
    for i in 0..shown {
        let (ids, distances) = (found.ids(i), found.distances(i));
        for (j, (n, &d)) in ids.iter().zip(distances).take(EACH).enumerate() {
            let name = if j == 0 { query(i) } else { none() };
            rows.push([name, (j + 1).to_string(), id(*n), format!("{d:.6}"), similarity(d)]);
        }
        if ids.is_empty() {
            rows.push([query(i), "-".into(), "none".into(), none(), none()]);
        } else if ids.len() > EACH {
            rows.push([none(), none(), format!("... {} more", ids.len() - EACH), none(), none()]);
        }
    }
    let [w0, w1, w2, w3, w4] = std::array::from_fn(|c| rows.iter().map(|r| r[c].chars().count()).max().unwrap_or(0));
    let mut text = String::new();
    for [query, rank, id, distance, similarity] in &rows {
        let line = format!("{query:<w0$}  {rank:>w1$}  {id:<w2$}  {distance:>w3$}  {similarity:>w4$}");
        text += line.trim_end();
        text.push('\n');
    }
    if found.len() > shown {
        text += &format!("... {} more queries; -o FILE keeps all of them\n", found.len() - shown);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_and_long_rows_are_shown() {
        let mut n = Neighbors::new(12);
        n.push_row([]);
        n.push_row((0..12).map(|i| (i as f32, i as u64)));
        (0..3).for_each(|_| n.push_row([(1.0, 3)]));
        let text = table(&n, |q| format!("q{q}"), |id| format!("row-{id}"), |_| None);
        assert!(text.starts_with("query  rank  id"), "{text}");
        let more = table(&n, |q| format!("q{q}"), |id| format!("row-{id}"), |d| Some(1.0 - d));
        assert!(more.contains("distance  similarity\n") && more.contains("2.000000   -1.000000\n"), "{more}");
        for part in ["none", "row-9", "... 2 more", "... 2 more queries"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
