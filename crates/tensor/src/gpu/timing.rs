//! The time that kernels take.

use super::context::Gpu;
use super::recorder::{PASSES, Timing};
use std::time::Instant;

impl Gpu {
    /// Seconds that the kernels recorded by `f` take: by timestamps if the adapter has them, else
    /// by the host's clock.
    pub fn time(&self, f: impl Fn()) -> f64 {
        self.synchronize();
        if self.0.timestamps {
            let set = self.0.device.create_query_set(&wgpu::QuerySetDescriptor {
                label: None,
                ty: wgpu::QueryType::Timestamp,
                count: 2 * PASSES,
            });
            self.0.recorder.lock().timing = Some(Timing { set, used: 0 });
        }
        let start = Instant::now();
        f();
        self.synchronize();
        let elapsed = start.elapsed().as_secs_f64();
        let timing = self.0.recorder.lock().timing.take();
        // With more passes than timestamps, only the host's clock covers all of them.
        let timed = timing.filter(|timing| timing.used > 0 && timing.used < 2 * PASSES);
        timed.and_then(|timing| self.resolve(&timing)).unwrap_or(elapsed)
    }

    /// The sum of the times of all passes, in seconds.
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
