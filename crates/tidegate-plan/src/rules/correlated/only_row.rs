//! A subquery used as a value that may have several rows for one row outside. A join would give that row as often, so
//! the rows are counted inside, and outside the value is asked for:
//!
//! ```text
//! (SELECT v FROM u WHERE u.k = t.k)
//!     becomes   only_value((SELECT counted_value(first_value(v), count(*)) FROM u WHERE u.k = t.k))
//! ```
//!
//! Inside, several rows are no error yet: there are rows that no row outside belongs to.

use std::sync::{Arc, LazyLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, StructArray};
use arrow::compute::{is_null, nullif};
use arrow::datatypes::{DataType, Field, Fields, Int64Type};
use datafusion::common::{Column, exec_err, plan_err};
use datafusion::error::Result;
use datafusion::functions_aggregate::count::count;
use datafusion::functions_aggregate::first_last::first_value;
use datafusion::logical_expr::{
    ColumnarValue, Expr, FetchType, JoinType, LogicalPlan, LogicalPlanBuilder, ScalarFunctionArgs,
    ScalarUDF, ScalarUDFImpl, Signature, Volatility, lit,
};

use crate::arithmetic::{over_array, over_arrays};

/// Whether a query has at most one row whatever the data is. DataFusion's own count takes `SELECT 1` for no row.
pub(super) fn has_one_row(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(projection) => has_one_row(&projection.input),
        LogicalPlan::SubqueryAlias(alias) => has_one_row(&alias.input),
        LogicalPlan::Window(window) => has_one_row(&window.input),
        LogicalPlan::Filter(filter) => has_one_row(&filter.input),
        LogicalPlan::Sort(sort) => {
            sort.fetch.is_some_and(|rows| rows <= 1) || has_one_row(&sort.input)
        }
        LogicalPlan::Limit(limit) => match limit.get_fetch_type() {
            Ok(FetchType::Literal(Some(rows))) if rows <= 1 => true,
            _ => has_one_row(&limit.input),
        },
        LogicalPlan::Aggregate(aggregate) => aggregate.group_expr.is_empty(),
        LogicalPlan::EmptyRelation(_) => true,
        LogicalPlan::Values(values) => values.values.len() <= 1,
        LogicalPlan::Join(join) if join.join_type != JoinType::Full => {
            has_one_row(&join.left) && has_one_row(&join.right)
        }
        _ => false,
    }
}

/// The rows of a subquery as one value, to be asked for by [`only_value`].
pub(super) fn counted(plan: LogicalPlan) -> Result<LogicalPlan> {
    let value = Expr::Column(Column::from(plan.schema().qualified_field(0)));
    let column = |name: &str| Expr::Column(Column::new_unqualified(name));
    let (value, rows) = (first_value(value, vec![]), count(lit(1_i64)));
    let both = vec![column("__only_value"), column("__only_rows")];
    LogicalPlanBuilder::from(plan)
        .aggregate(
            Vec::<Expr>::new(),
            [value.alias("__only_value"), rows.alias("__only_rows")],
        )?
        .project([Part::Inside.function().call(both).alias("__only")])?
        .build()
}

/// The value of [`counted`] rows.
pub(super) fn only_value(counted: Expr) -> Expr {
    Part::Outside.function().call(vec![counted])
}

/// The functions, of which only plans know.
pub(crate) fn functions() -> [Arc<ScalarUDF>; 2] {
    [Part::Inside, Part::Outside].map(Part::function)
}

/// The two functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Part {
    /// `counted_value(value, rows)`: a struct of both, NULL where there is no row.
    Inside,
    /// `only_value(counted)`: the value, an error if there are several rows.
    Outside,
}

impl Part {
    fn function(self) -> Arc<ScalarUDF> {
        static BOTH: LazyLock<[Arc<ScalarUDF>; 2]> = LazyLock::new(|| {
            [Part::Inside, Part::Outside].map(|part| {
                let signature = match part {
                    Part::Inside => Signature::any(2, Volatility::Immutable),
                    Part::Outside => Signature::any(1, Volatility::Immutable),
                };
                Arc::new(ScalarUDF::new_from_impl(OnlyRow { part, signature }))
            })
        });
        Arc::clone(&BOTH[self as usize])
    }
}

/// The function of a [`Part`]. Neither is said to be strict: a condition on the value would be taken inside, and rows
/// that belong to no row outside would be an error.
#[derive(Debug, PartialEq, Eq, Hash)]
struct OnlyRow {
    part: Part,
    signature: Signature,
}

impl ScalarUDFImpl for OnlyRow {
    fn name(&self) -> &str {
        match self.part {
            Part::Inside => "counted_value",
            Part::Outside => "only_value",
        }
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match (self.part, types) {
            (Part::Inside, [value, DataType::Int64]) => Ok(DataType::Struct(fields(value))),
            (Part::Outside, [DataType::Struct(fields)]) if fields.len() == 2 => {
                Ok(fields[0].data_type().clone())
            }
            _ => plan_err!("{} of {types:?}", self.name()),
        }
    }

    fn invoke_with_args(&self, args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match (self.part, args.args.as_slice()) {
            (Part::Inside, [_, _]) => over_arrays(&args, inside),
            (Part::Outside, [counted]) => over_array(counted, outside),
            _ => exec_err!("{} takes other arguments", self.name()),
        }
    }
}

fn fields(value: &DataType) -> Fields {
    Fields::from(vec![
        Field::new("value", value.clone(), true),
        Field::new("rows", DataType::Int64, true),
    ])
}

fn inside(arrays: &[ArrayRef]) -> Result<ArrayRef> {
    let [value, rows] = arrays else {
        return exec_err!("a value and its rows are two");
    };
    let counts = rows.as_primitive::<Int64Type>();
    let any: BooleanArray = counts.iter().map(|rows| Some(rows > Some(0))).collect();
    let columns = vec![Arc::clone(value), Arc::clone(rows)];
    Ok(Arc::new(StructArray::try_new(
        fields(value.data_type()),
        columns,
        Some(any.values().clone().into()),
    )?))
}

fn outside(counted: &ArrayRef) -> Result<ArrayRef> {
    let both = counted.as_struct();
    let counts = both.column(1).as_primitive::<Int64Type>();
    let several = |at| both.is_valid(at) && counts.is_valid(at) && counts.value(at) > 1;
    if (0..both.len()).any(several) {
        return exec_err!("a scalar subquery returned more than one row");
    }
    Ok(nullif(both.column(0), &is_null(both)?)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    use arrow::array::Int64Array;
    use arrow::datatypes::Int32Type;

    fn check(rows: Vec<Option<i64>>, expect: Option<Vec<Option<i32>>>) {
        let values = vec![Some(7), None, Some(9)];
        let value: ArrayRef =
            Arc::new(arrow::array::PrimitiveArray::<Int32Type>::from_iter(values));
        let rows: ArrayRef = Arc::new(Int64Array::from(rows));
        let counted = inside(&[value, rows]).expect("a value for each row");
        let only = outside(&counted).ok();
        let only = only.map(|only| only.as_primitive::<Int32Type>().iter().collect::<Vec<_>>());
        assert_eq!(only, expect);
    }

    #[test]
    fn a_value_is_that_of_the_only_row() {
        check(
            vec![Some(1), Some(1), Some(1)],
            Some(vec![Some(7), None, Some(9)]),
        );
        check(vec![Some(0), Some(1), None], Some(vec![None, None, None]));
        check(vec![Some(1), Some(2), Some(0)], None);
    }
}
