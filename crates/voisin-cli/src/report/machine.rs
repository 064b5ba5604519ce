//! What the figures were measured on.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::outcome::bytes;

/// Processor, cores, memory, system, version and date, as name and value; what the system does not tell is left out.
pub fn facts() -> Vec<(String, String)> {
    let mut all = Vec::new();
    let mut add = |name: &str, value: Option<String>| all.extend(value.map(|v| (name.to_string(), v)));
    add("processor", field("/proc/cpuinfo", "model name"));
    let cores = std::thread::available_parallelism().ok().map(usize::from);
    add("cores", cores.map(|n| n.to_string()));
    let kib = field("/proc/meminfo", "MemTotal").and_then(|m| m.trim_end_matches("kB").trim().parse::<u64>().ok());
    add("memory", kib.map(|k| bytes(k * 1024)));
    add("system", system());
    add("voisin", Some(env!("CARGO_PKG_VERSION").to_string()));
    add("date", Some(date()));
    all
}

/// The command line, quoted as a shell wants it.
pub fn command_line() -> String {
    let words = std::env::args_os().enumerate().map(|(i, w)| {
        let w = w.to_string_lossy();
        if i == 0 { "voisin".to_string() } else { quote(&w) }
    });
    words.collect::<Vec<_>>().join(" ")
}

fn quote(word: &str) -> String {
    let plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) { word.into() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}

fn field(path: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(path).ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(name))?;
    Some(line.trim_start_matches([' ', '\t', ':', '=']).trim().trim_matches('"').to_string())
}

fn system() -> Option<String> {
    let name = field("/etc/os-release", "PRETTY_NAME").unwrap_or_else(|| std::env::consts::OS.into());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").ok();
    let kernel = kernel.map(|k| format!(", kernel {}", k.trim())).unwrap_or_default();
    Some(format!("{name}{kernel}, {}", std::env::consts::ARCH))
}

/// Today as `2026-01-31 12:34 UTC`.
fn date() -> String {
    let seconds = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs());
    let (y, m, d) = civil(seconds / 86_400);
    let minute = seconds % 86_400 / 60;
    format!("{y}-{m:02}-{d:02} {:02}:{:02} UTC", minute / 60, minute % 60)
}

/// Year, month and day of a day counted from 1970-01-01; the era arithmetic of the Gregorian calendar with the year
/// beginning in March, so that the leap day is the last one.
fn civil(day: u64) -> (u64, u64, u64) {
    let z = day + 719_468; // days from 0000-03-01
    let (era, of_era) = (z / 146_097, z % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let month = (5 * of_year + 2) / 153; // 0 is March
    let d = of_year - (153 * month + 2) / 5 + 1;
    let m = if month < 10 { month + 3 } else { month - 9 };
    (era * 400 + year + u64::from(m <= 2), m, d)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_dates() {
        assert_eq!(
            (civil(0), civil(59), civil(11_016), civil(20_454)),
            ((1970, 1, 1), (1970, 3, 1), (2000, 2, 29), (2026, 1, 1))
        );
    }

    #[test]
    fn words_are_quoted_where_they_must_be() {
        assert_eq!(
            (quote("a/b.h5::emb"), quote("x*.npy"), quote("it's")),
            ("a/b.h5::emb".into(), "'x*.npy'".into(), r"'it'\''s'".into())
        );
        assert!(facts().iter().any(|f| f.0 == "voisin"));
    }
}
