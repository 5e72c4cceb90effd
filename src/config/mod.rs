//! Configuration: file, environment and flags become one checked [`Settings`], or a list of everything that is wrong.
//!
//! One static table, [`KEYS`], drives all of it: the commented file that `init` writes ([`sample`]), the names of
//! environment variables, the common flags, the check ([`load`]) and `config show`. Precedence: flag, environment,
//! file, default. The secrets of a node are files of their own ([`Keys`]), never configuration.
//!
//! # Why
//! - *A table and not a derive.* A deserializer stops at the first fault and forgets where it was. An operator who has
//!   to start a node five times to learn of five typing errors was failed by the tool, so every layer is read to its
//!   end, and every fault names its source.
//! - *A layer that loses is still checked.* A wrong value in the file that a variable happens to override today is the
//!   outage of the day on which somebody removes the variable.
//! - *No types of other rooms in [`Settings`].* Multiaddrs are text that was checked here; `swarm` parses them with its
//!   own library, which stays in its room.

mod address;
mod fault;
mod file;
mod key;
mod keys;
mod load;
mod parse;
mod profiles;
mod profiles_text;
mod rates;
mod sample;
mod settings;
mod table;
mod value;

pub use address::{TcpTarget, tcp_target};
pub use fault::{Fault, Faults, Problem, Source};
pub use key::{Key, Kind};
pub use keys::{KeyFileError, Keys, read_secret, write_new};
pub(crate) use keys::{random_pair, write_pair};
pub use load::{FILE_NAME, Given, Loaded, Origin, load};
pub use parse::{BadValue, parse_duration, parse_size};
pub use profiles::{BadProfile, Profile, Profiles};
pub use sample::sample;
pub use settings::{
    Accept, Audit, Cache, Http, Ingest, Log, LogFormat, Node, Placement, Replication, Settings, Share, Shutdown, Store,
    Swarm,
};
pub use table::{KEYS, OTHER_VARIABLES};
pub use value::Value;
