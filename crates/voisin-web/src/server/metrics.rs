//! What happened so far, as text for Prometheus (text format 0.0.4).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

/// Upper ends of the histogram's buckets, in seconds.
const BUCKETS: [f64; 12] = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0];

/// Counters of a server.
#[derive(Debug, Default)]
pub struct Metrics {
    requests: Mutex<BTreeMap<(&'static str, u16), u64>>,
    seconds: Mutex<BTreeMap<&'static str, Histogram>>,
    searches: Mutex<BTreeMap<String, Searches>>,
    in_flight: AtomicU64,
    connections: AtomicU64,
    uploads: AtomicU64,
    upload_bytes: AtomicU64,
    panics: AtomicU64,
}

#[derive(Clone, Debug, Default)]
struct Histogram {
    counts: [u64; BUCKETS.len()],
    count: u64,
    sum: f64,
}

#[derive(Clone, Debug, Default)]
struct Searches {
    count: u64,
    scanned: u64,
    seconds: f64,
}

/// Counts one up for as long as it lives.
#[derive(Debug)]
pub struct Gauge<'a>(&'a AtomicU64);

impl<'a> Gauge<'a> {
    fn of(count: &'a AtomicU64) -> Gauge<'a> {
        count.fetch_add(1, Ordering::Relaxed);
        Gauge(count)
    }
}

impl Drop for Gauge<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Metrics {
    /// A request is being answered.
    pub fn begin(&self) -> Gauge<'_> {
        Gauge::of(&self.in_flight)
    }

    /// A connection is open.
    pub fn connected(&self) -> Gauge<'_> {
        Gauge::of(&self.connections)
    }

    /// A request to `route` was answered.
    pub fn answered(&self, route: &'static str, status: u16, seconds: f64) {
        *lock(&self.requests).entry((route, status)).or_default() += 1;
        let mut all = lock(&self.seconds);
        let h = all.entry(route).or_default();
        if let Some(i) = BUCKETS.iter().position(|&end| seconds <= end) {
            h.counts[i] += 1;
        }
        h.count += 1;
        h.sum += seconds;
    }

    /// A search of a collection.
    pub fn searched(&self, collection: &str, scanned: u64, seconds: f64) {
        let mut all = lock(&self.searches);
        if !all.contains_key(collection) {
            all.insert(collection.into(), Searches::default());
        }
        let s = all.get_mut(collection).expect("it is there now");
        s.count += 1;
        s.scanned += scanned;
        s.seconds += seconds;
    }

    /// An image was sent.
    pub fn uploaded(&self, bytes: usize) {
        self.uploads.fetch_add(1, Ordering::Relaxed);
        self.upload_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// A handler panicked.
    pub fn panicked(&self) {
        self.panics.fetch_add(1, Ordering::Relaxed);
    }

    /// Requests answered so far.
    pub fn total(&self) -> u64 {
        lock(&self.requests).values().sum()
    }

    /// All of it; `collections` are names with their vectors, `kept` the queries that are kept.
    pub fn text(&self, collections: &[(&str, u64)], kept: usize) -> String {
        let mut t = String::new();
        head(&mut t, "voisin_info", "gauge", "The version that runs.");
        let _ = writeln!(t, "voisin_info{{version=\"{}\"}} 1", env!("CARGO_PKG_VERSION"));
        head(&mut t, "voisin_requests_total", "counter", "Requests answered, by route and status.");
        for ((route, status), n) in lock(&self.requests).iter() {
            let _ = writeln!(t, "voisin_requests_total{{route=\"{route}\",status=\"{status}\"}} {n}");
        }
        self.histograms(&mut t);
        let searches = lock(&self.searches).clone();
        head(&mut t, "voisin_searches_total", "counter", "Searches, by collection.");
        each(&mut t, "voisin_searches_total", searches.iter().map(|(c, s)| (c.as_str(), s.count as f64)));
        head(&mut t, "voisin_scanned_vectors_total", "counter", "Vectors compared by searches, by collection.");
        each(&mut t, "voisin_scanned_vectors_total", searches.iter().map(|(c, s)| (c.as_str(), s.scanned as f64)));
        head(&mut t, "voisin_search_seconds_total", "counter", "Seconds of searches alone, by collection.");
        each(&mut t, "voisin_search_seconds_total", searches.iter().map(|(c, s)| (c.as_str(), s.seconds)));
        head(&mut t, "voisin_collection_vectors", "gauge", "Vectors of a collection.");
        each(&mut t, "voisin_collection_vectors", collections.iter().map(|&(c, n)| (c, n as f64)));
        let one = |t: &mut String, name: &str, kind: &str, help: &str, value: u64| {
            head(t, name, kind, help);
            let _ = writeln!(t, "{name} {value}");
        };
        let of = |a: &AtomicU64| a.load(Ordering::Relaxed);
        one(&mut t, "voisin_uploads_total", "counter", "Images sent.", of(&self.uploads));
        one(&mut t, "voisin_upload_bytes_total", "counter", "Bytes of images sent.", of(&self.upload_bytes));
        one(&mut t, "voisin_panics_total", "counter", "Requests that met a bug.", of(&self.panics));
        one(&mut t, "voisin_requests_in_flight", "gauge", "Requests being answered.", of(&self.in_flight));
        one(&mut t, "voisin_connections", "gauge", "Open connections.", of(&self.connections));
        one(&mut t, "voisin_queries_kept", "gauge", "Queries kept under a key.", kept as u64);
        t
    }

    fn histograms(&self, t: &mut String) {
        head(t, "voisin_request_seconds", "histogram", "Seconds from a request's head to its answer, by route.");
        for (route, h) in lock(&self.seconds).iter() {
            let mut below = 0;
            for (end, n) in BUCKETS.iter().zip(h.counts) {
                below += n;
                let _ = writeln!(t, "voisin_request_seconds_bucket{{route=\"{route}\",le=\"{end}\"}} {below}");
            }
            let _ = writeln!(t, "voisin_request_seconds_bucket{{route=\"{route}\",le=\"+Inf\"}} {}", h.count);
            let _ = writeln!(t, "voisin_request_seconds_sum{{route=\"{route}\"}} {}", h.sum);
            let _ = writeln!(t, "voisin_request_seconds_count{{route=\"{route}\"}} {}", h.count);
        }
    }
}

fn lock<T>(m: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    m.lock().unwrap_or_else(|e| e.into_inner())
}

fn head(t: &mut String, name: &str, kind: &str, help: &str) {
    let _ = writeln!(t, "# HELP {name} {help}\n# TYPE {name} {kind}");
}

fn each<'a>(t: &mut String, name: &str, values: impl Iterator<Item = (&'a str, f64)>) {
    for (collection, value) in values {
        let _ = writeln!(t, "{name}{{collection=\"{}\"}} {value}", escaped(collection));
    }
}

/// A label's value.
fn escaped(s: &str) -> String {
    s.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_that_prometheus_reads() {
        let m = Metrics::default();
        m.answered("/api/search", 200, 0.003);
        m.answered("/api/search", 404, 20.0);
        m.searched("a \"b\"\\", 40, 0.5);
        let in_flight = m.begin();
        let t = m.text(&[("a \"b\"\\", 7)], 3);
        drop(in_flight);
        for line in [
            "voisin_requests_total{route=\"/api/search\",status=\"404\"} 1",
            "voisin_request_seconds_bucket{route=\"/api/search\",le=\"0.0025\"} 0",
            "voisin_request_seconds_bucket{route=\"/api/search\",le=\"0.005\"} 1",
            "voisin_request_seconds_bucket{route=\"/api/search\",le=\"10\"} 1",
            "voisin_request_seconds_bucket{route=\"/api/search\",le=\"+Inf\"} 2",
            "voisin_request_seconds_sum{route=\"/api/search\"} 20.003",
            "voisin_scanned_vectors_total{collection=\"a \\\"b\\\"\\\\\"} 40",
            "voisin_collection_vectors{collection=\"a \\\"b\\\"\\\\\"} 7",
            "voisin_requests_in_flight 1",
            "voisin_queries_kept 3",
        ] {
            assert!(t.lines().any(|l| l == line), "{line} is missing in\n{t}");
        }
        assert!(m.text(&[], 0).contains("voisin_requests_in_flight 0"));
    }
}
