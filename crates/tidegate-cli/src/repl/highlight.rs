//! Colours for the line that is being typed: keywords, texts, numbers, comments, and brackets that
//! have no partner. The coloured text has the same width as the plain one.

use std::borrow::Cow;

use super::lexer::{self, Kind, Token};
use super::{split, words};

/// Longer texts (a large paste) stay plain, so that each key stays quick.
pub(crate) const COLOURED_BYTES_MAX: usize = 32 * 1024;

const KEYWORD: &str = "\x1b[1;36m";
const TEXT: &str = "\x1b[32m";
const NUMBER: &str = "\x1b[33m";
const COMMENT: &str = "\x1b[90m";
const META: &str = "\x1b[35m";
const WRONG: &str = "\x1b[1;31m";
const PLAIN: &str = "\x1b[0m";

/// The text with colours. `before` is what earlier lines of the statement hold: it says whether the
/// text starts inside a quote, and which brackets are open.
pub(crate) fn coloured<'t>(before: &str, text: &'t str) -> Cow<'t, str> {
    if before.len() + text.len() > COLOURED_BYTES_MAX {
        return Cow::Borrowed(text);
    }
    if before.trim().is_empty() && split::is_meta(text.trim_start()) && !text.contains('\n') {
        return Cow::Owned(format!("{META}{text}{PLAIN}"));
    }
    let whole = format!("{before}{text}");
    let tokens = lexer::tokens(&whole);
    let lonely = lonely_brackets(&whole, &tokens);
    let mut out = String::with_capacity(text.len() * 2);
    for (index, token) in tokens.iter().enumerate() {
        let start = token.span.start.max(before.len());
        if token.span.end <= start {
            continue;
        }
        let piece = &whole[start..token.span.end];
        let colour = if lonely.contains(&index) {
            Some(WRONG)
        } else {
            colour(token.kind, token.of(&whole))
        };
        match colour {
            Some(colour) => {
                out.push_str(colour);
                out.push_str(piece);
                out.push_str(PLAIN);
            }
            None => out.push_str(piece),
        }
    }
    Cow::Owned(out)
}

fn colour(kind: Kind, text: &str) -> Option<&'static str> {
    match kind {
        Kind::Word if words::is_keyword(text) => Some(KEYWORD),
        Kind::Text => Some(TEXT),
        Kind::Number | Kind::Parameter => Some(NUMBER),
        Kind::Comment => Some(COMMENT),
        _ => None,
    }
}

/// Closing brackets that close nothing, and opening ones that the statement ends without closing.
fn lonely_brackets(text: &str, tokens: &[Token]) -> Vec<usize> {
    let mut open: Vec<(usize, &str)> = Vec::new();
    let mut lonely = Vec::new();
    for (index, token) in tokens.iter().enumerate() {
        match (token.kind, token.of(text)) {
            (Kind::Open, bracket) => open.push((index, bracket)),
            (Kind::Close, bracket) => match open.last() {
                Some((_, opened)) if pairs(opened, bracket) => {
                    open.pop();
                }
                _ => lonely.push(index),
            },
            (Kind::Semicolon, _) => lonely.extend(open.drain(..).map(|(index, _)| index)),
            _ => {}
        }
    }
    lonely
}

fn pairs(open: &str, close: &str) -> bool {
    matches!((open, close), ("(", ")") | ("[", "]") | ("{", "}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(before: &str, text: &str, expect: &str) {
        let shown = coloured(before, text)
            .replace(KEYWORD, "<k>")
            .replace(TEXT, "<t>")
            .replace(NUMBER, "<n>")
            .replace(COMMENT, "<c>")
            .replace(META, "<m>")
            .replace(WRONG, "<w>")
            .replace(PLAIN, "</>");
        assert_eq!(shown, expect);
    }

    #[test]
    fn each_kind_has_its_colour() {
        check(
            "",
            "select x, 1, 'a' -- b",
            "<k>select</> x, <n>1</>, <t>'a'</> <c>-- b</>",
        );
        check("", ".mode csv", "<m>.mode csv</>");
    }

    #[test]
    fn brackets_without_partner_stand_out() {
        check("", "(a))", "(a)<w>)</>");
        check("", "(a];", "<w>(</>a<w>]</>;");
        check("", "(a", "(a");
    }

    #[test]
    fn a_line_inside_a_quote_of_an_earlier_line_is_text() {
        check("select 'a\n", "b' from", "<t>b'</> <k>from</>");
        check("select (\n", "1)", "<n>1</>)");
    }
}
