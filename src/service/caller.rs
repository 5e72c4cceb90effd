//! Who calls, and under which request id.

use std::borrow::Cow;
use std::fmt;
use std::net::IpAddr;
use std::sync::Arc;

use artimesh_core::access::Principal;

use crate::store::Account;

/// Names one request through every log line and audit record: 16 hexadecimal digits, or what the client sent.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RequestId(pub Arc<str>);

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Who asks, once authenticated, and the request's id.
#[derive(Clone, Debug)]
pub struct Caller {
    /// With which rights.
    pub principal: Principal,
    /// For logs.
    pub request: RequestId,
    /// The other end of the connection.
    pub from: IpAddr,
    /// What the request waits for is noted there.
    pub account: Account,
}

/// What a client shows to be recognised. Never logged.
#[derive(Clone, PartialEq, Eq)]
pub enum Credential<'request> {
    /// Nothing.
    None,
    /// A token: a bearer, an API-key header, or a Basic password.
    Token(Cow<'request, str>),
}

impl fmt::Debug for Credential<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Credential::None => "Credential::None",
            Credential::Token(_) => "Credential::Token(…)",
        })
    }
}
