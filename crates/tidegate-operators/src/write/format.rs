//! The formats that can be written and what can be said about each: plain data.

use serde::{Deserialize, Serialize};

use super::error::{Error, Result};

/// A format with its options.
///
/// ```
/// use tidegate_operators::write::WriteFormat;
///
/// let format = WriteFormat::from_path("out/a.csv.gz").expect("the suffix says it");
/// assert_eq!((format.name(), format.suffix().as_str()), ("csv", "csv.gz"));
/// assert_eq!(WriteFormat::named("parquet")?.name(), "parquet");
/// # Ok::<(), tidegate_operators::write::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum WriteFormat {
    /// Comma-separated values, or with a tab.
    Csv(CsvOptions),
    /// JSON: one array, or one object a line.
    Json(JsonOptions),
    /// Parquet.
    Parquet(ParquetOptions),
    /// Arrow IPC files.
    Arrow(ArrowOptions),
}

/// How a text file is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Compression {
    /// Not at all.
    #[default]
    None,
    /// gzip, levels 0 to 9.
    Gzip,
    /// Zstandard, levels 1 to 22.
    Zstd,
    /// bzip2, levels 1 to 9.
    Bzip2,
    /// xz, levels 0 to 9.
    Xz,
}

/// Options of CSV.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CsvOptions {
    /// Whether the first line names the columns.
    pub header: bool,
    /// Between two fields.
    pub delimiter: u8,
    /// Around fields that need it; without one such a field is an error.
    pub quote: Option<u8>,
    /// Before a quote inside quotes; when it is the quote itself, quotes are doubled.
    pub escape: u8,
    /// What stands for NULL, unquoted. A text that equals it is quoted.
    pub null: String,
    /// Between a number's whole and its fraction.
    pub decimal_separator: u8,
    /// Quote all fields but NULL.
    pub force_quote: bool,
    /// A strftime format for dates; else ISO 8601.
    pub date_format: Option<String>,
    /// A strftime format for timestamps; else ISO 8601 with a blank in the middle.
    pub timestamp_format: Option<String>,
    /// Compression of the file.
    pub compression: Compression,
    /// Its level; none is the default of the method.
    pub compression_level: Option<u32>,
    /// The suffix of the files, when it is not the one that the delimiter suggests.
    pub suffix: Option<String>,
    /// How the table reads to which the files are added: every value must come back from it.
    pub table: Option<CsvTable>,
}

/// What the reader of a table does beyond what the options of its files say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CsvTable {
    /// All texts that it takes for NULL.
    pub nulls: Vec<String>,
    /// It takes them for NULL in quotes as well.
    pub quoted_nulls: bool,
    /// Lines that start with it are left out.
    pub comment: Option<u8>,
    /// Bytes that a record may have.
    pub line_bytes_max: usize,
}

impl Default for CsvOptions {
    fn default() -> Self {
        Self {
            header: true,
            delimiter: b',',
            quote: Some(b'"'),
            escape: b'"',
            null: String::new(),
            decimal_separator: b'.',
            force_quote: false,
            date_format: None,
            timestamp_format: None,
            compression: Compression::None,
            compression_level: None,
            suffix: None,
            table: None,
        }
    }
}

/// How JSON objects follow each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum JsonShape {
    /// One array.
    Array,
    /// One object a line.
    Lines,
}

/// Options of JSON.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct JsonOptions {
    /// An array or lines.
    pub shape: JsonShape,
    /// Compression of the file.
    pub compression: Compression,
    /// Its level; none is the default of the method.
    pub compression_level: Option<u32>,
}

/// How the pages of a Parquet file are compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParquetCompression {
    /// Not at all.
    None,
    /// Snappy.
    Snappy,
    /// gzip, levels 0 to 9.
    Gzip,
    /// Zstandard, levels 1 to 22.
    Zstd,
    /// LZ4 in the raw form all readers agree on.
    Lz4,
    /// Brotli, levels 0 to 11.
    Brotli,
}

/// Which statistics a Parquet file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum ParquetStatistics {
    /// None.
    None,
    /// Per column and row group.
    Chunk,
    /// Also per page.
    Page,
}

/// Options of Parquet.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ParquetOptions {
    /// Compression of pages.
    pub compression: ParquetCompression,
    /// Its level; none is the default of the method.
    pub compression_level: Option<u32>,
    /// Rows of a row group at most.
    pub row_group_rows: usize,
    /// Encoded bytes of a row group at most, about.
    pub row_group_bytes: usize,
    /// Whether columns may be dictionary-encoded.
    pub dictionary: bool,
    /// Statistics to write.
    pub statistics: ParquetStatistics,
    /// Whether to write Bloom filters.
    pub bloom_filter: bool,
    /// Bytes of a data page at most, about.
    pub page_bytes: usize,
}

impl Default for ParquetOptions {
    fn default() -> Self {
        Self {
            compression: ParquetCompression::Zstd,
            compression_level: None,
            row_group_rows: 256 * 1024,
            row_group_bytes: 128 << 20,
            dictionary: true,
            statistics: ParquetStatistics::Page,
            bloom_filter: false,
            page_bytes: 1 << 20,
        }
    }
}

/// Options of Arrow IPC.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct ArrowOptions {
    /// Compression of buffers: none or Zstandard.
    pub compression: Compression,
}

impl WriteFormat {
    /// The format of this name, with its default options.
    pub fn named(name: &str) -> Result<Self> {
        let json = |shape| JsonOptions {
            shape,
            compression: Compression::None,
            compression_level: None,
        };
        Ok(match name.to_ascii_lowercase().as_str() {
            "parquet" | "pq" => Self::Parquet(ParquetOptions::default()),
            "csv" => Self::Csv(CsvOptions::default()),
            "tsv" => Self::Csv(CsvOptions {
                delimiter: b'\t',
                ..CsvOptions::default()
            }),
            "psv" => Self::Csv(CsvOptions {
                delimiter: b'|',
                suffix: Some("psv".to_owned()),
                ..CsvOptions::default()
            }),
            "json" => Self::Json(json(JsonShape::Array)),
            "ndjson" | "jsonl" => Self::Json(json(JsonShape::Lines)),
            "arrow" | "ipc" | "feather" => Self::Arrow(ArrowOptions::default()),
            _ => {
                return Err(Error::UnknownFormat {
                    name: name.to_owned(),
                });
            }
        })
    }

    /// The format that the suffix of a path tells, compression included.
    pub fn from_path(path: &str) -> Option<Self> {
        let name = path.rsplit('/').next()?;
        let (rest, suffix) = name.rsplit_once('.')?;
        let Some(compression) = Compression::from_suffix(suffix) else {
            return Self::named(suffix).ok();
        };
        let mut format = Self::named(rest.rsplit_once('.')?.1).ok()?;
        match &mut format {
            Self::Csv(options) => options.compression = compression,
            Self::Json(options) => options.compression = compression,
            // Their compression is inside: nobody could read them compressed as a whole.
            Self::Parquet(_) | Self::Arrow(_) => return None,
        }
        Some(format)
    }

    /// Its name in lower case.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Csv(options) if options.delimiter == b'\t' => "tsv",
            Self::Csv(_) => "csv",
            Self::Json(options) if options.shape == JsonShape::Lines => "ndjson",
            Self::Json(_) => "json",
            Self::Parquet(_) => "parquet",
            Self::Arrow(_) => "arrow",
        }
    }

    /// Rows that are encoded in one go: compression is slow, and a write can be stopped only in
    /// between.
    pub(super) fn rows_at_once(&self) -> usize {
        const COMPRESSED_ROWS: usize = 512;
        match self {
            Self::Csv(CsvOptions { compression, .. })
            | Self::Json(JsonOptions { compression, .. })
                if *compression != Compression::None =>
            {
                COMPRESSED_ROWS
            }
            _ => usize::MAX,
        }
    }

    /// What an encoder takes beside what it says that it keeps, about: its tables and windows.
    pub(super) fn encoder_bytes(&self, columns: usize) -> usize {
        const COLUMN_BYTES: usize = 64 << 10;
        match self {
            Self::Parquet(_) => columns * COLUMN_BYTES,
            Self::Csv(CsvOptions {
                compression,
                compression_level,
                ..
            })
            | Self::Json(JsonOptions {
                compression,
                compression_level,
                ..
            }) => compression.encoder_bytes(*compression_level),
            Self::Arrow(ArrowOptions { compression }) => compression.encoder_bytes(None),
        }
    }

    /// The suffix of its files, without the first dot.
    pub fn suffix(&self) -> String {
        let compression = match self {
            Self::Csv(options) => options.compression.suffix(),
            Self::Json(options) => options.compression.suffix(),
            Self::Parquet(_) | Self::Arrow(_) => "",
        };
        let own = match self {
            Self::Csv(options) => options.suffix.as_deref(),
            Self::Json(_) | Self::Parquet(_) | Self::Arrow(_) => None,
        };
        format!("{}{compression}", own.unwrap_or(self.name()))
    }
}

impl Compression {
    /// What an encoder of this level takes, about.
    fn encoder_bytes(self, level: Option<u32>) -> usize {
        match (self, level) {
            (Self::None, _) => 4 << 10,
            (Self::Gzip, _) => 300 << 10,
            (Self::Zstd, None | Some(..=4)) => 4 << 20,
            (Self::Zstd, Some(5..=12)) => 32 << 20,
            (Self::Zstd, Some(13..=19)) => 96 << 20,
            (Self::Zstd, Some(20..)) => 800 << 20,
            (Self::Bzip2, _) => 8 << 20,
            (Self::Xz, Some(0)) => 4 << 20,
            (Self::Xz, Some(1..=2)) => 18 << 20,
            (Self::Xz, Some(3..=4)) => 49 << 20,
            (Self::Xz, None | Some(5..=6)) => 96 << 20,
            (Self::Xz, Some(7)) => 188 << 20,
            (Self::Xz, Some(8)) => 372 << 20,
            (Self::Xz, Some(9..)) => 676 << 20,
        }
    }

    /// The compression of this name, or of this suffix.
    pub fn named(name: &str) -> Result<Self> {
        Self::from_suffix(name).ok_or_else(|| Error::BadOption {
            name: "compression".to_owned(),
            value: name.to_owned(),
            expected: "it is gzip, zstd, bzip2 or xz".to_owned(),
        })
    }

    pub(super) fn from_suffix(suffix: &str) -> Option<Self> {
        Some(match suffix.to_ascii_lowercase().as_str() {
            "gz" | "gzip" => Self::Gzip,
            "zst" | "zstd" => Self::Zstd,
            "bz2" | "bzip2" => Self::Bzip2,
            "xz" => Self::Xz,
            _ => return None,
        })
    }

    fn suffix(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Gzip => ".gz",
            Self::Zstd => ".zst",
            Self::Bzip2 => ".bz2",
            Self::Xz => ".xz",
        }
    }
}
