//! One walk over the syntax tree, for all that look at it or change it.
//!
//! sqlparser generates its walk anew for every type of visitor: some hundred large functions each time, which took more
//! time to compile than the rest of this crate. So the walk is made for one type, which holds any visitor.

use std::ops::ControlFlow;

use datafusion::sql::sqlparser::ast::{
    Expr, ObjectName, Query, Select, Statement, TableFactor, ValueWithSpan, Visit, VisitMut,
    Visitor, VisitorMut,
};

use super::Error;

/// What ends a walk before its end.
pub(super) type Stop = Box<Error>;

/// What a visitor answers at each node.
pub(super) type Flow = ControlFlow<Stop>;

/// Shows every part of `node` to the visitor.
pub(super) fn look(node: &impl Visit, visitor: &mut dyn Visitor<Break = Stop>) -> Flow {
    node.visit(&mut Looking(visitor))
}

/// Hands every part of `node` to the visitor, which may change it.
pub(super) fn change(node: &mut impl VisitMut, visitor: &mut dyn VisitorMut<Break = Stop>) -> Flow {
    node.visit(&mut Changing(visitor))
}

/// Shows every expression of `node`, outer ones first.
pub(super) fn each_expression(node: &impl Visit, each: &mut dyn FnMut(&Expr)) {
    struct Each<'a>(&'a mut dyn FnMut(&Expr));

    impl Visitor for Each<'_> {
        type Break = Stop;

        fn pre_visit_expr(&mut self, expr: &Expr) -> Flow {
            (self.0)(expr);
            Flow::Continue(())
        }
    }

    // It has nothing to stop for.
    let _ = look(node, &mut Each(each));
}

struct Looking<'a>(&'a mut dyn Visitor<Break = Stop>);

struct Changing<'a>(&'a mut dyn VisitorMut<Break = Stop>);

macro_rules! pass_on {
    ($trait:ident for $holder:ident: $($hook:ident($node:ty)),* $(,)?) => {
        #[deny(clippy::missing_trait_methods)]
        impl $trait for $holder<'_> {
            type Break = Stop;

            $(fn $hook(&mut self, node: $node) -> Flow {
                self.0.$hook(node)
            })*
        }
    };
}

pass_on!(Visitor for Looking:
    pre_visit_query(&Query), post_visit_query(&Query),
    pre_visit_select(&Select), post_visit_select(&Select),
    pre_visit_relation(&ObjectName), post_visit_relation(&ObjectName),
    pre_visit_table_factor(&TableFactor), post_visit_table_factor(&TableFactor),
    pre_visit_expr(&Expr), post_visit_expr(&Expr),
    pre_visit_statement(&Statement), post_visit_statement(&Statement),
    pre_visit_value(&ValueWithSpan), post_visit_value(&ValueWithSpan),
);

pass_on!(VisitorMut for Changing:
    pre_visit_query(&mut Query), post_visit_query(&mut Query),
    pre_visit_select(&mut Select), post_visit_select(&mut Select),
    pre_visit_relation(&mut ObjectName), post_visit_relation(&mut ObjectName),
    pre_visit_table_factor(&mut TableFactor), post_visit_table_factor(&mut TableFactor),
    pre_visit_expr(&mut Expr), post_visit_expr(&mut Expr),
    pre_visit_statement(&mut Statement), post_visit_statement(&mut Statement),
    pre_visit_value(&mut ValueWithSpan), post_visit_value(&mut ValueWithSpan),
);
