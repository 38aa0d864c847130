//! Flipped bits in the files that the program wrote. Damaged values are never read as others: the
//! file is refused, or the run falls back to an older checkpoint.

use super::case::Case;
use super::jobs::{OUT, contents};
use super::mutations::IMPORT;
use super::{BoxError, copy, files};
use std::fs;
use std::path::Path;

pub fn run(case: &mut Case) -> Result<(), BoxError> {
    match case.rng.u8(..6) {
        0..3 => checkpoint(case),
        3 => generator(case),
        4 => packed(case),
        _ => text(case),
    }
}

/// Checkpoints: the newest is refused and the run falls back, or all are.
fn checkpoint(case: &mut Case) -> Result<(), BoxError> {
    let train = &case.setup.jobs[0];
    copy(&case.setup.whole("train"), &case.work)?;
    let mut checkpoints = files(&case.work.join(OUT).join("checkpoints"))?;
    let Some((name, newest)) = checkpoints.pop() else { return Err("no checkpoint".into()) };
    flip(case, &newest)?;
    let newest = newest.display().to_string();
    let exported = case.dir.join("exported").display().to_string();
    let ended = call(case, &["export", "--checkpoint", &newest, "--out", &exported])?;
    if ended.code(&[0, 1])? == 0 {
        // The flipped bit means nothing: the values are the same.
        let whole = contents(&case.setup.whole("export").join(OUT))?;
        let same = contents(Path::new(&exported))? == whole;
        return if same { Ok(()) } else { Err("other values were exported".into()) };
    }
    let all = case.rng.u8(..4) == 0;
    if all {
        checkpoints.iter().try_for_each(|(_, path)| flip(case, path))?;
    }
    let args = train.args(&case.work);
    let ended = case.run("", &args)?;
    let code = ended.code(if all { &[0, 1] } else { &[0] })?;
    if code == 1 {
        return Ok(());
    }
    if !ended.err.contains(&name) {
        return Err(format!("{name} is not named as damaged").into());
    }
    train.compare(&contents(&case.work)?)
}

/// A generator exported for sampling has a checksum, a PyTorch state dict has none.
fn generator(case: &mut Case) -> Result<(), BoxError> {
    let run = case.setup.whole("train").join(OUT).display().to_string();
    let file = case.work.join("generator.safetensors");
    let path = file.display().to_string();
    call(case, &["export", "--checkpoint", &run, "--generator", &path])?.code(&[0])?;
    let draw = |case: &mut Case, out| {
        call(
            case,
            &["sample", "--device", "cpu", "--count", "2", "--checkpoint", &path, "--out", out],
        )
    };
    draw(case, "whole.safetensors")?.code(&[0])?;
    flip(case, &file)?;
    if draw(case, "damaged.safetensors")?.code(&[0, 1, 2])? == 0 {
        let images = |name| fs::read(case.work.join(name));
        if images("whole.safetensors")? != images("damaged.safetensors")? {
            return Err("other images were generated".into());
        }
    }
    copy(&case.setup.whole("export").join(OUT).join("generator.safetensors"), &file)?;
    flip(case, &file)?;
    call(case, &IMPORT.split(' ').chain([&*path]).collect::<Vec<_>>())?.code(&[0, 1, 2])?;
    Ok(())
}

/// Packed files: a damaged image is left out and named.
fn packed(case: &mut Case) -> Result<(), BoxError> {
    let [whole, packed] = [case.setup.whole("prepare").join(OUT), case.work.join("packed")];
    copy(&whole, &packed)?;
    flip(case, &packed)?;
    let ended = call(case, &["data", "prepare", "packed", "--image", "8", "--out", OUT])?;
    if ended.code(&[0, 1])? == 0
        && !ended.err.lines().any(|line| line.starts_with("warning: cannot decode "))
        && fs::read(whole)? != fs::read(case.work.join(OUT))?
    {
        return Err("other contents were packed".into());
    }
    Ok(())
}

/// Files without a checksum: whatever they say now, the run continues to the same checkpoints or
/// names the file.
fn text(case: &mut Case) -> Result<(), BoxError> {
    let train = &case.setup.jobs[0];
    train.put_older(case)?;
    let name = ["config.toml", "metrics.jsonl"][case.rng.usize(..2)];
    flip(case, &case.work.join(OUT).join(name))?;
    call(case, &["runs", "--runs-dir", "."])?.code(&[0, 1])?;
    call(case, &["info", OUT])?.code(&[0, 1])?;
    let args = train.args(&case.work);
    if case.run("", &args)?.code(&[0, 1, 2])? == 0 {
        let checkpoints = Path::new(OUT).join("checkpoints");
        let [whole, found] = [&case.setup.whole("train"), &case.work];
        if contents(&whole.join(&checkpoints))? != contents(&found.join(&checkpoints))? {
            return Err("the run continued to other checkpoints".into());
        }
    }
    Ok(())
}

fn call(case: &mut Case, args: &[&str]) -> Result<super::case::ProcessExit, BoxError> {
    case.run("", &args.iter().map(|&arg| arg.to_owned()).collect::<Vec<_>>())
}

/// Flips up to eight bits of a file: at its start, in its head, at its end or anywhere.
fn flip(case: &mut Case, path: &Path) -> Result<(), BoxError> {
    let mut bytes = fs::read(path)?;
    let length = bytes.len();
    let range = match case.rng.u8(..4) {
        0 => 0..length.min(64),
        1 => 0..length.min(4096),
        2 => length.saturating_sub(64)..length,
        _ => 0..length,
    };
    for _ in 0..if case.rng.bool() { 1 } else { case.rng.u8(1..9) } {
        let (at, bit) = (case.rng.usize(range.clone()), case.rng.u8(..8));
        bytes[at] ^= 1 << bit;
        case.note(&format!("bit {bit} of byte {at} of {}", path.display()));
    }
    Ok(fs::write(path, bytes)?)
}
