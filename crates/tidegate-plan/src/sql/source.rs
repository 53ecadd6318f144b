//! The text of a script: from the parser's lines and columns to bytes, and from bytes to
//! tokens cut into statements, with the limits that keep the parser off the end of the stack.

use std::ops::Range;
use std::sync::Arc;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::tokenizer::{Location, Span, Token, TokenWithSpan, Tokenizer};

use super::dialect::Tidegate;
use super::error::{Code, Error, Result};

/// How large a script may be. All can be raised; each is checked before the parser runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// Bytes in one script (`sql_bytes`).
    pub bytes_max: usize,
    /// Words, numbers and signs in one script (`sql_tokens_max`).
    pub tokens_max: usize,
    /// Parentheses, subqueries, casts or operators inside each other (`sql_nesting_max`).
    pub nesting_max: usize,
    /// Subqueries inside each other within expressions (`sql_subqueries_max`): each level doubles the time that
    /// planning takes.
    pub subqueries_max: usize,
    /// UNION, INTERSECT and EXCEPT in one statement (`sql_set_operations_max`), each of which makes the plan a level
    /// deeper: many of them overflow the stack of the optimizer, which ends the process.
    pub set_operations_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            bytes_max: 16 << 20,
            tokens_max: 500_000,
            nesting_max: 400,
            subqueries_max: 14,
            set_operations_max: 100,
        }
    }
}

/// A script and where its lines begin.
#[derive(Debug)]
pub struct Source {
    text: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(crate) fn new(text: &str) -> Self {
        let line_starts = std::iter::once(0)
            .chain(text.match_indices('\n').map(|(at, _)| at + 1))
            .collect();
        Self {
            text: text.to_string(),
            line_starts,
        }
    }

    /// The whole script.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// The byte of a place the parser names by line and column, both from 1.
    pub(crate) fn offset(&self, line: u64, column: u64) -> usize {
        let Some(start) = usize::try_from(line)
            .ok()
            .and_then(|line| self.line_starts.get(line.checked_sub(1)?))
        else {
            return self.text.len();
        };
        let skipped = usize::try_from(column.saturating_sub(1)).unwrap_or(usize::MAX);
        self.text[*start..]
            .char_indices()
            .nth(skipped)
            .map_or(self.text.len(), |(at, _)| start + at)
    }

    /// The bytes of a span, if it says anything.
    pub(crate) fn range(&self, span: Span) -> Option<Range<usize>> {
        if span.start.line == 0 {
            return None;
        }
        let start = self.offset(span.start.line, span.start.column);
        let end = self.offset(span.end.line, span.end.column).max(start);
        Some(start..end)
    }
}

/// The tokens of one statement (no white space, no comments, no semicolon) and its bytes.
#[derive(Debug)]
pub(crate) struct Piece {
    pub(crate) tokens: Vec<TokenWithSpan>,
    pub(crate) span: Range<usize>,
    /// How the tokens will sit on the stack.
    pub(crate) shape: Shape,
}

/// How much a statement recurses.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Shape {
    /// Parentheses and the like inside each other.
    pub(crate) nesting: usize,
    /// Words such as AND and UNION that make trees as deep as they are many.
    pub(crate) links: usize,
}

/// Cuts a script into statements.
pub(crate) fn split(text: &str, limits: &Limits) -> Result<(Arc<Source>, Vec<Piece>)> {
    if text.len() > limits.bytes_max {
        return Err(Error::new(
            Code::Limit,
            format!(
                "the script has {} bytes, and the limit is {}",
                text.len(),
                limits.bytes_max
            ),
        )
        .hint("split it, or raise `sql_bytes`"));
    }
    let source = Arc::new(Source::new(text));
    let tokens = tokenize(&source)?;
    if tokens.len() > limits.tokens_max {
        return Err(Error::new(
            Code::Limit,
            format!(
                "the script has {} words and signs, and the limit is {}",
                tokens.len(),
                limits.tokens_max
            ),
        )
        .hint("split it, or raise `sql_tokens_max`"));
    }
    let mut pieces = Vec::new();
    let mut cursor = Cursor::new(text);
    let mut current: Vec<TokenWithSpan> = Vec::new();
    for token in tokens {
        if token.token == Token::SemiColon {
            finish(
                &mut pieces,
                std::mem::take(&mut current),
                &mut cursor,
                limits,
            )?;
        } else {
            current.push(token);
        }
    }
    finish(&mut pieces, current, &mut cursor, limits)?;
    Ok((source, pieces))
}

fn finish(
    pieces: &mut Vec<Piece>,
    mut tokens: Vec<TokenWithSpan>,
    cursor: &mut Cursor<'_>,
    limits: &Limits,
) -> Result<()> {
    // `TABLE t` is `FROM t`, which the parser reads with all that may follow.
    if let Some(TokenWithSpan {
        token: Token::Word(word),
        ..
    }) = tokens.first_mut()
        && word.keyword == Keyword::TABLE
    {
        word.keyword = Keyword::FROM;
    }
    let (Some(first), Some(last)) = (tokens.first(), tokens.last()) else {
        return Ok(());
    };
    let start = cursor.advance(first.span.start);
    if let Some(wrong) = broken_number(&tokens) {
        let at = cursor.advance(wrong.start)..cursor.advance(wrong.end);
        return Err(Error::syntax("this is not a number").at(at));
    }
    if let Some(one_more) = set_operations(&tokens).nth(limits.set_operations_max) {
        let at = cursor.advance(one_more.start)..cursor.advance(one_more.end);
        let message = format!(
            "the statement has more than {} UNION, INTERSECT or EXCEPT",
            limits.set_operations_max
        );
        return Err(Error::new(Code::Limit, message)
            .at(at)
            .hint("UNION ALL has no such limit; raise `sql_set_operations_max`, or make tables of parts with CREATE TABLE AS"));
    }
    let shape = match shape(&tokens, limits.nesting_max) {
        Ok(shape) => shape,
        Err(too_deep) => {
            let at = cursor.advance(too_deep.span.start);
            return Err(too_nested(limits).at(at..cursor.advance(too_deep.span.end)));
        }
    };
    let span = start..cursor.advance(last.span.end);
    pieces.push(Piece {
        tokens,
        span,
        shape,
    });
    Ok(())
}

pub(crate) fn too_nested(limits: &Limits) -> Error {
    Error::new(
        Code::Limit,
        format!(
            "the statement nests more than {} levels deep",
            limits.nesting_max
        ),
    )
    .hint("name the inner parts in a WITH clause or a view, or raise `sql_nesting_max`")
}

/// Where UNION, INTERSECT and EXCEPT are. UNION ALL is none: however many there are, they make one level.
fn set_operations(tokens: &[TokenWithSpan]) -> impl Iterator<Item = Span> {
    let keyword = |at: usize| match tokens.get(at).map(|token| &token.token) {
        Some(Token::Word(word)) => word.keyword,
        _ => Keyword::NoKeyword,
    };
    let is_one = move |at: &usize| match keyword(*at) {
        Keyword::UNION => keyword(at + 1) != Keyword::ALL || keyword(at + 2) == Keyword::BY,
        Keyword::INTERSECT | Keyword::EXCEPT => true,
        _ => false,
    };
    (0..tokens.len()).filter(is_one).map(|at| tokens[at].span)
}

/// A number that the tokenizer cut in two, as `1__0` or `0b11`: the rest would be read as an alias.
fn broken_number(tokens: &[TokenWithSpan]) -> Option<Span> {
    tokens.windows(2).find_map(|pair| match pair {
        [number, rest] if number.span.end == rest.span.start => {
            match (&number.token, &rest.token) {
                (Token::Number(digits, _), Token::Word(word))
                    if word.quote_style.is_none()
                        && (word.value.starts_with('_') || digits == "0") =>
                {
                    Some(Span::new(number.span.start, rest.span.end))
                }
                _ => None,
            }
        }
        _ => None,
    })
}

/// How deep the parser would descend, or the token at which that is too deep.
fn shape(tokens: &[TokenWithSpan], max: usize) -> Result<Shape, TokenWithSpan> {
    let mut shape = Shape::default();
    // Operators in a row at each depth: `1 + 1 + …` is as deep as it is long.
    let mut operators = vec![0usize];
    // Runs of prefix operators and of `ARRAY<ARRAY<` recurse without any parenthesis.
    let (mut prefixes, mut angles) = (0usize, 0usize);
    for token in tokens {
        let kind = kind(&token.token);
        match kind {
            Kind::Open => operators.push(0),
            Kind::Close if operators.len() > 1 => {
                operators.pop();
            }
            Kind::Close => {}
            Kind::Prefix | Kind::Operator => {
                if let Some(count) = operators.last_mut() {
                    *count += 1;
                }
            }
            Kind::Link => shape.links += 1,
            Kind::Break | Kind::Other => {}
        }
        if matches!(kind, Kind::Link | Kind::Break)
            && let Some(count) = operators.last_mut()
        {
            *count = 0;
        }
        prefixes = if kind == Kind::Prefix {
            prefixes + 1
        } else {
            0
        };
        angles = match token.token {
            Token::Lt => angles + 1,
            Token::Word(_) => angles,
            _ => 0,
        };
        let row = operators.last().copied().unwrap_or_default();
        let deepest = prefixes.max(angles).max(row).max(operators.len() - 1);
        if deepest > max {
            return Err(token.clone());
        }
        // A row of operators costs far less of the stack than parentheses: count it as links.
        shape.nesting = shape
            .nesting
            .max(prefixes.max(angles).max(operators.len() - 1));
        shape.links = shape.links.max(row);
    }
    Ok(shape)
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Open,
    Close,
    /// Before its operand: NOT, `-`.
    Prefix,
    Operator,
    /// Makes a chain that is balanced, or measured, once it is read.
    Link,
    /// Ends a row of operators.
    Break,
    Other,
}

fn kind(token: &Token) -> Kind {
    match token {
        Token::LParen | Token::LBracket | Token::LBrace => Kind::Open,
        Token::RParen | Token::RBracket | Token::RBrace => Kind::Close,
        Token::Minus | Token::Plus | Token::Tilde | Token::ExclamationMark => Kind::Prefix,
        Token::Comma => Kind::Break,
        Token::Mul
        | Token::Div
        | Token::Mod
        | Token::StringConcat
        | Token::DoubleColon
        | Token::Eq
        | Token::DoubleEq
        | Token::Neq
        | Token::Lt
        | Token::Gt
        | Token::LtEq
        | Token::GtEq
        | Token::Spaceship
        | Token::Caret
        | Token::Pipe
        | Token::Ampersand
        | Token::ShiftLeft
        | Token::ShiftRight
        | Token::Arrow
        | Token::LongArrow
        | Token::Colon
        | Token::DuckIntDiv => Kind::Operator,
        Token::Word(word) => match word.keyword {
            Keyword::CASE => Kind::Open,
            Keyword::END => Kind::Close,
            Keyword::NOT | Keyword::INTERVAL | Keyword::EXPLAIN => Kind::Prefix,
            Keyword::AND
            | Keyword::OR
            | Keyword::UNION
            | Keyword::INTERSECT
            | Keyword::EXCEPT
            | Keyword::BETWEEN
            | Keyword::IS
            | Keyword::IN
            | Keyword::LIKE
            | Keyword::ILIKE
            | Keyword::NOTNULL
            | Keyword::AT
            | Keyword::COLLATE
            | Keyword::OVERLAPS => Kind::Link,
            Keyword::SELECT
            | Keyword::FROM
            | Keyword::WHERE
            | Keyword::ON
            | Keyword::WHEN
            | Keyword::THEN
            | Keyword::ELSE
            | Keyword::GROUP
            | Keyword::ORDER
            | Keyword::HAVING
            | Keyword::LIMIT
            | Keyword::AS => Kind::Break,
            _ => Kind::Other,
        },
        _ => Kind::Other,
    }
}

fn tokenize(source: &Source) -> Result<Vec<TokenWithSpan>> {
    let tokens = Tokenizer::new(&Tidegate, &source.text)
        .tokenize_with_location()
        .map_err(|error| tokenizer_error(source, &error.message, error.location))?;
    tokens
        .into_iter()
        .filter(|token| !matches!(token.token, Token::Whitespace(_) | Token::EOF))
        .map(|token| clean(source, token))
        .collect()
}

/// Numbers lose their underscores; `0x1F` is a number, as in PostgreSQL, and not a byte string.
fn clean(source: &Source, mut token: TokenWithSpan) -> Result<TokenWithSpan> {
    match &mut token.token {
        Token::Number(digits, _) => digits.retain(|c| c != '_'),
        Token::HexStringLiteral(digits) => {
            let range = source.range(token.span).unwrap_or_default();
            if source.text[range.clone()].starts_with("0x") {
                digits.retain(|c| c != '_');
                let number = u64::from_str_radix(digits, 16).map_err(|_| {
                    Error::new(
                        Code::Overflow,
                        format!("`0x{digits}` is not a 64-bit number"),
                    )
                    .at(range)
                })?;
                token.token = Token::Number(number.to_string(), false);
            }
        }
        _ => {}
    }
    Ok(token)
}

fn tokenizer_error(source: &Source, message: &str, at: Location) -> Error {
    let start = source.offset(at.line, at.column);
    let end = source.text[start..]
        .chars()
        .next()
        .map_or(start, |c| start + c.len_utf8());
    let lower = message.to_lowercase();
    let text = if lower.contains("multi-line comment") {
        "this comment is never closed: `*/` is missing".to_string()
    } else if lower.contains("close delimiter") {
        "this quoted name is never closed".to_string()
    } else if lower.contains("unterminated") {
        "this string is never closed: a quote is missing".to_string()
    } else {
        lower
    };
    Error::syntax(text).at(start..end)
}

/// Walks a text once, from place to later place.
struct Cursor<'a> {
    rest: std::str::Chars<'a>,
    length: usize,
    line: u64,
    column: u64,
}

impl<'a> Cursor<'a> {
    fn new(text: &'a str) -> Self {
        Self {
            rest: text.chars(),
            length: text.len(),
            line: 1,
            column: 1,
        }
    }

    fn advance(&mut self, to: Location) -> usize {
        while (self.line, self.column) < (to.line, to.column) {
            match self.rest.next() {
                Some('\n') => (self.line, self.column) = (self.line + 1, 1),
                Some(_) => self.column += 1,
                None => break,
            }
        }
        self.length - self.rest.as_str().len()
    }
}
