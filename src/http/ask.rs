//! One request on its way through the room: who asks for what, and what is needed to answer.

use std::net::IpAddr;
use std::sync::Arc;

use artimesh_core::access::{Action, may};
use artimesh_core::model::Properties;
use hyper::http::request::Parts;
use hyper::{HeaderMap, Method};
use tokio::runtime::Handle;

use super::archive;
use super::at_hand::AtHand;
use super::error::HttpError;
use super::inbound::Inbound;
use super::lingering::Lingering;
use super::links::Links;
use super::meter::Meter;
use super::options::Options;
use super::request_id::RequestIds;
use super::routes::Table;
use super::target::{Place, Query};
use super::transport::Transport;
use crate::service::{Caller, Service, ServiceError};

/// What all requests share.
#[derive(Debug)]
pub struct Site {
    /// Who does the work.
    pub service: Service,
    /// The bounds.
    pub options: Options,
    /// The counters.
    pub meter: Meter,
    /// The names of requests.
    pub ids: RequestIds,
    /// The routes.
    pub table: Table,
    /// The files that were asked for lately.
    pub at_hand: AtHand,
    /// What archives may take.
    pub archives: archive::Limits,
    /// The node's own runtime, in which everything goes on that a request begins.
    pub node: Handle,
}

/// A request whose caller is known and whose body is unread.
#[derive(Debug)]
pub struct Ask {
    /// What all requests share.
    pub site: Arc<Site>,
    /// Who asks.
    pub caller: Caller,
    /// From where.
    pub remote: IpAddr,
    /// What carries the answer.
    pub transport: Transport,
    /// Method, target and headers.
    pub parts: Parts,
    /// The `{repo}` or `{key}` of the route, raw; empty where it has none.
    pub name: String,
    /// The `{*path}` of the route, raw; empty where it has none.
    pub rest: String,
    /// Read it by taking the request apart.
    pub body: Inbound<Lingering>,
}

impl Ask {
    /// The service.
    pub fn service(&self) -> &Service {
        &self.site.service
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.parts.headers
    }

    /// Whether only the headers of the answer are wanted.
    pub fn is_head(&self) -> bool {
        self.parts.method == Method::HEAD
    }

    /// For links in answers.
    pub fn links(&self) -> Result<Links, HttpError> {
        Links::of(&self.parts, self.transport.scheme(), self.site.options.public_url.as_deref())
    }

    /// The query.
    pub fn query(&self) -> Query {
        Query::parse(self.parts.uri.query())
    }

    /// Where the target points.
    pub fn place(&self) -> Result<Place, HttpError> {
        Place::parse(&self.name, &self.rest)
    }

    /// Where the target points, and the properties that it carries.
    pub fn place_with_properties(&self) -> Result<(Place, Properties), HttpError> {
        Place::parse_with_properties(&self.name, &self.rest)
    }

    /// Asks for a right that no call of the service asks for.
    pub fn must(&self, action: Action<'_>) -> Result<(), HttpError> {
        may(&self.caller.principal, action).map_err(|denied| ServiceError::from(denied).into())
    }
}
