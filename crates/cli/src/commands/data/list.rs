//! `dcgan data list`.

use crate::error::CliError;
use crate::report::{self, Report, ReportPath, table};
use data::{RemoteSet, known_sets, remote_sets};
use indicatif::HumanBytes;
use serde::Serialize;

#[derive(clap::Args)]
pub struct Args {
    /// Print JSON on standard output, one object per dataset.
    #[arg(long, help_heading = "Output")]
    json: bool,
}

/// Lists the datasets that `--data` knows by name, and those that `data fetch` can download.
pub fn run(args: &Args) -> Result<(), CliError> {
    report::print(&DatasetList::new(), args.json);
    Ok(())
}

/// The datasets known by name, then those that can only be fetched.
#[derive(Serialize)]
#[serde(transparent)]
struct DatasetList(Vec<ListEntry>);

#[derive(Serialize)]
#[serde(untagged)]
enum ListEntry {
    Known {
        name: &'static str,
        aliases: &'static [&'static str],
        about: &'static str,
        path: Option<ReportPath>,
    },
    Remote {
        name: &'static str,
        bytes: u64,
        page: &'static str,
        path: Option<ReportPath>,
    },
}

impl DatasetList {
    fn new() -> Self {
        let known = known_sets().map(|set| ListEntry::Known {
            name: set.name,
            aliases: set.aliases,
            about: set.about,
            path: set.path.map(Into::into),
        });
        let is_known = |remote: &&RemoteSet| known_sets().any(|known| known.name == remote.name);
        let remote =
            remote_sets().filter(|remote| !is_known(remote)).map(|set| ListEntry::Remote {
                name: set.name,
                bytes: set.bytes(),
                page: set.page,
                path: set.locate().map(Into::into),
            });
        Self(known.chain(remote).collect())
    }
}

impl Report for DatasetList {
    fn text(&self) -> Vec<String> {
        let missing = |name| format!("not here: dcgan data fetch {name}");
        let rows = self.0.iter().map(|entry| match entry {
            ListEntry::Known { name, aliases, about, path } => [
                [&[*name], *aliases].concat().join(", "),
                (*about).to_owned(),
                path.as_ref().map_or_else(|| missing(name), |path| path.display().to_string()),
            ],
            ListEntry::Remote { name, bytes, page, path } => [
                (*name).to_owned(),
                format!("see {page} ({})", HumanBytes(*bytes)),
                path.as_ref()
                    .map_or_else(|| missing(name), |path| format!("--data {}", path.display())),
            ],
        });
        vec![
            table(&["name", "contents", "location"], rows),
            "\nAny folder or archive of images works too, and so do the files of these datasets \
             elsewhere: dcgan train --data PATH"
                .to_owned(),
        ]
    }
}
