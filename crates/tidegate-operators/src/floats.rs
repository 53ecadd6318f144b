//! Floats with one NaN. A NaN has a sign and a payload, by which arrow's kernels compare it: one with a sign lies below
//! all numbers, and two are different. In SQL there is one, above all numbers.

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, PrimitiveArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::{ArrowPrimitiveType, DataType, Float16Type, Float32Type, Float64Type};

/// Floats of 16 bits.
pub(crate) type F16 = <Float16Type as ArrowPrimitiveType>::Native;

/// `$values` of the kind that `$array` has; another array is given back as it is.
macro_rules! of_floats {
    ($array:expr, $values:ident) => {
        match $array.data_type() {
            DataType::Float16 => $values!(Float16Type),
            DataType::Float32 => $values!(Float32Type),
            DataType::Float64 => $values!(Float64Type),
            _ => Arc::clone($array),
        }
    };
}

/// The same values with one NaN. An array that has no other is given back as it is.
pub fn one_nan(array: &ArrayRef) -> ArrayRef {
    macro_rules! one {
        ($kind:ty) => {{
            let nan = <$kind as ArrowPrimitiveType>::Native::NAN;
            replace::<$kind>(array, nan, |v| v.is_nan() && v.to_bits() != nan.to_bits())
        }};
    }
    of_floats!(array, one)
}

/// The same values with one zero, which has no sign: arrow puts `-0.0` before `0.0`.
pub fn one_zero(array: &ArrayRef) -> ArrayRef {
    macro_rules! one {
        ($kind:ty) => {{
            let negative = -<$kind as ArrowPrimitiveType>::Native::default();
            replace::<$kind>(array, -negative, |v| v.to_bits() == negative.to_bits())
        }};
    }
    of_floats!(array, one)
}

/// The same rows with one NaN in the columns that are floats; floats inside of lists and structs stay as they are.
pub(crate) fn rows_with_one_nan(batch: RecordBatch) -> RecordBatch {
    let is_float = |column: &ArrayRef| column.data_type().is_floating();
    if !batch.columns().iter().any(is_float) {
        return batch;
    }
    let (schema, mut columns, rows) = batch.into_parts();
    for column in columns.iter_mut().filter(|column| is_float(column)) {
        *column = one_nan(column);
    }
    let options = RecordBatchOptions::new().with_row_count(Some(rows));
    RecordBatch::try_new_with_options(schema, columns, &options)
        .expect("types and lengths are as they were")
}

fn replace<T: ArrowPrimitiveType>(
    array: &ArrayRef,
    one: T::Native,
    is_other: impl Fn(T::Native) -> bool,
) -> ArrayRef {
    let values = array.as_primitive::<T>();
    // Without a branch for each value: most arrays have none.
    let found = values
        .values()
        .iter()
        .fold(false, |found, value| found | is_other(*value));
    if !found {
        return Arc::clone(array);
    }
    let replaced: PrimitiveArray<T> =
        values.unary(|value| if is_other(value) { one } else { value });
    Arc::new(replaced)
}

#[cfg(test)]
mod tests {
    use arrow::array::Float64Array;

    use super::*;

    #[test]
    fn every_nan_becomes_the_same_and_numbers_stay() {
        let odd = f64::from_bits(0x7ff8_0000_0000_0001);
        let values = [Some(-f64::NAN), None, Some(-0.0), Some(odd), Some(1.5)];
        let array: ArrayRef = Arc::new(Float64Array::from(values.to_vec()));
        let one = one_nan(&array);
        let bits = |at| one.as_primitive::<Float64Type>().value(at).to_bits();
        assert_eq!([bits(0), bits(3)], [f64::NAN.to_bits(); 2]);
        assert_eq!([bits(2), bits(4)], [(-0.0f64).to_bits(), 1.5f64.to_bits()]);
        assert!(one.is_null(1));
    }

    #[test]
    fn zero_loses_its_sign_and_nothing_else_changes() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![-0.0, -1.0, 0.0, f64::NAN]));
        let one = one_zero(&array);
        let bits = one.as_primitive::<Float64Type>().values().iter();
        let expected = [0.0f64, -1.0, 0.0, f64::NAN].map(f64::to_bits);
        assert!(bits.map(|value| value.to_bits()).eq(expected));
    }

    #[test]
    fn an_array_without_another_nan_is_not_copied() {
        let array: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN, 1.0]));
        assert!(Arc::ptr_eq(&array, &one_nan(&array)));
    }
}
