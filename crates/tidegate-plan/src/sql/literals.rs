//! Names, literals and lists of options: the pieces of statements that are no queries.

use std::ops::Range;

use datafusion::sql::sqlparser::keywords::Keyword;
use datafusion::sql::sqlparser::parser::IsOptional;
use datafusion::sql::sqlparser::tokenizer::{Span, Token};

use super::error::Result;
use super::parse::Reader;
use super::statement::{Argument, CreateView, Name, Value};

impl Reader<'_> {
    pub(crate) fn view(
        &mut self,
        name: Name,
        or_replace: bool,
        if_not_exists: bool,
    ) -> Result<CreateView> {
        let columns = self.column_names()?;
        self.expect_word("AS")?;
        let start = self.peek();
        let query = self.query()?;
        let from = self.source.range(start.span).unwrap_or_default().start;
        let text = self.source.text()[from..self.piece.span.end].to_string();
        Ok(CreateView {
            name,
            or_replace,
            if_not_exists,
            columns,
            query,
            text,
        })
    }

    /// `(a, b)` if it is there.
    pub(crate) fn column_names(&mut self) -> Result<Vec<String>> {
        if self.peek().token != Token::LParen {
            return Ok(Vec::new());
        }
        let idents = self.parsed(|parser| {
            parser.parse_parenthesized_column_list(IsOptional::Mandatory, false)
        })?;
        Ok(idents.into_iter().map(|ident| ident.value).collect())
    }

    pub(crate) fn name(&mut self) -> Result<Name> {
        let object = self.parsed(|parser| parser.parse_object_name(false))?;
        let mut parts = Vec::new();
        let mut span = Span::empty();
        for part in &object.0 {
            let Some(ident) = part.as_ident() else {
                return Err(self.unexpected("a name"));
            };
            span = if span == Span::empty() {
                ident.span
            } else {
                span.union(&ident.span)
            };
            parts.push(ident.value.clone());
        }
        Ok(Name {
            parts,
            span: self.source.range(span),
        })
    }

    /// A literal of an option.
    pub(crate) fn value(&mut self) -> Result<Value> {
        let token = self.next();
        match token.token {
            Token::SingleQuotedString(text)
            | Token::EscapedStringLiteral(text)
            | Token::DoubleQuotedString(text) => Ok(Value::Text(text)),
            Token::DollarQuotedString(text) => Ok(Value::Text(text.value)),
            Token::Number(digits, _) => Ok(Value::Number(digits)),
            Token::Minus => match self.next().token {
                Token::Number(digits, _) => Ok(Value::Number(format!("-{digits}"))),
                _ => Err(self.was_unexpected("a number")),
            },
            Token::LBracket => self.values(Token::RBracket).map(Value::List),
            Token::LParen => self.values(Token::RParen).map(Value::List),
            Token::LBrace => self.entries().map(Value::Map),
            Token::Word(word) if word.quote_style.is_some() => Ok(Value::Text(word.value)),
            Token::Word(word) => Ok(match word.keyword {
                Keyword::TRUE => Value::Boolean(true),
                Keyword::FALSE => Value::Boolean(false),
                Keyword::NULL => Value::Null,
                _ => Value::Text(self.dotted(word.value)),
            }),
            _ => Err(self.was_unexpected("a value")),
        }
    }

    /// `a.b-c` written bare, as in `zstd` or `format.compression`.
    fn dotted(&mut self, first: String) -> String {
        let mut text = first;
        while self.peek().token == Token::Period {
            self.next();
            text.push('.');
            if let Token::Word(word) = &self.peek().token {
                text.push_str(&word.value);
                self.next();
            }
        }
        text
    }

    fn values(&mut self, close: Token) -> Result<Vec<Value>> {
        let mut values = Vec::new();
        while !self.parser.consume_token(&close) {
            values.push(self.value()?);
            if !self.parser.consume_token(&Token::Comma) && self.peek().token != close {
                return Err(self.unexpected(&format!("`,` or `{close}`")));
            }
        }
        Ok(values)
    }

    fn entries(&mut self) -> Result<Vec<(String, Value)>> {
        let mut entries = Vec::new();
        while !self.parser.consume_token(&Token::RBrace) {
            let key = self.word_or_text("a name")?;
            if !self.parser.consume_token(&Token::Colon) {
                return Err(self.unexpected("`:`"));
            }
            entries.push((key, self.value()?));
            if !self.parser.consume_token(&Token::Comma) && self.peek().token != Token::RBrace {
                return Err(self.unexpected("`,` or `}`"));
            }
        }
        Ok(entries)
    }

    /// `(name value, name = value, flag)`.
    pub(crate) fn option_list(&mut self) -> Result<Vec<Argument>> {
        if !self.parser.consume_token(&Token::LParen) {
            return Err(self.unexpected("`(`"));
        }
        let mut options = Vec::new();
        while !self.parser.consume_token(&Token::RParen) {
            let token = self.peek();
            let mut name = self.word_or_text("the name of an option")?;
            if !matches!(token.token, Token::SingleQuotedString(_)) {
                name = self.dotted(name);
            }
            let _ = self.parser.consume_token(&Token::Eq);
            let value = match self.peek().token {
                Token::Comma | Token::RParen => Value::Boolean(true),
                _ => self.value()?,
            };
            options.push(Argument {
                name: Some(name.to_ascii_lowercase()),
                value,
                span: self.source.range(token.span),
            });
            if !self.parser.consume_token(&Token::Comma) && self.peek().token != Token::RParen {
                return Err(self.unexpected("`,` or `)`"));
            }
        }
        Ok(options)
    }

    pub(crate) fn word_or_text(&mut self, what: &str) -> Result<String> {
        let token = self.next();
        match token.token {
            Token::Word(word) => Ok(word.value),
            Token::SingleQuotedString(text) | Token::DoubleQuotedString(text) => Ok(text),
            _ => Err(self.was_unexpected(what)),
        }
    }

    /// A string in single quotes, and where.
    pub(crate) fn text(&mut self, what: &str) -> Result<(String, Option<Range<usize>>)> {
        let token = self.next();
        match token.token {
            Token::SingleQuotedString(text) | Token::EscapedStringLiteral(text) => {
                Ok((text, self.source.range(token.span)))
            }
            _ => Err(self.was_unexpected(what)),
        }
    }
}
