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
