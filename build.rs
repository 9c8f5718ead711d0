//! Which nginx the module is built against: its version and features as cfg, and as constants the
//! macros that nginx-sys leaves out. Where its hot functions lie. And what stands in for nginx's symbols in
//! a test binary.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::env;
use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use bindgen::callbacks::{ItemInfo, ItemKind, ParseCallbacks};

const HEADER: &str = "src/nginx/sys.h";
const PLACES: &str = "src/hot.ld";
/// What a module gives nginx, under names that nginx declares.
const OWN: [&str; 2] = ["ngx_modules", "ngx_module_names"];
/// Where nginx declares all that a module may use.
const HEADERS: &str = "#include <ngx_config.h>\n#include <ngx_core.h>\n#include <ngx_event.h>\n\
    #include <ngx_event_connect.h>\n#include <ngx_http.h>\n";

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
    stand_ins();
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

/// bindgen for nginx's headers.
fn bindgen() -> bindgen::Builder {
    let include = env::var_os("DEP_NGINX_INCLUDE").expect("nginx-sys tells its include paths");
    bindgen::Builder::default()
        .clang_args(env::split_paths(&include).map(|path| format!("-I{}", path.display())))
}

fn out(file: &str) -> PathBuf {
    PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR")).join(file)
}

/// The constants of src/nginx/sys.h, for src/nginx/sys.rs to include.
fn constants() {
    bindgen()
        .header(HEADER)
        .allowlist_var("RTMP_NGX_.*")
        .allowlist_recursively(false)
        .parse_callbacks(Box::new(Unprefixed))
        .raw_line("use nginx_sys::*;")
        .layout_tests(false)
        .use_core()
        .generate()
        .expect("bindings of src/nginx/sys.h")
        .write_to_file(out("sys.rs"))
        .expect("OUT_DIR is writable");
}

/// Zeroes under the name of each function and variable of nginx, for src/nginx/sys.rs to include in tests: a
/// test binary links without nginx then, and a test that calls nginx ends at once.
fn stand_ins() {
    let names = Names::default();
    bindgen()
        .header_contents("nginx.h", HEADERS)
        .allowlist_function("ngx_.*")
        .allowlist_var("ngx_.*")
        .parse_callbacks(Box::new(names.clone()))
        .generate()
        .expect("bindings of nginx's headers");
    let mut text = String::from(".bss\n");
    for name in names.0.borrow().iter() {
        text += &format!(".balign 16\n.weak {name}\n{name}: .zero 256\n");
    }
    text += ".text\n";
    fs::write(out("stand_ins.s"), text).expect("OUT_DIR is writable");
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

/// Collects the names of functions and variables.
#[derive(Debug, Clone, Default)]
struct Names(Rc<RefCell<BTreeSet<String>>>);

impl ParseCallbacks for Names {
    fn generated_name_override(&self, item: ItemInfo) -> Option<String> {
        let is_symbol = matches!(item.kind, ItemKind::Function | ItemKind::Var);
        if is_symbol && item.name.starts_with("ngx_") && !OWN.contains(&item.name) {
            self.0.borrow_mut().insert(item.name.to_owned());
        }
        None
    }
}
