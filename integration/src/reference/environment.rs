//! Every variable that a program reads: those that are twins of flags, those that its help names under `Environment`, and
//! those of OpenTelemetry.

use std::collections::{BTreeMap, BTreeSet};

use clap::Command;
use weir_proto::trace::VARIABLES;

use super::cell;
use super::commands::shown;

/// What is known of one variable.
#[derive(Default)]
struct Variable {
    /// Whose it is, and of which flag it is the twin.
    read_by: BTreeSet<(String, String)>,
    what: String,
}

/// Sets the variables of all programs.
pub(super) fn page(programs: [Command; 3]) -> String {
    let mut variables: BTreeMap<String, Variable> = BTreeMap::new();
    for program in &programs {
        let name = program.get_name().to_owned();
        take_flags(program, &name, &mut variables);
        let said = program.get_after_help().map(ToString::to_string);
        for (variable, what) in told(&said.unwrap_or_default()) {
            let known = variables.entry(variable).or_default();
            known.read_by.insert((name.clone(), String::new()));
            if known.what.is_empty() {
                known.what = what;
            }
        }
    }
    for (name, what) in VARIABLES {
        let known = variables.entry(name.to_owned()).or_default();
        // what is said here is the same for all
        known.what = what.to_owned();
        let names = programs.iter().map(|program| program.get_name().to_owned());
        known
            .read_by
            .extend(names.map(|name| (name, String::new())));
    }
    let mut text = "# Environment\n\nA flag on the command line counts more than its variable.\n\n\
                    | variable | read by | what |\n|---|---|---|\n"
        .to_owned();
    for (name, variable) in variables {
        let by = variable.read_by.iter().map(|(program, flag)| {
            let flag = if flag.is_empty() {
                String::new()
            } else {
                format!(" `{flag}`")
            };
            format!("{program}{flag}")
        });
        let by: Vec<String> = by.collect();
        text += &format!(
            "| `{name}` | {} | {} |\n",
            by.join("<br>"),
            cell(&variable.what)
        );
    }
    text
}

/// Takes the variables of the flags of a command and of those within.
fn take_flags(command: &Command, program: &str, variables: &mut BTreeMap<String, Variable>) {
    for argument in command.get_arguments() {
        let Some(name) = argument.get_env().and_then(|name| name.to_str()) else {
            continue;
        };
        let variable = variables.entry(name.to_owned()).or_default();
        let flag = argument.get_long().map(|long| format!("--{long}"));
        let by = (program.to_owned(), flag.unwrap_or_default());
        variable.read_by.insert(by);
        if variable.what.is_empty() {
            variable.what = argument
                .get_help()
                .map(ToString::to_string)
                .unwrap_or_default();
        }
    }
    for command in shown(command) {
        take_flags(command, program, variables);
    }
}

/// Reads what a help says of variables: `  NAME  what it is`, or what it is on the lines below, further in.
fn told(help: &str) -> Vec<(String, String)> {
    let mut told: Vec<(String, String)> = Vec::new();
    let mut within = false;
    for line in help.lines() {
        let depth = line.len() - line.trim_start().len();
        let (first, rest) = line.trim().split_once(' ').unwrap_or((line.trim(), ""));
        let named = first.len() > 3
            && first.contains(|letter: char| letter.is_ascii_uppercase())
            && first.chars().all(|letter| {
                letter.is_ascii_uppercase() || letter.is_ascii_digit() || letter == '_'
            });
        match (depth, named) {
            (2, true) => {
                told.push((first.to_owned(), rest.trim().to_owned()));
                within = true;
            }
            (3.., _) if within => {
                if let Some((_, what)) = told.last_mut() {
                    *what = format!("{what} {}", line.trim()).trim().to_owned();
                }
            }
            _ => within = false,
        }
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_are_read_from_help_in_both_of_its_shapes() {
        let help = "\
Exit status:
  0  done

Environment:
  WEIR_LOG
          What is logged:
          info (the default)
  NO_COLOR  no colour

Examples:
  # COLOR
  weirctl";
        let pair = |name: &str, what: &str| (name.to_owned(), what.to_owned());
        assert_eq!(
            told(help),
            [
                pair("WEIR_LOG", "What is logged: info (the default)"),
                pair("NO_COLOR", "no colour"),
            ]
        );
    }
}
