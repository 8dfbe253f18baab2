//! `weirctl why`.

use anyhow::Result;
use weir_proto::wire::why_response::Part;

use super::args::{To, WhyArgs};
use super::connect::Controller;
use super::now;
use super::outcome::{Trouble, print};
use super::render::WhyPage;

/// Prints why a client reaches a frontend, or does not. Something in the way is status 1.
pub(super) async fn run(to: &To, args: &WhyArgs) -> Result<()> {
    match asked(to, args).await {
        Ok(page) if page.works() => Ok(()),
        Ok(_) => Err(Trouble::Shown.into()),
        Err(error) => Err(Trouble::Undecided(error).into()),
    }
}

async fn asked(to: &To, args: &WhyArgs) -> Result<WhyPage> {
    let request = args.request().map_err(Trouble::Usage)?;
    let mut page = WhyPage::new(&request.client);
    let controller = Controller::connect(to).await?;
    let mut client = controller.client.clone();
    let parts = controller.attempt(client.why(request)).await;
    let mut parts = parts.map_err(|status| controller.refusal(&status))?;
    while let Some(answer) = controller.next(&mut parts).await? {
        match answer.part {
            Some(Part::Subject(subject)) => page.subject(subject),
            Some(Part::Node(node)) => page.node(node),
            None => {}
        }
    }
    print(&page.text(now(), args.output)?)?;
    Ok(page)
}
