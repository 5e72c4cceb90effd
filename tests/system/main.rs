//! Real processes, real sockets: what the product promises, tried from outside.

mod absence;
mod apart;
mod backup;
mod braking;
mod cache;
mod changes;
mod deferred;
mod harness;
mod http;
mod kills;
mod lost;
mod meeting;
mod memory;
mod moving;
mod partition;
mod power;
mod race;
mod refusals;
mod replicate;
mod seeing;
mod strangers;
mod tokens;
mod transfer;
mod trust;
mod upgrade;
mod upkeep;
