//! The GPU back end's door: which adapters this machine has. Kernels for them are not in this version.

/// A graphics adapter that wgpu can open.
#[derive(Clone, Debug)]
pub struct Adapter {
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
    /// The largest part of a buffer that a kernel can see, in bytes.
    pub max_binding_size: u64,
    /// Whether kernels can compute in half precision.
    pub f16: bool,
    /// Whether kernels can exchange values within a subgroup.
    pub subgroups: bool,
}

impl Adapter {
    /// Whether it computes on the processor.
    pub fn is_software(&self) -> bool {
        self.kind == "Cpu"
    }
}

/// All adapters of all back ends; none where there is no graphics driver.
pub fn adapters() -> Vec<Adapter> {
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor::new_without_display_handle_from_env());
    let found = pollster::block_on(instance.enumerate_adapters(wgpu::Backends::all()));
    found
        .into_iter()
        .map(|adapter| {
            let (info, limits, features) = (adapter.get_info(), adapter.limits(), adapter.features());
            Adapter {
                name: info.name,
                backend: format!("{:?}", info.backend),
                kind: format!("{:?}", info.device_type),
                driver: format!("{} {}", info.driver, info.driver_info).trim().to_string(),
                max_buffer_size: limits.max_buffer_size,
                max_binding_size: limits.max_storage_buffer_binding_size,
                f16: features.contains(wgpu::Features::SHADER_F16),
                subgroups: features.contains(wgpu::Features::SUBGROUP),
            }
        })
        .collect()
}
