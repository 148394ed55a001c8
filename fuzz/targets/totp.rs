//! libFuzzer on [`ftps_gateway_fuzz::totp`].
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| ftps_gateway_fuzz::totp(bytes));
