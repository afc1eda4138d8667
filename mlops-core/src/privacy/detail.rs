//! What a value says besides its kind.

use serde::Serialize;

use super::{Cccd, Detector, Kind, card, net, phone, plate};

/// What a finding says besides its kind; never enough to make the value again.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Detail {
    /// Province of birth registration, of a plate or of an address.
    Province(&'static str),
    /// Carrier that a mobile number was first given out by.
    Carrier(&'static str),
    /// Fixed telephone line.
    FixedLine,
    /// Scheme of a payment card.
    Scheme(&'static str),
    /// ISO 3166 code of the country of an IBAN.
    Country(&'static str),
    /// Where an IP address can be reached from: `public`, `private`, `loopback`, `link-local`, `documentation`.
    Network(&'static str),
    /// A tax code with the number of a branch.
    Branch,
}

/// What `value`, a finding of `kind`, says.
pub(super) fn of(detector: &Detector, kind: Kind, value: &str) -> Option<Detail> {
    match kind {
        Kind::Cccd => Cccd::parse(value, detector.year).ok()?.province().map(Detail::Province),
        Kind::Phone => match phone::carrier(value) {
            Some(carrier) => Some(Detail::Carrier(carrier)),
            None => phone::canonical(value).filter(|n| n.starts_with("02")).map(|_| Detail::FixedLine),
        },
        Kind::TaxCode => (kind.normalise(value).len() > 10).then_some(Detail::Branch),
        Kind::Plate => plate::province(value).map(Detail::Province),
        Kind::BankCard => card::scheme(card::canonical(value)?.as_bytes()).map(Detail::Scheme),
        Kind::Iban => card::iban_country(value).map(Detail::Country),
        Kind::IpAddress => net::network(value).map(Detail::Network),
        Kind::PostalAddress => detector.lexicon.places.province_of(value).map(Detail::Province),
        _ => None,
    }
}
