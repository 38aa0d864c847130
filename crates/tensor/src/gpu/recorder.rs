//! Recording: dispatches gather in one compute pass of one command buffer, which is submitted when somebody reads, when a step ends, or when
//! it holds as much work as a desktop's watchdog tolerates.

use super::adapter::{Adapter, GpuError, lock};
use super::timing::Timing;
use super::{Gpu, GpuBuffer, ShaderSpec};
use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};
use std::sync::{Arc, OnceLock};

/// Bytes of one dispatch's parameters: the largest offset alignment that WebGPU allows.
const SLOT: usize = 256;
/// Dispatches in one submit at most: the slots of the parameter buffer.
const SLOTS: usize = 512;
/// Staging buffers up to this many bytes are kept for the next reading.
const KEPT: u64 = 1 << 20;
/// Bytes that may be written ahead of a submit: each write keeps a copy until then.
const AHEAD: u64 = 64 << 20;
/// Workgroups along one axis of a grid.
const GRID: u64 = 65535;

/// Parameters of a dispatch: up to 64 words in the order of the shader's `Params`.
#[derive(Clone, Default)]
pub(crate) struct Params(smallvec::SmallVec<[u32; 32]>);

impl Params {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sizes, offsets, counts. Those beyond 32 bits belong to tensors that were refused.
    pub(crate) fn sizes(mut self, values: impl IntoIterator<Item = usize>) -> Self {
        self.0.extend(values.into_iter().map(|v| v as u32));
        self
    }

    pub(crate) fn words(mut self, values: impl IntoIterator<Item = u32>) -> Self {
        self.0.extend(values);
        self
    }

    pub(crate) fn floats(mut self, values: impl IntoIterator<Item = f32>) -> Self {
        self.0.extend(values.into_iter().map(f32::to_bits));
        self
    }
}

/// One kernel over its arrays.
pub(crate) struct Dispatch<'a> {
    pub spec: ShaderSpec,
    pub inputs: &'a [&'a GpuBuffer],
    pub outputs: &'a [&'a GpuBuffer],
    pub params: Params,
    /// Workgroups, folded into a grid of rows of at most 65535; the kernel leaves those beyond its work at once.
    pub groups: u64,
    /// The grid's third axis.
    pub depth: u64,
    /// Floating-point operations, or a guess of as many bytes.
    pub work: f64,
}

/// What was recorded and made since a device was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kernels started.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Pipelines made.
    pub pipelines: u64,
    /// Buffers allocated, not reused.
    pub allocations: u64,
    /// The most bytes of tensors alive at a time.
    pub peak_bytes: u64,
}

/// The command buffer being recorded.
pub(super) struct CommandRecorder {
    // Before the encoder, which it locks: fields are dropped in this order.
    pass: Option<wgpu::ComputePass<'static>>,
    encoder: Option<wgpu::CommandEncoder>,
    slots: Vec<u8>,
    params: Option<wgpu::Buffer>,
    work: f64,
    budget: f64,
    reads: Vec<RecordedCopy>,
    /// Staging buffers that nobody reads.
    staging: BTreeMap<u64, Vec<wgpu::Buffer>>,
    dispatches: u64,
    submits: u64,
    /// Bytes written since the last submit.
    written: u64,
    /// While kernels are timed.
    pub timing: Option<Timing>,
}

/// A copy that was recorded, to be mapped once it is submitted.
struct RecordedCopy {
    buffer: wgpu::Buffer,
    bytes: u64,
    done: std::sync::mpsc::Sender<bool>,
    submission: Submission,
}

/// The submit that a copy went with, once it did: what to wait for, and no more.
type Submission = Arc<OnceLock<wgpu::SubmissionIndex>>;

impl CommandRecorder {
    pub(super) fn new(adapter: &Adapter) -> Self {
        // About 100 ms at a rate that such devices reach: watchdogs of desktops stop what takes seconds.
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

/// Numbers on their way from a GPU.
pub(crate) struct StagedRead {
    gpu: Gpu,
    len: usize,
    bytes: u64,
    buffer: Option<wgpu::Buffer>,
    done: Receiver<bool>,
    submission: Submission,
}

impl StagedRead {
    /// The numbers; waits for them. NaN where the device failed.
    pub(crate) fn wait(self) -> Vec<f32> {
        let failed = || vec![f32::NAN; self.len];
        let Some(buffer) = self.buffer else { return failed() };
        if self.gpu.failed() {
            return failed();
        }
        // It may still be in the command buffer being recorded.
        if self.submission.get().is_none() {
            self.gpu.flush();
        }
        let mapped = loop {
            match self.done.try_recv() {
                Ok(mapped) => break mapped,
                Err(std::sync::mpsc::TryRecvError::Disconnected) => break false,
                Err(std::sync::mpsc::TryRecvError::Empty) => {}
            }
            if !self.gpu.wait_for(self.submission.get().cloned()) {
                break false;
            }
        };
        let lost = || {
            let adapter = self.gpu.0.adapter.name.clone();
            self.gpu.fail(GpuError::Failed {
                adapter,
                reason: "what it computed cannot be read".into(),
            });
            failed()
        };
        if !mapped {
            return lost();
        }
        let values = match buffer.get_mapped_range(..self.len as u64 * 4) {
            Ok(view) => {
                let mut values = vec![0f32; self.len];
                bytemuck::cast_slice_mut::<f32, u8>(&mut values).copy_from_slice(&view);
                values
            }
            Err(_) => return lost(),
        };
        buffer.unmap();
        if self.bytes <= KEPT {
            lock(&self.gpu.0.stream).staging.entry(self.bytes).or_default().push(buffer);
        }
        values
    }
}

impl Gpu {
    /// Records a kernel.
    pub(crate) fn run(&self, dispatch: &Dispatch<'_>) {
        if self.failed() || dispatch.groups == 0 || dispatch.depth == 0 {
            return;
        }
        let arrays = || dispatch.inputs.iter().chain(dispatch.outputs);
        let Some(buffers) = arrays().map(|array| array.buffer()).collect::<Option<Vec<_>>>() else {
            return;
        };
        assert!(
            arrays().all(|array| array.gpu() == self),
            "{}: tensors on two gpus",
            dispatch.spec
        );
        assert!(
            dispatch.params.0.len() <= SLOT / 4,
            "{}: more parameters than a slot holds",
            dispatch.spec
        );
        let (columns, rows) = (dispatch.groups.min(GRID), dispatch.groups.div_ceil(GRID));
        if rows > GRID || dispatch.depth > GRID {
            let groups = dispatch.groups.saturating_mul(dispatch.depth);
            let adapter = self.0.adapter.name.clone();
            return self.fail(GpuError::Grid {
                adapter,
                kernel: dispatch.spec.to_string(),
                groups,
            });
        }
        let Some((pipeline, layout)) =
            self.pipeline(&dispatch.spec, [dispatch.inputs.len(), dispatch.outputs.len()])
        else {
            return;
        };
        let mut stream = lock(&self.0.stream);
        let full = stream.slots.len() == SLOTS * SLOT;
        if full || (stream.work > 0.0 && stream.work + dispatch.work > stream.budget) {
            self.submit(&mut stream);
        }
        let params = stream.params.get_or_insert_with(|| {
            self.0.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("parameters"),
                size: (SLOTS * SLOT) as u64,
                usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        let mut entries = Vec::with_capacity(1 + buffers.len());
        entries.push(wgpu::BindGroupEntry {
            binding: 0,
            resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                buffer: params,
                offset: 0,
                size: std::num::NonZeroU64::new(SLOT as u64),
            }),
        });
        entries.extend(buffers.iter().enumerate().map(|(i, buffer)| wgpu::BindGroupEntry {
            binding: 1 + i as u32,
            resource: buffer.as_entire_binding(),
        }));
        let group = self.0.device.create_bind_group(&wgpu::BindGroupDescriptor {
            label: None,
            layout: &layout,
            entries: &entries,
        });
        drop(entries);
        let offset = stream.slots.len();
        stream.slots.extend_from_slice(bytemuck::cast_slice(&dispatch.params.0));
        stream.slots.resize(offset + SLOT, 0);
        self.open_pass(&mut stream);
        if let Some(pass) = &mut stream.pass {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[offset as u32]);
            pass.dispatch_workgroups(columns as u32, rows as u32, dispatch.depth as u32);
        }
        stream.work += dispatch.work;
        stream.dispatches += 1;
    }

    fn open_pass(&self, stream: &mut CommandRecorder) {
        if stream.pass.is_some() {
            return;
        }
        let encoder = stream
            .encoder
            .get_or_insert_with(|| self.0.device.create_command_encoder(&Default::default()));
        let timestamp_writes = stream.timing.as_mut().and_then(Timing::next);
        let pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        stream.pass = Some(pass.forget_lifetime());
    }

    fn submit(&self, stream: &mut CommandRecorder) {
        stream.pass = None;
        stream.work = 0.0;
        stream.written = 0;
        let Some(encoder) = stream.encoder.take() else { return };
        if let Some(params) = &stream.params
            && !stream.slots.is_empty()
        {
            // Lands before the commands below and after those of earlier submits.
            self.0.queue.write_buffer(params, 0, &stream.slots);
        }
        stream.slots.clear();
        let index = self.0.queue.submit([encoder.finish()]);
        stream.submits += 1;
        for read in stream.reads.drain(..) {
            // A copy goes with one submit.
            let _ = read.submission.set(index.clone());
            let done = read.done;
            read.buffer.map_async(wgpu::MapMode::Read, ..read.bytes, move |result| {
                // Nobody waits any more where the receiver is gone.
                let _ = done.send(result.is_ok());
            });
        }
    }

    /// Submits what was recorded.
    pub fn flush(&self) {
        self.submit(&mut lock(&self.0.stream));
    }

    /// Submits what was recorded and waits until all of it is done.
    pub fn synchronize(&self) {
        self.flush();
        self.wait_idle();
    }

    /// Waits for everything submitted; whether the device answered.
    pub(super) fn wait_idle(&self) -> bool {
        self.wait_for(None)
    }

    /// Waits for a submit and those before it, or for all; whether the device answered.
    fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> bool {
        let poll = || self.0.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        // wgpu panics here when the device is lost. No lock of ours is held, and the device is not used again.
        let reason = match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => return !self.failed(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_string(),
        };
        self.fail(GpuError::Lost { adapter: self.0.adapter.name.clone(), reason });
        false
    }

    /// Writes an array's numbers before everything recorded from here on, after everything recorded so far.
    pub(super) fn upload(&self, array: &GpuBuffer, bytes: &[u8]) {
        let Some(buffer) = array.buffer() else { return };
        if bytes.is_empty() {
            return;
        }
        let mut stream = lock(&self.0.stream);
        // The write lands ahead of the whole open command buffer, which may still use this memory for its last owner.
        if stream.encoder.is_some() {
            self.submit(&mut stream);
        }
        self.0.queue.write_buffer(buffer, 0, bytes);
        stream.written += bytes.len() as u64;
        if stream.written > AHEAD {
            self.0.queue.submit([]);
            stream.written = 0;
        }
    }

    /// Copies the numbers of arrays towards the host, one after the other, without waiting.
    pub(crate) fn read_async(&self, arrays: &[&GpuBuffer]) -> StagedRead {
        let (sender, done) = channel();
        let submission = Submission::default();
        let len: usize = arrays.iter().map(|array| array.len()).sum();
        let wanted = len as u64 * 4;
        let bytes =
            super::memory::size_class(wanted).min(self.0.limits.max_buffer_size).max(wanted);
        let mut pending = StagedRead {
            gpu: self.clone(),
            len,
            bytes,
            buffer: None,
            done,
            submission: submission.clone(),
        };
        let buffers = arrays.iter().map(|array| array.buffer()).collect::<Option<Vec<_>>>();
        let Some(buffers) = buffers.filter(|_| !self.failed() && len > 0) else { return pending };
        let mut stream = lock(&self.0.stream);
        let idle = stream.staging.get_mut(&bytes).and_then(Vec::pop);
        let staging = idle.unwrap_or_else(|| {
            self.0.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        stream.pass = None;
        let encoder = stream
            .encoder
            .get_or_insert_with(|| self.0.device.create_command_encoder(&Default::default()));
        let mut at = 0;
        for (array, buffer) in arrays.iter().zip(buffers) {
            let bytes = array.len() as u64 * 4;
            if bytes > 0 {
                encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, bytes);
            }
            at += bytes;
        }
        stream.reads.push(RecordedCopy {
            buffer: staging.clone(),
            bytes: wanted,
            done: sender,
            submission,
        });
        pending.buffer = Some(staging);
        pending
    }

    /// Threads that keep the adapter busy: what tiles are chosen by.
    pub(super) fn threads(&self) -> f64 {
        match (self.0.adapter.software, self.0.adapter.kind.as_str()) {
            (true, _) => 64.0,
            (_, "DiscreteGpu") => 32768.0,
            _ => 4096.0,
        }
    }

    /// The tile that was asked for.
    pub(super) fn tile(&self) -> Option<usize> {
        self.0.tile
    }

    /// The most threads of a workgroup.
    pub(super) fn largest_group(&self) -> usize {
        self.0.limits.max_compute_invocations_per_workgroup as usize
    }

    /// Arrays that one kernel can see.
    pub(super) fn bindings(&self) -> usize {
        self.0.limits.max_storage_buffers_per_shader_stage as usize
    }

    /// What was recorded and made so far.
    pub fn counters(&self) -> Counters {
        let (dispatches, submits) = {
            let stream = lock(&self.0.stream);
            (stream.dispatches, stream.submits)
        };
        let pipelines = lock(&self.0.pipelines).count();
        let pool = lock(&self.0.pool);
        Counters {
            dispatches,
            submits,
            pipelines,
            allocations: pool.allocations,
            peak_bytes: pool.peak_bytes,
        }
    }
}
