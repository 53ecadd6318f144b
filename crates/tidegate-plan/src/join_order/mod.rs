//! The order of joins: from the order of the text to the one that touches fewest rows, by evidence.
//!
//! ```text
//! optimized plan ─▶ regions ─▶ search ─▶ plan in a new order ─▶ filters and columns pushed down
//!   region.rs: what may be reordered        guess.rs, selectivity.rs, having.rs: how many rows
//!   search.rs: dynamic programming, greedy  build.rs: back to a plan
//!   reduce.rs: aggregates read only the groups that are joined
//!   estimated.rs: the rows that are expected, for who decides how joins run
//! ```
//!
//! Up to twelve leaves every bushy tree without a cross product is looked at, set by set: DPsub of Moerkotte and Neumann,
//! "Analysis of two existing and one new dynamic programming algorithm", VLDB 2006. Their DPhyp ("Dynamic programming
//! strikes back", SIGMOD 2008) visits connected pairs only. Here a mask tells in a few instructions whether two sets can
//! be joined, whatever ties them (an equality, one over several tables, a semi join that needs several owners), so twelve
//! leaves are 260,000 tests and that much code is spared. Beyond twelve, where the pairs of a star or clique are too many
//! for either, the pair is joined that touches fewest rows, again and again (greedy operator ordering: Fegaras, "A new
//! heuristic for optimizing large queries", DEXA 1998).
//!
//! The cardinality of equi-joins assumes that keys are contained in one domain, as Selinger et al., "Access path selection
//! in a relational database management system", SIGMOD 1979. With the same evidence the same plan comes out, in every
//! process.

mod build;
mod estimated;
mod guess;
mod having;
mod reduce;
mod region;
mod search;
mod selectivity;

use std::sync::Arc;

use datafusion::common::tree_node::{Transformed, TreeNode, TreeNodeRecursion};
use datafusion::error::Result;
use datafusion::logical_expr::LogicalPlan;
use datafusion::optimizer::optimize_projections::OptimizeProjections;
use datafusion::optimizer::push_down_filter::PushDownFilter;
use datafusion::optimizer::{Optimizer, OptimizerContext};

pub(crate) use estimated::{
    Expected, Noted, Planner as EstimatedPlanner, expected, forget, is_estimated, is_shared,
};

use crate::PlanInputs;
use estimated::Notes;
use guess::{Guess, Guesser};
use region::Region;
use search::Search;

/// The plan with its joins in the best order that was found, and the rows noted that are expected of them; of a durable
/// statement, which is to be sealed where it pays, those of its aggregates too.
pub(crate) fn order(plan: LogicalPlan, inputs: &PlanInputs) -> Result<LogicalPlan> {
    let notes = match inputs.settings.checkpoint {
        Some(_) => Notes::JoinsAndAggregates,
        None => Notes::Joins,
    };
    if notes == Notes::Joins && !has_join(&plan)? {
        return Ok(plan);
    }
    let (state, guesser) = (&inputs.state, Guesser::new(&inputs.evidence));
    let schema = Arc::clone(plan.schema());
    let mut ordering = Ordering {
        guesser: &guesser,
        changed: false,
    };
    let mut ordered = ordering.visit(plan.clone())?;
    if ordering.changed {
        let context = OptimizerContext::new_with_config_options(Arc::clone(state.config_options()))
            .with_max_passes(1);
        let rules: Vec<Arc<dyn datafusion::optimizer::OptimizerRule + Send + Sync>> = vec![
            Arc::new(PushDownFilter::new()),
            Arc::new(OptimizeProjections::new()),
        ];
        ordered = Optimizer::with_rules(rules).optimize(ordered, &context, |_, _| {})?;
    }
    // The columns of the answer are the same, or the order of the text stays.
    let kept = match ordered
        .schema()
        .logically_equivalent_names_and_types(&schema)
    {
        true => ordered,
        false => plan,
    };
    Ok(estimated::annotate(kept, &guesser, notes)?.0)
}

fn has_join(plan: &LogicalPlan) -> Result<bool> {
    let mut found = false;
    plan.apply_with_subqueries(|node| {
        found |= matches!(node, LogicalPlan::Join(_));
        Ok(match found {
            true => TreeNodeRecursion::Stop,
            false => TreeNodeRecursion::Continue,
        })
    })?;
    Ok(found)
}

struct Ordering<'a> {
    guesser: &'a Guesser<'a>,
    changed: bool,
}

impl Ordering<'_> {
    fn visit(&mut self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let plan = plan
            .map_subqueries(|subquery| Ok(Transformed::yes(self.visit(subquery)?)))?
            .data;
        if region::is_region(&plan)
            && let Some(ordered) = self.region(&plan)?
        {
            return Ok(ordered);
        }
        let visited = plan.map_children(|input| Ok(Transformed::yes(self.visit(input)?)))?;
        Ok(visited.data)
    }

    fn region(&mut self, plan: &LogicalPlan) -> Result<Option<LogicalPlan>> {
        let Some(mut region) = region::flatten(plan)? else {
            return Ok(None);
        };
        let guess = |region: &Region, leaf: usize| {
            let plan = region.with_conditions(leaf, &region.leaves[leaf].plan);
            self.guesser.guess(&plan)
        };
        let leaves = 0..region.leaves.len();
        let mut guesses: Vec<Guess> = leaves.map(|leaf| guess(&region, leaf)).collect();
        if guesses.iter().any(|guess| guess.is_blind) {
            return Ok(None);
        }
        for leaf in reduce::reduce(&mut region, &guesses, self.guesser)? {
            guesses[leaf] = guess(&region, leaf);
        }
        for leaf in &mut region.leaves {
            leaf.plan = self.visit(leaf.plan.clone())?;
        }
        let Some(tree) = Search::new(&region, &guesses, self.guesser).best() else {
            return Ok(None);
        };
        self.changed = true;
        build::plan(&region, &tree, plan).map(Some)
    }
}
