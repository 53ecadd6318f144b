//! `… DISTRIBUTE BY a, b USING RANGE INTO 4 PARTITIONS` at the end of a query, which sqlparser does not read.
//!
//! 1. The tokens of the clause become a pipe of a call, which sqlparser reads at the end of any query, whatever it is made
//!    of: `|> CALL distribute_by(1, 4, 0 ORDER BY a, b)`;
//! 2. the query with the call becomes `SELECT * FROM (…) DISTRIBUTE BY distribute_by(1, 4, 0, a, 1, b, 1)`, which DataFusion
//!    plans, so that names and types of keys are found as those of any expression;
//! 3. the planned call becomes a [`Partition`](crate::Partition).

use std::ops::Range;
use std::sync::{Arc, LazyLock};

use arrow::datatypes::DataType;
use datafusion::common::tree_node::{Transformed, TransformedResult};
use datafusion::common::{DataFusionError, Result as DataFusionResult, ScalarValue, internal_err};
use datafusion::logical_expr::logical_plan::Repartition;
use datafusion::logical_expr::{
    ColumnarValue, Expr as PlanExpr, LogicalPlan, Partitioning, ScalarFunctionArgs, ScalarUDF,
    ScalarUDFImpl, Signature, SortExpr, Volatility,
};
use datafusion::sql::sqlparser::ast::{
    Expr, Function, FunctionArg, FunctionArgExpr, FunctionArgumentClause, FunctionArguments,
    OrderByExpr, PipeOperator, Query, Select, SetExpr, Spanned, TableFactor, Value, ValueWithSpan,
    Visitor,
};
use datafusion::sql::sqlparser::tokenizer::{Span, Token, TokenWithSpan, Word};

use super::error::{Code, Error, Result, did_you_mean, near};
use super::parse::is_word;
use super::rewrite::{select_all, wrap};
use super::source::{Piece, Source};
use super::walk::{Flow, Stop, look};
use crate::distribute::{By, Met, PARTITIONS_MAX, check_count, partition};

/// The call. No user can type it by accident.
const NAME: &str = "\u{1}distribute_by";

/// The ways to divide rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    Hash,
    Range,
    RoundRobin,
    Random,
}

impl Way {
    const ALL: [(&str, Way); 4] = [
        ("HASH", Way::Hash),
        ("RANGE", Way::Range),
        ("ROUND_ROBIN", Way::RoundRobin),
        ("RANDOM", Way::Random),
    ];

    fn name(self) -> &'static str {
        Self::ALL[self as usize].0
    }

    fn takes_keys(self) -> bool {
        matches!(self, Way::Hash | Way::Range)
    }
}

// ---- tokens ----------------------------------------------------------------------------------

/// The tokens of a statement with each clause as a pipe of a call.
pub(super) fn piped(piece: Piece, source: &Source) -> Result<Piece> {
    let begins = |at: usize| begins(&piece.tokens, at);
    if !(0..piece.tokens.len()).any(begins) {
        return Ok(piece);
    }
    let mut tokens = Vec::with_capacity(piece.tokens.len() + 16);
    let mut at = 0;
    while let Some(token) = piece.tokens.get(at) {
        if !begins(at) {
            tokens.push(token.clone());
            at += 1;
            continue;
        }
        let mut clause = Clause {
            tokens: &piece.tokens,
            at,
            source,
            end: piece.span.end,
        };
        clause.read(&mut tokens)?;
        at = clause.at;
    }
    Ok(Piece { tokens, ..piece })
}

/// Whether a clause begins here. `JOIN distribute USING (k)` is another thing.
fn begins(tokens: &[TokenWithSpan], at: usize) -> bool {
    let is = |at: usize, word: &str| tokens.get(at).is_some_and(|t| is_word(&t.token, word));
    let is_name = |at: usize| matches!(tokens.get(at).map(|t| &t.token), Some(Token::Word(_)));
    is(at, "DISTRIBUTE") && (is(at + 1, "BY") || is(at + 1, "USING") && is_name(at + 2))
}

/// Reads one clause.
struct Clause<'a> {
    tokens: &'a [TokenWithSpan],
    at: usize,
    source: &'a Source,
    /// Where the statement ends.
    end: usize,
}

impl Clause<'_> {
    fn read(&mut self, out: &mut Vec<TokenWithSpan>) -> Result<()> {
        let start = self.tokens[self.at].span;
        self.at += 1;
        self.take("BY");
        let keys = self.keys()?;
        let after = self.peek().map_or(start, |token| token.span);
        let way = match self.take("USING") {
            true => self.way()?,
            false => Way::Hash,
        };
        let seed = match way {
            Way::Random => self.seed()?,
            _ => "0".to_owned(),
        };
        self.check_keys(way, &keys)?;
        self.expect("INTO", "INTO and a number of partitions")?;
        let count = self.count()?;
        if !self.take("PARTITIONS") {
            self.expect("PARTITION", "PARTITIONS")?;
        }
        if self
            .peek()
            .is_some_and(|token| token.token != Token::RParen)
        {
            let error = self.expected("the end of the query");
            return Err(error.hint(
                "DISTRIBUTE BY comes last; write SELECT … FROM (… INTO 4 PARTITIONS) around it",
            ));
        }
        let mut push = |token: Token, span: Span| out.push(TokenWithSpan { token, span });
        let number = |text: String| Token::Number(text, false);
        push(Token::VerticalBarRightAngleBracket, start);
        push(Token::make_keyword("CALL"), start);
        push(Token::make_word(NAME, None), start);
        push(Token::LParen, start);
        push(number((way as usize).to_string()), start);
        push(Token::Comma, start);
        push(number(count.0), count.1);
        push(Token::Comma, start);
        push(number(seed), start);
        if !keys.is_empty() {
            push(Token::make_keyword("ORDER"), start);
            push(Token::make_keyword("BY"), start);
        }
        for key in &self.tokens[keys] {
            push(key.token.clone(), key.span);
        }
        // What is wrong with the last key is found here.
        push(Token::RParen, after);
        Ok(())
    }

    /// The tokens up to the word that ends them.
    fn keys(&mut self) -> Result<Range<usize>> {
        let first = self.at;
        let mut depth = 0usize;
        while let Some(token) = self.peek() {
            match &token.token {
                Token::LParen | Token::LBracket | Token::LBrace => depth += 1,
                Token::RParen | Token::RBracket | Token::RBrace if depth == 0 => break,
                Token::RParen | Token::RBracket | Token::RBrace => depth -= 1,
                token if depth == 0 && (is_word(token, "USING") || is_word(token, "INTO")) => break,
                _ => {}
            }
            self.at += 1;
        }
        let last = self.tokens[first..self.at].last();
        match last.filter(|last| last.token == Token::Comma) {
            Some(comma) => {
                let next = match self.peek() {
                    Some(next) => format!("`{}`", self.text(next.span)),
                    None => "the end of the statement".to_owned(),
                };
                let error = Error::syntax(format!("a comma too many before {next}"));
                Err(error.at(self.source.range(comma.span)))
            }
            None => Ok(first..self.at),
        }
    }

    fn way(&mut self) -> Result<Way> {
        let Some(token) = self.peek() else {
            return Err(self.expected("HASH, RANGE, ROUND_ROBIN or RANDOM"));
        };
        let Token::Word(Word { value, .. }) = &token.token else {
            return Err(self.expected("HASH, RANGE, ROUND_ROBIN or RANDOM"));
        };
        let found = Way::ALL
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(value));
        let Some((_, way)) = found else {
            let names = Way::ALL.map(|(name, _)| name);
            let hint = did_you_mean(&near(value, names));
            let hint = hint.unwrap_or_else(|| "use HASH, RANGE, ROUND_ROBIN or RANDOM".into());
            let message = format!("rows cannot be distributed USING `{value}`");
            let error = Error::new(Code::UnknownOption, message).hint(hint);
            return Err(error.at(self.source.range(token.span)));
        };
        self.at += 1;
        Ok(*way)
    }

    /// `(7)`, or nothing.
    fn seed(&mut self) -> Result<String> {
        let opens = |token: &TokenWithSpan| token.token == Token::LParen;
        if self.peek().is_none_or(|token| !opens(token)) {
            return Ok("0".to_owned());
        }
        self.at += 1;
        let seed = match self.peek().map(|token| &token.token) {
            Some(Token::Number(digits, _)) if digits.parse::<u64>().is_ok() => digits.clone(),
            _ => return Err(self.expected("a whole number, the seed")),
        };
        self.at += 1;
        match self.peek() {
            Some(token) if token.token == Token::RParen => self.at += 1,
            _ => return Err(self.expected("`)`")),
        }
        Ok(seed)
    }

    fn check_keys(&self, way: Way, keys: &Range<usize>) -> Result<()> {
        let name = way.name();
        match (way.takes_keys(), keys.is_empty()) {
            (true, true) => {
                let error = self.expected("a key");
                let hint = "write DISTRIBUTE BY a INTO 4 PARTITIONS, or DISTRIBUTE USING ROUND_ROBIN INTO 4 PARTITIONS";
                Err(error.hint(hint))
            }
            (false, false) => {
                let keys = &self.tokens[keys.clone()];
                let span = Span::union_iter(keys.iter().map(|key| key.span));
                let error = Error::new(Code::Invalid, format!("USING {name} takes no keys"));
                let hint = format!("write DISTRIBUTE USING {name} INTO 4 PARTITIONS");
                Err(error.hint(hint).at(self.source.range(span)))
            }
            _ => Ok(()),
        }
    }

    fn count(&mut self) -> Result<(String, Span)> {
        let Some(token) = self.peek() else {
            return Err(self.expected("a number of partitions"));
        };
        let Token::Number(digits, _) = &token.token else {
            return Err(self.expected("a number of partitions"));
        };
        let at = self.source.range(token.span);
        let whole = digits.bytes().all(|digit| digit.is_ascii_digit());
        if !whole {
            return Err(self.expected("a number of partitions"));
        }
        // What does not fit is too large.
        let count = digits.parse::<usize>().unwrap_or(PARTITIONS_MAX + 1);
        check_count(count).map_err(|why| Error::new(Code::Invalid, why).at(at))?;
        let found = (digits.clone(), token.span);
        self.at += 1;
        Ok(found)
    }

    fn peek(&self) -> Option<&TokenWithSpan> {
        self.tokens.get(self.at)
    }

    fn take(&mut self, word: &str) -> bool {
        let found = self.peek().is_some_and(|token| is_word(&token.token, word));
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, word: &str, wanted: &str) -> Result<()> {
        match self.take(word) {
            true => Ok(()),
            false => Err(self.expected(wanted)),
        }
    }

    fn expected(&self, wanted: &str) -> Error {
        match self.peek() {
            Some(token) => {
                let found = self.text(token.span);
                Error::syntax(format!("expected {wanted}, found `{found}`"))
                    .at(self.source.range(token.span))
            }
            None => Error::syntax(format!("expected {wanted}, found the end of the statement"))
                .at(self.end..self.end),
        }
    }

    fn text(&self, span: Span) -> &str {
        let range = self.source.range(span).unwrap_or_default();
        &self.source.text()[range]
    }
}

// ---- syntax tree -----------------------------------------------------------------------------

/// Whether pipes are that of a clause.
pub(super) fn is_clause(pipes: &[PipeOperator]) -> bool {
    matches!(pipes, [PipeOperator::Call { function, alias: None }] if function.name.to_string() == NAME)
}

/// Puts a query with a clause into one that DataFusion plans.
pub(super) fn unfold(query: &mut Query, source: &Source) -> Result<()> {
    if !is_clause(&query.pipe_operators) {
        return Ok(());
    }
    let Some(PipeOperator::Call { mut function, .. }) = query.pipe_operators.pop() else {
        return Ok(());
    };
    write_out_keys(&mut function, source)?;
    let body = SetExpr::Values(super::rewrite::no_values());
    let inner = std::mem::replace(query, wrap(body));
    *query = select_all(TableFactor::Derived {
        lateral: false,
        subquery: Box::new(inner),
        alias: None,
        sample: None,
    });
    if let SetExpr::Select(select) = query.body.as_mut() {
        select.distribute_by = vec![Expr::Function(function)];
    }
    Ok(())
}

/// Where the first clause of a query stands, if it has one.
pub(super) fn place(query: &Query) -> Option<Span> {
    struct First(Option<Span>);

    impl Visitor for First {
        type Break = Stop;

        fn pre_visit_select(&mut self, select: &Select) -> Flow {
            if let [Expr::Function(function)] = select.distribute_by.as_slice() {
                self.0.get_or_insert(function.name.span());
            }
            Flow::Continue(())
        }
    }

    let mut first = First(None);
    // It has nothing to stop for.
    let _ = look(query, &mut first);
    first.0
}

/// The keys as arguments, each with a number that says how it is ordered.
fn write_out_keys(function: &mut Function, source: &Source) -> Result<()> {
    let FunctionArguments::List(list) = &mut function.args else {
        return Ok(());
    };
    let is_range = matches!(
        list.args.first(),
        Some(FunctionArg::Unnamed(FunctionArgExpr::Expr(Expr::Value(way))))
            if way.value == number(Way::Range as usize)
    );
    for clause in std::mem::take(&mut list.clauses) {
        let FunctionArgumentClause::OrderBy(keys) = clause else {
            continue;
        };
        for key in keys {
            let options = options(&key, is_range, source)?;
            list.args.push(argument(key.expr));
            list.args.push(argument(Expr::Value(ValueWithSpan {
                value: number(options),
                span: Span::empty(),
            })));
        }
    }
    Ok(())
}

fn options(key: &OrderByExpr, is_range: bool, source: &Source) -> Result<usize> {
    let OrderByExpr {
        expr,
        options,
        with_fill,
    } = key;
    let at = source.range(expr.span());
    if with_fill.is_some() {
        return Err(Error::unsupported("WITH FILL is not supported").at(at));
    }
    if !is_range && (options.asc.is_some() || options.nulls_first.is_some()) {
        let error = Error::new(
            Code::Invalid,
            "a hash has no order: ASC, DESC and NULLS are for USING RANGE",
        );
        return Err(error.at(at));
    }
    let ascending = options.asc.unwrap_or(true);
    // As ORDER BY has it: NULL is greater than all else.
    let nulls_first = options.nulls_first.unwrap_or(!ascending);
    Ok(usize::from(ascending) + 2 * usize::from(nulls_first))
}

fn number(number: usize) -> Value {
    Value::Number(number.to_string(), false)
}

fn argument(expr: Expr) -> FunctionArg {
    FunctionArg::Unnamed(FunctionArgExpr::Expr(expr))
}

// ---- plan ------------------------------------------------------------------------------------

/// The plan with a division in the place of each call.
pub(super) fn restore(plan: LogicalPlan) -> Result<LogicalPlan, crate::Error> {
    let mut refused = None;
    let restored = plan.transform_up_with_subqueries(|node| {
        let LogicalPlan::Repartition(Repartition {
            input,
            partitioning_scheme: Partitioning::DistributeBy(exprs),
        }) = &node
        else {
            return Ok(Transformed::no(node));
        };
        let [PlanExpr::ScalarFunction(call)] = exprs.as_slice() else {
            return Ok(Transformed::no(node));
        };
        if call.name() != NAME {
            return Ok(Transformed::no(node));
        }
        let (by, count) = meant(&call.args)?;
        match partition(input.as_ref().clone(), by, count, Met::Stays) {
            Ok(divided) => Ok(Transformed::yes(divided)),
            Err(error) => {
                refused = Some(error);
                Ok(Transformed::no(node))
            }
        }
    });
    match refused {
        Some(error) => Err(error),
        None => Ok(restored.data()?),
    }
}

/// What the arguments of a call say.
fn meant(args: &[PlanExpr]) -> DataFusionResult<(By, usize)> {
    let Some(([way, count, seed], keys)) = args.split_first_chunk() else {
        return internal_err!("a division has a way, a count and a seed");
    };
    let keys = keys.chunks(2).map(|pair| match pair {
        [key, options] => {
            let options = whole(options)?;
            Ok(key.clone().sort(options & 1 == 1, options & 2 == 2))
        }
        _ => internal_err!("a key has its options"),
    });
    let keys: Vec<SortExpr> = keys.collect::<DataFusionResult<_>>()?;
    let way = Way::ALL.get(whole(way)? as usize).map(|(_, way)| *way);
    let by = match way {
        Some(Way::Hash) => By::Hash(keys.into_iter().map(|key| key.expr).collect()),
        Some(Way::Range) => By::Range { keys, bounds: None },
        Some(Way::RoundRobin) => By::RoundRobin,
        Some(Way::Random) => By::Random { seed: whole(seed)? },
        None => return internal_err!("there is no such way to divide rows"),
    };
    Ok((by, whole(count)? as usize))
}

fn whole(expr: &PlanExpr) -> DataFusionResult<u64> {
    match expr {
        PlanExpr::Literal(ScalarValue::Int64(Some(number)), _) => {
            u64::try_from(*number).map_err(|error| DataFusionError::External(Box::new(error)))
        }
        PlanExpr::Literal(ScalarValue::UInt64(Some(number)), _) => Ok(*number),
        _ => internal_err!("a division is described by numbers"),
    }
}

/// The call as a function, so that plans can hold it for a moment.
pub(super) fn function() -> Arc<ScalarUDF> {
    static CALL: LazyLock<Arc<ScalarUDF>> = LazyLock::new(|| {
        Arc::new(ScalarUDF::new_from_impl(Call {
            signature: Signature::variadic_any(Volatility::Immutable),
        }))
    });
    Arc::clone(&CALL)
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct Call {
    signature: Signature,
}

impl ScalarUDFImpl for Call {
    fn name(&self) -> &str {
        NAME
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> DataFusionResult<DataType> {
        Ok(DataType::Boolean)
    }

    fn invoke_with_args(&self, _: ScalarFunctionArgs) -> DataFusionResult<ColumnarValue> {
        internal_err!("a division of rows is no value")
    }
}
