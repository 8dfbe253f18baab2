//! Asks the controller again and again, also one that comes back.

use std::time::Duration;

use anyhow::Result;
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tonic::Streaming;
use weir_proto::wire;

use crate::ctl::args::To;
use crate::ctl::connect::Controller;

/// How long to leave a controller alone that went away: it restarts in about a second.
const AGAIN: Duration = Duration::from_secs(1);

/// What is heard.
pub(super) enum News {
    /// An answer, and to what.
    Answer(Box<wire::TrafficRequest>, wire::TrafficResponse),
    /// There is none, and why.
    Lost(String),
}

/// Asks, and tells each answer, until nobody listens. Another question is asked at once.
pub(super) async fn follow(
    to: To,
    mut questions: watch::Receiver<wire::TrafficRequest>,
    news: mpsc::Sender<News>,
) {
    while !news.is_closed() {
        let question = questions.borrow_and_update().clone();
        let ended = tokio::select! {
            ended = ask(&to, &question, &news) => ended,
            changed = questions.changed() => match changed {
                Ok(()) => continue,
                Err(_) => return,
            },
        };
        if let Err(error) = ended
            && news
                .send(News::Lost(cause(&error, &to.controller)))
                .await
                .is_err()
        {
            return;
        }
        tokio::select! {
            () = sleep(AGAIN) => {}
            changed = questions.changed() => if changed.is_err() {
                return;
            },
        }
    }
}

async fn ask(to: &To, question: &wire::TrafficRequest, news: &mpsc::Sender<News>) -> Result<()> {
    let controller = Controller::connect(to).await?;
    let mut answers = begin(&controller, question).await?;
    // an answer that is late by as long as any other may be is none
    let longest = Duration::from_millis(question.interval_ms.into()) + to.timeout;
    loop {
        let answer = match timeout(longest, answers.message()).await {
            Ok(Ok(Some(answer))) => answer,
            Ok(Ok(None)) => return Err(controller.ended()),
            Ok(Err(status)) => return Err(controller.refusal(&status)),
            Err(_) => return Err(controller.silent_for(longest)),
        };
        let heard = News::Answer(Box::new(question.clone()), answer);
        if news.send(heard).await.is_err() {
            return Ok(());
        }
    }
}

/// Asks, and gives the answers.
pub(super) async fn begin(
    controller: &Controller,
    question: &wire::TrafficRequest,
) -> Result<Streaming<wire::TrafficResponse>> {
    let mut client = controller.client.clone();
    controller.answer(client.traffic(question.clone())).await
}

/// Takes what happened, without whom it happened to and what to check: on a line of a screen there is room for one.
fn cause(error: &anyhow::Error, url: &str) -> String {
    let text = format!("{error:#}");
    let named = format!("the controller at {url}: ");
    let text = text
        .split_once(&named)
        .map_or(text.as_str(), |(_, cause)| cause);
    let text = text.split("; check that").next().unwrap_or(text);
    text.to_owned()
}
