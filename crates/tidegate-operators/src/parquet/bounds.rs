//! What a footer may say of floats: bounds that pruning can trust.
//!
//! Writers leave NaN out of bounds, though it is above all numbers, and give a bound of zero either sign, though both
//! are equal. So a column of floats keeps no upper bound, no lower bound that is NaN, and a lower bound of zero becomes
//! -0.0, as the format asks of readers. Page indexes and bloom filters know floats by their bits: they are left unread.

use parquet::basic::{LogicalType, Type};
use parquet::data_type::FixedLenByteArray;
use parquet::errors::Result;
use parquet::file::metadata::{ColumnChunkMetaData, ParquetMetaData, RowGroupMetaData};
use parquet::file::statistics::Statistics;
use parquet::schema::types::ColumnDescriptor;

use crate::floats::F16;

/// The footer with such bounds.
pub(super) fn trusted(footer: ParquetMetaData) -> Result<ParquetMetaData> {
    let mut columns = footer.file_metadata().schema_descr().columns().iter();
    if !columns.any(|column| is_float(column)) {
        return Ok(footer);
    }
    let mut builder = footer.into_builder();
    let groups = builder.take_row_groups().into_iter().map(row_group);
    let groups = groups.collect::<Result<Vec<_>>>()?;
    Ok(builder.set_row_groups(groups).build())
}

fn row_group(group: RowGroupMetaData) -> Result<RowGroupMetaData> {
    let columns = group.columns().iter().cloned().map(column);
    let columns = columns.collect::<Result<Vec<_>>>()?;
    group.into_builder().set_column_metadata(columns).build()
}

fn column(column: ColumnChunkMetaData) -> Result<ColumnChunkMetaData> {
    if !is_float(column.column_descr()) {
        return Ok(column);
    }
    let statistics = column.statistics().and_then(lower_bound);
    let builder = column.into_builder();
    let builder = match statistics {
        Some(statistics) => builder.set_statistics(statistics),
        None => builder.clear_statistics(),
    };
    builder
        .set_column_index_offset(None)
        .set_column_index_length(None)
        .set_bloom_filter_offset(None)
        .set_bloom_filter_length(None)
        .build()
}

fn is_float(column: &ColumnDescriptor) -> bool {
    matches!(column.physical_type(), Type::FLOAT | Type::DOUBLE)
        || column.logical_type_ref() == Some(&LogicalType::Float16)
}

/// The statistics of floats without an upper bound; none if they are not of floats.
fn lower_bound(statistics: &Statistics) -> Option<Statistics> {
    let (distinct, nulls) = (statistics.distinct_count_opt(), statistics.null_count_opt());
    let is_old = statistics.is_min_max_deprecated();
    Some(match statistics {
        Statistics::Float(bounds) => {
            let least = bounds.min_opt().filter(|least| !least.is_nan());
            let least = least.map(|least| if *least == 0.0 { -0.0 } else { *least });
            Statistics::float(least, None, distinct, nulls, is_old)
        }
        Statistics::Double(bounds) => {
            let least = bounds.min_opt().filter(|least| !least.is_nan());
            let least = least.map(|least| if *least == 0.0 { -0.0 } else { *least });
            Statistics::double(least, None, distinct, nulls, is_old)
        }
        Statistics::FixedLenByteArray(bounds) => {
            let least = bounds.min_opt().and_then(half);
            let least = least.filter(|least| !least.is_nan());
            let least = least.map(|least| {
                if least == F16::ZERO {
                    F16::NEG_ZERO
                } else {
                    least
                }
            });
            let least = least.map(|least| FixedLenByteArray::from(least.to_le_bytes().to_vec()));
            Statistics::fixed_len_byte_array(least, None, distinct, nulls, is_old)
        }
        _ => return None,
    })
}

fn half(bytes: &FixedLenByteArray) -> Option<F16> {
    let bytes: [u8; 2] = bytes.data().try_into().ok()?;
    Some(F16::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn least(written: f64) -> Option<f64> {
        let written = Statistics::double(Some(written), Some(7.0), None, Some(3), false);
        match lower_bound(&written)? {
            Statistics::Double(bounds) => {
                assert_eq!((bounds.max_opt(), bounds.null_count_opt()), (None, Some(3)));
                bounds.min_opt().copied()
            }
            _ => None,
        }
    }

    #[test]
    fn a_lower_bound_holds_for_both_zeros_and_no_nan() {
        assert_eq!(least(1.5), Some(1.5));
        assert_eq!(least(0.0).map(f64::to_bits), Some((-0.0f64).to_bits()));
        assert_eq!(least(f64::NAN), None);
    }

    #[test]
    fn halves_are_bounded_as_floats_are() {
        let bytes = |value: F16| Some(FixedLenByteArray::from(value.to_le_bytes().to_vec()));
        let written =
            Statistics::fixed_len_byte_array(bytes(F16::ZERO), bytes(F16::ONE), None, None, false);
        let bounded = lower_bound(&written).and_then(|bounds| match bounds {
            Statistics::FixedLenByteArray(bounds) => bounds.min_opt().and_then(half),
            _ => None,
        });
        assert_eq!(bounded.map(F16::to_bits), Some(F16::NEG_ZERO.to_bits()));
    }
}
