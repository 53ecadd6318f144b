//! The footer of a Parquet file, checked before it is decoded.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use parquet::file::metadata::{FooterTail, ParquetMetaData, ParquetMetaDataReader};

use super::bounds;
use super::cache::{FooterCache, Key};
use super::thrift;
use crate::input::{Error, InputFile, Place};
use crate::source::{ScanLimits, first_line};
use crate::unwinding::catch;

/// The end of a file is read in one piece of this size; most footers fit.
const TAIL_BYTES: u64 = 64 << 10;

/// A file's magic bytes and the length of its footer.
const FOOTER_BYTES: u64 = 8;

/// The footer of `file`, from the cache or from its end. Blocks.
pub fn footer(
    file: &InputFile,
    cache: &FooterCache,
    limits: &ScanLimits,
) -> Result<Arc<ParquetMetaData>, Error> {
    crate::input::block_on(load(file, cache, limits, |range| file.fetch_range(range)))
}

/// The same, through `fetch`, which reads a range of the file.
pub(super) async fn load<F: Future<Output = Result<Bytes, Error>>>(
    file: &InputFile,
    cache: &FooterCache,
    limits: &ScanLimits,
    fetch: impl Fn(Range<u64>) -> F,
) -> Result<Arc<ParquetMetaData>, Error> {
    let key = Key::new(file.name(), &file.meta);
    if let Some(footer) = cache.get(&key) {
        return Ok(footer);
    }
    let damaged = |what: String| Error::damaged(file.name(), Place::File, what);
    let size = file.meta.size;
    let Some(body) = size.checked_sub(FOOTER_BYTES) else {
        return Err(damaged(format!(
            "this is no Parquet file: it has {size} bytes"
        )));
    };
    let start = size.saturating_sub(TAIL_BYTES);
    let tail = fetch(start..size).await?;
    let length = footer_length(&tail, body).map_err(damaged)?;
    let footer_start = body - length;
    let bytes = match footer_start.checked_sub(start) {
        Some(skip) => tail.slice(skip as usize..(body - start) as usize),
        None => fetch(footer_start..body).await?,
    };
    let decoded =
        decode(&bytes, limits).map_err(|what| damaged(format!("its footer is damaged: {what}")))?;
    let decoded = Arc::new(decoded);
    check_places(&decoded, size).map_err(damaged)?;
    cache.put(key, &decoded);
    Ok(decoded)
}

fn footer_length(tail: &[u8], body: u64) -> Result<u64, String> {
    let last: &[u8; FOOTER_BYTES as usize] = tail
        .last_chunk()
        .ok_or("this is no Parquet file: it is too short")?;
    let end = FooterTail::try_new(last)
        .map_err(|_| "this is no Parquet file, or its end is missing".to_owned())?;
    if end.is_encrypted_footer() {
        return Err("its footer is encrypted, which is not supported".to_owned());
    }
    let length = end.metadata_length() as u64;
    match length > body {
        true => Err(format!(
            "its footer claims {length} bytes, the file has {}",
            body + 8
        )),
        false => Ok(length),
    }
}

fn decode(bytes: &[u8], limits: &ScanLimits) -> Result<ParquetMetaData, String> {
    thrift::check(bytes, limits.unpacked_bytes_max)?;
    let decode = || ParquetMetaDataReader::decode_metadata(bytes).and_then(bounds::trusted);
    match catch(decode) {
        Some(decoded) => decoded.map_err(|error| first_line(&error)),
        None => Err("decoding it failed".to_owned()),
    }
}

/// What a footer says lies in the file must lie in it.
fn check_places(footer: &ParquetMetaData, size: u64) -> Result<(), String> {
    for (i, group) in footer.row_groups().iter().enumerate() {
        let outside = || format!("row group {} claims to lie outside the file", i + 1);
        if group.num_rows() < 0 {
            return Err(format!(
                "row group {} claims {} rows",
                i + 1,
                group.num_rows()
            ));
        }
        for column in group.columns() {
            let data = column.data_page_offset();
            let start = column
                .dictionary_page_offset()
                .filter(|at| *at > 0)
                .unwrap_or(data);
            let end = start
                .checked_add(column.compressed_size())
                .ok_or_else(outside)?;
            let sound = start >= 0 && data >= 0 && end >= start && end as u64 <= size;
            if !sound || column.num_values() < 0 || column.uncompressed_size() < 0 {
                return Err(outside());
            }
        }
    }
    Ok(())
}

/// Where the page indexes of a file lie: one place for each column that has one.
pub(super) fn index_places(footer: &ParquetMetaData) -> Vec<Range<u64>> {
    let columns = footer.row_groups().iter().flat_map(|group| group.columns());
    columns
        .flat_map(|column| {
            [
                (column.column_index_offset(), column.column_index_length()),
                (column.offset_index_offset(), column.offset_index_length()),
            ]
        })
        .filter_map(|(offset, length)| {
            let start = u64::try_from(offset?).ok()?;
            Some(start..start.checked_add(u64::try_from(length?).ok()?)?)
        })
        .collect()
}
