//! Reading CSV exactly: pure functions over bytes, no IO.
//!
//! 1. [`sniff()`] looks at the head of a file and decides the [`Dialect`] and the columns; [`header()`] reads the names of
//!    a further file of the same dialect and says where its records start.
//! 2. [`Transcoder`] turns other encodings into UTF-8. [`Splitter`] cuts the bytes at record boundaries.
//! 3. [`Decoder`] turns blocks of whole records into record batches of the columns asked for.

mod columns;
mod convert;
mod decode;
mod dialect;
mod error;
mod header;
mod index;
mod infer;
mod masks;
mod messages;
mod number;
mod options;
mod output;
mod record;
mod sniff;
mod split;
mod survey;
mod temporal;
#[cfg(test)]
mod tests;
mod transcode;

pub use decode::{Column, Decoder, Origin, Plan, can_read};
pub use dialect::{Dialect, Encoding, OnError};
pub use error::{Error, Kind};
pub use header::{Header, header};
pub use options::{Options, parse_type};
pub use sniff::{Sniffed, sniff};
pub use split::{Cut, Splitter};
pub(crate) use survey::Survey;
pub(crate) use temporal::{days_of, instant_of, written};
pub use transcode::Transcoder;

/// Where a record stands in its file, after decompression and conversion to UTF-8.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize,
)]
pub struct Position {
    /// Bytes before it.
    pub offset: u64,
    /// Physical line, from 1.
    pub line: u64,
    /// Records before it, the header, comments and blank lines not counted; a rejected record is.
    pub row: u64,
}

impl Default for Position {
    fn default() -> Self {
        Self {
            offset: 0,
            line: 1,
            row: 0,
        }
    }
}
