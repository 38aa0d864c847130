//! Developer tasks: benchmarks, fault injection, golden files, figures, continuous integration.

#![forbid(unsafe_code)]

mod ablations;
mod bench;
mod bench_data;
mod bench_inception;
mod bench_kernels;
mod bench_sample;
mod bench_scaling;
mod bench_step;
#[cfg(target_os = "linux")]
mod chaos;
mod check_exports;
mod experiments;
mod figures;
mod images;
mod inject_duplicates;
#[cfg(target_os = "linux")]
mod memory;
mod mpirun;
mod pytorch_baseline;
mod tasks;

use clap::Parser;
use std::path::PathBuf;

#[derive(Parser)]
#[command(
    name = "cargo xtask",
    about = "Developer tasks: benchmarks, faults, golden files, figures, continuous integration"
)]
enum Task {
    BenchKernels(bench_kernels::Options),
    BenchStep(bench_step::Options),
    BenchSample(bench_sample::Options),
    BenchData(bench_data::Options),
    BenchInception(bench_inception::Options),
    BenchScaling(bench_scaling::Options),
    #[cfg(feature = "mpi")]
    #[command(hide = true)]
    BenchScalingWorker(bench_scaling::WorkerOptions),
    Golden(tasks::Golden),
    CheckExports(check_exports::Options),
    Figures(figures::Options),
    Ablations(ablations::Options),
    Experiments(experiments::Options),
    #[cfg(target_os = "linux")]
    Chaos(chaos::Options),
    InjectDuplicates(inject_duplicates::Options),
    #[cfg(target_os = "linux")]
    Memory(memory::Options),
    Images(images::Options),
    Stack(images::Stack),
    Ci(tasks::Ci),
}

/// Hands `DCGAN_SIMD`, `DCGAN_CONV` and `DCGAN_DATASETS` to the libraries, as the `dcgan` command
/// does.
fn configure() -> Result<(), String> {
    if let Ok(name) = std::env::var("DCGAN_SIMD") {
        name.parse().and_then(tensor::set_isa).map_err(|e| format!("DCGAN_SIMD: {e}"))?;
    }
    if let Ok(name) = std::env::var("DCGAN_CONV") {
        name.parse()
            .and_then(tensor::set_conv_algorithm)
            .map_err(|e| format!("DCGAN_CONV: {e}"))?;
    }
    let folder = std::env::var_os("DCGAN_DATASETS").filter(|folder| !folder.is_empty());
    data::set_datasets_folder(folder.map(PathBuf::from));
    Ok(())
}

fn run() -> Result<(), Box<dyn std::error::Error>> {
    configure()?;
    match Task::parse() {
        Task::BenchKernels(options) => bench_kernels::run(&options),
        Task::BenchStep(options) => bench_step::run(&options),
        Task::BenchSample(options) => bench_sample::run(&options),
        Task::BenchData(options) => bench_data::run(&options),
        Task::BenchInception(options) => bench_inception::run(&options),
        Task::BenchScaling(options) => bench_scaling::run(&options),
        #[cfg(feature = "mpi")]
        Task::BenchScalingWorker(options) => bench_scaling::run_worker(&options),
        Task::Golden(options) => tasks::golden(&options),
        Task::CheckExports(options) => check_exports::run(&options),
        Task::Figures(options) => figures::run(&options),
        Task::Ablations(options) => ablations::run(&options),
        Task::Experiments(options) => experiments::run(&options),
        #[cfg(target_os = "linux")]
        Task::Chaos(options) => chaos::run(&options),
        Task::InjectDuplicates(options) => inject_duplicates::run(&options),
        #[cfg(target_os = "linux")]
        Task::Memory(options) => memory::run(&options),
        Task::Images(options) => images::run(&options),
        Task::Stack(options) => images::stack(&options),
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
