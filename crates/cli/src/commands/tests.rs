//! All commands compared: one flag means one thing, and the help is complete.

use crate::Cli;
use clap::{Arg, ArgAction, Command, CommandFactory};
use std::any::TypeId;
use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

/// The headings that `--help` may have.
const HEADINGS: &str = "Data Training Model Loss Regularization Optimizer Conditioning Output \
                        Evaluation Monitoring Device";

/// Flags, each with the commands that must have it.
const REQUIRED: [(&str, &str); 9] = [
    (
        "model",
        "sample, walk, arithmetic, turn, invert, restore, reproduce, eval, nearest, filters, \
         forget, export",
    ),
    (
        "checkpoint",
        "sample, walk, arithmetic, turn, invert, restore, reproduce, eval, linear-probe, \
         nearest, filters, guided, forget, features, export",
    ),
    ("data", "train, linear-probe, nearest, guided, features, eval train-features"),
    (
        "out",
        "train, sample, reproduce, restore, features, dedup, export, import, data prepare, data \
         fetch",
    ),
    (
        "grid",
        "sample, walk, arithmetic, turn, invert, restore, reproduce, nearest, filters, guided, \
         forget, data preview",
    ),
    (
        "device",
        "train, sample, walk, arithmetic, turn, invert, restore, reproduce, eval, linear-probe, \
         nearest, guided, forget, features, dedup",
    ),
    (
        "threads",
        "train, sample, walk, arithmetic, turn, invert, restore, reproduce, eval, linear-probe, \
         nearest, guided, forget, features, dedup, toy ring, toy grid",
    ),
    ("seed", "train, sample, walk, arithmetic, turn, invert, restore, eval, nearest"),
    ("count", "sample, eval, nearest, features, guided, data preview"),
];

fn all_commands() -> Vec<(String, Command)> {
    fn collect(path: &str, command: &Command, found: &mut Vec<(String, Command)>) {
        for sub in command.get_subcommands() {
            let path = format!("{path} {}", sub.get_name()).trim().to_owned();
            collect(&path, sub, found);
            found.push((path, sub.clone()));
        }
    }
    let mut found = Vec::new();
    collect("", &Cli::command(), &mut found);
    found
}

fn long_flags(command: &Command) -> impl Iterator<Item = (&str, &Arg)> {
    command.get_arguments().filter_map(|arg| Some((arg.get_long()?, arg)))
}

/// The help up to its first punctuation: what the flag is, without what a command adds.
fn opening(arg: &Arg) -> String {
    let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
    help.split([':', ';', ',', '(', '[', '.']).next().unwrap_or_default().trim().to_owned()
}

/// What a flag takes and means: alternatives of its value's name, kind of value, opening of its
/// help.
type Meaning = (BTreeSet<String>, String, String);

fn meaning(arg: &Arg) -> Meaning {
    let takes_value = !matches!(arg.get_action(), ArgAction::SetTrue);
    let names = arg.get_value_names().into_iter().flatten().filter(|_| takes_value);
    let alternatives = names.flat_map(|name| name.split('|')).map(str::to_owned).collect();
    (alternatives, kind(arg), opening(arg))
}

/// Flags whose kind of value differs between commands, with the reason.
const KINDS_DIFFER: [&str; 2] = [
    // A generator and a discriminator offer different statistics.
    "bn",
    // `train` takes the kind of condition, the others its vectors.
    "condition",
];

/// The flag that names a file in one command and is a switch in another: `import` reads the weights
/// of D, `export --onnx` writes D.
const SWITCH_OR_FILE: &str = "discriminator";

/// Whether value names share an alternative, kinds are equal and both openings start with the same
/// two words.
fn agree(
    name: &str,
    (values, kind, help): &Meaning,
    (other_values, other_kind, other_help): &Meaning,
) -> bool {
    let same_kind = KINDS_DIFFER.contains(&name) || kind == other_kind;
    if name == SWITCH_OR_FILE {
        return true;
    }
    let words = help.split(' ').zip(other_help.split(' ')).take(2);
    (values == other_values || !values.is_disjoint(other_values))
        && (same_kind || [kind, other_kind].iter().any(|kind| *kind == "recipe value"))
        && words.fold(true, |same, (word, other)| same && word == other)
}

fn kind(arg: &Arg) -> String {
    if let ArgAction::SetTrue = arg.get_action() {
        return "switch".into();
    }
    let id = arg.get_value_parser().type_id();
    // The recipe checks the values of these flags.
    if super::train::is_recipe_flag(arg.get_id().as_str()) && id == TypeId::of::<String>() {
        return "recipe value".into();
    }
    let kinds = [
        (TypeId::of::<u32>(), "integer"),
        (TypeId::of::<u64>(), "integer"),
        (TypeId::of::<usize>(), "integer"),
        (TypeId::of::<f64>(), "number"),
        (TypeId::of::<String>(), "text"),
        (TypeId::of::<PathBuf>(), "path"),
        (TypeId::of::<[u32; 2]>(), "size"),
        (TypeId::of::<[usize; 2]>(), "size"),
    ];
    kinds
        .iter()
        .find(|(known, _)| id == *known)
        .map_or_else(|| format!("{id:?}"), |(_, kind)| (*kind).to_owned())
}

#[test]
fn a_flag_means_the_same_in_every_command() {
    let commands = all_commands();
    let mut flags: BTreeMap<&str, Vec<(&str, Meaning)>> = BTreeMap::new();
    for (path, command) in &commands {
        for (name, arg) in long_flags(command) {
            flags.entry(name).or_default().push((path, meaning(arg)));
        }
    }
    assert!(flags.len() > 100);
    let disagree = flags.iter().flat_map(|(name, uses)| {
        let differ = uses[1..].iter().filter(|(_, meaning)| !agree(name, &uses[0].1, meaning));
        differ.map(move |other| format!("--{name}: {:?}\n  but {other:?}", uses[0]))
    });
    let disagree: Vec<String> = disagree.collect();
    assert!(disagree.is_empty(), "{}", disagree.join("\n"));
}

#[test]
fn commands_have_the_flags_that_make_sense() {
    let commands: BTreeMap<String, Command> = all_commands().into_iter().collect();
    let mut missing = Vec::new();
    for (flag, paths) in REQUIRED {
        for path in paths.split(", ") {
            let command = commands.get(path).unwrap_or_else(|| panic!("no command {path}"));
            let has = |arg: &Arg| {
                arg.get_long_and_visible_aliases().is_some_and(|names| names.contains(&flag))
            };
            if !command.get_arguments().any(has) {
                missing.push(format!("dcgan {path} --{flag}"));
            }
        }
    }
    assert!(missing.is_empty(), "{missing:#?}");
}

#[test]
fn help_is_complete_and_has_the_known_headings() {
    for (path, command) in all_commands() {
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(about.len() > 10 && about.len() < 90, "dcgan {path}: {about:?}");
        for arg in command.get_arguments() {
            let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.len() > 5, "dcgan {path} {}: {help:?}", arg.get_id());
            assert!(!help.contains("the recipe's"), "dcgan {path} {}: {help}", arg.get_id());
            if let Some(heading) = arg.get_help_heading() {
                assert!(
                    HEADINGS.split(' ').any(|known| known == heading),
                    "dcgan {path} {}: {heading}",
                    arg.get_id()
                );
            }
        }
    }
}

#[test]
fn short_help_of_train_shows_twenty_flags_on_one_screen() {
    let command = super::with_help(Cli::command(), true);
    let train = command.find_subcommand("train").unwrap();
    let shown: BTreeSet<_> = long_flags(train)
        .filter(|(_, arg)| !arg.is_hide_short_help_set())
        .map(|(_, arg)| arg.get_id().to_string())
        .collect();
    assert_eq!(shown, super::train::SHORT_HELP.map(String::from).into());
    // One screen of 24 rows and 100 columns, with a row for the prompt.
    let help = train.clone().term_width(100).render_help().to_string();
    let rows: Vec<&str> = help.lines().collect();
    assert!(rows.len() <= 23, "{} rows\n{help}", rows.len());
    assert!(rows.iter().all(|row| row.chars().count() <= 100), "{help}");
}

#[test]
fn top_level_help_lists_every_command_under_its_task() {
    let help = super::with_help(Cli::command(), false).render_help().to_string();
    let listed: Vec<&str> = help
        .lines()
        .take_while(|line| *line != "Options:")
        .filter(|line| !line.is_empty())
        .collect();
    let command = Cli::command();
    let mut commands = command.get_subcommands();
    let mut expected = Vec::new();
    for (task, count) in super::TASKS {
        expected.push(format!("{task}:"));
        let lines = commands.by_ref().take(*count).map(|command| {
            format!("  {:<12}  {}", command.get_name(), command.get_about().unwrap())
        });
        expected.extend(lines);
    }
    assert!(commands.next().is_none());
    assert_eq!(listed[2..], expected);
    assert!(help.contains("\nTrain:\n  train         Train a generator"), "{help}");
}

#[test]
fn help_of_data_lists_formats_and_datasets() {
    let help_of = |name: &str| {
        let (_, mut command) = all_commands().into_iter().find(|(own, _)| own == name).unwrap();
        command.render_help().to_string()
    };
    let help = help_of("data");
    for (name, about) in data::formats() {
        assert!(help.contains(&format!("  {name}:")), "{name}: {about}\n{help}");
    }
    let help = help_of("data fetch");
    for set in data::remote_sets() {
        assert!(help.contains(set.name), "{}\n{help}", set.name);
    }
}

/// The commands in the `sh` blocks of a Markdown file, without comments, with continued lines
/// joined.
fn commands_of(markdown: &str) -> Vec<String> {
    let blocks = markdown.split("```sh\n").skip(1).filter_map(|rest| rest.split("```").next());
    let lines = blocks
        .flat_map(|block| block.replace("\\\n", " ").lines().map(String::from).collect::<Vec<_>>());
    lines
        .map(|line| line.replace("cargo run -p cli -- ", "dcgan "))
        .filter(|line| line.starts_with("dcgan "))
        .collect()
}

#[test]
fn commands_in_the_documentation_parse() {
    let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let mut files = vec![root.join("README.md"), root.join("CONTRIBUTING.md")];
    for folder in ["docs", "docs/experiments"] {
        let entries = std::fs::read_dir(root.join(folder)).unwrap();
        files.extend(entries.map(|entry| entry.unwrap().path()));
    }
    files.retain(|file| file.extension().is_some_and(|extension| extension == "md"));
    let mut count = 0;
    let mut failures = Vec::new();
    for file in files {
        for line in commands_of(&std::fs::read_to_string(&file).unwrap()) {
            let words = shlex::split(&line).unwrap();
            count += 1;
            if let Err(error) = super::with_help(Cli::command(), false).try_get_matches_from(words)
            {
                failures.push(format!("{}: {line}: {error}", file.display()));
            }
        }
    }
    assert!(failures.is_empty(), "{}", failures.join("\n"));
    assert!(count > 60, "only {count} commands found");
}
