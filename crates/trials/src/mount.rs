//! A ConfigMap, Secret or projected volume as kubelet keeps it: a new directory for each set of files, one link that is swapped to it,
//! and a link for every file. With kubelet's bad days: it can be behind, stop half way, or be slow. Touches one directory.

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

const DATA: &str = "..data";
const DATA_NEXT: &str = "..data_tmp";

type Files = BTreeMap<String, Vec<u8>>;

/// A mounted volume.
#[derive(Debug)]
pub struct Mount {
    dir: PathBuf,
    count: u32,
    stale: bool,
    waiting: Option<Files>,
}

impl Mount {
    /// A volume at `dir`, empty until something is written: as long as there is no `..data`, kubelet has mounted nothing.
    ///
    /// # Errors
    /// When the directory cannot be made.
    pub fn new(dir: impl Into<PathBuf>) -> io::Result<Self> {
        let dir = dir.into();
        std::fs::create_dir_all(&dir)?;
        Ok(Self { dir, count: 0, stale: false, waiting: None })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.dir
    }

    /// From now on what is written does not arrive until [`Mount::refresh`]: kubelet has an older copy in its cache.
    pub fn fall_behind(&mut self) {
        self.stale = true;
    }

    /// Kubelet catches up: the last thing that was written arrives.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn refresh(&mut self) -> io::Result<()> {
        self.stale = false;
        match self.waiting.take() {
            Some(files) => self.begin_with(files).finish(),
            None => Ok(()),
        }
    }

    /// The source has just these files now, and kubelet brings them, unless it is behind.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn write<'a>(&mut self, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> io::Result<()> {
        let files = owned(files);
        if self.stale {
            self.waiting = Some(files);
            return Ok(());
        }
        self.begin_with(files).finish()
    }

    /// Kubelet begins to bring these files, and does a step whenever it is told to: it may be slow, or die on the way.
    pub fn begin<'a>(&mut self, files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Writing {
        self.begin_with(owned(files))
    }

    fn begin_with(&mut self, files: Files) -> Writing {
        self.count += 1;
        let name = format!("..2026_01_01_00_00_00.{}", self.count);
        let mut steps: VecDeque<Step> = [Step::Directory].into();
        steps.extend(files.keys().cloned().map(Step::File));
        steps.extend([Step::NextLink, Step::Swap]);
        steps.extend(files.keys().cloned().map(Step::Link));
        steps.extend([Step::Unlink, Step::Remove]);
        Writing { dir: self.dir.clone(), name, files, steps, previous: None }
    }
}

fn owned<'a>(files: impl IntoIterator<Item = (&'a str, &'a [u8])>) -> Files {
    files.into_iter().map(|(name, bytes)| (name.to_owned(), bytes.to_owned())).collect()
}

/// What kubelet does for a new set of files, in its order.
#[derive(Debug)]
enum Step {
    /// Makes the directory of the new set.
    Directory,
    /// Writes one file of it.
    File(String),
    /// Makes the link that will take the place of `..data`.
    NextLink,
    /// The swap: from here on the new files are seen.
    Swap,
    /// Makes the link of a file that was not there before.
    Link(String),
    /// Removes links of files that are gone.
    Unlink,
    /// Removes the directory of the old set.
    Remove,
}

/// A set of files on its way.
#[derive(Debug)]
pub struct Writing {
    dir: PathBuf,
    name: String,
    files: Files,
    steps: VecDeque<Step>,
    previous: Option<PathBuf>,
}

impl Writing {
    /// Does the next step; false when there was none left.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn step(&mut self) -> io::Result<bool> {
        let Some(step) = self.steps.pop_front() else { return Ok(false) };
        let new = self.dir.join(&self.name);
        match step {
            Step::Directory => std::fs::create_dir(new)?,
            Step::File(file) => std::fs::write(new.join(&file), self.files.get(&file).map_or(&[][..], Vec::as_slice))?,
            Step::NextLink => {
                // Left over from a kubelet that died here.
                gone(std::fs::remove_file(self.dir.join(DATA_NEXT)))?;
                symlink(&self.name, self.dir.join(DATA_NEXT))?;
            }
            Step::Swap => {
                self.previous = std::fs::read_link(self.dir.join(DATA)).ok();
                std::fs::rename(self.dir.join(DATA_NEXT), self.dir.join(DATA))?;
            }
            Step::Link(file) => {
                let link = self.dir.join(&file);
                if std::fs::symlink_metadata(&link).is_err() {
                    symlink(Path::new(DATA).join(&file), link)?;
                }
            }
            Step::Unlink => {
                for entry in std::fs::read_dir(&self.dir)? {
                    let entry = entry?;
                    let name = entry.file_name();
                    let name = name.to_string_lossy();
                    if !name.starts_with("..") && !self.files.contains_key(name.as_ref()) {
                        std::fs::remove_file(entry.path())?;
                    }
                }
            }
            Step::Remove => {
                if let Some(previous) = &self.previous {
                    gone(std::fs::remove_dir_all(self.dir.join(previous)))?;
                }
            }
        }
        Ok(true)
    }

    /// Does every step that is left.
    ///
    /// # Errors
    /// When the directory cannot be written.
    pub fn finish(mut self) -> io::Result<()> {
        while self.step()? {}
        Ok(())
    }
}

fn gone(result: io::Result<()>) -> io::Result<()> {
    match result {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}
