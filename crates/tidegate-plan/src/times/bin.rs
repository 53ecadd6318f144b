//! `date_bin`, which computes in nanoseconds: what they do not reach is an error here, where DataFusion gives NULL.

use std::sync::{Arc, LazyLock};

use arrow::array::Array;
use arrow::datatypes::DataType;
use datafusion::error::{DataFusionError, Result};
use datafusion::functions::datetime::date_bin;
use datafusion::logical_expr::sort_properties::{ExprProperties, SortProperties};
use datafusion::logical_expr::{ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl};

use crate::sql::{Code, Error};

/// The function in place of DataFusion's.
pub(super) fn function() -> Arc<ScalarUDF> {
    static FUNCTION: LazyLock<Arc<ScalarUDF>> =
        LazyLock::new(|| Arc::new(ScalarUDF::new_from_impl(DateBin { theirs: date_bin() })));
    Arc::clone(&FUNCTION)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct DateBin {
    theirs: Arc<ScalarUDF>,
}

impl ScalarUDFImpl for DateBin {
    as_theirs!();

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        let is_null = |value: &ColumnarValue| match value {
            ColumnarValue::Scalar(value) => value.is_null(),
            ColumnarValue::Array(_) => false,
        };
        let null = args.args.iter().any(is_null);
        let given = args.args.get(1).map_or(0, nulls);
        let binned = self.theirs.invoke_with_args(args)?;
        match !null && nulls(&binned) > given {
            true => Err(beyond()),
            false => Ok(binned),
        }
    }

    fn output_ordering(&self, inputs: &[ExprProperties]) -> Result<SortProperties> {
        self.theirs.output_ordering(inputs)
    }
}

fn nulls(value: &ColumnarValue) -> usize {
    match value {
        ColumnarValue::Array(array) => array.null_count(),
        ColumnarValue::Scalar(value) => usize::from(value.is_null()),
    }
}

fn beyond() -> DataFusionError {
    let error = Error::new(
        Code::Overflow,
        "date_bin takes times from 1677 to 2262 only, which nanoseconds reach",
    );
    DataFusionError::External(Box::new(error.hint("date_trunc takes all")))
}
