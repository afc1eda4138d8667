//! Croissant 1.0: data sets in the words that data-set search engines and loaders of machine learning read.
//!
//! Entry points: [`Croissant::of`] for one data set with its file, [`index`] for all of a catalog.
//!
//! # Source
//! *Croissant format specification 1.0*, MLCommons, 2024; schema.org `Dataset` and `DataCatalog`. The script
//! `examples/compare/croissant.py` has the package `mlcroissant` judge and read what we write.

mod context;
mod field;

use std::fmt::Write;
use std::fs::File;
use std::io::Read;
use std::path::Path;

use serde_json::{Map, Value, json};
use sha2::{Digest as _, Sha256};

use super::{Catalog, Entry, Seen};
use crate::dataset::without_secrets;
use crate::schema::{Role, Sensitivity};
use crate::time::EventTime;
use crate::{Error, Result};

const CONFORMS_TO: &str = "http://mlcommons.org/croissant/1.0";

/// A data set and its file, as JSON-LD.
///
/// # Examples
/// ```
/// use mlops_core::catalog::Entry;
/// use mlops_core::catalog::croissant::Croissant;
/// use mlops_core::source::CsvSource;
/// use mlops_core::{Dataset, EventTime, Name};
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("offers.csv");
/// std::fs::write(&path, "offer,price\n1,100\n2,250\n")?;
/// let offers = Dataset::from_source(std::sync::Arc::new(CsvSource::open(&path)?))?;
/// let entry = Entry::of(Name::new("offers")?, "pricing", &offers, EventTime::EPOCH)?.with_license("CC-BY-4.0");
///
/// let croissant = Croissant::of(&entry)?.with_url("https://data.example/offers")?.with_version("1.0.0");
/// let value = croissant.to_value();
/// assert_eq!(value["distribution"][0]["contentUrl"], "offers.csv");
/// assert_eq!(value["recordSet"][0]["field"][1]["dataType"], "sc:Integer");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Debug)]
pub struct Croissant(Map<String, Value>);

impl Croissant {
    /// What `entry` says, with size and SHA-256 of its file, which is read for that: one local CSV (with a header),
    /// JSON-lines or Parquet file, not compressed as a whole.
    ///
    /// The file is told by its name alone, so that the document can be put beside it: see
    /// [`with_content_url`](Self::with_content_url). Columns of a type that Croissant has no word for (nested and binary
    /// ones) are no fields of the record set, whose description names them. Columns that tell about people are named as
    /// such; no value of any row is told.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another format or place, [`Error::NotFound`] when the file is not there, [`Error::Corrupt`]
    /// when it has not the size that was registered, [`Error::Io`] when it cannot be read, [`Error::Schema`] for a type
    /// that this version does not know.
    pub fn of(entry: &Entry) -> Result<Self> {
        let path = Path::new(&entry.source.location);
        let encoding = encoding(entry, path)?;
        let name = path.file_name().and_then(|name| name.to_str());
        let name = name.ok_or_else(|| Error::invalid("location", path.display(), "the path of a file"))?;
        let (bytes, sha256) = summed(path)?;
        if let Some(known) = entry.source.size_bytes.filter(|known| *known != bytes) {
            let reason = format!("it has {bytes} bytes, but {known} were registered");
            return Err(Error::corrupt(path.display().to_string(), reason));
        }
        let mut members = described(entry);
        let file = json!({
            "@type": "cr:FileObject",
            "@id": "file",
            "name": name,
            "contentUrl": name,
            "contentSize": format!("{bytes} B"),
            "encodingFormat": encoding,
            "sha256": sha256,
        });
        members.insert("distribution".to_owned(), json!([file]));
        members.insert("recordSet".to_owned(), json!([record_set(entry)?]));
        Ok(Self(members))
    }

    /// With another place of the file: relative to the document, or absolute. Passwords and secret parameters are left out.
    pub fn with_content_url(mut self, url: impl AsRef<str>) -> Self {
        if let Some(file) = self.0.get_mut("distribution").and_then(|files| files.get_mut(0)) {
            file["contentUrl"] = without_secrets(url.as_ref()).into();
        }
        self
    }

    /// With the address of a page about the data set.
    ///
    /// # Errors
    /// [`Error::Invalid`] when it is not one of HTTP.
    pub fn with_url(mut self, url: impl AsRef<str>) -> Result<Self> {
        let url = url.as_ref();
        if !(url.starts_with("https://") || url.starts_with("http://")) {
            return Err(Error::invalid("url", url, "an http or https address"));
        }
        self.0.insert("url".to_owned(), without_secrets(url).into());
        Ok(self)
    }

    /// With a version; validators want `major.minor.patch`.
    pub fn with_version(mut self, version: impl Into<String>) -> Self {
        self.0.insert("version".to_owned(), version.into().into());
        self
    }

    /// With words to cite it by, best BibTeX.
    pub fn with_citation(mut self, citation: impl Into<String>) -> Self {
        self.0.insert("citeAs".to_owned(), citation.into().into());
        self
    }

    /// The document.
    pub fn to_value(&self) -> Value {
        Value::Object(self.0.clone())
    }

    /// The document as indented text with a line end.
    pub fn to_text(&self) -> String {
        format!("{:#}\n", self.to_value())
    }
}

/// All entries of `catalog` as a `DataCatalog` of schema.org, as far as `reader` may know them, by name. No file is read, so
/// there are no checksums and no record sets in it: it tells search engines what there is.
///
/// # Errors
/// What the catalog fails with.
pub fn index(catalog: &dyn Catalog, reader: &str) -> Result<Value> {
    let mut sets = Vec::new();
    for name in catalog.list()? {
        let (entry, revision) = catalog.get(&name)?;
        sets.push(match Seen::by(reader, entry, revision) {
            Seen::Whole { entry, .. } => {
                let mut members = described(&entry);
                members.remove("@context");
                Value::Object(members)
            }
            Seen::Sealed { name, owner } => {
                let name = name.as_str();
                json!({"@type": "sc:Dataset", "name": name, "creator": organization(&owner), "isAccessibleForFree": false})
            }
        });
    }
    Ok(json!({"@context": context::context(), "@type": "sc:DataCatalog", "dataset": sets}))
}

/// Everything but the file.
fn described(entry: &Entry) -> Map<String, Value> {
    let description = if entry.description.is_empty() { entry.name.as_str() } else { &entry.description };
    let mut members = Map::new();
    let mut add = |key: &str, value: Value| members.insert(key.to_owned(), value);
    add("@context", context::context());
    add("@type", "sc:Dataset".into());
    add("name", entry.name.as_str().into());
    add("description", description.into());
    add("conformsTo", CONFORMS_TO.into());
    add("identifier", format!("blake3:{}", entry.digest).into());
    add("creator", organization(&entry.owner));
    for (key, time) in [("datePublished", entry.created), ("dateModified", entry.updated())] {
        if let Some(day) = day(time) {
            add(key, day.into());
        }
    }
    if let Some(license) = &entry.license {
        let is_address = license.contains("://");
        add(
            "license",
            if is_address { license.clone() } else { format!("https://spdx.org/licenses/{license}") }.into(),
        );
    }
    if !entry.tags.is_empty() {
        add("keywords", entry.tags.clone().into());
    }
    let personal = entry.columns.iter().filter(|column| column.sensitivity >= Sensitivity::Personal);
    let personal: Vec<&str> = personal.map(|column| column.name.as_str()).collect();
    if !personal.is_empty() {
        add("rai:personalSensitiveInformation", personal.into());
    }
    members
}

fn organization(name: &str) -> Value {
    json!({"@type": "sc:Organization", "name": name})
}

/// The day of `time` in UTC, where calendars of four digits reach it.
fn day(time: EventTime) -> Option<String> {
    let text = time.to_string();
    text.split_once('T').map(|(day, _)| day.to_owned()).filter(|day| day.len() == "2024-01-01".len())
}

fn encoding(entry: &Entry, path: &Path) -> Result<&'static str> {
    let packed = path.extension().is_some_and(|end| ["gz", "zst", "zip"].iter().any(|packed| end == *packed));
    match entry.source.format.as_str() {
        "csv" if !packed => Ok("text/csv"),
        "json_lines" if !packed => Ok("application/jsonlines"),
        "parquet" => Ok("application/x-parquet"),
        other => Err(Error::invalid("format", other, "csv, json_lines or parquet, not compressed as a whole")),
    }
}

/// Size and SHA-256 of a file, in one pass with a buffer of fixed size.
fn summed(path: &Path) -> Result<(u64, String)> {
    let failed = |e: std::io::Error| match e.kind() {
        std::io::ErrorKind::NotFound => Error::not_found("file", path.display().to_string()),
        _ => Error::io(path, e),
    };
    let mut file = File::open(path).map_err(failed)?;
    let (mut hasher, mut buffer, mut bytes) = (Sha256::new(), vec![0; 1 << 16], 0);
    loop {
        match file.read(&mut buffer).map_err(failed)? {
            0 => break,
            read => {
                hasher.update(&buffer[..read]);
                bytes += read as u64;
            }
        }
    }
    let mut sha256 = String::new();
    for byte in hasher.finalize() {
        let _ = write!(sha256, "{byte:02x}"); // writing to a string cannot fail
    }
    Ok((bytes, sha256))
}

fn record_set(entry: &Entry) -> Result<Value> {
    let schema = entry.schema()?;
    let (mut fields, mut keys, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for column in &entry.columns {
        let Some(field) = field::field(column, schema.field(&column.name)?.data_type()) else {
            left_out.push(column.name.as_str());
            continue;
        };
        if column.role == Role::Key {
            keys.push(json!({"@id": field["@id"]}));
        }
        fields.push(field);
    }
    let mut set = json!({"@type": "cr:RecordSet", "@id": "rows", "name": "rows", "field": fields});
    let rows = entry.rows;
    set["description"] = match left_out.as_slice() {
        [] => format!("{rows} rows"),
        left_out => format!("{rows} rows; not described: {}", left_out.join(", ")),
    }
    .into();
    if !keys.is_empty() {
        set["key"] = keys.into();
    }
    Ok(set)
}

#[cfg(test)]
mod tests;
