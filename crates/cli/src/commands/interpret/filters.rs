//! `dcgan filters`.

use super::wrote;
use crate::commands::checkpoint::CheckpointArgs;
use crate::commands::device::DeviceArgs;
use crate::commands::flags::{ForceArg, JsonArg};
use crate::commands::require_grid;
use crate::error::CliError;
use crate::report::{self, Report};
use clap::value_parser;
use eval::interpret::filters::Filters;
use nn::recipe::NetworkRole;
use serde::Serialize;
use std::path::PathBuf;

/// Flags of `filters`.
#[derive(clap::Args)]
#[command(next_help_heading = "Evaluation")]
pub struct Args {
    #[command(flatten)]
    checkpoint: CheckpointArgs,
    /// Network whose filters are drawn: the discriminator's first layer, or the generator's last.
    #[arg(long, value_enum, default_value = "discriminator")]
    network: NetworkRole,
    /// Write a PNG of the filters; 0 is mid-gray.
    #[arg(long, value_name = "FILE.png", help_heading = "Output")]
    grid: PathBuf,
    /// Columns of the grid.
    #[arg(long, value_name = "N", default_value_t = 8, help_heading = "Output",
        value_parser = value_parser!(u32).range(1..=10_000))]
    columns: u32,
    /// Scale each filter to the whole range from black to white, instead of all by one factor.
    #[arg(long, help_heading = "Output")]
    each: bool,
    #[command(flatten)]
    force: ForceArg,
    #[command(flatten)]
    json: JsonArg,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Draws the filters of the layer that touches pixels, and prints their norms.
///
/// # Errors
/// Returns an error if there is no valid checkpoint, the layer does not touch pixels, or the output
/// file exists or cannot be written.
pub fn run(args: &Args) -> Result<(), CliError> {
    require_grid(&args.grid, args.force.force)?;
    let (checkpoint, _) = args.checkpoint.open()?;
    let filters = Filters::of(&checkpoint, args.network, &args.device.open()?)?;
    filters.sheet(args.columns as usize, args.each).save(&args.grid)?;
    report::print(&FiltersReport::new(filters), args.json.json);
    wrote(args.json.json, &args.grid);
    Ok(())
}

/// The L2 norms of a layer's filters.
#[derive(Serialize)]
#[serde(tag = "event", rename = "filters")]
struct FiltersReport {
    layer: String,
    /// Filters, height, width, channels.
    shape: Vec<usize>,
    norms: Vec<f32>,
    /// Filters whose norm is below a tenth of the largest one.
    below_a_tenth: usize,
    #[serde(skip)]
    sorted: Vec<f32>,
}

impl FiltersReport {
    fn new(filters: Filters) -> Self {
        let mut sorted = filters.norms.clone();
        sorted.sort_by(f32::total_cmp);
        let strongest = sorted.last().copied().unwrap_or(0.0);
        Self {
            shape: filters.weights.shape().to_vec(),
            below_a_tenth: sorted.iter().filter(|norm| **norm < 0.1 * strongest).count(),
            layer: filters.layer,
            norms: filters.norms,
            sorted,
        }
    }
}

impl Report for FiltersReport {
    fn text(&self) -> Vec<String> {
        let norm = |i: usize| self.sorted.get(i).copied().unwrap_or(0.0);
        let shape: Vec<String> = self.shape.iter().skip(1).map(usize::to_string).collect();
        vec![
            format!("Layer {}: {} filters of {}", self.layer, self.shape[0], shape.join("x")),
            format!(
                "Norm: weakest {:.4}, median {:.4}, strongest {:.4}; {} below a tenth of that",
                norm(0),
                norm(self.sorted.len() / 2),
                norm(self.sorted.len().saturating_sub(1)),
                self.below_a_tenth
            ),
        ]
    }
}
