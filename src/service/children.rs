//! What is directly inside a folder, page by page: files, and folders, each once.

use artimesh_core::access::{self, Reach, Right};
use artimesh_core::model::{ArtifactPath, RepoKey};
use artimesh_core::replica::{Repository, rows};

use super::artifacts::Item;
use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use crate::store::{Part, Tree};

/// Rows read at once where files stand beside each other.
const PAGE: usize = 500;
/// Rows read at once behind a folder, whose own rows are skipped.
const PAGE_LEAST: usize = 8;

/// One row of a folder.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A folder of this name.
    Folder(String),
    /// A file.
    File(Box<Item>),
}

/// What is inside a folder and may be read, in the order of the names, a folder's with its slash.
pub struct Children {
    service: Service,
    caller: Caller,
    repository: Repository,
    prefix: String,
    from: Option<Vec<u8>>,
    end: Vec<u8>,
    ahead: usize,
}

impl Service {
    /// What is in a folder; `None` is the repository's root.
    pub fn children(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: Option<&ArtifactPath>,
    ) -> Result<Children, ServiceError> {
        let repository = self.readable(caller, repo)?;
        let prefix = path.map(|path| format!("{path}/")).unwrap_or_default();
        let from = rows::catalog_prefix(&repository.space, &prefix);
        Ok(Children {
            service: self.clone(),
            caller: caller.clone(),
            repository,
            prefix,
            end: rows::end_of(&from),
            from: Some(from),
            ahead: PAGE_LEAST,
        })
    }

    /// Whether there is anything in a folder.
    pub(super) fn has_children(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
    ) -> Result<bool, ServiceError> {
        let repository = self.readable(caller, repo)?;
        let prefix = format!("{path}/");
        match access::reach(&caller.principal, Right::Read, repo, &prefix) {
            Reach::Nothing => Ok(false),
            Reach::Part => self.shows_within(caller, &repository, &prefix),
            Reach::All => {
                let own = rows::catalog_prefix(&repository.space, &prefix);
                let store = self.engine().store();
                // The folder's own row is nothing in it.
                let inside = caller.account.time(Part::Index, || {
                    store.range(Tree::Catalog, &[own.as_slice(), &[0]].concat(), &rows::end_of(&own), 1)
                })?;
                Ok(!inside.is_empty())
            }
        }
    }
}

impl Children {
    /// The next of them; `None` when there are no more. A page may be empty.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Entry>>, ServiceError> {
        let Some(mut from) = self.from.take() else { return Ok(None) };
        let mut entries = Vec::new();
        while entries.len() < PAGE {
            let store = self.service.engine().store();
            let account = &self.caller.account;
            let page = account.time(Part::Index, || store.range(Tree::Catalog, &from, &self.end, self.ahead))?;
            let mut next =
                page.last().filter(|_| page.len() == self.ahead).map(|(key, _)| [key.as_slice(), &[0]].concat());
            self.ahead = (self.ahead * 2).min(PAGE);
            for (key, value) in &page {
                let Some(path) = rows::catalog_path(key) else { continue };
                match path.as_str()[self.prefix.len()..].split_once('/') {
                    Some((folder, _)) => {
                        let folder = folder.to_owned();
                        let inside = rows::catalog_prefix(&self.repository.space, &self.within(&folder));
                        entries.extend(self.folder(folder)?);
                        // What is deeper in it needn't be read.
                        next = Some(rows::end_of(&inside));
                        self.ahead = PAGE_LEAST;
                        break;
                    }
                    // The folder itself.
                    None if path.is_folder() => {}
                    None => entries.extend(self.file(path, value)?),
                }
            }
            tokio::task::yield_now().await;
            match next.filter(|next| *next < self.end) {
                Some(next) => from = next,
                None => return Ok(Some(entries)),
            }
        }
        self.from = Some(from);
        Ok(Some(entries))
    }

    fn within(&self, folder: &str) -> String {
        format!("{}{folder}/", self.prefix)
    }

    fn file(&self, path: ArtifactPath, row: &[u8]) -> Result<Option<Entry>, ServiceError> {
        let repo = &self.repository.key;
        if !access::may_at(&self.caller.principal, Right::Read, repo, path.as_str()) {
            return Ok(None);
        }
        Ok(self.service.item_of(&self.repository, path, row)?.map(|item| Entry::File(Box::new(item))))
    }

    /// A folder is there for those who may read something that is in it.
    fn folder(&self, name: String) -> Result<Option<Entry>, ServiceError> {
        let Children { service, caller, repository, .. } = self;
        let is_there = service.shows_within(caller, repository, &self.within(&name))?;
        Ok(is_there.then_some(Entry::Folder(name)))
    }
}

impl Service {
    /// Whether the caller may read something that begins with `prefix`, of which it is known that something does.
    pub(super) fn shows_within(
        &self,
        caller: &Caller,
        repository: &Repository,
        prefix: &str,
    ) -> Result<bool, ServiceError> {
        match access::reach(&caller.principal, Right::Read, &repository.key, prefix) {
            Reach::Nothing => Ok(false),
            Reach::All => Ok(true),
            Reach::Part => {
                for part in access::parts(&caller.principal, Right::Read, &repository.key, prefix) {
                    let from = rows::catalog_prefix(&repository.space, part);
                    let first = self.engine().store().range(Tree::Catalog, &from, &rows::end_of(&from), 1)?;
                    if !first.is_empty() {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
        }
    }
}
