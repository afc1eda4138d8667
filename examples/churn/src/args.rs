//! What can be said on the command line.

use std::path::PathBuf;

use clap::Parser;

/// Customers that are drawn when no file is given: as many as the public file has.
const ROWS: u64 = 7_043;
/// Customers that are drawn with `--small`.
const ROWS_SMALL: u64 = 3_000;

/// Trains churn models on a CSV file of customers and promotes the best one that passes the gate.
#[derive(Clone, Debug, Default, Parser)]
#[command(name = "churn", version)]
pub struct Args {
    /// The public Telco churn file, or one with the same columns; without it, customers are drawn
    #[arg(long, value_name = "PATH")]
    pub data: Option<PathBuf>,
    /// Where the registry, the artifacts and the reports go, kept; without it, a folder that vanishes at the end
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Draws 3,000 customers instead of 7,043; does nothing beside --data
    #[arg(long)]
    pub small: bool,
    /// Makes the last line one JSON object with all figures
    #[arg(long)]
    pub json: bool,
    /// What customers are drawn from and the split is hashed with
    #[arg(long, value_name = "NUMBER", default_value_t = 7)]
    pub seed: u64,
}

impl Args {
    /// How many customers to draw.
    pub(crate) fn rows(&self) -> u64 {
        if self.small { ROWS_SMALL } else { ROWS }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
        let args = Args::parse_from(["churn", "--small", "--data", "x.csv", "--seed", "9"]);
        assert_eq!((args.rows(), args.seed, args.data), (3_000, 9, Some(PathBuf::from("x.csv"))));
        assert!(Args::try_parse_from(["churn", "--date", "x.csv"]).is_err());
    }
}
