//! Who signed a Release file, and whether that is good enough.

use std::io::Read;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use sequoia_openpgp as openpgp;

use openpgp::Cert;
use openpgp::KeyHandle;
use openpgp::cert::amalgamation::ValidAmalgamation;
use openpgp::parse::Parse;
use openpgp::parse::stream::{
    DetachedVerifierBuilder, GoodChecksum, MessageLayer, MessageStructure, VerificationError,
    VerificationHelper, VerifierBuilder,
};
use openpgp::policy::{Policy, StandardPolicy};
use openpgp::types::RevocationStatus;

use crate::Keyring;
use crate::progress::Date;

/// How far ahead of this machine's clock a signature, or a Release file's date, may be.
pub(crate) const MAX_AHEAD: Duration = Duration::from_secs(24 * 60 * 60);

/// Why a text does not count as signed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SignatureError {
    /// The bytes are no signed message at all.
    #[error(
        "it is not an OpenPGP signed message; it begins with `{beginning}` (a proxy or a login \
         page may have answered in the mirror's place)"
    )]
    NotSigned {
        /// The first characters.
        beginning: String,
    },
    /// None of the signatures is by a key of the keyring.
    #[error(
        "no key of the keyring {keyring} signed it; it is signed by {}. If that is who you trust, \
         name a keyring that holds the key", issuers.join(", ")
    )]
    UnknownKeys {
        /// Fingerprints or key ids of those who signed.
        issuers: Vec<String>,
        /// The keyring's name.
        keyring: String,
    },
    /// The key that signed has expired.
    #[error(
        "the key {key} that signed it expired on {}; if the archive has renewed its key, name a \
         newer keyring than {keyring}", Date(*at)
    )]
    KeyExpired {
        /// The certificate's fingerprint.
        key: String,
        /// When.
        at: Timestamp,
        /// The keyring's name.
        keyring: String,
    },
    /// The key that signed has been revoked.
    #[error("the key {key} that signed it is revoked: the archive no longer stands by it")]
    KeyRevoked {
        /// The certificate's fingerprint.
        key: String,
    },
    /// The key that signed is not fit for signing: weak, or not bound to its certificate.
    #[error("the key {key} that signed it does not count")]
    KeyUnfit {
        /// The certificate's fingerprint.
        key: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The signature has expired.
    #[error("the signature by {key} expired on {}; the mirror serves an old file", Date(*at))]
    SignatureExpired {
        /// The certificate's fingerprint.
        key: String,
        /// When.
        at: Timestamp,
    },
    /// The signature was made in the future.
    #[error("the signature by {key} is of {}: is this machine's clock right?", Date(*at))]
    Future {
        /// The certificate's fingerprint.
        key: String,
        /// When it was made, by its own word.
        at: Timestamp,
    },
    /// The content is not what was signed.
    #[error(
        "the content is not what {key} signed: it was altered, or damaged on the way; try another \
         mirror"
    )]
    Altered {
        /// The certificate's fingerprint.
        key: String,
        /// What the verifier says.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The signature is too weak to mean anything: made with SHA-1, say.
    #[error("the signature by {key} is too weak to be trusted")]
    Weak {
        /// The certificate's fingerprint.
        key: String,
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The message or a signature cannot be read.
    #[error("its signature cannot be read")]
    Malformed {
        /// Why.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
}

/// A text somebody of the keyring signed.
#[derive(Debug)]
pub(crate) struct Signed {
    /// The signed text, and nothing that stood around it.
    pub(crate) text: Vec<u8>,
    /// The fingerprint of the certificate that signed.
    pub(crate) signer: String,
}

/// Verifies a message that holds text and signatures: an InRelease file.
pub(crate) fn verify_inline(
    message: &[u8],
    keyring: &Keyring,
    now: Timestamp,
) -> Result<Signed, SignatureError> {
    const BEGIN: &[u8] = b"-----BEGIN PGP SIGNED MESSAGE-----";
    // Whatever stands before or after the message is never used; but a file that does not even
    // begin as one is something else, and is best shown.
    if !message.trim_ascii_start().starts_with(BEGIN) {
        let beginning: String = String::from_utf8_lossy(message.trim_ascii_start())
            .chars()
            .take(40)
            .map(|c| if c.is_control() { ' ' } else { c })
            .collect();
        return Err(SignatureError::NotSigned { beginning });
    }
    judge(keyring, now, |policy, time, helper| {
        let mut verifier =
            VerifierBuilder::from_bytes(message)?.with_policy(policy, time, helper)?;
        let mut text = Vec::new();
        verifier.read_to_end(&mut text)?;
        if !verifier.message_processed() {
            return Err(openpgp::Error::MalformedMessage("it was cut off".into()).into());
        }
        Ok(text)
    })
}

/// Verifies a text against signatures that stand apart: `Release` and `Release.gpg`.
pub(crate) fn verify_detached(
    text: &[u8],
    signatures: &[u8],
    keyring: &Keyring,
    now: Timestamp,
) -> Result<Signed, SignatureError> {
    judge(keyring, now, |policy, time, helper| {
        DetachedVerifierBuilder::from_bytes(signatures)?
            .with_policy(policy, time, helper)?
            .verify_bytes(text)?;
        Ok(text.to_vec())
    })
}

/// Runs a verifier, and turns what its signatures came to into one answer.
fn judge(
    keyring: &Keyring,
    now: Timestamp,
    run: impl Fn(&dyn Policy, SystemTime, Helper<'_>) -> openpgp::Result<Vec<u8>>,
) -> Result<Signed, SignatureError> {
    let mut time = now;
    loop {
        let mut findings = Vec::new();
        let policy = StandardPolicy::at(SystemTime::from(time));
        let helper = Helper {
            keyring,
            policy: &policy,
            time: SystemTime::from(time),
            findings: &mut findings,
        };
        let ran = run(&policy, SystemTime::from(time), helper);
        match (ran, verdict(findings, keyring)) {
            (Ok(text), Some(Ok(signer))) => return Ok(Signed { text, signer }),
            // Clocks differ: a signature somewhat ahead of ours is judged at its own time.
            (_, Some(Err(SignatureError::Future { at, .. })))
                if time == now && at > now && ahead(at, now) <= MAX_AHEAD =>
            {
                time = at;
            }
            (_, Some(Err(error))) => return Err(error),
            (Err(error), _) => {
                return Err(SignatureError::Malformed {
                    source: error.into(),
                });
            }
            (Ok(_), None) => {
                return Err(SignatureError::NotSigned {
                    beginning: String::new(),
                });
            }
        }
    }
}

/// How far the first time is ahead of the second.
pub(crate) fn ahead(time: Timestamp, now: Timestamp) -> Duration {
    let seconds = time.as_second().saturating_sub(now.as_second());
    Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
}

/// What one signature came to.
enum Finding {
    Good { signer: String },
    Unknown { issuers: Vec<String> },
    Bad(SignatureError),
}

/// One answer for all signatures; `None` where there was not a single one.
///
/// Archives sign with several keys, and keyrings rarely hold all of them: unknown keys count only
/// when there is nothing else. Text that some known key did not sign as it stands is refused
/// whatever the others say. Expired and weak ones are passed over while there is a good one.
fn verdict(findings: Vec<Finding>, keyring: &Keyring) -> Option<Result<String, SignatureError>> {
    let mut good = None;
    let mut bad = None;
    let mut unknown = Vec::new();
    for finding in findings {
        match finding {
            Finding::Bad(error @ SignatureError::Altered { .. }) => return Some(Err(error)),
            Finding::Bad(error) => bad = bad.or(Some(error)),
            Finding::Good { signer } => good = good.or(Some(signer)),
            Finding::Unknown { issuers } => unknown.extend(issuers),
        }
    }
    match (good, bad) {
        (Some(signer), _) => Some(Ok(signer)),
        (None, Some(error)) => Some(Err(error)),
        (None, None) if unknown.is_empty() => None,
        (None, None) => Some(Err(SignatureError::UnknownKeys {
            issuers: unknown,
            keyring: keyring.name().into(),
        })),
    }
}

struct Helper<'a> {
    keyring: &'a Keyring,
    policy: &'a dyn Policy,
    time: SystemTime,
    findings: &'a mut Vec<Finding>,
}

impl VerificationHelper for Helper<'_> {
    fn get_certs(&mut self, ids: &[KeyHandle]) -> openpgp::Result<Vec<Cert>> {
        let issued = |certificate: &&Cert| {
            certificate
                .keys()
                .any(|key| ids.iter().any(|id| id.aliases(key.key().key_handle())))
        };
        Ok(self
            .keyring
            .certificates()
            .iter()
            .filter(issued)
            .cloned()
            .collect())
    }

    fn check(&mut self, structure: MessageStructure<'_>) -> openpgp::Result<()> {
        for layer in structure {
            let MessageLayer::SignatureGroup { results } = layer else {
                return Err(openpgp::Error::MalformedMessage(
                    "it holds something else than text and signatures".into(),
                )
                .into());
            };
            for result in results {
                let finding = match result {
                    Ok(good) => self.alive(&good),
                    Err(error) => self.name(error),
                };
                self.findings.push(finding);
            }
        }
        let good = |finding: &Finding| matches!(finding, Finding::Good { .. });
        if self.findings.iter().any(good) {
            Ok(())
        } else {
            Err(openpgp::Error::InvalidOperation("no good signature".into()).into())
        }
    }
}

impl Helper<'_> {
    /// Judges the key of a good signature once more, at the present.
    ///
    /// The verifier judged it at the time the signature says it was made, which whoever found an
    /// expired key may choose as he likes.
    fn alive(&self, good: &GoodChecksum<'_>) -> Finding {
        let signer = good.ka.cert().fingerprint().to_hex();
        let unfit = |source: openpgp::anyhow::Error| match expiry(&source) {
            Some(at) => SignatureError::KeyExpired {
                key: signer.clone(),
                at,
                keyring: self.keyring.name().into(),
            },
            None => SignatureError::KeyUnfit {
                key: signer.clone(),
                source: source.into(),
            },
        };
        let certificate = match good.ka.cert().with_policy(self.policy, self.time) {
            Ok(certificate) => certificate,
            Err(error) => return Finding::Bad(unfit(error)),
        };
        if let Err(error) = certificate.alive() {
            return Finding::Bad(unfit(error));
        }
        let handle = good.ka.key().key_handle();
        for key in certificate.keys().key_handle(handle) {
            if let Err(error) = key.alive() {
                return Finding::Bad(unfit(error));
            }
            let revoked = |status| matches!(status, RevocationStatus::Revoked(_));
            if revoked(key.revocation_status()) || revoked(certificate.revocation_status()) {
                return Finding::Bad(SignatureError::KeyRevoked { key: signer });
            }
        }
        Finding::Good { signer }
    }

    /// Finds the name for what the verifier complains of.
    fn name(&self, error: VerificationError<'_>) -> Finding {
        let keyring = || self.keyring.name().to_owned();
        match error {
            VerificationError::MissingKey { sig } => Finding::Unknown {
                issuers: issuers(&sig.get_issuers()),
            },
            VerificationError::UnknownSignature { sig } => {
                Finding::Bad(SignatureError::Malformed {
                    source: sig.error().to_string().into(),
                })
            }
            VerificationError::MalformedSignature { error, .. } => {
                Finding::Bad(SignatureError::Malformed {
                    source: error.into(),
                })
            }
            VerificationError::UnboundKey { cert, error, .. } => {
                Finding::Bad(SignatureError::KeyUnfit {
                    key: cert.fingerprint().to_hex(),
                    source: error.into(),
                })
            }
            VerificationError::BadKey { ka, error, .. } => {
                let key = ka.cert().fingerprint().to_hex();
                let revoked = |status| matches!(status, RevocationStatus::Revoked(_));
                Finding::Bad(if let Some(at) = expiry(&error) {
                    SignatureError::KeyExpired {
                        key,
                        at,
                        keyring: keyring(),
                    }
                } else if revoked(ka.revocation_status())
                    || revoked(ka.valid_cert().revocation_status())
                {
                    SignatureError::KeyRevoked { key }
                } else {
                    SignatureError::KeyUnfit {
                        key,
                        source: error.into(),
                    }
                })
            }
            VerificationError::BadSignature { sig, ka, error } => {
                let key = ka.cert().fingerprint().to_hex();
                let made = sig.signature_creation_time().and_then(timestamp);
                Finding::Bad(match error.downcast_ref::<openpgp::Error>() {
                    Some(openpgp::Error::Expired(at)) => SignatureError::SignatureExpired {
                        key,
                        at: timestamp(*at).unwrap_or(Timestamp::MAX),
                    },
                    Some(openpgp::Error::NotYetLive(at)) => SignatureError::Future {
                        key,
                        at: made.or_else(|| timestamp(*at)).unwrap_or(Timestamp::MAX),
                    },
                    Some(openpgp::Error::PolicyViolation(..)) => SignatureError::Weak {
                        key,
                        source: error.into(),
                    },
                    _ => SignatureError::Altered {
                        key,
                        source: error.into(),
                    },
                })
            }
            other => Finding::Bad(SignatureError::Malformed {
                source: other.to_string().into(),
            }),
        }
    }
}

/// Those a signature says it is by: fingerprints where there are any, else key ids.
fn issuers(handles: &[KeyHandle]) -> Vec<String> {
    let fingerprints = handles
        .iter()
        .filter(|handle| matches!(handle, KeyHandle::Fingerprint(_)));
    let mut names: Vec<_> = fingerprints.map(KeyHandle::to_hex).collect();
    if names.is_empty() {
        names = handles.iter().map(KeyHandle::to_hex).collect();
    }
    if names.is_empty() {
        names.push("a key it does not name".into());
    }
    names
}

/// The time of an "expired", if that is what an error says.
fn expiry(error: &openpgp::anyhow::Error) -> Option<Timestamp> {
    match error.downcast_ref::<openpgp::Error>() {
        Some(openpgp::Error::Expired(at)) => timestamp(*at),
        _ => None,
    }
}

fn timestamp(time: SystemTime) -> Option<Timestamp> {
    Timestamp::try_from(time).ok()
}
