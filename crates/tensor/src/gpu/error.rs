//! The failures of a GPU.

/// The reason why a GPU cannot be used, or can no longer be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "the messages show what the fields are")]
pub enum GpuError {
    /// There is no graphics driver, or none that wgpu can open.
    #[error("no graphics adapter found")]
    None,
    /// The only adapters are software renderers, with these names, and they are not allowed.
    #[error("the only graphics adapters are software renderers ({0}), slower than the cpu")]
    OnlySoftware(String),
    /// The adapter of this number and name is a software renderer, which is not allowed.
    #[error("gpu:{0} is a software renderer ({1}), slower than the cpu")]
    Software(usize, String),
    /// Half precision was asked for, and the device of this name lacks it.
    #[error("{0} cannot compute in half precision")]
    NoHalf(String),
    /// There is no adapter of this number.
    #[error("there is no gpu:{index}; the number of adapters is {count}")]
    NoSuch { index: usize, count: usize },
    /// The driver refuses to open the adapter.
    #[error("{adapter} cannot be opened: {reason}")]
    Open { adapter: String, reason: String },
    /// A buffer does not fit into the memory left.
    #[error("{adapter} has no memory for {bytes} more bytes; {held} bytes are allocated")]
    Memory { adapter: String, bytes: u64, held: u64 },
    /// The driver needs memory for itself, and none is left.
    #[error("{adapter} has no memory left")]
    Exhausted { adapter: String },
    /// The adapter of this name has no compute shaders.
    #[error("{0} has no compute shader support")]
    NoCompute(String),
    /// A tensor is larger than the largest binding.
    #[error("a tensor of {bytes} bytes is over the {limit} that {adapter} can bind")]
    TooLarge { adapter: String, bytes: u64, limit: u64 },
    /// A dispatch has more workgroups than the adapter can start.
    #[error("{kernel}: {groups} workgroups are over what {adapter} can start")]
    Grid { adapter: String, kernel: String, groups: u64 },
    /// The driver rejects a kernel.
    #[error("{adapter} does not compile shader {shader}: {reason}")]
    Shader { adapter: String, shader: String, reason: String },
    /// The device was lost: reset, unplugged, or stopped by the driver's watchdog.
    #[error("{adapter} was lost ({reason})")]
    Lost { adapter: String, reason: String },
    /// Any other failure that the driver reports.
    #[error("{adapter} failed: {reason}")]
    Failed { adapter: String, reason: String },
}
