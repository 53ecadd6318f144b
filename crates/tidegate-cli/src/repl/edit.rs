//! `.edit`: a statement in the user's own editor.

use std::io::{self, Read, Write};
use std::path::Path;
use std::process::Command;

use crate::failure::Failure;

/// The editor where neither `$VISUAL` nor `$EDITOR` names one.
const EDITOR: &str = "vi";
/// Longer files are not brought to the prompt.
const TEXT_BYTES_MAX: u64 = 16 << 20;

/// Opens an editor on a text, and gives what it became; `None` if the editor failed, as `:cq` does.
pub(crate) fn text(text: &str) -> Result<Option<String>, Failure> {
    let wrap = |error| Failure::io("cannot make a file to edit", error);
    let mut file = tempfile::Builder::new()
        .prefix("tidegate-")
        .suffix(".sql")
        .tempfile()
        .map_err(wrap)?;
    file.write_all(text.as_bytes()).map_err(wrap)?;
    if !text.ends_with('\n') {
        file.write_all(b"\n").map_err(wrap)?;
    }
    file.flush().map_err(wrap)?;
    self::file(file.path())
}

/// Opens an editor on a file, and gives what it then holds.
pub(crate) fn file(path: &Path) -> Result<Option<String>, Failure> {
    let named = |name| std::env::var(name).ok().filter(|e| !e.trim().is_empty());
    let editor = named("VISUAL")
        .or_else(|| named("EDITOR"))
        .unwrap_or_else(|| EDITOR.into());
    // Through a shell, so that `EDITOR="code --wait"` is a program and its argument.
    let status = Command::new("sh")
        .arg("-c")
        .arg(format!("{editor} \"$1\""))
        .arg("sh")
        .arg(path)
        .status()
        .map_err(|error| Failure::io(&format!("cannot start `{editor}`"), error))?;
    match status.code() {
        Some(0) => Ok(Some(read(path)?)),
        Some(126 | 127) => Err(
            Failure::usage("no_editor", format!("cannot start `{editor}`"))
                .with_hint("set EDITOR to the program that is to edit"),
        ),
        _ => Ok(None),
    }
}

fn read(path: &Path) -> Result<String, Failure> {
    let named = |error| Failure::io(&format!("cannot read `{}`", path.display()), error);
    let mut text = String::new();
    let file = std::fs::File::open(path).map_err(named)?;
    let bytes = file
        .take(TEXT_BYTES_MAX + 1)
        .read_to_string(&mut text)
        .map_err(named)?;
    if bytes as u64 > TEXT_BYTES_MAX {
        return Err(named(io::Error::other("the text is longer than 16 MiB")));
    }
    Ok(text.trim_end().to_string())
}
