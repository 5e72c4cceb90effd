//! How many paths there are in a folder, without looking at what they lead to.

use artimesh_core::access::{self, Right};
use artimesh_core::model::{ArtifactPath, RepoKey};
use artimesh_core::replica::rows;

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use crate::store::{Part, Tree};

/// Rows read at once.
const PAGE: usize = 500;

/// What is in a folder and may be read: files, and folders that were made as such.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Paths {
    /// How many.
    pub files: u64,
    /// Their bytes, from the folder on.
    pub bytes: u64,
}

impl Service {
    /// Counts what is in a folder (`None`: in the repository), up to `files_max` and hardly further.
    pub async fn count_paths(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        folder: Option<&ArtifactPath>,
        files_max: u64,
    ) -> Result<Paths, ServiceError> {
        let repository = self.readable(caller, repo)?;
        let prefix = folder.map(|folder| format!("{folder}/")).unwrap_or_default();
        let mut from = rows::catalog_prefix(&repository.space, &prefix);
        let end = rows::end_of(&from);
        let store = self.engine().store();
        let mut paths = Paths::default();
        while paths.files <= files_max {
            let page = caller.account.time(Part::Index, || store.range(Tree::Catalog, &from, &end, PAGE))?;
            for path in page.iter().filter_map(|(key, _)| rows::catalog_path(key)) {
                // The folder itself isn't in it.
                let bytes = path.as_str().len() - prefix.len();
                if bytes > 0 && access::may_at(&caller.principal, Right::Read, &repository.key, path.as_str()) {
                    paths.files += 1;
                    paths.bytes += bytes as u64;
                }
            }
            match page.last().filter(|_| page.len() == PAGE) {
                Some((last, _)) => from = [last.as_slice(), &[0]].concat(),
                None => break,
            }
            tokio::task::yield_now().await;
        }
        Ok(paths)
    }
}
