#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| headwaters_fuzz::date_pattern(bytes));
