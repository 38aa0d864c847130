//! The work that faults disturb: commands that write files, and what they write undisturbed.

use super::case::{Case, Setup};
use super::{BoxError, copy, files};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};

/// The name of a job's output in its folder.
pub const OUT: &str = "out";
/// The folder of the images that are trained on, in that of the campaign.
const PHOTOS: &str = "photos";
const TRAIN: &str = "--recipe torch --image 8 --width 4 --batch 8 --device cpu --threads 1 \
                     --log-every 1 --sample-every 4 --checkpoint-every 2 --keep 3 --ema 0.9 \
                     --steps 12";
/// The first of the three checkpoints that such a run leaves.
const FIRST_CHECKPOINT: &str = "step-00000008.safetensors";

/// What several ranks train: longer, so that they are not only disturbed while they start.
#[cfg(feature = "mpi")]
const TRAIN_BY_RANKS: &str = "--recipe torch --image 8 --width 4 --batch 8 --device cpu \
                              --threads 1 --log-every 1 --sample-every 20 --checkpoint-every 5 \
                              --keep 3 --ema 0.9";
/// The steps of the training by several ranks.
#[cfg(feature = "mpi")]
pub const STEPS: u64 = 60;

/// Files by name. Those that hold times do so with the times left out.
pub type Contents = BTreeMap<String, Vec<u8>>;

/// A command that writes `out`.
pub struct Job {
    pub name: &'static str,
    args: Vec<String>,
    /// The contents that the command writes.
    pub whole: Contents,
    /// The command's duration, and the number of its system calls that change files.
    pub time: Duration,
    pub calls: u64,
}

impl Job {
    /// Training by several ranks, whose undisturbed output is not known yet.
    #[cfg(feature = "mpi")]
    pub fn by_ranks(setup: &Setup) -> Self {
        let photos = setup.dir.join(PHOTOS).display().to_string();
        let line = format!("{TRAIN_BY_RANKS} --steps {STEPS} --out {OUT}");
        let args = ["train", "--data", &photos].into_iter().map(str::to_owned);
        let args = args.chain(shlex::split(&line).unwrap_or_default()).collect();
        Self { name: "train", args, whole: Contents::new(), time: Duration::ZERO, calls: 0 }
    }

    pub fn trains(&self) -> bool {
        self.name == "train"
    }

    /// The arguments; where `folder` has a checkpoint, those that resume.
    pub fn args(&self, folder: &Path) -> Vec<String> {
        let resume = self.trains() && has_checkpoint(folder);
        self.args.iter().cloned().chain(resume.then(|| "--resume".to_owned())).collect()
    }

    /// Puts an older output into a case's folder: for `train`, the run at an earlier checkpoint.
    pub fn put_older(&self, case: &Case) -> Result<(), BoxError> {
        if !self.trains() {
            return copy(&case.setup.dir.join("older").join(self.name).join("work"), &case.work);
        }
        copy(&case.setup.whole(self.name), &case.work)?;
        let checkpoints = case.work.join(OUT).join("checkpoints");
        for (name, path) in files(&checkpoints)? {
            if name != FIRST_CHECKPOINT {
                fs::remove_file(path)?;
            }
        }
        Ok(())
    }

    /// Does the work to its end; the output is then that of an undisturbed job, without a file
    /// more.
    pub fn finish(&self, case: &mut Case) -> Result<(), BoxError> {
        let args = self.args(&case.work);
        case.run("", &args)?.code(&[0])?;
        self.compare(&contents(&case.work)?)
    }

    /// Returns an error if the files are not those of an undisturbed job.
    pub fn compare(&self, found: &Contents) -> Result<(), BoxError> {
        let names = self.whole.keys().chain(found.keys());
        match names.into_iter().find(|&name| self.whole.get(name) != found.get(name)) {
            None => Ok(()),
            Some(name) => Err(format!(
                "{name} is not as after an undisturbed {}: {:?} bytes, not {:?}",
                self.name,
                found.get(name).map(Vec::len),
                self.whole.get(name).map(Vec::len)
            )
            .into()),
        }
    }
}

/// Whether the run in `folder` has a checkpoint.
pub fn has_checkpoint(folder: &Path) -> bool {
    let checkpoints = folder.join(OUT).join("checkpoints");
    runs::checkpoint_retention::list(&checkpoints).is_ok_and(|found| !found.is_empty())
}

/// The files in a folder, for comparison: TensorBoard's are left out, because their names and
/// contents are times.
pub fn contents(folder: &Path) -> Result<Contents, BoxError> {
    let mut found = Contents::new();
    for (name, path) in files(folder)? {
        let bytes = fs::read(&path)?;
        let file = path.file_name().unwrap_or_default();
        if file == "metrics.jsonl" {
            found.insert(name, without_times(&bytes)?);
        } else if file != ".lock" && !file.to_string_lossy().starts_with("events.out") {
            found.insert(name, bytes);
        }
    }
    Ok(found)
}

fn without_times(rows: &[u8]) -> Result<Vec<u8>, BoxError> {
    let mut lines = Vec::new();
    for row in serde_json::Deserializer::from_slice(rows).into_iter::<BTreeMap<String, Value>>() {
        let mut row = row?;
        row.retain(|key, _| !matches!(key.as_str(), "seconds" | "images_per_second" | "waiting"));
        lines.push(serde_json::to_string(&row)?);
    }
    Ok(lines.join("\n").into_bytes())
}

/// Does all jobs without a disturbance, in the folders `whole` and `older` of the campaign.
pub fn undisturbed(setup: &mut Setup) -> Result<(), BoxError> {
    for (folder, factor) in [(PHOTOS, 3), ("others", 5)] {
        fs::create_dir(setup.dir.join(folder))?;
        for k in 0..16u8 {
            let pixels = (0..192u8).map(|i| (i ^ (16 * k)).wrapping_mul(factor));
            let image = [&b"P6\n8 8\n255\n"[..], &pixels.collect::<Vec<_>>()].concat();
            fs::write(setup.dir.join(folder).join(format!("{k:02}.ppm")), image)?;
        }
    }
    let text = |path: &Path| path.display().to_string();
    let [photos, others] = [PHOTOS, "others"].map(|name| text(&setup.dir.join(name)));
    let run = setup.whole("train").join(OUT);
    let earlier = text(&run.join("checkpoints").join(FIRST_CHECKPOINT));
    let run = text(&run);
    // An image has its command line in it, so --force is always there.
    let [prepare, sample, export] = [
        "data prepare --force --image 8",
        "sample --force --device cpu --count 12",
        "export --force",
    ];
    let lines = [
        ("train", format!("train --data {photos} {TRAIN}"), None),
        ("prepare", format!("{prepare} {photos}"), Some(format!("{prepare} {others}"))),
        (
            "sample",
            format!("{sample} --checkpoint {run}"),
            Some(format!("{sample} --checkpoint {run} --seed 1")),
        ),
        (
            "export",
            format!("{export} --checkpoint {run}"),
            Some(format!("{export} --checkpoint {earlier}")),
        ),
    ];
    for (name, line, older) in lines {
        let args = |line: &str| shlex::split(&format!("{line} --out {OUT}")).unwrap_or_default();
        if let Some(older) = older {
            let mut case = Case::new(setup, &format!("older/{name}"), 0, 0)?;
            case.run("", &args(&older))?.code(&[0])?;
        }
        let mut case = Case::new(setup, &format!("whole/{name}"), 0, 0)?;
        let start = Instant::now();
        case.run("", &args(&line))?.code(&[0])?;
        let (time, whole) = (start.elapsed(), contents(&case.work)?);
        let mut job = Job { name, args: args(&line), whole, time, calls: 0 };
        let mut case = Case::new(setup, &format!("traced/{name}"), 0, 0)?;
        match case.run_traced(&job.args, u64::MAX, false) {
            Ok((calls, _)) => {
                job.compare(&contents(&case.work)?)?;
                job.calls = calls;
            }
            Err(error) => println!("{name}: cannot follow system calls, kills by time: {error}"),
        }
        setup.jobs.push(job);
    }
    Ok(())
}
