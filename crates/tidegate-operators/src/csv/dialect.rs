//! How a CSV file is written, once that is decided.

use encoding_rs::Encoding as Codec;
use serde::{Deserialize, Serialize};

/// Everything needed to read a file of CSV but its types.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dialect {
    /// Between fields.
    pub delimiter: u8,
    /// Around fields that hold delimiters or line ends; none when quotes mean nothing.
    pub quote: Option<u8>,
    /// Before a quote inside quotes; equal to the quote when quotes are doubled.
    pub escape: Option<u8>,
    /// A line that starts with it is left out.
    pub comment: Option<u8>,
    /// The first record holds the names.
    pub header: bool,
    /// Physical lines to leave out before the header.
    pub skip: u64,
    /// Fields that are NULL; when empty the empty unquoted field is.
    pub null_strings: Vec<String>,
    /// `null_strings` (and the empty field) count in quotes too.
    pub quoted_nulls: bool,
    /// A record with too few fields is filled with NULL.
    pub null_padding: bool,
    /// What to do with a record that cannot be read.
    pub on_error: OnError,
    /// A record with its line end may have so many bytes.
    pub max_line_bytes: usize,
    /// The file's encoding; everything past the [`super::Transcoder`] is UTF-8.
    pub encoding: Encoding,
    /// Between a number's whole and its fraction.
    pub decimal_separator: u8,
    /// How dates are written, in the letters of strftime; none for ISO 8601.
    pub date_format: Option<String>,
    /// How timestamps are written, in the letters of strftime; none for ISO 8601.
    pub timestamp_format: Option<String>,
    /// Names that were given: they replace the first ones of each file's header.
    pub given_names: Vec<String>,
    /// The columns in the order of the (first) file.
    pub column_names: Vec<String>,
}

/// What to do with a record that cannot be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum OnError {
    /// Stop with an error that names the line.
    #[default]
    Fail,
    /// Leave the whole record out, count it and note it.
    Skip,
}

/// The encodings a file can have.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Encoding {
    /// As everything inside; needs no conversion.
    #[default]
    Utf8,
    /// Two bytes a unit, low byte first.
    Utf16Le,
    /// Two bytes a unit, high byte first.
    Utf16Be,
    /// ISO 8859-1: each byte is the code point of that number.
    Latin1,
    /// Latin 1 with printable characters between 0x80 and 0x9F.
    Windows1252,
}

impl Encoding {
    /// By name, in any case; `utf-16` alone is told by its byte order mark and is little-endian without one.
    pub fn parse(name: &str) -> Option<Self> {
        let name = name.trim().to_ascii_lowercase().replace('_', "-");
        Some(match name.as_str() {
            "utf-8" | "utf8" | "ascii" | "us-ascii" => Self::Utf8,
            "utf-16" | "utf16" | "utf-16le" | "utf-16-le" | "utf16le" => Self::Utf16Le,
            "utf-16be" | "utf-16-be" | "utf16be" => Self::Utf16Be,
            "latin1" | "latin-1" | "iso-8859-1" | "iso8859-1" => Self::Latin1,
            "windows-1252" | "cp1252" => Self::Windows1252,
            _ => return None,
        })
    }

    pub(super) fn codec(self) -> Option<&'static Codec> {
        match self {
            Self::Utf8 | Self::Latin1 => None,
            Self::Utf16Le => Some(encoding_rs::UTF_16LE),
            Self::Utf16Be => Some(encoding_rs::UTF_16BE),
            Self::Windows1252 => Some(encoding_rs::WINDOWS_1252),
        }
    }

    /// Its name, as `encoding = '…'` takes it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Utf8 => "utf-8",
            Self::Utf16Le => "utf-16le",
            Self::Utf16Be => "utf-16be",
            Self::Latin1 => "latin1",
            Self::Windows1252 => "windows-1252",
        }
    }
}

impl Dialect {
    /// A record may be at most this long, whatever `max_line_size` says: places in a block are 29 bits.
    pub const LINE_BYTES_LIMIT: usize = 256 << 20;
    /// A file may have at most this many columns.
    pub const FIELDS_LIMIT: usize = 1 << 16;
    /// `max_line_size` when nothing is said.
    pub const LINE_BYTES_DEFAULT: usize = 2 << 20;

    /// Quotes inside quotes are doubled.
    pub(super) fn doubles(&self) -> bool {
        self.escape.is_none() || self.escape == self.quote
    }
}

impl Default for Dialect {
    fn default() -> Self {
        Self {
            delimiter: b',',
            quote: Some(b'"'),
            escape: Some(b'"'),
            comment: None,
            header: true,
            skip: 0,
            null_strings: Vec::new(),
            quoted_nulls: false,
            null_padding: false,
            on_error: OnError::Fail,
            max_line_bytes: Self::LINE_BYTES_DEFAULT,
            encoding: Encoding::Utf8,
            decimal_separator: b'.',
            date_format: None,
            timestamp_format: None,
            given_names: Vec::new(),
            column_names: Vec::new(),
        }
    }
}
