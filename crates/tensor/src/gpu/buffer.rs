//! Buffers of values on a GPU.

use super::context::Gpu;
use super::error::GpuError;
use super::memory::size_class;

/// 32-bit values on a GPU. Dropping it returns its memory to the pool.
pub(crate) struct GpuBuffer {
    gpu: Gpu,
    /// `None` on a device that failed.
    buffer: Option<wgpu::Buffer>,
    len: usize,
    bytes: u64,
}

impl GpuBuffer {
    /// `len` uninitialized values: the kernel that gets the buffer writes all of them.
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
        // The size class of a size below the limit may exceed the limit.
        let bytes = bytes.min(limit);
        let buffer = if gpu.failed() { None } else { gpu.allocate(bytes) };
        if buffer.is_some() {
            gpu.0.pool.lock().record_alloc(bytes);
        }
        let buffer = Self { gpu: gpu.clone(), buffer, len, bytes };
        if gpu.0.poisoned {
            gpu.upload(&buffer, &vec![0xff; bytes as usize]);
        }
        buffer
    }

    pub(crate) fn from_slice(gpu: &Gpu, values: &[f32]) -> Self {
        let buffer = Self::uninit(gpu, values.len());
        gpu.upload(&buffer, bytemuck::cast_slice(values));
        buffer
    }

    pub(crate) fn from_words(gpu: &Gpu, values: &[u32]) -> Self {
        let buffer = Self::uninit(gpu, values.len());
        gpu.upload(&buffer, bytemuck::cast_slice(values));
        buffer
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

impl Drop for GpuBuffer {
    fn drop(&mut self) {
        if let Some(buffer) = self.buffer.take() {
            self.gpu.0.pool.lock().recycle(self.bytes, buffer);
        }
    }
}

impl Gpu {
    fn allocate(&self, bytes: u64) -> Option<wgpu::Buffer> {
        if let Some(buffer) = self.0.pool.lock().acquire(bytes) {
            return Some(buffer);
        }
        if let Some(buffer) = self.create(bytes) {
            return Some(buffer);
        }
        // Freeing the idle buffers may make space, once the work that used them is done.
        self.synchronize();
        self.0.pool.lock().clear();
        self.wait_idle();
        let made = self.create(bytes);
        if made.is_none() {
            let held = self.0.pool.lock().live_bytes;
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
        self.0.pool.lock().allocations += 1;
        Some(buffer)
    }
}
