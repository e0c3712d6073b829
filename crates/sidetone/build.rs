//! Bundles the web phone before the binary embeds it, when its sources are newer than the bundle.

use std::error::Error;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::SystemTime;

fn main() -> ExitCode {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("web");
    for source in SOURCES.iter().chain(&["dist"]) {
        println!("cargo::rerun-if-changed={}", web.join(source).display());
    }
    match bundle(&web) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={error}");
            ExitCode::FAILURE
        }
    }
}

/// Runs the web phone's own build unless `dist/` is as new as everything it is made from.
fn bundle(web: &Path) -> Result<(), Box<dyn Error>> {
    let newest = newest_source(web)?;
    let bundled = web.join("dist/index.html").metadata().and_then(|meta| meta.modified());
    if bundled.is_ok_and(|bundled| bundled >= newest) {
        return Ok(());
    }
    npm(web, &["ci"])?;
    npm(web, &["run", "build"])?;
    // Cargo would take files younger than this script's start for a change and run it again.
    for entry in fs::read_dir(web.join("dist"))? {
        File::options().append(true).open(entry?.path())?.set_modified(newest)?;
    }
    File::open(web.join("dist"))?.set_modified(newest)?;
    Ok(())
}

fn newest_source(web: &Path) -> Result<SystemTime, Box<dyn Error>> {
    let mut newest = SystemTime::UNIX_EPOCH;
    let mut pending: Vec<PathBuf> = SOURCES.iter().map(|source| web.join(source)).collect();
    while let Some(path) = pending.pop() {
        if path.is_dir() {
            for entry in fs::read_dir(&path)? {
                pending.push(entry?.path());
            }
        } else {
            newest = newest.max(path.metadata()?.modified()?);
        }
    }
    Ok(newest)
}

fn npm(web: &Path, arguments: &[&str]) -> Result<(), Box<dyn Error>> {
    let output = Command::new("npm")
        .args(arguments)
        .current_dir(web)
        .stdin(Stdio::null())
        .output()
        .map_err(|error| {
            format!(
                "the web phone is built with npm, which does not start ({error}): \
                     install Node.js 18 or newer, as `make run` does"
            )
        })?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    for line in String::from_utf8_lossy(&said).lines() {
        println!("cargo::warning={line}");
    }
    Err(format!("`npm {}` failed in {}", arguments.join(" "), web.display()).into())
}

/// What the bundle is made from, inside `web/`.
const SOURCES: [&str; 6] =
    ["src", "package.json", "package-lock.json", "tsconfig.json", "build.mjs", ".npmrc"];
