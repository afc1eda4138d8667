//! What several expressions over one table have in common.

use std::cell::RefCell;
use std::collections::HashMap;

use foldhash::fast::FixedState;

use super::value::Value;
use super::{Expr, Function};
use crate::Result;

/// Calls that stand more than once in a set of expressions. Programs that were
/// [compiled with it](Expr::compile_with) work each of them out once per batch, with the help of a [`Memo`].
#[derive(Debug, Default)]
pub(crate) struct Common {
    /// Equal trees have one place in this.
    parts: HashMap<Part, usize, FixedState>,
    /// By place.
    slots: Vec<Option<usize>>,
    len: usize,
}

#[derive(PartialEq, Eq, Hash, Debug)]
enum Part {
    /// A column or a constant as text.
    Leaf(String),
    /// A function of other parts.
    Call(Function, Vec<usize>),
}

impl Common {
    /// `exprs` are not too large, as [`Expr::check_size`] says.
    pub(crate) fn of<'a>(exprs: impl IntoIterator<Item = &'a Expr>) -> Self {
        let (mut common, mut counts) = (Self::default(), Vec::new());
        for expr in exprs {
            common.count(expr, &mut counts);
        }
        for count in counts {
            common.slots.push((count > 1).then_some(common.len));
            common.len += usize::from(count > 1);
        }
        common
    }

    /// Counts the calls in `expr`, and says where it stands.
    fn count(&mut self, expr: &Expr, counts: &mut Vec<usize>) -> usize {
        let (part, is_call) = match expr {
            Expr::Call { function, args } => {
                let args: Vec<usize> = args.iter().map(|arg| self.count(arg, counts)).collect();
                let is_call = !args.is_empty();
                (Part::Call(*function, args), is_call)
            }
            leaf => (Part::Leaf(leaf.to_string()), false),
        };
        let next = self.parts.len();
        let place = *self.parts.entry(part).or_insert(next);
        if place == next {
            counts.push(0);
        }
        counts[place] += usize::from(is_call);
        place
    }

    fn place(&self, expr: &Expr) -> Option<usize> {
        let part = match expr {
            Expr::Call { function, args } => {
                Part::Call(*function, args.iter().map(|arg| self.place(arg)).collect::<Option<_>>()?)
            }
            leaf => Part::Leaf(leaf.to_string()),
        };
        self.parts.get(&part).copied()
    }

    pub(super) fn slot(&self, expr: &Expr) -> Option<usize> {
        if self.len == 0 { None } else { self.slots[self.place(expr)?] }
    }

    /// Nothing worked out as yet.
    pub(crate) fn memo(&self) -> Memo {
        Memo { values: RefCell::new(vec![None; self.len]) }
    }
}

/// Values of common calls over one batch at one time.
#[derive(Debug, Default)]
pub(crate) struct Memo {
    values: RefCell<Vec<Option<Value>>>,
}

impl Memo {
    /// Nothing worked out as yet, for another batch.
    pub(crate) fn afresh(&self) -> Self {
        Self { values: RefCell::new(vec![None; self.values.borrow().len()]) }
    }

    /// The value in `slot`, which `make` works out where it is not known; without such a slot, always.
    pub(super) fn value(&self, slot: usize, make: impl FnOnce() -> Result<Value>) -> Result<Value> {
        if let Some(Some(known)) = self.values.borrow().get(slot) {
            return Ok(known.clone());
        }
        let made = make()?;
        if let Some(place) = self.values.borrow_mut().get_mut(slot) {
            *place = Some(made.clone());
        }
        Ok(made)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_twice_has_a_slot_and_is_worked_out_once() {
        let parse = |text: &str| Expr::parse(text).unwrap();
        let exprs =
            [parse("abs(a - b) < 1 and now() > at"), parse("abs(a - b) < 2 and now() < at"), parse("b - a > 0")];
        let common = Common::of(&exprs);
        let slot = |text: &str| common.slot(&parse(text));
        assert!(slot("a - b").is_some() && slot("abs(a - b)").is_some() && slot("a - b") != slot("abs(a - b)"));
        for once in ["abs(a - b) < 1", "b - a", "now()", "a"] {
            assert_eq!(slot(once), None, "{once}");
        }
        let (memo, made) = (common.memo(), std::cell::Cell::new(0));
        let make = || {
            made.set(made.get() + 1);
            Ok(Value::null(super::super::Type::Int))
        };
        (0..3).for_each(|_| assert!(memo.value(0, make).is_ok()));
        assert_eq!(made.get(), 1);
        assert!(memo.afresh().value(0, make).is_ok() && Memo::default().value(0, make).is_ok());
        assert_eq!(made.get(), 3);
    }
}
