//! Read-ahead for a shuffle buffer: one thread reads the images of a window in file order; then the
//! workers decode them in shuffled order, while the thread reads the next window.
//!
//! The bytes read are kept only by the system's page cache, which drops them when memory is short.
//! So the read-ahead affects the time that a batch takes, never its contents.

use std::num::NonZeroU32;
use std::ops::Range;

use parking_lot::{Condvar, Mutex};

use crate::cursor::Cursor;

/// The position of the read-ahead thread and its limit.
#[derive(Debug)]
pub(crate) struct ReadAhead {
    buffer: u64,
    batch: u64,
    /// Windows per epoch, without those after the last batch.
    windows: u64,
    state: Mutex<ReadAheadState>,
    changed: Condvar,
}

/// An epoch, and a window in it.
type WindowId = (u64, u64);

#[derive(Debug)]
struct ReadAheadState {
    /// The next window to read.
    next: WindowId,
    /// The last window that a worker requested.
    wanted: WindowId,
    stopped: bool,
}

impl ReadAhead {
    /// Read-ahead for batches of `batch` images from `start` on, `per_epoch` per epoch.
    pub fn new(start: Cursor, buffer: NonZeroU32, batch: usize, per_epoch: u64) -> Self {
        let (buffer, batch) = (u64::from(buffer.get()), batch as u64);
        let first = (start.epoch, start.batch * batch / buffer);
        let state = ReadAheadState { next: first, wanted: first, stopped: false };
        Self {
            buffer,
            batch,
            windows: (per_epoch * batch).div_ceil(buffer),
            state: Mutex::new(state),
            changed: Condvar::new(),
        }
    }

    /// Waits until the images of the cursor's batch were read.
    pub fn wait_for(&self, cursor: Cursor) {
        let last = (cursor.epoch, (cursor.batch * self.batch + self.batch - 1) / self.buffer);
        // The epoch counter saturates here (`Cursor::advanced`), so there is no next window.
        if cursor.epoch == u64::MAX {
            return;
        }
        let mut state = self.state.lock();
        if last > state.wanted {
            state.wanted = last;
            self.changed.notify_all();
        }
        while state.next <= last && !state.stopped {
            self.changed.wait(&mut state);
        }
    }

    /// Calls `window` with each window's range of its epoch's order, at most one window ahead of
    /// the last one wanted, until [`stop`](Self::stop).
    pub fn read(&self, window: impl Fn(u64, Range<usize>)) {
        // No worker must wait for a thread that panicked.
        let _stop = StopOnDrop(self);
        loop {
            let mut state = self.state.lock();
            while state.next > self.after(state.wanted) && !state.stopped {
                self.changed.wait(&mut state);
            }
            if state.stopped {
                return;
            }
            let (epoch, number) = state.next;
            drop(state);
            let start = number * self.buffer;
            window(epoch, start as usize..(start + self.buffer) as usize);
            self.state.lock().next = self.after((epoch, number));
            self.changed.notify_all();
        }
    }

    /// Stops the reading and wakes up all waiting threads.
    pub fn stop(&self) {
        self.state.lock().stopped = true;
        self.changed.notify_all();
    }

    fn after(&self, (epoch, window): WindowId) -> WindowId {
        if window + 1 < self.windows { (epoch, window + 1) } else { (epoch.saturating_add(1), 0) }
    }
}

struct StopOnDrop<'a>(&'a ReadAhead);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.stop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use std::thread;
    use std::time::Duration;

    #[test]
    fn windows_are_read_in_order_and_no_more_than_one_ahead() {
        // 5 batches of 4 in windows of 6: the epoch has windows 0..6, 6..12, 12..18 and 18..24.
        let start = Cursor { batch: 2, ..Cursor::new(0) };
        let ahead = Arc::new(ReadAhead::new(start, NonZeroU32::new(6).unwrap(), 4, 5));
        let read = Arc::new(Mutex::new(Vec::new()));
        let reader = {
            let (ahead, read) = (Arc::clone(&ahead), Arc::clone(&read));
            thread::spawn(move || ahead.read(|epoch, range| read.lock().push((epoch, range))))
        };
        let all = [(0, 6..12), (0, 12..18), (0, 18..24), (1, 0..6), (1, 6..12)];
        let settled = |count| {
            for _ in 0..200 {
                if read.lock().len() >= count {
                    // Time to read one window too many.
                    thread::sleep(Duration::from_millis(10));
                    break;
                }
                thread::sleep(Duration::from_millis(5));
            }
            assert_eq!(*read.lock(), all[..count]);
        };
        settled(2);
        // Images 8 to 11, then 12 to 15, then 16 to 19, which span two windows.
        for (batch, count) in [(2, 2), (3, 3), (4, 4)] {
            ahead.wait_for(Cursor { batch, ..start });
            settled(count);
        }
        ahead.wait_for(Cursor { epoch: 1, batch: 0, ..start });
        settled(5);
        ahead.wait_for(Cursor { epoch: u64::MAX, batch: 0, ..start });
        ahead.stop();
        reader.join().unwrap();
        // After the end no call waits.
        ahead.wait_for(Cursor { epoch: 9, batch: 0, ..start });
    }
}
