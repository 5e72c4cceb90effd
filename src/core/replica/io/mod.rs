//! What goes into the replica and what comes out.

mod command;
mod event;
mod exchange;
mod view;

pub use command::{Command, CommandError, Receipt};
pub use event::{Event, Refusal};
pub use exchange::{AcceptPolicy, Input, Output, Verdict};
pub use view::{KeyValue, Page, Row, Table, View, ViewFault};
