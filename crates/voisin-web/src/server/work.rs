//! Blocking work beside the server: so much at once, so many waiting, a panic is one lost answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::Semaphore;

use super::answer::Refused;
use crate::{Kind, WebError};

/// Slots for blocking work, and a queue before them.
#[derive(Debug)]
pub struct Work {
    slots: Arc<Semaphore>,
    waiting: AtomicUsize,
    most: usize,
}

impl Work {
    /// `slots` at once; at most `most` wait, others are told to come back.
    pub fn new(slots: usize, most: usize) -> Work {
        Work { slots: Arc::new(Semaphore::new(slots)), waiting: AtomicUsize::new(0), most }
    }

    /// Runs `f` on a thread where it may block. Who goes away while waiting is forgotten; what has begun is finished.
    ///
    /// # Errors
    /// 503 when too many wait; what `f` gives; 500 when it panics.
    pub async fn run<T: Send + 'static>(&self, f: impl FnOnce() -> Result<T, WebError> + Send + 'static) -> Result<T, Refused> {
        let waiting = Waiting::new(&self.waiting);
        if waiting.before >= self.most {
            let busy = WebError::new(Kind::Busy, format!("{} requests wait already", self.most));
            return Err(busy.hint("try again in a moment").into());
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await.expect("the semaphore is never closed");
        drop(waiting);
        let done = tokio::task::spawn_blocking(move || {
            let _slot = slot;
            f()
        });
        Ok(done.await.map_err(|_| bug())??)
    }
}

/// The answer to a request whose handler panicked.
pub fn bug() -> WebError {
    WebError::new(Kind::Internal, "a bug: this request could not be answered")
}

struct Waiting<'a> {
    count: &'a AtomicUsize,
    before: usize,
}

impl Waiting<'_> {
    fn new(count: &AtomicUsize) -> Waiting<'_> {
        Waiting { count, before: count.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_much_is_busy_and_a_panic_is_an_error() {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).build().expect("a runtime");
        runtime.block_on(async {
            let work = Arc::new(Work::new(1, 2));
            let (go, wait) = std::sync::mpsc::channel::<()>();
            let first = tokio::spawn({
                let work = Arc::clone(&work);
                async move { work.run(move || Ok(wait.recv().is_ok())).await }
            });
            while work.slots.available_permits() > 0 {
                tokio::task::yield_now().await;
            }
            let others: Vec<_> = (0..2)
                .map(|_| {
                    let work = Arc::clone(&work);
                    tokio::spawn(async move { work.run(|| Ok(true)).await })
                })
                .collect();
            while work.waiting.load(Ordering::Relaxed) < 2 {
                tokio::task::yield_now().await;
            }
            assert_eq!(work.run(|| Ok(true)).await.unwrap_err().error.kind, Kind::Busy);
            go.send(()).expect("it waits");
            assert!(first.await.expect("no panic").expect("done"));
            for other in others {
                assert!(other.await.expect("no panic").expect("done"));
            }
            let panicked = work.run(|| -> Result<(), WebError> { panic!("on purpose") }).await;
            assert_eq!(panicked.unwrap_err().error.kind, Kind::Internal);
            assert!(work.run(|| Ok(true)).await.expect("it still works"));
        });
    }
}
