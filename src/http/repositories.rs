//! `/artifactory/api/repositories`: configurations as Artifactory's clients write and read them.

use crate::service::Placement;
use artimesh_core::model::RepoKey;
use hyper::StatusCode;
use serde::{Deserialize, Deserializer};
use serde_json::{Value, json};

use super::answer::{self, Answer};
use super::ask::Ask;
use super::error::HttpError;
use super::links::Links;
use crate::service::{ConfigChange, MemberView, RepositorySpec, RepositoryView, ServiceError};

/// What a client sends to create a repository. Fields that have no meaning here are accepted and dropped: clients send
/// all that Artifactory has.
#[derive(Deserialize, Debug)]
#[serde(rename_all = "camelCase")]
struct Configuration {
    key: Option<String>,
    rclass: Option<String>,
    package_type: Option<String>,
    description: Option<String>,
    #[serde(default)]
    members: Vec<Member>,
}

#[derive(Deserialize, Debug)]
struct Member {
    node: Option<String>,
    url: Option<String>,
    #[serde(default = "yes", deserialize_with = "truth_or_its_name")]
    enabled: bool,
}

fn yes() -> bool {
    true
}

/// Artifactory's own clients send both `true` and `"true"`.
fn truth_or_its_name<'de, D: Deserializer<'de>>(deserializer: D) -> Result<bool, D::Error> {
    match Value::deserialize(deserializer)? {
        Value::Bool(truth) => Ok(truth),
        Value::String(name) if name.eq_ignore_ascii_case("true") => Ok(true),
        Value::String(name) if name.eq_ignore_ascii_case("false") => Ok(false),
        other => Err(serde::de::Error::custom(format!("enabled: {other} is neither true nor false"))),
    }
}

impl Configuration {
    /// The specification of the repository `key`, whose own address is `own_url`.
    fn checked(self, key: RepoKey, own_url: &str) -> Result<RepositorySpec, HttpError> {
        if self.key.as_ref().is_some_and(|named| *named != key.as_str()) {
            return Err(field(
                "key",
                format!("the body names another repository than the address, which says '{key}'"),
            ));
        }
        let mut members = Vec::new();
        for member in self.members {
            members.extend(member.invited(own_url)?);
        }
        match self.rclass.as_deref().unwrap_or("local") {
            "federated" => {}
            "local" if members.is_empty() => {}
            "local" => {
                return Err(field("members", "a local repository has no members: use rclass 'federated'".into()));
            }
            other => return Err(field("rclass", format!("'{other}' is not supported: use 'local' or 'federated'"))),
        }
        let package_type = self.package_type.unwrap_or_else(|| "generic".into()).to_ascii_lowercase();
        check_package_type(&package_type)?;
        Ok(RepositorySpec { key, package_type, description: self.description.unwrap_or_default(), members })
    }
}

impl Member {
    /// Whom to invite; nobody when it is this node itself.
    fn invited(self, own_url: &str) -> Result<Option<String>, HttpError> {
        let name = self.node.as_deref().or(self.url.as_deref()).unwrap_or_default().to_owned();
        if !self.enabled {
            return Err(field("members", format!("'{name}' is not enabled: leave it out until it should be a member")));
        }
        match (self.node, self.url) {
            (Some(node), _) => Ok(Some(node)),
            (None, Some(url)) if url.trim_end_matches('/') == own_url => Ok(None),
            (None, Some(url)) => {
                let reason = format!(
                    "the URL '{url}' can't be resolved to a node of the circle yet: name the node, {{\"node\":\"<name or id>\"}}"
                );
                Err(field("members", reason))
            }
            (None, None) => Err(field("members", "each member needs a \"node\": a name or an id".into())),
        }
    }
}

fn check_package_type(text: &str) -> Result<(), HttpError> {
    let is_plain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    if text.is_empty() || text.len() > 32 || !text.bytes().all(is_plain) {
        return Err(field("packageType", "use 1 to 32 of a-z, 0-9 and '-', such as 'generic'".into()));
    }
    Ok(())
}

fn field(field: &'static str, reason: String) -> HttpError {
    HttpError::Field { field, reason }
}

fn key_of(ask: &Ask) -> Result<RepoKey, HttpError> {
    Ok(ask.name.parse::<RepoKey>()?)
}

/// `PUT /artifactory/api/repositories/{key}`
pub async fn put(ask: Ask) -> Result<Answer, HttpError> {
    let key = key_of(&ask)?;
    let links = ask.links()?;
    let Ask { site, caller, body, .. } = ask;
    let configuration = body.json::<Configuration>().await?;
    let spec = configuration.checked(key.clone(), &links.content(&key, None))?;
    let made = site.service.create_repository(&caller, spec).await?;
    Ok(answer::text(StatusCode::OK, format!("Successfully created repository '{}'\n", made.key)))
}

/// `POST /artifactory/api/repositories/{key}`: only what is named changes. Members that are named and aren't there are invited;
/// nobody is removed by being left out, for that takes the repository away from another site.
pub async fn post(ask: Ask) -> Result<Answer, HttpError> {
    let key = key_of(&ask)?;
    let links = ask.links()?;
    let Ask { site, caller, body, .. } = ask;
    let update = body.json::<Configuration>().await?;
    let set = ConfigChange {
        package_type: update.package_type.as_deref().map(str::to_ascii_lowercase),
        description: update.description.clone(),
    };
    let own_url = links.content(&key, None);
    let members = update.members.into_iter().filter_map(|member| member.invited(&own_url).transpose());
    let members = members.collect::<Result<Vec<_>, _>>()?;
    let there = match site.service.repository(&caller, &key).await {
        Err(ServiceError::NoRepository(key)) => return Err(HttpError::UnknownRepository(key)),
        other => other?.members,
    };
    if let Some(text) = &set.package_type {
        check_package_type(text)?;
    }
    if set != ConfigChange::default() {
        site.service.configure_repository(&caller, &key, set).await?;
    }
    let is_there = |text: &String| {
        there.iter().any(|member| {
            member.name.as_ref().is_some_and(|name| name.as_str() == text) || member.node.to_string() == *text
        })
    };
    for member in members.iter().filter(|text| !is_there(text)) {
        site.service.invite(&caller, &key, member).await?;
    }
    Ok(answer::text(StatusCode::OK, format!("Repository {key} update successfully.\n")))
}

/// `GET /artifactory/api/repositories/{key}`
pub async fn get(ask: Ask) -> Result<Answer, HttpError> {
    let key = key_of(&ask)?;
    match ask.service().repository(&ask.caller, &key).await {
        Ok(repository) => answer::json(StatusCode::OK, &configuration(&repository, &ask.links()?)),
        Err(ServiceError::NoRepository(key)) => Err(HttpError::UnknownRepository(key)),
        Err(error) => Err(error.into()),
    }
}

/// `DELETE /artifactory/api/repositories/{key}`
pub async fn delete(ask: Ask) -> Result<Answer, HttpError> {
    let key = key_of(&ask)?;
    ask.service().delete_repository(&ask.caller, &key).await?;
    let text = format!("Repository '{key}' and all its content have been removed successfully.\n");
    Ok(answer::text(StatusCode::OK, text))
}

/// `GET /artifactory/api/repositories`
pub async fn list(ask: Ask) -> Result<Answer, HttpError> {
    let (query, links) = (ask.query(), ask.links()?);
    let is_wanted = |row: &Value, parameter: &str, name: &str| match query.get(parameter) {
        Some(wanted) => row[name].as_str().is_some_and(|value| value.eq_ignore_ascii_case(wanted)),
        None => true,
    };
    let repositories = ask.service().repositories(&ask.caller).await?;
    let rows: Vec<Value> = repositories
        .iter()
        .map(|repository| summary(repository, &links))
        .filter(|row| is_wanted(row, "type", "type") && is_wanted(row, "packageType", "packageType"))
        .collect();
    answer::json(StatusCode::OK, &rows)
}

fn class(repository: &RepositoryView) -> &'static str {
    if repository.members.len() > 1 { "federated" } else { "local" }
}

fn summary(repository: &RepositoryView, links: &Links) -> Value {
    json!({
        "key": repository.key,
        "type": class(repository).to_ascii_uppercase(),
        "description": repository.description,
        "url": links.content(&repository.key, None),
        "packageType": repository.package_type,
    })
}

fn configuration(repository: &RepositoryView, links: &Links) -> Value {
    let placement = match repository.placement {
        Placement::Mirror => "mirror",
        Placement::OnDemand => "on-demand",
    };
    let mut document = json!({
        "key": repository.key,
        "rclass": class(repository),
        "packageType": repository.package_type,
        "description": repository.description,
        "notes": "",
        "includesPattern": "**/*",
        "excludesPattern": "",
        "repoLayoutRef": "simple-default",
        "blackedOut": false,
        "propertySets": [],
        "url": links.content(&repository.key, None),
        "placement": placement,
    });
    if class(repository) == "federated" {
        document["members"] = repository.members.iter().map(member).collect();
    }
    document
}

/// A member's base URL isn't known here yet; the address by its node stands in for it, since clients require one.
fn member(member: &MemberView) -> Value {
    json!({
        "url": format!("artimesh://{}/{}", member.node, member.repo_key),
        "enabled": true,
        "node": member.node.to_string(),
        "name": member.name,
        "repoKey": member.repo_key,
        "accepted": member.accepted,
    })
}

#[cfg(test)]
mod tests {
    use crate::service::Timestamp;
    use artimesh_core::model::{NodeId, Space};

    use super::*;
    use crate::http::item::samples::links;

    const OWN: &str = "http://here/artifactory/libs";

    fn checked(text: &str) -> Result<RepositorySpec, HttpError> {
        let key = "libs".parse().expect("a key");
        serde_json::from_str::<Configuration>(text)?.checked(key, OWN)
    }

    #[test]
    fn what_clients_send_to_create_a_repository_is_understood() {
        let local = checked(r#"{"key":"libs","rclass":"local","packageType":"Maven","maxUniqueSnapshots":5}"#);
        let local = local.expect("well formed");
        assert_eq!((local.package_type.as_str(), local.members.len()), ("maven", 0));
        assert_eq!(checked("{}").expect("all has a default").package_type, "generic");
        let federated = checked(
            r#"{"rclass":"federated","members":[{"url":"http://here/artifactory/libs/","enabled":"true"},
                {"node":"paris","enabled":true},{"node":"berlin"}]}"#,
        );
        assert_eq!(federated.expect("well formed").members, ["paris", "berlin"]);
    }

    #[test]
    fn what_can_not_be_done_is_refused_by_name() {
        let cases = [
            (r#"{"key":"other"}"#, "key: "),
            (r#"{"rclass":"remote"}"#, "rclass: 'remote'"),
            (r#"{"rclass":"local","members":[{"node":"paris"}]}"#, "members: a local"),
            (r#"{"rclass":"federated","members":[{"url":"http://p/artifactory/x"}]}"#, "http://p/artifactory/x"),
            (r#"{"rclass":"federated","members":[{"node":"paris","enabled":"false"}]}"#, "'paris' is not enabled"),
            (r#"{"rclass":"federated","members":[{}]}"#, "needs a \"node\""),
            (r#"{"rclass":"federated","members":[{"node":"p","enabled":7}]}"#, "neither true nor false"),
            (r#"{"packageType":"a b"}"#, "packageType: "),
            ("[]", "not usable"),
        ];
        for (text, expected) in cases {
            let error = checked(text).expect_err(text).to_string();
            assert!(error.contains(expected), "{text}: {error}");
        }
    }

    #[test]
    fn a_repository_with_several_members_reads_as_federated() {
        let view = |node: u8| MemberView {
            node: NodeId([node; 32]),
            name: None,
            repo_key: "libs".parse().expect("a key"),
            accepted: true,
        };
        let mut repository = RepositoryView {
            key: "libs".parse().expect("a key"),
            space: Space::Trust,
            package_type: "generic".into(),
            description: "for all".into(),
            placement: Placement::Mirror,
            created: Timestamp(0),
            members: vec![view(1)],
        };
        assert_eq!(summary(&repository, &links())["type"], "LOCAL");
        assert!(configuration(&repository, &links()).get("members").is_none());
        repository.members.push(view(2));
        assert_eq!(summary(&repository, &links())["type"], "FEDERATED");
        let document = configuration(&repository, &links());
        assert_eq!(document["rclass"], "federated");
        assert_eq!(document["members"][1]["node"], "02".repeat(32));
        assert_eq!(document["url"], OWN);
    }
}
