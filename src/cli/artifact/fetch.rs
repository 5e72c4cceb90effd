//! One artifact into one file, which is there when it is whole and verified, and not before.

use std::fs::File;
use std::io::{self, Read as _};
use std::sync::Arc;

use hyper::Method;
use sha2::{Digest as _, Sha256};
use tokio::task::spawn_blocking;

use super::beneath::{Growing, Place};
use super::download::{Announced, Answer, Received, Transfer, Watch, ask};
use super::part::Part;
use crate::cli::client::{CallError, Client};
use crate::cli::import::failure::{Failure, Remedy};
use crate::cli::location::Location;

/// Larger ones leave a part when they break off. Smaller ones are fetched anew in less time than it takes to look for one.
pub(super) const PARTED_BYTES: u64 = 8 << 20;
/// What is read at a time to hash it.
const PIECE_BYTES: usize = 1 << 20;

/// When what was written is to be on the disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Durable {
    /// Before the file has its name.
    AtOnce,
    /// When whoever asked says so, for many files.
    Later,
}

/// What is fetched, and where to.
pub(super) struct Fetch<'a, W> {
    pub(super) client: &'a Client,
    pub(super) location: &'a Location,
    pub(super) place: &'a Arc<Place>,
    pub(super) durable: Durable,
    pub(super) watch: &'a W,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
pub(super) enum Trouble {
    /// The first call failed.
    #[error(transparent)]
    Call(#[from] CallError),
    /// What is asked for is a folder.
    #[error("{0} is a folder: write {0}/ for all that is in it")]
    Folder(String),
    /// It can't go on; for large ones what came is kept, if it is worth something.
    #[error("{}", .0.reason)]
    Failed(Failure),
    /// This machine can't.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// The file while it grows.
enum Grown {
    Part(Part),
    Own(Growing),
}

/// The file, and how much of it is there.
struct Begun {
    grown: Grown,
    hasher: Sha256,
    at: u64,
}

impl Trouble {
    /// What comes next where there are others to fetch. Waiting was tried.
    pub(super) fn of_one(self) -> Failure {
        match self {
            Trouble::Failed(Failure { remedy: Remedy::Stop | Remedy::WaitOrStop, reason }) => {
                Failure::new(Remedy::Stop, reason)
            }
            Trouble::Call(error) => Failure::of_node(error),
            other => Failure::new(Remedy::Leave, other),
        }
    }
}

impl<W: Watch> Fetch<'_, W> {
    /// Fetches it, from where an earlier run was broken off if one was. What turns out to be wrong is thrown away and fetched
    /// anew, once.
    pub(super) async fn run(&self) -> Result<Received, Trouble> {
        match self.once().await {
            Err(Trouble::Failed(failure)) if failure.remedy == Remedy::Again => self.once().await,
            ended => ended,
        }
    }

    async fn once(&self) -> Result<Received, Trouble> {
        let place = Arc::clone(self.place);
        let left = blocking(move || place.parts()).await?;
        let resumed = if left.is_empty() { None } else { self.resume(left).await? };
        let (announced, begun, answer) = match resumed {
            Some((announced, begun)) => (announced, begun, None),
            None => {
                let answer = self.ask(Method::GET).await?;
                let announced = answer.announced.clone();
                (announced.clone(), self.begin(announced).await?, Some(answer))
            }
        };
        let Begun { grown, hasher, at } = begun;
        let file = grown.file()?;
        let (client, location, watch) = (self.client, self.location, self.watch);
        let sink = tokio::fs::File::from_std(file.try_clone()?);
        let mut transfer = Transfer { client, location, announced, hasher, at, sink, watch };
        match transfer.run(answer).await {
            Ok(received) => {
                let durable = self.durable;
                blocking(move || grown.settle(&file, durable)).await?;
                Ok(received)
            }
            Err(failure) => {
                if let (Grown::Part(part), Remedy::Again) = (grown, failure.remedy) {
                    part.forget();
                }
                Err(Trouble::Failed(failure))
            }
        }
    }

    async fn ask(&self, method: Method) -> Result<Answer, Trouble> {
        let answer = ask(self.client, self.location, method, 0, &Announced::default()).await?;
        let Location { repo, path } = self.location;
        if answer.is_page { Err(Trouble::Folder(format!("{repo}/{path}"))) } else { Ok(answer) }
    }

    /// Takes over the part of what the artifact is now. Those of what it was are removed.
    async fn resume(&self, left: Vec<String>) -> Result<Option<(Announced, Begun)>, Trouble> {
        let announced = self.ask(Method::HEAD).await?.announced;
        let (place, now) = (Arc::clone(self.place), announced.clone());
        let begun = blocking(move || {
            let mut begun = None;
            for sha256 in left {
                let Some(part) = place.part(&sha256)? else { continue };
                match now.size.filter(|_| now.sha256.as_ref() == Some(&sha256)) {
                    Some(size) => begun = Some(Begun::of_part(part, size)?),
                    None => part.forget(),
                }
            }
            Ok(begun)
        });
        Ok(begun.await?.map(|begun| (announced, begun)))
    }

    async fn begin(&self, announced: Announced) -> io::Result<Begun> {
        let place = Arc::clone(self.place);
        blocking(move || {
            let part = match (announced.sha256, announced.size) {
                (Some(sha256), Some(size)) if size > PARTED_BYTES => place.part(&sha256)?,
                _ => None,
            };
            // It may be there by now, left by somebody who was quicker.
            part.as_ref().map_or(Ok(()), |part| part.file.set_len(0))?;
            let grown = part.map_or_else(|| place.grow().map(Grown::Own), |part| Ok(Grown::Part(part)))?;
            Ok(Begun { grown, hasher: Sha256::new(), at: 0 })
        })
        .await
    }
}

impl Begun {
    /// Hashes what is there. More than there should be is worthless.
    fn of_part(part: Part, size: u64) -> io::Result<Begun> {
        if part.file.metadata()?.len() > size {
            part.file.set_len(0)?;
        }
        let (mut hasher, mut at, mut buffer) = (Sha256::new(), 0, vec![0; PIECE_BYTES]);
        let mut file = &part.file;
        loop {
            match file.read(&mut buffer)? {
                0 => break,
                count => {
                    hasher.update(&buffer[..count]);
                    at += count as u64;
                }
            }
        }
        Ok(Begun { grown: Grown::Part(part), hasher, at })
    }
}

impl Grown {
    fn file(&self) -> io::Result<File> {
        match self {
            Grown::Part(part) => part.file.try_clone(),
            Grown::Own(growing) => {
                growing.file.as_ref().map_or_else(|| Err(io::ErrorKind::NotFound.into()), File::try_clone)
            }
        }
    }

    fn settle(self, file: &File, durable: Durable) -> io::Result<()> {
        if durable == Durable::AtOnce {
            file.sync_all()?;
        }
        let place = match self {
            Grown::Part(part) => part.settle()?,
            Grown::Own(growing) => growing.settle()?,
        };
        if durable == Durable::AtOnce { place.sync() } else { Ok(()) }
    }
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> io::Result<T> + Send + 'static) -> io::Result<T> {
    spawn_blocking(work).await.map_err(io::Error::other)?
}
