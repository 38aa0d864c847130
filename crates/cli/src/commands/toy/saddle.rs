//! `dcgan toy saddle`.

use super::PlotArgs;
use crate::commands::JsonArg;
use crate::error::CliError;
use crate::parse::count;
use crate::report::ReportPath;
use crate::{output, parse};
use ::train::toy::saddle::{self, SaddleSettings, Trajectory};
use ::train::toy::saddle_plot;
use serde_json::json;

#[derive(clap::Args)]
pub struct Args {
    /// Number of steps of each update rule.
    #[arg(long, value_name = "N", default_value_t = 300, value_parser = count(1..=1_000_000),
        help_heading = "Training")]
    steps: u32,
    /// Learning rate of both variables.
    #[arg(long, value_name = "X", default_value_t = 0.1, value_parser = parse::learning_rate,
        allow_negative_numbers = true, help_heading = "Training")]
    lr: f64,
    /// Add c/2 · (x² − y²): above 0, each variable's own cost attracts to the saddle.
    #[arg(
        long,
        value_name = "C",
        default_value_t = 0.0,
        allow_negative_numbers = true,
        help_heading = "Training"
    )]
    curvature: f64,
    /// Initial point.
    #[arg(long, value_name = "X,Y", default_value = "1,1", value_parser = parse::pair,
        allow_hyphen_values = true, help_heading = "Training")]
    start: [f64; 2],
    /// Momentum of the momentum and Nesterov rules; negative momentum has −β.
    #[arg(long, value_name = "X", default_value_t = 0.5, value_parser = parse::decay,
        allow_negative_numbers = true, help_heading = "Training")]
    momentum: f64,
    /// Adam's decay of the first moment (β₁); optimistic Adam has 0.
    #[arg(long, value_name = "X", default_value_t = 0.5, value_parser = parse::decay,
        allow_negative_numbers = true, help_heading = "Training")]
    beta1: f64,
    #[command(flatten)]
    plots: PlotArgs,
    #[command(flatten)]
    json: JsonArg,
}

/// Simulates the game, prints the results and draws them.
pub fn run(args: &Args) -> Result<(), CliError> {
    let settings = SaddleSettings {
        lr: args.lr,
        steps: args.steps as usize,
        curvature: args.curvature,
        start: args.start,
        momentum: args.momentum,
        beta1: args.beta1,
    };
    settings.validate().map_err(CliError::usage)?;
    args.plots.require()?;
    let trajectories = saddle::simulate(&settings)?;
    print(args, &settings, &trajectories);
    let last = settings.steps;
    let frames = args.plots.num_frames().min(last as u64 + 1) as usize;
    let step_of = |frame: usize| if frames == 1 { last } else { frame * last / (frames - 1) };
    let plots: Result<Vec<_>, _> = (0..frames)
        .map(|frame| saddle_plot::draw(&trajectories, &settings, step_of(frame)))
        .collect();
    for path in args.plots.write(&plots?)? {
        match args.json.json {
            true => output::json(&json!({ "event": "wrote", "path": ReportPath::from(path) })),
            false => output::wrote(path, false),
        }
    }
    Ok(())
}

fn print(args: &Args, settings: &SaddleSettings, trajectories: &[Trajectory]) {
    if args.json.json {
        for trajectory in trajectories {
            output::json(&json!({
                "event": "simulated", "method": trajectory.method.name(), "steps": settings.steps,
                "distance": trajectory.end(), "factor": trajectory.factor(),
                "why": trajectory.method.why(),
            }));
        }
        return;
    }
    let start = settings.start[0].hypot(settings.start[1]);
    output::line(format!(
        "From distance {}, after {} steps:\n",
        saddle_plot::distance(start),
        settings.steps
    ));
    output::line(format!("{:<18} {:>9} {:>9}", "", "distance", "a step"));
    for trajectory in trajectories {
        let (end, factor) = (saddle_plot::distance(trajectory.end()), trajectory.factor());
        let factor = if factor.is_finite() { format!("×{factor:.4}") } else { "-".to_owned() };
        output::line(format!(
            "{:<18} {end:>9} {factor:>9}  {}",
            trajectory.method.name(),
            trajectory.method.why()
        ));
    }
    output::line("");
}
