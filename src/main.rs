//! The `artimesh` binary: see [`artimesh::cli`].

use std::process::ExitCode;

use artimesh::cli::{Seams, run};

fn main() -> ExitCode {
    run(&Seams {
        serve: |_, _| Err(anyhow::anyhow!("this build has no node to run")),
        write_founding: |_, _, _, _| Err(anyhow::anyhow!("this build can't found a circle")),
    })
}
