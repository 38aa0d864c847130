//! Usage errors, in one line like all other errors.

use crate::output;
use clap::error::ErrorKind;
use std::process::ExitCode;

/// Prints clap's message (help and version unchanged) and returns the [exit code](exit_code).
pub fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            let printed = error.print();
            // Nobody reads a closed standard error.
            if !error.use_stderr() {
                output::written(printed);
            }
        }
        _ => output::error(one_line(&error.to_string())),
    }
    ExitCode::from(exit_code(error))
}

/// 0 for requested help, else 2.
pub fn exit_code(error: &clap::Error) -> u8 {
    if error.use_stderr() { 2 } else { 0 }
}

/// The message and tips, without the usage text below them.
fn one_line(text: &str) -> String {
    let shown =
        text.trim_start_matches("error: ").lines().take_while(|line| !line.starts_with("Usage:"));
    let help = "For more information, try '--help'.";
    let parts: Vec<&str> =
        shown.map(str::trim).filter(|line| !line.is_empty() && *line != help).collect();
    format!("{} (see --help)", parts.join(" "))
}

#[cfg(test)]
mod tests {
    use super::one_line;

    #[test]
    fn several_paragraphs_become_one_line() {
        let text = "error: unexpected argument '--stepz' found\n\n  \
                    tip: a similar argument exists: '--steps'\n\n\
                    Usage: dcgan train --steps <N>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(text),
            "unexpected argument '--stepz' found tip: a similar argument exists: '--steps' (see \
             --help)"
        );
    }
}
