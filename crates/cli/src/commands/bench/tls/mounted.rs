//! A start-up directory as kubelet keeps one, for the processes of the figures. Touches that directory.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use paddock_pki::{CertificateAuthority, LeafRequest, Usage};
use paddock_tls_profile::{Contract, Generation, MetricsAuth, Named, files};
use tempfile::TempDir;

use super::super::server::{directory, failed};
use crate::exit::{Failure, Outcome};

const DATA: &str = "..data";
/// How long the certificates of a benchmark are good for.
const DAY: SignedDuration = SignedDuration::from_hours(24);

/// A start-up directory, and what is in it now.
pub(super) struct Mounted {
    home: TempDir,
    sets: u32,
    contract: Contract,
    /// What is in the file: the contract's own text, or what was brought.
    text: String,
    profile: String,
    chain: String,
    key: String,
}

/// Where the files of the newest set are.
pub(super) fn data(dir: &Path) -> PathBuf {
    dir.join(DATA)
}

impl Mounted {
    /// A directory that asks for this profile, with a certificate of its own.
    pub(super) fn asking_for(named: Named) -> Result<Self, Failure> {
        let contract = Contract { metrics_auth: MetricsAuth::Off, ..Contract::baseline("bench") };
        let (chain, key) = issued()?;
        let mut this =
            Self { home: directory()?, sets: 0, contract, text: String::new(), profile: String::new(), chain, key };
        this.ask_for(named)?;
        Ok(this)
    }

    pub(super) fn path(&self) -> &Path {
        self.home.path()
    }

    /// Asks for another profile, in one swap.
    pub(super) fn ask_for(&mut self, named: Named) -> Outcome {
        let profile = named.profile(Generation::C);
        self.contract.generation += 1;
        self.contract.profile_hash = Some(profile.hash());
        self.text = self.contract.canonical();
        self.profile = profile.canonical();
        self.write()
    }

    /// Brings the files that somebody else wrote, in one swap.
    pub(super) fn bring(&mut self, contract: &str, profile: &str) -> Outcome {
        (self.text, self.profile) = (contract.to_owned(), profile.to_owned());
        self.write()
    }

    /// Brings another certificate, in one swap.
    pub(super) fn renew(&mut self) -> Outcome {
        (self.chain, self.key) = issued()?;
        self.write()
    }

    fn write(&mut self) -> Outcome {
        self.sets += 1;
        let (dir, name) = (self.home.path(), format!("..{}", self.sets));
        let set = dir.join(&name);
        std::fs::create_dir(&set).map_err(failed)?;
        for (file, text) in [
            (files::CONTRACT, &self.text),
            (files::PROFILE, &self.profile),
            (files::CERTIFICATE, &self.chain),
            (files::KEY, &self.key),
        ] {
            std::fs::write(set.join(file), text).map_err(failed)?;
        }
        let next = dir.join("..data_tmp");
        symlink(&name, &next).map_err(failed)?;
        std::fs::rename(next, data(dir)).map_err(failed)
    }
}

fn issued() -> Result<(String, String), Failure> {
    let now = Timestamp::now();
    let authority = CertificateAuthority::generate("bench", now, DAY).map_err(failed)?;
    let request = LeafRequest {
        common_name: "localhost".to_owned(),
        organization: None,
        organizational_unit: None,
        names: ["localhost".into()].into(),
        usage: Usage::Server,
        now,
        not_after: now + DAY,
    };
    let leaf = authority.issue(&request).map_err(failed)?;
    Ok((leaf.certificate_pem.clone(), leaf.key_pem.expose().to_owned()))
}
