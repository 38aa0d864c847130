//! The tables of `bench-scaling`.

use super::model::{Algorithm, Link};
use super::{AllReduces, Network, Options, Prediction, Report, Scaling};
use crate::mpirun::Transport;
use comfy_table::{CellAlignment, Table, presets::NOTHING};

/// A table of right-aligned columns.
fn table(title: &str, columns: &[&str], rows: impl Iterator<Item = Vec<String>>) {
    let mut table = Table::new();
    table.load_preset(NOTHING).set_header(columns);
    rows.for_each(|row| {
        table.add_row(row);
    });
    table.column_iter_mut().for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    println!("\n{title}\n{table}");
}

fn milliseconds(seconds: f64) -> String {
    format!("{:.3}", 1e3 * seconds)
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn size(bytes: usize) -> String {
    if bytes < 1 << 20 { format!("{} KiB", bytes >> 10) } else { format!("{} MiB", bytes >> 20) }
}

/// α and 1/β of a link.
fn link(link: Link) -> String {
    format!("α = {:.1} µs, 1/β = {:.2} GB/s", 1e6 * link.alpha, 1e-9 / link.beta)
}

/// Prints everything.
pub fn print(options: &Options, report: &Report) {
    let Options { batch, rank_batch, threads, model_batch, node_speed, shape, .. } = options;
    println!(
        "recipe {}, {side}x{side}, {threads} threads per rank on {}",
        shape.recipe,
        tensor::isa(),
        side = shape.image
    );
    scaling(
        &format!("MEASURED, strong scaling: global batch {batch}; one process with all threads"),
        &report.strong,
    );
    scaling(
        &format!(
            "MEASURED, weak scaling: {rank_batch} images per rank; one process with one share"
        ),
        &report.weak,
    );
    scaling("MEASURED, strong scaling over TCP", &report.tcp);
    let computing = report.computing.iter().map(|(images, seconds)| {
        let modelled = report.model.computing.seconds(*images as f64);
        let ratio = format!("{:.2}", modelled / seconds);
        vec![images.to_string(), milliseconds(*seconds), milliseconds(modelled), ratio]
    });
    table(
        "MEASURED, one process with a rank's threads, and the line of the model",
        &["images", "ms", "modelled ms", "ratio"],
        computing,
    );
    traffic(report);
    all_reduces(report);
    steps(options, report);
    println!(
        "\nMODELLED. A node computes {node_speed} times as fast as a rank here. Latencies are \
         assumptions;\nno network is faster than shared memory here. The last two columns are the \
         efficiency with\nsums in a free order, by a ring and by recursive halving and doubling."
    );
    for network in &report.networks {
        let Network { name, weak, strong, .. } = network;
        predictions(&format!("MODELLED, weak scaling, {rank_batch} images per node, {name}"), weak);
        predictions(
            &format!("MODELLED, strong scaling, global batch {model_batch}, {name}"),
            strong,
        );
    }
}

/// Whether threads share cores, in words.
fn note(load: f64) -> String {
    if load > 1.0 { format!("{load:.1} threads per core") } else { String::new() }
}

fn scaling(title: &str, measured: &[Scaling]) {
    let columns =
        ["ranks", "batch", "ms", "images/s", "one process: ms", "ratio", "waiting", "note"];
    let row = |scaling: &Scaling| {
        let seconds = scaling.seconds();
        let single = crate::bench::median(scaling.times.single.clone());
        vec![
            scaling.ranks.to_string(),
            scaling.batch.to_string(),
            milliseconds(seconds),
            format!("{:.1}", scaling.batch as f64 / seconds),
            format!(
                "{} ({} threads, batch {})",
                milliseconds(single),
                scaling.single_threads,
                scaling.single_batch
            ),
            format!("{:.3}", scaling.ratio()),
            percent(scaling.times.waiting),
            note(scaling.load),
        ]
    };
    table(title, &columns, measured.iter().map(row));
}

/// What a step sends.
fn traffic(report: &Report) {
    let traffic = &report.model.traffic;
    let bytes = |messages: &[usize]| messages.iter().sum::<usize>();
    println!(
        "\nMEASURED, a rank's messages per step: {} sums of gradients ({} bytes), {} sums that it \
         waits for ({} bytes);\ngradients are under way during {} of its computing",
        traffic.gradients.len(),
        bytes(&traffic.gradients),
        traffic.sums.len(),
        bytes(&traffic.sums),
        percent(report.model.overlap)
    );
}

/// Times of all-reduces, those over TCP compared with the model.
fn all_reduces(report: &Report) {
    println!(
        "\nFitted at {} ranks: shared memory {}; TCP {}",
        super::ALL_REDUCE_RANKS[0],
        link(report.shared_memory),
        link(report.loopback)
    );
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let rows = |all: &AllReduces| {
        let (ranks, transport) = (all.ranks, all.transport);
        let fitted =
            if transport == Transport::Tcp.name() { report.loopback } else { report.shared_memory };
        let load = ranks as f64 / cores as f64;
        let row = move |time: &super::AllReduceTime| {
            let path = Algorithm::RankOrder.all_reduce(time.bytes as f64, ranks);
            let modelled = load.max(1.0) * fitted.seconds(path);
            vec![
                transport.to_owned(),
                ranks.to_string(),
                size(time.bytes),
                milliseconds(time.best),
                milliseconds(time.median),
                milliseconds(modelled),
                format!("{:.2}", modelled / time.median),
                note(load),
            ]
        };
        all.times.iter().map(row).collect::<Vec<_>>()
    };
    table(
        "MEASURED, all-reduce, and the model of it",
        &["transport", "ranks", "size", "best ms", "median ms", "modelled ms", "ratio", "note"],
        report.all_reduces.iter().flat_map(rows),
    );
}

/// The model of a step over TCP compared with the measured ones.
fn steps(options: &Options, report: &Report) {
    let row = |scaling: &Scaling| {
        let images = options.batch as f64 / scaling.ranks as f64;
        let (ranks, slower) = (scaling.ranks, scaling.load.max(1.0));
        let step = report.model.step(images, ranks, report.loopback, Algorithm::RankOrder, slower);
        vec![
            ranks.to_string(),
            milliseconds(scaling.seconds()),
            milliseconds(step.total),
            format!("{:.2}", step.total / scaling.seconds()),
            percent(scaling.times.waiting),
            percent(1.0 - step.computing / step.total),
            note(scaling.load),
        ]
    };
    table(
        "CHECK of the model: a step over TCP",
        &["ranks", "measured ms", "modelled ms", "ratio", "waiting", "modelled", "note"],
        report.tcp.iter().map(row),
    );
}

fn predictions(title: &str, predictions: &[Prediction]) {
    let columns = [
        "nodes",
        "images",
        "computing ms",
        "gradients ms",
        "sums ms",
        "step ms",
        "images/s",
        "efficiency",
        "ring",
        "halving",
    ];
    let row = |p: &Prediction| {
        vec![
            p.nodes.to_string(),
            p.images.to_string(),
            milliseconds(p.step.computing),
            milliseconds(p.step.gradients),
            milliseconds(p.step.sums),
            milliseconds(p.step.total),
            format!("{:.0}", p.images as f64 / p.step.total),
            percent(p.efficiency),
            percent(p.ring),
            percent(p.halving),
        ]
    };
    table(title, &columns, predictions.iter().map(row));
}
