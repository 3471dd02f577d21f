//! The vectors of the contract: what receivers out there verify with code that is not ours.

use signing::{Ed25519Key, Scheme, Schemes, Secret, Signer};

const ID: &str = "msg_p5jXN8AQM9LWM0D4loKWxJek";
const TIME: i64 = 1_614_265_330;
const BODY: &[u8] = br#"{"test": 2432232314}"#;

#[test]
fn standard_webhooks_v1_and_v1a() {
    let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
    let key = "whsk_6Xb/dCcHpPea21PS1N9VY/NZW723CEc77N4rJCubMbfVKIDij2HKpMKkioLlX0dRqSKJp4AJ6p9lMicMFs6Kvg==";
    let key = Ed25519Key::parse(key).unwrap();
    assert_eq!(key.public().to_string(), "whpk_1SiA4o9hyqTCpIqC5V9HUakiiaeACeqfZTInDBbOir4=");
    let schemes = Schemes::new(&[Scheme::Standard, Scheme::Ed25519]).unwrap();
    let signer = Signer::new(&[secret], vec![key], schemes).unwrap();
    let expected = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE= \
        v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg==";
    assert_eq!(signer.standard(ID, TIME, &[BODY]).as_deref(), Some(expected));
}

#[test]
fn hook0_v1_and_v0() {
    let secret = Secret::parse("secret").unwrap();
    let signer = Signer::new(&[secret], Vec::new(), Schemes::new(&[Scheme::Hook0]).unwrap()).unwrap();
    let headers = [("x-event-id", "1a01cb48-5142-4d9b-8f90-d20cca61f0ee"), ("x-event-type", "service.resource.verb")];
    let v1 = "t=1636936200,h=x-event-id x-event-type,\
        v1=bc521546ba5de381b12f135782d2008b028c3065c191760b12b76850a8fc8f51";
    assert_eq!(signer.hook0(1_636_936_200, &headers, &[b"hello !"]).as_deref(), Some(v1));
    let v0 = "t=1636936200,v0=1b3d69df55f1e52f05224ba94a5162abeb17ef52cd7f4948c390f810d6a87e98";
    assert_eq!(signer.hook0_v0(1_636_936_200, &[b"hello !"]), v0);
}
