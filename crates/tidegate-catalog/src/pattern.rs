//! Glob patterns: `*`, `?`, `[a-z]`, `[!a]`, `{a,b}` and `**`. Parsed into one part per path component,
//! so that a listing walks the tree once and never descends where nothing can match.

use crate::error::{Error, Kind, Result};

/// How many patterns the braces of one glob may expand to.
const BRACES_MAX: usize = 1_024;

/// One component of a path pattern.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// This name.
    Name(String),
    /// Every name the wildcard matches.
    Wild(Vec<Token>),
    /// `**`: any number of directories, none included.
    Any,
}

/// One element of a wildcard component.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Token {
    Char(char),
    One,
    Many,
    Class {
        negated: bool,
        ranges: Vec<(char, char)>,
    },
}

/// Whether the text holds a character that makes it a pattern.
pub(crate) fn is_pattern(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The patterns of a glob, one for each choice of its braces. A leading `/` is not part of any component.
pub(crate) fn parse(glob: &str) -> Result<Vec<Vec<Part>>> {
    expand_braces(glob)?
        .iter()
        .map(|text| parse_one(text, glob))
        .collect()
}

impl Part {
    /// Whether an entry of this name matches. Names that start with `.` or `_` match a wildcard only
    /// when it spells that first character out; `_key=value` is a partition directory and not hidden.
    pub(crate) fn matches(&self, name: &str) -> bool {
        match self {
            Part::Name(own) => own == name,
            Part::Any => !is_hidden(name),
            Part::Wild(tokens) => {
                let spelled = matches!(tokens.first(), Some(Token::Char('.' | '_')));
                (spelled || !is_hidden(name)) && matches(tokens, &name.chars().collect::<Vec<_>>())
            }
        }
    }
}

/// Whether the components of a path match the parts, each directory at most once.
pub(crate) fn matches_path(parts: &[Part], names: &[&str]) -> bool {
    // The parts that may match the next name.
    let mut next = vec![false; parts.len() + 1];
    let activate = |next: &mut Vec<bool>, at: usize| {
        next[at] = true;
        if parts.get(at) == Some(&Part::Any) {
            next[at + 1] = true;
        }
    };
    activate(&mut next, 0);
    for (depth, name) in names.iter().enumerate() {
        let last = depth + 1 == names.len();
        let mut after = vec![false; parts.len() + 1];
        for (at, part) in parts.iter().enumerate() {
            if !next[at] || !part.matches(name) {
                continue;
            }
            if last && at + 1 == parts.len() {
                return true;
            }
            activate(&mut after, if *part == Part::Any { at } else { at + 1 });
        }
        next = after;
    }
    false
}

/// Names a listing skips: `.*` and `_*`, but for partition directories such as `_year=2026`.
pub(crate) fn is_hidden(name: &str) -> bool {
    name.starts_with('.') || (name.starts_with('_') && !name.contains('='))
}

fn parse_one(text: &str, glob: &str) -> Result<Vec<Part>> {
    let mut parts = Vec::new();
    for component in text
        .split('/')
        .filter(|component| !component.is_empty() && *component != ".")
    {
        let part = match component {
            ".." if parts.iter().any(|part| !matches!(part, Part::Name(_))) => {
                return Err(Error::new(
                    Kind::Invalid,
                    format!("`..` after a wildcard in `{glob}` is not supported"),
                ));
            }
            "**" if parts.last() == Some(&Part::Any) => continue,
            "**" => Part::Any,
            _ if is_pattern(component) => Part::Wild(tokens(component, glob)?),
            _ => Part::Name(component.to_owned()),
        };
        parts.push(part);
    }
    Ok(parts)
}

fn tokens(component: &str, glob: &str) -> Result<Vec<Token>> {
    let chars: Vec<char> = component.chars().collect();
    let mut tokens = Vec::new();
    let mut at = 0;
    while at < chars.len() {
        match chars[at] {
            '*' if tokens.last() == Some(&Token::Many) => {}
            '*' => tokens.push(Token::Many),
            '?' => tokens.push(Token::One),
            '[' => {
                let (class, end) = class(&chars, at).ok_or_else(|| {
                    Error::new(
                        Kind::Invalid,
                        format!("the pattern `{glob}` has a `[` without its `]`"),
                    )
                    .hint("write `[[]` for the character itself")
                })?;
                tokens.push(class);
                at = end;
            }
            other => tokens.push(Token::Char(other)),
        }
        at += 1;
    }
    Ok(tokens)
}

/// The class that opens at `chars[open]`, and where it closes. A `]` directly after the opening is itself.
fn class(chars: &[char], open: usize) -> Option<(Token, usize)> {
    let negated = matches!(chars.get(open + 1), Some('!' | '^'));
    let first = open + 1 + usize::from(negated);
    let close = first + 1 + chars.get(first + 1..)?.iter().position(|c| *c == ']')?;
    let body = &chars[first..close];
    let mut ranges = Vec::new();
    let mut at = 0;
    while at < body.len() {
        if body.get(at + 1) == Some(&'-') && at + 2 < body.len() {
            ranges.push((body[at], body[at + 2]));
            at += 3;
        } else {
            ranges.push((body[at], body[at]));
            at += 1;
        }
    }
    Some((Token::Class { negated, ranges }, close))
}

/// Linear in practice: on a mismatch only the last `*` is tried again one character further on.
fn matches(tokens: &[Token], name: &[char]) -> bool {
    let (mut t, mut n) = (0, 0);
    let mut retry: Option<(usize, usize)> = None;
    loop {
        match tokens.get(t) {
            Some(Token::Many) => {
                retry = Some((t + 1, n));
                t += 1;
                continue;
            }
            Some(token) if n < name.len() && token.accepts(name[n]) => {
                t += 1;
                n += 1;
                continue;
            }
            None if n == name.len() => return true,
            _ => {}
        }
        match retry {
            Some((after, from)) if from < name.len() => {
                retry = Some((after, from + 1));
                (t, n) = (after, from + 1);
            }
            _ => return false,
        }
    }
}

impl Token {
    fn accepts(&self, c: char) -> bool {
        match self {
            Token::Char(own) => *own == c,
            Token::One | Token::Many => true,
            Token::Class { negated, ranges } => {
                ranges.iter().any(|(low, high)| (*low..=*high).contains(&c)) != *negated
            }
        }
    }
}

/// `a{b,c}d` gives `abd` and `acd`; braces nest, and a brace without its partner is itself.
fn expand_braces(text: &str) -> Result<Vec<String>> {
    let mut done = Vec::new();
    let mut work = vec![text.to_owned()];
    while let Some(text) = work.pop() {
        match split_braces(&text) {
            None => done.push(text),
            Some((before, choices, after)) => {
                work.extend(
                    choices
                        .iter()
                        .rev()
                        .map(|choice| format!("{before}{choice}{after}")),
                );
            }
        }
        if done.len() + work.len() > BRACES_MAX {
            return Err(Error::new(
                Kind::Limit,
                format!("the pattern has more than {BRACES_MAX} choices in braces"),
            ));
        }
    }
    Ok(done)
}

fn split_braces(text: &str) -> Option<(&str, Vec<&str>, &str)> {
    let mut from = 0;
    while let Some(found) = text[from..].find('{') {
        let open = from + found;
        if let Some((choices, close)) = choices(text, open) {
            return Some((&text[..open], choices, &text[close + 1..]));
        }
        from = open + 1;
    }
    None
}

/// The choices of the brace at `open` and where it closes; nothing if it does not close or has no comma.
fn choices(text: &str, open: usize) -> Option<(Vec<&str>, usize)> {
    let (mut depth, mut start, mut found) = (0, open + 1, Vec::new());
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'{' => depth += 1,
            b'}' if depth == 1 => {
                found.push(&text[start..at]);
                return (found.len() > 1).then_some((found, at));
            }
            b'}' => depth -= 1,
            b',' if depth == 1 => {
                found.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    None
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn check(pattern: &str, yes: &[&str], no: &[&str]) {
        let part = match pattern {
            "**" => Part::Any,
            _ => Part::Wild(tokens(pattern, pattern).unwrap()),
        };
        for name in yes {
            assert!(part.matches(name), "{pattern} should match {name}");
        }
        for name in no {
            assert!(!part.matches(name), "{pattern} should not match {name}");
        }
    }

    #[test]
    fn wildcards_match_as_in_a_shell() {
        check(
            "*.csv",
            &["a.csv", "ä.csv", ".csv.csv.csv"].map(|n| n.trim_start_matches('.')),
            &["a.csv2", ".csv", "_a.csv"],
        );
        check("*", &["a", "year=2026", "_x=1"], &[".a", "_SUCCESS"]);
        check("_*", &["_a"], &["a", ".a"]);
        check("a?c", &["abc", "aäc"], &["ac", "abbc"]);
        check("[a-c]x", &["ax", "cx"], &["dx", "x"]);
        check("[!a-c]x", &["dx"], &["ax"]);
        check("[]]x", &["]x"], &["x"]);
        check("[a-]x", &["-x", "ax"], &["bx"]);
        check(
            "a*b*c",
            &["abc", "axxbyyc", "abbcc", "abcbc"],
            &["ab", "acb"],
        );
    }

    #[test]
    fn many_stars_do_not_explode() {
        let name = "a".repeat(5_000);
        check(&format!("{}b", "a*".repeat(500)), &[], &[&name]);
    }

    #[test]
    fn braces_expand_in_order_and_nest() {
        assert_eq!(
            expand_braces("x{a,b{c,d}}y").unwrap(),
            ["xay", "xbcy", "xbdy"]
        );
        assert_eq!(expand_braces("{a}{b").unwrap(), ["{a}{b"]);
        assert_eq!(expand_braces("{a}/{b,}").unwrap(), ["{a}/b", "{a}/"]);
        assert_eq!(
            expand_braces(&"{a,b}".repeat(30)).unwrap_err().kind,
            Kind::Limit
        );
    }

    #[test]
    fn bad_patterns_are_refused() {
        assert_eq!(parse("a/[b").unwrap_err().kind, Kind::Invalid);
        assert_eq!(parse("a/*/../b").unwrap_err().kind, Kind::Invalid);
        assert_eq!(parse("a/**/**/b").unwrap()[0].len(), 3);
    }
}
