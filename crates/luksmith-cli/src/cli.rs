//! The command line as it is typed.

use std::ffi::{OsStr, OsString};

use clap::{Arg, ArgAction, Command, CommandFactory, FromArgMatches, Parser, error::ErrorKind};

use crate::{
    actions::Action,
    context::{Context, print},
    failure::Failure,
};

/// LUKS volumes without root or kernel module.
#[derive(Parser, Debug)]
#[command(
    name = "luksmith",
    version,
    disable_help_flag = true,
    disable_version_flag = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true,
    subcommand_value_name = "ACTION",
    subcommand_help_heading = "Actions",
    after_help = "`luksmith ACTION --help` tells about one action. Actions and options that cryptsetup \
                  has too mean the same here."
)]
pub(crate) struct Cli {
    #[command(flatten)]
    context: Context,

    /// Tells about an action and its options
    // cryptsetup has -? for help, and -h for the hash.
    #[arg(short = '?', long, action = ArgAction::Help, global = true)]
    help: Option<bool>,

    /// Tells the version
    #[arg(short = 'V', long, action = ArgAction::Version)]
    version: Option<bool>,

    #[command(subcommand)]
    action: Action,
}

/// Gives the definition of the whole command line.
pub(crate) fn command() -> Command {
    repeatable(Cli::command())
}

/// Lets flags stand twice, as cryptsetup does.
fn repeatable(command: Command) -> Command {
    let is_flag = |arg: &Arg| matches!(arg.get_action(), ArgAction::SetTrue);
    command
        .mut_args(|arg| {
            let id = arg.get_id().clone();
            if is_flag(&arg) {
                arg.overrides_with(id)
            } else {
                arg
            }
        })
        .mut_subcommands(repeatable)
}

/// Does what the arguments say; gives what the report of a failure needs.
pub(crate) fn run(arguments: &[OsString]) -> (Context, Result<(), Failure>) {
    let arguments = options_behind_action(arguments, &command());
    // Also for errors in the arguments themselves.
    let fallback = Context {
        json: arguments.iter().any(|argument| argument == "--json"),
        ..Context::default()
    };
    let parsed = command()
        .try_get_matches_from(arguments)
        .and_then(|matches| Cli::from_arg_matches(&matches));
    match parsed {
        Ok(cli) => {
            let result = cli.action.run(&cli.context);
            (cli.context, result)
        }
        Err(error) => (fallback, answer(&error)),
    }
}

/// Prints help, or makes one line of an error.
fn answer(error: &clap::Error) -> Result<(), Failure> {
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => print(&error.render().to_string()),
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => Err(Failure::caller(
            "an action is missing; `luksmith --help` lists them, `luksmith quickstart` shows one",
        )),
        _ => Err(Failure::caller(brief(&error.render().to_string()))),
    }
}

/// Takes what was wrong from the several lines that clap makes of it, with its hint.
fn brief(text: &str) -> String {
    let paragraphs = text.split("\n\n").filter_map(|paragraph| {
        let paragraph = paragraph.trim();
        let told = !paragraph.starts_with("Usage:") && !paragraph.starts_with("For more");
        (told && !paragraph.is_empty()).then_some(paragraph)
    });
    let joined: Vec<String> = paragraphs
        .map(|paragraph| {
            let words: Vec<&str> = paragraph.split_whitespace().collect();
            words.join(" ")
        })
        .collect();
    let text = joined.join("; ");
    text.strip_prefix("error: ").unwrap_or(&text).to_owned()
}

/// Puts the action first: with cryptsetup, options may stand before it.
fn options_behind_action(arguments: &[OsString], command: &Command) -> Vec<OsString> {
    let Some((program, rest)) = arguments.split_first() else {
        return Vec::new();
    };
    let mut action = 0;
    while let Some(argument) = rest.get(action) {
        match option_arity(argument, command) {
            // An unknown option before the action: let the parser name it.
            None => return arguments.to_vec(),
            Some(Arity::NotAnOption) => break,
            Some(Arity::Alone) => action += 1,
            Some(Arity::TakesNext) => action += 2,
        }
    }
    let (before, from_action) = rest.split_at(action.min(rest.len()));
    let Some((name, behind)) = from_action.split_first() else {
        return arguments.to_vec();
    };
    let mut reordered = vec![program.clone(), name.clone()];
    reordered.extend_from_slice(before);
    reordered.extend_from_slice(behind);
    reordered
}

enum Arity {
    NotAnOption,
    Alone,
    TakesNext,
}

/// Tells how many arguments an option takes, `None` if no action has it.
fn option_arity(argument: &OsStr, command: &Command) -> Option<Arity> {
    let Some(text) = argument.to_str() else {
        return Some(Arity::NotAnOption);
    };
    let known = |matches: &dyn Fn(&Arg) -> bool| {
        let own = command.get_arguments();
        let of_actions = command.get_subcommands().flat_map(Command::get_arguments);
        let found = own.chain(of_actions).find(|arg| matches(arg));
        found.map(|arg| arg.get_action().takes_values())
    };
    if let Some(long) = text.strip_prefix("--") {
        let (name, value) = match long.split_once('=') {
            Some((name, _)) => (name, true),
            None => (long, false),
        };
        let takes = known(&|arg| {
            let aliases = arg.get_all_aliases().unwrap_or_default();
            arg.get_long() == Some(name) || aliases.contains(&name)
        })?;
        return Some(if takes && !value {
            Arity::TakesNext
        } else {
            Arity::Alone
        });
    }
    let Some(shorts) = text.strip_prefix('-').filter(|shorts| !shorts.is_empty()) else {
        return Some(Arity::NotAnOption);
    };
    for (place, short) in shorts.char_indices() {
        if known(&|arg| arg.get_short() == Some(short))? {
            let last = place + short.len_utf8() == shorts.len();
            return Some(if last { Arity::TakesNext } else { Arity::Alone });
        }
    }
    Some(Arity::Alone)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reordered(line: &str) -> String {
        let arguments: Vec<OsString> = line.split(' ').map(Into::into).collect();
        let command = command();
        let result = options_behind_action(&arguments, &command);
        result.join(OsStr::new(" ")).into_string().unwrap()
    }

    #[test]
    fn the_definition_is_consistent() {
        command().debug_assert();
    }

    #[test]
    fn options_before_the_action_are_taken_along_with_their_values() {
        assert_eq!(
            reordered("luksmith -q --header h.img luksDump disk.img --json"),
            "luksmith luksDump -q --header h.img disk.img --json"
        );
        assert_eq!(
            reordered("luksmith --type=luks1 -qv isLuks disk.img"),
            "luksmith isLuks --type=luks1 -qv disk.img"
        );
        assert_eq!(
            reordered("luksmith -Mluks1 isLuks d"),
            "luksmith isLuks -Mluks1 d"
        );
        assert_eq!(
            reordered("luksmith -M luks1 isLuks d"),
            "luksmith isLuks -M luks1 d"
        );
        assert_eq!(
            reordered("luksmith --nonsense isLuks"),
            "luksmith --nonsense isLuks"
        );
        assert_eq!(reordered("luksmith -q"), "luksmith -q");
    }

    #[test]
    fn errors_in_arguments_become_one_line() {
        let line: Vec<OsString> = ["luksmith", "luksDump"].map(Into::into).into();
        let (_, result) = run(&line);
        let failure = result.unwrap_err();
        assert_eq!(failure.status(), 1);
        assert_eq!(
            brief(
                "error: the following required arguments were not provided:\n  <DEVICE>\n\n\
                   Usage: luksmith luksDump <DEVICE>\n\nFor more information, try '--help'.\n"
            ),
            "the following required arguments were not provided: <DEVICE>"
        );
    }
}
