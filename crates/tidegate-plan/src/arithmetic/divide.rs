//! Division of decimals, rounded half away from zero where arrow's cuts off.
//!
//! What does not fit 128 bits on the way is computed in 256: only a quotient that its type has no room for is an error.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, AsArray, PrimitiveArray};
use arrow::compute::kernels::arity::try_binary;
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, i256};
use arrow::error::ArrowError;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;

use super::{Error, sql_type};

/// `left / right` as `out`; a row whose divisor is zero is an error.
pub(super) fn decimals(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    out: &DataType,
) -> Result<ColumnarValue> {
    let (
        DataType::Decimal128(precision, scale),
        DataType::Decimal128(_, left_scale),
        DataType::Decimal128(_, right_scale),
    ) = (out, left.data_type(), right.data_type())
    else {
        return internal_err!("a decimal quotient without decimals");
    };
    let constant = matches!(
        (left, right),
        (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
    );
    let rows = if constant { 1 } else { rows };
    let (left, right) = (left.to_array(rows)?, right.to_array(rows)?);
    let more = i16::from(*scale) - i16::from(left_scale) + i16::from(right_scale);
    let up = |digits: i16| 10_i128.checked_pow(u32::try_from(digits).unwrap_or(0));
    let factors = up(more).zip(up(-more));
    let quotients: Result<PrimitiveArray<Decimal128Type>, ArrowError> = try_binary(
        left.as_primitive::<Decimal128Type>(),
        right.as_primitive::<Decimal128Type>(),
        |a, b| {
            if b == 0 {
                return Err(ArrowError::DivideByZero);
            }
            factors
                .and_then(|factors| quotient(a, b, factors))
                .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, *precision))
                .ok_or_else(|| {
                    let text = Decimal128Type::format_decimal;
                    let expression =
                        format!("{} / {}", text(a, 38, left_scale), text(b, 38, right_scale));
                    let type_name = sql_type(out);
                    ArrowError::ExternalError(Box::new(Error::OutOfRange {
                        type_name,
                        expression,
                    }))
                })
        },
    );
    let array = match quotients {
        Ok(array) => Arc::new(array.with_data_type(out.clone())),
        Err(ArrowError::ExternalError(error)) => return Err(DataFusionError::External(error)),
        Err(error) => return Err(error.into()),
    };
    Ok(if constant {
        ColumnarValue::Scalar(ScalarValue::try_from_array(
            array.as_ref() as &dyn Array,
            0,
        )?)
    } else {
        ColumnarValue::Array(array)
    })
}

/// `a * factors.0 / (b * factors.1)`, rounded half away from zero.
fn quotient(a: i128, b: i128, factors: (i128, i128)) -> Option<i128> {
    let (Some(a), Some(b)) = (a.checked_mul(factors.0), b.checked_mul(factors.1)) else {
        return wide_quotient(a, b, factors);
    };
    let whole = a.checked_div(b)?;
    let rest = (a - whole * b).unsigned_abs();
    if rest < b.unsigned_abs() - rest {
        return Some(whole);
    }
    whole.checked_add(if (a < 0) == (b < 0) { 1 } else { -1 })
}

#[cold]
fn wide_quotient(a: i128, b: i128, factors: (i128, i128)) -> Option<i128> {
    let wide = |value, factor| i256::from_i128(value).checked_mul(i256::from_i128(factor));
    let (a, b) = (wide(a, factors.0)?, wide(b, factors.1)?);
    let whole = a.checked_div(b)?;
    let rest = (a.checked_rem(b)?).wrapping_abs();
    let away = match rest.cmp(&b.wrapping_abs().wrapping_sub(rest)) {
        Ordering::Less => i256::ZERO,
        _ if a.is_negative() == b.is_negative() => i256::ONE,
        _ => i256::MINUS_ONE,
    };
    whole.checked_add(away)?.to_i128()
}
