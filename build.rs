//! Which nginx the module is built against: its version and features as cfg, and as constants the
//! macros that nginx-sys leaves out. And where its hot functions lie.

use std::env;
use std::path::PathBuf;

use bindgen::callbacks::{ItemInfo, ParseCallbacks};

const HEADER: &str = "src/nginx/sys.h";
const PLACES: &str = "src/hot.ld";

fn main() {
    for name in ["FEATURES", "FEATURES_CHECK", "VERSION_NUMBER", "INCLUDE"] {
        println!("cargo::rerun-if-env-changed=DEP_NGINX_{name}");
    }
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed={HEADER}");
    println!("cargo::rerun-if-changed={PLACES}");
    features();
    version();
    constants();
    places();
}

/// `cfg(ngx_feature = "…")` for what this nginx was configured with.
fn features() {
    let known = env::var("DEP_NGINX_FEATURES_CHECK").unwrap_or("any()".into());
    println!("cargo::rustc-check-cfg=cfg(ngx_feature, values({known}))");
    let features = env::var("DEP_NGINX_FEATURES").unwrap_or_default();
    for feature in features.split(',').map(str::trim).filter(|feature| !feature.is_empty()) {
        println!("cargo::rustc-cfg=ngx_feature=\"{feature}\"");
    }
}

/// `cfg(nginx1_23_0)`: the release from which on headers of one name are a linked list.
fn version() {
    println!("cargo::rustc-check-cfg=cfg(nginx1_23_0)");
    let version = env::var("DEP_NGINX_VERSION_NUMBER").ok().and_then(|number| number.parse().ok());
    if version.unwrap_or(0u64) >= 1_023_000 {
        println!("cargo::rustc-cfg=nginx1_23_0");
    }
}

/// The constants of src/nginx/sys.h, for src/nginx/sys.rs to include.
fn constants() {
    let include = env::var_os("DEP_NGINX_INCLUDE").expect("nginx-sys tells its include paths");
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    bindgen::Builder::default()
        .header(HEADER)
        .clang_args(env::split_paths(&include).map(|path| format!("-I{}", path.display())))
        .allowlist_var("RTMP_NGX_.*")
        .allowlist_recursively(false)
        .parse_callbacks(Box::new(Unprefixed))
        .raw_line("use nginx_sys::*;")
        .layout_tests(false)
        .use_core()
        .generate()
        .expect("bindings of src/nginx/sys.h")
        .write_to_file(out.join("sys.rs"))
        .expect("OUT_DIR is writable");
}

/// Where the functions of the hot path lie in the module.
fn places() {
    let root = env::var("CARGO_MANIFEST_DIR").expect("cargo tells where Cargo.toml is");
    println!("cargo::rustc-cdylib-link-arg=-T{root}/{PLACES}");
}

/// Gives a constant of src/nginx/sys.h the name of the macro that it holds.
#[derive(Debug)]
struct Unprefixed;

impl ParseCallbacks for Unprefixed {
    fn item_name(&self, item: ItemInfo) -> Option<String> {
        item.name.strip_prefix("RTMP_").map(str::to_owned)
    }
}
