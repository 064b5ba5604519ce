//! One query and its neighbours, and why a list more or less finds them or not.

use serde_json::{Value, json};
use voisin::index::Index;
use voisin::partition::RouteParams;
use voisin::{Metric, Neighbors, Vectors};

use super::data::Data;
use crate::fail::Result;
use crate::outcome::round;
use crate::point::grid;
use crate::report::escape;

/// A true neighbour.
struct Hit {
    name: String,
    text: String,
    distance: f32,
    /// Which of the lists that the query visits holds it, counted from 1.
    visit: usize,
    /// The probability that the model gives this list.
    probability: f32,
}

/// A query with its true neighbours.
pub struct Example {
    name: String,
    text: String,
    hits: Vec<Hit>,
}

impl Example {
    /// Query `q` with its true neighbours, and where the learned index keeps them.
    ///
    /// # Errors
    /// A damaged index.
    pub fn new(data: &Data, q: usize, truth: &Neighbors, index: &Index) -> Result<Example> {
        let partition = index.partition();
        let query = directed(data.queries.row(q), data.metric);
        let routes = partition.route(Vectors::new(&query, query.len()), &RouteParams { nprobe: 0, mass: None });
        let mut hits = Vec::new();
        for (&id, &distance) in truth.ids(q).iter().zip(truth.distances(q)) {
            let Some(vector) = index.vector_of(id)? else { continue };
            let vector = directed(&vector, data.metric);
            let list = partition.assign(Vectors::new(&vector, vector.len()))[0];
            let at = routes.lists(0).iter().position(|l| *l == list).unwrap_or(0);
            hits.push(Hit {
                name: data.name(id),
                text: data.text(id).to_string(),
                distance,
                visit: at + 1,
                probability: routes.scores(0).get(at).copied().unwrap_or_default(),
            });
        }
        Ok(Example { name: data.query_name(q), text: data.query_text(q).to_string(), hits })
    }

    fn title(&self) -> String {
        if self.text.is_empty() { self.name.clone() } else { format!("\"{}\" ({})", self.text, self.name) }
    }

    /// How many of the true neighbours the first `lists` hold.
    fn within(&self, lists: usize) -> usize {
        self.hits.iter().filter(|h| h.visit <= lists).count()
    }

    fn summary(&self, nprobe: &[usize]) -> String {
        let counts = nprobe.iter().map(|&n| format!("{n} list{}: {}", if n == 1 { "" } else { "s" }, self.within(n)));
        format!(
            "of the {} true neighbours the learned index finds with {}",
            self.hits.len(),
            counts.collect::<Vec<_>>().join(", ")
        )
    }

    /// For the terminal.
    pub fn lines(&self, nprobe: &[usize]) -> String {
        let head = ["", "distance", "list visited"].map(String::from);
        let rows = self.hits.iter().enumerate().map(|(i, h)| {
            let text = if h.text.is_empty() { h.name.clone() } else { format!("{}: {}", h.name, h.text) };
            let text: String = text.chars().take(78).collect();
            vec![format!("{:>2}  {text}", i + 1), format!("{:.4}", h.distance), format!("no. {} ({:.3})", h.visit, h.probability)]
        });
        format!("query: {}\n{}{}", self.title(), grid(&head, &rows.collect::<Vec<_>>()), self.summary(nprobe))
    }

    /// For the page.
    pub fn html(&self, nprobe: &[usize]) -> String {
        let mut s = format!("<blockquote>{}</blockquote>\n", escape(&self.title()));
        s += "<div class=\"scroll\"><table>\n<thead><tr><th>rank</th><th class=\"text\">true neighbour</th><th>distance</th>";
        s += "<th>its list is<br>visited as no.</th><th>probability<br>of the list</th></tr></thead>\n<tbody>\n";
        for (i, h) in self.hits.iter().enumerate() {
            let text = if h.text.is_empty() { String::new() } else { format!("<br><small>{}</small>", escape(&h.text)) };
            let class = if h.visit == 1 { "good" } else { "miss" };
            s += &format!(
                "<tr><td>{}</td><td class=\"text\">{}{text}</td><td>{:.4}</td><td class=\"{class}\">{}</td><td>{:.3}</td></tr>\n",
                i + 1,
                escape(&h.name),
                h.distance,
                h.visit,
                h.probability
            );
        }
        s += "</tbody></table></div>\n";
        s + &format!("<p class=\"note\">O{}.</p>\n", escape(&self.summary(nprobe)[1..]))
    }

    /// For programs.
    pub fn json(&self) -> Value {
        let hits = self.hits.iter().map(|h| {
            json!({ "id": h.name, "text": h.text, "distance": round(h.distance.into(), 6), "list_visited": h.visit,
                    "probability": round(h.probability.into(), 6) })
        });
        json!({ "query": self.name, "text": self.text, "neighbors": hits.collect::<Vec<_>>() })
    }
}

/// The row as the partition saw it: at unit length under cosine.
fn directed(row: &[f32], metric: Metric) -> Vec<f32> {
    let norm = row.iter().map(|&x| f64::from(x) * f64::from(x)).sum::<f64>().sqrt();
    let scale = if metric == Metric::Cosine && norm > 0.0 { norm } else { 1.0 };
    row.iter().map(|&x| (f64::from(x) / scale) as f32).collect()
}
