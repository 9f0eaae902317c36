//! The grammar of Connector/NET connection strings: pairs of keys and values (mysql-sources.md 1.1).
//!
//! **Invariant.** An error of this module holds an offset and a fixed text, never a part of the string: what does not
//! parse may be the tail of a password.

use std::iter::Peekable;
use std::ops::Range;
use std::str::CharIndices;

/// A connection string has at most so many bytes; longer ones are refused before they are read.
pub(crate) const CONNECTION_STRING_BYTES_MAX: usize = 256 * 1024;

/// One `key=value` of a connection string.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Pair {
    /// The key as given, without the blanks around it; `==` in it stands for one `=`.
    pub(crate) key: String,
    /// How many characters stand before the key.
    pub(crate) offset: usize,
    /// The value, unquoted.
    pub(crate) value: String,
    /// The bytes of the string that hold the value, quotes included.
    pub(crate) span: Range<usize>,
}

/// Where and why a connection string does not follow the grammar.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at character {offset}")]
pub(crate) struct GrammarError {
    /// What was met, a fixed text.
    pub(crate) reason: &'static str,
    /// How many characters stand before it.
    pub(crate) offset: usize,
}

/// Takes a connection string apart, in its order; duplicates are kept.
pub(crate) fn pairs(text: &str) -> Result<Vec<Pair>, GrammarError> {
    if text.len() > CONNECTION_STRING_BYTES_MAX {
        return Err(GrammarError { reason: "the connection string is too long", offset: 0 });
    }
    let mut scanner = Scanner { text, rest: text.char_indices().peekable(), characters: 0 };
    let mut pairs = Vec::new();
    loop {
        scanner.skip(|c| c.is_whitespace() || c == ';');
        if scanner.peek().is_none() {
            return Ok(pairs);
        }
        pairs.push(scanner.pair()?);
    }
}

/// Writes a value so that [`pairs`] reads it back: bare where that is possible, else quoted.
pub(crate) fn quoted(value: &str) -> String {
    let bare = !value.starts_with(['\'', '"', '='])
        && value.trim().len() == value.len()
        && !value.chars().any(|c| c == ';' || c.is_control());
    match (bare, value.contains('\'')) {
        (true, _) => value.to_owned(),
        (false, false) => format!("'{value}'"),
        (false, true) => format!("\"{}\"", value.replace('"', "\"\"")),
    }
}

struct Scanner<'a> {
    text: &'a str,
    rest: Peekable<CharIndices<'a>>,
    characters: usize,
}

impl Scanner<'_> {
    fn peek(&mut self) -> Option<char> {
        self.rest.peek().map(|&(_, c)| c)
    }

    fn next(&mut self) -> Option<char> {
        let (_, c) = self.rest.next()?;
        self.characters += 1;
        Some(c)
    }

    fn byte(&mut self) -> usize {
        self.rest.peek().map_or(self.text.len(), |&(byte, _)| byte)
    }

    fn skip(&mut self, wanted: fn(char) -> bool) {
        while self.peek().is_some_and(wanted) {
            self.next();
        }
    }

    fn error<T>(&self, reason: &'static str) -> Result<T, GrammarError> {
        Err(GrammarError { reason, offset: self.characters })
    }

    fn pair(&mut self) -> Result<Pair, GrammarError> {
        let offset = self.characters;
        let key = self.key()?;
        self.skip(char::is_whitespace);
        let start = self.byte();
        let value = match self.peek() {
            Some(quote @ ('"' | '\'')) => self.quoted(quote)?,
            _ => self.unquoted()?,
        };
        // Blanks behind a bare value belong to nobody; a quoted one ends with its quote.
        let end = start + self.text.get(start..self.byte()).map_or(0, |raw| raw.trim_end().len());
        self.skip(char::is_whitespace);
        match self.peek() {
            None | Some(';') => Ok(Pair { key, offset, value, span: start..end }),
            Some(_) => self.error("something else than a semicolon follows a quoted value"),
        }
    }

    fn key(&mut self) -> Result<String, GrammarError> {
        let start = self.characters;
        let mut key = String::new();
        loop {
            match self.next() {
                None => return Err(GrammarError { reason: "a key without '=' begins", offset: start }),
                Some('=') if self.peek() == Some('=') => {
                    self.next();
                    key.push('=');
                }
                Some('=') => break,
                Some(c) if c.is_control() && !c.is_whitespace() => {
                    self.characters -= 1;
                    return self.error("a control character stands in a key");
                }
                Some(c) => key.push(c),
            }
        }
        let trimmed = key.trim();
        if trimmed.is_empty() {
            return Err(GrammarError { reason: "an empty key stands", offset: start });
        }
        Ok(trimmed.to_owned())
    }

    fn unquoted(&mut self) -> Result<String, GrammarError> {
        let mut value = String::new();
        while let Some(c) = self.peek() {
            match c {
                ';' => break,
                c if c.is_control() && !c.is_whitespace() => {
                    return self.error("a control character stands in a value without quotes");
                }
                c => value.push(c),
            }
            self.next();
        }
        Ok(value.trim().to_owned())
    }

    fn quoted(&mut self, quote: char) -> Result<String, GrammarError> {
        let start = self.characters;
        self.next();
        let mut value = String::new();
        loop {
            match self.next() {
                None => return Err(GrammarError { reason: "a quote that is never closed stands", offset: start }),
                Some('\0') => {
                    self.characters -= 1;
                    return self.error("a NUL character stands in a value");
                }
                Some(c) if c == quote => {
                    if self.peek() != Some(quote) {
                        return Ok(value);
                    }
                    self.next();
                    value.push(quote);
                }
                Some(c) => value.push(c),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        pairs(text).unwrap().into_iter().map(|pair| (pair.key, pair.value)).collect()
    }

    fn value(text: &str) -> String {
        let [(_, value)] = read(text).try_into().unwrap();
        value
    }

    #[test]
    fn the_documented_examples_read_as_documented() {
        assert_eq!(value("PWD=a b"), "a b");
        assert_eq!(value("PWD = ab=cd "), "ab=cd");
        assert_eq!(value("PWD=\"a;b\""), "a;b");
        assert_eq!(value("PWD='a;b'"), "a;b");
        assert_eq!(value("PWD=a\"b"), "a\"b");
        assert_eq!(value("PWD=\"a\"\"b\""), "a\"b");
        assert_eq!(value("PWD='it''s' "), "it's");
        assert_eq!(value("PWD={x}"), "{x}");
        assert_eq!(value("PWD=\\%23#"), "\\%23#");
        assert_eq!(value("PWD=\" edge \""), " edge ");
        assert_eq!(value("PWD="), "");
        assert_eq!(value("PWD=;;"), "");
        assert_eq!(read("a==b=c"), [("a=b".to_owned(), "c".to_owned())]);
        assert_eq!(read(" ; ;; "), []);
    }

    #[test]
    fn offsets_count_characters_and_spans_count_bytes() {
        let pairs = pairs("ü=é; k = 'v;' ;").unwrap();
        assert_eq!((pairs[0].offset, pairs[1].offset), (0, 5));
        assert_eq!(&"ü=é; k = 'v;' ;"[pairs[1].span.clone()], "'v;'");
        assert_eq!(&"ü=é; k = 'v;' ;"[pairs[0].span.clone()], "é");
    }

    #[test]
    fn what_breaks_the_grammar_is_named_by_its_offset_alone() {
        for (text, offset) in [
            ("Server=h;tail", 9),
            ("Server=h;PWD='a'b", 16),
            ("Server=h;PWD='a", 13),
            ("Server=h;=x", 9),
            ("Server=h\u{1}", 8),
            ("PWD='a\0b'", 6),
        ] {
            let error = pairs(text).unwrap_err();
            assert_eq!(error.offset, offset, "{text}: {error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn a_value_written_is_the_value_read(value in "[^\0]{0,40}") {
            let text = format!("Pwd={};Server=h", quoted(&value));
            let pairs = pairs(&text).unwrap();
            proptest::prop_assert_eq!(&pairs[0].value, &value);
            proptest::prop_assert_eq!(&pairs[1].value, "h");
        }

        #[test]
        fn no_text_makes_it_panic(text in "\\PC{0,200}") {
            let _ = pairs(&text);
        }
    }
}
