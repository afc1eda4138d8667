//! Progress on the terminal; silent where there is none.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Tells what is going on, on standard error.
#[derive(Debug)]
pub struct Progress {
    bar: ProgressBar,
    started: Instant,
    stage: Mutex<Instant>,
    shows: bool,
}

impl Progress {
    /// A bar on a terminal, lines otherwise.
    pub fn new() -> Self {
        Self::over(std::io::stderr().is_terminal(), true)
    }

    /// Nothing is told.
    pub fn silent() -> Self {
        Self::over(false, false)
    }

    fn over(terminal: bool, shows: bool) -> Self {
        let bar = ProgressBar::new(1);
        bar.set_draw_target(if terminal { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() });
        if let Ok(style) = ProgressStyle::with_template("{msg:32} {bar:32} {pos}/{len} {elapsed}") {
            bar.set_style(style);
        }
        Self { bar, started: Instant::now(), stage: Mutex::new(Instant::now()), shows }
    }

    /// A new stage of `steps` steps begins.
    pub fn stage(&self, name: &str, steps: u64) {
        *self.stage.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        self.bar.reset();
        self.bar.set_length(steps.max(1));
        self.bar.set_message(name.to_owned());
    }

    /// One step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// A handle for another thread.
    pub fn bar(&self) -> ProgressBar {
        self.bar.clone()
    }

    /// The stage is done, and this came of it.
    pub fn done(&self, what: &str) {
        if self.shows {
            let began = *self.stage.lock().unwrap_or_else(PoisonError::into_inner);
            let (stage, all) = (began.elapsed().as_secs_f64(), self.started.elapsed().as_secs_f64());
            let line = format!("[{all:6.1} s] {what} ({stage:.1} s)");
            self.bar.suspend(|| eprintln!("{line}"));
        }
    }
}

impl Default for Progress {
    fn default() -> Self {
        Self::new()
    }
}
