//! Which pages of other sites may read the streams of a location (`flv_cors`).

use crate::nginx::http::Request;

/// The pages that may, by their origins (RFC 6454).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cors {
    /// Nothing is said of it.
    Off,
    /// Those of every site.
    Any,
    /// Those of these sites: `scheme://host[:port]`, in lower case.
    Of(Vec<Vec<u8>>),
}

impl Cors {
    /// An origin as a browser sends it: `scheme://host[:port]`, without a path.
    pub fn is_origin(word: &[u8]) -> bool {
        let host = word.strip_prefix(b"https://").or_else(|| word.strip_prefix(b"http://"));
        host.is_some_and(|host| {
            !host.is_empty()
                && host.iter().all(|&byte| byte.is_ascii_graphic() && !b"/?#@\\*".contains(&byte))
        })
    }

    /// Puts what a browser wants to know into the answer to `request`, whatever that will be. False:
    /// out of memory.
    pub fn answer(&self, request: &Request) -> bool {
        let allowed = match self {
            Cors::Off => return true,
            Cors::Any => Some(b"*".to_vec()),
            Cors::Of(_) => request.field("origin").filter(|origin| self.names(origin)),
        };
        let varies = matches!(self, Cors::Of(_));
        if varies && !request.add_field("Vary", b"Origin") {
            return false;
        }
        let Some(origin) = allowed else { return true };
        request.add_field("Access-Control-Allow-Origin", &origin)
            && (!request.is_options() || preflight(request))
    }

    fn names(&self, origin: &[u8]) -> bool {
        let Cors::Of(origins) = self else { return false };
        origins.iter().any(|own| own.eq_ignore_ascii_case(origin))
    }

    /// Whether a page may open a WebSocket: browsers leave that to the server. A client that is no
    /// browser names no page, and a site's own pages always may.
    pub fn admits(&self, request: &Request) -> bool {
        if !matches!(self, Cors::Of(_)) {
            return true;
        }
        let Some(origin) = request.field("origin") else { return true };
        let own = request.field("host").is_some_and(|host| {
            let scheme: &[u8] = if request.is_tls() { b"https://" } else { b"http://" };
            [scheme, &host].concat().eq_ignore_ascii_case(&origin)
        });
        own || self.names(&origin)
    }
}

/// What a browser asks for before it sends a request that is not as simple as a link (Fetch, CORS
/// preflight).
fn preflight(request: &Request) -> bool {
    let asked = request.field("access-control-request-headers");
    request.add_field("Access-Control-Allow-Methods", b"GET, HEAD, OPTIONS")
        && asked.is_none_or(|asked| request.add_field("Access-Control-Allow-Headers", &asked))
        && request.add_field("Access-Control-Max-Age", b"600")
}
