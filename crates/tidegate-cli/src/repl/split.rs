//! Cuts what was typed or pasted into statements and meta commands. A statement ends at its `;`, a
//! meta command at the end of its line; what is left over is not complete yet.

use super::lexer::{self, Kind};

/// One thing to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Piece<'t> {
    /// A line such as `.tables` or `\dt`, without the end of the line, and where it starts.
    Meta(usize, &'t str),
    /// A statement with its `;`, and where it starts.
    Sql(usize, &'t str),
}

/// What a text holds.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Split<'t> {
    /// What is complete, in order.
    pub(crate) pieces: Vec<Piece<'t>>,
    /// The bytes that are dealt with; what follows is a statement without its end.
    pub(crate) used: usize,
}

/// Cuts a text.
pub(crate) fn split(text: &str) -> Split<'_> {
    let mut pieces = Vec::new();
    let mut used = 0;
    loop {
        let start = used + leading_blank(&text[used..]);
        if start == text.len() {
            return Split {
                pieces,
                used: start,
            };
        }
        let rest = &text[start..];
        if is_meta(rest) {
            let line = rest.lines().next().unwrap_or(rest);
            pieces.push(Piece::Meta(start, line.trim_end()));
            used = start + line.len();
            continue;
        }
        let Some(length) = statement(rest) else {
            return Split { pieces, used };
        };
        if length > 1 {
            pieces.push(Piece::Sql(start, &rest[..length]));
        }
        used = start + length;
    }
}

/// Whether a text that starts a statement is a meta command instead.
pub(crate) fn is_meta(text: &str) -> bool {
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some('.'), Some(c)) => c.is_ascii_alphabetic() || c == '?',
        (Some('\\'), _) => true,
        _ => false,
    }
}

/// The length of spaces and closed comments at the start. An open comment counts as text.
fn leading_blank(text: &str) -> usize {
    let mut at = 0;
    while at < text.len() {
        let token = lexer::next(text, at);
        if !token.is_blank() || !token.closed {
            break;
        }
        at = token.span.end;
    }
    at
}

/// The length of the first statement up to and with its `;`.
fn statement(text: &str) -> Option<usize> {
    let mut at = 0;
    while at < text.len() {
        let token = lexer::next(text, at);
        at = token.span.end;
        if token.kind == Kind::Semicolon {
            return Some(at);
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    use What::*;

    #[derive(Debug, PartialEq)]
    enum What<'t> {
        Meta(&'t str),
        Sql(&'t str),
    }

    fn check(text: &str, pieces: &[What<'_>], left: &str) {
        let split = split(text);
        let what = |piece: &Piece<'_>| match *piece {
            Piece::Meta(at, line) => {
                assert!(text[at..].starts_with(line));
                Meta(&text[at..at + line.len()])
            }
            Piece::Sql(at, sql) => Sql(&text[at..at + sql.len()]),
        };
        let found: Vec<What<'_>> = split.pieces.iter().map(what).collect();
        assert_eq!(found, pieces, "{text}");
        assert_eq!(&text[split.used..], left, "{text}");
    }

    #[test]
    fn a_statement_is_complete_at_its_semicolon() {
        check("select 1;", &[Sql("select 1;")], "");
        check("select 1", &[], "select 1");
        check("select ';", &[], "select ';");
        check("select 1; select 2", &[Sql("select 1;")], " select 2");
        check(";;", &[], "");
    }

    #[test]
    fn a_comment_after_the_semicolon_still_submits() {
        check("select 1; -- one", &[Sql("select 1;")], "");
        check("select 1; /* one */", &[Sql("select 1;")], "");
        check("select 1 -- one;", &[], "select 1 -- one;");
        check("-- only a comment", &[], "");
        check("/* open", &[], "/* open");
    }

    #[test]
    fn meta_commands_end_with_their_line() {
        check(
            ".mode csv\nselect 1;\n\\dt\nselect\n2;",
            &[
                Meta(".mode csv"),
                Sql("select 1;"),
                Meta("\\dt"),
                Sql("select\n2;"),
            ],
            "",
        );
        check("\\?", &[Meta("\\?")], "");
        check("select\n.5;", &[Sql("select\n.5;")], "");
        check(".read 'a;b'  ", &[Meta(".read 'a;b'")], "");
    }
}
