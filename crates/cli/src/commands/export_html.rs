//! `dcgan export --html`.

use crate::error::CliError;
use crate::output;
use runs::Checkpoint;
use std::io::Write;
use std::path::PathBuf;
use train::WeightPrecision;

/// Flags of the page that draws with the generator.
#[derive(clap::Args)]
pub struct HtmlArgs {
    /// Page that draws with the generator: writes one HTML file, which any browser opens from disk.
    #[arg(long, value_name = "FILE.html", help_heading = "Output")]
    html: Option<PathBuf>,
    /// With --html: weights in single precision, twice the size.
    #[arg(long, requires = "html", help_heading = "Output")]
    full: bool,
}

impl HtmlArgs {
    /// Refuses a file that cannot be written.
    pub fn check(&self, force: bool) -> Result<(), CliError> {
        self.html.as_ref().map_or(Ok(()), |file| super::require_file("--html", file, "html", force))
    }

    /// Writes the page, if it is asked for.
    pub fn write(&self, checkpoint: &Checkpoint, model: Option<&str>) -> Result<(), CliError> {
        let Some(file) = &self.html else { return Ok(()) };
        let precision = if self.full { WeightPrecision::F32 } else { WeightPrecision::F16 };
        let page = train::html_page(checkpoint, model, precision)?;
        file_io::write_atomic(file, |out| out.write_all(page.as_bytes()))
            .map_err(|error| failure!("cannot write {file:?}: {error}"))?;
        output::wrote(file, false);
        Ok(())
    }
}
