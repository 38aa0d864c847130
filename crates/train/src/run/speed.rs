//! How fast a run is, and how much of its time the processes of a group wait for each other.

use crate::StepMetrics;
use runs::MetricsRow;
use serde_json::{Map, Value};
use std::time::Duration;
use tensor::distributed::ProcessGroup;

/// The value of a metrics row that is the share of the time, in [0, 1], that processes spend in
/// sending, summing and waiting for each other.
pub(super) const WAITING: &str = "waiting";
/// A process is named if it takes this many times as long for a step as the median one.
const STRAGGLER: f64 = 2.0;
/// In so many rows of metrics, one after the other.
const SLOW_ROWS: u32 = 3;

/// Time spent in steps and in waiting for data, not in writing files.
pub(super) struct Clock {
    group: ProcessGroup,
    /// The node of each rank.
    nodes: Vec<String>,
    total: Duration,
    since_row: Duration,
    steps: u64,
    /// Time in collective operations, of that since the last row.
    waiting: Duration,
    /// The group's counter before the current step.
    waited: Duration,
    /// The rank that was far slower than the others, and in how many rows without a break.
    straggler: Option<(usize, u32)>,
}

impl Clock {
    /// A clock that starts at the seconds of the run before it was resumed.
    pub fn new(seconds: f64, group: &ProcessGroup) -> Self {
        Self {
            nodes: group.nodes(),
            total: Duration::from_secs_f64(seconds.max(0.0)),
            since_row: Duration::ZERO,
            steps: 0,
            waiting: Duration::ZERO,
            waited: group.waiting(),
            straggler: None,
            group: group.clone(),
        }
    }

    /// Notes the start of a step: what the group waited for since the last one was not a step.
    pub fn start_step(&mut self) {
        self.waited = self.group.waiting();
    }

    /// Adds the duration of a step.
    pub fn add_step(&mut self, elapsed: Duration) {
        self.total += elapsed;
        self.since_row += elapsed;
        self.waiting += self.group.waiting().saturating_sub(self.waited);
        self.steps += 1;
    }

    /// The speed of all processes since the last row; `None` in a single process. All call this.
    pub fn speed(&mut self) -> Option<GroupSpeed> {
        if self.group.is_single() {
            return None;
        }
        let own = [self.since_row.as_secs_f64(), self.waiting.as_secs_f64()];
        let all = self.group.all_gather_f64(&own);
        let steps = self.steps.max(1) as f64;
        let computing = all.chunks_exact(2).map(|rank| (rank[0] - rank[1]) / steps).collect();
        let (time, waiting) = all
            .chunks_exact(2)
            .fold((0.0, 0.0), |(time, waiting), rank| (time + rank[0], waiting + rank[1]));
        Some(GroupSpeed { computing, waiting: waiting / f64::max(time, 1e-9) })
    }

    /// A sentence about a process that has become a straggler: one that was slow for
    /// [`SLOW_ROWS`] rows, since a single row may be slow by chance.
    pub fn notice_straggler(&mut self, speed: &GroupSpeed) -> Option<String> {
        let before = self.straggler.take();
        let rank = speed.straggler()?;
        let rows = before.filter(|(of, _)| *of == rank).map_or(1, |(_, rows)| rows + 1);
        self.straggler = Some((rank, rows));
        if rows != SLOW_ROWS {
            return None;
        }
        Some(format!(
            "rank {rank} on {} is slow: it computes {:.3} s per step, the median is {:.3} s; the \
             others wait for it",
            self.nodes.get(rank).map_or("an unknown node", String::as_str),
            speed.computing[rank],
            median(&speed.computing)
        ))
    }

    /// The row of metrics of step `step`; the speed is that since the row before.
    pub fn row(
        &mut self,
        step: u64,
        metrics: StepMetrics,
        batch: usize,
        mut extra: Map<String, Value>,
        speed: Option<&GroupSpeed>,
    ) -> MetricsRow {
        let images = (self.steps * batch as u64) as f64;
        let images_per_second = images / self.since_row.as_secs_f64().max(1e-9);
        extra.extend(speed.map(|speed| (WAITING.to_owned(), speed.waiting.into())));
        let StepMetrics { d_loss, g_loss, d_real, d_fake, .. } = metrics;
        MetricsRow {
            step,
            d_loss: d_loss.into(),
            g_loss: g_loss.into(),
            d_real: d_real.into(),
            d_fake: d_fake.into(),
            images_per_second,
            seconds: self.total.as_secs_f64(),
            extra,
        }
    }

    /// Begins to measure for the next row.
    pub fn reset(&mut self) {
        (self.since_row, self.waiting, self.steps) = (Duration::ZERO, Duration::ZERO, 0);
    }
}

/// The speed of the processes of a group.
pub(super) struct GroupSpeed {
    /// Seconds per step that each rank computes or waits for data.
    computing: Vec<f64>,
    /// The share of the ranks' time in collective operations.
    waiting: f64,
}

impl GroupSpeed {
    /// The slowest rank, if it is far slower than the median one.
    fn straggler(&self) -> Option<usize> {
        let slowest = (0..self.computing.len())
            .max_by(|&a, &b| self.computing[a].total_cmp(&self.computing[b]))?;
        (self.computing[slowest] > STRAGGLER * median(&self.computing)).then_some(slowest)
    }
}

/// The median; the lower one of two.
fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    sorted[(sorted.len() - 1) / 2]
}

#[cfg(test)]
mod tests {
    use super::*;
    use tensor::distributed::run_on_threads;

    #[test]
    fn a_rank_is_named_once_when_it_becomes_slow() {
        let warnings = run_on_threads(3, |group| {
            let mut clock = Clock::new(0.0, &group);
            let own = |slow: u64| if group.rank() == 1 { slow } else { 10 };
            let mut step = |milliseconds| {
                clock.start_step();
                clock.add_step(Duration::from_millis(milliseconds));
                let speed = clock.speed()?;
                clock.reset();
                clock.notice_straggler(&speed)
            };
            [19, 30, 30, 30, 30, 10, 30, 30, 30].map(|slow| step(own(slow)))
        });
        for of_rank in warnings {
            let named = of_rank.each_ref().map(Option::is_some);
            let rows: Vec<usize> = (0..9).filter(|&row| named[row]).collect();
            assert_eq!(rows, [3, 8]);
            assert!(of_rank[3].as_ref().is_some_and(|text| text.starts_with("rank 1 on threads")));
        }
    }

    #[test]
    fn a_single_process_waits_for_nobody() {
        let mut clock = Clock::new(5.0, &ProcessGroup::default());
        clock.start_step();
        clock.add_step(Duration::from_secs(2));
        assert!(clock.speed().is_none());
        let metrics = StepMetrics {
            d_loss: 1.0,
            g_loss: 2.0,
            d_real: 0.5,
            d_fake: 0.5,
            d_accuracy: 0.5,
            g_grad_norm: None,
        };
        let row = clock.row(1, metrics, 8, Map::new(), None);
        assert_eq!((row.images_per_second, row.seconds, row.extra.len()), (4.0, 7.0, 0));
    }
}
