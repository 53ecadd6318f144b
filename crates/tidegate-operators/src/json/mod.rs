//! JSON files: one value a line, values one after another, or one array of all records.
//!
//! Every record is an object; its fields become columns, by name. Numbers never lose digits: integers
//! beyond 64 bits become decimals, and a column that holds both numbers no double can hold and
//! fractions becomes text. A column of several kinds (a number here, an object there) is text: the
//! JSON as written, without white space.

mod columns;
pub(crate) mod cut;
mod decode;
mod infer;
mod keys;
mod reason;
mod value;

pub(crate) use decode::{JsonDecoder, JsonPlan};
pub use infer::infer;

use memchr::memchr;
use serde::{Deserialize, Serialize};

const BYTE_ORDER_MARK: [u8; 3] = [0xef, 0xbb, 0xbf];

/// How JSON files are read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JsonOptions {
    /// What to do with a record that cannot be read. `Skip` is for one value a line only.
    pub on_error: crate::csv::OnError,
    /// One record may have so many bytes.
    pub record_bytes_max: u64,
    /// What to do with a key that is no column.
    #[serde(default)]
    pub on_unknown_key: OnUnknownKey,
}

/// What to do with a key of a record that is no column of the table.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnUnknownKey {
    /// Leave it out: the columns were said.
    #[default]
    Ignore,
    /// The record cannot be read: the columns are those of a sample, and the key came later.
    Refuse,
}

impl Default for JsonOptions {
    fn default() -> Self {
        Self {
            on_error: crate::csv::OnError::Fail,
            record_bytes_max: 64 << 20,
            on_unknown_key: OnUnknownKey::Ignore,
        }
    }
}

/// How records are laid out in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Layout {
    /// One a line.
    Lines,
    /// One after another, over lines as they please.
    Values,
    /// Elements of one array.
    Array,
}

impl Layout {
    /// Tells the layout by the first bytes of a file.
    pub(crate) fn of(head: &[u8]) -> Self {
        let head = head
            .strip_prefix(&BYTE_ORDER_MARK)
            .unwrap_or(head)
            .trim_ascii_start();
        if head.first() == Some(&b'[') {
            return Self::Array;
        }
        let Some(end) = memchr(b'\n', head) else {
            return Self::Lines;
        };
        // A first line that is left open on purpose, not one that is cut short by accident.
        let open = matches!(
            head[..end].trim_ascii_end().last(),
            Some(b'{' | b'[' | b',' | b':')
        );
        match open && cut::value_length(&head[..end], false).is_none() {
            true => Self::Values,
            false => Self::Lines,
        }
    }
}
