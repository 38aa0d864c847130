//! Shuffled batches, made on other threads than the one that trains on them.
//!
//! Batch n of a run is made by worker n mod W and fetched from that worker's own bounded channel, so the order needs no
//! sorting and does not depend on which worker is faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::{self, JoinHandle};

use parking_lot::Mutex;

use crate::cursor::{Cursor, SHARD, order};
use crate::dataset::Dataset;
use crate::error::DataError;
use crate::flip;
use crate::read_ahead::ReadAhead;

/// One batch of images.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[N, H, W, C]` in `[-1, 1]`. May be handed back to [`Loader::recycle`].
    pub images: Vec<f32>,
    /// `[N]`, if the set has labels.
    pub labels: Option<Vec<u32>>,
    /// `[N]`: which images of the set these are.
    pub indices: Vec<usize>,
    /// Where the batch after this one starts: what to save once this one is used.
    pub cursor: Cursor,
    /// Whether this is the last batch of its epoch.
    pub epoch_end: bool,
}

/// An endless sequence of shuffled batches.
///
/// Each epoch visits the images in an order of its own (see [`order`]); the images left over at its end, fewer than
/// a batch, are dropped. The sequence is a function of the set, the batch size and the cursor, not of `prefetch`, threads
/// or time. Dropping the loader stops its threads.
///
/// Under a shuffle buffer, a set that is not in memory is read by one more thread, in the order of the files, a window ahead of the
/// batches: the system's page cache is the buffer.
#[derive(Debug)]
pub struct Loader {
    shared: Arc<LoaderState>,
    receivers: Vec<Receiver<Result<Batch, DataError>>>,
    workers: Vec<JoinHandle<()>>,
    /// The worker that makes the next batch.
    turn: usize,
}

#[derive(Debug)]
struct LoaderState {
    dataset: Arc<Dataset>,
    batch: usize,
    per_epoch: u64,
    start: Cursor,
    /// The orders of the two latest epochs: workers may be on either side of a boundary, and so may what reads ahead.
    orders: Mutex<Vec<(u64, Arc<Vec<u32>>)>>,
    spare: Mutex<Vec<Vec<f32>>>,
    spare_limit: usize,
    /// Where windows are read before they are shuffled.
    read_ahead: Option<ReadAhead>,
    stop: AtomicBool,
}

impl Loader {
    /// Starts to make batches of `batch_size` images from `cursor` on, at most about `prefetch` (at least 1) ahead.
    ///
    /// A cached set gets one thread, which only scales bytes to floats; else there are as many decoding threads as the current
    /// rayon pool has (all cores, where nobody said otherwise), up to `prefetch`.
    ///
    /// # Errors
    /// [`DataError::EmptyBatch`], [`DataError::SmallerThanBatch`], [`DataError::Cursor`] if the cursor lies beyond the end
    /// of its epoch, or [`DataError::Threads`].
    pub fn new(
        dataset: Arc<Dataset>,
        batch_size: usize,
        cursor: Cursor,
        prefetch: usize,
    ) -> Result<Self, DataError> {
        if batch_size == 0 {
            return Err(DataError::EmptyBatch);
        }
        let per_epoch = (dataset.len() / batch_size) as u64;
        if per_epoch == 0 {
            let (name, images) = (dataset.name().to_owned(), dataset.len());
            return Err(DataError::SmallerThanBatch { name, images, batch: batch_size });
        }
        if cursor.batch >= per_epoch {
            return Err(DataError::Cursor { batch: cursor.batch, batches: per_epoch });
        }
        let prefetch = prefetch.max(1);
        let count =
            if dataset.is_cached() { 1 } else { rayon::current_num_threads().min(prefetch) };
        let waiting = (prefetch / count).max(1);
        let read_ahead = cursor
            .buffer
            .filter(|_| !dataset.is_cached())
            .map(|buffer| ReadAhead::new(cursor, buffer, batch_size, per_epoch));
        let shared = Arc::new(LoaderState {
            dataset,
            batch: batch_size,
            per_epoch,
            start: cursor,
            orders: Mutex::default(),
            spare: Mutex::default(),
            // All that can be alive at once: waiting in the channels, in the making, and the one in use. With fewer, a
            // buffer would be dropped only to be allocated anew.
            spare_limit: (waiting + 1) * count + 1,
            read_ahead,
            stop: AtomicBool::new(false),
        });
        let mut loader = Self { shared, receivers: Vec::new(), workers: Vec::new(), turn: 0 };
        if loader.shared.read_ahead.is_some() {
            let shared = Arc::clone(&loader.shared);
            loader.spawn("data-ahead".to_owned(), move || shared.read_windows())?;
        }
        for worker in 0..count {
            let (sender, receiver) = sync_channel(waiting);
            let shared = Arc::clone(&loader.shared);
            loader.spawn(format!("data-load-{worker}"), move || {
                shared.work(worker as u64, count as u64, &sender)
            })?;
            loader.receivers.push(receiver);
        }
        Ok(loader)
    }

    /// The next batch; waits for it if it is not ready.
    ///
    /// # Errors
    /// A file that could be decoded when the set was open_database and cannot now is replaced by its neighbour in the set, unless
    /// more than 10 % are: [`DataError::TooManyBad`]. [`DataError::Memory`] if a batch does not fit. After an error, every
    /// call fails.
    #[expect(
        clippy::should_implement_trait,
        reason = "endless and fallible: `?` on each batch beats Option<Result>"
    )]
    pub fn next(&mut self) -> Result<Batch, DataError> {
        let receiver = self.receivers.get(self.turn).ok_or(DataError::Stopped)?;
        match receiver.recv() {
            Ok(Ok(batch)) => {
                self.turn = (self.turn + 1) % self.receivers.len();
                Ok(batch)
            }
            Ok(Err(error)) => {
                self.stop();
                Err(error)
            }
            Err(_) => {
                self.stop();
                Err(DataError::Stopped)
            }
        }
    }

    /// Takes back a batch's `images` when they are no longer needed, to spare an allocation.
    pub fn recycle(&mut self, images: Vec<f32>) {
        let mut spare = self.shared.spare.lock();
        if images.len() == self.shared.image_values() && spare.len() < self.shared.spare_limit {
            spare.push(images);
        }
    }

    /// The number of whole batches in an epoch, at least 1.
    #[must_use]
    pub fn batches_per_epoch(&self) -> u64 {
        self.shared.per_epoch
    }

    fn spawn(
        &mut self,
        name: String,
        work: impl FnOnce() + Send + 'static,
    ) -> Result<(), DataError> {
        let handle = thread::Builder::new()
            .name(name)
            .spawn(work)
            .map_err(|error| DataError::Threads(error.to_string()))?;
        self.workers.push(handle);
        Ok(())
    }

    fn stop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(read_ahead) = &self.shared.read_ahead {
            read_ahead.stop();
        }
        // A worker that waits to send wakes up when nobody can receive.
        self.receivers.clear();
        for worker in self.workers.drain(..) {
            // A worker that panicked has said so; there is nothing left of it to save.
            let _ = worker.join();
        }
    }
}

impl Drop for Loader {
    fn drop(&mut self) {
        self.stop();
    }
}

impl LoaderState {
    /// Makes every `step`-th batch from the `first` on, until nobody wants them.
    fn work(&self, first: u64, step: u64, sender: &SyncSender<Result<Batch, DataError>>) {
        let mut cursor = self.start.advanced(first, self.per_epoch);
        while !self.stop.load(Ordering::Relaxed) {
            let batch = self.make(cursor);
            let failed = batch.is_err();
            if sender.send(batch).is_err() || failed {
                return;
            }
            cursor = cursor.advanced(step, self.per_epoch);
        }
    }

    /// Reads window after window, until nobody wants them.
    fn read_windows(&self) {
        if let Some(read_ahead) = &self.read_ahead {
            read_ahead.read(|epoch, range| {
                let order = self.order(Cursor { epoch, ..self.start });
                // Ascending: as the images lie.
                let mut window = order[range.start..range.end.min(order.len())].to_vec();
                window.sort_unstable();
                for shard in window.chunk_by(|a, b| a / SHARD == b / SHARD) {
                    if self.stop.load(Ordering::Relaxed) {
                        return;
                    }
                    self.dataset.read_ahead(shard);
                }
            });
        }
    }

    fn make(&self, cursor: Cursor) -> Result<Batch, DataError> {
        if let Some(read_ahead) = &self.read_ahead {
            read_ahead.wait_for(cursor);
        }
        let order = self.order(cursor);
        let mut images = self.buffer()?;
        // batch < per_epoch, so this is within the set.
        let start = cursor.batch as usize * self.batch;
        let mut indices = Vec::with_capacity(self.batch);
        let image_len = images.len() / self.batch;
        let order = &order[start..start + self.batch];
        self.dataset.prefetch(order);
        for (&index, out) in order.iter().zip(images.chunks_exact_mut(image_len)) {
            if self.stop.load(Ordering::Relaxed) {
                return Err(DataError::Stopped);
            }
            indices.push(self.dataset.write_or_next(index as usize, out)?);
            flip::maybe_flip(&self.dataset, cursor, index, out);
        }
        let labels = indices.iter().map(|&index| self.dataset.label(index)).collect();
        let next = cursor.advanced(1, self.per_epoch);
        Ok(Batch { images, labels, indices, cursor: next, epoch_end: next.batch == 0 })
    }

    /// The order of the cursor's epoch, made once for all workers.
    fn order(&self, cursor: Cursor) -> Arc<Vec<u32>> {
        let mut orders = self.orders.lock();
        if let Some((_, order)) = orders.iter().find(|(epoch, _)| *epoch == cursor.epoch) {
            return Arc::clone(order);
        }
        if orders.len() == 2 {
            orders.remove(0);
        }
        // Opening a set checks that its length fits.
        let order = Arc::new(order(cursor, self.dataset.len() as u32));
        orders.push((cursor.epoch, Arc::clone(&order)));
        order
    }

    /// A buffer for a batch, with anything in it.
    fn buffer(&self) -> Result<Vec<f32>, DataError> {
        if let Some(buffer) = self.spare.lock().pop() {
            return Ok(buffer);
        }
        let values = self.image_values();
        let mut buffer = Vec::new();
        let bytes = values as u64 * 4;
        buffer
            .try_reserve_exact(values)
            .map_err(|_| DataError::Memory { what: "a batch of images", bytes })?;
        buffer.resize(values, 0.0);
        Ok(buffer)
    }

    /// `N·H·W·C`.
    fn image_values(&self) -> usize {
        self.batch * self.dataset.shape().iter().product::<usize>()
    }
}
