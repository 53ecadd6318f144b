//! Quotients and products of decimals, rounded half away from zero where arrow's cut off or fail.
//!
//! What does not fit 128 bits on the way is computed in 256: only a result that its type has no room for is an error.

use std::cmp::Ordering;
use std::sync::Arc;

use arrow::array::{Array, ArrowNativeTypeOp, AsArray, PrimitiveArray};
use arrow::compute::kernels::arity::try_binary;
use arrow::datatypes::{DataType, Decimal128Type, DecimalType, i256};
use arrow::error::ArrowError;
use datafusion::common::{ScalarValue, internal_err};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ColumnarValue;

use super::decimal_types::scale;
use super::{Error, Operation, sql_type};

/// `left / right` as `out`; a row whose divisor is zero is an error.
pub(super) fn quotients(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    out: &DataType,
) -> Result<ColumnarValue> {
    let more = scale(out) - scale(&left.data_type()) + scale(&right.data_type());
    let (up, down) = (power_of_ten(more)?, power_of_ten(-more)?);
    each(Operation::Divide, left, right, rows, out, |a, b| {
        if b == 0 {
            return Err(ArrowError::DivideByZero);
        }
        Ok(quotient(a, b, (up, down)))
    })
}

/// `left * right` as `out`, whose scale is less than those of both sides together.
pub(super) fn products(
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    out: &DataType,
) -> Result<ColumnarValue> {
    let less = scale(&left.data_type()) + scale(&right.data_type()) - scale(out);
    let divisor = power_of_ten(less)?;
    each(Operation::Multiply, left, right, rows, out, |a, b| {
        let narrow = a.checked_mul(b).zip(divisor.to_i128());
        Ok(match narrow {
            Some((product, divisor)) => divided(product, divisor),
            None => wide_divided(i256::from_i128(a).wrapping_mul(i256::from_i128(b)), divisor),
        })
    })
}

/// Each row by `compute`, which has nothing where there is no room.
fn each(
    operation: Operation,
    left: &ColumnarValue,
    right: &ColumnarValue,
    rows: usize,
    out: &DataType,
    compute: impl Fn(i128, i128) -> Result<Option<i128>, ArrowError>,
) -> Result<ColumnarValue> {
    let (
        DataType::Decimal128(precision, _),
        DataType::Decimal128(_, left_scale),
        DataType::Decimal128(_, right_scale),
    ) = (out, left.data_type(), right.data_type())
    else {
        return internal_err!("arithmetic of decimals without decimals");
    };
    let constant = matches!(
        (left, right),
        (ColumnarValue::Scalar(_), ColumnarValue::Scalar(_))
    );
    let rows = if constant { 1 } else { rows };
    let (left, right) = (left.to_array(rows)?, right.to_array(rows)?);
    let results: Result<PrimitiveArray<Decimal128Type>, ArrowError> = try_binary(
        left.as_primitive::<Decimal128Type>(),
        right.as_primitive::<Decimal128Type>(),
        |a, b| {
            compute(a, b)?
                .filter(|value| Decimal128Type::is_valid_decimal_precision(*value, *precision))
                .ok_or_else(|| {
                    let text = Decimal128Type::format_decimal;
                    ArrowError::ExternalError(Box::new(Error::OutOfRange {
                        type_name: sql_type(out),
                        expression: format!(
                            "{} {} {}",
                            text(a, 38, left_scale),
                            operation.symbol(),
                            text(b, 38, right_scale)
                        ),
                    }))
                })
        },
    );
    let array = match results {
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

/// `a * factors.0 / (b * factors.1)`, one of which is one.
fn quotient(a: i128, b: i128, factors: (i256, i256)) -> Option<i128> {
    let narrow = |value: i128, factor: i256| value.checked_mul(factor.to_i128()?);
    if let Some((a, b)) = narrow(a, factors.0).zip(narrow(b, factors.1)) {
        return divided(a, b);
    }
    // What leaves 256 bits here leaves 38 digits too, for no divisor has more than those.
    wide_divided(
        i256::from_i128(a).checked_mul(factors.0)?,
        i256::from_i128(b).checked_mul(factors.1)?,
    )
}

fn divided(a: i128, b: i128) -> Option<i128> {
    let whole = a.checked_div(b)?;
    let rest = (a - whole * b).unsigned_abs();
    if rest < b.unsigned_abs() - rest {
        return Some(whole);
    }
    whole.checked_add(if (a < 0) == (b < 0) { 1 } else { -1 })
}

#[cold]
fn wide_divided(a: i256, b: i256) -> Option<i128> {
    let whole = a.checked_div(b)?;
    let rest = (a.checked_rem(b)?).wrapping_abs();
    let away = match rest.cmp(&b.wrapping_abs().wrapping_sub(rest)) {
        Ordering::Less => i256::ZERO,
        _ if a.is_negative() == b.is_negative() => i256::ONE,
        _ => i256::MINUS_ONE,
    };
    whole.checked_add(away)?.to_i128()
}

/// One for no digits and fewer.
fn power_of_ten(digits: i16) -> Result<i256> {
    let digits = u32::try_from(digits).unwrap_or(0);
    Ok(i256::from_i128(10).pow_checked(digits)?)
}
