//! Parses files of `OpenPGP` keys and signatures.

use std::io::{BufReader, Read};

use pgp::armor::{Dearmor, DearmorOptions};
use pgp::composed::{Deserializable, SignedPublicKey};
use pgp::errors::Error;
use pgp::packet::{Packet, PacketParser, PacketTrait, Signature, SignatureType};
use pgp::types::Tag;

use super::MAX_TEXT;
use super::certificate::Certificate;

/// The largest key file, in bytes. The file of all Gentoo release keys has less than 100 kB.
const MAX_KEYS: usize = 16 << 20;

const BEGIN: &[u8] = b"-----BEGIN PGP ";
const BEGIN_KEY: &[u8] = b"-----BEGIN PGP PUBLIC KEY BLOCK-----";
const END_KEY: &[u8] = b"-----END PGP PUBLIC KEY BLOCK-----";

/// The length of a shown library message, in characters: some contain all unparsed input.
const SHOWN: usize = 160;

/// Armor options with a size limit.
pub(super) fn dearmor() -> DearmorOptions {
    DearmorOptions::new().set_limit(MAX_TEXT)
}

/// All keys of a file, each once.
///
/// rPGP only reads the first armored block, and revocations only inside a key. Files may have several blocks, and
/// `gpg --gen-revoke` writes a block with nothing but a revocation. So this function groups the packets itself.
pub(super) fn certificates(file: &[u8]) -> Result<Vec<Certificate>, String> {
    if file.len() > MAX_KEYS {
        return Err(format!("they have more than {MAX_KEYS} bytes"));
    }
    let mut packets = Vec::new();
    if find(file, BEGIN).is_some() {
        let mut rest = file;
        while let Some(at) = find(rest, BEGIN_KEY) {
            let end = find(&rest[at..], END_KEY).ok_or("a block of keys has no end")? + at + END_KEY.len();
            let bytes = unarmored(&rest[at..end], MAX_KEYS)?;
            packets.extend(parse(&bytes)?);
            rest = &rest[end..];
        }
    } else {
        packets = parse(file)?;
    }
    let revocations: Vec<Signature> = packets.iter().filter_map(revocation).cloned().collect();
    let mut certificates: Vec<Certificate> = Vec::new();
    let starts: Vec<usize> = (0..packets.len()).filter(|&at| packets[at].tag() == Tag::PublicKey).collect();
    for (index, &start) in starts.iter().enumerate() {
        let end = starts.get(index + 1).copied().unwrap_or(packets.len());
        let own = packets[start..end].iter().filter(|packet| is_part_of_a_key(packet)).cloned().map(Ok);
        let key = SignedPublicKey::from_packets(own.peekable())
            .next()
            .ok_or("a key has no content")?
            .map_err(|error| parse_problem(&error))?;
        let certificate = Certificate::new(key, revocations.clone());
        match certificates.iter_mut().find(|known| known.pin() == certificate.pin()) {
            Some(known) => known.merge(certificate),
            None => certificates.push(certificate),
        }
    }
    if certificates.is_empty() {
        Err("there is no public key in the file".to_owned())
    } else {
        Ok(certificates)
    }
}

/// The signatures of a file, armored or not.
pub(super) fn signatures(file: &[u8]) -> Result<Vec<Signature>, String> {
    let bytes = match find(file, BEGIN) {
        Some(_) => unarmored(file, MAX_TEXT)?,
        None => file.to_vec(),
    };
    parse(&bytes)?
        .into_iter()
        .map(|packet| match packet {
            Packet::Signature(signature) => Ok(signature),
            other => Err(format!("there is something else than a signature in it ({:?})", other.tag())),
        })
        .collect()
}

/// The library's message, short and on one line.
pub(super) fn parse_problem(error: &Error) -> String {
    error.to_string().chars().map(|c| if c.is_control() { ' ' } else { c }).take(SHOWN).collect()
}

fn unarmored(block: &[u8], limit: usize) -> Result<Vec<u8>, String> {
    let mut bytes = Vec::new();
    let mut dearmor = Dearmor::with_options(BufReader::new(block), DearmorOptions::new().set_limit(limit));
    dearmor.read_to_end(&mut bytes).map_err(|error| parse_problem(&error.into()))?;
    Ok(bytes)
}

/// All packets. Unknown kinds are skipped, as the format requires.
fn parse(bytes: &[u8]) -> Result<Vec<Packet>, String> {
    let mut packets = Vec::new();
    for packet in PacketParser::new(bytes) {
        match packet {
            Ok(packet) => packets.push(packet),
            Err(Error::Unsupported { .. }) => {}
            Err(error) => return Err(parse_problem(&error)),
        }
    }
    Ok(packets)
}

fn is_part_of_a_key(packet: &Packet) -> bool {
    matches!(
        packet.tag(),
        Tag::PublicKey | Tag::PublicSubkey | Tag::UserId | Tag::UserAttribute | Tag::Signature
    ) && revocation(packet).is_none()
}

fn revocation(packet: &Packet) -> Option<&Signature> {
    match packet {
        Packet::Signature(signature)
            if matches!(
                signature.typ(),
                Some(SignatureType::KeyRevocation | SignatureType::SubkeyRevocation)
            ) =>
        {
            Some(signature)
        }
        _ => None,
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|window| window == what)
}
