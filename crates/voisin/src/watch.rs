//! How long work reports its progress and learns that it should stop.

/// Receives progress and answers whether to stop. Implemented by the faces (a bar on a terminal, a page).
pub trait Watch: Sync {
    /// A stage of `total` units begins (`unit` is what is counted: "vectors", "queries", "iterations").
    fn begin(&self, stage: &str, total: u64, unit: &str) {
        let _ = (stage, total, unit);
    }

    /// `n` more units of the current stage are done. May be called from any thread.
    fn advance(&self, n: u64) {
        let _ = n;
    }

    /// The current stage is over.
    fn end(&self) {}

    /// A line for the person watching (objective of an iteration, loss of an epoch).
    fn note(&self, line: &str) {
        let _ = line;
    }

    /// Whether to stop as soon as what is finished is safe; the work then returns [`crate::Error::Stopped`].
    fn stopped(&self) -> bool {
        false
    }

    /// `Err(Stopped)` once [`Watch::stopped`] says so.
    fn check(&self) -> crate::Result<()> {
        if self.stopped() { Err(crate::Error::Stopped) } else { Ok(()) }
    }
}

/// Says nothing, never stops.
#[derive(Clone, Copy, Debug, Default)]
pub struct Quiet;

impl Watch for Quiet {}

/// Memory this process holds now, in bytes; `None` where the system does not tell.
pub fn resident_bytes() -> Option<u64> {
    status("VmRSS:")
}

/// The most memory this process has held, in bytes; `None` where the system does not tell.
pub fn peak_resident_bytes() -> Option<u64> {
    status("VmHWM:")
}

fn status(key: &str) -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|l| l.strip_prefix(key))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}
