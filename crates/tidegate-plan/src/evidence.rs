//! What a plan's rules may know of the tables: asked for by a pure look at the optimized plan, gathered by the
//! catalog, handed in with the inputs of a compilation.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use datafusion::catalog::Session;
use datafusion::catalog::default_table_source::{DefaultTableSource, provider_as_source};
use datafusion::common::tree_node::{TreeNode, TreeNodeRecursion};
use datafusion::error::Result as DataFusionResult;
use datafusion::logical_expr::utils::split_conjunction;
use datafusion::logical_expr::{Distinct, Expr, LogicalPlan, Operator, Projection, TableScan};
use tidegate_catalog::{Cuts, FilesTable, InputSnapshot, Predicates, SplitTable, TableEvidence};

use crate::distribute::{self, Scans, as_partition};

/// What would help to plan one table.
#[derive(Debug, Clone)]
pub struct Question {
    /// The table.
    pub table: Arc<FilesTable>,
    /// Columns whose number of distinct values matters: keys of joins and groups.
    pub columns: BTreeSet<String>,
    /// Columns that are keys of one join: how many combinations do they have?
    pub together: BTreeSet<BTreeSet<String>>,
    /// What is asked of the rows, scan by scan: how large a share passes?
    pub predicates: Vec<Predicates>,
    /// Into which parts of about equal size are the rows to be cut: at which values?
    pub cuts: Vec<Cuts>,
}

/// What is known of the tables of one plan.
#[derive(Debug, Clone, Default)]
pub struct Evidence {
    tables: Vec<(Arc<FilesTable>, TableEvidence)>,
}

impl Evidence {
    /// What was found out about each table.
    pub fn new(tables: Vec<(Arc<FilesTable>, TableEvidence)>) -> Self {
        Self { tables }
    }

    pub(crate) fn of(&self, scan: &TableScan) -> Option<&TableEvidence> {
        let table = table(scan)?;
        let mut known = self.tables.iter();
        let found = known.find(|(known, _)| std::ptr::eq(known.as_ref(), table));
        found.map(|(_, evidence)| evidence)
    }
}

/// Whether a scan gives all rows of its files, and no row is left out for what it holds.
pub(crate) fn reads_every_row(scan: &TableScan) -> bool {
    table(scan).is_some_and(|table| !table.may_leave_rows_out())
}

/// Whether a table is one of files.
pub(crate) fn is_files(scan: &TableScan) -> bool {
    table(scan).is_some()
}

/// In how many partitions a table is read.
pub(crate) fn scans(scan: &TableScan, state: &dyn Session) -> Scans {
    // What cannot be dealt says so when it is planned.
    match table(scan).map(|table| table.is_one_partition(state)) {
        Some(Ok(true)) => Scans::One,
        _ => Scans::Many,
    }
}

/// The scan with its files dealt into so many partitions, where they can be.
pub(crate) fn dealt(scan: &TableScan, partitions: usize) -> Option<LogicalPlan> {
    let table = SplitTable::new(shared_table(scan)?, partitions);
    let source = provider_as_source(Arc::new(table));
    Some(LogicalPlan::TableScan(TableScan {
        source,
        ..scan.clone()
    }))
}

/// Rows of a table that is not one of files, as it says itself.
pub(crate) fn own_rows(scan: &TableScan) -> Option<f64> {
    let source = scan.source.downcast_ref::<DefaultTableSource>()?;
    let statistics = source.table_provider.statistics()?;
    statistics.num_rows.get_value().map(|rows| *rows as f64)
}

/// The files that a scan reads: all of its table.
#[derive(Debug, Clone)]
pub struct ScanFiles {
    /// The files.
    pub snapshot: Arc<InputSnapshot>,
    /// Whether they are all that is in a directory.
    pub is_directory: bool,
}

/// The files that a plan reads, of each of its scans.
pub fn scan_files(plan: &LogicalPlan) -> DataFusionResult<Vec<ScanFiles>> {
    let mut found = Vec::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node
            && let Some(table) = table(scan)
        {
            let snapshot = table.snapshot();
            let is_directory = table.location().is_some();
            found.push(ScanFiles {
                snapshot,
                is_directory,
            });
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(found)
}

/// The table of files that a scan reads, if it reads one.
fn table(scan: &TableScan) -> Option<&FilesTable> {
    let source = scan.source.downcast_ref::<DefaultTableSource>()?;
    source.table_provider.downcast_ref::<FilesTable>()
}

fn shared_table(scan: &TableScan) -> Option<Arc<FilesTable>> {
    let source = scan.source.downcast_ref::<DefaultTableSource>()?;
    let provider: Arc<dyn std::any::Any + Send + Sync> = Arc::clone(&source.table_provider) as _;
    provider.downcast::<FilesTable>().ok()
}

/// What would help to order the joins of an optimized plan, if it has some, or to guess the rows of all of it, and what its
/// divisions by ranges need.
pub(crate) fn questions(plan: &LogicalPlan, of_all: bool) -> DataFusionResult<Vec<Question>> {
    let asking = asked(plan)?;
    match asking.has_joins || of_all {
        true => Ok(asking.questions),
        false => Ok(only_cuts(asking.questions)),
    }
}

/// What the divisions by ranges of an optimized plan need.
pub(crate) fn questions_of_ranges(plan: &LogicalPlan) -> DataFusionResult<Vec<Question>> {
    Ok(only_cuts(asked(plan)?.questions))
}

fn asked(plan: &LogicalPlan) -> DataFusionResult<Asking> {
    let mut asking = Asking::default();
    asking.visit(plan)?;
    Ok(asking)
}

fn only_cuts(questions: Vec<Question>) -> Vec<Question> {
    let with_cuts = questions
        .into_iter()
        .filter(|question| !question.cuts.is_empty());
    let only_cuts = with_cuts.map(|question| Question {
        columns: BTreeSet::new(),
        together: BTreeSet::new(),
        predicates: Vec::new(),
        ..question
    });
    only_cuts.collect()
}

#[derive(Default)]
struct Asking {
    questions: Vec<Question>,
    /// Names of columns that are keys somewhere above.
    keys: BTreeSet<String>,
    /// Names of columns that are keys of one join somewhere above, two at least.
    together: BTreeSet<BTreeSet<String>>,
    has_joins: bool,
}

impl Asking {
    fn visit(&mut self, plan: &LogicalPlan) -> DataFusionResult<()> {
        plan.apply_with_subqueries(|node| {
            self.node(node);
            Ok(TreeNodeRecursion::Continue)
        })?;
        Ok(())
    }

    fn node(&mut self, node: &LogicalPlan) {
        match node {
            LogicalPlan::Join(join) => {
                self.has_joins = true;
                for (left, right) in &join.on {
                    self.key(left);
                    self.key(right);
                }
                let (left, right) = (&join.left, &join.right);
                self.keys_together(left, join.on.iter().map(|(key, _)| key));
                self.keys_together(right, join.on.iter().map(|(_, key)| key));
                if let Some(filter) = &join.filter {
                    self.key(filter);
                }
            }
            LogicalPlan::Filter(filter) => match filter.input.as_ref() {
                LogicalPlan::TableScan(scan) => {
                    self.equalities(&filter.predicate);
                    self.scan(scan, split_conjunction(&filter.predicate));
                }
                _ => self.key(&filter.predicate),
            },
            LogicalPlan::Aggregate(aggregate) => {
                aggregate.group_expr.iter().for_each(|expr| self.key(expr));
            }
            LogicalPlan::Distinct(Distinct::On(on)) => {
                on.on_expr.iter().for_each(|expr| self.key(expr));
            }
            LogicalPlan::Projection(projection) => {
                let fields = projection.schema.fields().iter().zip(&projection.expr);
                for (field, expr) in fields {
                    if self.keys.contains(field.name()) {
                        self.key(expr);
                    }
                }
                self.rename_together(projection);
            }
            LogicalPlan::TableScan(scan) => self.scan(scan, Vec::new()),
            LogicalPlan::Extension(_) => {
                if let Some(asked) = as_partition(node).and_then(distribute::asked)
                    && let Some(question) = self.question(asked.scan)
                    && !question.cuts.contains(&asked.cuts)
                {
                    question.cuts.push(asked.cuts);
                }
            }
            _ => {}
        }
    }

    fn key(&mut self, expr: &Expr) {
        let columns = expr.column_refs();
        self.keys
            .extend(columns.into_iter().map(|column| column.name.clone()));
    }

    /// Keys of one side of a join; what is no plain column has no combinations to ask for.
    fn keys_together<'a>(&mut self, side: &LogicalPlan, keys: impl Iterator<Item = &'a Expr>) {
        let columns = keys.filter_map(Expr::try_as_col);
        // Those of one table: others do not come from one row.
        let mut by_table: BTreeMap<Option<String>, BTreeSet<String>> = BTreeMap::new();
        for column in columns.filter(|column| side.schema().has_column(column)) {
            let table = column.relation.as_ref().map(ToString::to_string);
            by_table
                .entry(table)
                .or_default()
                .insert(column.name.clone());
        }
        let several = by_table.into_values().filter(|names| names.len() > 1);
        self.together.extend(several);
    }

    /// What the columns are called below a projection.
    fn rename_together(&mut self, projection: &Projection) {
        let fields = projection.schema.fields().iter().zip(&projection.expr);
        let below: BTreeMap<&str, &str> = fields
            .filter_map(|(field, expr)| Some((field.name().as_str(), plain(expr)?)))
            .filter(|(above, below)| above != below)
            .collect();
        if below.is_empty() {
            return;
        }
        let renamed = self.together.iter().map(|names| {
            let names = names.iter().map(String::as_str);
            names
                .map(|name| below.get(name).copied().unwrap_or(name).to_string())
                .collect()
        });
        let renamed: Vec<BTreeSet<String>> = renamed.collect();
        self.together.extend(renamed);
    }

    /// Sides of equalities between columns become keys of joins.
    fn equalities(&mut self, predicate: &Expr) {
        for conjunct in split_conjunction(predicate) {
            if let Expr::BinaryExpr(binary) = conjunct
                && binary.op == Operator::Eq
                && conjunct.column_refs().len() > 1
            {
                self.key(conjunct);
            }
        }
    }

    /// What is asked of the table of a scan.
    fn question(&mut self, scan: &TableScan) -> Option<&mut Question> {
        let table = shared_table(scan)?;
        let known = self
            .questions
            .iter()
            .position(|known| Arc::ptr_eq(&known.table, &table));
        let at = known.unwrap_or_else(|| {
            self.questions.push(Question {
                table,
                columns: BTreeSet::new(),
                together: BTreeSet::new(),
                predicates: Vec::new(),
                cuts: Vec::new(),
            });
            self.questions.len() - 1
        });
        self.questions.get_mut(at)
    }

    fn scan(&mut self, scan: &TableScan, above: Vec<&Expr>) {
        let columns = scan.projected_schema.fields().iter();
        let keys = columns.filter(|field| self.keys.contains(field.name()));
        let keys: Vec<String> = keys.map(|field| field.name().clone()).collect();
        let has = |name: &String| scan.projected_schema.has_column_with_unqualified_name(name);
        let together = self.together.iter().filter(|names| names.iter().all(has));
        let together: Vec<BTreeSet<String>> = together.cloned().collect();
        let Some(question) = self.question(scan) else {
            return;
        };
        question.columns.extend(keys);
        question.together.extend(together);
        if let Some(predicates) = predicates(scan, above)
            && !question.predicates.contains(&predicates)
        {
            question.predicates.push(predicates);
        }
    }
}

/// The name of a column behind other names.
fn plain(expr: &Expr) -> Option<&str> {
    match expr {
        Expr::Alias(alias) => plain(&alias.expr),
        Expr::Column(column) => Some(&column.name),
        _ => None,
    }
}

/// What a scan and the filter right above it ask of a row. A condition that the scan was told of too counts once.
pub(crate) fn predicates(scan: &TableScan, above: Vec<&Expr>) -> Option<Predicates> {
    let all = scan.filters.iter().chain(above);
    let by_text: BTreeMap<String, Expr> = all
        .filter(|expr| can_be_sampled(expr))
        .map(unqualified)
        .map(|expr| (expr.to_string(), expr))
        .collect();
    (!by_text.is_empty()).then(|| Predicates::new(by_text))
}

/// Whether rows of one table suffice to tell a condition, and telling it twice is the same.
fn can_be_sampled(expr: &Expr) -> bool {
    let needs_more = |node: &Expr| {
        matches!(
            node,
            Expr::ScalarSubquery(_)
                | Expr::Exists(_)
                | Expr::InSubquery(_)
                | Expr::SetComparison(_)
                | Expr::OuterReferenceColumn(..)
                | Expr::ScalarVariable(..)
                | Expr::Placeholder(_)
        )
    };
    !expr.is_volatile() && !expr.exists(|node| Ok(needs_more(node))).unwrap_or(true)
}

/// An expression over columns without their table.
pub(crate) fn unqualified(expr: &Expr) -> Expr {
    use datafusion::common::tree_node::Transformed;
    let bare = expr.clone().transform(|node| match node {
        Expr::Column(mut column) if column.relation.is_some() => {
            column.relation = None;
            Ok(Transformed::yes(Expr::Column(column)))
        }
        other => Ok(Transformed::no(other)),
    });
    bare.map_or_else(|_| expr.clone(), |bare| bare.data)
}
