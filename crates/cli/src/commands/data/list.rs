//! `dcgan data list`.

use crate::error::CliError;
use crate::output;
use crate::render::table;
use serde_json::json;

/// Flags of `data list`.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object per set on standard output.
    #[arg(long)]
    json: bool,
}

/// Lists the sets that `--data` knows by name.
pub fn run(args: &Args) -> Result<(), CliError> {
    if args.json {
        for set in data::known_sets() {
            output::json(&json!({
                "name": set.name, "aliases": set.aliases, "about": set.about, "path": set.path,
            }));
        }
        return Ok(());
    }
    let mut rows = vec![["name", "what", "where"].map(String::from).to_vec()];
    for set in data::known_sets() {
        let names: Vec<&str> = [set.name].into_iter().chain(set.aliases.iter().copied()).collect();
        let place = match &set.path {
            Some(path) => path.display().to_string(),
            None => format!("not here: dcgan data fetch {}", set.name),
        };
        rows.push(vec![names.join(", "), set.about.to_owned(), place]);
    }
    output::line(table(&rows));
    output::line("\nOr any folder of pictures, or idx file: dcgan train --data PATH");
    Ok(())
}
