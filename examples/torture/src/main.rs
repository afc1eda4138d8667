//! `torture write SURFACE --dir D` writes until it is killed; `torture verify SURFACE --dir D --acked FILE` proves that
//! nothing acknowledged was lost.
//!
//! Ends with 0 when all is right, 1 when something is lost, damaged or cannot be written, 2 when it is called wrongly.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use torture::surface::{self, Surface};
use torture::{ack, drive};

/// Writes until it is killed, then proves that nothing acknowledged was lost.
#[derive(Debug, Parser)]
#[command(version)]
struct Options {
    #[command(subcommand)]
    job: Job,
}

#[derive(Debug, Subcommand)]
enum Job {
    /// Prints `ACK <token>` per write that is promised to last, until it is killed.
    Write {
        /// One of those that `torture surfaces` prints.
        surface: String,
        /// Where to write; may have been written and killed before.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// Stops after so many writes of each thread instead of never.
        #[arg(long, value_name = "N")]
        limit: Option<u64>,
        /// Shapes the pauses between writes.
        #[arg(long, default_value_t = 0)]
        seed: u64,
    },
    /// Ends with 0 only if everything that was acknowledged is there, whole and right.
    Verify {
        /// As for `write`.
        surface: String,
        /// What was written.
        #[arg(long, value_name = "DIR")]
        dir: PathBuf,
        /// What `write` printed; repeat it for several runs. A half line at the end does not count.
        #[arg(long, value_name = "FILE", required = true)]
        acked: Vec<PathBuf>,
    },
    /// Names the surfaces, one a line.
    Surfaces,
}

fn find(name: &str) -> Result<Box<dyn Surface>, String> {
    let named = surface::all().into_iter().find(|surface| surface.name() == name);
    named.ok_or_else(|| format!("no surface `{}`", name.escape_default()))
}

/// What to say, or the usage error.
fn run(job: Job) -> Result<torture::Result<String>, String> {
    Ok(match job {
        Job::Surfaces => Ok(surface::all().iter().map(|s| s.name()).collect::<Vec<_>>().join("\n")),
        Job::Write { surface, dir, limit, seed } => {
            let surface = find(&surface)?;
            let written = drive::write(&*surface, &dir, limit, seed, &mut std::io::stdout());
            // Standard output belongs to the acknowledgements.
            written.map(|_| String::new())
        }
        Job::Verify { surface, dir, acked } => {
            let surface = find(&surface)?;
            let mut all = BTreeSet::new();
            for file in acked {
                all.extend(ack::read(&file)?);
            }
            drive::verify(&*surface, &dir, &all).map(|report| report.to_string())
        }
    })
}

fn main() -> ExitCode {
    match run(Options::parse().job) {
        Ok(Ok(text)) => {
            if !text.is_empty() {
                println!("{text}");
            }
            ExitCode::SUCCESS
        }
        Ok(Err(error)) => {
            eprintln!("torture: {error}");
            ExitCode::from(1)
        }
        Err(usage) => {
            eprintln!("torture: {usage}");
            ExitCode::from(2)
        }
    }
}
