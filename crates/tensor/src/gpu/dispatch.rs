//! Recording, submitting and reading.
//!
//! Dispatches gather in one compute pass of one command buffer, which is submitted when a value is
//! read, when a step ends, or when it holds as much work as the watchdog of a desktop tolerates.

use super::buffer::GpuBuffer;
use super::context::Gpu;
use super::error::GpuError;
use super::memory::size_class;
use super::recorder::{CommandRecorder, RecordedCopy, Submission, Timing};
use super::shader::ShaderSpec;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, channel};

/// Bytes of one dispatch's parameters: the largest offset alignment that WebGPU allows.
const SLOT: usize = 256;
/// Dispatches in one submit at most: the slots of the parameter buffer.
const SLOTS: usize = 512;
/// Staging buffers up to this many bytes are kept for the next reading.
const MAX_KEPT_STAGING: u64 = 1 << 20;
/// Bytes that may be written ahead of a submit: each write keeps a copy until then.
const MAX_PENDING_WRITES: u64 = 64 << 20;
/// Workgroups along one axis of a grid.
const GRID: u64 = 65535;

/// Parameters of a dispatch: up to 64 words in the order of the shader's `Params`.
#[derive(Clone, Default)]
pub(crate) struct Params(smallvec::SmallVec<[u32; 32]>);

impl Params {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Sizes, offsets and counts; a tensor with any beyond 32 bits was refused before.
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

/// One run of a kernel.
pub(crate) struct Dispatch<'a> {
    pub spec: ShaderSpec,
    pub inputs: &'a [&'a GpuBuffer],
    pub outputs: &'a [&'a GpuBuffer],
    pub params: Params,
    /// Workgroups, folded into a grid with rows of at most 65535; surplus workgroups return at
    /// once.
    pub groups: u64,
    /// The grid's third axis.
    pub depth: u64,
    /// An estimate of the time: floating-point operations, or as many bytes.
    pub work: f64,
}

/// Statistics of a device since it was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Kernels dispatched.
    pub dispatches: u64,
    /// Command buffers submitted.
    pub submits: u64,
    /// Pipelines compiled.
    pub pipelines: u64,
    /// Buffers allocated and not reused.
    pub allocations: u64,
    /// The most bytes of tensors allocated at a time.
    pub peak_bytes: u64,
}

/// Values on their way from a GPU.
pub(crate) struct StagedRead {
    gpu: Gpu,
    len: usize,
    bytes: u64,
    buffer: Option<wgpu::Buffer>,
    done: Receiver<bool>,
    submission: Submission,
}

impl StagedRead {
    /// Waits for the values and returns them; NaN if the device failed.
    pub(crate) fn wait(self) -> Vec<f32> {
        let failed = || vec![f32::NAN; self.len];
        let Some(buffer) = self.buffer else { return failed() };
        if self.gpu.failed() {
            return failed();
        }
        // The copy may still be in the command buffer being recorded.
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
            self.gpu
                .fail(GpuError::Failed { adapter, reason: "its results cannot be read".into() });
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
        if self.bytes <= MAX_KEPT_STAGING {
            self.gpu.0.recorder.lock().staging.entry(self.bytes).or_default().push(buffer);
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
        let operands = || dispatch.inputs.iter().chain(dispatch.outputs);
        let Some(buffers) = operands().map(|x| x.buffer()).collect::<Option<Vec<_>>>() else {
            return;
        };
        assert!(operands().all(|x| x.gpu() == self), "{}: tensors on two gpus", dispatch.spec);
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
        let bindings = [dispatch.inputs.len(), dispatch.outputs.len()];
        let Some((pipeline, layout)) = self.pipeline(&dispatch.spec, bindings) else {
            return;
        };
        let grid = [columns as u32, rows as u32, dispatch.depth as u32];
        if let Some(tape) = &mut *self.0.tape.lock() {
            tape.run(&dispatch.spec, bindings, &buffers, &dispatch.params.0, grid);
        }
        let mut recorder = self.0.recorder.lock();
        // The parameters are written once per submit, into one slot per dispatch; and the desktop's
        // watchdog would stop a submit that runs too long.
        let full = recorder.slots.len() == SLOTS * SLOT;
        if full || (recorder.work > 0.0 && recorder.work + dispatch.work > recorder.budget) {
            self.submit(&mut recorder);
        }
        let params = recorder.params.get_or_insert_with(|| {
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
        // Ends the borrow of the recorder.
        drop(entries);
        let offset = recorder.slots.len();
        recorder.slots.extend_from_slice(bytemuck::cast_slice(&dispatch.params.0));
        recorder.slots.resize(offset + SLOT, 0);
        self.open_pass(&mut recorder);
        if let Some(pass) = &mut recorder.pass {
            pass.set_pipeline(&pipeline);
            pass.set_bind_group(0, &group, &[offset as u32]);
            pass.dispatch_workgroups(grid[0], grid[1], grid[2]);
        }
        recorder.work += dispatch.work;
        recorder.dispatches += 1;
    }

    fn open_pass(&self, recorder: &mut CommandRecorder) {
        if recorder.pass.is_some() {
            return;
        }
        let encoder = recorder
            .encoder
            .get_or_insert_with(|| self.0.device.create_command_encoder(&Default::default()));
        let timestamp_writes = recorder.timing.as_mut().and_then(Timing::next);
        let pass = encoder
            .begin_compute_pass(&wgpu::ComputePassDescriptor { label: None, timestamp_writes });
        recorder.pass = Some(pass.forget_lifetime());
    }

    fn submit(&self, recorder: &mut CommandRecorder) {
        recorder.pass = None;
        recorder.work = 0.0;
        recorder.written = 0;
        let Some(encoder) = recorder.encoder.take() else { return };
        if let Some(params) = &recorder.params
            && !recorder.slots.is_empty()
        {
            // Executed before the commands below and after those of earlier submits.
            self.0.queue.write_buffer(params, 0, &recorder.slots);
        }
        recorder.slots.clear();
        let index = self.0.queue.submit([encoder.finish()]);
        recorder.submits += 1;
        for read in recorder.reads.drain(..) {
            // A copy belongs to one submit, so this is the first value.
            let _ = read.submission.set(index.clone());
            let done = read.done;
            read.buffer.map_async(wgpu::MapMode::Read, ..read.bytes, move |result| {
                // An error means that the reader was dropped.
                let _ = done.send(result.is_ok());
            });
        }
    }

    /// Submits the recorded work.
    pub fn flush(&self) {
        self.submit(&mut self.0.recorder.lock());
    }

    /// Submits the recorded work and waits until all work is done.
    pub fn synchronize(&self) {
        self.flush();
        self.wait_idle();
    }

    /// Waits for all submitted work; returns whether the device still works.
    pub(super) fn wait_idle(&self) -> bool {
        self.wait_for(None)
    }

    /// Waits for a submit and those before it, or for all; returns whether the device still works.
    fn wait_for(&self, submission_index: Option<wgpu::SubmissionIndex>) -> bool {
        let poll = || self.0.device.poll(wgpu::PollType::Wait { submission_index, timeout: None });
        // wgpu panics here if the device is lost. This thread holds no lock then, and the device is
        // not used again.
        let reason = match catch_unwind(AssertUnwindSafe(poll)) {
            Ok(Ok(_)) => return !self.failed(),
            Ok(Err(error)) => error.to_string(),
            Err(_) => "it does not answer".to_string(),
        };
        self.fail(GpuError::Lost { adapter: self.0.adapter.name.clone(), reason });
        false
    }

    /// Writes a buffer before all work recorded from here on, and after all work recorded so far.
    pub(super) fn upload(&self, target: &GpuBuffer, bytes: &[u8]) {
        let Some(buffer) = target.buffer() else { return };
        if bytes.is_empty() {
            return;
        }
        if let Some(tape) = &mut *self.0.tape.lock() {
            tape.upload(buffer, bytes);
        }
        let mut recorder = self.0.recorder.lock();
        // The queue executes the write before the whole open command buffer, which may still use
        // this memory for its last owner.
        if recorder.encoder.is_some() {
            self.submit(&mut recorder);
        }
        self.0.queue.write_buffer(buffer, 0, bytes);
        recorder.written += bytes.len() as u64;
        if recorder.written > MAX_PENDING_WRITES {
            // An empty submit executes the writes and frees their copies.
            self.0.queue.submit([]);
            recorder.written = 0;
        }
    }

    /// Starts copying buffers to the host, one after the other, without waiting.
    pub(crate) fn read_async(&self, sources: &[&GpuBuffer]) -> StagedRead {
        let (sender, done) = channel();
        let submission = Submission::default();
        let len: usize = sources.iter().map(|source| source.len()).sum();
        let wanted = len as u64 * 4;
        let bytes = size_class(wanted).min(self.0.limits.max_buffer_size).max(wanted);
        let mut pending = StagedRead {
            gpu: self.clone(),
            len,
            bytes,
            buffer: None,
            done,
            submission: submission.clone(),
        };
        let buffers = sources.iter().map(|source| source.buffer()).collect::<Option<Vec<_>>>();
        let Some(buffers) = buffers.filter(|_| !self.failed() && len > 0) else { return pending };
        if let Some(tape) = &mut *self.0.tape.lock() {
            let pairs = sources.iter().zip(&buffers);
            pairs.for_each(|(source, buffer)| tape.read(buffer, source.len()));
        }
        let mut recorder = self.0.recorder.lock();
        let idle = recorder.staging.get_mut(&bytes).and_then(Vec::pop);
        let staging = idle.unwrap_or_else(|| {
            self.0.device.create_buffer(&wgpu::BufferDescriptor {
                label: Some("staging"),
                size: bytes,
                usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
                mapped_at_creation: false,
            })
        });
        // A copy cannot be recorded within a pass.
        recorder.pass = None;
        let encoder = recorder
            .encoder
            .get_or_insert_with(|| self.0.device.create_command_encoder(&Default::default()));
        let mut at = 0;
        for (source, buffer) in sources.iter().zip(buffers) {
            let bytes = source.len() as u64 * 4;
            if bytes > 0 {
                encoder.copy_buffer_to_buffer(buffer, 0, &staging, at, bytes);
            }
            at += bytes;
        }
        recorder.reads.push(RecordedCopy {
            buffer: staging.clone(),
            bytes: wanted,
            done: sender,
            submission,
        });
        pending.buffer = Some(staging);
        pending
    }

    /// The number of threads that keep the adapter busy; the choice of tiles depends on it.
    pub(super) fn threads(&self) -> f64 {
        match (self.0.adapter.software, self.0.adapter.kind.as_str()) {
            (true, _) => 64.0,
            (_, "DiscreteGpu") => 32768.0,
            _ => 4096.0,
        }
    }

    /// The tile that [`Options::tile`](super::Options::tile) asks for.
    pub(super) fn tile(&self) -> Option<usize> {
        self.0.tile
    }

    /// The largest number of threads in a workgroup.
    pub(super) fn largest_group(&self) -> usize {
        self.0.limits.max_compute_invocations_per_workgroup as usize
    }

    /// The largest number of buffers of one kernel.
    pub(super) fn bindings(&self) -> usize {
        self.0.limits.max_storage_buffers_per_shader_stage as usize
    }

    /// The statistics of this device.
    pub fn counters(&self) -> Counters {
        let (dispatches, submits) = {
            let recorder = self.0.recorder.lock();
            (recorder.dispatches, recorder.submits)
        };
        let pipelines = self.0.pipelines.lock().count();
        let pool = self.0.pool.lock();
        Counters {
            dispatches,
            submits,
            pipelines,
            allocations: pool.allocations,
            peak_bytes: pool.peak_bytes,
        }
    }

    /// Loses the device, as a driver reset does: everything from here on fails. For tests.
    pub fn destroy(&self) {
        self.0.device.destroy();
        // Delivers the loss to the callback.
        self.wait_idle();
    }
}
