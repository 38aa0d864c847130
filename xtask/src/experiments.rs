//! `experiments`: runs the commands that stand in the pages of docs/experiments, so that what the pages show can be made again.

mod page;

use clap::Args;
use page::{Page, Program};
use std::error::Error;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

/// Run what stands in the `sh` blocks of the pages, one command after the other, in one folder, and say which of their pictures came out
/// the same. A command that has run is not run again, so that it may be stopped and started again.
#[derive(Args)]
pub struct Options {
    /// Names of pages, such as `latent`; all of them by default.
    pages: Vec<String>,
    /// Where the pages are.
    #[arg(long, value_name = "DIR", default_value = "docs/experiments")]
    docs: PathBuf,
    /// Where everything goes: pictures, runs, and in `done` what each command printed.
    #[arg(long, value_name = "DIR", default_value = "runs/experiments")]
    dir: PathBuf,
    /// Only print the commands.
    #[arg(long)]
    list: bool,
    /// Copy pictures that came out otherwise into the pages' folder.
    #[arg(long)]
    write: bool,
    /// The folder of the arrays that the paper's authors released, for the pages about SVHN (see docs/recipes.md).
    #[arg(long, value_name = "DIR")]
    newmu_svhn: Option<PathBuf>,
    /// A built `dcgan`, in place of building one.
    #[arg(long, value_name = "FILE")]
    dcgan: Option<PathBuf>,
}

type Failure = Box<dyn Error>;

/// Runs the pages.
///
/// # Errors
/// An unknown page, one with a command that is neither `dcgan` nor `cargo xtask`, a file that cannot be written, and commands that failed, by
/// their number.
pub fn run(options: &Options) -> Result<(), Failure> {
    let pages = Page::read_all(&options.docs, &options.pages)?;
    if options.list {
        for command in pages.iter().flat_map(|page| &page.commands) {
            println!("{command}");
        }
        return Ok(());
    }
    let programs = Programs {
        dcgan: fs::canonicalize(match &options.dcgan {
            Some(file) => file.clone(),
            None => crate::tasks::built_dcgan()?,
        })?,
        xtask: std::env::current_exe()?,
    };
    prepare(options)?;
    let mut failed = 0;
    for page in &pages {
        println!("\n{}", page.name);
        for command in &page.commands {
            failed += usize::from(!programs.run(command, options)?);
        }
        for picture in &page.pictures {
            compare(picture, options)?;
        }
    }
    if failed == 0 {
        Ok(())
    } else {
        Err(format!(
            "{failed} commands failed; what they said is above and in {}",
            options.dir.join("done").display()
        )
        .into())
    }
}

/// The folder, with what the commands take from the repository in it.
fn prepare(options: &Options) -> Result<(), Failure> {
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

/// What the commands run.
struct Programs {
    dcgan: PathBuf,
    xtask: PathBuf,
}

impl Programs {
    /// Whether it went well, now or at another time.
    fn run(&self, command: &page::Command, options: &Options) -> Result<bool, Failure> {
        let said = options.dir.join("done").join(format!("{}.txt", command.digest()));
        if said.exists() {
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
            fs::write(said.with_extension("failed"), text)?;
            return Ok(false);
        }
        writeln!(text, "{:.0} s", start.elapsed().as_secs_f64())?;
        print!("{}", String::from_utf8_lossy(&output.stdout));
        fs::write(said, text)?;
        Ok(true)
    }
}

/// Says whether a page's picture came out the same, and copies it where that is asked for.
fn compare(name: &str, options: &Options) -> Result<(), Failure> {
    let (made, shown) = (options.dir.join(name), options.docs.join(name));
    if !made.exists() {
        println!("{name}: not made by these commands");
        return Ok(());
    }
    let same = shown.exists() && pixels(&made)? == pixels(&shown)?;
    println!("{name}: {}", if same { "the same" } else { "other pixels" });
    if !same && options.write {
        fs::copy(&made, &shown)?;
    }
    Ok(())
}

fn pixels(file: &Path) -> Result<image::RgbaImage, Failure> {
    Ok(image::open(file)
        .map_err(|error| format!("cannot read {}: {error}", file.display()))?
        .to_rgba8())
}
