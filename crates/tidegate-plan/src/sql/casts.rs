//! Casts mean what they mean in PostgreSQL. The plan is changed while it still says what the user wrote.
//!
//! - From a decimal or a float to an integer they round: decimals half away from zero, floats half to even. Arrow's
//!   cast truncates, so a rounding function is put under it.
//! - Between numbers and dates or times there are none: arrow's would count units that depend on the type.
//! - The text of a list, struct, map or interval is DuckDB's, which keeps the NULLs inside.
//! - A text is a time of day only with a colon: arrow's takes a number for one, too.

use std::sync::{Arc, LazyLock};

use arrow::array::{AsArray, StringArray};
use arrow::datatypes::DataType;
use datafusion::common::tree_node::Transformed;
use datafusion::common::{DFSchema, DataFusionError, Result, ScalarValue, exec_err};
use datafusion::logical_expr::expr::{Cast, ScalarFunction, TryCast};
use datafusion::logical_expr::{
    ColumnarValue, Expr, ExprSchemable, LogicalPlan, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl,
    Signature, Volatility, lit,
};

use super::distribute_by;
use super::error::{Code, Error};
use super::timestamp_text;
use super::value_text;
use super::whole::Whole;
use crate::arithmetic::{over_array, sql_type};
use crate::rules::expressions::rewrite_expressions;

/// The functions a registry needs so that plans made here can be decoded.
pub fn functions() -> Vec<Arc<ScalarUDF>> {
    let whole = Whole::ALL.map(Whole::function);
    whole
        .into_iter()
        .chain([
            Arc::clone(&TIME_TEXT),
            value_text::function(),
            timestamp_text::function(),
            distribute_by::function(),
        ])
        .collect()
}

static TIME_TEXT: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
    Arc::new(ScalarUDF::new_from_impl(TimeText {
        signature: Signature::any(2, Volatility::Immutable),
    }))
});

/// Gives the casts of a plan their meaning, and `ceil` and `floor` of decimals, which round as well.
pub(crate) fn round(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| rewrite_expressions(plan, round_cast))?
        .map_data(LogicalPlan::recompute_schema)
        .map(|plan| plan.data)
}

fn round_cast(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let (inner, field) = match &expr {
        Expr::Cast(Cast { expr, field }) | Expr::TryCast(TryCast { expr, field }) => (expr, field),
        Expr::ScalarFunction(call) => return Ok(whole_decimal(call, schema)),
        _ => return Ok(Transformed::no(expr)),
    };
    let refused = inner
        .get_type(schema)
        .ok()
        .and_then(|from| no_cast(&from, field.data_type()));
    if let Some(refused) = refused {
        return Err(DataFusionError::External(Box::new(refused)));
    }
    if let DataType::Time32(_) | DataType::Time64(_) = field.data_type() {
        return time_of_day(expr, schema);
    }
    let has_own_text = || {
        inner
            .get_type(schema)
            .is_ok_and(|from| value_text::is_for(&from))
    };
    if field.data_type().is_string() && has_own_text() {
        return Ok(Transformed::yes(over_argument(expr, value_text::of)));
    }
    if !field.data_type().is_integer() || Whole::is_called(inner) {
        return Ok(Transformed::no(expr));
    }
    // A type that is not known here (a parameter of a function yet to be resolved) is no float.
    let fractional = match inner.get_type(schema) {
        Ok(DataType::Decimal128(_, scale) | DataType::Decimal256(_, scale)) => scale > 0,
        Ok(data_type) => data_type.is_floating(),
        Err(_) => false,
    };
    if !fractional {
        return Ok(Transformed::no(expr));
    }
    let rounded = |inner| Whole::Nearest.of(inner);
    Ok(Transformed::yes(over_argument(expr, rounded)))
}

/// Puts something under a cast.
fn over_argument(expr: Expr, put: impl FnOnce(Expr) -> Expr) -> Expr {
    match expr {
        Expr::Cast(Cast { expr, field }) => Expr::Cast(Cast {
            expr: Box::new(put(*expr)),
            field,
        }),
        Expr::TryCast(TryCast { expr, field }) => Expr::TryCast(TryCast {
            expr: Box::new(put(*expr)),
            field,
        }),
        other => other,
    }
}

/// DataFusion's `ceil` and `floor` keep the places of a decimal, and have no room for another digit.
fn whole_decimal(call: &ScalarFunction, schema: &DFSchema) -> Transformed<Expr> {
    let whole = match (call.name(), call.args.as_slice()) {
        ("ceil", [argument]) => Some((Whole::Up, argument)),
        ("floor", [argument]) => Some((Whole::Down, argument)),
        _ => None,
    };
    match whole {
        Some((whole, argument))
            if argument
                .get_type(schema)
                .is_ok_and(|kind| kind.is_decimal()) =>
        {
            Transformed::yes(whole.of(argument.clone()))
        }
        _ => Transformed::no(Expr::ScalarFunction(call.clone())),
    }
}

/// The error of a cast that means nothing.
fn no_cast(from: &DataType, to: &DataType) -> Option<Error> {
    let point = |data_type: &DataType| {
        use DataType::{Date32, Date64, Time32, Time64, Timestamp};
        matches!(
            data_type,
            Date32 | Date64 | Time32(_) | Time64(_) | Timestamp(..)
        )
    };
    let to_point = point(to) && from.is_numeric();
    let from_point = point(from) && to.is_numeric();
    if !to_point && !from_point {
        return None;
    }
    let (from, to) = (sql_type(from), sql_type(to));
    let hint = match to_point {
        true => "make a timestamp of seconds since 1970 with to_timestamp(…)",
        false => "get a number with extract(epoch FROM …) or another part",
    };
    Some(
        Error::new(
            Code::TypeMismatch,
            format!("a value of type {from} cannot be cast to {to}"),
        )
        .hint(hint),
    )
}

/// Puts a look at the text under a cast of a text to a time of day.
fn time_of_day(expr: Expr, schema: &DFSchema) -> Result<Transformed<Expr>> {
    let checked = |inner: Box<Expr>, or_null: bool| {
        let args = vec![*inner, lit(or_null)];
        Box::new(TIME_TEXT.call(args))
    };
    Ok(match expr {
        Expr::Cast(Cast { expr, field }) if is_unchecked_text(&expr, schema) => {
            let expr = checked(expr, false);
            Transformed::yes(Expr::Cast(Cast { expr, field }))
        }
        Expr::TryCast(TryCast { expr, field }) if is_unchecked_text(&expr, schema) => {
            let expr = checked(expr, true);
            Transformed::yes(Expr::TryCast(TryCast { expr, field }))
        }
        other => Transformed::no(other),
    })
}

fn is_unchecked_text(expr: &Expr, schema: &DFSchema) -> bool {
    let checked = matches!(expr, Expr::ScalarFunction(call) if call.name() == TimeText::NAME);
    !checked && expr.get_type(schema).is_ok_and(|kind| kind.is_string())
}

/// Gives back the texts that can be times of day; for others it fails or, if the second argument says so, gives NULL.
#[derive(Debug, PartialEq, Eq, Hash)]
struct TimeText {
    signature: Signature,
}

fn not_a_time(text: &str) -> DataFusionError {
    let message = format!("`{text}` is not a TIME");
    let error =
        Error::new(Code::InvalidValue, message).hint("write HH:MM:SS; TRY_CAST gives NULL instead");
    DataFusionError::External(Box::new(error))
}

impl TimeText {
    const NAME: &str = "time_text";
}

impl ScalarUDFImpl for TimeText {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType> {
        Ok(DataType::Utf8)
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let [
            text,
            ColumnarValue::Scalar(ScalarValue::Boolean(Some(or_null))),
        ] = &*args.args
        else {
            return exec_err!("{} takes a text and a constant", Self::NAME);
        };
        over_array(text, |array| {
            let texts = arrow::compute::cast(array, &DataType::Utf8)?;
            let times = texts.as_string::<i32>().iter().map(|text| match text {
                Some(text) if !text.contains(':') => match or_null {
                    true => Ok(None),
                    false => Err(not_a_time(text)),
                },
                text => Ok(text),
            });
            Ok(Arc::new(times.collect::<Result<StringArray>>()?))
        })
    }
}
