//! A published FAISS index as a collection; skipped where the data is not there.

mod shelf;

use shelf::{params, spec};
use std::path::Path;
use voisin::Quiet;
use voisin_io::Role;
use voisin_web::collection::{Ask, Collection, CollectionSpec, Params};

fn rows(path: &Path) -> (usize, Vec<f32>) {
    let source = voisin_io::open(&path.display().to_string(), Role::Base).unwrap();
    let mut out = vec![0.0; source.len() as usize * source.dim()];
    source.read(0, &mut out).unwrap();
    (source.dim(), out)
}

#[test]
fn caltech_with_made_up_names() {
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/data/caltech");
    if !data.exists() {
        return eprintln!("skipped: {} is not there", data.display());
    }
    let dir = tempfile::tempdir().unwrap();
    let name = |i: usize| format!("D:\\thesis\\101_ObjectCategories\\class_{:03}\\image_{i:04}.jpg", i / 90);
    std::fs::write(dir.path().join("names.txt"), (0..9144).map(|i| name(i) + "\r\n").collect::<String>()).unwrap();
    let names = Some(dir.path().join("names.txt").display().to_string());
    let from = CollectionSpec { names, ..spec(&data.join("index_ivfpq_caltech.index")) };
    let c = Collection::open(&from, &Quiet).unwrap();
    let facts = c.facts();
    assert_eq!((facts.n, facts.d, &facts.spec[..], facts.nlist), (9144, 2048, "IVF100,PQ8", 100));
    assert_eq!((facts.shows, facts.classes.len(), &facts.classes[3].label[..]), ("ids", 102, "class_003"));
    assert_eq!(c.item("100").unwrap().name, name(100));
    let (d, queries) = rows(&data.join("queries.npy"));
    let (k, ids) = rows(&data.join("faiss_nprobe4_ids.npy"));
    for (query, ids) in queries.chunks(d).zip(ids.chunks(k)).take(20) {
        let q = c.query(&Ask::Vector(query.to_vec())).unwrap();
        let found = c.search(&q, &Params { nprobe: Some(4), ..params(10) }).unwrap();
        let found: Vec<String> = found.hits.into_iter().map(|h| h.item.id).collect();
        assert_eq!(found, ids[..10].iter().map(|i| format!("{i:.0}")).collect::<Vec<_>>());
        assert_eq!(c.compare(&q, &Params { nprobe: Some(100), ..params(10) }).unwrap().recall, 1.0);
    }
}
