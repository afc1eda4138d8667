//! Files of the CSV and Parquet sinks: a new one per write, and one that is replaced each time.

use std::collections::BTreeSet;
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use mlops_core::file::is_temporary;
use mlops_core::source::{CsvSink, CsvSource, DataSink, DataSource, ParquetSink, ParquetSource};
use mlops_core::{Dataset, Schema};

use super::{Asked, Store, Surface};
use crate::Result;
use crate::rows::{self, Row};
use crate::token::Token;

/// `mlops_core::source::{CsvSink, ParquetSink}`.
#[derive(Debug)]
pub struct Sinks;

impl Surface for Sinks {
    fn name(&self) -> &'static str {
        "sink"
    }

    /// The first writes CSV, the second Parquet.
    fn writers(&self) -> u32 {
        2
    }

    fn open(&self, dir: &Path) -> Result<Box<dyn Store>> {
        let folder = dir.join("files");
        fs::create_dir_all(&folder)?;
        Ok(Box::new(Open { folder, schema: rows::view()?.schema().clone() }))
    }
}

const SUFFIXES: [&str; 2] = [".csv", ".parquet"];

struct Open {
    folder: PathBuf,
    schema: Schema,
}

impl Open {
    fn path(&self, name: &str, writer: u32) -> PathBuf {
        self.folder.join(format!("{name}{}", SUFFIXES[writer as usize]))
    }

    fn read(&self, path: PathBuf, writer: u32) -> Result<Vec<Row>> {
        let source: Arc<dyn DataSource> = match writer {
            0 => Arc::new(CsvSource::builder(path).schema(self.schema.clone()).build()?),
            _ => Arc::new(ParquetSource::open(path)?),
        };
        rows::read(&Dataset::from_source(source)?.to_batch()?)
    }

    /// The write that is in the file, whole.
    fn token(&self, path: PathBuf, writer: u32, asked: &Asked) -> Result<Token> {
        let shown = path.display().to_string();
        let read = self.read(path, writer).map_err(|e| format!("{shown}: {e}"))?;
        let tokens = rows::whole_writes(&read, asked).map_err(|e| format!("{shown}: {e}"))?;
        match tokens.first() {
            Some(token) if tokens.len() == 1 && token.writer == writer => Ok(*token),
            _ => Err(format!("{shown} holds {} writes", tokens.len()).into()),
        }
    }

    /// Checks that the file that is replaced holds the last write that was acknowledged, or the one after it.
    fn check_latest(&self, writer: u32, asked: &Asked) -> Result<()> {
        let acked = asked.acked.iter().filter(|token| token.writer == writer).max();
        let path = self.path("latest", writer);
        match (path.exists(), acked) {
            (false, None) => Ok(()),
            (false, Some(acked)) => Err(format!("latest of writer {writer} is lost, {acked} wrote it").into()),
            (true, _) => {
                let token = self.token(path, writer, asked)?;
                if acked.is_some_and(|acked| token < *acked) {
                    return Err(format!("latest is still {token}, but {acked:?} was acknowledged").into());
                }
                Ok(())
            }
        }
    }
}

impl Store for Open {
    fn write(&self, token: Token) -> Result<()> {
        let data = rows::dataset(token)?;
        for name in [token.to_string().as_str(), "latest"] {
            let path = self.path(name, token.writer);
            let sink: &dyn DataSink = if token.writer == 0 { &CsvSink::new(path) } else { &ParquetSink::new(path) };
            data.write_to(sink)?;
        }
        Ok(())
    }

    fn present(&self, asked: &Asked) -> Result<BTreeSet<Token>> {
        let mut present = BTreeSet::new();
        let entries = match fs::read_dir(&self.folder) {
            Ok(entries) => entries,
            Err(e) if e.kind() == ErrorKind::NotFound => return Ok(present),
            Err(e) => return Err(e.into()),
        };
        for entry in entries {
            let name = entry?.file_name().to_string_lossy().into_owned();
            let writer = SUFFIXES.iter().position(|suffix| name.ends_with(suffix));
            match writer {
                _ if is_temporary(&name) => {}
                None => return Err(format!("{name} is there, which nobody wrote").into()),
                Some(_) if name.starts_with("latest.") => {}
                Some(writer) => {
                    let token = self.token(self.folder.join(&name), writer as u32, asked)?;
                    if name != format!("{token}{}", SUFFIXES[writer]) {
                        return Err(format!("{name} holds {token}").into());
                    }
                    present.insert(token);
                }
            }
        }
        (0..SUFFIXES.len() as u32).try_for_each(|writer| self.check_latest(writer, asked))?;
        Ok(present)
    }
}
