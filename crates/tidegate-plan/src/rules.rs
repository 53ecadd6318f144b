//! Which rules run, in which order: DataFusion's defaults in their order, ours put between.

mod common_type;
mod correlated;
mod distinct_order;
pub(crate) mod expressions;
mod guarded_division;
mod in_subquery;
mod interval_keys;
mod meeting;
mod nested_loop;
mod same_names;
mod session_zone;
mod source_columns;
mod strict;
mod subquery_marks;
mod subquery_nulls;
mod temporal;
mod time_casts;

pub use correlated::Correlated;
pub(crate) use correlated::only_row_functions;
pub use distinct_order::DistinctOrder;
pub use guarded_division::GuardedDivision;
pub use in_subquery::ThreeValuedIn;
pub use interval_keys::IntervalKeys;
pub use meeting::Meeting;
pub use nested_loop::NestedLoopGuard;
pub use same_names::{GuardSameNames, UnguardSameNames};
pub use session_zone::SessionZone;
pub use source_columns::SourceColumns;
pub use strict::Strict;
pub use subquery_marks::SubqueryMarks;
pub use subquery_nulls::SubqueryNulls;
pub(crate) use subquery_nulls::{MaybeNull, maybe_null};
pub use temporal::Temporal;
pub use time_casts::TimeCasts;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TransformedResult, TreeNode};
use datafusion::error::Result;
use datafusion::optimizer::{Analyzer, AnalyzerRule, Optimizer, OptimizerRule};
use datafusion::physical_optimizer::PhysicalOptimizerRule;
use datafusion::physical_optimizer::optimizer::PhysicalOptimizer;
use datafusion::physical_plan::ExecutionPlan;

use crate::arithmetic::{CheckedArithmetic, DecimalTypes};
use crate::distribute::{CombineBeforeShuffle, JoinModes, NothingElseMoves, UnneededShuffles};

/// The analyzer's rules. What gives comparisons another meaning comes before type coercion, DataFusion's last one;
/// casts of times and checked arithmetic need the types, so they come
/// after. A strict query has one more.
pub fn analyzer(strict: bool) -> Vec<Arc<dyn AnalyzerRule + Send + Sync>> {
    let mut rules = Analyzer::new().rules;
    let coercion = rules.len().saturating_sub(1);
    let ours: [Arc<dyn AnalyzerRule + Send + Sync>; 9] = [
        Arc::new(SubqueryNulls),
        Arc::new(SessionZone),
        Arc::new(DistinctOrder),
        Arc::new(ThreeValuedIn),
        Arc::new(Correlated),
        Arc::new(DecimalTypes::default()),
        Arc::new(Meeting),
        Arc::new(Temporal),
        Arc::new(IntervalKeys),
    ];
    rules.splice(coercion..coercion, ours);
    rules.push(Arc::new(TimeCasts));
    rules.push(Arc::new(GuardedDivision));
    rules.push(Arc::new(CheckedArithmetic::default()));
    if strict {
        rules.push(Arc::new(Strict));
    }
    rules
}

/// The logical optimizer's rules. Marks of subqueries are put where DataFusion puts those of filters; the last one
/// checks the arithmetic that the others wrote.
pub fn optimizer() -> Vec<Arc<dyn OptimizerRule + Send + Sync>> {
    let mut rules = Optimizer::new().rules;
    let marks = SubqueryMarks::default();
    let place = rules.iter().position(|rule| rule.name() == marks.before());
    rules.insert(place.unwrap_or_default(), Arc::new(marks));
    rules.push(Arc::new(CheckedArithmetic::default()));
    rules
}

/// The physical optimizer's rules. What only a scan knows is brought there first. Joins run as their shuffles say, and
/// aggregates reduce below theirs, before DataFusion looks at distributions. No filter is pushed past columns of one
/// name. Operators are substituted last, before the sanity check: built-in rules look for the concrete types they know.
pub fn physical() -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
    let mut rules = PhysicalOptimizer::new().rules;
    let sanity_check = rules.len().saturating_sub(1);
    rules.insert(sanity_check, Arc::new(NothingElseMoves));
    rules.insert(sanity_check, Arc::new(NestedLoopGuard));
    rules = rules
        .into_iter()
        .flat_map(
            |rule| -> Vec<Arc<dyn PhysicalOptimizerRule + Send + Sync>> {
                match rule.name().starts_with("FilterPushdown") {
                    true => vec![Arc::new(GuardSameNames), rule, Arc::new(UnguardSameNames)],
                    false => vec![rule],
                }
            },
        )
        .collect();
    let ours: [(&str, Arc<dyn PhysicalOptimizerRule + Send + Sync>); 3] = [
        ("join_selection", Arc::new(JoinModes)),
        ("LimitedDistinctAggregation", Arc::new(CombineBeforeShuffle)),
        ("EnsureRequirements", Arc::new(UnneededShuffles)),
    ];
    for (after, rule) in ours {
        let place = rules.iter().position(|rule| rule.name() == after);
        rules.insert(place.map_or(0, |place| place + 1), rule);
    }
    rules.insert(0, Arc::new(SourceColumns));
    rules
}

/// A plan in which `change` has been asked of every operator, inputs first: what it gives stands in the operator's place.
pub(crate) fn changed(
    plan: Arc<dyn ExecutionPlan>,
    change: impl Fn(&Arc<dyn ExecutionPlan>) -> Result<Option<Arc<dyn ExecutionPlan>>>,
) -> Result<Arc<dyn ExecutionPlan>> {
    plan.transform_up(|node| {
        Ok(match change(&node)? {
            Some(other) => Transformed::yes(other),
            None => Transformed::no(node),
        })
    })
    .data()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names of `all` without ours must be those of the defaults, in order.
    fn check(all: Vec<&str>, defaults: Vec<&str>, ours: &[&str]) {
        let kept: Vec<_> = all
            .iter()
            .copied()
            .filter(|name| !ours.contains(name))
            .collect();
        assert_eq!(kept, defaults);
        assert_eq!(all.len(), defaults.len() + ours.len());
    }

    #[test]
    fn datafusions_rules_are_all_there_in_order() {
        let (all, defaults) = (analyzer(false), Analyzer::new().rules);
        check(
            all.iter().map(|rule| rule.name()).collect(),
            defaults.iter().map(|rule| rule.name()).collect(),
            &[
                "tidegate_subquery_nulls",
                "tidegate_session_zone",
                "tidegate_distinct_order",
                "tidegate_three_valued_in",
                "tidegate_correlated",
                "tidegate_decimal_types",
                "tidegate_meeting",
                "tidegate_temporal",
                "tidegate_interval_keys",
                "tidegate_time_casts",
                "tidegate_guarded_division",
                "tidegate_checked_arithmetic",
            ],
        );
        let names: Vec<_> = all.iter().map(|rule| rule.name()).collect();
        assert_eq!(
            names[names.len() - 13..],
            [
                "tidegate_subquery_nulls",
                "tidegate_session_zone",
                "tidegate_distinct_order",
                "tidegate_three_valued_in",
                "tidegate_correlated",
                "tidegate_decimal_types",
                "tidegate_meeting",
                "tidegate_temporal",
                "tidegate_interval_keys",
                "type_coercion",
                "tidegate_time_casts",
                "tidegate_guarded_division",
                "tidegate_checked_arithmetic"
            ]
        );

        let (all, defaults) = (optimizer(), Optimizer::new().rules);
        check(
            all.iter().map(|rule| rule.name()).collect(),
            defaults.iter().map(|rule| rule.name()).collect(),
            &["tidegate_subquery_marks", "tidegate_checked_arithmetic"],
        );
        let names: Vec<_> = all.iter().map(|rule| rule.name()).collect();
        let marks = names
            .iter()
            .position(|name| *name == "tidegate_subquery_marks");
        assert_eq!(
            marks.map(|at| names[at + 1]),
            Some("decorrelate_predicate_subquery")
        );

        let (all, defaults) = (physical(), PhysicalOptimizer::new().rules);
        let names: Vec<_> = all.iter().map(|rule| rule.name()).collect();
        let ours: Vec<&str> = names
            .iter()
            .copied()
            .filter(|name| name.starts_with("tidegate_"))
            .collect();
        check(
            names.clone(),
            defaults.iter().map(|rule| rule.name()).collect(),
            &ours,
        );
        assert_eq!(
            ours,
            [
                "tidegate_source_columns",
                "tidegate_join_modes",
                "tidegate_combine_before_shuffle",
                "tidegate_guard_same_names",
                "tidegate_unguard_same_names",
                "tidegate_unneeded_shuffles",
                "tidegate_guard_same_names",
                "tidegate_unguard_same_names",
                "tidegate_nested_loop_guard",
                "tidegate_nothing_else_moves",
            ]
        );
        let before = |ours: &str| {
            let place = names.iter().position(|name| *name == ours)?;
            names.get(place.checked_sub(1)?).copied()
        };
        assert_eq!(before("tidegate_join_modes"), Some("join_selection"));
        let combine = before("tidegate_combine_before_shuffle");
        assert_eq!(combine, Some("LimitedDistinctAggregation"));
        let unneeded = before("tidegate_unneeded_shuffles");
        assert_eq!(unneeded, Some("EnsureRequirements"));
        assert_eq!(
            names[names.len() - 3..],
            [
                "tidegate_nested_loop_guard",
                "tidegate_nothing_else_moves",
                "SanityCheckPlan"
            ]
        );
    }

    #[test]
    fn the_defaults_are_those_this_was_written_for() {
        // A new version of DataFusion brings new rules: look at each before this list is changed.
        assert_eq!(Analyzer::new().rules.len(), 2);
        assert_eq!(Optimizer::new().rules.len(), 25);
        assert_eq!(PhysicalOptimizer::new().rules.len(), 21);
    }
}
