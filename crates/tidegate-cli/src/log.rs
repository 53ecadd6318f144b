//! The log of `--log-file`: a line when a statement starts and one when it ends. Secrets are taken
//! out, line feeds are escaped, so that a line is an event.

use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tidegate::arrow::temporal_conversions::timestamp_ms_to_datetime;
use tidegate::redacted;

use crate::failure::Failure;
use crate::render::visible;

/// The log file, open for appending.
#[derive(Debug)]
pub(crate) struct Log {
    file: File,
}

impl Log {
    /// Opens or makes the file.
    pub(crate) fn open(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new().create(true).append(true).open(path);
        let named = |error| Failure::io(&format!("cannot open log `{}`", path.display()), error);
        Ok(Self {
            file: file.map_err(named)?,
        })
    }

    /// A statement starts.
    pub(crate) fn started(&self, sql: &str) {
        self.line("start", sql.trim());
    }

    /// A statement ended as it should.
    pub(crate) fn done(&self, elapsed: Duration, rows: u64) {
        let millis = elapsed.as_millis();
        self.line("done", &format!("{rows} rows in {millis} ms"));
    }

    /// A statement, or the call, failed.
    pub(crate) fn failed(&self, elapsed: Duration, failure: &Failure) {
        let millis = elapsed.as_millis();
        match failure {
            Failure::Usage(error) | Failure::Failed(error) => {
                let (code, message) = (error.code, &error.message);
                self.line("failed", &format!("after {millis} ms: {code}: {message}"));
            }
            Failure::ReaderGone => self.line("failed", "the reader of the output went away"),
        }
    }

    /// A full disk must not fail the query that is logged, so a line that cannot be written is lost.
    fn line(&self, event: &str, text: &str) {
        let line = format!(
            "{} {} {event} {}\n",
            now(),
            std::process::id(),
            visible(&redacted(text))
        );
        let _ = (&self.file).write_all(line.as_bytes());
    }
}

/// The time in UTC as ISO 8601 writes it, to the millisecond.
fn now() -> String {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let millis = since.map_or(0, |since| since.as_millis() as i64);
    match timestamp_ms_to_datetime(millis) {
        Some(time) => format!("{}Z", time.format("%Y-%m-%dT%H:%M:%S%.3f")),
        None => "-".into(),
    }
}
