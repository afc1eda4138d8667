//! One feature of a view, and what is served where no value is known.

use arrow::array::ArrayRef;
use mlops_core::Name;
use mlops_core::schema::Sensitivity;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::define::ValueType;
use crate::error::{Core, Result};
use crate::json;

/// One feature of a view.
///
/// # Examples
/// ```
/// use mlops_core::schema::Sensitivity;
/// use mlops_features::{Feature, ValueType};
///
/// let clicks = Feature::new("clicks_7d", ValueType::Int64)?.default_value(0).describe("clicks of the last seven days");
/// let income = Feature::new("income", ValueType::Float64)?.sensitivity(Sensitivity::Personal);
/// assert!(clicks.check().is_ok() && income.check().is_ok());
/// assert!(clicks.default_value("none").check().is_err());
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Feature {
    /// Its name, which is the name of its column.
    pub name: Name,
    /// Type of its values.
    #[serde(rename = "type")]
    pub value_type: ValueType,
    /// Who may see its values; travels with every column that is made of it.
    #[serde(default)]
    pub sensitivity: Sensitivity,
    /// What is served under [`StatusPolicy::Default`](crate::StatusPolicy::Default) where no valid row is there; none for null.
    ///
    /// In JSON: `true` or `false` for booleans, a whole number within range for integers, a number or `"NaN"`,
    /// `"Infinity"`, `"-Infinity"` for real numbers, a text for text, RFC 3339 text or microseconds since the epoch for
    /// instants, base 64 for bytes, an array of these for lists, one of as many numbers as it has dimensions for a vector.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub default: Option<Value>,
    /// What it is, for people.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub description: String,
}

impl Feature {
    /// A feature of sensitivity `Internal` without default and description.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn new(name: impl AsRef<str>, value_type: ValueType) -> Result<Self> {
        let (sensitivity, description) = (Sensitivity::default(), String::new());
        Ok(Self { name: Name::new(name)?, value_type, sensitivity, default: None, description })
    }

    /// Who may see its values.
    pub fn sensitivity(mut self, sensitivity: Sensitivity) -> Self {
        self.sensitivity = sensitivity;
        self
    }

    /// What is served where no valid row is there, checked by [`check`](Self::check) and by every view; see
    /// [`default`](Self#structfield.default).
    pub fn default_value(mut self, value: impl Into<Value>) -> Self {
        self.default = Some(value.into());
        self
    }

    /// What it is, for people.
    pub fn describe(mut self, text: impl Into<String>) -> Self {
        self.description = text.into();
        self
    }

    /// Checks the type, and that the default is a value of it.
    ///
    /// # Errors
    /// `Core(Invalid)` for a vector of no or more than 16384 dimensions; `Core(Schema)` naming the feature for a default of
    /// another type, which is not told when the feature is personal.
    pub fn check(&self) -> Result<()> {
        self.value_type.ensure_bounded()?;
        self.default_array().map(|_| ())
    }

    /// The default as one row, none where there is none.
    ///
    /// # Errors
    /// `Core(Schema)` naming the feature when the default is no value of its type, which that of a built view never is.
    pub fn default_array(&self) -> Result<Option<ArrayRef>> {
        let Some(value) = &self.default else { return Ok(None) };
        let made = json::column(self.name.as_str(), &self.value_type.data_type(), std::iter::once(Some(value)));
        let found = || match self.sensitivity {
            Sensitivity::Public | Sensitivity::Internal => shown(value),
            _ => "another value, which is not shown".to_owned(),
        };
        let refused = || Core::schema(self.name.as_str(), format!("a default of type {}", self.value_type), found());
        Ok(Some(made.map_err(|_| refused())?))
    }
}

/// The start of a value as JSON.
fn shown(value: &Value) -> String {
    value.to_string().chars().take(80).collect()
}

#[cfg(test)]
mod tests {
    use arrow::array::{Array, FixedSizeListArray, Float32Array, Float64Array};
    use serde_json::json;

    use super::*;
    use crate::define::Item;

    #[track_caller]
    fn accepts(value_type: ValueType, value: impl Into<Value>) -> ArrayRef {
        let feature = Feature::new("f", value_type).unwrap().default_value(value);
        let array = feature.default_array().unwrap().unwrap();
        assert_eq!((array.len(), array.data_type()), (1, &value_type.data_type()));
        array
    }

    #[track_caller]
    fn refuses(value_type: ValueType, value: impl Into<Value>) {
        let feature = Feature::new("f", value_type).unwrap().default_value(value);
        let error = feature.check().unwrap_err().to_string();
        assert!(error.contains("column `f`: expected a default of type"), "{error}");
    }

    #[test]
    fn a_default_is_a_value_of_its_type() {
        use ValueType::{Binary, Bool, Float32, Float64, Int32, Int64, Timestamp, Utf8};
        accepts(Bool, true);
        accepts(Int32, i32::MIN);
        accepts(Int64, i64::MAX);
        accepts(Float32, 0.1);
        accepts(Float64, 3);
        accepts(Utf8, "ồ");
        accepts(Timestamp, -1);
        accepts(Timestamp, "2026-01-01T00:00:00Z");
        accepts(Binary, "AP8=");
        accepts(ValueType::List(Item::Int64), json!([]));
        accepts(ValueType::List(Item::Utf8), json!(["a", "b"]));
        let array = accepts(ValueType::Vector(2), json!([0.5, -1]));
        let items = array.as_any().downcast_ref::<FixedSizeListArray>().unwrap().value(0);
        assert_eq!(items.as_any().downcast_ref::<Float32Array>().unwrap().values(), &[0.5, -1.0]);
        let array = accepts(Float32, "-Infinity");
        assert_eq!(array.as_any().downcast_ref::<Float32Array>().unwrap().value(0), f32::NEG_INFINITY);
        let array = accepts(Float64, "NaN");
        assert!(array.as_any().downcast_ref::<Float64Array>().unwrap().value(0).is_nan());
    }

    #[test]
    fn a_default_of_another_type_is_refused_by_name() {
        use ValueType::{Binary, Bool, Float32, Float64, Int32, Int64, Timestamp, Utf8};
        refuses(Bool, 1);
        refuses(Int32, i64::from(i32::MAX) + 1);
        refuses(Int64, u64::MAX);
        refuses(Int64, 1.5);
        refuses(Float32, 1e39);
        refuses(Float64, "nan");
        refuses(Utf8, 7);
        refuses(Timestamp, "yesterday");
        refuses(Binary, "0");
        refuses(Float64, json!([1.0]));
        refuses(ValueType::List(Item::Float64), 1.0);
        refuses(ValueType::List(Item::Int64), json!([1, null]));
        refuses(ValueType::Vector(3), json!([1, 2]));
    }

    #[test]
    fn a_personal_default_is_not_told() {
        let feature = Feature::new("f", ValueType::Int64).unwrap().sensitivity(Sensitivity::Personal);
        let error = feature.default_value("079123456789").check().unwrap_err().to_string();
        assert!(!error.contains("079"), "{error}");
    }
}
