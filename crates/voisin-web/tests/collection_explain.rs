//! Explanations of searches in collections.

mod shelf;

use shelf::{colours, params, spec, test_data};
use voisin::Quiet;
use voisin_web::collection::{Ask, Collection, CollectionSpec, Params};

#[test]
fn a_search_is_explained() {
    let dir = tempfile::tempdir().unwrap();
    colours(dir.path());
    let c = Collection::open(&spec(dir.path()), &Quiet).unwrap();
    let query = c.query(&Ask::Id("red/red1.png")).unwrap();
    let told = c.explain(&query, &params(3), "tsne").unwrap();
    let found = c.search(&query, &params(3)).unwrap();
    let ids =
        |v: &serde_json::Value| v.as_array().unwrap().iter().map(|h| h["id"].as_str().unwrap().to_owned()).collect::<Vec<_>>();
    assert_eq!(ids(&told["hits"]), found.hits.iter().map(|h| h.item.id.clone()).collect::<Vec<_>>());
    assert_eq!((told["recall"].as_f64(), told["counts"]["scanned"].as_u64()), (Some(1.0), Some(found.scanned)));
    assert_eq!(told["map"]["points"].as_array().unwrap().len(), 1 + 16);
    assert!(ids(&told["hits"]).iter().all(|id| id != "red/red1.png"), "not itself");
    let green = Params { label: Some("green".into()), ..params(3) };
    let told = c.explain(&query, &green, "none").unwrap();
    assert!(ids(&told["hits"]).iter().all(|id| id.starts_with("green/")), "{told}");
    assert!(ids(&told["missed"]).iter().all(|id| !id.starts_with("green/")) && told["recall"] == 1.0, "{told}");
    assert!(told["missed"].as_array().unwrap().iter().all(|m| m["reason"] == "filtered"), "{told}");
    assert!(c.explain(&query, &params(3), "umap").is_err());
    assert!(c.explain(&query, &params(0), "none").is_err());
}

#[test]
fn files_of_faiss_are_explained() {
    let (Some(faiss), Some(base)) = (test_data("faiss"), test_data("faiss/base.npy")) else { return };
    for (name, features) in [("ivf_pq", true), ("ivf_pq", false), ("hnsw", false), ("refine", false)] {
        let features = features.then(|| base.display().to_string());
        let from = CollectionSpec { features, ..spec(&faiss.join(format!("{name}.index"))) };
        let c = Collection::open(&from, &Quiet).unwrap();
        assert!(c.facts().asks.explain.is_none());
        let query = c.query(&Ask::Id("42")).unwrap();
        let (found, told) = (c.search(&query, &params(6)).unwrap(), c.explain(&query, &params(6), "pca").unwrap());
        let hits: Vec<&str> = told["hits"].as_array().unwrap().iter().map(|h| h["id"].as_str().unwrap()).collect();
        assert_eq!(hits, found.hits.iter().map(|h| &h.item.id[..]).collect::<Vec<_>>(), "{name}");
        assert_eq!(told["counts"]["scanned"].as_u64(), Some(found.scanned), "{name}");
        assert!(told["truth"] == "exact" || (name == "ivf_pq" && from.features.is_none()), "{name}");
        assert_eq!(told.get("graph").is_some(), name == "hnsw");
    }
}
