//! Golden answers: from the RFCs, and from real servers (`fuzz/corpus/tls_answer`).

use std::path::Path;

use super::*;

fn unhex(text: &str) -> Vec<u8> {
    let digits: Vec<char> = text.chars().filter(|c| !c.is_whitespace()).collect();
    digits.chunks(2).map(|pair| u8::from_str_radix(&pair.iter().collect::<String>(), 16).unwrap()).collect()
}

fn read(bytes: &[u8]) -> Result<Answer, Nonsense> {
    let mut reader = Reader::new();
    Ok(reader.feed(bytes)?.unwrap_or_else(|| reader.end()))
}

fn recorded(name: &str) -> Answer {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/tls_answer").join(name);
    read(&std::fs::read(file).unwrap()).unwrap()
}

/// RFC 8448, section 3.
#[test]
fn a_server_hello_of_tls_1_3_ends_the_answer() {
    let bytes = unhex(
        "16 03 03 00 5a 02 00 00 56 03 03 a6 af 06 a4 12 18 60 dc 5e 6e 60 24 9c d3 4c 95 93 0c 8a c5 cb 14 34 da c1 55 77 2e
         d3 e2 69 28 00 13 01 00 00 2e 00 33 00 24 00 1d 00 20 c9 82 88 76 11 20 95 fe 66 76 2b db f7 c6 72 e1 56 d6 cc 25 3b
         83 3d f1 dd 69 b1 b0 4e 75 1f 0f 00 2b 00 02 03 04",
    );
    let expected = Accepted { version: 0x0304, suite: 0x1301, group: Some(0x001D), ..Accepted::default() };
    assert_eq!(read(&bytes), Ok(Answer::Accepted(expected)));
}

/// RFC 8448, section 5, without the cookie.
#[test]
fn a_hello_retry_request_names_suite_and_group() {
    let bytes = unhex(
        "16 03 03 00 38 02 00 00 34 03 03 cf 21 ad 74 e5 9a 61 11 be 1d 8c 02 1e 65 b8 91 c2 a2 11 16 7a bb 8c 5e 07 9e 09 e2
         c8 a8 33 9c 00 13 01 00 00 0c 00 33 00 02 00 17 00 2b 00 02 03 04",
    );
    assert_eq!(read(&bytes), Ok(Answer::Retry { suite: 0x1301, group: Some(0x0017) }));
}

#[test]
fn openssls_flight_of_tls_1_0_has_suite_group_and_certificate() {
    let Answer::Accepted(accepted) = recorded("tls10_flight_rsa") else { panic!("refused") };
    assert_eq!((accepted.version, accepted.suite, accepted.group), (0x0301, 0xC014, Some(0x0017)));
    let certificate = crate::Certificate::read(&accepted.certificate.unwrap()).unwrap();
    assert_eq!(certificate.key, "RSA 2048");
}

#[test]
fn openssls_flight_of_tls_1_2_has_suite_group_and_certificate() {
    let Answer::Accepted(accepted) = recorded("tls12_flight_ecdsa") else { panic!("refused") };
    assert_eq!((accepted.version, accepted.suite, accepted.group), (0x0303, 0xC02B, Some(0x001D)));
    let certificate = crate::Certificate::read(&accepted.certificate.unwrap()).unwrap();
    assert_eq!(certificate.key, "ECDSA secp256r1");
}

#[test]
fn openssls_answers_of_tls_1_3_are_told_apart() {
    assert_eq!(recorded("tls13_retry"), Answer::Retry { suite: 0x1301, group: Some(0x0018) });
    let expected = Accepted { version: 0x0304, suite: 0x1301, group: Some(0x001D), ..Accepted::default() };
    assert_eq!(recorded("tls13_server_hello"), Answer::Accepted(expected));
}

/// RFC 5246, section 7.2: 40 is handshake_failure.
#[test]
fn a_fatal_alert_is_a_refusal_with_its_number() {
    assert_eq!(recorded("alert"), Answer::Refused { alert: Some(40), chosen: None });
}

#[test]
fn a_warning_is_passed_over() {
    let warned = unhex("15 03 01 00 02 01 70  15 03 01 00 02 02 46");
    assert_eq!(read(&warned), Ok(Answer::Refused { alert: Some(70), chosen: None }));
}

#[test]
fn an_end_without_a_word_is_a_refusal() {
    assert_eq!(Reader::new().end(), Answer::Refused { alert: None, chosen: None });
}

#[test]
fn an_alert_after_the_server_chose_names_what_it_chose() {
    let hello = unhex(&format!("16 03 03 00 2a 02 00 00 26 03 03 {} 00 c0 2f 00", "11".repeat(32)));
    let bytes = [hello, unhex("15 03 03 00 02 02 50")].concat();
    assert_eq!(read(&bytes), Ok(Answer::Refused { alert: Some(80), chosen: Some(0xC02F) }));
}

#[test]
fn a_flight_is_complete_with_server_hello_done_alone() {
    let hello = unhex(&format!("16 03 03 00 2a 02 00 00 26 03 03 {} 00 00 2f 00", "11".repeat(32)));
    let mut reader = Reader::new();
    assert_eq!(reader.feed(&hello), Ok(None));
    let accepted = Accepted { version: 0x0303, suite: 0x002F, ..Accepted::default() };
    assert_eq!(reader.feed(&unhex("16 03 03 00 04 0e 00 00 00")), Ok(Some(Answer::Accepted(accepted))));
}

#[test]
fn what_is_no_tls_is_shown() {
    let error = read(b"HTTP/1.1 400 Bad Request\r\n\r\n").unwrap_err();
    assert_eq!(error.to_string(), r#"this is not TLS: it answers "HTTP/1.1 400 Bad Request\r\n\r\n""#);
}

#[test]
fn an_answer_without_an_end_is_cut() {
    let mut reader = Reader::new();
    let warnings = unhex("15 03 01 00 02 01 70").repeat(1000);
    let end = std::iter::repeat_with(|| reader.feed(&warnings)).find(Result::is_err);
    assert_eq!(end, Some(Err(Nonsense::Broken("the answer does not end"))));
}

#[test]
fn lengths_that_cannot_be_are_refused() {
    assert_eq!(read(&unhex("16 03 03 ff ff 02")), Err(Nonsense::Broken("a record is too long")));
    assert_eq!(read(&unhex("16 03 03 00 04 02 ff ff ff")), Err(Nonsense::Broken("a message is too long")));
    assert_eq!(read(&unhex("16 03 03 00 06 02 00 00 02 03 03")), Err(Nonsense::Broken("the ServerHello is cut short")));
}
