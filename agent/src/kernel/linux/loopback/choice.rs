//! Which engine holds the loopback sets and rules: what was asked for against what this kernel can do. Pure.

/// Which engine the operator asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wanted {
    /// ipset where it works, otherwise nf_tables.
    #[default]
    Auto,
    /// ipset, with a rule that looks the set up.
    Ipset,
    /// nf_tables alone.
    Nftables,
}

/// The engine in use.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in super::super) enum Engine {
    /// ipset, with a rule that looks the set up.
    Ipset,
    /// nf_tables alone.
    Nftables,
    /// None that was asked for works, and why.
    Neither(String),
}

/// What a kernel can do: what works, or what is missing.
pub(in super::super) type Found = Result<String, String>;

/// Chooses the engine, and says in a sentence which and why.
pub(in super::super) fn decide(wanted: Wanted, ipset: &Found, nftables: &Found) -> (Engine, Found) {
    let (engine, why) = match (wanted, ipset, nftables) {
        (Wanted::Auto, Ok(how), _) => (Engine::Ipset, Ok(format!("ipset: {how}"))),
        (Wanted::Auto, Err(missing), Ok(how)) => (
            Engine::Nftables,
            Ok(format!("nftables: {how}; not ipset: {missing}")),
        ),
        (Wanted::Auto, Err(missing), Err(also)) => {
            let why = format!("neither engine works: ipset: {missing}; nftables: {also}");
            (Engine::Neither(why.clone()), Err(why))
        }
        (Wanted::Ipset, Ok(how), _) => (Engine::Ipset, Ok(format!("ipset, as asked: {how}"))),
        (Wanted::Nftables, _, Ok(how)) => {
            (Engine::Nftables, Ok(format!("nftables, as asked: {how}")))
        }
        (Wanted::Ipset, Err(missing), other) => not_there("ipset", missing, ("nftables", other)),
        (Wanted::Nftables, other, Err(missing)) => not_there("nftables", missing, ("ipset", other)),
    };
    (engine, why)
}

fn not_there(asked: &str, missing: &str, (other, found): (&str, &Found)) -> (Engine, Found) {
    let advice = match found {
        Ok(_) => format!("--loopback={other} would work"),
        Err(also) => format!("nor does {other}: {also}"),
    };
    let why = format!("--loopback={asked} was asked for and does not work: {missing}; {advice}");
    (Engine::Neither(why.clone()), Err(why))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn works() -> Found {
        Ok("works".to_owned())
    }

    fn lacks(what: &str) -> Found {
        Err(format!("no {what}"))
    }

    #[test]
    fn left_to_itself_it_takes_ipset_where_it_works_and_otherwise_nf_tables() {
        let (engine, why) = decide(Wanted::Auto, &works(), &works());
        assert_eq!(
            (engine, why),
            (Engine::Ipset, Ok("ipset: works".to_owned()))
        );
        let (engine, why) = decide(Wanted::Auto, &lacks("xt_set"), &works());
        assert_eq!(engine, Engine::Nftables);
        assert_eq!(why, Ok("nftables: works; not ipset: no xt_set".to_owned()));
    }

    #[test]
    fn what_was_asked_for_is_never_replaced_by_the_other() {
        let (engine, _) = decide(Wanted::Nftables, &works(), &works());
        assert_eq!(engine, Engine::Nftables);
        let (engine, why) = decide(Wanted::Nftables, &works(), &lacks("nat"));
        let text = "--loopback=nftables was asked for and does not work: no nat; --loopback=ipset would work";
        assert_eq!(engine, Engine::Neither(text.to_owned()));
        assert_eq!(why, Err(text.to_owned()));
        let (engine, why) = decide(Wanted::Ipset, &lacks("ip_set"), &lacks("nat"));
        assert!(matches!(engine, Engine::Neither(_)));
        let why = why.expect_err("missing");
        assert!(
            why.ends_with("no ip_set; nor does nftables: no nat"),
            "{why}"
        );
    }

    #[test]
    fn a_kernel_with_neither_is_told_of_both() {
        let (engine, why) = decide(Wanted::Auto, &lacks("ip_set"), &lacks("nat"));
        let text = "neither engine works: ipset: no ip_set; nftables: no nat";
        assert_eq!(engine, Engine::Neither(text.to_owned()));
        assert_eq!(why, Err(text.to_owned()));
    }
}
