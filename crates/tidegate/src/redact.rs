//! Takes secrets out of a text before a person or a file gets to see it: credentials inside of
//! URLs, and values of options, settings and parameters whose names sound like secrets. It reads
//! statements, meta commands of a shell and messages alike.

use std::borrow::Cow;
use std::ops::Range;

/// What stands in the place of a secret.
const REDACTED: &str = "***";
/// Ends of words that make a name sound like one of a secret.
const SECRET_ENDS: &[&str] = &[
    "secret",
    "password",
    "passwd",
    "passphrase",
    "token",
    "credential",
    "credentials",
    "signature",
    "bearer",
    "authorization",
];
/// Ends of whole names that do: a `key` alone is more often a column.
const SECRET_KEYS: &[&str] = &[
    "accesskey",
    "accountkey",
    "apikey",
    "secretkey",
    "privatekey",
    "sharedkey",
    "encryptionkey",
    "masterkey",
];
/// Whole words that do.
const SECRET_WORDS: &[&str] = &["pw", "pwd"];
/// Whole words that do in a URL and in a command, where no column can be meant.
const SECRET_SHORT: &[&str] = &["key", "sas", "sig", "pass", "auth"];

/// The text with `***` in the place of each secret.
///
/// ```
/// let sql = "SELECT * FROM 'https://me:word@host/a.csv?sig=abc'";
/// assert_eq!(tidegate::redacted(sql), "SELECT * FROM 'https://***@host/a.csv?sig=***'");
/// ```
pub fn redacted(text: &str) -> Cow<'_, str> {
    replaced(text, |_| REDACTED.into())
}

/// The text with a star for each byte of a secret, so that places in it stay where they are.
///
/// ```
/// assert_eq!(tidegate::masked("SET s3.token = 'abcd'"), "SET s3.token = '****'");
/// ```
pub fn masked(text: &str) -> Cow<'_, str> {
    replaced(text, |secret| "*".repeat(secret.len()))
}

fn replaced(text: &str, by: impl Fn(&str) -> String) -> Cow<'_, str> {
    let secrets = secrets(text);
    if secrets.is_empty() {
        return Cow::Borrowed(text);
    }
    let mut clean = String::with_capacity(text.len());
    let mut at = 0;
    for secret in secrets {
        clean.push_str(&text[at..secret.start]);
        clean.push_str(&by(&text[secret.clone()]));
        at = secret.end;
    }
    clean.push_str(&text[at..]);
    Cow::Owned(clean)
}

/// Where the secrets are, in order and apart from each other.
fn secrets(text: &str) -> Vec<Range<usize>> {
    let mut found = in_options(text);
    found.extend(in_urls(text));
    found.retain(|range| !range.is_empty());
    found.sort_by_key(|range| (range.start, range.end));
    let mut apart: Vec<Range<usize>> = Vec::new();
    for range in found {
        match apart.last_mut() {
            Some(last) if range.start < last.end => last.end = last.end.max(range.end),
            _ => apart.push(range),
        }
    }
    apart
}

/// What follows a name that sounds like a secret: a text in quotes, and where values need no
/// quotes, any value.
fn in_options(text: &str) -> Vec<Range<usize>> {
    let mut bare_values = takes_bare_values(text);
    let mut found = Vec::new();
    let mut name = String::new();
    let mut assigned = false;
    let mut at = 0;
    while let Some(first) = text[at..].chars().next() {
        let end = at + token_len(&text[at..], first);
        let token = &text[at..end];
        let is_secret = match bare_values {
            true => is_secret_parameter,
            false => is_secret,
        };
        match first {
            ';' | '\n' => bare_values = takes_bare_values(&text[end..]),
            '\'' | '$' if is_secret(&name) && is_quoted(token) => {
                found.push(inside(text, at..end));
                name.clear();
            }
            c if is_word(c) && text[end..].starts_with('\'') && token.len() <= 2 => {
                // The E of E'…': the text is the value.
            }
            c if is_word(c) && bare_values && assigned && is_secret(&name) => {
                let value = at..bare_end(text, at);
                found.push(value.clone());
                name.clear();
                (at, assigned) = (value.end, false);
                continue;
            }
            '\'' | '"' | '`' => name = token.trim_matches(['\'', '"', '`']).into(),
            c if is_word(c) => name = token.into(),
            _ => {}
        }
        assigned = match first {
            '=' => true,
            c if c.is_whitespace() => assigned,
            _ => false,
        };
        at = end;
    }
    found
}

/// Meta commands and SET take values without quotes.
fn takes_bare_values(text: &str) -> bool {
    let start = text.trim_start();
    let set = start
        .get(..4)
        .is_some_and(|word| word.eq_ignore_ascii_case("set "));
    set || start.starts_with(['.', '\\'])
}

fn bare_end(text: &str, from: usize) -> usize {
    let ends = |c: char| c.is_whitespace() || c == ';';
    text[from..].find(ends).map_or(text.len(), |at| from + at)
}

/// A quoted text without its quotes.
fn inside(text: &str, quoted: Range<usize>) -> Range<usize> {
    let token = &text[quoted.clone()];
    let quote = match token.starts_with('\'') {
        true => 1,
        false => token[1..].find('$').map_or(1, |at| at + 2),
    };
    let closed = token.len() >= 2 * quote && token.ends_with(&token[..quote]);
    let end = quoted.end - if closed { quote } else { 0 };
    quoted.start + quote..end
}

/// The bytes of the token at the start of a text.
fn token_len(text: &str, first: char) -> usize {
    match first {
        '\'' | '"' | '`' => quoted_len(text, first),
        '$' => dollar_quoted_len(text).unwrap_or(1),
        c if is_word(c) => text.find(|c| !is_word(c)).unwrap_or(text.len()),
        c => c.len_utf8(),
    }
}

fn is_quoted(token: &str) -> bool {
    token.starts_with('\'') || token.len() > 1
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-')
}

/// The bytes of a quoted token, its quotes included; doubled quotes belong to it.
fn quoted_len(text: &str, quote: char) -> usize {
    let mut at = 1;
    while let Some(end) = text[at..].find(quote) {
        at += end + 1;
        match text[at..].starts_with(quote) {
            true => at += 1,
            false => return at,
        }
    }
    text.len()
}

/// The bytes of `$tag$…$tag$`.
fn dollar_quoted_len(text: &str) -> Option<usize> {
    let tag_end = text[1..].find('$')? + 2;
    let tag = &text[..tag_end];
    let plain = |c: char| c.is_alphanumeric() || c == '_';
    if !tag[1..tag_end - 1].chars().all(plain) {
        return None;
    }
    let end = text[tag_end..].find(tag);
    Some(end.map_or(text.len(), |at| tag_end + at + tag_end))
}

fn is_secret(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    let mut words = lower.split(|c: char| !c.is_alphanumeric());
    let by_word = words.any(|word| {
        SECRET_ENDS.iter().any(|end| word.ends_with(end)) || SECRET_WORDS.contains(&word)
    });
    by_word || {
        let compact: String = lower.chars().filter(|c| c.is_alphanumeric()).collect();
        SECRET_KEYS.iter().any(|key| compact.ends_with(key))
    }
}

/// The same where the name cannot be that of a column.
fn is_secret_parameter(name: &str) -> bool {
    let lower = name.to_ascii_lowercase();
    is_secret(name) || SECRET_SHORT.contains(&lower.trim_start_matches('$'))
}

/// The user information and the secret parts of the query of each URL.
fn in_urls(text: &str) -> Vec<Range<usize>> {
    let mut found = Vec::new();
    for (at, mark) in text.match_indices("://") {
        let start = at + mark.len();
        let ends = |c: char| c.is_whitespace() || matches!(c, '\'' | '"' | '`' | '<' | '>');
        let end = text[start..].find(ends).map_or(text.len(), |at| start + at);
        let rest = &text[start..end];
        if let Some(user) = user_len(&text[..at], rest) {
            found.push(start..start + user);
        }
        let Some(question) = rest.find('?') else {
            continue;
        };
        let mut part_start = start + question + 1;
        for part in text[part_start..end].split(['&', ';', '#']) {
            if let Some((name, value)) = part.split_once('=')
                && is_secret_parameter(name)
            {
                let value_start = part_start + name.len() + 1;
                found.push(value_start..value_start + value.trim_end_matches([')', ',']).len());
            }
            part_start += part.len() + 1;
        }
    }
    found
}

/// The bytes of what stands before the `@` of a URL's host, if it is a secret.
fn user_len(scheme: &str, rest: &str) -> Option<usize> {
    let authority = &rest[..rest.find(['/', '?', '#']).unwrap_or(rest.len())];
    let user = match authority.rfind('@') {
        Some(at) => at,
        // A password with an unquoted `/`: what follows the `:` is no port.
        None => {
            let (_, port) = authority.split_once(':')?;
            let is_port = port.bytes().all(|byte| byte.is_ascii_digit());
            if is_port || authority.starts_with('[') {
                return None;
            }
            rest.split('?').next()?.rfind('@')?
        }
    };
    // `abfss://container@account` names a container.
    let container = scheme.ends_with("abfss") || scheme.ends_with("abfs");
    (!container || rest[..user].contains(':')).then_some(user)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expect: &str) {
        assert_eq!(redacted(text), expect);
        assert_eq!(masked(text).len(), text.len());
        assert_eq!(redacted(&redacted(text)), expect, "once is enough");
    }

    #[test]
    fn values_of_options_that_sound_like_secrets_are_taken_out() {
        check(
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 's3://b/x' OPTIONS ('aws.secret_access_key' 'abc', aws.region 'eu', token = 'it''s')",
            "CREATE EXTERNAL TABLE t STORED AS CSV LOCATION 's3://b/x' OPTIONS ('aws.secret_access_key' '***', aws.region 'eu', token = '***')",
        );
        check("token = E'a\\nb', x = 'y'", "token = E'***', x = 'y'");
        check("password => $$abc$$, $1", "password => $$***$$, $1");
        check("password => $a$b$a$", "password => $a$***$a$");
        check("secret 'not closed", "secret '***");
    }

    #[test]
    fn values_without_quotes_are_taken_out_of_commands_and_settings() {
        check(".params token=abc x=1", ".params token=*** x=1");
        check(".params pw=a-b/c pass='d e'", ".params pw=*** pass='***'");
        check(".params $key=a", ".params $key=***");
        check("\\params my_secret=a", "\\params my_secret=***");
        check("SET s3.session_token = abc;", "SET s3.session_token = ***;");
        check("set sql_tokens_max = 500", "set sql_tokens_max = 500");
    }

    #[test]
    fn credentials_in_urls_are_taken_out() {
        check(
            "select * from 'https://me:pw@host/a.csv?sig=abc&x=1&X-Amz-Signature=q'",
            "select * from 'https://***@host/a.csv?sig=***&x=1&X-Amz-Signature=***'",
        );
        check(
            "there is no file `https://u:p/w@h/a@b.csv?token=abc`, see https://h/?key=1.",
            "there is no file `https://***@b.csv?token=***`, see https://h/?key=***",
        );
        check(
            "s3://k:s@b/x abfss://c@acc/x",
            "s3://***@b/x abfss://c@acc/x",
        );
        check("http://[::1]:80/a@b", "http://[::1]:80/a@b");
        check(
            "https://h:8080/a@b?X-Amz-Date=1",
            "https://h:8080/a@b?X-Amz-Date=1",
        );
    }

    #[test]
    fn everything_else_stays() {
        for sql in [
            "select 'a', \"b\" from t where x = 'é' -- c",
            "select 'open",
            "",
            "from 'data/*.parquet'",
            "select $1, $$ from t",
            "select orders.token = x from t",
            "select * from t where key = 'a' and o_orderkey = 'b'",
        ] {
            check(sql, sql);
        }
    }

    #[test]
    fn masks_keep_places() {
        let sql = "from 'https://me:wörd@h/a' whre";
        let clean = masked(sql);
        assert_eq!(clean.find("whre"), sql.find("whre"));
        assert!(!clean.contains("rd@"), "{clean}");
    }
}
