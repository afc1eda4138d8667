//! Stored JSON documents: for people to read and keep in git, checked for machines.
//!
//! A document begins with the number of its format and ends with a check over the rest, which depends on neither white
//! space nor the order of keys: tools may lay the text out anew, and nothing else. Entry points: [`seal`] and [`open`].

use std::fs::File;
use std::io::Read;
use std::ops::RangeInclusive;
use std::path::Path;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::file::{create_dir_all_synced, visible, write_bytes};
use crate::{Digest, Error, Result};

/// Bytes of one document at the most, where nothing was said.
pub const DOCUMENT_BYTES_MAX: u64 = 16 << 20;

#[derive(Serialize)]
struct Sealed<'a, T> {
    format: u64,
    #[serde(flatten)]
    content: &'a T,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Digest>,
}

/// The document that holds `content`, which is called `what` in errors: indented JSON, the format first, the check last.
///
/// The content is an object without members `format` and `check`.
///
/// # Errors
/// [`Error::InvalidData`] when the content has no such form, [`Error::Invalid`] when the document is longer than `bytes_max`.
///
/// # Examples
/// ```
/// use mlops_core::document::{DOCUMENT_BYTES_MAX, open, seal};
/// use serde_json::{Value, json};
///
/// let text = seal("note", 2, &json!({"of": "mina"}), DOCUMENT_BYTES_MAX)?;
/// assert!(text.starts_with("{\n  \"format\": 2,\n  \"of\": \"mina\""));
/// let (format, note): (u64, Value) = open("note", text.as_bytes(), 1..=2, DOCUMENT_BYTES_MAX)?;
/// assert_eq!((format, note), (2, json!({"of": "mina"})));
/// assert!(open::<Value>("note", text.replace("mina", "nina").as_bytes(), 1..=2, DOCUMENT_BYTES_MAX).is_err());
/// # Ok::<(), mlops_core::Error>(())
/// ```
pub fn seal<T: Serialize>(what: &str, format: u64, content: &T, bytes_max: u64) -> Result<String> {
    let no_json = |e| Error::invalid_data(what, e);
    let mut sealed = Sealed { format, content, check: None };
    sealed.check = Some(check(&serde_json::to_value(&sealed).map_err(no_json)?));
    let text = serde_json::to_string_pretty(&sealed).map_err(no_json)? + "\n";
    if text.len() as u64 > bytes_max {
        let value = format!("{what} of {} bytes", text.len());
        return Err(Error::invalid("document", value, "at most as long as documents of its kind may be"));
    }
    Ok(text)
}

/// Format and content of a document whose bytes are called `what` in errors.
///
/// # Errors
/// [`Error::InvalidData`] for a format outside of `formats`, [`Error::Corrupt`] when the bytes are not those that were written.
pub fn open<T: DeserializeOwned>(
    what: &str,
    bytes: &[u8],
    formats: RangeInclusive<u64>,
    bytes_max: u64,
) -> Result<(u64, T)> {
    let (format, mut value) = parse(what, bytes, formats, bytes_max)?;
    let stated = value.as_object_mut().and_then(|members| members.remove("check"));
    if stated != Some(Value::String(check(&value).to_string())) {
        return Err(Error::corrupt(what, "its check does not fit its content"));
    }
    if let Some(members) = value.as_object_mut() {
        members.remove("format");
    }
    let content = serde_json::from_value(value).map_err(|e| Error::corrupt(what, e))?;
    Ok((format, content))
}

/// The JSON in `bytes`, and the format that it says it has.
fn parse(what: &str, bytes: &[u8], formats: RangeInclusive<u64>, bytes_max: u64) -> Result<(u64, Value)> {
    if bytes.len() as u64 > bytes_max {
        return Err(Error::corrupt(what, format!("longer than {bytes_max} bytes")));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| Error::corrupt(what, e))?;
    match value.get("format").and_then(Value::as_u64) {
        Some(found) if formats.contains(&found) => Ok((found, value)),
        Some(other) => {
            let reason = format!("written in format {other}, and this version reads up to format {}", formats.end());
            Err(Error::invalid_data(what, reason))
        }
        None => Err(Error::corrupt(what, "it does not begin with a format number")),
    }
}

/// What is in the file at `path`; more than `bytes_max` are not brought into memory, and are refused by [`open`].
///
/// # Errors
/// [`Error::Io`] when it cannot be read.
pub fn read_file(path: &Path, bytes_max: u64) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path);
    let most = bytes_max.saturating_add(1);
    file.and_then(|file| file.take(most).read_to_end(&mut bytes)).map_err(|e| Error::io(path, e))?;
    Ok(bytes)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    #[serde(rename = "format")]
    _format: u64,
    kind: String,
}

/// Makes or opens the folder of a store: its file `marker` says that it is of this `kind` in this `layout`.
///
/// Beside a new marker lies a `.gitignore` of what a killed process may leave behind.
///
/// # Errors
/// [`Error::InvalidData`] when the folder holds other things or another layout, [`Error::Corrupt`] when the marker is damaged or
/// another store's, [`Error::Io`] when it cannot be made or read.
pub fn open_folder(root: &Path, marker: &str, kind: &str, layout: u64) -> Result<()> {
    create_dir_all_synced(root)?;
    let path = root.join(marker);
    if !path.exists() {
        // Another process may be making the store right now; its marker comes before anything else.
        if !visible(root, |_| Some(()))?.is_empty() && !path.exists() {
            let reason = format!("a folder with other things in it, not an {kind}");
            return Err(Error::invalid_data(root.display().to_string(), reason));
        }
        write_bytes(root.join(".gitignore"), b".mlops-*.tmp\n")?;
        let content = format!("{{\n  \"format\": {layout},\n  \"kind\": {}\n}}\n", Value::from(kind));
        write_bytes(&path, content.as_bytes())?;
    }
    let what = path.display().to_string();
    let bytes = read_file(&path, DOCUMENT_BYTES_MAX)?;
    let (_, value) = parse(&what, &bytes, layout..=layout, DOCUMENT_BYTES_MAX)?;
    let found: Marker = serde_json::from_value(value).map_err(|e| Error::corrupt(&what, e))?;
    if found.kind == kind { Ok(()) } else { Err(Error::corrupt(what, format!("not the marker of an {kind}"))) }
}

/// Digest of a JSON value that depends on neither white space nor the order of keys.
fn check(value: &Value) -> Digest {
    let mut text = Vec::new();
    canonical(value, &mut text);
    Digest::of(text)
}

fn canonical(value: &Value, out: &mut Vec<u8>) {
    match value {
        Value::Array(items) => {
            out.push(b'[');
            for item in items {
                canonical(item, out);
                out.push(b',');
            }
            out.push(b']');
        }
        Value::Object(members) => {
            let mut members: Vec<_> = members.iter().collect();
            members.sort_unstable_by_key(|(key, _)| *key);
            out.push(b'{');
            for (key, member) in members {
                canonical(&Value::String(key.clone()), out);
                out.push(b':');
                canonical(member, out);
                out.push(b',');
            }
            out.push(b'}');
        }
        scalar => out.extend_from_slice(scalar.to_string().as_bytes()),
    }
}
