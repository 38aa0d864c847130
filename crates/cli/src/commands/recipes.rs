//! `dcgan recipes`.

use crate::error::CliError;
use crate::output;
use nn::{NnError, Recipe};
use std::path::Path;

/// The longest recipe file in bytes.
const MAX_BYTES: u64 = 1 << 20;

#[derive(clap::Args)]
pub struct Args {
    /// Recipe to print in full, with its layers: a name or a .toml file. The output is a valid
    /// recipe file.
    #[arg(value_name = "NAME|FILE.toml")]
    name: Option<String>,
}

/// Lists the presets, or prints one with its layers.
pub fn run(args: &Args) -> Result<(), CliError> {
    let Some(name) = &args.name else {
        for name in Recipe::names() {
            output::line(format!("{name:<20} {}", Recipe::preset(name)?.description));
        }
        return Ok(());
    };
    let recipe = load(name)?;
    output::line(recipe.to_toml());
    // As comments, so that the whole output is a recipe.
    for line in recipe.summary()?.to_string().lines() {
        output::line(format!("# {line}").trim_end());
    }
    Ok(())
}

/// The recipe that `--recipe` names: a preset, or a TOML file.
pub fn load(name: &str) -> Result<Recipe, CliError> {
    if Recipe::names().any(|known| known == name) {
        return Ok(Recipe::preset(name)?);
    }
    let path = Path::new(name);
    let is_path = path.extension().is_some_and(|extension| extension == "toml")
        || path.components().count() > 1
        || path.is_file();
    if !is_path {
        let unknown = CliError::from(NnError::UnknownRecipe { name: name.to_owned() });
        return Err(usage!("{unknown}, or the path of a .toml file"));
    }
    let text = file_io::read_text(path, MAX_BYTES)
        .map_err(|e| failure!("cannot read recipe {path:?}: {e}"))?;
    Recipe::from_toml(&text).map_err(|e| CliError::in_context(path.display(), e))
}
