//! The core against a small world: scenarios, seeded histories, mutations, laws and golden files.
//!
//! `ARTIMESH_SEED=n` replays one history, `ARTIMESH_SEEDS=count` says how many to run.

mod acts;
mod bounds;
mod checks;
mod dice;
mod digests;
mod disk;
mod faults;
mod forge;
mod golden;
mod golden_sync;
mod history;
mod laws;
mod liars;
mod network;
mod runs;
mod scenarios;
mod seeds;
mod site;
mod tracing;
mod truth;
mod weather;
mod world;
