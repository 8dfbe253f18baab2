//! A browser that is driven.

use std::future::Future;
use std::net::{Ipv4Addr, TcpListener};
use std::path::PathBuf;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context, Result, ensure};
use fantoccini::actions::{InputSource, KeyAction, KeyActions};
use fantoccini::key::Key;
use fantoccini::{Client, ClientBuilder};
use hyper_util::client::legacy::connect::HttpConnector;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use weir_integration::daemon::Daemon;

use super::{PATIENCE, css};

/// Between two looks at a page.
const PAUSE: std::time::Duration = std::time::Duration::from_millis(50);
/// The smallest contrast and the largest rules that axe knows by these names.
const RULES: [&str; 6] = [
    "wcag2a",
    "wcag2aa",
    "wcag21a",
    "wcag21aa",
    "wcag22aa",
    "best-practice",
];

/// How a page is looked at.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    pub(crate) name: &'static str,
    pub(crate) width: u32,
    pub(crate) dark: bool,
    pub(crate) scripts: bool,
}

pub(crate) struct Browser {
    look: Look,
    client: Client,
    driver: Daemon,
    _dir: TempDir,
}

impl Browser {
    pub(crate) async fn start(look: Look) -> Result<Self> {
        let dir = tempfile::tempdir()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
            .local_addr()?
            .port();
        let mut command = Command::new("chromedriver");
        command.arg(format!("--port={port}"));
        let mut driver = Daemon::start("chromedriver", command, dir.path())?;
        let address = (Ipv4Addr::LOCALHOST, port);
        driver.ready(PATIENCE, || {
            std::net::TcpStream::connect(address)?;
            Ok(())
        })?;
        let profile = dir.path().join("profile");
        let mut arguments = vec![
            "--headless=new".to_owned(),
            // the tests run as root in their own directory, and see nothing but the page
            "--no-sandbox".to_owned(),
            "--disable-dev-shm-usage".to_owned(),
            "--disable-background-networking".to_owned(),
            "--disable-component-update".to_owned(),
            "--host-resolver-rules=MAP * ~NOTFOUND , EXCLUDE 127.0.0.1".to_owned(),
            format!("--window-size={},1000", look.width),
            format!("--user-data-dir={}", profile.display()),
        ];
        if look.dark {
            arguments.push("--force-dark-mode".to_owned());
        }
        let mut options = json!({"args": arguments});
        if !look.scripts {
            options["prefs"] = json!({"profile.managed_default_content_settings.javascript": 2});
        }
        let mut capabilities = serde_json::Map::new();
        capabilities.insert("goog:chromeOptions".to_owned(), options);
        let client = ClientBuilder::new(HttpConnector::new())
            .capabilities(capabilities)
            .connect(&format!("http://127.0.0.1:{port}"))
            .await
            .context("Chromium does not start")?;
        Ok(Self {
            look,
            client,
            driver,
            _dir: dir,
        })
    }

    /// Ends the browser however the test ended, and says how that was.
    pub(crate) async fn end(self, tested: Result<()>) -> Result<()> {
        let closed = self.client.close().await;
        let ended = self.driver.kill();
        tested.with_context(|| format!("looked at as {}", self.look.name))?;
        closed.context("closing Chromium")?;
        ended
    }

    pub(crate) async fn open(&self, address: &str) -> Result<()> {
        Ok(self.client.goto(address).await?)
    }

    pub(crate) async fn wait_for(&self, selector: &str) -> Result<()> {
        let wait = self.client.wait().at_most(PATIENCE);
        let found = wait.for_element(css(selector)).await;
        found.with_context(|| selector.to_owned())?;
        Ok(())
    }

    pub(crate) async fn text(&self, selector: &str) -> Result<String> {
        let found = self.client.find(css(selector)).await;
        Ok(found.with_context(|| selector.to_owned())?.text().await?)
    }

    pub(crate) async fn count(&self, selector: &str) -> Result<usize> {
        Ok(self.client.find_all(css(selector)).await?.len())
    }

    pub(crate) async fn click(&self, selector: &str) -> Result<()> {
        let found = self.client.find(css(selector)).await;
        Ok(found.with_context(|| selector.to_owned())?.click().await?)
    }

    pub(crate) async fn unfold(&self, selector: &str) -> Result<()> {
        self.click(&format!("{selector} > summary")).await
    }

    pub(crate) async fn type_into(&self, selector: &str, text: &str) -> Result<()> {
        let found = self.client.find(css(selector)).await;
        let found = found.with_context(|| selector.to_owned())?;
        Ok(found.send_keys(text).await?)
    }

    pub(crate) async fn press(&self, key: Key) -> Result<()> {
        let value = char::from(key);
        let keys = KeyActions::new("keyboard".to_owned())
            .then(KeyAction::Down { value })
            .then(KeyAction::Up { value });
        Ok(self.client.perform_actions(keys).await?)
    }

    pub(crate) async fn run(&self, script: &str) -> Result<Value> {
        Ok(self.client.execute(script, vec![]).await?)
    }

    /// Takes a picture and lets axe look.
    pub(crate) async fn check(&self, state: &str) -> Result<()> {
        self.picture(state).await?;
        let axe = std::env::var_os("WEIR_AXE")
            .context("WEIR_AXE names no axe: use integration/run test page")?;
        let axe = std::fs::read_to_string(&axe).context("reading axe")?;
        self.run(&axe).await?;
        let run = "const [tags, done] = arguments; \
                   axe.run(document, {runOnly: tags}).then(r => done([r.passes.length, r.violations.map(v => \
                   [v.id, v.help, v.nodes.map(n => n.html + ' ' + n.failureSummary)])]), e => done([0, String(e)]))";
        let found = self.client.execute_async(run, vec![json!(RULES)]).await?;
        ensure!(
            found[0].as_u64() > Some(10),
            "axe looked at nothing: {found}"
        );
        ensure!(found[1] == json!([]), "{state}: {:#}", found[1]);
        Ok(())
    }

    /// Takes a picture of the whole page, where pictures are asked for.
    pub(crate) async fn picture(&self, state: &str) -> Result<()> {
        let Some(home) = std::env::var_os("WEIR_PICTURES").map(PathBuf::from) else {
            return Ok(());
        };
        std::fs::create_dir_all(&home)?;
        let picture = self.client.screenshot().await?;
        let file = format!("{state}-{}.png", self.look.name);
        Ok(std::fs::write(home.join(file), picture)?)
    }
}

/// Asks until it holds.
pub(crate) async fn until<F: Future<Output = Result<()>>>(
    what: &str,
    holds: impl Fn() -> F,
) -> Result<()> {
    let start = Instant::now();
    loop {
        match holds().await {
            Ok(()) => return Ok(()),
            Err(error) if start.elapsed() > PATIENCE => {
                return Err(error).with_context(|| format!("not in time: {what}"));
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}
