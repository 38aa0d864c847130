//! An open adapter: the device, its state, and its first failure.

use super::adapter::Adapter;
use super::error::GpuError;
use super::memory::BufferPool;
use super::recorder::CommandRecorder;
use super::shader::Pipelines;
use super::tape::TapeRecorder;
use parking_lot::Mutex;
use std::fmt;
use std::sync::{Arc, OnceLock};

/// How to open an adapter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// The adapter's number in [`adapters`](super::adapters); the best one otherwise.
    pub index: Option<usize>,
    /// Whether a software renderer may be used.
    pub allow_software: bool,
    /// Whether shaders check every index and bound every loop; kernels are slower. For tests.
    pub checked: bool,
    /// Whether convolutions may round their operands to half precision (mixed precision); sums and
    /// results stay in single.
    pub half: bool,
    /// The tile that products use, by its number, instead of the fastest one. No tile changes a
    /// bit. For tests and measurements.
    pub tile: Option<usize>,
    /// Whether the whole memory of new tensors is filled with NaN, which reveals elements that a
    /// kernel does not write. For tests.
    pub poisoned: bool,
}

/// An open adapter. Cloning it is cheap; tensors on it keep it open.
#[derive(Clone)]
pub struct Gpu(pub(super) Arc<Inner>);

pub(super) struct Inner {
    pub device: wgpu::Device,
    pub queue: wgpu::Queue,
    pub adapter: Adapter,
    pub limits: wgpu::Limits,
    pub checked: bool,
    pub half: bool,
    pub cooperative: Option<usize>,
    pub tile: Option<usize>,
    pub poisoned: bool,
    pub timestamps: bool,
    pub failure: Arc<OnceLock<GpuError>>,
    pub pipelines: Mutex<Pipelines>,
    pub recorder: Mutex<CommandRecorder>,
    pub pool: Mutex<BufferPool>,
    /// Set while a [`Tape`](super::Tape) is recorded.
    pub tape: Mutex<Option<TapeRecorder>>,
}

impl PartialEq for Gpu {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
impl Eq for Gpu {}

impl fmt::Debug for Gpu {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "gpu:{} {}", self.0.adapter.index, self.0.adapter.name)
    }
}

#[allow(unsafe_code)]
fn unsafe_wgpu_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: the one experimental feature asked for is cooperative matrices. A pipeline with them
    // is made only where the adapter lists their sizes and types, and their results are checked
    // before they are used.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

impl Gpu {
    pub(super) fn new(
        adapter: &wgpu::Adapter,
        described: Adapter,
        options: Options,
        cooperative: Option<usize>,
    ) -> Result<Self, GpuError> {
        if options.half && !described.f16 {
            return Err(GpuError::NoHalf(described.name));
        }
        let mut wanted = wgpu::Features::SHADER_F16 | wgpu::Features::TIMESTAMP_QUERY;
        let mut experimental_features = wgpu::ExperimentalFeatures::disabled();
        if cooperative.is_some() {
            wanted |= wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX;
            experimental_features = unsafe_wgpu_features();
        }
        let features = adapter.features() & wanted;
        let limits = adapter.limits();
        let (device, queue) = pollster::block_on(adapter.request_device(&wgpu::DeviceDescriptor {
            label: Some("dcgan"),
            required_features: features,
            required_limits: limits.clone(),
            experimental_features,
            memory_hints: wgpu::MemoryHints::Performance,
            ..Default::default()
        }))
        .map_err(|e| GpuError::Open { adapter: described.name.clone(), reason: e.to_string() })?;
        let failure = Arc::new(OnceLock::new());
        let (name, kept) = (described.name.clone(), failure.clone());
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let adapter = name.clone();
            let error = match error {
                wgpu::Error::OutOfMemory { .. } => GpuError::Exhausted { adapter },
                other => GpuError::Failed { adapter, reason: other.to_string() },
            };
            // Only the first failure is kept; later ones are its consequences.
            let _ = kept.set(error);
        }));
        let (name, kept) = (described.name.clone(), failure.clone());
        device.set_device_lost_callback(move |reason, message| {
            let reason =
                if message.is_empty() { format!("{reason:?}").to_lowercase() } else { message };
            let _ = kept.set(GpuError::Lost { adapter: name.clone(), reason });
        });
        let recorder = Mutex::new(CommandRecorder::new(&described));
        Ok(Self(Arc::new(Inner {
            device,
            queue,
            limits,
            adapter: described,
            checked: options.checked,
            half: options.half,
            cooperative,
            tile: options.tile,
            poisoned: options.poisoned,
            timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
            failure,
            pipelines: Mutex::default(),
            recorder,
            pool: Mutex::default(),
            tape: Mutex::default(),
        })))
    }

    /// The adapter that was opened.
    pub fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    /// The side of the cooperative matrices that convolutions use, if they do.
    pub(crate) fn cooperative(&self) -> Option<usize> {
        self.0.cooperative
    }

    /// Whether convolutions round their operands to half precision.
    pub fn is_half(&self) -> bool {
        self.0.half
    }

    /// Whether the device still works.
    ///
    /// # Errors
    /// Returns the first failure.
    pub fn check(&self) -> Result<(), GpuError> {
        self.0.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(super) fn fail(&self, error: GpuError) {
        // Only the first failure is kept.
        let _ = self.0.failure.set(error);
    }

    pub(super) fn failed(&self) -> bool {
        self.0.failure.get().is_some()
    }
}
