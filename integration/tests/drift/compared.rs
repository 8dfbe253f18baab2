//! What the files say, what is desired and what the kernels hold, side by side.

use anyhow::{Result, ensure};
use weir_integration::eventually::eventually;
use weir_integration::weir::Ended;

use crate::pair::{CHANGED, Pair, WEB, on_a_pair, well};
use crate::site::SOON;

/// What somebody does to what is weir's on node-b, where the kernel gives no notice of it.
const DEEDS: [&str; 7] = [
    "ipvsadm -e -t 10.100.0.1:9080 -r 10.0.0.21:9080 -m -w 9",
    "ipvsadm -d -t 10.100.0.1:9080 -r 10.0.1.11:9080",
    "ipvsadm -a -t 10.100.0.1:9080 -r 10.0.0.12:9080 -m -w 4",
    "ipset del WEIR-LOOPBACK 10.0.1.11,tcp:9080,10.0.1.11",
    "ipset del WEIR-LOCKED 10.100.0.1",
    "iptables-legacy -t nat -D POSTROUTING 1",
    "sysctl -q -w net.ipv4.vs.conntrack=0",
];

/// What somebody does to what is his.
const THEIRS: [&str; 4] = [
    "ipvsadm -e -t 10.100.7.7:80 -r 10.0.0.21:8080 -m -w 6",
    "ipvsadm -A -t 10.100.0.1:8444 -s wlc",
    "ipset add THEIRS 10.0.0.12,tcp:8080,10.0.0.12",
    "iptables-legacy -A INPUT -d 10.100.7.7 -j ACCEPT",
];

/// How `diff` and `plan` say that a node does not answer.
const AWAY: &str = "node-b: not known: it is not connected\n";

fn differs(out: &str) -> Ended {
    Ended {
        status: Some(1),
        ..well(out)
    }
}

fn undecided(out: &str, err: &str) -> Ended {
    Ended {
        status: Some(2),
        out: out.into(),
        err: err.into(),
    }
}

impl Pair<'_> {
    /// Fails unless a command ends just so; `yaml` is what FILE says.
    fn says(&self, line: &str, yaml: &str, expected: &Ended) -> Result<()> {
        let ended = self.weirctl(line, yaml)?;
        ensure!(
            ended == *expected,
            "{line}: {:?}\n{}{}\nand not {:?}\n{}{}",
            ended.status,
            ended.out,
            ended.err,
            expected.status,
            expected.out,
            expected.err
        );
        Ok(())
    }

    /// Waits until it does.
    fn comes_to_say(&self, line: &str, yaml: &str, expected: &Ended) -> Result<()> {
        eventually(line, SOON, || self.says(line, yaml, expected))
    }
}

#[test]
fn what_is_not_the_same_is_named_with_its_node_and_what_is_somebody_elses_is_not() -> Result<()> {
    on_a_pair(|pair| {
        pair.site.apply(WEB)?;
        let same = well("");
        for node in ["node-a", "node-b"] {
            for line in THEIRS {
                pair.on(node, line)?;
            }
        }
        for line in ["diff", "diff -f FILE", "diff -f FILE node-b"] {
            pair.says(line, WEB, &same)?;
        }
        // a file that nobody has applied
        let before = pair.kernels()?;
        pair.says("diff -f FILE", CHANGED, &differs(include_str!("file.txt")))?;
        ensure!(pair.kernels()? == before, "comparing changed a kernel");

        // of a VIP the kernel gives notice, and it is back; but not where somebody has it on another link
        pair.on("node-a", "ip addr del 10.100.0.1/32 dev weir0")?;
        pair.comes_to_say("diff", WEB, &same)?;
        pair.on("node-a", "ip addr add 10.100.0.1/32 dev br0")?;
        pair.on("node-a", "ip addr del 10.100.0.1/32 dev weir0")?;
        for line in DEEDS {
            pair.on("node-b", line)?;
        }
        let tampered = include_str!("tampered.txt");
        pair.says("diff", WEB, &differs(tampered))?;
        let file = include_str!("tampered_file.txt");
        pair.says("diff -f FILE", WEB, &differs(file))?;
        let alone = "\
NODE     OBJECT           DESIRED   KERNEL
node-a   vip 10.100.0.1   address   <none>
";
        pair.says("diff node-a", WEB, &differs(alone))?;

        // one goes away by itself, the other with an agent that looks at everything when it starts
        pair.on("node-a", "ip addr del 10.100.0.1/32 dev br0")?;
        pair.comes_to_say("diff node-a", WEB, &same)?;
        pair.site.weir.kill_agent("node-b")?;
        let not_compared = "error: 1 node could not be compared\n";
        pair.comes_to_say("diff", WEB, &undecided(AWAY, not_compared))?;
        pair.site.weir.start_agent(&pair.site.topology, "node-b")?;
        pair.comes_to_say("diff", WEB, &same)
    })
}

#[test]
fn who_does_not_answer_is_named_and_is_no_sameness() -> Result<()> {
    /// However long the stream of a node that stands still lives on.
    const SILENT: [&str; 3] = [
        concat!(
            "node-b: not known: it did not answer within 8 s; its agent is of version ",
            env!("CARGO_PKG_VERSION"),
            ", and one older than this controller may know no questions\n"
        ),
        "node-b: not known: its stream ended before it had answered\n",
        AWAY,
    ];
    on_a_pair(|pair| {
        pair.site.apply(WEB)?;
        let not_compared = "error: 1 node could not be compared\n";
        pair.site.weir.pause_agent("node-b", true)?;
        let ended = pair.weirctl("diff", WEB)?;
        let known = SILENT.map(|out| undecided(out, not_compared));
        ensure!(known.contains(&ended), "{ended:#?}");
        pair.says("diff node-a", WEB, &well(""))?;
        pair.site.weir.pause_agent("node-b", false)?;
        pair.comes_to_say("diff", WEB, &well(""))?;

        pair.site.weir.kill_agent("node-b")?;
        pair.comes_to_say("diff", WEB, &undecided(AWAY, not_compared))?;
        let planned = pair.weirctl("plan -f FILE", CHANGED)?;
        let named = planned.out.ends_with(&format!("\n{AWAY}"));
        ensure!(
            named && planned.out.contains("\nnode-a: 14 steps\n") && planned.status == Some(1),
            "{planned:#?}"
        );
        pair.says(
            "diff node-c",
            WEB,
            &undecided(
                "",
                "error: the controller says NOT_FOUND: not found: nodes[node-c]\n",
            ),
        )?;

        pair.site.weir.kill_controller()?;
        let gone = undecided(
            "",
            "error: cannot reach the controller at http://192.168.77.1:7420: Connection refused; check that \
             weir-controller runs there, and that --controller or WEIR_CONTROLLER names it\n",
        );
        for line in ["diff", "diff -f FILE", "plan -f FILE"] {
            pair.says(line, WEB, &gone)?;
        }
        Ok(())
    })
}
