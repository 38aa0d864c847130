//! Buffers, recycled by size class. Work runs in the order of submission on one queue, so a buffer may be handed on as soon as its last owner
//! lets go of it, even while work that uses it is still waiting.

use super::Gpu;
use super::adapter::{GpuError, lock};
use std::collections::BTreeMap;

/// Four classes per doubling waste at most a quarter; every size is a multiple of 256 bytes, so kernels may touch whole `vec4`s at the end.
pub(super) fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1u64 << (63 - bytes.leading_zeros())) / 4;
    bytes.next_multiple_of(step.max(256))
}

/// Idle bytes that are always kept.
const IDLE: u64 = 64 << 20;

/// Idle buffers, and what was ever allocated.
#[derive(Default)]
pub(super) struct Pool {
    idle: BTreeMap<u64, Vec<wgpu::Buffer>>,
    idle_bytes: u64,
    live_bytes: u64,
    pub peak_bytes: u64,
    pub allocations: u64,
}

impl Pool {
    fn record_alloc(&mut self, bytes: u64) {
        self.live_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }

    fn recycle(&mut self, bytes: u64, buffer: wgpu::Buffer) {
        self.live_bytes -= bytes;
        // What was alive at different times adds up to more than ever was at once: a steady step finds all it needs.
        if self.idle_bytes + bytes <= (2 * self.peak_bytes).max(IDLE) {
            self.idle_bytes += bytes;
            self.idle.entry(bytes).or_default().push(buffer);
        }
    }

    fn acquire(&mut self, bytes: u64) -> Option<wgpu::Buffer> {
        let buffer = self.idle.get_mut(&bytes)?.pop()?;
        self.idle_bytes -= bytes;
        Some(buffer)
    }

    fn clear(&mut self) {
        self.idle.clear();
        self.idle_bytes = 0;
    }
}

/// 32-bit numbers on a GPU. Its memory goes back to the pool when it is dropped.
pub(crate) struct GpuBuffer {
    gpu: Gpu,
    /// `None` on a device that failed.
    buffer: Option<wgpu::Buffer>,
    len: usize,
    bytes: u64,
}

impl GpuBuffer {
    /// `len` numbers whose values mean nothing.
    pub(crate) fn uninit(gpu: &Gpu, len: usize) -> Self {
        let wanted = len as u64 * 4;
        let bytes = size_class(wanted);
        let limit = gpu
            .0
            .limits
            .max_storage_buffer_binding_size
            .min(gpu.0.limits.max_buffer_size)
            .min((1 << 31) - 1)
            / 256
            * 256;
        if wanted > limit {
            gpu.fail(GpuError::TooLarge {
                adapter: gpu.0.adapter.name.clone(),
                bytes: wanted,
                limit,
            });
        }
        // The last class below the limit may be larger than it.
        let bytes = bytes.min(limit);
        let buffer = if gpu.failed() { None } else { gpu.allocate(bytes) };
        if buffer.is_some() {
            lock(&gpu.0.pool).record_alloc(bytes);
        }
        let array = Self { gpu: gpu.clone(), buffer, len, bytes };
        if gpu.0.poisoned {
            gpu.upload(&array, &vec![0xff; bytes as usize]);
        }
        array
    }

    pub(crate) fn from_slice(gpu: &Gpu, values: &[f32]) -> Self {
        let array = Self::uninit(gpu, values.len());
        gpu.upload(&array, bytes_of(values));
        array
    }

    pub(crate) fn from_words(gpu: &Gpu, values: &[u32]) -> Self {
        let array = Self::uninit(gpu, values.len());
        gpu.upload(&array, bytemuck::cast_slice(values));
        array
    }

    pub(crate) fn gpu(&self) -> &Gpu {
        &self.gpu
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn buffer(&self) -> Option<&wgpu::Buffer> {
        self.buffer.as_ref()
    }

    /// The values; NaN on a device that failed. Waits for all work recorded before.
    pub(crate) fn to_vec(&self) -> Vec<f32> {
        self.gpu.read_async(&[self]).wait()
    }

    /// As [`to_vec`](Self::to_vec), as integers; 0 on a device that failed.
    pub(crate) fn to_words(&self) -> Vec<u32> {
        let values = self.to_vec();
        if self.gpu.failed() {
            vec![0; self.len]
        } else {
            values.into_iter().map(f32::to_bits).collect()
        }
    }
}

fn bytes_of(values: &[f32]) -> &[u8] {
    bytemuck::cast_slice(values)
}

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            lock(&self.gpu.0.pool).recycle(self.bytes, buffer);
        }
    }
}

impl Gpu {
    fn allocate(&self, bytes: u64) -> Option<wgpu::Buffer> {
        if let Some(buffer) = lock(&self.0.pool).acquire(bytes) {
            return Some(buffer);
        }
        if let Some(buffer) = self.create(bytes) {
            return Some(buffer);
        }
        // What lies idle may be what is missing, once the work that used it is done.
        self.synchronize();
        lock(&self.0.pool).clear();
        self.wait_idle();
        let made = self.create(bytes);
        if made.is_none() {
            let held = lock(&self.0.pool).live_bytes;
            self.fail(GpuError::Memory { adapter: self.0.adapter.name.clone(), bytes, held });
        }
        made
    }

    fn create(&self, bytes: u64) -> Option<wgpu::Buffer> {
        let memory = self.0.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let internal = self.0.device.push_error_scope(wgpu::ErrorFilter::Internal);
        let buffer = self.0.device.create_buffer(&wgpu::BufferDescriptor {
            label: None,
            size: bytes,
            usage: wgpu::BufferUsages::STORAGE
                | wgpu::BufferUsages::COPY_DST
                | wgpu::BufferUsages::COPY_SRC,
            mapped_at_creation: false,
        });
        let errors = [pollster::block_on(internal.pop()), pollster::block_on(memory.pop())];
        if errors.iter().any(Option::is_some) {
            return None;
        }
        lock(&self.0.pool).allocations += 1;
        Some(buffer)
    }
}

#[cfg(test)]
mod tests {
    use super::size_class;

    #[test]
    fn classes_hold_their_sizes_and_waste_a_quarter_at_most() {
        for bytes in (1..5000).chain([1 << 20, (1 << 20) + 1, 3_000_000_000]) {
            let class = size_class(bytes);
            assert!(class >= bytes && class.is_multiple_of(256), "{bytes} in {class}");
            assert!(
                bytes < 1024 || class as f64 <= bytes as f64 * 1.25 + 256.0,
                "{bytes} in {class}"
            );
        }
    }
}
