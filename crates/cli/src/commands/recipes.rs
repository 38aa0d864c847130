//! `dcgan recipes`.

use crate::error::CliError;
use crate::output;
use nn::Recipe;

/// Flags of `recipes`.
#[derive(clap::Args)]
pub struct Args {
    /// The recipe to show in full, with its layers: a built-in name or a .toml file. Its text is a good start for one of your own.
    #[arg(value_name = "NAME|FILE.toml")]
    name: Option<String>,
}

/// Lists the presets, or prints one and its plan.
///
/// # Errors
/// A recipe that is unknown or faulty.
pub fn run(args: &Args) -> Result<(), CliError> {
    let Some(name) = &args.name else {
        for name in Recipe::names() {
            output::line(format!("{name:<20} {}", Recipe::preset(name)?.description));
        }
        return Ok(());
    };
    let recipe = super::recipe(name)?;
    output::line(recipe.to_toml());
    // As comments, so that the whole output is a recipe.
    for line in recipe.plan()?.to_string().lines() {
        output::line(format!("# {line}").trim_end());
    }
    Ok(())
}
