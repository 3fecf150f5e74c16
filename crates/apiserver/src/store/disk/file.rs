//! The files under the store, and the two ways in which they fail: no space, which passes, and everything else, which does not.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind};
use std::os::unix::fs::{FileExt, OpenOptionsExt};
use std::path::Path;

use super::DiskError;

/// An open data file. Tests have one that fails.
pub(in crate::store) trait DataFile: Send {
    fn len(&self) -> io::Result<u64>;
    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;
    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;
    fn set_len(&self, len: u64) -> io::Result<()>;
    /// Makes bytes durable, and the length that is needed to read them again.
    fn sync(&self) -> io::Result<()>;
}

/// Opens a data file, or makes it, for its owner alone: there are Secrets in it.
pub(in crate::store) type OpenFile = dyn Fn(&Path) -> io::Result<Box<dyn DataFile>> + Send + Sync;

pub(in crate::store) fn open(path: &Path) -> io::Result<Box<dyn DataFile>> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false).mode(0o600);
    Ok(Box::new(options.open(path)?))
}

impl DataFile for File {
    fn len(&self) -> io::Result<u64> {
        self.metadata().map(|metadata| metadata.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.write_all_at(bytes, offset)
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        Self::set_len(self, len)
    }

    fn sync(&self) -> io::Result<()> {
        self.sync_data()
    }
}

/// A name that was given, changed or taken away survives a crash only after this.
pub(super) fn sync_directory(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// What a failed write means.
pub(super) fn write_failed(error: &io::Error) -> DiskError {
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => DiskError::Full,
        _ => DiskError::Fatal(error.to_string()),
    }
}

/// What a failed sync means: never that the disk is full, even if that is its reason, for what it should have kept may be lost.
pub(super) fn sync_failed(error: &io::Error) -> DiskError {
    DiskError::Fatal(format!("fdatasync failed, so what is on the disk is unknown: {error}"))
}
