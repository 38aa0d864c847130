//! The state of recording: one compute pass of one command buffer, the parameters of its
//! dispatches, and the reads that wait for it.

use super::adapter::Adapter;
use std::collections::BTreeMap;
use std::sync::mpsc::Sender;
use std::sync::{Arc, OnceLock};

/// The command buffer being recorded.
pub(super) struct CommandRecorder {
    // Declared before the encoder, which it locks, because fields are dropped in this order.
    pub pass: Option<wgpu::ComputePass<'static>>,
    pub encoder: Option<wgpu::CommandEncoder>,
    pub slots: Vec<u8>,
    pub params: Option<wgpu::Buffer>,
    pub work: f64,
    pub budget: f64,
    pub reads: Vec<RecordedCopy>,
    /// Idle staging buffers by size.
    pub staging: BTreeMap<u64, Vec<wgpu::Buffer>>,
    pub dispatches: u64,
    pub submits: u64,
    /// Bytes written since the last submit.
    pub written: u64,
    /// Set while kernels are timed.
    pub timing: Option<Timing>,
}

/// A recorded copy to a staging buffer, which is mapped after the submit.
pub(super) struct RecordedCopy {
    pub buffer: wgpu::Buffer,
    pub bytes: u64,
    pub done: Sender<bool>,
    pub submission: Submission,
}

/// The submit that a copy belongs to, once there is one: a reader waits for that submit only.
pub(super) type Submission = Arc<OnceLock<wgpu::SubmissionIndex>>;

impl CommandRecorder {
    pub(super) fn new(adapter: &Adapter) -> Self {
        // About 100 ms at the rate that such devices reach: the watchdog of a desktop resets a GPU
        // that is busy for seconds.
        let budget = match (adapter.software, adapter.kind.as_str()) {
            (true, _) => 2e9,
            (_, "DiscreteGpu") => 2e11,
            _ => 3e10,
        };
        Self {
            pass: None,
            encoder: None,
            slots: Vec::new(),
            params: None,
            work: 0.0,
            budget,
            reads: Vec::new(),
            staging: BTreeMap::new(),
            dispatches: 0,
            submits: 0,
            written: 0,
            timing: None,
        }
    }
}

/// Passes that one measurement can time.
pub(super) const PASSES: u32 = 64;

/// Two timestamps for each pass since a measurement began.
pub(super) struct Timing {
    pub set: wgpu::QuerySet,
    pub used: u32,
}

impl Timing {
    /// The timestamps of the next pass; none beyond [`PASSES`].
    pub(super) fn next(&mut self) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        if self.used == 2 * PASSES {
            return None;
        }
        self.used += 2;
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(self.used - 2),
            end_of_pass_write_index: Some(self.used - 1),
        })
    }
}
