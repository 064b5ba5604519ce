//! The evaluation of ILIAS: mAP@k and what it hides, by scale, clutter, category.
//!
//! Queries and positives belong to an *instance* (an object), named by what stands before the first slash of their ids.
//! A positive has a scale (the share of the image that the object takes) and a clutter; the groups of both are quartiles
//! over the data set.
//!
//! Source: Kordopatis-Zilos et al., "ILIAS: Instance-Level Image retrieval At Scale", arXiv:2502.11748, and the figures that its
//! public evaluation prints.

use super::relevance::average_precision;
use crate::{Error, Result, StringIds};
use std::collections::{BTreeMap, HashMap};

/// Bounds of the groups by scale: from one (included) to the next.
const SCALES: [(&str, f64); 5] = [
    ("0", 0.0),
    ("0.06880213760855043", 0.06880213760855043),
    ("0.13526567164179104", 0.13526567164179104),
    ("0.2729876723163842", 0.2729876723163842),
    ("inf", f64::INFINITY),
];
/// Bounds of the groups by clutter.
const CLUTTERS: [(&str, f64); 5] = [("0", 0.0), ("18", 18.0), ("33", 33.0), ("53", 53.0), ("inf", f64::INFINITY)];

/// An image that shows an instance among other things.
#[derive(Clone, Debug, PartialEq)]
pub struct Positive {
    /// Its id: `instance/...`.
    pub id: String,
    /// Share of the image that the object takes.
    pub scale: f64,
    /// How much else is in it.
    pub clutter: f64,
}

/// Which images are right for which query.
#[derive(Clone, Debug, Default)]
pub struct Instances {
    /// Positives of each instance, in the order given.
    positives: HashMap<String, Vec<Positive>>,
    /// Category and sub-category (`category-sub`) of each instance; empty without a taxonomy.
    categories: HashMap<String, (String, String)>,
}

/// What was found: for each query its items with their similarities, in any order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Similarities {
    /// Ids of the queries.
    pub queries: StringIds,
    /// Ids of the items.
    pub items: StringIds,
    /// A row a query: (number in `items`, similarity).
    pub rows: Vec<Vec<(u32, f64)>>,
}

/// What [`Instances::evaluate`] finds; all figures are percent.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// Ids of the queries that count, in the order of the file.
    pub queries: Vec<String>,
    /// AP@k of each.
    pub aps: Vec<f64>,
    /// Mean of them.
    pub map: f64,
    /// Mean share of the positives that is among the first k, however they are ranked: mAP after a perfect re-ranking.
    pub oracle: f64,
    /// Mean AP@k when only the positives of a group of scales count and the others are taken out, group by group.
    pub scale: Vec<(String, f64)>,
    /// The same for groups of clutter.
    pub clutter: Vec<(String, f64)>,
    /// Mean over the instances of a category of their mean AP@k.
    pub categories: Vec<(String, f64)>,
    /// The same for `category-sub`.
    pub subcategories: Vec<(String, f64)>,
    /// Queries of the file whose instance is unknown: left out.
    pub unknown: Vec<String>,
}

/// What stands before the first slash of an id.
pub fn instance_of(id: &str) -> &str {
    id.split_once('/').map_or(id, |parts| parts.0)
}

impl Instances {
    /// Takes the ids of all queries (which name the instances), all positives, and (instance, category, sub-category).
    ///
    /// # Errors
    /// [`Error::Id`] for a positive given twice, or one whose instance no query has.
    pub fn new(queries: &StringIds, positives: Vec<Positive>, taxonomy: Vec<(String, String, String)>) -> Result<Instances> {
        let mut all: HashMap<String, Vec<Positive>> = HashMap::new();
        for id in queries.iter() {
            all.entry(instance_of(id).to_owned()).or_default();
        }
        for p in positives {
            let wrong = |what: &str| Err(Error::Id { id: p.id.clone(), what: what.into() });
            match all.get_mut(instance_of(&p.id)) {
                None => return wrong("a positive whose instance has no query"),
                Some(of) if of.iter().any(|o| o.id == p.id) => return wrong("given twice among the positives"),
                Some(of) => of.push(p),
            }
        }
        let categories = taxonomy.into_iter().map(|(i, c, s)| (i, (c.clone(), format!("{c}-{s}")))).collect();
        Ok(Instances { positives: all, categories })
    }

    /// Number of instances.
    pub fn len(&self) -> usize {
        self.positives.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.positives.is_empty()
    }

    /// Evaluates what was found at `k`.
    ///
    /// AP@k is the sum of the precision at every positive among the first k, divided by min(k, positives of the instance); items
    /// of equal similarity count as found together. A query without any of its positives has 0.
    ///
    /// # Errors
    /// A k of 0; [`Error::Empty`] if no query is of a known instance; [`Error::Id`] for an instance without a category where
    /// there is a taxonomy.
    pub fn evaluate(&self, found: &Similarities, k: usize) -> Result<Report> {
        if k == 0 {
            return Err(Error::param("k", 0, "at least 1"));
        }
        // the positive that each item is
        let mut known: HashMap<&str, &Positive> = HashMap::new();
        known.extend(self.positives.values().flatten().map(|p| (&p.id[..], p)));
        let items: Vec<Option<&Positive>> = found.items.iter().map(|id| known.get(id).copied()).collect();
        let mut all = Sums::default();
        for (query, row) in found.queries.iter().zip(&found.rows) {
            let instance = instance_of(query);
            let Some(positives) = self.positives.get(instance) else {
                all.report.unknown.push(query.to_owned());
                continue;
            };
            let category = match self.categories.get(instance) {
                None if !self.categories.is_empty() => {
                    return Err(Error::Id { id: instance.into(), what: "the taxonomy has no category for this instance".into() });
                }
                category => category,
            };
            let mut ranked: Vec<(Option<&Positive>, f64)> = row.iter().map(|&(i, s)| (items[i as usize], s)).collect();
            ranked.sort_by(|a, b| b.1.total_cmp(&a.1)); // stable: equal similarities stay in the order of the file
            ranked.iter_mut().for_each(|r| r.0 = r.0.filter(|p| instance_of(&p.id) == instance));
            all.add(query, instance, &One { positives, ranked }, k, category);
        }
        all.finish()
    }
}

/// One query: its positives, and what was found, best first.
struct One<'a> {
    positives: &'a [Positive],
    ranked: Vec<(Option<&'a Positive>, f64)>,
}

impl One<'_> {
    /// AP@k when only the positives that `keep` takes exist; `None` if there is none. In percent.
    fn ap(&self, k: usize, keep: impl Fn(&Positive) -> bool) -> Option<f64> {
        let relevant = self.positives.iter().filter(|p| keep(p)).count();
        let left = self.ranked.iter().filter(|r| r.0.is_none_or(&keep)).map(|r| (r.0.is_some(), Some(r.1)));
        (relevant > 0).then(|| 100.0 * average_precision(left, relevant, k))
    }
}

/// Values by group; by instance within a category.
#[derive(Default)]
struct Sums {
    report: Report,
    oracles: Vec<f64>,
    scale: [Vec<f64>; 4],
    clutter: [Vec<f64>; 4],
    categories: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
    subcategories: BTreeMap<String, BTreeMap<String, Vec<f64>>>,
}

impl Sums {
    fn add(&mut self, query: &str, instance: &str, one: &One<'_>, k: usize, category: Option<&(String, String)>) {
        let ap = one.ap(k, |_| true).unwrap_or(0.0);
        let hits = one.ranked.iter().take(k).filter(|r| r.0.is_some()).count();
        self.report.queries.push(query.to_owned());
        self.report.aps.push(ap);
        self.oracles.push(100.0 * hits as f64 / one.positives.len().max(1) as f64);
        for (i, (scale, clutter)) in SCALES.windows(2).zip(CLUTTERS.windows(2)).enumerate() {
            self.scale[i].extend(one.ap(k, |p| (scale[0].1..scale[1].1).contains(&p.scale)));
            self.clutter[i].extend(one.ap(k, |p| (clutter[0].1..clutter[1].1).contains(&p.clutter)));
        }
        if let Some((category, sub)) = category {
            let of = |all: &mut BTreeMap<String, BTreeMap<String, Vec<f64>>>, name: &str| {
                all.entry(name.to_owned()).or_default().entry(instance.to_owned()).or_default().push(ap);
            };
            of(&mut self.categories, category);
            of(&mut self.subcategories, sub);
        }
    }

    fn finish(self) -> Result<Report> {
        if self.report.queries.is_empty() {
            return Err(Error::Empty { name: "queries of known instances".into() });
        }
        let group = |bounds: &[(&str, f64); 5], values: &[Vec<f64>; 4]| {
            let named = bounds.windows(2).zip(values).filter(|(_, v)| !v.is_empty());
            named.map(|(b, v)| (format!("{}-{}", b[0].0, b[1].0), mean(v))).collect()
        };
        let by_instance = |all: &BTreeMap<String, BTreeMap<String, Vec<f64>>>| {
            let one = |instances: &BTreeMap<String, Vec<f64>>| mean(&instances.values().map(|v| mean(v)).collect::<Vec<_>>());
            all.iter().map(|(name, instances)| (name.clone(), one(instances))).collect()
        };
        Ok(Report {
            map: mean(&self.report.aps),
            oracle: mean(&self.oracles),
            scale: group(&SCALES, &self.scale),
            clutter: group(&CLUTTERS, &self.clutter),
            categories: by_instance(&self.categories),
            subcategories: by_instance(&self.subcategories),
            ..self.report
        })
    }
}

fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positive(id: &str, scale: f64, clutter: f64) -> Positive {
        Positive { id: id.into(), scale, clutter }
    }

    fn instances() -> Instances {
        let queries = ["a/q", "b/q", "b/text"].iter().collect();
        let positives = vec![positive("a/1", 0.05, 20.0), positive("a/2", 0.5, 20.0), positive("b/1", 0.1, 60.0)];
        let taxonomy = ["a", "b"].map(|i| (i.to_string(), "things".to_string(), format!("sub{i}"))).to_vec();
        Instances::new(&queries, positives, taxonomy).unwrap()
    }

    fn found(rows: &[(&str, &[(&str, f64)])]) -> Similarities {
        let mut items: Vec<&str> = rows.iter().flat_map(|r| r.1.iter().map(|i| i.0)).collect();
        items.sort_unstable();
        items.dedup();
        let number = |id: &str| items.binary_search(&id).unwrap() as u32;
        Similarities {
            queries: rows.iter().map(|r| r.0).collect(),
            rows: rows.iter().map(|r| r.1.iter().map(|&(id, s)| (number(id), s)).collect()).collect(),
            items: items.iter().collect(),
        }
    }

    #[test]
    fn by_hand() {
        let rows: [(&str, &[(&str, f64)]); 3] = [
            ("a/q", &[("x", 0.7), ("a/1", 0.8), ("b/1", 0.9), ("a/2", 0.6)]),
            ("b/q", &[("b/1", 0.5)]),
            ("b/text", &[("x", 0.5)]),
        ];
        let r = instances().evaluate(&found(&rows), 3).unwrap();
        assert_eq!(r.aps, [100.0 * 0.5 / 2.0, 100.0, 0.0]); // a/2 is fourth; a positive of another instance is wrong
        assert_eq!((r.map, r.oracle), (125.0 / 3.0, 150.0 / 3.0));
        // without a/1 (the smallest scales), a/2 is third; without a/2, a/1 is second
        let scale = [("0-0.06880213760855043".to_string(), 50.0), ("0.06880213760855043-0.13526567164179104".into(), 50.0)];
        assert_eq!(r.scale[..2], scale);
        assert!(r.scale[2].0 == "0.2729876723163842-inf" && (r.scale[2].1 - 100.0 / 3.0).abs() < 1e-12);
        assert_eq!(r.clutter, [("18-33".to_string(), 25.0), ("53-inf".into(), 50.0)]);
        assert_eq!(r.categories, [("things".to_string(), (25.0 + 50.0) / 2.0)]);
        assert_eq!(r.subcategories, [("things-suba".to_string(), 25.0), ("things-subb".into(), 50.0)]);
    }

    #[test]
    fn queries_of_unknown_instances_are_left_out() {
        let rows: [(&str, &[(&str, f64)]); 2] = [("c/q", &[("x", 1.0)]), ("a/q", &[("a/1", 1.0)])];
        let r = instances().evaluate(&found(&rows), 10).unwrap();
        assert_eq!((r.unknown, r.queries), (vec!["c/q".to_string()], vec!["a/q".to_string()]));
        assert!(instances().evaluate(&found(&rows[..1]), 10).is_err());
        assert!(instances().evaluate(&found(&rows), 0).unwrap_err().is_usage());
    }

    #[test]
    fn what_contradicts_itself_is_refused() {
        let queries: StringIds = ["a/q"].iter().collect();
        let new =
            |ids: &[&str], taxonomy| Instances::new(&queries, ids.iter().map(|id| positive(id, 0.1, 1.0)).collect(), taxonomy);
        assert!(new(&["b/1"], vec![]).unwrap_err().to_string().contains("b/1: a positive whose instance has no query"));
        assert!(new(&["a/1", "a/1"], vec![]).unwrap_err().to_string().contains("twice"));
        let other = vec![("b".to_string(), "c".to_string(), "s".to_string())];
        let e = new(&["a/1"], other).unwrap().evaluate(&found(&[("a/q", &[("x", 1.0)])]), 5).unwrap_err();
        assert!(e.to_string().contains("id a: the taxonomy has no category"), "{e}");
    }
}
