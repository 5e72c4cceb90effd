//! The text of `profiles.toml`.

use std::path::PathBuf;

use toml_edit::{Document, DocumentMut, Item, Table, TableLike, value};

use super::fault::nearest;
use super::profiles::{Profile, Profiles, is_name};

const HEAD: &str = "# Written by `artimesh profile`. It holds tokens: keep it to yourself.\n\n";

/// What the file holds.
pub(super) fn text(profiles: &Profiles) -> String {
    let mut document = DocumentMut::new();
    if let Some(default) = &profiles.default {
        document["default"] = value(default);
    }
    let mut all = Table::new();
    all.set_implicit(true);
    for (name, profile) in &profiles.all {
        let mut table = Table::new();
        table["url"] = value(&profile.url);
        if let Some(token) = &profile.token {
            table["token"] = value(token);
        }
        if let Some(file) = &profile.ca_file {
            table["ca_file"] = value(file.to_string_lossy().as_ref());
        }
        all[name] = Item::Table(table);
    }
    document["profile"] = Item::Table(all);
    format!("{HEAD}{document}")
}

/// What a file says, or what is wrong with it. No value is told: it may be a token.
pub(super) fn parse(text: &str) -> Result<Profiles, String> {
    let document = Document::parse(text).map_err(|error| {
        let line = error.span().and_then(|span| text.get(..span.start)).map_or(1, |before| before.split('\n').count());
        format!("line {line} is not TOML")
    })?;
    let mut profiles = Profiles::default();
    known(document.as_table(), "", &["default", "profile"])?;
    profiles.default = string(document.as_table(), "", "default")?;
    let Some(all) = document.get("profile") else { return Ok(profiles) };
    let all = all.as_table_like().ok_or("profile has to be a table: write [profile.NAME]")?;
    for (name, item) in all.iter() {
        let shown = format!("profile.{name}.");
        let table = item.as_table_like().filter(|_| is_name(name));
        let table = table.ok_or_else(|| format!("profile.{name} is no profile: write [profile.NAME]"))?;
        known(table, &shown, &["url", "token", "ca_file"])?;
        let url = string(table, &shown, "url")?.ok_or_else(|| format!("{shown}url is missing"))?;
        let (token, ca_file) = (string(table, &shown, "token")?, string(table, &shown, "ca_file")?);
        profiles.all.insert(name.to_owned(), Profile { url, token, ca_file: ca_file.map(PathBuf::from) });
    }
    Ok(profiles)
}

fn known(table: &dyn TableLike, shown: &str, names: &[&str]) -> Result<(), String> {
    let Some((unknown, _)) = table.iter().find(|(name, _)| !names.contains(name)) else { return Ok(()) };
    let meant = nearest(unknown, names).map(|name| format!(": did you mean {shown}{name}?")).unwrap_or_default();
    Err(format!("{shown}{unknown} is not known{meant}"))
}

fn string(table: &dyn TableLike, shown: &str, name: &str) -> Result<Option<String>, String> {
    let wrong = || format!("{shown}{name} has to be a text in quotes");
    table.get(name).map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).transpose()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_is_named_without_what_may_be_secret() {
        for (text, expected) in [
            ("default = \"a\"\ntoken = amt_secret", "line 2 is not TOML"),
            ("[profile.a]\nurl = \"u\"\ntokn = \"amt_secret\"", "did you mean profile.a.token?"),
            ("[profile.a]\ntoken = \"amt_secret\"", "profile.a.url is missing"),
            ("[profile.a]\nurl = 1", "profile.a.url has to be a text"),
            ("profile = \"amt_secret\"", "write [profile.NAME]"),
            ("[profile.\"a b\"]\nurl = \"u\"", "write [profile.NAME]"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(expected) && !error.contains("amt_secret"), "{error}");
        }
    }
}
