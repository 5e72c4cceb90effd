//! The HTTP server: bound first, so that its address is known, then run until it is told to stop.

use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::runtime::Handle;

use super::archive;
use super::ask::Site;
use super::at_hand::{self, AtHand};
use super::connection::{Answering, Arrival};
use super::dispatch::answer;
use super::endings::Endings;
use super::listeners::bind_all;
use super::meter::Meter;
use super::options::Options;
use super::request_id::RequestIds;
use super::routes::Table;
use super::threads::serve;
use super::tls::Tls;
use crate::service::Service;

/// A server that is bound but doesn't answer yet.
#[derive(Debug)]
pub struct Server {
    listeners: Vec<TcpListener>,
    address: SocketAddr,
    tls: Option<Tls>,
    site: Arc<Site>,
}

impl Server {
    /// Binds the address of `options`. Call it within the runtime in which the engine runs: what requests begin goes on
    /// there. Fails when the address can't be had, or the certificate not be used.
    pub fn bind(service: Service, options: Options) -> io::Result<Server> {
        let tls = options.tls.as_ref().map(Tls::load).transpose()?;
        let threads = if options.threads == 0 { available_parallelism()?.get() } else { options.threads };
        let listeners = bind_all(options.listen, threads)?;
        let address = listeners[0].local_addr()?;
        let audit = Some(service.audit().clone());
        let endings = Endings::new(options.slow_log, options.server_timing, audit);
        let meter = Meter::registered(service.metrics(), endings);
        let mut seed = [0; 8];
        getrandom::fill(&mut seed).map_err(io::Error::other)?;
        let ids = RequestIds::from_seed(u64::from_le_bytes(seed));
        let node = Handle::current();
        let (table, at_hand, archives) = (Table::new(), AtHand::default(), archive::Limits::default());
        let site = Site { service, options, meter, ids, table, node, at_hand, archives };
        Ok(Server { listeners, address, tls, site: Arc::new(site) })
    }

    /// Where it listens: the real port, also when port 0 was asked for.
    pub fn local_addr(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is ready: then accepts nothing more, lets requests under way finish for the time of grace, and
    /// closes. When it returns, no request is under way. Dropping it breaks all connections off. An error says that it
    /// ended by itself, which it should not.
    pub async fn run(self, stop: impl Future<Output = ()>) -> io::Result<()> {
        let Server { listeners, tls, site, .. } = self;
        let shared = site.clone();
        let handler = move |arrival: Arrival| match at_hand::answer(&shared, &arrival) {
            Some(answer) => Answering::AtOnce(Some(answer)),
            None => Answering::later(answer(shared.clone(), arrival)),
        };
        serve(listeners, &site.options, tls, &site.meter, handler, stop).await
    }
}
