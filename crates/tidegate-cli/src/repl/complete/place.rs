//! What kind of thing stands at the cursor, told from the tokens before it alone: a statement that
//! is being typed does not parse.

use std::ops::Range;

use crate::repl::lexer::{self, Kind, Token};
use crate::repl::{meta, split};

/// Which quote a file stands in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Quote {
    /// None: the argument of a meta command.
    None,
    /// The single quotes of a text.
    Single,
}

/// What stands at the cursor; `start` is where the word begins that would be replaced.
#[derive(Debug)]
pub(super) enum Place {
    /// The name of a meta command.
    Command { start: usize },
    /// Its argument.
    Argument {
        start: usize,
        command: &'static meta::Command,
    },
    /// The first word of a statement.
    Start { start: usize },
    /// A table.
    Table { start: usize },
    /// A column after `table.`.
    Field { start: usize, table: String },
    /// Something with a value.
    Expression { start: usize },
    /// A name after an opening `"`.
    QuotedName { start: usize },
    /// A file after an opening `'`.
    File { start: usize, quote: Quote },
    /// A setting after SET.
    Setting { start: usize },
    /// The value of a setting.
    Value { start: usize, setting: String },
    /// Where nothing can be known: in a comment, after a closed quote.
    Nowhere { start: usize },
}

impl Place {
    pub(super) fn start(&self) -> usize {
        match *self {
            Place::Command { start }
            | Place::Argument { start, .. }
            | Place::Start { start }
            | Place::Table { start }
            | Place::Field { start, .. }
            | Place::Expression { start }
            | Place::QuotedName { start }
            | Place::File { start, .. }
            | Place::Setting { start }
            | Place::Value { start, .. }
            | Place::Nowhere { start } => start,
        }
    }
}

/// The place of the cursor at `pos`.
pub(super) fn of(text: &str, pos: usize) -> Place {
    let begin = statement(text, pos).start;
    let typed = &text[begin..pos];
    let blank = typed.len() - typed.trim_start().len();
    if split::is_meta(&typed[blank..]) || matches!(typed.trim_start(), "." | "\\") {
        return in_command(text, begin + blank, pos);
    }
    let tokens = lexer::tokens(typed);
    let Some(last) = tokens.last() else {
        return Place::Start { start: pos };
    };
    let start = begin + last.span.start;
    match (last.kind, last.closed) {
        (Kind::Text, false) if typed[last.span.start..].starts_with('\'') => Place::File {
            start: start + 1,
            quote: Quote::Single,
        },
        (Kind::QuotedName, false) => Place::QuotedName { start },
        (Kind::Text | Kind::QuotedName | Kind::Number | Kind::Parameter, _)
        | (Kind::Comment, _) => Place::Nowhere { start: pos },
        (Kind::Word, _) => word(typed, &tokens[..tokens.len() - 1], begin, start),
        _ => word(typed, &tokens, begin, pos),
    }
}

fn in_command(text: &str, begin: usize, pos: usize) -> Place {
    let typed = &text[begin..pos];
    let Some(end) = typed.find(char::is_whitespace) else {
        return Place::Command { start: begin };
    };
    let word = typed.rfind(char::is_whitespace).map_or(0, |at| at + 1);
    match meta::find(&typed[1..end]) {
        Some(command) if command.takes == meta::Takes::Sql => {
            let rest = begin + end;
            shifted(of(&text[rest..], pos - rest), rest)
        }
        Some(command) => Place::Argument {
            start: begin + word,
            command,
        },
        None => Place::Nowhere { start: pos },
    }
}

fn shifted(mut place: Place, by: usize) -> Place {
    match &mut place {
        Place::Command { start }
        | Place::Argument { start, .. }
        | Place::Start { start }
        | Place::Table { start }
        | Place::Field { start, .. }
        | Place::Expression { start }
        | Place::QuotedName { start }
        | Place::File { start, .. }
        | Place::Setting { start }
        | Place::Value { start, .. }
        | Place::Nowhere { start } => *start += by,
    }
    place
}

/// The place of a word that starts at `start`, from the tokens before it; `begin` is where the
/// statement starts.
fn word(typed: &str, before: &[Token], begin: usize, start: usize) -> Place {
    let solid: Vec<&Token> = before.iter().filter(|t| !t.is_blank()).collect();
    let upper: Vec<String> = solid
        .iter()
        .map(|t| t.of(typed).to_ascii_uppercase())
        .collect();
    let last = |back: usize| upper.len().checked_sub(back).map(|at| upper[at].as_str());
    match upper.first().map(String::as_str) {
        None => return Place::Start { start },
        Some("SET" | "RESET" | "SHOW") => {
            if let Some(place) = of_setting(typed, &solid, &upper, begin, start) {
                return place;
            }
        }
        _ => {}
    }
    match last(1) {
        Some(".") => Place::Field {
            start,
            table: solid
                .get(solid.len().wrapping_sub(2))
                .map_or(String::new(), |owner| unquoted(owner.of(typed))),
        },
        Some("FROM" | "JOIN" | "INTO" | "TABLE" | "DESCRIBE" | "SUMMARIZE" | "VIEW") => {
            Place::Table { start }
        }
        Some(",") if in_from_list(&upper) => Place::Table { start },
        Some("EXPLAIN" | "ANALYZE" | "VERBOSE") => Place::Start { start },
        _ => Place::Expression { start },
    }
}

/// The place in `SET name = value`, where the name may have its prefix.
fn of_setting(
    typed: &str,
    solid: &[&Token],
    upper: &[String],
    begin: usize,
    start: usize,
) -> Option<Place> {
    let sign = upper.iter().position(|word| word == "=" || word == "TO");
    match (upper.len(), sign) {
        (1, _) => Some(Place::Setting { start }),
        (_, None) if upper.last().is_some_and(|word| word == ".") => Some(Place::Setting {
            start: begin + solid[1].span.start,
        }),
        (_, Some(sign)) if sign >= 2 && sign + 1 == upper.len() => Some(Place::Value {
            start,
            setting: unquoted(solid[sign - 1].of(typed)).to_ascii_lowercase(),
        }),
        _ => Some(Place::Nowhere { start }),
    }
}

/// Whether a comma at the end separates tables: the last clause that was opened is FROM.
fn in_from_list(upper: &[String]) -> bool {
    let mut depth = 0i32;
    for word in upper.iter().rev() {
        match word.as_str() {
            ")" => depth += 1,
            "(" if depth == 0 => return false,
            "(" => depth -= 1,
            "FROM" if depth == 0 => return true,
            "SELECT" | "WHERE" | "GROUP" | "ORDER" | "ON" | "BY" | "HAVING" | "LIMIT" | "SET"
                if depth == 0 =>
            {
                return false;
            }
            _ => {}
        }
    }
    false
}

/// The bytes of the statement around a place.
fn statement(text: &str, pos: usize) -> Range<usize> {
    let mut start = 0;
    for token in lexer::tokens(text) {
        if token.kind != Kind::Semicolon {
            continue;
        }
        if token.span.end > pos {
            return start..token.span.start;
        }
        start = token.span.end;
    }
    start..text.len()
}

struct Named {
    /// A table's name, or a path.
    table: String,
    alias: Option<String>,
}

/// The tables that the statement around a place names, also after the cursor.
fn named(text: &str, pos: usize) -> Vec<Named> {
    let range = statement(text, pos);
    let cursor = pos - range.start;
    let text = &text[range];
    // What follows the cursor is read by itself: a quote that is open at the cursor is about to be
    // closed there.
    let after = lexer::tokens(&text[cursor..]).into_iter();
    let after = after.map(|token| Token {
        span: token.span.start + cursor..token.span.end + cursor,
        ..token
    });
    let before = lexer::tokens(&text[..cursor]).into_iter();
    let tokens: Vec<Token> = before.chain(after).filter(|t| !t.is_blank()).collect();
    let word = |at: usize| tokens.get(at).map_or("", |t| t.of(text));
    let is = |at: usize, what: &str| word(at).eq_ignore_ascii_case(what);
    let mut found = Vec::new();
    for at in 0..tokens.len() {
        let opens = ["FROM", "JOIN", "INTO", "DESCRIBE", "SUMMARIZE", "UPDATE"];
        if !opens.iter().any(|open| is(at, open)) {
            continue;
        }
        let mut next = at + 1;
        while let Some((table, after)) = table_at(text, &tokens, next) {
            next = after;
            if is(next, "AS") {
                next += 1;
            }
            let alias = tokens.get(next).filter(|t| is_name(t, text));
            next += usize::from(alias.is_some());
            found.push(Named {
                table,
                alias: alias.map(|t| unquoted(t.of(text))),
            });
            if word(next) != "," {
                break;
            }
            next += 1;
        }
    }
    found
}

fn is_name(token: &Token, text: &str) -> bool {
    match token.kind {
        Kind::Word => !crate::repl::words::is_keyword(token.of(text)),
        Kind::QuotedName => token.closed,
        _ => false,
    }
}

/// The table at a token, and the token after it: a name, a path in quotes, or `read_x('path'…)`.
fn table_at(text: &str, tokens: &[Token], at: usize) -> Option<(String, usize)> {
    let token = tokens.get(at)?;
    if token.kind == Kind::Text && token.closed {
        return Some((unquoted(token.of(text)), at + 1));
    }
    if !is_name(token, text) {
        return None;
    }
    let follows = |kind: Kind, at: usize| tokens.get(at).filter(|t| t.kind == kind);
    if follows(Kind::Open, at + 1).is_some() {
        let path = follows(Kind::Text, at + 2)?;
        let close = tokens[at..].iter().position(|t| t.kind == Kind::Close);
        let after = close.map_or(tokens.len(), |close| at + close + 1);
        return Some((unquoted(path.of(text)), after));
    }
    let mut name = unquoted(token.of(text));
    let mut next = at + 1;
    while tokens.get(next).is_some_and(|t| t.of(text) == ".") {
        let part = tokens.get(next + 1).filter(|t| is_name(t, text))?;
        name = format!("{name}.{}", unquoted(part.of(text)));
        next += 2;
    }
    Some((name, next))
}

/// The tables and paths that the statement names.
pub(super) fn tables(text: &str, pos: usize) -> Vec<String> {
    named(text, pos).into_iter().map(|n| n.table).collect()
}

/// The aliases that the statement gives.
pub(super) fn aliases(text: &str, pos: usize) -> Vec<String> {
    named(text, pos)
        .into_iter()
        .filter_map(|n| n.alias)
        .collect()
}

/// The table that `name.` means: what carries it as an alias, or else itself.
pub(super) fn resolve(text: &str, pos: usize, name: &str) -> Vec<String> {
    let found = named(text, pos).into_iter().find(|n| {
        n.alias
            .as_deref()
            .is_some_and(|a| a.eq_ignore_ascii_case(name))
    });
    vec![found.map_or(name.to_string(), |n| n.table)]
}

fn unquoted(text: &str) -> String {
    let inner = |quote: char| {
        let inner = text.strip_prefix(quote)?.strip_suffix(quote)?;
        Some(inner.replace(&format!("{quote}{quote}"), &quote.to_string()))
    };
    inner('\'')
        .or_else(|| inner('"'))
        .or_else(|| inner('`'))
        .unwrap_or_else(|| text.to_string())
}
