//! `artimesh completions` and `artimesh man`: what shells and `man` are to know of the other commands.

use std::io::Write as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, CommandFactory as _};
use clap_complete::Shell;

use super::command::Cli;
use super::output;

/// Which shell.
#[derive(Debug, Args)]
pub struct Completions {
    /// The shell that is to complete commands
    shell: Shell,
}

/// Where to.
#[derive(Debug, Args)]
pub struct Man {
    /// The folder, such as /usr/local/share/man/man1
    to: PathBuf,
}

/// Prints the shell's script.
pub(super) fn completions(command: &Completions) -> anyhow::Result<()> {
    let mut script = Vec::new();
    clap_complete::generate(command.shell, &mut Cli::command(), "artimesh", &mut script);
    std::io::stdout().lock().write_all(&script).context("the script can't be printed")
}

/// Writes a page for each command.
pub(super) fn man(command: &Man) -> anyhow::Result<()> {
    let to = &command.to;
    std::fs::create_dir_all(to).with_context(|| format!("the folder {} can't be made", to.display()))?;
    // What is asked for is the commands, not their help about themselves.
    let cli = Cli::command().disable_help_subcommand(true);
    clap_mangen::generate_to(cli, to).with_context(|| format!("the pages can't be written to {}", to.display()))?;
    output::note(&format!("the pages are in {}: man -l {}/artimesh.1", to.display(), to.display()));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_completed_and_has_a_page() {
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut Cli::command(), "artimesh", &mut script);
            let script = String::from_utf8(script).unwrap();
            assert!(script.contains("checkpoint") && script.contains("token-file"), "{shell}");
        }
        let folder = tempfile::tempdir().unwrap();
        man(&Man { to: folder.path().join("man1") }).unwrap();
        let page = |name: &str| std::fs::read_to_string(folder.path().join("man1").join(name)).unwrap();
        assert!(page("artimesh.1").contains("artimesh\\-artifact(1)"));
        assert!(page("artimesh-artifact-put.1").contains("REPO/PATH"));
        assert!(page("artimesh-federation-checkpoint.1").contains("timeout"));
    }
}
