//! Errors of the command line itself, in one line like all others.

use crate::output;
use clap::error::ErrorKind;
use std::process::ExitCode;

/// Prints what clap found (help and version as they are) and gives the exit code: 0 for help that was asked for, else 2.
pub fn report(error: &clap::Error) -> ExitCode {
    match error.kind() {
        ErrorKind::DisplayHelp
        | ErrorKind::DisplayVersion
        | ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            // Only a closed output can fail it, and then nobody reads.
            let _ = error.print();
        }
        _ => output::error(one_line(&error.to_string())),
    }
    ExitCode::from(if error.use_stderr() { 2 } else { 0 })
}

/// Message and tips without the usage text below them.
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
        let text = "error: unexpected argument '--stepz' found\n\n  tip: a similar argument exists: '--steps'\n\nUsage: dcgan \
                    train --steps <N>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            one_line(text),
            "unexpected argument '--stepz' found tip: a similar argument exists: '--steps' (see --help)"
        );
    }
}
