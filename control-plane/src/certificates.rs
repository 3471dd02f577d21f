//! Certificates that somebody gives as PEM. They are no secret: they are kept, shown and audited as they stand. So what is beside them
//! would be, too, and some tools write a private key into the same file.

/// Why a text is not taken.
pub(crate) const NOT_ALONE: &str =
    "holds something else than certificates: it is kept and shown as it stands, so a private key must not be in it";

/// Whether there is nothing in a PEM but certificates.
pub(crate) fn are_alone(pem: &str) -> bool {
    pem.split("-----BEGIN ").skip(1).all(|section| section.starts_with("CERTIFICATE-----"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_private_key_beside_certificates_is_found_wherever_it_stands() {
        let certificate = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(
            are_alone(certificate) && are_alone(&certificate.repeat(2)) && are_alone("# of ours\n") && are_alone("")
        );
        for kind in ["PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "ENCRYPTED PRIVATE KEY", "EC PARAMETERS"] {
            let other = format!("-----BEGIN {kind}-----\nAAAA\n-----END {kind}-----\n");
            for pem in [format!("{certificate}{other}"), format!("{other}{certificate}"), other.replace('\n', "\r")] {
                assert!(!are_alone(&pem), "{pem}");
            }
        }
    }
}
