//! Function calls that the planner would understand wrongly: it drops DISTINCT, FILTER, ORDER
//! BY and OVER on functions that are no aggregates, and IGNORE NULLS on most, without a word.

use std::ops::ControlFlow;

use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::{
    DuplicateTreatment, Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause,
    FunctionArguments, NullTreatment, Query, Spanned, Visitor,
};

use super::error::{Code, Error, Result};
use super::source::Source;
use super::walk::{Flow, Stop, look};

pub(crate) fn check(query: &Query, state: &SessionState, source: &Source) -> Result<()> {
    match look(query, &mut Calls { state, source }) {
        ControlFlow::Continue(()) => Ok(()),
        ControlFlow::Break(error) => Err(*error),
    }
}

struct Calls<'a> {
    state: &'a SessionState,
    source: &'a Source,
}

impl Visitor for Calls<'_> {
    type Break = Stop;

    fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
        if let Expr::Function(function) = expr
            && let Some(error) = self.wrong(function)
        {
            return ControlFlow::Break(Box::new(error.at(self.source.range(function.name.span()))));
        }
        ControlFlow::Continue(())
    }
}

/// The functions that heed IGNORE NULLS.
const IGNORE_NULLS: [&str; 6] = [
    "array_agg",
    "first_value",
    "lag",
    "last_value",
    "lead",
    "nth_value",
];

impl Calls<'_> {
    fn wrong(&self, function: &Function) -> Option<Error> {
        let name = function.name.to_string().to_lowercase();
        if ignores_nulls(function) && !IGNORE_NULLS.contains(&name.as_str()) {
            let message = format!("`{name}` takes no IGNORE NULLS");
            return Some(Error::new(Code::Unsupported, message));
        }
        if is_distinct_star(function) {
            let message = format!("`{name}(DISTINCT *)` is not supported");
            return Some(
                Error::new(Code::Unsupported, message)
                    .hint("count the rows of (SELECT DISTINCT * FROM …)"),
            );
        }
        let scalar = self.state.scalar_functions().contains_key(&name)
            || self.state.higher_order_functions().contains_key(&name)
            || name == "unnest";
        let aggregate = self.state.aggregate_functions().contains_key(&name);
        let window = self.state.window_functions().contains_key(&name);
        let clause = clauses(function);
        if scalar {
            let used = clause.over.or(clause.aggregate)?;
            return Some(Error::new(
                Code::Grouping,
                format!(
                    "`{name}` is neither an aggregate nor a window function, so it takes no {used}"
                ),
            ));
        }
        if window && !aggregate {
            if clause.over.is_none() {
                return Some(
                    Error::new(
                        Code::Grouping,
                        format!("`{name}` is a window function and needs OVER (…)"),
                    )
                    .hint(format!("write {name}(…) OVER (ORDER BY …)")),
                );
            }
            let used = clause.aggregate?;
            return Some(Error::new(
                Code::Grouping,
                format!("`{name}` is no aggregate, so it takes no {used}"),
            ));
        }
        None
    }
}

fn ignores_nulls(function: &Function) -> bool {
    let inside = match &function.args {
        FunctionArguments::List(list) => list.clauses.as_slice(),
        _ => &[],
    };
    function.null_treatment == Some(NullTreatment::IgnoreNulls)
        || inside.iter().any(|clause| {
            matches!(
                clause,
                FunctionArgumentClause::IgnoreOrRespectNulls(NullTreatment::IgnoreNulls)
            )
        })
}

fn is_distinct_star(function: &Function) -> bool {
    let FunctionArguments::List(list) = &function.args else {
        return false;
    };
    list.duplicate_treatment == Some(DuplicateTreatment::Distinct)
        && list
            .args
            .iter()
            .any(|argument| matches!(argument, FunctionArg::Unnamed(FunctionArgExpr::Wildcard)))
}

struct Clauses {
    over: Option<&'static str>,
    /// A clause that only aggregates have.
    aggregate: Option<&'static str>,
}

fn clauses(function: &Function) -> Clauses {
    let mut aggregate = None;
    if let FunctionArguments::List(list) = &function.args {
        if list.duplicate_treatment == Some(DuplicateTreatment::Distinct) {
            aggregate = Some("DISTINCT");
        }
        let ordered =
            |clause: &FunctionArgumentClause| matches!(clause, FunctionArgumentClause::OrderBy(_));
        if list.clauses.iter().any(ordered) {
            aggregate = Some("ORDER BY");
        }
    }
    if function.filter.is_some() {
        aggregate = Some("FILTER");
    }
    if !function.within_group.is_empty() {
        aggregate = Some("WITHIN GROUP");
    }
    Clauses {
        over: function.over.as_ref().map(|_| "OVER"),
        aggregate,
    }
}
