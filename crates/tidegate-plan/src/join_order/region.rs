//! A part of a plan whose joins can be taken in any order: inner joins, the semi and anti joins, filters and plain
//! projections between them, flattened into leaves and conditions.
//!
//! | node | becomes |
//! |---|---|
//! | inner join, comma join | its inputs are flattened; equalities become classes, the rest residual conditions |
//! | semi, anti join | the preserved side is flattened; the other is a leaf that is joined once its owners are |
//! | filter above them | conditions |
//! | projection of columns above them | nothing: columns not needed go at the end |
//! | outer and mark join, null-aware anti join, join that finds NULL equal to NULL, anything else | a leaf |

use std::collections::HashMap;

use datafusion::common::tree_node::TreeNode;
use datafusion::common::{Column, DFSchema, JoinType, NullEquality};
use datafusion::error::Result;
use datafusion::logical_expr::utils::{can_hash, split_conjunction_owned};
use datafusion::logical_expr::{BinaryExpr, Expr, ExprSchemable, Join, LogicalPlan, Operator};

/// A set of leaves.
pub(super) type Set = u64;

/// No region has more leaves than a [`Set`] has places.
pub(super) const LEAVES_MAX: usize = Set::BITS as usize;

/// An input of the joins.
#[derive(Debug, Clone)]
pub(super) struct Leaf {
    pub(super) plan: LogicalPlan,
    /// Set if it only decides which rows of other leaves stay.
    pub(super) decides: Option<Decides>,
}

/// The right side of a semi or anti join.
#[derive(Debug, Clone)]
pub(super) struct Decides {
    /// The leaves its conditions speak of.
    pub(super) owners: Set,
    /// Equal keys: of the owners, of the leaf.
    pub(super) on: Vec<(Expr, Expr)>,
    pub(super) filter: Option<Expr>,
    /// Rows stay that find no partner.
    pub(super) is_anti: bool,
}

/// Expressions that are equal in every row of the result, each over one leaf.
#[derive(Debug, Clone, Default)]
pub(super) struct Class {
    pub(super) members: Vec<(usize, Expr)>,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Region {
    pub(super) leaves: Vec<Leaf>,
    pub(super) classes: Vec<Class>,
    /// Conditions on several leaves, or none.
    pub(super) residuals: Vec<Residual>,
}

/// A condition that is no equality of two leaves.
#[derive(Debug, Clone)]
pub(super) struct Residual {
    pub(super) over: Set,
    pub(super) condition: Expr,
    /// The sides of an equality, each over several leaves and none in common: the key of a hash join that has the one
    /// side left and the other right.
    pub(super) sides: Option<((Set, Expr), (Set, Expr))>,
}

/// The leaves of the two sides of an equality.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sides(Set, Set);

impl Sides {
    /// Whether two sets hold one side each.
    pub(super) fn tie(self, left: Set, right: Set) -> bool {
        self.lie(left, right) || self.lie(right, left)
    }

    fn lie(self, first: Set, second: Set) -> bool {
        self.0 & first == self.0 && self.1 & second == self.1
    }
}

impl Residual {
    /// The leaves of its sides, if it can be the key of a hash join.
    pub(super) fn set_sides(&self) -> Option<Sides> {
        let ((one, _), (other, _)) = self.sides.as_ref()?;
        Some(Sides(*one, *other))
    }

    /// The keys of a join of two sets, left first.
    pub(super) fn keys(&self, left: Set, right: Set) -> Option<(Expr, Expr)> {
        let ((_, first), (_, second)) = self.sides.as_ref()?;
        let sides = self.set_sides()?;
        match () {
            () if sides.lie(left, right) => Some((first.clone(), second.clone())),
            () if sides.lie(right, left) => Some((second.clone(), first.clone())),
            () => None,
        }
    }
}

/// Whether a plan is the top of a region with a join in it.
pub(super) fn is_region(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Join(join) => can_be_moved(join),
        LogicalPlan::Filter(filter) => is_region(&filter.input) && !filter.predicate.is_volatile(),
        LogicalPlan::Projection(projection) => {
            projection.expr.iter().all(is_plain) && is_region(&projection.input)
        }
        _ => false,
    }
}

fn is_plain(expr: &Expr) -> bool {
    matches!(expr, Expr::Column(_))
}

fn can_be_moved(join: &Join) -> bool {
    let of_kind = matches!(
        join.join_type,
        JoinType::Inner
            | JoinType::LeftSemi
            | JoinType::RightSemi
            | JoinType::LeftAnti
            | JoinType::RightAnti
    );
    let is_stable = || {
        let keys = join.on.iter().flat_map(|(left, right)| [left, right]);
        !keys.chain(&join.filter).any(Expr::is_volatile)
    };
    of_kind
        && !join.null_aware
        && join.null_equality == NullEquality::NullEqualsNothing
        && is_stable()
}

/// The planner takes subqueries in filters, not in joins.
pub(super) fn holds_a_subquery(expr: &Expr) -> bool {
    expr.exists(|node| {
        Ok(matches!(
            node,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
        ))
    })
    .unwrap_or(true)
}

/// The region that begins at `plan`. None if it cannot be taken apart: its columns would not be told apart.
pub(super) fn flatten(plan: &LogicalPlan) -> Result<Option<Region>> {
    let mut flat = Flat::default();
    flat.add(plan)?;
    flat.region()
}

#[derive(Default)]
struct Flat {
    leaves: Vec<(LogicalPlan, Option<Deciding>)>,
    conditions: Vec<Expr>,
}

struct Deciding {
    on: Vec<(Expr, Expr)>,
    filter: Option<Expr>,
    is_anti: bool,
}

impl Flat {
    fn add(&mut self, plan: &LogicalPlan) -> Result<()> {
        if !is_region(plan) {
            self.leaves.push((plan.clone(), None));
            return Ok(());
        }
        match plan {
            LogicalPlan::Filter(filter) => {
                self.add(&filter.input)?;
                self.conditions
                    .extend(split_conjunction_owned(filter.predicate.clone()));
            }
            LogicalPlan::Projection(projection) => self.add(&projection.input)?,
            LogicalPlan::Join(join) => self.join(join)?,
            other => self.leaves.push((other.clone(), None)),
        }
        Ok(())
    }

    fn join(&mut self, join: &Join) -> Result<()> {
        let flipped = || {
            join.on
                .iter()
                .map(|(l, r)| (r.clone(), l.clone()))
                .collect()
        };
        let (kept, decides, on) = match join.join_type {
            JoinType::LeftSemi | JoinType::LeftAnti => (&join.left, &join.right, join.on.clone()),
            JoinType::RightSemi | JoinType::RightAnti => (&join.right, &join.left, flipped()),
            _ => {
                self.add(&join.left)?;
                self.add(&join.right)?;
                let equal = join
                    .on
                    .iter()
                    .map(|(left, right)| left.clone().eq(right.clone()));
                self.conditions.extend(equal);
                let filter = join.filter.iter().cloned();
                self.conditions
                    .extend(filter.flat_map(split_conjunction_owned));
                return Ok(());
            }
        };
        self.add(kept)?;
        let deciding = Deciding {
            on,
            filter: join.filter.clone(),
            is_anti: matches!(join.join_type, JoinType::LeftAnti | JoinType::RightAnti),
        };
        self.leaves.push((decides.as_ref().clone(), Some(deciding)));
        Ok(())
    }

    fn region(self) -> Result<Option<Region>> {
        let mut owner: HashMap<Column, usize> = HashMap::new();
        let mut names: HashMap<String, (usize, bool)> = HashMap::new();
        for (at, (plan, deciding)) in self.leaves.iter().enumerate() {
            if deciding.is_some() {
                continue;
            }
            for column in plan.schema().columns() {
                // A bare name beside the same name of another leaf could mean either.
                let bare = column.relation.is_none();
                let seen = names.entry(column.name.clone()).or_insert((at, bare));
                let ambiguous = seen.0 != at && (bare || seen.1);
                seen.1 |= bare;
                if ambiguous || owner.insert(column, at).is_some() {
                    return Ok(None);
                }
            }
        }
        if self.leaves.len() > LEAVES_MAX {
            return Ok(None);
        }
        let owners = |expr: &Expr, except: Option<&LogicalPlan>| -> Option<Set> {
            let mut set = 0;
            for column in expr.column_refs() {
                match owner.get(column) {
                    Some(at) => set |= 1 << at,
                    None if except.is_some_and(|plan| plan.schema().has_column(column)) => {}
                    None => return None,
                }
            }
            Some(set)
        };
        let mut region = Region::default();
        for (plan, deciding) in &self.leaves {
            let decides = match deciding {
                None => None,
                Some(deciding) => {
                    let mut set = 0;
                    let hidden = plan.schema().columns();
                    if hidden.iter().any(|column| owner.contains_key(column)) {
                        return Ok(None);
                    }
                    let keys = deciding.on.iter().map(|(key, _)| key);
                    for expr in keys.chain(&deciding.filter) {
                        let Some(more) = owners(expr, Some(plan)) else {
                            return Ok(None);
                        };
                        set |= more;
                    }
                    if set == 0 {
                        return Ok(None);
                    }
                    Some(Decides {
                        owners: set,
                        on: deciding.on.clone(),
                        filter: deciding.filter.clone(),
                        is_anti: deciding.is_anti,
                    })
                }
            };
            let plan = plan.clone();
            region.leaves.push(Leaf { plan, decides });
        }
        let mut columns = DFSchema::empty();
        for (plan, _) in self.leaves.iter().filter(|(_, asked)| asked.is_none()) {
            columns.merge(plan.schema());
        }
        for condition in self.conditions {
            let Some(over) = owners(&condition, None) else {
                return Ok(None);
            };
            let leaf = |set: Set| set.trailing_zeros() as usize;
            let sides = sides(&condition, &columns, |expr| owners(expr, None));
            match sides {
                Some(((one, left), (other, right)))
                    if one.count_ones() == 1 && other.count_ones() == 1 =>
                {
                    region.unite((leaf(one), left), (leaf(other), right));
                }
                sides => region.residuals.push(Residual {
                    over,
                    condition,
                    sides,
                }),
            }
        }
        Ok(Some(region))
    }
}

/// The sides of an equality that can be the key of a hash join, each with its leaves, which the other has none of.
fn sides(
    condition: &Expr,
    columns: &DFSchema,
    owners: impl Fn(&Expr) -> Option<Set>,
) -> Option<((Set, Expr), (Set, Expr))> {
    let Expr::BinaryExpr(BinaryExpr {
        left,
        op: Operator::Eq,
        right,
    }) = condition
    else {
        return None;
    };
    let (one, other) = (owners(left)?, owners(right)?);
    let (first, second) = (left.get_type(columns).ok()?, right.get_type(columns).ok()?);
    let are_apart = one != 0 && other != 0 && one & other == 0;
    let is_key = are_apart && first == second && can_hash(&first) && !holds_a_subquery(condition);
    is_key.then(|| {
        (
            (one, left.as_ref().clone()),
            (other, right.as_ref().clone()),
        )
    })
}

impl Region {
    /// Puts two equal expressions, and all that equals either, into one class.
    fn unite(&mut self, left: (usize, Expr), right: (usize, Expr)) {
        let mut united = Class::default();
        let (with, others): (Vec<Class>, Vec<Class>) = std::mem::take(&mut self.classes)
            .into_iter()
            .partition(|class| class.members.contains(&left) || class.members.contains(&right));
        let known = with.into_iter().flat_map(|class| class.members);
        for member in known.chain([left, right]) {
            if !united.members.contains(&member) {
                united.members.push(member);
            }
        }
        self.classes = others;
        self.classes.push(united);
    }

    /// The plan of a leaf with the conditions that speak of it alone.
    pub(super) fn with_conditions(&self, leaf: usize, plan: &LogicalPlan) -> LogicalPlan {
        let own = self.residuals.iter().filter(|one| one.over == 1 << leaf);
        let own = own.map(|one| one.condition.clone()).collect();
        super::build::filtered(plan.clone(), own).unwrap_or_else(|_| plan.clone())
    }
}
