//! Reads the files that people name.

use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::manifest::{File, Manifests};
use super::outcome::{Trouble, plain};

/// The endings of files that are read from a directory.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// Reads all that is named: files, directories (their files in order of name) and "-" for standard input.
/// Whatever cannot be read is said together with what is wrong in the files that can.
pub(crate) fn manifests(names: &[String]) -> Result<Manifests, Trouble> {
    let mut files = Vec::new();
    let mut faults = Vec::new();
    let mut paths = Vec::new();
    for name in names {
        paths.extend(expand(name, &mut faults));
    }
    for path in paths {
        match read(&path) {
            Ok(text) => files.push(File {
                name: label(&path),
                text,
            }),
            Err(error) => faults.push(format!(
                "{}: cannot read it: {}",
                label(&path),
                plain(&error)
            )),
        }
    }
    match Manifests::read(&files) {
        Ok(manifests) if faults.is_empty() => {
            if manifests.is_empty() {
                let read: Vec<&str> = files.iter().map(|file| file.name.as_str()).collect();
                let summary = format!("no resources in {}", read.join(", "));
                return Err(Trouble::Detailed {
                    details: Vec::new(),
                    summary,
                });
            }
            Ok(manifests)
        }
        Ok(_) => Err(Trouble::faults(&faults)),
        Err(wrong) => {
            faults.extend(wrong.iter().map(ToString::to_string));
            Err(Trouble::faults(&faults))
        }
    }
}

/// Gives the files a name stands for.
fn expand(name: &str, faults: &mut Vec<String>) -> Vec<PathBuf> {
    let path = PathBuf::from(name);
    if name == "-" || !path.is_dir() {
        return vec![path];
    }
    match listed(&path) {
        Ok(files) => {
            if files.is_empty() {
                faults.push(format!("{name}: no *.yaml, *.yml or *.json in it"));
            }
            files
        }
        Err(error) => {
            faults.push(format!("{name}: cannot list it: {}", plain(&error)));
            Vec::new()
        }
    }
}

fn listed(directory: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in directory.read_dir()? {
        let path = entry?.path();
        let ending = path.extension().and_then(|ending| ending.to_str());
        if ending.is_some_and(|ending| ENDINGS.contains(&ending)) && !path.is_dir() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

fn read(path: &Path) -> io::Result<String> {
    if path.as_os_str() == "-" {
        return io::read_to_string(io::stdin().lock().by_ref());
    }
    std::fs::read_to_string(path)
}

fn label(path: &Path) -> String {
    if path.as_os_str() == "-" {
        "stdin".to_owned()
    } else {
        path.display().to_string()
    }
}
