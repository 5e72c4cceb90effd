//! Finding files and folders: by a query, page by page.
//!
//! Rows of the catalog are read in the order of their paths and asked one by one, so that what is held doesn't grow with what
//! is found. Only a sorted result is held whole. Whoever reads many rows lets others have the thread now and then.

use std::cmp::Ordering;
use std::collections::VecDeque;
use std::time::{Duration, Instant};

use artimesh_core::access::{self, Action, Right};
use artimesh_core::clock::Timestamp;
use artimesh_core::model::{ArtifactPath, Properties, RepoKey};
use artimesh_core::replica::{Repository, rows};

use tokio::sync::OwnedSemaphorePermit;

use super::aql::{Criterion, Field, Query, Reach, Row, Sort, Span};
use super::artifacts::{Item, item_of};
use super::caller::Caller;
use super::error::ServiceError;
use super::finding::{Anchor, Candidates};
use super::handle::Service;
use crate::store::{Part, Tree};

/// Rows read at once.
const PAGE: usize = 500;
/// or so many bytes of hits: a file may have thousands of properties.
const PAGE_BYTES: usize = 4 << 20;
/// Rows read at once behind what was skipped.
const PAGE_LEAST: usize = 8;
/// The most hits that are sorted.
pub const SORTED_MAX: usize = 50_000;

/// What hits that are sorted may take, in bytes.
const SORTED_BYTES_MAX: usize = 64 << 20;
/// A thread goes on with others after so long.
const TURN: Duration = Duration::from_millis(5);
/// How long what was sorted is kept for who reads it.
const SORTED_TIME_MAX: Duration = Duration::from_secs(300);
/// How long a search waits for its place among those that sort.
const SORT_WAIT: Duration = Duration::from_secs(20);

/// A file, or a folder.
#[derive(Clone, Debug)]
pub struct Hit {
    /// The repository's key here.
    pub repo: RepoKey,
    /// Its path, without a slash at its end.
    pub path: String,
    /// The file; or the folder's own version, if it was made as one.
    pub item: Option<Box<Item>>,
    /// Whether it is a folder.
    pub is_folder: bool,
    /// When the repository appeared here: for folders that nobody made.
    founded: Timestamp,
}

impl Hit {
    /// What it takes, roughly.
    fn bytes(&self) -> usize {
        let properties = self.item.iter().flat_map(|item| item.properties.as_map());
        let text = |text: &String| size_of::<String>() + text.len();
        let pair = |(name, values): (&String, &Vec<String>)| text(name) + values.iter().map(text).sum::<usize>();
        let properties: usize = properties.map(pair).sum();
        size_of::<Hit>() + size_of::<Item>() + 2 * self.path.len() + 128 + properties
    }

    /// As it is asked about. Sums that nobody has computed here aren't known.
    pub fn row(&self) -> Row<'_> {
        let (path, name) = self.path.rsplit_once('/').unwrap_or((".", &self.path));
        let (item, file) = (self.item.as_deref(), self.item.as_deref().filter(|_| !self.is_folder));
        Row {
            repo: self.repo.as_str(),
            path,
            name,
            is_folder: self.is_folder,
            size: file.map_or(0, |file| file.size),
            created: item.map_or(self.founded, |item| item.created),
            created_by: item.map_or("", |item| &item.created_by),
            modified: item.map_or(self.founded, |item| item.modified),
            modified_by: item.map_or("", |item| &item.modified_by),
            sums: file.filter(|file| file.is_confirmed).map(|file| &file.checksums),
            claimed: file.map(|file| &file.claimed),
            properties: item.map(|item| &item.properties),
        }
    }
}

/// A search under way.
pub struct Search {
    service: Service,
    caller: Caller,
    query: Query,
    needs_sums: bool,
    spans: VecDeque<(Repository, Span)>,
    /// What is looked up, rather than all that the spans cover.
    anchors: Option<Vec<Anchor>>,
    candidates: Option<Candidates>,
    /// Within the first span: where to read on.
    from: Option<Vec<u8>>,
    /// How many rows are read next, where something may be skipped.
    ahead: usize,
    /// The path of the last row that was looked at there.
    last: String,
    sorted: Option<VecDeque<Hit>>,
    /// While hits are held.
    sorting: Option<OwnedSemaphorePermit>,
    sorted_at: Instant,
    left_out: u64,
    told: u64,
    rows_read: u64,
}

impl Service {
    /// A place among those that sort.
    async fn sorting(&self) -> Result<OwnedSemaphorePermit, ServiceError> {
        let place = tokio::time::timeout(SORT_WAIT, self.sorts().clone().acquire_owned()).await;
        let busy =
            || ServiceError::Unavailable("many searches that sort go on: try again, or ask without an order".into());
        place.ok().and_then(Result::ok).ok_or_else(busy)
    }

    /// Begins a search in all repositories that the caller may read.
    pub fn search(&self, caller: &Caller, query: Query) -> Search {
        let snapshot = self.snapshot();
        let mut spans = VecDeque::new();
        for repository in snapshot.repositories.values() {
            if access::may(&caller.principal, Action::Read(&repository.key)).is_ok() {
                let reach = Reach::of(&query.criteria, repository.key.as_str());
                spans.extend(reach.0.into_iter().map(|span| (repository.clone(), span)));
            }
        }
        Search {
            service: self.clone(),
            caller: caller.clone(),
            needs_sums: needs_sums(&query.criteria),
            anchors: Anchor::all_of(&query.criteria),
            candidates: None,
            query,
            spans,
            from: None,
            ahead: PAGE_LEAST,
            last: String::new(),
            sorted: None,
            sorting: None,
            sorted_at: Instant::now(),
            left_out: 0,
            told: 0,
            rows_read: 0,
        }
    }
}

/// Whether sums are asked about, which takes a look at each blob.
fn needs_sums(criteria: &Criterion) -> bool {
    match criteria {
        Criterion::All(parts) | Criterion::Any(parts) | Criterion::SameProperty(parts) => parts.iter().any(needs_sums),
        Criterion::Field(field, _) => matches!(field, Field::ActualSha1 | Field::ActualMd5 | Field::Sha256),
        Criterion::Property(..) => false,
    }
}

impl Search {
    /// The query.
    pub fn query(&self) -> &Query {
        &self.query
    }

    /// How many hits were told.
    pub fn told(&self) -> u64 {
        self.told
    }

    /// How many rows were read for them, those of indexes as well.
    pub fn rows_read(&self) -> u64 {
        self.rows_read
    }

    /// The next hits, in order; `None` when there are no more. A page may be empty.
    pub async fn next_page(&mut self) -> Result<Option<Vec<Hit>>, ServiceError> {
        if self.query.limit.is_some_and(|limit| self.told >= limit) {
            return Ok(None);
        }
        let page = match &self.query.sort {
            Some(sort) => self.sorted_page(&sort.clone()).await?,
            None => self.read_page().await?,
        };
        Ok(page.map(|page| self.cut(page)))
    }

    /// Without what is left out before, and behind the limit.
    fn cut(&mut self, mut page: Vec<Hit>) -> Vec<Hit> {
        let skipped = (self.query.offset - self.left_out).min(page.len() as u64);
        self.left_out += skipped;
        page.drain(..skipped as usize);
        if let Some(limit) = self.query.limit {
            page.truncate(usize::try_from(limit - self.told).unwrap_or(usize::MAX));
        }
        self.told += page.len() as u64;
        page
    }

    async fn sorted_page(&mut self, sort: &Sort) -> Result<Option<Vec<Hit>>, ServiceError> {
        if self.sorted.is_none() {
            self.sorting = Some(self.service.sorting().await?);
            self.sorted = Some(self.sort(sort).await?.into());
            self.sorted_at = Instant::now();
        }
        let is_held = self.sorted.as_ref().is_some_and(|hits| !hits.is_empty());
        if is_held && self.sorted_at.elapsed() > SORTED_TIME_MAX {
            let reason = "what was sorted is not kept for so slow a reader: read faster, or ask for less";
            return Err(ServiceError::Unavailable(reason.into()));
        }
        let Some(sorted) = &mut self.sorted else { return Ok(None) };
        let page: Vec<Hit> = sorted.drain(..sorted.len().min(PAGE)).collect();
        if sorted.is_empty() {
            self.sorting = None;
        }
        Ok((!page.is_empty()).then_some(page))
    }

    /// All hits that can be told, in order.
    async fn sort(&mut self, sort: &Sort) -> Result<Vec<Hit>, ServiceError> {
        let wanted = self.query.limit.map(|limit| self.query.offset.saturating_add(limit));
        let wanted = wanted.and_then(|wanted| usize::try_from(wanted).ok());
        let keep = wanted.filter(|wanted| *wanted <= SORTED_MAX);
        let is_told = self.query.include.properties.is_some();
        let mut hits: Vec<Hit> = Vec::new();
        let mut bytes = 0;
        while let Some(mut page) = self.read_page().await? {
            for hit in &mut page {
                // What was asked of them was answered.
                if let Some(item) = hit.item.as_mut().filter(|_| !is_told) {
                    item.properties = Properties::default();
                }
                bytes += hit.bytes();
            }
            hits.extend(page);
            if bytes > SORTED_BYTES_MAX {
                hits.sort_by(|a, b| order(a, b, sort));
                hits.truncate(keep.unwrap_or(usize::MAX));
                bytes = hits.iter().map(Hit::bytes).sum();
                if bytes > SORTED_BYTES_MAX / 2 {
                    let reason = "so much is not sorted: narrow the query, set a lower limit, or include no properties";
                    return Err(ServiceError::BadField { field: "sort", reason: reason.into() });
                }
            }
            match keep {
                Some(keep) if hits.len() >= 2 * keep.max(PAGE) => {
                    hits.sort_by(|a, b| order(a, b, sort));
                    hits.truncate(keep);
                }
                None if hits.len() > SORTED_MAX => {
                    let reason =
                        format!("more than {SORTED_MAX} hits are not sorted: narrow the query, or set a limit");
                    return Err(ServiceError::BadField { field: "sort", reason });
                }
                _ => {}
            }
        }
        hits.sort_by(|a, b| order(a, b, sort));
        hits.truncate(keep.unwrap_or(usize::MAX));
        Ok(hits)
    }

    /// Reads on, and asks what was read.
    async fn read_page(&mut self) -> Result<Option<Vec<Hit>>, ServiceError> {
        let Some((repository, span)) = self.spans.front().cloned() else { return Ok(None) };
        // It may have gone, or the right to it, since the last page.
        let is_there =
            self.service.readable(&self.caller, &repository.key).is_ok_and(|now| now.space == repository.space);
        if let Some(anchors) = self.anchors.clone() {
            return if is_there {
                self.read_candidates(&repository, &span, &anchors).await.map(Some)
            } else {
                self.next_span();
                Ok(Some(Vec::new()))
            };
        }
        let first = rows::catalog_prefix(&repository.space, &span.prefix);
        let end = rows::end_of(&first);
        let from = self.from.take().unwrap_or(first);
        let limit = if span.levels.is_some() { self.ahead } else { PAGE };
        self.ahead = (limit * 2).min(PAGE);
        let store = self.service.engine().store();
        let page = if is_there && from < end {
            self.caller.account.time(Part::Index, || store.range(Tree::Catalog, &from, &end, limit))?
        } else {
            Vec::new()
        };
        let (mut hits, mut bytes) = (Vec::new(), 0);
        let mut turn = Instant::now();
        let mut next = page.last().filter(|_| page.len() == limit).map(|(key, _)| [key.as_slice(), &[0]].concat());
        for (key, value) in &page {
            self.rows_read += 1;
            if turn.elapsed() > TURN {
                tokio::task::yield_now().await;
                turn = Instant::now();
            }
            let Some(path) = rows::catalog_path(key) else { continue };
            let before = hits.len();
            self.look(&repository, &span, path.clone(), value, &mut hits)?;
            bytes += hits[before..].iter().map(Hit::bytes).sum::<usize>();
            if bytes >= PAGE_BYTES {
                next = Some([key.as_slice(), &[0]].concat());
                break;
            }
            if let Some(folder) = span.levels.and_then(|levels| too_deep(path.as_str(), levels)) {
                let inside = rows::end_of(&rows::catalog_prefix(&repository.space, folder));
                // What is deeper needn't be read, unless it was.
                if page.last().is_some_and(|(last, _)| *last < inside) {
                    next = Some(inside);
                    self.ahead = PAGE_LEAST;
                    break;
                }
            }
        }
        tokio::task::yield_now().await;
        match next {
            Some(next) => self.from = Some(next),
            None => self.next_span(),
        }
        Ok(Some(hits))
    }

    fn next_span(&mut self) {
        self.spans.pop_front();
        self.candidates = None;
        self.last.clear();
        self.ahead = PAGE_LEAST;
    }

    /// Asks the next of those that an index names.
    async fn read_candidates(
        &mut self,
        repository: &Repository,
        span: &Span,
        anchors: &[Anchor],
    ) -> Result<Vec<Hit>, ServiceError> {
        let store = self.service.engine().store().clone();
        let account = self.caller.account.clone();
        let mut candidates = match self.candidates.take() {
            Some(candidates) => candidates,
            None => account.time(Part::Index, || Candidates::new(&store, anchors, &repository.space, &span.prefix))?,
        };
        let mut hits = Vec::new();
        let turn = Instant::now();
        let mut is_more = true;
        let mut bytes = 0;
        while is_more && hits.len() < PAGE && bytes < PAGE_BYTES && turn.elapsed() < TURN {
            match account.time(Part::Index, || candidates.next(&store))? {
                Some(path) => {
                    self.rows_read += 1;
                    let row = store.get(Tree::Catalog, &rows::catalog_key(&repository.space, &path))?;
                    if let Some(row) = row {
                        let before = hits.len();
                        self.look(repository, span, path, &row, &mut hits)?;
                        bytes += hits[before..].iter().map(Hit::bytes).sum::<usize>();
                    }
                }
                None => is_more = false,
            }
        }
        self.rows_read += std::mem::take(&mut candidates.read);
        if is_more {
            self.candidates = Some(candidates);
        } else {
            self.next_span();
        }
        tokio::task::yield_now().await;
        Ok(hits)
    }

    /// Asks a row, and the folders that begin with it.
    fn look(
        &mut self,
        repository: &Repository,
        span: &Span,
        path: ArtifactPath,
        row: &[u8],
        hits: &mut Vec<Hit>,
    ) -> Result<(), ServiceError> {
        let text = path.as_str().to_owned();
        let Some(mut item) = item_of(repository, path, row)? else { return Ok(()) };
        let hit = |path: &str, item: Option<Box<Item>>, is_folder| Hit {
            repo: repository.key.clone(),
            path: path.to_owned(),
            item,
            is_folder,
            founded: repository.created,
        };
        let may_read = access::may_at(&self.caller.principal, Right::Read, &repository.key, &text);
        for (end, _) in text.match_indices('/').filter(|(end, _)| !self.last.starts_with(&text[..=*end])) {
            let is_own = end + 1 == text.len() && may_read;
            let own = is_own.then(|| Box::new(item.clone()));
            let folder = hit(&text[..end], own, true);
            let is_there = self.service.shows_within(&self.caller, repository, &text[..=end])?;
            if is_there && span.covers(&folder.row()) && self.query.criteria.holds(&folder.row()) {
                hits.push(folder);
            }
        }
        if !item.path.is_folder() && may_read {
            if self.needs_sums {
                item = self.service.summed(item)?;
            }
            let mut file = hit(&text, Some(Box::new(item)), false);
            if span.covers(&file.row()) && self.query.criteria.holds(&file.row()) {
                if !self.needs_sums {
                    file.item = file.item.map(|item| self.service.summed(*item)).transpose()?.map(Box::new);
                }
                hits.push(file);
            }
        }
        self.last = text;
        Ok(())
    }
}

/// The folder on the last level in which a path is too deep, with its slash.
fn too_deep(path: &str, levels: u64) -> Option<&str> {
    let path = path.strip_suffix('/').unwrap_or(path);
    let (end, _) = path.match_indices('/').nth(usize::try_from(levels).ok()?.checked_sub(1)?)?;
    Some(&path[..=end])
}

fn order(a: &Hit, b: &Hit, sort: &Sort) -> Ordering {
    let (left, right) = (a.row(), b.row());
    let mut by_fields = sort.fields.iter().map(|field| left.value(*field).cmp(&right.value(*field)));
    let order = by_fields.find(|order| order.is_ne()).unwrap_or(Ordering::Equal);
    let order = if sort.descends { order.reverse() } else { order };
    // A stable order, so that pages of one query fit together.
    order.then_with(|| (&a.repo, &a.path, a.is_folder).cmp(&(&b.repo, &b.path, b.is_folder)))
}
