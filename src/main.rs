//! The `artimesh` binary: see [`artimesh::cli`].

use std::process::ExitCode;

use artimesh::cli::{Seams, run};
use artimesh::node;

fn main() -> ExitCode {
    run(&Seams { serve: node::run, write_founding: node::founding::write })
}
