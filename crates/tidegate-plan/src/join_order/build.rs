//! From an order back to a plan.

use std::sync::Arc;

use datafusion::common::{JoinConstraint, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::conjunction;
use datafusion::logical_expr::{Expr, Filter, Join, LogicalPlan, Projection};

use super::region::{Class, Decides, Region, Residual, Set, holds_a_subquery};
use super::search::Tree;

/// The plan of a region in the order of `tree`, with the columns of `original`.
pub(super) fn plan(region: &Region, tree: &Tree, original: &LogicalPlan) -> Result<LogicalPlan> {
    let mut builder = Builder {
        region,
        residuals: region.residuals.clone(),
    };
    let (plan, _) = builder.tree(tree)?;
    let left = builder.residuals.into_iter();
    let plan = filtered(plan, left.map(|one| one.condition).collect())?;
    if plan.schema() == original.schema() {
        return Ok(plan);
    }
    let columns = original.schema().columns().into_iter().map(Expr::Column);
    Ok(LogicalPlan::Projection(Projection::try_new(
        columns.collect(),
        Arc::new(plan),
    )?))
}

struct Builder<'a> {
    region: &'a Region,
    /// Conditions that are not in the plan yet.
    residuals: Vec<Residual>,
}

impl Builder<'_> {
    fn tree(&mut self, tree: &Tree) -> Result<(LogicalPlan, Set)> {
        match tree {
            Tree::Leaf(leaf) => self.leaf(*leaf),
            Tree::Join(left, right) => {
                let (left, right) = (self.tree(left)?, self.tree(right)?);
                self.join(left, right)
            }
        }
    }

    /// A leaf with the conditions on it alone, and the equalities that follow for its own columns.
    fn leaf(&mut self, leaf: usize) -> Result<(LogicalPlan, Set)> {
        let set = 1 << leaf;
        let mut conditions = conditions(self.applicable(set));
        for class in &self.region.classes {
            let own: Vec<&Expr> = class
                .members
                .iter()
                .filter(|(of, _)| *of == leaf)
                .map(|(_, expr)| expr)
                .collect();
            conditions.extend(
                own.windows(2)
                    .map(|pair| pair[0].clone().eq(pair[1].clone())),
            );
        }
        let plan = self.region.leaves[leaf].plan.clone();
        Ok((filtered(plan, conditions)?, set))
    }

    fn join(
        &mut self,
        left: (LogicalPlan, Set),
        right: (LogicalPlan, Set),
    ) -> Result<(LogicalPlan, Set)> {
        let set = left.1 | right.1;
        let decides = |set: Set| -> Option<&Decides> {
            let is_one = set.count_ones() == 1;
            let leaf = is_one.then(|| set.trailing_zeros() as usize)?;
            self.region.leaves[leaf].decides.as_ref()
        };
        let asked = match (decides(left.1), decides(right.1)) {
            (Some(decides), _) => Some((&right.0, &left.0, decides)),
            (None, Some(decides)) => Some((&left.0, &right.0, decides)),
            (None, None) => None,
        };
        if let Some((kept, asked, decides)) = asked {
            let join_type = match decides.is_anti {
                true => JoinType::LeftAnti,
                false => JoinType::LeftSemi,
            };
            let filter = decides.filter.clone();
            let plan = joined(
                kept.clone(),
                asked.clone(),
                decides.on.clone(),
                filter,
                join_type,
            )?;
            // What becomes applicable here speaks of the kept side only.
            let conditions = conditions(self.applicable(set));
            return Ok((filtered(plan, conditions)?, set));
        }
        let mut on = self.keys(left.1, right.1);
        let mut conditions = Vec::new();
        for residual in self.applicable(set) {
            match residual.keys(left.1, right.1) {
                Some(keys) => on.push(keys),
                None => conditions.push(residual.condition),
            }
        }
        let (above, within): (Vec<Expr>, Vec<Expr>) =
            conditions.into_iter().partition(holds_a_subquery);
        let plan = joined(left.0, right.0, on, conjunction(within), JoinType::Inner)?;
        Ok((filtered(plan, above)?, set))
    }

    /// One equality for each class that both sides know. Of several members those of the leaf are taken that has most
    /// keys: keys of one table are known to belong together.
    fn keys(&self, left: Set, right: Set) -> Vec<(Expr, Expr)> {
        let of = |class: &Class, set: Set| -> Vec<(usize, Expr)> {
            let members = class.members.iter();
            members
                .filter(|(leaf, _)| set & 1 << leaf != 0)
                .cloned()
                .collect()
        };
        let classes = self.region.classes.iter();
        let shared: Vec<_> = classes
            .map(|class| (of(class, left), of(class, right)))
            .filter(|(left, right)| !left.is_empty() && !right.is_empty())
            .collect();
        let keys_of = |leaf: usize| {
            let has = |members: &[(usize, Expr)]| members.iter().any(|(of, _)| *of == leaf);
            shared
                .iter()
                .filter(|(left, right)| has(left) || has(right))
                .count()
        };
        let chosen = |members: &[(usize, Expr)]| {
            let mut best: Option<&(usize, Expr)> = None;
            for member in members {
                if best.is_none_or(|best| keys_of(member.0) > keys_of(best.0)) {
                    best = Some(member);
                }
            }
            best.map(|(_, expr)| expr.clone())
        };
        shared
            .iter()
            .filter_map(|(left, right)| Some((chosen(left)?, chosen(right)?)))
            .collect()
    }

    /// Takes out the conditions that speak of leaves in `set` only.
    fn applicable(&mut self, set: Set) -> Vec<Residual> {
        let all = std::mem::take(&mut self.residuals);
        let (now, later): (Vec<_>, Vec<_>) = all
            .into_iter()
            .partition(|one| one.over != 0 && one.over & set == one.over);
        self.residuals = later;
        now
    }
}

fn conditions(residuals: Vec<Residual>) -> Vec<Expr> {
    residuals.into_iter().map(|one| one.condition).collect()
}

fn joined(
    left: LogicalPlan,
    right: LogicalPlan,
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    join_type: JoinType,
) -> Result<LogicalPlan> {
    Ok(LogicalPlan::Join(Join::try_new(
        Arc::new(left),
        Arc::new(right),
        on,
        filter,
        join_type,
        JoinConstraint::On,
        NullEquality::NullEqualsNothing,
        false,
    )?))
}

pub(super) fn filtered(plan: LogicalPlan, conditions: Vec<Expr>) -> Result<LogicalPlan> {
    Ok(match conjunction(conditions) {
        None => plan,
        Some(predicate) => LogicalPlan::Filter(Filter::try_new(predicate, Arc::new(plan))?),
    })
}
