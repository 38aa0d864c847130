//! Developer tasks: benchmarks, golden files, continuous integration.

#![forbid(unsafe_code)]

mod kernels;
mod peer;
mod sample;
mod step;
mod tasks;

use clap::Parser;

#[derive(Parser)]
#[command(name = "cargo xtask", about = "Developer tasks: benchmarks, golden files, continuous integration")]
enum Task {
    BenchKernels(kernels::Options),
    BenchStep(step::Options),
    BenchSample(sample::Options),
    Golden(tasks::Golden),
    Ci(tasks::Ci),
}

fn main() -> std::process::ExitCode {
    let result = match Task::parse() {
        Task::BenchKernels(options) => kernels::run(&options),
        Task::BenchStep(options) => step::run(&options),
        Task::BenchSample(options) => sample::run(&options),
        Task::Golden(options) => tasks::golden(&options),
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
