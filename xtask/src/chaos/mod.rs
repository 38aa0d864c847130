//! `chaos`: a campaign of injected faults against the built program. A case is a function of the
//! seed, its kind and its number, so that a failing one can be run again.

mod bit_flips;
mod case;
mod full_disks;
mod jobs;
mod kills;
mod mutations;
#[cfg(feature = "mpi")]
mod ranks;
mod signals;
mod trace;

use case::{Case, Setup};
use clap::Args;
use clap::builder::PossibleValuesParser;
use comfy_table::{CellAlignment, Table, presets::NOTHING};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::flag::register_conditional_shutdown;
use std::error::Error;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

type BoxError = Box<dyn Error>;

/// Kill the program, fill its disk, flip bits of its files, damage its inputs and send it signals,
/// at random, and check that nothing is lost, nothing false is read and nothing panics. With the
/// feature `mpi`, also disturb one of several ranks, and check that all end. Prints a table of the
/// cases, and keeps the folder of each that failed. Linux only.
#[derive(Args)]
pub struct Options {
    /// Duration, divided equally among the kinds of faults; at least one case of each is tried.
    #[arg(long, value_name = "N", default_value_t = 1.0)]
    minutes: f64,
    /// Seed: the same seed gives the same sequence of cases [default: random].
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Number of cases of each kind, instead of a duration.
    #[arg(long, value_name = "N", conflicts_with_all = ["minutes", "case"])]
    cases: Option<u64>,
    /// One kind of faults [default: all].
    #[arg(long, value_parser = PossibleValuesParser::new(KINDS.iter().map(|kind| kind.0)))]
    kind: Option<String>,
    /// One case of this kind.
    #[arg(long, value_name = "N", requires = "kind")]
    case: Option<u64>,
    /// The folder in which failing cases are kept.
    #[arg(long, value_name = "DIR", default_value = "runs/chaos")]
    dir: PathBuf,
    /// A built `dcgan`, instead of building one.
    #[arg(long, value_name = "FILE")]
    dcgan: Option<PathBuf>,
}

/// How this program was started.
const XTASK: &str =
    if cfg!(feature = "mpi") { "cargo run -p xtask --features mpi --" } else { "cargo xtask" };

/// A kind of faults: its name, and the function that tries one case of it.
type Kind = (&'static str, fn(&mut Case) -> Result<(), BoxError>);

const KINDS: &[Kind] = &[
    ("kills", kills::run),
    ("full-disks", full_disks::run),
    ("bit-flips", bit_flips::run),
    ("mutations", mutations::run),
    ("signals", signals::run),
    #[cfg(feature = "mpi")]
    ("ranks", ranks::run),
];

/// Runs the campaign.
///
/// # Errors
/// Returns an error if the program cannot do the undisturbed work, or if cases failed (with their
/// number and folder).
pub fn run(options: &Options) -> Result<(), BoxError> {
    enter_namespace()?;
    // Programs started from here begin with the default action of these signals, also where this
    // one was started with them ignored, as in the background of a script: a started program
    // inherits that a signal is ignored, and not that it is handled.
    for signal in [SIGINT, SIGTERM, SIGHUP] {
        register_conditional_shutdown(signal, 128 + signal, Arc::new(true.into()))?;
    }
    let kinds = KINDS.iter().filter(|kind| options.kind.as_ref().is_none_or(|k| k == kind.0));
    let program = crate::tasks::dcgan(options.dcgan.as_deref())?;
    let seed = options.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    println!("seed {seed}");
    fs::create_dir_all(&options.dir)?;
    let folder =
        tempfile::Builder::new().prefix("campaign-").tempdir_in(fs::canonicalize(&options.dir)?)?;
    let setup = Setup::new(program, folder.path())?;
    let share = Duration::try_from_secs_f64(60.0 * options.minutes / kinds.clone().count() as f64)?;
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(["kind", "tried", "failed", "seconds"]);
    table.column_iter_mut().skip(1).for_each(|c| c.set_cell_alignment(CellAlignment::Right));
    let mut failed = 0;
    for kind in kinds {
        let start = Instant::now();
        let end = options.cases.map_or(End::At(start + share), End::After);
        let [tried, bad] = campaign(*kind, options.case, seed, end, &setup)?;
        failed += bad;
        let seconds = format!("{:.0}", start.elapsed().as_secs_f64());
        table.add_row([kind.0.to_owned(), tried.to_string(), bad.to_string(), seconds]);
    }
    println!("{table}");
    if failed == 0 {
        return Ok(());
    }
    Err(format!("{failed} cases failed, which are kept in {}", folder.keep().display()).into())
}

/// When a campaign ends.
#[derive(Clone, Copy)]
enum End {
    At(Instant),
    /// After this number of cases.
    After(u64),
}

/// Tries cases of a kind until `end`, or the one of this number; returns the numbers of cases and
/// of failures. The folder of a failing case is kept.
fn campaign(
    (name, run): Kind,
    number: Option<u64>,
    seed: u64,
    end: End,
    setup: &Setup,
) -> Result<[u64; 2], BoxError> {
    let first = number.unwrap_or(0);
    let (mut tried, mut failed) = (0, 0);
    let is_over = |tried| match end {
        End::At(time) => Instant::now() >= time,
        End::After(cases) => tried >= cases,
    };
    while tried == 0 || number.is_none() && !is_over(tried) {
        let index = first + tried;
        let mut hasher = DefaultHasher::new();
        (seed, name, index).hash(&mut hasher);
        let mut case = Case::new(setup, &format!("{name}-{index}"), index, hasher.finish())?;
        match run(&mut case) {
            Ok(()) => fs::remove_dir_all(&case.dir)?,
            Err(error) => {
                failed += 1;
                let again = format!("{XTASK} chaos --seed {seed} --kind {name} --case {index}");
                println!("{name}/{index}: {error}\n  again: {again}\n  kept: {:?}", case.dir);
                case.keep(&format!("{error}\n{again}"))?;
            }
        }
        tried += 1;
    }
    Ok([tried, failed])
}

/// Without the right to mount, starts this process again in a user namespace that gives it, where
/// the system allows one.
fn enter_namespace() -> Result<(), BoxError> {
    if full_disks::Disk::mount(tempfile::tempdir()?.path()).is_ok() {
        return Ok(());
    }
    let unshare = |program: &Path| {
        let mut command = Command::new("unshare");
        command.args(["--user", "--map-root-user", "--mount"]).arg(program);
        command
    };
    let possible = unshare(Path::new("true")).output().is_ok_and(|o| o.status.success());
    if possible && !nix::unistd::geteuid().is_root() {
        return Err(unshare(&std::env::current_exe()?)
            .args(std::env::args_os().skip(1))
            .exec()
            .into());
    }
    println!("nothing can be mounted here: full disks are limits of the file size alone");
    Ok(())
}

/// All files below a folder, or the file, by their path in it.
fn files(root: &Path) -> Result<Vec<(String, PathBuf)>, BoxError> {
    let mut found = Vec::new();
    for entry in walkdir::WalkDir::new(root).sort_by_file_name() {
        let path = entry?.into_path();
        if !path.is_dir() {
            found.push((path.strip_prefix(root)?.to_string_lossy().into_owned(), path));
        }
    }
    Ok(found)
}

/// Copies a file, or a folder with all its files, to `to`.
fn copy(from: &Path, to: &Path) -> Result<(), BoxError> {
    for (name, path) in files(from)? {
        let target = mutations::join(to, &name);
        fs::create_dir_all(target.parent().ok_or("a path without a folder")?)?;
        fs::copy(path, target)?;
    }
    Ok(())
}
