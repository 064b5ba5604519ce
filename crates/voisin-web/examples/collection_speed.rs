//! How long a collection takes to open, and a search in it by id: `collection_speed PATH [KEEP]`.

use std::time::Instant;
use voisin::Quiet;
use voisin_web::collection::{Ask, Collection, CollectionSpec, Page, Params};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).ok_or("PATH is missing")?;
    let keep = std::env::args().nth(2).map(Into::into);
    let from = CollectionSpec { name: "speed".into(), paths: vec![path], keep, ..CollectionSpec::default() };
    for start in ["first", "later"] {
        let clock = Instant::now();
        let c = Collection::open(&from, &Quiet)?;
        println!("{start} start: {:.3} s, {} x {}, {}", clock.elapsed().as_secs_f64(), c.facts().n, c.facts().d, c.facts().spec);
        let ids: Vec<String> =
            c.items(&Page { limit: 500, seed: Some(1), ..Page::default() })?.items.into_iter().map(|i| i.id).collect();
        let params = Params { k: 20, nprobe: None, recall: None, refine: None, ef: None, label: None, exact: false };
        let (mut query, mut search) = (Vec::new(), Vec::new());
        for id in ids.iter().cycle().take(2000) {
            let clock = Instant::now();
            let q = c.query(&Ask::Id(id))?;
            query.push(clock.elapsed().as_secs_f64() * 1e6);
            let clock = Instant::now();
            c.search(&q, &params)?;
            search.push(clock.elapsed().as_secs_f64() * 1e6);
        }
        let median = |v: &mut Vec<f64>| {
            v.sort_by(f64::total_cmp);
            (v[v.len() / 2], v[v.len() * 99 / 100])
        };
        let (q, s) = (median(&mut query), median(&mut search));
        println!("by id: query {:.1} us (99 %: {:.1}), search {:.1} us (99 %: {:.1})", q.0, q.1, s.0, s.1);
        let clock = Instant::now();
        std::thread::scope(|scope| {
            (0..8usize).for_each(|t| {
                let (c, ids, params) = (&c, &ids, &params);
                scope.spawn(move || {
                    for i in 0..500 {
                        let q = c.query(&Ask::Id(&ids[(t * 61 + i) % ids.len()])).expect("an id of it");
                        c.search(&q, params).expect("a search");
                    }
                });
            });
        });
        println!("8 threads: {:.0} searches/s", 4000.0 / clock.elapsed().as_secs_f64());
        let clock = Instant::now();
        for id in ids.iter().take(60) {
            c.thumbnail(id, 256)?;
        }
        let first = clock.elapsed().as_secs_f64() * 1e3;
        let clock = Instant::now();
        for id in ids.iter().take(60) {
            c.thumbnail(id, 256)?;
        }
        println!("60 thumbnails: {first:.1} ms, again {:.1} ms", clock.elapsed().as_secs_f64() * 1e3);
    }
    Ok(())
}
