//! `dcgan data fetch`.

use crate::environment;
use crate::error::CliError;
use crate::output;
use crate::render::{byte_counter, quoted};
use data::{
    DataSpec, FetchProgress, HubDataset, fetch, fetch_hub, known_sets, remote_set, remote_sets,
};
use indicatif::{HumanBytes, ProgressBar};
use std::cell::RefCell;
use std::path::{Path, PathBuf};

#[derive(clap::Args)]
#[command(next_help_heading = "Data")]
pub struct Args {
    #[arg(value_name = "NAME", help = name_help())]
    name: String,
    /// Output path: the folder of datasets, in which this one gets a folder [default:
    /// DCGAN_DATASETS, else datasets].
    #[arg(long, value_name = "PATH", help_heading = "Output")]
    out: Option<PathBuf>,
    /// URL prefix to download the files from, instead of the dataset's own server [of hf://: a
    /// server with the interface of https://huggingface.co].
    #[arg(long, value_name = "URL")]
    mirror: Option<String>,
}

/// The help of NAME, with the names of the registry.
fn name_help() -> String {
    let names: Vec<_> = remote_sets().map(|set| set.name).collect();
    format!("Dataset: {}, or hf://datasets/OWNER/NAME[/CONFIG][@REVISION]", names.join(", "))
}

/// Downloads a dataset.
pub fn run(args: &Args) -> Result<(), CliError> {
    if let Some(dataset) = HubDataset::parse(&args.name) {
        return run_hub(args, &dataset?);
    }
    let set = remote_set(&args.name)?;
    let known = known_sets().find(|known| known.name == set.name);
    // A dataset that ships with the repository has the same files as its server.
    if let (None, Some(path)) =
        (&args.out, known.as_ref().and_then(|known| known.path.as_ref().filter(|_| known.bundled)))
    {
        output::line(format!("{} is here already: {}", set.name, output::name(path.display())));
        return Ok(());
    }
    let datasets = datasets_folder(args);
    output::line(format!(
        "{}: {} from {} (see {})",
        set.name,
        HumanBytes(set.bytes()),
        home(args, set),
        set.page
    ));
    let bar = DownloadBar::default();
    let folder = fetch(set, &datasets, args.mirror.as_deref(), &|progress| bar.show(progress));
    bar.finish();
    let folder = folder?;
    let shown = output::name(folder.display());
    output::line(format!("{} is in {shown}; all checksums are right", set.name));
    // `--data NAME` works if the folder is where the name is looked up.
    let named = known_sets().find(|known| {
        known.name == set.name
            && known.path.as_deref().is_some_and(|path| is_same_folder(path, &folder))
    });
    let spec = named.map_or_else(|| quoted(&folder), |known| known.name.to_owned());
    output::line(format!("inspect it with: dcgan data info {spec}"));
    Ok(())
}

/// Downloads a dataset from Hugging Face's hub.
fn run_hub(args: &Args, dataset: &HubDataset) -> Result<(), CliError> {
    let datasets = datasets_folder(args);
    let token = environment::hub_token();
    let bar = DownloadBar::default();
    let folder =
        fetch_hub(dataset, &datasets, args.mirror.as_deref(), token.as_deref(), &|progress| {
            bar.show(progress)
        });
    bar.finish();
    let folder = folder?;
    let shown = output::name(folder.display());
    output::line(format!("{} is in {shown}; all checksums are right", args.name));
    let found = DataSpec::parse(&args.name).ok();
    let is_found =
        found.is_some_and(|spec| spec.path().is_some_and(|path| is_same_folder(path, &folder)));
    let spec = if is_found { Path::new(&args.name) } else { folder.as_path() };
    output::line(format!("inspect it with: dcgan data info {}", quoted(spec)));
    Ok(())
}

fn datasets_folder(args: &Args) -> PathBuf {
    let named = args.out.clone().or_else(environment::datasets_folder);
    named.unwrap_or_else(|| PathBuf::from("datasets"))
}

fn is_same_folder(a: &Path, b: &Path) -> bool {
    a.canonicalize().ok().is_some_and(|a| b.canonicalize().is_ok_and(|b| a == b))
}

fn home(args: &Args, set: &data::RemoteSet) -> String {
    args.mirror
        .clone()
        .or_else(|| set.base.map(str::to_owned))
        .unwrap_or_else(|| "files put here by hand".to_owned())
}

/// The progress bar of the file being downloaded, under the file's name.
#[derive(Default)]
struct DownloadBar {
    bar: RefCell<Option<(String, ProgressBar)>>,
}

impl DownloadBar {
    fn show(&self, progress: FetchProgress<'_>) {
        match progress {
            FetchProgress::Here { file } => output::line(format!("{file} is here already")),
            FetchProgress::Downloading { file, done, total } => {
                let mut bar = self.bar.borrow_mut();
                let (_, bar) = match &mut *bar {
                    Some(shown) if shown.0 == file => shown,
                    other => {
                        output::line(format!("fetching {file}, {}", HumanBytes(total)));
                        // Bytes from an interrupted download would distort the speed.
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
