//! The body of an archive: through a folder, file by file, and each piece by piece.

use std::collections::VecDeque;

use artimesh_core::model::{ArtifactPath, RepoKey, Space};
use bytes::Bytes;
use futures::{Stream, StreamExt, stream};

use super::kind::Sums;
use super::limits::Room;
use super::out::Out;
use super::tarball::{COPIED_BYTES_MAX, Tarball};
use super::zip::Zip;
use crate::formats::Algorithm;
use crate::http::artifact::CONFIRMED_NOW_BYTES_MAX;
use crate::http::body::Broken;
use crate::http::dates::{not_after_now, seconds};
use crate::service::{Caller, Carriage, Download, Found, Item, Service, ServiceError, has_md5};

/// So many files of a folder are read at once.
const PAGE: usize = 100;

/// What is in an archive, in the order of the paths.
pub struct Entries {
    service: Service,
    caller: Caller,
    repo: RepoKey,
    folder: Option<ArtifactPath>,
    /// Where the names of entries begin in their paths.
    base: usize,
    /// Paths only: each is looked at when its turn comes, and a reader may be slow.
    page: VecDeque<ArtifactPath>,
    /// Of what was read first: another repository may get the key meanwhile.
    space: Option<Space>,
    after: Option<ArtifactPath>,
    is_last_page: bool,
}

impl Entries {
    /// All that is in a folder, or one file.
    pub fn of(service: Service, caller: Caller, found: Found) -> Entries {
        let (repo, folder, base, page, is_last_page) = match found {
            Found::File(item) => {
                let base = item.path.as_str().len() - item.path.name().len();
                (item.repo.clone(), None, base, VecDeque::from([item.path]), true)
            }
            Found::Folder(folder) => {
                let base = folder.path.as_ref().map_or(0, |path| path.as_str().len() + 1);
                (folder.repo, folder.path, base, VecDeque::new(), false)
            }
        };
        Entries { service, caller, repo, folder, base, page, space: None, after: None, is_last_page }
    }

    /// The next file as it stands now, or folder that was made as one; what was deleted meanwhile is left out.
    async fn next(&mut self) -> Result<Option<Item>, ServiceError> {
        loop {
            let Some(path) = self.page.pop_front() else {
                if self.is_last_page {
                    return Ok(None);
                }
                self.read_page().await?;
                continue;
            };
            // The folder itself is no entry.
            if path.as_str().len() <= self.base {
                continue;
            }
            match self.service.item(&self.caller, &self.repo, &path).await {
                Err(ServiceError::NoArtifact { .. }) => {}
                Ok(item) if *self.space.get_or_insert(item.space()) != item.space() => {
                    return Err(ServiceError::Unavailable("the repository was replaced by another meanwhile".into()));
                }
                item => return item.map(Some),
            }
        }
    }

    async fn read_page(&mut self) -> Result<(), ServiceError> {
        let Entries { service, caller, repo, folder, after, .. } = self;
        let page = service.list(caller, repo, folder.as_ref(), after.as_ref(), PAGE).await?;
        self.page = page.into_iter().map(|item| item.path).collect();
        self.is_last_page = self.page.is_empty();
        self.after = self.page.back().cloned();
        Ok(())
    }

    fn name<'a>(&self, path: &'a ArtifactPath) -> &'a str {
        &path.as_str()[self.base..]
    }
}

/// What is written, in one of the formats.
pub enum Format {
    /// As long as there is room for its directory.
    Zip {
        /// What is written.
        zip: Zip,
        /// Taken for it.
        _room: Room,
    },
    /// Perhaps to be compressed.
    Tar(Tarball),
}

impl Format {
    fn folder(&mut self, name: &str, modified_s: u64, out: &mut Out) -> Result<(), Broken> {
        self.must_have_room(name)?;
        match self {
            Format::Zip { zip, .. } => zip.folder(name, modified_s, out),
            Format::Tar(tarball) => tarball.folder(name, modified_s, out).map_err(unwritten)?,
        }
        Ok(())
    }

    fn whole(&mut self, name: &str, modified_s: u64, bytes: Bytes, out: &mut Out) -> Result<(), Broken> {
        self.must_have_room(name)?;
        match self {
            Format::Zip { zip, .. } => zip.whole(name, modified_s, &bytes, out),
            Format::Tar(tarball) => {
                tarball.file(name, modified_s, bytes.len() as u64, out).map_err(unwritten)?;
                tarball.data(bytes, out);
                tarball.end_file(out);
            }
        }
        Ok(())
    }

    fn file(&mut self, name: &str, modified_s: u64, size: u64, out: &mut Out) -> Result<(), Broken> {
        self.must_have_room(name)?;
        match self {
            Format::Zip { zip, .. } => zip.file(name, modified_s, size, out),
            Format::Tar(tarball) => tarball.file(name, modified_s, size, out).map_err(unwritten)?,
        }
        Ok(())
    }

    fn data(&mut self, piece: Bytes, out: &mut Out) {
        match self {
            Format::Zip { zip, .. } => zip.data(&piece, out),
            Format::Tar(tarball) => tarball.data(piece, out),
        }
    }

    fn end_file(&mut self, out: &mut Out) {
        match self {
            Format::Zip { zip, .. } => zip.end_file(out),
            Format::Tar(tarball) => tarball.end_file(out),
        }
    }

    fn finish(&mut self, out: &mut Out) -> Result<(), Broken> {
        match self {
            Format::Zip { zip, .. } => zip.finish(out),
            Format::Tar(tarball) => tarball.finish(out).map_err(unwritten)?,
        }
        Ok(())
    }

    fn must_have_room(&self, name: &str) -> Result<(), Broken> {
        match self {
            Format::Zip { zip, .. } if !zip.has_room(name) => {
                let text = "so much was put into the folder meanwhile that the zip has no room for it: ask again";
                Err(ServiceError::Unavailable(text.into()).into())
            }
            _ => Ok(()),
        }
    }
}

/// It is written to memory.
fn unwritten(error: std::io::Error) -> Broken {
    ServiceError::Unavailable(format!("the archive can't be written: {error}")).into()
}

/// An archive on its way out.
pub struct Walk {
    entries: Entries,
    format: Format,
    sums: Sums,
    /// Of files that don't go out with others.
    carriage: Carriage,
    out: Out,
    open: Option<Open>,
    is_done: bool,
}

/// A file in the middle of which the archive is.
struct Open {
    item: Item,
    download: Download,
    left: u64,
}

/// The rest of a walk behind its first piece.
pub fn pieces(first: Option<Bytes>, walk: Walk) -> impl Stream<Item = Result<Bytes, Broken>> + Send {
    let rest = stream::try_unfold(walk, |mut walk| async move { Ok(walk.next().await?.map(|piece| (piece, walk))) });
    stream::iter(first.map(Ok)).chain(rest)
}

impl Walk {
    /// Through these entries.
    pub fn new(entries: Entries, format: Format, sums: Sums, carriage: Carriage) -> Walk {
        Walk { entries, format, sums, carriage, out: Out::default(), open: None, is_done: false }
    }

    /// The next piece, never an empty one. An error must break the archive off.
    pub async fn next(&mut self) -> Result<Option<Bytes>, Broken> {
        while !self.is_done && !self.out.is_full() {
            self.step().await?;
        }
        Ok(self.out.take())
    }

    async fn step(&mut self) -> Result<(), Broken> {
        if let Some(open) = self.open.take() {
            return self.go_on(open).await;
        }
        match self.entries.next().await? {
            Some(item) if item.path.is_folder() => {
                self.format.folder(self.entries.name(&item.path), modified_s(&item), &mut self.out)
            }
            Some(item) => self.begin(item).await,
            None => {
                self.is_done = true;
                self.format.finish(&mut self.out)
            }
        }
    }

    async fn begin(&mut self, item: Item) -> Result<(), Broken> {
        let Entries { service, caller, .. } = &self.entries;
        service.refuse_lost(&item)?;
        service.count_download(&caller.principal, &item);
        let name = self.entries.name(&item.path);
        if item.size == 0 {
            self.format.whole(name, modified_s(&item), Bytes::new(), &mut self.out)?;
            return self.add_sums(item).await;
        }
        let copied = Carriage::Copied { bytes_max: COPIED_BYTES_MAX as u32 };
        let carriage = if item.size > COPIED_BYTES_MAX { self.carriage } else { copied };
        let mut download = service.download(caller, &item, 0..item.size, carriage).await?;
        let first = download.next().await.transpose()?.unwrap_or_default();
        if first.len() as u64 == item.size {
            self.format.whole(name, modified_s(&item), first, &mut self.out)?;
            return self.add_sums(item).await;
        }
        self.format.file(name, modified_s(&item), item.size, &mut self.out)?;
        let mut open = Open { left: item.size, item, download };
        self.take(&mut open, first)?;
        self.open = Some(open);
        Ok(())
    }

    async fn go_on(&mut self, mut open: Open) -> Result<(), Broken> {
        match open.download.next().await.transpose()? {
            Some(piece) => {
                self.take(&mut open, piece)?;
                self.open = Some(open);
                Ok(())
            }
            None if open.left > 0 => Err(Broken::Short { missing: open.left }),
            None => {
                self.format.end_file(&mut self.out);
                self.add_sums(open.item).await
            }
        }
    }

    /// More of a file: never more than was promised.
    fn take(&mut self, open: &mut Open, piece: Bytes) -> Result<(), Broken> {
        open.left = open.left.checked_sub(piece.len() as u64).ok_or(Broken::Long)?;
        self.format.data(piece, &mut self.out);
        Ok(())
    }

    /// The sums of a file as files beside it, if they are wanted: those that could be downloaded as such.
    async fn add_sums(&mut self, item: Item) -> Result<(), Broken> {
        if self.sums == Sums::Left {
            return Ok(());
        }
        let modified_s = modified_s(&item);
        let item = known(&self.entries.service, item).await?;
        for (extension, algorithm) in
            [("md5", Algorithm::Md5), ("sha1", Algorithm::Sha1), ("sha256", Algorithm::Sha256)]
        {
            // A name may be too long for that.
            let beside = format!("{}.{extension}", item.path).parse::<ArtifactPath>();
            if let (Ok(path), Some(digits)) = (beside, algorithm.of(&item.checksums)) {
                self.format.whole(self.entries.name(&path), modified_s, digits.into(), &mut self.out)?;
            }
        }
        Ok(())
    }
}

/// The same item with sums that were computed here, as far as that takes no longer than a moment.
async fn known(service: &Service, item: Item) -> Result<Item, ServiceError> {
    let item = service.with_confirmed(item, CONFIRMED_NOW_BYTES_MAX).await?;
    if has_md5(&item.checksums) || item.size > CONFIRMED_NOW_BYTES_MAX {
        return Ok(item);
    }
    match service.with_md5(item.clone()).await {
        // Only whoever has the bytes can compute it.
        Err(ServiceError::NotHere { .. }) => Ok(item),
        other => other,
    }
}

fn modified_s(item: &Item) -> u64 {
    not_after_now(seconds(item.modified))
}
