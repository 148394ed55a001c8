//! libFuzzer on [`ftps_gateway_fuzz::hello`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ftps_gateway_fuzz::hello(bytes));
