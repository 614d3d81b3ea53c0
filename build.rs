//! Compiles `shim/` and generates its Rust bindings. Without the feature `host` there is nothing to
//! do, and neither a C compiler nor libclang is asked for.

#[cfg(feature = "host")]
fn main() {
    use std::{env, path::PathBuf};

    println!("cargo:rerun-if-changed=shim/weir_shim.c");
    println!("cargo:rerun-if-changed=shim/weir_shim.h");

    cc::Build::new()
        .file("shim/weir_shim.c")
        .warnings(true)
        .extra_warnings(true)
        .warnings_into_errors(true)
        .compile("weir_shim");

    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindgen::Builder::default()
        .header("shim/weir_shim.h")
        .allowlist_function("weir_.*")
        // Two functions about a `long double`, which Rust lacks: `host/shim.rs` passes one to the
        // other as a plain pointer.
        .blocklist_item("weir_reply_long_double.*")
        // The server's types are those of the crate redis-module: `host/shim.rs` imports them.
        .blocklist_type("RedisModule.*")
        .layout_tests(false)
        .generate()
        .expect("bindgen reads shim/weir_shim.h (it needs libclang)")
        .write_to_file(out.join("weir_shim.rs"))
        .expect("OUT_DIR is writable");
}

#[cfg(not(feature = "host"))]
fn main() {
    println!("cargo:rerun-if-changed=build.rs");
}
