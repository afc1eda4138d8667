//! What the user can ask for.

use std::path::PathBuf;

use clap::{Parser, ValueEnum};

/// From raw events to a ranking service that notices when the world changes, and learns anew.
#[derive(Clone, Debug, Parser)]
#[command(name = "ranking", version, about)]
pub struct Options {
    /// A world that takes seconds, for tests.
    #[arg(long)]
    pub small: bool,
    /// The last line of standard output is one JSON object with the figures.
    #[arg(long)]
    pub json: bool,
    /// The data: a generated shop of telecom offers, or MovieLens' files.
    #[arg(long, num_args = 1..=2, value_names = ["WORLD", "DIR"])]
    pub data: Vec<String>,
    /// Where everything is kept: raw files, history, models, logs, the report. A folder in which the same story was begun before
    /// is taken again, and what intake made there is not made again. Default: a temporary folder that is removed, but for the
    /// report.
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Where the HTML report goes. Default: `ranking-report.html` in the folder of `--dir`, else in the present one.
    #[arg(long, value_name = "FILE")]
    pub report: Option<PathBuf>,
    /// Seed of the generated world and of training.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// Measures the service alone at 1 and 16 connections, after the story.
    #[arg(long)]
    pub load: bool,
}

/// Where the data comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The generated shop.
    Shop,
    /// A folder with `ratings.csv` and `movies.csv`.
    MovieLens(PathBuf),
}

#[derive(Clone, Copy, Debug, ValueEnum)]
enum WorldName {
    Shop,
    Movielens,
}

impl Options {
    /// Where the data comes from.
    ///
    /// # Errors
    /// When `--data` names no known world, or MovieLens without its folder.
    pub fn source(&self) -> crate::Result<Source> {
        let Some(name) = self.data.first() else { return Ok(Source::Shop) };
        let unknown = || format!("--data {name}: choose `shop`, or `movielens DIR`");
        match (WorldName::from_str(name, true).map_err(|_| unknown())?, self.data.get(1)) {
            (WorldName::Shop, None) => Ok(Source::Shop),
            (WorldName::Shop, Some(_)) => Err("--data shop: the shop is generated and takes no folder".into()),
            (WorldName::Movielens, Some(dir)) => Ok(Source::MovieLens(dir.into())),
            (WorldName::Movielens, None) => {
                Err("--data movielens: name the folder that holds ratings.csv and movies.csv".into())
            }
        }
    }
}
