//! Columns as fields.

use arrow::datatypes::DataType;
use serde_json::{Value, json};

use crate::catalog::Column;
use crate::catalog::escape::percent;
use crate::catalog::openlineage::words_of;

/// The field of `column`; none where Croissant has no word for its type.
pub(super) fn field(column: &Column, data_type: &DataType) -> Option<Value> {
    let name = percent(&column.name, |byte| byte.is_ascii_alphanumeric() || b"_-.".contains(&byte));
    let id = format!("rows/{name}");
    let mut field = json!({
        "@type": "cr:Field",
        "@id": id,
        "name": column.name,
        "dataType": word(data_type)?,
        "source": {"fileObject": {"@id": "file"}, "extract": {"column": column.name}},
    });
    let words = words_of(column);
    if !words.is_empty() {
        field["description"] = words.into();
    }
    Some(field)
}

fn word(data_type: &DataType) -> Option<&'static str> {
    Some(match data_type {
        DataType::Boolean => "sc:Boolean",
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View | DataType::Time32(_) | DataType::Time64(_) => {
            "sc:Text"
        }
        DataType::Date32 | DataType::Date64 => "sc:Date",
        DataType::Timestamp(..) => "sc:DateTime",
        DataType::Dictionary(_, values) => return word(values),
        whole if whole.is_integer() => "sc:Integer",
        number if number.is_numeric() => "sc:Float",
        _ => return None,
    })
}
