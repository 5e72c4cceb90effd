//! What a file's name says: its media type, and whether it is a checksum of another file.

use artimesh_core::model::{ArtifactPath, Checksums};

use crate::service::has_md5;

/// A checksum that clients keep in a file beside the artifact.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Algorithm {
    /// `.md5`
    Md5,
    /// `.sha1`
    Sha1,
    /// `.sha256`
    Sha256,
}

impl Algorithm {
    /// `SHA-1` and so on, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Algorithm::Md5 => "MD5",
            Algorithm::Sha1 => "SHA-1",
            Algorithm::Sha256 => "SHA-256",
        }
    }

    /// This one of the three sums, in lower-case hexadecimal; `None` for an MD5 that isn't computed yet.
    pub fn of(self, checksums: &Checksums) -> Option<String> {
        match self {
            Algorithm::Md5 => has_md5(checksums).then(|| checksums.md5_hex()),
            Algorithm::Sha1 => Some(checksums.sha1_hex()),
            Algorithm::Sha256 => Some(checksums.sha256_hex()),
        }
    }
}

/// The artifact that `path` is a checksum file of: `a/b.jar.sha1` → (`a/b.jar`, SHA-1). A bare `.sha1` is no sidecar.
pub fn sidecar(path: &ArtifactPath) -> Option<(ArtifactPath, Algorithm)> {
    let (base, extension) = path.as_str().rsplit_once('.')?;
    let algorithm = match extension {
        "md5" => Algorithm::Md5,
        "sha1" => Algorithm::Sha1,
        "sha256" => Algorithm::Sha256,
        _ => return None,
    };
    if base.ends_with('/') {
        return None;
    }
    Some((base.parse().ok()?, algorithm))
}

/// The media type of a file by the end of its name, `application/octet-stream` when the name says nothing.
pub fn media_type(path: &ArtifactPath) -> &'static str {
    const UNKNOWN: &str = "application/octet-stream";
    let name = path.name().to_ascii_lowercase();
    let Some((_, extension)) = name.rsplit_once('.') else { return UNKNOWN };
    MEDIA_TYPES.iter().find(|(known, _)| *known == extension).map_or(UNKNOWN, |(_, media_type)| media_type)
}

const MEDIA_TYPES: &[(&str, &str)] = &[
    // Java
    ("jar", "application/java-archive"),
    ("war", "application/java-archive"),
    ("ear", "application/java-archive"),
    ("hpi", "application/java-archive"),
    ("jpi", "application/java-archive"),
    ("aar", "application/java-archive"),
    ("class", "application/java-vm"),
    ("jnlp", "application/x-java-jnlp-file"),
    ("pom", "application/x-maven-pom+xml"),
    ("module", "application/json"),
    ("ivy", "application/x-ivy+xml"),
    // text
    ("xml", "application/xml"),
    ("xsd", "application/xml"),
    ("xsl", "application/xml"),
    ("xslt", "application/xml"),
    ("wsdl", "application/xml"),
    ("nuspec", "application/xml"),
    ("json", "application/json"),
    ("map", "application/json"),
    ("jsonl", "application/jsonl"),
    ("yaml", "application/yaml"),
    ("yml", "application/yaml"),
    ("toml", "application/toml"),
    ("txt", "text/plain"),
    ("log", "text/plain"),
    ("md5", "text/plain"),
    ("sha1", "text/plain"),
    ("sha256", "text/plain"),
    ("sha512", "text/plain"),
    ("asc", "text/plain"),
    ("properties", "text/plain"),
    ("ini", "text/plain"),
    ("conf", "text/plain"),
    ("gradle", "text/plain"),
    ("mf", "text/plain"),
    ("list", "text/plain"),
    ("dsc", "text/plain"),
    ("md", "text/markdown"),
    ("csv", "text/csv"),
    ("htm", "text/html"),
    ("html", "text/html"),
    ("css", "text/css"),
    ("js", "text/javascript"),
    ("mjs", "text/javascript"),
    ("java", "text/x-java-source"),
    ("c", "text/x-c"),
    ("h", "text/x-c"),
    ("py", "text/x-python"),
    ("rs", "text/x-rust"),
    ("go", "text/x-go"),
    ("sh", "application/x-sh"),
    ("ps1", "text/plain"),
    ("sql", "application/sql"),
    ("pdf", "application/pdf"),
    // archives
    ("zip", "application/zip"),
    ("tar", "application/x-tar"),
    ("gz", "application/gzip"),
    ("tgz", "application/gzip"),
    ("crate", "application/gzip"),
    ("gem", "application/x-tar"),
    ("bz2", "application/x-bzip2"),
    ("tbz", "application/x-bzip2"),
    ("tbz2", "application/x-bzip2"),
    ("xz", "application/x-xz"),
    ("txz", "application/x-xz"),
    ("zst", "application/zstd"),
    ("lz4", "application/x-lz4"),
    ("7z", "application/x-7z-compressed"),
    ("rar", "application/vnd.rar"),
    ("cab", "application/vnd.ms-cab-compressed"),
    ("iso", "application/x-iso9660-image"),
    // packages
    ("whl", "application/zip"),
    ("egg", "application/zip"),
    ("nupkg", "application/zip"),
    ("snupkg", "application/zip"),
    ("vsix", "application/zip"),
    ("conda", "application/zip"),
    ("apk", "application/vnd.android.package-archive"),
    ("deb", "application/vnd.debian.binary-package"),
    ("udeb", "application/vnd.debian.binary-package"),
    ("rpm", "application/x-rpm"),
    ("msi", "application/x-msi"),
    ("exe", "application/vnd.microsoft.portable-executable"),
    ("dll", "application/vnd.microsoft.portable-executable"),
    ("dmg", "application/x-apple-diskimage"),
    ("wasm", "application/wasm"),
    ("sig", "application/pgp-signature"),
    ("gpg", "application/pgp-encrypted"),
    // pictures, for documentation
    ("png", "image/png"),
    ("jpg", "image/jpeg"),
    ("jpeg", "image/jpeg"),
    ("gif", "image/gif"),
    ("svg", "image/svg+xml"),
    ("webp", "image/webp"),
    ("ico", "image/vnd.microsoft.icon"),
];

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn path(text: &str) -> ArtifactPath {
        text.parse().expect("a path")
    }

    #[test]
    fn the_end_of_a_name_tells_the_media_type() {
        let cases = [
            ("a/lib-1.0.jar", "application/java-archive"),
            ("a/lib-1.0.POM", "application/x-maven-pom+xml"),
            ("x.tar.gz", "application/gzip"),
            ("x.deb", "application/vnd.debian.binary-package"),
            ("a.jar/README", "application/octet-stream"),
            ("noextension", "application/octet-stream"),
            ("x.", "application/octet-stream"),
            (".json", "application/json"),
        ];
        for (name, expected) in cases {
            assert_eq!(media_type(&path(name)), expected, "{name}");
        }
    }

    #[test]
    fn every_extension_is_listed_once_and_in_lower_case() {
        let distinct: BTreeSet<_> = MEDIA_TYPES.iter().map(|(extension, _)| extension).collect();
        assert_eq!(distinct.len(), MEDIA_TYPES.len());
        assert!(MEDIA_TYPES.iter().all(|(extension, _)| *extension == extension.to_ascii_lowercase()));
    }

    #[test]
    fn checksum_files_belong_to_the_artifact_beside_them() {
        assert_eq!(sidecar(&path("a/b.jar.sha1")), Some((path("a/b.jar"), Algorithm::Sha1)));
        assert_eq!(sidecar(&path("b.md5")), Some((path("b"), Algorithm::Md5)));
        assert_eq!(sidecar(&path("b.sha256")), Some((path("b"), Algorithm::Sha256)));
        for other in ["a/.sha1", ".md5", "a/b.sha512", "a/b.jar", "sha1", "a.sha1/b"] {
            assert_eq!(sidecar(&path(other)), None, "{other}");
        }
    }
}
