//! `kiln serve`.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;

use super::exit::Exit;
use super::failure::Failure;
use super::project::load_spec;
use super::terminal::{Terminal, outln};
use crate::lab::serve::Server;

/// The port where neither the command line nor the address of `publish` names one.
const PORT: u16 = 8080;

#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Where to listen. Default: what `publish` in graph.ron says, if that is this machine itself; else 127.0.0.1:8080. Any other
    /// address lets whoever reaches it fetch what is published.
    #[arg(long, value_name = "ADDR:PORT")]
    listen: Option<SocketAddr>,
}

pub(super) fn run(args: &Args, terminal: &Terminal) -> Result<Exit, Failure> {
    let spec = load_spec(terminal)?;
    let Some(publish) = spec.project.publish.as_ref() else {
        return Err(Failure::new(Exit::Spec, "graph.ron has no `publish`: there is nothing to serve")
            .help("add `publish: (dir: \"www\", url: \"http://127.0.0.1:8080/\")`"));
    };
    let dir = spec.root.join(&publish.dir);
    let (host, prefix) = parts(&publish.url);
    let address = args.listen.unwrap_or_else(|| default_address(host));
    let failed = |what: String| {
        move |error: std::io::Error| Failure::new(Exit::Environment, format!("{what}: {error}"))
    };
    if !dir.exists() {
        let made = fs::create_dir_all(&dir)
            .and_then(|()| fs::set_permissions(&dir, fs::Permissions::from_mode(0o755)));
        made.map_err(failed(dir.display().to_string()))?;
    }
    let server = Server::bind(&dir, prefix, address)
        .map_err(failed(format!("can't serve {} at {address}", dir.display())))?;
    let address = server.address().map_err(failed("the port".to_owned()))?;
    if !terminal.quiet {
        outln!("serving {} at http://{address}{prefix}/", dir.display());
    }
    server.run().map_err(failed(format!("serving at {address}")))?;
    Ok(Exit::Done)
}

/// Host with port, and path without its last slash, of an address that the spec has checked.
fn parts(url: &str) -> (&str, &str) {
    let rest = url.split_once("://").map_or(url, |(_, rest)| rest);
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    (host, path.trim_end_matches('/'))
}

/// The host of an address, if it is this machine itself.
fn default_address(host: &str) -> SocketAddr {
    let host =
        host.strip_prefix("localhost").map_or_else(|| host.to_owned(), |port| format!("127.0.0.1{port}"));
    let address = host.parse().or_else(|_| host.parse().map(|address: IpAddr| SocketAddr::new(address, 80)));
    let loopback = address.ok().filter(|address: &SocketAddr| address.ip().is_loopback());
    loopback.unwrap_or_else(|| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_listens_where_the_address_says_and_never_beyond_this_machine_by_itself() {
        let of = |url: &str| {
            let (host, prefix) = parts(url);
            (default_address(host).to_string(), prefix.to_owned())
        };
        let is = |address: &str, prefix: &str| (address.to_owned(), prefix.to_owned());
        assert_eq!(of("http://127.0.0.1:9000/kiln/"), is("127.0.0.1:9000", "/kiln"));
        assert_eq!(of("http://localhost:9000"), is("127.0.0.1:9000", ""));
        assert_eq!(of("http://[::1]:9000/a/b"), is("[::1]:9000", "/a/b"));
        assert_eq!(of("http://127.0.0.1/"), is("127.0.0.1:80", ""));
        assert_eq!(of("http://ci.example/kiln/"), is("127.0.0.1:8080", "/kiln"));
        assert_eq!(of("http://192.0.2.1:9000/"), is("127.0.0.1:8080", ""));
    }
}
