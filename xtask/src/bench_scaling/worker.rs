//! What `bench-scaling` starts as each rank: it measures, and prints the result on rank 0.

use super::model::Traffic;
use super::step::Work;
use super::{AllReduceTime, StepTimes, WorkerOptions};
use crate::bench::{BoxError, median};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tensor::distributed::{Communicator, Exchange, ProcessGroup};

/// Steps before the first timed one.
const WARM_UP: usize = 2;
/// The smallest message of the table of all-reduces in bytes, and the factor to the next.
const FIRST_SIZE: usize = 4 << 10;
const SIZE_FACTOR: usize = 4;

/// Runs one rank.
pub fn run(options: &WorkerOptions) -> Result<(), Box<dyn std::error::Error>> {
    // A rank that only panicked or returned would leave the others waiting.
    let print = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        print(panic);
        mpi_group::abort(101)
    }));
    let measured = mpi_group::join().map_err(BoxError::from).and_then(|communicator| {
        let tally = Arc::new(Mutex::new(Tally::default()));
        let meter = Meter { inner: Box::new(communicator), tally: Arc::clone(&tally) };
        let group = ProcessGroup::new(meter);
        let (expected, found) = (options.ranks, group.world_size());
        if found != expected {
            let library = mpi_group::library_version();
            return Err(format!(
                "{expected} ranks were started, and {library} finds {found}: --mpirun is the \
                 launcher of another library"
            )
            .into());
        }
        let json = if options.all_reduce {
            serde_json::to_string(&all_reduces(options, &group))?
        } else {
            serde_json::to_string(&steps(options, &group, &tally)?)?
        };
        if group.is_root() {
            println!("{json}");
        }
        Ok(())
    });
    if let Err(error) = measured {
        eprintln!("error: {error}");
        mpi_group::abort(1);
    }
    mpi_group::finalize();
    Ok(())
}

/// Steps of the group, each followed by a step of rank 0 alone while the other ranks sleep.
fn steps(
    options: &WorkerOptions,
    group: &ProcessGroup,
    tally: &Mutex<Tally>,
) -> Result<StepTimes, BoxError> {
    let mut work = Work::new(&options.shape, options.batch, options.threads, group)?;
    let mut single = None;
    if group.is_root() {
        let alone = ProcessGroup::default();
        let (batch, threads) = (options.single_batch, options.single_threads);
        single = Some(Work::new(&options.shape, batch, threads, &alone)?);
    }
    let mut times = StepTimes::default();
    let (mut waiting, mut overlap) = (Vec::new(), Vec::new());
    for step in 0..WARM_UP + options.steps {
        meet(group);
        *lock(tally) = Tally::default();
        let waited = group.waiting();
        let seconds = work.step()?;
        let waited = (group.waiting() - waited).as_secs_f64();
        let Tally { traffic, overlapped, .. } = std::mem::take(&mut *lock(tally));
        let alone = single.as_mut().map_or(Ok(0.0), Work::step)?;
        if step >= WARM_UP {
            times.group.push(seconds);
            times.single.push(alone);
            waiting.push(waited / seconds);
            overlap.push(overlapped.as_secs_f64() / (seconds - waited));
            times.traffic = traffic;
        }
    }
    (times.waiting, times.overlap) = (median(waiting), median(overlap));
    Ok(times)
}

/// Waits until every rank has arrived, asleep: a rank that waits in MPI would keep its core busy.
fn meet(group: &ProcessGroup) {
    let mut arrival = group.start_all_reduce(vec![0.0]);
    while !arrival.make_progress() {
        std::thread::sleep(Duration::from_micros(200));
    }
    arrival.wait();
    group.barrier();
}

/// All-reduces of growing messages, by the slowest rank's time.
fn all_reduces(options: &WorkerOptions, group: &ProcessGroup) -> Vec<AllReduceTime> {
    let sizes = std::iter::successors(Some(FIRST_SIZE), |size| Some(size * SIZE_FACTOR));
    let time = |bytes: usize| {
        let mut values = vec![0f32; bytes / size_of::<f32>()];
        let mut seconds = Vec::new();
        // Short ones vary more.
        let repeats = if bytes <= 1 << 20 { 5 * options.steps } else { options.steps };
        for repeat in 0..WARM_UP + repeats {
            group.barrier();
            let start = Instant::now();
            group.all_reduce(&mut values);
            let all = group.all_gather_f64(&[start.elapsed().as_secs_f64()]);
            if repeat >= WARM_UP {
                seconds.push(all.into_iter().fold(0.0, f64::max));
            }
        }
        let best = seconds.iter().copied().fold(f64::INFINITY, f64::min);
        AllReduceTime { bytes, best, median: median(seconds) }
    };
    sizes.take_while(|&size| size <= options.largest).map(time).collect()
}

/// What a rank has sent, and for how long gradients were under way.
#[derive(Default)]
struct Tally {
    traffic: Traffic,
    /// Exchanges that were started and are not waited for yet.
    under_way: usize,
    since: Option<Instant>,
    /// The time with exchanges under way, without that of blocking operations.
    overlapped: Duration,
}

impl Tally {
    fn start(&mut self) {
        self.under_way += 1;
        self.since.get_or_insert_with(Instant::now);
    }

    fn end(&mut self) {
        self.under_way -= 1;
        if self.under_way == 0 {
            self.overlapped += self.since.take().map_or(Duration::ZERO, |since| since.elapsed());
        }
    }
}

fn lock(tally: &Mutex<Tally>) -> MutexGuard<'_, Tally> {
    tally.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A transport that counts what goes through it.
struct Meter {
    inner: Box<dyn Communicator>,
    tally: Arc<Mutex<Tally>>,
}

impl Meter {
    fn watch(&self, inner: Box<dyn Exchange>) -> Box<dyn Exchange> {
        Box::new(MeterExchange { inner, tally: Arc::clone(&self.tally) })
    }

    /// A blocking operation. It moves the begin of what is under way, so that its time is not
    /// counted as overlapped.
    fn block(&self, operation: impl FnOnce()) {
        let start = Instant::now();
        operation();
        if let Some(since) = &mut lock(&self.tally).since {
            *since += start.elapsed();
        }
    }
}

impl Communicator for Meter {
    fn rank(&self) -> usize {
        self.inner.rank()
    }

    fn world_size(&self) -> usize {
        self.inner.world_size()
    }

    fn local_rank(&self) -> usize {
        self.inner.local_rank()
    }

    fn local_size(&self) -> usize {
        self.inner.local_size()
    }

    fn node(&self) -> String {
        self.inner.node()
    }

    fn all_gather(&self, own: &[u8], all: &mut [u8]) {
        lock(&self.tally).traffic.sums.push(own.len());
        self.block(|| self.inner.all_gather(own, all));
    }

    fn broadcast(&self, root: usize, message: &mut [u8]) {
        self.block(|| self.inner.broadcast(root, message));
    }

    fn barrier(&self) {
        self.block(|| self.inner.barrier());
    }

    fn start_all_to_all(&self, pieces: Vec<f32>) -> Box<dyn Exchange> {
        let mut tally = lock(&self.tally);
        tally.traffic.gradients.push(size_of_val(&pieces[..]));
        tally.start();
        drop(tally);
        self.watch(self.inner.start_all_to_all(pieces))
    }

    fn start_all_gather(&self, own: Vec<f32>) -> Box<dyn Exchange> {
        lock(&self.tally).start();
        self.watch(self.inner.start_all_gather(own))
    }
}

struct MeterExchange {
    inner: Box<dyn Exchange>,
    tally: Arc<Mutex<Tally>>,
}

impl Exchange for MeterExchange {
    fn is_done(&mut self) -> bool {
        self.inner.is_done()
    }

    fn wait(self: Box<Self>) -> Vec<f32> {
        lock(&self.tally).end();
        self.inner.wait()
    }
}
