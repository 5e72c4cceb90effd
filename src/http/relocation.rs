//! `POST /artifactory/api/move|copy/{repo}/{path}?to=/{repo}/{path}`

use artimesh_core::access::Action;
use hyper::StatusCode;
use serde_json::json;

use super::answer::{self, Answer};
use super::artifact::check_meant;
use super::ask::Ask;
use super::error::HttpError;
use super::target::Place;
use crate::service::{Destination, Effect, Relocation};

/// Moves or copies a file, a folder or a whole repository, or with `dry=1` says what that would be.
pub async fn post(ask: Ask, kind: Relocation) -> Result<Answer, HttpError> {
    let place = ask.place()?;
    let query = ask.query();
    let to = destination(query.get("to").unwrap_or_default())?;
    check_meant(&ask, Action::Write(&to.repo), &place).await?;
    let effect = if query.is_on("dry") { Effect::Dry } else { Effect::Real };
    let shown = to.path.as_ref().map_or_else(|| to.repo.to_string(), |path| format!("{}/{path}", to.repo));
    let count = ask.service().relocate(&ask.caller, kind, &place.repo, place.path.as_ref(), to, effect).await?;
    let verb = match (kind, effect) {
        (Relocation::Copy, Effect::Real) => "copying",
        (Relocation::Move, Effect::Real) => "moving",
        (Relocation::Copy, Effect::Dry) => "dry run of copying",
        (Relocation::Move, Effect::Dry) => "dry run of moving",
    };
    let files = if count == 1 { "1 file".to_owned() } else { format!("{count} files") };
    let from = place.path.map(String::from).unwrap_or_default();
    let message = format!("{verb} {}:{from} to {shown} completed successfully, {files}", place.repo);
    answer::json(StatusCode::OK, &json!({"messages": [{"level": "INFO", "message": message}], "files": count}))
}

/// `/repo/path`, decoded already; the first slash may be left out.
fn destination(text: &str) -> Result<Destination, HttpError> {
    const USAGE: HttpError = HttpError::Query { name: "to", reason: "write to=/REPO/PATH" };
    let text = text.strip_prefix('/').unwrap_or(text);
    let (repo, path) = text.split_once('/').unwrap_or((text, ""));
    if repo.is_empty() {
        return Err(USAGE);
    }
    let (path, is_folder) = path.strip_suffix('/').map_or((path, path.is_empty()), |folder| (folder, true));
    let path = if path.is_empty() { None } else { Some(path.parse()?) };
    // As strict as a target: `api` is no repository.
    Place::parse(repo, "")?;
    Ok(Destination { repo: repo.parse()?, path, is_folder })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_destination_is_read_with_and_without_its_first_slash() {
        let read = |text| {
            let to = destination(text).ok()?;
            Some((to.repo.to_string(), to.path.map(|path| path.to_string()), to.is_folder))
        };
        let own =
            |repo: &str, path: Option<&str>, is_folder| Some((repo.to_owned(), path.map(str::to_owned), is_folder));
        assert_eq!(read("/libs/a/b"), own("libs", Some("a/b"), false));
        assert_eq!(read("libs/a/b c"), own("libs", Some("a/b c"), false));
        assert_eq!(read("/libs/a/"), own("libs", Some("a"), true));
        assert_eq!(read("/libs"), own("libs", None, true));
        for bad in ["", "/", "/libs/../x", "/api/x", "/libs//a"] {
            assert_eq!(read(bad), None, "{bad}");
        }
    }
}
