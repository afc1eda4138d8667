//! What this process has used so far, as the kernel counts it.

use std::time::Instant;

/// Processor time, peak memory and the clock at one instant.
pub(crate) struct Usage {
    cpu_s: f64,
    peak_rss_mb: f64,
    at: Instant,
}

/// What was used between two instants.
pub(crate) struct Used {
    /// User and system seconds of all threads.
    pub(crate) cpu_s: f64,
    /// Seconds on the clock.
    pub(crate) wall_s: f64,
    /// Greatest resident memory of the process so far, in MiB.
    pub(crate) peak_rss_mb: f64,
}

/// Clock ticks per second in `/proc`: fixed at 100 on every Linux that Rust runs on.
const TICKS_PER_SECOND: f64 = 100.0;

impl Usage {
    /// Reads the counters.
    pub(crate) fn now() -> std::io::Result<Self> {
        let stat = std::fs::read_to_string("/proc/self/stat")?;
        // The second field is the command in brackets and may hold spaces; the fields after it do not.
        let fields: Vec<&str> = stat.rsplit(')').next().unwrap_or_default().split_whitespace().collect();
        let ticks = |place: usize| fields.get(place).and_then(|field| field.parse::<f64>().ok()).unwrap_or(0.0);
        let status = std::fs::read_to_string("/proc/self/status")?;
        let peak =
            status.lines().find_map(|line| line.strip_prefix("VmHWM:")).and_then(|rest| rest.split_whitespace().next());
        let peak_kb = peak.and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(0.0);
        Ok(Self {
            cpu_s: (ticks(11) + ticks(12)) / TICKS_PER_SECOND,
            peak_rss_mb: peak_kb / 1024.0,
            at: Instant::now(),
        })
    }

    /// What was used since `start`.
    pub(crate) fn since(&self, start: &Self) -> Used {
        Used {
            cpu_s: self.cpu_s - start.cpu_s,
            wall_s: self.at.duration_since(start.at).as_secs_f64(),
            peak_rss_mb: self.peak_rss_mb,
        }
    }
}
