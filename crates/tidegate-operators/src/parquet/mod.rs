//! Reading Parquet: pinned files, cached footers, and no trust in what a file says of itself.
//!
//! DataFusion decodes. It reads through [`PinnedReaderFactory`], which checks every file against its
//! pin, every footer against its size and every page against its checksum, and keeps footers for the next query.

mod bounds;
mod cache;
mod footer;
mod guard;
mod pages;
mod reader;
#[cfg(test)]
mod tests;
mod thrift;
mod verify;

pub use cache::FooterCache;
pub use footer::footer;
pub use guard::GuardedScan;
pub use reader::{BYTES_PASSED, PinnedReaderFactory};
pub use verify::{Fault, Verified, verify};
