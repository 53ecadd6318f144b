//! Arithmetic that is right or says so.
//!
//! DataFusion's integer `+ - *`, unary minus and `sum` wrap around silently, its decimals may leave their precision.
//! [`CheckedArithmetic`] (an analyzer rule) replaces them by named functions ([`functions`]) which error instead.
//! Named functions and not `BinaryExpr::with_fail_on_overflow`: that flag is neither serialized nor used when
//! constants are folded. The kernels are branch-free per row, so checking costs nothing measurable.

mod aggregate;
mod average;
mod bins;
mod decimal_average;
mod decimal_types;
mod extremes;
mod float_result;
mod function;
mod groups;
mod interval;
mod kernels;
mod linear;
mod ordered;
mod percentile;
mod reproducible;
mod rounded;
mod rule;

pub use aggregate::{CheckedSum, checked_sum};
pub use average::{CheckedAvg, checked_avg};
pub use decimal_types::DecimalTypes;
pub use extremes::{greatest, least};
pub use function::{CheckedOp, Operation, functions};
pub(crate) use interval::{IntervalScaling, functions as interval_functions};
pub(crate) use ordered::{Comparable, ToComparable};
pub use percentile::percentile;
pub(crate) use reproducible::{
    REPRODUCIBLE_AVG, REPRODUCIBLE_SUM, reproducible, reproducible_in_place_of,
};
pub use rule::CheckedArithmetic;

use arrow::array::ArrayRef;
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs};

/// What went wrong in a checked computation. It travels inside [`DataFusionError::External`], so that a caller can
/// downcast to it and classify the failure as the user's data.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A value does not fit its type.
    #[error("{type_name} out of range: `{expression}`")]
    OutOfRange {
        /// The SQL name of the type.
        type_name: String,
        /// What was computed, with the values of the row.
        expression: String,
    },
}

impl From<Error> for DataFusionError {
    fn from(error: Error) -> Self {
        DataFusionError::External(Box::new(error))
    }
}

/// Computes a value from another one by what is done with arrays; a constant stays one.
pub(crate) fn over_array(
    value: &ColumnarValue,
    compute: impl FnOnce(&ArrayRef) -> datafusion::error::Result<ArrayRef>,
) -> datafusion::error::Result<ColumnarValue> {
    Ok(match value {
        ColumnarValue::Array(array) => ColumnarValue::Array(compute(array)?),
        ColumnarValue::Scalar(scalar) => {
            let array = compute(&scalar.to_array()?)?;
            ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?)
        }
    })
}

/// Computes a value from others by what is done with arrays; of constants it is one.
pub(crate) fn over_arrays(
    args: &ScalarFunctionArgs,
    compute: impl FnOnce(&[ArrayRef]) -> datafusion::error::Result<ArrayRef>,
) -> datafusion::error::Result<ColumnarValue> {
    let is_constant = |value: &ColumnarValue| matches!(value, ColumnarValue::Scalar(_));
    let array = compute(&ColumnarValue::values_to_arrays(&args.args)?)?;
    Ok(match args.args.iter().all(is_constant) {
        true => ColumnarValue::Scalar(ScalarValue::try_from_array(&array, 0)?),
        false => ColumnarValue::Array(array),
    })
}

/// The SQL name of a type, for messages.
pub(crate) fn sql_type(data_type: &arrow::datatypes::DataType) -> String {
    use arrow::datatypes::DataType::*;
    match data_type {
        Int8 => "tinyint".into(),
        Int16 => "smallint".into(),
        Int32 => "integer".into(),
        Int64 => "bigint".into(),
        UInt8 => "unsigned tinyint".into(),
        UInt16 => "unsigned smallint".into(),
        UInt32 => "unsigned integer".into(),
        UInt64 => "unsigned bigint".into(),
        Decimal32(p, s) | Decimal64(p, s) | Decimal128(p, s) | Decimal256(p, s) => {
            format!("decimal({p}, {s})")
        }
        Duration(_) | Interval(_) => "interval".into(),
        Float16 | Float32 => "real".into(),
        Float64 => "double".into(),
        Utf8 | LargeUtf8 | Utf8View => "text".into(),
        Date32 | Date64 => "date".into(),
        Timestamp(_, None) => "timestamp".into(),
        Timestamp(_, Some(_)) => "timestamp with time zone".into(),
        other => other.to_string().to_lowercase(),
    }
}
