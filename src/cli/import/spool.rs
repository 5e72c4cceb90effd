//! Rows in a temporary file, written once and read once.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead as _, BufReader, BufWriter, Seek as _, Write as _};
use std::marker::PhantomData;
use std::os::unix::fs::OpenOptionsExt as _;

use serde::Serialize;
use serde::de::DeserializeOwned;

/// A file without a name: it goes with the process, however that ends.
pub(in crate::cli) struct Spool {
    writer: BufWriter<File>,
}

/// What was written, in the same order.
pub(in crate::cli) struct Rows<T> {
    reader: BufReader<File>,
    line: String,
    row: PhantomData<fn() -> T>,
}

impl Spool {
    /// An empty one in the system's folder for temporary files.
    pub(in crate::cli) fn new() -> io::Result<Spool> {
        let folder = std::env::temp_dir();
        let mut random = [0; 8];
        getrandom::fill(&mut random).map_err(io::Error::other)?;
        let path = folder.join(format!("artimesh-import-{}", data_encoding::HEXLOWER.encode(&random)));
        let told = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", folder.display()));
        let file = OpenOptions::new().read(true).write(true).create_new(true).mode(0o600).open(&path).map_err(told)?;
        std::fs::remove_file(&path).map_err(told)?;
        Ok(Spool { writer: BufWriter::with_capacity(64 << 10, file) })
    }

    /// Appends a row.
    pub(in crate::cli) fn push(&mut self, row: &impl Serialize) -> io::Result<()> {
        serde_json::to_writer(&mut self.writer, row)?;
        self.writer.write_all(b"\n")
    }

    /// Reads from the beginning.
    pub(in crate::cli) fn rows<T: DeserializeOwned>(self) -> io::Result<Rows<T>> {
        let mut file = self.writer.into_inner().map_err(io::IntoInnerError::into_error)?;
        file.rewind()?;
        Ok(Rows { reader: BufReader::with_capacity(64 << 10, file), line: String::new(), row: PhantomData })
    }
}

impl<T: DeserializeOwned> Iterator for Rows<T> {
    type Item = io::Result<T>;

    fn next(&mut self) -> Option<io::Result<T>> {
        self.line.clear();
        match self.reader.read_line(&mut self.line) {
            Ok(0) => None,
            Ok(_) => Some(serde_json::from_str(&self.line).map_err(io::Error::from)),
            Err(error) => Some(Err(error)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_come_back_in_order() {
        let mut spool = Spool::new().unwrap();
        for number in 0..10_000 {
            spool.push(&(number, "line\nbreak")).unwrap();
        }
        let rows: Vec<(u32, String)> = spool.rows().unwrap().collect::<io::Result<_>>().unwrap();
        assert_eq!(rows.len(), 10_000);
        assert_eq!(rows[77], (77, "line\nbreak".to_owned()));
    }
}
