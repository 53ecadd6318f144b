//! From the tokens of one statement to a `Statement`: our own small parsers for everything
//! but queries, which sqlparser reads.

use std::ops::Range;

use datafusion::sql::sqlparser::ast;
use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::{Parser, ParserError};
use datafusion::sql::sqlparser::tokenizer::{Token, TokenWithSpan, Word};

use super::dialect::Tidegate;
use super::error::{Error, Result, did_you_mean, near};
use super::refused;
use super::rewrite;
use super::source::{Limits, Piece, Source, too_nested};
use super::statement::{Query, Statement, TableRefKind};

/// The words a statement may begin with, for suggestions.
const VERBS: [&str; 18] = [
    "SELECT",
    "WITH",
    "FROM",
    "VALUES",
    "COPY",
    "CREATE",
    "DROP",
    "INSERT",
    "SET",
    "RESET",
    "SHOW",
    "EXPLAIN",
    "DESCRIBE",
    "DESC",
    "SUMMARIZE",
    "TABLE",
    "UPDATE",
    "DELETE",
];

/// Reads one statement; also says how deep its queries go.
pub(crate) fn statement(
    source: &Source,
    piece: &Piece,
    limits: &Limits,
) -> Result<(Statement, usize)> {
    let mut reader = Reader::new(source, piece, limits);
    let statement = reader.statement()?;
    reader.end()?;
    Ok((statement, reader.depth))
}

/// Reads statements from tokens.
pub(crate) struct Reader<'a> {
    pub(crate) parser: Parser<'static>,
    pub(crate) source: &'a Source,
    pub(super) piece: &'a Piece,
    limits: &'a Limits,
    /// The deepest query read so far.
    depth: usize,
    tables: usize,
}

impl<'a> Reader<'a> {
    fn new(source: &'a Source, piece: &'a Piece, limits: &'a Limits) -> Self {
        let parser = Parser::new(&Tidegate)
            .with_recursion_limit(limits.nesting_max * 4 + 64)
            .with_tokens_with_locations(piece.tokens.clone());
        Self {
            parser,
            source,
            piece,
            limits,
            depth: 0,
            tables: 0,
        }
    }

    pub(super) fn statement(&mut self) -> Result<Statement> {
        let first = self.peek();
        let Token::Word(word) = &first.token else {
            return match first.token {
                Token::LParen => self.query().map(Statement::Query),
                _ => Err(self.unexpected("a statement")),
            };
        };
        match word.value.to_ascii_uppercase().as_str() {
            "SELECT" | "WITH" | "FROM" | "VALUES" | "TABLE" => self.query().map(Statement::Query),
            "COPY" => self.copy().map(Statement::Copy),
            "CREATE" => self.create(),
            "INSERT" => self.insert().map(Statement::Insert),
            "DROP" => self.drop().map(Statement::Drop),
            "SET" => self.set().map(Statement::Set),
            "RESET" => self.reset(),
            "SHOW" => self.show().map(Statement::Show),
            "EXPLAIN" => self.explain().map(Statement::Explain),
            "DESCRIBE" | "DESC" => {
                self.next();
                self.table_or_query().map(Statement::Describe)
            }
            "SUMMARIZE" => {
                self.next();
                self.table_or_query().map(Statement::Summarize)
            }
            verb => Err(self.no_statement(verb, &first)),
        }
    }

    fn no_statement(&self, verb: &str, token: &TokenWithSpan) -> Error {
        if let Some(error) = refused::statement(verb) {
            return error.at(self.source.range(token.span));
        }
        let error = Error::syntax(format!("`{}` does not begin a statement", token.token))
            .at(self.source.range(token.span));
        match did_you_mean(&near(verb, VERBS)) {
            Some(hint) => error.hint(hint),
            None => error,
        }
    }

    // ---- queries -------------------------------------------------------------------------

    /// A query to the end of its grammar.
    pub(crate) fn query(&mut self) -> Result<Query> {
        let ast = self.parsed(|parser| parser.parse_query())?;
        self.finish_query(ast)
    }

    /// `t`, `'path'`, `read_csv(…)` or a query.
    pub(crate) fn table_or_query(&mut self) -> Result<Query> {
        if self.at_query() {
            return self.query();
        }
        let _ = self.parser.parse_keyword(Keyword::TABLE);
        self.all_of_table()
    }

    /// `t`, `'path'` or `read_csv(…)`, without an alias: the next word belongs to the statement.
    pub(super) fn all_of_table(&mut self) -> Result<Query> {
        let name = self.parsed(|parser| parser.parse_object_name(true))?;
        let args = if self.parser.consume_token(&Token::LParen) {
            let args = self.parsed(|parser| parser.parse_optional_args())?;
            Some(ast::TableFunctionArgs {
                args,
                settings: None,
            })
        } else {
            None
        };
        self.finish_query(Box::new(rewrite::select_all(rewrite::table(name, args))))
    }

    pub(crate) fn at_query(&self) -> bool {
        let queries = [
            Keyword::SELECT,
            Keyword::WITH,
            Keyword::FROM,
            Keyword::VALUES,
        ];
        self.parser.peek_one_of_keywords(&queries).is_some() || self.peek().token == Token::LParen
    }

    pub(super) fn finish_query(&mut self, ast: Box<ast::Query>) -> Result<Query> {
        let (mut query, depth) = rewrite::query(ast, self.source, self.limits, &mut self.tables)?;
        self.depth = self.depth.max(depth);
        for table in &mut query.tables {
            if let (None, TableRefKind::Path(path)) = (&table.span, &table.kind) {
                table.span = self.quoted(path);
            }
        }
        Ok(query)
    }

    /// Where a text stands in quotes: sqlparser keeps no place for a path.
    fn quoted(&self, text: &str) -> Option<Range<usize>> {
        let token = self.piece.tokens.iter().find(
            |token| matches!(&token.token, Token::SingleQuotedString(found) if found == text),
        )?;
        self.source.range(token.span)
    }

    /// Whether the parenthesis here opens a query and not a list of options.
    pub(crate) fn paren_opens_query(&self) -> bool {
        let mut ahead = 0;
        loop {
            match &self.parser.peek_nth_token_ref(ahead).token {
                Token::LParen => ahead += 1,
                Token::Word(word) => {
                    return matches!(
                        word.keyword,
                        Keyword::SELECT | Keyword::WITH | Keyword::FROM | Keyword::VALUES
                    );
                }
                _ => return false,
            }
        }
    }

    // ---- tokens --------------------------------------------------------------------------

    pub(crate) fn peek(&self) -> TokenWithSpan {
        self.parser.peek_token_ref().clone()
    }

    pub(crate) fn next(&mut self) -> TokenWithSpan {
        self.parser.next_token()
    }

    /// Takes the word if it is next.
    pub(crate) fn take_word(&mut self, word: &str) -> Option<TokenWithSpan> {
        is_word(&self.parser.peek_token_ref().token, word).then(|| self.parser.next_token())
    }

    pub(crate) fn expect_word(&mut self, word: &str) -> Result<TokenWithSpan> {
        self.take_word(word).ok_or_else(|| self.unexpected(word))
    }

    pub(super) fn is_last(&self, ahead: usize) -> bool {
        self.parser.peek_nth_token_ref(ahead).token == Token::EOF
    }

    /// The next token is not what the grammar wants.
    pub(crate) fn unexpected(&self, wanted: &str) -> Error {
        let token = self.peek();
        self.expected(wanted, &token)
    }

    /// The token just taken is not what the grammar wants.
    pub(super) fn was_unexpected(&mut self, wanted: &str) -> Error {
        self.parser.prev_token();
        self.unexpected(wanted)
    }

    fn expected(&self, wanted: &str, found: &TokenWithSpan) -> Error {
        let end = self.piece.span.end;
        match (&found.token, self.source.range(found.span)) {
            (Token::EOF, _) | (_, None) => {
                Error::syntax(format!("expected {wanted}, found the end of the statement"))
                    .at(end..end)
            }
            (_, Some(range)) => Error::syntax(format!(
                "expected {wanted}, found `{}`",
                clip(&self.source.text()[range.clone()])
            ))
            .at(range),
        }
    }

    fn end(&mut self) -> Result<()> {
        let token = self.peek();
        if token.token == Token::EOF {
            return Ok(());
        }
        if let Token::Word(word) = &token.token
            && let Some(error) = refused::trailing(&word.value.to_ascii_uppercase())
        {
            return Err(error.at(self.source.range(token.span)));
        }
        if let Some(error) = self.comma_too_many(&token) {
            return Err(error);
        }
        let error = self.expected("the end of the statement", &token);
        Err(match self.name_of_a_keyword(&token) {
            Some(name) => error.hint(format!("as a name it needs AS: `AS {name}`")),
            None => self.misspelt_clause(error),
        })
    }

    /// `SELECT 1 top FROM t`: a word of SQL behind an expression, where a name may end.
    fn name_of_a_keyword(&self, found: &TokenWithSpan) -> Option<String> {
        let before = self.parser.index().checked_sub(1);
        let before = before.and_then(|at| self.piece.tokens.get(at))?;
        let ends = match &before.token {
            Token::Word(word) => word.keyword == Keyword::NoKeyword,
            Token::RParen | Token::RBracket => true,
            Token::Number(..) | Token::SingleQuotedString(_) => true,
            _ => false,
        };
        let next = &self.parser.peek_nth_token_ref(1).token;
        let closes = matches!(next, Token::EOF | Token::Comma) || is_word(next, "FROM");
        match &found.token {
            Token::Word(word) if word.keyword != Keyword::NoKeyword && ends && closes => {
                Some(word.value.clone())
            }
            _ => None,
        }
    }

    /// `SELECT a FORM t`: the word before the place was meant to be a keyword.
    fn misspelt_clause(&self, error: Error) -> Error {
        const CLAUSES: [&str; 10] = [
            "FROM", "WHERE", "GROUP", "ORDER", "HAVING", "LIMIT", "JOIN", "UNION", "VALUES",
            "QUALIFY",
        ];
        let before = self.parser.index().checked_sub(1);
        let Some(Token::Word(word)) = before
            .and_then(|at| self.piece.tokens.get(at))
            .map(|token| &token.token)
        else {
            return error;
        };
        match near(&word.value, CLAUSES).first() {
            Some(clause) if !clause.eq_ignore_ascii_case(&word.value) => error.hint(format!(
                "did you mean {clause} instead of `{}`?",
                word.value
            )),
            _ => error,
        }
    }

    /// `SELECT a, FROM t`, `f(a,)`, `1,, 2`: a comma with nothing behind it.
    fn comma_too_many(&self, found: &TokenWithSpan) -> Option<Error> {
        let tokens = &self.piece.tokens;
        let error = |comma: &TokenWithSpan, next: Option<&TokenWithSpan>| {
            let before = match next.and_then(|next| self.source.range(next.span)) {
                Some(range) => format!("`{}`", &self.source.text()[range]),
                None => "the end of the statement".to_owned(),
            };
            Error::syntax(format!("a comma too many before {before}"))
                .at(self.source.range(comma.span))
        };
        let is_comma = |token: &&TokenWithSpan| token.token == Token::Comma;
        let ends_a_list = matches!(
            found.token,
            Token::EOF | Token::Comma | Token::RParen | Token::RBracket | Token::RBrace
        );
        let at = tokens.iter().position(|token| token.span == found.span);
        let at = at.unwrap_or(tokens.len());
        if ends_a_list && let Some(comma) = at.checked_sub(1).map(|at| &tokens[at]).filter(is_comma)
        {
            return Some(error(comma, tokens.get(at)));
        }
        // Words that begin a clause may have been read as names.
        let is_clause = |token: &Token, near: bool| {
            use Keyword::{
                EXCEPT, FROM, GROUP, HAVING, INTERSECT, LIMIT, ORDER, QUALIFY, SELECT, UNION, WHERE,
            };
            matches!(token, Token::Word(Word { keyword, quote_style: None, .. }) if match keyword {
                FROM | WHERE | GROUP | ORDER | SELECT => true,
                HAVING | LIMIT | UNION | INTERSECT | EXCEPT | QUALIFY => near,
                _ => false,
            })
        };
        let read = self.parser.index().min(tokens.len());
        let mut pairs = tokens[..read].windows(2).enumerate().rev();
        let (_, pair) = pairs.find(|(first, pair)| {
            pair[0].token == Token::Comma && is_clause(&pair[1].token, first + 2 == at)
        })?;
        Some(error(&pair[0], Some(&pair[1])))
    }

    /// Runs a piece of sqlparser and puts its error into our words.
    pub(crate) fn parsed<T>(
        &mut self,
        read: impl FnOnce(&mut Parser<'static>) -> Result<T, ParserError>,
    ) -> Result<T> {
        read(&mut self.parser).map_err(|error| self.parser_error(error))
    }

    fn parser_error(&self, error: ParserError) -> Error {
        let message = match error {
            ParserError::RecursionLimitExceeded => {
                return too_nested(self.limits).at(self.piece.span.clone());
            }
            ParserError::ParserError(message) | ParserError::TokenizerError(message) => message,
        };
        let (text, place) = match message.rsplit_once(" at Line: ") {
            Some((text, place)) => (text, line_and_column(place)),
            None => (message.as_str(), None),
        };
        let token = match place {
            Some((line, column)) => self
                .piece
                .tokens
                .iter()
                .find(|t| (t.span.start.line, t.span.start.column) == (line, column))
                .cloned(),
            None => self.found_token(text),
        };
        let found = token.unwrap_or_else(|| TokenWithSpan::wrap(Token::EOF));
        if let Token::Word(word) = &found.token
            && let Some(error) = refused::trailing(&word.value.to_ascii_uppercase())
        {
            return error.at(self.source.range(found.span));
        }
        let read = self.parser.index().min(self.piece.tokens.len());
        for token in &self.piece.tokens[read.saturating_sub(4)..read] {
            if is_word(&token.token, "TABLESAMPLE")
                && let Some(error) = refused::trailing("TABLESAMPLE")
            {
                return error.at(self.source.range(token.span));
            }
        }
        if let Some(error) = self.comma_too_many(&found) {
            return error;
        }
        let wanted = text
            .strip_prefix("Expected: ")
            .or_else(|| text.strip_prefix("Expected "))
            .and_then(|text| text.rsplit_once(", found"));
        match wanted {
            Some((wanted, _)) => self.expected(&plain(wanted), &found),
            None => {
                let end = self.piece.span.end;
                let range = self.source.range(found.span).unwrap_or(end..end);
                Error::syntax(plain(text)).at(range)
            }
        }
    }

    /// The token an error without a place speaks of: the last one so spelt that was read.
    fn found_token(&self, text: &str) -> Option<TokenWithSpan> {
        let found = text.rsplit_once("found: ").map(|(_, found)| found);
        if found == Some("EOF") {
            return None;
        }
        let read = self.parser.index().min(self.piece.tokens.len());
        let spelt = self.piece.tokens[..read]
            .iter()
            .rev()
            .find(|token| found.is_some_and(|found| token.token.to_string() == found));
        Some(
            spelt
                .unwrap_or_else(|| self.parser.get_current_token())
                .clone(),
        )
    }
}

pub(crate) fn is_word(token: &Token, word: &str) -> bool {
    matches!(token, Token::Word(found)
        if found.quote_style.is_none() && found.value.eq_ignore_ascii_case(word))
}

fn line_and_column(place: &str) -> Option<(u64, u64)> {
    let (line, column) = place.split_once(", Column: ")?;
    Some((line.trim().parse().ok()?, column.trim().parse().ok()?))
}

/// sqlparser's wording in our style: no capitals at the start, no full stop.
fn plain(text: &str) -> String {
    let text = text.trim().trim_end_matches('.');
    if text == "identifier" {
        return "a name".to_string();
    }
    if text.starts_with("No infix parser") {
        return "this sign is no operator".to_string();
    }
    if !text.is_empty() && !text.contains(|c: char| c.is_alphanumeric()) {
        return format!("`{text}`");
    }
    let mut chars = text.chars();
    match chars.next() {
        Some(first) if !text.starts_with(|_| is_keyword(text)) => {
            first.to_lowercase().chain(chars).collect()
        }
        _ => text.to_string(),
    }
}

/// Whether a text begins with a word in capitals.
fn is_keyword(text: &str) -> bool {
    let word = text
        .split(|c: char| !c.is_alphanumeric())
        .next()
        .unwrap_or_default();
    word.len() > 1 && word.chars().all(|c| c.is_ascii_uppercase())
}

fn clip(text: &str) -> String {
    const SHOWN_MAX: usize = 60;
    let one_line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if one_line.chars().count() <= SHOWN_MAX {
        return one_line;
    }
    one_line
        .chars()
        .take(SHOWN_MAX)
        .chain("…".chars())
        .collect()
}
