//! The documents of a catalog: JSON for people, checked for machines.

use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::catalog::{Entry, Revision};
use crate::{Digest, Error, Result};

/// Bytes of one entry's document at the most.
pub const ENTRY_BYTES_MAX: u64 = 16 << 20;

/// Format of documents as they are written. Format 1 knew neither statistics nor refresh periods nor licences.
const FORMAT: u64 = 2;
const FORMATS: std::ops::RangeInclusive<u64> = 1..=FORMAT;
/// Format of `catalog.json`, which stands for the layout of the folder.
const LAYOUT: u64 = 1;
const KIND: &str = "mlops catalog";

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Marker {
    format: u64,
    kind: String,
}

#[derive(Serialize)]
struct Written<'a> {
    format: u64,
    revision: Revision,
    entry: &'a Entry,
    #[serde(skip_serializing_if = "Option::is_none")]
    check: Option<Digest>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Stored {
    #[serde(rename = "format")]
    _format: u64,
    revision: Revision,
    entry: Entry,
    #[serde(rename = "check")]
    _check: Digest,
}

/// The content of `catalog.json`.
pub(super) fn marker() -> String {
    format!("{{\n  \"format\": {LAYOUT},\n  \"kind\": \"{KIND}\"\n}}\n")
}

/// # Errors
/// [`Error::InvalidData`] for a later layout, [`Error::Corrupt`] for anything else that is not [`marker`].
pub(super) fn check_marker(path: &Path) -> Result<()> {
    let what = path.display().to_string();
    let value = parse(&what, &bytes_of(path)?, LAYOUT..=LAYOUT)?;
    let marker: Marker = serde_json::from_value(value).map_err(|e| Error::corrupt(&what, e))?;
    if marker.kind == KIND { Ok(()) } else { Err(Error::corrupt(what, "not the marker of a catalog")) }
}

/// The document of `entry` as `revision`: indented JSON, the format first, the check last.
///
/// # Errors
/// [`Error::Invalid`] when it is longer than [`ENTRY_BYTES_MAX`], [`Error::InvalidData`] when the entry has no JSON form.
pub(super) fn write(entry: &Entry, revision: Revision) -> Result<String> {
    let no_json = |e| Error::invalid_data(format!("entry `{}`", entry.name), e);
    let mut written = Written { format: FORMAT, revision, entry, check: None };
    written.check = Some(check(&serde_json::to_value(&written).map_err(no_json)?));
    let text = serde_json::to_string_pretty(&written).map_err(no_json)? + "\n";
    if text.len() as u64 > ENTRY_BYTES_MAX {
        return Err(Error::invalid("entry", &entry.name, "at most 16 MiB as JSON"));
    }
    Ok(text)
}

/// Revision and entry of the document in the file at `path`.
///
/// # Errors
/// As [`read`], and [`Error::Io`] when the file cannot be read.
pub(super) fn read_file(path: &Path) -> Result<(u64, Entry)> {
    read(&path.display().to_string(), &bytes_of(path)?)
}

/// Revision and entry of a document whose bytes are called `what` in errors.
///
/// # Errors
/// [`Error::InvalidData`] for a later format, [`Error::Corrupt`] when the bytes are not those that were written.
pub(super) fn read(what: &str, bytes: &[u8]) -> Result<(u64, Entry)> {
    let mut value = parse(what, bytes, FORMATS)?;
    let stated = value.get("check").cloned();
    let content = value.as_object_mut().map(|members| members.remove("check"));
    if content.is_none() || stated != Some(Value::String(check(&value).to_string())) {
        return Err(Error::corrupt(what, "its check does not fit its content"));
    }
    if let (Some(members), Some(stated)) = (value.as_object_mut(), stated) {
        members.insert("check".to_owned(), stated);
    }
    let stored: Stored = serde_json::from_value(value).map_err(|e| Error::corrupt(what, e))?;
    Ok((stored.revision.0, stored.entry))
}

fn bytes_of(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    let file = File::open(path);
    file.and_then(|file| file.take(ENTRY_BYTES_MAX + 1).read_to_end(&mut bytes)).map_err(|e| Error::io(path, e))?;
    Ok(bytes)
}

/// The JSON in `bytes`, if it says that it is of one of our `formats`.
fn parse(what: &str, bytes: &[u8], formats: std::ops::RangeInclusive<u64>) -> Result<Value> {
    if bytes.len() as u64 > ENTRY_BYTES_MAX {
        return Err(Error::corrupt(what, "longer than 16 MiB"));
    }
    let value: Value = serde_json::from_slice(bytes).map_err(|e| Error::corrupt(what, e))?;
    match value.get("format").and_then(Value::as_u64) {
        Some(found) if formats.contains(&found) => Ok(value),
        Some(other) => {
            let reason = format!("written in format {other}, and this version reads up to format {}", formats.end());
            Err(Error::invalid_data(what, reason))
        }
        None => Err(Error::corrupt(what, "it does not begin with a format number")),
    }
}

/// Digest of a JSON value that depends on neither white space nor the order of keys: tools may lay the text out anew.
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
