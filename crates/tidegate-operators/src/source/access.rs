//! What a scan is given to run with. It is attached after a plan is decoded and never serialized.

use std::sync::Arc;

use crate::parquet::FooterCache;
use crate::rejects::RejectLog;

/// Things of the session that scans use.
#[derive(Debug, Clone, Default)]
pub struct ScanAccess {
    /// Where rows go that `on_error='skip'` leaves out; without one they are dropped.
    pub rejects: Option<Arc<RejectLog>>,
    /// The footers of Parquet files that were read.
    pub footers: Arc<FooterCache>,
    /// How much memory scans may use.
    pub limits: ScanLimits,
}

/// The limits of a scan.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScanLimits {
    /// Text is read and cut in chunks of so many bytes.
    pub chunk_bytes: u64,
    /// Of a file that several partitions share, so many bytes are kept that were read to find a
    /// boundary and belong to another partition. What does not fit is read twice.
    pub kept_bytes_max: u64,
    /// A record batch, block or footer of a file may take so many bytes when it is unpacked.
    pub unpacked_bytes_max: u64,
}

impl Default for ScanLimits {
    fn default() -> Self {
        Self {
            chunk_bytes: 1 << 20,
            kept_bytes_max: 64 << 20,
            unpacked_bytes_max: 1 << 30,
        }
    }
}
