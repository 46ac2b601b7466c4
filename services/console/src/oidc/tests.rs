//! What the console asks of an ID token, beyond that the provider gave it for a code.
//!
//! The provider here is a stand-in: a real one gives no token that is wrong in itself, so that these refusals are never
//! reached with it. The tokens are really signed. Against a real provider see `console_oidc` of the end-to-end tests.

use base64::engine::general_purpose::STANDARD;
use openidconnect::PrivateSigningKey as _;
use openidconnect::core::{CoreEdDsaPrivateSigningKey, CoreJwsSigningAlgorithm};
use runtime::Clock;
use serde_json::json;
use url::Url;
use wiremock::matchers::{method, path};
use wiremock::{Mock, MockServer, ResponseTemplate};

use super::*;

/// What stands before the 32 bytes of an Ed25519 key in PKCS #8 (RFC 8410).
const PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];

/// A key of this seed. Every one has the same name, so that a wrong one is taken for the right one until it is tried.
fn key(seed: u8) -> CoreEdDsaPrivateSigningKey {
    let pkcs8 = STANDARD.encode([PKCS8.as_slice(), &[seed; 32]].concat());
    let pem = format!("-----BEGIN PRIVATE KEY-----\n{pkcs8}\n-----END PRIVATE KEY-----\n");
    let name = openidconnect::JsonWebKeyId::new("key".to_owned());
    CoreEdDsaPrivateSigningKey::from_ed25519_pem(&pem, Some(name)).unwrap()
}

/// What an ID token is made of.
struct Token {
    header: Value,
    claims: Value,
    signed_by: Option<CoreEdDsaPrivateSigningKey>,
}

impl Token {
    /// One that lets its person in.
    fn good(issuer: &str, nonce: &str) -> Self {
        let now = Clock::system().now().as_second();
        Self {
            header: json!({"alg": "EdDSA", "kid": "key"}),
            claims: json!({
                "iss": issuer, "sub": "op-7", "aud": "kvit", "nonce": nonce,
                "iat": now, "exp": now + 300, "groups": ["kvit-operators"],
            }),
            signed_by: Some(key(1)),
        }
    }

    fn written(&self) -> String {
        let part = |value: &Value| URL_SAFE_NO_PAD.encode(value.to_string());
        let text = format!("{}.{}", part(&self.header), part(&self.claims));
        let signature = self.signed_by.as_ref().map(|key| {
            let signed = key.sign(&CoreJwsSigningAlgorithm::EdDsa, text.as_bytes());
            URL_SAFE_NO_PAD.encode(signed.unwrap())
        });
        format!("{text}.{}", signature.unwrap_or_default())
    }
}

async fn answers(server: &MockServer, at: &str, body: Value) {
    let (asked, method) = (path(at), method(if at == "/token" { "POST" } else { "GET" }));
    let answer = ResponseTemplate::new(200).set_body_json(body);
    Mock::given(method).and(asked).respond_with(answer).mount(server).await;
}

/// A whole login at the stand-in, which gives a good token with this change to it.
async fn log_in(change: fn(&mut Token)) -> Result<Person, Refused> {
    let server = MockServer::start().await;
    let issuer = server.uri();
    let known = json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "response_types_supported": ["code"],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
    });
    answers(&server, "/.well-known/openid-configuration", known).await;
    answers(&server, "/keys", json!({"keys": [key(1).as_verification_key()]})).await;
    let config = json!({
        "issuer": issuer, "client_id": "kvit", "client_secret": "secret", "public_url": "https://kvit.example",
        "groups": {"kvit-operators": {"role": "operator"}},
    });
    let oidc = Oidc::open(&serde_json::from_value(config).unwrap()).unwrap();
    let now = Clock::system().now();
    let (url, state) = oidc.begin(now).await?;
    let url = Url::parse(&url).unwrap();
    let (_, nonce) = url.query_pairs().find(|(name, _)| name == "nonce").unwrap();

    let mut token = Token::good(&issuer, &nonce);
    change(&mut token);
    let given = json!({"access_token": "unused", "token_type": "Bearer", "id_token": token.written()});
    answers(&server, "/token", given).await;
    oidc.finish((&state, "code".to_owned()), Some(&state), now).await
}

async fn is_refused(change: fn(&mut Token)) {
    assert_eq!(log_in(change).await.err(), Some(Refused::Wrong));
}

/// G1: strangers who begin logins and never end them keep nobody out.
#[test]
fn where_too_many_logins_have_begun_the_oldest_is_forgotten() {
    let mut pending = HashMap::new();
    let now = Timestamp::UNIX_EPOCH;
    for n in 0..=PENDING {
        let login = Pending {
            nonce: Nonce::new_random(),
            verifier: PkceCodeChallenge::new_random_sha256().1,
            until: now + SignedDuration::from_millis(i64::try_from(n).unwrap() + 1),
        };
        remember(&mut pending, n.to_string(), login, now);
    }
    assert_eq!(pending.len(), PENDING);
    assert!(!pending.contains_key("0") && pending.contains_key("1") && pending.contains_key(&PENDING.to_string()));
}

/// G1: the stand-in is one at which a person can log in.
#[tokio::test]
async fn a_token_for_this_console_and_this_login_lets_its_person_in() {
    let person = log_in(|_| {}).await.unwrap();
    assert_eq!(person.actor.id, "oidc:op-7");
}

/// G1
#[tokio::test]
async fn a_token_for_another_audience_is_refused() {
    is_refused(|token| token.claims["aud"] = json!("another")).await;
    is_refused(|token| token.claims["aud"] = json!([])).await;
}

/// G1: one that others may use as well may come from them.
#[tokio::test]
async fn a_token_for_others_too_is_refused() {
    is_refused(|token| token.claims["aud"] = json!(["kvit", "another"])).await;
}

/// G1
#[tokio::test]
async fn a_token_that_has_expired_is_refused() {
    is_refused(|token| token.claims["exp"] = json!(Clock::system().now().as_second() - 60)).await;
}

/// G1
#[tokio::test]
async fn a_token_of_another_issuer_is_refused() {
    is_refused(|token| token.claims["iss"] = json!("https://login.another.example")).await;
}

/// G1
#[tokio::test]
async fn a_token_for_another_login_is_refused() {
    is_refused(|token| token.claims["nonce"] = json!("another")).await;
}

/// G1
#[tokio::test]
async fn a_token_that_another_key_signed_is_refused() {
    is_refused(|token| token.signed_by = Some(key(2))).await;
}

/// G1: the token says itself how it is signed, and is not believed.
#[tokio::test]
async fn a_token_without_a_signature_is_refused() {
    is_refused(|token| {
        token.header["alg"] = json!("none");
        token.signed_by = None;
    })
    .await;
}
