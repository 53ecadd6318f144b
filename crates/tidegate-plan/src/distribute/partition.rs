//! A division of rows that is asked for, as a node of the logical plan: what DISTRIBUTE BY comes to. Where rows are divided
//! so already nothing moves; else the pass puts a shuffle in its place.

use std::cmp::Ordering;
use std::collections::HashSet;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::common::{DFSchemaRef, ScalarValue, internal_err};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::{
    Expr, Extension, LogicalPlan, SortExpr, UserDefinedLogicalNodeCore,
};

use super::known::bare;
use crate::{Error, Result};

/// So many partitions may be asked for: each has its queue or its file.
pub const PARTITIONS_MAX: usize = 4096;

/// How rows are to be divided.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd)]
pub enum By {
    /// By a hash of keys: rows with equal keys are together.
    Hash(Vec<Expr>),
    /// By ranges of an order: the rows of a partition come before those of the next one.
    Range {
        /// The order.
        keys: Vec<SortExpr>,
        /// Where one range ends and the next begins; not known before the tables are looked at.
        bounds: Option<Vec<Vec<ScalarValue>>>,
    },
    /// Evenly: as files are dealt, or row by row in turn.
    RoundRobin,
    /// Row by row by chance.
    Random {
        /// Where the chance comes from.
        seed: u64,
    },
}

impl By {
    /// The expressions that say where a row goes.
    pub fn keys(&self) -> Vec<&Expr> {
        match self {
            By::Hash(keys) => keys.iter().collect(),
            By::Range { keys, .. } => keys.iter().map(|key| &key.expr).collect(),
            By::RoundRobin | By::Random { .. } => vec![],
        }
    }

    fn name(&self) -> &'static str {
        match self {
            By::Hash(_) => "HASH",
            By::Range { .. } => "RANGE",
            By::RoundRobin => "ROUND_ROBIN",
            By::Random { .. } => "RANDOM",
        }
    }

    /// Keys that are there twice say nothing more.
    fn without_repeats(self) -> Self {
        let mut seen = HashSet::new();
        match self {
            By::Hash(mut keys) => {
                keys.retain(|key| seen.insert(bare(key)));
                By::Hash(keys)
            }
            By::Range { mut keys, bounds } => {
                keys.retain(|key| seen.insert(bare(&key.expr)));
                By::Range { keys, bounds }
            }
            other => other,
        }
    }
}

impl fmt::Display for By {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let list = |keys: Vec<String>| keys.join(", ");
        match self {
            By::Hash(keys) => write!(f, "hash({})", list(texts(keys))),
            By::Range { keys, .. } => write!(f, "range({})", list(texts(keys))),
            By::RoundRobin => write!(f, "round robin"),
            By::Random { seed } => write!(f, "random({seed})"),
        }
    }
}

fn texts(keys: &[impl fmt::Display]) -> Vec<String> {
    keys.iter().map(ToString::to_string).collect()
}

/// Gives the rows of its input, in so many partitions.
#[derive(Debug, Clone)]
pub struct Partition {
    /// Whose rows are divided.
    pub input: LogicalPlan,
    /// How.
    pub by: By,
    /// Into how many partitions.
    pub count: usize,
    /// Where they are divided so already.
    pub met: Met,
}

/// What becomes of a division of rows that are divided so already.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd)]
pub enum Met {
    /// Nothing moves.
    Stays,
    /// Rows are moved all the same.
    Moves,
}

/// A plan of the rows of `input`, divided.
///
/// # Errors
///
/// If there is no partition or more than [`PARTITIONS_MAX`], or a key does not say where a row goes.
pub fn partition(input: LogicalPlan, by: By, count: usize, met: Met) -> Result<LogicalPlan> {
    check_count(count).map_err(Error::Unsupported)?;
    let by = by.without_repeats();
    let needs_keys = matches!(by, By::Hash(_) | By::Range { .. });
    if needs_keys && by.keys().is_empty() {
        let message = format!("a division by {} needs a key", by.name());
        return Err(Error::Unsupported(message));
    }
    for key in by.keys() {
        check_key(key).map_err(Error::Unsupported)?;
    }
    if let By::Range {
        bounds: Some(bounds),
        ..
    } = &by
        && bounds.len() + 1 != count
    {
        let message = format!(
            "{count} ranges have {} bounds, not {}",
            count - 1,
            bounds.len()
        );
        return Err(Error::Unsupported(message));
    }
    let node = Arc::new(Partition {
        input,
        by,
        count,
        met,
    });
    Ok(LogicalPlan::Extension(Extension { node }))
}

/// Whether rows can be divided into so many partitions; if not, why.
pub(crate) fn check_count(count: usize) -> Result<(), String> {
    match count {
        0 => Err("rows cannot be divided into no partition".into()),
        1..=PARTITIONS_MAX => Ok(()),
        _ => Err(format!(
            "rows are divided into {PARTITIONS_MAX} partitions at most"
        )),
    }
}

fn check_key(key: &Expr) -> Result<(), String> {
    let mut wrong = None;
    let walk = key.apply(|node| {
        wrong = match node {
            Expr::AggregateFunction(_) => Some("an aggregate"),
            Expr::WindowFunction(_) => Some("a window function"),
            Expr::Unnest(_) => Some("unnest"),
            Expr::ScalarSubquery(_)
            | Expr::Exists(_)
            | Expr::InSubquery(_)
            | Expr::SetComparison(_) => Some("a subquery"),
            _ => None,
        };
        Ok(match wrong {
            Some(_) => TreeNodeRecursion::Stop,
            None => TreeNodeRecursion::Continue,
        })
    });
    let wrong = match walk {
        Ok(_) if key.is_volatile() => Some("a value that is another one each time"),
        Ok(_) if wrong.is_none() && key.column_refs().is_empty() => Some("a constant"),
        Ok(_) => wrong,
        Err(error) => return Err(error.to_string()),
    };
    match wrong {
        Some(wrong) => Err(format!(
            "{wrong} does not say which partition a row goes to"
        )),
        None => Ok(()),
    }
}

/// The division that a plan asks for, if it is one.
pub(crate) fn as_partition(plan: &LogicalPlan) -> Option<&Partition> {
    match plan {
        LogicalPlan::Extension(extension) => extension.node.as_any().downcast_ref::<Partition>(),
        _ => None,
    }
}

impl Partition {
    fn parts(&self) -> (&LogicalPlan, &By, usize, Met) {
        (&self.input, &self.by, self.count, self.met)
    }
}

impl PartialEq for Partition {
    fn eq(&self, other: &Self) -> bool {
        self.parts() == other.parts()
    }
}

impl Eq for Partition {}

impl Hash for Partition {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().hash(state);
    }
}

impl PartialOrd for Partition {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        self.parts().partial_cmp(&other.parts())
    }
}

impl UserDefinedLogicalNodeCore for Partition {
    fn name(&self) -> &str {
        "Partition"
    }

    fn inputs(&self) -> Vec<&LogicalPlan> {
        vec![&self.input]
    }

    fn schema(&self) -> &DFSchemaRef {
        self.input.schema()
    }

    fn expressions(&self) -> Vec<Expr> {
        self.by.keys().into_iter().cloned().collect()
    }

    /// A condition holds for a row wherever it goes.
    fn prevent_predicate_push_down_columns(&self) -> HashSet<String> {
        HashSet::new()
    }

    fn fmt_for_explain(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "Partition: {} in {}", self.by, self.count)
    }

    fn with_exprs_and_inputs(
        &self,
        exprs: Vec<Expr>,
        mut inputs: Vec<LogicalPlan>,
    ) -> DataFusionResult<Self> {
        let (Some(input), true) = (inputs.pop(), inputs.is_empty()) else {
            return internal_err!("a division has one input");
        };
        let by = match &self.by {
            By::Hash(_) => By::Hash(exprs),
            By::Range { keys, bounds } => {
                let keys = keys.iter().zip(exprs).map(|(key, expr)| SortExpr {
                    expr,
                    ..key.clone()
                });
                let (keys, bounds) = (keys.collect(), bounds.clone());
                By::Range { keys, bounds }
            }
            other => other.clone(),
        };
        Ok(Self {
            input,
            by,
            ..self.clone()
        })
    }

    fn necessary_children_exprs(&self, output_columns: &[usize]) -> Option<Vec<Vec<usize>>> {
        // What the keys need is asked for besides.
        Some(vec![output_columns.to_vec()])
    }
}
