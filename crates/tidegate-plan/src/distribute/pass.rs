//! The pass: from the leaves up, what must come together is brought together, and what is together stays.

use datafusion::common::JoinSide;
use datafusion::common::tree_node::{Transformed, TreeNode};
use datafusion::common::{internal_err, not_impl_err};
use datafusion::error::Result;
use datafusion::logical_expr::logical_plan::{Join, Repartition, Union, Window};
use datafusion::logical_expr::utils::grouping_set_to_exprlist;
use datafusion::logical_expr::{
    Aggregate, Expr, JoinType, LogicalPlan, Partitioning, Projection, TableScan, TableScanBuilder,
};
use tidegate_operators::shuffle::Filters;

use super::known::{Known, bare};
use super::node::{Movement, Shuffle, Why};
use super::partition::{By, Met, Partition, as_partition};
use crate::evidence;
use crate::join_order::{self, Expected, is_shared};
use crate::{map, write};

/// Who may share the side of a join that is built.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Builds {
    /// All partitions: they run in one process and tell each other which rows found a match.
    OfOneProcess,
    /// Each task has its own, and knows only of its own matches: a side whose rows come out unmatched is never one.
    OfEachTask,
}

/// In how many partitions a table is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scans {
    /// In one.
    One,
    /// In as many as its files give.
    Many,
}

/// Writes shuffles into plans.
pub(crate) struct Distributor<'a> {
    pub(crate) partitions: usize,
    pub(crate) builds: Builds,
    /// Whether the plan is written down before it runs.
    pub(crate) is_encoded: bool,
    pub(crate) scans: &'a dyn Fn(&TableScan) -> Scans,
    pub(crate) repeats: Repeats,
}

/// How often a plan runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Repeats {
    /// Once.
    Once,
    /// Again and again: it is what a recursive query repeats.
    Again,
}

/// A plan, and how its rows are divided.
struct Divided {
    plan: LogicalPlan,
    known: Known,
}

impl Distributor<'_> {
    /// The plan with every movement of rows; its own rows are in one partition.
    pub(crate) fn distribute(&self, plan: LogicalPlan) -> Result<LogicalPlan> {
        let divided = self.visit(plan)?;
        Ok(self.single(divided).plan)
    }

    fn visit(&self, plan: LogicalPlan) -> Result<Divided> {
        let subqueries =
            plan.map_subqueries(|subquery| Ok(Transformed::yes(self.distribute(subquery)?)));
        match subqueries?.data {
            LogicalPlan::TableScan(scan) => {
                let known = match (self.scans)(&scan) {
                    Scans::One => Known::Single,
                    Scans::Many => Known::Anyhow,
                };
                let plan = self.encodable(scan)?;
                Ok(Divided { plan, known })
            }
            LogicalPlan::Aggregate(aggregate) => self.aggregate(aggregate),
            LogicalPlan::Window(window) => self.window(window),
            LogicalPlan::Join(join) => self.join(join),
            LogicalPlan::Union(union) => self.union(union),
            LogicalPlan::Repartition(repartition) => self.repartition(repartition),
            plan @ LogicalPlan::Sort(_) => self.sort(plan),
            plan @ LogicalPlan::RecursiveQuery(_) => self.recursive(plan),
            plan => match as_partition(&plan) {
                Some(partition) => self.partition(partition),
                None => self.other(plan),
            },
        }
    }

    /// A scan of no column reads one where its plan is written down: DataFusion's message about generated rows has
    /// their type, and not that no column is asked for.
    fn encodable(&self, scan: TableScan) -> Result<LogicalPlan> {
        let is_empty = scan.projection.as_ref().is_some_and(Vec::is_empty);
        if !self.is_encoded || !is_empty || evidence::is_files(&scan) {
            return Ok(LogicalPlan::TableScan(scan));
        }
        let scan = TableScanBuilder::new(scan.table_name, scan.source)
            .with_projection(Some(vec![0]))
            .with_filters(scan.filters)
            .with_fetch(scan.fetch)
            .build()?;
        let scan = LogicalPlan::TableScan(scan).into();
        Ok(LogicalPlan::Projection(Projection::try_new(vec![], scan)?))
    }

    /// What works row by row, and what needs all rows.
    fn other(&self, plan: LogicalPlan) -> Result<Divided> {
        let mut known = Known::Single;
        let keeps = keeps_rows_apart(&plan);
        let plan = plan.map_children(|input| {
            let mut input = self.visit(input)?;
            if !keeps {
                input = self.single(input);
            }
            known = input.known;
            Ok(Transformed::yes(input.plan))
        })?;
        let plan = plan.data;
        let known = match &plan {
            LogicalPlan::Projection(projection) => known.above_projection(projection),
            LogicalPlan::SubqueryAlias(alias) => known.above_alias(alias),
            LogicalPlan::Unnest(_) if known != Known::Single => Known::Anyhow,
            // It may have made other keys.
            plan if map::is_map(plan) && known != Known::Single => Known::Anyhow,
            plan if write::is_write(plan) => Known::Single,
            _ => known,
        };
        Ok(Divided { plan, known })
    }

    fn aggregate(&self, mut aggregate: Aggregate) -> Result<Divided> {
        let input = self.visit(aggregate.input.as_ref().clone())?;
        let is_set = matches!(aggregate.group_expr.as_slice(), [Expr::GroupingSet(_)]);
        let keys = grouping_set_to_exprlist(&aggregate.group_expr)?;
        let keys: Vec<Expr> = keys.into_iter().cloned().collect();
        // Rows of one key are in several groups of a set: nothing but one partition brings them together.
        let holds = input.known == Known::Single || !is_set && input.known.brings_together(&keys);
        let input = match holds && !keys.is_empty() {
            true => input,
            false => self.hash(input, &keys),
        };
        let columns = aggregate.schema.columns();
        let known = match input.known {
            Known::Hash(..) if is_set => Known::Anyhow,
            known => known.above_group(&aggregate.group_expr, &columns),
        };
        aggregate.input = input.plan.into();
        let plan = LogicalPlan::Aggregate(aggregate);
        Ok(Divided { plan, known })
    }

    fn window(&self, mut window: Window) -> Result<Divided> {
        let mut input = self.visit(window.input.as_ref().clone())?;
        let partition_by = window.window_expr.iter().map(|expr| match bare(expr) {
            Expr::WindowFunction(function) => function.params.partition_by,
            _ => vec![],
        });
        let keys = partition_by.min_by_key(Vec::len).unwrap_or_default();
        if keys.is_empty() || !input.known.brings_together(&keys) {
            input = self.hash(input, &keys);
        }
        window.input = input.plan.into();
        let known = input.known;
        let plan = LogicalPlan::Window(window);
        Ok(Divided { plan, known })
    }

    /// Each partition is sorted, then they are merged.
    fn sort(&self, plan: LogicalPlan) -> Result<Divided> {
        let mut known = Known::Single;
        let plan = plan.map_children(|input| {
            let input = self.visit(input)?;
            known = input.known;
            Ok(Transformed::yes(input.plan))
        })?;
        let plan = match known {
            Known::Single => plan.data,
            _ => self.shuffle(plan.data, Movement::SingleOrdered),
        };
        let known = Known::Single;
        Ok(Divided { plan, known })
    }

    fn union(&self, mut union: Union) -> Result<Divided> {
        for input in &mut union.inputs {
            *input = self.visit(input.as_ref().clone())?.plan.into();
        }
        let plan = LogicalPlan::Union(union);
        let known = Known::Anyhow;
        Ok(Divided { plan, known })
    }

    /// The division that is asked for, unless rows are divided so already.
    fn partition(&self, partition: &Partition) -> Result<Divided> {
        let Partition {
            input,
            by,
            count,
            met,
        } = partition;
        if self.repeats == Repeats::Again {
            return not_impl_err!("DISTRIBUTE BY inside a recursive query");
        }
        let (mut input, partitions) = (self.visit(input.clone())?, *count);
        if partitions == 1 {
            return Ok(self.single(input));
        }
        let may_stay = *met == Met::Stays;
        let mut known = Known::Anyhow;
        let to = match by {
            By::Hash(keys) => {
                let keys: Vec<Expr> = keys.iter().map(bare).collect();
                if may_stay && input.known.is_by(&keys, partitions) {
                    return Ok(input);
                }
                // Where all else is in one partition, nothing above takes what is in several.
                if self.partitions > 1 {
                    known = Known::hash(&keys, partitions);
                }
                Movement::Hash { keys, partitions }
            }
            By::Range { bounds: None, .. } => return internal_err!("ranges have no bounds"),
            By::Range {
                keys,
                bounds: Some(bounds),
            } => Movement::Range {
                keys: keys.clone(),
                bounds: bounds.clone(),
            },
            By::RoundRobin => match dealt(&input.plan, partitions)? {
                Some(dealt) if may_stay => {
                    input.plan = dealt;
                    Movement::Dealt { partitions }
                }
                _ => Movement::RoundRobin { partitions },
            },
            By::Random { seed } => Movement::Random {
                partitions,
                seed: *seed,
            },
        };
        let plan = self.moved(input.plan, to, Why::Asked);
        Ok(Divided { plan, known })
    }

    /// What the builder of DataFusion asks for.
    fn repartition(&self, repartition: Repartition) -> Result<Divided> {
        let input = self.visit(repartition.input.as_ref().clone())?;
        Ok(match repartition.partitioning_scheme {
            Partitioning::DistributeBy(keys) | Partitioning::Hash(keys, _) => {
                self.hash(input, &keys)
            }
            Partitioning::Range(_) => return not_impl_err!("a division by ranges"),
            Partitioning::RoundRobinBatch(_) => {
                let to = Movement::RoundRobin {
                    partitions: self.partitions,
                };
                let plan = self.shuffle(input.plan, to);
                let known = Known::Anyhow;
                Divided { plan, known }
            }
        })
    }

    /// Runs again and again, so nothing in it is divided.
    fn recursive(&self, plan: LogicalPlan) -> Result<Divided> {
        let whole = Distributor {
            partitions: 1,
            repeats: Repeats::Again,
            ..*self
        };
        let plan = plan.map_children(|input| Ok(Transformed::yes(whole.distribute(input)?)))?;
        let known = Known::Single;
        let plan = plan.data;
        Ok(Divided { plan, known })
    }

    fn join(&self, mut join: Join) -> Result<Divided> {
        let rows = [&join.left, &join.right].map(|input| join_order::expected(input));
        let mut left = self.visit(join.left.as_ref().clone())?;
        let mut right = self.visit(join.right.as_ref().clone())?;
        let known = match self.way(&join, rows, &left.known, &right.known) {
            Way::Whole => {
                (left, right) = (self.single(left), self.single(right));
                Known::Single
            }
            Way::Shared(side) => {
                let is_preserved = preserves(join.join_type, side);
                let (build, probe) = match side {
                    JoinSide::Right => (&mut right, &left.known),
                    _ => (&mut left, &right.known),
                };
                let known = match is_preserved && *probe != Known::Single {
                    true => Known::Anyhow,
                    false => probe.clone(),
                };
                build.plan = self.shuffle(build.plan.clone(), Movement::Broadcast);
                known
            }
            Way::Divided => {
                let (lefts, rights): (Vec<Expr>, Vec<Expr>) = join.on.iter().cloned().unzip();
                if !left.known.is_by(&lefts, self.partitions) {
                    left = self.hash(left, &lefts);
                }
                if !right.known.is_by(&rights, self.partitions) {
                    right = self.hash(right, &rights);
                }
                Known::above_join(&join, self.partitions)
            }
        };
        (join.left, join.right) = (left.plan.into(), right.plan.into());
        let plan = LogicalPlan::Join(join);
        Ok(Divided { plan, known })
    }

    fn way(&self, join: &Join, rows: [Option<Expected>; 2], left: &Known, right: &Known) -> Way {
        let both_whole = *left == Known::Single && *right == Known::Single;
        if self.partitions == 1 || join.null_aware || both_whole {
            return Way::Whole;
        }
        let may_share =
            |side| self.builds == Builds::OfOneProcess || !preserves(join.join_type, side);
        let is_inner = join.join_type == JoinType::Inner;
        let right_is_built = match rows {
            [Some(left), Some(right)] if right.rows < left.rows => {
                !(is_inner && left.spares_more(right))
            }
            [Some(left), Some(right)] => is_inner && right.spares_more(left),
            _ => false,
        };
        let smaller = match right_is_built {
            true => JoinSide::Right,
            false => JoinSide::Left,
        };
        let other = match smaller {
            JoinSide::Left => JoinSide::Right,
            _ => JoinSide::Left,
        };
        if join.on.is_empty() {
            return match (may_share(smaller), may_share(other)) {
                (true, _) => Way::Shared(smaller),
                (false, true) => Way::Shared(other),
                (false, false) => Way::Whole,
            };
        }
        let (build, probe) = match smaller {
            JoinSide::Right => (rows[1], rows[0]),
            _ => (rows[0], rows[1]),
        };
        let mut keys = join.on.iter().flat_map(|(left, right)| [left, right]);
        match (build, probe) {
            (Some(build), Some(probe))
                if is_shared(build.rows, probe.rows) && may_share(smaller) =>
            {
                Way::Shared(smaller)
            }
            _ if keys.any(has_subquery) => Way::Whole,
            _ => Way::Divided,
        }
    }

    /// Rows with equal keys in one partition; without keys, all rows.
    fn hash(&self, input: Divided, keys: &[Expr]) -> Divided {
        if self.partitions == 1 || keys.is_empty() || keys.iter().any(has_subquery) {
            return self.single(input);
        }
        let keys: Vec<Expr> = keys.iter().map(bare).collect();
        let partitions = self.partitions;
        let known = Known::hash(&keys, partitions);
        let plan = self.shuffle(input.plan, Movement::Hash { keys, partitions });
        Divided { plan, known }
    }

    fn single(&self, input: Divided) -> Divided {
        if input.known == Known::Single {
            return input;
        }
        let plan = self.shuffle(input.plan, Movement::Single);
        let known = Known::Single;
        Divided { plan, known }
    }

    fn shuffle(&self, input: LogicalPlan, to: Movement) -> LogicalPlan {
        self.moved(input, to, Why::Needed)
    }

    fn moved(&self, input: LogicalPlan, to: Movement, why: Why) -> LogicalPlan {
        let filters = match self.builds {
            Builds::OfOneProcess => Filters::Pass,
            Builds::OfEachTask => Filters::Stop,
        };
        let shuffle = Shuffle {
            input,
            to,
            filters,
            why,
        };
        shuffle.plan()
    }
}

/// The plan with its table read in so many partitions; none if it is not one table of files, row by row.
fn dealt(plan: &LogicalPlan, partitions: usize) -> Result<Option<LogicalPlan>> {
    match plan {
        LogicalPlan::TableScan(scan) => Ok(evidence::dealt(scan, partitions)),
        LogicalPlan::Projection(_) | LogicalPlan::SubqueryAlias(_) | LogicalPlan::Filter(_) => {
            let mut inputs = Vec::new();
            for input in plan.inputs() {
                match dealt(input, partitions)? {
                    Some(input) => inputs.push(input),
                    None => return Ok(None),
                }
            }
            plan.with_new_exprs(plan.expressions(), inputs).map(Some)
        }
        _ => Ok(None),
    }
}

/// How the sides of a join meet.
enum Way {
    /// Each in one partition.
    Whole,
    /// All rows of this side meet each partition of the other one.
    Shared(JoinSide),
    /// Both by a hash of their keys.
    Divided,
}

/// Whether rows of a side come out that found no match, or once for all their matches: then who builds it must know of
/// all matches.
fn preserves(join_type: JoinType, side: JoinSide) -> bool {
    use JoinType::{
        Full, Inner, Left, LeftAnti, LeftMark, LeftSemi, Right, RightAnti, RightMark, RightSemi,
    };
    match join_type {
        Inner => false,
        Full => true,
        Left | LeftSemi | LeftAnti | LeftMark => side == JoinSide::Left,
        Right | RightSemi | RightAnti | RightMark => side == JoinSide::Right,
    }
}

fn has_subquery(expr: &Expr) -> bool {
    let is_one = |expr: &Expr| Ok(matches!(expr, Expr::ScalarSubquery(_)));
    expr.exists(is_one).unwrap_or(true)
}

/// Whether a node can work on each partition alone.
fn keeps_rows_apart(plan: &LogicalPlan) -> bool {
    match plan {
        LogicalPlan::Projection(_)
        | LogicalPlan::SubqueryAlias(_)
        | LogicalPlan::Filter(_)
        | LogicalPlan::Unnest(_) => true,
        LogicalPlan::Extension(_) => !write::needs_one_partition(plan),
        _ => false,
    }
}
