//! Keys are made by gpg, as the real ones are, in a home that goes with the test.

use std::fs;
use std::io::Write as _;
use std::time::{Duration, SystemTime};

use super::*;
use crate::gentoo::tests::Home;
use pgp::composed::{Deserializable, SignedPublicKey, SignedPublicSubKey, SignedSecretKey};
use pgp::crypto::hash::HashAlgorithm;
use pgp::packet::{KeyFlags, SignatureConfig, Subpacket, SubpacketData};
use pgp::ser::Serialize as _;
use pgp::types::{Password, Timestamp};

const TEXT: &str = "# Latest as of now\n# ts=1759079300\n20250928T170227Z/stage3-arm64-openrc-20250928T170227Z.tar.xz 311603336\n- with a dash\n";

fn secret(home: &Home) -> SignedSecretKey {
    SignedSecretKey::from_bytes(&*home.gpg(&["--export-secret-keys"])).unwrap()
}

fn public(home: &Home) -> SignedPublicKey {
    SignedPublicKey::from_bytes(&*home.gpg(&["--export"])).unwrap()
}

fn now() -> SystemTime {
    SystemTime::now()
}

/// Checks data as it comes from a mirror: in pieces.
fn check(ring: &Keyring, signature: &[u8], data: &[u8]) -> Result<Signer, SignatureError> {
    let mut check = ring.file(signature, now())?;
    for piece in data.chunks(7) {
        check.write_all(piece).unwrap();
    }
    check.finish()
}

fn fails(result: Result<impl std::fmt::Debug, SignatureError>, with: &str) {
    let error = result.expect_err(with).to_string();
    assert!(error.contains(with), "{error} does not say {with:?}");
}

#[test]
fn texts_and_files_of_a_pinned_key_pass() {
    let home = Home::new();
    let ring = home.ring();
    let verified = ring.text(&home.clear_signed(&[], TEXT), now()).unwrap();
    assert_eq!(verified.text(), TEXT.trim_end());
    assert_eq!(verified.signer().primary, home.primary);
    assert_ne!(verified.signer().key, home.primary, "the subkey signs");

    let data = vec![b'x'; 1000];
    for options in [&[][..], &["--armor"], &["--digest-algo", "SHA512"]] {
        let signer = check(&ring, &home.detached(options, &data), &data).unwrap();
        assert_eq!(signer.primary, home.primary);
    }
}

#[test]
fn the_real_shape_of_the_key_passes() {
    // As Gentoo's: RSA-4096 that certifies, RSA-2048 that signs.
    let home = Home::made(&[], ["rsa4096", "rsa2048"], ["never", "2y"]);
    let ring = home.ring();
    assert!(ring.text(&home.clear_signed(&[], TEXT), now()).is_ok());
    let later = now() + Duration::from_hours(26280);
    fails(ring.text(&home.clear_signed(&[], TEXT), later), "has expired");

    // And one that is too small.
    let small = home.subkey(&[], "rsa1024", "2y");
    let signed = home.clear_signed(&["--local-user", &format!("{small}!")], TEXT);
    fails(home.ring().text(&signed, now()), "of a kind or size that can be forged");
}

#[test]
fn what_is_not_signed_does_not_pass_into_the_text() {
    let home = Home::new();
    let ring = home.ring();
    let signed = home.clear_signed(&[], TEXT);
    let evil = b"20990101T000000Z/stage3-arm64-openrc-20990101T000000Z.tar.xz 1\n";
    let before = [&evil[..], &signed].concat();
    let after = [&signed[..], evil].concat();
    let twice = [&signed[..], &signed].concat();
    // A line between the armor's head and the empty line is no part of the text either.
    let as_header =
        String::from_utf8(signed.clone()).unwrap().replacen("Hash: ", "Comment: 2099/evil 1\nHash: ", 1);
    for injected in [before, after, twice, as_header.into_bytes()] {
        match ring.text(&injected, now()) {
            Err(SignatureError::NotSigned { .. }) => {}
            Err(other) => panic!("{other}"),
            Ok(verified) => assert_eq!(verified.text(), TEXT.trim_end()),
        }
    }
}

#[test]
fn one_changed_byte_is_seen() {
    let home = Home::new();
    let ring = home.ring();
    let signed = String::from_utf8(home.clear_signed(&[], TEXT)).unwrap();
    fails(ring.text(signed.replacen("311603336", "311603337", 1).as_bytes(), now()), "does not fit");
    fails(ring.text(signed.replacen("- - with", "- with", 1).as_bytes(), now()), "does not fit");

    let data = vec![b'x'; 1000];
    let signature = home.detached(&[], &data);
    let mut changed = data.clone();
    changed[500] ^= 1;
    fails(check(&ring, &signature, &changed), "does not fit");
    fails(check(&ring, &signature, &data[..999]), "does not fit");
    // Each byte of the signature: it must not pass, nor end the process.
    for at in 0..signature.len() {
        let mut broken = signature.clone();
        broken[at] ^= 1;
        if let Ok(signer) = check(&ring, &broken, &data) {
            // What is not hashed may change: hints about who signed.
            assert_eq!(signer.primary, home.primary);
        }
    }
    let last = signature.len() - 1;
    let broken: Vec<u8> =
        signature.iter().enumerate().map(|(at, byte)| byte ^ u8::from(at == last)).collect();
    fails(check(&ring, &broken, &data), "does not fit");
}

#[test]
fn a_missing_signature_is_seen() {
    let home = Home::new();
    let ring = home.ring();
    fails(ring.text(TEXT.as_bytes(), now()), "not signed as it should be");
    fails(ring.text(b"", now()), "not signed as it should be");
    fails(ring.text(b"<html><body>404 Not Found</body></html>", now()), "not signed as it should be");
    fails(check(&ring, b"", b"x"), "not signed as it should be");
    fails(check(&ring, b"<html>", b"x"), "not signed as it should be");
    fails(check(&ring, &home.keys(), b"x"), "not signed as it should be");
    let signed = String::from_utf8(home.clear_signed(&[], TEXT)).unwrap();
    let cut = &signed[..signed.find("-----BEGIN PGP SIGNATURE").unwrap()];
    fails(ring.text(cut.as_bytes(), now()), "not signed as it should be");
    // A signature of a text is none of a file.
    let as_text = home.gpg_with(&["--textmode", "--detach-sign"], b"x");
    fails(check(&ring, &as_text, b"x"), "not signed as it should be");
}

#[test]
fn other_keys_do_not_count() {
    let (home, other) = (Home::new(), Home::new());
    let both = [home.keys(), other.keys()].concat();
    let ring = Keyring::new(&both, std::slice::from_ref(&home.primary)).unwrap();
    fails(ring.text(&other.clear_signed(&[], TEXT), now()), "none of the pinned keys");
    fails(check(&ring, &other.detached(&[], b"x"), b"x"), "none of the pinned keys");
    // Both are in the file, in blocks of their own; the second can be pinned.
    let ring = Keyring::new(&both, std::slice::from_ref(&other.primary)).unwrap();
    assert!(ring.text(&other.clear_signed(&[], TEXT), now()).is_ok());
    // Signed by both: one is enough.
    let data = b"data";
    let signatures = [home.detached(&[], data), other.detached(&[], data)].concat();
    assert_eq!(check(&ring, &signatures, data).unwrap().primary, other.primary);

    let error = Keyring::new(&home.keys(), std::slice::from_ref(&other.primary)).unwrap_err().to_string();
    assert!(
        error.contains(&other.primary.to_string()) && error.contains(&home.primary.to_string()),
        "{error}"
    );
    assert!(matches!(Keyring::new(&home.keys(), &[]), Err(KeyringError::NoPin)));
    assert!(matches!(
        Keyring::new(b"nothing", std::slice::from_ref(&home.primary)),
        Err(KeyringError::Keys { .. })
    ));
}

#[test]
fn pins_are_whole() {
    let pin: Pin = "13EB BDBE DE7A 1277 5DFD  B1BA BB57 2E0E 2D18 2910".parse().unwrap();
    assert_eq!(pin.to_string(), "13EBBDBEDE7A12775DFDB1BABB572E0E2D182910");
    for short in ["2D182910", "BB572E0E2D182910", "", "13EBBDBEDE7A12775DFDB1BABB572E0E2D18291G"] {
        assert!(short.parse::<Pin>().is_err(), "{short}");
    }
}

#[test]
fn expired_keys_do_not_count() {
    let past = ["--faked-system-time", "20200101T000000!"];
    let home = Home::made(&past, ["ed25519", "ed25519"], ["1y", "never"]);
    let signed = home.clear_signed(&past, TEXT);
    fails(home.ring().text(&signed, now()), "whose primary key has expired (2020-12-31T");
    // As long as it lasted, it counted.
    let then = SystemTime::UNIX_EPOCH + Duration::from_secs(1_580_000_000);
    assert!(home.ring().text(&signed, then).is_ok());
    // Prolonged, it counts again, as the newest of its own signatures does.
    let expired = home.keys();
    home.gpg(&["--quick-set-expire", &home.primary.to_string(), "20y"]);
    assert!(home.ring().text(&signed, now()).is_ok());
    // Also where the older copy is in the file too, first or last.
    for both in [[home.keys(), expired.clone()].concat(), [expired, home.keys()].concat()] {
        let ring = Keyring::new(&both, std::slice::from_ref(&home.primary)).unwrap();
        assert!(ring.text(&signed, now()).is_ok());
    }

    let home = Home::made(&past, ["ed25519", "ed25519"], ["never", "1y"]);
    let signature = home.detached(&past, b"x");
    fails(check(&home.ring(), &signature, b"x"), "which has expired (2020-12-31T");
}

#[test]
fn revoked_keys_do_not_count() {
    let home = Home::new();
    let signed = home.clear_signed(&[], TEXT);
    let keys = home.keys();
    // gpg makes a revocation for later use, and spoils it with a colon so that none uses it by mistake.
    let spoiled = home.dir.path().join(format!("openpgp-revocs.d/{}.rev", home.primary));
    let revocation = fs::read_to_string(spoiled).unwrap().replace(":-----BEGIN", "-----BEGIN");
    let pins = [home.primary.clone()];
    // In a block of its own, wherever it stands, or as gpg merges it.
    for revoked in [
        [keys.clone(), revocation.clone().into_bytes()].concat(),
        [revocation.clone().into_bytes(), keys.clone()].concat(),
    ] {
        let ring = Keyring::new(&revoked, &pins).unwrap();
        fails(ring.text(&signed, now()), "has been revoked");
    }
    home.gpg_with(&["--import"], revocation.as_bytes());
    fails(home.ring().text(&signed, now()), "has been revoked");

    // A subkey alone, because it is out of use.
    let home = Home::new();
    let signature = home.detached(&[], b"x");
    assert!(check(&home.ring(), &signature, b"x").is_ok());
    let commands = b"key 1\nrevkey\ny\n3\nretired\n\ny\nsave\n";
    let edit = ["--no-batch", "--no-tty", "--command-fd", "0", "--edit-key", &home.primary.to_string()];
    home.gpg_with(&edit, commands);
    fails(check(&home.ring(), &signature, b"x"), "has been revoked");

    // Somebody else's revocation changes nothing.
    let (home, other) = (Home::new(), Home::new());
    let spoiled = other.dir.path().join(format!("openpgp-revocs.d/{}.rev", other.primary));
    let revocation = fs::read_to_string(spoiled).unwrap().replace(":-----BEGIN", "-----BEGIN");
    let keys = [home.keys(), revocation.into_bytes()].concat();
    let ring = Keyring::new(&keys, std::slice::from_ref(&home.primary)).unwrap();
    assert!(ring.text(&home.clear_signed(&[], TEXT), now()).is_ok());
}

#[test]
fn weak_digests_do_not_count() {
    let home = Home::new();
    let ring = home.ring();
    for weak in ["SHA1", "RIPEMD160"] {
        fails(ring.text(&home.clear_signed(&["--digest-algo", weak], TEXT), now()), "which can be forged");
        fails(check(&ring, &home.detached(&["--digest-algo", weak], b"x"), b"x"), "which can be forged");
    }
    // A key whose own signatures are weak says nothing of itself.
    let home = Home::primary(&["--cert-digest-algo", "SHA1"], "rsa2048", "never");
    home.subkey(&[], "ed25519", "never");
    let error = home.ring().text(&home.clear_signed(&[], TEXT), now()).unwrap_err();
    assert!(matches!(error, SignatureError::Key { problem: KeyProblem::NoSelfSignature, .. }), "{error}");
}

#[test]
fn times_of_signatures_count() {
    let home = Home::new();
    let ring = home.ring();
    fails(
        ring.text(
            &home.clear_signed(
                &["--default-sig-expire", "0", "--faked-system-time", "20400101T000000!"],
                TEXT,
            ),
            now(),
        ),
        "was made in the future",
    );
    let signed = home.clear_signed(&["--default-sig-expire", "1d"], TEXT);
    assert!(ring.text(&signed, now()).is_ok());
    fails(ring.text(&signed, now() + Duration::from_hours(48)), "has expired");
}

#[test]
fn the_primary_key_signs_only_if_it_is_meant_to() {
    let home = Home::new();
    // gpg itself would not sign with a key that certifies alone.
    let secret = secret(&home);
    let config =
        SignatureConfig::v4(SignatureType::Binary, secret.primary_key.algorithm(), HashAlgorithm::Sha256);
    let signature = sign_with(config, &secret, |config| {
        config.sign(&secret.primary_key, &Password::empty(), &b"x"[..]).unwrap()
    });
    fails(check(&home.ring(), &signature, b"x"), "not meant for signing");
}

#[test]
fn subkeys_that_are_not_the_keys_own_do_not_count() {
    let (home, other) = (Home::new(), Home::new());
    let pins = [home.primary.clone()];
    // Somebody adds a subkey to the file, with the signature that binds it to another key.
    let (mut key, foreign) = (public(&home), public(&other));
    key.public_subkeys = foreign.public_subkeys.clone();
    let ring = Keyring::new(&key.to_bytes().unwrap(), &pins).unwrap();
    fails(ring.text(&other.clear_signed(&[], TEXT), now()), "nothing that counts binds");

    // The pinned key's owner claims a subkey of others as its own, to have signed what they signed.
    let secret = secret(&home);
    let subkey = &foreign.public_subkeys[0].key;
    let mut flags = KeyFlags::default();
    flags.set_sign(true);
    let mut config = SignatureConfig::v4(
        SignatureType::SubkeyBinding,
        secret.primary_key.algorithm(),
        HashAlgorithm::Sha256,
    );
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now())).unwrap(),
        Subpacket::regular(SubpacketData::KeyFlags(flags)).unwrap(),
    ];
    let binding = config
        .sign_subkey_binding(&secret.primary_key, secret.primary_key.public_key(), &Password::empty(), subkey)
        .unwrap();
    key.public_subkeys = vec![SignedPublicSubKey::new(subkey.clone(), vec![binding])];
    let ring = Keyring::new(&key.to_bytes().unwrap(), &pins).unwrap();
    fails(ring.text(&other.clear_signed(&[], TEXT), now()), "does not confirm");
}

#[test]
fn a_condition_that_is_not_understood_is_not_met() {
    let home = Home::new();
    let signed = home.clear_signed(&["--sig-notation", "!only@test.invalid=on sundays"], TEXT);
    fails(home.ring().text(&signed, now()), "a condition that is not understood");
    let signed = home.clear_signed(&["--sig-notation", "remark@test.invalid=nice"], TEXT);
    assert!(home.ring().text(&signed, now()).is_ok());
}

#[test]
fn garbage_is_no_key_and_ends_nothing() {
    let home = Home::new();
    let keys = home.gpg(&["--export"]);
    for end in 0..keys.len() {
        let _ = Keyring::new(&keys[..end], std::slice::from_ref(&home.primary));
    }
    for at in 0..keys.len() {
        let mut broken = keys.clone();
        broken[at] ^= 0x40;
        let _ = Keyring::new(&broken, std::slice::from_ref(&home.primary));
    }
}

/// A detached signature of the library, with the time and the issuer in it.
fn sign_with(
    mut config: SignatureConfig,
    secret: &SignedSecretKey,
    sign: impl FnOnce(SignatureConfig) -> Signature,
) -> Vec<u8> {
    use pgp::packet::PacketTrait as _;
    config.hashed_subpackets = vec![
        Subpacket::regular(SubpacketData::SignatureCreationTime(Timestamp::now())).unwrap(),
        Subpacket::regular(SubpacketData::IssuerFingerprint(secret.primary_key.fingerprint())).unwrap(),
    ];
    let mut bytes = Vec::new();
    sign(config).to_writer_with_header(&mut bytes).unwrap();
    bytes
}
