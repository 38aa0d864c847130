//! The pool that recycles buffers by size class. Work runs in the order of submission on one queue,
//! so a buffer may be reused as soon as its last owner drops it, even while recorded work still
//! uses it.

use std::collections::BTreeMap;

/// Four classes per doubling waste at most a quarter; every size is a multiple of 256 bytes, so
/// kernels may touch whole `vec4`s at the end.
pub(super) fn size_class(bytes: u64) -> u64 {
    let bytes = bytes.max(256);
    let step = (1u64 << (63 - bytes.leading_zeros())) / 4;
    bytes.next_multiple_of(step.max(256))
}

/// Idle bytes that are kept in any case.
const MIN_IDLE_BYTES: u64 = 64 << 20;

/// Idle buffers, and the statistics of all.
#[derive(Default)]
pub(super) struct BufferPool {
    idle: BTreeMap<u64, Vec<wgpu::Buffer>>,
    idle_bytes: u64,
    pub live_bytes: u64,
    pub peak_bytes: u64,
    pub allocations: u64,
}

impl BufferPool {
    pub(super) fn record_alloc(&mut self, bytes: u64) {
        self.live_bytes += bytes;
        self.peak_bytes = self.peak_bytes.max(self.live_bytes);
    }

    pub(super) fn recycle(&mut self, bytes: u64, buffer: wgpu::Buffer) {
        self.live_bytes -= bytes;
        // Buffers that were live at different times add up to more than the peak; with twice the
        // peak, a steady step finds all it needs.
        if self.idle_bytes + bytes <= (2 * self.peak_bytes).max(MIN_IDLE_BYTES) {
            self.idle_bytes += bytes;
            self.idle.entry(bytes).or_default().push(buffer);
        }
    }

    pub(super) fn acquire(&mut self, bytes: u64) -> Option<wgpu::Buffer> {
        let buffer = self.idle.get_mut(&bytes)?.pop()?;
        self.idle_bytes -= bytes;
        Some(buffer)
    }

    pub(super) fn clear(&mut self) {
        self.idle.clear();
        self.idle_bytes = 0;
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
