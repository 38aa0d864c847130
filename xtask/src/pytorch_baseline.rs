//! The PyTorch baseline: a process that does one piece of work per request, alternating with ours.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// The work per request.
#[derive(Clone, Copy)]
pub enum Work {
    /// A training step.
    Step,
    /// A batch of images from the generator in evaluation mode.
    Sample,
}

/// The sizes of a step.
#[derive(Clone, Copy)]
pub struct StepShape {
    pub image: usize,
    pub channels: usize,
    pub batch: usize,
    pub threads: usize,
}

/// A running baseline process.
pub struct Baseline {
    layout: &'static str,
    child: Child,
    requests: Option<ChildStdin>,
    answers: BufReader<ChildStdout>,
}

impl Baseline {
    /// Starts `xtask/pytorch_baseline.py` on `device`, `cpu` or `gpu`, and waits until it is ready.
    pub fn start(
        python: &Path,
        recipe: &str,
        work: Work,
        layout: &'static str,
        device: &str,
        shape: StepShape,
    ) -> Result<Self, String> {
        let recipe = match recipe {
            "torch" | "small" => "torch",
            "paper" => "paper",
            other => {
                return Err(format!(
                    "--peer knows the networks of recipes torch, small and paper, not of {other}"
                ));
            }
        };
        let work = match work {
            Work::Step => "step",
            Work::Sample => "sample",
        };
        let sizes =
            [shape.image, shape.channels, shape.batch, shape.threads].map(|n| n.to_string());
        let arguments: Vec<&str> =
            [recipe, work, layout, device].into_iter().chain(sizes.iter().map(|n| &**n)).collect();
        Self::start_script(python, "pytorch_baseline.py", layout, &arguments)
    }

    /// Starts a script of `xtask` with these arguments, and waits until it is ready.
    pub fn start_script(
        python: &Path,
        script: &str,
        layout: &'static str,
        arguments: &[&str],
    ) -> Result<Self, String> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join(script);
        let mut command = Command::new(python);
        command.arg(script).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child =
            command.spawn().map_err(|e| format!("cannot start {}: {e}", python.display()))?;
        let (Some(requests), Some(answers)) = (child.stdin.take(), child.stdout.take()) else {
            return Err("the baseline has no pipes".into());
        };
        let mut baseline =
            Self { layout, child, requests: Some(requests), answers: BufReader::new(answers) };
        match baseline.answer()?.as_str() {
            "ready" => Ok(baseline),
            other => Err(format!(
                "{} answered {other:?} instead of \"ready\": has it torch?",
                python.display()
            )),
        }
    }

    /// The memory layout: `nchw` or `channels_last`.
    pub fn layout(&self) -> &'static str {
        self.layout
    }

    fn answer(&mut self) -> Result<String, String> {
        let mut line = String::new();
        self.answers
            .read_line(&mut line)
            .map_err(|e| format!("the baseline's answer cannot be read: {e}"))?;
        Ok(line.trim().to_string())
    }

    fn number(&mut self) -> Result<f64, String> {
        let line = self.answer()?;
        line.parse().map_err(|_| format!("the baseline answered {line:?}, not a number"))
    }

    /// Seconds of one piece of work.
    pub fn step(&mut self) -> Result<f64, String> {
        let requests = self.requests.as_mut().ok_or("the baseline is finished")?;
        requests
            .write_all(b"\n")
            .and_then(|()| requests.flush())
            .map_err(|e| format!("the baseline has ended: {e}"))?;
        self.number()
    }

    /// Ends the process; returns its peak memory in bytes.
    pub fn finish(mut self) -> Result<u64, String> {
        self.requests = None;
        let bytes = self.number()? as u64;
        self.child.wait().map_err(|e| format!("the baseline cannot be waited for: {e}"))?;
        Ok(bytes)
    }
}

impl Drop for Baseline {
    fn drop(&mut self) {
        // Only a process left behind by an error still runs.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
