//! Expressions as text.

use std::fmt;

use super::parse::{KEYWORDS, shown};
use super::{Expr, Function};

/// Strength of what stands after `not`.
const NOT: u8 = 3;
/// Strength of a comparison.
const COMPARISON: u8 = 4;
/// Strength of an operand of a comparison.
const OPERAND: u8 = 5;
/// Strength of what stands after a minus.
const PREFIX: u8 = 7;

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.write(f, 0)
    }
}

impl Expr {
    /// How strongly the whole binds: what binds less than its place needs brackets.
    fn strength(&self) -> u8 {
        let Self::Call { function, args } = self else { return u8::MAX };
        match function {
            _ if !is_written_apart(*function, args) => u8::MAX,
            Function::Not if self.negated().is_some() => COMPARISON,
            Function::Not => NOT,
            Function::IsNull | Function::Between | Function::In => COMPARISON,
            Function::Negate => PREFIX,
            other => other.infix().map_or(u8::MAX, |(_, strength)| strength),
        }
    }

    /// What `x is not null`, `x not in (…)` and `x not between …` negate.
    fn negated(&self) -> Option<(Function, &[Self])> {
        match self {
            Self::Call { function: Function::Not, args } => match args.as_slice() {
                [Self::Call { function, args }] => {
                    let reads = matches!(function, Function::IsNull | Function::Between | Function::In);
                    (reads && is_written_apart(*function, args)).then_some((*function, args.as_slice()))
                }
                _ => None,
            },
            _ => None,
        }
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, least: u8) -> fmt::Result {
        if self.strength() < least {
            f.write_str("(")?;
            self.write(f, 0)?;
            return f.write_str(")");
        }
        match self {
            Self::Column(name) => write_name(f, name),
            Self::Literal(None) => f.write_str("null"),
            Self::Literal(Some(value)) => f.write_str(&shown(value)),
            Self::Call { function, args } => write_call(f, self, *function, args),
        }
    }
}

/// Whether it has a form of its own; else it is written as a call.
fn is_written_apart(function: Function, args: &[Expr]) -> bool {
    let count = args.len();
    let (least, most) = function.arity();
    match function {
        Function::And | Function::Or | Function::Add | Function::Multiply => count >= 2,
        Function::Case => count >= 3 && count % 2 == 1,
        Function::Not | Function::IsNull | Function::Between | Function::In | Function::Negate => {
            (least..=most).contains(&count)
        }
        // `a = null` is refused in text, since it is hardly ever meant.
        other => other.infix().is_some() && count == 2 && args[1] != Expr::Literal(None),
    }
}

fn write_call(f: &mut fmt::Formatter<'_>, whole: &Expr, function: Function, args: &[Expr]) -> fmt::Result {
    if let Some((inner, args)) = whole.negated() {
        return write_test(f, inner, args, "not ");
    }
    if !is_written_apart(function, args) {
        return write_listed(f, function.name(), args);
    }
    match function {
        Function::IsNull | Function::Between | Function::In => write_test(f, function, args, ""),
        Function::Not => {
            f.write_str("not ")?;
            args[0].write(f, NOT)
        }
        Function::Negate => {
            // Brackets keep `-(5)` apart from the constant `-5`.
            if matches!(args[0], Expr::Literal(_)) {
                return write!(f, "-({})", args[0]);
            }
            f.write_str("-")?;
            args[0].write(f, PREFIX)
        }
        Function::Case => write_case(f, args),
        infix => write_infix(f, infix, args),
    }
}

fn write_infix(f: &mut fmt::Formatter<'_>, function: Function, args: &[Expr]) -> fmt::Result {
    let Some((sign, strength)) = function.infix() else { return write_listed(f, function.name(), args) };
    for (position, arg) in args.iter().enumerate() {
        if position > 0 {
            write!(f, " {sign} ")?;
        }
        // The left side may be of the same strength where reading it back does not join the two.
        let joins = matches!(arg, Expr::Call { function: inner, .. } if *inner == function && function.arity().1 > 2);
        let left_to_right = position == 0 && strength > COMPARISON && !joins;
        arg.write(f, if left_to_right { strength } else { strength + 1 })?;
    }
    Ok(())
}

fn write_test(f: &mut fmt::Formatter<'_>, function: Function, args: &[Expr], not: &str) -> fmt::Result {
    args[0].write(f, OPERAND)?;
    match function {
        Function::IsNull => write!(f, " is {not}null"),
        Function::Between => {
            write!(f, " {not}between ")?;
            args[1].write(f, OPERAND)?;
            f.write_str(" and ")?;
            args[2].write(f, OPERAND)
        }
        _ => write_listed(f, &format!(" {not}in "), &args[1..]),
    }
}

fn write_case(f: &mut fmt::Formatter<'_>, args: &[Expr]) -> fmt::Result {
    if args.len() == 3 {
        return write_listed(f, "if", args);
    }
    f.write_str("case")?;
    let (last, branches) = args.split_last().ok_or(fmt::Error)?;
    for branch in branches.chunks(2) {
        f.write_str(" when ")?;
        branch[0].write(f, 0)?;
        f.write_str(" then ")?;
        branch[1].write(f, 0)?;
    }
    f.write_str(" else ")?;
    last.write(f, 0)?;
    f.write_str(" end")
}

fn write_listed(f: &mut fmt::Formatter<'_>, name: &str, args: &[Expr]) -> fmt::Result {
    write!(f, "{name}(")?;
    for (position, arg) in args.iter().enumerate() {
        f.write_str(if position > 0 { ", " } else { "" })?;
        arg.write(f, 0)?;
    }
    f.write_str(")")
}

fn write_name(f: &mut fmt::Formatter<'_>, name: &str) -> fmt::Result {
    let mut chars = name.chars();
    let first = chars.next().is_some_and(|c| c.is_alphabetic() || c == '_');
    if first && chars.all(|c| c.is_alphanumeric() || c == '_') && !KEYWORDS.contains(&name) {
        return f.write_str(name);
    }
    write!(f, "`{}`", name.replace('`', "``"))
}
