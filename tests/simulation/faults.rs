//! How often each fault took effect, so that a run that proves nothing is noticed.

use std::collections::BTreeMap;

#[derive(Clone, Debug, Default)]
pub struct Faults(BTreeMap<&'static str, u64>);

impl Faults {
    pub fn count(&mut self, fault: &'static str, times: u64) {
        *self.0.entry(fault).or_default() += times;
    }

    pub fn add(&mut self, other: &Faults) {
        other.0.iter().for_each(|(fault, times)| self.count(fault, *times));
    }

    pub fn of(&self, fault: &'static str) -> u64 {
        self.0.get(fault).copied().unwrap_or(0)
    }

    pub fn table(&self) -> String {
        self.0.iter().map(|(fault, times)| format!("{times:>9}  {fault}\n")).collect()
    }
}
