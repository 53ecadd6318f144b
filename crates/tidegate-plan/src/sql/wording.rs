//! The sentences of DataFusion and Arrow that a user's mistake brings up, and ours for them.
//! What is not known here is cleaned, and withheld if it still shows insides.

use super::error::{Code, Error};
use super::errors::{between, division_by_zero};
use super::overflow::overflow;
use super::subqueries;
use super::timestamp_text;

/// Our words for a message we know.
pub(crate) fn known(message: &str) -> Option<Error> {
    let has = |text: &str| message.contains(text);
    let lower = message.to_lowercase();
    if lower.contains("divide by zero") || lower.contains("division by zero") {
        return Some(division_by_zero());
    }
    if lower.contains("offset overflow") {
        return Some(super::errors::too_much_text());
    }
    if lower.contains("overflow") {
        return Some(overflow(message));
    }
    if let Some(error) = timestamp_text::of_message(message) {
        return Some(error);
    }
    if has("must appear in the GROUP BY clause") || has("must be in GROUP BY") {
        return Some(group_by(message));
    }
    if let Some((left, op, right)) = comparison(message) {
        return Some(
            Error::new(
                Code::TypeMismatch,
                format!("{left} and {right} cannot be combined by `{op}`"),
            )
            .hint("cast one of them: CAST(x AS type)"),
        );
    }
    if let Some(error) = call(message) {
        return Some(error);
    }
    for (text, code, ours, hint) in subqueries::SENTENCES.iter().chain(SENTENCES) {
        if has(text) {
            let error = Error::new(*code, *ours);
            return Some(if hint.is_empty() {
                error
            } else {
                error.hint(*hint)
            });
        }
    }
    templates(message)
}

/// A part of DataFusion's sentence, our code, our sentence, our advice.
const SENTENCES: &[(&str, Code, &str, &str)] = &[
    (
        "Aggregate functions are not allowed in the WHERE clause",
        Code::Grouping,
        "an aggregate cannot stand in WHERE",
        "filter groups with HAVING",
    ),
    (
        "HAVING clause references",
        Code::Grouping,
        "HAVING needs GROUP BY or an aggregate",
        "filter rows with WHERE",
    ),
    (
        "SELECT * with no tables specified",
        Code::Invalid,
        "`*` needs a FROM",
        "",
    ),
    (
        "QUALIFY clause requires window functions",
        Code::Grouping,
        "QUALIFY needs a window function",
        "filter rows with WHERE, groups with HAVING",
    ),
    (
        "ORDER BY expressions",
        Code::Grouping,
        "with DISTINCT, ORDER BY can only use columns of the result",
        "add the expression to the list of columns",
    ),
    (
        "Order by index starts at 1",
        Code::Invalid,
        "ORDER BY counts columns from 1",
        "",
    ),
    (
        "queries have different number of columns",
        Code::TypeMismatch,
        "the two queries have different numbers of columns",
        "",
    ),
    (
        "must have the same number of columns",
        Code::TypeMismatch,
        "the two queries have different numbers of columns",
        "",
    ),
    (
        "scalar subquery should only return one column",
        Code::Invalid,
        "a query used as a value must have one column",
        "",
    ),
    (
        "Too many columns! The subquery should only return one column",
        Code::Invalid,
        "a query used as a value must have one column",
        "",
    ),
    (
        "returned more than one row",
        Code::InvalidValue,
        "a query used as a value gave more than one row",
        "add LIMIT 1 or an aggregate",
    ),
    (
        "is source dependent and cannot be evaluated directly",
        Code::Unsupported,
        "`_file` and `_row` are known only for tables over files",
        "",
    ),
    (
        "Conflicting ordering requirements in aggregate functions",
        Code::Unsupported,
        "aggregates that depend on different ORDER BY in one SELECT are not supported",
        "compute each in a subquery of its own, and join them",
    ),
    (
        "unique expression names",
        Code::Duplicate,
        "two columns of a query have the same name",
        "give one of them another name with AS",
    ),
    (
        "Physical plan does not support logical expression WindowFunction",
        Code::Grouping,
        "a window function cannot stand in WHERE",
        "filter its result with QUALIFY",
    ),
    (
        "Physical plan does not support logical expression",
        Code::Unsupported,
        "this kind of subquery cannot be planned",
        "write it as a join, or in a WITH query of its own",
    ),
    (
        "requires an ORDER BY",
        Code::Grouping,
        "this window needs an ORDER BY",
        "",
    ),
    (
        "Expected LIMIT to be an integer",
        Code::TypeMismatch,
        "LIMIT takes a whole number",
        "",
    ),
    (
        "Expected OFFSET to be an integer",
        Code::TypeMismatch,
        "OFFSET takes a whole number",
        "",
    ),
    (
        "LIMIT must be >= 0",
        Code::Invalid,
        "LIMIT cannot be negative",
        "",
    ),
    (
        "OFFSET must be >=0",
        Code::Invalid,
        "OFFSET cannot be negative",
        "",
    ),
    (
        "cannot be nested",
        Code::Grouping,
        "an aggregate cannot contain another",
        "put the inner one into a subquery",
    ),
];

fn templates(message: &str) -> Option<Error> {
    if let Some(error) = of_values(message).or_else(|| of_functions(message)) {
        return Some(error);
    }
    if let Some((_, found)) = message.split_once("non-boolean predicate")
        && let Some((_, found)) = found.rsplit_once("returning ")
    {
        let found = article(&types(found.trim()));
        let text = format!("the condition is {found}, not true or false");
        return Some(Error::new(Code::TypeMismatch, text).hint("compare it with something"));
    }
    if let Some((_, qualifier)) = message.split_once("Invalid qualifier ") {
        return Some(Error::new(
            Code::UnknownTable,
            format!("there is no table or alias `{}` here", qualifier.trim()),
        ));
    }
    if let Some((_, sides)) = message.split_once("Cannot automatically convert ")
        && let Some((from, to)) = sides.split_once(" to ")
    {
        let text = format!("{} is no {}", types(from), types(to.trim()));
        return Some(
            Error::new(Code::TypeMismatch, text).hint("cast one of them: CAST(x AS type)"),
        );
    }
    if message.contains("too large to store") {
        return Some(bad_value(message));
    }
    if let Some(sides) = between(message, "common type to coerce ", " in LIKE expression") {
        let text = format!("LIKE takes texts, not {}", types(sides));
        return Some(Error::new(Code::TypeMismatch, text).hint("cast them: CAST(x AS VARCHAR)"));
    }
    if let Some(rest) = message.split_once("Order by column out of bounds, specified: ") {
        let (given, most) = rest.1.split_once(", max: ")?;
        return Some(Error::new(
            Code::Invalid,
            format!(
                "ORDER BY {given} counts past the last of {}",
                columns(number(most))
            ),
        ));
    }
    if let Some(at) = between(
        message,
        "Cannot find column with position ",
        " in SELECT clause",
    ) {
        return Some(Error::new(
            Code::Invalid,
            format!("GROUP BY {at} counts past the last column of the list"),
        ));
    }
    if let Some(name) = between(message, "WITH query name \"", "\"") {
        return Some(Error::new(
            Code::Duplicate,
            format!("two WITH queries are named `{name}`"),
        ));
    }
    if let Some(rest) = message.split_once("Source table contains ") {
        let has = number(rest.1);
        let given = between(message, "but only ", " names").unwrap_or("other");
        return Some(Error::new(
            Code::Invalid,
            format!("{given} column names are given for {}", columns(has)),
        ));
    }
    if let Some(name) = between(message, "table '", "' not found") {
        return Some(Error::new(
            Code::UnknownTable,
            format!("there is no table `{name}`"),
        ));
    }
    for what in ["length", "type"] {
        if message.contains(&format!("Inconsistent data {what} across values list")) {
            let text = format!("the rows of VALUES differ in {what}");
            return Some(Error::new(Code::TypeMismatch, text));
        }
    }
    if let Some(name) = between(message, "The window ", " is not defined") {
        return Some(Error::new(
            Code::Invalid,
            format!("there is no window `{}`", name.trim_matches('"')),
        ));
    }
    None
}

/// Values that do not fit a type.
fn of_values(message: &str) -> Option<Error> {
    if let Some((value, rest)) = message.split_once(" is too large to store in a ")
        && let Some((_, most)) = rest.split_once("Max is ")
    {
        let value = value.rsplit(' ').next()?;
        let text = format!("{value} does not fit the DECIMAL, which holds at most {most}");
        return Some(Error::new(Code::Overflow, text).hint(TRY));
    }
    if let Some((value, to)) = between(message, "Cannot cast value '", " type")
        .and_then(|found| found.split_once("' to value of "))
    {
        let text = format!("`{}` is not {}", clip(value), article(&types(to)));
        return Some(Error::new(Code::InvalidValue, text).hint(TRY));
    }
    if let Some((value, to)) = between(message, "Value of ", "\n")
        .or(message.split_once("alue of ").map(|(_, rest)| rest))
        .and_then(|found| found.split_once(" is out of range "))
    {
        let text = format!("{value} does not fit {}", article(&types(to)));
        return Some(Error::new(Code::Overflow, text).hint(TRY));
    }
    if let Some(error) = timestamp_text::of_message(message) {
        return Some(error);
    }
    if let Some((_, value)) = message.split_once("input syntax for type interval: ") {
        let text = format!("`{}` is not an INTERVAL", value.trim_matches('"'));
        return Some(Error::new(Code::InvalidValue, text).hint("write it as in INTERVAL '3 days'"));
    }
    if let Some(zone) = between(message, "Invalid timezone \"", "\"") {
        let text = format!("there is no time zone `{zone}`");
        return Some(Error::new(Code::InvalidValue, text).hint("write it as in `Europe/Berlin`"));
    }
    let (from, to) = message
        .split_once("Unsupported CAST from ")?
        .1
        .split_once(" to ")?;
    let text = format!("{} cannot be cast to {}", types(from), types(to));
    Some(Error::new(Code::TypeMismatch, text))
}

/// What a function says of its own arguments.
fn of_functions(message: &str) -> Option<Error> {
    let invalid = |text: String| Error::new(Code::Invalid, text);
    if let Some((unit, known)) = between(message, "granularity: '", ".\n")
        .or(message.split_once("granularity: '").map(|(_, rest)| rest))
        .and_then(|found| found.split_once("'. Supported values are: "))
    {
        let error = invalid(format!("date_trunc has no unit `{unit}`"));
        return Some(error.hint(format!("there are {}", known.replace(['\'', '.'], ""))));
    }
    if let Some(part) = between(message, "Date part '", "' not supported") {
        return Some(invalid(format!("a date has no part `{part}`")));
    }
    if message.contains("regex parse error") {
        let why = message
            .lines()
            .rev()
            .find(|line| line.starts_with("error: "))?;
        let error = invalid(format!(
            "bad regular expression: {}",
            &why["error: ".len()..]
        ));
        return Some(error.hint("a sign meant as itself stands behind a `\\`"));
    }
    if message.contains("Cannot access field at argument") {
        let found = between(message, "type ", " is not").map(types)?;
        return Some(Error::new(
            Code::TypeMismatch,
            format!("{} has no fields", article(&found)),
        ));
    }
    if let Some(name) = between(
        message,
        "Unsupported type '",
        "'. Must be a supported arrow type",
    ) {
        let error = Error::new(
            Code::UnknownType,
            format!("arrow_cast knows no type `{name}`"),
        );
        return Some(error.hint("write CAST(x AS type) with a type of SQL"));
    }
    let operator = between(message, "Unary operator '", "'")?;
    match operator {
        "NOT" => Some(Error::new(Code::TypeMismatch, "NOT takes true or false")),
        _ => Some(
            Error::new(
                Code::TypeMismatch,
                format!("`{operator}` takes a number or an interval"),
            )
            .hint("cast it: CAST(x AS type)"),
        ),
    }
}

const TRY: &str = "TRY_CAST gives NULL instead";

/// `1 column`, `2 columns`.
pub(crate) fn columns(count: &str) -> String {
    let s = if count == "1" { "" } else { "s" };
    format!("{count} column{s}")
}

pub(super) fn number(text: &str) -> &str {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    &text[..end]
}

fn group_by(message: &str) -> Error {
    let column = between(message, "column \"", "\"")
        .or_else(|| between(message, "Expression ", " could not be resolved"))
        .or_else(|| between(message, "HAVING clause references: ", " must appear"));
    let text = match column {
        Some(column) if !looks_inside(column) => {
            format!(
                "`{}` must be in GROUP BY or inside an aggregate",
                names(column)
            )
        }
        _ => "a column must be in GROUP BY or inside an aggregate".to_string(),
    };
    Error::new(Code::Grouping, text)
        .hint("write GROUP BY ALL to group by every column that is no aggregate")
}

/// `Cannot coerce arithmetic expression Utf8 + Int64 to valid types` and its kin.
fn comparison(message: &str) -> Option<(String, String, String)> {
    let starts = [
        "Cannot coerce arithmetic expression ",
        "Cannot infer common argument type for comparison operation ",
        "Cannot infer common argument type for logical boolean operation ",
        "Cannot infer common argument type for regex operation ",
        "Cannot infer common array type for bitwise operation ",
    ];
    let rest = starts
        .iter()
        .find_map(|start| message.split_once(start))
        .map(|(_, rest)| rest)?;
    let rest = rest.lines().next()?;
    let rest = rest.strip_suffix(" to valid types").unwrap_or(rest);
    let operators = [
        " IS NOT DISTINCT FROM ",
        " IS DISTINCT FROM ",
        " AND ",
        " OR ",
        " <= ",
        " >= ",
        " != ",
        " = ",
        " < ",
        " > ",
        " + ",
        " - ",
        " * ",
        " / ",
        " % ",
        " !~* ",
        " ~* ",
        " !~ ",
        " ~ ",
        " || ",
        " << ",
        " >> ",
        " & ",
        " | ",
    ];
    let (op, (left, right)) = operators
        .iter()
        .find_map(|op| rest.split_once(op).map(|sides| (op, sides)))?;
    Some((types(left), op.trim().to_string(), types(right)))
}

/// A function that does not take these arguments.
fn call(message: &str) -> Option<Error> {
    let call = between(
        message,
        "No function matches the given name and argument types '",
        "'",
    );
    if let Some(call) = call {
        let (name, arguments) = call.split_once('(')?;
        let arguments = types(arguments.trim_end_matches(')'));
        if arguments.is_empty() {
            return Some(Error::new(
                Code::TypeMismatch,
                format!("`{name}` takes arguments"),
            ));
        }
        let text = format!("`{name}` does not take ({arguments})");
        return Some(
            Error::new(Code::TypeMismatch, text).hint("cast the arguments: CAST(x AS type)"),
        );
    }
    let name = between(message, "to satisfy a call to '", "' function")
        .or_else(|| between(message, "Function '", "'"))?;
    if message.contains("does not support zero arguments")
        || message.contains("expected at least one argument")
        || message.contains("received 0")
        || message.contains("received zero")
    {
        return Some(Error::new(
            Code::TypeMismatch,
            format!("`{name}` takes arguments"),
        ));
    }
    if message.contains("does not support named arguments") {
        return Some(Error::new(
            Code::Invalid,
            format!("`{name}` takes its arguments by place, not by name"),
        ));
    }
    if let Some(wanted) = between(message, "expects ", " arguments but received ") {
        let given = message
            .rsplit_once("received ")
            .map(|(_, given)| number(given))?;
        return Some(Error::new(
            Code::TypeMismatch,
            format!("`{name}` takes {wanted} arguments, not {given}"),
        ));
    }
    Some(
        Error::new(
            Code::TypeMismatch,
            format!("`{name}` does not take arguments of these types"),
        )
        .hint("cast the arguments: CAST(x AS type)"),
    )
}

/// A value that cannot be read as a type.
pub(crate) fn bad_value(message: &str) -> Error {
    if let Some(error) = of_values(message) {
        return error;
    }
    let quoted = ["string '", "value '", "from '"]
        .iter()
        .find_map(|before| between(message, before, "'"));
    let to = between(message, "to value of ", " type")
        .or_else(|| message.rsplit_once(" to ").map(|(_, to)| to))
        .map(types)
        .filter(|to| {
            to.chars()
                .all(|c| c.is_ascii_uppercase() || " (),0123456789".contains(c))
        });
    let hint = TRY;
    // Text is read into the widest decimal first: its digits would only mislead.
    let to = to.map(|to| match to.starts_with("DECIMAL") {
        true => "DECIMAL".to_string(),
        false => to,
    });
    match (quoted, to) {
        (Some(value), Some(to)) => Error::new(
            Code::InvalidValue,
            format!("`{}` is not {}", clip(value), article(&to)),
        )
        .hint(hint),
        _ if message.contains("Can't cast value") || message.contains("Cannot cast value") => {
            let value = message
                .split("cast value ")
                .nth(1)
                .and_then(|rest| rest.split_once(" to type "))
                .map(|(value, to)| (value.to_string(), types(to)));
            match value {
                Some((value, to)) if !looks_inside(&to) => Error::new(
                    Code::Overflow,
                    format!("{value} does not fit {}", article(&to)),
                )
                .hint(hint),
                _ => other(message, false).hint(hint),
            }
        }
        (Some(value), None) => Error::new(
            Code::InvalidValue,
            format!("`{}` cannot be read as this type", clip(value)),
        )
        .hint(hint),
        _ => {
            let mut error = other(message, false);
            error.code = Code::InvalidValue;
            error
        }
    }
}

fn article(type_name: &str) -> String {
    let an = type_name.starts_with(['I', 'U']);
    format!("{} {type_name}", if an { "an" } else { "a" })
}

pub(crate) fn not_implemented(message: &str) -> Error {
    if let Some(error) = known(message) {
        return error;
    }
    let text = line(message);
    if looks_inside(&text) {
        return Error::unsupported("this part of the statement is not supported");
    }
    let text = text
        .trim_end_matches(" yet")
        .trim_end_matches(" is not supported")
        .trim_end_matches(" not supported")
        .to_string();
    Error::unsupported(format!("not supported: {text}"))
}

/// A message not known here.
pub(crate) fn other(message: &str, internal: bool) -> Error {
    let text = line(message);
    if internal || looks_inside(&text) || text.is_empty() {
        return Error::new(
            if internal {
                Code::Defect
            } else {
                Code::Invalid
            },
            "this statement cannot be planned or run as it is written",
        )
        .hint("simplify it step by step to find the part that fails, and please report that part");
    }
    Error::new(Code::Invalid, text)
}

/// One line in our style: no prefixes, SQL's names of types, backticks, no full stop.
pub(crate) fn line(message: &str) -> String {
    let mut text = message.lines().next().unwrap_or_default().trim();
    let prefixes = [
        "Error during planning: ",
        "Execution error: ",
        "Internal error: ",
        "This feature is not implemented: ",
        "Arrow error: ",
        "Parquet error: ",
        "External error: ",
        "Invalid argument error: ",
        "Compute error: ",
        "Cast error: ",
        "Parser error: ",
        "Optimizer rule ",
        "IO error: ",
        "External: ",
        "Object Store error: ",
    ];
    while let Some(rest) = prefixes.iter().find_map(|prefix| text.strip_prefix(prefix)) {
        text = rest.trim();
    }
    let text = types(&quotes(text.trim_end_matches('.')));
    let mut chars = text.chars();
    match (chars.next(), chars.next()) {
        (Some(first), Some(second)) if first.is_uppercase() && second.is_lowercase() => {
            first.to_lowercase().chain(text.chars().skip(1)).collect()
        }
        _ => text,
    }
}

/// `'x'` as `` `x` ``, where the quotes stand around a word.
fn quotes(text: &str) -> String {
    if text.matches('\'').count().is_multiple_of(2) {
        text.replace('\'', "`")
    } else {
        text.to_string()
    }
}

/// Whether a text shows the insides of the program.
pub(crate) fn looks_inside(text: &str) -> bool {
    const MARKS: [&str; 14] = [
        "{",
        "}",
        "::",
        "Some(",
        "Expr",
        "Field",
        "LogicalPlan",
        "DataType",
        "ScalarValue",
        "Utf8(\"",
        "Int64(",
        "UDF",
        "Signature",
        "Optimizer",
    ];
    let mut marks = MARKS.iter().chain(subqueries::MARKS);
    marks.any(|mark| text.contains(mark)) || text.contains('\u{1}')
}

/// A column as the user would write it.
fn names(column: &str) -> String {
    column
        .replace('"', "")
        .trim_start_matches("?table?.")
        .to_string()
}

pub(super) fn clip(text: &str) -> String {
    const SHOWN_MAX: usize = 40;
    if text.chars().count() <= SHOWN_MAX {
        return text.to_string();
    }
    text.chars().take(SHOWN_MAX).chain("…".chars()).collect()
}

/// Arrow's names of types in a text as SQL's.
pub(crate) fn types(text: &str) -> String {
    const NAMES: [(&str, &str); 27] = [
        ("LargeUtf8", "VARCHAR"),
        ("Utf8View", "VARCHAR"),
        ("Utf8", "VARCHAR"),
        ("UInt64", "UBIGINT"),
        ("UInt32", "UINTEGER"),
        ("UInt16", "USMALLINT"),
        ("UInt8", "UTINYINT"),
        ("Int64", "BIGINT"),
        ("Int32", "INTEGER"),
        ("Int16", "SMALLINT"),
        ("Int8", "TINYINT"),
        ("Float64", "DOUBLE"),
        ("Float32", "REAL"),
        ("Float16", "REAL"),
        ("Boolean", "BOOLEAN"),
        ("Decimal256", "DECIMAL"),
        ("Decimal128", "DECIMAL"),
        ("Decimal64", "DECIMAL"),
        ("Decimal32", "DECIMAL"),
        ("Date32", "DATE"),
        ("Date64", "DATE"),
        ("Time64", "TIME"),
        ("Time32", "TIME"),
        ("Timestamp", "TIMESTAMP"),
        ("Interval", "INTERVAL"),
        ("Null", "NULL"),
        ("Binary", "BLOB"),
    ];
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let word = rest
            .find(|c: char| !c.is_ascii_alphanumeric())
            .unwrap_or(rest.len());
        if word == 0 {
            let end = rest.chars().next().map_or(rest.len(), char::len_utf8);
            out.push_str(&rest[..end]);
            rest = &rest[end..];
            continue;
        }
        let (found, after) = rest.split_at(word);
        rest = after;
        let Some((arrow, sql)) = NAMES.iter().find(|(arrow, _)| *arrow == found) else {
            out.push_str(found);
            continue;
        };
        out.push_str(sql);
        // Units and zones say nothing to a reader of SQL; precision and scale do.
        if !arrow.starts_with("Decimal")
            && rest.starts_with('(')
            && let Some(close) = rest.find(')')
        {
            rest = &rest[close + 1..];
        }
    }
    nested(out)
}

/// `List(BIGINT)` as `BIGINT[]`, and a struct without its fields.
fn nested(mut text: String) -> String {
    for (start, suffix) in [("LargeList(", "[]"), ("List(", "[]"), ("Struct(", "")] {
        while let Some(at) = text.find(start) {
            let open = at + start.len() - 1;
            let Some(close) = closing(&text, open) else {
                break;
            };
            let inner = match suffix {
                "" => "STRUCT".to_string(),
                _ => format!("{}{suffix}", &text[open + 1..close]),
            };
            text.replace_range(at..=close, &inner);
        }
    }
    text
}

/// The parenthesis that closes the one at `open`.
fn closing(text: &str, open: usize) -> Option<usize> {
    let mut depth = 0usize;
    for (at, byte) in text.bytes().enumerate().skip(open) {
        match byte {
            b'(' => depth += 1,
            b')' => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return Some(at);
        }
    }
    None
}
