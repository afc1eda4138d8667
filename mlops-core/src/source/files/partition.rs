//! Values that stand in the names of folders: `year=2026/month=01`.

use std::path::Path;
use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Field, Schema as ArrowSchema};

use crate::source::cells::{Rows, ensure_textual, shorten};
use crate::source::local::shown;
use crate::{Error, Result, Schema};

/// What stands for null, as Hive has it.
const NULL: &str = "__HIVE_DEFAULT_PARTITION__";

/// Bytes of one name that file systems hold.
const NAME_BYTES_MAX: usize = 255;

/// Column and value that the name of a folder says, if it says any.
pub(super) fn read_name(name: &str) -> Option<Result<(String, Option<String>), &'static str>> {
    let (column, value) = name.split_once('=')?;
    let not_text = "percent-encoded bytes that are not UTF-8";
    let column = match decoded(column) {
        Some(column) if !column.is_empty() => column,
        Some(_) => return Some(Err("a value without the name of a column")),
        None => return Some(Err(not_text)),
    };
    if value == NULL {
        return Some(Ok((column, None)));
    }
    Some(decoded(value).map(|value| (column, Some(value))).ok_or(not_text))
}

/// Text with `%XX` replaced; what only looks like it stays.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, others)) = rest.split_first() {
        let hex = others.get(..2).filter(|hex| *first == b'%' && hex.iter().all(u8::is_ascii_hexdigit));
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(*first));
        rest = if byte.is_some() { &others[2..] } else { others };
    }
    String::from_utf8(bytes).ok()
}

/// Appends the name of the folder of `column` = `value`, in which nothing can be taken for a path.
///
/// # Errors
/// [`Error::InvalidData`] for a value that is too long for a name.
pub(super) fn write_name(column: &str, value: Option<&str>, out: &mut String) -> Result<()> {
    let start = out.len();
    encode(column, out);
    out.push('=');
    match value {
        None => out.push_str(NULL),
        Some(NULL) => {
            out.push_str("%5F");
            out.push_str(&NULL[1..]);
        }
        Some(value) => encode(value, out),
    }
    let length = out.len() - start;
    if length > NAME_BYTES_MAX {
        let reason = format!("a value of {length} bytes, where the name of a folder holds {NAME_BYTES_MAX}");
        return Err(Error::invalid_data(format!("column `{}`", shorten(column)), reason));
    }
    Ok(())
}

fn encode(text: &str, out: &mut String) {
    use std::fmt::Write;
    for (at, c) in text.char_indices() {
        let plain = c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | ' ') || (c == '.' && at > 0) || c > '\u{9f}';
        if plain {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            // Writing to a `String` cannot fail.
            let _ = c.encode_utf8(&mut bytes).bytes().try_for_each(|byte| write!(out, "%{byte:02X}"));
        }
    }
}

/// Columns for the values of `files`, one list of columns and values each: whole numbers where all values are, text otherwise,
/// and what `given` says where it has the column.
///
/// # Errors
/// [`Error::InvalidData`] when files have other columns than the first one, [`Error::Schema`] for a given type that text cannot
/// spell.
pub(super) fn columns<'a>(
    files: impl Iterator<Item = (&'a Path, &'a [(String, Option<String>)])> + Clone,
    given: Option<&Schema>,
) -> Result<Schema> {
    let names = |values: &[(String, Option<String>)]| values.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    let first = files.clone().next().map(|(_, values)| names(values)).unwrap_or_default();
    if let Some((path, values)) = files.clone().find(|(_, values)| !values.iter().map(|(name, _)| name).eq(&first)) {
        let reason = format!("its folders name the columns {:?}, those of the first file {first:?}", names(values));
        return Err(Error::invalid_data(shown(path), reason));
    }
    let mut fields = Vec::with_capacity(first.len());
    for (index, name) in first.iter().enumerate() {
        if let Some(field) = given.and_then(|schema| schema.field(name).ok()) {
            ensure_textual(field, false)?;
            fields.push(field.clone());
            continue;
        }
        let values = || files.clone().map(|(_, values)| values[index].1.as_deref());
        let whole = |text: &str| text.bytes().all(|b| b.is_ascii_digit() || b == b'-') && text.parse::<i64>().is_ok();
        let is_whole = values().flatten().all(whole) && values().flatten().next().is_some();
        let data_type = if is_whole { DataType::Int64 } else { DataType::Utf8 };
        fields.push(Field::new(name, data_type, values().any(|value| value.is_none())));
    }
    Schema::new(ArrowSchema::new(fields))
}

/// One row of the columns of `schema` with the values that the folders of `path` say.
///
/// # Errors
/// [`Error::InvalidData`] naming the file and the value that does not fit its column.
pub(super) fn row(path: &Path, schema: &Schema, values: &[(String, Option<String>)]) -> Result<RecordBatch> {
    let mut rows = Rows::new(schema.clone(), &[])?;
    for (cells, (column, value)) in rows.cells.iter_mut().zip(values) {
        let appended = match value {
            None => cells.append_null(),
            Some(text) => cells.append_text(text),
        };
        appended.map_err(|reason| {
            let value = value.as_deref().map_or("null".to_owned(), shorten);
            Error::invalid_data(shown(path), format!("folder `{}={value}` is {reason}", shorten(column)))
        })?;
    }
    rows.end_row(values.len(), true, 0);
    rows.take()
}

/// The fields of `schema` that are not among `columns`.
pub(super) fn without(schema: &Schema, columns: &Schema) -> Result<Schema> {
    let kept = schema.arrow().fields().iter().filter(|field| columns.index_of(field.name()).is_err());
    let kept: Vec<Arc<Field>> = kept.cloned().collect();
    Schema::new(ArrowSchema::new_with_metadata(kept, schema.arrow().metadata().clone()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn names_are_read_as_hive_spells_them() {
        let read = |name| read_name(name).map(|read| read.unwrap());
        let is = |column: &str, value: Option<&str>| Some((column.to_owned(), value.map(str::to_owned)));
        assert_eq!(read("year=2026"), is("year", Some("2026")));
        assert_eq!(read("a%3Db=c%2Fd%20e"), is("a=b", Some("c/d e")));
        assert_eq!(read("x=a=b"), is("x", Some("a=b")));
        assert_eq!(read("x="), is("x", Some("")));
        assert_eq!(read("x=100%"), is("x", Some("100%")));
        assert_eq!(read("x=%zz%4"), is("x", Some("%zz%4")));
        assert_eq!(read("x=__HIVE_DEFAULT_PARTITION__"), is("x", None));
        assert_eq!(read("x=%5F_HIVE_DEFAULT_PARTITION__"), is("x", Some(NULL)));
        assert_eq!(read("plain"), None);
        assert!(read_name("=1").unwrap().is_err());
        assert!(read_name("x=%FF").unwrap().is_err());
    }

    proptest! {
        #[test]
        fn a_name_gives_back_what_it_was_made_of_and_is_never_a_path(
            column in "[^=]{1,8}|\\.\\.|\\.x|é=",
            value in proptest::option::of("\\PC{0,20}|\\.\\./\\.\\.|__HIVE_DEFAULT_PARTITION__|%41|\u{0}|\n"),
        ) {
            let mut name = String::new();
            write_name(&column, value.as_deref(), &mut name).unwrap();
            prop_assert!(!name.contains(['/', '\\', '\0']) && !name.starts_with('.'), "{}", name);
            prop_assert_eq!(Path::new(&name).components().count(), 1);
            prop_assert_eq!(read_name(&name).unwrap().unwrap(), (column, value));
        }
    }

    #[test]
    fn a_value_that_no_folder_can_be_named_after_is_refused() {
        let error = write_name("note", Some(&"x".repeat(300)), &mut String::new()).unwrap_err();
        assert!(matches!(&error, Error::InvalidData { what, .. } if what == "column `note`"), "{error:?}");
    }
}
