//! Text of an expression, cut into words.

use super::parse::mistake;
use crate::Result;

/// A word, and where it starts in characters from 1.
#[derive(Clone, Debug)]
pub(super) struct Token {
    pub(super) at: usize,
    pub(super) word: Word,
}

#[derive(Clone, PartialEq, Debug)]
pub(super) enum Word {
    /// A name or a keyword, as it stands.
    Name(String),
    /// A name in backquotes, which is never a keyword.
    Quoted(String),
    /// A whole number without its sign; one above the greatest of 64 bits needs a sign before it.
    Int(u64),
    Float(f64),
    Text(String),
    /// An operator or a bracket.
    Sign(&'static str),
    End,
}

/// Longer ones first.
const SIGNS: [&str; 16] = ["==", "!=", "<>", "<=", ">=", "=", "<", ">", "+", "-", "*", "/", "%", "(", ")", ","];

/// What other languages write, and what is written here.
const FOREIGN: [(&str, &str); 7] = [
    ("&&", "write `and`"),
    ("||", "write `or`, and `concat(a, b)` to join texts"),
    ("&", "write `and`"),
    ("|", "write `or`"),
    ("!", "write `not`"),
    ("\"", "write text in 'single quotes' and column names in `backquotes`"),
    (";", "an expression is one value: leave it out"),
];

pub(super) fn cut(text: &str) -> Result<Vec<Token>> {
    let mut lexer = Lexer { rest: text, at: 1 };
    let mut tokens = Vec::new();
    loop {
        lexer.skip(lexer.rest.len() - lexer.rest.trim_start().len());
        let at = lexer.at;
        let word = lexer.word()?;
        let end = word == Word::End;
        tokens.push(Token { at, word });
        if end {
            return Ok(tokens);
        }
    }
}

struct Lexer<'a> {
    rest: &'a str,
    at: usize,
}

impl<'a> Lexer<'a> {
    fn skip(&mut self, bytes: usize) -> &'a str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.at += taken.chars().count();
        self.rest = rest;
        taken
    }

    fn skip_while(&mut self, fits: impl Fn(char) -> bool) -> &'a str {
        self.skip(self.rest.find(|c| !fits(c)).unwrap_or(self.rest.len()))
    }

    fn word(&mut self) -> Result<Word> {
        let Some(first) = self.rest.chars().next() else { return Ok(Word::End) };
        if first.is_alphabetic() || first == '_' {
            return Ok(Word::Name(self.skip_while(|c| c.is_alphanumeric() || c == '_').to_owned()));
        }
        if first.is_ascii_digit() {
            return self.number();
        }
        if first == '\'' {
            return self.quoted('\'').map(Word::Text);
        }
        if first == '`' {
            return self.quoted('`').map(Word::Quoted);
        }
        if let Some(sign) = SIGNS.into_iter().find(|sign| self.rest.starts_with(sign)) {
            self.skip(sign.len());
            return Ok(Word::Sign(sign));
        }
        let foreign = FOREIGN.into_iter().find(|(sign, _)| self.rest.starts_with(sign));
        let shown: String = first.escape_debug().collect();
        Err(match foreign {
            Some((sign, advice)) => mistake(self.at, format!("`{sign}` is not understood: {advice}")),
            None => mistake(self.at, format!("`{shown}` is not understood: put odd column names in `backquotes`")),
        })
    }

    fn number(&mut self) -> Result<Word> {
        let at = self.at;
        let start = self.rest;
        self.skip_while(|c| c.is_ascii_digit());
        let mut whole = true;
        if self.rest.starts_with('.') {
            whole = false;
            self.skip(1);
            self.skip_while(|c| c.is_ascii_digit());
        }
        if self.rest.starts_with(['e', 'E']) {
            whole = false;
            self.skip(1);
            self.skip(usize::from(self.rest.starts_with(['+', '-'])));
            self.skip_while(|c| c.is_ascii_digit());
        }
        let text = &start[..start.len() - self.rest.len()];
        if self.rest.starts_with(|c: char| c.is_alphanumeric() || c == '_') {
            return Err(mistake(at, format!("`{text}` runs into a name: put a space or an operator between them")));
        }
        let parsed = if whole {
            text.parse().ok().map(Word::Int)
        } else {
            text.parse().ok().filter(|value: &f64| value.is_finite()).map(Word::Float)
        };
        parsed.ok_or_else(|| {
            mistake(at, format!("`{}` is not a number that fits", text.chars().take(40).collect::<String>()))
        })
    }

    fn quoted(&mut self, quote: char) -> Result<String> {
        let at = self.at;
        self.skip(1);
        let mut text = String::new();
        loop {
            text.push_str(self.skip_while(|c| c != quote));
            if self.rest.is_empty() {
                return Err(mistake(at, format!("the text is not closed: end it with {quote}")));
            }
            self.skip(1);
            if !self.rest.starts_with(quote) {
                return Ok(text);
            }
            text.push(quote);
            self.skip(1);
        }
    }
}
