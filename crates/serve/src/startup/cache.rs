//! The last contract and profile that were good, in a directory that outlives the container (an `emptyDir`). Never certificates or
//! keys. Touches one file of that directory.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::directory::{Bundle, read_file};

const FILE: &str = "last-known-good.json";

/// Where the last good one is kept; nowhere, when no directory was named.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cache(Option<PathBuf>);

impl Cache {
    pub(crate) fn new(dir: Option<&Path>) -> Self {
        Self(dir.map(|dir| dir.join(FILE)))
    }

    /// What was kept. It is judged like what is mounted: a profile that its contract was not written for is not used.
    pub(crate) fn read(&self) -> Option<Bundle> {
        let bytes = read_file(self.0.as_deref()?).ok()??;
        let value: Value = serde_json::from_slice(&bytes).ok()?;
        let text = |member: &str| value.get(member).and_then(Value::as_str).map(|text| text.as_bytes().to_vec());
        Some(Bundle { contract: Some(text("contract")?), profile: text("profile"), ..Bundle::default() })
    }

    /// Keeps contract and profile of `bundle`, whole or not at all.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub(crate) fn write(&self, bundle: &Bundle) -> io::Result<()> {
        let Some(path) = &self.0 else { return Ok(()) };
        let text = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(|bytes| String::from_utf8_lossy(bytes).into_owned());
        let content = json!({"contract": text(&bundle.contract), "profile": text(&bundle.profile)}).to_string();
        if read_file(path).ok().flatten().is_some_and(|kept| kept == content.as_bytes()) {
            return Ok(());
        }
        let unfinished = path.with_extension("new");
        let mut file = std::fs::File::create(&unfinished)?;
        file.write_all(content.as_bytes())?;
        file.sync_all()?;
        std::fs::rename(&unfinished, path)
    }
}
