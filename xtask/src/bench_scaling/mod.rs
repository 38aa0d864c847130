//! `bench-scaling`: data-parallel training by several ranks of this machine, and a model of many
//! nodes.
//!
//! Each measurement is a call of `mpirun` with this program as its ranks (`worker`). Steps of the
//! group alternate with steps of rank 0 alone, so that a busy machine slows both.

mod chart;
mod model;
mod step;
mod tables;
#[cfg(feature = "mpi")]
mod worker;

#[cfg(feature = "mpi")]
pub use worker::run as run_worker;

use crate::bench::{BoxError, median};
use crate::mpirun::{Launcher, Transport};
use clap::Args;
use model::{Algorithm, Computing, Link, StepModel, StepTime, Traffic};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::error::Error;
use std::path::PathBuf;
use std::process::Stdio;
use step::Work;
use tensor::distributed::ProcessGroup;

/// The hidden command of a rank.
const WORKER: &str = "bench-scaling-worker";
/// Ranks whose all-reduce is timed; the link of the model is fitted to the first.
const ALL_REDUCE_RANKS: [usize; 3] = [2, 3, 4];
/// Nodes of the modelled tables.
const NODES: [usize; 8] = [8, 16, 32, 64, 128, 256, 512, 1024];
/// The modelled networks: name, Gbit/s, and the assumed latency of a message in seconds.
const NETWORKS: [(&str, f64, f64); 3] = [
    ("1 Gbit/s, 50 µs", 1.0, 50e-6),
    ("10 Gbit/s, 20 µs", 10.0, 20e-6),
    ("100 Gbit/s, 5 µs", 100.0, 5e-6),
];

/// The networks that are trained.
#[derive(Args, Clone)]
pub struct Shape {
    /// Recipe.
    #[arg(long, default_value = "torch")]
    recipe: String,
    /// Side of the square images: three channels from 48 up, one below.
    #[arg(long, default_value_t = 64)]
    image: usize,
}

/// Time data-parallel training by several ranks of this machine, and model many nodes. Needs the
/// feature `mpi`: cargo run --release -p xtask --features mpi -- bench-scaling.
#[derive(Args)]
pub struct Options {
    #[command(flatten)]
    shape: Shape,
    /// Numbers of ranks.
    #[arg(long, value_delimiter = ',', default_value = "1,2,4")]
    ranks: Vec<usize>,
    /// Threads of a rank.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Global batch of strong scaling.
    #[arg(long, default_value_t = 128)]
    batch: usize,
    /// Images per rank of weak scaling, and per node in its model.
    #[arg(long, default_value_t = 32)]
    rank_batch: usize,
    /// Timed steps of each measurement, after two warm-up steps.
    #[arg(long, default_value_t = 10)]
    steps: usize,
    /// The largest timed message in MiB.
    #[arg(long, default_value_t = 64)]
    largest: usize,
    /// Global batch of modelled strong scaling.
    #[arg(long, default_value_t = 1024)]
    model_batch: usize,
    /// How many times as fast as a rank here a modelled node computes.
    #[arg(long, default_value_t = 1.0)]
    node_speed: f64,
    /// Draw measured and modelled efficiency as PNG.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Also write all numbers as JSON.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// OpenMPI's or MPICH's launcher, of the library that this program was built for.
    #[arg(long, value_name = "PROGRAM", default_value = "mpirun")]
    mpirun: PathBuf,
}

/// Flags of a rank.
#[derive(Args)]
#[cfg_attr(not(feature = "mpi"), allow(dead_code, reason = "parsed by ranks alone"))]
pub struct WorkerOptions {
    #[command(flatten)]
    shape: Shape,
    /// The size of the group.
    #[arg(long)]
    ranks: usize,
    /// Time all-reduces up to this many bytes instead of steps.
    #[arg(long)]
    all_reduce: bool,
    #[arg(long, default_value_t = 0)]
    largest: usize,
    #[arg(long, default_value_t = 1)]
    batch: usize,
    #[arg(long, default_value_t = 1)]
    threads: usize,
    #[arg(long, default_value_t = 1)]
    single_batch: usize,
    #[arg(long, default_value_t = 1)]
    single_threads: usize,
    #[arg(long)]
    steps: usize,
}

/// What rank 0 measures in steps.
#[derive(Default, Serialize, Deserialize)]
struct StepTimes {
    /// Seconds of the group's steps, and of the alternating ones of one process.
    group: Vec<f64>,
    single: Vec<f64>,
    /// The share of a step spent in collective operations (median).
    waiting: f64,
    /// The share of the rest during which gradients were under way (median).
    overlap: f64,
    traffic: Traffic,
}

/// Seconds of all-reduces of `bytes` bytes.
#[derive(Serialize, Deserialize)]
struct AllReduceTime {
    bytes: usize,
    best: f64,
    median: f64,
}

/// Steps of a group compared with those of one process.
#[derive(Serialize)]
struct Scaling {
    ranks: usize,
    batch: usize,
    single_batch: usize,
    single_threads: usize,
    /// The ranks' threads per core; above 1 they share cores.
    load: f64,
    times: StepTimes,
}

impl Scaling {
    fn seconds(&self) -> f64 {
        median(self.times.group.clone())
    }

    /// Median seconds of one process to those of the group in the step before.
    fn ratio(&self) -> f64 {
        let pairs = self.times.single.iter().zip(&self.times.group);
        median(pairs.map(|(single, group)| single / group).collect())
    }
}

/// All-reduces of some ranks over one transport.
#[derive(Serialize)]
struct AllReduces {
    ranks: usize,
    transport: &'static str,
    times: Vec<AllReduceTime>,
}

/// Everything measured, and the model.
#[derive(Serialize)]
struct Report {
    strong: Vec<Scaling>,
    weak: Vec<Scaling>,
    /// Strong scaling over TCP.
    tcp: Vec<Scaling>,
    all_reduces: Vec<AllReduces>,
    /// Images and seconds of one process with a rank's threads.
    computing: Vec<(usize, f64)>,
    model: StepModel,
    shared_memory: Link,
    loopback: Link,
    networks: Vec<Network>,
}

/// A modelled network.
#[derive(Serialize)]
struct Network {
    name: &'static str,
    link: Link,
    weak: Vec<Prediction>,
    strong: Vec<Prediction>,
}

/// A modelled step.
#[derive(Serialize)]
struct Prediction {
    nodes: usize,
    images: usize,
    step: StepTime,
    /// The time that nodes which need not communicate would take, to that of the step: with our
    /// sums, and with sums in a free order by a ring and by recursive halving and doubling.
    efficiency: f64,
    ring: f64,
    halving: f64,
}

/// Runs the benchmark.
///
/// # Errors
/// Returns an error without the feature `mpi`, or if a measurement fails.
pub fn run(options: &Options) -> Result<(), Box<dyn Error>> {
    if !cfg!(feature = "mpi") {
        return Err(
            "this xtask was built without MPI: cargo run --release -p xtask --features mpi \
                    -- bench-scaling"
                .into(),
        );
    }
    let report = Benchmark::new(options)?.report().map_err(|error| -> Box<dyn Error> { error })?;
    tables::print(options, &report);
    if let Some(path) = &options.out {
        let chart = chart::draw(&report)?;
        chart.save(path).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    if let Some(path) = &options.json {
        std::fs::write(path, serde_json::to_string_pretty(&report)? + "\n")
            .map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    Ok(())
}

struct Benchmark<'a> {
    options: &'a Options,
    launcher: Launcher,
    cores: usize,
}

impl<'a> Benchmark<'a> {
    fn new(options: &'a Options) -> Result<Self, Box<dyn Error>> {
        let Options { ranks, threads, rank_batch, steps, largest, .. } = options;
        if ranks.contains(&0) || [threads, rank_batch, steps, largest].contains(&&0) {
            let flags = "--ranks, --threads, --rank-batch, --steps and --largest";
            return Err(format!("{flags} must be 1 or more").into());
        }
        if options.node_speed.is_nan() || options.node_speed <= 0.0 {
            return Err(format!("--node-speed {} is not above 0", options.node_speed).into());
        }
        let least = 2 * ranks.iter().chain(&ALL_REDUCE_RANKS).copied().max().unwrap_or(1);
        if options.batch < least {
            let batch = options.batch;
            return Err(format!("--batch {batch} is too small: it must be {least} or more").into());
        }
        let cores = std::thread::available_parallelism()?.get();
        Ok(Self { options, launcher: Launcher::find(&options.mpirun)?, cores })
    }

    fn report(&self) -> Result<Report, BoxError> {
        let Options { ranks, threads, batch, rank_batch, .. } = self.options;
        let strong = |counts: &[usize], transport| -> Result<Vec<_>, BoxError> {
            let of = |&ranks| self.scaling(ranks, *batch, (*batch, ranks * threads), transport);
            counts.iter().map(of).collect()
        };
        let weak = |&ranks: &usize| {
            let single = (*rank_batch, *threads);
            self.scaling(ranks, rank_batch * ranks, single, Transport::SharedMemory)
        };
        let computing = self.computing()?;
        let weak = ranks.iter().map(weak).collect::<Result<_, _>>()?;
        let tcp = strong(&ALL_REDUCE_RANKS, Transport::Tcp)?;
        let strong = strong(ranks, Transport::SharedMemory)?;
        let mut all_reduces = Vec::new();
        for transport in [Transport::SharedMemory, Transport::Tcp] {
            for ranks in ALL_REDUCE_RANKS {
                let largest = (self.options.largest << 20).to_string();
                let times =
                    self.start(ranks, transport, &["--all-reduce", "--largest", &largest])?;
                all_reduces.push(AllReduces { ranks, transport: transport.name(), times });
            }
        }
        let fitted = |transport: Transport| {
            let first =
                |a: &&AllReduces| a.ranks == ALL_REDUCE_RANKS[0] && a.transport == transport.name();
            let times = all_reduces.iter().filter(first).flat_map(|a| &a.times);
            let path = |time: &AllReduceTime| {
                let path = Algorithm::RankOrder.all_reduce(time.bytes as f64, ALL_REDUCE_RANKS[0]);
                (path, time.median)
            };
            Link::fit(&times.map(path).collect::<Vec<_>>())
                .ok_or("all-reduces of one size do not show a latency: raise --largest")
        };
        let (shared_memory, loopback) = (fitted(Transport::SharedMemory)?, fitted(Transport::Tcp)?);
        let measured = &tcp[0].times;
        let model = StepModel {
            computing: Computing::fit(&computing).ok_or("--batch is too small for a line")?,
            traffic: measured.traffic.clone(),
            overlap: measured.overlap,
        };
        let networks = self.networks(&model, shared_memory);
        Ok(Report {
            strong,
            weak,
            tcp,
            all_reduces,
            computing,
            model,
            shared_memory,
            loopback,
            networks,
        })
    }

    /// Median seconds of one process with a rank's threads, by images.
    fn computing(&self) -> Result<Vec<(usize, f64)>, BoxError> {
        let Options { shape, batch, threads, steps, .. } = self.options;
        let mut measured = Vec::new();
        for images in [(batch / 16).max(2), (batch / 4).max(3), *batch] {
            let mut work = Work::new(shape, images, *threads, &ProcessGroup::default())?;
            let seconds = (0..steps + 2).map(|_| work.step()).collect::<Result<Vec<_>, _>>()?;
            measured.push((images, median(seconds[2..].to_vec())));
        }
        Ok(measured)
    }

    /// Times steps of a group in alternation with those of one process with another batch and
    /// other threads.
    fn scaling(
        &self,
        ranks: usize,
        batch: usize,
        (single_batch, single_threads): (usize, usize),
        transport: Transport,
    ) -> Result<Scaling, BoxError> {
        let threads = self.options.threads;
        let flags = [
            ("--batch", batch),
            ("--threads", threads),
            ("--single-batch", single_batch),
            ("--single-threads", single_threads),
        ];
        let flags = flags.map(|(flag, value)| [flag.to_owned(), value.to_string()]).concat();
        let times = self.start(ranks, transport, &flags)?;
        let load = (ranks * threads) as f64 / self.cores as f64;
        Ok(Scaling { ranks, batch, single_batch, single_threads, load, times })
    }

    /// Starts this program as `ranks` ranks, and reads what rank 0 prints.
    fn start<T: DeserializeOwned>(
        &self,
        ranks: usize,
        transport: Transport,
        flags: &[impl AsRef<str>],
    ) -> Result<T, BoxError> {
        let Options { shape, steps, .. } = self.options;
        let flags: Vec<&str> = flags.iter().map(AsRef::as_ref).collect();
        eprintln!("{ranks} ranks over {}: {}", transport.name(), flags.join(" "));
        let mut command = self.launcher.command(ranks, transport);
        command.arg(std::env::current_exe()?).arg(WORKER);
        command.args(["--recipe", &shape.recipe, "--image", &shape.image.to_string()]);
        command.args(["--ranks", &ranks.to_string(), "--steps", &steps.to_string()]);
        command.args(flags);
        let output = command.stderr(Stdio::inherit()).output()?;
        if !output.status.success() {
            return Err(
                format!("{ranks} ranks over {}: {}", transport.name(), output.status).into()
            );
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let last = text.lines().last().unwrap_or_default();
        Ok(serde_json::from_str(last).map_err(|error| format!("{error} in {last:?}"))?)
    }

    /// The modelled steps. No network is modelled as faster than the memory that messages are
    /// copied from and to.
    fn networks(&self, model: &StepModel, shared_memory: Link) -> Vec<Network> {
        let Options { rank_batch, model_batch, node_speed, .. } = self.options;
        let Computing { per_step, per_image } = model.computing;
        let computing =
            Computing { per_step: per_step / node_speed, per_image: per_image / node_speed };
        let model = StepModel { computing, ..model.clone() };
        let network = |(name, gigabits, alpha): (&'static str, f64, f64)| {
            let link = Link { alpha, beta: (8e-9 / gigabits).max(shared_memory.beta) };
            let predictions = |images: &dyn Fn(usize) -> usize, alone: &dyn Fn(usize) -> f64| {
                let at = |&nodes: &usize| {
                    let images = images(nodes);
                    let share = images as f64 / nodes as f64;
                    let step = |algorithm| model.step(share, nodes, link, algorithm, 1.0);
                    let efficiency = |algorithm| alone(nodes) / step(algorithm).total;
                    Prediction {
                        nodes,
                        images,
                        step: step(Algorithm::RankOrder),
                        efficiency: efficiency(Algorithm::RankOrder),
                        ring: efficiency(Algorithm::Ring),
                        halving: efficiency(Algorithm::HalvingDoubling),
                    }
                };
                let possible = |nodes: &&usize| images(**nodes) >= **nodes;
                NODES.iter().filter(possible).map(at).collect()
            };
            let weak = predictions(&|nodes| rank_batch * nodes, &|_| {
                computing.seconds(*rank_batch as f64)
            });
            let strong = predictions(&|_| *model_batch, &|nodes| {
                computing.seconds(*model_batch as f64) / nodes as f64
            });
            Network { name, link, weak, strong }
        };
        NETWORKS.map(network).into()
    }
}
