//! `dcgan data fetch`.

use crate::environment;
use crate::error::CliError;
use crate::output;
use crate::render::{byte_counter, quoted};
use data::{FetchProgress, fetch, known_sets, remote_set};
use indicatif::{HumanBytes, ProgressBar};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

/// Flags of `data fetch`.
#[derive(clap::Args)]
pub struct Args {
    /// mnist, fashion-mnist, cifar-10, cifar-100, svhn, svhn-extra, stl-10 or celeba.
    #[arg(value_name = "NAME")]
    name: String,
    /// The folder of sets: this one gets a folder of its own in it [default: the one that DCGAN_DATASETS names, else datasets].
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// Take the files from here: an address that their names are put behind, instead of the set's home.
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// Brings a set here.
///
/// # Errors
/// A set that is not known, the network, or files that are not the set's.
pub fn run(args: &Args) -> Result<(), CliError> {
    let set = remote_set(&args.name)?;
    let known = known_sets().find(|known| known.name == set.name);
    // What ships is as good as what would be fetched.
    if let (None, Some(path)) =
        (&args.out, known.as_ref().and_then(|known| known.path.as_ref().filter(|_| known.bundled)))
    {
        output::line(format!("{} is here already: {}", set.name, path.display()));
        return Ok(());
    }
    let datasets = args
        .out
        .clone()
        .or_else(environment::datasets_folder)
        .unwrap_or_else(|| PathBuf::from("datasets"));
    output::line(format!(
        "{}: {} from {} (see {})",
        set.name,
        HumanBytes(set.bytes()),
        home(args, set),
        set.page
    ));
    let shown = Shown::default();
    let folder = fetch(set, &datasets, args.mirror.as_deref(), &|progress| shown.show(progress));
    shown.finish();
    let folder = folder?;
    output::line(format!(
        "{} is in {}, whole and with the right checksums",
        set.name,
        folder.display()
    ));
    // By its name, if that is where it would be found.
    let named = known_sets().find(|known| {
        known.name == set.name && known.path.as_deref().is_some_and(|path| same(path, &folder))
    });
    let spec = named.map_or_else(|| quoted(&folder), |known| known.name.to_owned());
    output::line(format!("look at it with: dcgan data info {spec}"));
    Ok(())
}

fn same(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

fn home(args: &Args, set: &data::RemoteSet) -> String {
    args.mirror
        .clone()
        .or_else(|| set.base.map(str::to_owned))
        .unwrap_or_else(|| "files put here by hand".to_owned())
}

/// A bar for the file that is coming.
#[derive(Default)]
struct Shown {
    bar: RefCell<Option<(String, ProgressBar)>>,
}

impl Shown {
    fn show(&self, progress: FetchProgress<'_>) {
        match progress {
            FetchProgress::Here { file } => output::line(format!("{file} is here already")),
            FetchProgress::Downloading { file, done, total } => {
                let mut bar = self.bar.borrow_mut();
                let (_, bar) = match &mut *bar {
                    Some(shown) if shown.0 == file => shown,
                    other => {
                        output::line(format!("fetching {file}, {}", HumanBytes(total)));
                        // What an earlier day brought says nothing about today's speed.
                        let fresh = byte_counter(total).with_position(done);
                        fresh.reset_eta();
                        other.insert((file.to_owned(), fresh))
                    }
                };
                bar.set_position(done);
            }
            FetchProgress::Unpacking { file } => {
                self.finish();
                output::line(format!("unpacking {file}"));
            }
        }
    }

    fn finish(&self) {
        if let Some((_, bar)) = self.bar.borrow_mut().take() {
            bar.finish_and_clear();
        }
    }
}
