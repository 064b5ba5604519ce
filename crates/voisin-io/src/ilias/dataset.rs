//! The lists of a data set: `image_ids/*.txt` and `taxonomy.json`.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use voisin::eval::ilias::{Instances, Positive};
use voisin::{Error, Result, StringIds};

/// What the lists say.
pub struct Lists {
    /// Instances, positives, categories.
    pub instances: Instances,
    /// Ids of image and of text queries.
    pub queries: [StringIds; 2],
    /// Number of positives.
    pub positives: usize,
    /// Whether there is a taxonomy.
    pub taxonomy: bool,
}

/// Reads `image_ids/image_query_ids.txt`, `text_query_ids.txt` and `positive_ids.txt` (`id,scale,clutter`) below `dir`, and
/// `taxonomy.json` there (or the file named), which may be missing: `{category: {sub-category: {leaf: [instance, ...]}}}`.
///
/// # Errors
/// [`Error::Io`] for a list that is missing; [`Error::Format`] with its line for one that cannot be read; a taxonomy that was
/// named but is not there, or is no such JSON.
pub fn read_lists(dir: &Path, taxonomy: Option<&Path>) -> Result<Lists> {
    let ids = dir.join("image_ids");
    let queries = |list: &str| -> Result<StringIds> {
        let text = text(&ids.join(list))?;
        Ok(lines(&text).map(|(_, line)| line.split(',').next().unwrap_or(line).trim()).collect())
    };
    let queries = [queries("image_query_ids.txt")?, queries("text_query_ids.txt")?];
    let all: StringIds = queries.iter().flat_map(StringIds::iter).collect();
    let path = ids.join("positive_ids.txt");
    let positives = positives(&path, &text(&path)?)?;
    let beside = dir.join("taxonomy.json");
    let taxonomy = taxonomy.or_else(|| beside.is_file().then_some(&beside));
    let categories = taxonomy.map(read_taxonomy).transpose()?;
    if all.is_empty() || positives.is_empty() {
        let which = if all.is_empty() { "image_query_ids.txt and text_query_ids.txt" } else { "positive_ids.txt" };
        return Err(Error::format(&ids, format!("no ids in {which}")));
    }
    let (n, taxonomy) = (positives.len(), categories.is_some());
    let instances = Instances::new(&all, positives, categories.unwrap_or_default());
    let instances = instances.map_err(|e| Error::format(&path, e.to_string()))?;
    Ok(Lists { instances, queries, positives: n, taxonomy })
}

impl Lists {
    /// Queries of the data set that a file of these does not have: of the image queries where it has any of them, of the text
    /// queries likewise.
    pub fn missing(&self, found: &StringIds) -> Vec<&str> {
        let found: HashSet<&str> = found.iter().collect();
        let asked = self.queries.iter().filter(|list| list.iter().any(|id| found.contains(id)));
        asked.flat_map(StringIds::iter).filter(|id| !found.contains(id)).collect()
    }
}

fn text(path: &Path) -> Result<String> {
    let bytes = std::fs::read(path).map_err(|e| Error::io(path, e))?;
    String::from_utf8(bytes).map_err(|e| Error::format(path, format!("no UTF-8 at byte {}", e.utf8_error().valid_up_to())))
}

fn lines(text: &str) -> impl Iterator<Item = (usize, &str)> {
    text.lines().map(str::trim).enumerate().filter(|(_, line)| !line.is_empty())
}

fn positives(path: &Path, text: &str) -> Result<Vec<Positive>> {
    let one = |(i, line): (usize, &str)| {
        let number = |s: &str| s.trim().parse::<f64>().ok().filter(|x| x.is_finite() && *x >= 0.0);
        let mut parts = line.rsplitn(3, ',');
        let (clutter, scale) = (parts.next().and_then(number), parts.next().and_then(number));
        match (parts.next(), scale, clutter) {
            (Some(id), Some(scale), Some(clutter)) => Ok(Positive { id: id.trim().to_owned(), scale, clutter }),
            _ => Err(Error::format(path, format!("line {}: id,scale,clutter is expected, found {line:?}", i + 1))),
        }
    };
    lines(text).map(one).collect()
}

type Taxonomy = BTreeMap<String, BTreeMap<String, BTreeMap<String, Vec<String>>>>;

fn read_taxonomy(path: &Path) -> Result<Vec<(String, String, String)>> {
    let all: Taxonomy = serde_json::from_str(&text(path)?).map_err(|e| {
        Error::format(path, format!("{{category: {{sub-category: {{leaf: [instance]}}}}}} is expected; JSON: {e}"))
    })?;
    let mut out = Vec::new();
    for (category, subs) in &all {
        for (sub, leaves) in subs {
            let instances = leaves.values().flatten();
            out.extend(instances.map(|i| (i.clone(), category.clone(), sub.clone())));
        }
    }
    Ok(out)
}
