#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| paddock_controllers::fuzzing::server_names_and_image(data));
