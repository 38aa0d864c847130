//! Who may ask, and for what: checks before each request, and headers of each answer.

use crate::error::{ApiError, StudioError};
use crate::routes::App;
use axum::extract::{Request, State};
use axum::http::header::{
    COOKIE, HOST, HeaderName, HeaderValue, ORIGIN, REFERRER_POLICY, SET_COOKIE,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Method, Uri};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::{IpAddr, SocketAddr};

/// The checks of a server.
#[derive(Debug)]
pub struct Guard {
    address: SocketAddr,
    token: Option<String>,
    read_only: bool,
}

impl Guard {
    /// # Errors
    /// Returns [`StudioError::Start`] where the system has no random numbers for a token.
    pub fn new(
        address: SocketAddr,
        needs_token: bool,
        read_only: bool,
    ) -> Result<Self, StudioError> {
        let token = needs_token.then(random_token).transpose()?;
        Ok(Self { address, token, read_only })
    }

    /// The address to open in a browser.
    pub fn url(&self) -> String {
        let query = self.token.as_ref().map_or_else(String::new, |token| format!("?token={token}"));
        // The unspecified address stands for all addresses of this host; a URL needs one of them.
        let ip = match self.address.ip() {
            ip if !ip.is_unspecified() => ip,
            IpAddr::V4(_) => IpAddr::from([127, 0, 0, 1]),
            IpAddr::V6(_) => IpAddr::from([0, 0, 0, 0, 0, 0, 0, 1]),
        };
        format!("http://{}/{query}", SocketAddr::new(ip, self.address.port()))
    }

    /// Cookies belong to a host whatever the port, so the name tells studios apart.
    fn cookie(&self) -> String {
        format!("dcgan-studio-{}", self.address.port())
    }

    fn check_host(&self, host: &str) -> Result<(), ApiError> {
        let (name, port) = match host.rsplit_once(':') {
            Some((name, port)) if !port.ends_with(']') => (name, port.parse().ok()),
            _ => (host, Some(80)),
        };
        let ip: Option<IpAddr> = name.trim_start_matches('[').trim_end_matches(']').parse().ok();
        let listened = self.address.ip();
        let is_own = name.eq_ignore_ascii_case("localhost")
            || ip.is_some_and(|ip| {
                // DNS rebinding: a foreign page can make its own name resolve to this host, and
                // then has that name as its Host, never an IP address.
                ip == listened || ip.is_loopback() || listened.is_unspecified()
            });
        if is_own && port == Some(self.address.port()) {
            return Ok(());
        }
        Err(ApiError::forbidden(format!(
            "this studio is not {host:?}: open the address that it printed"
        )))
    }

    /// Refuses a client without the token; returns whether it is to get the cookie.
    fn check_token(&self, uri: &Uri, headers: &HeaderMap) -> Result<bool, ApiError> {
        let Some(token) = &self.token else { return Ok(false) };
        let name = self.cookie();
        let cookies = headers.get_all(COOKIE).into_iter().filter_map(|all| all.to_str().ok());
        let mut cookies = cookies.flat_map(|all| all.split(';')).filter_map(|one| {
            let (own, value) = one.trim().split_once('=')?;
            (own == name).then_some(value)
        });
        if cookies.any(|value| is_equal(value, token)) {
            return Ok(false);
        }
        let query = uri.query().into_iter().flat_map(|query| query.split('&'));
        let mut given = query.filter_map(|pair| pair.strip_prefix("token="));
        if given.any(|value| is_equal(value, token)) {
            return Ok(true);
        }
        Err(ApiError::forbidden("open the address with the token that this studio printed"))
    }

    /// Checks a request, and returns whether the answer sets the cookie.
    fn check(&self, request: &Request) -> Result<bool, ApiError> {
        let headers = request.headers();
        if request.uri().authority().is_some() {
            return Err(ApiError::bad_request("this is no proxy"));
        }
        let mut hosts = headers.get_all(HOST).into_iter();
        let host = match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
            (Some(Ok(host)), None) => host,
            _ => return Err(ApiError::forbidden("a request names one Host")),
        };
        self.check_host(host)?;
        let sets_cookie = self.check_token(request.uri(), headers)?;
        let reads = [Method::GET, Method::HEAD].contains(request.method());
        if reads {
            // Another site may link here, but has no use for images and pages of runs.
            let has = |name: &str, value: &str| {
                headers.get(name).is_some_and(|own| own.as_bytes() == value.as_bytes())
            };
            if has("sec-fetch-site", "cross-site") && !has("sec-fetch-mode", "navigate") {
                return Err(ApiError::forbidden("another site asks"));
            }
            return Ok(sets_cookie);
        }
        if self.read_only {
            return Err(ApiError::forbidden("this studio was started with --read-only"));
        }
        let origin = headers.get(ORIGIN).and_then(|origin| origin.to_str().ok());
        if origin.and_then(|origin| origin.strip_prefix("http://")) != Some(host) {
            return Err(ApiError::forbidden("only the studio's own page may change something"));
        }
        Ok(sets_cookie)
    }
}

fn random_token() -> Result<String, StudioError> {
    let mut random = [0; 16];
    getrandom::fill(&mut random)
        .map_err(|error| StudioError::Start(std::io::Error::other(error.to_string())))?;
    Ok(hex::encode(random))
}

/// Whether two texts are equal, in a time that does not tell where they differ.
fn is_equal(a: &str, b: &str) -> bool {
    let differs = a.bytes().zip(b.bytes()).fold(0, |differs, (a, b)| differs | (a ^ b));
    a.len() == b.len() && differs == 0
}

/// The middleware of all requests.
pub async fn guard(State(app): State<App>, request: Request, next: Next) -> Response {
    let checked = app.guard().check(&request);
    let mut response = match checked {
        Ok(sets_cookie) => {
            let mut response = next.run(request).await;
            let cookie = app.guard().token.as_ref().filter(|_| sets_cookie).map(|token| {
                let name = app.guard().cookie();
                format!("{name}={token}; Path=/; HttpOnly; SameSite=Strict")
            });
            if let Some(Ok(cookie)) = cookie.map(HeaderValue::try_from) {
                response.headers_mut().insert(SET_COOKIE, cookie);
            }
            response
        }
        Err(error) => error.into_response(),
    };
    let headers = response.headers_mut();
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // Not `no-referrer`: browsers may then send no Origin.
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("same-origin"));
    headers.insert(
        HeaderName::from_static("cross-origin-resource-policy"),
        HeaderValue::from_static("same-origin"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(address: &str) -> Guard {
        Guard::new(address.parse().unwrap(), false, false).unwrap()
    }

    #[test]
    fn only_names_of_this_host_are_served() {
        let local = at("127.0.0.1:6543");
        for host in ["127.0.0.1:6543", "localhost:6543", "LocalHost:6543", "[::1]:6543"] {
            assert!(local.check_host(host).is_ok(), "{host}");
        }
        for host in [
            "",
            "localhost",
            "localhost:80",
            "evil.example:6543",
            "localhost.evil.example:6543",
            "192.168.0.9:6543",
            "127.0.0.1:6543:6543",
            "[::1]",
            "127.0.0.1:",
            "a@127.0.0.1:6543",
        ] {
            assert!(local.check_host(host).is_err(), "{host}");
        }
        let other = at("192.168.0.9:6543");
        assert!(other.check_host("192.168.0.9:6543").is_ok());
        assert!(other.check_host("192.168.0.8:6543").is_err());
        assert!(at("0.0.0.0:6543").check_host("192.168.0.8:6543").is_ok());
        assert!(at("0.0.0.0:6543").check_host("evil.example:6543").is_err());
        assert!(at("127.0.0.1:80").check_host("localhost").is_ok());
    }

    #[test]
    fn a_token_is_long_and_new() {
        let url = || Guard::new("0.0.0.0:1".parse().unwrap(), true, false).unwrap().url();
        let (a, b) = (url(), url());
        assert_ne!(a, b);
        assert_eq!(a.len(), "http://127.0.0.1:1/?token=".len() + 32);
    }
}
