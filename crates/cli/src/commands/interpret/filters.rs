//! `dcgan filters`.

use super::wrote;
use crate::commands::{CheckpointArgs, DeviceArgs, OutputArgs, require_grid};
use crate::error::CliError;
use crate::parse::count;
use crate::report::{self, Report};
use eval::interpret::filters::Filters;
use nn::recipe::NetworkRole;
use serde::Serialize;
use std::path::PathBuf;

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
        value_parser = count(1..=10_000))]
    columns: u32,
    /// Scale each filter to the whole range from black to white, instead of all by one factor.
    #[arg(long, help_heading = "Output")]
    each: bool,
    #[command(flatten)]
    output: OutputArgs,
    #[command(flatten)]
    device: DeviceArgs,
}

/// Draws the filters of the layer that touches pixels, and prints their norms.
pub fn run(args: &Args) -> Result<(), CliError> {
    require_grid(&args.grid, args.output.force)?;
    let device = args.device.open()?;
    let (checkpoint, _) = args.checkpoint.open()?;
    let filters = Filters::of(&checkpoint, args.network, &device)?;
    filters.sheet(args.columns as usize, args.each).save(&args.grid)?;
    report::print(&FiltersReport::new(filters), args.output.json);
    wrote(args.output.json, &args.grid);
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
