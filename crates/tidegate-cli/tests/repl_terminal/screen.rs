//! What a terminal shows: enough of a VT100 to read the screen as a person does. Lines that scroll
//! away are kept above.

/// A screen and what has scrolled off it.
pub(crate) struct Screen {
    rows: usize,
    columns: usize,
    /// All lines; the last `rows` are on the screen.
    lines: Vec<Vec<char>>,
    /// The line of `lines` that is the first of the screen.
    top: usize,
    row: usize,
    column: usize,
    escape: Option<String>,
    partial: Vec<u8>,
    /// How often a colour was set.
    pub(crate) colours: usize,
    /// Escape sequences of any kind.
    pub(crate) escapes: usize,
    /// How often the bell rang.
    pub(crate) bells: usize,
}

impl Screen {
    pub(crate) fn new(rows: usize, columns: usize) -> Self {
        Self {
            rows,
            columns,
            lines: vec![vec![]],
            top: 0,
            row: 0,
            column: 0,
            escape: None,
            partial: vec![],
            colours: 0,
            escapes: 0,
            bells: 0,
        }
    }

    pub(crate) fn resize(&mut self, rows: usize, columns: usize) {
        (self.rows, self.columns) = (rows, columns);
        self.row = self.row.min(rows - 1);
    }

    /// Everything shown so far, line by line, without spaces at the ends.
    pub(crate) fn text(&self) -> String {
        let lines = self.lines.iter().map(|line| trimmed(line));
        lines.collect::<Vec<_>>().join("\n").trim_end().to_string()
    }

    /// The line the cursor is on.
    pub(crate) fn cursor_line(&self) -> String {
        self.lines
            .get(self.top + self.row)
            .map_or(String::new(), |line| trimmed(line))
    }

    /// Whether Enter has been taken after a statement: the cursor is at the start of the line below.
    pub(crate) fn runs(&self) -> bool {
        let at = self.top + self.row;
        let above = at.checked_sub(1).and_then(|at| self.lines.get(at));
        let ended = above.is_some_and(|line| trimmed(line).ends_with(';'));
        ended && self.column == 0 && self.cursor_line().is_empty()
    }

    /// Takes what the program wrote.
    pub(crate) fn feed(&mut self, bytes: &[u8]) {
        self.partial.extend_from_slice(bytes);
        let valid = match std::str::from_utf8(&self.partial) {
            Ok(_) => self.partial.len(),
            Err(error) => error.valid_up_to(),
        };
        let rest = self.partial.split_off(valid);
        let text = String::from_utf8_lossy(&self.partial).into_owned();
        self.partial = rest;
        if self.partial.len() > 3 {
            self.partial.clear();
        }
        for c in text.chars() {
            self.put(c);
        }
    }

    fn put(&mut self, c: char) {
        if let Some(mut sequence) = self.escape.take() {
            sequence.push(c);
            let csi = sequence.starts_with('[');
            let done = if csi {
                sequence.len() > 1 && ('@'..='~').contains(&c)
            } else {
                !matches!(c, '(' | ')')
            };
            match done {
                true => self.sequence(&sequence),
                false => self.escape = Some(sequence),
            }
            return;
        }
        match c {
            '\x1b' => self.escape = Some(String::new()),
            '\r' => self.column = 0,
            '\n' => self.down(),
            '\x08' => self.column = self.column.saturating_sub(1),
            '\t' => self.column = (self.column / 8 + 1) * 8,
            '\x07' => self.bells += 1,
            c => {
                if self.column >= self.columns {
                    self.column = 0;
                    self.down();
                }
                let column = self.column;
                let line = self.line();
                line.resize(line.len().max(column + 1), ' ');
                line[column] = c;
                self.column += 1;
            }
        }
    }

    fn line(&mut self) -> &mut Vec<char> {
        let at = self.top + self.row;
        while self.lines.len() <= at {
            self.lines.push(vec![]);
        }
        &mut self.lines[at]
    }

    fn down(&mut self) {
        match self.row + 1 < self.rows {
            true => self.row += 1,
            false => self.top += 1,
        }
        self.line();
    }

    fn sequence(&mut self, sequence: &str) {
        self.escapes += 1;
        let Some(body) = sequence.strip_prefix('[') else {
            return;
        };
        let (numbers, command) = body.split_at(body.len() - 1);
        let number = |at: usize, default: usize| {
            let part = numbers.split(';').nth(at).unwrap_or("");
            part.parse().unwrap_or(default)
        };
        match command {
            "A" => self.row = self.row.saturating_sub(number(0, 1)),
            "B" => self.row = (self.row + number(0, 1)).min(self.rows - 1),
            "C" => self.column = (self.column + number(0, 1)).min(self.columns - 1),
            "D" => self.column = self.column.saturating_sub(number(0, 1)),
            "G" => self.column = number(0, 1) - 1,
            "H" => {
                self.row = (number(0, 1) - 1).min(self.rows - 1);
                self.column = number(1, 1) - 1;
            }
            "J" => self.erase_below(number(0, 0)),
            "K" => {
                let column = self.column;
                let whole = number(0, 0) == 2;
                let line = self.line();
                line.truncate(if whole { 0 } else { column });
            }
            "m" => self.colours += 1,
            _ => {}
        }
    }

    fn erase_below(&mut self, what: usize) {
        let column = self.column;
        let at = self.top + if what == 0 { self.row } else { 0 };
        self.line();
        for (index, line) in self.lines.iter_mut().enumerate().skip(at) {
            line.truncate(if what == 0 && index == at { column } else { 0 });
        }
    }
}

fn trimmed(line: &[char]) -> String {
    line.iter().collect::<String>().trim_end().to_string()
}
