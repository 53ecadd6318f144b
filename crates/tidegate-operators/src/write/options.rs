//! Options of COPY by name: each is known, typed and in range, or an error.

use super::error::{Error, Result};
use super::format::{
    ArrowOptions, Compression, CsvOptions, JsonOptions, JsonShape, ParquetCompression,
    ParquetOptions, ParquetStatistics, WriteFormat,
};
use super::spec::{Layout, Value, WriteMode, WriteSpec};

const ALL: &[&str] = &[
    "mode",
    "overwrite",
    "append",
    "partition_by",
    "write_partition_columns",
    "per_thread_output",
    "file_size_bytes",
    "max_open_files",
];
const CSV: &[&str] = &[
    "header",
    "delimiter",
    "quote",
    "escape",
    "null",
    "decimal_separator",
    "force_quote",
    "date_format",
    "timestamp_format",
    "compression",
    "compression_level",
];
const JSON: &[&str] = &["array", "compression", "compression_level"];
const PARQUET: &[&str] = &[
    "compression",
    "compression_level",
    "row_group_size",
    "row_group_size_bytes",
    "dictionary",
    "statistics",
    "bloom_filter",
    "page_size_bytes",
];
const ARROW: &[&str] = &["compression"];

/// Row groups of one row would make files of footers.
const ROW_GROUP_ROWS_MIN: u64 = 100;

/// An option with its name for messages.
struct Setting<'a> {
    name: &'a str,
    value: &'a Value,
}

/// Sets one option.
pub(super) fn set(spec: &mut WriteSpec, name: &str, value: &Value) -> Result<()> {
    let lower = name.to_ascii_lowercase();
    // `format.x` is how DataFusion's COPY spells the options of formats.
    let key = lower.strip_prefix("format.").unwrap_or(&lower);
    let option = Setting { name: key, value };
    match key {
        "mode" => set_mode(spec, WriteMode::named(option.text()?)?)?,
        "overwrite" if option.boolean()? => set_mode(spec, WriteMode::Overwrite)?,
        "append" if option.boolean()? => set_mode(spec, WriteMode::Append)?,
        "overwrite" | "append" => {}
        "partition_by" => spec.partition_by = option.list(),
        "write_partition_columns" => spec.partition_columns_in_files = option.boolean()?,
        "per_thread_output" if option.boolean()? => spec.layout = Layout::Directory,
        "per_thread_output" => {}
        "file_size_bytes" => spec.file_bytes_max = Some(option.bytes(1)?),
        "max_open_files" | "partitioned_write_max_open_files" => {
            spec.open_files_max = option.number(1, 1 << 20)? as usize;
        }
        _ => {
            let known = match &mut spec.format {
                WriteFormat::Csv(csv) => set_csv(csv, &option)?,
                WriteFormat::Json(json) => set_json(json, &option)?,
                WriteFormat::Parquet(parquet) => set_parquet(parquet, &option)?,
                WriteFormat::Arrow(arrow) => set_arrow(arrow, &option)?,
            };
            if !known {
                return Err(unknown(&spec.format, name));
            }
        }
    }
    Ok(())
}

fn unknown(format: &WriteFormat, name: &str) -> Error {
    let own = match format {
        WriteFormat::Csv(_) => CSV,
        WriteFormat::Json(_) => JSON,
        WriteFormat::Parquet(_) => PARQUET,
        WriteFormat::Arrow(_) => ARROW,
    };
    Error::UnknownOption {
        name: name.to_owned(),
        format: format.name(),
        known: [own, ALL].concat().join(", "),
    }
}

/// OVERWRITE and APPEND are names of modes: two of them cannot both be meant.
fn set_mode(spec: &mut WriteSpec, mode: WriteMode) -> Result<()> {
    match spec.mode.replace(mode) {
        None => Ok(()),
        Some(first) => Err(Error::TwoModes {
            first: first.name(),
            second: mode.name(),
        }),
    }
}

fn set_csv(csv: &mut CsvOptions, option: &Setting<'_>) -> Result<bool> {
    match option.name {
        "header" | "has_header" => csv.header = option.boolean()?,
        "delimiter" | "delim" | "sep" => csv.delimiter = option.byte()?,
        "quote" => {
            // Doubling follows the quote, unless the escape was said.
            let doubled = csv.quote.is_none_or(|quote| csv.escape == quote);
            csv.quote = option.byte_or_none()?;
            if let (true, Some(quote)) = (doubled, csv.quote) {
                csv.escape = quote;
            }
        }
        "escape" => csv.escape = option.byte()?,
        "decimal_separator" => {
            csv.decimal_separator = match option.byte()? {
                byte @ (b'.' | b',') => byte,
                _ => return Err(option.bad("a point or a comma")),
            }
        }
        "null" | "nullstr" | "null_value" | "null_string" => csv.null = option.null_text()?,
        "force_quote" => csv.force_quote = option.force_quote()?,
        "date_format" | "dateformat" => csv.date_format = Some(option.time_format()?),
        "timestamp_format" | "timestampformat" => {
            csv.timestamp_format = Some(option.time_format()?)
        }
        "compression" => csv.compression = option.compression()?,
        "compression_level" => csv.compression_level = Some(option.number(0, 22)? as u32),
        _ => return Ok(false),
    }
    check_level(option, csv.compression, csv.compression_level)?;
    Ok(true)
}

fn set_json(json: &mut JsonOptions, option: &Setting<'_>) -> Result<bool> {
    match option.name {
        "array" if option.boolean()? => json.shape = JsonShape::Array,
        "array" => json.shape = JsonShape::Lines,
        "compression" => json.compression = option.compression()?,
        "compression_level" => json.compression_level = Some(option.number(0, 22)? as u32),
        _ => return Ok(false),
    }
    check_level(option, json.compression, json.compression_level)?;
    Ok(true)
}

fn set_parquet(parquet: &mut ParquetOptions, option: &Setting<'_>) -> Result<bool> {
    match option.name {
        "compression" | "codec" => {
            parquet.compression = match option.text()?.to_ascii_lowercase().as_str() {
                "none" | "uncompressed" => ParquetCompression::None,
                "snappy" => ParquetCompression::Snappy,
                "gzip" => ParquetCompression::Gzip,
                "zstd" => ParquetCompression::Zstd,
                "lz4" | "lz4_raw" => ParquetCompression::Lz4,
                "brotli" => ParquetCompression::Brotli,
                _ => return Err(option.bad("none, snappy, gzip, zstd, lz4 or brotli")),
            }
        }
        "compression_level" => parquet.compression_level = Some(option.number(0, 22)? as u32),
        "row_group_size" | "max_row_group_size" => {
            parquet.row_group_rows = option.number(ROW_GROUP_ROWS_MIN, 1 << 30)? as usize;
        }
        "row_group_size_bytes" => parquet.row_group_bytes = option.bytes(1024)? as usize,
        "dictionary" | "dictionary_enabled" => parquet.dictionary = option.boolean()?,
        "statistics" | "statistics_enabled" => {
            parquet.statistics = match option.text()?.to_ascii_lowercase().as_str() {
                "none" => ParquetStatistics::None,
                "chunk" => ParquetStatistics::Chunk,
                "page" => ParquetStatistics::Page,
                _ => return Err(option.bad("none, chunk or page")),
            }
        }
        "bloom_filter" | "bloom_filter_on_write" => parquet.bloom_filter = option.boolean()?,
        "page_size_bytes" | "data_pagesize_limit" => {
            parquet.page_bytes = option.bytes(1024)? as usize
        }
        _ => return Ok(false),
    }
    Ok(true)
}

fn set_arrow(arrow: &mut ArrowOptions, option: &Setting<'_>) -> Result<bool> {
    if option.name != "compression" {
        return Ok(false);
    }
    arrow.compression = match option.compression()? {
        compression @ (Compression::None | Compression::Zstd) => compression,
        _ => return Err(option.bad("none or zstd")),
    };
    Ok(true)
}

fn check_level(option: &Setting<'_>, compression: Compression, level: Option<u32>) -> Result<()> {
    let max = match compression {
        // Nothing is compressed yet; the option of the method may follow.
        Compression::None | Compression::Zstd => 22,
        Compression::Gzip | Compression::Bzip2 | Compression::Xz => 9,
    };
    match level {
        Some(level) if level > max => Err(Error::BadOption {
            name: "compression_level".to_owned(),
            value: level.to_string(),
            expected: format!("at most {max} with compression `{}`", option.value.shown()),
        }),
        _ => Ok(()),
    }
}

impl Value {
    fn shown(&self) -> String {
        match self {
            Self::Boolean(value) => value.to_string(),
            Self::Number(text) | Self::Text(text) => text.clone(),
            Self::List(values) => values.join(", "),
        }
    }
}

impl Setting<'_> {
    fn bad(&self, expected: &str) -> Error {
        Error::BadOption {
            name: self.name.to_owned(),
            value: self.value.shown(),
            expected: format!("it is {expected}"),
        }
    }

    fn text(&self) -> Result<&str> {
        match self.value {
            Value::Text(text) | Value::Number(text) => Ok(text),
            Value::Boolean(_) | Value::List(_) => Err(self.bad("a word")),
        }
    }

    fn list(&self) -> Vec<String> {
        match self.value {
            Value::List(names) => names.clone(),
            single => vec![single.shown()],
        }
    }

    fn boolean(&self) -> Result<bool> {
        match self.value {
            Value::Boolean(value) => Ok(*value),
            Value::Text(text) | Value::Number(text) => match text.to_ascii_lowercase().as_str() {
                "true" | "on" | "yes" | "1" => Ok(true),
                "false" | "off" | "no" | "0" => Ok(false),
                _ => Err(self.bad("true or false")),
            },
            Value::List(_) => Err(self.bad("true or false")),
        }
    }

    fn force_quote(&self) -> Result<bool> {
        match self.value {
            Value::Text(text) if text == "*" => Ok(true),
            Value::List(names) if names == &["*"] => Ok(true),
            _ => self.boolean(),
        }
    }

    fn number(&self, min: u64, max: u64) -> Result<u64> {
        let number = self
            .text()
            .ok()
            .and_then(|text| text.replace('_', "").parse::<u64>().ok());
        number
            .filter(|number| (min..=max).contains(number))
            .ok_or_else(|| self.bad(&format!("a whole number from {min} to {max}")))
    }

    fn bytes(&self, min: u64) -> Result<u64> {
        let parsed = self.text().ok().and_then(parse_bytes);
        parsed
            .filter(|bytes| *bytes >= min)
            .ok_or_else(|| self.bad("a size such as 1000000, '100MB' or '1GiB'"))
    }

    fn byte(&self) -> Result<u8> {
        match self.text()? {
            "\\t" => Ok(b'\t'),
            text if text.len() == 1 && !matches!(text, "\n" | "\r") => Ok(text.as_bytes()[0]),
            _ => Err(self.bad("one character of ASCII")),
        }
    }

    fn byte_or_none(&self) -> Result<Option<u8>> {
        match self.text()? {
            "" => Ok(None),
            _ => self.byte().map(Some),
        }
    }

    fn null_text(&self) -> Result<String> {
        let text = self.text()?;
        if text.contains(['\n', '\r']) {
            return Err(self.bad("a text without line ends"));
        }
        Ok(text.to_owned())
    }

    fn time_format(&self) -> Result<String> {
        use chrono::format::{Item, StrftimeItems};
        let text = self.text()?;
        if StrftimeItems::new(text).any(|item| matches!(item, Item::Error)) {
            return Err(self.bad("a format such as '%Y-%m-%d'"));
        }
        Ok(text.to_owned())
    }

    fn compression(&self) -> Result<Compression> {
        let text = self.text()?.to_ascii_lowercase();
        match text.as_str() {
            "none" | "uncompressed" => Ok(Compression::None),
            _ => Compression::from_suffix(&text)
                .ok_or_else(|| self.bad("none, gzip, zstd, bzip2 or xz")),
        }
    }
}

fn parse_bytes(text: &str) -> Option<u64> {
    let text = text.trim();
    let digits = text
        .find(|digit: char| !digit.is_ascii_digit() && digit != '_')
        .unwrap_or(text.len());
    let number: u64 = text[..digits].replace('_', "").parse().ok()?;
    let unit = match text[digits..].trim().to_ascii_lowercase().as_str() {
        "" | "b" => 1,
        "kb" | "k" => 1_000,
        "mb" | "m" => 1_000_000,
        "gb" | "g" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.checked_mul(unit)
}
