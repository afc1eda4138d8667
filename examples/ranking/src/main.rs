//! Command line of the main job.

use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;
use ranking::options::Options;
use ranking::progress::Progress;
use ranking::{journey, report};

fn main() -> ExitCode {
    let options = Options::parse();
    match run(&options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("ranking: {failure}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> ranking::Result<()> {
    let story = journey::run(options, &Progress::new())?;
    let beside = options.dir.clone().unwrap_or_default().join("ranking-report.html");
    let path: PathBuf = options.report.clone().unwrap_or(beside);
    mlops_core::file::write_bytes(std::path::absolute(&path)?, report::page(&story).as_bytes())?;
    let monitoring = path.with_file_name("ranking-monitoring.html");
    mlops_core::file::write_bytes(std::path::absolute(&monitoring)?, report::monitoring(&story).as_bytes())?;
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", report::summary(&story))?;
    writeln!(out, "report: {}\nmonitoring: {}", path.display(), monitoring.display())?;
    if options.json {
        writeln!(out, "{}", serde_json::to_string(&story.figures)?)?;
    }
    Ok(())
}
