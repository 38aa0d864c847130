//! The graphics adapters of the machine.

use serde::Serialize;

/// A graphics adapter that wgpu can open.
#[derive(Clone, Debug, Serialize)]
pub struct Adapter {
    /// The adapter's number, as in the device name `gpu:NUMBER`.
    #[serde(skip)]
    pub index: usize,
    /// Adapter name.
    pub name: String,
    /// Vulkan, Metal, Dx12 or Gl.
    pub backend: String,
    /// Discrete, integrated, virtual, or a processor's software renderer.
    pub kind: String,
    /// Driver name and version.
    pub driver: String,
    /// The largest buffer, in bytes.
    pub max_buffer_size: u64,
    /// The largest binding of a kernel, in bytes: the largest tensor.
    pub max_binding_size: u64,
    /// Whether kernels can compute in half precision.
    pub f16: bool,
    /// Whether kernels can exchange values within a subgroup.
    pub subgroups: bool,
    /// Whether the adapter has timestamp queries.
    pub timestamps: bool,
    /// The side of its cooperative matrices with half-precision operands and single-precision sums:
    /// 8 or 16.
    #[serde(skip)]
    pub cooperative: Option<usize>,
    /// Whether the adapter is a software renderer, which computes on the CPU.
    pub software: bool,
    /// Whether the adapter has compute shaders: old GL drivers do not.
    #[serde(rename = "usable")]
    pub compute: bool,
    /// The lower, the better: discrete before integrated, software last.
    #[serde(skip)]
    pub(super) rank: u8,
}

/// The adapters of some back ends, numbered from `first` on.
fn enumerate_adapters(backends: wgpu::Backends, first: usize) -> Vec<(wgpu::Adapter, Adapter)> {
    let wanted = wgpu::InstanceDescriptor::new_without_display_handle_from_env();
    let backends = wanted.backends & backends;
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor { backends, ..wanted });
    let found = pollster::block_on(instance.enumerate_adapters(backends));
    found.into_iter().enumerate().map(|(i, adapter)| describe(first + i, adapter)).collect()
}

/// The adapters of Vulkan, Metal and DX12, followed by those of GL unless that is `enough`: GL's
/// libraries print complaints on machines without a display.
pub(super) fn enumerate_until(
    enough: impl Fn(&[(wgpu::Adapter, Adapter)]) -> bool,
) -> Vec<(wgpu::Adapter, Adapter)> {
    let mut all = enumerate_adapters(wgpu::Backends::PRIMARY, 0);
    if !enough(&all) {
        all.extend(enumerate_adapters(wgpu::Backends::GL, all.len()));
    }
    all
}

pub(super) fn describe(index: usize, adapter: wgpu::Adapter) -> (wgpu::Adapter, Adapter) {
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
    // The same GPU may appear under several back ends: GL last.
    let rank = kind + u8::from(info.backend == wgpu::Backend::Gl);
    // GL does not report the device type; its software renderers are known by name.
    let software = info.device_type == wgpu::DeviceType::Cpu
        || ["llvmpipe", "softpipe", "SwiftShader", "WARP"]
            .iter()
            .any(|name| info.name.contains(name));
    let coop = features.contains(wgpu::Features::EXPERIMENTAL_COOPERATIVE_MATRIX)
        // A workgroup of `coop.wgsl` must be one subgroup, of a known size.
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

/// Whether the machine can have a hardware adapter, without loading a driver: on Linux, whether
/// there is a device file of one.
pub fn has_gpu_device_files() -> bool {
    let files = |folder: &str, prefix: &str| {
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.into_iter().any(|entry| entry.file_name().to_string_lossy().starts_with(prefix))
    };
    !cfg!(target_os = "linux")
        || files("/dev/dri", "")
        || ["nvidia", "dxg", "mali", "kgsl"].iter().any(|prefix| files("/dev", prefix))
}

/// All adapters of all back ends; empty if there is no graphics driver.
///
/// ```
/// let adapters = tensor::gpu::adapters();
/// assert!(adapters.iter().enumerate().all(|(i, adapter)| adapter.index == i));
/// ```
pub fn adapters() -> Vec<Adapter> {
    enumerate_until(|_| false).into_iter().map(|(_, adapter)| adapter).collect()
}
