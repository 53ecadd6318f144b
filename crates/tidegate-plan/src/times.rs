//! What SQL's functions of timestamps mean where DataFusion has another meaning or none: time zones and what is
//! computed in nanoseconds.

/// What a function of ours in place of DataFusion's, which it keeps as `theirs`, has in common with it.
macro_rules! as_theirs {
    () => {
        fn name(&self) -> &str {
            self.theirs.name()
        }

        fn aliases(&self) -> &[String] {
            self.theirs.aliases()
        }

        fn signature(&self) -> &datafusion::logical_expr::Signature {
            self.theirs.signature()
        }

        fn return_type(&self, types: &[DataType]) -> Result<DataType> {
            self.theirs.inner().return_type(types)
        }

        fn return_field_from_args(
            &self,
            args: datafusion::logical_expr::ReturnFieldArgs,
        ) -> Result<arrow::datatypes::FieldRef> {
            self.theirs.inner().return_field_from_args(args)
        }

        fn documentation(&self) -> Option<&datafusion::logical_expr::Documentation> {
            self.theirs.documentation()
        }
    };
}

mod at_zone;
mod bin;
mod parts;
mod truncate;

pub(crate) use at_zone::{at_time_zone, in_zone};
pub(crate) use parts::Extract;

use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, Int64Array, make_array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Int64Type};
use datafusion::error::{DataFusionError, Result};
use datafusion::logical_expr::ScalarUDF;

use crate::sql::{Code, Error};

/// The functions in place of DataFusion's.
pub(crate) fn functions() -> impl Iterator<Item = Arc<ScalarUDF>> {
    [truncate::function(), bin::function(), parts::function()].into_iter()
}

/// The functions that only plans call.
pub(crate) fn internal() -> [Arc<ScalarUDF>; 1] {
    [at_time_zone()]
}

/// Whether a zone has the clock of Greenwich, all the time.
pub(crate) fn is_utc(zone: &str) -> bool {
    matches!(zone, "UTC" | "Etc/UTC" | "Z" | "+00:00" | "+00" | "+0000")
}

/// The counts of an array of timestamps.
fn counts(array: &ArrayRef) -> Result<Int64Array> {
    Ok(cast(array, &DataType::Int64)?
        .as_primitive::<Int64Type>()
        .clone())
}

/// Counts as timestamps of a type.
pub(crate) fn stamps(counts: Int64Array, to: &DataType) -> Result<ArrayRef> {
    let data = counts.into_data().into_builder().data_type(to.clone());
    Ok(make_array(data.build()?))
}

fn out_of_range() -> DataFusionError {
    let error = Error::new(
        Code::Overflow,
        "a timestamp is out of the range of the calendar",
    );
    DataFusionError::External(Box::new(error))
}
