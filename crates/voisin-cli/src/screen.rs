//! Progress on standard error, and the flag that Ctrl-C sets.

use std::io::{IsTerminal, Write};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};
use voisin::Watch;

static STOP: AtomicBool = AtomicBool::new(false);

/// Makes Ctrl-C and SIGTERM set a flag that all work looks at; the second one exits at once.
pub fn catch_signals() {
    let handler = || {
        if STOP.swap(true, Ordering::SeqCst) {
            std::process::exit(crate::fail::STOPPED as i32);
        }
    };
    // Without a handler Ctrl-C just ends the process: files are safe then too.
    let _ = ctrlc::set_handler(handler);
}

/// A bar with the time left on a terminal, plain lines elsewhere, nothing when quiet.
#[derive(Debug)]
pub struct Screen {
    quiet: bool,
    terminal: bool,
    bar: Mutex<Option<ProgressBar>>,
}

impl Screen {
    /// For standard error.
    pub fn new(quiet: bool) -> Screen {
        Screen { quiet, terminal: std::io::stderr().is_terminal(), bar: Mutex::new(None) }
    }

    /// A line that is no error but should be seen (kept by `--quiet` from the screen).
    pub fn say(&self, line: &str) {
        if self.quiet {
            return;
        }
        match &*self.bar.lock().unwrap_or_else(|e| e.into_inner()) {
            Some(bar) => bar.println(line),
            // a closed stderr is no reason to stop
            None => drop(writeln!(std::io::stderr(), "{line}")),
        }
    }

    fn set(&self, bar: Option<ProgressBar>) {
        let old = std::mem::replace(&mut *self.bar.lock().unwrap_or_else(|e| e.into_inner()), bar);
        if let Some(old) = old {
            old.finish_and_clear();
        }
    }
}

/// `, 120/s, 3.00 s left` once something is done.
fn left(state: &ProgressState, out: &mut dyn std::fmt::Write) {
    if state.pos() > 0 {
        let speed = state.per_sec();
        let digits = if speed < 10.0 { 1 } else { 0 };
        let _ = write!(out, ", {speed:.digits$}/s, {} left", crate::outcome::time(state.eta().as_secs_f64()));
    }
}

impl Watch for Screen {
    fn begin(&self, stage: &str, total: u64, unit: &str) {
        if self.quiet || !self.terminal {
            return;
        }
        let style = ProgressStyle::with_template("{msg:>12} [{bar:30}] {human_pos}/{human_len} {prefix}{left}");
        let style = style.expect("the template is constant").progress_chars("=> ").with_key("left", left);
        let bar = ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::hidden());
        bar.set_style(style);
        bar.set_message(stage.to_string());
        bar.set_prefix(unit.to_string());
        bar.set_draw_target(ProgressDrawTarget::stderr_with_hz(8)); // only now: nothing is drawn half-dressed
        bar.enable_steady_tick(Duration::from_millis(250));
        self.set(Some(bar));
    }

    fn advance(&self, n: u64) {
        if let Some(bar) = &*self.bar.lock().unwrap_or_else(|e| e.into_inner()) {
            bar.inc(n);
        }
    }

    fn end(&self) {
        self.set(None);
    }

    fn note(&self, line: &str) {
        self.say(line);
    }

    fn stopped(&self) -> bool {
        STOP.load(Ordering::Relaxed)
    }
}

impl Drop for Screen {
    fn drop(&mut self) {
        self.set(None);
    }
}
