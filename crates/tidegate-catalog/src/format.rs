//! Which format a file has: by its extension, else by its first bytes.

use serde::{Deserialize, Serialize};
use tidegate_operators::input;

use crate::error::{Error, Kind, Result};
use crate::near;

/// What a file holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// Apache Parquet.
    Parquet,
    /// Separated values; the separator is sniffed.
    Csv,
    /// Tab-separated values.
    Tsv,
    /// Values separated by `|`.
    Psv,
    /// A JSON array, or one JSON value a line.
    Json,
    /// Arrow IPC, file or stream.
    Arrow,
    /// Apache Avro.
    Avro,
}

/// How a file is compressed as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Compression {
    /// gzip.
    Gz,
    /// Zstandard.
    Zst,
    /// bzip2.
    Bz2,
    /// xz.
    Xz,
}

const FORMATS: [(&str, Format); 14] = [
    ("parquet", Format::Parquet),
    ("pq", Format::Parquet),
    ("csv", Format::Csv),
    ("txt", Format::Csv),
    ("tsv", Format::Tsv),
    ("tab", Format::Tsv),
    ("psv", Format::Psv),
    ("json", Format::Json),
    ("ndjson", Format::Json),
    ("jsonl", Format::Json),
    ("arrow", Format::Arrow),
    ("feather", Format::Arrow),
    ("ipc", Format::Arrow),
    ("avro", Format::Avro),
];

const COMPRESSIONS: [(&str, Compression); 8] = [
    ("gz", Compression::Gz),
    ("gzip", Compression::Gz),
    ("zst", Compression::Zst),
    ("zstd", Compression::Zst),
    ("bz2", Compression::Bz2),
    ("bzip2", Compression::Bz2),
    ("xz", Compression::Xz),
    ("lzma", Compression::Xz),
];

/// Extensions of what lies beside data and is none. Skipped with a notice in directories and globs.
const NOT_DATA: [&str; 24] = [
    "md", "markdown", "rst", "adoc", "html", "htm", "pdf", "doc", "docx", "sql", "py", "ipynb",
    "sh", "r", "yaml", "yml", "toml", "ini", "crc", "md5", "sha256", "log", "png", "svg",
];

impl Format {
    /// The format of this name, as users write it (`parquet`, `CSV`, `ndjson` …).
    pub fn parse(name: &str) -> Result<Self> {
        let low = name.to_ascii_lowercase();
        if let Some((_, format)) = FORMATS.iter().find(|(known, _)| *known == low) {
            return Ok(*format);
        }
        let names = [
            "parquet", "csv", "tsv", "psv", "json", "ndjson", "arrow", "avro",
        ];
        let error = Error::new(Kind::Invalid, format!("`{name}` is not a format"));
        Err(match near::did_you_mean(&near::near_names(&low, names)) {
            Some(hint) => error.hint(hint),
            None => error.hint(format!("formats are {}", names.join(", "))),
        })
    }

    /// The name in messages and settings.
    pub fn name(self) -> &'static str {
        match self {
            Format::Parquet => "parquet",
            Format::Csv => "csv",
            Format::Tsv => "tsv",
            Format::Psv => "psv",
            Format::Json => "json",
            Format::Arrow => "arrow",
            Format::Avro => "avro",
        }
    }

    /// The separator its name promises.
    pub fn delimiter(self) -> Option<u8> {
        match self {
            Format::Tsv => Some(b'\t'),
            Format::Psv => Some(b'|'),
            _ => None,
        }
    }

    /// Whether it is read as separated values.
    pub fn is_separated(self) -> bool {
        matches!(self, Format::Csv | Format::Tsv | Format::Psv)
    }
}

impl Compression {
    /// Whether this is what the first bytes of a file show.
    pub(crate) fn is(self, found: input::Compression) -> bool {
        matches!(
            (self, found),
            (Compression::Gz, input::Compression::Gzip)
                | (Compression::Zst, input::Compression::Zstd)
                | (Compression::Bz2, input::Compression::Bzip2)
                | (Compression::Xz, input::Compression::Xz)
        )
    }

    /// The name in messages.
    pub fn name(self) -> &'static str {
        match self {
            Compression::Gz => "gz",
            Compression::Zst => "zst",
            Compression::Bz2 => "bz2",
            Compression::Xz => "xz",
        }
    }

    /// The compression of this name.
    pub fn parse(name: &str) -> Result<Self> {
        let low = name.to_ascii_lowercase();
        COMPRESSIONS
            .iter()
            .find(|(known, _)| *known == low)
            .map(|(_, compression)| *compression)
            .ok_or_else(|| {
                Error::new(Kind::Invalid, format!("`{name}` is not a compression"))
                    .hint("compressions are gz, zst, bz2, xz; `auto` looks at the first bytes")
            })
    }
}

/// The format a file name promises, looking through one compression extension.
pub(crate) fn by_extension(path: &str) -> Option<Format> {
    let name = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    let (stem, extension) = name.rsplit_once('.')?;
    let extension = match COMPRESSIONS.iter().any(|(known, _)| *known == extension) {
        true => stem.rsplit_once('.')?.1,
        false => extension,
    };
    FORMATS
        .iter()
        .find(|(known, _)| *known == extension)
        .map(|(_, format)| *format)
}

/// Whether the name says that the file is documentation, code or a checksum.
pub(crate) fn is_not_data(path: &str) -> bool {
    let name = path
        .rsplit('/')
        .next()
        .unwrap_or_default()
        .to_ascii_lowercase();
    matches!(
        name.as_str(),
        "license" | "readme" | "makefile" | "thumbs.db"
    ) || name
        .rsplit_once('.')
        .is_some_and(|(_, extension)| NOT_DATA.contains(&extension))
}

/// The file name without the extensions that say its format and compression.
pub(crate) fn stem(path: &str) -> &str {
    let name = path
        .trim_end_matches('/')
        .rsplit('/')
        .next()
        .unwrap_or_default();
    let known = |extension: &str| {
        let low = extension.to_ascii_lowercase();
        FORMATS.iter().any(|(known, _)| *known == low)
            || COMPRESSIONS.iter().any(|(known, _)| *known == low)
    };
    let mut stem = name;
    while let Some((before, extension)) = stem
        .rsplit_once('.')
        .filter(|(before, _)| !before.is_empty())
    {
        if !known(extension) {
            break;
        }
        stem = before;
    }
    stem
}

/// The format these first bytes show, after decompression. Text that is no JSON is separated values.
/// Bytes that are no text are nothing we know.
pub(crate) fn by_magic(head: &[u8]) -> Option<Format> {
    if head.starts_with(b"PAR1") || head.starts_with(b"PARE") {
        return Some(Format::Parquet);
    }
    if head.starts_with(b"ARROW1") || head.starts_with(&[0xff, 0xff, 0xff, 0xff]) {
        return Some(Format::Arrow);
    }
    if head.starts_with(b"Obj\x01") {
        return Some(Format::Avro);
    }
    let utf16 = head.starts_with(&[0xff, 0xfe]) || head.starts_with(&[0xfe, 0xff]);
    if !utf16 && head.contains(&0) {
        return None;
    }
    let text = head.strip_prefix(&[0xef, 0xbb, 0xbf]).unwrap_or(head);
    match text.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{' | b'[') => Some(Format::Json),
        _ => Some(Format::Csv),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn extensions_say_the_format_through_a_compression() {
        let check =
            |name: &str, format: Option<Format>| assert_eq!(by_extension(name), format, "{name}");
        check("a/b.parquet", Some(Format::Parquet));
        check("b.CSV.GZ", Some(Format::Csv));
        check("b.tsv.zst", Some(Format::Tsv));
        check("b.jsonl.xz", Some(Format::Json));
        check("b.gz", None);
        check("a.csv/part-0", None);
        check("part-0", None);
        check("b.feather", Some(Format::Arrow));
    }

    #[test]
    fn first_bytes_say_the_format() {
        let check =
            |head: &[u8], format: Option<Format>| assert_eq!(by_magic(head), format, "{head:?}");
        check(b"PAR1\x15\x04", Some(Format::Parquet));
        check(b"ARROW1\0\0", Some(Format::Arrow));
        check(b"Obj\x01\x04", Some(Format::Avro));
        check(b"\xef\xbb\xbf  {\"a\"", Some(Format::Json));
        check(b"\n [1", Some(Format::Json));
        check(b"a,b\n1,2\n", Some(Format::Csv));
        check(b"\x7fELF\x00\x01", None);
    }

    #[test]
    fn stems_leave_out_what_says_the_format() {
        for (name, expect) in [
            ("a/b.csv.gz", "b"),
            ("x/y.2026.parquet", "y.2026"),
            (".csv", ".csv"),
            ("d/trips/", "trips"),
        ] {
            assert_eq!(stem(name), expect);
        }
    }

    #[test]
    fn an_unknown_format_has_a_suggestion() {
        assert_eq!(
            Format::parse("parket").unwrap_err().hint.as_deref(),
            Some("did you mean `parquet`?")
        );
        assert_eq!(Format::parse("NDJSON").unwrap(), Format::Json);
    }
}
