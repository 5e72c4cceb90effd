//! The `artimesh` binary: see [`artimesh::cli`].

fn main() {}
