//! How long kernels take, by the adapter's own clock where it has one.

use super::Gpu;
use super::adapter::lock;
use std::time::Instant;

/// Passes that one measurement can hold.
const PASSES: u32 = 64;

/// Two timestamps for each pass since a measurement began.
pub(super) struct Timing {
    set: wgpu::QuerySet,
    used: u32,
}

impl Timing {
    /// Where the next pass writes its timestamps.
    pub(super) fn next(&mut self) -> Option<wgpu::ComputePassTimestampWrites<'_>> {
        if self.used == 2 * PASSES {
            return None;
        }
        self.used += 2;
        Some(wgpu::ComputePassTimestampWrites {
            query_set: &self.set,
            beginning_of_pass_write_index: Some(self.used - 2),
            end_of_pass_write_index: Some(self.used - 1),
        })
    }
}

impl Gpu {
    /// Seconds that the kernels recorded by `f` take: by timestamps, else by the host's clock around them.
    pub fn time(&self, f: impl Fn()) -> f64 {
        self.synchronize();
        if self.0.timestamps {
            let set = self.0.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2 * PASSES,
            });
            lock(&self.0.stream).timing = Some(Timing { set, used: 0 });
        }
        let start = Instant::now();
        f();
        self.synchronize();
        let elapsed = start.elapsed().as_secs_f64();
        let timing = lock(&self.0.stream).timing.take();
        // More passes than there were timestamps for: the host's clock has seen them all.
        let timed = timing.filter(|timing| timing.used > 0 && timing.used < 2 * PASSES);
        timed.and_then(|timing| self.resolve(&timing)).unwrap_or(elapsed)
    }

    /// The sum of all passes.
    fn resolve(&self, timing: &Timing) -> Option<f64> {
        let size = u64::from(timing.used) * 8;
        let buffer = |usage| {
            self.0.device.create_buffer(&wgpu::BufferDescriptor {
                label: None,
                size,
                usage,
                mapped_at_creation: false,
            })
        };
        let resolved = buffer(wgpu::BufferUsages::QUERY_RESOLVE | wgpu::BufferUsages::COPY_SRC);
        let staging = buffer(wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST);
        let mut encoder =
            self.0.device.create_command_encoder(&wgpu::CommandEncoderDescriptor::default());
        encoder.resolve_query_set(&timing.set, 0..timing.used, &resolved, 0);
        encoder.copy_buffer_to_buffer(&resolved, 0, &staging, 0, size);
        self.0.queue.submit([encoder.finish()]);
        let (sender, receiver) = std::sync::mpsc::channel();
        staging.map_async(wgpu::MapMode::Read, .., move |result| {
            // The receiver waits below.
            let _ = sender.send(result.is_ok());
        });
        self.wait_idle();
        if !receiver.recv().unwrap_or(false) {
            return None;
        }
        let view = staging.get_mapped_range(..).ok()?;
        let ticks: Vec<u64> = view
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap_or_default()))
            .collect();
        let total: u64 = ticks.chunks_exact(2).map(|pass| pass[1].saturating_sub(pass[0])).sum();
        let seconds = total as f64 * f64::from(self.0.queue.get_timestamp_period()) * 1e-9;
        (seconds > 0.0).then_some(seconds)
    }
}
