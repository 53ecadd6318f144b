//! Expressions for [`Dataflow`](crate::Dataflow): columns, literals and functions, of the engine underneath. A function is
//! called by its name: where Tidegate has one of its own, as `sum`, which does not wrap, that one runs.
//!
//! ```
//! use tidegate::expr::{col, lit, sum};
//!
//! let dear = col("fare").gt(lit(40)).and(col("tip").is_not_null());
//! let total = sum(col("fare") + col("tip")).alias("total");
//! # let _ = (dear, total);
//! ```

use datafusion::common::{Column, TableReference};

pub use datafusion::common::JoinType;
pub use datafusion::functions::expr_fn::*;
pub use datafusion::functions_aggregate::count::count_all;
pub use datafusion::functions_aggregate::expr_fn::*;
pub use datafusion::functions_window::expr_fn::{
    cume_dist, dense_rank, lag, lead, ntile, percent_rank, rank, row_number,
};
pub use datafusion::logical_expr::{
    Expr, ExprFunctionExt, SortExpr, case, cast, in_list, lit, not, try_cast, when,
};

/// A column: `zone`, or `trips.zone` of what [`Dataflow::alias`](crate::Dataflow::alias) calls `trips`. Letters are as they
/// are in the table.
///
/// ```
/// use tidegate::expr::{col, ident};
///
/// assert_eq!(col("zone"), ident("zone"));
/// assert_ne!(col("trips.zone"), ident("trips.zone"));
/// ```
pub fn col(name: &str) -> Expr {
    match name.split_once('.') {
        Some((table, column)) => {
            let table = TableReference::bare(table);
            Expr::Column(Column::new(Some(table), column))
        }
        None => ident(name),
    }
}

/// A column whose name may hold a dot.
pub fn ident(name: &str) -> Expr {
    Expr::Column(Column::new_unqualified(name))
}
