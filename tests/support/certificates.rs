//! An authority of the test's own, and a certificate by it.

use std::fs;
use std::path::Path;
use std::process::Command;

/// Makes `ca.pem`, `server.pem` and `server.key` in a folder; `names` is what the server may be called,
/// as in `IP:127.0.0.1,DNS:localhost`.
pub(crate) fn make(folder: &Path, names: &str) {
    let openssl = |arguments: &str| {
        let ran = Command::new("openssl")
            .args(arguments.split(' '))
            .current_dir(folder)
            .output()
            .expect("`openssl` runs: apt-get install openssl");
        assert!(ran.status.success(), "{ran:?}");
    };
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes";
    openssl(&format!(
        "req -x509 {key} -days 2 -subj /CN=authority -keyout ca.key -out ca.pem"
    ));
    openssl(&format!(
        "req {key} -subj /CN=server -keyout server.key -out server.csr"
    ));
    let names = format!("subjectAltName={names}\n");
    fs::write(folder.join("names"), names).expect("a file");
    openssl(
        "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names \
         -out server.pem",
    );
}
