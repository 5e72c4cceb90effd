//! Bytes at rest: rows and blobs that survive kill -9 and power loss from the moment a commit returns.
//!
//! The store knows nothing of artifacts. It has three ordered maps ([`Tree`]) and content-addressed blobs; a [`Batch`] of
//! both becomes durable and visible as one.
//!
//! ```text
//! packs/<number>.pack    records and commits, append-only: the journal and the truth
//! large/<number>.blob    one blob of more than 1 MiB (.part while it grows, .map beside it while it is filled)
//! index/                 sled: key → value or pointer, digest → bytes or place; can be thrown away
//! index/find/            sorted keys that were derived from rows and blobs; goes with the index
//! garbage, verified      what collections and scrubs remember; can be lost
//! cache                  what the engine remembers of what it fetched for readers; can be lost
//! gc.log                 a line for each blob that was removed, evicted, let go, or lost, or that rotted
//! ```
//!
//! **An upload.** [`Ingest`] hashes four ways while it writes, and hands out a [`Staged`] blob: in memory up to 1 MiB, else
//! sealed, synced and named in `large/`. [`Store::commit`] queues it with its rows; the committer thread takes whatever
//! has queued up, appends the records and one commit record, issues one fdatasync, shows the rows in the overlay and
//! answers. The indexer thread brings them to the index later. A copy that is there already stands for the upload only if it
//! is what it was ([`Staged::replaces`]).
//!
//! **A blob from peers.** [`Fill`] takes 1 MiB groups in any order, verifies each against the chaining values
//! ([`groups`]), lets others read what is there, and seals. It goes on after a restart.
//!
//! **MD5** costs more than all the rest of an upload, and may be put off ([`Md5Turn`]): such a blob is listed with the
//! commit that brings it, and [`Store::sum_some`] reads it again later.
//!
//! **A download** is a [`BlobStream`]: pieces that were verified lately and are in memory, by reference to the mapped file
//! ([`mapping`]) where the kernel is to send them.
//!
//! **A delete** is a record, too. The space of a large blob comes back at once; that of others when their pack holds so
//! little that it is *compacted* ([`Store::compact`]): what is live is repeated in the newest pack, and a hollow one takes
//! the old one's place. A *scrub* ([`Store::scrub_here`]) reads and hashes everything again; a [`Walk`] does so from outside.
//! All of these step aside for whoever waits.
//!
//! **A backup** ([`backup`]) streams packs and large files as of one commit while writing goes on.
//!
//! **A move** ([`moving`]) copies a store that nobody has open to another folder, verified, and says so in [`Location`].
//!
//! **An open.** Pack headers are read, the newest pack is cut behind its last whole commit and synced, the index's
//! checkpoint is compared with the packs, and what it lacks is replayed; an index that is missing, broken or contradicts
//! the packs is set aside and built anew, from all rows sorted by their keys (`sorter`). [`Recovery`] says what was done.
//!
//! # Why
//!
//! - **Packs and not sled for the bytes:** measured, sled 0.34 alone writes a tenth as fast with four times the bytes, and
//!   survives no power loss: its `flush` issues no fsync. As an index behind packs it may lose or break anything.
//! - **A commit covers its records by a checksum over their headers**, sealed with the store's id: nothing that an upload
//!   contains, and no leftover of an earlier write, can pass for a record.
//! - **A torn tail and damage are told apart by numbers.** Commit n+1 is written only after n was synced, so behind the first
//!   unreadable byte there may be pieces of one commit, never a whole later one. A pack names the first commit in it, so a
//!   pack that ends early is noticed, and footers need no sync.
//! - **What is found at open is synced before it is shown**, the pack's header and the last commit even rewritten: after a kill
//!   it may be in the page cache only, and after a failed fdatasync such pages look clean.
//! - **What nobody reads soon goes past the cache**: groups of a large blob that come from peers are written straight to the
//!   device, from where they landed. Through the cache each cost twice the processor, and drove out what was being read.
//!   Who reads such a blob first later has it from the device.
//! - **A failed fsync ends all writing** until the store is opened again; nobody knows what is on the disk then. A full
//!   disk is different: blocks are reserved before a commit counts, and the tail is taken back.
//! - **The index follows.** Acknowledging needs one fdatasync; rows reach sled in batches of at most 256 KiB, each followed by
//!   the fsync that sled leaves out, and the checkpoint only after that. An open reads all of it only if its files aren't as
//!   they were left.
//! - **Records are void, not erased.** A delete, and the number of blobs behind it, are appended like anything else, so that
//!   reading the packs in order tells the truth at every point. Packs that hold such records have a format of their own,
//!   which a release that doesn't know them refuses.
//! - **A large file goes after the commit that deletes its blob,** and its number is looked at by every open until its
//!   removal is durable. While a backup is made nothing goes.
//! - **Numbers, not digests, name large files,** so that a duplicate in flight never touches the stored one.
//!   Nothing reads such a name out of a digest: the index and the packs map one to the other.
//! - **Every file call goes through [`files::FileSystem`],** and every sync names its reason ([`files::SyncPoint`]): the tests
//!   turn the power off before each operation, and prove each kind of sync needed by leaving it out.

mod account;
pub mod backup;
mod batch;
mod carry;
mod committer;
mod compact;
mod confirm;
mod demand;
pub mod derived;
mod duplicate;
mod effects;
mod error;
pub mod files;
mod fill;
mod fill_map;
mod find;
mod found;
mod garbage;
pub mod groups;
mod handle;
mod index;
mod index_recovery;
mod indexer;
mod ingest;
mod journal;
mod lane;
mod large;
mod latency;
mod location;
pub mod mapping;
pub mod moving;
mod note;
mod options;
mod overlay;
mod pack;
mod reader;
mod rebuild;
mod recovery;
mod removal;
mod replay;
mod scrub;
mod shared;
mod sorter;
mod staged;
mod stream;
mod sums;
#[cfg(test)]
mod tests;
mod tidy;
mod unsummed;
mod value;
mod verified;
mod walk;

pub use account::{Account, Part};
pub use batch::{Batch, KEY_BYTES_MAX, Priority, RowWrite, Tree, VALUE_BYTES_MAX};
pub use compact::{Compacted, Compaction};
pub use derived::Derivation;
pub use error::{BadGroups, CommitError, CompactError, ConfirmError, FillError, IndexError, OpenError, ReadError};
pub use files::RealFiles;
pub use fill::Fill;
pub use garbage::{Garbage, GarbageReader, GarbageWriter};
pub use groups::GROUP_BYTES;
pub use handle::{Store, Usage};
pub use index::MemoryIndex;
pub use ingest::Ingest;
pub use journal::Journal;
pub use large::stored_bytes;
pub use latency::Latencies;
pub use location::{Location, LocationError};
pub use note::NoteWriter;
pub use options::{IndexKind, Options};
pub use pack::HOLLOW_PACK_BYTES;
pub use reader::{BlobInfo, BlobReader};
pub use recovery::{IndexFault, IndexRecovery, Recovery};
pub use scrub::{Rotten, Scrub, ScrubError, Scrubbed, Unit};
pub use staged::Staged;
pub use stream::{BlobStream, Carriage};
pub use sums::{Md5Turn, has_md5};
pub use unsummed::Summed;
pub use walk::{Spot, Verdict, Walk, Walked};
