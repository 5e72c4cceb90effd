//! The loop that owns one libp2p swarm. Everything else talks to it by [`Command`]s.

mod command;
mod connections;
mod dialling;
mod gossiping;
mod run;
mod sessions;

pub(super) use command::{Command, Contact, Remote};
pub(super) use run::{Kind, Net, Parts};
