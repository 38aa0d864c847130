//! `experiments`: runs the commands in the pages of docs/experiments, which reproduces what the
//! pages show.

mod page;

use clap::Args;
use page::{Page, Program};
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Run the `sh` blocks of the pages, one command after the other, in one folder, and report which
/// of their images are reproduced. A command that has run is not run again, so that the task may be
/// stopped and started again.
#[derive(Args)]
pub struct Options {
    /// Names of pages, such as `latent`; all of them by default.
    pages: Vec<String>,
    /// The folder of the pages.
    #[arg(long, value_name = "DIR", default_value = "docs/experiments")]
    docs: PathBuf,
    /// The folder for images and runs, and in `done` the output of each command.
    #[arg(long, value_name = "DIR", default_value = "runs/experiments")]
    dir: PathBuf,
    /// Only print the commands.
    #[arg(long)]
    list: bool,
    /// Copy images that differ into the pages' folder.
    #[arg(long)]
    write: bool,
    /// The folder of the arrays that the paper's authors released, for the pages about SVHN (see
    /// docs/recipes.md).
    #[arg(long, value_name = "DIR")]
    newmu_svhn: Option<PathBuf>,
    /// A built `dcgan`, instead of building one.
    #[arg(long, value_name = "FILE")]
    dcgan: Option<PathBuf>,
}

type BoxError = Box<dyn Error>;

/// Runs the pages.
pub fn run(options: &Options) -> Result<(), BoxError> {
    let pages = Page::read_all(&options.docs, &options.pages)?;
    if options.list {
        for command in pages.iter().flat_map(|page| &page.commands) {
            println!("{command}");
        }
        return Ok(());
    }
    let programs = Programs {
        dcgan: crate::tasks::dcgan(options.dcgan.as_deref())?,
        xtask: std::env::current_exe()?,
    };
    prepare(options)?;
    let mut failed = 0;
    for page in &pages {
        println!("\n{}", page.name);
        for command in &page.commands {
            failed += usize::from(!programs.run(command, options)?);
        }
        for image in &page.images {
            compare(image, options)?;
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(format!(
            "{failed} commands failed; their output is above and in {}",
            options.dir.join("done").display()
        )
        .into())
    }
}

/// Creates the folder, with the files that the commands take from the repository.
fn prepare(options: &Options) -> Result<(), BoxError> {
    fs::create_dir_all(options.dir.join("done"))?;
    for file in fs::read_dir(&options.docs)? {
        let file = file?.path();
        if file.extension().is_some_and(|e| e == "csv") {
            fs::copy(&file, options.dir.join(file.file_name().unwrap_or_default()))?;
        }
    }
    let Some(from) = &options.newmu_svhn else { return Ok(()) };
    let to = options.dir.join("newmu-svhn");
    fs::create_dir_all(&to)?;
    for file in fs::read_dir(from)? {
        let file = file?;
        fs::copy(file.path(), to.join(file.file_name()))?;
    }
    Ok(())
}

/// The programs that the commands run.
struct Programs {
    dcgan: PathBuf,
    xtask: PathBuf,
}

impl Programs {
    /// Runs a command, unless it has run before; returns whether it succeeded.
    fn run(&self, command: &page::Command, options: &Options) -> Result<bool, BoxError> {
        let log = options.dir.join("done").join(format!("{}.txt", command.digest()));
        if log.exists() {
            println!("done before: {command}");
            return Ok(true);
        }
        println!("{command}");
        let start = Instant::now();
        let program = match command.program {
            Program::Dcgan => &self.dcgan,
            Program::Xtask => &self.xtask,
        };
        let output =
            Command::new(program).args(&command.arguments).current_dir(&options.dir).output()?;
        let mut text = format!("{command}\n");
        for stream in [&output.stdout, &output.stderr] {
            text.push_str(&String::from_utf8_lossy(stream));
        }
        if !output.status.success() {
            eprintln!("{text}failed: {}", output.status);
            fs::write(log.with_extension("failed"), text)?;
            return Ok(false);
        }
        writeln!(text, "{:.0} s", start.elapsed().as_secs_f64())?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        fs::write(log, text)?;
        Ok(true)
    }
}

/// Reports whether a page's image is reproduced, and copies it if requested.
fn compare(name: &str, options: &Options) -> Result<(), BoxError> {
    let (made, shown) = (options.dir.join(name), options.docs.join(name));
    if !made.exists() {
        println!("{name}: not made by these commands");
        return Ok(());
    }
    let same = shown.exists() && pixels(&made)? == pixels(&shown)?;
    println!("{name}: {}", if same { "the same" } else { "different pixels" });
    if !same && options.write {
        fs::copy(&made, &shown)?;
    }
    Ok(())
}

fn pixels(file: &Path) -> Result<image::RgbaImage, BoxError> {
    Ok(image::open(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?
        .to_rgba8())
}
