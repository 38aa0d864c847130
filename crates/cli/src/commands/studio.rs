//! `dcgan studio`, and the studio of `dcgan train --studio`.

use super::ModelArgs;
use super::checkpoint::load;
use super::runs::DEFAULT_RUNS_DIR;
use crate::error::CliError;
use crate::{environment, interrupt, output, threads};
use ::runs::RunDir;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use studio::{Controls, Model, Source, Studio, StudioConfig};

/// The port by default; if it is taken, a free one.
const PORT: u16 = 6543;

#[derive(clap::Args)]
pub struct Args {
    /// Folder of runs, run directory, or checkpoint file [default: runs].
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    #[command(flatten)]
    model: ModelArgs,
    /// Port of the page, 0 for any free one [default: 6543, or a free one].
    #[arg(long, value_name = "N")]
    port: Option<u16>,
    /// Do not open the browser.
    #[arg(long)]
    no_open: bool,
    /// Listen on this IP address, for other hosts: they need the token in the URL that is printed.
    #[arg(long, value_name = "ADDR")]
    listen: Option<IpAddr>,
    /// Refuse whatever changes something, such as notes.
    #[arg(long)]
    read_only: bool,
}

/// Serves the page until Ctrl-C.
pub fn run(args: &Args) -> Result<(), CliError> {
    threads::start(None)?;
    let mut config = config(args.path.as_deref(), args.model.model.as_deref())?;
    config.read_only = args.read_only;
    config.needs_token = args.listen.is_some();
    let studio = start(config, args.listen, args.port)?;
    output::line(format!("Studio: {}", studio.url()));
    // All users of this host see command lines: the token must not be in one.
    if !args.no_open && args.listen.is_none() {
        open_browser(studio.url());
    }
    studio.wait();
    Ok(())
}

/// What the studio of a path and a built-in model shows.
fn config(path: Option<&Path>, model: Option<&str>) -> Result<StudioConfig, CliError> {
    let mut config = StudioConfig::new(Source::None);
    if let Some(name) = model {
        let (checkpoint, _) = load(None, Some(name))?;
        config.model = Some(Model { name: name.to_owned(), checkpoint, is_builtin: true });
    }
    let Some(path) = path else {
        if model.is_none() && !Path::new(DEFAULT_RUNS_DIR).is_dir() {
            return Err(failure!(
                "there is no folder {DEFAULT_RUNS_DIR:?} here: begin with dcgan train, name a \
                 folder of runs, or give --model fashion"
            ));
        }
        config.source = Source::Folder(DEFAULT_RUNS_DIR.into());
        return Ok(config);
    };
    if path.is_dir() {
        config.source = match RunDir::open(path) {
            Ok(_) => Source::Run(named(path)?),
            Err(_) => Source::Folder(path.to_owned()),
        };
        return Ok(config);
    }
    if model.is_some() {
        return Err(usage!(
            "{path:?} is not a folder: give a checkpoint file or --model, not both"
        ));
    }
    let (checkpoint, _) = load(Some(path), None)?;
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    config.model = Some(Model { name, checkpoint, is_builtin: false });
    Ok(config)
}

/// The path with the directory's name at its end, which `.` and `..` have not.
fn named(path: &Path) -> Result<PathBuf, CliError> {
    match path.file_name() {
        Some(_) => Ok(path.to_owned()),
        None => path.canonicalize().map_err(|error| failure!("cannot read {path:?}: {error}")),
    }
}

fn start(
    config: StudioConfig,
    listen: Option<IpAddr>,
    port: Option<u16>,
) -> Result<Studio, CliError> {
    let ip = listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
    let started = match port {
        Some(port) => Studio::start(config, SocketAddr::new(ip, port)),
        None => Studio::start(config.clone(), SocketAddr::new(ip, PORT))
            .or_else(|_| Studio::start(config, SocketAddr::new(ip, 0))),
    };
    started.map_err(|error| failure!("{error}: choose another port or address"))
}

/// Opens the page where there is a display. A browser that does not start is no error: the address
/// was printed.
fn open_browser(url: &str) {
    let mut command = if cfg!(target_os = "macos") {
        Command::new("open")
    } else if cfg!(windows) {
        let mut command = Command::new("cmd");
        command.args(["/C", "start", ""]);
        command
    } else if environment::has_display() {
        Command::new("xdg-open")
    } else {
        return;
    };
    command.arg(url).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let _ = command.spawn();
}

/// Set while the page asks for a checkpoint of the run that this process trains.
static SAVE_REQUESTED: AtomicBool = AtomicBool::new(false);

/// The flag that shows a run while it trains.
#[derive(clap::Args)]
pub struct StudioArg {
    /// Serve a page that shows the run while it trains, with its folder's other runs (dcgan
    /// studio) [default port: 6543, or a free one].
    #[arg(long, value_name = "PORT", num_args = 0..=1, help_heading = "Output")]
    studio: Option<Option<u16>>,
}

impl StudioArg {
    /// The flag that asks the run to save, if there is a page that sets it.
    pub fn save_flag(&self) -> Option<&'static AtomicBool> {
        self.studio.map(|_| &SAVE_REQUESTED)
    }

    /// Starts the studio of the run in `dir`, if it is asked for: with the other runs of `runs_dir`
    /// if it is one of them, else alone.
    pub fn start(&self, dir: &RunDir, runs_dir: &Path) -> Result<Option<Studio>, CliError> {
        let Some(port) = self.studio else { return Ok(None) };
        let path = named(dir.path())?;
        let is_listed = path
            .parent()
            .zip(runs_dir.canonicalize().ok())
            .is_some_and(|(parent, runs)| parent.canonicalize().is_ok_and(|parent| parent == runs));
        let run = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let source = match is_listed {
            true => Source::Folder(runs_dir.to_owned()),
            false => Source::Run(path),
        };
        let mut config = StudioConfig::new(source);
        config.controls = Some(Controls {
            run,
            save: Arc::new(|| SAVE_REQUESTED.store(true, Ordering::Relaxed)),
            stop: Arc::new(interrupt::request_stop),
        });
        start(config, None, port).map(Some)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_folder_a_run_or_a_checkpoint() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path(), "x").unwrap().path().to_owned();
        let source = |path: &Path| config(Some(path), None).map(|config| config.source);
        assert!(matches!(source(folder.path()), Ok(Source::Folder(path)) if path == folder.path()));
        assert!(matches!(source(&run), Ok(Source::Run(path)) if path == run));
        // `..` has no name of its own.
        let same = run.join("samples/..");
        assert!(matches!(source(&same), Ok(Source::Run(path)) if path.ends_with("0001-x")));
        assert!(source(&folder.path().join("none")).is_err());

        let file = folder.path().join("weights.safetensors");
        let fashion = ::runs::builtin_models::MODELS[0].checkpoint().unwrap();
        ::runs::checkpoint::save(&file, &fashion).unwrap();
        let model = config(Some(&file), None).unwrap().model.unwrap();
        assert_eq!((&*model.name, model.is_builtin), ("weights.safetensors", false));
        assert!(matches!(config(Some(&file), Some("fashion")), Err(CliError::Usage(_))));
        let model = config(None, Some("emoji")).unwrap().model.unwrap();
        assert_eq!((&*model.name, model.is_builtin), ("emoji", true));
    }

    #[test]
    fn a_run_outside_the_folder_of_runs_is_shown_alone() {
        let folder = tempfile::tempdir().unwrap();
        let runs = folder.path().join("runs");
        let inside = RunDir::create(&runs, "x").unwrap();
        let outside = RunDir::create_at(&folder.path().join("out")).unwrap();
        let flag = StudioArg { studio: Some(Some(0)) };
        assert!(StudioArg { studio: None }.start(&inside, &runs).unwrap().is_none());
        for (dir, name) in [(&inside, "0001-x"), (&outside, "out")] {
            let studio = flag.start(dir, &runs).unwrap().unwrap();
            let mut stream = std::net::TcpStream::connect(studio.address()).unwrap();
            use std::io::{Read, Write};
            write!(
                stream,
                "GET /api/runs/{name} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\n\r\n",
                studio.address()
            )
            .unwrap();
            let mut answer = String::new();
            stream.read_to_string(&mut answer).unwrap();
            assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            assert!(answer.contains("\"controls\":true"), "{answer}");
        }
    }
}
