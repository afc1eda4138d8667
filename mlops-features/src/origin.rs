//! Where the rows of a view come from, as definitions tell it.

use std::fmt;
use std::path::{Component, Path};

use mlops_core::Name;
use mlops_core::source::FileFormat;
use serde::{Deserialize, Serialize};

use crate::error::{Core, Error, Result};

/// Bytes of a source's path at the most.
const PATH_BYTES_MAX: usize = 4_096;

/// Where the history of a view is read from, in whole tables.
///
/// A definition names its source and never opens it: what a name stands for is the host's to say. Data that move are named
/// through the catalog, so that the definition stays as it is.
///
/// # Examples
/// ```
/// use mlops_features::BatchOrigin;
/// let origin: BatchOrigin = serde_json::from_str(r#"{"kind": "file", "format": "parquet", "path": "events/clicks.parquet"}"#)?;
/// assert_eq!(origin.to_string(), "file events/clicks.parquet");
/// assert!(serde_json::from_str::<BatchOrigin>(r#"{"kind": "file", "format": "csv", "path": "../../etc/passwd"}"#).is_err());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(try_from = "BatchForm", into = "BatchForm")]
#[non_exhaustive]
pub enum BatchOrigin {
    /// A file or folder of files.
    File {
        /// How they are written.
        format: FileFormat,
        /// Where they are; relative to what the host says, never above it.
        path: String,
    },
    /// A data set of the catalog.
    Catalog {
        /// Its name there.
        name: Name,
    },
    /// Code of the host that makes the rows, such as a query or a closure on a polars plan.
    Code {
        /// Name of the code.
        name: Name,
        /// Stands for the code, which has no digest: another version may make other rows.
        version: String,
    },
    /// The history of other views, by the expressions of on-demand views; see [`DerivedView`](crate::DerivedView).
    Derived {
        /// The stored view whose rows make rows.
        driver: Name,
        /// The on-demand views that have the features.
        views: Vec<Name>,
    },
    /// The history of a stored view, whose rows are events: what a [`WindowView`](crate::window::WindowView) is trained on
    /// when a stream brings its events into history, too.
    History {
        /// The stored view.
        view: Name,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
enum BatchForm {
    File { format: FileFormat, path: String },
    Catalog { name: Name },
    Code { name: Name, version: String },
    Derived { driver: Name, views: Vec<Name> },
    History { view: Name },
}

impl TryFrom<BatchForm> for BatchOrigin {
    type Error = Error;

    fn try_from(form: BatchForm) -> Result<Self> {
        match form {
            BatchForm::File { format, path } => Self::file(format, path),
            BatchForm::Catalog { name } => Ok(Self::Catalog { name }),
            BatchForm::Code { name, version } => Self::code(name, version),
            BatchForm::Derived { driver, views } => Self::Derived { driver, views }.checked(),
            BatchForm::History { view } => Ok(Self::History { view }),
        }
    }
}

impl From<BatchOrigin> for BatchForm {
    fn from(origin: BatchOrigin) -> Self {
        match origin {
            BatchOrigin::File { format, path } => Self::File { format, path },
            BatchOrigin::Catalog { name } => Self::Catalog { name },
            BatchOrigin::Code { name, version } => Self::Code { name, version },
            BatchOrigin::Derived { driver, views } => Self::Derived { driver, views },
            BatchOrigin::History { view } => Self::History { view },
        }
    }
}

impl BatchOrigin {
    /// The file or folder at `path`.
    ///
    /// # Errors
    /// `Core(Invalid)` for a path that is empty, longer than 4096 bytes, has a zero byte or leads upwards.
    pub fn file(format: FileFormat, path: impl Into<String>) -> Result<Self> {
        Self::File { format, path: path.into() }.checked()
    }

    /// The data set of the catalog that is called `name`.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn catalog(name: impl AsRef<str>) -> Result<Self> {
        Ok(Self::Catalog { name: Name::new(name)? })
    }

    /// Code of the host, with what stands for it.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name or an empty version.
    pub fn code(name: impl AsRef<str>, version: impl Into<String>) -> Result<Self> {
        Self::Code { name: Name::new(name)?, version: version.into() }.checked()
    }

    /// What these on-demand views give whenever the stored view `driver` has a row.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name, or without a view.
    pub fn derived<'a>(driver: impl AsRef<str>, views: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let views = views.into_iter().map(Name::new).collect::<Result<_, _>>()?;
        Self::Derived { driver: Name::new(driver)?, views }.checked()
    }

    /// The history of the stored view `view`.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn history(view: impl AsRef<str>) -> Result<Self> {
        Ok(Self::History { view: Name::new(view)? })
    }

    /// # Errors
    /// As the constructors: the fields are open, so that a view checks again what it is given.
    pub(crate) fn checked(self) -> Result<Self> {
        match &self {
            Self::File { path, .. } => check_path(path)?,
            Self::Code { version, .. } if version.is_empty() => {
                return Err(Core::invalid("version of the code", "\"\"", "a text that changes with the code").into());
            }
            Self::Derived { views, .. } if views.is_empty() => {
                return Err(Core::invalid("views that a view is derived by", 0, "at least one").into());
            }
            Self::Catalog { .. } | Self::Code { .. } | Self::Derived { .. } | Self::History { .. } => {}
        }
        Ok(self)
    }
}

fn check_path(path: &str) -> Result<()> {
    let upwards = || Path::new(path).components().any(|part| part == Component::ParentDir) || path.contains("..\\");
    if path.is_empty() || path.len() > PATH_BYTES_MAX || path.contains('\0') || upwards() {
        let shown: String = path.chars().take(80).flat_map(char::escape_default).collect();
        let domain = "1 to 4096 bytes without a zero byte and without `..`";
        return Err(Core::invalid("path of a source", format!("`{shown}`"), domain).into());
    }
    Ok(())
}

impl fmt::Display for BatchOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File { path, .. } => write!(f, "file {path}"),
            Self::Catalog { name } => write!(f, "data set {name}"),
            Self::Code { name, version } => write!(f, "code {name} {version}"),
            Self::Derived { driver, views } => {
                let views: Vec<&str> = views.iter().map(Name::as_str).collect();
                write!(f, "{driver} by {}", views.join(", "))
            }
            Self::History { view } => write!(f, "history of {view}"),
        }
    }
}

/// Where rows of a view come from one by one, as things happen.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case", deny_unknown_fields)]
#[non_exhaustive]
pub enum StreamOrigin {
    /// Somebody calls: rows come through `push` under this name.
    Push {
        /// Name that callers push to.
        name: Name,
    },
    /// A stream is read, such as a subject of NATS.
    Stream {
        /// Name by which the host knows the stream.
        name: Name,
    },
}

impl StreamOrigin {
    /// Rows that are pushed to `name`.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn push(name: impl AsRef<str>) -> Result<Self> {
        Ok(Self::Push { name: Name::new(name)? })
    }

    /// The stream that the host knows as `name`.
    ///
    /// # Errors
    /// `Core(Invalid)` for a bad name.
    pub fn stream(name: impl AsRef<str>) -> Result<Self> {
        Ok(Self::Stream { name: Name::new(name)? })
    }

    /// Its name.
    pub fn name(&self) -> &Name {
        match self {
            Self::Push { name } | Self::Stream { name } => name,
        }
    }
}

impl fmt::Display for StreamOrigin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Push { name } => write!(f, "push {name}"),
            Self::Stream { name } => write!(f, "stream {name}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_that_lead_upwards_are_refused_in_code_and_in_json() {
        for bad in ["", "..", "a/../b", "/data/../../etc", "..\\secret", "a\0b", &"x".repeat(5_000)] {
            let error = BatchOrigin::file(FileFormat::Csv, bad).unwrap_err().to_string();
            assert!(error.contains("path of a source") && error.len() < 1_000, "{error}");
            let text = serde_json::json!({"kind": "file", "format": "csv", "path": bad}).to_string();
            assert!(serde_json::from_str::<BatchOrigin>(&text).is_err(), "{bad:?}");
        }
        assert!(BatchOrigin::file(FileFormat::Csv, "a..b/c.csv").is_ok());
    }

    #[test]
    fn origins_survive_json_and_unknown_fields_do_not() {
        let origins = [
            BatchOrigin::file(FileFormat::Parquet, "/lake/clicks").unwrap(),
            BatchOrigin::catalog("clicks").unwrap(),
            BatchOrigin::code("per_day", "3").unwrap(),
            BatchOrigin::derived("clicks", ["share"]).unwrap(),
            BatchOrigin::history("order_events").unwrap(),
        ];
        for origin in origins {
            let text = serde_json::to_string(&origin).unwrap();
            assert_eq!(serde_json::from_str::<BatchOrigin>(&text).unwrap(), origin);
            let more = text.replacen('{', "{\"more\":1,", 1);
            assert!(serde_json::from_str::<BatchOrigin>(&more).is_err(), "{more}");
        }
        let pushed = StreamOrigin::push("clicks").unwrap();
        let text = serde_json::to_string(&pushed).unwrap();
        assert_eq!(text, r#"{"kind":"push","name":"clicks"}"#);
        assert_eq!(serde_json::from_str::<StreamOrigin>(&text).unwrap(), pushed);
        assert!(serde_json::from_str::<StreamOrigin>(r#"{"kind":"push","name":"clicks","to":"x"}"#).is_err());
        assert!(BatchOrigin::code("per_day", "").is_err());
        assert!(BatchOrigin::derived("clicks", []).is_err());
    }
}
