//! Where files come from.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::SystemTime;

use super::content::Content;
use super::failure::Failure;
use super::listed::{Listed, Properties, Sums};
use super::node::Place;
use super::origin::Origin;
use super::provenance;
use super::report::Report;
use super::sort::Sorter;
use super::walk::walk;
use crate::cli::artifact::glob::Filter;

/// A tree, or a server.
pub(in crate::cli) enum Source {
    Tree(Tree),
    Server(Box<Origin>),
}

/// Files below a folder.
#[derive(Clone)]
pub(in crate::cli) struct Tree {
    pub(in crate::cli) root: PathBuf,
    pub(in crate::cli) filter: Filter,
    /// Whether the artifacts tell when the files were modified.
    pub(in crate::cli) keeps_times: bool,
}

impl Tree {
    /// What an artifact tells of a file that was modified then.
    pub(in crate::cli) fn properties(&self, modified: SystemTime) -> Properties {
        if self.keeps_times { provenance::of_file(modified) } else { Properties::new() }
    }
}

/// A file that is about to be sent.
pub(in crate::cli) struct Opened {
    pub(in crate::cli) content: Content,
    /// What the source says of its bytes.
    pub(in crate::cli) sums: Sums,
    /// What the artifact shall have.
    pub(in crate::cli) properties: Properties,
}

impl Source {
    /// Lists all its files that can be artifacts below `place`.
    pub(in crate::cli) async fn list(&self, place: &Place, report: &Arc<Report>) -> anyhow::Result<Sorter> {
        match self {
            Source::Tree(tree) => {
                let (tree, place, report) = (tree.clone(), place.clone(), Arc::clone(report));
                tokio::task::spawn_blocking(move || walk(&tree, &place, &report)).await?
            }
            Source::Server(origin) => origin.list(place, report).await,
        }
    }

    /// Begins to read one.
    pub(in crate::cli) async fn open(
        &self,
        file: &Listed,
        piece_bytes: usize,
        report: &Report,
    ) -> Result<Opened, Failure> {
        match self {
            Source::Tree(tree) => {
                let (content, modified) = Content::of_file(&tree.root, &file.path, piece_bytes).await?;
                Ok(Opened { content, sums: Sums::default(), properties: tree.properties(modified) })
            }
            Source::Server(origin) => origin.open(file, report).await,
        }
    }
}
