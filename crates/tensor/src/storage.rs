//! The memory of a tensor, on either device, and the choice between a CPU and a GPU kernel.

use crate::cpu::buffer::Buffer;
use crate::device::Device;
use crate::gpu::GpuBuffer;
use std::sync::Arc;

/// The elements of a tensor, shared by all tensors that are views or clones of it.
#[derive(Clone)]
pub(crate) enum Storage {
    Cpu(Arc<Buffer>),
    Gpu(Arc<GpuBuffer>),
}

/// `on_device!(name; a, b; cpu => …, gpu => …)`: one of two expressions, in which `a` and `b`
/// are the tensors' elements on their common device.
macro_rules! on_device {
    ($name:expr; $($x:ident),+; cpu => $cpu:expr, gpu => $gpu:expr) => {
        match ($(&$x.storage,)+) {
            ($($crate::storage::Storage::Cpu($x),)+) => $cpu,
            ($($crate::storage::Storage::Gpu($x),)+) => $gpu,
            #[allow(unreachable_patterns, reason = "one tensor cannot be on two devices")]
            _ => $crate::storage::different_devices($name, &[$($x.device()),+]),
        }
    };
}
pub(crate) use on_device;

#[track_caller]
pub(crate) fn different_devices(name: &str, devices: &[Device]) -> ! {
    let devices: Vec<_> = devices.iter().map(ToString::to_string).collect();
    panic!("{name}: tensors on different devices: {}", devices.join(" and "))
}
