//! How far a query is: a snapshot of counters that its operators keep.

use std::time::Duration;

/// How far a running query is. Every figure only grows.
#[derive(Debug, Clone, PartialEq)]
pub struct Progress {
    /// Bytes of input read so far.
    pub bytes_read: u64,
    /// Bytes of input the query is expected to read; 0 while unknown.
    pub bytes_total: u64,
    /// Rows read from the inputs so far.
    pub rows_read: u64,
    /// Rows of the result (or rows written) so far.
    pub rows_out: u64,
    /// Time since the query started.
    pub elapsed: Duration,
    /// The part that is done, from 0 to 1; `None` while it cannot be told.
    pub fraction: Option<f64>,
    /// Whether the query has ended.
    pub done: bool,
}
