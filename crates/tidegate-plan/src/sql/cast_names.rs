//! DataFusion names an expression without its casts, so that it takes `max(id::VARCHAR)` and `max(id)`, or the keys
//! `v::INTEGER` and `v`, for two columns of one name and refuses the query. Then the query is planned once more with
//! a mark around each cast, which gives it a name of its own; the finished plan loses the marks and keeps the names.
//!
//! Not done at once for every query: names other than those of the expressions cost some rules of the optimizer.

use std::collections::HashSet;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::{DataType, FieldRef};
use datafusion::common::tree_node::{Transformed, TreeNodeRecursion};
use datafusion::common::{DataFusionError, Result, SchemaError, internal_err};
use datafusion::logical_expr::{
    ColumnarValue, Expr as PlanExpr, LogicalPlan, ReturnFieldArgs, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, Volatility,
};
use datafusion::sql::sqlparser::ast::{Expr, Ident, Query, VisitorMut};

use super::naming;
use super::walk::{Flow, Stop, change};
use crate::rules::expressions::rewrite_expressions;

/// Whether columns of a plan have one name: the key `t.v::INTEGER` is called `t.v` as the column `v` of `t` is, which the
/// planner overlooks.
pub(super) fn are_repeated(plan: &LogicalPlan) -> bool {
    let mut found = false;
    let walked = plan.apply_with_subqueries(|node| {
        if let LogicalPlan::Aggregate(_) | LogicalPlan::Window(_) = node {
            let mut seen = HashSet::new();
            let names = node
                .schema()
                .iter()
                .map(|(qualifier, field)| match qualifier {
                    Some(qualifier) => format!("{qualifier}.{}", field.name()),
                    None => field.name().clone(),
                });
            found |= !names.into_iter().all(|name| seen.insert(name));
        }
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    });
    walked.is_ok() && found
}

/// Whether planning failed for two columns of one name.
pub(super) fn is_repeated(error: &DataFusionError) -> bool {
    match error {
        DataFusionError::SchemaError(error, _) => matches!(
            error.as_ref(),
            SchemaError::DuplicateQualifiedField { .. }
                | SchemaError::DuplicateUnqualifiedField { .. }
                | SchemaError::AmbiguousReference { .. }
        ),
        DataFusionError::Diagnostic(_, inner) | DataFusionError::Context(_, inner) => {
            is_repeated(inner)
        }
        DataFusionError::Shared(inner) => is_repeated(inner),
        DataFusionError::Collection(errors) => errors.first().is_some_and(is_repeated),
        // The planner's own check has no kind.
        DataFusionError::Plan(message) => message.contains("require unique expression names"),
        _ => false,
    }
}

/// Puts a mark around each cast; true if there is one.
pub(super) fn mark(query: &mut Query) -> bool {
    let mut marks = Marks { any: false };
    let _ = change(query, &mut marks);
    marks.any
}

/// The function of this name, if it is that of the marks.
pub(super) fn function(name: &str) -> Option<Arc<ScalarUDF>> {
    static AS_WRITTEN: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(AsWritten {
            signature: Signature::any(1, Volatility::Immutable),
        }))
    });
    (name == AsWritten::NAME).then(|| Arc::clone(&AS_WRITTEN))
}

/// Takes the marks out of a plan; the columns of its nodes keep the names they have by them.
pub(super) fn unmark(plan: LogicalPlan) -> Result<LogicalPlan> {
    plan.transform_up_with_subqueries(|plan| {
        rewrite_expressions(plan, |expr, _| {
            Ok(match expr {
                PlanExpr::ScalarFunction(mut call) if call.name() == AsWritten::NAME => {
                    Transformed::yes(call.args.swap_remove(0))
                }
                other => Transformed::no(other),
            })
        })
    })?
    .map_data(LogicalPlan::recompute_schema)
    .map(|plan| plan.data)
}

struct Marks {
    any: bool,
}

impl VisitorMut for Marks {
    type Break = Stop;

    fn post_visit_expr(&mut self, expr: &mut Expr) -> Flow {
        if matches!(expr, Expr::Cast { .. }) {
            let cast = std::mem::replace(expr, Expr::Identifier(Ident::new("")));
            *expr = naming::call(AsWritten::NAME, [cast]);
            self.any = true;
        }
        ControlFlow::Continue(())
    }
}

/// Gives its argument, and names it with its type.
#[derive(Debug, PartialEq, Eq, Hash)]
struct AsWritten {
    signature: Signature,
}

impl AsWritten {
    /// No user can type it by accident.
    const NAME: &str = "\u{1}as_written";
}

impl ScalarUDFImpl for AsWritten {
    fn name(&self) -> &str {
        Self::NAME
    }

    fn schema_name(&self, args: &[PlanExpr]) -> Result<String> {
        Ok(args.iter().map(ToString::to_string).collect())
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, types: &[DataType]) -> Result<DataType> {
        match types {
            [data_type] => Ok(data_type.clone()),
            _ => internal_err!("{} takes one argument", Self::NAME),
        }
    }

    fn return_field_from_args(&self, args: ReturnFieldArgs) -> Result<FieldRef> {
        match args.arg_fields {
            [field] => Ok(Arc::clone(field)),
            _ => internal_err!("{} takes one argument", Self::NAME),
        }
    }

    fn invoke_with_args(&self, mut args: ScalarFunctionArgs) -> Result<ColumnarValue> {
        match args.args.pop() {
            Some(value) => Ok(value),
            None => internal_err!("{} takes one argument", Self::NAME),
        }
    }
}
