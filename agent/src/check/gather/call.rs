//! Whether certificates are of use, and whether the controller answers.

use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::time::Duration;

use tokio::time::timeout;
use tonic::transport::Endpoint;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use weir_proto::checkup::skew_ms;
use weir_proto::tls::{Call, Connector, Files, Flags, Part, Tls};
use weir_proto::trace::chain;

use crate::check::facts::{Called, Credentials};
use crate::clock::now_unix_ms;
use crate::config::CheckArgs;
use crate::session;

/// A controller on the same continent answers within a few round trips.
const PATIENCE: Duration = Duration::from_secs(10);
/// What certificates are judged for where no controller is named: one that is called over a network.
const ELSEWHERE: &str = "https://controller";

/// What was found out of the controller.
pub(super) struct Judged {
    pub(super) credentials: Credentials,
    pub(super) called: Called,
}

/// Reads the certificates, and calls the controller if one is named.
pub(super) async fn controller(args: &CheckArgs) -> Judged {
    let (credentials, tls) = credentials(args);
    let called = match (&args.controller, &credentials) {
        (None, _) => Called::Unasked,
        (Some(_), Credentials::Flags(_) | Credentials::Unusable(_)) => {
            Called::Unreached("it was not called: see certificates".to_owned())
        }
        (Some(url), _) => call(url, tls).await,
    };
    Judged {
        credentials,
        called,
    }
}

fn credentials(args: &CheckArgs) -> (Credentials, Option<std::sync::Arc<Tls>>) {
    let named = [&args.tls_cert, &args.tls_key, &args.tls_ca];
    let url = match &args.controller {
        Some(url) => url,
        None if named.iter().any(|file| file.is_some()) => ELSEWHERE,
        None => return (Credentials::Unasked, None),
    };
    let flags = Flags {
        url,
        certificate: args.tls_cert.clone(),
        key: args.tls_key.clone(),
        authority: args.tls_ca.clone(),
        insecure: args.insecure,
    };
    match flags.check() {
        Err(bad) => {
            let bad = bad.iter().map(ToString::to_string).collect();
            (Credentials::Flags(bad), None)
        }
        Ok(Call::Plaintext) => (Credentials::Plaintext, None),
        Ok(Call::Tls(files)) => loaded(args, files),
    }
}

fn loaded(args: &CheckArgs, files: Files) -> (Credentials, Option<std::sync::Arc<Tls>>) {
    let part = args.node.clone().map_or(Part::Anybody, Part::Node);
    let key = files.key.clone();
    let read = Tls::load(files, part).and_then(|tls| Ok((tls.own()?, tls)));
    match read {
        Err(why) => (Credentials::Unusable(chain(&why)), None),
        Ok((own, tls)) => {
            let mode = fs::metadata(key).map_or(0, |key| key.mode());
            let credentials = Credentials::Certificate {
                identity: own.identity.to_string(),
                begins_unix_ms: own.begins_unix_ms,
                expires_unix_ms: own.expires_unix_ms,
                key_mode: mode,
            };
            (credentials, Some(tls))
        }
    }
}

async fn call(url: &str, tls: Option<std::sync::Arc<Tls>>) -> Called {
    let endpoint: Endpoint = match session::endpoint(url) {
        Ok(endpoint) => endpoint,
        Err(why) => return Called::Unreached(format!("{url}: {}", chain(&why))),
    };
    let connector = Connector::new(endpoint, tls);
    let asked = async {
        let channel = connector.connect().await.map_err(|why| chain(&why))?;
        let began = now_unix_ms();
        let mut client = HealthClient::new(channel);
        let answer = client.check(HealthCheckRequest::default());
        let answer = answer.await.map_err(|status| status.message().to_owned())?;
        let date = answer.metadata().get("date");
        let date = date.and_then(|date| date.to_str().ok());
        Ok(date.and_then(|date| skew_ms(date, began, now_unix_ms())))
    };
    match timeout(PATIENCE, asked).await {
        Ok(Ok(skew_ms)) => Called::Answered { skew_ms },
        Ok(Err(why)) => {
            let why: String = why;
            Called::Unreached(format!("{url}: {why}"))
        }
        Err(_) => Called::Unreached(format!("{url}: no answer within {}s", PATIENCE.as_secs())),
    }
}
