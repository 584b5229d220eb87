//! Certificates for tests: an authority, a server and a client. rustls wants version 3, and no authority as a leaf.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A directory of PEM files.
pub struct Certificates(PathBuf);

impl Certificates {
    /// Makes them in a new directory.
    pub fn make(dir: PathBuf) -> Self {
        fs::create_dir(&dir).unwrap();
        let made = Self(dir);
        let authority =
            ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2"];
        for name in ["ca", "other-ca"] {
            let (key, pem) = (format!("{name}.key"), format!("{name}.pem"));
            made.openssl(&authority, &["-subj", "/CN=kiln test authority", "-keyout", &key, "-out", &pem]);
        }
        made.leaf("server", "ca", "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n");
        made.leaf("client", "ca", "extendedKeyUsage=clientAuth\n");
        made.leaf("stranger", "other-ca", "extendedKeyUsage=clientAuth\n");
        made.leaf(
            "impostor",
            "other-ca",
            "subjectAltName=IP:127.0.0.1,DNS:localhost\nextendedKeyUsage=serverAuth\n",
        );
        made
    }

    /// One of them: `ca.pem`, `server.key`...
    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    /// The certificate and the key of a client.
    pub fn identity(&self, name: &str) -> (PathBuf, PathBuf) {
        (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")))
    }

    fn leaf(&self, name: &str, authority: &str, extensions: &str) {
        let [key, request, pem, extra] = ["key", "csr", "pem", "ext"].map(|end| format!("{name}.{end}"));
        let extensions = format!("basicConstraints=CA:FALSE\nkeyUsage=digitalSignature\n{extensions}");
        fs::write(self.path(&extra), extensions).unwrap();
        self.openssl(
            &["req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"],
            &["-subj", &format!("/CN=kiln test {name}"), "-keyout", &key, "-out", &request],
        );
        self.openssl(
            &["x509", "-req", "-days", "2", "-CAcreateserial", "-in", &request, "-out", &pem],
            &["-CA", &format!("{authority}.pem"), "-CAkey", &format!("{authority}.key"), "-extfile", &extra],
        );
    }

    fn openssl(&self, first: &[&str], rest: &[&str]) {
        run(Command::new("openssl").args(first).args(rest).current_dir(&self.0));
    }
}

/// Runs a program that must succeed.
pub fn run(command: &mut Command) -> Vec<u8> {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}: {}", String::from_utf8_lossy(&output.stderr));
    output.stdout
}

/// A token for `BuildGrid`: a JSON web token of that subject, signed with HMAC-SHA-256, good for an hour.
pub fn token(subject: &str, secret: &Path) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap().as_secs();
    let claims = format!(r#"{{"sub":"{subject}","exp":{}}}"#, now + 3600);
    let signed = format!("{}.{}", BASE64.encode(r#"{"alg":"HS256","typ":"JWT"}"#), BASE64.encode(claims));
    let input = secret.with_extension("signed");
    fs::write(&input, &signed).unwrap();
    let secret = fs::read_to_string(secret).unwrap();
    let mac = run(Command::new("openssl").args(["dgst", "-sha256", "-binary", "-hmac", &secret]).arg(input));
    format!("{signed}.{}", BASE64.encode(mac))
}
