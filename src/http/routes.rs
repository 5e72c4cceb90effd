//! The one static table of routes: what is served, to whom, and by which endpoint.

use hyper::Method;
use matchit::{Params, Router};

/// What a caller must be allowed to use a route.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Needs {
    /// Nothing; credentials aren't even looked at.
    Open,
    /// To be recognised: what the caller may not read isn't found.
    Find,
    /// To read the repository that the path names.
    Read,
    /// To write to the repository that the path names.
    Write,
    /// To be an administrator.
    Administer,
}

/// The function that answers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[expect(missing_docs, reason = "each is documented by its routes")]
pub enum Endpoint {
    Home,
    Console,
    ConsoleSlash,
    Live,
    Ready,
    Liveness,
    Readiness,
    Ping,
    Version,
    ServiceId,
    StorageInfo,
    Builds,
    OpenApi,
    Metrics,
    Status,
    Audit,
    Backup,
    CollectGarbage,
    ScrubBegin,
    ScrubProgress,
    Cache,
    CachePin,
    CacheUnpin,
    CacheEvict,
    PairingCreate,
    PairingAccept,
    Trust,
    TrustRevoke,
    RepositoryList,
    RepositoryGet,
    RepositoryPut,
    RepositoryPost,
    RepositoryDelete,
    FederationInvite,
    FederationRemove,
    FederationAdopt,
    FederationHolds,
    FederationRelease,
    FederationSync,
    FederationSyncProgress,
    FederationCheckpoint,
    Rollback,
    ConflictList,
    ConflictGet,
    History,
    VersionRestore,
    VersionDismiss,
    SearchAql,
    SearchArtifact,
    SearchProperty,
    SearchChecksum,
    SearchPattern,
    StorageGet,
    PropertiesPut,
    PropertiesDelete,
    MetadataPatch,
    Move,
    Copy,
    ArchiveGet,
    ArtifactGet,
    ArtifactPut,
    ArtifactDelete,
}

/// The name under which downloads are counted.
pub const ARTIFACT_GET: &str = "artifact_get";

/// One line of the table. `GET` stands for `HEAD` too.
#[derive(Debug)]
pub struct Route {
    /// How it is asked for.
    pub method: Method,
    /// The target without its query, undecoded: `{name}` is one segment, `{*name}` all the rest.
    pub pattern: &'static str,
    /// For logs and metrics.
    pub name: &'static str,
    /// Who may.
    pub needs: Needs,
    /// What it does, for people.
    pub doc: &'static str,
    /// Who answers.
    pub endpoint: Endpoint,
}

const fn route(
    method: Method,
    pattern: &'static str,
    name: &'static str,
    needs: Needs,
    endpoint: Endpoint,
    doc: &'static str,
) -> Route {
    Route { method, pattern, name, needs, doc, endpoint }
}

const GET: Method = Method::GET;
const PUT: Method = Method::PUT;
const POST: Method = Method::POST;
const DELETE: Method = Method::DELETE;
const PATCH: Method = Method::PATCH;

#[rustfmt::skip]
static ROUTES: &[Route] = &[
    route(GET, "/", "home", Needs::Open, Endpoint::Home, "Redirects to the console"),
    route(GET, "/ui", "console", Needs::Open, Endpoint::ConsoleSlash, "Redirects to the console"),
    route(GET, "/ui/", "console", Needs::Administer, Endpoint::Console, "The console: a page that shows the node's status"),
    route(GET, "/healthz", "live", Needs::Open, Endpoint::Live, "200 while the process answers"),
    route(GET, "/readyz", "ready", Needs::Open, Endpoint::Ready, "200 when the node can do its work, else 503 and why not"),
    route(GET, "/metrics", "metrics", Needs::Open, Endpoint::Metrics, "OpenMetrics; open on loopback, elsewhere for administrators"),
    route(GET, "/artifactory/api/v1/metrics", "metrics", Needs::Open, Endpoint::Metrics, "The same where Artifactory has it"),
    route(GET, "/artifactory/api/system/ping", "ping", Needs::Open, Endpoint::Ping, "200 and OK"),
    route(GET, "/artifactory/api/system/service_id", "service_id", Needs::Administer, Endpoint::ServiceId, "The node's id as text"),
    route(GET, "/artifactory/api/storageinfo", "storage_info", Needs::Administer, Endpoint::StorageInfo, "What the site holds, in numbers"),
    route(GET, "/artifactory/api/build", "builds", Needs::Administer, Endpoint::Builds, "The builds whose records are kept: none are yet"),
    route(GET, "/artifactory/api/system/version", "version", Needs::Open, Endpoint::Version, "The version as JSON"),
    route(GET, "/artifactory/api/openapi.json", "openapi", Needs::Open, Endpoint::OpenApi, "This surface as an OpenAPI 3.1 document"),
    route(GET, "/artifactory/api/v1/system/liveness", "live", Needs::Open, Endpoint::Liveness, "200 while the process answers"),
    route(GET, "/artifactory/api/v1/system/readiness", "ready", Needs::Open, Endpoint::Readiness, "200 when the node can do its work, else 503 and why not"),
    route(GET, "/artifactory/api/mesh/status", "status", Needs::Administer, Endpoint::Status, "The node, its members, repositories and lags"),
    route(GET, "/artifactory/api/mesh/audit", "audit", Needs::Administer, Endpoint::Audit, "The newest lines of the audit log: ?since=, ?user=, ?path=, ?limit="),
    route(GET, "/artifactory/api/mesh/backup", "backup", Needs::Administer, Endpoint::Backup, "All of this node as a tar archive, as of one commit, keys included"),
    route(POST, "/artifactory/api/mesh/gc", "gc", Needs::Administer, Endpoint::CollectGarbage, "Collects garbage and compacts packs, and says what came of it: {dry_run, grace_s}"),
    route(POST, "/artifactory/api/mesh/scrub", "scrub", Needs::Administer, Endpoint::ScrubBegin, "Begins to read and hash again what is at rest: {bytes_per_s}"),
    route(GET, "/artifactory/api/mesh/scrub", "scrub_progress", Needs::Administer, Endpoint::ScrubProgress, "How far that has come, and what rotted"),
    route(GET, "/artifactory/api/mesh/cache", "cache", Needs::Administer, Endpoint::Cache, "What is held of what was read, its bounds, hits and misses; and what is pinned"),
    route(PUT, "/artifactory/api/mesh/cache/pins/{repo}", "cache_pin", Needs::Administer, Endpoint::CachePin, "Keeps what is read of a repository on this node"),
    route(PUT, "/artifactory/api/mesh/cache/pins/{repo}/{*path}", "cache_pin", Needs::Administer, Endpoint::CachePin, "The same of a file, or of a folder with all that is in it"),
    route(DELETE, "/artifactory/api/mesh/cache/pins/{repo}", "cache_unpin", Needs::Administer, Endpoint::CacheUnpin, "Ends such a pin"),
    route(DELETE, "/artifactory/api/mesh/cache/pins/{repo}/{*path}", "cache_unpin", Needs::Administer, Endpoint::CacheUnpin, "The same"),
    route(POST, "/artifactory/api/mesh/cache/evict/{repo}", "cache_evict", Needs::Administer, Endpoint::CacheEvict, "Does without this node's copies of what a repository holds, as far as other mirrors have promised to keep them: {dry_run}"),
    route(POST, "/artifactory/api/mesh/cache/evict/{repo}/{*path}", "cache_evict", Needs::Administer, Endpoint::CacheEvict, "The same of a file, or of a folder with all that is in it"),
    route(POST, "/artifactory/api/mesh/pairing", "pairing_create", Needs::Administer, Endpoint::PairingCreate, "Makes a pairing token: {role, for, ttl_s, can}"),
    route(POST, "/artifactory/api/mesh/pairing/accept", "pairing_accept", Needs::Administer, Endpoint::PairingAccept, "Joins the circle of a token: {pairing_token}"),
    route(GET, "/artifactory/api/mesh/trust", "trust", Needs::Administer, Endpoint::Trust, "The circle of trust and every node ever granted"),
    route(POST, "/artifactory/api/mesh/trust/revoke", "trust_revoke", Needs::Administer, Endpoint::TrustRevoke, "Revokes a node: {node, reason, wait_s}"),
    route(POST, "/artifactory/api/mesh/federation/{key}/invite", "federation_invite", Needs::Administer, Endpoint::FederationInvite, "Invites a node to share a repository: {node}"),
    route(POST, "/artifactory/api/mesh/federation/{key}/remove", "federation_remove", Needs::Administer, Endpoint::FederationRemove, "Ends another node's membership: {node}"),
    route(POST, "/artifactory/api/mesh/federation/{key}/adopt", "federation_adopt", Needs::Administer, Endpoint::FederationAdopt, "Brings a repository into the federation that waits for its key: {from}; goes on while `more`"),
    route(GET, "/artifactory/api/mesh/federation/{key}/holds", "federation_holds", Needs::Administer, Endpoint::FederationHolds, "The nodes whose mass deletes wait here until they are released"),
    route(POST, "/artifactory/api/mesh/federation/{key}/release", "federation_release", Needs::Administer, Endpoint::FederationRelease, "Lets them through: {author}, or all"),
    route(POST, "/artifactory/api/mesh/federation/{key}/sync", "federation_sync", Needs::Administer, Endpoint::FederationSync, "Begins to compare states with a member's and to take over what differs: {member, dry_run}"),
    route(GET, "/artifactory/api/mesh/federation/{key}/sync", "federation_sync_progress", Needs::Administer, Endpoint::FederationSyncProgress, "How far that has come, and what differs"),
    route(POST, "/artifactory/api/mesh/federation/{key}/checkpoint", "federation_checkpoint", Needs::Administer, Endpoint::FederationCheckpoint, "Waits until all members have what is here now: {wait_s}; says who lacks what"),
    route(POST, "/artifactory/api/mesh/rollback/{key}", "rollback", Needs::Administer, Endpoint::Rollback, "Undoes what a node or user did: {author, user, since, dry_run, after}; goes on where `next` says"),
    route(GET, "/artifactory/api/mesh/conflicts/{repo}", "conflict_list", Needs::Read, Endpoint::ConflictList, "Paths whose versions contradict each other; ?after= and ?limit= page"),
    route(GET, "/artifactory/api/mesh/conflicts/{repo}/{*path}", "conflict_get", Needs::Read, Endpoint::ConflictGet, "The versions of one such path"),
    route(GET, "/artifactory/api/mesh/history/{repo}/{*path}", "history", Needs::Read, Endpoint::History, "The versions of a path, live and ended; ?limit="),
    route(POST, "/artifactory/api/mesh/restore/{repo}/{*path}", "version_restore", Needs::Write, Endpoint::VersionRestore, "Puts a sibling or an earlier version again: {version}"),
    route(POST, "/artifactory/api/mesh/dismiss/{repo}/{*path}", "version_dismiss", Needs::Write, Endpoint::VersionDismiss, "Ends siblings, all or some: {versions}"),
    route(GET, "/artifactory/api/repositories", "repository_list", Needs::Administer, Endpoint::RepositoryList, "All repositories; ?type= and ?packageType= select"),
    route(GET, "/artifactory/api/repositories/", "repository_list", Needs::Administer, Endpoint::RepositoryList, "The same"),
    route(GET, "/artifactory/api/repositories/{key}", "repository_get", Needs::Administer, Endpoint::RepositoryGet, "A repository's configuration; 400 when there is none"),
    route(PUT, "/artifactory/api/repositories/{key}", "repository_put", Needs::Administer, Endpoint::RepositoryPut, "Creates a local or federated repository"),
    route(POST, "/artifactory/api/repositories/{key}", "repository_post", Needs::Administer, Endpoint::RepositoryPost, "Changes the fields that are named, at all members; members that are named are invited"),
    route(DELETE, "/artifactory/api/repositories/{key}", "repository_delete", Needs::Administer, Endpoint::RepositoryDelete, "Leaves the repository's federation and forgets it here"),
    route(POST, "/artifactory/api/search/aql", "search_aql", Needs::Find, Endpoint::SearchAql, "Finds files and folders by a query in the query language (text/plain)"),
    route(GET, "/artifactory/api/search/artifact", "search_artifact", Needs::Find, Endpoint::SearchArtifact, "?name= finds files by a part or pattern of their name; &repos="),
    route(GET, "/artifactory/api/search/prop", "search_property", Needs::Find, Endpoint::SearchProperty, "?NAME=VALUE,VALUE finds files and folders by their properties; &repos="),
    route(GET, "/artifactory/api/search/checksum", "search_checksum", Needs::Find, Endpoint::SearchChecksum, "?sha1=, ?sha256= or ?md5= finds files by sums that were computed here; &repos="),
    route(GET, "/artifactory/api/search/pattern", "search_pattern", Needs::Find, Endpoint::SearchPattern, "?pattern=REPO:PATTERN finds files by their path, with *, ? and **"),
    route(GET, "/artifactory/api/storage/{repo}", "storage_get", Needs::Read, Endpoint::StorageGet, "A repository's root as JSON; ?list, ?properties, ?lastModified, ?permissions"),
    route(GET, "/artifactory/api/storage/{repo}/", "storage_get", Needs::Read, Endpoint::StorageGet, "The same"),
    route(GET, "/artifactory/api/storage/{repo}/{*path}", "storage_get", Needs::Read, Endpoint::StorageGet, "A file or folder as JSON; ?list, ?properties, ?lastModified, ?permissions"),
    route(PUT, "/artifactory/api/storage/{repo}/{*path}", "properties_put", Needs::Write, Endpoint::PropertiesPut, "?properties=k=v1,v2;k2=v sets properties, of a folder also those of what is in it unless recursive=0"),
    route(DELETE, "/artifactory/api/storage/{repo}/{*path}", "properties_delete", Needs::Write, Endpoint::PropertiesDelete, "?properties=a,b removes properties"),
    route(PATCH, "/artifactory/api/metadata/{repo}/{*path}", "metadata_patch", Needs::Write, Endpoint::MetadataPatch, "Sets and removes properties: {props: {name: value, values or null}}"),
    route(POST, "/artifactory/api/move/{repo}", "move", Needs::Write, Endpoint::Move, "?to=/REPO/PATH moves all that is in a repository; &dry=1"),
    route(POST, "/artifactory/api/move/{repo}/", "move", Needs::Write, Endpoint::Move, "The same"),
    route(POST, "/artifactory/api/move/{repo}/{*path}", "move", Needs::Write, Endpoint::Move, "?to=/REPO/PATH moves a file or folder; &dry=1 only says how many files"),
    route(POST, "/artifactory/api/copy/{repo}", "copy", Needs::Write, Endpoint::Copy, "?to=/REPO/PATH copies all that is in a repository; &dry=1"),
    route(POST, "/artifactory/api/copy/{repo}/", "copy", Needs::Write, Endpoint::Copy, "The same"),
    route(POST, "/artifactory/api/copy/{repo}/{*path}", "copy", Needs::Write, Endpoint::Copy, "The same, and the source stays"),
    route(GET, "/artifactory/api/archive/download/{repo}", "archive_get", Needs::Read, Endpoint::ArchiveGet, "All that is in a repository as one archive: ?archiveType=zip, tar, tar.gz or tgz; &includeChecksumFiles=true"),
    route(GET, "/artifactory/api/archive/download/{repo}/", "archive_get", Needs::Read, Endpoint::ArchiveGet, "The same"),
    route(GET, "/artifactory/api/archive/download/{repo}/{*path}", "archive_get", Needs::Read, Endpoint::ArchiveGet, "The same of a folder, or of a file"),
    route(GET, "/artifactory/{repo}", ARTIFACT_GET, Needs::Read, Endpoint::ArtifactGet, "A repository's root as a page of links"),
    route(GET, "/artifactory/{repo}/", ARTIFACT_GET, Needs::Read, Endpoint::ArtifactGet, "The same"),
    route(GET, "/artifactory/{repo}/{*path}", ARTIFACT_GET, Needs::Read, Endpoint::ArtifactGet, "An artifact (ranges, conditions), its computed checksum file, or a folder's page"),
    route(PUT, "/artifactory/{repo}/{*path}", "artifact_put", Needs::Write, Endpoint::ArtifactPut, "Puts an artifact; ;k=v sets properties; a trailing slash means a folder"),
    route(DELETE, "/artifactory/{repo}/", "artifact_delete", Needs::Write, Endpoint::ArtifactDelete, "Deletes all that is in a repository; the slash must be there"),
    route(DELETE, "/artifactory/{repo}/{*path}", "artifact_delete", Needs::Write, Endpoint::ArtifactDelete, "Deletes an artifact, or a folder with all that is in it"),
];

/// The whole table, in its documented order.
pub fn routes() -> &'static [Route] {
    ROUTES
}

/// What a target leads to.
#[derive(Debug)]
pub enum Found<'table, 'target> {
    /// A route, and the raw pieces of the target that its pattern names.
    Route(&'static Route, Params<'table, 'target>),
    /// Something is there, but not for that method; the value of `Allow`, and whether it is in a repository's tree.
    OtherMethods(String, Part),
    /// Nothing.
    Nothing,
}

/// What part of the surface a pattern belongs to.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Part {
    /// `/artifactory/{repo}/…`: artifacts.
    Tree,
    /// Everything else.
    Api,
}

/// The table, ready for look-ups.
#[derive(Debug)]
pub struct Table(Router<Vec<&'static Route>>);

impl Table {
    /// Of the one static table.
    pub fn new() -> Table {
        let mut router = Router::new();
        let mut patterns: Vec<&str> = ROUTES.iter().map(|route| route.pattern).collect();
        patterns.sort_unstable();
        patterns.dedup();
        for pattern in patterns {
            let same = ROUTES.iter().filter(|route| route.pattern == pattern).collect();
            router.insert(pattern, same).expect("the static patterns don't conflict: a test looks each of them up");
        }
        Table(router)
    }

    /// Finds the route for an undecoded path.
    pub fn find<'target>(&self, method: &Method, path: &'target str) -> Found<'_, 'target> {
        let Ok(matched) = self.0.at(path) else { return Found::Nothing };
        let wanted = if *method == Method::HEAD { &Method::GET } else { method };
        if let Some(route) = matched.value.iter().find(|route| route.method == *wanted) {
            return Found::Route(route, matched.params);
        }
        let mut allowed = Vec::new();
        for route in matched.value {
            allowed.push(route.method.as_str());
            allowed.extend((route.method == Method::GET).then_some("HEAD"));
        }
        let is_tree = matched.value.iter().any(|route| route.pattern.starts_with("/artifactory/{repo}"));
        let is_api = matched.params.get("repo").is_some_and(|repo| repo.eq_ignore_ascii_case("api"));
        match (is_tree, is_api) {
            (true, true) => Found::Nothing,
            (true, false) => Found::OtherMethods(allowed.join(", "), Part::Tree),
            (false, _) => Found::OtherMethods(allowed.join(", "), Part::Api),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What the README and the access tests rely on. A change here is a change of the product's surface.
    const DOCUMENTED: &str = "\
GET / Open
GET /ui Open
GET /ui/ Administer
GET /healthz Open
GET /readyz Open
GET /metrics Open
GET /artifactory/api/v1/metrics Open
GET /artifactory/api/system/ping Open
GET /artifactory/api/system/service_id Administer
GET /artifactory/api/storageinfo Administer
GET /artifactory/api/build Administer
GET /artifactory/api/system/version Open
GET /artifactory/api/openapi.json Open
GET /artifactory/api/v1/system/liveness Open
GET /artifactory/api/v1/system/readiness Open
GET /artifactory/api/mesh/status Administer
GET /artifactory/api/mesh/audit Administer
GET /artifactory/api/mesh/backup Administer
POST /artifactory/api/mesh/gc Administer
POST /artifactory/api/mesh/scrub Administer
GET /artifactory/api/mesh/scrub Administer
GET /artifactory/api/mesh/cache Administer
PUT /artifactory/api/mesh/cache/pins/{repo} Administer
PUT /artifactory/api/mesh/cache/pins/{repo}/{*path} Administer
DELETE /artifactory/api/mesh/cache/pins/{repo} Administer
DELETE /artifactory/api/mesh/cache/pins/{repo}/{*path} Administer
POST /artifactory/api/mesh/cache/evict/{repo} Administer
POST /artifactory/api/mesh/cache/evict/{repo}/{*path} Administer
POST /artifactory/api/mesh/pairing Administer
POST /artifactory/api/mesh/pairing/accept Administer
GET /artifactory/api/mesh/trust Administer
POST /artifactory/api/mesh/trust/revoke Administer
POST /artifactory/api/mesh/federation/{key}/invite Administer
POST /artifactory/api/mesh/federation/{key}/remove Administer
POST /artifactory/api/mesh/federation/{key}/adopt Administer
GET /artifactory/api/mesh/federation/{key}/holds Administer
POST /artifactory/api/mesh/federation/{key}/release Administer
POST /artifactory/api/mesh/federation/{key}/sync Administer
GET /artifactory/api/mesh/federation/{key}/sync Administer
POST /artifactory/api/mesh/federation/{key}/checkpoint Administer
POST /artifactory/api/mesh/rollback/{key} Administer
GET /artifactory/api/mesh/conflicts/{repo} Read
GET /artifactory/api/mesh/conflicts/{repo}/{*path} Read
GET /artifactory/api/mesh/history/{repo}/{*path} Read
POST /artifactory/api/mesh/restore/{repo}/{*path} Write
POST /artifactory/api/mesh/dismiss/{repo}/{*path} Write
GET /artifactory/api/repositories Administer
GET /artifactory/api/repositories/ Administer
GET /artifactory/api/repositories/{key} Administer
PUT /artifactory/api/repositories/{key} Administer
POST /artifactory/api/repositories/{key} Administer
DELETE /artifactory/api/repositories/{key} Administer
POST /artifactory/api/search/aql Find
GET /artifactory/api/search/artifact Find
GET /artifactory/api/search/prop Find
GET /artifactory/api/search/checksum Find
GET /artifactory/api/search/pattern Find
GET /artifactory/api/storage/{repo} Read
GET /artifactory/api/storage/{repo}/ Read
GET /artifactory/api/storage/{repo}/{*path} Read
PUT /artifactory/api/storage/{repo}/{*path} Write
DELETE /artifactory/api/storage/{repo}/{*path} Write
PATCH /artifactory/api/metadata/{repo}/{*path} Write
POST /artifactory/api/move/{repo} Write
POST /artifactory/api/move/{repo}/ Write
POST /artifactory/api/move/{repo}/{*path} Write
POST /artifactory/api/copy/{repo} Write
POST /artifactory/api/copy/{repo}/ Write
POST /artifactory/api/copy/{repo}/{*path} Write
GET /artifactory/api/archive/download/{repo} Read
GET /artifactory/api/archive/download/{repo}/ Read
GET /artifactory/api/archive/download/{repo}/{*path} Read
GET /artifactory/{repo} Read
GET /artifactory/{repo}/ Read
GET /artifactory/{repo}/{*path} Read
PUT /artifactory/{repo}/{*path} Write
DELETE /artifactory/{repo}/ Write
DELETE /artifactory/{repo}/{*path} Write
";

    #[test]
    fn the_table_is_the_documented_one() {
        let lines: String = routes().iter().map(|r| format!("{} {} {:?}\n", r.method, r.pattern, r.needs)).collect();
        assert_eq!(lines, DOCUMENTED);
    }

    #[test]
    fn every_route_is_found_by_its_own_pattern_and_documented() {
        let table = Table::new();
        for route in routes() {
            let path =
                route.pattern.replace("{*path}", "a/b%2fc;k=v/").replace("{repo}", "api-x").replace("{key}", "k");
            match table.find(&route.method, &path) {
                Found::Route(found, _) => assert!(std::ptr::eq(found, route), "{path} leads to {found:?}"),
                other => panic!("{path}: {other:?}"),
            }
            assert!(!route.doc.is_empty());
        }
    }

    #[test]
    fn pieces_come_undecoded_and_whole() {
        let table = Table::new();
        let Found::Route(route, params) = table.find(&Method::HEAD, "/artifactory/libs/a/%2e%2e/b.jar;k=v") else {
            panic!("HEAD is served where GET is")
        };
        assert_eq!(route.endpoint, Endpoint::ArtifactGet);
        assert_eq!((params.get("repo"), params.get("path")), (Some("libs"), Some("a/%2e%2e/b.jar;k=v")));
    }

    #[test]
    fn other_methods_and_strange_targets_lead_nowhere() {
        let table = Table::new();
        let others = |method: &str, path| match table.find(&method.parse().expect("a method"), path) {
            Found::OtherMethods(allow, part) => Some((allow, part)),
            _ => None,
        };
        assert_eq!(others("PATCH", "/artifactory/libs/x"), Some(("GET, HEAD, PUT, DELETE".into(), Part::Tree)));
        assert_eq!(others("DELETE", "/artifactory/libs"), Some(("GET, HEAD".into(), Part::Tree)));
        assert_eq!(others("PUT", "/artifactory/libs/"), Some(("GET, HEAD, DELETE".into(), Part::Tree)));
        assert_eq!(
            others("PATCH", "/artifactory/api/repositories/k"),
            Some(("GET, HEAD, PUT, POST, DELETE".into(), Part::Api))
        );
        assert_eq!(others("get", "/healthz"), Some(("GET, HEAD".into(), Part::Api)));
        for path in
            ["", "*", "//", "/artifactory", "/artifactory/", "/artifactory//x", "/artifactory/api/storage//x", "/x"]
        {
            let found = table.find(&Method::GET, path);
            assert!(matches!(found, Found::Nothing) || path.contains("storage"), "{path}: {found:?}");
        }
    }
}
