//! The controller's page in a real browser: Chromium, headless, by its WebDriver. `integration/run test page` gets both, and axe,
//! whose path it gives in WEIR_AXE. Pictures of every state go to WEIR_PICTURES, if that is set.

mod browser;
mod world;

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use fantoccini::Locator;
use fantoccini::key::Key;
use serde_json::json;

use browser::{Browser, Look};
use world::World;

/// Longer than a browser takes for anything, where others are at work.
const PATIENCE: Duration = Duration::from_secs(60);
/// What a page may hold however much there is: a browser lays out so much at once without being noticed.
const MOST_ELEMENTS: u64 = 20_000;
const MOST_BYTES: usize = 2_000_000;

/// The looks that people choose or have: light, dark, and a telephone.
const LOOKS: [Look; 3] = [
    Look {
        name: "light",
        width: 1_400,
        dark: false,
        scripts: true,
    },
    Look {
        name: "dark",
        width: 1_400,
        dark: true,
        scripts: true,
    },
    Look {
        name: "narrow",
        width: 400,
        dark: false,
        scripts: true,
    },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn axe_finds_nothing_that_keeps_anybody_out_whatever_is_on_it() -> Result<()> {
    let world = World::start().await?;
    for look in LOOKS {
        let browser = Browser::start(look).await?;
        let looked = async {
            for (name, path) in [("services", ""), ("nothing", "?filter=nowhere")] {
                browser.open(&world.address(path)).await?;
                browser.wait_for("#nodes").await?;
                browser.check(name).await?;
            }
            browser.open(&world.address("")).await?;
            browser.unfold("#backends-web").await?;
            browser.check("unfolded").await
        };
        let looked = looked.await;
        browser.end(looked).await?;
    }
    world.stop().await?;
    let empty = World::empty().await?;
    let browser = Browser::start(LOOKS[0]).await?;
    let looked = async {
        browser.open(&empty.address("")).await?;
        browser.wait_for("#nodes").await?;
        browser.check("empty").await
    };
    let looked = looked.await;
    browser.end(looked).await?;
    empty.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_scripts_off_it_shows_sorts_filters_and_unfolds() -> Result<()> {
    let world = World::start().await?;
    let plain = Look {
        scripts: false,
        ..LOOKS[0]
    };
    let browser = Browser::start(plain).await?;
    let looked = async {
        browser.open(&world.address("")).await?;
        let updates = browser.text("#updates").await?;
        ensure!(
            updates.starts_with("As of when it was loaded."),
            "{updates}"
        );
        let web = browser.text("#service-web").await?;
        ensure!(web.contains("10.100.0.1:80/TCP"), "{web}");
        browser.type_into("#filter", "dns").await?;
        browser.press(Key::Enter).await?;
        browser.wait_for("#service-dns").await?;
        ensure!(browser.count("tbody[id^=service-]").await? == 1);
        browser.click("#backends-dns summary").await?;
        let unfolded = browser.text("#backends-dns").await?;
        ensure!(unfolded.contains("10.0.0.53:53"), "{unfolded}");
        browser.picture("scripts-off").await
    };
    let looked = looked.await;
    browser.end(looked).await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_updates_itself_and_leaves_open_what_is_open_and_the_keyboard_where_it_is() -> Result<()>
{
    let world = World::start().await?;
    let browser = Browser::start(LOOKS[0]).await?;
    let looked = async {
        browser.open(&world.address("")).await?;
        browser.unfold("#backends-web").await?;
        browser.type_into("#filter", "half a wo").await?;
        world.scale("web", 7).await?;
        let seven = || async {
            let text = browser.text("#backends-web summary").await?;
            ensure!(text.starts_with('7'), "{text}");
            Ok(())
        };
        browser::until("the page shows seven backends", seven).await?;
        let open = "return [document.querySelector('#backends-web').open, document.activeElement.id, \
                    document.querySelector('#filter').value]";
        let is = browser.run(open).await?;
        ensure!(is == json!([true, "filter", "half a wo"]), "{is}");
        // what moves is to be stopped (WCAG 2.2.2)
        browser.click("#updates button").await?;
        ensure!(browser.text("#updates").await? == "Paused. Go on");
        world.scale("web", 2).await?;
        browser.click("#updates button").await?;
        let two = || async {
            let text = browser.text("#backends-web summary").await?;
            ensure!(text.starts_with('2'), "{text}");
            Ok(())
        };
        browser::until("the page goes on", two).await
    };
    let looked = looked.await;
    browser.end(looked).await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_keyboard_reaches_everything_that_can_be_done_and_shows_where_it_is() -> Result<()> {
    let world = World::start().await?;
    let browser = Browser::start(LOOKS[0]).await?;
    let looked = async {
        browser.open(&world.address("")).await?;
        browser.wait_for("#updates button").await?;
        let all = "return document.querySelectorAll('a[href],button,input:not([type=hidden]),summary,[tabindex=\"0\"]').length";
        let all = browser.run(all).await?.as_u64().context("a number")?;
        let focus = "const e = document.activeElement, s = getComputedStyle(e); \
                     if (e === document.body) return ['BODY', true]; \
                     if (e.dataset.seen) return ['again', true]; e.dataset.seen = 1; \
                     return [e.nodeName, s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2]";
        // the page must not be put anew while it is counted
        browser.click("#updates button").await?;
        let mut reached = 0;
        // the click is where the keyboard goes on from: past the end it comes back to the beginning, by way of the browser
        for _ in 0..=all {
            browser.press(Key::Tab).await?;
            let at = browser.run(focus).await?;
            if at[0] == "BODY" {
                continue;
            }
            ensure!(at[0] != "again", "after {reached} of {all}");
            ensure!(at[1] == true, "nothing shows the keyboard at {at}");
            reached += 1;
        }
        ensure!(reached == all);
        Ok(())
    };
    let looked = looked.await;
    browser.end(looked).await?;
    world.stop().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_ten_thousand_services_it_shows_a_page_and_finds_the_rest() -> Result<()> {
    let world = World::start().await?;
    world.many(10_000).await?;
    let browser = Browser::start(LOOKS[0]).await?;
    let looked = async {
        browser.open(&world.address("")).await?;
        let counted = browser.text("#services > p").await?;
        ensure!(counted == "10003 in all", "{counted}");
        let elements = browser
            .run("return document.querySelectorAll('*').length")
            .await?;
        let elements = elements.as_u64().context("a number")?;
        ensure!(elements <= MOST_ELEMENTS, "{elements} elements");
        let bytes = browser
            .run("return document.documentElement.outerHTML.length")
            .await?;
        ensure!(
            bytes.as_u64().context("a number")? <= MOST_BYTES as u64,
            "{bytes} bytes"
        );
        let took = browser
            .run("return performance.getEntriesByType('navigation')[0].duration")
            .await?;
        eprintln!("10,003 services: {elements} elements, {bytes} characters, loaded in {took} ms");
        browser.click("nav a[rel=next]").await?;
        let second = || async {
            let text = browser.text("#services nav").await?;
            ensure!(text.contains("51–100 of 10003"), "{text}");
            Ok(())
        };
        browser::until("the second page", second).await?;
        browser.type_into("#filter", "many-07777").await?;
        browser.press(Key::Enter).await?;
        browser.wait_for("#service-many-07777").await?;
        browser.picture("ten-thousand").await
    };
    let looked = looked.await;
    browser.end(looked).await?;
    world.stop().await
}

/// One element that must be there.
fn css(selector: &str) -> Locator<'_> {
    Locator::Css(selector)
}
