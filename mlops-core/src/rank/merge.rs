//! Candidates of several sources in one slate.

use std::collections::hash_map::Entry;
use std::hash::Hash;
use std::sync::Arc;

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, UInt32Array, UInt64Array, new_null_array};
use arrow::compute::{concat, take};
use arrow::datatypes::{DataType, Field, Int64Type, Schema as ArrowSchema, SchemaRef};
use arrow::row::{RowConverter, SortField};
use foldhash::{HashMap, HashMapExt};

use super::Slate;
use crate::{Error, Name, Result};

/// Slate column that says which sources found a candidate: bit `i` is set for the source added as number `i` (from 0).
pub const SOURCE_MASK: &str = "source_mask";

/// Where the columns of every source go in the slate.
#[derive(Debug)]
pub(super) struct Layout {
    /// Columns of the slate: those of the sources, then [`SOURCE_MASK`].
    pub(super) schema: SchemaRef,
    /// Per source its fields, and per column of the slate (the mask apart) the position in the source.
    sources: Vec<(Vec<Field>, Vec<Option<usize>>)>,
}

impl Layout {
    /// Unites the columns of sources, by name. A column that some source lacks is null for what that source found.
    pub(super) fn new(sources: &[(Name, Vec<Field>)]) -> Result<Self> {
        let mut union: Vec<Field> = Vec::new();
        let key = sources.first().and_then(|(_, fields)| fields.first());
        for (name, fields) in sources {
            let fail = |error| Err(Error::stage(name.as_str(), error));
            match (fields.first(), key) {
                (Some(own), Some(key)) if own.name() == key.name() && own.data_type() == key.data_type() => {}
                (Some(own), Some(key)) => {
                    let shown = |f: &Field| format!("key `{}` of {}", f.name(), f.data_type());
                    return fail(Error::schema(own.name(), shown(key), shown(own)));
                }
                _ => return fail(Error::schema("candidate key", "a first column", "no columns")),
            }
            for (i, field) in fields.iter().enumerate() {
                if fields[..i].iter().any(|f| f.name() == field.name()) || field.name() == SOURCE_MASK {
                    return fail(Error::AlreadyExists { kind: "slate column", name: field.name().clone() });
                }
                match union.iter_mut().find(|f| f.name() == field.name()) {
                    None => union.push(field.clone()),
                    Some(known) if known.data_type() != field.data_type() => {
                        return fail(Error::schema(field.name(), known.data_type(), field.data_type()));
                    }
                    Some(known) => known.set_nullable(known.is_nullable() || field.is_nullable()),
                }
            }
        }
        let place = |fields: &[Field], column: &Field| fields.iter().position(|f| f.name() == column.name());
        for column in &mut union {
            if sources.iter().any(|(_, fields)| place(fields, column).is_none()) {
                column.set_nullable(true);
            }
        }
        let places = |fields: &Vec<Field>| union.iter().map(|column| place(fields, column)).collect();
        let sources = sources.iter().map(|(_, fields)| (fields.clone(), places(fields))).collect();
        union.push(Field::new(SOURCE_MASK, DataType::UInt64, false));
        Ok(Self { schema: Arc::new(ArrowSchema::new(union)), sources })
    }

    /// Checks what a source found against what it promised.
    pub(super) fn check(&self, source: usize, found: RecordBatch, limit: usize) -> Result<RecordBatch> {
        let fields = &self.sources[source].0;
        if found.num_rows() > limit {
            return Err(Error::schema(
                fields[0].name(),
                format!("at most {limit} candidates"),
                format!("{} candidates", found.num_rows()),
            ));
        }
        if found.num_columns() != fields.len() {
            let columns = |n: usize| format!("{n} columns");
            return Err(Error::schema("*", columns(fields.len()), columns(found.num_columns())));
        }
        for (field, have) in fields.iter().zip(found.schema_ref().fields()) {
            if field.name() != have.name() || field.data_type() != have.data_type() {
                let have = format!("`{}` of {}", have.name(), have.data_type());
                return Err(Error::schema(field.name(), field.data_type(), have));
            }
        }
        match found.column(0).null_count() {
            0 => Ok(found),
            nulls => Err(Error::schema(fields[0].name(), "keys without nulls", format!("{nulls} nulls"))),
        }
    }

    /// One slate of everything that was found, by source. Of candidates with one key the first stays.
    pub(super) fn merge(&self, found: &[(usize, RecordBatch)]) -> Result<Slate> {
        let mut columns = match found {
            [(source, only)] => {
                (0..self.schema.fields().len() - 1).map(|column| self.column(*source, only, column)).collect::<Vec<_>>()
            }
            several => (0..self.schema.fields().len() - 1)
                .map(|column| {
                    let parts: Vec<_> =
                        several.iter().map(|(source, rows)| self.column(*source, rows, column)).collect();
                    Ok(concat(&parts.iter().map(AsRef::as_ref).collect::<Vec<_>>())?)
                })
                .collect::<Result<_>>()?,
        };
        let mut mask: Vec<u64> = Vec::with_capacity(columns[0].len());
        for (source, rows) in found {
            mask.resize(mask.len() + rows.num_rows(), 1 << source);
        }
        let first = first_seen(&columns[0])?;
        if first.iter().enumerate().any(|(row, first)| row != *first as usize) {
            for (row, first) in first.iter().enumerate() {
                mask[*first as usize] |= mask[row];
            }
            let kept = (0_u32..).zip(&first).filter(|(row, first)| row == *first).map(|(row, _)| row);
            let kept: UInt32Array = kept.collect::<Vec<_>>().into();
            mask = kept.values().iter().map(|row| mask[*row as usize]).collect();
            columns = columns.iter().map(|column| take(column, &kept, None)).collect::<Result<_, _>>()?;
        }
        columns.push(Arc::new(UInt64Array::from(mask)));
        Slate::new(RecordBatch::try_new(self.schema.clone(), columns)?)
    }

    fn column(&self, source: usize, rows: &RecordBatch, column: usize) -> ArrayRef {
        match self.sources[source].1[column] {
            Some(place) => rows.column(place).clone(),
            None => new_null_array(self.schema.field(column).data_type(), rows.num_rows()),
        }
    }
}

/// For each row the first row of the same value; nulls are equal to each other.
pub(super) fn first_seen(values: &ArrayRef) -> Result<Vec<u32>> {
    let rows = values.len();
    Ok(match values.data_type() {
        DataType::Int64 => number(rows, values.as_primitive::<Int64Type>().iter()),
        DataType::Utf8 => number(rows, values.as_string::<i32>().iter()),
        DataType::LargeUtf8 => number(rows, values.as_string::<i64>().iter()),
        DataType::Utf8View => number(rows, values.as_string_view().iter()),
        other => {
            let converter = RowConverter::new(vec![SortField::new(other.clone())])?;
            let converted = converter.convert_columns(std::slice::from_ref(values))?;
            number(rows, converted.iter())
        }
    })
}

fn number<T: Hash + Eq>(rows: usize, values: impl Iterator<Item = T>) -> Vec<u32> {
    let mut seen: HashMap<T, u32> = HashMap::with_capacity(rows);
    let first = |(row, value)| match seen.entry(value) {
        Entry::Occupied(known) => *known.get(),
        Entry::Vacant(free) => *free.insert(row),
    };
    (0..).zip(values).map(first).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Int64Array, StringArray, StringViewArray};

    use super::*;

    fn field(name: &str, data_type: DataType) -> Field {
        Field::new(name, data_type, false)
    }

    fn layout(sources: &[&[(&str, DataType)]]) -> Result<Layout> {
        let fields = |f: &&[(&str, DataType)]| f.iter().map(|(n, t)| field(n, t.clone())).collect::<Vec<_>>();
        let name = |i: usize| Name::new(format!("source_{i}")).unwrap();
        Layout::new(&sources.iter().enumerate().map(|(i, f)| (name(i), fields(f))).collect::<Vec<_>>())
    }

    fn ints(values: &[i64]) -> ArrayRef {
        Arc::new(Int64Array::from(values.to_vec()))
    }

    #[test]
    fn the_first_source_wins_and_every_finder_is_remembered() {
        let layout = layout(&[
            &[("id", DataType::Int64), ("price", DataType::Int64)],
            &[("id", DataType::Int64), ("distance", DataType::Int64)],
        ]);
        let first = RecordBatch::try_from_iter([("id", ints(&[7, 8])), ("price", ints(&[70, 80]))]).unwrap();
        let second = RecordBatch::try_from_iter([("id", ints(&[9, 8, 9])), ("distance", ints(&[1, 2, 3]))]).unwrap();
        let slate = layout.unwrap().merge(&[(0, first), (1, second)]).unwrap();
        let column = |name: &str| {
            let values = slate.column(name).unwrap().as_primitive::<Int64Type>();
            values.iter().collect::<Vec<_>>()
        };
        assert_eq!(column("id"), [Some(7), Some(8), Some(9)]);
        assert_eq!(column("price"), [Some(70), Some(80), None]);
        assert_eq!(column("distance"), [None, None, Some(1)]);
        let mask: &UInt64Array = slate.column(SOURCE_MASK).unwrap().as_primitive();
        assert_eq!(mask.values(), &[1, 3, 2]);
    }

    #[test]
    fn equal_values_are_seen_in_every_type() {
        let texts = ["a", "b", "a", "c", "b"];
        let arrays: [ArrayRef; 4] = [
            ints(&[1, 2, 1, 3, 2]),
            Arc::new(StringArray::from_iter_values(texts)),
            Arc::new(StringViewArray::from_iter_values(texts)),
            arrow::compute::cast(&ints(&[1, 2, 1, 3, 2]), &DataType::UInt16).unwrap(),
        ];
        for array in arrays {
            assert_eq!(first_seen(&array).unwrap(), [0, 1, 0, 3, 1], "{}", array.data_type());
        }
    }

    #[test]
    fn sources_that_do_not_go_together_are_refused_by_name() {
        let other_key = layout(&[&[("id", DataType::Int64)], &[("id", DataType::Utf8)]]).unwrap_err().to_string();
        assert!(other_key.contains("source_1") && other_key.contains("`id`"), "{other_key}");
        let pair = |t| [("id", DataType::Int64), ("x", t)];
        let other_type = layout(&[&pair(DataType::Int64), &pair(DataType::Utf8)]).unwrap_err().to_string();
        assert!(other_type.contains("source_1") && other_type.contains("`x`"), "{other_type}");
        assert!(layout(&[&[]]).is_err());
        assert!(layout(&[&[("id", DataType::Int64), (SOURCE_MASK, DataType::UInt64)]]).is_err());
        assert!(layout(&[&[("id", DataType::Int64), ("id", DataType::Int64)]]).is_err());
    }

    #[test]
    fn a_source_that_breaks_its_promise_is_refused() {
        let layout = layout(&[&[("id", DataType::Int64)]]).unwrap();
        let one = |name, array| RecordBatch::try_from_iter([(name, array)]).unwrap();
        assert!(layout.check(0, one("id", ints(&[1, 2])), 2).is_ok());
        assert!(layout.check(0, one("id", ints(&[1, 2])), 1).is_err());
        assert!(layout.check(0, one("key", ints(&[1])), 2).is_err());
        assert!(layout.check(0, one("id", Arc::new(StringArray::from(vec!["1"]))), 2).is_err());
        assert!(layout.check(0, one("id", Arc::new(Int64Array::from(vec![None]))), 2).is_err());
    }
}
