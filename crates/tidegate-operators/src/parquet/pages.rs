//! The checksums of pages. The decoder has the check as a build feature, which would be bought with a second build of
//! everything above it; here it is a walk over what was read, before it is decoded.
//!
//! 1. What is read of a column is whole pages: a header, then the bytes it counts, then the next page.
//! 2. The walk must come out at the end exactly; else what was read is no run of pages, and the decoder judges it.
//! 3. Checksums are optional, and a writer gives all pages one or none: the first page without one ends the walk.

use std::ops::Range;

use parquet::file::metadata::ParquetMetaData;

use super::thrift;

/// Where the columns of the row groups lie.
#[derive(Debug)]
pub(super) struct Chunks {
    /// First and last byte, row group, column; sorted.
    places: Vec<(Range<u64>, usize, usize)>,
}

impl Chunks {
    pub(super) fn of(footer: &ParquetMetaData) -> Self {
        let mut places = Vec::new();
        for (row_group, group) in footer.row_groups().iter().enumerate() {
            for (column, chunk) in group.columns().iter().enumerate() {
                let dictionary = chunk.dictionary_page_offset().filter(|at| *at > 0);
                let first = dictionary.unwrap_or(chunk.data_page_offset());
                let sizes = (u64::try_from(first), u64::try_from(chunk.compressed_size()));
                if let (Ok(first), Ok(bytes)) = sizes {
                    places.push((first..first.saturating_add(bytes), row_group, column));
                }
            }
        }
        places.sort_unstable_by_key(|(range, ..)| range.start);
        Self { places }
    }

    /// The row group and the column that `range` is a part of.
    fn holding(&self, range: &Range<u64>) -> Option<(usize, usize)> {
        let behind = self
            .places
            .partition_point(|(place, ..)| place.start <= range.start);
        let (place, row_group, column) = self.places.get(behind.checked_sub(1)?)?;
        (range.end <= place.end).then_some((*row_group, *column))
    }

    /// An error if `bytes`, which stand at `range`, are pages one of which is not what its writer wrote.
    pub(super) fn check(
        &self,
        footer: &ParquetMetaData,
        range: &Range<u64>,
        bytes: &[u8],
    ) -> Result<(), String> {
        let Some((row_group, column)) = self.holding(range) else {
            return Ok(());
        };
        if are_as_written(bytes) {
            return Ok(());
        }
        let path = footer.row_group(row_group).column(column).column_path();
        Err(format!(
            "the checksum of a page of column `{}` in row group {row_group} does not match",
            path.string()
        ))
    }
}

/// Whether every page with a checksum has the right one.
fn are_as_written(bytes: &[u8]) -> bool {
    let mut pages = Vec::new();
    let mut next = 0;
    while next < bytes.len() {
        let Some(page) = thrift::page_header(&bytes[next..]) else {
            return true;
        };
        let Some(checksum) = page.checksum else {
            return true;
        };
        let start = next + page.header_bytes;
        let end = start.saturating_add(page.data_bytes);
        if end > bytes.len() {
            return true;
        }
        pages.push((checksum, start..end));
        next = end;
    }
    pages.into_iter().all(|(checksum, place)| {
        let mut crc = flate2::Crc::new();
        crc.update(&bytes[place]);
        crc.sum() == checksum
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(checksum: Option<u32>, data: &[u8]) -> Vec<u8> {
        let zigzag = |number: i64| {
            let (mut rest, mut bytes) = ((number << 1 ^ number >> 63) as u64, Vec::new());
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
            bytes
        };
        let mut bytes = vec![0x15, 0x00];
        let size = zigzag(data.len() as i64);
        for field in [&[0x15][..], &size, &[0x15], &size] {
            bytes.extend_from_slice(field);
        }
        let delta = match checksum {
            Some(checksum) => {
                bytes.push(0x15);
                bytes.extend(zigzag(i64::from(checksum.cast_signed())));
                1
            }
            None => 2,
        };
        // The header of a data page, with one number in it.
        bytes.extend([delta << 4 | 0x0c, 0x15, 0x08, 0x00, 0x00]);
        bytes.extend_from_slice(data);
        bytes
    }

    fn crc(data: &[u8]) -> Option<u32> {
        let mut crc = flate2::Crc::new();
        crc.update(data);
        Some(crc.sum())
    }

    #[test]
    fn pages_with_wrong_checksums_are_found() {
        let (one, two) = (&b"one"[..], &b"and two"[..]);
        let check = |pages: &[Vec<u8>], expect: bool| {
            assert_eq!(are_as_written(&pages.concat()), expect, "{pages:?}");
        };
        check(&[page(crc(one), one), page(crc(two), two)], true);
        check(&[page(crc(one), one), page(crc(one), two)], false);
        check(&[page(Some(7), one)], false);
        // Without checksums nothing is known, and what is no run of pages is left to the decoder.
        check(&[page(None, one), page(Some(7), two)], true);
        check(&[page(Some(7), one), b"\x15".to_vec()], true);
        check(&[b"anything".to_vec()], true);
        check(&[], true);
        let whole = page(Some(7), two);
        for end in 0..whole.len() {
            assert!(are_as_written(&whole[..end]), "{end}");
        }
    }
}
