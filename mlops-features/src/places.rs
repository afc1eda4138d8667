//! Where named things stand, found by name: views may have tens of thousands of features.

use std::collections::HashMap;

use arrow::array::{ArrayRef, RecordBatch};
use foldhash::fast::RandomState;

/// Fewer columns than this are looked through one by one.
const FEW: usize = 16;

/// Positions in a list of named things, in the order of their names.
#[derive(Clone, Debug, Default)]
pub(crate) struct Places(Box<[u32]>);

impl Places {
    /// Of a list of fewer than 2^32 things, of which `name` gives that of each.
    pub(crate) fn new<'a>(count: usize, name: impl Fn(usize) -> &'a str) -> Self {
        let mut places: Vec<u32> = (0..count as u32).collect();
        places.sort_unstable_by(|a, b| name(*a as usize).cmp(name(*b as usize)).then(a.cmp(b)));
        Self(places.into())
    }

    /// The first one that is called `wanted`.
    pub(crate) fn find<'a>(&self, wanted: &str, name: impl Fn(usize) -> &'a str) -> Option<usize> {
        let at = self.0.partition_point(|place| name(*place as usize) < wanted);
        self.0.get(at).map(|place| *place as usize).filter(|place| name(*place) == wanted)
    }
}

/// The columns of a batch by name, the first of each.
pub(crate) struct Columns<'a> {
    rows: &'a RecordBatch,
    /// None where there are few.
    places: Option<HashMap<&'a str, usize, RandomState>>,
}

impl<'a> Columns<'a> {
    pub(crate) fn of(rows: &'a RecordBatch) -> Self {
        let places = (rows.num_columns() > FEW).then(|| {
            let fields = rows.schema_ref().fields().iter().enumerate().rev();
            fields.map(|(at, field)| (field.name().as_str(), at)).collect()
        });
        Self { rows, places }
    }

    pub(crate) fn get(&self, name: &str) -> Option<&'a ArrayRef> {
        match &self.places {
            None => self.rows.column_by_name(name),
            Some(places) => places.get(name).map(|at| self.rows.column(*at)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::Int64Array;
    use arrow::datatypes::{DataType, Field, Schema};

    use super::*;

    #[test]
    fn each_name_leads_to_its_first_place() {
        let names = ["b", "a", "c", "b"];
        let places = Places::new(names.len(), |at| names[at]);
        let found = ["a", "b", "c", "", "bb", "d"].map(|wanted| places.find(wanted, |at| names[at]));
        assert_eq!(found, [Some(1), Some(0), Some(2), None, None, None]);
        assert_eq!(Places::default().find("a", |at| names[at]), None);
    }

    #[test]
    fn few_columns_and_many_are_found_alike() {
        for count in [FEW as i64, FEW as i64 + 1] {
            let fields: Vec<Field> =
                (0..count).map(|at| Field::new(format!("c{}", at.max(1)), DataType::Int64, true)).collect();
            let columns = (0..count).map(|at| Arc::new(Int64Array::from(vec![at])) as ArrayRef).collect();
            let rows = RecordBatch::try_new(Arc::new(Schema::new(fields)), columns).unwrap();
            let columns = Columns::of(&rows);
            assert_eq!(columns.get("c1").unwrap().as_ref(), rows.column(0).as_ref(), "the first of two");
            assert_eq!(columns.get("c9").unwrap().as_ref(), rows.column(9).as_ref());
            assert!(columns.get("c99").is_none());
        }
    }
}
