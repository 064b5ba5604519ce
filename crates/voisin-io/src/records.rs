//! Lines of fields between separators: csv and tsv.

use voisin::{Error, Result};

use crate::InFile;

/// The whole file as text.
pub(crate) fn text(file: &InFile) -> Result<String> {
    let bytes = file.bytes(0, file.len())?;
    String::from_utf8(bytes).map_err(|e| Error::format(file.path(), format!("no UTF-8 at byte {}", e.utf8_error().valid_up_to())))
}

/// Lines of separated fields; in csv a field may be quoted and then span lines (RFC 4180).
pub(crate) struct Records<'t> {
    rest: &'t str,
    separator: char,
    line: usize,
}

impl<'t> Records<'t> {
    pub(crate) fn new(text: &'t str, separator: char) -> Records<'t> {
        Records { rest: text.strip_prefix('\u{feff}').unwrap_or(text), separator, line: 0 }
    }

    /// The line of the next record, from 1, and its fields; blank lines are passed over.
    pub(crate) fn next(&mut self, file: &InFile) -> Result<Option<(usize, Vec<String>)>> {
        while let Some(rest) = self.rest.strip_prefix('\n').or_else(|| self.rest.strip_prefix("\r\n")) {
            self.rest = rest;
            self.line += 1;
        }
        if self.rest.is_empty() {
            return Ok(None);
        }
        self.line += 1;
        let number = self.line;
        let mut fields = Vec::new();
        loop {
            let field = match self.rest.strip_prefix('"').filter(|_| self.separator == ',') {
                Some(quoted) => self
                    .quoted(quoted)
                    .ok_or_else(|| Error::format(file.path(), format!("line {number}: a quoted field does not end")))?,
                None => {
                    let end = self.rest.find([self.separator, '\n']).unwrap_or(self.rest.len());
                    let (field, rest) = self.rest.split_at(end);
                    self.rest = rest;
                    field.strip_suffix('\r').unwrap_or(field).to_owned()
                }
            };
            fields.push(field);
            match self.rest.strip_prefix(self.separator) {
                Some(rest) => self.rest = rest,
                None => break,
            }
        }
        let end = self.rest.find('\n').map_or(self.rest.len(), |i| i + 1);
        self.rest = &self.rest[end..];
        Ok(Some((number, fields)))
    }

    /// The field after an opening quote; what follows the closing one stays in `rest`.
    fn quoted(&mut self, text: &str) -> Option<String> {
        let mut out = String::new();
        let mut at = 0;
        loop {
            let quote = at + text[at..].find('"')?;
            out.push_str(&text[at..quote]);
            at = quote + 1;
            if !text[at..].starts_with('"') {
                break;
            }
            out.push('"');
            at += 1;
        }
        self.line += text[..at].matches('\n').count();
        self.rest = &self.rest[1 + at..];
        Some(out)
    }
}
