//! The HTTP server: bound first, so that its address is known, then run until it is told to stop.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;

use super::ask::Site;
use super::connection::{Answering, Arrival, accept};
use super::dispatch::answer;
use super::meter::Meter;
use super::options::Options;
use super::request_id::RequestIds;
use super::routes::Table;
use crate::service::Service;

/// A server that is bound but doesn't answer yet.
#[derive(Debug)]
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    site: Arc<Site>,
}

impl Server {
    /// Binds the address of `options`. Call it within a tokio runtime. Fails when the address can't be had.
    pub fn bind(service: Service, options: Options) -> io::Result<Server> {
        let listener = std::net::TcpListener::bind(options.listen)?;
        listener.set_nonblocking(true)?;
        let listener = TcpListener::from_std(listener)?;
        let address = listener.local_addr()?;
        let meter = Meter::registered(service.metrics());
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let ids = RequestIds::from_seed(u64::from_le_bytes(seed));
        Ok(Server { listener, address, site: Arc::new(Site { service, options, meter, ids, table: Table::new() }) })
    }

    /// Where it listens: the real port, also when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready: then accepts nothing more, lets requests under way finish for the time of grace, and
    /// closes. When it returns, no request is under way. Dropping it breaks all connections off.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Server { listener, site, .. } = self;
        let shared = site.clone();
        let handler = move |arrival: Arrival| Box::pin(answer(shared.clone(), arrival)) as Answering;
        accept(listener, &site.options, &site.meter, handler, stop).await;
    }
}
