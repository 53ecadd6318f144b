//! Texts of settings to values: sizes, durations, numbers and words. Errors are the end of a
//! sentence that names the setting.

use std::path::PathBuf;
use std::time::Duration;

use tidegate_plan::CheckpointMode;

const UNITS: &[(&str, u64)] = &[
    ("tib", 1 << 40),
    ("gib", 1 << 30),
    ("mib", 1 << 20),
    ("kib", 1 << 10),
    ("tb", 1_000_000_000_000),
    ("gb", 1_000_000_000),
    ("mb", 1_000_000),
    ("kb", 1_000),
    ("t", 1 << 40),
    ("g", 1 << 30),
    ("m", 1 << 20),
    ("k", 1 << 10),
    ("b", 1),
    ("", 1),
];

/// A size in bytes from text such as `1GiB`, `1.5 GB`, `512M` or `4096`.
pub fn parse_bytes(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let scale = UNITS
        .iter()
        .find(|(name, _)| *name == unit)
        .ok_or("sizes end in B, KB, MB, GB, TB, KiB, MiB, GiB or TiB")?
        .1;
    if let Ok(whole) = number.parse::<u64>() {
        return whole.checked_mul(scale).ok_or_else(|| "too large".into());
    }
    let value: f64 = number.parse().map_err(|_| "not a size")?;
    let bytes = value * scale as f64;
    if !(0.0..9.0e18).contains(&bytes) {
        return Err("out of range".into());
    }
    Ok(bytes as u64)
}

/// The shortest exact text of a size.
pub fn format_bytes(bytes: u64) -> String {
    for (unit, scale) in [
        ("TiB", 1u64 << 40),
        ("GiB", 1 << 30),
        ("MiB", 1 << 20),
        ("KiB", 1 << 10),
    ] {
        if bytes >= scale && bytes.is_multiple_of(scale) {
            return format!("{}{unit}", bytes / scale);
        }
    }
    format!("{bytes}B")
}

/// A duration from text such as `250ms`, `30s`, `5min` or `1h`; a bare number is seconds.
pub fn parse_duration(text: &str) -> Result<Duration, String> {
    let (number, unit) = split_unit(text);
    let scale = match unit.as_str() {
        "us" => 1e-6,
        "ms" => 1e-3,
        "" | "s" | "sec" => 1.0,
        "m" | "min" => 60.0,
        "h" => 3600.0,
        "d" => 86_400.0,
        _ => return Err("times end in ms, s, min, h or d".into()),
    };
    let value: f64 = number.parse().map_err(|_| "not a time")?;
    Duration::try_from_secs_f64(value * scale).map_err(|_| "out of range".into())
}

/// How much a durable job seals.
pub(super) fn mode(text: &str) -> Result<CheckpointMode, String> {
    match text.to_ascii_lowercase().as_str() {
        "auto" => Ok(CheckpointMode::Auto),
        "all" => Ok(CheckpointMode::All),
        "none" => Ok(CheckpointMode::None),
        _ => Err("it is none of the three".into()),
    }
}

/// The name of a mode.
pub(super) fn format_mode(mode: CheckpointMode) -> String {
    match mode {
        CheckpointMode::Auto => "auto",
        CheckpointMode::All => "all",
        CheckpointMode::None => "none",
    }
    .into()
}

/// The shortest exact text of a duration.
pub fn format_duration(duration: Duration) -> String {
    let (seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    match (seconds, nanos) {
        (_, 0) if seconds > 0 && seconds % 3600 == 0 => format!("{}h", seconds / 3600),
        (_, 0) if seconds > 0 && seconds % 60 == 0 => format!("{}min", seconds / 60),
        (_, 0) => format!("{seconds}s"),
        (_, n) if n % 1_000_000 == 0 => format!("{}ms", duration.as_millis()),
        _ => format!("{}us", duration.as_micros()),
    }
}

pub(super) fn integer(text: &str, least: i32, most: i32) -> Result<i32, String> {
    let value: i32 = text.parse().map_err(|_| "not a whole number")?;
    match (least..=most).contains(&value) {
        true => Ok(value),
        false => Err("out of range".into()),
    }
}

pub(super) fn number(text: &str, least: usize, most: usize) -> Result<usize, String> {
    let value: usize = text
        .replace('_', "")
        .parse()
        .map_err(|_| "not a whole number")?;
    if value < least || value > most {
        return Err("out of range".into());
    }
    Ok(value)
}

pub(super) fn word(text: &str, words: &[&str]) -> Result<String, String> {
    let lower = text.to_ascii_lowercase();
    let lower = match lower.as_str() {
        "on" | "true" if words.contains(&"always") => "always",
        "off" | "false" if words.contains(&"never") => "never",
        other => other,
    };
    match words.contains(&lower) {
        true => Ok(lower.to_string()),
        false => Err("not one of its words".into()),
    }
}

pub(super) fn switch(text: &str) -> Result<bool, String> {
    match text.to_ascii_lowercase().as_str() {
        "on" | "true" => Ok(true),
        "off" | "false" => Ok(false),
        _ => Err("not on or off".into()),
    }
}

pub(super) fn format_switch(on: bool) -> String {
    if on { "on".into() } else { "off".into() }
}

/// What stands between the paths of a list.
const PATH_SEPARATOR: char = ':';

pub(super) fn paths(text: &str) -> Vec<PathBuf> {
    let parts = text.split(PATH_SEPARATOR).filter(|part| !part.is_empty());
    parts.map(PathBuf::from).collect()
}

pub(super) fn format_paths(paths: &[PathBuf]) -> String {
    let texts: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
    texts.join(":")
}

pub(super) fn or_auto<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match text.eq_ignore_ascii_case("auto") {
        true => Ok(None),
        false => parse(text).map(Some),
    }
}

pub(super) fn or_none<T>(
    text: &str,
    parse: impl Fn(&str) -> Result<T, String>,
) -> Result<Option<T>, String> {
    match text.eq_ignore_ascii_case("none") {
        true => Ok(None),
        false => parse(text).map(Some),
    }
}

pub(super) fn time_zone(text: &str) -> Result<String, String> {
    use datafusion::arrow::array::timezone::Tz;
    text.parse::<Tz>()
        .map(|_| text.to_string())
        .map_err(|_| "not a time zone".into())
}

fn split_unit(text: &str) -> (String, String) {
    let text = text.trim().to_ascii_lowercase().replace('_', "");
    let at = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    (text[..at].to_string(), text[at..].trim().to_string())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn sizes_round_trip() {
        for (text, bytes) in [
            ("1GiB", 1 << 30),
            ("1.5gb", 1_500_000_000),
            ("512M", 512 << 20),
            ("7", 7),
        ] {
            assert_eq!(parse_bytes(text).unwrap(), bytes, "{text}");
            assert_eq!(parse_bytes(&format_bytes(bytes)).unwrap(), bytes);
        }
        for bad in ["", "x", "-1", "1Q", "99999999999999999999", "1e400GB"] {
            assert!(parse_bytes(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn durations_round_trip() {
        for (text, millis) in [
            ("250ms", 250),
            ("30s", 30_000),
            ("5min", 300_000),
            ("1h", 3_600_000),
            ("2", 2_000),
        ] {
            let duration = parse_duration(text).unwrap();
            assert_eq!(duration.as_millis(), millis, "{text}");
            assert_eq!(
                parse_duration(&format_duration(duration)).unwrap(),
                duration
            );
        }
        for bad in ["", "x", "-1s", "1y"] {
            assert!(parse_duration(bad).is_err(), "{bad}");
        }
    }
}
