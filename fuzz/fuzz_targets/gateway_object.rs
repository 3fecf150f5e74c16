#![no_main]
libfuzzer_sys::fuzz_target!(|data: &[u8]| paddock_controllers::fuzzing::gateway_object(data));
