//! Developer tasks: benchmarks, golden files, figures, data sets, continuous integration.

#![forbid(unsafe_code)]

mod emoji;
mod figures;
mod kernels;
mod loading;
mod peer;
mod plant;
mod sample;
mod step;
mod tasks;
mod tricks;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer tasks: benchmarks, golden files, figures, data sets, continuous integration")]
enum Task {
    BenchKernels(kernels::Options),
    BenchStep(step::Options),
    BenchSample(sample::Options),
    BenchData(loading::Options),
    Golden(tasks::Golden),
    Emoji(emoji::Options),
    Figures(figures::Options),
    Tricks(tricks::Options),
    Plant(plant::Options),
    Ci(tasks::Ci),
}

fn main() -> std::process::ExitCode {
    let result = match Task::parse() {
        Task::BenchKernels(options) => kernels::run(&options),
        Task::BenchStep(options) => step::run(&options),
        Task::BenchSample(options) => sample::run(&options),
        Task::BenchData(options) => loading::run(&options),
        Task::Golden(options) => tasks::golden(&options),
        Task::Emoji(options) => emoji::run(&options),
        Task::Figures(options) => figures::run(&options),
        Task::Tricks(options) => tricks::run(&options),
        Task::Plant(options) => plant::run(&options),
        Task::Ci(_) => tasks::ci(),
    };
    match result {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            std::process::ExitCode::FAILURE
        }
    }
}
