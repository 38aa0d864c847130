//! Which adapters there are, and opening one.

use super::memory::Pool;
use super::recorder::CommandRecorder;
use super::shader::Pipelines;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

/// A graphics adapter that wgpu can open.
#[derive(Clone, Debug)]
pub struct Adapter {
    /// Its number, as in `--device gpu:NUMBER`.
    pub index: usize,
    /// Its name.
    pub name: String,
    /// Vulkan, Metal, Dx12 or Gl.
    pub backend: String,
    /// Discrete, integrated, virtual, or a processor's software renderer.
    pub kind: String,
    /// The driver with its version.
    pub driver: String,
    /// The largest buffer, in bytes.
    pub max_buffer_size: u64,
    /// The largest part of a buffer that a kernel can see, in bytes: the largest tensor.
    pub max_binding_size: u64,
    /// Whether kernels can compute in half precision.
    pub f16: bool,
    /// Whether kernels can exchange values within a subgroup.
    pub subgroups: bool,
    /// Whether kernels can be timed by the adapter's own clock.
    pub timestamps: bool,
    /// The side of the cooperative matrices of half precision, summed in single, that it has: 8 or 16.
    pub cooperative: Option<usize>,
    /// Whether it computes on the processor.
    pub software: bool,
    /// Whether it can run kernels at all: old GL drivers cannot.
    pub compute: bool,
    rank: u8,
}

/// Why a device cannot be used, or can no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GpuError {
    /// No graphics driver, or none that wgpu can open.
    #[error(
        "no graphics adapter found: install its Vulkan driver (on Linux also libvulkan1), or use --device cpu"
    )]
    None,
    /// Only the processor in disguise.
    #[error(
        "the only graphics adapters are software renderers ({0}), which are slower than --device cpu: add --allow-software to use one"
    )]
    OnlySoftware(String),
    /// A software renderer was named.
    #[error(
        "gpu:{0} is a software renderer ({1}), slower than --device cpu: add --allow-software to use it"
    )]
    Software(usize, String),
    /// Half precision was asked for.
    #[error(
        "{0} cannot compute in half precision: use --precision f32, or another of dcgan devices"
    )]
    NoHalf(String),
    /// A number beyond the list.
    #[error("there is no gpu:{index}, there are {count} adapters: dcgan devices lists them")]
    NoSuch {
        /// The number asked for.
        index: usize,
        /// The adapters there are.
        count: usize,
    },
    /// The driver refused.
    #[error("{adapter} cannot be opened: {reason}; try another of dcgan devices, or --device cpu")]
    Open {
        /// Its name.
        adapter: String,
        /// In the driver's words.
        reason: String,
    },
    /// No memory left.
    #[error(
        "{adapter} has no memory for {bytes} bytes more, {held} bytes are held: try a smaller batch (--batch) or narrower networks (--width)"
    )]
    Memory {
        /// Its name.
        adapter: String,
        /// What was asked for.
        bytes: u64,
        /// What was held.
        held: u64,
    },
    /// No memory left for the driver's own needs.
    #[error(
        "{adapter} has no memory left: try a smaller batch (--batch) or narrower networks (--width)"
    )]
    Exhausted {
        /// Its name.
        adapter: String,
    },
    /// It runs no kernels.
    #[error("{0} cannot compute, only draw: choose another of dcgan devices, or --device cpu")]
    NoCompute(String),
    /// A tensor that kernels cannot see as a whole.
    #[error(
        "a tensor of {bytes} bytes is over the {limit} that {adapter} can bind: try a smaller batch (--batch) or narrower networks"
    )]
    TooLarge {
        /// Its name.
        adapter: String,
        /// The tensor's size.
        bytes: u64,
        /// The adapter's limit.
        limit: u64,
    },
    /// A work grid larger than the adapter can start.
    #[error(
        "{kernel}: {groups} workgroups are over what {adapter} can start: try a smaller batch (--batch)"
    )]
    Grid {
        /// Its name.
        adapter: String,
        /// The kernel.
        kernel: String,
        /// The workgroups needed.
        groups: u64,
    },
    /// A kernel that the driver does not take.
    #[error("{adapter} does not compile shader {shader}: {reason}")]
    Shader {
        /// Its name.
        adapter: String,
        /// The shader with its specialization.
        shader: String,
        /// In the compiler's words.
        reason: String,
    },
    /// The device went away: reset, unplugged, or stopped by a watchdog.
    #[error(
        "{adapter} was lost ({reason}): the last checkpoint is sound, go on from it with --resume, with a smaller batch if it happens again"
    )]
    Lost {
        /// Its name.
        adapter: String,
        /// In the driver's words.
        reason: String,
    },
    /// Anything else the driver reports.
    #[error(
        "{adapter} failed: {reason}; the last checkpoint is sound, go on from it with --resume --device cpu"
    )]
    Failed {
        /// Its name.
        adapter: String,
        /// In the driver's words.
        reason: String,
    },
}

/// How to open an adapter.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Its number in [`adapters`]; the best one otherwise.
    pub index: Option<usize>,
    /// Whether a software renderer may be taken.
    pub allow_software: bool,
    /// Whether shaders check every index and bound every loop: for tests; kernels are slower.
    pub checked: bool,
    /// Whether convolutions may round their operands to half precision; sums and everything kept stay in single.
    pub half: bool,
    /// The tile that products use, by its number, instead of the one that suits them: for tests and measurements. No tile changes a bit.
    pub tile: Option<usize>,
    /// Whether new tensors are filled with NaN, and all their memory behind them, so that what a kernel does not write shows: for tests.
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
    pub stream: Mutex<CommandRecorder>,
    pub pool: Mutex<Pool>,
}

/// A panic elsewhere does not spoil what a lock guards: each holds whole values after every statement.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
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

/// The adapters of some back ends, numbered from `first` on.
fn enumerate_adapters(backends: wgpu::Backends, first: usize) -> Vec<(wgpu::Adapter, Adapter)> {
    let wanted = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let backends = wanted.backends & backends;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..wanted });
    let found = pollster::block_on(instance.enumerate_adapters(backends));
    found.into_iter().enumerate().map(|(i, adapter)| describe(first + i, adapter)).collect()
}

/// Vulkan's, Metal's and DX12's adapters; and behind them GL's, which is only asked where that is not `enough`: its libraries complain on
/// machines without a display.
fn enumerate_until(
    enough: impl Fn(&[(wgpu::Adapter, Adapter)]) -> bool,
) -> Vec<(wgpu::Adapter, Adapter)> {
    let mut all = enumerate_adapters(wgpu::Backends::PRIMARY, 0);
    if !enough(&all) {
        all.extend(enumerate_adapters(wgpu::Backends::GL, all.len()));
    }
    all
}

fn describe(index: usize, adapter: wgpu::Adapter) -> (wgpu::Adapter, Adapter) {
    let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
    let compute =
        adapter.get_downlevel_capabilities().flags.contains(wgpu::DownlevelFlags::COMPUTE_SHADERS);
    let kind = match info.device_type {
        wgpu::DeviceType::DiscreteGpu => 0,
        wgpu::DeviceType::IntegratedGpu => 2,
        wgpu::DeviceType::VirtualGpu => 4,
        wgpu::DeviceType::Other => 6,
        wgpu::DeviceType::Cpu => 8,
    };
    // The same card may appear under several back ends: GL last.
    let rank = kind + u8::from(info.backend == wgpu::Backend::Gl);
    // GL tells little about its devices; its software renderers are known by name.
    let software = info.device_type == wgpu::DeviceType::Cpu
        || ["llvmpipe", "softpipe", "SwiftShader", "WARP"]
            .iter()
            .any(|name| info.name.contains(name));
    let coop = features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        // A workgroup must be one subgroup, of a size that is known.
        && (info.subgroup_min_size, info.subgroup_max_size) == (32, 32);
    let listed = if coop { adapter.cooperative_matrix_properties() } else { Vec::new() };
    let cooperative = [16, 8].into_iter().find(|&side| {
        listed.iter().any(|row| {
            [row.m_size, row.n_size, row.k_size] == [side; 3]
                && row.ab_type == wgpu::CooperativeScalarType::F16
                && row.cr_type == wgpu::CooperativeScalarType::F32
        })
    });
    let described = Adapter {
        index,
        cooperative: cooperative.map(|side| side as usize),
        name: info.name,
        backend: format!("{:?}", info.backend),
        kind: format!("{:?}", info.device_type),
        driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
        max_buffer_size: limits.max_buffer_size,
        max_binding_size: limits.max_storage_buffer_binding_size,
        f16: features.contains(wgpu::Features::SHADER_F16),
        subgroups: features.contains(wgpu::Features::SUBGROUP),
        timestamps: features.contains(wgpu::Features::TIMESTAMP_QUERY),
        software,
        compute,
        rank: if software { rank.max(8) } else { rank },
    };
    (adapter, described)
}

/// Whether this machine can have a real adapter, without asking any driver: on Linux, whether there is a device file of one.
pub fn has_gpu_device_files() -> bool {
    let files = |folder: &str, prefix: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
    };
    !cfg!(target_os = "linux")
        || files("/dev/dri", "")
        || ["nvidia", "dxg", "mali", "kgsl"].iter().any(|prefix| files("/dev", prefix))
}

/// All adapters of all back ends; none where there is no graphics driver.
pub fn adapters() -> Vec<Adapter> {
    enumerate_until(|_| false).into_iter().map(|(_, adapter)| adapter).collect()
}

/// Opens an adapter: the one named, or the best (discrete before integrated, GL last).
///
/// # Errors
/// None is there, only software renderers are and they are not allowed, or the driver refuses.
pub fn open(options: Options) -> Result<Gpu, GpuError> {
    let usable = |a: &Adapter| a.compute && (options.allow_software || !a.software);
    let mut all = enumerate_until(|all| match options.index {
        Some(index) => index < all.len(),
        None => all.iter().any(|(_, a)| usable(a)),
    });
    if all.is_empty() {
        return Err(GpuError::None);
    }
    let chosen = match options.index {
        Some(index) => {
            let count = all.len();
            let Some((_, adapter)) = all.get(index) else {
                return Err(GpuError::NoSuch { index, count });
            };
            if adapter.software && !options.allow_software {
                return Err(GpuError::Software(index, adapter.name.clone()));
            }
            if !adapter.compute {
                return Err(GpuError::NoCompute(adapter.name.clone()));
            }
            index
        }
        None => match all.iter().filter(|(_, a)| usable(a)).min_by_key(|(_, a)| a.rank) {
            Some((_, adapter)) => adapter.index,
            None => {
                if let Some((_, drawing)) = all.iter().find(|(_, a)| !a.software && !a.compute) {
                    return Err(GpuError::NoCompute(drawing.name.clone()));
                }
                let names: Vec<_> = all.iter().map(|(_, a)| a.name.as_str()).collect();
                return Err(GpuError::OnlySoftware(names.join(", ")));
            }
        },
    };
    let (adapter, described) = all.swap_remove(chosen);
    if options.half && described.cooperative.is_some() {
        // Drivers' cooperative matrices are young: they are used where they give the right result, and left alone elsewhere.
        let tried = Gpu::new(&adapter, described.clone(), options, described.cooperative)?;
        if tried.self_test_passes() {
            return Ok(tried);
        }
    }
    Gpu::new(&adapter, described, options, None)
}

#[allow(unsafe_code)]
fn unsafe_wgpu_features() -> wgpu::ExperimentalFeatures {
    // SAFETY: the one experimental feature asked for is cooperative matrices. A pipeline with them is made only where the adapter lists
    // their sizes and types, and their results are checked before they are used.
    unsafe { wgpu::ExperimentalFeatures::enabled() }
}

impl Gpu {
    fn new(
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
            // The first failure tells; what follows from it does not.
            let _ = kept.set(error);
        }));
        let (name, kept) = (described.name.clone(), failure.clone());
        device.set_device_lost_callback(move |reason, message| {
            let reason =
                if message.is_empty() { format!("{reason:?}").to_lowercase() } else { message };
            let _ = kept.set(GpuError::Lost { adapter: name.clone(), reason });
        });
        let stream = Mutex::new(CommandRecorder::new(&described));
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
            stream,
            pool: Mutex::default(),
        })))
    }

    /// What was opened.
    pub fn adapter(&self) -> &Adapter {
        &self.0.adapter
    }

    /// The side of the cooperative matrices that convolutions use.
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
    /// Its first failure.
    pub fn check(&self) -> Result<(), GpuError> {
        self.0.failure.get().map_or(Ok(()), |error| Err(error.clone()))
    }

    pub(super) fn fail(&self, error: GpuError) {
        // Only the first one is kept.
        let _ = self.0.failure.set(error);
    }

    pub(super) fn failed(&self) -> bool {
        self.0.failure.get().is_some()
    }

    /// Ends the device as a driver does that resets it: everything from here on fails. For tests.
    pub fn destroy(&self) {
        self.0.device.destroy();
        // Lets the driver's news through.
        self.wait_idle();
    }
}
