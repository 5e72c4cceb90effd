//! The threads that serve: one listening socket each, and a small runtime of its own.
//!
//! # Why
//! A connection stays on the thread that accepted it, with everything that is polled for it: no lock, no queue and no
//! wake-up of another core stands between a request and its answer (measured: half the time per request of a runtime
//! with work stealing). What such a request waits for (the engine, the store's blocking reads) lives in the node's own
//! runtime, which handlers and bodies enter while they are polled; so nothing that was begun for a reader ends with
//! the thread that served it.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::net::TcpListener;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use tokio::runtime::{self, Handle};
use tokio::sync::{Semaphore, mpsc, watch};

use super::connection::{Door, Handler, Phase, accept};
use super::meter::Meter;
use super::options::Options;
use super::tls::Tls;

/// Serves on one thread per listener until `stop`: then nothing more is accepted anywhere, requests under way finish
/// for `options.grace`, and the rest is broken off. Ends early, with an error, when a thread can't be started or panics.
/// Dropping it breaks everything off, and blocks until that is done. Call it within the node's runtime.
pub async fn serve(
    listeners: Vec<TcpListener>,
    options: &Options,
    tls: Option<Tls>,
    meter: &Meter,
    handler: impl Handler,
    stop: impl Future<Output = ()>,
) -> io::Result<()> {
    let (listening, mut unheard) = mpsc::channel::<Infallible>(1);
    let (ending, mut ended) = mpsc::channel(listeners.len().max(1));
    let mut threads = Threads { phase: watch::channel(Phase::Serving).0, threads: Vec::new() };
    let slots = Arc::new(Semaphore::new(options.max_connections.max(1)));
    for listener in listeners {
        let door = Door {
            slots: slots.clone(),
            phase: threads.phase.subscribe(),
            options: options.clone(),
            tls: tls.clone(),
            meter: meter.clone(),
            listening: listening.clone(),
            node: Handle::current(),
        };
        threads.start(listener, door, handler.clone(), Ending(ending.clone()))?;
    }
    drop((listening, ending));
    let is_told = tokio::select! {
        biased;
        () = stop => true,
        // A thread ends only when it is told to, or by a panic.
        _ = ended.recv() => false,
    };
    threads.phase.send_replace(Phase::Refusing);
    // Nothing is ever sent: it ends when the last listener is closed.
    unheard.recv().await;
    threads.phase.send_replace(Phase::Closing);
    let finished = async { while ended.recv().await.is_some() {} };
    if tokio::time::timeout(options.grace, finished).await.is_err() {
        threads.phase.send_replace(Phase::Breaking);
        while ended.recv().await.is_some() {}
    }
    let joined = threads.join();
    if is_told { joined } else { joined.and(Err(io::Error::other("a thread that serves HTTP ended by itself"))) }
}

struct Threads {
    phase: watch::Sender<Phase>,
    threads: Vec<JoinHandle<()>>,
}

/// Tells that its thread has ended, however that came.
struct Ending(mpsc::Sender<()>);

impl Drop for Ending {
    fn drop(&mut self) {
        // There is room for one word of each thread.
        let _ = self.0.try_send(());
    }
}

impl Threads {
    fn start(&mut self, listener: TcpListener, door: Door, handler: impl Handler, ending: Ending) -> io::Result<()> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
        let listener = {
            let _entered = runtime.enter();
            tokio::net::TcpListener::from_std(listener)?
        };
        let serve = move || {
            let _ending = ending;
            runtime.block_on(accept(listener, door, handler));
            // What blocks was begun in the node's runtime, so there is nothing to wait for here.
            runtime.shutdown_background();
        };
        let thread = Builder::new().name(format!("http-{}", self.threads.len())).spawn(serve)?;
        self.threads.push(thread);
        Ok(())
    }

    fn join(&mut self) -> io::Result<()> {
        let mut outcome = Ok(());
        for thread in self.threads.drain(..) {
            if thread.join().is_err() {
                tracing::error!("a thread that serves HTTP ended in a panic");
                outcome = Err(io::Error::other("a thread that serves HTTP ended in a panic"));
            }
        }
        outcome
    }
}

impl Drop for Threads {
    fn drop(&mut self) {
        self.phase.send_replace(Phase::Breaking);
        // A panic was logged, and nobody is left to be told.
        let _ = self.join();
    }
}
