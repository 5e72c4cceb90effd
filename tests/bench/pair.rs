//! Two sites of one circle that share a federation, and a thousand times a thousand puts for it.

use artimesh_core::catalog::{Content, RepositoryConfig};
use artimesh_core::model::{ArtifactPath, Checksums, Digest, KeyPair, Properties, RepoKey, Space, TokenId};
use artimesh_core::replica::{Command, Input};
use artimesh_core::trust::{Addresses, Capabilities, Founding, PairingRequest, PairingToken, Role};

use super::rows::Rows;
use super::site::{Site, now};

/// What the mind handles together at most: one segment.
pub const TOGETHER: u64 = 256;

pub fn repo() -> RepoKey {
    "libs".parse().expect("a fine key")
}

/// The author and a member that has applied nothing of the federation but itself.
pub async fn pair(author: Rows, member: Rows) -> (Site, Site, Space) {
    let (mut author, mut member) = (Site::new("author", author).await, Site::new("member", member).await);
    let root = KeyPair::from_secret(&[42; 32]);
    let Site { identity, .. } = &author;
    author.ask(Command::FoundCircle(Founding::new(&root, identity.name.clone(), identity.keys))).await;
    let token = PairingToken {
        id: TokenId([1; 16]),
        circle: author.replica.circle().expect("founded"),
        root: root.public(),
        issuer: author.node(),
        issuer_name: author.identity.name.clone(),
        issuer_keys: author.identity.keys,
        addresses: Addresses::default(),
        role: Role::Full,
        capabilities: Capabilities::all(),
        expires_at: artimesh_core::clock::Timestamp(now().0 + 300_000),
        readmits: None,
    };
    let (token, held) = PairingToken::from_line(&token.to_line(&author.pairing_key)).expect("just made");
    let (name, keys) = (member.identity.name.clone(), member.identity.keys);
    let request = PairingRequest::new(&held, name, keys, Addresses::default(), now());
    let request = request.verify(author.node(), &author.pairing_key, &keys.transport).expect("a fine request");
    author.ask(Command::Admit(request)).await;
    member.ask(Command::Join(token)).await;
    let config = RepositoryConfig { package_type: "generic".into(), description: String::new() };
    let invite = vec![member.node()];
    let space = author.ask(Command::CreateRepository { key: repo(), config, invite, secret: [3; 32] }).await.space;
    talk(&mut author, &mut member).await;
    assert!(member.replica.federation(&space).is_some(), "the member follows its invitation");
    (author, member, space)
}

/// They connect in the same room, and say all that they have to say.
pub async fn talk(a: &mut Site, b: &mut Site) {
    let (hello_a, hello_b) = (a.hello(), b.hello());
    let mut to_b = a.handle(Input::Connected(b.node(), hello_b)).await;
    let mut to_a = b.handle(Input::Connected(a.node(), hello_a)).await;
    while !to_a.is_empty() || !to_b.is_empty() {
        let (now_a, now_b) = (std::mem::take(&mut to_a), std::mem::take(&mut to_b));
        for (_, frame) in now_a {
            to_b.extend(a.handle(Input::Frame(b.node(), frame)).await);
        }
        for (_, frame) in now_b {
            to_a.extend(b.handle(Input::Frame(a.node(), frame)).await);
        }
    }
}

/// Artifact `number`, of the given round of writing.
pub fn put(number: u64, round: u64) -> Command {
    let path: ArtifactPath = format!("org/example/lib-{}/{}/artifact-{number}.jar", number % 1000, number % 77)
        .parse()
        .expect("a fine path");
    let digest = Digest::of(&[number.to_le_bytes(), round.to_le_bytes()].concat());
    let content = Content {
        digest,
        size: 1024,
        checksums: Checksums { sha256: digest.0, sha1: [1; 20], md5: [2; 16] },
        media_type: "application/java-archive".into(),
        properties: Properties::default(),
    };
    Command::Put { key: repo(), path, content, by: "bench".into() }
}

/// The author writes these artifacts.
pub async fn write(author: &mut Site, numbers: impl Iterator<Item = u64>, round: u64) {
    let mut commands = numbers.map(|number| put(number, round)).enumerate().peekable();
    while commands.peek().is_some() {
        let batch =
            commands.by_ref().take(TOGETHER as usize).map(|(ticket, command)| (ticket as u64, command)).collect();
        author.handle(Input::Local(batch)).await;
    }
}
