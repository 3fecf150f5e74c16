//! What fuzzers call: the rule that must hold for all bytes that a server may send. Only compiled for tests and with the feature
//! `fuzzing`. A target panics when the rule is broken, and on nothing else.

use crate::{Answer, Certificate, Nonsense, Reader};

/// An answer to a hello: it reads the same whole and byte by byte.
pub fn tls_answer(data: &[u8]) {
    let whole = read(data.chunks(data.len().max(1)));
    let pieces = read(data.chunks(1));
    assert_eq!(whole, pieces);
    if let Ok(Answer::Accepted(accepted)) = whole
        && let Some(der) = accepted.certificate
    {
        let _ = Certificate::read(&der);
    }
    let _ = Certificate::read(data);
}

fn read<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> Result<Answer, Kind> {
    let mut reader = Reader::new();
    for piece in pieces {
        match reader.feed(piece) {
            Ok(None) => {}
            Ok(Some(answer)) => return Ok(answer),
            // How much of it is shown depends on how much there was.
            Err(nonsense) => return Err(kind(&nonsense)),
        }
    }
    Ok(reader.end())
}

type Kind = Option<&'static str>;

fn kind(nonsense: &Nonsense) -> Kind {
    match nonsense {
        Nonsense::Broken(what) => Some(what),
        Nonsense::NotTls(_) | Nonsense::NotOffered(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use proptest::prelude::*;

    use super::*;

    /// Inputs that reach far, and every input that once broke a rule: `fuzz/corpus/tls_answer/*`.
    #[test]
    fn the_corpus_breaks_no_rule() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tls_answer");
        let files: Vec<_> = std::fs::read_dir(root).unwrap().collect();
        assert!(!files.is_empty());
        for file in files {
            tls_answer(&std::fs::read(file.unwrap().path()).unwrap());
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_break_no_rule(data in proptest::collection::vec(any::<u8>(), 0..300)) {
            tls_answer(&data);
        }

        #[test]
        fn arbitrary_messages_break_no_rule(
            messages in proptest::collection::vec((0_u8..24, proptest::collection::vec(any::<u8>(), 0..80)), 0..6),
        ) {
            let mut body = Vec::new();
            for (kind, content) in &messages {
                body.extend([*kind, 0, 0, content.len() as u8]);
                body.extend(content);
            }
            let mut data = Vec::new();
            for piece in body.chunks(50) {
                data.extend([22, 3, 3, 0, piece.len() as u8]);
                data.extend(piece);
            }
            tls_answer(&data);
        }
    }
}
