//! Artifacts: put, get, stat, list, delete.

use artimesh_core::access::{self, Denied, Right};
use artimesh_core::catalog::{Content, Version, Versions};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, Assurance, Checksums, Digest, Dot, NodeId, Properties, RepoKey, Space};
use artimesh_core::replica::{Command, Repository, rows};
use bytes::Bytes;

use super::caller::Caller;
use super::error::ServiceError;
use super::handle::Service;
use super::shown::Seen;
use crate::store::{self, Account, BlobInfo, ConfirmError, Ingest, Md5Turn, Part, Staged, Tree, has_md5};

/// One file of a repository, as its shown version has it; or a folder that was made as one, without bytes.
#[derive(Clone, Debug)]
pub struct Item {
    /// The repository's key here.
    pub repo: RepoKey,
    /// The file's path in it.
    pub path: ArtifactPath,
    /// The blob's address.
    pub digest: Digest,
    /// Bytes.
    pub size: u64,
    /// For clients: what was computed here, once it was; until then the author's word.
    pub checksums: Checksums,
    /// The author's word.
    pub claimed: Checksums,
    /// Whether `checksums` are more than that.
    pub is_confirmed: bool,
    /// By name, or as the author was told.
    pub media_type: String,
    /// Set with the put.
    pub properties: Properties,
    /// When the path was first put.
    pub created: Timestamp,
    /// By whom then.
    pub created_by: String,
    /// When the shown version was put.
    pub modified: Timestamp,
    /// By whom.
    pub modified_by: String,
    /// How many siblings the shown version has.
    pub siblings: usize,
    /// The federation that it is in.
    pub space: Space,
    /// The entry that put the shown version.
    pub dot: Dot,
}

impl Item {
    fn of(repo: &RepoKey, path: ArtifactPath, space: Space, version: &Version, siblings: usize) -> Item {
        let Content { digest, size, checksums, media_type, properties } = version.content_now();
        Item {
            repo: repo.clone(),
            path,
            digest,
            size,
            checksums,
            claimed: checksums,
            is_confirmed: false,
            media_type,
            properties,
            created: version.created,
            created_by: version.created_by.clone(),
            modified: version.timestamp,
            modified_by: version.modified_by.clone(),
            siblings,
            space,
            dot: version.dot,
        }
    }

    /// The repository that it is in, whatever that is called by now.
    pub fn space(&self) -> Space {
        self.space
    }

    pub(super) fn author(&self) -> NodeId {
        self.dot.incarnation.node
    }
}

/// A folder: it was made as one, or paths below it make it one.
#[derive(Clone, Debug)]
pub struct Folder {
    /// The repository's key here.
    pub repo: RepoKey,
    /// `None` for the repository's root.
    pub path: Option<ArtifactPath>,
    /// The folder's own version, if it was made as one: it stays when nothing is in it.
    pub own: Option<Box<Item>>,
    /// When it was made as one; else when the repository appeared here.
    pub created: Timestamp,
}

/// What stands at a path.
#[derive(Clone, Debug)]
pub enum Found {
    /// A file.
    File(Box<Item>),
    /// A folder.
    Folder(Folder),
}

/// What the client's headers say of the body.
#[derive(Clone, Debug, Default)]
pub struct Expected {
    /// `X-Checksum-Sha256`.
    pub sha256: Option<[u8; 32]>,
    /// `X-Checksum-Sha1`.
    pub sha1: Option<[u8; 20]>,
    /// `X-Checksum-Md5`.
    pub md5: Option<[u8; 16]>,
}

/// A body on its way in. Dropping it leaves nothing behind.
pub struct Upload {
    service: Service,
    caller: Caller,
    repository: Repository,
    path: ArtifactPath,
    ingest: Ingest,
}

impl Upload {
    /// Takes the next piece; waits when the disk is slower than the network.
    pub async fn write(&mut self, bytes: Bytes) -> Result<(), ServiceError> {
        Ok(self.ingest.write(bytes).await?)
    }

    /// Checks the sums, makes bytes and entry durable, and tells what was put.
    pub async fn finish(
        self,
        expected: &Expected,
        media_type: &str,
        properties: Properties,
    ) -> Result<Item, ServiceError> {
        let Upload { service, caller, repository, path, ingest } = self;
        let staged = ingest.finish().await?;
        // What is there now may have come while the body did.
        service.check_overwrite(&caller, &repository, &path)?;
        let (checksums, replaces) = (staged.checksums(), staged.replaces().cloned());
        expected.check(&checksums)?;
        let content = Content {
            digest: staged.digest(),
            size: staged.size(),
            checksums,
            media_type: media_type.to_owned(),
            properties,
        };
        let item = Box::pin(service.put(&caller, &repository, path, content, Some(staged), None)).await?;
        if let Some(rotten) = replaces {
            service.engine().was_replaced(&rotten).await;
        }
        Ok(item)
    }
}

impl Folder {
    pub(super) fn of(repository: &Repository, path: Option<&ArtifactPath>, own: Option<Item>) -> Folder {
        Folder {
            repo: repository.key.clone(),
            path: path.cloned(),
            created: own.as_ref().map_or(repository.created, |own| own.created),
            own: own.map(Box::new),
        }
    }
}

impl Expected {
    fn check(&self, actual: &Checksums) -> Result<(), ServiceError> {
        fn differ<const N: usize>(
            algorithm: &'static str,
            expected: Option<[u8; N]>,
            actual: &[u8; N],
        ) -> Result<(), ServiceError> {
            match expected {
                Some(expected) if expected != *actual => {
                    let hex = |bytes: &[u8; N]| data_encoding::HEXLOWER.encode(bytes);
                    let (expected, actual) = (hex(&expected), hex(actual));
                    Err(ServiceError::ChecksumMismatch { algorithm, expected, actual })
                }
                _ => Ok(()),
            }
        }
        differ("SHA-256", self.sha256, &actual.sha256)?;
        differ("SHA-1", self.sha1, &actual.sha1)?;
        differ("MD5", self.md5, &actual.md5)
    }
}

impl Service {
    /// Puts content at a path. The same content is put again all the same: it is a version that whoever deletes the one
    /// before, at a site that hasn't heard of it, hasn't seen. What is a copy is recorded with the item that it is of.
    pub(super) async fn put(
        &self,
        caller: &Caller,
        repository: &Repository,
        path: ArtifactPath,
        content: Content,
        staged: Option<Staged>,
        copied: Option<&Item>,
    ) -> Result<Item, ServiceError> {
        let by = caller.principal.name().to_owned();
        let (key, put) = (repository.key.clone(), content.clone());
        let command = Command::Put { key, path: path.clone(), content: put, by: by.clone() };
        let place = format!("{}/{path}", repository.key);
        let (what, object) = match copied {
            Some(item) => ("copy", format!("{}/{} to {place}", item.repo, item.path)),
            None => ("put", place),
        };
        let receipt = self.done(caller, what, &object, command, staged).await?;
        let version = Version {
            dot: receipt.dot,
            entry: Digest::ZERO,
            timestamp: receipt.timestamp,
            content,
            created: receipt.created,
            created_by: receipt.created_by,
            modified_by: by,
            moved_from: None,
            edits: Default::default(),
        };
        Ok(Item::of(&repository.key, path, repository.space, &version, 0))
    }

    /// Admission before the body is read: edge, rights, repository, and space for `size` bytes when that is known. An MD5
    /// that is expected is computed at once, whatever the setting.
    pub async fn upload(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        size: Option<u64>,
        expected: &Expected,
    ) -> Result<Upload, ServiceError> {
        let repository = self.writable_at(caller, Right::Write, repo, path)?;
        self.check_overwrite(caller, &repository, path)?;
        self.engine().store().check_room(size.unwrap_or(0))?;
        let md5 = if expected.md5.is_some() { Md5Turn::Inline } else { self.md5() };
        let ingest = self.engine().store().ingest()?.noting(caller.account.clone()).with_md5(md5);
        Ok(Upload { service: self.clone(), caller: caller.clone(), repository, path: path.clone(), ingest })
    }

    /// Metadata of the shown version at a path.
    pub async fn item(&self, caller: &Caller, repo: &RepoKey, path: &ArtifactPath) -> Result<Item, ServiceError> {
        let repository = self.readable_at(caller, repo, path)?;
        let missing = || ServiceError::NoArtifact { repo: repo.clone(), path: path.clone() };
        self.shown(&repository, path, &caller.account)?.ok_or_else(missing)
    }

    /// The file that is shown at a path, if there is one: what a download begins with.
    pub fn file(&self, caller: &Caller, repo: &RepoKey, path: &ArtifactPath) -> Result<Option<Seen>, ServiceError> {
        let repository = self.readable(caller, repo)?;
        if !access::may_at(&caller.principal, Right::Read, &repository.key, path.as_str()) {
            return Ok(None);
        }
        self.shown_now(&repository, path, &caller.account)
    }

    /// To put something in the place of what is there takes the right to delete it.
    pub(super) fn check_overwrite(
        &self,
        caller: &Caller,
        repository: &Repository,
        path: &ArtifactPath,
    ) -> Result<(), ServiceError> {
        if access::may_at(&caller.principal, Right::Delete, &repository.key, path.as_str()) {
            return Ok(());
        }
        match self.shown(repository, path, &caller.account)? {
            Some(_) => Err(Denied::Forbidden("delete, which replacing takes,").into()),
            None => Ok(()),
        }
    }

    pub(super) fn shown(
        &self,
        repository: &Repository,
        path: &ArtifactPath,
        account: &Account,
    ) -> Result<Option<Item>, ServiceError> {
        let key = rows::catalog_key(&repository.space, path);
        match account.time(Part::Index, || self.engine().store().get(Tree::Catalog, &key))? {
            Some(row) => self.item_of(repository, path.clone(), &row),
            None => Ok(None),
        }
    }

    /// The file or folder at a path; `None` is the repository's root.
    pub async fn find(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: Option<&ArtifactPath>,
    ) -> Result<Found, ServiceError> {
        let repository = self.readable(caller, repo)?;
        let Some(path) = path else { return Ok(Found::Folder(Folder::of(&repository, None, None))) };
        let may_read =
            |path: &ArtifactPath| access::may_at(&caller.principal, Right::Read, &repository.key, path.as_str());
        if may_read(path)
            && let Some(item) = self.shown(&repository, path, &caller.account)?
        {
            return Ok(Found::File(Box::new(item)));
        }
        let folder = path.as_folder();
        let own = may_read(&folder).then(|| self.shown(&repository, &folder, &caller.account));
        let own = own.transpose()?.flatten();
        if own.is_none() && !self.has_children(caller, repo, path)? {
            return Err(ServiceError::NoArtifact { repo: repo.clone(), path: path.clone() });
        }
        Ok(Found::Folder(Folder::of(&repository, Some(path), own)))
    }

    /// Files under a prefix, and folders that were made as such, by path, at most `limit` of them after `after`: none when
    /// there are no more.
    pub async fn list(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        prefix: Option<&ArtifactPath>,
        after: Option<&ArtifactPath>,
        limit: usize,
    ) -> Result<Vec<Item>, ServiceError> {
        let repository = self.readable(caller, repo)?;
        let prefix = prefix.map(|path| format!("{path}/")).unwrap_or_default();
        let first = rows::catalog_prefix(&repository.space, &prefix);
        let end = rows::end_of(&first);
        let next = after.map(|path| [rows::catalog_key(&repository.space, path).as_slice(), &[0]].concat());
        let mut from = next.map_or(first.clone(), |next| next.max(first));
        let store = self.engine().store();
        loop {
            let page = caller.account.time(Part::Index, || store.range(Tree::Catalog, &from, &end, limit))?;
            let item = |(key, value): &(Vec<u8>, Vec<u8>)| {
                let path = rows::catalog_path(key)?;
                let is_there = access::may_at(&caller.principal, Right::Read, &repository.key, path.as_str());
                is_there.then(|| self.item_of(&repository, path, value).transpose())?
            };
            let items: Vec<Item> = page.iter().filter_map(item).collect::<Result<_, _>>()?;
            match page.last() {
                // All that was read may be none of the caller's.
                Some((last, _)) if items.is_empty() => from = [last.as_slice(), &[0]].concat(),
                _ => return Ok(items),
            }
            tokio::task::yield_now().await;
        }
    }

    /// Deletes the versions of a path that this node has, or nothing if `only` isn't shown any more.
    pub async fn delete(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        only: Option<&Item>,
    ) -> Result<(), ServiceError> {
        self.delete_while(caller, repo, path, only.map(|item| item.dot)).await
    }

    /// The same, or nothing if `only` isn't shown any more.
    pub(super) async fn delete_while(
        &self,
        caller: &Caller,
        repo: &RepoKey,
        path: &ArtifactPath,
        only: Option<Dot>,
    ) -> Result<(), ServiceError> {
        let repository = self.writable_at(caller, Right::Delete, repo, path)?;
        self.readable_at(caller, repo, path)?;
        let by = caller.principal.name().to_owned();
        let command = Command::Delete { key: repository.key.clone(), path: path.clone(), only, by };
        let done = self.done(caller, "delete", &format!("{}/{path}", repository.key), command, None).await;
        done.map(|_| ()).map_err(|error| error.in_repository(repo))
    }
}

impl Service {
    /// What a row shows, with the sums that were computed here, once they were.
    pub(super) fn item_of(
        &self,
        repository: &Repository,
        path: ArtifactPath,
        row: &[u8],
    ) -> Result<Option<Item>, ServiceError> {
        item_of(repository, path, row)?.map(|item| self.summed(item)).transpose()
    }

    /// The same item with the sums that were computed here, once they were.
    pub(super) fn summed(&self, mut item: Item) -> Result<Item, ServiceError> {
        if !item.path.is_folder()
            && let Some(sums) = self.engine().store().confirmed_sums(&item.digest)?
        {
            self.engine().compare_claim(&item.space, &item.path, &item.claimed, &sums);
            (item.checksums, item.is_confirmed) = (sums, true);
        }
        Ok(item)
    }

    /// The same item with its MD5, which is computed now if it was put off.
    pub async fn with_md5(&self, item: Item) -> Result<Item, ServiceError> {
        if has_md5(&item.checksums) {
            return Ok(item);
        }
        self.confirm(&item).await?;
        self.summed(item)
    }

    /// The same item with sums that were computed here: now, if they are somebody's word so far and it has at most so many
    /// bytes. Of bytes that aren't here, or are more, nobody knows better than their author.
    pub async fn with_confirmed(&self, item: Item, bytes_max: u64) -> Result<Item, ServiceError> {
        // Of its own uploads this node has put off nothing but the MD5.
        let is_word = has_md5(&item.claimed) || item.author() != self.engine().identity().node;
        let is_claimed = |info: BlobInfo| info.assurance == Assurance::Claimed;
        if !is_word || item.size > bytes_max || !self.engine().store().blob(&item.digest)?.is_some_and(is_claimed) {
            return Ok(item);
        }
        // One at a time: the next may find that it is done.
        let _turn = self.confirming().lock().await;
        self.confirm(&item).await?;
        self.summed(item)
    }

    async fn confirm(&self, item: &Item) -> Result<(), ServiceError> {
        match self.engine().store().confirm(&item.digest).await {
            // What was computed counts from now on.
            Ok(()) | Err(ConfirmError::Mismatch { .. }) => Ok(()),
            Err(error @ ConfirmError::Unknown) => {
                Err(ServiceError::NotHere { path: item.path.clone(), reason: error.to_string() })
            }
            Err(other) => Err(ServiceError::Unavailable(other.to_string())),
        }
    }
}

/// What a row shows, by its author's word.
pub(super) fn item_of(repository: &Repository, path: ArtifactPath, row: &[u8]) -> Result<Option<Item>, ServiceError> {
    let unreadable = |error: artimesh_core::model::codec::DecodeError| ServiceError::Unavailable(error.to_string());
    let versions: Versions = rows::read(row).map_err(unreadable)?;
    let siblings = versions.siblings().len();
    let shown = versions.shown();
    Ok(shown.map(|version| Item::of(&repository.key, path, repository.space, version, siblings)))
}

impl From<store::ReadError> for ServiceError {
    fn from(error: store::ReadError) -> Self {
        ServiceError::Unavailable(error.to_string())
    }
}

impl From<store::CommitError> for ServiceError {
    fn from(error: store::CommitError) -> Self {
        match error {
            store::CommitError::NoSpace { .. } => ServiceError::NoSpace(error.to_string()),
            other => ServiceError::Unavailable(other.to_string()),
        }
    }
}
