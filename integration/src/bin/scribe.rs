//! `scribe DIR GENERATION small|large|many` goes on with the generations of a journal until that one, and says what it
//! does: what it found, and of each generation that it is sent, and then accepted or refused.

use std::path::Path;

use anyhow::{Context, Result, bail};
use tokio::runtime::Builder;
use weir_integration::scribe::{SCHEMA, Size, batch, generation};
use weir_proto::disk::{Recovered, Writer, recover};

fn main() -> Result<()> {
    // all writes by one thread: strace(1) counts the calls of each by themselves
    let runtime = Builder::new_current_thread()
        .max_blocking_threads(1)
        .build()?;
    runtime.block_on(write())
}

async fn write() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let args: Vec<&str> = args.iter().map(String::as_str).collect();
    let (dir, until, size) = match args.as_slice() {
        [dir, until, "small"] => (dir, until, Size::Small),
        [dir, until, "large"] => (dir, until, Size::Large),
        [dir, until, "many"] => (dir, until, Size::Many),
        _ => bail!("usage: scribe DIR GENERATION small|large|many"),
    };
    let (disk, records, recovered) = recover(Path::new(dir), SCHEMA)?;
    if let Some(Recovered {
        commit, complete, ..
    }) = recovered
    {
        println!("recovered {} {complete}", commit.unwrap_or_default());
    }
    let found = generation(&records, size).context("records of no generation")?;
    println!("opened {found}");
    let writer = Writer::new(disk);
    for number in found + 1..=until.parse()? {
        println!("sent {number}");
        match writer.commit(batch(number, size)).await {
            Ok(()) => println!("accepted {number}"),
            Err(error) => println!("refused {number}: {:#}", anyhow::Error::from(error)),
        }
    }
    Ok(())
}
