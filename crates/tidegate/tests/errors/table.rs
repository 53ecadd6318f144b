//! The text of the golden table: `## group: options`, `# words`, `! setup`, `> mistake`, its
//! further lines after `. `, and under it the answer. `{300*(}` in a mistake stands for 300 parentheses.

use std::path::{Path, PathBuf};

use tidegate::Error;

/// Mistakes that share a session.
pub(crate) struct Group {
    heading: String,
    /// What the session is built with.
    pub(crate) options: Vec<(String, Option<String>)>,
    pub(crate) steps: Vec<Step>,
}

pub(crate) enum Step {
    Comment(String),
    /// A statement that must work.
    Setup(String),
    Case(Case),
}

/// A mistake and its answer.
pub(crate) struct Case {
    pub(crate) sql: String,
    pub(crate) answer: String,
}

fn directory() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/errors")
}

/// The files of the table whose name contains a text.
pub(crate) fn files(only: &str) -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = std::fs::read_dir(directory())
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|e| e == "txt"))
        .filter(|path| path.file_name().unwrap().to_string_lossy().contains(only))
        .collect();
    found.sort();
    found
}

/// The groups of a file.
pub(crate) fn read(file: &Path) -> Vec<Group> {
    let text = std::fs::read_to_string(file).unwrap();
    let mut groups: Vec<Group> = Vec::new();
    for line in text.lines() {
        if let Some(heading) = line.strip_prefix("## ") {
            groups.push(Group {
                heading: heading.to_string(),
                options: options(heading),
                steps: Vec::new(),
            });
            continue;
        }
        if line.is_empty() {
            continue;
        }
        let steps = &mut groups.last_mut().expect("a group comes first").steps;
        match (line.split_at(2.min(line.len())), steps.last_mut()) {
            (("# ", words), _) => steps.push(Step::Comment(words.to_string())),
            (("! ", sql), _) => steps.push(Step::Setup(sql.to_string())),
            (("> ", sql), _) => steps.push(Step::Case(Case {
                sql: sql.to_string(),
                answer: String::new(),
            })),
            ((". ", sql), Some(Step::Case(case))) => {
                case.sql.push('\n');
                case.sql.push_str(sql);
            }
            (("  ", _), Some(Step::Case(case))) => {
                if !case.answer.is_empty() {
                    case.answer.push('\n');
                }
                case.answer.push_str(line);
            }
            _ => panic!("{}: cannot read the line {line:?}", file.display()),
        }
    }
    groups
}

/// `name: a, b = c`.
fn options(heading: &str) -> Vec<(String, Option<String>)> {
    let Some((_, list)) = heading.split_once(':') else {
        return Vec::new();
    };
    list.split(',')
        .map(|option| match option.split_once('=') {
            Some((name, value)) => (name.trim().to_string(), Some(value.trim().to_string())),
            None => (option.trim().to_string(), None),
        })
        .collect()
}

/// Puts the groups back, with the answers they have now.
pub(crate) fn write(file: &Path, groups: &[Group]) {
    let mut out = String::new();
    for group in groups {
        let gap = if out.is_empty() { "" } else { "\n" };
        out.push_str(&format!("{gap}## {}\n", group.heading));
        for step in &group.steps {
            match step {
                Step::Comment(words) => out.push_str(&format!("\n# {words}\n")),
                Step::Setup(sql) => out.push_str(&format!("\n! {sql}\n")),
                Step::Case(case) => {
                    let sql = case.sql.replace('\n', "\n. ");
                    out.push_str(&format!("\n> {sql}\n{}\n", case.answer));
                }
            }
        }
    }
    std::fs::write(file, out).unwrap();
}

/// `{3*(}` as `(((`.
pub(crate) fn expand(sql: &str) -> String {
    let mut out = String::new();
    let mut rest = sql;
    while let Some((before, after)) = rest.split_once('{') {
        out.push_str(before);
        let repeat = after.split_once('}').and_then(|(inside, tail)| {
            let (count, what) = inside.split_once('*')?;
            Some((count.parse::<usize>().ok()?, what, tail))
        });
        match repeat {
            Some((count, what, tail)) => {
                out.push_str(&what.repeat(count));
                rest = tail;
            }
            None => {
                out.push('{');
                rest = after;
            }
        }
    }
    out + rest
}

/// An error as the table holds it: kind and code, the place, the line, what to do next.
pub(crate) fn show(error: &Error, sql: &str, top: &str) -> String {
    let mut lines = vec![format!("  {:?} {}", error.kind, error.code)];
    if let Some(span) = &error.span {
        lines.push(format!("  at    {}", place(sql, span)));
    }
    lines.push(format!("  error {}", error.message));
    if let Some(hint) = &error.hint {
        lines.push(format!("  help  {hint}"));
    }
    lines.join("\n").replace(top, "$TOP")
}

/// `line:column` and the text that is underlined.
fn place(sql: &str, span: &std::ops::Range<usize>) -> String {
    const SHOWN_MAX: usize = 60;
    assert!(
        span.start <= span.end && sql.get(span.clone()).is_some(),
        "the place {span:?} is not inside the text"
    );
    let before = &sql[..span.start];
    let line = before.matches('\n').count() + 1;
    let column = before
        .rsplit('\n')
        .next()
        .unwrap_or_default()
        .chars()
        .count()
        + 1;
    let marked = sql[span.clone()].replace('\n', " ");
    let shown: String = marked.chars().take(SHOWN_MAX).collect();
    let cut = if shown == marked { "" } else { "…" };
    format!("{line}:{column} {shown}{cut}")
}
