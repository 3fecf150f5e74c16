//! Finds everything that a server accepts of a list: offer all of it, strike out what the server chose, and so on until it
//! refuses. That takes one handshake for each thing that is accepted, and one for each refusal.

use std::collections::VecDeque;

use crate::{Answer, Nonsense, Offer, catalogue};

/// How many suites are offered at once: some servers do not read longer hellos.
const CHUNK: usize = 128;

/// A search among suites or groups, one offer after the other.
#[derive(Debug)]
pub(crate) struct Sweep {
    template: Offer,
    vary: Vary,
    /// What is still to be offered; the first list is under way.
    queue: VecDeque<Vec<u16>>,
    /// A group that is offered behind all others and is not searched for: servers with a key on that curve refuse who lacks it.
    behind: Option<u16>,
    found: Vec<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Vary {
    Suites,
    Groups,
}

impl Sweep {
    /// Searches `suites`; `template` says everything else.
    pub(crate) fn suites(template: Offer, suites: &[u16]) -> Self {
        let queue = suites.chunks(CHUNK).map(<[u16]>::to_vec).collect();
        Self { template, vary: Vary::Suites, queue, behind: None, found: Vec::new() }
    }

    /// Searches `groups`; `template` says everything else.
    pub(crate) fn groups(template: Offer, groups: Vec<u16>, behind: Option<u16>) -> Self {
        let queue = if groups.is_empty() { VecDeque::new() } else { [groups].into() };
        Self { template, vary: Vary::Groups, queue, behind, found: Vec::new() }
    }

    /// What to offer next; `None`: everything is found.
    pub(crate) fn offer(&self) -> Option<Offer> {
        let left = self.queue.front()?.clone();
        let template = self.template.clone();
        Some(match self.vary {
            Vary::Suites => Offer { suites: left, ..template },
            Vary::Groups => Offer { groups: left.into_iter().chain(self.behind).collect(), ..template },
        })
    }

    /// What the answer to that offer says. Each answer shortens the search.
    ///
    /// # Errors
    /// When the server chose what was not offered.
    pub(crate) fn learn(&mut self, answer: &Answer) -> Result<(), Nonsense> {
        let chosen = match (answer, self.vary) {
            // A server that lacks a version answers with an older one (RFC 5246, appendix E.1): it has nothing of this one.
            (Answer::Accepted(accepted), _) if accepted.version != self.template.protocol.code() => {
                self.queue.clear();
                return Ok(());
            }
            (Answer::Accepted(accepted), Vary::Suites) => Some((accepted.suite, true)),
            (Answer::Retry { suite, .. }, Vary::Suites) => Some((*suite, true)),
            // It chose, and then it failed: go on without that one.
            (Answer::Refused { chosen: Some(suite), .. }, Vary::Suites) => Some((*suite, false)),
            (Answer::Accepted(accepted), Vary::Groups) => accepted.group.map(|group| (group, true)),
            (Answer::Retry { group, .. }, Vary::Groups) => group.map(|group| (group, true)),
            (Answer::Refused { .. }, _) => None,
        };
        let Some((chosen, works)) =
            chosen.filter(|(chosen, _)| self.vary == Vary::Suites || Some(*chosen) != self.behind)
        else {
            self.queue.pop_front();
            return Ok(());
        };
        let left = self.queue.front_mut();
        let at = left.as_ref().and_then(|left| left.iter().position(|one| *one == chosen));
        let (Some(left), Some(at)) = (left, at) else { return Err(self.not_offered(chosen)) };
        left.remove(at);
        if left.is_empty() {
            self.queue.pop_front();
        }
        if works {
            self.found.push(chosen);
        }
        Ok(())
    }

    /// What was found, in the order in which the server chose it.
    pub(crate) fn found(self) -> Vec<u16> {
        self.found
    }

    fn not_offered(&self, chosen: u16) -> Nonsense {
        let name = match self.vary {
            Vary::Suites => catalogue::suite_name(chosen),
            Vary::Groups => catalogue::group_name(chosen),
        };
        Nonsense::NotOffered(name.map_or_else(|| format!("0x{chosen:04X}"), str::to_owned))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use paddock_tls_profile::Version;
    use proptest::prelude::*;

    use super::*;
    use crate::{Accepted, Protocol};

    const TLS12: Protocol = Protocol::Tls(Version::Tls12);

    fn template() -> Offer {
        Offer::new(TLS12, vec![0xC02F], vec![0x0017])
    }

    fn accepted(suite: u16, group: Option<u16>) -> Answer {
        Answer::Accepted(Accepted { version: TLS12.code(), suite, group, ..Accepted::default() })
    }

    const NO: Answer = Answer::Refused { alert: Some(40), chosen: None };

    proptest! {
        #[test]
        fn exactly_what_a_server_accepts_is_found_with_one_handshake_each(
            asked in proptest::collection::btree_set(any::<u16>(), 0..400),
            others in proptest::collection::btree_set(any::<u16>(), 0..50),
            every in 1_usize..9,
        ) {
            let asked: Vec<u16> = asked.into_iter().collect();
            let served: BTreeSet<u16> = asked.iter().step_by(every).copied().chain(others).collect();
            let mut sweep = Sweep::suites(template(), &asked);
            let mut handshakes = 0;
            while let Some(offer) = sweep.offer() {
                handshakes += 1;
                let chosen = offer.suites.iter().find(|suite| served.contains(suite));
                sweep.learn(&chosen.map_or(NO, |suite| accepted(*suite, None))).unwrap();
            }
            let found: BTreeSet<u16> = sweep.found().into_iter().collect();
            let expected: BTreeSet<u16> = asked.iter().filter(|suite| served.contains(suite)).copied().collect();
            prop_assert!(handshakes <= expected.len() + asked.len().div_ceil(CHUNK));
            prop_assert_eq!(found, expected);
        }
    }

    #[test]
    fn an_older_version_in_the_answer_means_that_there_is_nothing_of_this_one() {
        let mut sweep = Sweep::suites(template(), &[0xC02F, 0xC013]);
        let older = Accepted { version: 0x0302, suite: 0xC013, ..Accepted::default() };
        sweep.learn(&Answer::Accepted(older)).unwrap();
        assert_eq!((sweep.offer(), sweep.found()), (None, vec![]));
    }

    #[test]
    fn a_suite_that_fails_after_it_was_chosen_does_not_hide_the_others() {
        let mut sweep = Sweep::suites(template(), &[0xC02F, 0xC013]);
        sweep.learn(&Answer::Refused { alert: Some(80), chosen: Some(0xC02F) }).unwrap();
        assert_eq!(sweep.offer().map(|offer| offer.suites), Some(vec![0xC013]));
        sweep.learn(&accepted(0xC013, None)).unwrap();
        assert_eq!((sweep.offer(), sweep.found()), (None, vec![0xC013]));
    }

    #[test]
    fn what_was_not_offered_cannot_be_chosen() {
        let mut sweep = Sweep::suites(template(), &[0xC02F]);
        let error = sweep.learn(&accepted(0x0005, None)).unwrap_err();
        assert_eq!(error.to_string(), "the server chose TLS_RSA_WITH_RC4_128_SHA, which was not offered");
    }

    #[test]
    fn the_group_that_the_key_needs_ends_the_search_when_it_is_chosen() {
        let mut sweep = Sweep::groups(template(), vec![0x0018, 0x001D], Some(0x0017));
        assert_eq!(sweep.offer().map(|offer| offer.groups), Some(vec![0x0018, 0x001D, 0x0017]));
        sweep.learn(&accepted(0xC02B, Some(0x001D))).unwrap();
        sweep.learn(&accepted(0xC02B, Some(0x0017))).unwrap();
        assert_eq!((sweep.offer(), sweep.found()), (None, vec![0x001D]));
    }
}
