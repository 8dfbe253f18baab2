//! The chains that forwarded packets pass, beside what `nft` made.

use weir_agent::kernel::linux::chains::{ForwardChain, forward_chains};

use crate::netns::{in_new_netns, sh};

#[test]
fn chains_that_forwarded_packets_pass_are_told_with_what_they_drop() {
    in_new_netns(|| async {
        assert_eq!(forward_chains().await.expect("read"), []);
        for line in [
            "nft add table ip filter",
            "nft 'add chain ip filter FORWARD { type filter hook forward priority 0; policy drop; }'",
            "nft add rule ip filter FORWARD ct state established accept",
            "nft add chain ip filter ASIDE",
            "nft add table inet fw",
            "nft 'add chain inet fw through { type filter hook forward priority 10; }'",
            "nft 'add chain inet fw in { type filter hook input priority 10; policy drop; }'",
        ] {
            sh(line);
        }
        let mut told = forward_chains().await.expect("read");
        told.sort_by(|one, next| one.name.cmp(&next.name));
        let chain = |name: &str, drops, rules| ForwardChain {
            name: name.to_owned(),
            drops,
            rules,
        };
        let expected = [
            chain("inet fw through", false, 0),
            chain("ip filter FORWARD", true, 1),
        ];
        assert_eq!(told, expected);
    });
}
