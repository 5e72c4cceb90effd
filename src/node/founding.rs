//! `DIR/circle.founding`: what `init --new-circle` leaves for the node's first start.

use std::path::Path;

use anyhow::Context as _;
use artimesh_core::model::{KeyPair, NodeName, codec};
use artimesh_core::trust::{Founding, NodeKeys};

use crate::config::{Keys, write_new};

/// The file's name in the data folder. It holds nothing secret.
pub const FILE_NAME: &str = "circle.founding";

/// The public halves of a node's keys.
pub(super) fn public_keys(keys: &Keys) -> NodeKeys {
    NodeKeys { log: keys.log.public(), transport: keys.transport.public(), pairing: keys.pairing.public() }
}

/// Writes the first grant of a new circle, signed by its root.
pub fn write(folder: &Path, name: &NodeName, root: &KeyPair, keys: &Keys) -> anyhow::Result<()> {
    let founding = Founding::new(root, name.clone(), public_keys(keys));
    let path = folder.join(FILE_NAME);
    write_new(&path, &codec::encode(&founding), 0o644).with_context(|| path.display().to_string())
}

/// Reads it; `None` when there is none.
pub(super) fn read(folder: &Path) -> anyhow::Result<Option<Founding>> {
    let path = folder.join(FILE_NAME);
    match std::fs::read(&path) {
        Ok(bytes) => {
            let founding = codec::decode(&bytes).with_context(|| format!("{} is damaged", path.display()))?;
            Ok(Some(founding))
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}
