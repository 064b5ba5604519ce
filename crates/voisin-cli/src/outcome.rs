//! What a command reports: one JSON object for programs, a few lines for people.

use std::io::Write;

use serde_json::{Map, Value, json};

/// The order of the keys of the JSON object.
const ORDER: [&str; 27] = [
    "command",
    "version",
    "n",
    "d",
    "dtype",
    "format",
    "finite",
    "unit_norm",
    "ids",
    "queries",
    "k",
    "metric",
    "spec",
    "threads",
    "seconds",
    "queries_per_second",
    "latency_ms",
    "recall",
    "recall_by_distance",
    "points",
    "bytes",
    "bytes_per_vector",
    "peak_rss_bytes",
    "out",
    "skipped",
    "short_rows",
    "resumed",
];

/// Result of a command.
#[derive(Debug)]
pub struct Outcome {
    json: Map<String, Value>,
    text: String,
    /// What standard output shows in place of the object.
    instead: Option<String>,
    code: u8,
    said: bool,
}

impl Outcome {
    /// Of the command of this name; version and threads are known already.
    pub fn new(command: &str) -> Outcome {
        let mut json = Map::new();
        json.insert("command".into(), command.into());
        json.insert("version".into(), env!("CARGO_PKG_VERSION").into());
        json.insert("threads".into(), rayon::current_num_threads().into());
        Outcome { json, text: String::new(), instead: None, code: 0, said: false }
    }

    /// Of a command that has said all while it ran.
    #[cfg(feature = "web")]
    pub fn said(command: &str) -> Outcome {
        Outcome { said: true, ..Outcome::new(command) }
    }

    /// Sets a key of the JSON object.
    pub fn set(&mut self, key: &str, value: impl Into<Value>) -> &mut Self {
        self.json.insert(key.into(), value.into());
        self
    }

    /// Sets a key where there is a value.
    pub fn set_some(&mut self, key: &str, value: Option<impl Into<Value>>) -> &mut Self {
        if let Some(value) = value {
            self.set(key, value);
        }
        self
    }

    /// Adds a line for people.
    pub fn line(&mut self, line: impl AsRef<str>) -> &mut Self {
        self.text += line.as_ref();
        self.text.push('\n');
        self
    }

    /// Ends with this exit code though the command worked (`verify` that found damage).
    pub fn exit_with(&mut self, code: u8) -> &mut Self {
        self.code = code;
        self
    }

    /// Shows this on stdout in place of the object, and the lines on stderr.
    pub fn instead(&mut self, text: String) -> &mut Self {
        self.instead = Some(text);
        self
    }

    /// Prints the object on stdout and the lines on stderr, or the lines alone on stdout; the exit code.
    pub fn print(mut self, as_json: bool, quiet: bool) -> u8 {
        if self.said {
            return self.code;
        }
        let mut out = std::io::stdout().lock();
        let written = if as_json || self.instead.is_some() {
            if !quiet {
                let _ = std::io::stderr().write_all(self.text.as_bytes());
            }
            if let Some(peak) = peak_rss() {
                self.json.entry("peak_rss_bytes").or_insert(peak.into());
            }
            let mut sorted = Map::new();
            for key in ORDER {
                if let Some(value) = self.json.remove(key) {
                    sorted.insert(key.into(), value);
                }
            }
            sorted.extend(self.json);
            writeln!(out, "{}", self.instead.unwrap_or_else(|| Value::Object(sorted).to_string()))
        } else {
            out.write_all(self.text.as_bytes())
        };
        match written.and_then(|()| out.flush()) {
            Ok(()) => self.code,
            // `| head` has seen enough
            Err(e) if e.kind() == std::io::ErrorKind::BrokenPipe => self.code,
            Err(e) => {
                let _ = writeln!(std::io::stderr(), "error: standard output: {e}\nhint: free some space or write elsewhere");
                crate::fail::DATA
            }
        }
    }
}

/// Seconds of each stage, those that apply.
#[derive(Clone, Copy, Debug, Default)]
pub struct Seconds {
    /// Waiting for input.
    pub read: Option<f64>,
    /// Centroids and model.
    pub train: Option<f64>,
    /// Which list each vector goes to.
    pub assign: Option<f64>,
    /// Codes.
    pub encode: Option<f64>,
    /// Measuring what recall targets take.
    pub calibrate: Option<f64>,
    /// Searching, without waiting for input.
    pub search: Option<f64>,
    /// Writing results or index.
    pub write: Option<f64>,
    /// From the start of the process.
    pub total: f64,
}

impl From<Seconds> for Value {
    fn from(s: Seconds) -> Value {
        let mut all = Map::new();
        let parts = [
            ("read", s.read),
            ("train", s.train),
            ("assign", s.assign),
            ("encode", s.encode),
            ("calibrate", s.calibrate),
            ("search", s.search),
            ("write", s.write),
            ("total", Some(s.total)),
        ];
        for (name, value) in parts {
            if let Some(value) = value {
                all.insert(name.into(), json!(round(value, 6)));
            }
        }
        Value::Object(all)
    }
}

/// `x` with `digits` decimals.
pub fn round(x: f64, digits: i32) -> f64 {
    let p = 10f64.powi(digits);
    (x * p).round() / p
}

/// `1.23 s`, `45.0 ms`, `120 µs`, `3 min 20 s`.
pub fn time(seconds: f64) -> String {
    match seconds {
        s if s < 9.95e-4 => format!("{:.0} µs", s * 1e6),
        s if s < 0.0995 => format!("{:.1} ms", s * 1e3),
        s if s < 9.95 => format!("{s:.2} s"),
        s if s < 120.0 => format!("{s:.1} s"),
        s => format!("{} min {:.0} s", (s / 60.0) as u64, s % 60.0),
    }
}

/// `1,234,567`.
pub fn count(n: u64) -> String {
    let digits = n.to_string();
    let mut s = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            s.push(',');
        }
        s.push(c);
    }
    s
}

/// `1 segment`, `2 segments`.
pub fn things(n: impl TryInto<u64>, name: &str) -> String {
    let n = n.try_into().unwrap_or(u64::MAX);
    format!("{} {name}{}", count(n), if n == 1 { "" } else { "s" })
}

/// `1 query has`, `2 queries have`.
pub fn queries_have(n: u64) -> String {
    if n == 1 { "1 query has".into() } else { format!("{} queries have", count(n)) }
}

/// `1.5 GiB`.
pub fn bytes(n: u64) -> String {
    const UNITS: [&str; 5] = ["bytes", "KiB", "MiB", "GiB", "TiB"];
    let mut x = n as f64;
    let mut unit = 0;
    while x >= 1024.0 && unit + 1 < UNITS.len() {
        (x, unit) = (x / 1024.0, unit + 1);
    }
    if unit == 0 { format!("{n} bytes") } else { format!("{x:.1} {}", UNITS[unit]) }
}

/// The most memory this process has held so far, in bytes (Linux).
pub fn peak_rss() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kb| kb * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn people_read_these() {
        assert_eq!(
            (count(0), count(999), count(1000), count(1234567)),
            ("0".into(), "999".into(), "1,000".into(), "1,234,567".into())
        );
        assert_eq!((bytes(10), bytes(1536), bytes(3 << 30)), ("10 bytes".into(), "1.5 KiB".into(), "3.0 GiB".into()));
        assert_eq!((time(0.0123), time(1.5), time(200.0)), ("12.3 ms".into(), "1.50 s".into(), "3 min 20 s".into()));
        assert!(peak_rss().is_none_or(|p| p > 1 << 16));
    }
}
