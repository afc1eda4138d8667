//! Expressions from text.

use super::lex::{Token, Word, cut};
use super::{DEPTH_MAX, Expr, Function, NODES_MAX, TEXT_BYTES_MAX};
use crate::source::Scalar;
use crate::time::EventTime;
use crate::{Error, Result};

/// Words that are no column names unless they stand in backquotes. Others, such as `end`, are words of the language only
/// where no value can stand.
pub(super) const KEYWORDS: [&str; 10] = ["and", "or", "not", "is", "null", "in", "between", "true", "false", "case"];

/// The text is wrong at character `at`.
pub(super) fn mistake(at: usize, reason: impl std::fmt::Display) -> Error {
    Error::invalid_data("expression", format!("at {at}: {reason}"))
}

pub(super) fn parse(text: &str) -> Result<Expr> {
    if text.len() > TEXT_BYTES_MAX {
        return Err(Error::invalid("expression", format!("{} bytes", text.len()), "at most 65536 bytes long"));
    }
    let mut parser = Parser { tokens: cut(text)?, next: 0, depth: 0 };
    if parser.tokens.len() > 4 * NODES_MAX {
        return Err(Error::invalid("expression", format!("{} words", parser.tokens.len()), "at most 10000 large"));
    }
    let expr = parser.any()?;
    match parser.peek() {
        Word::End => {}
        Word::Sign("=" | "==" | "!=" | "<>" | "<" | "<=" | ">" | ">=") => {
            return Err(mistake(parser.at(), "comparisons do not chain: write `a < b and b < c`"));
        }
        Word::Name(name) if name == "like" => {
            return Err(mistake(parser.at(), "`like` is not understood: write `contains`, `starts_with` or `matches`"));
        }
        Word::Name(name) if KEYWORDS.contains(&name.to_lowercase().as_str()) => {
            return Err(mistake(parser.at(), format!("`{name}` is out of place; keywords are in lower case")));
        }
        _ => return Err(mistake(parser.at(), "the expression ends before this: an operator is missing")),
    }
    expr.check_size()?;
    Ok(expr)
}

struct Parser {
    tokens: Vec<Token>,
    next: usize,
    depth: usize,
}

const COMPARISONS: [(&str, Function); 8] = [
    ("=", Function::Eq),
    ("==", Function::Eq),
    ("!=", Function::NotEq),
    ("<>", Function::NotEq),
    ("<", Function::Lt),
    ("<=", Function::LtEq),
    (">", Function::Gt),
    (">=", Function::GtEq),
];

impl Parser {
    fn peek(&self) -> &Word {
        &self.tokens[self.next].word
    }

    fn at(&self) -> usize {
        self.tokens[self.next].at
    }

    fn take(&mut self) -> Word {
        let word = self.peek().clone();
        self.next = (self.next + 1).min(self.tokens.len() - 1);
        word
    }

    fn takes_sign(&mut self, sign: &str) -> bool {
        let found = matches!(self.peek(), Word::Sign(found) if *found == sign);
        if found {
            self.take();
        }
        found
    }

    fn takes_name(&mut self, name: &str) -> bool {
        let found = matches!(self.peek(), Word::Name(found) if found == name);
        if found {
            self.take();
        }
        found
    }

    fn expect_sign(&mut self, sign: &str, place: &str) -> Result<()> {
        let at = self.at();
        if self.takes_sign(sign) { Ok(()) } else { Err(mistake(at, format!("`{sign}` is expected {place}"))) }
    }

    fn expect_name(&mut self, name: &str, place: &str) -> Result<()> {
        let at = self.at();
        if self.takes_name(name) { Ok(()) } else { Err(mistake(at, format!("`{name}` is expected {place}"))) }
    }

    /// One level further in; every way back to [`any`](Self::any) and to a prefix comes through here.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Result<Expr>) -> Result<Expr> {
        self.depth += 1;
        // A bracket and what stands inside are two steps here and one level of the tree.
        if self.depth > 2 * DEPTH_MAX + 2 {
            return Err(mistake(self.at(), format!("nested more than {DEPTH_MAX} deep")));
        }
        let expr = read(self);
        self.depth -= 1;
        expr
    }

    fn any(&mut self) -> Result<Expr> {
        self.deeper(|parser| parser.several("or", Function::Or, |p| p.several("and", Function::And, Self::negation)))
    }

    /// `a WORD b WORD c` as one call of all of them.
    fn several(&mut self, word: &str, function: Function, read: impl Fn(&mut Self) -> Result<Expr>) -> Result<Expr> {
        let mut all = vec![read(self)?];
        while self.takes_name(word) {
            all.push(read(self)?);
        }
        Ok(if all.len() == 1 { all.remove(0) } else { Expr::call(function, all) })
    }

    fn negation(&mut self) -> Result<Expr> {
        if self.takes_name("not") {
            return self.deeper(|parser| Ok(Expr::call(Function::Not, [parser.negation()?])));
        }
        self.comparison()
    }

    fn comparison(&mut self) -> Result<Expr> {
        let left = self.sum()?;
        if let Word::Sign(sign) = *self.peek()
            && let Some((_, function)) = COMPARISONS.into_iter().find(|(known, _)| *known == sign)
        {
            self.take();
            let at = self.at();
            let right = self.sum()?;
            if right == Expr::Literal(None) {
                return Err(mistake(at, "nothing equals null: write `is null` or `is not null`"));
            }
            return Ok(Expr::call(function, [left, right]));
        }
        if self.takes_name("is") {
            let not = self.takes_name("not");
            self.expect_name("null", "after `is`: other values are compared with `=`")?;
            return Ok(negated(not, Expr::call(Function::IsNull, [left])));
        }
        let not = matches!(self.peek(), Word::Name(name) if name == "not");
        let after = &self.tokens[(self.next + usize::from(not)).min(self.tokens.len() - 1)].word;
        let keyword = if let Word::Name(name) = after { name.as_str() } else { "" };
        match keyword {
            "between" => {
                self.next += 1 + usize::from(not);
                let low = self.sum()?;
                self.expect_name("and", "between the two ends of `between`")?;
                let high = self.sum()?;
                Ok(negated(not, Expr::call(Function::Between, [left, low, high])))
            }
            "in" => {
                self.next += 1 + usize::from(not);
                self.expect_sign("(", "before the values of `in`")?;
                let values = self.arguments()?;
                Ok(negated(not, Expr::call(Function::In, std::iter::once(left).chain(values))))
            }
            _ => Ok(left),
        }
    }

    fn sum(&mut self) -> Result<Expr> {
        let operators = [("+", Function::Add), ("-", Function::Subtract)];
        self.chain(&operators, Self::product)
    }

    fn product(&mut self) -> Result<Expr> {
        let operators = [("*", Function::Multiply), ("/", Function::Divide), ("%", Function::Remainder)];
        self.chain(&operators, Self::prefix)
    }

    /// Operators of one strength from left to right; sums and products of several become one call.
    fn chain(
        &mut self,
        operators: &[(&'static str, Function)],
        read: impl Fn(&mut Self) -> Result<Expr>,
    ) -> Result<Expr> {
        let mut left = read(self)?;
        let mut last = None;
        loop {
            let Word::Sign(sign) = *self.peek() else { return Ok(left) };
            let Some((_, function)) = operators.iter().copied().find(|(known, _)| *known == sign) else {
                return Ok(left);
            };
            self.take();
            let right = read(self)?;
            left = match left {
                Expr::Call { function: before, mut args } if last == Some(function) && function.arity().1 > 2 => {
                    args.push(right);
                    Expr::Call { function: before, args }
                }
                left => Expr::call(function, [left, right]),
            };
            last = Some(function);
        }
    }

    fn prefix(&mut self) -> Result<Expr> {
        if !self.takes_sign("-") {
            return self.primary();
        }
        match self.peek().clone() {
            Word::Int(value) => {
                let at = self.at();
                self.take();
                let negative = 0_i64.checked_sub_unsigned(value);
                negative.map(Expr::literal).ok_or_else(|| mistake(at, "the number does not fit 64 bits"))
            }
            Word::Float(value) => {
                self.take();
                Ok(Expr::literal(-value))
            }
            _ => self.deeper(|parser| Ok(Expr::call(Function::Negate, [parser.prefix()?]))),
        }
    }

    fn primary(&mut self) -> Result<Expr> {
        let at = self.at();
        match self.take() {
            Word::Int(value) => {
                let value = i64::try_from(value).map_err(|_| mistake(at, "the number does not fit 64 bits"))?;
                Ok(Expr::literal(value))
            }
            Word::Float(value) => Ok(Expr::literal(value)),
            Word::Text(text) => Ok(Expr::literal(text)),
            Word::Quoted(name) => Ok(Expr::Column(name)),
            Word::Sign("(") => {
                let inner = self.any()?;
                self.expect_sign(")", "to close the bracket")?;
                Ok(inner)
            }
            Word::Name(name) => self.named(at, name),
            Word::End => Err(mistake(at, "the expression ends where a value is expected")),
            Word::Sign(sign) => Err(mistake(at, format!("a value is expected before `{sign}`"))),
        }
    }

    fn named(&mut self, at: usize, name: String) -> Result<Expr> {
        match name.as_str() {
            "true" | "false" => return Ok(Expr::literal(name == "true")),
            "null" => return Ok(Expr::Literal(None)),
            "case" => return self.deeper(Self::case),
            "time" if matches!(self.peek(), Word::Text(_)) => {
                let at = self.at();
                let Word::Text(text) = self.take() else { return Err(mistake(at, "a time is expected")) };
                return time(&text).map(Expr::literal).ok_or_else(|| mistake(at, "not a time as in RFC 3339"));
            }
            _ => {}
        }
        if self.takes_sign("(") {
            let Some(function) = Function::named(&name) else {
                let advice = match Function::like(&name) {
                    Some(like) => format!("there is no function `{name}`: is `{like}` meant?"),
                    None => format!("there is no function `{name}`"),
                };
                return Err(mistake(at, advice));
            };
            let args = self.arguments()?;
            let (least, most) = function.arity();
            if !(least..=most).contains(&args.len()) {
                let wanted = if least == most { least.to_string() } else { format!("at least {least}") };
                return Err(mistake(at, format!("`{name}` takes {wanted} arguments, not {}", args.len())));
            }
            return Ok(Expr::call(function, args));
        }
        if KEYWORDS.contains(&name.as_str()) {
            return Err(mistake(
                at,
                format!("a value is expected before `{name}`; a column of that name goes in `backquotes`"),
            ));
        }
        Ok(Expr::Column(name))
    }

    /// What stands in brackets, the first of which is taken.
    fn arguments(&mut self) -> Result<Vec<Expr>> {
        let mut args = Vec::new();
        if self.takes_sign(")") {
            return Ok(args);
        }
        loop {
            args.push(self.any()?);
            if !self.takes_sign(",") {
                self.expect_sign(")", "after the arguments")?;
                return Ok(args);
            }
        }
    }

    fn case(&mut self) -> Result<Expr> {
        let mut args = Vec::new();
        self.expect_name("when", "after `case`")?;
        loop {
            args.push(self.any()?);
            self.expect_name("then", "after the condition")?;
            args.push(self.any()?);
            if self.takes_name("when") {
                continue;
            }
            args.push(if self.takes_name("else") { self.any()? } else { Expr::Literal(None) });
            self.expect_name("end", "to close `case`")?;
            return Ok(Expr::call(Function::Case, args));
        }
    }
}

fn negated(not: bool, expr: Expr) -> Expr {
    if not { Expr::call(Function::Not, [expr]) } else { expr }
}

/// RFC 3339, or microseconds followed by `us` for what has no date.
fn time(text: &str) -> Option<EventTime> {
    let micros = || text.strip_suffix("us")?.parse().ok().map(EventTime::from_micros);
    micros().or_else(|| EventTime::parse(text).ok())
}

/// A constant in the text form.
pub(super) fn shown(scalar: &Scalar) -> String {
    match scalar {
        Scalar::Bool(value) => value.to_string(),
        Scalar::Int(value) => value.to_string(),
        Scalar::Float(value) => format!("{value:?}"),
        Scalar::Text(text) => format!("'{}'", text.replace('\'', "''")),
        Scalar::Time(time) => match time.to_string() {
            text if EventTime::parse(&text).is_ok_and(|read| read == *time) => format!("time '{text}'"),
            _ => format!("time '{}us'", time.as_micros()),
        },
    }
}
