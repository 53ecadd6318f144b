//! The progress of a query: one line on standard error that overwrites itself, from the first
//! second on, at most ten times a second.

use std::time::{Duration, Instant};

use tidegate::{Progress, QueryHandle, format_duration};

use crate::console::Console;

/// Queries that are over before this show nothing.
const QUIET_FOR: Duration = Duration::from_secs(1);
/// The time between two drawings.
const PERIOD: Duration = Duration::from_millis(100);
/// The characters of the bar.
const BAR_WIDTH: usize = 20;

/// Draws the progress of one query, and takes the line away when dropped.
pub(crate) struct Display<'a> {
    console: &'a Console,
    handle: QueryHandle,
    next: Instant,
    drawn: bool,
    most: f64,
}

impl<'a> Display<'a> {
    /// A display that has drawn nothing yet.
    pub(crate) fn new(console: &'a Console, handle: QueryHandle) -> Self {
        Self {
            console,
            handle,
            next: Instant::now() + QUIET_FOR,
            drawn: false,
            most: 0.0,
        }
    }

    /// Draws whenever it is time to; never returns. Dropping the future in between is harmless.
    pub(crate) async fn run(&mut self) {
        if !self.console.progress {
            std::future::pending::<()>().await;
        }
        loop {
            tokio::time::sleep_until(self.next.into()).await;
            self.next = Instant::now() + PERIOD;
            self.draw();
        }
    }

    /// Takes the line away, to make room for data on the same terminal.
    pub(crate) fn clear(&mut self) {
        if self.drawn {
            self.console.transient("\r\x1b[K");
            self.drawn = false;
        }
    }

    fn draw(&mut self) {
        let mut progress = self.handle.progress();
        self.most = self.most.max(progress.fraction.unwrap_or(0.0).min(1.0));
        progress.fraction = progress.fraction.map(|_| self.most);
        let mut line = text(&progress);
        let width = self.console.width().saturating_sub(1);
        if let Some((end, _)) = line.char_indices().nth(width) {
            line.truncate(end);
        }
        self.console.transient(&format!("\r{line}\x1b[K"));
        self.drawn = true;
    }
}

impl Drop for Display<'_> {
    fn drop(&mut self) {
        self.clear();
    }
}

fn text(progress: &Progress) -> String {
    let mut parts = Vec::new();
    if let Some(fraction) = progress.fraction {
        let full = (fraction * BAR_WIDTH as f64) as usize;
        let bar = format!("{}{}", "█".repeat(full), "░".repeat(BAR_WIDTH - full));
        parts.push(format!("{bar} {:3.0} %", fraction * 100.0));
    }
    let whole = Duration::from_secs(progress.elapsed.as_secs());
    parts.push(seconds(whole));
    // A narrow terminal cuts the end off: what matters most comes first.
    if let Some(left) = remaining(progress) {
        parts.push(format!("about {} left", seconds(left)));
    }
    if progress.bytes_read > 0 {
        parts.push(format!("{} read", size(progress.bytes_read)));
    }
    if progress.rows_read > 0 {
        parts.push(format!("{} rows read", progress.rows_read));
    }
    parts.join("  ")
}

/// The time that is left if it goes on like this; nothing while too little is known.
fn remaining(progress: &Progress) -> Option<Duration> {
    let fraction = progress.fraction.filter(|f| *f >= 0.02 && *f < 1.0)?;
    let left = progress.elapsed.as_secs_f64() * (1.0 - fraction) / fraction;
    Duration::try_from_secs_f64(left.ceil()).ok()
}

fn seconds(duration: Duration) -> String {
    match duration.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds if seconds < 7200 => format!("{} min {} s", seconds / 60, seconds % 60),
        _ => format_duration(Duration::from_secs(duration.as_secs() / 60 * 60)),
    }
}

fn size(bytes: u64) -> String {
    let units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let mut value = bytes as f64;
    let mut unit = 0;
    while value >= 1000.0 && unit + 1 < units.len() {
        value /= 1000.0;
        unit += 1;
    }
    match unit {
        0 => format!("{bytes} B"),
        _ => format!("{value:.1} {}", units[unit]),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_says_what_is_known() {
        let mut progress = Progress {
            bytes_read: 1_500_000,
            bytes_total: 0,
            rows_read: 10,
            rows_out: 0,
            elapsed: Duration::from_millis(2_500),
            fraction: None,
            done: false,
        };
        assert_eq!(text(&progress), "2 s  1.5 MB read  10 rows read");
        progress.fraction = Some(0.5);
        assert_eq!(
            text(&progress),
            "██████████░░░░░░░░░░  50 %  2 s  about 3 s left  1.5 MB read  10 rows read"
        );
    }
}
