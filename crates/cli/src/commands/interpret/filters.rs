//! `dcgan filters`.

use super::{NetworkArgs, wrote};
use crate::commands::device::DeviceArgs;
use crate::error::CliError;
use crate::output;
use clap::{ValueEnum, value_parser};
use eval::interpret::filters::Filters;
use nn::recipe::NetworkRole;
use serde_json::json;
use std::path::PathBuf;

/// One of the two networks.
#[derive(Clone, Copy, ValueEnum)]
enum Which {
    /// Its first layer: what it looks for in pixels.
    Discriminator,
    /// Its last layer: what its features paint.
    Generator,
}

/// Flags of `filters`.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    networks: NetworkArgs,
    /// Whose filters.
    #[arg(long, value_enum, default_value = "discriminator")]
    network: Which,
    /// The PNG to write; 0 is middle grey.
    #[arg(long, value_name = "FILE.png")]
    grid: PathBuf,
    /// Filters in a row of the grid.
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = value_parser!(u32).range(1..=10_000))]
    columns: u32,
    /// Give each filter the whole range from black to white; otherwise they share a scale, and weak ones are grey.
    #[arg(long)]
    each: bool,
    /// Write over a file that is there.
    #[arg(long)]
    force: bool,
    /// JSON lines on standard output, and nothing else there.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Draws the filters and tells how strong they are.
///
/// # Errors
/// A file that is there already, no good checkpoint, a layer that does not touch pixels, or the disk.
pub fn run(args: &Args) -> Result<(), CliError> {
    crate::commands::require_grid(&args.grid, args.force)?;
    let player = match args.network {
        Which::Discriminator => NetworkRole::Discriminator,
        Which::Generator => NetworkRole::Generator,
    };
    let filters = Filters::of(&args.networks.open()?, player, &args.device.open()?)?;
    filters.sheet(args.columns as usize, args.each).save(&args.grid)?;
    let shape = filters.weights.shape();
    let mut norms = filters.norms.clone();
    norms.sort_by(f32::total_cmp);
    let (weakest, strongest) =
        (norms.first().copied().unwrap_or(0.0), norms.last().copied().unwrap_or(0.0));
    let median = norms.get(norms.len() / 2).copied().unwrap_or(0.0);
    let weak = norms.iter().filter(|norm| **norm < 0.1 * strongest).count();
    if args.json {
        output::json(&json!({
            "event": "filters", "layer": filters.layer, "shape": shape[..], "norms": filters.norms, "below_a_tenth": weak,
        }));
    } else {
        output::line(format!(
            "Layer {}: {} filters of {}x{}x{}",
            filters.layer, shape[0], shape[1], shape[2], shape[3]
        ));
        output::line(format!(
            "Norm: weakest {weakest:.4}, median {median:.4}, strongest {strongest:.4}; {weak} below a tenth of that"
        ));
    }
    wrote(args.json, &args.grid);
    Ok(())
}
