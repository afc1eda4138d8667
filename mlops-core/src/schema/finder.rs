//! Columns by name, where a table has thousands of them.

use arrow::datatypes::Fields;

/// Finds one column after the other by name.
///
/// The next one is looked for behind the last, so names in the order of the columns cost one look each. Names in any other order cost
/// a sorted list of the columns, once; a lookup in that takes `log₂ n` comparisons.
///
/// # Examples
/// ```
/// use mlops_core::arrow::datatypes::{DataType, Field, Fields};
/// use mlops_core::schema::Finder;
///
/// let fields: Fields = ["id", "price", "day"].map(|name| Field::new(name, DataType::Int64, true)).into_iter().collect();
/// let mut finder = Finder::of(&fields);
/// assert_eq!((finder.find("id"), finder.find("day"), finder.find("name")), (Some(0), Some(2), None));
/// ```
#[derive(Debug)]
pub struct Finder<'a> {
    fields: &'a Fields,
    /// Behind the last hit.
    next: usize,
    /// Columns that were looked at in vain.
    missed: usize,
    by_name: Option<Vec<u32>>,
}

impl<'a> Finder<'a> {
    /// Over `fields`; of several of one name, any is found.
    pub fn of(fields: &'a Fields) -> Self {
        Self { fields, next: 0, missed: 0, by_name: None }
    }

    /// Position of `column`, if there is one of that name.
    pub fn find(&mut self, column: &str) -> Option<usize> {
        let found = self.position(column);
        self.next = found.map_or(self.next, |position| position + 1);
        found
    }

    fn position(&mut self, column: &str) -> Option<usize> {
        let here = |position: &usize| self.fields.get(*position).is_some_and(|field| field.name() == column);
        if let Some(next) = Some(self.next).filter(here) {
            return Some(next);
        }
        if let Some(by_name) = &self.by_name {
            return place(self.fields, by_name, column);
        }
        let count = self.fields.len();
        let found = (self.next + 1..count).chain(0..self.next.min(count)).find(here);
        self.missed += found.map_or(count, |position| (position + count - self.next) % count);
        if self.missed > SCANS * count {
            self.by_name = Some(by_name(self.fields));
        }
        found
    }
}

/// Passes over all columns after which a sorted list is cheaper.
const SCANS: usize = 8;

/// Positions of `fields` by name; those of one name in order.
pub(super) fn by_name(fields: &Fields) -> Vec<u32> {
    let mut positions: Vec<u32> = (0..fields.len() as u32).collect();
    positions.sort_by(|a, b| fields[*a as usize].name().cmp(fields[*b as usize].name()));
    positions
}

/// Where `column` is, by the list that [`by_name`] made of `fields`.
pub(super) fn place(fields: &Fields, by_name: &[u32], column: &str) -> Option<usize> {
    let found = by_name.binary_search_by(|position| fields[*position as usize].name().as_str().cmp(column));
    found.ok().map(|at| by_name[at] as usize)
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::{DataType, Field};
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn every_column_is_found_in_whatever_order_they_are_asked_for(
            columns in 0..40_usize,
            asked in prop::collection::vec(0..50_usize, 0..300),
        ) {
            let fields: Fields = (0..columns).map(|n| Field::new(format!("c{n}"), DataType::Int8, true)).collect();
            let mut finder = Finder::of(&fields);
            for n in asked {
                prop_assert_eq!(finder.find(&format!("c{n}")), (n < columns).then_some(n));
            }
        }
    }
}
