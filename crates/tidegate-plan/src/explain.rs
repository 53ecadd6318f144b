//! `EXPLAIN` and `EXPLAIN ANALYZE`: a stage graph as text, JSON, Graphviz or a page of HTML.
//!
//! One readable tree per stage, the last step first:
//!
//! ```text
//! stage 0: single, ordered by n desc; about 3 rows
//! sort by n desc                              about 3 rows
//! └─ aggregate final by zone: count(*)        about 3 rows; hash(zone) in 2
//! ```

mod page;

use std::fmt::{self, Write as _};
use std::str::FromStr;

use datafusion::physical_plan::displayable;
use serde_json::{Value, json};

use crate::graph::{Estimate, Repeats, Stage, StageGraph, Step, Word};
use crate::measured::{self, Did, Measured};
use crate::{Error, Result};

/// How EXPLAIN is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ExplainFormat {
    /// A tree for people.
    #[default]
    Text,
    /// For programs.
    Json,
    /// The language of Graphviz, which draws it.
    Graphviz,
    /// A page that stands alone.
    Html,
}

impl FromStr for ExplainFormat {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        match name.to_ascii_lowercase().as_str() {
            "text" | "tree" | "indent" => Ok(ExplainFormat::Text),
            "json" => Ok(ExplainFormat::Json),
            "graphviz" => Ok(ExplainFormat::Graphviz),
            "html" => Ok(ExplainFormat::Html),
            _ => Err(Error::Unsupported(format!(
                "EXPLAIN has no format `{name}`; use `text`, `json`, `graphviz` or `html`"
            ))),
        }
    }
}

impl fmt::Display for StageGraph {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text(self, false, None))
    }
}

/// What a query will do. `verbose` adds what running it again gives, and the operators.
pub fn explain(graph: &StageGraph, verbose: bool, format: ExplainFormat) -> String {
    match format {
        ExplainFormat::Text => text(graph, verbose, None),
        ExplainFormat::Json => to_json(graph, None),
        ExplainFormat::Graphviz => page::graphviz(graph, None),
        ExplainFormat::Html => page::html(graph, None),
    }
}

/// What a query did. The graph must be the very one that ran, to its end: the figures are its operators', unless its
/// stages ran in tasks of their own plans, which were `measured`.
pub fn explain_analyze(
    graph: &StageGraph,
    measured: Option<&Measured>,
    verbose: bool,
    format: ExplainFormat,
) -> String {
    let ran = Ran::of(graph, measured);
    let ran = Some(&ran);
    match format {
        ExplainFormat::Text => text(graph, verbose, ran),
        ExplainFormat::Json => to_json(graph, ran),
        ExplainFormat::Graphviz => page::graphviz(graph, ran),
        ExplainFormat::Html => page::html(graph, ran),
    }
}

fn text(graph: &StageGraph, verbose: bool, ran: Option<&Ran>) -> String {
    let mut out = String::new();
    // The answer first, as in a tree.
    for (number, stage) in graph.stages().iter().enumerate().rev() {
        if !out.is_empty() {
            out.push('\n');
        }
        // Writing to a string cannot fail.
        let _ = writeln!(out, "{}", head(number, stage, verbose));
        let mut lines = vec![];
        lay_out(&stage.steps.root, "", "", verbose, ran, &mut lines);
        let width = lines
            .iter()
            .map(|(tree, _)| tree.chars().count())
            .filter(|width| *width <= 90)
            .max()
            .unwrap_or(0);
        for (tree, facts) in lines {
            let _ = writeln!(out, "{}", format!("{tree:width$}  {facts}").trim_end());
        }
        if verbose {
            let _ = write!(
                out,
                "\noperators:\n{}",
                displayable(stage.plan.as_ref()).indent(true)
            );
        }
    }
    out
}

fn head(number: usize, stage: &Stage, verbose: bool) -> String {
    let mut head = format!("stage {number}: {}", stage.steps.root.output);
    if !stage.inputs.is_empty() {
        let from: Vec<_> = stage
            .inputs
            .iter()
            .map(|edge| edge.from.0.to_string())
            .collect();
        head += &format!("; reads stage {}", from.join(", "));
    }
    if verbose {
        head += &format!("; run again: {}", stage.repeats);
    }
    head
}

fn lay_out(
    step: &Step,
    lead: &str,
    branch: &str,
    verbose: bool,
    ran: Option<&Ran>,
    lines: &mut Vec<(String, String)>,
) {
    let detail = if step.detail.is_empty() {
        String::new()
    } else {
        format!(" {}", step.detail)
    };
    lines.push((
        format!("{lead}{branch}{}{detail}", step.word),
        facts(step, verbose, ran),
    ));
    let below = match branch {
        "" => lead.to_string(),
        "├─ " => format!("{lead}│  "),
        _ => format!("{lead}   "),
    };
    for (number, input) in step.inputs.iter().enumerate() {
        let branch = if number + 1 == step.inputs.len() {
            "└─ "
        } else {
            "├─ "
        };
        lay_out(input, &below, branch, verbose, ran, lines);
    }
}

/// What is known of a step besides what it does: what it did, or what it will give.
fn facts(step: &Step, verbose: bool, ran: Option<&Ran>) -> String {
    let mut facts = match ran {
        Some(ran) => vec![ran.facts(step)],
        None => vec![step.estimate.to_string()],
    };
    if ran.is_none()
        && step
            .inputs
            .first()
            .is_none_or(|input| input.output.to_string() != step.output.to_string())
    {
        facts.push(step.output.to_string());
    }
    if verbose && step.repeats != Repeats::Exactly {
        facts.push(step.repeats.to_string());
    }
    facts.retain(|fact| !fact.is_empty());
    facts.join("; ")
}

impl fmt::Display for Estimate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let about = if self.exact { "" } else { "about " };
        match (self.rows, self.bytes) {
            (Some(rows), Some(size)) => {
                write!(f, "{about}{}, {}", rows_text(rows), bytes_text(size))
            }
            (Some(rows), None) => write!(f, "{about}{}", rows_text(rows)),
            (None, Some(size)) => write!(f, "about {}", bytes_text(size)),
            (None, None) => Ok(()),
        }
    }
}

fn rows_text(rows: u64) -> String {
    if rows == 1 {
        "1 row".into()
    } else {
        format!("{} rows", grouped(rows))
    }
}

/// A number with commas between its thousands.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

pub(crate) fn bytes_text(size: u64) -> String {
    const UNITS: [&str; 5] = ["B", "KiB", "MiB", "GiB", "TiB"];
    let mut value = size as f64;
    let mut unit = 0;
    while value >= 1024.0 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    if unit == 0 {
        format!("{size} B")
    } else {
        format!("{value:.1} {}", UNITS[unit])
    }
}

fn time_text(nanoseconds: u64) -> String {
    match nanoseconds as f64 / 1e6 {
        ms if ms >= 1000.0 => format!("{:.2} s", ms / 1000.0),
        ms if ms >= 10.0 => format!("{ms:.0} ms"),
        ms => format!("{ms:.2} ms"),
    }
}

/// A partition with so many times its share of the rows is worth a word.
const SKEWED: f64 = 1.5;

/// What the operators of a query did, walked parents first.
struct Ran {
    operators: Vec<Did>,
    nanoseconds: u64,
}

impl Ran {
    fn of(graph: &StageGraph, measured: Option<&Measured>) -> Self {
        let operators = match measured {
            Some(measured) => measured.operators(graph),
            None => measured::of_plan(&graph.result().plan),
        };
        let nanoseconds = operators.iter().map(|did| did.nanoseconds).sum();
        Self {
            operators,
            nanoseconds,
        }
    }

    fn step(&self, step: &Step) -> Did {
        let mut all = Did::default();
        for (number, position) in step.operators.iter().enumerate() {
            let Some(did) = self.operators.get(*position) else {
                continue;
            };
            if number == 0 {
                (all.rows, all.bytes, all.largest) = (did.rows, did.bytes, did.largest);
            }
            all.nanoseconds += did.nanoseconds;
            all.spilled += did.spilled;
        }
        all
    }

    fn facts(&self, step: &Step) -> String {
        const WIDTH: u64 = 10;
        let did = self.step(step);
        let filled = (did.nanoseconds * WIDTH)
            .checked_div(self.nanoseconds)
            .unwrap_or(0)
            .min(WIDTH) as usize;
        let bar: String = "█".repeat(filled) + &"·".repeat(WIDTH as usize - filled);
        let mut facts = vec![format!("{bar} {:>8}", time_text(did.nanoseconds))];
        if let Some(rows) = did.rows {
            let estimated = step.estimate.rows.filter(|_| !step.estimate.exact);
            facts.push(match estimated {
                Some(estimated) => format!("{}, estimated {}", rows_text(rows), grouped(estimated)),
                None => rows_text(rows),
            });
        }
        if did.bytes > 0 {
            facts.push(bytes_text(did.bytes));
        }
        if did.spilled > 0 {
            facts.push(format!("spilled {}", bytes_text(did.spilled)));
        }
        let partitions = step.output.partitions().unwrap_or(1) as f64;
        if let (Some(largest), Some(rows)) = (did.largest, did.rows)
            && largest as f64 * partitions >= rows as f64 * SKEWED
            && step.word == Word::Shuffle
        {
            let share = 100 * largest / rows.max(1);
            facts.push(format!("{share} % in one partition"));
        }
        facts.join(", ")
    }
}

fn to_json(graph: &StageGraph, ran: Option<&Ran>) -> String {
    let stages: Vec<_> = graph
        .stages()
        .iter()
        .enumerate()
        .map(|(number, stage)| {
            json!({
                "stage": number,
                "inputs": stage.inputs.iter().map(|edge| edge.from.0).collect::<Vec<_>>(),
                "output": stage.output.to_string(),
                "run_again": stage.repeats.to_string(),
                "steps": step_json(&stage.steps.root, ran),
            })
        })
        .collect();
    serde_json::to_string_pretty(&json!({ "stages": stages })).unwrap_or_default()
}

fn step_json(step: &Step, ran: Option<&Ran>) -> Value {
    let mut value = json!({
        "word": step.word.to_string(),
        "detail": step.detail,
        "output": step.output.to_string(),
        "run_again": step.repeats.to_string(),
        "estimated": { "rows": step.estimate.rows, "bytes": step.estimate.bytes, "exact": step.estimate.exact },
        "inputs": step.inputs.iter().map(|input| step_json(input, ran)).collect::<Vec<_>>(),
    });
    if let (Some(ran), Some(object)) = (ran, value.as_object_mut()) {
        let did = ran.step(step);
        object.insert(
            "measured".into(),
            json!({
                "rows": did.rows, "nanoseconds": did.nanoseconds, "bytes": did.bytes, "spilled_bytes": did.spilled,
                "rows_of_largest_partition": did.largest,
            }),
        );
    }
    value
}
