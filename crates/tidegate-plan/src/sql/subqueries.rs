//! What DataFusion says of subqueries, and ours for it, as in `wording`.

use super::error::Code;

/// A part of DataFusion's sentence, our code, our sentence, our advice.
pub(crate) const SENTENCES: &[(&str, Code, &str, &str)] = &[
    (
        "ubquery should only return one column, but found",
        Code::Invalid,
        "a query used as a value must have one column",
        "",
    ),
    (
        "orrelated scalar subquery must be aggregated",
        Code::Unsupported,
        "a query used as a value that refers to the query around it must be sure to have one row",
        "use an aggregate without GROUP BY, or LIMIT 1",
    ),
    (
        "GROUP BY clause in a scalar correlated subquery",
        Code::Unsupported,
        "a query used as a value that refers to the query around it cannot have GROUP BY",
        "leave GROUP BY out, or add LIMIT 1",
    ),
    (
        "orrelated scalar subquery",
        Code::Unsupported,
        "a query used as a value that refers to the query around it cannot stand here",
        "compute it in a subquery in FROM, as a column",
    ),
    (
        "subquery can only be used in",
        Code::Unsupported,
        "this predicate over a query cannot stand here",
        "compute it in a subquery in FROM, as a column",
    ),
    (
        "outer reference",
        Code::Unsupported,
        "this kind of subquery cannot be planned",
        "write it as a join, or in a WITH query of its own",
    ),
];

/// The names that subqueries have inside of a plan.
pub(crate) const MARKS: &[&str] = &[
    "__always_true",
    "__argument_",
    "__correlated_sq",
    "__in_subquery",
    "__inner_",
    "__only",
    "__outer_",
    "__scalar_sq",
    "outer_ref",
    "OuterReference",
    "Subquery",
    "SetComparison",
    "plan nodes",
];
