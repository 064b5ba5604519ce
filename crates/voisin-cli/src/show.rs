//! The first results as a table that people read.

use voisin::Neighbors;

/// Queries shown.
const QUERIES: usize = 3;
/// Neighbours shown for each.
const EACH: usize = 10;

/// The neighbours of the first queries, with names given by `query` and `id`.
pub fn table(found: &Neighbors, query: impl Fn(usize) -> String, id: impl Fn(u64) -> String) -> String {
    let shown = found.len().min(QUERIES);
    let mut rows = Vec::new();
    for i in 0..shown {
        let (ids, distances) = (found.ids(i), found.distances(i));
        for (j, (n, d)) in ids.iter().zip(distances).take(EACH).enumerate() {
            let name = if j == 0 { query(i) } else { String::new() };
            rows.push([name, (j + 1).to_string(), id(*n), format!("{d:.6}")]);
        }
        if ids.is_empty() {
            rows.push([query(i), "-".into(), "none".into(), String::new()]);
        } else if ids.len() > EACH {
            rows.push([String::new(), String::new(), format!("... {} more", ids.len() - EACH), String::new()]);
        }
    }
    let head = ["query", "rank", "id", "distance"].map(String::from);
    let width: Vec<usize> = (0..4).map(|c| rows.iter().chain([&head]).map(|r| r[c].chars().count()).max().unwrap_or(0)).collect();
    let mut text = String::new();
    for row in [&head].into_iter().chain(&rows) {
        let line = format!(
            "{:<w0$}  {:>w1$}  {:<w2$}  {:>w3$}",
            row[0],
            row[1],
            row[2],
            row[3],
            w0 = width[0],
            w1 = width[1],
            w2 = width[2],
            w3 = width[3]
        );
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
        let text = table(&n, |q| format!("q{q}"), |id| format!("row-{id}"));
        assert!(text.starts_with("query  rank  id"), "{text}");
        for part in ["none", "row-9", "... 2 more", "... 2 more queries"] {
            assert!(text.contains(part), "{part}: {text}");
        }
    }
}
