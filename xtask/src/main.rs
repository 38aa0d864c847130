//! Developer tasks: benchmarks, golden files, figures, data sets, continuous integration.

#![forbid(unsafe_code)]

mod emoji;
mod experiments;
mod figures;
mod kernels;
mod loading;
mod peer;
mod pictures;
mod plant;
mod sample;
mod step;
mod tasks;
mod tricks;

use clap::Parser;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Developer tasks: benchmarks, golden files, figures, data sets, continuous integration"
)]
enum Task {
    BenchKernels(kernels::Options),
    BenchStep(step::Options),
    BenchSample(sample::Options),
    BenchData(loading::Options),
    Golden(tasks::Golden),
    Emoji(emoji::Options),
    Figures(figures::Options),
    Tricks(tricks::Options),
    Experiments(experiments::Options),
    Plant(plant::Options),
    Pictures(pictures::Pictures),
    Stack(pictures::Stack),
    Ci(tasks::Ci),
}

/// Hands `DCGAN_SIMD` and `DCGAN_CONV` to the kernels, as the `dcgan` command does.
fn configure_kernels() -> Result<(), String> {
    if let Ok(name) = std::env::var("DCGAN_SIMD") {
        name.parse().and_then(tensor::set_isa).map_err(|e| format!("DCGAN_SIMD: {e}"))?;
    }
    if let Ok(name) = std::env::var("DCGAN_CONV") {
        name.parse()
            .and_then(tensor::set_conv_algorithm)
            .map_err(|e| format!("DCGAN_CONV: {e}"))?;
    }
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    configure_kernels()?;
    match Task::parse() {
        Task::BenchKernels(options) => kernels::run(&options),
        Task::BenchStep(options) => step::run(&options),
        Task::BenchSample(options) => sample::run(&options),
        Task::BenchData(options) => loading::run(&options),
        Task::Golden(options) => tasks::golden(&options),
        Task::Emoji(options) => emoji::run(&options),
        Task::Figures(options) => figures::run(&options),
        Task::Tricks(options) => tricks::run(&options),
        Task::Experiments(options) => experiments::run(&options),
        Task::Plant(options) => plant::run(&options),
        Task::Pictures(options) => pictures::run(&options),
        Task::Stack(options) => pictures::stack(&options),
        Task::Ci(_) => tasks::ci(),
    }
}

fn main() -> std::process::ExitCode {
    match run() {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
