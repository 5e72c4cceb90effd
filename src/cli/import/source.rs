//! Where files come from.

use std::path::PathBuf;
use std::sync::Arc;

use super::content::Content;
use super::failure::Failure;
use super::listed::{Listed, Properties, Sums};
use super::node::Place;
use super::origin::Origin;
use super::provenance;
use super::report::Report;
use super::sort::Sorter;
use super::walk::walk;

/// A tree, or a server.
pub(super) enum Source {
    Tree(PathBuf),
    Server(Box<Origin>),
}

/// A file that is about to be sent.
pub(super) struct Opened {
    pub(super) content: Content,
    /// What the source says of its bytes.
    pub(super) sums: Sums,
    /// What the artifact shall have.
    pub(super) properties: Properties,
}

impl Source {
    /// Lists all its files that can be artifacts below `place`.
    pub(super) async fn list(&self, place: &Place, report: &Arc<Report>) -> anyhow::Result<Sorter> {
        match self {
            Source::Tree(root) => {
                let (root, place, report) = (root.clone(), place.clone(), Arc::clone(report));
                tokio::task::spawn_blocking(move || walk(&root, &place, &report)).await?
            }
            Source::Server(origin) => origin.list(place, report).await,
        }
    }

    /// Begins to read one.
    pub(super) async fn open(&self, file: &Listed, piece_bytes: usize, report: &Report) -> Result<Opened, Failure> {
        match self {
            Source::Tree(root) => {
                let (content, modified) = Content::of_file(&root.join(file.path.as_str()), piece_bytes).await?;
                Ok(Opened { content, sums: Sums::default(), properties: provenance::of_file(modified) })
            }
            Source::Server(origin) => origin.open(file, report).await,
        }
    }
}
