//! `dcgan data list`.

use crate::error::CliError;
use crate::output;
use crate::render::table;
use data::{KnownSet, RemoteSet, known_sets, remote_sets};
use indicatif::HumanBytes;
use serde_json::json;

/// Flags of `data list`.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object per set on standard output.
    #[arg(long)]
    json: bool,
}

/// Lists the sets that `--data` knows by name, and what else can be fetched.
pub fn run(args: &Args) -> Result<(), CliError> {
    if args.json {
        for set in known_sets() {
            output::json(&json!({
                "name": set.name, "aliases": set.aliases, "about": set.about, "path": set.path,
            }));
        }
        for set in others() {
            output::json(
                &json!({ "name": set.name, "bytes": set.bytes(), "page": set.page, "path": set.locate() }),
            );
        }
        return Ok(());
    }
    let mut rows = vec![["name", "what", "where"].map(String::from).to_vec()];
    for set in known_sets() {
        let names: Vec<&str> = [set.name].into_iter().chain(set.aliases.iter().copied()).collect();
        let place = match &set.path {
            Some(path) => path.display().to_string(),
            None => format!("not here: dcgan data fetch {}", set.name),
        };
        rows.push(vec![names.join(", "), set.about.to_owned(), place]);
    }
    for set in others() {
        let place = match set.locate() {
            Some(path) => format!("--data {}", path.display()),
            None => format!("not here: dcgan data fetch {}", set.name),
        };
        rows.push(vec![
            set.name.to_owned(),
            format!("see {} ({})", set.page, HumanBytes(set.bytes())),
            place,
        ]);
    }
    output::line(table(&rows));
    output::line(
        "\nOr any folder or archive of pictures, or the files of these sets elsewhere: dcgan train --data PATH",
    );
    Ok(())
}

/// What can be fetched and is then named by its path.
fn others() -> impl Iterator<Item = &'static RemoteSet> {
    remote_sets().filter(|set| !known_sets().any(|known: KnownSet| known.name == set.name))
}
