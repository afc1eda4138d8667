//! Command line of the churn program.

use std::error::Error;
use std::process::ExitCode;

use churn::Args;
use clap::Parser;

fn main() -> ExitCode {
    let args = Args::parse();
    match churn::run(&args, &mut std::io::stdout().lock()) {
        Ok(_) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("churn: {error}");
            let mut shown = error.to_string();
            let mut cause = error.source();
            while let Some(inner) = cause {
                // Errors of this family print their cause themselves; only what they left out is news.
                if !shown.contains(&inner.to_string()) {
                    eprintln!("  because: {inner}");
                    shown = inner.to_string();
                }
                cause = inner.source();
            }
            ExitCode::FAILURE
        }
    }
}
