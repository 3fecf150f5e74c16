//! Reads a start-up directory: all files of one swap, none of another. Touches that directory, for reading.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use paddock_tls_profile::files;

/// Largest file that is read; a ConfigMap holds at most 1 MiB altogether.
const MAX_FILE: u64 = 256 * 1024;
/// How often a directory is read again because it was swapped meanwhile.
const ATTEMPTS: usize = 5;

/// The link that kubelet swaps when it has written a new set of files.
pub(crate) const DATA: &str = "..data";

/// What was in a start-up directory at one moment. `None`: the file is not there.
#[derive(Clone, Default, PartialEq, Eq)]
pub(crate) struct Bundle {
    pub(crate) contract: Option<Vec<u8>>,
    pub(crate) profile: Option<Vec<u8>>,
    pub(crate) certificate: Option<Vec<u8>>,
    pub(crate) key: Option<Secret>,
    pub(crate) client_ca: Option<Vec<u8>>,
    /// The hash that the operator says it wrote.
    pub(crate) expected: Option<String>,
    /// Why a file of what was decided, or the directory, could not be read: then there is nothing to serve of it, and what the
    /// operator expects is not known either.
    pub(crate) unreadable: Option<String>,
}

/// The bytes of a key: they do not print, and are wiped.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Secret(zeroize::Zeroizing<Vec<u8>>);

impl Secret {
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }
}

/// Reads the directory. Where kubelet keeps it, the files are read from behind `..data`, and once more if that link moved.
///
/// # Errors
/// When the directory, or a certificate or key of it, cannot be read or is too large. A file that is missing is no error; what was
/// decided and cannot be read is told in [`Bundle::unreadable`], for the last good decision can stand in for it.
pub(crate) fn read(dir: &Path) -> io::Result<Bundle> {
    let mut last = None;
    for _ in 0..ATTEMPTS {
        let (at, link) = match std::fs::read_link(dir.join(DATA)) {
            Ok(target) => (dir.join(&target), Some(target)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::InvalidInput) => {
                (dir.to_owned(), None)
            }
            Err(error) => return Err(named(dir, &error)),
        };
        let bundle = read_from(&at);
        if link == std::fs::read_link(dir.join(DATA)).ok() {
            // Not to be confused with an empty directory: nothing is mounted there yet.
            std::fs::metadata(&at).map_err(|error| named(&at, &error))?;
            return bundle;
        }
        last = Some(bundle);
    }
    last.unwrap_or_else(|| Ok(Bundle::default()))
}

fn read_from(dir: &Path) -> io::Result<Bundle> {
    let mut unreadable = None;
    let mut decided = |name: &str| {
        read_file(&dir.join(name)).unwrap_or_else(|error| {
            unreadable.get_or_insert(error.to_string());
            None
        })
    };
    let (contract, profile, expected) =
        (decided(files::CONTRACT), decided(files::PROFILE), decided(files::EXPECTED_HASH));
    Ok(Bundle {
        contract,
        profile,
        certificate: read_file(&dir.join(files::CERTIFICATE))?,
        key: read_file(&dir.join(files::KEY))?.map(|bytes| Secret(zeroize::Zeroizing::new(bytes))),
        client_ca: read_file(&dir.join(files::CLIENT_CA))?,
        expected: expected
            .map(|bytes| String::from_utf8_lossy(&bytes).trim().to_owned())
            .filter(|hash| !hash.is_empty()),
        unreadable,
    })
}

/// A file's bytes; `None` when there is no such file.
pub(super) fn read_file(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(named(path, &error)),
    };
    let mut bytes = Vec::new();
    file.take(MAX_FILE + 1).read_to_end(&mut bytes).map_err(|error| named(path, &error))?;
    if bytes.len() as u64 > MAX_FILE {
        return Err(named(path, &io::Error::other(format!("larger than {MAX_FILE} bytes"))));
    }
    Ok(Some(bytes))
}

fn named(path: &Path, error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{}: {error}", PathBuf::from(path).display()))
}
