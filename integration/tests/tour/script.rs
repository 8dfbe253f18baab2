//! What the tour shows, chapter by chapter: what is said, and what is typed where.

/// Who types, or where.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// The operator, who only needs to reach the controller.
    Desk,
    /// Somebody who is root on node-a.
    NodeA,
    /// Somebody in the pod behind 10.0.0.21.
    PodY,
    /// The machine on which all the namespaces are.
    Host,
    /// Nobody: what the client does is told.
    Client,
}

impl Place {
    pub(crate) const ALL: [Place; 5] = [
        Place::Desk,
        Place::NodeA,
        Place::PodY,
        Place::Host,
        Place::Client,
    ];

    /// Gives what stands before what is typed there. No program shows a line that begins so.
    pub(crate) fn prompt(self) -> &'static str {
        match self {
            Place::Desk => "$ ",
            Place::NodeA => "node-a# ",
            Place::PodY => "pod-y# ",
            Place::Host => "host# ",
            Place::Client => "client: ",
        }
    }
}

/// One line that is typed.
#[derive(Debug)]
pub(crate) struct Step {
    pub(crate) at: Place,
    pub(crate) line: &'static str,
    /// It only looks, and is done again until it shows this, settled as [`weir_integration::settled`] does.
    pub(crate) until: Option<&'static str>,
    /// The exit status.
    pub(crate) status: i32,
}

/// Some steps, and what is said before them.
#[derive(Debug)]
pub(crate) struct Chapter {
    pub(crate) title: &'static str,
    pub(crate) says: &'static str,
    pub(crate) steps: &'static [Step],
}

impl Step {
    /// A line that does something, once.
    pub(crate) const fn run(at: Place, line: &'static str) -> Step {
        Step {
            at,
            line,
            until: None,
            status: 0,
        }
    }

    /// The operator's look at something that comes by itself.
    pub(crate) const fn look(line: &'static str, until: &'static str) -> Step {
        Step {
            until: Some(until),
            ..Step::run(Place::Desk, line)
        }
    }

    /// The client's requests: who answers them, once it is these.
    const fn asks(until: &'static str) -> Step {
        Step {
            until: Some(until),
            ..Step::run(Place::Client, "60 requests to http://10.100.100.100:8080/")
        }
    }

    /// The same with another exit status.
    const fn ends(self, status: i32) -> Step {
        Step { status, ..self }
    }
}

/// What is said before the first chapter.
pub(crate) const INTRODUCTION: &str = "\
# Ten minutes at the terminal

A controller and two agents run. node-a has two pods on its bridge, each with a web server that says its own name: pod-x
is 10.0.0.11 and pod-y 10.0.0.21. A client elsewhere asks one request after the other the whole time. What is typed after
`$` is the operator's, who needs nothing but to reach the controller; after `node-a#`, `pod-y#` and `host#` somebody is at
work there. Everything was run as it stands here, and is run again by `integration/run test tour`, which fails when it shows
anything else than times and what is measured; `integration/run tour` writes this page anew.
";

/// All of it, in the order in which it is told.
pub(crate) const CHAPTERS: [Chapter; 10] = [
    APPLY, STATUS, TRAFFIC, KILLED, DRAINED, PLANNED, COMPARED, WHY, DRIFT, BACK,
];

const APPLY: Chapter = Chapter {
    title: "A service",
    says: "\
A file says what shall be. `--wait` returns when both kernels have it; `ipvsadm` shows that of node-a.
",
    steps: &[
        Step::run(
            Place::Desk,
            "export WEIR_CONTROLLER=http://192.168.77.1:7420 WEIR_INSECURE=true",
        ),
        Step::run(Place::Desk, "cat web.yaml"),
        Step::run(Place::Desk, "weirctl apply -f web.yaml --wait"),
        Step::run(Place::NodeA, "ipvsadm -Sn"),
        Step::asks("pod-x N, pod-y N\n"),
    ],
};

const STATUS: Chapter = Chapter {
    title: "How far everybody is",
    says: "\
What each node was given, has written down, and has in its kernel; what is in its way would stand below.
",
    steps: &[
        Step::look("weirctl status", "node-b connected 1 1 1 "),
        Step::look("weirctl get backends", "web/10.0.0.21:8080"),
    ],
};

const TRAFFIC: Chapter = Chapter {
    title: "What passes",
    says: "\
`weirctl top` is a live screen; with `--once`, or in a pipe, it writes one table. Agents look at the kernel's counters every
five seconds.
",
    steps: &[
        Step::look("weirctl top --once", "web N 0 N "),
        Step::look(
            "weirctl top backends --once",
            "web/10.0.0.11:8080 N 0 N N N N\nweb/10.0.0.21:8080 N 0 N N N N\n",
        ),
    ],
};

const KILLED: Chapter = Chapter {
    title: "A server dies",
    says: "\
Half of the requests are refused. Nobody told weir, but the counters do: pod-y takes connections and every one of them
fails. After three such looks it is called silent; `ANSWERS` says so.
",
    steps: &[
        Step::run(Place::Host, "kill -9 $(ip netns pids pod-y)"),
        Step::asks("pod-x N, no answer N\n"),
        Step::look("weirctl top --once -o wide", " 2 1 N\n"),
        Step::look(
            "weirctl top backends --once",
            "web/10.0.0.11:8080 N 0 N N N N\nweb/10.0.0.21:8080 N N N N N N\n",
        ),
        Step::look(
            "weirctl describe service web | sed -n '/^Traffic/,/<all>/p'",
            "10.0.0.21:8080 N N N N N N no\n",
        ),
    ],
};

const DRAINED: Chapter = Chapter {
    title: "Out of the way, and back",
    says: "\
Drained, a backend is given no new connection, and goes with its last one, or at the deadline. As soon as pod-y serves again
it is taken back, and no file was touched.
",
    steps: &[
        Step::run(
            Place::Desk,
            "weirctl drain backend web 10.0.0.21:8080 --deadline 5s --on-deadline reset",
        ),
        Step::asks("pod-x N\n"),
        Step::look("weirctl get drains", "web/10.0.0.21:8080 backend node-a N - RESET done"),
        Step::run(Place::PodY, "pod serve pod-y >pod-y.log 2>&1 &"),
        Step::run(Place::Desk, "weirctl undrain backend web 10.0.0.21:8080"),
        Step::asks("pod-x N, pod-y N\n"),
    ],
};

const PLANNED: Chapter = Chapter {
    title: "What would a file do?",
    says: "\
pod-x is to have three times the share. `plan` asks every node what it would do in its kernel, step by step, and what connections
that touches; nothing is written. The exit status 1 says that something would change.
",
    steps: &[
        Step::run(
            Place::Desk,
            "sed -i 's/scheduler: rr/scheduler: wrr/; s/10.0.0.11, port: 8080/&, weight: 3/' web.yaml",
        ),
        Step::look("weirctl plan -f web.yaml", "weight 1, masquerade -> weight 3").ends(1),
    ],
};

const COMPARED: Chapter = Chapter {
    title: "What differs?",
    says: "\
The file beside what is desired and what each kernel holds; then, applied, nothing differs.
",
    steps: &[
        Step::look("weirctl diff -f web.yaml", "weight 3").ends(1),
        Step::run(Place::Desk, "weirctl apply -f web.yaml --wait"),
        Step::look(
            "weirctl diff && echo the same everywhere",
            "the same everywhere",
        ),
        Step::asks("pod-x N, pod-y N\n"),
    ],
};

const WHY: Chapter = Chapter {
    title: "Why?",
    says: "\
Where a frontend stands between the file and the kernel of a node: whose it is, who changed it last, what ipvsadm would show, what
helps or hinders it, and which connections of a client are there. An address that leads nowhere is told in one sentence, and so
is a node that is cordoned while everything runs on it: its backends take no new connection until that is over.
",
    steps: &[
        Step::look(
            "weirctl why 10.100.100.100:8080 from 192.168.77.9 on node-a | sed '/from port/q'",
            "from port N to 10.0.0.",
        ),
        Step::look("weirctl why 10.100.100.100:443", "has 10.100.100.100:8080/TCP").ends(1),
        Step::run(Place::Desk, "weirctl cordon node node-a"),
        Step::look("weirctl why 10.100.100.100:8080 on node-b", "cordoned").ends(1),
        Step::run(Place::Desk, "weirctl uncordon node node-a"),
        Step::asks("pod-x N, pod-y N\n"),
    ],
};

const DRIFT: Chapter = Chapter {
    title: "Somebody else's hands",
    says: "\
A colleague takes a backend out of node-a's kernel, and then the address off its link. The agent reads everything back every
ten seconds, and hears of addresses at once; what it puts back is told.
",
    steps: &[
        Step::run(
            Place::NodeA,
            "ipvsadm -d -t 10.100.100.100:8080 -r 10.0.0.11:8080",
        ),
        Step::look("weirctl get repairs", "backend 10.0.0.11:8080 of "),
        Step::run(Place::NodeA, "ip address del 10.100.100.100/32 dev weir0"),
        Step::look("weirctl get repairs", "vip 10.100.100.100 "),
        Step::look(
            "weirctl get events --types Warning --for vip/10.100.100.100",
            "DriftRepaired",
        ),
        Step::look("weirctl status", "node-a connected"),
        Step::asks("pod-x N, pod-y N\n"),
    ],
};

const BACK: Chapter = Chapter {
    title: "And back",
    says: "\
Every write is in the history, and the resources can be brought back to what they were at any of them.
",
    steps: &[
        Step::run(Place::Desk, "weirctl history"),
        Step::run(Place::Desk, "weirctl rollback 3 --wait"),
        Step::look("weirctl diff && echo the same everywhere", "the same everywhere"),
        Step::run(Place::NodeA, "ipvsadm -Sn"),
        Step::asks("pod-x N, pod-y N\n"),
    ],
};
