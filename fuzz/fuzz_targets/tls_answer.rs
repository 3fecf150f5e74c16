#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| paddock_tls_probe::fuzzing::tls_answer(data));
