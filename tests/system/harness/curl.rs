//! The real curl.

use std::process::Command;

use serde_json::Value;

/// What it got.
#[derive(Clone, Debug)]
pub struct Got {
    pub status: u16,
    /// The last head, names in lower case.
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Got {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    /// Empty when it isn't there.
    pub fn header(&self, name: &str) -> &str {
        self.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value)
    }

    /// The first error's message.
    pub fn message(&self) -> String {
        let document = self.json();
        assert_eq!(document["errors"][0]["status"], self.status, "{document}");
        document["errors"][0]["message"].as_str().expect("a message").to_owned()
    }

    /// All headers but those that differ from answer to answer.
    pub fn lasting_headers(&self) -> Vec<(String, String)> {
        let passing = |name: &str| ["date", "x-request-id", "connection"].contains(&name);
        self.headers.iter().filter(|(name, _)| !passing(name)).cloned().collect()
    }
}

/// Runs `curl ARGS`, which must get an answer.
pub fn curl<S: AsRef<str>>(args: &[S]) -> Got {
    let mut command = Command::new("curl");
    command.args(["-s", "-S", "-i", "--noproxy", "*", "--path-as-is", "-m", "100"]);
    command.args(args.iter().map(AsRef::as_ref));
    let output = command.output().expect("curl is installed");
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.stdout.is_empty(), "curl: {error}");
    let mut rest = output.stdout.as_slice();
    loop {
        let end = rest.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
        let head = String::from_utf8_lossy(&rest[..end]).into_owned();
        rest = &rest[end + 4..];
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.split(' ').nth(1)).and_then(|status| status.parse().ok());
        let status: u16 = status.unwrap_or_else(|| panic!("no status: {head}"));
        if status >= 200 {
            let header =
                |line: &str| line.split_once(": ").map(|(name, value)| (name.to_ascii_lowercase(), value.to_owned()));
            return Got { status, headers: lines.filter_map(header).collect(), body: rest.to_vec() };
        }
    }
}
