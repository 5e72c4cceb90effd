//! Jobs that work on one state, one after the other, on a thread for blocking work, while their sender goes on.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::spawn_blocking;

/// A lane with room for few jobs: who has more to send waits.
///
/// The thread that ends a job begins the next that waits. Handing each to a thread of its own would leave a core idle
/// between any two.
pub struct Lane<S>(Arc<Inner<S>>);

/// A job panicked: the state is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Broken;

struct Inner<S> {
    /// One for each job that is at work or waits.
    places: Arc<Semaphore>,
    depth: u32,
    work: Mutex<Work<S>>,
}

struct Work<S> {
    /// `None` while a thread has it.
    state: Option<S>,
    waiting: VecDeque<Job<S>>,
}

type Job<S> = (Box<dyn FnOnce(&mut S) + Send>, OwnedSemaphorePermit);

impl<S: Send + 'static> Lane<S> {
    /// A lane in which at most `depth` jobs are at work or wait.
    pub fn new(state: S, depth: u32) -> Lane<S> {
        let work = Mutex::new(Work { state: Some(state), waiting: VecDeque::new() });
        Lane(Arc::new(Inner { places: Arc::new(Semaphore::new(depth as usize)), depth, work }))
    }

    /// Has a job done behind those that were sent before; waits for a place.
    pub async fn send(&self, job: impl FnOnce(&mut S) + Send + 'static) -> Result<(), Broken> {
        let place = self.0.places.clone().acquire_owned().await.map_err(|_| Broken)?;
        let idle = {
            let mut work = self.0.work();
            work.waiting.push_back((Box::new(job), place));
            work.state.take()
        };
        // Not under the lock: a runtime that ends drops the worker here and now.
        if let Some(state) = idle {
            let worker = Worker { inner: self.0.clone(), state: Some(state) };
            spawn_blocking(|| worker.run());
        }
        Ok(())
    }

    /// Waits until all that was sent is done.
    pub async fn idle(&self) -> Result<(), Broken> {
        self.0.places.acquire_many(self.0.depth).await.map(drop).map_err(|_| Broken)
    }

    /// The state, once all that was sent is done.
    pub async fn finish(self) -> Result<S, Broken> {
        self.idle().await?;
        self.0.work().state.take().ok_or(Broken)
    }
}

impl<S> Inner<S> {
    fn work(&self) -> MutexGuard<'_, Work<S>> {
        self.work.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Has the state until no job waits.
struct Worker<S> {
    inner: Arc<Inner<S>>,
    state: Option<S>,
}

impl<S> Worker<S> {
    fn run(mut self) {
        let mut done = None;
        loop {
            let mut work = self.inner.work();
            // The place of a job is free only once the state is back, or at work on the next.
            let Some((job, place)) = work.waiting.pop_front() else {
                work.state = self.state.take();
                return;
            };
            drop(work);
            drop(done.replace(place));
            if let Some(state) = &mut self.state {
                job(state);
            }
        }
    }
}

impl<S> Drop for Worker<S> {
    fn drop(&mut self) {
        if self.state.is_some() {
            self.inner.places.close();
            self.inner.work().waiting.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::time::Duration;

    use super::*;

    #[tokio::test]
    async fn jobs_are_done_in_the_order_in_which_they_were_sent() {
        let lane = Lane::new(Vec::new(), 2);
        for number in 0..1000 {
            lane.send(move |seen: &mut Vec<i32>| seen.push(number)).await.unwrap();
        }
        assert_eq!(lane.finish().await, Ok((0..1000).collect()));
    }

    #[tokio::test]
    async fn who_sends_waits_when_enough_jobs_do() {
        let lane = Lane::new((), 2);
        let barrier = Arc::new(Barrier::new(2));
        let held = barrier.clone();
        lane.send(move |()| _ = held.wait()).await.unwrap();
        lane.send(|()| ()).await.unwrap();
        let third = lane.send(|()| ());
        tokio::pin!(third);
        assert!(tokio::time::timeout(Duration::from_millis(50), &mut third).await.is_err(), "two are enough");
        barrier.wait();
        third.await.unwrap();
        lane.idle().await.unwrap();
    }

    #[tokio::test]
    async fn after_a_panic_nobody_waits_for_ever() {
        let lane = Lane::new(0, 2);
        lane.send(|_| panic!("this is meant to be seen")).await.unwrap();
        while lane.send(|_| ()).await.is_ok() {}
        assert_eq!(lane.finish().await, Err(Broken));
    }
}
