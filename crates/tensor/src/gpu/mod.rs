//! The GPU back end: wgpu (Vulkan, Metal, DX12, GL) under kernels written in WGSL (`shaders/` at the repository's root).
//!
//! [`adapter`] finds and opens one, [`memory`] recycles its buffers, [`shader`] makes pipelines from the WGSL templates, [`stream`] records
//! dispatches into few submits, and [`kernels`] has one module per kernel family, the same as `cpu/`.
//!
//! Operations cannot fail one by one: the first failure of a device (out of memory, lost, a shader that does not compile) stays, everything
//! recorded after it is dropped, numbers read from it are NaN, and [`Device::check`](crate::Device::check) tells.

/// Names the kernels whose choice decides the last bits of a result: how sums are cut, and which kernel serves which sizes. It changes
/// whenever one of them does.
pub(crate) const KERNELS: &str = "kernels gpu-1";

mod adapter;
pub(crate) mod kernels;
mod memory;
mod recorder;
mod shader;
mod timing;

pub use adapter::{Adapter, Gpu, GpuError, Options, adapters, has_gpu_device_files, open};
pub use kernels::peak::Peak;
pub use recorder::Counters;
pub use shader::all_specializations;

pub(crate) use memory::GpuBuffer;
pub(crate) use recorder::{Dispatch, Params, StagedRead};
pub(crate) use shader::{Define, ShaderSpec};
