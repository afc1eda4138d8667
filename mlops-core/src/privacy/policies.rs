//! One policy per purpose, in one file.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::Policy;
use crate::{Error, Result};

/// Most bytes of a file of policies.
pub const POLICIES_BYTES_MAX: usize = 1 << 20;
const FORMAT: u32 = 1;

/// What is done with each kind for each purpose: training wants tokens, support the last digits, a report nothing at all.
///
/// # Examples
/// ```
/// use mlops_core::privacy::{Action, Kind, Policies};
///
/// let policies = Policies::from_json(
///     r#"{"format": 1, "purposes": {
///         "training": {"kinds": {"cccd": "token", "birth_date": {"generalise": {"to": "year"}}}},
///         "support": {"kinds": {"phone": {"mask": {"keep_last": 3}}}, "other_kinds": "drop"}
///     }}"#,
/// )?;
/// assert_eq!(policies.of("training")?.action_of(Kind::Cccd), Action::Token);
/// assert!(policies.of("marketing").is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "Unchecked", into = "Unchecked")]
pub struct Policies {
    purposes: BTreeMap<String, Policy>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Unchecked {
    format: u32,
    purposes: BTreeMap<String, Policy>,
}

impl TryFrom<Unchecked> for Policies {
    type Error = Error;

    fn try_from(file: Unchecked) -> Result<Self> {
        if file.format != FORMAT {
            return Err(Error::invalid("format", file.format, "1, the only format of policies that is known"));
        }
        Self::new(file.purposes)
    }
}

impl From<Policies> for Unchecked {
    fn from(policies: Policies) -> Self {
        Self { format: FORMAT, purposes: policies.purposes }
    }
}

impl Policies {
    /// The policies of some purposes.
    ///
    /// # Errors
    /// [`Error::Invalid`] when there is none, or a purpose has an empty name.
    pub fn new(purposes: BTreeMap<String, Policy>) -> Result<Self> {
        if purposes.is_empty() || purposes.keys().any(|purpose| purpose.trim().is_empty()) {
            return Err(Error::invalid("purposes", "an empty map or name", "at least one purpose with a name"));
        }
        Ok(Self { purposes })
    }

    /// Reads JSON.
    ///
    /// # Errors
    /// [`Error::InvalidData`] when the text has more than 1 MiB, is no JSON, has an unknown field, kind or action, or an
    /// action means nothing for its kind.
    pub fn from_json(text: &str) -> Result<Self> {
        bounded(text)?;
        serde_json::from_str(text).map_err(|e| Error::invalid_data("privacy policies", e))
    }

    /// Reads YAML.
    ///
    /// # Errors
    /// As [`from_json`](Self::from_json).
    #[cfg(feature = "yaml")]
    pub fn from_yaml(text: &str) -> Result<Self> {
        bounded(text)?;
        serde_saphyr::from_str(text).map_err(|e| Error::invalid_data("privacy policies", e))
    }

    /// The policy for `purpose`. There is none to fall back on: who has no policy gets no data.
    ///
    /// # Errors
    /// [`Error::NotFound`] when the purpose has none.
    pub fn of(&self, purpose: &str) -> Result<&Policy> {
        self.purposes.get(purpose).ok_or_else(|| Error::not_found("purpose", purpose))
    }

    /// Purposes, ascending.
    pub fn purposes(&self) -> impl Iterator<Item = &str> {
        self.purposes.keys().map(String::as_str)
    }
}

fn bounded(text: &str) -> Result<()> {
    if text.len() > POLICIES_BYTES_MAX {
        let reason = format!("{} bytes are more than {POLICIES_BYTES_MAX}", text.len());
        return Err(Error::invalid_data("privacy policies", reason));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::{Action, Kind, Level};
    use super::*;

    const JSON: &str = r#"{"format": 1, "purposes": {"training": {"subject": "customer_id",
        "columns": {"opened": {"shift_date": {"days_max": 30}}},
        "kinds": {"cccd": "token", "postal_address": {"generalise": {"to": "province"}}}, "other_kinds": "drop"}}}"#;

    #[test]
    fn files_are_read_back_as_they_were_written() {
        let policies = Policies::from_json(JSON).unwrap();
        let province = Action::Generalise { to: Level::Province };
        assert_eq!(policies.of("training").unwrap().action_of(Kind::PostalAddress), province);
        assert_eq!(policies.of("training").unwrap().action_of(Kind::Iban), Action::Drop);
        assert_eq!(policies.purposes().collect::<Vec<_>>(), ["training"]);
        assert_eq!(Policies::from_json(&serde_json::to_string(&policies).unwrap()).unwrap(), policies);
    }

    #[cfg(feature = "yaml")]
    #[test]
    fn yaml_says_the_same() {
        let yaml = "\
format: 1
purposes:
  training:
    subject: customer_id
    columns:
      opened: {shift_date: {days_max: 30}}
    kinds:
      cccd: token
      postal_address:
        generalise:
          to: province
    other_kinds: drop
";
        assert_eq!(Policies::from_yaml(yaml).unwrap(), Policies::from_json(JSON).unwrap());
        for bad in
            ["", "format: 1", "format: 1\npurposes: {a: {kinds: {cccd: burn}}}", "{{{{", "format: 1\npurposes: 7"]
        {
            assert!(matches!(Policies::from_yaml(bad), Err(Error::InvalidData { .. })), "{bad}");
        }
    }

    #[test]
    fn files_that_mean_nothing_are_refused() {
        for bad in [
            r#"{"purposes": {"a": {}}}"#,
            r#"{"format": 2, "purposes": {"a": {}}}"#,
            r#"{"format": 1, "purposes": {}}"#,
            r#"{"format": 1, "purposes": {" ": {}}}"#,
            r#"{"format": 1, "purposes": {"a": {"kind": {}}}}"#,
            r#"{"format": 1, "purposes": {"a": {"kinds": {"email": {"generalise": {"to": "province"}}}}}}"#,
            r#"{"format": 1, "purposes": {"a": {"other_kinds": {"shift_date": {"days_max": 3}}}}}"#,
            r#"{"format": 1, "purposes": {"a": {"columns": {"d": {"shift_date": {"days_max": 3}}}}}}"#,
            r#"{"format": 1, "purposes": {"a": {"subject": "s", "columns": {"d": {"shift_date": {"days_max": 0}}}}}}"#,
            r#"{"format": 1, "purposes": {"a": {"columns": {"d": {"generalise": {"to": {"age_band": {"years": 1}}}}}}}}"#,
        ] {
            assert!(matches!(Policies::from_json(bad), Err(Error::InvalidData { .. })), "{bad}");
        }
        let long = " ".repeat(POLICIES_BYTES_MAX + 1);
        assert!(Policies::from_json(&long).is_err());
    }
}
