//! Puts files into a start-up directory as kubelet does: a whole set behind one link that is swapped, so that whoever reads sees the old
//! set or the new one. Touches that directory.

use std::collections::BTreeMap;
use std::fs::{DirBuilder, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::Path;

use super::directory::{DATA, read_file};

/// What the link is made as before it takes the place of the one that is there.
const NEXT: &str = "..data_next";
/// What directories of sets are called, before their number.
const SET: &str = "..set-";

/// Makes `files`, by their names, the set of the start-up directory `dir`, which is made where it is missing; it survives a crash of the
/// machine once this returns. False when they were that already, and nothing was written. For a process whose start-up data nobody mounts;
/// one process at a time.
///
/// # Errors
/// When the directory cannot be written. Then the set that was there before is there still.
pub fn place(dir: &Path, files: &BTreeMap<String, String>) -> io::Result<bool> {
    let before = std::fs::read_link(dir.join(DATA)).ok().and_then(|link| link.to_str().map(str::to_owned));
    let holds = |set: &str| {
        let same = |(name, text): (&String, &String)| {
            read_file(&dir.join(set).join(name)).is_ok_and(|held| held.as_deref() == Some(text.as_bytes()))
        };
        let count = std::fs::read_dir(dir.join(set)).map(Iterator::count);
        count.is_ok_and(|count| count == files.len()) && files.iter().all(same)
    };
    if before.as_deref().is_some_and(holds) {
        return Ok(false);
    }
    DirBuilder::new().recursive(true).mode(0o700).create(dir)?;
    let number = before.as_deref().and_then(|name| name.strip_prefix(SET)?.parse::<u64>().ok());
    let name = format!("{SET}{}", number.unwrap_or(0).wrapping_add(1));
    let set = dir.join(&name);
    // Left over from a process that was killed here.
    gone(std::fs::remove_dir_all(&set))?;
    gone(std::fs::remove_file(dir.join(NEXT)))?;
    DirBuilder::new().mode(0o700).create(&set)?;
    for (file, text) in files {
        let mut file = File::create_new(set.join(file))?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
    }
    File::open(&set)?.sync_all()?;
    symlink(&name, dir.join(NEXT))?;
    std::fs::rename(dir.join(NEXT), dir.join(DATA))?;
    File::open(dir)?.sync_all()?;
    for entry in std::fs::read_dir(dir)?.flatten() {
        let old = entry.file_name();
        if old.to_str().is_some_and(|old| old.starts_with(SET) && old != name) {
            // The new set is served; an old one that stays is only in the way of nobody.
            let _ = std::fs::remove_dir_all(entry.path());
        }
    }
    Ok(true)
}

/// That something is not there is as good as that it was removed.
fn gone(removed: io::Result<()>) -> io::Result<()> {
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::directory::read;
    use super::*;

    fn files(contract: &str, profile: Option<&str>) -> BTreeMap<String, String> {
        let all = [Some(("contract.json", contract)), profile.map(|text| ("profile.json", text))];
        all.into_iter().flatten().map(|(name, text)| (name.to_owned(), text.to_owned())).collect()
    }

    #[test]
    fn a_set_is_there_whole_and_the_same_set_is_not_written_again() {
        let home = tempfile::tempdir().unwrap();
        let dir = home.path().join("tls/startup");
        for (contract, profile) in [("a", None), ("b", Some("p")), ("b", Some("q")), ("c", None)] {
            let set = files(contract, profile);
            assert!(place(&dir, &set).unwrap());
            assert!(!place(&dir, &set).unwrap());
            let bundle = read(&dir).unwrap();
            assert_eq!(bundle.contract.as_deref(), Some(contract.as_bytes()));
            assert_eq!(bundle.profile.as_deref(), profile.map(str::as_bytes));
        }
        assert_eq!(std::fs::read_dir(&dir).unwrap().count(), 2, "the link and one set");
    }

    #[test]
    fn what_a_killed_process_left_half_way_is_no_hindrance() {
        let home = tempfile::tempdir().unwrap();
        place(home.path(), &files("a", None)).unwrap();
        std::fs::create_dir(home.path().join("..set-2")).unwrap();
        std::fs::write(home.path().join("..set-2/contract.json"), "half").unwrap();
        symlink("..set-2", home.path().join(NEXT)).unwrap();
        assert_eq!(read(home.path()).unwrap().contract.as_deref(), Some(&b"a"[..]));
        assert!(place(home.path(), &files("b", None)).unwrap());
        assert_eq!(read(home.path()).unwrap().contract.as_deref(), Some(&b"b"[..]));
    }
}
