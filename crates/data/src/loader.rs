//! Shuffled batches, prepared by worker threads.
//!
//! Worker n mod W makes batch n and sends it through its own bounded channel. So the order needs no
//! sorting and does not depend on which worker is faster.

use std::ops::Range;
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

/// One batch of images, or the rows of it that this process needs.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch {
    /// `[N, H, W, C]` in `[-1, 1]`. May be handed back to [`Loader::recycle`].
    pub images: Vec<f32>,
    /// `[N]`, if the dataset has labels.
    pub labels: Option<Vec<u32>>,
    /// `[N]`: the images' indices in the dataset.
    pub indices: Vec<usize>,
    /// The position of the next batch: save it once this batch is used.
    pub cursor: Cursor,
    /// Whether this is the last batch of its epoch.
    pub epoch_end: bool,
}

/// An endless sequence of shuffled batches.
///
/// Each epoch visits the images in its own order (see [`order`]); the last images, fewer than a
/// batch, are dropped. The sequence is a function of the dataset, the batch size and the cursor,
/// and independent of `prefetch`, threads and time. Dropping the loader stops its threads.
///
/// With a shuffle buffer, a dataset that is not cached in memory is read by one more thread, in
/// file order, one window ahead of the batches; the buffer is the system's page cache.
///
/// Where several processes share a batch, each reads and decodes [its rows](Self::of_rows) alone.
///
/// ```
/// use data::{Cursor, Dataset, Loader, Preprocess, Split};
///
/// let preprocess = Preprocess::new([8, 8], 1);
/// let dataset = Dataset::open("fashion-mnist", Split::Test, &preprocess, &|_| ())?;
/// let mut loader = Loader::new(dataset.into(), 4, Cursor::new(0), 2)?;
/// let batch = loader.next()?;
/// assert_eq!((batch.images.len(), batch.cursor.batch), (4 * 8 * 8, 1));
/// # Ok::<(), data::DataError>(())
/// ```
#[derive(Debug)]
pub struct Loader {
    shared: Arc<LoaderState>,
    receivers: Vec<Receiver<Result<Batch, DataError>>>,
    workers: Vec<JoinHandle<()>>,
    /// The index of the worker that makes the next batch.
    turn: usize,
}

#[derive(Debug)]
struct LoaderState {
    dataset: Arc<Dataset>,
    batch: usize,
    /// The rows of each batch that are made, ascending.
    rows: Vec<Range<usize>>,
    per_epoch: u64,
    start: Cursor,
    /// The orders of the two latest epochs: workers may be on either side of an epoch's end, and so
    /// may the read-ahead thread.
    orders: Mutex<Vec<(u64, Arc<Vec<u32>>)>>,
    spare: Mutex<Vec<Vec<f32>>>,
    spare_limit: usize,
    /// Reads windows ahead of the shuffle.
    read_ahead: Option<ReadAhead>,
    stop: AtomicBool,
}

impl Loader {
    /// Starts to make batches of `batch_size` images from `cursor` on, about `prefetch` (at least
    /// 1) ahead.
    ///
    /// A cached dataset gets one thread, which only scales bytes to floats; otherwise there are as
    /// many decoding threads as the current rayon pool has (all cores by default), up to
    /// `prefetch`.
    ///
    /// # Errors
    /// Returns [`DataError::EmptyBatch`], [`DataError::SmallerThanBatch`], [`DataError::Cursor`] if
    /// the cursor is beyond the end of its epoch, or [`DataError::Threads`].
    pub fn new(
        dataset: Arc<Dataset>,
        batch_size: usize,
        cursor: Cursor,
        prefetch: usize,
    ) -> Result<Self, DataError> {
        let whole = 0..batch_size;
        Self::of_rows(dataset, batch_size, vec![whole], cursor, prefetch)
    }

    /// [`new`](Self::new) for a process that needs some rows of each batch of `batch_size` images,
    /// such as a rank of a group: no other image is read or decoded. `rows` are ascending ranges,
    /// and a [`Batch`] has these rows alone, one after the other.
    ///
    /// Everything else is that of the whole batch: the order and the end of an epoch, the cursor,
    /// and for each image whether it is flipped and which one replaces it if it cannot be decoded.
    /// But a process counts the bad images among its own rows, so that [`DataError::TooManyBad`]
    /// is an error of one rank.
    ///
    /// ```
    /// use data::{Cursor, Dataset, Loader, Preprocess, Split};
    ///
    /// let preprocess = Preprocess::new([8, 8], 1);
    /// let dataset = Dataset::open("fashion-mnist", Split::Test, &preprocess, &|_| ())?;
    /// let mut second_half = Loader::of_rows(dataset.into(), 4, vec![2..4], Cursor::new(0), 2)?;
    /// let batch = second_half.next()?;
    /// assert_eq!((batch.images.len(), batch.cursor.batch), (2 * 8 * 8, 1));
    /// # Ok::<(), data::DataError>(())
    /// ```
    ///
    /// # Errors
    /// Returns an error as [`new`](Self::new) does.
    ///
    /// # Panics
    /// Panics if `rows` are not ascending, overlap, are not below `batch_size`, or are empty.
    #[track_caller]
    pub fn of_rows(
        dataset: Arc<Dataset>,
        batch_size: usize,
        rows: Vec<Range<usize>>,
        cursor: Cursor,
        prefetch: usize,
    ) -> Result<Self, DataError> {
        if batch_size == 0 {
            return Err(DataError::EmptyBatch);
        }
        let is_valid = !rows.is_empty()
            && rows.iter().all(|range| !range.is_empty() && range.end <= batch_size)
            && rows.windows(2).all(|pair| pair[0].end <= pair[1].start);
        assert!(is_valid, "Loader::of_rows: rows {rows:?} of a batch of {batch_size}");
        let per_epoch = (dataset.len() / batch_size) as u64;
        if per_epoch == 0 {
            let (name, images) = (dataset.name().to_owned(), dataset.len());
            return Err(DataError::SmallerThanBatch { name, images, batch: batch_size });
        }
        if cursor.batch >= per_epoch {
            return Err(DataError::Cursor { batch: cursor.batch, batches: per_epoch });
        }
        let is_cached = dataset.is_cached();
        let [count, waiting] = Self::workers(is_cached, prefetch);
        let read_ahead = cursor
            .buffer
            .filter(|_| !is_cached)
            .map(|buffer| ReadAhead::new(cursor, buffer, batch_size, per_epoch));
        let shared = Arc::new(LoaderState {
            dataset,
            batch: batch_size,
            rows,
            per_epoch,
            start: cursor,
            orders: Mutex::default(),
            spare: Mutex::default(),
            // With fewer, a buffer would be dropped only to be allocated again.
            spare_limit: Self::max_batches(is_cached, prefetch),
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

    /// The number of threads, and of the batches that wait for each of them.
    fn workers(is_cached: bool, prefetch: usize) -> [usize; 2] {
        let prefetch = prefetch.max(1);
        let count = if is_cached { 1 } else { rayon::current_num_threads().min(prefetch) };
        [count, (prefetch / count).max(1)]
    }

    /// The most batches that are in memory at a time, with one in use: in the channels, in
    /// preparation, and that one.
    pub fn max_batches(is_cached: bool, prefetch: usize) -> usize {
        let [count, waiting] = Self::workers(is_cached, prefetch);
        (waiting + 1) * count + 1
    }

    /// Returns the next batch, once it is ready.
    ///
    /// # Errors
    /// An image that could be decoded when the dataset was opened and cannot be now is replaced by
    /// the next one, unless more than 10 % are: then returns [`DataError::TooManyBad`]. Returns
    /// [`DataError::Memory`] if a batch does not fit into memory. After an error, every call fails.
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

    /// Takes back a batch's `images` once they are no longer needed, which saves an allocation.
    pub fn recycle(&mut self, images: Vec<f32>) {
        let mut spare = self.shared.spare.lock();
        if images.len() == self.shared.image_values() && spare.len() < self.shared.spare_limit {
            spare.push(images);
        }
    }

    /// The number of full batches in an epoch, at least 1.
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
        // A worker that waits to send wakes up when its receiver is gone.
        self.receivers.clear();
        for worker in self.workers.drain(..) {
            // A worker that panicked has printed its message already.
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
    /// Makes every `step`-th batch, starting with the `first`, until the receiver is gone.
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

    /// Reads one window after another, until the loader stops.
    fn read_windows(&self) {
        if let Some(read_ahead) = &self.read_ahead {
            read_ahead.read(|epoch, range| {
                let order = self.order(Cursor { epoch, ..self.start });
                let is_needed = |&place: &usize| {
                    self.rows.iter().any(|rows| rows.contains(&(place % self.batch)))
                };
                let places = (range.start..range.end.min(order.len())).filter(is_needed);
                let mut window: Vec<u32> = places.map(|place| order[place]).collect();
                // In ascending order, as the images are stored.
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
        // In range: `batch < per_epoch`.
        let batch = &order[cursor.batch as usize * self.batch..][..self.batch];
        let order: Vec<u32> =
            self.rows.iter().flat_map(|rows| &batch[rows.clone()]).copied().collect();
        let mut indices = Vec::with_capacity(order.len());
        let image_len = self.dataset.preprocess().image_len();
        self.dataset.prefetch(&order);
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

    /// The order of the cursor's epoch, computed once for all workers.
    fn order(&self, cursor: Cursor) -> Arc<Vec<u32>> {
        let mut orders = self.orders.lock();
        if let Some((_, order)) = orders.iter().find(|(epoch, _)| *epoch == cursor.epoch) {
            return Arc::clone(order);
        }
        if orders.len() == 2 {
            orders.remove(0);
        }
        // Opening a dataset checks that its length fits.
        let order = Arc::new(order(cursor, self.dataset.len() as u32));
        orders.push((cursor.epoch, Arc::clone(&order)));
        order
    }

    /// A buffer for a batch, with unspecified contents.
    fn buffer(&self) -> Result<Vec<f32>, DataError> {
        if let Some(buffer) = self.spare.lock().pop() {
            return Ok(buffer);
        }
        let values = self.image_values();
        let mut buffer = Vec::new();
        let bytes = values as u64 * 4;
        buffer
            .try_reserve_exact(values)
            .map_err(|_| DataError::Memory { what: "a batch of images".to_owned(), bytes })?;
        buffer.resize(values, 0.0);
        Ok(buffer)
    }

    /// `N·H·W·C`.
    fn image_values(&self) -> usize {
        let rows: usize = self.rows.iter().map(Range::len).sum();
        rows * self.dataset.preprocess().image_len()
    }
}
