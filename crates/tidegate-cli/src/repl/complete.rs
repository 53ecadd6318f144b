//! What can stand at the cursor: keywords, tables, columns of the tables that the statement names,
//! functions, settings after SET, files inside quotes, meta commands and their arguments.

mod names;
mod paths;
mod place;

pub(crate) use names::Names;

use tidegate::Settings;

use super::{meta, words};
use crate::render::Format;
use place::{Place, Quote};

/// Candidates that are offered at most.
const CANDIDATES_MAX: usize = 1000;

/// One thing that can stand at the cursor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Candidate {
    /// What a list shows.
    pub(crate) shown: String,
    /// What is put into the line.
    pub(crate) text: String,
}

impl Candidate {
    fn plain(text: impl Into<String>) -> Self {
        let text = text.into();
        Self {
            shown: text.clone(),
            text,
        }
    }
}

/// Where the completed word starts in the line, and what can stand there. `before` is what earlier
/// lines of the statement hold.
pub(crate) fn complete(
    before: &str,
    line: &str,
    pos: usize,
    names: &Names,
) -> (usize, Vec<Candidate>) {
    let whole = format!("{before}{line}");
    let (start, mut found) = at(&whole, before.len() + pos, names);
    if start < before.len() {
        // The word began on an earlier line, which cannot be changed any more.
        return (pos, vec![]);
    }
    found.truncate(CANDIDATES_MAX);
    (start - before.len(), found)
}

fn at(whole: &str, pos: usize, names: &Names) -> (usize, Vec<Candidate>) {
    let place = place::of(whole, pos);
    let start = place.start();
    let typed = &whole[start..pos];
    let found = match place {
        Place::Command { .. } => commands(typed),
        Place::Argument { command, .. } => argument(command, typed, names),
        Place::File { quote, .. } => paths::complete(typed, quote),
        Place::Setting { .. } => settings(typed, names),
        Place::Value { ref setting, .. } => values(setting, typed),
        Place::Start { .. } => keywords(words::STARTS, typed),
        Place::Table { .. } => tables(typed, names),
        Place::Field { ref table, .. } => columns(&place::resolve(whole, pos, table), typed, names),
        Place::Expression { .. } => expression(whole, pos, typed, names),
        Place::QuotedName { .. } => quoted_names(whole, pos, typed, names),
        Place::Nowhere { .. } => vec![],
    };
    (start, found)
}

fn starts_with(candidate: &str, typed: &str) -> bool {
    candidate.len() >= typed.len()
        && candidate.is_char_boundary(typed.len())
        && candidate[..typed.len()].eq_ignore_ascii_case(typed)
}

fn commands(typed: &str) -> Vec<Candidate> {
    let (mark, bare) = typed.split_at(typed.len().min(1));
    meta::COMMANDS
        .iter()
        .flat_map(|command| match (mark, bare) {
            // The short names are for fingers that know them: not listed, but completed.
            (_, "") => &command.names[..1],
            _ => command.names,
        })
        .filter(|name| starts_with(name, bare))
        .map(|name| Candidate::plain(format!("{mark}{name}")))
        .collect()
}

fn argument(command: &meta::Command, typed: &str, names: &Names) -> Vec<Candidate> {
    let of = |texts: &[&str]| plain_matches(texts.iter().copied(), typed);
    match command.takes {
        meta::Takes::Table => tables_of_command(command, typed, names),
        meta::Takes::File => paths::complete(typed, Quote::None),
        meta::Takes::OnOff if command.verb == meta::Verb::Pager => of(&["auto", "off", "on"]),
        meta::Takes::OnOff => of(&["off", "on"]),
        meta::Takes::Mode => formats(typed),
        meta::Takes::Command => plain_matches(meta::COMMANDS.iter().map(|c| c.names[0]), typed),
        meta::Takes::Nothing | meta::Takes::Text | meta::Takes::Sql => vec![],
    }
}

/// Tables, and where a command opens them, files; functions are not called here.
fn tables_of_command(command: &meta::Command, typed: &str, names: &Names) -> Vec<Candidate> {
    let tables = names
        .tables()
        .iter()
        .filter(|name| starts_with(name, typed));
    let mut found: Vec<_> = tables.map(|name| name_candidate(name)).collect();
    if command.verb == meta::Verb::Schema && !typed.is_empty() {
        found.extend(paths::complete(typed, Quote::None));
    }
    found
}

fn plain_matches<'n>(texts: impl IntoIterator<Item = &'n str>, typed: &str) -> Vec<Candidate> {
    texts
        .into_iter()
        .filter(|text| starts_with(text, typed))
        .map(Candidate::plain)
        .collect()
}

fn formats(typed: &str) -> Vec<Candidate> {
    let mut names = vec!["auto"];
    names.extend(Format::names());
    plain_matches(names, typed)
}

fn settings(typed: &str, names: &Names) -> Vec<Candidate> {
    let prefix = "tidegate.";
    let all = names.settings();
    if starts_with(typed, prefix) {
        let full = all.iter().map(|name| format!("{prefix}{name}"));
        return full
            .filter(|name| starts_with(name, typed))
            .map(Candidate::plain)
            .collect();
    }
    plain_matches(all.iter().copied(), typed)
}

fn values(setting: &str, typed: &str) -> Vec<Candidate> {
    match setting.rsplit('.').next().unwrap_or(setting) {
        "format" => formats(typed),
        name => match Settings::definition(name) {
            Ok(def) => plain_matches(words_of(def.takes), typed),
            Err(_) => vec![],
        },
    }
}

/// The words of `auto, always or never`; none where a setting takes more than words.
fn words_of(takes: &'static str) -> Vec<&'static str> {
    let mut words: Vec<_> = takes
        .split(", ")
        .flat_map(|part| part.split(" or "))
        .collect();
    words.sort_unstable();
    match words.iter().any(|word| word.contains(' ')) {
        true => vec![],
        false => words,
    }
}

/// Keywords in the case of what was typed: lower if all of it is.
fn keywords(table: &[&str], typed: &str) -> Vec<Candidate> {
    let lower = !typed.is_empty() && typed == typed.to_ascii_lowercase();
    table
        .iter()
        .filter(|word| starts_with(word, typed))
        .map(|word| match lower {
            true => Candidate::plain(word.to_ascii_lowercase()),
            false => Candidate::plain(*word),
        })
        .collect()
}

fn tables(typed: &str, names: &Names) -> Vec<Candidate> {
    let mut found: Vec<_> = names
        .tables()
        .iter()
        .filter(|name| starts_with(name, typed))
        .map(|name| name_candidate(name))
        .collect();
    if !typed.is_empty() {
        let functions = names.table_functions().iter();
        let functions = functions.filter(|name| starts_with(name, typed));
        found.extend(functions.map(|name| function_candidate(name)));
    }
    found
}

fn columns(tables: &[String], typed: &str, names: &Names) -> Vec<Candidate> {
    let mut found: Vec<_> = tables
        .iter()
        .flat_map(|table| names.columns(table))
        .filter(|name| starts_with(name, typed))
        .map(|name| name_candidate(&name))
        .collect();
    found.sort();
    found.dedup();
    found
}

fn expression(whole: &str, pos: usize, typed: &str, names: &Names) -> Vec<Candidate> {
    let mut found = columns(&place::tables(whole, pos), typed, names);
    if typed.is_empty() {
        return found;
    }
    let aliases = place::aliases(whole, pos);
    found.extend(plain_matches(aliases.iter().map(String::as_str), typed));
    found.extend(keywords(words::KEYWORDS, typed));
    let functions = names.functions().iter();
    let functions = functions.filter(|name| starts_with(name, typed));
    found.extend(functions.map(|name| function_candidate(name)));
    found.sort();
    found.dedup();
    found
}

fn quoted_names(whole: &str, pos: usize, typed: &str, names: &Names) -> Vec<Candidate> {
    let bare = &typed[1..];
    let of_tables = names.tables().iter().cloned();
    let tables = place::tables(whole, pos);
    let of_columns = tables.iter().flat_map(|table| names.columns(table));
    let mut found: Vec<_> = of_columns
        .chain(of_tables)
        .filter(|name| starts_with(name, bare))
        .map(|name| Candidate {
            text: quoted(&name),
            shown: name,
        })
        .collect();
    found.sort();
    found.dedup();
    found
}

fn function_candidate(name: &str) -> Candidate {
    Candidate {
        shown: format!("{name}()"),
        text: format!("{name}("),
    }
}

/// A name as SQL must have it to mean exactly that.
fn name_candidate(name: &str) -> Candidate {
    let simple = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    let bare = name.chars().all(simple)
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && !words::is_keyword(name)
        && !name.is_empty();
    Candidate {
        shown: name.into(),
        text: if bare { name.into() } else { quoted(name) },
    }
}

fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests;
