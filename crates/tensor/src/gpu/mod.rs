//! The GPU back end: wgpu (Vulkan, Metal, DX12, GL) under kernels written in WGSL (`shaders/` in
//! the repository's root).
//!
//! `adapter` lists adapters and `open` opens one; `memory` recycles its buffers; `shader` expands
//! the WGSL templates and `pipeline` compiles them; `dispatch` records kernels into few submits;
//! `tape` records them for replay elsewhere;
//! `kernels` has one module per kernel family, as `cpu/` has.
//!
//! Operations do not return errors: the first failure of a device (out of memory, device lost, a
//! shader that does not compile) is kept, work recorded after it is dropped, values read from the
//! device are NaN, and [`Device::check`](crate::Device::check) returns the failure.
//!
//! ```
//! use tensor::gpu::{self, GpuError, Options};
//! // There is no machine with a thousand adapters.
//! let options = Options { index: Some(1000), allow_software: true, ..Options::default() };
//! let missing = gpu::open(options);
//! assert!(matches!(missing, Err(GpuError::None | GpuError::NoSuch { index: 1000, .. })));
//! ```

/// Names the kernels whose choice decides the last bits of a result: how sums are split, and which
/// kernel computes which sizes. It changes whenever one of them does.
pub(crate) const KERNELS: &str = "kernels gpu-1";

mod adapter;
mod buffer;
mod context;
mod dispatch;
mod error;
pub(crate) mod kernels;
mod memory;
mod open;
mod pipeline;
mod recorder;
mod shader;
mod tape;
mod timing;

pub use adapter::{Adapter, adapters, has_gpu_device_files};
pub use context::{Gpu, Options};
pub use dispatch::Counters;
pub use error::GpuError;
pub use kernels::{all_specializations, peak::Peak};
pub use open::open;
pub use tape::{Tape, TapeCommand, TapeShader, open_noop};

pub(crate) use buffer::GpuBuffer;
pub(crate) use dispatch::StagedRead;
