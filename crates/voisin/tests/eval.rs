//! Recall and its intervals against numpy (tests/data/make_eval.py).

use serde_json::Value;
use voisin::eval::{Recall, evaluate};
use voisin::{Metric, Neighbors};

fn table(case: &Value, ids: &str, distances: &str) -> Neighbors {
    let rows = |key: &str| case[key].as_array().expect("an array of rows").clone();
    let mut out = Neighbors::new(10);
    for (i, d) in rows(ids).iter().zip(rows(distances)) {
        let ids = i.as_array().unwrap().iter().map(|x| x.as_u64().unwrap());
        let distances = d.as_array().unwrap().clone().into_iter().map(|x| x.as_f64().unwrap() as f32);
        out.push_row(distances.zip(ids));
    }
    out
}

fn agree(got: Recall, expected: &Value, what: &str) {
    let [mean, half, worst] = ["mean", "half", "worst_tenth"].map(|key| expected[key].as_f64().unwrap());
    for (got, expected) in
        [(got.mean, mean), (got.low, (mean - half).max(0.0)), (got.high, (mean + half).min(1.0)), (got.worst_tenth, worst)]
    {
        assert!((got - expected).abs() < 1e-12, "{what}: {got} where numpy gives {expected}");
    }
}

#[test]
fn agrees_with_numpy() {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/data/eval/numpy.json");
    let all: Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    for metric in [Metric::L2, Metric::Ip] {
        let case = &all[metric.name()];
        let (found, truth) = (table(case, "found", "found_d"), table(case, "truth", "truth_d"));
        let e = evaluate(&found, &truth, &[1, 5, 10], Some(metric)).unwrap();
        for ((k, by_id), (_, by_distance)) in e.recall.iter().zip(&e.recall_by_distance) {
            let expected = &case["expected"][k.to_string()];
            agree(*by_id, &expected["id"], &format!("{metric} recall@{k}"));
            agree(*by_distance, &expected["distance"], &format!("{metric} recall@{k} by distance"));
        }
        assert!((e.mrr - case["mrr"].as_f64().unwrap()).abs() < 1e-12);
    }
}
