//! The file under redb. A failed fdatasync is never taken for a full disk, and while a file is being examined nothing is written
//! to it: one that is refused is left as it was found.

use std::collections::HashSet;
use std::io;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::{BackendError, StorageBackend};

/// What is to be done to a file once it is believed.
#[derive(Debug)]
enum Step {
    Write(u64, Vec<u8>),
    Length(u64),
    Sync,
}

/// What redb does while a file is examined.
#[derive(Debug, Default)]
struct Examination {
    /// In order; later ones lie over earlier ones.
    held: Vec<Step>,
    /// Places that were read.
    read: HashSet<u64>,
    /// The last of them.
    last: u64,
    /// The last one before anything was read a second time: redb reads each page once until one is not what it should be,
    /// and then begins again with the commit before.
    suspect: Option<u64>,
}

impl Examination {
    /// The length that the file has been given.
    fn len(&self) -> Option<u64> {
        self.held.iter().rev().find_map(|step| if let Step::Length(len) = step { Some(*len) } else { None })
    }
}

/// Ends the examination of a [`Guarded`] file.
#[derive(Clone, Debug)]
pub(super) struct Examiner(Arc<Mutex<Option<Examination>>>);

impl Examiner {
    fn state(&self) -> MutexGuard<'_, Option<Examination>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Forgets which places were read so far.
    pub(super) fn look_again(&self) {
        if let Some(examination) = &mut *self.state() {
            examination.read.clear();
            examination.suspect = None;
        }
    }

    /// Where the file is damaged, as far as reading it has told.
    pub(super) fn suspect(&self) -> u64 {
        self.state().as_ref().map_or(0, |examination| examination.suspect.unwrap_or(examination.last))
    }

    /// The file is good: what was held back is written, and writes go through from now on.
    pub(super) fn release<B: StorageBackend>(&self, file: &B) -> io::Result<()> {
        let mut state = self.state();
        let Some(Examination { held, .. }) = &*state else { return Ok(()) };
        // redb's order is what makes a crash in the middle of this harmless.
        for step in held {
            match step {
                Step::Write(offset, data) => file.write(*offset, data)?,
                Step::Length(len) => file.set_len(*len)?,
                Step::Sync => file.sync_data().map_err(sync_failed)?,
            }
        }
        *state = None;
        Ok(())
    }
}

/// The only error that says `fdatasync`.
fn sync_failed(error: io::Error) -> io::Error {
    io::Error::other(format!("fdatasync failed, so what is on the disk is unknown: {error}"))
}

/// A file under examination, until its [`Examiner`] releases it.
#[derive(Debug)]
pub(super) struct Guarded<B> {
    file: Arc<B>,
    examiner: Examiner,
}

impl<B: StorageBackend> Guarded<B> {
    pub(super) fn new(file: Arc<B>) -> (Self, Examiner) {
        let examiner = Examiner(Arc::new(Mutex::new(Some(Examination::default()))));
        (Self { file, examiner: examiner.clone() }, examiner)
    }

    /// Reads what a file has, and zeros where it only will have something.
    fn read_file(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let there = self.file.len()?.saturating_sub(offset).min(out.len() as u64);
        let (head, tail) = out.split_at_mut(usize::try_from(there).unwrap_or_default());
        tail.fill(0);
        if head.is_empty() { Ok(()) } else { self.file.read(offset, head) }
    }
}

impl<B: StorageBackend> StorageBackend for Guarded<B> {
    fn len(&self) -> Result<u64, io::Error> {
        let given = self.examiner.state().as_ref().and_then(Examination::len);
        given.map_or_else(|| self.file.len(), Ok)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> Result<(), io::Error> {
        let mut state = self.examiner.state();
        let Some(examination) = &mut *state else {
            drop(state);
            return self.file.read(offset, out);
        };
        if !examination.read.insert(offset) && examination.suspect.is_none() {
            examination.suspect = Some(examination.last);
        }
        examination.last = offset;
        let end = offset.saturating_add(out.len() as u64);
        if examination.held.is_empty() {
            return self.file.read(offset, out);
        }
        self.read_file(offset, out)?;
        for step in &examination.held {
            let Step::Write(at, data) = step else { continue };
            let (from, to) = (offset.max(*at), end.min(at.saturating_add(data.len() as u64)));
            if from < to {
                let within = |start: u64| usize::try_from(from - start).unwrap_or_default();
                let size = usize::try_from(to - from).unwrap_or_default();
                let (into, of) = (within(offset), within(*at));
                out[into..into + size].copy_from_slice(&data[of..of + size]);
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> Result<(), io::Error> {
        match &mut *self.examiner.state() {
            Some(examination) => {
                examination.held.push(Step::Length(len));
                Ok(())
            }
            None => self.file.set_len(len),
        }
    }

    fn sync_data(&self) -> Result<(), io::Error> {
        if let Some(examination) = &mut *self.examiner.state() {
            if !matches!(examination.held.last(), None | Some(Step::Sync)) {
                examination.held.push(Step::Sync);
            }
            return Ok(());
        }
        self.file.sync_data().map_err(sync_failed)
    }

    fn write(&self, offset: u64, data: &[u8]) -> Result<(), io::Error> {
        if let Some(examination) = &mut *self.examiner.state() {
            examination.held.push(Step::Write(offset, data.to_vec()));
            return Ok(());
        }
        self.file.write(offset, data)
    }

    fn close(&self) -> Result<(), io::Error> {
        self.file.close()
    }

    fn try_lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_range(start, end)
    }

    fn try_lock_shared_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<bool, BackendError> {
        self.file.try_lock_shared_range(start, end)
    }

    fn lock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.lock_range(start, end)
    }

    fn unlock_range(&self, start: Bound<u64>, end: Bound<u64>) -> Result<(), BackendError> {
        self.file.unlock_range(start, end)
    }
}
