//! Real processes, real sockets: what the product promises, tried from outside.

mod harness;
mod kills;
mod memory;
mod replicate;
