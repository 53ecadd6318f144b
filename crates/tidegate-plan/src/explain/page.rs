//! `EXPLAIN` as a picture: the text of a graph for Graphviz, and one self-contained page of HTML.

use std::fmt::Write as _;

use super::{Ran, facts, head};
use crate::graph::{StageGraph, Step};

/// How a page looks; it loads nothing.
const STYLE: &str = "body{font:15px/1.5 system-ui,sans-serif;margin:2em auto;max-width:70em;padding:0 1em}\
h1{font-size:1.2em}h2{font-size:1em;font-weight:normal;color:#555}\
ul{list-style:none;margin:0;padding-left:1.4em;border-left:1px solid #bbb}\
body>ul,section>ul{border:0;padding:0}li{margin:.3em 0}summary{cursor:pointer}\
b{color:#06607a}small{color:#666}pre{background:#f4f4f4;padding:1em;overflow:auto}";

/// A graph in the language of Graphviz: data flows along its arrows.
pub(super) fn graphviz(graph: &StageGraph, ran: Option<&Ran>) -> String {
    let mut out = String::from(
        "digraph plan {\n  rankdir=BT;\n  node [shape=box, fontname=\"sans-serif\"];\n",
    );
    for (number, stage) in graph.stages().iter().enumerate() {
        // Writing to a string cannot fail.
        let _ = writeln!(out, "  subgraph cluster_{number} {{");
        let label = quoted(&[&head(number, stage, false)]);
        let _ = writeln!(out, "    label={label};");
        let mut next = 0;
        node(&stage.steps.root, number, &mut next, ran, &mut out);
        out.push_str("  }\n");
        for edge in &stage.inputs {
            let from = edge.from.0;
            let _ = writeln!(out, "  s{from}_0 -> s{number}_0;");
        }
    }
    out.push_str("}\n");
    out
}

/// Writes a step and all below it; gives the number of the step.
fn node(step: &Step, stage: usize, next: &mut usize, ran: Option<&Ran>, out: &mut String) -> usize {
    let own = *next;
    *next += 1;
    let word = step.word.to_string();
    let label = quoted(&[&word, &step.detail, &facts(step, false, ran)]);
    let _ = writeln!(out, "    s{stage}_{own} [label={label}];");
    for input in &step.inputs {
        let below = node(input, stage, next, ran, out);
        let _ = writeln!(out, "    s{stage}_{below} -> s{stage}_{own};");
    }
    own
}

/// Lines as a text of Graphviz.
fn quoted(lines: &[&str]) -> String {
    let lines = lines.iter().filter(|line| !line.is_empty());
    let lines = lines.map(|line| line.replace('\\', "\\\\").replace('"', "\\\""));
    format!("\"{}\"", lines.collect::<Vec<_>>().join("\\n"))
}

/// A graph as a page.
pub(super) fn html(graph: &StageGraph, ran: Option<&Ran>) -> String {
    let title = if ran.is_some() {
        "What the query did"
    } else {
        "What the query will do"
    };
    let mut out = format!(
        "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n<title>{title}</title>\n\
         <style>{STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
    );
    for (number, stage) in graph.stages().iter().enumerate() {
        let head = escaped(&head(number, stage, false));
        let _ = write!(out, "<section>\n<h2>{head}</h2>\n<ul>\n");
        item(&stage.steps.root, ran, &mut out);
        out.push_str("</ul>\n</section>\n");
    }
    out.push_str("</body>\n</html>\n");
    out
}

fn item(step: &Step, ran: Option<&Ran>, out: &mut String) {
    let word = escaped(&step.word.to_string());
    let (detail, facts) = (escaped(&step.detail), escaped(&facts(step, false, ran)));
    let line = format!("<b>{word}</b> {detail} <small>{facts}</small>");
    if step.inputs.is_empty() {
        let _ = writeln!(out, "<li>{line}</li>");
        return;
    }
    let _ = write!(out, "<li><details open><summary>{line}</summary>\n<ul>\n");
    for input in &step.inputs {
        item(input, ran, out);
    }
    out.push_str("</ul>\n</details></li>\n");
}

fn escaped(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => safe.push_str("&amp;"),
            '<' => safe.push_str("&lt;"),
            '>' => safe.push_str("&gt;"),
            '"' => safe.push_str("&quot;"),
            c => safe.push(c),
        }
    }
    safe
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_escaped() {
        assert_eq!(escaped("a < \"b\" & c"), "a &lt; &quot;b&quot; &amp; c");
        assert_eq!(quoted(&["a \"b\"", "", "c\\d"]), "\"a \\\"b\\\"\\nc\\\\d\"");
    }
}
