//! placeholder
/// A disk in memory.
pub struct SimulatedFiles;
