//! A forgiving SQL tokenizer for the editor: it never fails, keeps every byte, and tells an open
//! quote or comment from a closed one. The engine parses again; this one only has to agree with it
//! on where quotes, comments and statements end.

use std::ops::Range;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Spaces and line ends.
    Space,
    /// `-- …` to the end of the line, or `/* … */`, which nests.
    Comment,
    /// A name or a keyword, not quoted.
    Word,
    /// `"name"` or `` `name` ``.
    QuotedName,
    /// `'text'`, `E'text'` or `$tag$text$tag$`.
    Text,
    /// A number.
    Number,
    /// `$name` or `$1`.
    Parameter,
    /// `(`, `[` or `{`.
    Open,
    /// `)`, `]` or `}`.
    Close,
    /// `;`.
    Semicolon,
    /// Any other character.
    Other,
}

/// A token and where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    /// What it is.
    pub(crate) kind: Kind,
    /// Its bytes in the text.
    pub(crate) span: Range<usize>,
    /// Whether its closing quote or `*/` is there; true for what needs none.
    pub(crate) closed: bool,
}

impl Token {
    /// Whether the engine sees it at all.
    pub(crate) fn is_blank(&self) -> bool {
        matches!(self.kind, Kind::Space | Kind::Comment)
    }

    /// Its text.
    pub(crate) fn of<'t>(&self, text: &'t str) -> &'t str {
        &text[self.span.clone()]
    }
}

/// The tokens of a text; their spans follow on without a gap.
pub(crate) fn tokens(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < text.len() {
        let token = next(text, at);
        at = token.span.end;
        tokens.push(token);
    }
    tokens
}

/// The token that starts at a byte. `at` is a character boundary before the end.
pub(crate) fn next(text: &str, at: usize) -> Token {
    let rest = &text[at..];
    let bytes = rest.as_bytes();
    let first = rest.chars().next().unwrap_or(' ');
    let (kind, length, closed) = match first {
        c if c.is_whitespace() => (Kind::Space, run(rest, char::is_whitespace), true),
        '-' if bytes.get(1) == Some(&b'-') => (Kind::Comment, run(rest, |c| c != '\n'), true),
        '/' if bytes.get(1) == Some(&b'*') => {
            let (length, closed) = block_comment(bytes);
            (Kind::Comment, length, closed)
        }
        'e' | 'E' if bytes.get(1) == Some(&b'\'') => {
            let (length, closed) = quoted(&bytes[1..], b'\'', Escapes::Backslash);
            (Kind::Text, length + 1, closed)
        }
        '\'' => quoted_as(Kind::Text, bytes, b'\''),
        '"' => quoted_as(Kind::QuotedName, bytes, b'"'),
        '`' => quoted_as(Kind::QuotedName, bytes, b'`'),
        '$' => dollar(rest),
        c if c.is_ascii_digit() => (Kind::Number, number(bytes), true),
        '.' if bytes.get(1).is_some_and(u8::is_ascii_digit) => (Kind::Number, number(bytes), true),
        c if is_word(c) => (Kind::Word, run(rest, |c| is_word(c) || c == '$'), true),
        '(' | '[' | '{' => (Kind::Open, 1, true),
        ')' | ']' | '}' => (Kind::Close, 1, true),
        ';' => (Kind::Semicolon, 1, true),
        c => (Kind::Other, c.len_utf8(), true),
    };
    Token {
        kind,
        span: at..at + length,
        closed,
    }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || !c.is_ascii()
}

fn run(text: &str, belongs: impl Fn(char) -> bool) -> usize {
    text.find(|c| !belongs(c)).unwrap_or(text.len())
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Escapes {
    Doubled,
    Backslash,
}

fn quoted_as(kind: Kind, bytes: &[u8], quote: u8) -> (Kind, usize, bool) {
    let (length, closed) = quoted(bytes, quote, Escapes::Doubled);
    (kind, length, closed)
}

/// The length of a quoted piece that starts with its quote, and whether it is closed.
fn quoted(bytes: &[u8], quote: u8, escapes: Escapes) -> (usize, bool) {
    let mut at = 1;
    while at < bytes.len() {
        if bytes[at] == b'\\' && escapes == Escapes::Backslash {
            at += 2;
        } else if bytes[at] != quote {
            at += 1;
        } else if bytes.get(at + 1) == Some(&quote) {
            at += 2;
        } else {
            return (at + 1, true);
        }
    }
    (bytes.len(), false)
}

fn block_comment(bytes: &[u8]) -> (usize, bool) {
    let mut depth = 0usize;
    let mut at = 0;
    while at < bytes.len() {
        match bytes.get(at..at + 2) {
            Some(b"/*") => {
                depth += 1;
                at += 2;
            }
            Some(b"*/") => {
                depth -= 1;
                at += 2;
                if depth == 0 {
                    return (at, true);
                }
            }
            _ => at += 1,
        }
    }
    (bytes.len(), false)
}

/// `$tag$ … $tag$`, `$name`, or a lone dollar.
fn dollar(rest: &str) -> (Kind, usize, bool) {
    let name = run(&rest[1..], is_word);
    let is_tag = !rest[1..].starts_with(|c: char| c.is_ascii_digit());
    if is_tag && rest[1 + name..].starts_with('$') {
        let tag = &rest[..name + 2];
        return match rest[tag.len()..].find(tag) {
            Some(end) => (Kind::Text, end + 2 * tag.len(), true),
            None => (Kind::Text, rest.len(), false),
        };
    }
    match name {
        0 => (Kind::Other, 1, true),
        _ => (Kind::Parameter, 1 + name, true),
    }
}

fn number(bytes: &[u8]) -> usize {
    let mut at = 0;
    while at < bytes.len() {
        let exponent_sign = matches!(bytes[at], b'+' | b'-')
            && matches!(bytes[at - 1], b'e' | b'E')
            && !bytes.starts_with(b"0x");
        if !(bytes[at].is_ascii_alphanumeric() || matches!(bytes[at], b'.' | b'_') || exponent_sign)
        {
            break;
        }
        at += 1;
    }
    at
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(text: &str, expect: &[(Kind, &str)]) {
        let tokens = tokens(text);
        let found: Vec<_> = tokens
            .iter()
            .filter(|t| t.kind != Kind::Space)
            .map(|t| (t.kind, t.of(text)))
            .collect();
        assert_eq!(found, expect, "{text}");
        let whole: String = tokens.iter().map(|t| t.of(text)).collect();
        assert_eq!(whole, text, "no byte is lost");
    }

    #[test]
    fn words_numbers_and_signs_are_told_apart() {
        use Kind::*;
        check(
            "SELECT a1, 1_000.5e-3 + .5;",
            &[
                (Word, "SELECT"),
                (Word, "a1"),
                (Other, ","),
                (Number, "1_000.5e-3"),
                (Other, "+"),
                (Number, ".5"),
                (Semicolon, ";"),
            ],
        );
        check("größe a$$b", &[(Word, "größe"), (Word, "a$$b")]);
    }

    #[test]
    fn a_semicolon_in_quotes_or_comments_is_no_end() {
        use Kind::*;
        check("'a;''b'", &[(Text, "'a;''b'")]);
        check("\"a;\"\"b\"", &[(QuotedName, "\"a;\"\"b\"")]);
        check("$$a;'b$$", &[(Text, "$$a;'b$$")]);
        check(
            "$t$ $$;$x$ $t$;",
            &[(Text, "$t$ $$;$x$ $t$"), (Semicolon, ";")],
        );
        check("-- a;'\n1", &[(Comment, "-- a;'"), (Number, "1")]);
        check("/* a; /* b */ ; */", &[(Comment, "/* a; /* b */ ; */")]);
        check(r"E'it\'s;'", &[(Text, r"E'it\'s;'")]);
    }

    #[test]
    fn parameters_are_not_dollar_quotes() {
        use Kind::*;
        check(
            "$1 $name $",
            &[(Parameter, "$1"), (Parameter, "$name"), (Other, "$")],
        );
    }

    #[test]
    fn what_is_left_open_says_so() {
        for text in ["'a", "\"a", "`a", "$$a", "$x$a$$", "/* a /* b */", r"E'a\'"] {
            let last = tokens(text).pop().unwrap();
            assert!(!last.closed, "{text}");
            assert_eq!(last.span.end, text.len());
        }
    }

    #[test]
    fn any_text_at_all_is_cut_without_a_gap() {
        for text in [
            "\\", "é'ü", "1é", "$é$ü", "e'", "E'\\", "/*", "*/", "--", "\u{0}", "0x1+2",
        ] {
            let whole: String = tokens(text).iter().map(|t| t.of(text)).collect();
            assert_eq!(whole, text);
        }
    }
}
