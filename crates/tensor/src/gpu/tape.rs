//! Recording of a computation without any GPU, for replay by another WebGPU implementation, such as
//! a browser's.
//!
//! ```
//! use tensor::gpu::{self, TapeCommand};
//! use tensor::{Device, Tensor};
//!
//! let gpu = gpu::open_noop()?;
//! let (_, tape) = gpu.record(|| {
//!     let x = Tensor::from_slice(&[1.0, 2.0], [2]).to_device(&Device::Gpu(gpu.clone()));
//!     x.tanh().to_vec()
//! });
//! let [upload, run, read] = &tape.commands[..] else { panic!("{tape:?}") };
//! assert!(matches!(upload, TapeCommand::Upload { buffer: 0, .. }));
//! assert!(matches!(run, TapeCommand::Run { shader: 0, .. }));
//! assert!(matches!(read, TapeCommand::Read { buffer: 1, len: 2 }));
//! assert!(tape.shaders[0].source.contains("@compute"));
//! # Ok::<(), tensor::gpu::GpuError>(())
//! ```

use super::adapter::describe;
use super::context::{Gpu, Options};
use super::error::GpuError;
use super::shader::ShaderSpec;
use std::collections::HashMap;

/// A computation as a list of commands, in order. Buffers are used again and again, so the order
/// matters.
#[derive(Clone, Debug, Default)]
pub struct Tape {
    /// The kernels.
    pub shaders: Vec<TapeShader>,
    /// The size of each buffer in bytes.
    pub buffers: Vec<u64>,
    /// The commands.
    pub commands: Vec<TapeCommand>,
}

/// A kernel. Binding 0 of its group is the uniform buffer of its parameters, with a dynamic offset;
/// then come its inputs (read-only storage) and its outputs (storage).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TapeShader {
    /// File, entry point and specialization.
    pub name: String,
    /// WGSL.
    pub source: String,
    /// The entry point.
    pub entry: &'static str,
    /// The number of inputs.
    pub inputs: usize,
    /// The number of outputs.
    pub outputs: usize,
}

/// A command of a [`Tape`]. Buffers and shaders are indices of its lists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum TapeCommand {
    /// Writes values to the start of a buffer.
    Upload {
        /// The buffer.
        buffer: usize,
        /// The values, as 32-bit words.
        words: Vec<u32>,
    },
    /// Runs a kernel.
    Run {
        /// The kernel.
        shader: usize,
        /// The buffers of its inputs and outputs.
        operands: Vec<usize>,
        /// Its parameters, as 32-bit words.
        params: Vec<u32>,
        /// The number of workgroups along each axis.
        grid: [u32; 3],
    },
    /// Reads values from the start of a buffer.
    Read {
        /// The buffer.
        buffer: usize,
        /// The number of values.
        len: usize,
    },
}

/// A tape in the making.
#[derive(Default)]
pub(super) struct TapeRecorder {
    tape: Tape,
    shaders: HashMap<ShaderSpec, usize>,
    buffers: HashMap<wgpu::Buffer, usize>,
}

impl TapeRecorder {
    fn buffer(&mut self, buffer: &wgpu::Buffer) -> usize {
        let next = self.tape.buffers.len();
        let index = *self.buffers.entry(buffer.clone()).or_insert(next);
        if index == next {
            self.tape.buffers.push(buffer.size());
        }
        index
    }

    pub(super) fn upload(&mut self, buffer: &wgpu::Buffer, bytes: &[u8]) {
        let buffer = self.buffer(buffer);
        let words = bytemuck::pod_collect_to_vec(bytes);
        self.tape.commands.push(TapeCommand::Upload { buffer, words });
    }

    pub(super) fn run(
        &mut self,
        spec: &ShaderSpec,
        [inputs, outputs]: [usize; 2],
        operands: &[&wgpu::Buffer],
        params: &[u32],
        grid: [u32; 3],
    ) {
        let next = self.tape.shaders.len();
        let shader = *self.shaders.entry(spec.clone()).or_insert(next);
        if shader == next {
            // The pipeline was made of it.
            let source = spec.source().unwrap_or_default();
            let (name, entry) = (spec.to_string(), spec.entry);
            self.tape.shaders.push(TapeShader { name, source, entry, inputs, outputs });
        }
        let operands = operands.iter().map(|buffer| self.buffer(buffer)).collect();
        let params = params.to_vec();
        self.tape.commands.push(TapeCommand::Run { shader, operands, params, grid });
    }

    pub(super) fn read(&mut self, buffer: &wgpu::Buffer, len: usize) {
        let buffer = self.buffer(buffer);
        self.tape.commands.push(TapeCommand::Read { buffer, len });
    }
}

/// Opens a device that computes nothing, on any machine: all values read from it are 0. Shaders are
/// validated. Its limits are those that every WebGPU device has, so that what is
/// [recorded](Gpu::record) on it runs everywhere.
///
/// # Errors
/// Returns an error if wgpu was built without its back end `noop`.
pub fn open_noop() -> Result<Gpu, GpuError> {
    let noop = wgpu::NoopBackendOptions {
        enable: true,
        limits: Some(wgpu::Limits::default()),
        features: Some(wgpu::Features::empty()),
        device_type: Some(wgpu::DeviceType::IntegratedGpu),
        ..Default::default()
    };
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: wgpu::Backends::NOOP,
        backend_options: wgpu::BackendOptions { noop, ..Default::default() },
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let adapters = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::NOOP));
    let adapter = adapters.into_iter().next().ok_or(GpuError::None)?;
    let (adapter, described) = describe(0, adapter);
    Gpu::new(&adapter, described, Options::default(), None)
}

impl Gpu {
    /// Calls `f` and returns all that it does on this device, with the uploads of tensors, and its
    /// result. Buffers that exist before are unknown to the tape: `f` moves what it needs to the
    /// device itself.
    pub fn record<R>(&self, f: impl FnOnce() -> R) -> (R, Tape) {
        *self.0.tape.lock() = Some(TapeRecorder::default());
        let result = f();
        let tape = self.0.tape.lock().take().map_or_else(Tape::default, |recorder| recorder.tape);
        (result, tape)
    }
}
