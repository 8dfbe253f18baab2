//! A program's command line as a page: each command with its help.

use clap::Command;

/// As wide as the help that the tests compare.
const WIDTH: usize = 100;

/// Sets the help of a program and of each of its commands.
pub(super) fn page(command: Command) -> String {
    let mut command = still(command).term_width(WIDTH);
    command.build();
    let mut text = format!("# {}\n\n", command.get_name());
    let mut paths = Vec::new();
    list(&command, &[], &mut paths);
    if paths.len() > 1 {
        for path in &paths {
            let name = path.join(" ");
            text += &format!("- [{name}](#{})\n", path.join("-"));
        }
        text.push('\n');
    }
    for path in paths {
        let mut at = command.clone();
        for name in &path[1..] {
            at = at.find_subcommand(name).cloned().unwrap_or(at);
        }
        let help = at.render_long_help().to_string();
        // clap leaves spaces in the lines between paragraphs
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        let help = lines.join("\n");
        text += &format!(
            "## {}\n\n```text\n{}\n```\n\n",
            path.join(" "),
            help.trim_end()
        );
    }
    text.truncate(text.trim_end().len());
    text + "\n"
}

/// Lets no help depend on what is set where it is made.
fn still(command: Command) -> Command {
    command
        .mut_args(|argument| argument.hide_env_values(true))
        .mut_subcommands(still)
}

/// Lists every command that is shown, each with the words before it.
fn list(command: &Command, before: &[String], paths: &mut Vec<Vec<String>>) {
    let path: Vec<String> = before
        .iter()
        .cloned()
        .chain([command.get_name().to_owned()])
        .collect();
    paths.push(path.clone());
    for command in shown(command) {
        list(command, &path, paths);
    }
}

/// Gives the commands of a command that are shown, without the one that only shows help.
pub(super) fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    let all = command.get_subcommands();
    all.filter(|command| !command.is_hide_set() && command.get_name() != "help")
}
