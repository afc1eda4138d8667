//! What is brought online, and in which portions.

use mlops_core::Window;
use serde::{Deserialize, Serialize};

use crate::error::{Core, Result};

/// Which rows are brought.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Range {
    /// Those that came in since the last time, however old their event times are; the position is stored with them.
    #[default]
    New,
    /// Those whose event time lies in a window; stored positions stay as they are.
    Window(Window),
}

/// Settings of a materialization.
///
/// # Examples
/// ```
/// use mlops_features::MaterializeOptions;
/// let options = MaterializeOptions::builder().memory_bytes(64 << 20).build()?;
/// # Ok::<(), mlops_features::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(try_from = "OptionsForm", into = "OptionsForm")]
#[derive(Default)]
pub struct MaterializeOptions(pub(super) OptionsForm);

#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct OptionsForm {
    pub(super) range: Range,
    pub(super) chunk_rows: usize,
    pub(super) memory_bytes: usize,
}

/// Keys of one chunk where nothing was said, and the most that may be said.
const CHUNK_ROWS_DEFAULT: usize = 1 << 20;
const CHUNK_ROWS_MAX: usize = 1 << 24;

/// Memory for rows where nothing was said, and the least that may be said.
const MEMORY_BYTES_DEFAULT: usize = 128 << 20;
const MEMORY_BYTES_MIN: usize = 1 << 20;

impl Default for OptionsForm {
    fn default() -> Self {
        Self { range: Range::New, chunk_rows: CHUNK_ROWS_DEFAULT, memory_bytes: MEMORY_BYTES_DEFAULT }
    }
}

impl From<MaterializeOptions> for OptionsForm {
    fn from(options: MaterializeOptions) -> Self {
        options.0
    }
}

impl TryFrom<OptionsForm> for MaterializeOptions {
    type Error = crate::Error;

    fn try_from(form: OptionsForm) -> Result<Self> {
        if !(1..=CHUNK_ROWS_MAX).contains(&form.chunk_rows) {
            return Err(Core::invalid("chunk rows", form.chunk_rows, "in 1..=16777216").into());
        }
        if form.memory_bytes < MEMORY_BYTES_MIN {
            return Err(Core::invalid("memory bytes", form.memory_bytes, "a MiB or more").into());
        }
        Ok(Self(form))
    }
}

impl MaterializeOptions {
    /// The defaults, stated at each setting.
    pub fn builder() -> MaterializeOptionsBuilder {
        MaterializeOptionsBuilder(OptionsForm::default())
    }
}

/// Collects the settings of a materialization.
#[derive(Clone, Debug)]
pub struct MaterializeOptionsBuilder(OptionsForm);

impl MaterializeOptionsBuilder {
    /// Which rows. Default [`Range::New`].
    pub fn range(mut self, range: Range) -> Self {
        self.0.range = range;
        self
    }

    /// Keys of one chunk: so many rows are gathered at most, the latest of each key, before they are written with the position
    /// that they reach. A chunk ends, too, when eight times as many rows of history were read for it, which is most of
    /// what a crash costs. Default 1048576.
    pub fn chunk_rows(mut self, rows: usize) -> Self {
        self.0.chunk_rows = rows;
        self
    }

    /// Memory for the rows of a chunk and their keys; a chunk ends when it is used up. What reading and writing need comes
    /// on top: a few batches, each of an eighth of it at most. Default 128 MiB.
    pub fn memory_bytes(mut self, bytes: usize) -> Self {
        self.0.memory_bytes = bytes;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// `Core(Invalid)` when the rows of a chunk are not in 1..=16777216 or its memory is below a MiB.
    pub fn build(self) -> Result<MaterializeOptions> {
        self.0.try_into()
    }
}
